import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as ProgStream from "../../../src/events/ProgStream.ts"
import type { Session } from "../../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../../src/services/Kernel/KernelCall.ts"
import { type CallError, fromErrno } from "../../../src/services/Kernel/KernelError.ts"
import * as Ref from "../../../src/services/Kernel/Ref.ts"

/** A session that makes calls by this function, and can do nothing else. */
const sessionOf = (call: (call: KernelCall) => Effect.Effect<Uint8Array, CallError>): Session => ({
  id: Symbol("session"),
  concurrency: 1,
  call: (each) => call(each) as Effect.Effect<never, CallError>,
  adopt: () => Effect.die("not called"),
  fresh: () => assert.fail("not called"),
  disown: () => {},
  stamp: (ref) => ref,
  exists: () => true,
  view: () => undefined,
  commit: Effect.void,
  rollback: Effect.void
})

/** A session in which a program prints when it is told to. */
const printing = () => {
  let printed = new Uint8Array(0)
  let calls = 0
  const call = (call: KernelCall) =>
    Effect.suspend(() => {
      calls++
      if (call._tag !== "ProgStreamRead") return Effect.die(call)
      if (call.stream === "Stderr") return Effect.fail(fromErrno("ProgStreamRead", "p", 22))
      const piece = printed.slice(0, call.length)
      printed = printed.slice(call.length)
      return Effect.succeed(piece)
    })
  return {
    print: (text: string) => {
      printed = new Uint8Array([...printed, ...new TextEncoder().encode(text)])
    },
    calls: () => calls,
    session: sessionOf(call)
  }
}

const prog = Ref.prog(0)

describe("what programs print", () => {
  it.effect("is read to its end in pieces, and no further than what the kernel keeps", () =>
    Effect.gen(function*() {
      const { print, session } = printing()
      print("one, two, three")
      const bytes = yield* ProgStream.read(session, prog, "Stdout", { chunk: 4 })
      assert.strictEqual(new TextDecoder().decode(bytes), "one, two, three")
      assert.lengthOf(yield* ProgStream.read(session, prog, "Stdout"), 0)
      print("x".repeat(250_000))
      assert.isBelow((yield* ProgStream.read(session, prog, "Stdout")).length, 120_000)
    }))

  it.effect("comes as lines, whose characters may be cut between two readings; an empty stream is left alone for a while", () =>
    Effect.gen(function*() {
      const { calls, print, session } = printing()
      print("größer\nal")
      const fiber = yield* Effect.forkChild(
        Stream.runCollect(Stream.take(ProgStream.lines(session, prog, "Stdout", { chunk: 3, interval: 50 }), 2))
      )
      yield* TestClock.adjust(49)
      const before = calls()
      assert.isUndefined(fiber.pollUnsafe())
      print("les\n")
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["größer", "alles"])
      assert.isAtMost(calls() - before, 3)
    }))

  it.effect("fails as the kernel does", () =>
    Effect.gen(function*() {
      const { session } = printing()
      const error = yield* Effect.flip(Stream.runDrain(ProgStream.bytes(session, prog, "Stderr")))
      assert.strictEqual(error._tag, "KernelError")
    }))
})
