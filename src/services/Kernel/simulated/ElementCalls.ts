/**
 * The calls on many elements of maps, and those that take elements away as they read them, by the simulated maps.
 */
import * as Result from "effect/Result"
import * as Maps from "../../../vm/maps/SimulatedMap.ts"
import { flagsComplaint } from "../abi/ElementSize.ts"
import * as Errno from "../abi/Errno.ts"
import * as Hints from "../abi/Hints.ts"
import type { ElementCalls } from "../calls/ElementCalls.ts"
import { type CallError, fromErrno } from "../KernelError.ts"
import type { Handlers, Performed } from "../Session.ts"
import type { Context } from "./Context.ts"
import { changing, expectedValueLength } from "./MapCalls.ts"
import { drop, type Handle, type KernelObject, type MapObject } from "./Objects.ts"
import * as Refuse from "./Refuse.ts"

type Tag = keyof ElementCalls

const done: Performed<Handle, void> = { result: undefined }

const check = (
  call: Tag,
  map: MapObject,
  what: string,
  each: number,
  count: number,
  given: number
): Result.Result<void, CallError> =>
  Number.isSafeInteger(count) && count >= 0 && given === each * count
    ? Result.succeed(undefined)
    : Result.fail(
      Refuse.invalid(call, map.name, `${what} of this map have ${each} bytes: ${count} of them are not ${given} bytes`)
    )

const checkFlags = (call: Tag, { map, name }: MapObject, flags: bigint): Result.Result<void, CallError> => {
  const complaint = flagsComplaint(map.shape.attr.type, flags, map.shape.cpus)
  return complaint === undefined ? Result.succeed(undefined) : Result.fail(Refuse.invalid(call, name, complaint))
}

/** The answer to a batch of changes: an error tells how many elements were done before it. */
const answered = (
  call: "MapUpdateBatch" | "MapDeleteBatch",
  map: MapObject,
  { done: before, failure }: Maps.Changed
): Result.Result<typeof done, CallError> => {
  if (failure === undefined) return Result.succeed(done)
  if (typeof failure !== "string") return Refuse.answered(call, map.name, Result.fail(failure))
  const hint = Hints.ofCall[call](failure)
  return Result.fail(
    fromErrno(call, map.name, Errno.numbers[failure], { done: before, ...(hint === undefined ? {} : { hint }) })
  )
}

/** What the slots of a map of maps or programs hold. */
const heldBy = ({ map }: MapObject): ReadonlyArray<KernelObject> => Maps.held(map).map(({ handle }) => handle)

/** The handlers of these calls. */
export const handlers = (context: Context): Pick<Handlers<Handle>, Tag> => ({
  MapLookupAndDelete: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const map = yield* Refuse.handleOf(bound, call._tag, call.map)
        yield* checkFlags(call._tag, map, call.flags)
        yield* check(call._tag, map, "keys", map.map.shape.attr.keySize, 1, call.key.length)
        yield* check(call._tag, map, "values", expectedValueLength(map.map, call.flags), 1, call.valueSize)
        const value = Maps.userLookupAndDelete(map.map, call.key, call.flags)
        const result = Result.isFailure(value) && value.failure === "ENOENT"
          ? undefined
          : (yield* Refuse.answered(call._tag, map.name, value)).slice()
        return { result }
      })),

  MapLookupBatch: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const map = yield* Refuse.handleOf(bound, call._tag, call.map)
        const { keySize } = map.map.shape.attr
        yield* checkFlags(call._tag, map, call.flags)
        yield* check(call._tag, map, "keys", keySize, 1, call.keySize)
        yield* check(call._tag, map, "values", expectedValueLength(map.map, call.flags), 1, call.valueSize)
        if (!Number.isSafeInteger(call.count) || call.count <= 0) {
          return yield* Result.fail(Refuse.invalid(call._tag, map.name, "a batch has at least one element"))
        }
        if (call.after !== undefined && call.after.length !== Math.max(4, keySize)) {
          return yield* Result.fail(
            Refuse.invalid(call._tag, map.name, "this is not where a batch of this map has ended")
          )
        }
        const { after, count, flags, remove } = call
        const before = remove ? heldBy(map) : []
        const batch = yield* Refuse.answered(
          call._tag,
          map.name,
          Maps.userLookupBatch(map.map, { remove, after, count, flags })
        )
        if (before.length > 0) {
          const left = new Map<KernelObject, number>()
          for (const object of heldBy(map)) left.set(object, (left.get(object) ?? 0) + 1)
          for (const object of before) {
            const still = left.get(object) ?? 0
            if (still > 0) left.set(object, still - 1)
            else drop(context.environment, object, "kernel")
          }
        }
        return { result: batch }
      })),

  MapUpdateBatch: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const map = yield* Refuse.handleOf(bound, call._tag, call.map)
        yield* checkFlags(call._tag, map, call.flags)
        yield* check(call._tag, map, "keys", map.map.shape.attr.keySize, call.count, call.keys.length)
        yield* check(
          call._tag,
          map,
          "values",
          expectedValueLength(map.map, call.flags),
          call.count,
          call.values.length
        )
        return yield* answered(
          call._tag,
          map,
          Maps.userUpdateBatch(map.map, call.count, call.keys, call.values, call.flags)
        )
      })),

  MapDeleteBatch: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const map = yield* Refuse.handleOf(bound, call._tag, call.map)
        yield* checkFlags(call._tag, map, call.flags)
        yield* check(call._tag, map, "keys", map.map.shape.attr.keySize, call.count, call.keys.length)
        const deleted = Maps.userDeleteBatch(
          map.map,
          call.count,
          call.keys,
          call.flags,
          (key) => changing(context, map, key, () => Maps.userDelete(map.map, key))
        )
        return yield* answered(call._tag, map, deleted)
      }))
})
