import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as PerfBuffer from "../../src/events/PerfBuffer.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { perfSuite, type Producer, shortRecord, takeNow, withProducer } from "../support/PerfSuite.ts"
import { describeWith, runs } from "../support/Require.ts"

/** Run where the call says, instead of here. */
const BPF_F_TEST_RUN_ON_CPU = 1

/** Runs a program of a raw tracepoint on a CPU, with arguments. */
const runOn = ({ loaded }: Producer, cpu: number, program: string, ...args: ReadonlyArray<number>) =>
  Effect.suspend(() =>
    loaded.session.call({
      _tag: "ProgTestRun",
      prog: loaded.program(program) ?? assert.fail("it is not loaded"),
      contextIn: new Uint8Array(BigUint64Array.from(args.map(BigInt)).buffer),
      dataOutSize: 0,
      contextOutSize: 0,
      repeat: 0,
      flags: BPF_F_TEST_RUN_ON_CPU,
      cpu,
      batchSize: 0
    })
  )

/** What this process has open and mapped of perf events. */
const held = (): readonly [number, number] => {
  const isEvent = (fd: string): boolean => {
    try {
      return Fs.readlinkSync(`/proc/self/fd/${fd}`).includes("perf_event")
    } catch {
      return false
    }
  }
  return [
    Fs.readdirSync("/proc/self/fd").filter(isEvent).length,
    Fs.readFileSync("/proc/self/maps", "utf8").split("\n").filter((line) => line.includes("perf_event")).length
  ]
}

/** Numbers that are the same for the same seed (SplitMix32). */
const randomOf = (seed: number): () => number => {
  let state = seed | 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    let mixed = state ^ (state >>> 16)
    mixed = Math.imul(mixed, 0x21f0aaad)
    mixed ^= mixed >>> 15
    return (mixed >>> 0) / 2 ** 32
  }
}

const withRecords = <E>(body: (producer: Producer) => Effect.Effect<void, E, Scope.Scope>) =>
  withProducer(KernelLive.make, body)

// Debian's kernels let only root open events of a whole CPU, whatever the capabilities.
describeWith({ kind: "live", root: true }, "perf buffers of the live kernel", () => {
  perfSuite(KernelLive.make)

  it.live("a million records from all CPUs arrive in order, none lost while the reader keeps up", () =>
    withRecords((producer) =>
      Effect.gen(function*() {
        const buffer = yield* producer.open({ pages: 512, wakeup: { records: 100_000 } })
        const cpus = buffer.cpus()
        const next = new Float64Array(Math.max(...cpus) + 1)
        let seen = 0
        let disorder = 0
        const handler = {
          sample: (view: DataView, at: number, _length: number, cpu: number) => {
            const sequence = view.getUint32(at, true)
            if (sequence < (next[cpu] ?? 0)) disorder++
            next[cpu] = sequence + 1
            seen++
          },
          lost: () => assert.fail("something was lost"),
          other: () => assert.fail("there are no others")
        }
        const burst = 50_000
        // A million, unless the run is a short one.
        const total = burst * Math.max(runs(20), cpus.length)
        for (let sent = 0; sent < total; sent += burst) {
          yield* runOn(producer, cpus[(sent / burst) % cpus.length] ?? 0, "send_fast", burst, 0, 0)
          while (Result.getOrThrow(buffer.consume(handler)) > 0);
        }
        yield* buffer.look
        const { lost, records } = buffer.counters()
        assert.deepStrictEqual({ disorder, lost, records, seen }, {
          disorder: 0,
          lost: 0n,
          records: seen,
          seen: total
        })
        assert.isTrue(cpus.every((cpu) => (next[cpu] ?? 0) > 0))
      })
    ))

  it.live("losses are counted exactly, by CPU", () =>
    withRecords((producer) =>
      Effect.gen(function*() {
        const buffer = yield* producer.open({ pages: 1, interval: 60_000 })
        const random = randomOf(7)
        let seen = 0n
        let told = 0n
        const byCpu = new Map<number, bigint>()
        const handler = {
          sample: () => void seen++,
          lost: (count: bigint, cpu: number) => {
            told += count
            byCpu.set(cpu, (byCpu.get(cpu) ?? 0n) + count)
          },
          other: () => assert.fail("there are no others")
        }
        for (let round = 0; round < 60; round++) {
          const cpu = buffer.cpus()[Math.floor(random() * buffer.cpus().length)] ?? 0
          yield* runOn(producer, cpu, "send", Math.floor(random() * 200), Math.floor(random() * 256), 7)
          if (random() < 0.7) Result.getOrThrow(buffer.consume(handler, 1 + Math.floor(random() * 50)))
        }
        yield* buffer.look
        while (Result.getOrThrow(buffer.consume(handler)) > 0);
        Result.getOrThrow(buffer.consume(handler))
        const [sent, full] = [yield* producer.count("sent"), yield* producer.count("full")]
        assert.deepStrictEqual([seen, told], [sent, full])
        assert.isAbove(Number(full), 1000)
        for (const { cpu, lost } of buffer.counters().cpus) assert.strictEqual(byCpu.get(cpu) ?? 0n, lost)
      })
    ))

  it.live("a hundred interruptions at random moments leave no descriptor and no mapping", () =>
    withRecords((producer) =>
      Effect.gen(function*() {
        const random = randomOf(11)
        const before = held()
        let interrupted = 0
        const rounds = runs(100)
        for (let round = 0; round < rounds; round++) {
          const reading = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
            const buffer = yield* producer.open({ pages: 1, interval: 1 + Math.floor(random() * 5) })
            if (round % 2 === 0) return yield* Stream.runDrain(PerfBuffer.stream(buffer, shortRecord, { batch: 4 }))
            return yield* PerfBuffer.run(buffer, { sample: () => {}, lost: () => {}, other: () => {} })
          })))
          if (random() < 0.7) yield* producer.send(Math.floor(random() * 20))
          for (let turn = Math.floor(random() * 30); turn > 0; turn--) yield* Effect.yieldNow
          if (random() < 0.5) yield* Effect.sleep(random() * 4)
          const exit = yield* Effect.andThen(Fiber.interrupt(reading), Fiber.await(reading))
          if (Exit.isFailure(exit)) interrupted++
        }
        assert.deepStrictEqual(held(), before)
        assert.strictEqual(interrupted, rounds)
      })
    ))

  it.live("what a program sends while no CPU is read is the program's to see", () =>
    withRecords((producer) =>
      Effect.gen(function*() {
        const [cpu = 0] = yield* Effect.scoped(Effect.map(producer.open(), (buffer) => buffer.cpus()))
        yield* runOn(producer, cpu, "send_fast", 3, 0, 0)
        assert.strictEqual(yield* producer.count("absent"), 3n)
        const buffer = yield* producer.open({ cpus: [{ cpu, key: cpu }] })
        yield* runOn(producer, cpu, "send_fast", 2, 0, 0)
        assert.strictEqual((yield* takeNow(buffer, shortRecord, 2)).length, 2)
      })
    ))
})
