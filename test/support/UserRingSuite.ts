/** What a producer of a user ring buffer does, on the live and the simulated kernel. */
import { assert, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { bytes, type Codec } from "../../src/btf/Codec.ts"
import * as UserRingBuffer from "../../src/events/UserRingBuffer.ts"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as Globals from "../../src/stages/load/Globals.ts"
import { loadFixture } from "./LoadFixture.ts"
import { mapNamed, numbers, runContext, runNamed } from "./RingProducer.ts"

const size = 4096

/** What took the records, and a producer. */
const opened = Effect.fnUntraced(function*(kernel: KernelShape) {
  const loaded = yield* loadFixture("ring_flood.bpf.o", { kernel })
  const ring = yield* UserRingBuffer.open(loaded.session, mapNamed(loaded, "orders"))
  const globals = yield* Globals.open(loaded)
  return {
    ring,
    /** Runs the program that takes records; answers how many it took. */
    drain: (flags = 0) =>
      Effect.map(runNamed(loaded, "take_orders", runContext({ events: 0, flags })), ({ retval }) => retval),
    seen: Effect.all([globals.get("orders_seen"), globals.get("orders_wrong")])
  }
})

const reasonOf = <A>(result: Result.Result<A, { readonly _tag: string; readonly reason: string }>): string =>
  Result.isFailure(result) ? result.failure.reason : "no failure"

const succeeded = <A, E>(result: Result.Result<A, E>): A =>
  Result.isSuccess(result) ? result.success : assert.fail(String(result.failure))

/** The same tests on every kernel. */
export const suite = (kernelOf: Effect.Effect<KernelShape, unknown>): void => {
  const withRing = (
    body: (opened: Effect.Success<ReturnType<typeof openedWith>>) => Effect.Effect<void, unknown>
  ) =>
    Effect.scoped(
      Effect.flatMap(kernelOf, (kernel) =>
        Effect.flatMap(opened(kernel), body).pipe(Effect.provideService(Kernel, kernel)))
    )
  const openedWith = opened

  it.live("hands records to a program in the order in which they were reserved, whatever the order they are finished in", () =>
    withRing(({ drain, ring, seen }) =>
      Effect.gen(function*() {
        const put = (value: bigint) => {
          const reserved = succeeded(UserRingBuffer.reserve(ring, 8))
          new DataView(reserved.bytes.buffer, reserved.bytes.byteOffset).setBigUint64(0, value, true)
          return reserved
        }
        const [zero, gone, one, two] = [put(0n), put(99n), put(1n), put(2n)]
        succeeded(UserRingBuffer.submit(ring, two))
        assert.strictEqual(yield* drain(), 0)
        succeeded(UserRingBuffer.submit(ring, zero))
        assert.strictEqual(yield* drain(), 1)
        succeeded(UserRingBuffer.discard(ring, gone))
        assert.strictEqual(yield* drain(), 0)
        succeeded(UserRingBuffer.submit(ring, one))
        assert.strictEqual(yield* drain(), 2)
        assert.deepStrictEqual(yield* seen, [3n, 0n])
        assert.strictEqual(reasonOf(UserRingBuffer.submit(ring, one)), "Finished")
        assert.strictEqual(reasonOf(UserRingBuffer.discard(ring, gone)), "Finished")
        assert.deepStrictEqual(ring.counters, { submitted: 3, bytes: 24, discarded: 1, waits: 0 })
      })
    ))

  it.live("goes around the end at every alignment", () =>
    withRing(({ drain, ring, seen }) =>
      Effect.gen(function*() {
        let next = 0n
        for (let round = 0; round < 800; round++) {
          const length = 8 + (round * 13) % 90
          const reserved = succeeded(UserRingBuffer.reserve(ring, length))
          assert.strictEqual(reserved.bytes.length, length)
          reserved.bytes.fill(0xaa)
          new DataView(reserved.bytes.buffer, reserved.bytes.byteOffset).setBigUint64(0, next++, true)
          succeeded(UserRingBuffer.submit(ring, reserved))
          if (round % 7 === 0) yield* drain()
        }
        yield* drain()
        assert.deepStrictEqual(yield* seen, [next, 0n])
      })
    ))

  it.live("says why a record cannot be written", () =>
    withRing(({ drain, ring }) =>
      Effect.gen(function*() {
        assert.strictEqual(reasonOf(UserRingBuffer.reserve(ring, size - 7)), "TooLarge")
        for (const length of [2 ** 24, 2 ** 30, 2 ** 32 + 8, Number.MAX_SAFE_INTEGER]) {
          assert.strictEqual(reasonOf(UserRingBuffer.reserve(ring, length)), "TooLarge")
        }
        for (const length of [-1, 0.5, Number.NaN]) {
          assert.strictEqual(reasonOf(UserRingBuffer.reserve(ring, length)), "Argument")
        }
        const whole = succeeded(UserRingBuffer.reserve(ring, size - 8))
        assert.strictEqual(reasonOf(UserRingBuffer.reserve(ring, 0)), "NoRoom")
        succeeded(UserRingBuffer.submit(ring, whole))
        assert.strictEqual(yield* drain(), 1)
        const empty = succeeded(UserRingBuffer.reserve(ring, 0))
        assert.strictEqual(empty.bytes.length, 0)
        const huge: Codec<bigint> = { ...numbers, encode: () => Result.succeed(new Uint8Array(size)) }
        assert.strictEqual(reasonOf(UserRingBuffer.offer(ring, huge, 1n)), "TooLarge")
        assert.strictEqual(reasonOf(UserRingBuffer.offer(ring, bytes(4), new Uint8Array(5))), "Size")
        assert.strictEqual(
          (yield* Effect.flip(UserRingBuffer.send(ring, numbers, 1n, { timeout: -2 })) as Effect.Effect<
            UserRingBuffer.UserRingBufferError
          >).reason,
          "Argument"
        )
      })
    ))

  it.live("waits for room, as long as it takes or until the time is over", () =>
    withRing(({ drain, ring, seen }) =>
      Effect.gen(function*() {
        // 256 records of 16 bytes fill it.
        for (let number = 0n; number < 256n; number++) succeeded(UserRingBuffer.offer(ring, numbers, number))
        const late = yield* Effect.flip(UserRingBuffer.send(ring, numbers, 0n, { timeout: 10 }))
        assert.strictEqual(late._tag === "UserRingBufferError" ? late.reason : late._tag, "NoRoom")
        const at = performance.now()
        const never = yield* Effect.flip(UserRingBuffer.reserveWhenFree(ring, 8, { timeout: 0 }))
        assert.strictEqual(never._tag === "UserRingBufferError" ? never.reason : never._tag, "NoRoom")
        assert.isBelow(performance.now() - at, 10_000)
        const sent = yield* Effect.forkChild(UserRingBuffer.send(ring, numbers, 256n, { timeout: -1 }))
        const large = yield* Effect.forkChild(Effect.andThen(
          Fiber.join(sent),
          UserRingBuffer.write(ring, 3000, (room) =>
            Effect.sync(() =>
              room.set(new Uint8Array(BigUint64Array.of(257n).buffer))
            ))
        ))
        // One has waited in vain, another waits now.
        while (ring.counters.waits < 2) yield* Effect.sleep(1)
        assert.strictEqual(yield* drain(), 256)
        yield* Fiber.join(large)
        assert.strictEqual(yield* drain(), 2)
        assert.deepStrictEqual(yield* seen, [258n, 0n])
        assert.isAtLeast(ring.counters.waits, 2)
      })
    ))

  it.live("sends many records to a program that takes them by and by", () =>
    withRing(({ drain, ring, seen }) =>
      Effect.gen(function*() {
        const wanted = 3000n
        const producer = yield* Effect.forkChild(Effect.gen(function*() {
          for (let number = 0n; number < wanted; number++) yield* UserRingBuffer.send(ring, numbers, number)
        }))
        for (let taken = 0; taken < Number(wanted);) {
          taken += yield* drain()
          yield* Effect.sleep(0)
        }
        yield* Fiber.join(producer)
        assert.deepStrictEqual(yield* seen, [wanted, 0n])
      })
    ))

  it.live("gives a record up when filling it fails or is interrupted, and what is unfinished at the end", () =>
    withRing(({ drain, ring, seen }) =>
      Effect.gen(function*() {
        yield* Effect.flip(UserRingBuffer.write(ring, 8, () => Effect.fail("no")))
        const begun = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(
          UserRingBuffer.write(ring, 8, () => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
        )
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(fiber)
        yield* Effect.scoped(Effect.gen(function*() {
          const kernel = yield* kernelOf
          const again = yield* UserRingBuffer.open(ring.session, ring.map).pipe(Effect.provideService(Kernel, kernel))
          succeeded(UserRingBuffer.reserve(again, 8))
        }))
        succeeded(UserRingBuffer.offer(ring, numbers, 0n))
        assert.strictEqual(yield* drain(), 1)
        assert.deepStrictEqual(yield* seen, [1n, 0n])
        assert.strictEqual(ring.counters.discarded, 2)
      })
    ))
}
