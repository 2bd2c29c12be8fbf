/** Perf buffers of a loaded object, for kernels that run programs. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Codec, CodecError } from "../../src/btf/Codec.ts"
import * as PerfBuffer from "../../src/events/PerfBuffer.ts"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import type { CallError } from "../../src/services/Kernel/KernelError.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import * as Globals from "../../src/stages/load/Globals.ts"
import { testRun } from "./LiveKernel.ts"
import { loadFixture } from "./LoadFixture.ts"

/** A record of the fixture `perf_events`. */
export interface PerfRecord {
  readonly sequence: number
  readonly cpu: number
  readonly length: number
  readonly octets: Uint8Array
}

/** Records of any length; what the kernel fills up with is left out. */
export const perfRecord: Codec<PerfRecord> = {
  name: "struct record",
  size: 16,
  flexible: true,
  read: (view, at) => {
    const length = view.getUint32(at + 12, true)
    return {
      sequence: Number(view.getBigUint64(at, true)),
      cpu: view.getUint32(at + 8, true),
      length,
      octets: new Uint8Array(view.buffer, view.byteOffset + at + 16, length).slice()
    }
  },
  encode: () => Result.fail(new CodecError({ reason: "Value", subject: "struct record", detail: "is only read" }))
}

/** What `send_fast` and `send_wanted` of length 0 write: 16 bytes. */
export const shortRecord: Codec<number> = {
  name: "struct short",
  size: 16,
  read: (view, at) => Number(view.getBigUint64(at, true)),
  encode: () => Result.fail(new CodecError({ reason: "Value", subject: "struct short", detail: "is only read" }))
}

/** The fixture, and what tests do with it. */
export interface Producer {
  readonly loaded: LoadedObject
  readonly kernel: KernelShape
  readonly open: (
    options?: PerfBuffer.PerfBufferOptions
  ) => Effect.Effect<PerfBuffer.PerfBuffer, unknown, Scope.Scope>
  /** Sends records, all of one length unless `step` says by how much it grows. */
  readonly send: (count: number, length?: number, step?: number) => Effect.Effect<void, unknown>
  /** Runs another program of the fixture on a packet. */
  readonly run: (program: string) => Effect.Effect<void, unknown>
  readonly count: (name: "sent" | "full" | "absent" | "refused" | "sequence") => Effect.Effect<bigint, unknown>
}

