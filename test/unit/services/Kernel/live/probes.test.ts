/** What is probed beside features: types of programs and maps, ways to attach, helpers, settings. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { helperCount, helperId } from "../../../../../src/insn/Helpers.ts"
import * as Insn from "../../../../../src/insn/Insn.ts"
import {
  AttachType,
  type AttachTypeSymbol,
  Command,
  MapType,
  ProgType
} from "../../../../../src/services/Kernel/abi/BpfConstants.ts"
import { type Errno, numbers } from "../../../../../src/services/Kernel/abi/Errno.ts"
import { refused, type Support, supported, unsupported } from "../../../../../src/services/Kernel/Feature.ts"
import { miscs } from "../../../../../src/services/Kernel/FeatureReport.ts"
import * as Features from "../../../../../src/services/Kernel/live/Features.ts"
import type { Host } from "../../../../../src/services/Kernel/live/features/Host.ts"
import * as ProbeAttach from "../../../../../src/services/Kernel/live/features/ProbeAttach.ts"
import * as ProbeHelpers from "../../../../../src/services/Kernel/live/features/ProbeHelpers.ts"
import * as ProbeMaps from "../../../../../src/services/Kernel/live/features/ProbeMaps.ts"
import * as ProbeMisc from "../../../../../src/services/Kernel/live/features/ProbeMisc.ts"
import * as ProbePrograms from "../../../../../src/services/Kernel/live/features/ProbePrograms.ts"
import * as Settings from "../../../../../src/services/Kernel/live/features/Settings.ts"
import { type Answer, type Entry, type Machine, probed } from "./probedKernel.ts"

/** What a probe says of a kernel that answers so; asserts that it leaves nothing open. */
const asked = <A>(probe: (host: Host) => A, answer?: Answer, machine?: Machine): A => {
  const kernel = probed(answer, machine)
  const said = probe(kernel.host)
  assert.deepStrictEqual([[...kernel.open], kernel.strayCloses], [[], []])
  return said
}

const typesOf = (table: Readonly<Record<string, number>>): ReadonlyArray<number> =>
  Object.values(table).filter((type) => type !== 0)

const errnos: ReadonlyArray<Errno> = ["EPERM", "ENOMEM", "EAGAIN", "EMFILE", "EINVAL", "E2BIG", "ENOTSUPP", "EACCES"]

describe("types of programs", () => {
  it("are there, are not, or are refused", () => {
    for (const type of typesOf(ProgType)) {
      const probe = (host: Host) => ProbePrograms.probe(host, type)
      assert.deepStrictEqual(asked(probe), supported, String(type))
      assert.deepStrictEqual(asked(probe, () => "EINVAL"), unsupported("EINVAL"), String(type))
      assert.deepInclude(asked(probe, () => "EPERM"), { _tag: "Refused", errno: "EPERM" }, String(type))
      for (const errno of errnos) asked(probe, () => errno)
    }
  })

  it("that have a target are known by the verifier's word on it, not by the error", () => {
    const tracing = (host: Host) => ProbePrograms.probe(host, ProgType.BPF_PROG_TYPE_TRACING)
    const saying = (errno: Errno, log: string): Answer => (entry) => {
      entry.log(log)
      return errno
    }
    assert.deepStrictEqual(asked(tracing, saying("EINVAL", "attach_btf_id 1 is not a function\n")), supported)
    assert.deepInclude(asked(tracing, saying("EINVAL", "")), { _tag: "Unsupported" })
    assert.deepInclude(asked(tracing, saying("EPERM", "attach_btf_id 1 is not a function\n")), { _tag: "Refused" })
    const operations = (host: Host) => ProbePrograms.probe(host, ProgType.BPF_PROG_TYPE_STRUCT_OPS)
    assert.deepStrictEqual(asked(operations, () => "ENOTSUPP"), supported)
  })

  it("are told what their loads must say, and kprobes the version of the kernel", () => {
    const fields: Array<ReadonlyArray<number>> = []
    const note: Answer = (entry) => {
      fields.push(["prog_type", "expected_attach_type", "prog_flags", "attach_btf_id", "kern_version"].map(entry.field))
      return undefined
    }
    for (const type of [2, 18, 20, 25, 26, 28, 29, 30, 31, 32]) asked((host) => ProbePrograms.probe(host, type), note)
    assert.deepStrictEqual(fields, [
      [2, 0, 0, 0, 0x010203],
      [18, 10, 0, 0, 0],
      [20, 16, 0, 0, 0],
      [25, 21, 0, 0, 0],
      [26, 24, 0, 1, 0],
      [28, 0, 0, 1, 0],
      [29, 26, 0, 1, 0],
      [30, 36, 0, 0, 0],
      [31, 0, 0x10, 0, 0],
      [32, 45, 0, 0, 0]
    ])
  })
})

