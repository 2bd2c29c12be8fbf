/**
 * What generated skeletons run on: modules that `effect-bpf gen skeleton --lang ts` makes, each with the names and types of
 * one object.
 */
export type { AttachFailure } from "./attach/AttachError.ts"
export { AttachError } from "./attach/AttachError.ts"
export type { Link } from "./attach/Link.ts"
export * from "./btf/Codec.ts"
export * as LayoutCodec from "./btf/LayoutCodec.ts"
export * from "./skeleton/Kinds.ts"
export * from "./skeleton/MapKinds.ts"
export type { MapDescription, MapHandle, MapSettings, OpenedMap } from "./skeleton/Maps.ts"
export { plain } from "./skeleton/Maps.ts"
export * from "./skeleton/ObjectSource.ts"
export type {
  AnyProgram,
  Attachable,
  OpenedProgram,
  ProgramDescription,
  ProgramSettings,
  Runnable,
  RunError,
  RunInput,
  RunOutput,
  SelfAttaching
} from "./skeleton/Programs.ts"
export { attachable, runnable, runnableOn, selfAttaching } from "./skeleton/Programs.ts"
export type { Section, Variable } from "./skeleton/Sections.ts"
export { constants, kconfig, variable, variables } from "./skeleton/Sections.ts"
export * from "./skeleton/Skeleton.ts"
export * from "./skeleton/SkeletonFailure.ts"
export * from "./skeleton/Subskeleton.ts"
