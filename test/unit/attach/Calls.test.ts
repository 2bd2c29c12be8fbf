/**
 * The calls that attaching makes, one by one, on a kernel that answers as it is told: ways of attaching that no kernel at hand
 * has (which are printed), and what is done where a kernel refuses.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Attach from "../../../src/attach/Attach.ts"
import type { AttachFailure } from "../../../src/attach/AttachError.ts"
import * as Kprobe from "../../../src/attach/Kprobe.ts"
import * as KprobeMulti from "../../../src/attach/KprobeMulti.ts"
import * as Ksyscall from "../../../src/attach/Ksyscall.ts"
import * as Link from "../../../src/attach/Link.ts"
import * as RawTracepoint from "../../../src/attach/RawTracepoint.ts"
import * as Tracepoint from "../../../src/attach/Tracepoint.ts"
import * as Tracing from "../../../src/attach/Tracing.ts"
import * as TracingMulti from "../../../src/attach/TracingMulti.ts"
import * as Uprobe from "../../../src/attach/Uprobe.ts"
import * as Btf from "../../../src/btf/Btf.ts"
import { Kernel } from "../../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../../src/services/Kernel/KernelCall.ts"
import * as BtfFile from "../../../src/btf/BtfFile.ts"
import { pmu, type Script, scripted, type Scripted, type ScriptedOptions } from "../../support/ScriptedAttach.ts"
import { fixture } from "../../support/Require.ts"

/** Attaches on a script, and lets go again. */
const on = (
  script: Script,
  body: (kernel: Scripted) => Effect.Effect<Link.Link, AttachFailure, Kernel | Scope.Scope>,
  options: ScriptedOptions = {}
) => {
  const kernel = scripted(script, options)
  const outcome = Effect.runSync(
    Effect.result(Effect.scoped(Effect.map(body(kernel), (link) => ({ means: link.means, kind: link.kind })))).pipe(
      Effect.provideService(Kernel, kernel.kernel)
    )
  )
  const said = kernel.said()
  return {
    link: Result.isSuccess(outcome) ? outcome.success : undefined,
    error: Result.isFailure(outcome) ? outcome.failure : undefined,
    said,
    calls: kernel.calls
  }
}

const nothing: Script = () => undefined

/** Kinds that are attached here alone: neither this kernel nor Debian's 6.12 has them. */
const here = ["fsession", "fentry.multi", "fexit.multi", "fsession.multi"]

