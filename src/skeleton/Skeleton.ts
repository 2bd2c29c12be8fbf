/**
 * What a generated skeleton does: opens its object, lets it be changed, loads and attaches it, with names and types that its
 * object has.
 *
 * Files: `Kinds` (how programs are attached), `Programs`, `Maps` and `Sections` (the parts of an object before and after the
 * load), `Handles` (those of a loaded object, under their names), `ObjectSource` (where its bytes are), `Differences` (whether
 * it is the one that the skeleton was made of).
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Attach from "../attach/Attach.ts"
import type { AttachFailure } from "../attach/AttachError.ts"
import type { Link } from "../attach/Link.ts"
import type { BtfValue } from "../btf/BtfValue.ts"
import type { CodecError } from "../btf/Codec.ts"
import { MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Kernel, Session, SessionOptions } from "../services/Kernel/Kernel.ts"
import { type LoadedObject, toLoaded } from "../stages/load/Execute.ts"
import * as Plan from "../stages/load/Plan.ts"
import { type BpfObject, findMap, type MapDefinition } from "../stages/open/BpfObject.ts"
import * as Edit from "../stages/open/Edit.ts"
import * as Open from "../stages/open/Open.ts"
import { arenaSection } from "../stages/open/Variables.ts"
import * as Relocate from "../stages/relocate/Relocate.ts"
import { differences } from "./Differences.ts"
import * as Handles from "./Handles.ts"
import { type AnyMaps, type AnyPrograms, type AnySections, mapped, type Named, nothing } from "./Handles.ts"
import type { StructOpsMap } from "./MapKinds.ts"
import * as Maps from "./Maps.ts"
import * as ObjectSource from "./ObjectSource.ts"
import * as Programs from "./Programs.ts"
import * as Sections from "./Sections.ts"
import { type LoadError, type OpenError, SkeletonOutOfDate } from "./SkeletonFailure.ts"

/** What a generated module says of its object: its parts under the names of their properties. */
export interface Description<M, P, I, G> {
  /** What the skeleton is called in errors and spans. */
  readonly name: string
  readonly object: ObjectSource.ObjectSource
  /** The layouts of the types that the module reads and writes, by their C names (see `BtfLayout`). */
  readonly layouts?: Readonly<Record<string, string>>
  readonly maps: { readonly [N in keyof M]: Maps.MapDescription<M[N]> }
  readonly programs: { readonly [N in keyof P]: Programs.ProgramDescription<P[N]> }
  /** The sections as they are before the load, and as they are afterwards. */
  readonly initial: { readonly [N in keyof I]: Sections.Section<I[N]> }
  readonly globals: { readonly [N in keyof G]: Sections.Section<G[N]> }
}

/** Changes of maps and programs, and values of variables, by the names of their properties. */
export interface OpenOptions<M, P, I> extends Omit<Open.OpenOptions, "legacyMaps" | "relaxedMaps"> {
  /** The bytes of another build of the same object, in place of the skeleton's own. */
  readonly object?: Uint8Array
  readonly maps?: { readonly [N in keyof M]?: Partial<Maps.MapSettings> }
  readonly programs?: { readonly [N in keyof P]?: Partial<Programs.ProgramSettings> }
  /** Initial values of variables; constants among them. */
  readonly globals?: { readonly [N in keyof I]?: Readonly<Partial<I[N]>> }
}

/** An object that is opened. It can be changed, and loaded any number of times. */
export interface Opened<M, P, I, G> {
  /** The object as it was opened: what is changed here is not changed in it. */
  readonly object: BpfObject
  readonly maps: {
    readonly [N in keyof M]: M[N] extends StructOpsMap<infer S> ? Maps.OpenedStructOps<S> : Maps.OpenedMap
  }
  readonly programs: { readonly [N in keyof P]: Programs.OpenedProgram }
  /** The variables in the initial images of their sections. */
  readonly globals: I
  /** The object with all changes, as the stages take it. */
  readonly changed: Effect.Effect<BpfObject, Edit.EditError>
  /** Loads it, for as long as the scope. `edit` changes what nothing else here does. */
  readonly load: (
    options?: SessionOptions & {
      readonly edit?: (object: BpfObject) => Result.Result<BpfObject, Edit.EditError>
    }
  ) => Effect.Effect<Loaded<M, P, G>, LoadError, Kernel | Scope.Scope>
}

/** What programs are attached to that are not, or not only, attached to what their sections say. */
export type Overrides<P> = {
  readonly [N in keyof P as P[N] extends { readonly attach: (target: never) => object } ? N : never]?: P[N] extends
    Programs.Attachable<infer O, infer _> ? O
    : P[N] extends Programs.SelfAttaching<infer O, infer _> ? Partial<O>
    : never
}

