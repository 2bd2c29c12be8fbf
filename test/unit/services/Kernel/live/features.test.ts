/** Every probe for a feature: its three answers, what it asks the kernel, and that it leaves nothing open. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Result from "effect/Result"
import * as Btf from "../../../../../src/btf/Btf.ts"
import * as Decode from "../../../../../src/insn/Insn.ts"
import { Command } from "../../../../../src/services/Kernel/abi/BpfConstants.ts"
import { type Errno, numbers } from "../../../../../src/services/Kernel/abi/Errno.ts"
import {
  descriptions,
  type Feature,
  features,
  hasIt,
  isFeature,
  isSupport,
  refused,
  type Support,
  supported,
  supportOf,
  supportText,
  unsupported
} from "../../../../../src/services/Kernel/Feature.ts"
import { fromErrno } from "../../../../../src/services/Kernel/KernelError.ts"
import * as Features from "../../../../../src/services/Kernel/live/Features.ts"
import * as Blobs from "../../../../../src/services/Kernel/live/features/Blobs.ts"
import { createMap, within } from "../../../../../src/services/Kernel/live/features/Host.ts"
import { probe } from "../../../../../src/services/Kernel/live/features/KernelFeatures.ts"
import { runs } from "../../../../support/Require.ts"
import { type Answer, type Entry, type Machine, probed } from "./probedKernel.ts"

const isLoadOf = (insn: (code: Uint8Array) => boolean) => (entry: Entry): boolean =>
  entry.command === Command.BPF_PROG_LOAD && insn(entry.region("insns"))

const callsHelper = (id: number) => (code: Uint8Array): boolean =>
  Array.from({ length: Decode.count(code) }, (_, slot) => slot).some((slot) =>
    Decode.opcode(code, slot) === 0x85 && Decode.src(code, slot) === 0 && Decode.imm(code, slot) === id
  )

const when = (condition: (entry: Entry) => boolean, errno: Errno, log?: string): Answer => (entry) => {
  if (!condition(entry)) return undefined
  if (log !== undefined) entry.log(log)
  return errno
}

const is = (command: number) => (entry: Entry): boolean => entry.name === "bpf" && entry.command === command

const isKindOf = (kind: number) => (entry: Entry): boolean => {
  if (!is(Command.BPF_BTF_LOAD)(entry)) return false
  const btf = entry.region("btf")
  // The kind of the last type, wherever it is: a kernel without it refuses the blob.
  return btf.length > 0 && kindsOf(btf).has(kind)
}

/** The kinds in a blob of a probe: words whose lower part is a count, and whose position is that of a type. */
const kindsOf = (blob: Uint8Array): ReadonlySet<number> => {
  const parsed = Btf.parse(blob)
  if (Result.isFailure(parsed)) return new Set()
  const btf = parsed.success
  return new Set(Array.from({ length: btf.endId - 1 }, (_, i) => Btf.kindOf(btf, i + 1)))
}