describe("kprobes", () => {
  const withPmu: Script = (call) => call._tag === "ProbePmuGet" ? { value: pmu } : undefined
  const attach = (options: Kprobe.KprobeOptions) => ({ loaded }: Scripted) =>
    Kprobe.attach(loaded, "kind_kprobe", { symbol: "vfs_read", ...options })

  it("by a link to a perf event, which is switched off before it is let go of", () => {
    const { link, said } = on(withPmu, attach({ cookie: 7n }))
    assert.deepStrictEqual(link, { means: "a link", kind: "kprobe" })
    assert.deepStrictEqual(said, [
      "ProbePmuGet",
      "PerfEventOpen Kprobe",
      "LinkCreate prog type 41",
      "PerfEventSwitch on",
      "PerfEventSwitch off",
      "Close Link",
      "Close Event"
    ])
  })

  it("by the event itself where the kernel has no such links; a cookie is refused there", () => {
    const lacks = ["PerfLink"] as const
    assert.deepStrictEqual(on(withPmu, attach({}), { lacks }).said, [
      "ProbePmuGet",
      "PerfEventOpen Kprobe",
      "PerfEventSetProgram",
      "PerfEventSwitch on",
      "PerfEventSwitch off",
      "Close Event"
    ])
    const { error, said } = on(withPmu, attach({ cookie: 1n }), { lacks })
    assert.deepInclude(error, { _tag: "AttachError", reason: "Unsupported" })
    assert.deepStrictEqual(said, ["ProbePmuGet", "PerfEventOpen Kprobe", "Close Event"])
    assert.match(on(withPmu, attach({ mode: "link" }), { lacks }).error?.message ?? "", /no links to perf events/)
  })

  it("by an event of tracefs where the kernel has no perf type, which is removed when it is closed", () => {
    const { link, said } = on(nothing, attach({ isReturn: true }))
    assert.deepStrictEqual(link, { means: "a link", kind: "kretprobe" })
    assert.deepStrictEqual(said, [
      "ProbePmuGet",
      "TraceEventAdd",
      "PerfEventOpen TraceEvent",
      "LinkCreate prog type 41",
      "PerfEventSwitch on",
      "PerfEventSwitch off",
      "Close Link",
      "Close Event",
      "Close TraceEvent"
    ])
  })

  it("a kernel without kprobes is said in so many words", () => {
    const { error } = on((call) => call._tag === "TraceEventAdd" ? "EOPNOTSUPP" : undefined, attach({}))
    assert.deepInclude(error, { _tag: "AttachError", reason: "Unsupported", target: "vfs_read" })
    assert.match(error?.message ?? "", /this kernel has no kprobes: neither a perf type for them nor kprobe_events/)
  })

  it("whatever fails, what was acquired before is let go of", () => {
    for (const tag of ["ProbePmuGet", "PerfEventOpen", "LinkCreate", "PerfEventSwitch"] as const) {
      const script: Script = (call) => call._tag === tag ? "EPERM" : withPmu(call)
      const { calls, error } = on(script, attach({}))
      assert.deepInclude(error, { _tag: "AttachError", reason: "Refused", errno: "EPERM", call: tag })
      const closed = calls.flatMap((call) => call._tag === "Close" ? [call.ref._tag] : [])
      if (tag === "PerfEventSwitch") assert.deepStrictEqual(closed, ["Link", "Event"])
      if (tag === "LinkCreate") assert.includeMembers(closed, ["Event"])
    }
  })

  it("wrong options are refused before anything is asked", () => {
    for (const options of [{ isReturn: true, offset: 4n }, { symbol: "" }]) {
      const { error, said } = on(nothing, attach(options))
      assert.deepInclude(error, { _tag: "AttachError", reason: "BadTarget" })
      assert.deepStrictEqual(said, [])
    }
    assert.match(on(nothing, attach({ mode: "perf" })).error?.message ?? "", /no perf type for kprobes/)
  })

  it("system calls have other names on each architecture", () => {
    const names = ["x64", "arm64", "s390x", "riscv64", "ppc64", "sparc"].map((architecture) =>
      Ksyscall.functionOf("openat", architecture, true)
    )
    assert.deepStrictEqual(names, [
      "__x64_sys_openat",
      "__arm64_sys_openat",
      "__s390x_sys_openat",
      "__riscv_sys_openat",
      "__powerpc_sys_openat",
      "__se_sys_openat"
    ])
    const symbols = (options: ScriptedOptions) =>
      on(withPmu, ({ loaded }) => Ksyscall.attach(loaded, "kind_ksyscall", { name: "openat" }), options).calls.flatMap(
        (call) => call._tag === "PerfEventOpen" && call.source._tag === "Kprobe" ? [call.source.symbol] : []
      )
    assert.deepStrictEqual(symbols({ architecture: "arm64" }), ["__arm64_sys_openat"])
    assert.deepStrictEqual(symbols({ lacks: ["SyscallWrapper"] }), ["__se_sys_openat"])
  })
})

describe("uprobes", () => {
  it("a counter needs a perf type, and a place in the first 4 GiB", () => {
    const attach = (counterOffset: bigint) => ({ loaded }: Scripted) =>
      Uprobe.attach(loaded, "kind_uprobe", { path: process.execPath, offset: 64n, counterOffset })
    assert.match(on(nothing, attach(16n)).error?.message ?? "", /a counter needs a kernel with a perf type for uprobes/)
    assert.match(on(nothing, attach(1n << 32n)).error?.message ?? "", /first 4 GiB/)
    assert.strictEqual(on(nothing, attach(0n)).link?.means, "a link")
  })
})

