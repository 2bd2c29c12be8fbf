/** Loader programs through the public `runLoader`: what they leave is a session's, and nothing stays open. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Encode from "../../src/insn/Encode.ts"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import { assemble } from "../../src/stages/gen/Assemble.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import { LoaderError, LoaderOptionsError, runLoader, type RunOptions } from "../../src/stages/gen/RunLoader.ts"
import * as LoadPlan from "../../src/stages/load/LoadPlan.ts"
import { mappings, openDescriptors, u32 } from "../support/LiveKernel.ts"
import { planFixture } from "../support/LoadFixture.ts"
import { describeWith, repository } from "../support/Require.ts"

/** The plan of a fixture for a kernel that nothing is known of. */
const deferred = (name: string) =>
  Effect.flatMap(KernelRecording.make, ({ kernel }) => planFixture(`${name}.bpf.o`, { kernel }))

const loaderOf = (name: string) => Effect.flatMap(deferred(name), (planned) => KernelRecording.record(planned))

/** The loader of a fixture whose last program has an instruction that reads R0 before it has a value. */
const refused = Effect.fnUntraced(function*(name: string) {
  const calls = LoadPlan.mainCalls((yield* deferred(name)).plan).filter((call) => call._tag !== "ProgBindMap")
  const last = calls.findLast((call) => call._tag === "ProgLoad")
  if (last === undefined) return assert.fail("the fixture loads no program")
  const { as, attr, log } = last
  const bad = { _tag: "ProgLoad", as, attr, log, code: { insns: Encode.exit(), refs: [] } } as const
  return Result.getOrThrow(assemble(calls.map((call) => call === last ? bad : call)))
})

/** What this process has open and mapped of BPF objects, and all files. */
const held = () => ({
  bpf: openDescriptors(),
  files: Fs.readdirSync("/proc/self/fd").length,
  mappings: mappings()
})

const running = (kernel: KernelShape, loader: LoaderProgram, options?: RunOptions) =>
  runLoader(loader, options).pipe(Effect.provideService(Kernel, kernel))

const fixtures = ["xdp_firewall", "global_data", "subprograms", "test_run"]