/** How a kernel answers that lacks a feature and has all others. */
const lacking: Readonly<Record<Feature, Answer>> = {
  ProgName: when((entry) => entry.text("prog_name") === "libbpf_nametest", "E2BIG"),
  GlobalData: when(isLoadOf((code) => Decode.src(code, 0) === 2 && Decode.imm(code, 1) === 16), "EINVAL"),
  Btf: when(is(Command.BPF_BTF_LOAD), "EINVAL"),
  BtfFunc: when(isKindOf(Btf.BTF_KIND_FUNC_PROTO), "EINVAL"),
  BtfDatasec: when(isKindOf(Btf.BTF_KIND_DATASEC), "EINVAL"),
  BtfGlobalFunc: when(
    (entry) => isKindOf(Btf.BTF_KIND_FUNC)(entry) && entry.region("btf").includes(1, 24 + 16 + 20 + 4),
    "EINVAL"
  ),
  ArrayMmap: when((entry) => is(Command.BPF_MAP_CREATE)(entry) && entry.field("map_flags") === 0x400, "EINVAL"),
  ExpectedAttachType: when((entry) => entry.field("expected_attach_type") !== 0, "E2BIG"),
  ProbeReadKernel: when(isLoadOf(callsHelper(113)), "EINVAL"),
  ProgBindMap: when(is(Command.BPF_PROG_BIND_MAP), "EINVAL"),
  ModuleBtf: when(is(Command.BPF_OBJ_GET_INFO_BY_FD), "E2BIG"),
  BtfFloat: when(isKindOf(Btf.BTF_KIND_FLOAT), "EINVAL"),
  PerfLink: when(is(Command.BPF_LINK_CREATE), "EINVAL"),
  BtfDeclTag: when(isKindOf(Btf.BTF_KIND_DECL_TAG), "EINVAL"),
  BtfTypeTag: when(isKindOf(Btf.BTF_KIND_TYPE_TAG), "EINVAL"),
  MemcgAccount: when(isLoadOf(callsHelper(160)), "EINVAL"),
  BpfCookie: when(isLoadOf(callsHelper(174)), "EINVAL"),
  BtfEnum64: when(isKindOf(Btf.BTF_KIND_ENUM64), "EINVAL"),
  SyscallWrapper: () => undefined,
  UprobeMultiLink: when(is(Command.BPF_LINK_CREATE), "EINVAL"),
  // The verifier's verdict, in a number that security policies answer with as well.
  ArgCtxTag: when((entry) => entry.text("prog_name") === "det_arg_ctx", "EACCES", "R1 type=scalar expected=ctx\n"),
  BtfQmarkDatasec: when(
    (entry) => is(Command.BPF_BTF_LOAD)(entry) && new TextDecoder().decode(entry.region("btf")).includes("?.data"),
    "EINVAL"
  ),
  Ldimm64FullRangeOffset: when(
    (entry) => entry.text("prog_name") === "global_reloc",
    "EINVAL",
    "direct value offset of 1073741824 is not allowed\n"
  ),
  UprobeSyscall: when((entry) => entry.name === "uprobe", "ENOSYS"),
  BtfLayout: when((entry) => is(Command.BPF_BTF_LOAD)(entry) && entry.region("btf")[4] === 32, "E2BIG"),
  CommonAttrs: when((entry) => entry.name === "bpfCommon", "EINVAL")
}

/** Machines on which the symbol table lacks the wrapper, or cannot be read. */
const withoutWrapper: Machine = {
  facts: {
    addresses: (names) => Result.succeed({ of: new Map(names.map((name) => [name, undefined])), hidden: false })
  }
}

const unreadable: Machine = {
  facts: { addresses: () => Result.fail(fromErrno("Symbol", "/proc/kallsyms", numbers.EACCES)) }
}

const machineOf = (feature: Feature, machine: Machine): Machine => feature === "SyscallWrapper" ? machine : {}

const answerOf = (feature: Feature, answer?: Answer, machine?: Machine): Support => {
  const kernel = probed(answer, machine)
  const support = probe(kernel.host, feature)
  assert.deepStrictEqual([[...kernel.open], kernel.strayCloses], [[], []], `${feature} closes what it opens, once`)
  return support
}

describe("features", () => {
  it("are those that libbpf probes for", () => {
    assert.strictEqual(features.length, 26)
    assert.strictEqual(new Set(features.map((feature) => descriptions[feature].name)).size, 26)
    assert.isTrue(features.every(isFeature) && !isFeature("constructor") && !isFeature("PROG_NAME"))
  })

  it("have answers that are yes, no, or none", () => {
    assert.deepStrictEqual(
      [supported, unsupported(), refused("EPERM", "")].map((each) => [hasIt(each), supportText(each), isSupport(each)]),
      [[true, "supported", true], [false, "not supported", true], [undefined, "refused (EPERM)", true]]
    )
    assert.deepStrictEqual([supportOf(true), supportOf(false), supportOf(supported)], [
      supported,
      unsupported(),
      supported
    ])
    assert.isFalse([true, null, undefined, {}, { _tag: "Known" }].some(isSupport))
  })
})

