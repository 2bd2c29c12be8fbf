/**
 * Cells of which it is known in advance what they are: objects and kernels made by hand, each different in one respect.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Compatibility from "../../../src/diagnostics/Compatibility.ts"
import * as Encode from "../../../src/insn/Encode.ts"
import { BPF_JEQ, BPF_JNE, BPF_W } from "../../../src/insn/InsnConstants.ts"
import * as KernelProfile from "../../../src/services/Kernel/KernelProfile.ts"
import * as Edit from "../../../src/stages/open/Edit.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import { brief, check, kernel, kernelOf, prepared, split } from "../../support/CheckKernels.ts"
import { objects } from "../../support/CoreObjects.ts"
import * as Variants from "../../support/KernelVariants.ts"
import * as CallGraph from "../stages/CallGraph.ts"
import { build, EXEC, nothing } from "../stages/ObjectBuilder.ts"
import { opened } from "../stages/Pipeline.ts"
import { objectFile } from "../stages/relocate/core/Records.ts"

const small = Variants.smallKernel()

const profileOf = (variant: Variants.Variant): Compatibility.Target => {
  const { base, modules } = Variants.make(variant, small)
  return kernelOf(base, modules.map(({ btf, name }) => [name, btf] as const))
}

/** The cells that are not as they were written down, with the kernels that `target` makes of the variants. */
const wrongCells = (target: (variant: Variants.Variant) => Compatibility.Target): ReadonlyArray<string> => {
  const ready = objects.map(({ bytes, name }) => ({ name, object: prepared(bytes, `${name}.o`) }))
  return Variants.variants.flatMap((variant) => {
    const kernel = target(variant)
    return ready.flatMap(({ name, object }) => {
      const { findings, verdict } = Compatibility.check(object, kernel)
      const wanted = Variants.verdictOf(name, variant)
      // The worst finding decides, and nothing else does.
      const worst = findings.reduce<Compatibility.Verdict>(
        (one, { verdict }) => Compatibility.worse(one, verdict),
        "green"
      )
      return verdict === wanted && worst === wanted ? [] : [`${name} on "${variant.name}": ${verdict}, not ${wanted}`]
    })
  })
}

describe("variants of a kernel", () => {
  it("each give every object the verdict that was written down", () => {
    assert.deepStrictEqual(wrongCells(profileOf), [])
  })

  it("named fault: all kernels are the one that they are variants of", () => {
    assert.isAbove(wrongCells(() => kernelOf(small, [])).length, Variants.variants.length / 2)
  })

  it("named fault: modules are not looked at", () => {
    const wrong = wrongCells((variant) => kernelOf(Variants.make(variant, small).base, []))
    assert.isTrue(wrong.length > 0 && wrong.every((line) => line.includes("is in a module")), wrong.join("\n"))
  })
})

