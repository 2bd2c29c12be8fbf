/**
 * Subskeletons in TypeScript: a module with the types, maps, programs and variables of a library object, and `attachTo`,
 * which finds them in the loaded object of a program that the library was linked into. It needs `effect` and
 * `effect-bpf/skeleton`, and nothing else; the object is not in it.
 *
 * The text is the same whenever it is made of the same object.
 *
 * Source: reference page `skeleton`, sections 3 and 6.
 */
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import { isSkeletonError, type SkeletonError } from "./skeleton/SkeletonShape.ts"
import { literal, partsOf, record, runtime } from "./skeleton/TsParts.ts"
import * as TsText from "./skeleton/TsText.ts"

/** What a module is to be like. */
export interface SubskeletonOptions {
  /** What the library is called in errors; `nameOfFile` has the one that bpftool would take. */
  readonly name: string
  /** Where the runtime is imported from; default `effect-bpf/skeleton`. */
  readonly runtime?: string
}

/** The module of a library object. */
export const make = (
  object: BpfObject,
  { name, runtime: from = "effect-bpf/skeleton" }: SubskeletonOptions
): Result.Result<string, SkeletonError> =>
  attempt(isSkeletonError, () => {
    const { described, layouts, maps, programs, sections, types } = partsOf(object, name)
    const globals = sections.map(({ access, identifier, type }) => ({
      name: identifier,
      type: access === "variable" ? type : `Readonly<${type}>`
    }))
    return `/**
 * Made by effect-bpf gen subskeleton --lang ts: ${TsText.comment(name)}. Changes are lost when it is made again.
 */
import * as ${runtime} from ${TsText.literal(from)}

${types}
${record("Maps", "The library's maps", maps)}
${record("Programs", "The library's programs", programs)}
${record("Globals", "The library's variables", globals)}
/** The library's parts in a loaded object. */
export interface Found extends ${runtime}.Found<Maps, Programs, Globals> {}

const subskeleton: ${runtime}.Subskeleton<Maps, Programs, Globals> = ${runtime}.makeSub<Maps, Programs, Globals>({
  name: ${TsText.literal(name)},
  layouts: ${literal(layouts)},
  maps: ${literal(maps)},
  programs: ${literal(programs)},
  globals: ${described(sections)}
})

/** Finds the library's parts in the loaded object of a program that it was linked into. */
export const attachTo: typeof subskeleton.attachTo = subskeleton.attachTo
`
  })