describe("a probe", () => {
  for (const feature of features) {
    it(`${feature}: supported, not supported, refused`, () => {
      assert.deepStrictEqual(answerOf(feature), supported)
      const missing = answerOf(feature, lacking[feature], machineOf(feature, withoutWrapper))
      assert.strictEqual(missing._tag, "Unsupported")
      const forbidden = answerOf(feature, () => "EPERM", machineOf(feature, unreadable))
      assert.strictEqual(forbidden._tag, "Refused")
      if (forbidden._tag === "Refused") assert.isNotEmpty(forbidden.why)
    })
  }

  it("says no for the feature that is missing, and for those that need it", () => {
    for (const feature of features) {
      if (feature === "SyscallWrapper") continue
      const missing = features.filter((each) => answerOf(each, lacking[feature])._tag !== "Supported")
      assert.include(missing, feature)
      // A kernel without the kind of types of one has none of the others that use it.
      const needing: Partial<Record<Feature, ReadonlyArray<Feature>>> = {
        Btf: ["BtfFunc", "BtfDatasec", "BtfGlobalFunc", "ModuleBtf", "BtfFloat", "BtfDeclTag", "BtfTypeTag"]
          .filter(isFeature).concat(["BtfEnum64", "ArgCtxTag", "BtfQmarkDatasec", "BtfLayout"]),
        BtfFunc: ["BtfGlobalFunc", "ArgCtxTag"],
        BtfGlobalFunc: ["ArgCtxTag"],
        BtfDatasec: ["BtfQmarkDatasec"],
        BtfDeclTag: ["ArgCtxTag"],
        PerfLink: ["UprobeMultiLink"],
        UprobeMultiLink: ["PerfLink"],
        ExpectedAttachType: ["UprobeMultiLink"]
      }
      assert.sameMembers(missing.filter((each) => each !== feature), [...needing[feature] ?? []], feature)
    }
  })

  it("is made again while it is disturbed", () => {
    let left = 4
    assert.deepStrictEqual(answerOf("ProgName", () => left-- > 0 ? "EAGAIN" : undefined), supported)
    left = 1
    assert.deepStrictEqual(answerOf("BtfFloat", () => left-- > 0 ? "EINTR" : undefined), supported)
    assert.strictEqual(answerOf("ProgName", () => "EAGAIN")._tag, "Refused")
  })

  it("tells a security policy from the verifier by whether there is a log", () => {
    const policy = when((entry) => entry.text("prog_name") === "det_arg_ctx", "EACCES")
    assert.deepInclude(answerOf("ArgCtxTag", policy), { _tag: "Refused", errno: "EACCES" })
    assert.deepInclude(answerOf("ArgCtxTag", lacking.ArgCtxTag), { _tag: "Unsupported" })
  })

  it("takes uprobes that reach one thread of a process for none", () => {
    const oneThread = answerOf("UprobeMultiLink", when((entry) => entry.field("pid") === 0xffff_ffff, "EBADF"))
    assert.deepInclude(oneThread, { _tag: "Unsupported" })
  })

  it("says which word of the verifier was the reason", () => {
    assert.deepStrictEqual(
      answerOf("Ldimm64FullRangeOffset", lacking.Ldimm64FullRangeOffset),
      unsupported("direct value offset of 1073741824 is not allowed")
    )
  })
})

describe("system calls behind wrappers", () => {
  const kprobeType = (text: string): Machine => ({
    ...unreadable,
    files: {
      read: (path) =>
        path === "/sys/bus/event_source/devices/kprobe/type"
          ? Result.succeed(new TextEncoder().encode(text))
          : Result.fail(numbers.ENOENT),
      list: () => Result.fail(numbers.ENOENT)
    }
  })
  const opening = (answer: Errno | number): Answer => (entry) => entry.name === "perfEventOpen" ? answer : undefined

  it("are looked up in the symbol table, of architectures that have them", () => {
    const asked: Array<string> = []
    const facts: Machine["facts"] = {
      addresses: (names) => {
        asked.push(...names)
        return Result.succeed({ of: new Map(names.map((name) => [name, 0n])), hidden: true })
      }
    }
    for (const architecture of ["x64", "arm64", "riscv64", "s390x", "ppc64"]) {
      assert.deepStrictEqual(answerOf("SyscallWrapper", undefined, { facts, architecture }), supported)
    }
    assert.deepStrictEqual(asked, [
      "__x64_sys_bpf",
      "__arm64_sys_bpf",
      "__riscv_sys_bpf",
      "__s390x_sys_bpf",
      "__powerpc_sys_bpf"
    ])
    assert.deepInclude(answerOf("SyscallWrapper", undefined, { facts, architecture: "loong64" }), {
      _tag: "Unsupported"
    })
  })

  it("are found out with a kprobe where the symbol table cannot be read", () => {
    assert.deepStrictEqual(answerOf("SyscallWrapper", opening(77), kprobeType("8\n")), supported)
    assert.deepInclude(answerOf("SyscallWrapper", opening("ENOENT"), kprobeType("8\n")), { _tag: "Unsupported" })
    assert.deepInclude(answerOf("SyscallWrapper", opening("EPERM"), kprobeType("8\n")), { errno: "EPERM" })
    // Neither says anything: the reason is that of the symbol table.
    assert.deepInclude(answerOf("SyscallWrapper", opening(77), unreadable), { _tag: "Refused", errno: "EACCES" })
    assert.deepInclude(answerOf("SyscallWrapper", opening(77), kprobeType("none")), { errno: "EACCES" })
  })
})

