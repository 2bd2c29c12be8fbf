/**
 * Names for an object's maps and programs in a bpf file system, given and taken away together.
 *
 * A pin is `FOLDER/NAME`, where dots of the name become `_`, for bpf file systems take none. libbpf does so for maps alone,
 * and in the folder's path as well, so that maps of `/run/bpf.d` are looked for in `/run/bpf_d`; here the folder is taken
 * as it is given, and programs are named like maps. The last part of the folder is made if need be.
 *
 * Pinning is all or nothing: what was pinned before a failure or an interruption is taken back at once. Unpinning cannot
 * be undone, so everything is looked at before the first pin goes: one that names another object by now is left alone, and
 * so are all others. What is gone already is no failure, and an unpinning that failed half-way can be repeated.
 *
 * Source: reference page `load`, section 12.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { BpfObject, MapDefinition } from "../open/BpfObject.ts"
import { findMap } from "../open/BpfObject.ts"
import type { LoadedObject, PreparedObject } from "./Execute.ts"
import { type LifecycleError, oneOf, refuse } from "./LifecycleError.ts"
import { type LoadPlan, required } from "./LoadPlan.ts"

/** A program or map, and the path of its pin. */
export interface Pin {
  readonly kind: "program" | "map"
  /** What the object calls it. */
  readonly name: string
  readonly ref: Ref.MapRef | Ref.ProgRef
  readonly path: string
}

/**
 * The path of a pin. A name with a slash in it, which only a forged object has, would lead out of the folder: it is
 * refused, as are an empty one and one with a NUL.
 */
export const path = (folder: string, name: string): Result.Result<string, LifecycleError> => {
  if (folder === "") return Result.fail(refuse("PinName", name, "the folder of its pin has no name"))
  return name === "" || name.includes("/") || name.includes("\0")
    ? Result.fail(refuse("PinName", name, "this name cannot be a name in a bpf file system"))
    : Result.succeed(`${folder.replace(/\/+$/, "")}/${name.replaceAll(".", "_")}`)
}

/** The pins, or which two of them are the same. */
const distinct = (pins: ReadonlyArray<Pin>): Result.Result<ReadonlyArray<Pin>, LifecycleError> => {
  const byPath = new Map<string, Pin>()
  for (const pin of pins) {
    const other = byPath.get(pin.path)
    if (other !== undefined) {
      const detail = `${other.kind} ${other.name} and ${pin.kind} ${pin.name} would both be pinned at ${pin.path}`
      return Result.fail(refuse("PinName", pin.name, detail, "pin programs and maps in folders of their own"))
    }
    byPath.set(pin.path, pin)
  }
  return Result.succeed(pins)
}

const pinsOf = <A extends { readonly name: string }>(
  kind: Pin["kind"],
  folder: string,
  all: ReadonlyArray<A>,
  wanted: (each: A, position: number) => boolean
): Result.Result<ReadonlyArray<Pin>, LifecycleError> =>
  Result.flatMap(
    Result.all(
      all.flatMap((each, position) =>
        wanted(each, position)
          ? [Result.map(path(folder, each.name), (path): Pin => ({
            kind,
            name: each.name,
            ref: kind === "map" ? Ref.map(position) : Ref.prog(position),
            path
          }))]
          : []
      )
    ),
    distinct
  )

/** The pins of the maps that a load creates. Those that are shared by a pin of their own keep that one, and are not here. */
export const ofMaps = (object: BpfObject, folder: string): Result.Result<ReadonlyArray<Pin>, LifecycleError> =>
  pinsOf("map", folder, object.maps, (map) => map.autocreate && map.pinPath === undefined)

/** The pins of the programs that a load takes: those with autoload. */
export const ofPrograms = (object: BpfObject, folder: string): Result.Result<ReadonlyArray<Pin>, LifecycleError> =>
  pinsOf("program", folder, object.programs, (program) => program.entry && program.autoload)

/** The pins by which maps are shared: the paths that their definitions or the user gave. */
export const shared = (object: BpfObject): ReadonlyArray<Pin> =>
  object.maps.flatMap((map, position): ReadonlyArray<Pin> =>
    map.autocreate && map.pinPath !== undefined
      ? [{ kind: "map", name: map.name, ref: Ref.map(position), path: map.pinPath }]
      : []
  )

