import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as ProgStream from "../../src/events/ProgStream.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { inSession, kernelError, progLoad, returning } from "../support/LiveKernel.ts"
import { loadFixture } from "../support/LoadFixture.ts"
import { describeWith } from "../support/Require.ts"
import { programNamed, runContext, runNamed } from "../support/RingProducer.ts"

const utf8 = new TextDecoder()

/** What `print_lines` answers where the kernel has no page for what programs print: as long as it is taking over memory late. */
const noMemory = -12 >>> 0

describeWith({ kind: "live", linux: "6.18" }, "what programs print, on the live kernel", () => {
  const loaded = Effect.map(loadFixture("prog_streams.bpf.o"), (loaded) => ({
    session: loaded.session,
    prog: programNamed(loaded, "print_lines"),
    /** Whether it could be printed. */
    print: (events: number, value: number, stream: 1 | 2) =>
      Effect.map(runNamed(loaded, "print_lines", runContext({ events, value, flags: stream })), ({ retval }) => {
        if (retval === noMemory) {
          console.error("not compared: this kernel has no memory for what programs print (ENOMEM)")
        } else assert.strictEqual(retval, 0)
        return retval === 0
      })
  }))

  it.live("is read from its standard output and its standard error, each byte once", () =>
    Effect.scoped(Effect.gen(function*() {
      const { print, prog, session } = yield* loaded
      const read = (output: ProgStream.Output, chunk?: number) =>
        Effect.map(
          ProgStream.read(session, prog, output, chunk === undefined ? {} : { chunk }),
          (bytes) => utf8.decode(bytes)
        )
      const canPrint = (yield* print(2, -7, 1)) && (yield* print(1, 5, 2))
      assert.strictEqual(yield* read("Stdout", 5), canPrint ? "line 0 of -7\nline 1 of -7\n" : "")
      assert.strictEqual(yield* read("Stderr"), canPrint ? "line 0 of 5\n" : "")
      assert.deepStrictEqual([yield* read("Stdout"), yield* read("Stderr")], ["", ""])
    })))

  it.live("comes as a stream of lines, which sleeps in between and is interrupted", () =>
    Effect.scoped(Effect.gen(function*() {
      const { print, prog, session } = yield* loaded
      const lines = ProgStream.lines(session, prog, "Stdout", { interval: 2, chunk: 7 })
      if (yield* print(2, 9, 1)) {
        const taken = yield* Effect.forkChild(Stream.runCollect(Stream.take(lines, 3)))
        yield* Effect.sleep(5)
        yield* print(2, 8, 1)
        assert.deepStrictEqual(yield* Fiber.join(taken), ["line 0 of 9", "line 1 of 9", "line 0 of 8"])
      }
      const endless = yield* Effect.forkChild(Stream.runDrain(lines))
      yield* Effect.sleep(5)
      yield* Fiber.interrupt(endless)
    })))

  it.live("cannot be read into no room, or of what is no program", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(progLoad(0, returning(0)))
      const read = (length: number) =>
        session.call({ _tag: "ProgStreamRead", prog: Ref.prog(0), stream: "Stdout", length })
      assert.lengthOf(yield* read(10), 0)
      for (const length of [0, -1, 0.5, 2 ** 24]) {
        assert.match((yield* kernelError(read(length))).hint ?? "", /room to read into/)
      }
    })))
})

describeWith({ kind: "live" }, "kernels without streams of programs", () => {
  it.live("say so: the simulated one, and live ones before 6.17", () =>
    Effect.scoped(Effect.gen(function*() {
      const { kernel: simulated } = yield* KernelSimulated.make()
      for (const kernel of [simulated, yield* KernelLive.make]) {
        const session = yield* kernel.session()
        yield* session.call(progLoad(0, returning(0)))
        const read = session.call({ _tag: "ProgStreamRead", prog: Ref.prog(0), stream: "Stdout", length: 8 })
        const answer = yield* Effect.match(read, {
          onFailure: (error) => error.message,
          onSuccess: (bytes) => `${bytes.length} bytes`
        })
        assert.match(answer, kernel === simulated ? /gives programs no streams/ : /^0 bytes$|those from 6.17 on do/)
      }
    })))
})
