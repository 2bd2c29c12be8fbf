/**
 * The calls on many elements of maps, and those that take elements away as they read them, made with bpf(2).
 */
import * as Effect from "effect/Effect"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import { flagsComplaint } from "../abi/ElementSize.ts"
import * as Errno from "../abi/Errno.ts"
import type { ElementCalls } from "../calls/ElementCalls.ts"
import { type CallError, fromErrno, type KernelError } from "../KernelError.ts"
import type * as Ref from "../Ref.ts"
import type { Bound, Handlers, Performed } from "../Session.ts"
import { type Context, handleOf } from "./Context.ts"
import { type Answer, attemptsOf, enter, invalid, once, patience } from "./Enter.ts"
import { expectedValueLength, type Handle, type MapHandle, valueLength } from "./Handle.ts"
import * as Hints from "./Hints.ts"

type Tag = keyof ElementCalls

const done: Performed<Handle, void> = { result: undefined }

/** Where a batch ends is a number of 4 bytes or a key, whichever is longer. */
const cursorLength = (keySize: number): number => Math.max(4, keySize)

/** Errors with which a batch can end that has given elements already. */
const ended: ReadonlySet<number> = new Set([
  Errno.numbers.ENOENT,
  Errno.numbers.EBUSY,
  Errno.numbers.ENOMEM,
  Errno.numbers.EINTR,
  Errno.numbers.EAGAIN
])

/** A map with the bytes that a value of it has in these calls. */
interface Elements {
  readonly map: MapHandle
  readonly keySize: number
  readonly valueSize: number
}