describe("tracepoints", () => {
  it("of old kernels are attached without links", () => {
    const script: Script = (call) => call._tag === "TracepointId" ? { value: 5 } : undefined
    const { said } = on(
      script,
      ({ loaded }) => Tracepoint.attach(loaded, "kind_tp", { category: "a", name: "b" }),
      { lacks: ["PerfLink"] }
    )
    assert.deepStrictEqual(said, [
      "TracepointId",
      "PerfEventOpen Tracepoint",
      "PerfEventSetProgram",
      "PerfEventSwitch on",
      "PerfEventSwitch off",
      "Close Event"
    ])
  })

  it("raw ones are opened by name", () => {
    const { said } = on(nothing, ({ loaded }) => RawTracepoint.attach(loaded, "kind_raw_tp", { name: "sys_enter" }))
    assert.deepStrictEqual(said, ["RawTracepointOpen sys_enter", "Close Link"])
  })
})

describe("tracing programs", () => {
  const refusing: Script = (call) => call._tag === "LinkCreate" ? "EINVAL" : undefined
  const attach = (program: string, cookie?: bigint) => ({ loaded }: Scripted) =>
    Tracing.attach(loaded, program, cookie === undefined ? {} : { cookie })

  it("are attached by a link", () => {
    for (
      const [program, kind, type] of [
        ["kind_fentry", "fentry", 24],
        ["kind_fexit", "fexit", 25],
        ["kind_fmod_ret", "fmod_ret", 26],
        ["kind_tp_btf", "tp_btf", 23],
        ["kind_lsm", "lsm", 27],
        ["kind_fsession", "trace_fsession", 58],
        ["kind_freplace", "freplace", 0]
      ] as const
    ) {
      const { link, said } = on(nothing, attach(program))
      assert.strictEqual(link?.kind, kind, program)
      assert.deepStrictEqual(said, [`LinkCreate prog type ${type}`, "Close Link"])
    }
  })

  it("of old kernels are attached as raw tracepoints are; not with a cookie, nor kinds that old kernels never had", () => {
    for (const program of ["kind_fentry", "kind_fexit", "kind_fmod_ret", "kind_tp_btf", "kind_lsm", "kind_freplace"]) {
      const { link, said } = on(refusing, attach(program))
      assert.strictEqual(link?.means, "a link", program)
      assert.includeMembers([...said], ["RawTracepointOpen (no name)"])
    }
    for (const [program, cookie] of [["kind_fsession", undefined], ["kind_fentry", 3n]] as const) {
      const { error, said } = on(refusing, attach(program, cookie))
      assert.deepInclude(error, { _tag: "AttachError", errno: "EINVAL" })
      assert.notInclude(said.join(), "RawTracepointOpen")
    }
  })

  it("other programs are none", () => {
    assert.deepInclude(on(nothing, attach("kind_xdp")).error, { _tag: "AttachError", reason: "WrongType" })
  })
})

const types = Result.getOrThrow(BtfFile.parse(fixture("section_kinds.bpf.o"), {})).btf

describe("tracing programs for many functions", () => {
  const attach = (program: string, options: TracingMulti.TracingMultiOptions) => ({ loaded }: Scripted) =>
    TracingMulti.attach(loaded, program, options)
  const created = (calls: ReadonlyArray<KernelCall>) =>
    calls.flatMap((call) => call._tag === "LinkCreate" ? [call.options] : [])

  it("name the functions of the kernel's types that match", () => {
    const ids = TracingMulti.functionIds(types, "kind_kprobe*")
    assert.isAtLeast(ids.length, 3)
    for (const id of ids) assert.match(Btf.nameOf(types, id), /^kind_kprobe/)
    const { calls, link } = on(nothing, attach("kind_fentry_multi", { pattern: "kind_kprobe*" }), { types })
    assert.strictEqual(link?.kind, "fentry.multi")
    assert.deepStrictEqual(created(calls), [{ _tag: "TracingMulti", ids }])
    const named = on(nothing, attach("kind_fsession_multi", { ids: [3, 5], cookies: [1n, 2n] }))
    assert.deepStrictEqual(created(named.calls), [{ _tag: "TracingMulti", ids: [3, 5], cookies: [1n, 2n] }])
  })

  it("wrong options, no match and other modules are refused", () => {
    const fails = (options: TracingMulti.TracingMultiOptions, program = "kind_fentry_multi") =>
      on(nothing, attach(program, options), { types }).error
    assert.deepInclude(fails({ pattern: "no_such_*" }), { _tag: "AttachError", reason: "NotFound" })
    assert.deepInclude(fails({ pattern: "a", module: "veth" }), { reason: "BadTarget" })
    assert.deepInclude(fails({}), { reason: "BadTarget" })
    assert.deepInclude(fails({ pattern: "a", ids: [1] }), { reason: "BadTarget" })
    assert.deepInclude(fails({ ids: [1], cookies: [] }), { reason: "BadTarget" })
    assert.deepInclude(fails({ pattern: "a" }, "kind_fentry"), { reason: "WrongType" })
    assert.deepInclude(on(nothing, attach("kind_fentry_multi", { pattern: "a" })).error, { reason: "NotFound" })
  })

  it("are attached by their sections", () => {
    const { calls, link } = on(
      nothing,
      ({ loaded }) => Attach.attachSpec(loaded, "kind_fexit_multi", { _tag: "TracingMulti", pattern: "kind_tp*" }),
      { types }
    )
    assert.strictEqual(link?.kind, "fexit.multi")
    assert.strictEqual(created(calls).length, 1)
  })

  it("prints what is tried here alone", () => {
    console.log(`attached on a scripted kernel alone: ${here.join(", ")}`)
  })
})