describe("whatever goes wrong while it is probed", () => {
  const errnos: ReadonlyArray<Errno> = ["EPERM", "EACCES", "ENOMEM", "EMFILE", "EAGAIN", "EINVAL", "E2BIG", "ENOSYS"]

  /** The answer to a feature when entry `k` fails; asserts that all is closed. */
  const failingAt = (feature: Feature, k: number, errno: Errno): Support =>
    answerOf(feature, ({ index }) => index === k ? errno : undefined)

  it("nothing stays open, at any call and with any error", () => {
    for (const feature of features) {
      const whole = probed()
      probe(whole.host, feature)
      for (let k = 0; k < whole.entries.length; k++) for (const errno of errnos) failingAt(feature, k, errno)
    }
  })

  it("what is of the moment is never an answer, nor is the lack of rights", () => {
    for (const feature of features) {
      const persistent: ReadonlyArray<Errno> = ["EPERM", "ENOMEM", "EMFILE", "ENFILE", "EAGAIN", "EINTR"]
      for (const errno of persistent) {
        const support = answerOf(feature, () => errno, machineOf(feature, unreadable))
        if (feature !== "SyscallWrapper") assert.deepInclude(support, { _tag: "Refused", errno }, feature)
      }
    }
  })

  it("holds for any sequence of answers", () => {
    fc.assert(
      fc.property(fc.constantFrom(...features), fc.array(fc.option(fc.constantFrom(...errnos)), { maxLength: 12 }), (
        feature,
        answers
      ) => {
        answerOf(feature, ({ index }) => answers[index] ?? undefined)
      }),
      { numRuns: runs(500) }
    )
  })

  it("named fault: a probe that forgets a map is seen", () => {
    const kernel = probed()
    within(kernel.host.sys, () => createMap(kernel.host.sys, { map_type: 2 }))
    assert.strictEqual(kernel.open.size, 1)
  })
})

describe("the layer's answers", () => {
  const featuresOf = (answer: Answer) => {
    const kernel = probed(answer)
    const { architecture, facts, files, sys } = kernel.host
    return { kernel, features: Features.make({ sys: () => Result.succeed(sys), facts, files, architecture }) }
  }

  it("are found out once when they are certain", () => {
    for (const [answer, tag] of [[undefined, "Supported"], ["EINVAL", "Unsupported"]] as const) {
      const { features: asked, kernel } = featuresOf(() => answer)
      for (let i = 0; i < 3; i++) assert.deepInclude(Result.getOrThrow(asked.feature("BtfFloat")), { _tag: tag })
      for (let i = 0; i < 3; i++) asked.programType(6)
      for (let i = 0; i < 3; i++) asked.mapType(1)
      assert.strictEqual(kernel.entries.length, 3)
    }
  })

  it("are asked for again when they were refused: rights come, and memory, and quiet", () => {
    for (const errno of ["EPERM", "EACCES", "ENOMEM", "EMFILE"] as const) {
      let now: Errno | undefined = errno
      const { features: asked } = featuresOf(() => now)
      assert.deepInclude(Result.getOrThrow(asked.feature("BtfFloat")), { _tag: "Refused", errno })
      assert.deepInclude(Result.getOrThrow(asked.programType(6)), { _tag: "Refused", errno })
      assert.deepInclude(Result.getOrThrow(asked.mapType(1)), { _tag: "Refused", errno })
      now = undefined
      assert.deepStrictEqual(asked.feature("BtfFloat"), Result.succeed(supported))
      assert.deepStrictEqual(asked.programType(6), Result.succeed(supported))
      assert.deepStrictEqual(asked.mapType(1), Result.succeed(supported))
    }
  })

  it.effect("fail where bpf(2) cannot be called, and are refused where it refuses everything", () =>
    Effect.gen(function*() {
      const { facts, files } = probed().host
      const none = Features.make({
        sys: () => Result.fail(fromErrno("session", "the live kernel", numbers.ENOSYS)),
        facts,
        files,
        architecture: "x64"
      })
      assert.strictEqual((yield* Effect.flip(none.report())).errno, "ENOSYS")
      const { features: asked, kernel } = featuresOf(() => "EPERM")
      const report = yield* asked.report()
      const all = [...report.programTypes.values(), ...report.mapTypes.values(), ...report.misc.values()]
      assert.isTrue(all.every((support) => support._tag === "Refused"))
      assert.isTrue([...report.helpers.values()].every((answers) => answers._tag === "NoPrograms"))
      assert.deepStrictEqual(report.syscall, supported, "an answer of any kind shows that there is bpf(2)")
      assert.deepStrictEqual([...kernel.open], [])
    }))
})

