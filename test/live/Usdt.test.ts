/**
 * Probes of running programs: attached, seen with their arguments and cookies, and detached without a trace.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Os from "node:os"
import * as Usdt from "../../src/attach/Usdt.ts"
import { describeWith, isOlder } from "../support/Require.ts"
import { built, live, probe, type Setting, told, traces } from "../support/UsdtLive.ts"
import { builtNeeds, start } from "../support/UsdtTarget.ts"

const widths = [-1n, 200n, -300n, 60000n, -70000n, 4000000000n, -5000000000000n, 18000000000000000000n - (1n << 64n)]

/** Whether the kernel says of links to which files they are. */
const tellsPaths = !isOlder(Os.release(), "6.8")

describeWith({ kind: "live", ...builtNeeds, root: true }, "probes of running programs", () => {
  const settings: ReadonlyArray<readonly [string, Setting]> = [
    ["by one link", {}],
    ["by one link, with the older layout of arguments", { fixture: "usdt.bpf.o" }],
    ["by a perf event for each place", { without: ["UprobeMultiLink"] }],
    ["by addresses, without cookies", { without: ["UprobeMultiLink", "BpfCookie"] }],
    [
      "by addresses, with the older layout of arguments",
      { fixture: "usdt.bpf.o", without: ["UprobeMultiLink", "BpfCookie"] }
    ]
  ]
  for (const [how, setting] of settings) {
    it.live(`are seen with arguments and cookies, ${how}`, () =>
      live(setting, ({ events, loaded }) =>
        Effect.gen(function*() {
          const target = yield* start(built().program)
          const { pid } = target
          yield* Usdt.attach(loaded, "any", probe("begin", { pid, cookie: 0xdead_beef_0000_0001n }))
          if (tellsPaths) assert.isNotEmpty(yield* traces)
          yield* target.round
          yield* target.round
          assert.deepStrictEqual(
            (yield* events).map(told),
            [1n, 2n].map((round) => ({
              program: 1,
              cookie: 0xdead_beef_0000_0001n,
              failed: 0,
              values: [round, BigInt(pid)]
            }))
          )
        })))

    it.live(`of all widths and signs, ${how}`, () =>
      live(setting, ({ events, loaded }) =>
        Effect.gen(function*() {
          const target = yield* start(built().program)
          yield* Usdt.attach(loaded, "any", probe("widths", { pid: target.pid }))
          yield* target.round
          assert.deepStrictEqual((yield* events).map(told), [
            { program: 1, cookie: 0n, failed: 0, values: [...widths, -9n, -1n, 60000n, 0x1234n] }
          ])
        })))

    it.live(`at many places, ${how}, until they are detached`, () =>
      live(setting, ({ events, loaded }) =>
        Effect.gen(function*() {
          const target = yield* start(built().program)
          const link = yield* Usdt.attach(loaded, "any", probe("many", { pid: target.pid }))
          yield* target.round
          const seen = (yield* events).map(({ values }) => values)
          assert.deepStrictEqual(seen, [[1n, 7n], [101n, 7n], [201n, 7n]])
          yield* link.detach
          yield* target.round
          assert.deepStrictEqual(yield* events, [])
          yield* Effect.scoped(Effect.andThen(
            Usdt.attach(loaded, "any", probe("many", { pid: target.pid })),
            target.round
          ))
          assert.lengthOf(yield* events, 3)
          yield* target.round
          assert.deepStrictEqual(yield* events, [])
        })))

    it.live(`with a semaphore, which counts who listens, ${how}`, () =>
      live(setting, ({ events, loaded }) =>
        Effect.gen(function*() {
          const target = yield* start(built().program)
          assert.strictEqual(yield* target.round, 0)
          const link = yield* Usdt.attach(loaded, "any", probe("counted", { pid: target.pid }))
          assert.strictEqual(yield* target.round, 1)
          assert.strictEqual(yield* target.round, 2)
          assert.deepStrictEqual((yield* events).map(({ values }) => values), [[1n], [2n]])
          yield* link.detach
          assert.strictEqual(yield* target.round, 2)
          assert.deepStrictEqual(yield* events, [])
        })))

    it.live(`in a library, ${how}`, () =>
      live(setting, ({ events, loaded }) =>
        Effect.gen(function*() {
          const target = yield* start(built().program)
          const { pid } = target
          const called = { provider: "library", name: "called", pid }
          // By its path, and by the name that the process executes it under.
          for (const path of [built().library, "libeffect_probes.so"]) {
            yield* Effect.scoped(Effect.andThen(Usdt.attach(loaded, "any", { ...called, path }), target.round))
            assert.lengthOf(yield* events, 1, path)
          }
        })))
  }
})
