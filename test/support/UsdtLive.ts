/** Live tests of probes: an object on the running kernel, its events, and nothing left behind. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { AttachError } from "../../src/attach/AttachError.ts"
import type * as Usdt from "../../src/attach/Usdt.ts"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import type { Feature } from "../../src/services/Kernel/KernelInfo.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import { lacking } from "./Lacking.ts"
import { openDescriptors } from "./LiveKernel.ts"
import { type EditOf, loadFixture } from "./LoadFixture.ts"
import { reader, type UsdtEvent } from "./UsdtEvents.ts"
import { build, type Built } from "./UsdtTarget.ts"

/** What has to be gone when all is over: links to files in a folder of ours, events of tracefs. Other tests have others. */
export const traces = Effect.gen(function*() {
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
  return [...links, ...listed].filter((each) => each.includes("effect_bpf_target") || each.includes("effect_probes"))
}).pipe(Effect.scoped)

/** What a test works with. */
export interface Stage {
  readonly loaded: LoadedObject
  readonly events: Effect.Effect<ReadonlyArray<UsdtEvent>, unknown>
}

/** With what. */
export interface Setting {
  /** Default: `usdt_wide.bpf.o`. */
  readonly fixture?: string
  /** What the kernel is said not to have. */
  readonly without?: ReadonlyArray<Feature>
  readonly edits?: ReadonlyArray<EditOf>
  /** Decorates the kernel. */
  readonly kernel?: (kernel: KernelShape) => Effect.Effect<KernelShape>
}

/** Runs with a loaded object on the live kernel, and checks that nothing stays behind. */
export const live = <A, E>(
  setting: Setting,
  body: (stage: Stage) => Effect.Effect<A, E, Kernel | Scope.Scope>
): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const running = yield* KernelLive.make
    const decorated = yield* (setting.kernel ?? Effect.succeed)(running)
    const kernel = lacking(decorated, setting.without ?? [])
    const descriptors = openDescriptors()
    const exit = yield* Effect.exit(
      Effect.scoped(Effect.gen(function*() {
        const { edits = [], fixture = "usdt_wide.bpf.o" } = setting
        const loaded = yield* loadFixture(fixture, { kernel, edits })
        return yield* body({ loaded, events: yield* reader(loaded) })
      })).pipe(Effect.provideService(Kernel, kernel))
    )
    assert.deepStrictEqual(yield* Effect.provideService(traces, Kernel, running), [])
    assert.deepStrictEqual(openDescriptors(), descriptors)
    yield* exit
  })

/** The least that an event tells. */
export const told = ({ cookie, failed, program, values }: UsdtEvent) => ({ cookie, failed, program, values })

/** The error of an attachment that must fail. */
export const failed = <A, R>(effect: Effect.Effect<A, unknown, R>): Effect.Effect<AttachError, unknown, R> =>
  Effect.flatMap(
    Effect.flip(effect),
    (error) => error instanceof AttachError ? Effect.succeed(error) : Effect.fail(error)
  )

let known: Built | undefined

/** The program and its library, built once. */
export const built = (): Built => known ??= build()

/** A probe of the program. */
export const probe = (name: string, more: Partial<Usdt.UsdtOptions> = {}): Usdt.UsdtOptions => ({
  path: built().program,
  provider: "effect",
  name,
  ...more
})
