import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { type Codec, CodecError } from "../../../src/btf/Codec.ts"
import * as Losses from "../../../src/events/Losses.ts"
import { ofTypes } from "../../../src/events/ring/Decode.ts"
import * as RingReader from "../../../src/events/RingReader.ts"
import { Kernel } from "../../../src/services/Kernel/Kernel.ts"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import * as Edit from "../../../src/stages/open/Edit.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import { loadFixture } from "../../support/LoadFixture.ts"
import { fixture } from "../../support/Require.ts"
import { mapNamed, numbers, runContext, runNamed } from "../../support/RingProducer.ts"

/** A flood on the simulated kernel, and who reads its numbers. */
const flood = Effect.fnUntraced(function*(options: RingReader.ReaderOptions = {}) {
  const { kernel } = yield* KernelSimulated.make()
  return yield* Effect.gen(function*() {
    const loaded = yield* loadFixture("ring_flood.bpf.o", {
      kernel,
      // 255 records.
      edits: [(object) => Edit.setMap(object, "plain", { maxEntries: 4096 })]
    })
    const losses = yield* Losses.ofMap(loaded, "plain")
    const source = RingReader.source(mapNamed(loaded, "plain"), numbers, losses)
    const reader = yield* RingReader.open(loaded.session, [source], options)
    const send = (events: number, flags = 0) => runNamed(loaded, "plain_many", runContext({ events, flags }))
    const wait = (more: { readonly timeout?: number } = {}) =>
      loaded.session.call({ _tag: "Wait", refs: [mapNamed(loaded, "plain")], for: "Read", ...more })
    return { loaded, reader, send, wait }
  }).pipe(Effect.provideService(Kernel, kernel))
})

describe("waiting for the simulated kernel", () => {
  it.effect("answers what is ready, nothing when the time is over, and wakes who waits", () =>
    Effect.gen(function*() {
      const { send, wait } = yield* flood()
      assert.deepStrictEqual(yield* wait({ timeout: 0 }), [])
      const late = yield* Effect.forkChild(wait({ timeout: 500 }))
      yield* TestClock.adjust(499)
      assert.isUndefined(late.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(late), [])
      const woken = yield* Effect.forkChild(wait())
      yield* Effect.yieldNow
      yield* send(1)
      assert.deepStrictEqual(yield* Fiber.join(woken), [0])
      assert.deepStrictEqual(yield* wait(), [0])
    }))

  it.effect("wakes nobody for records that are committed without a call, as the kernel does", () =>
    Effect.gen(function*() {
      const { send, wait } = yield* flood()
      const fiber = yield* Effect.forkChild(wait())
      yield* Effect.yieldNow
      yield* send(1, 1)
      yield* Effect.yieldNow
      assert.isUndefined(fiber.pollUnsafe())
      yield* send(1, 2)
      assert.deepStrictEqual(yield* Fiber.join(fiber), [0])
    }))

  it.effect("refuses what would never be ready, as the live kernel does", () =>
    Effect.gen(function*() {
      const { loaded } = yield* flood()
      const errorOf = (call: { readonly name?: string; readonly for?: "Write"; readonly timeout?: number }) =>
        Effect.map(
          Effect.flip(loaded.session.call({
            _tag: "Wait",
            refs: call.name === undefined ? [] : [mapNamed(loaded, call.name)],
            for: call.for ?? "Read",
            ...(call.timeout === undefined ? {} : { timeout: call.timeout })
          })),
          (error) => error._tag === "KernelError" ? `${error.errno}: ${error.hint}` : error._tag
        )
      assert.match(yield* errorOf({ name: "plain", for: "Write" }), /^EINVAL: a map of type ringbuf cannot be waited/)
      assert.match(yield* errorOf({ name: "orders" }), /^EINVAL: a map of type user_ringbuf cannot be waited/)
      assert.match(yield* errorOf({}), /^EINVAL: there is nothing/)
      assert.match(yield* errorOf({ name: "plain", timeout: -1 }), /^EINVAL: a time/)
    }))

  it.effect("can be interrupted", () =>
    Effect.gen(function*() {
      const { send, wait } = yield* flood()
      const fiber = yield* Effect.forkChild(wait())
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      yield* send(1)
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
    }))
})

describe("a reader of ring buffers on the simulated kernel", () => {
  it.effect("hands records on as they come, and counts what found no room", () =>
    Effect.gen(function*() {
      const { reader, send } = yield* flood()
      const fiber = yield* Effect.forkChild(Stream.runCollect(Stream.take(RingReader.stream(reader), 5)))
      yield* Effect.yieldNow
      yield* send(3)
      yield* Effect.yieldNow
      yield* send(2)
      assert.deepStrictEqual(yield* Fiber.join(fiber), [0n, 1n, 2n, 3n, 4n])
      assert.strictEqual(yield* reader.lost, 0n)
      yield* send(1000)
      let got = 0
      while (got < 255) got += (yield* reader.take).length
      assert.strictEqual(yield* reader.lost, BigInt(1000 - got))
      assert.strictEqual(reader.counters().records, got + 5)
    }))

  it.effect("looks by itself after an interval", () =>
    Effect.gen(function*() {
      const { reader, send } = yield* flood({ interval: 100 })
      const fiber = yield* Effect.forkChild(reader.take)
      yield* Effect.yieldNow
      yield* send(2, 1)
      yield* TestClock.adjust(99)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(fiber), [0n, 1n])
      assert.strictEqual(reader.counters().wakeUps, 0)
    }))
})

