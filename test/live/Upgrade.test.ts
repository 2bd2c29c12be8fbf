/**
 * Hot upgrade on the live kernel: pinned links get new programs while packets go by, maps are taken over, and whatever goes
 * wrong half-way leaves everything as it was.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Link from "../../src/attach/Link.ts"
import * as RawTracepoint from "../../src/attach/RawTracepoint.ts"
import * as StructOps from "../../src/attach/StructOps.ts"
import * as Tcx from "../../src/attach/Tcx.ts"
import * as Upgrade from "../../src/attach/Upgrade.ts"
import * as Xdp from "../../src/attach/Xdp.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as MapEdit from "../../src/stages/open/MapEdit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as ProgramEdit from "../../src/stages/open/ProgramEdit.ts"
import { loadFixture } from "../support/LoadFixture.ts"
import { generation, hits, idOf, live, load } from "../support/NetworkFixture.ts"
import { type Network, network } from "../support/Network.ts"
import { bpffs, describeWith, fixture } from "../support/Require.ts"

/** The next generation of these programs, which counts elsewhere in the same map. */
const next = (...names: ReadonlyArray<string>): BpfObject =>
  Result.getOrThrow(
    Open.fromBytes(fixture("net/network.bpf.o"), { path: "network.bpf.o" }).pipe(
      Result.flatMap((object) => ProgramEdit.loadOnly(object, names)),
      Result.flatMap((object) => Edit.setVariable(object, "base", generation))
    )
  )

let made = 0

const onLive = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, KernelLive.layer)

/** Two links that are pinned, each to a program of an object that is let go of. */
const running = Effect.fnUntraced(function*(box: Network) {
  const target = { device: box.device, netns: box.path }
  const folder = `${bpffs()}/upgrade${made++}`
  const pins = { xdp: `${folder}/xdp`, tcx: `${folder}/tcx`, program: `${folder}/program` }
  const ids = yield* Effect.scoped(Effect.gen(function*() {
    const loaded = yield* load(["xdp_count", "tcx_next"])
    yield* (yield* Xdp.attach(loaded, "xdp_count", target)).pin(pins.xdp)
    yield* (yield* Tcx.attach(loaded, "tcx_next", target)).pin(pins.tcx)
    const object = loaded.program("xdp_count") ?? assert.fail("no program")
    yield* loaded.session.call({ _tag: "ObjPin", object, path: pins.program })
    yield* loaded.session.commit
    return { xdp: yield* idOf(loaded, "xdp_count"), tcx: yield* idOf(loaded, "tcx_next") }
  }))
  yield* Effect.addFinalizer(() => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true })))
  return { pins, ids, target }
})

/** What the links and the pin name now. */
const standing = (pins: { readonly xdp: string; readonly tcx: string; readonly program: string }) =>
  onLive(Effect.scoped(Effect.gen(function*() {
    const session = yield* (yield* Kernel).session()
    const xdp = yield* Effect.flatMap(Link.open(session, pins.xdp), ({ info }) => info)
    const tcx = yield* Effect.flatMap(Link.open(session, pins.tcx), ({ info }) => info)
    const prog = session.fresh("Prog")
    yield* session.call({ _tag: "ObjGet", as: prog, path: pins.program })
    const { id } = yield* session.call({ _tag: "ProgGetInfo", prog })
    return { xdp: xdp?.progId, tcx: tcx?.progId, program: id }
  })))

const swapsOf = (pins: { readonly xdp: string; readonly tcx: string; readonly program: string }) =>
  [
    [{ pin: pins.xdp, program: "xdp_count" }, { pin: pins.tcx, program: "tcx_next" }],
    { programPins: [{ pin: pins.program, program: "xdp_count" }] }
  ] as const

/** Sends datagrams until it is told to stop, which answers how many; it has begun when ten are under way. */
const sending = (box: Network) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const command = `i=0; trap 'echo $i; exit 0' TERM; ` +
        `while :; do echo x 2>/dev/null >/dev/udp/${box.address}/9; i=$((i+1)); [ $i = 10 ] && echo under way; done`
      const child = ChildProcess.spawn("ip", ["netns", "exec", box.peer, "bash", "-c", command], {
        stdio: ["ignore", "pipe", "ignore"]
      })
      let output = ""
      let begin = (): void => {}
      const begun = new Promise<void>((resolve) => {
        begin = resolve
      })
      child.stdout.on("data", (chunk: Buffer) => {
        output += chunk.toString()
        if (output.includes("under way")) begin()
      })
      const stop = Effect.callback<number>((resume) => {
        child.once("close", () => resume(Effect.succeed(Number(output.trim().split("\n").at(-1)))))
        child.kill("SIGTERM")
      })
      return { stop, child, begun: Effect.promise(() => begun) }
    }),
    ({ child }) => Effect.sync(() => void child.kill("SIGKILL"))
  )

