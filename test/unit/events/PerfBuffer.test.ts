import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as PerfBuffer from "../../../src/events/PerfBuffer.ts"
import { Kernel, type KernelShape, type Session } from "../../../src/services/Kernel/Kernel.ts"
import type { KernelCall, ResultOf } from "../../../src/services/Kernel/KernelCall.ts"
import { fromErrno } from "../../../src/services/Kernel/KernelError.ts"
import * as KernelFaulty from "../../../src/services/Kernel/KernelFaulty.ts"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import * as KernelTraced from "../../../src/services/Kernel/KernelTraced.ts"
import * as Errno from "../../../src/services/Kernel/abi/Errno.ts"
import { testRun } from "../../support/LiveKernel.ts"
import { loadFixture } from "../../support/LoadFixture.ts"
import { perfSuite, shortRecord, takeNow, withProducer } from "../../support/PerfSuite.ts"

describe("perf buffers of the simulated kernel", () => {
  perfSuite(Effect.map(KernelSimulated.make(), ({ kernel }) => kernel))
})

/** The CPUs of a machine, and what the kernel makes of events on them. */
interface Machine {
  online: ReadonlyArray<number>
  /** CPUs whose events have stopped, though they are online: they have been away. */
  stopped: ReadonlySet<number>
  /** CPUs that go between the look at the list and the opening. */
  fleeting: ReadonlySet<number>
  /** CPUs whose events are refused. */
  refused: ReadonlySet<number>
  /** Events cannot be asked for their counts. */
  mute: boolean
  /** Whether losses are counted: kernels before 6.0 do not. */
  countsLost: boolean
}

/** What a call of a type answers, from a test that knows its type. */
const answering = <C extends KernelCall>(value: unknown): Effect.Effect<ResultOf<C>> =>
  Effect.succeed(value as ResultOf<C>)

/** A simulated kernel with CPUs that come and go; programs run on CPU 1 of 3. */
const hotPlug = (machine: Machine): Effect.Effect<KernelShape, unknown> =>
  Effect.map(KernelSimulated.make({ possibleCpus: 3, cpu: 1 }), ({ kernel }) => {
    const cpuOf = new Map<number, number>()
    const running = new Map<number, bigint>()
    const change = (session: Session): Session["call"] => (call) =>
      Effect.suspend(() => {
        const asked: KernelCall = call
        const answer = answering<typeof call>
        const refuse = (errno: Errno.Errno) => Effect.fail(fromErrno(asked._tag, "a CPU", Errno.numbers[errno]))
        switch (asked._tag) {
          case "CpusGet":
            return answer({ possible: [0, 1, 2], online: machine.online })
          case "PerfEventOpen": {
            const countsLost = asked.source._tag === "BpfOutput" && asked.source.countLost
            if (machine.refused.has(asked.cpu)) return refuse("EMFILE")
            if (countsLost && !machine.countsLost) return refuse("EINVAL")
            if (!machine.online.includes(asked.cpu) || machine.fleeting.has(asked.cpu)) return refuse("ENODEV")
            cpuOf.set(asked.as.index, asked.cpu)
            return session.call(call)
          }
          case "PerfEventRead": {
            if (machine.mute) return refuse("EIO")
            const { index } = asked.event
            const before = running.get(index) ?? 0n
            const now = machine.stopped.has(cpuOf.get(index) ?? -1) && before > 0n ? before : before + 1n
            running.set(index, now)
            return Effect.flatMap(session.call(asked), (counters) => answer({ ...counters, running: now }))
          }
          default:
            return session.call(call)
        }
      })
    return {
      ...kernel,
      session: (options) => Effect.map(kernel.session(options), (session) => ({ ...session, call: change(session) }))
    }
  })

const machine = (more: Partial<Machine> = {}): Machine => ({
  online: [0, 1, 2],
  stopped: new Set(),
  fleeting: new Set(),
  countsLost: true,
  refused: new Set(),
  mute: false,
  ...more
})

const sequences = (items: ReadonlyArray<PerfBuffer.PerfItem<number>>): ReadonlyArray<number> =>
  items.flatMap((item) => item._tag === "Sample" ? [item.value] : [])

