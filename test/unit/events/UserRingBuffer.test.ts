import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as fc from "fast-check"
import * as RingReader from "../../../src/events/RingReader.ts"
import * as UserRingBuffer from "../../../src/events/UserRingBuffer.ts"
import { Kernel } from "../../../src/services/Kernel/Kernel.ts"
import type { MemoryView } from "../../../src/services/Kernel/KernelCall.ts"
import * as KernelFaulty from "../../../src/services/Kernel/KernelFaulty.ts"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import * as KernelTraced from "../../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../../src/services/Kernel/Ref.ts"
import { mapCreate } from "../../support/LiveKernel.ts"
import { suite } from "../../support/UserRingSuite.ts"

describe("a producer of a user ring buffer on the simulated kernel", () =>
  suite(Effect.map(KernelSimulated.make(), ({ kernel }) => kernel)))

const [pageSize, size] = [4096, 4096]

const viewOf = (bytes: Uint8Array): MemoryView => {
  const view = new DataView(bytes.buffer)
  return {
    bytes,
    words: new Int32Array(bytes.buffer),
    loadAcquire32: (offset) => view.getUint32(offset, true),
    loadAcquire64: (offset) => view.getBigUint64(offset, true),
    storeRelease64: (offset, value) => view.setBigUint64(offset, value, true)
  }
}

type Step =
  | { readonly _tag: "Reserve"; readonly length: number }
  | { readonly _tag: "Finish"; readonly which: number; readonly discard: boolean }
  | { readonly _tag: "Take" }

const steps: fc.Arbitrary<ReadonlyArray<Step>> = fc.array(
  fc.oneof(
    fc.record({ _tag: fc.constant("Reserve" as const), length: fc.nat({ max: 1500 }) }),
    fc.record({ _tag: fc.constant("Finish" as const), which: fc.nat({ max: 5 }), discard: fc.boolean() }),
    fc.constant({ _tag: "Take" } as const)
  ),
  { maxLength: 120, size: "max" }
)

const starts = fc.tuple(fc.constantFrom(0n, 4096n, 2n ** 32n, 2n ** 64n), fc.nat({ max: 600 }))
  .map(([edge, before]) => BigInt.asUintN(64, edge - 8n * BigInt(before)))

/** Whether a kernel that reads as the real one does takes what was submitted, in the order of reservation. */
const isTaken = (
  start: bigint,
  steps: ReadonlyArray<Step>,
  fault?: "header at the payload" | "length with flags"
): boolean => {
  const [kernels, ours] = [new Uint8Array(pageSize), new Uint8Array(pageSize + 2 * size)]
  const [consumer, producer] = [viewOf(kernels), viewOf(ours)]
  consumer.storeRelease64(0, start)
  producer.storeRelease64(0, start)
  const map = Ref.map(0)
  const session = { id: Symbol("none") } as UserRingBuffer.UserRingBuffer["session"]
  const made = UserRingBuffer.make({ session, map }, consumer, producer, { size, pageSize })
  if (Result.isFailure(made)) throw made.failure
  const ring = made.success
  /** Mapped twice: what is behind the end is at the front, too. */
  const byteAt = (position: bigint): number => {
    const at = Number(position & BigInt(size - 1))
    return ours[pageSize + at] ?? 0
  }
  const wordAt = (position: bigint): number =>
    [0n, 1n, 2n, 3n].reduce((word, byte) => word + byteAt(position + byte) * 2 ** Number(8n * byte), 0)
  const open: Array<{ readonly value: number; readonly reservation: UserRingBuffer.Reservation }> = []
  const expected: Array<{ readonly value: number; readonly length: number; state: "open" | "kept" | "gone" }> = []
  let next = 0
  for (const step of steps) {
    if (step._tag === "Reserve") {
      const reserved = UserRingBuffer.reserve(ring, step.length)
      if (Result.isFailure(reserved)) {
        if (reserved.failure.reason !== "NoRoom") return false
        continue
      }
      const reservation = reserved.success
      const value = next++ & 0xff
      reservation.bytes.fill(value)
      // The second mapping shows the same bytes.
      const begin = reservation.bytes.byteOffset - pageSize
      for (let index = 0; index < step.length; index++) {
        const at = begin + index
        ours[pageSize + (at < size ? at + size : at - size)] = value
      }
      open.push({ value, reservation })
      expected.push({ value, length: step.length, state: "open" })
    } else if (step._tag === "Finish") {
      const [chosen] = open.splice(step.which, 1)
      if (chosen === undefined) continue
      const entry = expected.find(({ state, value }) => state === "open" && value === chosen.value)
      if (entry !== undefined) entry.state = step.discard ? "gone" : "kept"
      const finish = step.discard ? UserRingBuffer.discard : UserRingBuffer.submit
      if (Result.isFailure(finish(ring, chosen.reservation))) return false
    } else {
      for (;;) {
        const position = consumer.loadAcquire64(0)
        if (position === producer.loadAcquire64(0)) break
        const header = wordAt(fault === "header at the payload" ? position + 8n : position)
        if (header >= 2 ** 31) break
        const length = fault === "length with flags" ? header : header % 2 ** 30
        const entry = expected.shift()
        if (entry === undefined || entry.state === "open" || entry.length !== length) return false
        if (entry.state === "kept" ? header >= 2 ** 30 : header < 2 ** 30) return false
        for (let index = 0; index < length && entry.state === "kept"; index++) {
          if (byteAt(position + 8n + BigInt(index)) !== entry.value) return false
        }
        consumer.storeRelease64(0, BigInt.asUintN(64, position + BigInt(Math.ceil((length + 8) / 8) * 8)))
      }
      // It stopped because there is nothing, or at a record that is unfinished.
      if (expected[0] !== undefined && expected[0].state !== "open") return false
    }
  }
  return true
}