describe("a missing field", () => {
  const types = [B.int("int", 4, 1), B.struct("s", 8, [["a", 1, 0], ["b", 1, 32]])]
  const load = { insn: Encode.ldx(BPF_W, 0, 1, 4), type: 2, access: "0:1", kind: "byte_off" } as const
  const exists = { insn: Encode.mov64Imm(0, 1), type: 2, access: "0:1", kind: "field_exists" } as const
  const unguarded = prepared(objectFile(types, [load]))
  const told = prepared(objectFile(types, [exists]))
  const guarded = prepared(objectFile(types, [
    { ...exists, insn: Encode.program(exists.insn, Encode.jmpImm(BPF_JEQ, 0, 0, 1)) },
    load
  ]))
  const without = kernel([B.int("int", 4, 1), B.struct("s", 4, [["a", 1, 0]])])

  it("is fatal where it is used, with the path, the candidates and what to do", () => {
    const cell = Compatibility.check(unguarded, without)
    assert.strictEqual(cell.verdict, "fatal")
    assert.deepStrictEqual(cell.relocations, { relocations: 1, resolved: 0, guarded: 0, unknown: 0, fatal: 1 })
    const [finding] = cell.findings
    assert.deepInclude(finding, {
      rule: "field-missing",
      verdict: "fatal",
      subject: "struct s.b",
      detail: "the kernel's struct s has no member b; the program uses it without a check",
      programs: ["prog"],
      function: "prog",
      slot: 0,
      kinds: ["byte_off"],
      candidates: [{ module: undefined, name: "struct s", reason: "NoMember", at: "b" }]
    })
    assert.match(finding?.hint ?? "", /bpf_core_field_exists/)
  })

  it("is guarded where the program is told, and where it looks first", () => {
    assert.deepStrictEqual(brief(Compatibility.check(told, without)), ["guarded field-missing struct s.b"])
    const cell = Compatibility.check(guarded, without)
    assert.strictEqual(cell.verdict, "guarded")
    assert.deepStrictEqual(cell.relocations, { relocations: 2, resolved: 0, guarded: 2, unknown: 0, fatal: 0 })
    assert.deepStrictEqual(cell.findings.map(({ detail }) => detail), [
      "the kernel's struct s has no member b; the program is told so",
      "the kernel's struct s has no member b; the program's checks keep it from being used"
    ])
  })

  it("is unknown where a check depends on what only the verifier knows", () => {
    // r3 is 1 or 2, by what is in memory, and the field is read where it is 5.
    const maybe = prepared(objectFile(types, [
      {
        ...exists,
        insn: Encode.program(
          exists.insn,
          Encode.ldx(BPF_W, 2, 1, 0),
          Encode.mov64Imm(3, 1),
          Encode.jmpImm(BPF_JEQ, 2, 0, 1),
          Encode.mov64Imm(3, 2),
          Encode.jmpImm(BPF_JNE, 3, 5, 1)
        )
      },
      load
    ]))
    const cell = Compatibility.check(maybe, without)
    assert.deepStrictEqual(brief(cell), ["unknown field-missing struct s.b", "guarded field-missing struct s.b"])
    assert.match(cell.findings[0]?.detail ?? "", /only the verifier can tell/)
  })

  it("is green where the kernel has it, and named after what it has instead of the type", () => {
    assert.strictEqual(Compatibility.check(unguarded, kernel(types)).verdict, "green")
    const nothing = Compatibility.check(unguarded, kernel([B.int("int", 4, 1)], []))
    assert.match(nothing.findings[0]?.detail ?? "", /^the kernel has no struct s; /)
    const alone = Compatibility.check(unguarded, kernel([B.int("int", 4, 1)]))
    assert.match(alone.findings[0]?.detail ?? "", /the types of its modules are not given/)
    const pointer = kernel([B.ptr(0), B.struct("s", 8, [["b", 1, 0]])])
    assert.match(
      Compatibility.check(unguarded, pointer).findings[0]?.detail ?? "",
      /has a member b of another kind of type/
    )
  })

  it("that is there in another size is one that cannot be read, if it is signed", () => {
    const wide = kernel([B.int("long", 8, 1), B.struct("s", 16, [["a", 1, 0], ["b", 1, 64]])])
    const cell = Compatibility.check(unguarded, wide)
    assert.deepStrictEqual(brief(cell), ["fatal field-resized struct s.b"])
    assert.match(cell.findings[0]?.detail ?? "", /in 4 bytes and the kernel in 8/)
  })

  it("is one finding for all instructions of a line, and all programs", () => {
    const twice = prepared(objectFile(types, [load, { ...load, kind: "byte_sz", insn: Encode.mov64Imm(0, 4) }]))
    const { findings, relocations } = Compatibility.check(twice, without)
    assert.strictEqual(relocations.fatal, 2)
    // Without lines each instruction is a place of its own.
    assert.deepStrictEqual(findings.map(({ slot }) => slot), [0, 1])
    const reads = check(opened("core_reads.bpf.o"), kernel([B.int("int", 4, 1)], []))
    const keys = reads.findings.map(({ source, subject, verdict }) => `${source?.line} ${subject} ${verdict}`)
    assert.isAbove(keys.length, 3)
    for (const { source } of reads.findings) assert.match(source?.file ?? "", /core_reads\.bpf\.c$/)
  })

  it("of two kernel types that contradict each other is a relocation that fails", () => {
    const two = kernel([
      B.int("int", 4, 1),
      B.struct("s", 8, [["a", 1, 0], ["b", 1, 32]]),
      B.struct("s___2", 8, [["b", 1, 0], ["a", 1, 32]])
    ])
    const cell = Compatibility.check(unguarded, two)
    assert.deepStrictEqual(brief(cell), ["fatal relocation-failed struct s.b"])
    assert.lengthOf(cell.findings[0]?.candidates ?? [], 2)
  })
})

