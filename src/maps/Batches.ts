/**
 * Changes of many elements in a few calls, and one by one where the kernel, or the type of the map, has no batches.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { CallError } from "../services/Kernel/KernelError.ts"
import { type Half, isErrno, isUnable, removeBytes, type SetOptions, setFlags, type Source } from "./Element.ts"
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

/** Encodes elements, all of them before any is sent: nothing is, where one does not fit its type. */
const encode = <K, V>(
  source: Source<K, V>,
  entries: ReadonlyArray<readonly [K, V]>
): Result.Result<Encoded, MapError> => {
  const { key, value } = source
  const count = entries.length
  const keys = new Uint8Array(count * key.size)
  const values = new Uint8Array(count * value.size)
  let index = 0
  for (const [of, to] of entries) {
    const keyBytes = key.encode(of)
    if (Result.isFailure(keyBytes)) return Result.fail(keyBytes.failure)
    const bytes = value.encode(to)
    if (Result.isFailure(bytes)) return Result.fail(bytes.failure)
    keys.set(keyBytes.success, index * key.size)
    values.set(bytes.success, index * value.size)
    index++
  }
  return Result.succeed({ count, keys, values })
}

/** Some of the elements. */
const part = (
  source: { readonly key: Pick<Half<never>, "size">; readonly value: Pick<Half<never>, "size"> },
  all: Encoded,
  from: number,
  count: number
): Encoded => ({
  count,
  keys: all.keys.subarray(from * source.key.size, (from + count) * source.key.size),
  values: all.values.subarray(from * source.value.size, (from + count) * source.value.size)
})

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
    const all = yield* Effect.fromResult(encode(source, entries))
    const most = batchCount(source)
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
      const batch = part(source, all, done, Math.min(most, entries.length - done))
      let at = 0
      if (batches) {
        const answer = yield* Effect.result(session.call({ _tag: "MapUpdateBatch", map, ...batch, flags }))
        if (Result.isSuccess(answer)) at = batch.count
        else {
          const refused = answer.failure
          at = refused._tag === "KernelError" ? refused.done ?? 0 : 0
          if (!isUnable(refused)) return yield* batchError(name, done + at, entries.length, refused)
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
      else if (!isUnable(refused)) return yield* batchError(name, done, encoded.length, refused)
    }
    return removed
  })