/** Waits until a program has counted so many, or fails after a second. */
const until = (loaded: LoadedObject, second: boolean, count: number) =>
  Effect.gen(function*() {
    const end = performance.now() + 30_000
    for (;;) {
      const counted = yield* hits(loaded, "xdp_count", second)
      if (counted >= count) return
      if (performance.now() > end) return assert.fail(`${counted} of ${count} packets came`)
      yield* Effect.sleep("5 millis")
    }
  })

describeWith({ kind: "live", root: true, tools: ["ip", "bash"], linux: "6.6" }, "hot upgrade", () => {
  it.live("while packets go by: each is counted by the old program or the new one, in one map", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const { ids, pins, target } = yield* running(box)
      const { begun, stop } = yield* sending(box)
      yield* begun
      const upgraded = yield* onLive(Effect.gen(function*() {
        const adopted = yield* Upgrade.adopt(next("xdp_count", "tcx_next"), [pins.xdp, pins.tcx])
        assert.deepStrictEqual(adopted.maps, ["hits"])
        return yield* Upgrade.upgrade(next("xdp_count", "tcx_next"), ...swapsOf(pins))
      }))
      const { adopted, loaded, swapped } = upgraded
      yield* until(loaded, true, 20)
      const sent = yield* stop
      assert.deepStrictEqual(adopted, ["hits"])
      assert.deepStrictEqual(swapped.map(({ pin, was }) => [pin, was]), [[pins.xdp, ids.xdp], [pins.tcx, ids.tcx]])
      const counted = (yield* hits(loaded, "xdp_count")) + (yield* hits(loaded, "xdp_count", true))
      // Each of them and no more than the machine's own: neighbour discovery.
      assert.isAtLeast(counted, sent)
      assert.isBelow(counted, sent + 50)
      const passed = (yield* hits(loaded, "tcx_next")) + (yield* hits(loaded, "tcx_next", true))
      assert.isAtLeast(passed, sent)
      assert.isAbove(yield* hits(loaded, "xdp_count", false), 0)
      const now = yield* standing(pins)
      assert.deepStrictEqual(now, {
        xdp: yield* idOf(loaded, "xdp_count"),
        tcx: yield* idOf(loaded, "tcx_next"),
        program: yield* idOf(loaded, "xdp_count")
      })
      assert.deepStrictEqual(
        (yield* Tcx.query(loaded.session, target, "ingress")).programs.map(({ id }) => id),
        [now.tcx]
      )
    })))

  it.live("whatever is refused or interrupted, at whichever attempt, everything is as it was, or all is done", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const { pins } = yield* running(box)
      const before = yield* standing(pins)
      const plain = yield* KernelLive.make
      /** Loads and swaps on a kernel; how many attempts the load takes comes first. */
      const attempt = (kernel: typeof plain) =>
        Effect.scoped(Effect.gen(function*() {
          const loaded = yield* load(["xdp_count", "tcx_next"], { second: true, kernel })
          return yield* Upgrade.swap(loaded, ...swapsOf(pins))
        }))
      const traced = yield* KernelTraced.make(plain)
      yield* Effect.scoped(load(["xdp_count", "tcx_next"], { second: true, kernel: traced.kernel }))
      const loading = (yield* traced.attempts).length
      const whole = yield* KernelTraced.make(plain)
      yield* attempt(whole.kernel)
      const all = (yield* whole.attempts).filter(({ call }) => call._tag !== "Close").length
      // Back to the first generation, whose programs the pins still name.
      const restore = (to: typeof before) =>
        onLive(Effect.scoped(Effect.gen(function*() {
          const session = yield* (yield* Kernel).session()
          for (const [pin, id] of [[pins.xdp, to.xdp], [pins.tcx, to.tcx]] as const) {
            const link = yield* Link.open(session, pin)
            const prog = session.fresh("Prog")
            yield* session.call({ _tag: "GetById", as: prog, id: id ?? 0 })
            yield* link.update(prog)
          }
        })))
      // Both generations are kept alive, so that either can come back.
      const base = yield* load(["xdp_count", "tcx_next"], { second: true })
      yield* Upgrade.swap(base, ...swapsOf(pins))
      const start = yield* standing(pins)
      assert.notDeepEqual(start, before)
      const faults = [
        { _tag: "Answer", errno: "ENOMEM" },
        { _tag: "InterruptBefore" },
        { _tag: "InterruptAfter" }
      ] as const
      let refused = 0
      let complete = 0
      for (let at = loading; at < all; at++) {
        for (const fault of faults) {
          const kernel = yield* KernelFaulty.make(plain, at, fault)
          const exit = yield* Effect.exit(attempt(kernel))
          const now = yield* standing(pins)
          if (Exit.isSuccess(exit)) {
            complete++
            assert.notDeepEqual(now, start, `attempt ${at}, ${fault._tag}`)
            yield* restore(start)
            continue
          }
          refused++
          assert.deepStrictEqual(now, start, `attempt ${at}, ${fault._tag}`)
        }
      }
      assert.isAbove(refused, 3 * 8)
      assert.isBelow(complete, refused)
    })))

  it.live("a program that is missing, a link that somebody else has changed, one that cannot be swapped", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const { ids, pins } = yield* running(box)
      const before = yield* standing(pins)
      const loaded = yield* load(["xdp_count"], { second: true })
      const swap = (...swaps: ReadonlyArray<Upgrade.Swap>) => Effect.flip(Upgrade.swap(loaded, swaps))
      const xdp = { pin: pins.xdp, program: "xdp_count" }
      assert.deepInclude(yield* swap(xdp, { pin: pins.tcx, program: "tcx_next" }), {
        reason: "NoSuchProgram",
        left: []
      })
      assert.deepInclude(yield* swap(xdp, xdp), { reason: "Twice" })
      assert.deepInclude(yield* swap({ ...xdp, expected: ids.xdp + 1 }), { reason: "Changed" })
      assert.deepInclude(yield* swap(xdp, { pin: `${pins.tcx}_not`, program: "xdp_count" }), {
        _tag: "UpgradeError",
        reason: "Refused",
        errno: "ENOENT"
      })
      // A program of another kind: the second link refuses it, the first gets its own back.
      const refused = yield* swap(xdp, { pin: pins.tcx, program: "xdp_count" })
      assert.deepInclude(refused, { _tag: "UpgradeError", reason: "Refused", errno: "EINVAL", pin: pins.tcx, left: [] })
      assert.include(String(refused), "everything is as it was")
      assert.deepStrictEqual(yield* standing(pins), before)
    })))

  it.live("maps of another shape are refused before anything is swapped, unless they are excepted", () =>
    live(Effect.gen(function*() {
      const box = yield* network
      const { pins } = yield* running(box)
      const before = yield* standing(pins)
      const larger = Result.getOrThrow(MapEdit.setMap(next("xdp_count", "tcx_next"), "hits", { maxEntries: 128 }))
      const refused = yield* Effect.flip(onLive(Upgrade.upgrade(larger, ...swapsOf(pins))))
      assert.strictEqual(refused._tag, "ReplacedMapError")
      assert.deepStrictEqual(yield* standing(pins), before)
      const { adopted, loaded } = yield* onLive(
        Upgrade.upgrade(larger, swapsOf(pins)[0], { except: ["hits"] })
      )
      assert.deepStrictEqual(adopted, [])
      box.receive(5)
      assert.strictEqual(yield* hits(loaded, "xdp_count"), 0)
      assert.isAtLeast(yield* hits(loaded, "xdp_count", true), 5)
    })))
})

