/**
 * Changes of many elements in a few calls, and one by one where the kernel, or the type of the map, has no batches.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { CallError } from "../services/Kernel/KernelError.ts"
import { isErrno, isUnable, removeBytes, type SetOptions, setFlags, type Source } from "./Element.ts"
import { BatchError, type MapError } from "./MapError.ts"
import { batchCount } from "./Walk.ts"

/** Encoded elements of one batch. */
interface Encoded {
  readonly count: number
  readonly keys: Uint8Array
  readonly values: Uint8Array
}

const batchError = (map: string, done: number, of: number, error: CallError): MapError | BatchError =>
  error._tag === "KernelError"
    ? new BatchError({ map, done, of, errno: error.errno, ...(error.hint === undefined ? {} : { hint: error.hint }) })
    : error

/** Encodes the next elements, as many as one batch takes. Nothing is sent where one of them does not fit its type. */
const encode = <K, V>(
  source: Source<K, V>,
  entries: ReadonlyArray<readonly [K, V]>,
  from: number
): Result.Result<Encoded, MapError> => {
  const count = Math.min(batchCount(source), entries.length - from)
  const keys = new Uint8Array(count * source.key.size)
  const values = new Uint8Array(count * source.value.size)
  for (let index = 0; index < count; index++) {
    const entry = entries[from + index]
    if (entry === undefined) break
    const key = source.key.encode(entry[0])
    if (Result.isFailure(key)) return Result.fail(key.failure)
    const value = source.value.encode(entry[1])
    if (Result.isFailure(value)) return Result.fail(value.failure)
    keys.set(key.success, index * source.key.size)
    values.set(value.success, index * source.value.size)
  }
  return Result.succeed({ count, keys, values })
}

/** Whether every element has bytes, so that nothing is sent when one has none. */
const check = <K, V>(source: Source<K, V>, entries: ReadonlyArray<readonly [K, V]>): Result.Result<void, MapError> => {
  const most = batchCount(source)
  // What one batch takes is encoded once, and checked thereby.
  if (entries.length <= most) return Result.succeed(undefined)
  for (const [key, value] of entries) {
    const bytes = Result.flatMap(source.key.encode(key), () => source.value.encode(value))
    if (Result.isFailure(bytes)) return Result.fail(bytes.failure)
  }
  return Result.succeed(undefined)
}

/**
 * Sets elements in order; answers how many there were. Values that do not fit are found before anything is set. What the kernel
 * refuses is a `BatchError` that tells how many were set before, which stay.
 */
export const setAll = <K, V>(
  source: Source<K, V>,
  elements: Iterable<readonly [K, V]>,
  options?: SetOptions
): Effect.Effect<number, MapError | BatchError> =>
  Effect.gen(function*() {
    const entries = [...elements]
    const { map, name, session } = source
    const flags = setFlags(options)
    yield* Effect.fromResult(check(source, entries))
    // Batches know the lock alone.
    let batches = options?.when === undefined || options.when === "Any"
    let done = 0
    const one = (batch: Encoded, index: number) =>
      session.call({
        _tag: "MapUpdate",
        map,
        key: batch.keys.subarray(index * source.key.size, (index + 1) * source.key.size),
        value: {
          bytes: batch.values.subarray(index * source.value.size, (index + 1) * source.value.size),
          refs: []
        },
        flags
      })
    while (done < entries.length) {
      const batch = yield* Effect.fromResult(encode(source, entries, done))
      let at = 0
      if (batches) {
        const answer = yield* Effect.result(session.call({ _tag: "MapUpdateBatch", map, ...batch, flags }))
        if (Result.isSuccess(answer)) at = batch.count
        else {
          const refused = answer.failure
          at = refused._tag === "KernelError" ? refused.done ?? 0 : 0
          if (!isUnable(refused)) return yield* Effect.fail(batchError(name, done + at, entries.length, refused))
          batches = at > 0
        }
      }
      for (; at < batch.count; at++) {
        yield* Effect.mapError(one(batch, at), (error) => batchError(name, done + at, entries.length, error))
      }
      done += batch.count
    }
    return done
  })

/**
 * Removes the elements of these keys; answers how many there were. What the kernel refuses is a `BatchError`, whose `done` counts
 * the keys that were dealt with, missing ones among them.
 */
export const deleteAll = <K, V>(
  source: Source<K, V>,
  keys: Iterable<K>
): Effect.Effect<number, MapError | BatchError> =>
  Effect.gen(function*() {
    const all = [...keys]
    const { key, map, name, session } = source
    const encoded: Array<Uint8Array> = []
    for (const each of all) encoded.push(yield* Effect.fromResult(key.encode(each)))
    const most = batchCount(source)
    let batches = true
    let done = 0
    let removed = 0
    while (done < encoded.length) {
      if (!batches) {
        const one = encoded[done] ?? new Uint8Array(0)
        const had = yield* Effect.mapError(
          removeBytes(session, map, one),
          (error) => batchError(name, done, encoded.length, error)
        )
        if (had) removed++
        done++
        continue
      }
      const count = Math.min(most, encoded.length - done)
      const flat = new Uint8Array(count * key.size)
      for (let index = 0; index < count; index++) flat.set(encoded[done + index] ?? [], index * key.size)
      const answer = yield* Effect.result(
        session.call({ _tag: "MapDeleteBatch", map, count, keys: flat, flags: 0n })
      )
      const refused = Result.isFailure(answer) ? answer.failure : undefined
      const gone = refused === undefined ? count : refused._tag === "KernelError" ? refused.done ?? 0 : 0
      removed += gone
      done += gone
      if (refused === undefined) continue
      // A key that is not there ends a batch.
      if (isErrno(refused, "ENOENT")) done++
      else if (isUnable(refused) && gone === 0) batches = false
      else if (!isUnable(refused)) return yield* Effect.fail(batchError(name, done, encoded.length, refused))
    }
    return removed
  })
