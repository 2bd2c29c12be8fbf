/** Skeletons in TypeScript on the live kernel: attached to what happens, and gone when they are over. */
import { assert, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fs from "node:fs"
import * as Stream from "effect/Stream"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Events from "../fixtures/skeletons/attach_events.skel.ts"
import * as StructOps from "../fixtures/skeletons/struct_ops.skel.ts"
import * as TypedEvents from "../fixtures/skeletons/typed_events.skel.ts"
import { attaching } from "../support/Attaching.ts"
import { describeWith } from "../support/Require.ts"
import * as SkeletonSuite from "../support/SkeletonSuite.ts"

// Maps by their identifiers and events of whole CPUs are root's.
describeWith({ kind: "live", root: true }, "skeletons on the live kernel", () => {
  SkeletonSuite.skeletons(KernelLive.layer)

  it.live("what is sent through a user ring buffer arrives in the program", () =>
    attaching(Effect.gen(function*() {
      const { globals, maps, programs } = yield* TypedEvents.load()
      const requests = yield* maps.requests.open
      for (const value of [5, -3, 40]) yield* requests.send({ number: 1, value })
      yield* programs.take_requests.run()
      assert.strictEqual(globals.bss.requests_seen, 3n)
      assert.strictEqual(globals.bss.sum_of_requests, 42n)
    })))

  it.live("records of perf buffers are of their types, and say from which CPU", () =>
    attaching(Effect.gen(function*() {
      const { maps, programs } = yield* TypedEvents.load()
      const buffer = yield* maps.samples.open()
      yield* programs.send_samples.run({ context: [3n] })
      const items = yield* maps.samples.items(buffer).pipe(Stream.take(3), Stream.runCollect)
      assert.deepStrictEqual(
        items.map((item) => item._tag === "Sample" ? [item.value.name, item.value.cpu === item.cpu] : []),
        [["sample", true], ["sample", true], ["sample", true]]
      )
    })))
})

/** Makes a system call that is one of this process alone. */
const getuid = (): void => {
  process.getuid?.()
}

/** The programs of the fixture that need neither clocks nor newer kernels. */
const few = ["on_tracepoint", "on_raw_tracepoint", "on_uprobe"] as const

/** Loads these programs of the fixture, and no others. */
const loaded = Effect.fnUntraced(function*(...names: ReadonlyArray<keyof Events.Programs>) {
  const opened = yield* Events.open({ globals: { bss: { only_process: process.pid } } })
  for (const program of Object.values(opened.programs)) program.autoload = names.some((name) => name === program.name)
  return yield* opened.load()
})

// What tracefs lists is for root alone.
describeWith({ kind: "live", root: true }, "attached skeletons", () => {
  it.live("attach what their sections say, and what they are told, until the scope closes", () =>
    attaching(Effect.gen(function*() {
      const { attach, globals } = yield* loaded(...few)
      // A function of this very process.
      const probed = { path: process.execPath, symbol: "uv_hrtime", pid: process.pid }
      yield* Effect.scoped(Effect.gen(function*() {
        const { links, skipped } = yield* attach({
          overrides: { on_tracepoint: { cookie: 9n }, on_uprobe: { ...probed, cookie: 8n } }
        })
        assert.sameMembers(Object.keys(links), [...few])
        assert.isTrue(skipped.every(({ because }) => because.includes("autoload")))
        getuid()
        process.hrtime()
        assert.isAtLeast(Number(globals.bss.tracepoint_hits), 1)
        assert.isAtLeast(Number(globals.bss.raw_hits), 1)
        assert.isAtLeast(Number(globals.bss.uprobe_hits), 1)
        assert.deepStrictEqual([globals.bss.tracepoint_cookie, globals.bss.uprobe_cookie], [9n, 8n])
      }))
      const { tracepoint_hits } = globals.bss
      getuid()
      assert.strictEqual(globals.bss.tracepoint_hits, tracepoint_hits)
    })))

  it.live("leave alone what they are told to, and attach one by one", () =>
    attaching(Effect.gen(function*() {
      const { attach, globals, programs } = yield* loaded(...few)
      const { links, skipped } = yield* attach({ except: ["on_tracepoint"] })
      assert.deepStrictEqual(Object.keys(links), ["on_raw_tracepoint"])
      assert.deepInclude(skipped.map(({ because, name }) => ({ because, name })), {
        name: "on_tracepoint",
        because: "it was to be left alone"
      })
      getuid()
      assert.strictEqual(globals.bss.tracepoint_hits, 0n)
      const link = yield* programs.on_tracepoint.attach()
      getuid()
      assert.isAtLeast(Number(globals.bss.tracepoint_hits), 1)
      yield* link.detach
      const other = yield* programs.on_tracepoint.attach({ name: "sys_enter_getgid" })
      const { tracepoint_hits } = globals.bss
      getuid()
      assert.strictEqual(globals.bss.tracepoint_hits, tracepoint_hits)
      process.getgid?.()
      assert.isAbove(Number(globals.bss.tracepoint_hits), Number(tracepoint_hits))
      assert.strictEqual(other.target, "syscalls/sys_enter_getgid")
    })))

  it.live("detach what was attached where something is refused", () =>
    attaching(Effect.gen(function*() {
      const { attach, globals } = yield* loaded(...few)
      const error = yield* Effect.flip(attach({ overrides: { on_uprobe: { path: "/nowhere", symbol: "x" } } }))
      assert.strictEqual(error._tag, "AttachError")
      assert.match(error.message, /on_uprobe/)
      // This process makes calls all the time, those in between were counted.
      const { raw_hits } = globals.bss
      getuid()
      assert.strictEqual(globals.bss.tracepoint_hits, 0n)
      assert.strictEqual(globals.bss.raw_hits, raw_hits)
    })))

  it.live("leave nothing, whatever attempt fails", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      let failed = 0
      for (let at = 0; at < 20; at++) {
        const faulty = KernelFaulty.make(kernel, at, { _tag: "Answer", errno: "ENOMEM" })
        const exit = yield* Effect.exit(attaching(
          Effect.flatMap(loaded("on_tracepoint", "on_raw_tracepoint"), ({ attach, maps }) =>
            Effect.andThen(attach(), maps.elements.set(0, 1n))),
          faulty
        ))
        if (Exit.isSuccess(exit)) {
          continue
        }
        failed++
        for (const reason of exit.cause.reasons) {
          assert.isTrue(
            Cause.isFailReason(reason) && "_tag" in reason.error,
            `attempt ${at}: ${Cause.pretty(exit.cause)}`
          )
        }
      }
      assert.isAbove(failed, 8)
    }))

  it.live("tell of programs that are not loaded", () =>
    attaching(Effect.gen(function*() {
      const { attach, programs } = yield* loaded("on_tracepoint")
      const error = yield* Effect.flip(programs.on_raw_tracepoint.attach())
      assert.strictEqual(error._tag === "AttachError" ? error.reason : error._tag, "NotLoaded")
      const { links } = yield* attach()
      assert.deepStrictEqual(Object.keys(links), ["on_tracepoint"])
    })))

  it.live("register structs of functions", () =>
    attaching(Effect.gen(function*() {
      const opened = yield* StructOps.open()
      opened.maps.congestion.members.name = "skeleton_cc"
      const { attach } = yield* opened.load()
      const { links } = yield* attach()
      assert.include(Object.keys(links), "congestion")
      const controls = Fs.readFileSync("/proc/sys/net/ipv4/tcp_available_congestion_control", "utf8")
      assert.match(controls, /\bskeleton_cc\b/)
    })))
})