/** How a loaded object is attached. */
export interface AttachOptions<M, P> {
  /** Programs and struct_ops maps that are left alone. */
  readonly except?: ReadonlyArray<keyof P | keyof M>
  /** To what programs are attached, by the names of their properties. */
  readonly overrides?: Overrides<P>
}

/** What is attached. */
export interface Attached<M, P> {
  /** By the names of programs and struct_ops maps; those that are not attached are absent. */
  readonly links: { readonly [N in keyof P | keyof M]?: Link }
  /** What was not attached, and why. */
  readonly skipped: ReadonlyArray<Attach.Skipped>
}

/** A loaded object. It lives as long as the scope in which it was loaded. */
export interface Loaded<M, P, G> {
  /** What the stages made of it, for what has no name here: by C names, `loaded.map("flows")`, `loaded.program("main")`. */
  readonly loaded: LoadedObject
  readonly session: Session
  readonly maps: M
  readonly programs: P
  /** The variables as the kernel has them. */
  readonly globals: G
  /**
   * Attaches all programs whose sections say to what, those that the options name, and the struct_ops maps, for as long as
   * the scope. Where one is refused, those that were attached before are detached.
   */
  readonly attach: (
    options?: AttachOptions<M, P>
  ) => Effect.Effect<Attached<M, P>, AttachFailure, Kernel | Scope.Scope>
}

/** A skeleton. */
export interface Skeleton<M, P, I, G> {
  /** Opens the object, after a look whether it is the one that the skeleton was made of. */
  readonly open: (options?: OpenOptions<M, P, I>) => Effect.Effect<Opened<M, P, I, G>, OpenError>
  /** Opens and loads it, for as long as the scope. */
  readonly load: (
    options?: OpenOptions<M, P, I> & SessionOptions
  ) => Effect.Effect<Loaded<M, P, G>, OpenError | LoadError, Kernel | Scope.Scope>
}

// How it is done: with names as texts. What has them as types is above, and `make` joins the two.

type AnyDescription = Description<AnyMaps, AnyPrograms, AnySections, AnySections>

/** The map of the object that has a section's initial image. */
const mapOfSection = (object: BpfObject, name: string): MapDefinition | undefined =>
  name === arenaSection
    ? object.maps.find(({ attr }) => attr.type === MapType.BPF_MAP_TYPE_ARENA)
    : findMap(object, name)

const equalBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, at) => byte === b[at])

const attach = (
  description: AnyDescription,
  loaded: LoadedObject,
  programs: AnyPrograms,
  { except = [], overrides = {} }: AttachOptions<AnyMaps, AnyPrograms> = {}
): Effect.Effect<Attached<AnyMaps, AnyPrograms>, AttachFailure, Kernel | Scope.Scope> => {
  const all = [...Object.entries(description.programs), ...Object.entries(description.maps)]
  const cNames = new Map(all.map(([name, { name: cName }]) => [name, cName]))
  const instead = new Map<string, Effect.Effect<Link, AttachFailure, Kernel | Scope.Scope>>()
  const targets: Named<never> = overrides
  for (const [name, target] of Object.entries(targets)) {
    const handle = programs[name]
    if (handle?.attach !== undefined) instead.set(handle.name, handle.attach(target))
  }
  const options = { except: except.map((name) => cNames.get(name) ?? name), instead }
  return Effect.map(Attach.attachAll(loaded, options), ({ links, skipped }) => {
    const named = Handles.bare<Link>()
    for (const [name, cName] of cNames) {
      const link = links.get(cName)
      if (link !== undefined) named[name] = link
    }
    return { links: Object.freeze(named), skipped }
  })
}

const load = Effect.fnUntraced(function*(
  description: AnyDescription,
  object: BpfObject,
  options: SessionOptions
): Effect.fn.Return<Loaded<AnyMaps, AnyPrograms, AnySections>, LoadError, Kernel | Scope.Scope> {
  const planned = yield* Plan.plan.run(yield* Relocate.relocate.run(object))
  const loaded = yield* toLoaded(planned, options)
  const handles = yield* Handles.of(description, loaded)
  return {
    loaded,
    session: loaded.session,
    ...handles,
    attach: (options) => attach(description, loaded, handles.programs, options)
  }
})

/** The object with the images of its sections as they are now. */
const withImages = (
  object: BpfObject,
  images: ReadonlyMap<string, Sections.Memory>
): Result.Result<BpfObject, Edit.EditError> => {
  let changed: Result.Result<BpfObject, Edit.EditError> = Result.succeed(object)
  for (const [name, { bytes }] of images) {
    const map = mapOfSection(object, name)
    if (map?.initialValue === undefined || equalBytes(map.initialValue, bytes)) continue
    changed = Result.flatMap(changed, (object) => Edit.setInitialValue(object, map.name, bytes))
  }
  return changed
}