const lines = (text: string) => ({ value: new TextEncoder().encode(text) })

describe("many kprobes", () => {
  const attach = (options: KprobeMulti.KprobeMultiOptions) => ({ loaded }: Scripted) =>
    KprobeMulti.attach(loaded, options.isSession === true ? "kind_kprobe_session" : "kind_kprobe_multi", options)
  const places = (calls: ReadonlyArray<KernelCall>) =>
    calls.flatMap((call) =>
      call._tag === "LinkCreate" && call.options?._tag === "KprobeMulti"
        ? [call.options.symbols ?? call.options.addresses]
        : []
    )

  it("a name alone is for the kernel to look up", () => {
    const { calls, said } = on(nothing, attach({ pattern: "tcp_connect" }))
    assert.deepStrictEqual(said, ["LinkCreate prog type 42", "Close Link"])
    assert.deepStrictEqual(places(calls), [["tcp_connect"]])
    assert.deepStrictEqual(on(nothing, attach({ pattern: "f", isSession: true })).said[0], "LinkCreate prog type 56")
  })

  it("patterns are matched with the list of addresses, or with the names that kallsyms has as well", () => {
    const newer: Script = (call) =>
      call._tag === "SymbolListRead" && call.list === "available_filter_functions_addrs"
        ? lines("ffffffff81000010 tcp_a\nffffffff81000020 tcp_b [tcp]\nffffffff81000030 udp_a\n")
        : undefined
    assert.deepStrictEqual(places(on(newer, attach({ pattern: "tcp_*" })).calls), [
      [0xffffffff81000010n, 0xffffffff81000020n]
    ])
    const older: Script = (call) => {
      if (call._tag !== "SymbolListRead") return undefined
      if (call.list === "available_filter_functions") return lines("tcp_a\ntcp_b [tcp]\ntcp_c\nudp_a\n")
      return call.list === "kallsyms"
        ? lines(
          "ffffffff81000010 T tcp_a\nffffffff81000020 t tcp_b\t[tcp]\nffffffff81000040 t tcp_c.llvm.123\n" +
            "ffffffff81000050 t tcp_d\nffffffff81000030 T udp_a\n"
        )
        : undefined
    }
    const found = on(older, attach({ pattern: "tcp_?" }))
    assert.deepStrictEqual(places(found.calls), [[0xffffffff81000010n, 0xffffffff81000020n, 0xffffffff81000040n]])
    assert.deepStrictEqual(found.said.slice(0, 3), [
      "SymbolListRead available_filter_functions_addrs",
      "SymbolListRead available_filter_functions",
      "SymbolListRead kallsyms"
    ])
    const error = on(older, attach({ pattern: "tcp_*", isUnique: true })).error
    assert.deepInclude(error, { _tag: "AttachError", reason: "Ambiguous" })
    assert.deepInclude(on(older, attach({ pattern: "sctp_*" })).error, { reason: "NotFound" })
    assert.deepInclude(on(nothing, attach({ pattern: "tcp_*" })).error, { reason: "Unsupported" })
  })

  it("hidden addresses are an error that says so", () => {
    const hidden: Script = (call) => call._tag === "SymbolListRead" ? lines("0000000000000000 tcp_a\n") : undefined
    assert.match(on(hidden, attach({ pattern: "tcp_*" })).error?.message ?? "", /hides the addresses/)
  })

  it("a kernel without them, and a function that is none", () => {
    const answering = (errno: "EOPNOTSUPP" | "ESRCH"): Script => (call) =>
      call._tag === "LinkCreate" ? errno : undefined
    assert.deepInclude(on(answering("EOPNOTSUPP"), attach({ pattern: "a" })).error, { reason: "Unsupported" })
    assert.deepInclude(on(answering("ESRCH"), attach({ pattern: "a" })).error, { reason: "NotFound" })
  })

  it("wrong options are refused", () => {
    const wrong: ReadonlyArray<KprobeMulti.KprobeMultiOptions> = [
      {},
      { pattern: "a", symbols: ["b"] },
      { symbols: [] },
      { symbols: ["a"], cookies: [] },
      { symbols: ["a"], isUnique: true },
      { pattern: "a", isReturn: true, isSession: true }
    ]
    for (const options of wrong) {
      assert.deepInclude(on(nothing, attach(options)).error, { _tag: "AttachError", reason: "BadTarget" })
    }
  })
})