describe("the BTF of probes", () => {
  const words = (blob: Uint8Array, from = 24): ReadonlyArray<number> => {
    const view = new DataView(blob.buffer)
    const length = view.getUint32(12, true)
    return Array.from({ length: length / 4 }, (_, i) => view.getUint32(from + i * 4, true))
  }
  const strings = (blob: Uint8Array): string => {
    const view = new DataView(blob.buffer)
    return new TextDecoder().decode(blob.subarray(view.getUint32(4, true) + view.getUint32(16, true)))
  }

  it("is that of libbpf, word by word", () => {
    const int = (name: number) => [name, 0x0100_0000, 4, 0x0100_0020]
    assert.deepStrictEqual([words(Blobs.plain), strings(Blobs.plain)], [int(1), "\0int\0"])
    const fn = [...int(1), 0, 0x0d00_0001, 0, 7, 1, 5]
    assert.deepStrictEqual(words(Blobs.staticFunction), [...fn, 0x0c00_0000, 2])
    assert.deepStrictEqual(words(Blobs.globalFunction), [...fn, 0x0c00_0001, 2])
    assert.strictEqual(strings(Blobs.globalFunction), "\0int\0x\0a\0")
    const section = [...int(0), 1, 0x0e00_0000, 1, 0, 3, 0x0f00_0001, 4, 2, 0, 4]
    assert.deepStrictEqual([words(Blobs.datasec), strings(Blobs.datasec)], [section, "\0x\0.data\0"])
    assert.deepStrictEqual([words(Blobs.qmarkDatasec), strings(Blobs.qmarkDatasec)], [section, "\0x\0?.data\0"])
    assert.deepStrictEqual([words(Blobs.float), strings(Blobs.float)], [[1, 0x1000_0000, 4], "\0float\0"])
    assert.deepStrictEqual(words(Blobs.declTag).slice(-4), [1, 0x1100_0000, 2, 0xffff_ffff])
    assert.deepStrictEqual(words(Blobs.typeTag).slice(4), [1, 0x1200_0000, 1, 0, 0x0200_0000, 2])
    assert.deepStrictEqual([words(Blobs.enum64), strings(Blobs.enum64)], [[1, 0x1300_0000, 8], "\0enum64\0"])
    assert.strictEqual(strings(Blobs.spinLockValue), "\0bpf_spin_lock\0val\0cnt\0l\0")
    assert.deepStrictEqual(words(Blobs.layout, 32), int(1))
    assert.deepStrictEqual([...Blobs.layout.subarray(48, 56)], [0, 0, 0, 0, 4, 0, 0, 0])
    assert.strictEqual(strings(Blobs.layout), "\0int\0")
  })

  it("is sound", () => {
    for (const [name, blob] of Object.entries(Blobs)) {
      if (name === "layout") continue
      const parsed = Btf.parse(blob)
      assert.isTrue(Result.isSuccess(parsed), name)
    }
    const context = Result.getOrThrow(Btf.parse(Blobs.contextArgument))
    assert.deepInclude(Btf.typeOf(context, 7), { _tag: "DeclTag", name: "arg:ctx" })
    assert.deepStrictEqual([Btf.nameOf(context, 4), Btf.nameOf(context, 6)], ["a", "b"])
  })
})