describe("UserRingBuffer, the law that what is submitted is taken in order", () => {
  it("holds for every sequence of reserving, submitting, giving up and taking", () => {
    fc.assert(fc.property(starts, steps, (start, steps) => isTaken(start, steps)))
  })

  it.each(["header at the payload", "length with flags"] as const)(
    "named fault: a kernel that reads the %s",
    (fault) => {
      const checked = fc.check(fc.property(starts, steps, (start, steps) => isTaken(start, steps, fault)), {
        numRuns: 300,
        endOnFailure: true
      })
      assert.isTrue(checked.failed)
    }
  )
})

describe("opening ring buffers of both kinds", () => {
  const open = (user: boolean) =>
    Effect.gen(function*() {
      const kernel = yield* Kernel
      const session = yield* kernel.session()
      const type = user ? 31 : 27
      yield* session.call(mapCreate(0, { type, keySize: 0, valueSize: 0, maxEntries: 4096 }))
      yield* Effect.scoped<unknown, unknown, Kernel | Scope.Scope>(
        user
          ? UserRingBuffer.open(session, Ref.map(0))
          : RingReader.open(session, [RingReader.copies(Ref.map(0))])
      )
    }).pipe(Effect.scoped)

  it.effect("unmaps what was mapped, whatever call fails or is interrupted", () =>
    Effect.gen(function*() {
      for (const user of [false, true]) {
        let attempts = 1
        let tags: ReadonlyArray<string> = []
        for (let at = -1; at < attempts; at++) {
          for (
            const fault of [{ _tag: "Answer", errno: "ENOMEM" }, { _tag: "InterruptBefore" }, {
              _tag: "InterruptAfter"
            }] as const
          ) {
            const { kernel } = yield* KernelSimulated.make()
            const traced = yield* KernelTraced.make(at < 0 ? kernel : yield* KernelFaulty.make(kernel, at, fault))
            const exit = yield* Effect.exit(open(user).pipe(Effect.provideService(Kernel, traced.kernel)))
            const seen = yield* traced.attempts
            if (at < 0) {
              attempts = seen.length
              tags = seen.map(({ call }) => call._tag)
              assert.strictEqual(exit._tag, "Success")
            }
            const mapped = seen.flatMap(({ answer, call }) =>
              call._tag === "MapMmap" && Result.isSuccess(answer) ? [Ref.key(call.as)] : []
            )
            const closed = seen.flatMap(({ answer, call }) =>
              call._tag === "Close" && Result.isSuccess(answer) ? [Ref.key(call.ref)] : []
            )
            // A `Close` that fails on purpose leaves it to the end of the session.
            if (tags[at] !== "Close" && tags[at] !== "MapMmap") {
              assert.sameMembers(closed, mapped, `attempt ${at}, ${fault._tag}`)
            }
          }
        }
        assert.isAbove(attempts, 4)
      }
    }))
})
