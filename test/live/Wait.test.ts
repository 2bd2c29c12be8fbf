import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Fs from "node:fs"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import { exitOf } from "../support/Exits.ts"
import { inSession, kernelError, mapCreate } from "../support/LiveKernel.ts"
import { loadFixture } from "../support/LoadFixture.ts"
import { mapNamed, runContext, runNamed, settled } from "../support/RingProducer.ts"
import { describeWith } from "../support/Require.ts"

/** A number once it has stayed the same for a while: threads that are about to end are still counted. */
const steady = Effect.fnUntraced(function*(count: () => number) {
  let last = count()
  for (let same = 0; same < 20;) {
    yield* Effect.sleep(5)
    const now = count()
    same = now === last ? same + 1 : 0
    last = now
  }
  return last
})

/** The threads of this process. */
const threads = (): number => Fs.readdirSync("/proc/self/task").length

/** The descriptors that waiting takes. */
const waiting = (): number =>
  Fs.readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return /anon_inode:\[(eventpoll|eventfd)\]/.test(Fs.readlinkSync(`/proc/self/fd/${fd}`))
    } catch {
      return false
    }
  }).length

const wait = (loaded: LoadedObject, names: ReadonlyArray<string>, more: { readonly timeout?: number } = {}) =>
  loaded.session.call({ _tag: "Wait", refs: names.map((name) => mapNamed(loaded, name)), for: "Read", ...more })

const send = (loaded: LoadedObject, program: string, events: number) =>
  runNamed(loaded, program, runContext({ events }))

