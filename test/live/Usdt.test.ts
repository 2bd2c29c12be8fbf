/**
 * Probes of running programs: attached, seen with their arguments and cookies, and detached without a trace.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { AttachError } from "../../src/attach/AttachError.ts"
import * as Usdt from "../../src/attach/Usdt.ts"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import type { Feature } from "../../src/services/Kernel/KernelInfo.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import { lacking } from "../support/Lacking.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { type EditOf, loadFixture } from "../support/LoadFixture.ts"
import { describeWith } from "../support/Require.ts"
import { reader, type UsdtEvent } from "../support/UsdtEvents.ts"
import { build, type Built, sdtHeader, start, type Target } from "../support/UsdtTarget.ts"

/** What has to be gone when all is over: links to files in a folder of ours, events of tracefs. Other tests have others. */
const traces = Effect.gen(function*() {
  const kernel = yield* Kernel
  const session = yield* kernel.session()
  const links: Array<string> = []
  for (let id = 0;;) {
    const next = yield* session.call({ _tag: "IdNext", kind: "Link", after: id })
    if (next === undefined) break
    id = next
    const link = session.fresh("Link")
    const info = yield* Effect.option(Effect.andThen(
      session.call({ _tag: "GetById", as: link, id }),
      session.call({ _tag: "LinkGetInfo", link })
    ))
    if (info._tag === "Some" && "path" in info.value.detail) links.push(info.value.detail.path)
  }
  const events = "/sys/kernel/tracing/uprobe_events"
  const listed = Fs.existsSync(events) ? Fs.readFileSync(events, "utf8").split("\n") : []
  return [...links, ...listed].filter((each) => each.includes("effect_bpf_target") || each.includes("libeffect_probes"))
}).pipe(Effect.scoped)

interface Stage {
  readonly loaded: LoadedObject
  readonly events: Effect.Effect<ReadonlyArray<UsdtEvent>, unknown>
}

interface Setting {
  readonly fixture?: string
  /** What the kernel is said not to have. */
  readonly without?: ReadonlyArray<Feature>
  readonly edits?: ReadonlyArray<EditOf>
}

/** Runs with a loaded object on the live kernel, and checks that nothing stays behind. */
const live = <A, E>(
  setting: Setting,
  body: (stage: Stage) => Effect.Effect<A, E, Kernel | Scope.Scope>
): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const kernel: KernelShape = lacking(yield* KernelLive.make, setting.without ?? [])
    yield* Effect.gen(function*() {
      const descriptors = openDescriptors()
      const exit = yield* Effect.exit(Effect.scoped(Effect.gen(function*() {
        const { edits = [], fixture = "usdt_wide.bpf.o" } = setting
        const loaded = yield* loadFixture(fixture, { kernel, edits })
        return yield* body({ loaded, events: yield* reader(loaded) })
      })))
      assert.deepStrictEqual(yield* traces, [])
      assert.deepStrictEqual(openDescriptors(), descriptors)
      return yield* exit
    }).pipe(Effect.provideService(Kernel, kernel))
  })

/** The least that an event tells. */
const told = ({ cookie, failed, program, values }: UsdtEvent) => ({ cookie, failed, program, values })

const failed = <A, R>(effect: Effect.Effect<A, unknown, R>): Effect.Effect<AttachError, unknown, R> =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, AttachError)
    return error
  })

const widths = [-1n, 200n, -300n, 60000n, -70000n, 4000000000n, -5000000000000n, 18000000000000000000n - (1n << 64n)]

describeWith({ kind: "live", tools: ["cc"], files: [sdtHeader] }, "probes of running programs", () => {
  let known: Built | undefined
  const built = (): Built => known ??= build()

  const probe = (name: string, more: Partial<Usdt.UsdtOptions> = {}): Usdt.UsdtOptions => ({
    path: built().program,
    provider: "effect",
    name,
    ...more
  })

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
