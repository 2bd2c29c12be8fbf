/**
 * An object that an earlier load has pinned, opened again: in another process, or after this one has let go of it.
 *
 * Each map and program is looked for where `Pins` puts it, maps that are shared by a pin of their own at that path, and
 * compared with the object: maps in every field that must be equal for one map to stand in for another, programs by type
 * and name, and by their tags where those are given. Nothing is loaded, so nothing of the object can be loaded into the
 * session later either; maps can be read and written, programs run, everything can be unpinned.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { MapFlag, progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import { Kernel, type Session, type SessionOptions } from "../../services/Kernel/Kernel.ts"
import type { CallError, KernelError } from "../../services/Kernel/KernelError.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import * as Asked from "../Asked.ts"
import { type BpfObject, isGlobalData, type MapDefinition, type Program } from "../open/BpfObject.ts"
import * as Execute from "./Execute.ts"
import { type LifecycleError, refuse } from "./LifecycleError.ts"
import * as MapSteps from "./MapSteps.ts"
import { differences } from "./PinnedMap.ts"
import * as Pins from "./Pins.ts"

/** How an object is opened again. */
export interface ReopenOptions extends SessionOptions {
  /** Whether what is not pinned fails the whole, which is the default, or is left absent. */
  readonly missing?: "fail" | "absent"
  /** By program: the tag that it must have, as `ProgGetInfo` told it when it was pinned. Tags depend on the kernel. */
  readonly tags?: Readonly<Record<string, string>>
}

/** Bytes of a program's name that the kernel keeps. */
const nameBytes = 15

/** In what a program is not the object's. */
const programDifferences = Effect.fnUntraced(function*(
  session: Session,
  pin: Pins.Pin,
  program: Program,
  tag: string | undefined
): Effect.fn.Return<ReadonlyArray<string>, CallError> {
  if (pin.ref._tag !== "Prog") return []
  const info = yield* session.call({ _tag: "ProgGetInfo", prog: pin.ref })
  const name = program.name.slice(0, nameBytes)
  const rows: ReadonlyArray<readonly [string, string, string]> = [
    ["type", progTypeName(info.type), progTypeName(program.type)],
    // Kernels before 4.15 keep no names.
    ["name", info.name, info.name === "" ? "" : name],
    ["tag", info.tag, tag ?? info.tag]
  ]
  return rows.filter(([, is, wants]) => is !== wants).map(([field, is, wants]) => `${field} is ${is}, not ${wants}`)
})

/** In what a map is not the object's. */
const mapDifferences = Effect.fnUntraced(function*(
  session: Session,
  pin: Pins.Pin,
  map: MapDefinition,
  info: KernelInfo.KernelInfo
): Effect.fn.Return<ReadonlyArray<string>, CallError> {
  if (pin.ref._tag !== "Map") return []
  const found = yield* session.call({ _tag: "MapGetInfo", map: pin.ref })
  const wanted = MapSteps.shapeOf(MapSteps.sized(map.attr, info).attr)
  // The kernel's struct around the object's decides the size.
  if (map.origin === "StructOps") return differences({ ...found, type: wanted.type }, found)
  // Kernels before 5.5 do not map arrays, and get them without the flag.
  return isGlobalData(map)
    ? differences(
      { ...wanted, flags: wanted.flags & ~MapFlag.BPF_F_MMAPABLE },
      { ...found, flags: found.flags & ~MapFlag.BPF_F_MMAPABLE }
    )
    : differences(wanted, found)
})

/** What must be known of the kernel to say how large maps are. */
const known = (object: BpfObject) =>
  Asked.drive((info): Result.Result<Asked.Asked<undefined>> => {
    const needs = object.maps.flatMap(MapSteps.requirementsOf).filter((each) =>
      KernelInfo.factOf(info, each)._tag === "Unasked"
    )
    const distinct = [...new Map(needs.map((each) => [KernelInfo.describe(each), each])).values()]
    return Result.succeed(distinct.length > 0 ? Asked.needs(distinct) : Asked.done(undefined))
  })

/** Opens a pin; whether it was there, and in what it differs. */
const openOne = Effect.fnUntraced(function*(
  session: Session,
  object: BpfObject,
  info: KernelInfo.KernelInfo,
  pin: Pins.Pin,
  tags: Readonly<Record<string, string>>
): Effect.fn.Return<{ readonly found: boolean; readonly differing: ReadonlyArray<string> }, CallError> {
  const opened = yield* Effect.result(session.call({ _tag: "ObjGet", as: pin.ref, path: pin.path }))
  if (Result.isFailure(opened)) {
    const error = opened.failure
    if (error._tag === "KernelError" && error.errno === "ENOENT") return { found: false, differing: [] }
    if (error._tag === "RefError" && error.reason === "WrongKind") {
      return { found: true, differing: [`it is no ${pin.kind}`] }
    }
    return yield* error
  }
  const map = pin.ref._tag === "Map" ? object.maps[pin.ref.index] : undefined
  const program = pin.ref._tag === "Prog" ? object.programs[pin.ref.index] : undefined
  const differing = map !== undefined
    ? yield* mapDifferences(session, pin, map, info)
    : program !== undefined
    ? yield* programDifferences(session, pin, program, Object.hasOwn(tags, pin.name) ? tags[pin.name] : undefined)
    : []
  return { found: true, differing }
})

/**
 * Opens the maps and programs of an object that are pinned in a folder, in a session of its own, which lives as long as the
 * surrounding scope. Fails with `Missing`, which names all that are not pinned, unless they may be absent; and with
 * `AnotherObject`, which says of each pin that is not the object's in what it differs.
 */
export const reopen = Effect.fnUntraced(function*(
  object: BpfObject,
  folder: string,
  options: ReopenOptions = {}
): Effect.fn.Return<
  Execute.LoadedObject,
  LifecycleError | CallError | KernelError | Asked.UnansweredError,
  Kernel | Scope.Scope
> {
  const { missing: whenMissing = "fail", tags = {}, ...sessionOptions } = options
  const maps = yield* Effect.fromResult(Pins.ofMaps(object, folder))
  const programs = yield* Effect.fromResult(Pins.ofPrograms(object, folder))
  const { info } = yield* known(object)
  const kernel = yield* Kernel
  const session = yield* kernel.session(sessionOptions)
  const missing: Array<Pins.Pin> = []
  const wrong: Array<string> = []
  for (const pin of [...Pins.shared(object), ...maps, ...programs]) {
    const { differing, found } = yield* openOne(session, object, info, pin, tags)
    if (!found) missing.push(pin)
    if (differing.length > 0) wrong.push(`${pin.kind} ${pin.name} at ${pin.path}: ${differing.join("; ")}`)
  }
  if (wrong.length > 0) {
    const hint = "these pins are of another load: choose another folder, or remove them"
    return yield* refuse("AnotherObject", object.name, wrong.join(", and "), hint)
  }
  if (missing.length > 0 && whenMissing === "fail") {
    const names = missing.map(({ kind, name, path }) => `${kind} ${name} (${path})`).join(", ")
    const hint = "pin the object first, or take what is there with missing: \"absent\""
    return yield* refuse("Missing", object.name, `not pinned: ${names}`, hint)
  }
  return Execute.withPrograms(Execute.inSession({ object, plan: [] }, session))
})
