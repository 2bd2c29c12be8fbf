/**
 * Programs attached to functions of the kernel and of other programs: what the kernel of this machine lacks, and Debian's
 * kernels in virtual machines have.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Attach from "../../src/attach/Attach.ts"
import * as Kprobe from "../../src/attach/Kprobe.ts"
import * as KprobeMulti from "../../src/attach/KprobeMulti.ts"
import * as Tracing from "../../src/attach/Tracing.ts"
import type * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import { attaching, load, type Loaded, opened, traceEvents } from "../support/Attaching.ts"
import { describeWith } from "../support/Require.ts"

const functions = "attach/functions.bpf.o"
const symbol = "__x64_sys_getpriority"

/** Makes a system call that is one of this process alone. */
const getPriority = (): void => {
  Os.getPriority()
}

/** Calls while something is attached, and when it is detached: what is counted meanwhile. */
const counted = (loaded: Loaded, name: string) =>
  Effect.gen(function*() {
    const before = yield* loaded.count(name)
    for (let time = 0; time < 3; time++) getPriority()
    return (yield* loaded.count(name)) - before
  })

describeWith({ kind: "live", root: true, files: ["/sys/bus/event_source/devices/kprobe/type"] }, "kprobes", () => {
  for (const mode of ["default", "link", "perf", "tracefs"] as const) {
    it.live(`at beginning and return of a function, by mode ${mode}`, () =>
      attaching(Effect.gen(function*() {
        const loaded = yield* load(opened(functions, "on_kprobe", "on_kretprobe"))
        const hasLink = mode === "default" || mode === "link"
        const link = yield* Kprobe.attach(loaded, "on_kprobe", { symbol, mode, ...(hasLink ? { cookie: 33n } : {}) })
        yield* Kprobe.attach(loaded, "on_kretprobe", { symbol, isReturn: true, mode })
        assert.strictEqual(yield* counted(loaded, "kprobe_hits"), 3)
        assert.strictEqual(yield* counted(loaded, "kretprobe_hits"), 3)
        assert.strictEqual(traceEvents().length, mode === "tracefs" ? 2 : 0)
        if (hasLink) {
          assert.strictEqual(yield* loaded.count("kprobe_cookie"), 33)
          const detail = (yield* link.info)?.detail
          if (detail?._tag !== "Other") assert.deepInclude(detail, { _tag: "PerfKprobe", name: symbol, offset: 0 })
        }
        yield* link.detach
        assert.strictEqual(yield* counted(loaded, "kprobe_hits"), 0)
      })))
  }

  it.live("at an offset, and at an address", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(functions, "on_kprobe"))
      const first = yield* Kprobe.attach(loaded, "on_kprobe", { symbol, offset: 0n })
      yield* first.detach
      const line = Fs.readFileSync("/proc/kallsyms", "utf8").split("\n").find((each) => each.endsWith(` ${symbol}`))
      const offset = BigInt(`0x${line?.split(" ")[0] ?? "0"}`)
      yield* Kprobe.attach(loaded, "on_kprobe", { offset })
      assert.strictEqual(yield* counted(loaded, "kprobe_hits"), 3)
    })))

  it.live("a function that is none is an error that says so", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(functions, "on_kprobe"))
      for (const mode of ["default", "tracefs"] as const) {
        const error = yield* Effect.flip(Kprobe.attach(loaded, "on_kprobe", { symbol: "no_such_function", mode }))
        assert.deepInclude(error, { _tag: "AttachError", kind: "kprobe", target: "no_such_function" })
        assert.include(["ENOENT", "EINVAL"], error._tag === "AttachError" ? error.errno : undefined)
      }
    })))

  it.live("system calls by their names, attached by their sections", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(functions, "on_syscall", "on_syscall_return"))
      const { links } = yield* Attach.attachAll(loaded)
      assert.deepStrictEqual([...links.keys()], ["on_syscall", "on_syscall_return"])
      assert.strictEqual(yield* counted(loaded, "syscall_hits"), 3)
      assert.strictEqual(yield* counted(loaded, "syscall_returns"), 3)
    })))
})

