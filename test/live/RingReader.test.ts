import { assert, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import type { Codec } from "../../src/btf/Codec.ts"
import * as Losses from "../../src/events/Losses.ts"
import * as RingBuffer from "../../src/events/RingBuffer.ts"
import * as RingReader from "../../src/events/RingReader.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Globals from "../../src/stages/load/Globals.ts"
import { mappings } from "../support/LiveKernel.ts"
import { loadFixture } from "../support/LoadFixture.ts"
import { describeWith, runs } from "../support/Require.ts"
import { mapNamed, numbers, runContext, runNamed, runOften, settled } from "../support/RingProducer.ts"

const page = 4096

/** A loaded flood and what reads its numbers. */
const flood = Effect.fnUntraced(function*(options: RingReader.ReaderOptions = {}, size = 1 << 18) {
  const kernel = yield* KernelLive.make
  const edits = [(object: BpfObject) => Edit.setMap(object, "plain", { maxEntries: size })]
  const loaded = yield* loadFixture("ring_flood.bpf.o", { kernel, edits })
  const open = Effect.gen(function*() {
    const losses = yield* Losses.ofMap(loaded, "plain")
    return yield* RingReader.open(
      loaded.session,
      [RingReader.source(mapNamed(loaded, "plain"), numbers, losses)],
      options
    )
  }).pipe(Effect.provideService(Kernel, kernel))
  return { kernel, loaded, open, reader: yield* open }
})

const send = (loaded: LoadedObject, events: number, flags = 0) =>
  runNamed(loaded, "plain_many", runContext({ events, flags }))

/** Descriptors, mappings of maps and threads that this process has. */
const holdings = () => ({
  descriptors: Fs.readdirSync("/proc/self/fd").length,
  mappings: mappings(),
  threads: Fs.readdirSync("/proc/self/task").length
})

describeWith({ kind: "live" }, "a reader of ring buffers on the live kernel", () => {
  it.live("reads a million records of a program that runs meanwhile, in order, and none is lost", () =>
    Effect.scoped(Effect.gen(function*() {
      // Room for 262,144 records: the producer goes over its end three times and more.
      const { loaded, reader } = yield* flood({}, 1 << 22)
      const part = runs(50_000)
      const wanted = 20 * part
      let next = 0n
      const producer = yield* Effect.forkChild(Effect.gen(function*() {
        for (let sent = 0; sent < wanted; sent += part) {
          // It goes on as long as the consumer keeps up, on a busy machine as well.
          while (sent - Number(next) > 200_000) yield* Effect.sleep(1)
          yield* runOften(loaded, "plain_one", part)
        }
      }))
      yield* Stream.runForEachArray(
        Stream.take(RingReader.stream(reader), wanted),
        (numbers) =>
          Effect.sync(() => {
            for (const number of numbers) if (number !== next++) assert.fail(`${number} instead of ${next - 1n}`)
          })
      )
      yield* Fiber.join(producer)
      assert.strictEqual(next, BigInt(wanted))
      assert.strictEqual(yield* reader.lost, 0n)
      const { bytes, discarded, highWater, records, undecodable } = reader.counters()
      assert.deepStrictEqual({ bytes, discarded, records, undecodable }, {
        bytes: 8 * wanted,
        discarded: 0,
        records: wanted,
        undecodable: 0
      })
      assert.isAtMost(highWater, 1 << 22)
    })))

  it.live("reads where records lie: of all lengths, around the end at every alignment, between discarded ones", () =>
    Effect.scoped(Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const loaded = yield* loadFixture("ring_flood.bpf.o", { kernel })
      const { losses, reader } = yield* Effect.gen(function*() {
        const losses = yield* Losses.ofMap(loaded, "mixed")
        const source = RingReader.copies(mapNamed(loaded, "mixed"), losses)
        return { losses, reader: yield* RingReader.open(loaded.session, [source]) }
      }).pipe(Effect.provideService(Kernel, kernel))
      assert.strictEqual(losses?.name, "missed")
      const alignments = new Set<number>()
      let next = 0
      const [rounds, each] = [2000, 50]
      for (let round = 0; round < rounds; round++) {
        yield* runNamed(loaded, "mixed_many", runContext({ events: each }))
        let left = each
        yield* reader.run((view, at, length) => {
          const before = (1 << 14) - (at - 8 - page) % (1 << 14)
          if (before < length + 8) alignments.add(before)
          const sequence = view.getUint32(at, true)
          if (sequence !== next || view.getUint32(at + 8, true) !== length) {
            assert.fail(`record ${sequence} of ${length}`)
          }
          for (let rest = 12; rest < length; rest++) {
            if (view.getUint8(at + rest) !== (next & 0xff)) assert.fail(`byte ${rest} of record ${next}`)
          }
          next++
          return --left > 0
        })
      }
      assert.strictEqual(next, each * rounds)
      assert.sameMembers([...alignments], Array.from({ length: 33 }, (_, index) => 8 * index + 8))
      assert.strictEqual(yield* reader.lost, 0n)
      assert.strictEqual(reader.counters().discarded, each * rounds / 5)
    })))

  it.live("counts exactly what found no room while nobody read", () =>
    Effect.scoped(Effect.gen(function*() {
      const { loaded, reader } = yield* flood()
      let [got, sent] = [0, 0]
      for (const events of [100_000, 7, 40_000, 20_000]) {
        yield* send(loaded, events)
        sent += events
        // All that fits, 16 bytes each, less what the kernel keeps free.
        for (let taken = 0; taken < Math.min(events, (1 << 14) - 1);) {
          const batch = yield* reader.take
          taken += batch.length
          got += batch.length
        }
      }
      const lost = yield* reader.lost
      assert.isAbove(Number(lost), 100_000)
      assert.strictEqual(got + Number(lost), sent)
      assert.isAbove(reader.counters().highWater, (1 << 18) - 64)
    })))

  it.live("waits behind a record that takes its time, and hands all out in order", () =>
    Effect.scoped(Effect.gen(function*() {
      const { loaded, reader } = yield* flood()
      yield* send(loaded, 3)
      assert.deepStrictEqual(yield* reader.take, [0n, 1n, 2n])
      // Nothing is committed behind it: it is submitted without a call, so the reader has to look by itself.
      const slow = yield* Effect.forkChild(runNamed(loaded, "plain_slow", runContext({ events: 4_000_000, flags: 1 })))
      yield* Effect.yieldNow
      assert.deepStrictEqual(yield* reader.take, [3n])
      yield* Fiber.join(slow)
    })))

  it.live("looks by itself after an interval, for programs that call nobody", () =>
    Effect.scoped(Effect.gen(function*() {
      const { loaded, reader } = yield* flood({ interval: 10 })
      const taken = yield* Effect.forkChild(reader.take)
      yield* Effect.sleep(2)
      yield* send(loaded, 5, 1)
      assert.strictEqual((yield* Fiber.join(taken)).length, 5)
    })))

  it.live("leaves what a slow consumer does not ask for in the buffer", () =>
    Effect.scoped(Effect.gen(function*() {
      const { loaded, reader } = yield* flood({ batch: 10 })
      yield* send(loaded, 100)
      const seen: Array<number> = []
      yield* Stream.runForEachArray(Stream.take(RingReader.stream(reader), 50), (numbers) =>
        Effect.sync(() => {
          seen.push(numbers.length)
          assert.strictEqual(RingBuffer.available(reader.rings[0] ?? assert.fail()), 16 * (100 - 10 * seen.length))
        }))
      assert.deepStrictEqual(seen, [10, 10, 10, 10, 10])
    })))

  it.live("hands out once what a consumer had in hand, or again, as it is told; and says how much that was", () =>
    Effect.gen(function*() {
      for (const redeliver of [false, true]) {
        yield* Effect.scoped(Effect.gen(function*() {
          const { loaded, open, reader } = yield* flood({ batch: 10, redeliver })
          yield* send(loaded, 30)
          const reached = yield* Deferred.make<void>()
          // Interrupted at the 14th record, with the second batch in hand.
          const fiber = yield* Effect.forkChild(Stream.runForEach(
            RingReader.stream(reader),
            (number) =>
              number === 13n ? Effect.andThen(Deferred.succeed(reached, undefined), Effect.never) : Effect.void
          ))
          yield* Deferred.await(reached)
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(reader.counters().unconfirmed, 10)
          // Another reader of the same buffer.
          const after = yield* open
          const first = (yield* after.take)[0]
          assert.strictEqual(first, redeliver ? 10n : 20n)
        }))
      }
    }))

  it.live("goes on behind a record at which a handler has thrown", () =>
    Effect.scoped(Effect.gen(function*() {
      const { loaded, reader } = yield* flood()
      yield* send(loaded, 3)
      const exit = yield* Effect.exit(reader.run((view, at) => {
        if (view.getBigUint64(at, true) === 1n) throw new Error("a fault of the handler")
      }))
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual([reader.counters().failed, reader.counters().records], [1, 2])
      assert.deepStrictEqual(yield* reader.take, [2n])
    })))

  it.live("fails at a record of another size than its type's, after those in front of it, and goes on behind it", () =>
    Effect.scoped(Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const loaded = yield* loadFixture("typed_events.bpf.o", { kernel })
      const codec: Codec<number> = {
        name: "struct exec_event",
        size: 64,
        read: (view, at) => view.getUint32(at, true),
        encode: () => assert.fail()
      }
      const source = RingReader.source(mapNamed(loaded, "mixed"), codec)
      const read = (options: RingReader.ReaderOptions) =>
        RingReader.open(loaded.session, [source], options).pipe(Effect.provideService(Kernel, kernel))
      const reader = yield* read({})
      yield* runNamed(loaded, "send_mixed", runContext({ events: 4 }))
      assert.deepStrictEqual(yield* reader.take, [0])
      const error = yield* Effect.flip(reader.take)
      assert.match(error.message, /record of struct exec_event: 16 bytes are there, and struct exec_event has 64/)
      assert.strictEqual(error._tag, "CodecError")
      assert.deepStrictEqual(yield* reader.take, [2])
      assert.strictEqual((yield* Effect.flip(reader.take))._tag, "CodecError")
      const lenient = yield* read({ undecodable: "skip" })
      yield* runNamed(loaded, "send_mixed", runContext({ events: 6 }))
      assert.deepStrictEqual(yield* lenient.take, [4, 6, 8])
      assert.strictEqual(lenient.counters().undecodable, 3)
    })))

  it.live("reads several buffers by turns, with values of each", () =>
    Effect.scoped(Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const loaded = yield* loadFixture("ring_flood.bpf.o", { kernel })
      const plain = RingReader.map(
        RingReader.source(mapNamed(loaded, "plain"), numbers),
        (number) => ({ _tag: "Plain", number }) as const
      )
      const mixed = RingReader.map(
        RingReader.copies(mapNamed(loaded, "mixed")),
        (bytes) => ({ _tag: "Mixed", bytes }) as const
      )
      const reader = yield* RingReader.open(loaded.session, [plain, mixed], { batch: 50 }).pipe(
        Effect.provideService(Kernel, kernel)
      )
      yield* send(loaded, 1000)
      yield* runNamed(loaded, "mixed_many", runContext({ events: 50 }))
      const seen: Array<string> = []
      yield* Stream.runForEachArray(Stream.take(RingReader.stream(reader), 150), ([first]) =>
        Effect.sync(() => void seen.push(first._tag)))
      assert.deepStrictEqual(seen, ["Plain", "Mixed", "Plain"])
      yield* Stream.runDrain(Stream.take(RingReader.stream(reader), 900))
      const waiting = yield* Effect.forkChild(reader.take)
      yield* Effect.sleep(5)
      yield* runNamed(loaded, "mixed_many", runContext({ events: 1 }))
      assert.deepStrictEqual(
        (yield* Fiber.join(waiting)).map(({ _tag }) =>
          _tag
        ),
        ["Mixed"]
      )
      assert.deepStrictEqual(reader.counters().rings.map(({ records }) => records), [1000, 51])
    })))

  it.live("serves for await, and leaving the loop ends it", () =>
    Effect.scoped(Effect.gen(function*() {
      const { loaded, reader } = yield* flood({ batch: 4 })
      yield* send(loaded, 10)
      const seen: Array<bigint> = []
      yield* Effect.promise(async () => {
        for await (const number of RingReader.asyncIterable(reader)) {
          seen.push(number)
          if (number === 6n) break
        }
      })
      assert.deepStrictEqual(seen, [0n, 1n, 2n, 3n, 4n, 5n, 6n])
      assert.strictEqual(reader.counters().unconfirmed, 4)
      assert.deepStrictEqual(yield* reader.take, [8n, 9n])
    })))

  it.live("ends who waits when its scope closes", () =>
    Effect.scoped(Effect.gen(function*() {
      const { open } = yield* flood()
      const fiber = yield* Effect.scoped(Effect.gen(function*() {
        const reader = yield* open
        const fiber = yield* Effect.forkDetach(Effect.flip(reader.take))
        yield* Effect.sleep(5)
        return fiber
      }))
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error._tag === "RingBufferError" ? error.reason : error._tag, "Closed")
    })))

  it.live("is interrupted a hundred times at random moments, and leaves nothing behind", () =>
    Effect.gen(function*() {
      let seed = 10_061_213
      const random = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 0x8000_0000) / 0x8000_0000
      const sending = runs(400_000)
      const round = Effect.scoped(Effect.gen(function*() {
        const { kernel, loaded, reader } = yield* flood({ batch: 64 })
        const globals = yield* Globals.open(loaded).pipe(Effect.provideService(Kernel, kernel))
        const producer = yield* Effect.forkChild(runOften(loaded, "plain_one", sending))
        let seen = 0
        let last = -1n
        for (let each = 0; each < 25; each++) {
          const fiber = yield* Effect.forkChild(
            Stream.runForEachArray(RingReader.stream(reader), (numbers) =>
              Effect.sync(() => {
                seen += numbers.length
                for (const number of numbers) {
                  if (number <= last) assert.fail(`${number} after ${last}`)
                  last = number
                }
              }))
          )
          const moment = Math.floor(random() * 3)
          if (moment === 0) yield* Effect.yieldNow
          else yield* Effect.sleep(random() * (moment === 1 ? 1 : 6))
          yield* Fiber.interrupt(fiber)
        }
        yield* Fiber.join(producer)
        while (RingBuffer.available(reader.rings[0] ?? assert.fail()) > 0) seen += (yield* reader.take).length
        // Each record was seen once, or lost and counted, or in the hands of somebody who was interrupted.
        const sent = yield* globals.get("plain_sequence")
        assert.strictEqual(reader.counters().records, Number(sent))
        assert.isAtMost(Number(sent) - seen, 25 * 64)
        assert.strictEqual(Number(sent) + Number(yield* reader.lost), sending)
      }))
      yield* round
      const before = holdings()
      for (let each = 0; each < 4; each++) yield* round
      assert.deepStrictEqual(yield* settled(holdings, before), before)
    }), 30_000)
})