const reading = (name: string, size: number, flexible = false): Codec<string> => ({
  name,
  size,
  flexible,
  read: (view, at) => `${name}@${view.byteOffset + at}+${view.byteLength - at}`,
  encode: () => assert.fail()
})

describe("the types of records", () => {
  const view = new DataView(new ArrayBuffer(100), 10)

  it("are told apart by size, and what is of no other size is of the flexible one", () => {
    const decode = ofTypes([reading("a", 8), reading("b", 16), reading("c", 20, true)])
    assert.strictEqual(decode(view, 8, 8), "a@18+82")
    assert.strictEqual(decode(view, 0, 16), "b@10+90")
    // Its view ends with the record.
    assert.strictEqual(decode(view, 8, 24), "c@18+24")
    const wrong = decode(view, 0, 12)
    assert.isTrue(wrong instanceof CodecError)
    assert.match(String(wrong), /12 bytes are there, and a has 8, b has 16, c has at least 20/)
  })

  it("named fault: one type that is not asked for its size takes any record", () => {
    const careless = (codec: Codec<string>) => (at: DataView, where: number) => codec.read(at, where)
    assert.isFalse(careless(reading("a", 8))(view, 0) as unknown instanceof CodecError)
    assert.isTrue(ofTypes([reading("a", 8)])(view, 0, 9) instanceof CodecError)
  })
})

describe("counters of lost records", () => {
  it("are found by annotation, and by name", () => {
    const opened = Open.fromBytes(fixture("ring_flood.bpf.o"), { path: "ring_flood" })
    if (Result.isFailure(opened)) throw opened.failure
    assert.strictEqual(Losses.variableOf(opened.success, "mixed"), "missed")
    assert.strictEqual(Losses.variableOf(opened.success, "plain"), "plain_lost")
    assert.strictEqual(Losses.variableOf(opened.success, "orders"), undefined)
    assert.strictEqual(Losses.variableOf({ ...opened.success, btf: undefined }, "plain"), undefined)
  })

  it.effect("are integers", () =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelSimulated.make()
      yield* Effect.gen(function*() {
        const loaded = yield* loadFixture("ring_flood.bpf.o", { kernel })
        const error = yield* Effect.flip(Losses.ofVariable(loaded, "scratch"))
        assert.match(error.message, /an integer, or an array of integers/)
        assert.strictEqual((yield* Effect.flip(Losses.ofVariable(loaded, "nothing")))._tag, "GlobalsError")
      }).pipe(Effect.provideService(Kernel, kernel))
    }))
})

describe("sources by the names of maps", () => {
  const opened = Effect.gen(function*() {
    const { kernel } = yield* KernelSimulated.make()
    const loaded = yield* loadFixture("typed_events.bpf.o", { kernel })
    return { kernel, loaded }
  })

  it.effect("give values of the types that annotations name, told apart by size", () =>
    Effect.gen(function*() {
      const { kernel, loaded } = yield* opened
      const reader = yield* Effect.gen(function*() {
        const mixed = yield* RingReader.annotated(loaded, "mixed")
        return yield* RingReader.open(loaded.session, [mixed])
      }).pipe(Effect.provideService(Kernel, kernel))
      yield* runNamed(loaded, "send_mixed", runContext({ events: 2, value: 7 }))
      const [event, end] = yield* reader.take
      assert.containSubset(event, { sequence: 0n, action: "ACTION_OPEN", value: 7n, command: "worker0" })
      assert.deepStrictEqual(end, { sequence: 1n, status: 6, killed: true })
      assert.strictEqual(yield* reader.lost, undefined)
    }))

  it.effect("give bytes where there is no annotation, and errors where there is no map or no ring buffer", () =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelSimulated.make()
      yield* Effect.gen(function*() {
        const loaded = yield* loadFixture("ring_flood.bpf.o", { kernel })
        const plain = yield* RingReader.annotated(loaded, "plain")
        assert.strictEqual(plain.losses?.name, "plain_lost")
        const reader = yield* RingReader.open(loaded.session, [plain])
        yield* runNamed(loaded, "plain_many", runContext({ events: 1 }))
        assert.deepStrictEqual(yield* reader.take, [new Uint8Array(8)])
        const missing = yield* Effect.flip(RingReader.annotated(loaded, "nothing"))
        assert.match(missing.message, /no map of the name nothing/)
        const other = yield* RingReader.annotated(loaded, "orders")
        assert.match(
          (yield* Effect.flip(RingReader.open(loaded.session, [other]))).message,
          /type user_ringbuf, not ringbuf/
        )
      }).pipe(Effect.provideService(Kernel, kernel))
    }))
})

describe("memory that makes no sense", () => {
  it.effect("is an error behind the records in front of it, and at every further look", () =>
    Effect.gen(function*() {
      const { reader, send } = yield* flood()
      yield* send(3)
      const [ring] = reader.rings
      if (ring === undefined) return assert.fail()
      // The third record is longer than all that was written.
      new DataView(ring.producer.bytes.buffer, ring.producer.bytes.byteOffset).setUint32(ring.pageSize + 32, 4000, true)
      assert.deepStrictEqual(yield* reader.take, [0n, 1n])
      for (let look = 0; look < 2; look++) {
        const error = yield* Effect.flip(reader.take)
        assert.match(error.message, /a record of 4000 bytes is longer than the 16 bytes that are left at position 32/)
        assert.strictEqual(error._tag === "RingBufferError" ? error.reason : error._tag, "Corrupt")
      }
      assert.match((yield* Effect.flip(reader.run(() => {}))).message, /a record of 4000 bytes/)
    }))
})