describe("types of maps", () => {
  it("are there, are not, or are refused", () => {
    for (const type of typesOf(MapType)) {
      const probe = (host: Host) => ProbeMaps.probe(host, type)
      assert.deepStrictEqual(asked(probe), supported, String(type))
      assert.deepInclude(asked(probe, () => "EINVAL"), { _tag: "Unsupported" }, String(type))
      assert.deepInclude(asked(probe, () => "EPERM"), { _tag: "Refused", errno: "EPERM" }, String(type))
      for (const errno of errnos) {
        for (const k of [0, 1]) asked(probe, ({ index }) => index === k ? errno : undefined)
      }
    }
  })

  it("are asked for in the shape that each must have", () => {
    const shapes = new Map<number, ReadonlyArray<number>>()
    const note: Answer = (entry) => {
      if (entry.command === Command.BPF_MAP_CREATE) {
        shapes.set(
          entry.field("map_type"),
          ["key_size", "value_size", "max_entries", "map_flags", "btf_key_type_id", "btf_value_type_id"].map(
            entry.field
          )
        )
      }
      return undefined
    }
    for (const type of typesOf(MapType)) asked((host) => ProbeMaps.probe(host, type), note)
    const plain = [4, 4, 1, 0, 0, 0]
    const storage = [4, 8, 0, 1, 1, 3]
    const odd: Readonly<Record<number, ReadonlyArray<number>>> = {
      [MapType.BPF_MAP_TYPE_STACK_TRACE]: [4, 8, 1, 0, 0, 0],
      [MapType.BPF_MAP_TYPE_LPM_TRIE]: [8, 8, 1, 1, 0, 0],
      [MapType.BPF_MAP_TYPE_CGROUP_STORAGE]: [16, 8, 0, 0, 0, 0],
      [MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE]: [16, 8, 0, 0, 0, 0],
      [MapType.BPF_MAP_TYPE_QUEUE]: [0, 4, 1, 0, 0, 0],
      [MapType.BPF_MAP_TYPE_STACK]: [0, 4, 1, 0, 0, 0],
      [MapType.BPF_MAP_TYPE_SK_STORAGE]: storage,
      [MapType.BPF_MAP_TYPE_INODE_STORAGE]: storage,
      [MapType.BPF_MAP_TYPE_TASK_STORAGE]: storage,
      [MapType.BPF_MAP_TYPE_CGRP_STORAGE]: storage,
      [MapType.BPF_MAP_TYPE_RINGBUF]: [0, 0, 4096, 0, 0, 0],
      [MapType.BPF_MAP_TYPE_USER_RINGBUF]: [0, 0, 4096, 0, 0, 0],
      [MapType.BPF_MAP_TYPE_BLOOM_FILTER]: [0, 4, 1, 0, 0, 0],
      [MapType.BPF_MAP_TYPE_ARENA]: [0, 0, 1, 0x400, 0, 0],
      [MapType.BPF_MAP_TYPE_INSN_ARRAY]: [4, 16, 1, 0, 0, 0],
      [MapType.BPF_MAP_TYPE_RHASH]: [4, 4, 1, 1, 0, 0]
    }
    for (const type of typesOf(MapType)) assert.deepStrictEqual(shapes.get(type), odd[type] ?? plain, String(type))
  })
})

const isAttachType = (symbol: string): symbol is AttachTypeSymbol => Object.hasOwn(AttachType, symbol)

const ways = Object.keys(AttachType).filter(isAttachType)