describeWith({ kind: "live" }, "runLoader on the live kernel", () => {
  it.live.each(fixtures)("%s: what it loads works, and is gone with the scope", (name) =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const loader = yield* loaderOf(name)
      const before = held()
      yield* Effect.scoped(Effect.gen(function*() {
        const { map, program, session } = yield* running(live, loader)
        let published = 0
        for (const each of loader.maps) {
          if (!each.published) continue
          published++
          const ref = map(each.name)
          if (ref === undefined) return assert.fail(`there is no map ${each.name}`)
          assert.strictEqual((yield* session.call({ _tag: "MapGetInfo", map: ref })).maxEntries, each.maxEntries)
        }
        for (const each of loader.programs) {
          if (!each.published) continue
          published++
          const ref = program(each.name)
          if (ref === undefined) return assert.fail(`there is no program ${each.name}`)
          assert.isAbove((yield* session.call({ _tag: "ProgGetInfo", prog: ref })).id, 0)
        }
        // The loader itself is gone already.
        assert.strictEqual(openDescriptors().length, before.bpf.length + published)
        assert.isUndefined(map("no such map"))
        assert.isUndefined(program("no such program"))
      }))
      assert.deepStrictEqual(held(), before)
    }))

  it.live("changes of size and initial value reach the kernel", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const loader = yield* loaderOf("global_data")
      const rodata = loader.maps.find(({ name }) => name.endsWith(".rodata"))
      if (rodata?.initialValue === undefined) return assert.fail("the fixture has changed")
      const image = Uint8Array.from({ length: rodata.initialValue.size }, (_, at) => at * 7)
      yield* Effect.scoped(Effect.gen(function*() {
        const { map, session } = yield* running(live, loader, { maps: { [rodata.name]: { initialValue: image } } })
        const ref = map(rodata.name)
        if (ref === undefined) return assert.fail("there is no such map")
        const lookup = { _tag: "MapLookup", map: ref, key: u32(0), valueSize: image.length, flags: 0n } as const
        assert.deepStrictEqual(yield* session.call(lookup), image)
      }))
      const firewall = yield* loaderOf("xdp_firewall")
      yield* Effect.scoped(Effect.gen(function*() {
        const { map, session } = yield* running(live, firewall, { maps: { blocklist: { maxEntries: 77 } } })
        const ref = map("blocklist")
        if (ref === undefined) return assert.fail("there is no such map")
        assert.strictEqual((yield* session.call({ _tag: "MapGetInfo", map: ref })).maxEntries, 77)
      }))
    }))

  it.live("changes that make no sense are refused by the map's name, before anything is loaded", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const loader = yield* loaderOf("xdp_firewall")
      const rodata = loader.maps.find(({ initialValue }) => initialValue !== undefined)?.name ?? ""
      const signed = { covers: "insns_and_data" } as const
      const rows: ReadonlyArray<readonly [RunOptions, LoaderOptionsError["reason"], string, LoaderProgram?]> = [
        [{ maps: { nothing: { maxEntries: 1 } } }, "UnknownMap", "nothing"],
        [{ maps: { blocklist: { maxEntries: 0 } } }, "BadNumber", "blocklist"],
        [{ maps: { blocklist: { maxEntries: 2 ** 32 } } }, "BadNumber", "blocklist"],
        [{ maps: { blocklist: { initialValue: new Uint8Array(4) } } }, "NoInitialValue", "blocklist"],
        [{ maps: { [rodata]: { initialValue: new Uint8Array(1) } } }, "InitialValueSize", rodata],
        [{ maps: { blocklist: { maxEntries: 1 } } }, "Signed", "blocklist", { ...loader, signed }]
      ]
      const traced = yield* KernelTraced.make(live)
      for (const [options, reason, map, other] of rows) {
        const error = yield* Effect.flip(Effect.scoped(running(traced.kernel, other ?? loader, options)))
        if (!(error instanceof LoaderOptionsError)) return assert.fail(error.message)
        assert.deepStrictEqual([error.reason, error.map], [reason, map])
      }
      assert.deepStrictEqual(yield* traced.attempts, [])
    }))

  it.live("a program that the verifier refuses: its words are in the error, asked for or not", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const loader = yield* refused("xdp_firewall")
      const before = held()
      for (const options of [{}, { logLevel: 1 }, { logLevel: 2 }]) {
        const error = yield* Effect.flip(Effect.scoped(running(live, loader, options)))
        if (!(error instanceof LoaderError)) return assert.fail(error.message)
        assert.strictEqual(error.errno, "EACCES")
        assert.match(error.log, /R0 !read_ok/)
        assert.match(error.message, /EACCES: .*R0 !read_ok/)
      }
      assert.deepStrictEqual(held(), before)
    }))

  it.live("a log that was asked for is answered", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const loader = yield* loaderOf("xdp_firewall")
      const log = yield* Effect.scoped(Effect.map(running(live, loader, { logLevel: 4 }), (each) => each.log))
      assert.match(log, /processed \d+ insns/)
    }))

  it.live("whichever attempt fails or is interrupted, nothing is left", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const loader = yield* loaderOf("global_data")
      const traced = yield* KernelTraced.make(live)
      yield* Effect.scoped(running(traced.kernel, loader))
      const attempts = yield* traced.attempts
      const tags = attempts.map(({ call }) => call._tag)
      assert.deepStrictEqual(tags.slice(0, 5), ["MapCreate", "MapUpdate", "MapFreeze", "ProgLoad", "LoaderRun"])
      const before = held()
      const faults: ReadonlyArray<KernelFaulty.Fault> = [
        { _tag: "Answer", errno: "EPERM" },
        { _tag: "InterruptBefore" },
        { _tag: "InterruptAfter" }
      ]
      for (const fault of faults) {
        for (let at = 0; at < 5; at++) {
          const faulty = yield* KernelFaulty.make(live, at, fault)
          const exit = yield* Effect.exit(Effect.scoped(running(faulty, loader)))
          // A program that is refused is loaded once more, for the verifier's words: the fault hits the first time only.
          const again = fault._tag === "Answer" && tags[at] === "ProgLoad"
          assert.strictEqual(Exit.isFailure(exit), !again, `${fault._tag} at ${at}`)
          assert.deepStrictEqual(held(), before, `${fault._tag} at ${at}`)
        }
      }
    }))

  it.live("interrupted from outside at any time, nothing is left", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const loader = yield* loaderOf("test_run")
      yield* Effect.scoped(running(live, loader))
      const before = held()
      for (let turns = 0; turns < 12; turns++) {
        const fiber = yield* Effect.forkChild(Effect.scoped(Effect.andThen(running(live, loader), Effect.never)))
        for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
        if (turns > 6) yield* Effect.sleep(`${turns - 6} millis`)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(held(), before, `after ${turns} turns`)
      }
    }))

  it.live("without descriptors to spare, at whatever point, nothing is left", () =>
    Effect.gen(function*() {
      // In a process of its own: the limit is the process's.
      const script = new URL("../support/loaderLimit.ts", import.meta.url).pathname
      const { status, stderr, stdout } = ChildProcess.spawnSync(process.execPath, [script], {
        cwd: repository,
        encoding: "utf8"
      })
      assert.strictEqual(status, 0, stderr)
      const outcomes: ReadonlyArray<{ readonly spare: number; readonly error: string; readonly left: number }> = JSON
        .parse(stdout)
      assert.isTrue(outcomes.every(({ left }) => left === 0), stdout)
      assert.isTrue(outcomes.some(({ error }) => error === "EMFILE"), stdout)
      assert.strictEqual(outcomes.at(-1)?.error, "")
      yield* Effect.void
    }))

  it.live("named fault: what a loader does not hand out although it is open is seen", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const loader = yield* loaderOf("global_data")
      const before = held()
      // Its description says less than its code does.
      const forgetful = { ...loader, maps: loader.maps.map((map) => ({ ...map, published: false })) }
      yield* Effect.scoped(running(live, forgetful))
      const leaked = openDescriptors().filter((fd) => !before.bpf.includes(fd))
      for (const fd of leaked) Fs.closeSync(fd)
      assert.strictEqual(leaked.length, loader.maps.filter(({ published }) => published).length)
    }))

  it.live("a signature that this kernel does not check is an error that says so", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const loader = yield* loaderOf("xdp_firewall")
      const before = held()
      const signature = Uint8Array.from({ length: 64 }, (_, at) => at)
      const signed = { ...loader, signed: { covers: "insns_and_data", signature } } as const
      const error = yield* Effect.flip(Effect.scoped(running(live, signed, { keyring: 0 })))
      // Kernels before 6.18 know no signatures of programs, those without CONFIG_SYSTEM_DATA_VERIFICATION check none.
      assert.match(error.message, /EOPNOTSUPP.*\nhint: .*checks no signatures|E2BIG|EINVAL.*\nhint: .*6[.]18/)
      assert.deepStrictEqual(held(), before)
    }))
})

describeWith({ kind: "live" }, "runLoader on the simulated kernel", () => {
  it.live.each(fixtures)("%s: the loader is replayed", (name) =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelSimulated.make()
      const loader = yield* loaderOf(name)
      yield* Effect.scoped(Effect.gen(function*() {
        const { map, program, session } = yield* running(kernel, loader)
        for (const each of loader.maps) {
          const ref = map(each.name)
          if (ref !== undefined) yield* session.call({ _tag: "MapGetInfo", map: ref })
          assert.strictEqual(ref !== undefined, each.published)
        }
        for (const each of loader.programs) assert.strictEqual(program(each.name) !== undefined, each.published)
      }))
    }))
})