const hasKprobeMulti = ["/sys/bus/event_source/devices/kprobe/type", "/sys/kernel/tracing/available_filter_functions"]

describeWith({ kind: "live", root: true, linux: "6.12", files: hasKprobeMulti }, "many kprobes by one link", () => {
  it.live("by pattern, names, addresses and cookies; sessions", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(functions, "on_many", "on_many_returns", "on_session"))
      const all = yield* Attach.attachAll(loaded)
      assert.deepStrictEqual([...all.links.keys()], ["on_many", "on_many_returns", "on_session"])
      assert.strictEqual(yield* counted(loaded, "multi_hits"), 3)
      assert.strictEqual(yield* counted(loaded, "multi_returns"), 3)
      assert.strictEqual(yield* counted(loaded, "session_hits"), 6)
      for (const link of all.links.values()) yield* link.detach
      assert.strictEqual(yield* counted(loaded, "multi_hits"), 0)
      const named = yield* KprobeMulti.attach(loaded, "on_many", {
        symbols: ["__x64_sys_setpriority", symbol],
        cookies: [1000n, 1n]
      })
      assert.strictEqual(yield* counted(loaded, "multi_cookies"), 3)
      const detail = (yield* named.info)?.detail
      if (detail?._tag !== "KprobeMulti") return assert.fail(String(detail?._tag))
      assert.sameMembers(detail.probes.map(({ cookie }) => cookie), [1000n, 1n])
      yield* named.detach
      const addresses = detail.probes.map(({ address }) => address)
      yield* KprobeMulti.attach(loaded, "on_many", { addresses })
      assert.strictEqual(yield* counted(loaded, "multi_hits"), 3)
    })))

  it.live("patterns that match nothing, or too much, are errors", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(functions, "on_many"))
      const fails = (options: KprobeMulti.KprobeMultiOptions) =>
        Effect.flip(KprobeMulti.attach(loaded, "on_many", options))
      assert.deepInclude(yield* fails({ pattern: "no_such_*" }), { _tag: "AttachError", reason: "NotFound" })
      assert.deepInclude(yield* fails({ pattern: "no_such_function" }), { reason: "NotFound" })
      assert.deepInclude(yield* fails({ pattern: "__x64_sys_getpriorit?", symbols: ["a"] }), { reason: "BadTarget" })
      assert.deepInclude(yield* fails({ pattern: "__x64_sys_get*", isUnique: true }), { reason: "Ambiguous" })
      const one = yield* KprobeMulti.attach(loaded, "on_many", { pattern: "__x64_sys_getpriorit?", isUnique: true })
      assert.strictEqual(yield* counted(loaded, "multi_hits"), 3)
      yield* one.detach
    })))
})