/** Assigns settings to what has their names. */
const change = <T extends object>(
  to: Readonly<Record<string, T>>,
  settings: Readonly<Record<string, Partial<T> | undefined>>
): void => {
  for (const [name, each] of Object.entries(settings)) Object.assign(to[name] ?? {}, each)
}

/** Does what `open` was asked to do, which could also be assigned. */
const applied = (
  description: AnyDescription,
  images: ReadonlyMap<string, Sections.Memory>,
  opened: Pick<Opened<AnyMaps, AnyPrograms, AnySections, AnySections>, "maps" | "programs">,
  { globals = {}, maps = {}, programs = {} }: OpenOptions<AnyMaps, AnyPrograms, AnySections>
): Result.Result<void, CodecError> => {
  change(opened.maps, maps)
  change(opened.programs, programs)
  const sections: Readonly<Record<string, Sections.Section<AnySections[string]>>> = description.initial
  for (const [name, values] of Object.entries(globals)) {
    const section = sections[name]
    const memory = section === undefined ? undefined : images.get(section.name)
    if (section === undefined || memory === undefined || values === undefined) continue
    const assigned = Sections.assign(section, memory, values)
    if (Result.isFailure(assigned)) return assigned
  }
  return Result.void
}

const open = Effect.fnUntraced(function*(
  description: AnyDescription,
  options: OpenOptions<AnyMaps, AnyPrograms, AnySections>
): Effect.fn.Return<Opened<AnyMaps, AnyPrograms, AnySections, AnySections>, OpenError> {
  const { object: given, globals: _globals, maps: _maps, programs: _programs, ...rest } = options
  const bytes = given ?? (yield* ObjectSource.read(description.object))
  const object = yield* Effect.fromResult(Open.fromBytes(bytes, { name: description.name, ...rest }))
  const different = differences(object, {
    maps: Object.values(description.maps),
    programs: Object.values(description.programs),
    sections: Object.values(description.globals),
    layouts: description.layouts ?? {}
  })
  if (different.length > 0) {
    return yield* new SkeletonOutOfDate({ skeleton: description.name, differences: different })
  }
  const images = new Map(
    Object.values(description.initial).map(({ name }): readonly [string, Sections.Memory] => {
      const image = mapOfSection(object, name)?.initialValue
      return [name, image === undefined ? nothing : { bytes: image.slice() }]
    })
  )
  /** What was assigned to members of structs of functions, by the names of their maps. */
  const structOps = new Map<string, ReadonlyMap<string, BtfValue | null>>()
  const parts = {
    maps: mapped(description.maps, ({ members, name }) => {
      if (members === undefined) return Maps.opened(object, name)
      const changes = new Map<string, BtfValue | null>()
      structOps.set(name, changes)
      return Maps.openedStructOps(object, name, members, changes)
    }),
    programs: mapped(description.programs, ({ name }) => Programs.opened(object, name)),
    globals: mapped(description.initial, (section) => Sections.view(section, images.get(section.name) ?? nothing, true))
  }
  yield* Effect.fromResult(applied(description, images, parts, options))
  const changed = Effect.suspend(() =>
    Effect.fromResult(Result.gen(function*() {
      let changed = yield* withImages(object, images)
      for (const map of Object.values(parts.maps)) changed = yield* Maps.changed(changed, map)
      for (const [name, members] of structOps) {
        for (const [member, value] of members) changed = yield* Edit.setStructOps(changed, name, member, value)
      }
      for (const program of Object.values(parts.programs)) changed = yield* Programs.changed(changed, program)
      return changed
    }))
  )
  return {
    object,
    ...parts,
    changed,
    load: ({ edit = Result.succeed, ...session } = {}) =>
      Effect.flatMap(
        changed,
        (object) => Effect.flatMap(Effect.fromResult(edit(object)), (edited) => load(description, edited, session))
      )
  }
})

/** The skeleton of an object. */
export function make<
  M extends { readonly [N in keyof M]: Maps.MapHandle },
  P extends { readonly [N in keyof P]: Programs.AnyProgram },
  I extends { readonly [N in keyof I]: object },
  G extends { readonly [N in keyof G]: object }
>(description: Description<M, P, I, G>): Skeleton<M, P, I, G>
export function make(description: AnyDescription): Skeleton<AnyMaps, AnyPrograms, AnySections, AnySections> {
  return {
    open: (options = {}) => open(description, options),
    load: (options = {}) => {
      const { observer: _observer, listedOrder: _order, token: _token, ...rest } = options
      return Effect.flatMap(open(description, rest), (opened) => opened.load(options))
    }
  }
}
