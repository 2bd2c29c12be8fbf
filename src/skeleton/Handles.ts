/**
 * The parts of a loaded object under the names that a skeleton, or a subskeleton, has for them.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type MapError, mistake } from "../maps/MapError.ts"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import * as ArenaMemory from "../stages/load/ArenaMemory.ts"
import type { LoadedObject } from "../stages/load/Execute.ts"
import * as Globals from "../stages/load/Globals.ts"
import { arenaSection } from "../stages/open/Variables.ts"
import type * as Maps from "./Maps.ts"
import type * as Programs from "./Programs.ts"
import * as Sections from "./Sections.ts"

/** Values by any names. */
export type Named<T> = Readonly<Record<string, T>>

/** The maps of any skeleton. */
export type AnyMaps = Named<Maps.MapHandle>

/** The programs of any skeleton. */
export type AnyPrograms = Named<Programs.AnyProgram>

/** The sections of any skeleton, and the variables in them. */
export type AnySections = Named<Named<never>>

/** What is known of the parts of an object. */
export interface Parts {
  readonly maps: Named<Maps.MapDescription<Maps.MapHandle>>
  readonly programs: Named<Programs.ProgramDescription<Programs.AnyProgram>>
  readonly globals: { readonly [N in keyof AnySections]: Sections.Section<AnySections[N]> }
}

/** The parts of a loaded object. */
export interface Handles {
  readonly maps: AnyMaps
  readonly programs: AnyPrograms
  readonly globals: AnySections
}

/** An object without properties, not even those that objects inherit: names may be any text. */
export const bare = <B>(): Record<string, B> => Object.create(null) as Record<string, B>

/** An object with a property for each of another's. A name may be any text; none of them is the prototype. */
export const mapped = <A, B>(of: Named<A>, make: (value: A, name: string) => B): Named<B> => {
  const made = bare<B>()
  for (const [name, value] of Object.entries(of)) made[name] = make(value, name)
  return Object.freeze(made)
}

/** The handles of the maps that the load has made. Asking for another one is a mistake, which is thrown. */
const mapHandles = Effect.fnUntraced(function*(maps: Parts["maps"], loaded: LoadedObject) {
  const made = bare<Maps.MapHandle>()
  for (const [name, description] of Object.entries(maps)) {
    const ref = loaded.map(description.name)
    if (ref !== undefined) {
      made[name] = yield* description.make(loaded, ref)
      continue
    }
    Object.defineProperty(made, name, {
      get: () => {
        throw mistake("NoSuchMap", description.name, "the load did not create it", "leave its autocreate on")
      }
    })
  }
  return Object.freeze(made)
})

/** As `mapped`, one after another. */
const mappedInOrder = <A, B, E, R>(
  of: Named<A>,
  make: (value: A) => Effect.Effect<B, E, R>
): Effect.Effect<Named<B>, E, R> =>
  Effect.map(
    Effect.forEach(Object.entries(of), ([name, value]) => Effect.map(make(value), (made) => [name, made] as const)),
    (entries) => {
      const made = bare<B>()
      for (const [name, value] of entries) made[name] = value
      return Object.freeze(made)
    }
  )

/** Where a section's bytes are that the load did not make. */
export const nothing: Sections.Memory = { bytes: new Uint8Array() }

/** The memory of a section of a loaded object. */
const memoryOf = (
  loaded: LoadedObject,
  name: string
): Effect.Effect<Sections.Memory, Globals.AccessError, Kernel | Scope.Scope> =>
  name === arenaSection
    ? Effect.sync(() => ArenaMemory.of(loaded)?.variables ?? nothing)
    : loaded.map(name) === undefined
    ? Effect.succeed(nothing)
    : Globals.view(loaded, name)

/** The parts of an object that is loaded. */
export const of = Effect.fnUntraced(function*(
  parts: Parts,
  loaded: LoadedObject
): Effect.fn.Return<Handles, MapError | Globals.AccessError, Kernel | Scope.Scope> {
  const maps = yield* mapHandles(parts.maps, loaded)
  const programs = mapped(parts.programs, (program) => program.make(loaded))
  const globals = yield* mappedInOrder(
    parts.globals,
    (section) =>
      Effect.map(
        memoryOf(loaded, section.name),
        (memory) => Sections.view(section, memory, section.access === "variable")
      )
  )
  return { maps, programs, globals }
})
