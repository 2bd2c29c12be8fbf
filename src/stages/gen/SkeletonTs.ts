/**
 * Skeletons in TypeScript: a module with an object's types and codecs, its maps, programs and variables under their names,
 * and `open` and `load`. It needs `effect` and `effect-bpf/skeleton`, and nothing else.
 *
 * The text is the same whenever it is made of the same object.
 *
 * Source of the rules of names: reference page `skeleton`, sections 1 and 6.
 */
import * as Base64 from "effect/encoding/Base64"
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import { isSkeletonError, type SkeletonError } from "./skeleton/SkeletonShape.ts"
import { literal, partsOf, record, runtime } from "./skeleton/TsParts.ts"
import * as TsText from "./skeleton/TsText.ts"

export { nameOfFile, SkeletonError } from "./skeleton/SkeletonShape.ts"

/** What a module is to be like. */
export interface SkeletonOptions {
  /** What the object is called when it is loaded, and in errors; `nameOfFile` has the one that bpftool would take. */
  readonly name: string
  /** Where the object is: its bytes in the module, or a file whose path is relative to it. */
  readonly source:
    | { readonly _tag: "Embedded"; readonly bytes: Uint8Array }
    | { readonly _tag: "Beside"; readonly file: string }
  /** Where the runtime is imported from; default `effect-bpf/skeleton`. */
  readonly runtime?: string
}

/** The module of an object. */
export const make = (
  object: BpfObject,
  { name, runtime: from = "effect-bpf/skeleton", source }: SkeletonOptions
): Result.Result<string, SkeletonError> =>
  attempt(isSkeletonError, () => {
    const { described, layouts, maps, programs, sections, types } = partsOf(object, name)
    const initial = sections.filter(({ access }) => access !== "kconfig")
    const bytes = source._tag === "Embedded"
      ? `${runtime}.embedded(() => $object)`
      : `${runtime}.beside(${TsText.literal(source.file)}, import.meta)`
    return `/**
 * Made by effect-bpf gen skeleton --lang ts: ${TsText.comment(name)}. Changes are lost when it is made again.
 */
import * as ${runtime} from ${TsText.literal(from)}

${types}
${record("Maps", "The maps of the loaded object", maps)}
${record("Programs", "The programs of the loaded object", programs)}
${
      record(
        "InitialGlobals",
        "The variables before the load",
        initial.map(({ identifier, type }) => ({ name: identifier, type }))
      )
    }
${
      record(
        "Globals",
        "The variables of the loaded object",
        sections.map(({ access, identifier, type }) => ({
          name: identifier,
          type: access === "variable" ? type : `Readonly<${type}>`
        }))
      )
    }
/** The object before the load: what can be changed, and \`load\`. */
export interface Opened extends ${runtime}.Opened<Maps, Programs, InitialGlobals, Globals> {}

/** The loaded object: it lives as long as its scope. */
export interface Loaded extends ${runtime}.Loaded<Maps, Programs, Globals> {}

const skeleton: ${runtime}.Skeleton<Maps, Programs, InitialGlobals, Globals> = ${runtime}.make<
  Maps,
  Programs,
  InitialGlobals,
  Globals
>({
  name: ${TsText.literal(name)},
  object: ${bytes},
  layouts: ${literal(layouts)},
  maps: ${literal(maps)},
  programs: ${literal(programs)},
  initial: ${described(initial)},
  globals: ${described(sections)}
})

/** Opens the object. */
export const open: typeof skeleton.open = skeleton.open

/** Opens the object and loads it, for as long as the scope. */
export const load: typeof skeleton.load = skeleton.load
${
      source._tag === "Embedded"
        ? `\n/** The object file, in base64. */\nconst $object: string =\n    ${
          TsText.lines(Base64.encode(source.bytes))
        }\n`
        : ""
    }`
  })