// Policies of some kernels refuse trampolines to everybody: Debian's do not.
describeWith({ kind: "live", root: true, files: ["/sys/kernel/btf/veth"] }, "trampolines", () => {
  it.live("fentry and fexit, with a cookie, and by their sections", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(functions, "on_entry", "on_exit"))
      const entry = yield* Tracing.attach(loaded, "on_entry", { cookie: 12n })
      yield* Tracing.attach(loaded, "on_exit")
      assert.strictEqual(yield* counted(loaded, "fentry_hits"), 3)
      assert.strictEqual(yield* counted(loaded, "fexit_hits"), 3)
      assert.strictEqual(yield* loaded.count("fentry_cookie"), 12)
      assert.deepInclude((yield* entry.info)?.detail, { _tag: "Tracing", attachType: 24 })
      const again = yield* Effect.flip(Tracing.attach(loaded, "on_entry"))
      assert.deepInclude(again, { _tag: "AttachError", kind: "fentry", target: symbol })
      yield* entry.detach
      assert.strictEqual(yield* counted(loaded, "fentry_hits"), 0)
      const { links } = yield* Attach.attachAll(loaded, { except: ["on_exit"] })
      assert.deepStrictEqual([...links.keys()], ["on_entry"])
      assert.strictEqual(yield* counted(loaded, "fentry_hits"), 3)
    })))

  it.live("lsm", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(functions, "on_open"))
      const link = yield* Tracing.attach(loaded, "on_open")
      Fs.readFileSync("/proc/self/comm")
      const seen = yield* loaded.count("lsm_hits")
      assert.isAtLeast(seen, 1)
      yield* link.detach
      Fs.readFileSync("/proc/self/comm")
      assert.strictEqual(yield* loaded.count("lsm_hits"), seen)
    })))

  it.live("a failure of one detaches the others", () =>
    attaching(Effect.gen(function*() {
      const object = opened(functions, "on_entry", "on_syscall")
      const programs = object.programs.map((program) =>
        program.name === "on_syscall" ? { ...program, section: "ksyscall/no_such_call" } : program
      )
      const loaded = yield* load({ ...object, programs: [...programs].reverse() })
      const error = yield* Effect.flip(Attach.attachAll(loaded))
      assert.deepInclude(error, { _tag: "AttachError", program: "on_syscall" })
      assert.strictEqual(yield* counted(loaded, "fentry_hits"), 0)
    })))
})

const testRun = (loaded: Loaded, program: Ref.ProgRef) =>
  Effect.map(
    loaded.session.call({
      _tag: "ProgTestRun",
      prog: program,
      dataIn: new Uint8Array(64),
      dataOutSize: 0,
      contextOutSize: 0,
      repeat: 1,
      flags: 0,
      cpu: 0,
      batchSize: 0
    }),
    ({ retval }) => retval
  )

const [drop, pass] = [1, 2]

describeWith({ kind: "live", root: true, files: ["/sys/kernel/btf/veth"] }, "freplace", () => {
  const object = () => {
    const only = opened("program_targets.bpf.o", "target", "replacement")
    return Result.getOrThrow(Edit.attachTo(only, "replacement", { program: "target" }))
  }

  it.live("replaces the function that it was loaded for, until it is detached", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(object())
      const target = loaded.program("target") ?? assert.fail("not loaded")
      assert.strictEqual(yield* testRun(loaded, target), pass)
      const link = yield* Tracing.attach(loaded, "replacement")
      assert.strictEqual(link.kind, "freplace")
      assert.strictEqual(yield* testRun(loaded, target), drop)
      yield* link.detach
      assert.strictEqual(yield* testRun(loaded, target), pass)
    })))

  it.live("replaces the function of another program of the same types", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(object())
      const other = yield* load(opened("program_targets.bpf.o", "target"))
      const { id } = yield* other.session.call({
        _tag: "ProgGetInfo",
        prog: other.program("target") ?? assert.fail("not loaded")
      })
      const program = loaded.session.fresh("Prog")
      yield* loaded.session.call({ _tag: "GetById", as: program, id })
      const missing = yield* Effect.flip(
        Tracing.freplace(loaded, "replacement", { target: { program, function: "nothing" } })
      )
      assert.deepInclude(missing, { _tag: "AttachError", kind: "freplace", errno: "ESRCH" })
      yield* Tracing.freplace(loaded, "replacement", { target: { program, function: "choose" } })
      assert.strictEqual(yield* testRun(loaded, program), drop)
      assert.strictEqual(yield* testRun(loaded, loaded.program("target") ?? assert.fail("not loaded")), pass)
    })))
})

describeWith({ kind: "live", root: true, linux: "6.12", files: ["/sys/kernel/btf/veth"] }, "fmod_ret", () => {
  it.live("runs before the function", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(functions, "on_call"))
      const link = yield* Tracing.attach(loaded, "on_call")
      Fs.readFileSync("/proc/self/comm")
      const seen = yield* loaded.count("fmod_hits")
      assert.isAtLeast(seen, 1)
      yield* link.detach
      Fs.readFileSync("/proc/self/comm")
      assert.strictEqual(yield* loaded.count("fmod_hits"), seen)
    })))
})