describeWith({ kind: "live" }, "waiting for the live kernel", () => {
  it.live("answers at once what is ready, and nothing when the time is over", () =>
    Effect.scoped(Effect.gen(function*() {
      const loaded = yield* loadFixture("typed_events.bpf.o")
      assert.deepStrictEqual(yield* wait(loaded, ["execs", "mixed"], { timeout: 0 }), [])
      const before = performance.now()
      assert.deepStrictEqual(yield* wait(loaded, ["execs", "mixed"], { timeout: 30 }), [])
      assert.isAtLeast(performance.now() - before, 29)
      yield* send(loaded, "send_mixed", 2)
      assert.deepStrictEqual(yield* wait(loaded, ["execs", "mixed"]), [1])
      yield* send(loaded, "send_execs", 1)
      assert.deepStrictEqual(yield* wait(loaded, ["execs", "mixed", "execs"], { timeout: 0 }), [0, 1, 2])
    })))

  it.live("wakes everybody who waits for what has come, and lets the others sleep", () =>
    Effect.scoped(Effect.gen(function*() {
      const loaded = yield* loadFixture("typed_events.bpf.o")
      const one = yield* Effect.forkChild(wait(loaded, ["execs"]))
      const both = yield* Effect.forkChild(wait(loaded, ["mixed", "execs"]))
      const other = yield* Effect.forkChild(wait(loaded, ["mixed"]))
      yield* Effect.sleep(5)
      yield* send(loaded, "send_execs", 1)
      assert.deepStrictEqual(yield* Fiber.join(one), [0])
      assert.deepStrictEqual(yield* Fiber.join(both), [1])
      yield* send(loaded, "send_mixed", 1)
      assert.deepStrictEqual(yield* Fiber.join(other), [0])
    })))

  it.live("leaves the threads that read files alone, however many wait", () =>
    Effect.scoped(Effect.gen(function*() {
      const loaded = yield* loadFixture("typed_events.bpf.o")
      const sleepers = yield* Effect.forEach(
        Array.from({ length: 300 }),
        (_, index) => Effect.forkChild(wait(loaded, [index % 2 === 0 ? "execs" : "mixed"]))
      )
      yield* Effect.yieldNow
      const read = yield* Effect.promise(() => Fs.promises.readFile("/proc/self/status", "utf8"))
      assert.match(read, /Threads:/)
      yield* send(loaded, "send_execs", 1)
      yield* send(loaded, "send_mixed", 1)
      for (const sleeper of sleepers) assert.deepStrictEqual(yield* Fiber.join(sleeper), [0])
    })))

  it.live("is interrupted at any moment, and leaves no descriptor and no thread", () =>
    Effect.gen(function*() {
      // Threads that this process keeps are there from now on: those that read files, and the engine's own.
      yield* Effect.promise(() => Fs.promises.readFile("/proc/self/status"))
      yield* Effect.scoped(
        Effect.flatMap(loadFixture("typed_events.bpf.o"), (loaded) => wait(loaded, ["execs"], { timeout: 20 }))
      )
      const thread = yield* steady(threads)
      const descriptor = waiting()
      let seed = 20_261_123
      const random = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 0x8000_0000) / 0x8000_0000
      for (let round = 0; round < 4; round++) {
        yield* Effect.scoped(Effect.gen(function*() {
          const loaded = yield* loadFixture("typed_events.bpf.o")
          for (let each = 0; each < 25; each++) {
            const fiber = yield* Effect.forkChild(wait(loaded, ["execs", "mixed"], { timeout: 1000 }))
            const moment = Math.floor(random() * 4)
            if (moment === 1) yield* Effect.yieldNow
            if (moment > 1) yield* Effect.sleep(random() * (moment === 2 ? 1 : 4))
            yield* Fiber.interrupt(fiber)
          }
        }))
        const before = [thread, descriptor]
        assert.deepStrictEqual(yield* settled(() => [threads(), waiting()], before), before)
      }
    }))

  it.live("fails when what it waits for is closed", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const map = Ref.map(0)
      yield* session.call(
        mapCreate(0, { type: MapType.BPF_MAP_TYPE_RINGBUF, keySize: 0, valueSize: 0, maxEntries: 4096 })
      )
      const fiber = yield* Effect.forkChild(kernelError(session.call({ _tag: "Wait", refs: [map], for: "Read" })))
      yield* Effect.sleep(1)
      yield* session.call({ _tag: "Close", ref: map })
      assert.strictEqual((yield* Fiber.join(fiber)).errno, "ECANCELED")
    })))

  it.live("refuses what would never be ready", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(mapCreate(0))
      yield* session.call(
        mapCreate(1, { type: MapType.BPF_MAP_TYPE_RINGBUF, keySize: 0, valueSize: 0, maxEntries: 4096 })
      )
      const hint = (
        call: { readonly refs: ReadonlyArray<Ref.MapRef>; readonly for?: "Write"; readonly timeout?: number }
      ) =>
        Effect.map(
          kernelError(session.call({ _tag: "Wait", for: "Read", ...call })),
          ({ errno, hint }) => `${errno}: ${hint}`
        )
      const [hash, ring] = [Ref.map(0), Ref.map(1)]
      assert.strictEqual(
        yield* hint({ refs: [hash] }),
        "EINVAL: a map of type hash cannot be waited for to be read from"
      )
      assert.strictEqual(
        yield* hint({ refs: [ring], for: "Write" }),
        "EINVAL: a map of type ringbuf cannot be waited for to be written to"
      )
      assert.match(yield* hint({ refs: [] }), /nothing to wait for/)
      for (const timeout of [-1, Number.NaN, 2 ** 31]) assert.match(yield* hint({ refs: [ring], timeout }), /^EINVAL/)
    })))
})

// A program of its own, which the bundle of tests for virtual machines has not.
describeWith({ kind: "live", files: ["test/support/Exits.ts"] }, "a process that waits for the live kernel", () => {
  it.live("keeps a process alive while somebody waits, and lets it end when it wants to", () =>
    Effect.gen(function*() {
      const ended = yield* Effect.promise(() => Promise.all([exitOf("waits"), exitOf("leaves"), exitOf("exits")]))
      assert.deepStrictEqual(ended, ["0 answered", "0 left", "3 exiting"])
    }))
})