describe("an object as a whole", () => {
  it("for the other byte order is fatal, and no more is said", () => {
    const cell = check(opened("xdp_firewall.eb.o"), kernel([B.int("int", 4, 1)]))
    assert.deepStrictEqual(brief(cell), [`fatal byte-order ${opened("xdp_firewall.eb.o").name}`])
  })

  it("that needs nothing is green on a kernel of nothing", () => {
    assert.strictEqual(check(opened("prog_array.bpf.o"), kernel([])).verdict, "green")
  })

  it("has what is missing only from programs that are not loaded as a guarded finding", () => {
    const calls = opened("ksyms.bpf.o")
    const off = Result.getOrThrow(Edit.setAutoload(calls, "call_kernel", false))
    const nothing = kernel([B.int("int", 4, 1)], [])
    assert.strictEqual(check(calls, nothing).verdict, "fatal")
    const cell = check(off, nothing)
    assert.strictEqual(cell.verdict, "guarded")
    assert.isTrue(cell.findings.every(({ optional, verdict }) => optional && verdict === "guarded"))
  })

  it("has at most so many findings, the worst of them", () => {
    const count = Compatibility.maximumFindings + 50
    const types = [
      B.int("int", 4, 1),
      B.struct("s", 4 * count, Array.from({ length: count }, (_, index) => [`m${index}`, 1, 32 * index] as const))
    ]
    const asked = Array.from({ length: count }, (_, index) => ({
      insn: index === count - 1 ? Encode.ldx(BPF_W, 0, 1, 4 * index) : Encode.mov64Imm(0, 1),
      type: 2,
      access: `0:${index}`,
      kind: index === count - 1 ? "byte_off" as const : "field_exists" as const
    }))
    const cell = Compatibility.check(prepared(objectFile(types, asked)), kernel([B.int("int", 4, 1)], []))
    assert.lengthOf(cell.findings, Compatibility.maximumFindings)
    assert.strictEqual(cell.omitted, 50)
    assert.strictEqual(cell.findings[0]?.verdict, "fatal")
  })
})