describe("CPUs that come and go", () => {
  it.effect("those that are offline are left out, and read when they have come", () => {
    const cpus = machine({ online: [0, 2] })
    return withProducer(hotPlug(cpus), ({ count, open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open()
        assert.deepStrictEqual(buffer.cpus(), [0, 2])
        yield* send(1)
        assert.strictEqual(yield* count("absent"), 1n)
        cpus.online = [0, 1, 2]
        yield* buffer.look
        assert.deepStrictEqual(buffer.cpus(), [0, 1, 2])
        yield* send(1)
        assert.deepStrictEqual(sequences(yield* takeNow(buffer, shortRecord, 1)), [1])
      }))
  })

  it.effect("one that goes while it is opened is left out, until it stays", () => {
    const cpus = machine({ fleeting: new Set([1]) })
    return withProducer(hotPlug(cpus), ({ open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open({ cpus: [1] })
        assert.deepStrictEqual(buffer.cpus(), [])
        cpus.fleeting = new Set()
        yield* buffer.look
        yield* send(2)
        assert.deepStrictEqual(sequences(yield* takeNow(buffer, shortRecord, 2)), [0, 1])
      }))
  })

  it.effect("what one that has gone had written is still read; back again, it is read on", () => {
    const cpus = machine()
    return withProducer(hotPlug(cpus), ({ count, open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open({ pages: 1 })
        yield* send(130)
        cpus.online = [0, 2]
        yield* buffer.look
        assert.deepStrictEqual(buffer.cpus(), [0, 2])
        // What was lost there is told as well, with the 127 records that there was room for.
        const items = yield* takeNow(buffer, shortRecord, 128)
        assert.strictEqual(sequences(items).length, 127)
        assert.deepStrictEqual(items.filter(({ _tag }) => _tag === "Lost"), [{ _tag: "Lost", cpu: 1, count: 3n }])
        yield* buffer.look
        yield* send(1)
        assert.strictEqual(yield* count("absent"), 1n)
        cpus.online = [0, 1, 2]
        yield* buffer.look
        yield* send(1)
        assert.deepStrictEqual(sequences(yield* takeNow(buffer, shortRecord, 1)), [131])
        const [, one] = buffer.counters().cpus
        assert.deepStrictEqual(one, { cpu: 1, records: 128, lost: 3n })
      }))
  })

  it.effect("one that was away between two looks has another event afterwards, and nothing of the old one is lost", () => {
    const cpus = machine()
    return withProducer(hotPlug(cpus), ({ count, open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open()
        yield* buffer.look
        yield* send(2)
        cpus.stopped = new Set([1])
        yield* buffer.look
        cpus.stopped = new Set()
        yield* send(2)
        assert.deepStrictEqual(sequences(yield* takeNow(buffer, shortRecord, 4)), [0, 1, 2, 3])
        // Closing the old event leaves the slot to the new one.
        yield* buffer.look
        yield* buffer.look
        yield* send(1)
        assert.deepStrictEqual(sequences(yield* takeNow(buffer, shortRecord, 1)), [4])
        assert.strictEqual(yield* count("absent"), 0n)
        assert.deepStrictEqual(buffer.cpus(), [0, 1, 2])
      }))
  })

  it.effect("one that cannot be opened later does not keep the others from being read, and is tried again", () => {
    const cpus = machine({ online: [0, 1] })
    return withProducer(hotPlug(cpus), ({ open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open()
        cpus.online = [0, 1, 2]
        cpus.refused = new Set([2])
        yield* buffer.look
        assert.deepStrictEqual(buffer.cpus(), [0, 1])
        yield* send(1)
        assert.deepStrictEqual(sequences(yield* takeNow(buffer, shortRecord, 1)), [0])
        cpus.refused = new Set()
        yield* buffer.look
        assert.deepStrictEqual(buffer.cpus(), [0, 1, 2])
        // An event that cannot be asked is replaced.
        cpus.mute = true
        yield* buffer.look
        cpus.mute = false
        yield* send(1)
        assert.deepStrictEqual(sequences(yield* takeNow(buffer, shortRecord, 1)), [1])
      }))
  })

  it.effect("when a buffer is opened, one that is refused is an error", () =>
    withProducer(hotPlug(machine({ refused: new Set([2]) })), ({ open }) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(open())
        assert.match(String(error), /EMFILE/)
      })))

  it.live("a stream looks by itself", () => {
    const cpus = machine({ online: [0] })
    return withProducer(hotPlug(cpus), ({ open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open({ interval: 5 })
        const reading = yield* Effect.forkChild(takeNow(buffer, shortRecord, 1))
        cpus.online = [0, 1]
        while (!buffer.cpus().includes(1)) yield* Effect.sleep(1)
        yield* send(1)
        assert.deepStrictEqual(sequences(yield* Fiber.join(reading)), [0])
      }))
  })

  it.effect("named fault: without looking, nothing of a CPU that came is read", () => {
    const cpus = machine({ online: [0] })
    return withProducer(hotPlug(cpus), ({ count, open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open()
        cpus.online = [0, 1]
        yield* send(1)
        assert.strictEqual(Result.getOrThrow(buffer.consume({ sample: () => {}, lost: () => {}, other: () => {} })), 0)
        assert.strictEqual(yield* count("absent"), 1n)
      }))
  })

  it.effect("kernels that count no losses are asked without: what they write is told", () =>
    withProducer(hotPlug(machine({ countsLost: false })), ({ count, open, send }) =>
      Effect.gen(function*() {
        const buffer = yield* open({ pages: 1 })
        yield* send(200)
        const first = yield* takeNow(buffer, shortRecord, 127)
        assert.strictEqual(sequences(first).length, 127)
        yield* buffer.look
        assert.strictEqual(buffer.counters().lost, 0n)
        yield* send(1)
        const [lost] = yield* takeNow(buffer, shortRecord, 1)
        assert.deepStrictEqual(lost, { _tag: "Lost", cpu: 1, count: yield* count("full") })
      })))

  it.effect("CPUs that the map has no slot for are named", () =>
    withProducer(
      Effect.map(KernelSimulated.make({ possibleCpus: 2 }), ({ kernel }): KernelShape => ({
        ...kernel,
        session: (options) =>
          Effect.map(kernel.session(options), (session) => ({
            ...session,
            call: (call) =>
              call._tag === "CpusGet"
                ? answering<typeof call>({ online: [0, 1], possible: [0, 1, 2, 3] })
                : session.call(call)
          }))
      })),
      ({ open }) =>
        Effect.gen(function*() {
          const buffer = yield* open()
          assert.deepStrictEqual([buffer.cpus(), buffer.withoutSlot], [[0, 1], [2, 3]])
        })
    ))
})