describe("ways to attach", () => {
  const probe = (symbol: AttachTypeSymbol, ofType: Support = supported) => (host: Host) =>
    ProbeAttach.probe(host, symbol, () => ofType)

  /** Those that are as old as their programs, and those that only the kernel's types tell of. */
  const untried: ReadonlyArray<AttachTypeSymbol> = [
    "BPF_LIRC_MODE2",
    "BPF_FLOW_DISSECTOR",
    "BPF_STRUCT_OPS",
    "BPF_TRACE_FENTRY_MULTI",
    "BPF_TRACE_FEXIT_MULTI",
    "BPF_TRACE_FSESSION_MULTI"
  ]

  it("are there, are not, or are refused", () => {
    for (const symbol of ways.filter((each) => !untried.includes(each))) {
      assert.deepStrictEqual(asked(probe(symbol)), supported, symbol)
      assert.deepInclude(asked(probe(symbol), () => "EINVAL"), { _tag: "Unsupported" }, symbol)
      assert.deepInclude(asked(probe(symbol), () => "EPERM"), { _tag: "Refused", errno: "EPERM" }, symbol)
      for (const errno of errnos) {
        for (const k of [0, 1, 2]) asked(probe(symbol), ({ index }) => index === k ? errno : undefined)
      }
    }
  })

  it("are there only with programs that go there", () => {
    for (const symbol of ways) {
      assert.deepStrictEqual(asked(probe(symbol, unsupported("EINVAL"))), unsupported("EINVAL"))
      assert.deepStrictEqual(asked(probe(symbol, refused("EPERM", "why"))), refused("EPERM", "why"))
    }
  })

  it("are asked for at targets that do not exist, so that nothing is ever attached", () => {
    const attached: Array<Entry> = []
    const note: Answer = (entry) => {
      if (entry.command === Command.BPF_PROG_ATTACH) attached.push(entry)
      return undefined
    }
    for (const symbol of ways) asked(probe(symbol), note)
    assert.isAbove(attached.length, 30)
    for (const entry of attached) assert.strictEqual(entry.field("target_fd"), 0xffff_ffff)
    // A flow dissector is attached to a network namespace that no number stands for: that would be done.
    assert.notInclude(attached.map((entry) => entry.field("attach_type")), AttachType.BPF_FLOW_DISSECTOR)
  })

  it("tell that a device or cgroup was looked for from that nobody looked", () => {
    const attach = (errno: Errno): Answer => ({ command }) => command === Command.BPF_PROG_ATTACH ? errno : undefined
    assert.deepStrictEqual(asked(probe("BPF_TCX_INGRESS"), attach("ENODEV")), supported)
    assert.deepStrictEqual(asked(probe("BPF_NETKIT_PEER"), attach("EINVAL")), unsupported("EINVAL"))
    assert.deepStrictEqual(
      asked(
        probe("BPF_TRACE_KPROBE_MULTI"),
        ({ command }) => command === Command.BPF_LINK_CREATE ? "EOPNOTSUPP" : undefined
      ),
      unsupported("EOPNOTSUPP")
    )
  })

  it("without a trial are refused where the kernel's types cannot be read", () => {
    for (const symbol of untried) {
      const said = asked(probe(symbol))
      assert.strictEqual(said._tag, AttachType[symbol] < 44 ? "Supported" : "Refused", symbol)
    }
  })
})

describe("helpers", () => {
  const lookup = 1
  const xdp = ProgType.BPF_PROG_TYPE_XDP
  const idOf = (entry: Entry): number => Insn.imm(entry.region("insns"), 0)
  const saying = (log: string, errno: Errno = "EINVAL"): Answer => (entry) => {
    if (entry.command !== Command.BPF_PROG_LOAD) return undefined
    entry.log(log)
    return errno
  }
  const answersOf = (answer?: Answer, full = false): ReadonlyMap<number, Support> => {
    const answers = asked((host) => ProbeHelpers.probe(host, xdp, supported, full), answer)
    return answers._tag === "Probed" ? answers.answers : assert.fail(answers._tag)
  }

  it("are those whose call the verifier does not mind, whatever else it minds", () => {
    for (
      const word of ["invalid func unknown#1", "unknown func bpf_x#1", "program of this type cannot use helper bpf_x#1"]
    ) {
      assert.deepStrictEqual(
        answersOf(saying(`0: (85) call bpf_x#1\n${word}\nprocessed 1 insns\n`)).get(lookup),
        unsupported(word)
      )
    }
    assert.deepStrictEqual(answersOf(saying("R1 type=ctx expected=map_ptr\n", "EACCES")).get(lookup), supported)
    assert.deepStrictEqual(answersOf().get(lookup), supported)
    assert.deepInclude(answersOf(() => "EPERM").get(lookup), { _tag: "Refused", errno: "EPERM" })
    assert.deepStrictEqual(answersOf(() => "E2BIG").get(lookup), supported, "the error of a log that does not fit, say")
  })

  it("are all asked for, once each, but those that the kernel warns of", () => {
    const ids: Array<number> = []
    const note: Answer = (entry) => {
      ids.push(idOf(entry))
      return undefined
    }
    assert.strictEqual(answersOf(note, true).size, helperCount - 1)
    assert.deepStrictEqual(ids, Array.from({ length: helperCount - 1 }, (_, i) => i + 1))
    const quiet = answersOf()
    for (const name of ["bpf_trace_printk", "bpf_trace_vprintk", "bpf_probe_write_user"]) {
      assert.isFalse(quiet.has(helperId(name) ?? 0), name)
    }
    assert.strictEqual(quiet.size, helperCount - 4)
  })

  it("are asked for again when a signal stops the verifier, whatever it had said by then", () => {
    const begun = "0: R1=ctx() R10=fp0\n"
    let disturbed = true
    const twice: Answer = (entry) => {
      disturbed = !disturbed
      entry.log(disturbed ? "unknown func bpf_x#1\n" : begun)
      return disturbed ? "EINVAL" : "EAGAIN"
    }
    assert.deepStrictEqual(new Set([...answersOf(twice).values()].map(({ _tag }) => _tag)), new Set(["Unsupported"]))
    assert.deepInclude(answersOf(saying(begun, "EAGAIN")).get(lookup), { _tag: "Refused", errno: "EAGAIN" })
    // Named fault: who looks at the log first takes the first line of an interrupted load for a helper that was passed.
    const byLogFirst = (log: string): boolean =>
      !/invalid func |unknown func |cannot use helper /.test(log) && log !== ""
    assert.isTrue(byLogFirst(begun))
  })

  it("are not asked for where programs have a target, or are none", () => {
    for (const type of [26, 27, 28, 29]) {
      const kernel = probed()
      assert.strictEqual(ProbeHelpers.probe(kernel.host, type, supported, true)._tag, "Undetermined")
      assert.strictEqual(kernel.entries.length, 0)
    }
    const why = refused("EPERM", "why")
    assert.deepStrictEqual(asked((host) => ProbeHelpers.probe(host, xdp, why, true)), {
      _tag: "NoPrograms",
      because: why
    })
  })
})