describe("what a program is for", () => {
  const forSection = (...sections: ReadonlyArray<string>) =>
    prepared(build({
      sections: sections.map((name) => ({ name, flags: EXEC, bytes: nothing })),
      symbols: sections.map((section, index) => ({ name: `prog${index}`, section, size: nothing.length }))
    }))
  const functions = [
    B.funcProto(0, []),
    B.func("do_work", 1, 1),
    B.func("bpf_lsm_file_open", 1, 1),
    B.func("bpf_iter_task", 1, 1),
    B.ptr(1),
    B.typedef("btf_trace_sched_switch", 5)
  ]
  const sections = [
    "fentry/do_work",
    "fexit/do_work",
    "fmod_ret/do_work",
    "lsm/file_open",
    "iter/task",
    "tp_btf/sched_switch"
  ]

  it("is looked for under the name that the kernel has for it", () => {
    assert.deepStrictEqual(brief(Compatibility.check(forSection(...sections), kernel(functions))), [])
    assert.deepStrictEqual(brief(Compatibility.check(forSection(...sections), kernel([], []))), [
      "fatal attach-target do_work",
      "fatal attach-target do_work",
      "fatal attach-target do_work",
      "fatal attach-target bpf_lsm_file_open",
      "fatal attach-target bpf_iter_task",
      "fatal attach-target btf_trace_sched_switch"
    ])
  })

  it("must be of the right kind: a typedef of a function's name is none", () => {
    const wrong = kernel([B.int("int", 4, 1), B.typedef("do_work", 1), B.funcProto(0, []), B.func("btf_trace_x", 3, 1)])
    assert.lengthOf(Compatibility.check(forSection("fentry/do_work", "tp_btf/x"), wrong).findings, 2)
  })

  it("may be in a module: in any, or in the one that is named", () => {
    const base = B.btfOf([B.funcProto(0, [])])
    const net = split(base, [B.func("net_work", 1, 1)])
    const modules = [["broken", "no BTF"], ["net", net]] as const
    const verdict = (section: string, given?: typeof modules | readonly []) =>
      Compatibility.check(forSection(section), kernelOf(base, given)).verdict
    assert.strictEqual(verdict("fentry/net_work", modules), "green")
    assert.strictEqual(verdict("fentry/net:net_work", modules), "green")
    assert.strictEqual(verdict("fentry/other:net_work", modules), "fatal")
    assert.strictEqual(verdict("fentry/vmlinux:net_work", modules), "fatal")
    // Without the modules' types a missing function is missing; one that says its module may be there.
    assert.strictEqual(verdict("fentry/net_work"), "fatal")
    assert.strictEqual(verdict("fentry/net:net_work"), "unknown")
    assert.strictEqual(verdict("fentry/net:net_work", []), "fatal")
  })

  it("is guarded in an optional program, and not checked where it is named later", () => {
    assert.deepStrictEqual(
      Compatibility.check(forSection("?fentry/gone"), kernel([], [])).findings.map((
        { optional, verdict }
      ) => [optional, verdict]),
      [[true, "guarded"]]
    )
    const bare = Compatibility.check(forSection("fentry"), kernel([], []))
    assert.strictEqual(bare.verdict, "green")
    assert.deepStrictEqual(bare.unchecked, [
      "what prog0 is for, which is named when it is loaded",
      "whether the kernel has what Linux 5.5 has"
    ])
    assert.deepStrictEqual(Compatibility.check(forSection("kprobe/gone"), kernel([], [])).findings, [])
  })
})

describe("functions and variables of the kernel", () => {
  const both = opened("ksyms.bpf.o")
  const strong = [B.funcProto(0, []), B.func("bpf_rcu_read_lock", 1, 0), B.func("bpf_rcu_read_unlock", 1, 0)]

  it("that are weak and missing are guarded, strong ones are fatal", () => {
    assert.deepStrictEqual(brief(check(both, kernel(strong, []))), [
      "guarded kernel-function there_is_no_such_function"
    ])
    const none = check(both, kernel([B.int("int", 4, 1)], []))
    assert.deepStrictEqual(brief(none), [
      "fatal kernel-function bpf_rcu_read_lock",
      "fatal kernel-function bpf_rcu_read_unlock",
      "guarded kernel-function bpf_rcu_read_lock___second_spelling",
      "guarded kernel-function there_is_no_such_function"
    ])
    assert.deepStrictEqual(none.findings[0]?.programs, ["call_kernel"])
  })

  it("of another type are fatal, with both declarations", () => {
    const other = [B.int("int", 4, 1), B.funcProto(0, [["flags", 1]]), B.func("bpf_rcu_read_lock", 2, 0)]
    const { findings } = check(both, kernel(other, []))
    assert.match(
      findings[0]?.detail ?? "",
      /`void bpf_rcu_read_lock\(void\)`, and the kernel has `void bpf_rcu_read_lock\(int flags\)`/
    )
  })

  it("are found in modules, which are read only then", () => {
    const base = B.btfOf([B.funcProto(0, []), B.func("bpf_rcu_read_lock", 1, 0)])
    const module = split(base, [B.func("bpf_rcu_read_unlock", 1, 0)])
    assert.deepStrictEqual(brief(check(both, kernelOf(base, [["m", module]]))), [
      "guarded kernel-function there_is_no_such_function"
    ])
    let read = 0
    const lazy = kernelOf(base, undefined, {
      modules: [{ name: "m", types: () => (read++, Result.succeed(module)) }]
    })
    check(opened("prog_array.bpf.o"), lazy)
    assert.strictEqual(read, 0)
    check(both, lazy)
    check(both, lazy)
    assert.strictEqual(read, 1)
  })

  it("without a type are checked by the names of a profile, and otherwise not", () => {
    const alone = check(both, kernel(strong, []))
    assert.includeMembers([...alone.unchecked], ["kernel symbol schedule"])
    const symbols = new Map([["nobody", "one"]] as const)
    const named = check(both, kernel(strong, [], { symbols }))
    assert.include(brief(named), "fatal kernel-variable schedule")
    assert.notInclude(named.unchecked, "kernel symbol schedule")
  })
})