/** The handlers of these calls. */
export const handlers = (context: Context): Pick<Handlers<Handle>, Tag> => {
  const { sys } = context

  const elementsOf = Effect.fnUntraced(function*(
    call: Tag,
    bound: Bound<Handle>,
    ref: Ref.MapRef,
    flags: bigint
  ): Effect.fn.Return<Elements, CallError> {
    const map = yield* handleOf(bound, call, ref)
    const cpus = yield* Effect.fromResult(context.possibleCpus())
    const complaint = flagsComplaint(map.shape.type, flags, cpus)
    if (complaint !== undefined) return yield* invalid(call, map.name, complaint)
    return { map, keySize: map.shape.keySize, valueSize: expectedValueLength(map.shape, cpus, flags) }
  })

  /** Complains of bytes that are not as many as the kernel would read. */
  const check = (
    call: Tag,
    { map }: Elements,
    what: string,
    each: number,
    count: number,
    given: number
  ): Effect.Effect<void, KernelError> =>
    Number.isSafeInteger(count) && count >= 0 && given === each * count
      ? Effect.void
      : Effect.fail(
        invalid(call, map.name, `${what} of this map have ${each} bytes: ${count} of them are not ${given} bytes`)
      )

  /** The kernel says how many elements it has done; where it has refused the whole batch it leaves what it was given. */
  const change = (
    call: "MapUpdateBatch" | "MapDeleteBatch",
    bound: Bound<Handle>,
    { map }: Elements,
    count: number,
    values: Arena.Values<typeof Attr.MapBatch>
  ): Effect.Effect<Performed<Handle, void>, CallError> =>
    attemptsOf(bound).persist(
      undefined,
      Effect.flatMap(
        enter(sys, {
          call,
          subject: map.name,
          command: call === "MapUpdateBatch" ? Command.BPF_MAP_UPDATE_BATCH : Command.BPF_MAP_DELETE_BATCH,
          layout: Attr.MapBatch,
          values: { map_fd: map.fd, count, ...values },
          accept: "All"
        }),
        ({ arena, result }) => {
          if (result >= 0) return Effect.succeed(done)
          const told = Arena.field(arena, "count")
          const hint = Hints.ofCall[call](Errno.fromNumber(-result))
          return Effect.fail(
            fromErrno(call, map.name, -result, {
              done: told < count ? told : 0,
              ...(hint === undefined ? {} : { hint })
            })
          )
        }
      ),
      // What a signal has cut short must not be begun again from the first element.
      {}
    )

  return {
    MapLookupAndDelete: Effect.fnUntraced(function*(call, bound) {
      const elements = yield* elementsOf(call._tag, bound, call.map, call.flags)
      const { keySize, map, valueSize } = elements
      yield* check(call._tag, elements, "keys", keySize, 1, call.key.length)
      yield* check(call._tag, elements, "values", valueSize, 1, call.valueSize)
      const cpus = yield* Effect.fromResult(context.possibleCpus())
      const { arena, result } = yield* once(sys, bound, {
        call: call._tag,
        subject: map.name,
        command: Command.BPF_MAP_LOOKUP_AND_DELETE_ELEM,
        layout: Attr.MapElement,
        values: {
          map_fd: map.fd,
          key: Arena.bytes(call.key),
          value: Arena.room(valueLength(map.shape, cpus)),
          flags: call.flags
        },
        accept: [Errno.numbers.ENOENT]
      })
      return { result: result < 0 ? undefined : Arena.region(arena, "value").slice(0, valueSize) }
    }),

    MapLookupBatch: Effect.fnUntraced(function*(call, bound) {
      const elements = yield* elementsOf(call._tag, bound, call.map, call.flags)
      const { keySize, map, valueSize } = elements
      const { after, count } = call
      yield* check(call._tag, elements, "keys", keySize, 1, call.keySize)
      yield* check(call._tag, elements, "values", valueSize, 1, call.valueSize)
      if (!Number.isSafeInteger(count) || count <= 0) {
        return yield* invalid(call._tag, map.name, "a batch has at least one element")
      }
      if (after !== undefined && after.length !== cursorLength(keySize)) {
        return yield* invalid(call._tag, map.name, "this is not where a batch of this map has ended")
      }
      const attempt: Effect.Effect<Answer<typeof Attr.MapBatch>, KernelError> = enter(sys, {
        call: call._tag,
        subject: map.name,
        command: call.remove ? Command.BPF_MAP_LOOKUP_AND_DELETE_BATCH : Command.BPF_MAP_LOOKUP_BATCH,
        layout: Attr.MapBatch,
        values: {
          map_fd: map.fd,
          in_batch: after === undefined ? undefined : Arena.bytes(after),
          out_batch: Arena.room(cursorLength(keySize)),
          keys: Arena.room(keySize * count),
          values: Arena.room(valueSize * count),
          count,
          elem_flags: call.flags
        },
        accept: "All"
      })
      const answer = yield* attemptsOf(bound).persist(
        undefined,
        Effect.flatMap(attempt, (answer) => {
          const { arena, result } = answer
          // What was given is given, and with it what was taken away: the next batch meets the error again.
          const given = Arena.field(arena, "count")
          const fine = result >= 0 || result === -Errno.numbers.ENOENT ||
            (ended.has(-result) && given > 0)
          if (fine) return Effect.succeed(answer)
          const hint = Hints.ofCall[call._tag](Errno.fromNumber(-result))
          return Effect.fail(fromErrno(call._tag, map.name, -result, hint === undefined ? {} : { hint }))
        }),
        patience
      )
      const { arena, result } = answer
      const given = Math.min(Arena.field(arena, "count"), count)
      return {
        result: {
          count: given,
          keys: Arena.region(arena, "keys").subarray(0, given * keySize),
          values: Arena.region(arena, "values").subarray(0, given * valueSize),
          next: result === -Errno.numbers.ENOENT ? undefined : Arena.region(arena, "out_batch").slice()
        }
      }
    }),

    MapUpdateBatch: Effect.fnUntraced(function*(call, bound) {
      const elements = yield* elementsOf(call._tag, bound, call.map, call.flags)
      const { count, keys, values } = call
      yield* check(call._tag, elements, "keys", elements.keySize, count, keys.length)
      yield* check(call._tag, elements, "values", elements.valueSize, count, values.length)
      return yield* change(call._tag, bound, elements, count, {
        keys: Arena.bytes(keys),
        values: Arena.bytes(values),
        elem_flags: call.flags
      })
    }),

    MapDeleteBatch: Effect.fnUntraced(function*(call, bound) {
      const elements = yield* elementsOf(call._tag, bound, call.map, call.flags)
      const { count, keys } = call
      yield* check(call._tag, elements, "keys", elements.keySize, count, keys.length)
      return yield* change(call._tag, bound, elements, count, { keys: Arena.bytes(keys), elem_flags: call.flags })
    })
  }
}