/** The pin of one map at a path of its own. The name is looked up by the rules of `findMap`. */
export const ofMap = (object: BpfObject, name: string, path: string): Result.Result<Pin, LifecycleError> => {
  const map: MapDefinition | undefined = findMap(object, name)
  return map === undefined
    ? Result.fail(refuse("NoSuchMap", name, "there is no such map", oneOf(object.maps.map((each) => each.name))))
    : Result.succeed({ kind: "map", name: map.name, ref: Ref.map(object.maps.indexOf(map)), path })
}

/** The pin of one program at a path of its own. */
export const ofProgram = (object: BpfObject, name: string, path: string): Result.Result<Pin, LifecycleError> => {
  const position = object.programs.findIndex((program) => program.entry && program.name === name)
  const known = object.programs.filter(({ entry }) => entry).map((program) => program.name)
  return position < 0
    ? Result.fail(refuse("NoSuchProgram", name, "there is no such program", oneOf(known)))
    : Result.succeed({ kind: "program", name, ref: Ref.prog(position), path })
}

/** The pins as steps, for a plan that pins what it loads. */
export const steps = (pins: ReadonlyArray<Pin>): LoadPlan =>
  pins.map(({ kind, name, path, ref }) => required({ _tag: "ObjPin", object: ref, path }, `pin of ${kind} ${name}`))

/** Pins all of these, or none. */
export const pinAll = (
  { changes, session }: PreparedObject,
  pins: ReadonlyArray<Pin>
): Effect.Effect<void, CallError | LifecycleError> =>
  changes.inTurn(
    Effect.andThen(
      Effect.fromResult(distinct(pins)),
      Effect.forEach(pins, ({ path, ref }) => session.call({ _tag: "ObjPin", object: ref, path }), { discard: true })
    ).pipe(Effect.onExit((exit) => Exit.isSuccess(exit) ? session.commit : session.rollback))
  )

/** The identifier of a map or program. */
const idOf = ({ session }: PreparedObject, ref: Ref.MapRef | Ref.ProgRef): Effect.Effect<number, CallError> => {
  const id = (info: { readonly id: number }): number => info.id
  return ref._tag === "Map"
    ? Effect.map(session.call({ _tag: "MapGetInfo", map: ref }), id)
    : Effect.map(session.call({ _tag: "ProgGetInfo", prog: ref }), id)
}

/** The identifier of what is pinned at a path; `undefined` where nothing is, `another` where it is of another kind. */
const pinnedId = (
  prepared: PreparedObject,
  { kind, path }: Pin
): Effect.Effect<number | "another" | undefined, CallError> => {
  const { changes, session } = prepared
  const as = kind === "map" ? changes.nextMap() : changes.nextProg()
  return session.call({ _tag: "ObjGet", as, path }).pipe(
    Effect.andThen(idOf(prepared, as)),
    Effect.catch((error): Effect.Effect<"another" | undefined, CallError> => {
      if (error._tag === "KernelError" && error.call === "ObjGet" && error.errno === "ENOENT") {
        return Effect.succeed(undefined)
      }
      return error._tag === "RefError" && error.reason === "WrongKind"
        ? Effect.succeed("another" as const)
        : Effect.fail(error)
    }),
    Effect.onExit(() =>
      Effect.suspend(() => session.exists(as) ? Effect.ignore(session.call({ _tag: "Close", ref: as })) : Effect.void)
    )
  )
}

/**
 * Takes these pins away; answers those that were there. Fails with `AnotherObject`, before anything is done, where a pin
 * names something else by now. The objects must still be open in the session, for they are what the pins are compared with.
 */