describe("limits and settings", () => {
  it("are shown by programs that load", () => {
    for (const misc of miscs) {
      assert.deepStrictEqual(asked((host) => ProbeMisc.probe(host, misc)), supported)
      assert.deepStrictEqual(asked((host) => ProbeMisc.probe(host, misc), () => "EINVAL"), unsupported("EINVAL"))
      assert.deepInclude(asked((host) => ProbeMisc.probe(host, misc), () => "EPERM"), { _tag: "Refused" })
    }
    const sizes: Array<number> = []
    asked((host) => ProbeMisc.probe(host, "LargeInsnLimit"), (entry) => {
      sizes.push(entry.field("insn_cnt"))
      return undefined
    })
    assert.deepStrictEqual(sizes, [4097])
    assert.deepInclude(asked(ProbeMisc.probeSyscall, () => "ENOSYS"), { _tag: "Unsupported" })
    assert.deepStrictEqual(asked(ProbeMisc.probeSyscall, () => "EINVAL"), supported)
  })

  it("are read from files, which may be missing, secret or damaged", () => {
    const texts: Readonly<Record<string, string>> = {
      "/proc/sys/kernel/unprivileged_bpf_disabled": "2\n",
      "/proc/sys/net/core/bpf_jit_enable": "-1\n",
      "/proc/sys/net/core/bpf_jit_limit": "many\n"
    }
    const settings = Settings.read({
      read: (path) => {
        const text = texts[path]
        if (path.endsWith("harden")) return Result.fail(numbers.EACCES)
        return text === undefined ? Result.fail(numbers.ENOENT) : Result.succeed(new TextEncoder().encode(text))
      },
      list: () => Result.fail(numbers.ENOENT)
    })
    assert.deepStrictEqual(settings, [
      { name: "unprivileged_bpf_disabled", value: 2 },
      { name: "bpf_jit_enable", value: -1 },
      { name: "bpf_jit_harden", value: undefined, errno: "EACCES" },
      { name: "bpf_jit_kallsyms", value: undefined, errno: "ENOENT" },
      { name: "bpf_jit_limit", value: undefined, errno: "EBADMSG" }
    ])
  })
})

describe("a report", () => {
  const of = (answer?: Answer) => {
    const kernel = probed(answer)
    const { architecture, facts, files, sys } = kernel.host
    return { kernel, features: Features.make({ sys: () => Result.succeed(sys), facts, files, architecture }) }
  }

  it.effect("has everything, and tells what it is about", () =>
    Effect.gen(function*() {
      const said: Array<string> = []
      const { features, kernel } = of()
      const report = yield* features.report({ progress: (what) => Effect.sync(() => said.push(what)) })
      assert.strictEqual(report.programTypes.size, 32)
      assert.strictEqual(report.mapTypes.size, 35)
      assert.strictEqual(report.attachTypes.size, 62)
      assert.strictEqual(report.features.size, 26)
      assert.strictEqual(report.helpers.size, 32)
      assert.deepStrictEqual(said.slice(0, 2), ["types of programs", "types of maps"])
      assert.strictEqual(said.filter((what) => what.startsWith("helpers, ")).length, 32)
      assert.deepStrictEqual([[...kernel.open], kernel.strayCloses], [[], []])
      assert.strictEqual((yield* features.report({ helpers: false })).helpers.size, 0)
    }))

  it.live("can be given up between two probes, and nothing stays open", () =>
    Effect.gen(function*() {
      const { features, kernel } = of()
      const stopped = yield* features.report({
        progress: (what) => what.startsWith("helpers, 3 ") ? Effect.interrupt : Effect.void
      }).pipe(Effect.exit)
      assert.strictEqual(stopped._tag, "Failure")
      assert.isAbove(kernel.entries.length, 400)
      assert.isBelow(kernel.entries.length, 1200)
      assert.deepStrictEqual([...kernel.open], [])
    }))
})