describe("a link", () => {
  const open = (script: Script, body: (link: Link.Link, kernel: Scripted) => Effect.Effect<unknown, AttachFailure>) =>
    on(script, (kernel) => Effect.tap(Link.open(kernel.loaded.session, "/p"), (link) => body(link, kernel)))

  it("is detached by force, and let go of once", () => {
    const { said } = open(nothing, (link) => Effect.andThen(link.detach, link.detach))
    assert.deepStrictEqual(said.filter((each) => each.startsWith("Close")), ["Close Link"])
    assert.include(said, "LinkDetach")
  })

  it("of a kind that cannot be detached by force is an error while it is pinned", () => {
    const { error } = open((call) => call._tag === "LinkDetach" ? "EOPNOTSUPP" : undefined, (link) => link.detach)
    assert.match(error?.message ?? "", /cannot be detached while they are pinned \(\/p\)\nhint: remove the pin/)
    const unpinned = open(
      (call) => call._tag === "LinkDetach" ? "EOPNOTSUPP" : undefined,
      (link) => Effect.andThen(link.unpin, link.detach)
    )
    assert.strictEqual(unpinned.error, undefined)
  })

  it("is pinned for good, and unpinned where it was pinned last", () => {
    const { said } = open(nothing, (link) => Effect.andThen(link.pin("/q"), link.unpin))
    assert.deepStrictEqual(said, ["ObjGet", "ObjPin", "ObjUnpin", "Close Link"])
    const { error } = open(nothing, (link) => Effect.andThen(link.unpin, link.unpin))
    assert.match(error?.message ?? "", /not pinned/)
  })

  it("outlives its scope when it is disconnected", () => {
    const { calls } = open(nothing, (link) => link.disconnect)
    // The scripted session writes down what it disowns as a close of number -1.
    assert.deepStrictEqual(calls.flatMap((call) => call._tag === "Close" ? [call.ref.index] : []), [-1])
  })

  it("is updated, and what refuses is told", () => {
    const to = { _tag: "Prog", index: 1 } as const
    const { calls } = open(nothing, (link) => link.update(to, { _tag: "Prog", index: 0 }))
    assert.deepInclude(calls.find(({ _tag }) => _tag === "LinkUpdate"), { to, old: { _tag: "Prog", index: 0 } })
    const { error } = open((call) => call._tag === "LinkUpdate" ? "EOPNOTSUPP" : undefined, (link) => link.update(to))
    assert.deepInclude(error, { _tag: "AttachError", call: "LinkUpdate", errno: "EOPNOTSUPP" })
  })
})