/** Loads the fixture on a kernel, for a body. */
export const withProducer = <A, E>(
  make: Effect.Effect<KernelShape, unknown>,
  body: (producer: Producer) => Effect.Effect<A, E, Kernel | Scope.Scope>
): Effect.Effect<A, unknown> =>
  Effect.gen(function*() {
    const kernel = yield* make
    return yield* Effect.gen(function*() {
      const loaded = yield* loadFixture("perf_events.bpf.o", { kernel })
      const globals = yield* Globals.open(loaded)
      const map = loaded.map("records") ?? assert.fail("the map is not loaded")
      const run = (name: string) =>
        loaded.session.call({ ...testRun(0), prog: loaded.program(name) ?? assert.fail(`no program ${name}`) })
      return yield* body({
        loaded,
        kernel,
        open: (options) => Effect.provideService(PerfBuffer.open(loaded.session, map, options), Kernel, kernel),
        send: (count, length = 0, step = 0) =>
          Effect.gen(function*() {
            yield* globals.set("wanted_count", count)
            yield* globals.set("wanted_length", length)
            yield* globals.set("wanted_step", step)
            yield* run("send_wanted")
          }),
        run: (name) => Effect.asVoid(run(name)),
        count: (name) =>
          Effect.map(globals.get(name), (value) =>
            typeof value === "bigint" ? value : assert.fail(`${name} is no number of 64 bits`))
      })
    }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
  })

/** Takes what is there, by items. */
export const takeNow = <A>(
  buffer: PerfBuffer.PerfBuffer,
  codec: Codec<A>,
  count: number
): Effect.Effect<ReadonlyArray<PerfBuffer.PerfItem<A>>, PerfBuffer.PerfStreamError> =>
  Stream.runCollect(Stream.take(PerfBuffer.stream(buffer, codec), count))

const samplesOf = <A>(items: ReadonlyArray<PerfBuffer.PerfItem<A>>): ReadonlyArray<A> =>
  items.flatMap((item) => item._tag === "Sample" ? [item.value] : [])

/** The tests on a kernel. */
export const perfSuite = (make: Effect.Effect<KernelShape, unknown>): void => {
  const withRecords = <E>(body: (producer: Producer) => Effect.Effect<void, E, Kernel | Scope.Scope>) =>
    withProducer(make, body)

  it.live("records of every length arrive whole, in order, with their CPU", () =>
    withRecords(({ open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open()
        yield* send(256, 0, 1)
        const items = yield* takeNow(buffer, perfRecord, 256)
        assert.deepStrictEqual(samplesOf(items).map(({ sequence }) => sequence), [...Array(256).keys()])
        for (const item of items) {
          assert.isTrue(item._tag === "Sample" && item.cpu === item.value.cpu)
          if (item._tag !== "Sample") continue
          const { length, octets, sequence } = item.value
          assert.strictEqual(length, sequence & 0xff)
          assert.isTrue(octets.every((octet, at) => octet === ((sequence + at) & 0xff)))
        }
        const { bytes, lost, records } = buffer.counters()
        let expected = 0
        for (let length = 0; length < 256; length++) expected += Math.ceil((16 + length + 4) / 8) * 8 - 4
        assert.deepStrictEqual({ bytes, lost, records }, { bytes: expected, lost: 0n, records: 256 })
      })
    ))

  it.live("what is lost is told exactly, whether or not a record comes after it", () =>
    withRecords(({ count, open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open({ pages: 1 })
        let seen = 0n
        let told = 0n
        const take = Effect.suspend(() =>
          Effect.fromResult(buffer.consume({
            sample: () => void seen++,
            lost: (count) => void (told += count),
            other: () => assert.fail("there are no others")
          }))
        )
        for (let round = 0; round < 3; round++) {
          // A page of data takes 127 records of 32 bytes.
          yield* send(200 + round)
          yield* take
        }
        // The last losses come with no record any more: the kernel is asked.
        assert.isBelow(Number(told), Number(yield* count("full")))
        yield* buffer.look
        yield* take
        assert.strictEqual(told, yield* count("full"))
        assert.strictEqual(seen, yield* count("sent"))
        assert.isAbove(Number(told), 100)
        const { cpus, lost, records } = buffer.counters()
        assert.deepStrictEqual([lost, BigInt(records)], [told, seen])
        assert.strictEqual(cpus.reduce((sum, each) => sum + each.lost, 0n), lost)
        yield* send(5)
        yield* take
        assert.strictEqual(told, yield* count("full"))
      })
    ))

  it.live("losses are items of a stream, too", () =>
    withRecords(({ count, open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open({ pages: 1, interval: 20 })
        yield* send(300)
        const full = yield* count("full")
        const items = yield* PerfBuffer.stream(buffer, shortRecord).pipe(
          Stream.takeUntil((item) => item._tag === "Lost"),
          Stream.runCollect
        )
        const last = items.at(-1)
        assert.isTrue(last?._tag === "Lost" && last.count === full, String(last?._tag))
      })
    ))

  it.live("who waits is woken, by one record or by as many as were wanted", () =>
    withRecords(({ open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open({ interval: 60_000 })
        const reading = yield* Effect.forkChild(takeNow(buffer, shortRecord, 3))
        for (let turn = 0; turn < 3; turn++) {
          yield* Effect.sleep(5)
          yield* send(1)
        }
        assert.deepStrictEqual(samplesOf(yield* Fiber.join(reading)), [0, 1, 2])
        assert.isAbove(buffer.counters().wakeUps, 0)
      })
    ))

  it.live("who is woken by the fourth record gets fewer when the interval is over", () =>
    withRecords(({ open, send }) =>
      Effect.gen(function*() {
        for (const wakeup of [{ records: 4 }, { bytes: 100 }]) {
          const buffer = yield* open({ interval: 60_000, wakeup })
          const reading = yield* Effect.forkChild(takeNow(buffer, shortRecord, 4))
          yield* Effect.sleep(5)
          // All on one CPU: a program runs to its end where it begins.
          yield* send(4)
          assert.strictEqual(samplesOf(yield* Fiber.join(reading)).length, 4)
          const early = yield* open({ interval: 10, wakeup })
          yield* send(1)
          assert.strictEqual(samplesOf(yield* takeNow(early, shortRecord, 1)).length, 1)
        }
      }).pipe(Effect.scoped)
    ))

  it.live("a record of another size than its type ends a stream, and the next one goes on behind it", () =>
    withRecords(({ open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open()
        yield* send(1)
        yield* send(1, 8)
        yield* send(1)
        const seen: Array<number> = []
        const failed = yield* PerfBuffer.stream(buffer, shortRecord).pipe(
          Stream.runForEach((item) => Effect.sync(() => item._tag === "Sample" && seen.push(item.value))),
          Effect.flip
        )
        assert.deepStrictEqual(seen, [0])
        assert.isTrue(failed instanceof CodecError && failed.reason === "Size")
        assert.match(failed.message, /records: 28 bytes are there, and struct short has 20 \(16 and those/)
        assert.deepStrictEqual(samplesOf(yield* takeNow(buffer, shortRecord, 1)), [2])
        const { records, undecodable } = buffer.counters()
        assert.deepStrictEqual({ records, undecodable }, { records: 3, undecodable: 1 })
        yield* send(1, 8)
        yield* send(1)
        const skipping = PerfBuffer.stream(buffer, shortRecord, { undecodable: "skip" })
        assert.deepStrictEqual(samplesOf(yield* Stream.runCollect(Stream.take(skipping, 1))), [4])
        assert.strictEqual(buffer.counters().undecodable, 2)
      })
    ))

  it.live("records that are passed over do not delay those behind them", () =>
    withRecords(({ open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open({ interval: 60_000 })
        yield* send(20, 8)
        yield* send(1)
        const skipping = PerfBuffer.stream(buffer, shortRecord, { batch: 4, undecodable: "skip" })
        assert.deepStrictEqual(samplesOf(yield* Stream.runCollect(Stream.take(skipping, 1))), [20])
        assert.strictEqual(buffer.counters().undecodable, 20)
      })
    ))

  it.live("a handler may be an object with a state of its own", () =>
    withRecords(({ open, send }) =>
      Effect.gen(function*() {
        class Counting {
          seen = 0
          sample(): boolean {
            this.seen++
            return this.seen < 3
          }
          lost(): void {}
          other(): void {}
        }
        const buffer = yield* open()
        yield* send(5)
        const handler = new Counting()
        yield* PerfBuffer.run(buffer, handler)
        assert.strictEqual(handler.seen, 3)
        assert.strictEqual(Result.getOrThrow(buffer.consume(new Counting())), 2)
      })
    ))

  it.live("types of several sizes are told apart, and bytes are taken as they are", () =>
    withRecords(({ open, run, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open()
        yield* send(1)
        yield* send(1, 8)
        yield* run("send_packet")
        const named = (name: string, size: number): Codec<string> => ({
          ...shortRecord,
          name,
          size,
          read: () => name,
          encode: () => Result.succeed(new Uint8Array())
        })
        const stream = PerfBuffer.stream(buffer, [named("short", 16), named("long", 24)], { batch: 2 })
        assert.deepStrictEqual(samplesOf(yield* Stream.runCollect(Stream.take(stream, 2))), ["short", "long"])
        const [packet] = samplesOf(yield* takeNow(buffer, PerfBuffer.raw, 1))
        // 8 bytes, 40 of the packet, and 4 that are filled up with.
        assert.strictEqual(packet?.length, 52)
        assert.deepStrictEqual([...packet?.subarray(0, 8) ?? []], [2, 0, 0, 0, 0, 0, 0, 0])
      })
    ))

  it.live("a handler that answers false ends the reading, one that throws is thrown on; what it had in hand is taken", () =>
    withRecords(({ open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open()
        const seen: Array<number> = []
        const handler = (answer: (sequence: number) => boolean) => ({
          sample: (view: DataView, at: number) => {
            const sequence = Number(view.getBigUint64(at, true))
            seen.push(sequence)
            return answer(sequence)
          },
          lost: () => {},
          other: () => {}
        })
        yield* send(10)
        yield* PerfBuffer.run(buffer, handler((sequence) => sequence < 4))
        assert.deepStrictEqual(seen, [0, 1, 2, 3, 4])
        const thrown = yield* Effect.exit(PerfBuffer.run(
          buffer,
          handler((sequence) => {
            if (sequence === 6) throw new Error("a consumer's own")
            return true
          })
        ))
        assert.isTrue(Exit.isFailure(thrown) && String(thrown.cause).includes("a consumer's own"))
        yield* PerfBuffer.run(buffer, handler((sequence) => sequence < 9))
        assert.deepStrictEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
      })
    ))

  it.live("an async iterable ends when its loop is left", () =>
    withRecords(({ open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open()
        yield* send(10)
        const seen = yield* Effect.promise(async () => {
          const found: Array<number> = []
          for await (const item of PerfBuffer.asyncIterable(buffer, shortRecord, { batch: 4 })) {
            if (item._tag === "Sample") found.push(item.value)
            if (found.length === 6) break
          }
          return found
        })
        assert.deepStrictEqual(seen, [0, 1, 2, 3, 4, 5])
        // Two records of the second batch were taken and not looked at.
        const { records, unconfirmed } = buffer.counters()
        assert.deepStrictEqual({ records, unconfirmed }, { records: 8, unconfirmed: 4 })
        assert.deepStrictEqual(samplesOf(yield* takeNow(buffer, shortRecord, 2)), [8, 9])
      })
    ))

  it.live("who waits can be interrupted, and reading a closed buffer is an error", () =>
    withRecords(({ count, open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* Effect.scoped(Effect.gen(function*() {
          const buffer = yield* open()
          const reading = yield* Effect.forkChild(takeNow(buffer, shortRecord, 1))
          yield* Effect.sleep(5)
          const exit = yield* Effect.andThen(Fiber.interrupt(reading), Fiber.await(reading))
          assert.isTrue(Exit.isFailure(exit))
          yield* send(1)
          assert.deepStrictEqual(samplesOf(yield* takeNow(buffer, shortRecord, 1)), [0])
          return buffer
        }))
        assert.deepStrictEqual(buffer.cpus(), [])
        const failed = yield* Effect.flip(takeNow(buffer, shortRecord, 1))
        assert.isTrue(failed instanceof PerfBuffer.PerfBufferError && failed.reason === "Closed")
        yield* send(1)
        assert.strictEqual(yield* count("absent"), 1n)
      })
    ))

  it.live("calls that make no sense are refused, and an event tells what it was asked to count", () =>
    withRecords(({ loaded }) =>
      Effect.gen(function*() {
        const { session } = loaded
        const { online, possible } = yield* session.call({ _tag: "CpusGet" })
        assert.includeMembers([...possible], [...online])
        const [cpu = 0] = online
        const open = (wakeup: number, countLost: boolean, on = cpu) => {
          const as = session.fresh("Event")
          const source = { _tag: "BpfOutput", wakeup: { _tag: "Records", value: wakeup }, countLost } as const
          return Effect.as(session.call({ _tag: "PerfEventOpen", as, source, pid: -1, cpu: on }), as)
        }
        const errnoOf = (effect: Effect.Effect<unknown, CallError>) =>
          Effect.map(
            Effect.flip(effect),
            (error) => error._tag === "KernelError" ? error.errno : assert.fail(error._tag)
          )
        for (const wakeup of [0, -1, 2 ** 32]) assert.strictEqual(yield* errnoOf(open(wakeup, false)), "EINVAL")
        assert.include(["EINVAL", "ENODEV"], yield* errnoOf(open(1, false, 100_000)))
        const event = yield* open(1, false)
        const { pageSize } = yield* Effect.map(
          Effect.flatMap(Kernel, (kernel) => kernel.ask([{ _tag: "PageSize" }])),
          ({ pageSize }) => ({ pageSize: pageSize?._tag === "Known" ? pageSize.value : assert.fail("no page size") })
        )
        const map = (length: number) => {
          const as = session.fresh("View")
          return session.call({ _tag: "EventMmap", event, as, length })
        }
        // A page with positions, then a power of two of pages.
        for (const length of [0, 1, -pageSize, 4 * pageSize, 1.5 * pageSize]) {
          assert.strictEqual(yield* errnoOf(map(length)), "EINVAL", `${length}`)
        }
        assert.strictEqual((yield* map(3 * pageSize)).bytes.length, 3 * pageSize)
        assert.deepStrictEqual(Object.keys(yield* session.call({ _tag: "PerfEventRead", event })), ["count"])
        const counting = yield* open(1, true)
        yield* session.call({ _tag: "PerfEventSwitch", event: counting, on: true })
        const counters = yield* session.call({ _tag: "PerfEventRead", event: counting })
        assert.deepStrictEqual([counters.count, counters.lost], [0n, 0n])
        const ready = yield* session.call({ _tag: "Wait", refs: [event], for: "Read", timeout: 0 })
        assert.deepStrictEqual(ready, [])
        const writing = session.call({ _tag: "Wait", refs: [event], for: "Write", timeout: 0 })
        assert.strictEqual(yield* errnoOf(writing), "EINVAL")
      })
    ))

  it.live("maps, pages and CPUs that cannot be are refused", () =>
    withRecords(({ kernel, loaded, open }) =>
      Effect.gen(function*() {
        const rooms = loaded.map("rooms") ?? assert.fail("the map is not loaded")
        const refused = (effect: Effect.Effect<unknown, unknown, Scope.Scope>) =>
          Effect.map(
            Effect.flip(Effect.scoped(effect)),
            (error) => error instanceof PerfBuffer.PerfBufferError ? error.reason : assert.fail(String(error))
          )
        const other = Effect.provideService(PerfBuffer.open(loaded.session, rooms), Kernel, kernel)
        assert.strictEqual(yield* refused(other), "MapType")
        for (const pages of [0, 3, -1, 1.5, 2 ** 21]) assert.strictEqual(yield* refused(open({ pages })), "Pages")
        for (
          const cpus of [[], [4711], [0, 0], [{ cpu: 0, key: 4711 }], [{ cpu: 0, key: -1 }]]
        ) {
          assert.strictEqual(yield* refused(open({ cpus })), "Cpus")
        }
        assert.deepStrictEqual((yield* open({ cpus: [0] })).cpus(), [0])
      }).pipe(Effect.scoped)
    ))
}