describe("structs that an object implements", () => {
  const linked = opened("struct_ops_link.bpf.o")
  const kernelWith = (
    members: ReadonlyArray<readonly [string, number, number, number?]>,
    more: ReadonlyArray<B.Rec> = [B.struct("bpf_struct_ops_tcp_congestion_ops", 128, [["data", 7, 64]])]
  ) =>
    kernel([
      B.int("char", 1, 1), // 1
      B.int("unsigned int", 4), // 2
      B.array(1, 2, 16), // 3
      B.funcProto(2, [["sk", 6]]), // 4
      B.ptr(4), // 5
      B.ptr(0), // 6
      B.struct("tcp_congestion_ops", 64, members), // 7
      ...more
    ], [])
  const all = [["ssthresh", 5, 0], ["cong_avoid", 5, 64], ["undo_cwnd", 5, 128], ["name", 3, 192]] as const
  const verdicts = (target: Compatibility.Target) =>
    check(linked, target).findings.filter(({ optional }) => !optional).map(({ detail, subject, verdict }) =>
      `${verdict} ${subject}: ${detail}`
    )

  it("are green where the kernel has every member that is filled in", () => {
    assert.deepStrictEqual(verdicts(kernelWith(all)), [])
    assert.deepStrictEqual(verdicts(kernelWith([["more", 2, 320], ...all])), [])
  })

  it("are fatal where it lacks one, has another kind of type there, or another size", () => {
    assert.deepStrictEqual(verdicts(kernelWith(all.slice(1))), [
      "fatal struct tcp_congestion_ops.ssthresh: the kernel's struct tcp_congestion_ops has no such member, and linked has the program threshold there"
    ])
    assert.deepStrictEqual(verdicts(kernelWith(all.slice(0, 3))), [
      "fatal struct tcp_congestion_ops.name: the kernel's struct tcp_congestion_ops has no such member, and linked gives it a value"
    ])
    const [ssthresh, ...others] = all
    assert.match(
      verdicts(kernelWith([["ssthresh", 2, 0], ...others]))[0] ?? "",
      /the object has it as `__u32 \(\*\)\(.*`, the kernel as `unsigned int`/
    )
    assert.match(
      verdicts(kernelWith([["ssthresh", 6, 0], ...others]))[0] ?? "",
      /the kernel has a `void \*` there, which is no function/
    )
    assert.match(
      verdicts(kernelWith([ssthresh, ...others.slice(0, 2), ["name", 8, 192]], [
        B.array(1, 2, 8),
        B.struct("bpf_struct_ops_tcp_congestion_ops", 128, [["data", 7, 64]])
      ]))[0] ?? "",
      /in 16 bytes, the kernel in 8/
    )
  })

  it("are fatal where programs cannot implement the struct", () => {
    assert.match(verdicts(kernelWith(all, []))[0] ?? "", /the kernel has no struct bpf_struct_ops_tcp_congestion_ops/)
    assert.match(
      verdicts(kernelWith(all, [B.struct("bpf_struct_ops_tcp_congestion_ops", 8, [["data", 2, 0]])]))[0] ?? "",
      /is not one of struct tcp_congestion_ops/
    )
  })

  it("that a load leaves out are guarded, with their programs", () => {
    const findings = check(linked, kernel([], [])).findings.filter(({ rule }) => rule === "struct-ops")
    assert.deepStrictEqual(findings.map(({ optional, verdict }) => [optional, verdict]), [
      [false, "fatal"],
      [true, "guarded"],
      [true, "guarded"]
    ])
  })

  it("are found in a module", () => {
    const base = B.btfOf([
      B.int("unsigned int", 4),
      B.funcProto(1, []),
      B.ptr(2),
      B.int("char", 1, 1),
      B.array(4, 1, 16)
    ])
    const first = base.endId
    const module = split(base, [
      B.struct("tcp_congestion_ops", 40, [["ssthresh", 3, 0], ["cong_avoid", 3, 64], ["undo_cwnd", 3, 128], [
        "name",
        5,
        192
      ]]),
      B.struct("bpf_struct_ops_tcp_congestion_ops", 48, [["data", first, 64]])
    ])
    assert.deepStrictEqual(verdicts(kernelOf(base, [["tcp", module]])), [])
  })
})

