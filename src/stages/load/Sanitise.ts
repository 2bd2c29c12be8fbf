/**
 * What a load leaves out or says otherwise for a kernel that lacks something: types, instructions, attributes.
 *
 * It is the only place that knows which features matter to an object. A plan asks for those and no others, and every decision
 * that a missing one brings is a note on the step that it changed. Where all are there, what is sent is what the object has.
 *
 * Source: reference pages `load` and `features`.
 */
import * as Result from "effect/Result"
import type { Btf } from "../../btf/Btf.ts"
import type { BtfError } from "../../btf/BtfError.ts"
import type { InfoRecords } from "../../services/Kernel/KernelCall.ts"
import type { Feature, Requirement } from "../../services/Kernel/KernelInfo.ts"
import { type Features, requirement } from "../Features.ts"
import type { BpfObject, MapDefinition } from "../open/BpfObject.ts"
import type { RelocatedObject, RelocatedProgram } from "../relocate/RelocatedObject.ts"
import * as Attributes from "./sanitise/Attributes.ts"
import * as ContextArguments from "./sanitise/ContextArguments.ts"
import * as GlobalData from "./sanitise/GlobalData.ts"
import * as Instructions from "./sanitise/Instructions.ts"
import * as Types from "./sanitise/Types.ts"

export { type Features, of } from "../Features.ts"
export { ofMap, ofProgram, type ProgramAttributes } from "./sanitise/Attributes.ts"
export { sanitise as variables } from "./sanitise/GlobalData.ts"
export { sanitise as instructions } from "./sanitise/Instructions.ts"
export { featuresOf as typeFeatures } from "./sanitise/Types.ts"

/** Whether a map is one that keeps constants alive along with the programs that read them. */
export const isBound = (map: MapDefinition): boolean => map.origin === "Rodata" && map.autocreate

const describedOf = (object: BpfObject, program: RelocatedProgram): ContextArguments.Described | undefined => {
  const type = object.programs[program.program]?.type ?? 0
  return program.funcInfo === undefined ? undefined : { type, funcInfo: program.funcInfo }
}

/** The features that decide how an object is loaded; `programs` are those that the load takes. */
export const requirements = (
  { object }: RelocatedObject,
  programs: ReadonlyArray<RelocatedProgram>
): ReadonlyArray<Requirement> => {
  const needed = new Set<Feature>(object.btf === undefined ? [] : Types.featuresOf(object.btf))
  if (GlobalData.isUsed(object)) needed.add("GlobalData")
  for (const map of object.maps) {
    if (!map.autocreate) continue
    for (const feature of Attributes.featuresOfMap(map)) needed.add(feature)
  }
  for (const { code, program } of programs) {
    const definition = object.programs[program]
    if (definition === undefined) continue
    for (const feature of Attributes.featuresOfProgram(definition)) needed.add(feature)
    if (!needed.has("ProbeReadKernel") && Instructions.usesProbeRead(code.insns)) needed.add("ProbeReadKernel")
  }
  if (programs.length > 0 && object.maps.some(isBound)) needed.add("ProgBindMap")
  const described = programs.some((program) => {
    const found = describedOf(object, program)
    return found !== undefined && ContextArguments.hasContext(found.type)
  })
  if (described && object.btf !== undefined && ContextArguments.usesTag(object.btf)) needed.add("ArgCtxTag")
  return [...needed].map(requirement)
}

/** An object's types for a kernel. */
export interface LoadedTypes {
  readonly bytes: Uint8Array
  readonly notes: ReadonlyArray<string>
  /** The function records of programs that name other types than the object's, by the program's position. */
  readonly funcInfos: ReadonlyMap<number, InfoRecords>
}

/** An object's types for a kernel with these features, and the function records that go with them. */
export const types = (
  btf: Btf,
  { object }: RelocatedObject,
  programs: ReadonlyArray<RelocatedProgram>,
  features: Features,
  architecture: string
): Result.Result<LoadedTypes, BtfError> => {
  // Without function records, programs do not say which of their functions have which types.
  const described = features.has("ArgCtxTag") || !features.has("BtfFunc")
    ? []
    : programs.flatMap((program) => {
      const found = describedOf(object, program)
      return found === undefined ? [] : [{ ...found, program: program.program }]
    })
  return Result.flatMap(
    described.length === 0
      ? Result.succeed({ btf, funcInfos: [], twins: [] })
      : ContextArguments.retype(btf, described, architecture),
    (retyped) => {
      const count = retyped.twins.reduce((sum, twins) => sum + twins, 0)
      const twins = count === 0
        ? []
        : [`${count} functions with tagged arguments got types of their own: ${features.because("ArgCtxTag")}`]
      const funcInfos = new Map(
        described.flatMap(({ program }, index) => {
          const funcInfo = retyped.funcInfos[index]
          return funcInfo === undefined || retyped.twins[index] === 0 ? [] : [[program, funcInfo] as const]
        })
      )
      return Result.map(
        Types.sanitise(retyped.btf, features),
        ({ bytes, notes }) => ({ bytes, notes: [...twins, ...notes], funcInfos })
      )
    }
  )
}