describeWith({ kind: "live", root: true, linux: "6.4" }, "hot upgrade of struct_ops", () => {
  it.live("a congestion control: another struct of the same type, in one step", () =>
    live(Effect.gen(function*() {
      const pin = `${bpffs()}/upgrade${made++}/control`
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => Fs.rmSync(pin.replace("/control", ""), { recursive: true, force: true }))
      )
      const name = "struct_ops_link.bpf.o"
      const first = yield* loadFixture(name)
      const attached = yield* StructOps.attach(first, "linked")
      yield* attached.pin(pin)
      const before = (yield* attached.info)?.detail
      const second = yield* loadFixture(name)
      const [swapped] = yield* Upgrade.swap(second, [{ pin, program: "linked" }])
      const after = (yield* attached.info)?.detail
      assert.isTrue(before?._tag === "StructOps" && after?._tag === "StructOps" && before.mapId !== after.mapId)
      assert.strictEqual(after?._tag === "StructOps" ? after.mapId : 0, swapped?.is)
      assert.strictEqual(before?._tag === "StructOps" ? before.mapId : 0, swapped?.was)
      const missing = yield* Effect.flip(Upgrade.swap(second, [{ pin, program: "nothing" }]))
      assert.deepInclude(missing, { reason: "NoSuchVariable", name: "nothing" })
      yield* attached.detach
    })))
})

describeWith({ kind: "live", root: true }, "links that keep their program", () => {
  it.live("say so, before anything is touched", () =>
    live(Effect.gen(function*() {
      const folder = `${bpffs()}/upgrade${made++}`
      yield* Effect.addFinalizer(() => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true })))
      const loaded = yield* load(["xdp_count"])
      const tracing = yield* loadFixture("section_kinds.bpf.o", {
        edits: [(object) => ProgramEdit.loadOnly(object, rawTracepoints(object).slice(0, 1))]
      })
      const [name = assert.fail("no raw tracepoint")] = rawTracepoints(tracing.object)
      const link = yield* RawTracepoint.attach(tracing, name, { name: "sched_switch" })
      yield* link.pin(`${folder}/raw`)
      const refused = yield* Effect.flip(Upgrade.swap(loaded, [{ pin: `${folder}/raw`, program: "xdp_count" }]))
      assert.deepInclude(refused, { _tag: "UpgradeError", reason: "NotSwappable", left: [] })
    })))
})

const rawTracepoints = (object: BpfObject): ReadonlyArray<string> =>
  object.programs.filter(({ entry, section }) => entry && section.startsWith("raw_tp")).map(({ name }) => name)