export const unpinAll = (
  prepared: PreparedObject,
  pins: ReadonlyArray<Pin>
): Effect.Effect<ReadonlyArray<Pin>, CallError | LifecycleError> =>
  prepared.changes.inTurn(Effect.gen(function*() {
    const { session } = prepared
    const there: Array<Pin> = []
    for (const pin of pins) {
      const found = yield* pinnedId(prepared, pin)
      if (found === undefined) continue
      if (found !== (yield* idOf(prepared, pin.ref))) {
        const detail = `what is pinned at ${pin.path} is not this ${pin.kind}`
        return yield* refuse(
          "AnotherObject",
          pin.name,
          detail,
          "somebody else has pinned it there: look before you remove it"
        )
      }
      there.push(pin)
    }
    for (const { path } of [...there].reverse()) {
      yield* Effect.catch(session.call({ _tag: "ObjUnpin", path }), (error) =>
        // Somebody else was faster.
        error._tag === "KernelError" && error.errno === "ENOENT" ? Effect.void : Effect.fail(error))
    }
    return there
  }))

/** Of these pins, those of what is there. */
const existing = ({ session }: PreparedObject, pins: ReadonlyArray<Pin>): ReadonlyArray<Pin> =>
  pins.filter(({ ref }) => session.exists(ref))

const mapsIn = (prepared: PreparedObject, folder: string): Result.Result<ReadonlyArray<Pin>, LifecycleError> =>
  Result.map(ofMaps(prepared.object, folder), (pins) => existing(prepared, pins))

/** Programs that are loaded, whatever their autoload says by now. */
const programsIn = (loaded: PreparedObject, folder: string): Result.Result<ReadonlyArray<Pin>, LifecycleError> =>
  pinsOf(
    "program",
    folder,
    loaded.object.programs,
    ({ entry }, position) => entry && loaded.session.exists(Ref.prog(position))
  )

const allIn = (loaded: PreparedObject, folder: string): Result.Result<ReadonlyArray<Pin>, LifecycleError> =>
  Result.flatMap(
    mapsIn(loaded, folder),
    (maps) => Result.flatMap(programsIn(loaded, folder), (programs) => distinct([...maps, ...programs]))
  )

const doing = (
  prepared: PreparedObject,
  folder: string,
  which: (prepared: PreparedObject, folder: string) => Result.Result<ReadonlyArray<Pin>, LifecycleError>
): Effect.Effect<ReadonlyArray<Pin>, CallError | LifecycleError> =>
  Effect.flatMap(
    Effect.suspend(() => Effect.fromResult(which(prepared, folder))),
    (pins) => Effect.as(pinAll(prepared, pins), pins)
  )

const undoing = (
  prepared: PreparedObject,
  folder: string,
  which: (prepared: PreparedObject, folder: string) => Result.Result<ReadonlyArray<Pin>, LifecycleError>
): Effect.Effect<ReadonlyArray<Pin>, CallError | LifecycleError> =>
  Effect.flatMap(
    Effect.suspend(() => Effect.fromResult(which(prepared, folder))),
    (pins) => unpinAll(prepared, pins)
  )

/** Pins the maps that are there in a folder. Maps that are shared by a pin of their own keep that one. */
export const pinMaps = (prepared: PreparedObject, folder: string) => doing(prepared, folder, mapsIn)

/** Takes the pins of `pinMaps` away. */
export const unpinMaps = (prepared: PreparedObject, folder: string) => undoing(prepared, folder, mapsIn)

/** Pins the programs that are loaded in a folder. */
export const pinPrograms = (loaded: LoadedObject, folder: string) => doing(loaded, folder, programsIn)

/** Takes the pins of `pinPrograms` away. */
export const unpinPrograms = (loaded: LoadedObject, folder: string) => undoing(loaded, folder, programsIn)

/** Pins the whole object in a folder: its maps, then the programs that are loaded. */
export const pin = (loaded: LoadedObject, folder: string) => doing(loaded, folder, allIn)

/** Takes the pins of `pin` away, the last one first. */
export const unpin = (loaded: LoadedObject, folder: string) => undoing(loaded, folder, allIn)

/** Takes the pins away by which maps are shared: the next load creates maps of its own. */
export const unpinShared = (prepared: PreparedObject): Effect.Effect<ReadonlyArray<Pin>, CallError | LifecycleError> =>
  Effect.suspend(() => unpinAll(prepared, existing(prepared, shared(prepared.object))))