describe("the kernel's configuration", () => {
  const object = opened("externs.bpf.o")
  const known = { release: "6.1.0", kernelVersion: 0x06_01_00, features: { BpfCookie: true, SyscallWrapper: true } }
  const configuration =
    "CONFIG_BPF_SYSCALL=y\nCONFIG_HZ=250\nCONFIG_BPF_JIT=y\nCONFIG_NET=y\nCONFIG_CC_VERSION_TEXT=\"gcc\"\n"

  it("is checked where a profile has it, and is named as not checked where it does not", () => {
    const alone = check(object, kernel([], []))
    assert.strictEqual(alone.verdict, "green")
    assert.include(alone.unchecked, "kernel option CONFIG_HZ")
    const whole = check(object, kernel([], [], { ...known, configuration }))
    assert.deepStrictEqual([whole.verdict, whole.unchecked], ["green", []])
    const without = check(
      object,
      kernel([], [], { ...known, configuration: configuration.replace("CONFIG_HZ=250\n", "") })
    )
    assert.deepStrictEqual(brief(without), ["fatal kernel-option CONFIG_HZ"])
    const wrong = check(object, kernel([], [], { ...known, configuration: configuration.replace("250", "m") }))
    assert.deepStrictEqual(brief(wrong), ["fatal kernel-option CONFIG_HZ"])
  })
})

describe("a profile", () => {
  it("without types is no kernel to check against", () => {
    assert.isUndefined(Compatibility.target("x", { ...KernelProfile.fromTypesAlone(small), vmlinux: undefined }))
  })
})

describe("calls that lead nowhere", () => {
  it("make an object invalid on all kernels, and the rest is checked all the same", () => {
    const broken = CallGraph.object([
      CallGraph.program({
        name: "entry",
        section: "fentry/gone",
        insns: Encode.program(Encode.callSubprogram(-1), Encode.exit()),
        relocations: [{ _tag: "Call", at: 0, section: CallGraph.textSection, slot: 0 }]
      })
    ])
    const cell = check(broken, kernel([], []))
    assert.deepStrictEqual(brief(cell), ["fatal object-invalid entry"])
    assert.match(cell.findings[0]?.detail ?? "", /leads to no function/)
  })
})