describe("annotated types", () => {
  it.effect("records are values of the types that the object names, and bytes where it names none", () =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelSimulated.make()
      yield* Effect.gen(function*() {
        const loaded = yield* loadFixture("trace_events.bpf.o", { kernel })
        const map = loaded.map("copies") ?? assert.fail("it is not loaded")
        const types = yield* Effect.fromResult(PerfBuffer.annotated(loaded.object, "copies"))
        const buffer = yield* PerfBuffer.open(loaded.session, map)
        yield* loaded.session.call({ ...testRun(0), prog: loaded.program("on_packet") ?? assert.fail("no program") })
        const [item] = yield* Stream.runCollect(Stream.take(PerfBuffer.stream(buffer, types), 1))
        assert.isTrue(item?._tag === "Sample")
        if (item?._tag !== "Sample") return
        assert.deepInclude(item.value, { sequence: 0n, process: 1, kind: "LENGTH_SHORT" })
        assert.deepStrictEqual(PerfBuffer.annotated(loaded.object, "nobody"), Result.succeed([PerfBuffer.raw]))
      }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
    }))
})

describe("faults", () => {
  it.effect("whatever call fails or is interrupted, every event and mapping is closed", () =>
    Effect.gen(function*() {
      const kernel = Effect.map(KernelSimulated.make({ possibleCpus: 2 }), ({ kernel }) => kernel)
      const body = (made: Effect.Effect<KernelShape, unknown>) =>
        withProducer(made, ({ open, send }) =>
          Effect.gen(function*() {
            const buffer = yield* open()
            yield* send(2)
            yield* takeNow(buffer, shortRecord, 2)
            yield* buffer.look
          }).pipe(Effect.scoped))
      const tracedOf = (made: KernelShape) => KernelTraced.make(made)
      const whole = yield* tracedOf(yield* kernel)
      yield* body(Effect.succeed(whole.kernel))
      const all = yield* whole.attempts
      const total = all.length
      const first = all.findIndex(({ call }) => call._tag === "PerfEventOpen")
      assert.isAbove(total - first, 10)
      for (let at = first; at < total; at++) {
        // One that cannot be closed is left to the session, which closes it at its end.
        if (all[at]?.call._tag === "Close") continue
        for (
          const fault of [
            { _tag: "Answer", errno: "EPERM" },
            { _tag: "InterruptBefore" },
            { _tag: "InterruptAfter" }
          ] as const
        ) {
          const traced = yield* tracedOf(yield* KernelFaulty.make(yield* kernel, at, fault))
          yield* Effect.exit(body(Effect.succeed(traced.kernel)))
          const open = new Set<string>()
          for (const { answer, call } of yield* traced.attempts) {
            const isDone = Result.isSuccess(answer) || fault._tag === "InterruptAfter"
            if (call._tag === "PerfEventOpen" && isDone) open.add(`Event ${call.as.index}`)
            if (call._tag === "EventMmap" && isDone) open.add(`View ${call.as.index}`)
            if (call._tag === "Close") open.delete(`${call.ref._tag} ${call.ref.index}`)
          }
          assert.deepStrictEqual([...open], [], `attempt ${at}, ${fault._tag}`)
        }
      }
    }))
})
