/**
 * What a generated subskeleton does: finds the parts of a library object in the loaded object of a program that the library
 * was linked into, wherever the linker put them.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { MapError } from "../maps/MapError.ts"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import type { LoadedObject } from "../stages/load/Execute.ts"
import type { AccessError } from "../stages/load/Globals.ts"
import type { BpfObject } from "../stages/open/BpfObject.ts"
import * as Variables from "../stages/open/Variables.ts"
import { differences } from "./Differences.ts"
import * as Handles from "./Handles.ts"
import type * as Maps from "./Maps.ts"
import type * as Programs from "./Programs.ts"
import type * as Sections from "./Sections.ts"

/** An object that lacks what a library has, or has another thing of its name. */
export class LibraryMismatch extends Schema.TaggedError<LibraryMismatch>()("LibraryMismatch", {
  /** The subskeleton's name. */
  library: Schema.String,
  /** What is missing or differs, one line for each map, program and variable. */
  differences: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `the object does not have the library ${this.library} in it:\n  ${this.differences.join("\n  ")}\n` +
      "hint: link the library that the subskeleton was made of into it, with effect-bpf gen object"
  }
}

/** What a generated module says of a library object: its parts under the names of their properties. */
export interface SubskeletonDescription<M, P, G> {
  /** What the library is called in errors. */
  readonly name: string
  /** The layouts of the types that the module reads and writes, by their C names. */
  readonly layouts?: Readonly<Record<string, string>>
  readonly maps: { readonly [N in keyof M]: Maps.MapDescription<M[N]> }
  readonly programs: { readonly [N in keyof P]: Programs.ProgramDescription<P[N]> }
  /** The sections, with the variables where the library object has them. */
  readonly globals: { readonly [N in keyof G]: Sections.Section<G[N]> }
}

/** The parts of a library in a loaded object. They live as long as the scope in which that was loaded. */
export interface Found<M, P, G> {
  readonly loaded: LoadedObject
  readonly maps: M
  readonly programs: P
  readonly globals: G
}

/** A subskeleton. */
export interface Subskeleton<M, P, G> {
  /**
   * Finds the library's parts in an object: `attachTo(skeleton.loaded)`. Variables are found by their names among those that
   * are visible outside their files, in the sections that they are in, and have the sizes that they have in the library.
   */
  readonly attachTo: (
    loaded: LoadedObject
  ) => Effect.Effect<Found<M, P, G>, LibraryMismatch | MapError | AccessError, Kernel | Scope.Scope>
}

type AnySection = Sections.Section<Handles.AnySections[string]>

/** A section with its variables where another object has them; those that it does not have stay where they were. */
const located = (section: AnySection, object: BpfObject): AnySection => {
  const places = new Map(
    Variables.variables(object)
      .filter((variable) => variable.global && variable.section === section.name)
      .map(({ name, offset }) => [name, offset])
  )
  const variables = Handles.mapped(section.variables, (variable) => ({
    ...variable,
    offset: places.get(variable.name) ?? variable.offset
  }))
  return { ...section, variables }
}

/** The subskeleton of a library object. */
export function makeSub<
  M extends { readonly [N in keyof M]: Maps.MapHandle },
  P extends { readonly [N in keyof P]: Programs.AnyProgram },
  G extends { readonly [N in keyof G]: object }
>(description: SubskeletonDescription<M, P, G>): Subskeleton<M, P, G>
export function makeSub(
  { name, layouts = {}, maps, programs, globals }: SubskeletonDescription<
    Handles.AnyMaps,
    Handles.AnyPrograms,
    Handles.AnySections
  >
): Subskeleton<Handles.AnyMaps, Handles.AnyPrograms, Handles.AnySections> {
  return {
    attachTo: Effect.fnUntraced(function*(loaded) {
      const sections = Handles.mapped(globals, (section) => located(section, loaded.object))
      const different = differences(loaded.object, {
        maps: Object.values(maps),
        programs: Object.values(programs),
        sections: Object.values(sections),
        layouts
      })
      if (different.length > 0) return yield* new LibraryMismatch({ library: name, differences: different })
      return { loaded, ...(yield* Handles.of({ maps, programs, globals: sections }, loaded)) }
    })
  }
}
