import { assert, describe, it } from "@effect/vitest"
import { AttachType, ProgType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as SectionDefinitions from "../../../../src/stages/open/SectionDefinitions.ts"
import { opened } from "../Pipeline.ts"

const own = (pattern: string | undefined, programType: number): SectionDefinitions.SectionDefinition => ({
  pattern,
  programType,
  expectedAttachType: 0,
  flags: SectionDefinitions.noFlags,
  autoAttach: "none"
})

const typeOf = (section: string): number | undefined => SectionDefinitions.find(section)?.programType

describe("the built-in table", () => {
  it("has 116 rows, each of which takes its own name", () => {
    assert.strictEqual(SectionDefinitions.builtIn.length, 116)
    for (const definition of SectionDefinitions.builtIn) {
      const pattern = definition.pattern ?? assert.fail()
      const bare = pattern.endsWith("+") ? pattern.slice(0, -1) : pattern
      assert.strictEqual(SectionDefinitions.find(bare), definition, pattern)
      if (pattern.endsWith("+")) assert.strictEqual(SectionDefinitions.find(`${bare}/what/ever`), definition, pattern)
      else assert.notStrictEqual(SectionDefinitions.find(`${bare}/what`), definition, pattern)
    }
  })

  it("has no row that another hides", () => {
    const patterns = SectionDefinitions.builtIn.map((definition) => definition.pattern)
    assert.strictEqual(new Set(patterns).size, patterns.length)
  })

  it("names types of the kernel", () => {
    const types = new Set<number>(Object.values(ProgType))
    const attachTypes = new Set<number>(Object.values(AttachType))
    for (const { expectedAttachType, pattern, programType } of SectionDefinitions.builtIn) {
      assert.isTrue(types.has(programType), pattern)
      assert.isTrue(attachTypes.has(expectedAttachType), pattern)
    }
  })

  const rows: ReadonlyArray<readonly [string, keyof typeof ProgType, keyof typeof AttachType | 0, number]> = [
    ["socket", "BPF_PROG_TYPE_SOCKET_FILTER", 0, 0],
    ["sk_reuseport/migrate", "BPF_PROG_TYPE_SK_REUSEPORT", "BPF_SK_REUSEPORT_SELECT_OR_MIGRATE", 0],
    ["sk_reuseport", "BPF_PROG_TYPE_SK_REUSEPORT", "BPF_SK_REUSEPORT_SELECT", 0],
    ["kprobe/do_unlinkat", "BPF_PROG_TYPE_KPROBE", 0, 0],
    ["uprobe.s//bin/sh:main", "BPF_PROG_TYPE_KPROBE", 0, 0x10],
    ["kprobe.session/x", "BPF_PROG_TYPE_KPROBE", "BPF_TRACE_KPROBE_SESSION", 0],
    ["uprobe.multi.s/x:y", "BPF_PROG_TYPE_KPROBE", "BPF_TRACE_UPROBE_MULTI", 0x10],
    ["usdt.s/x:y:z", "BPF_PROG_TYPE_KPROBE", 0, 0x10],
    ["tc/ingress", "BPF_PROG_TYPE_SCHED_CLS", "BPF_TCX_INGRESS", 0],
    ["tcx/egress", "BPF_PROG_TYPE_SCHED_CLS", "BPF_TCX_EGRESS", 0],
    ["action", "BPF_PROG_TYPE_SCHED_ACT", 0, 0],
    ["netkit/peer", "BPF_PROG_TYPE_SCHED_CLS", "BPF_NETKIT_PEER", 0],
    ["tp.s/a/b", "BPF_PROG_TYPE_TRACEPOINT", 0, 0x10],
    ["raw_tp.w/x", "BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE", 0, 0],
    ["tp_btf.s/x", "BPF_PROG_TYPE_TRACING", "BPF_TRACE_RAW_TP", 0x10],
    ["fmod_ret/x", "BPF_PROG_TYPE_TRACING", "BPF_MODIFY_RETURN", 0],
    ["fsession.multi.s/x", "BPF_PROG_TYPE_TRACING", "BPF_TRACE_FSESSION_MULTI", 0x10],
    ["freplace/x", "BPF_PROG_TYPE_EXT", 0, 0],
    ["lsm.s/x", "BPF_PROG_TYPE_LSM", "BPF_LSM_MAC", 0x10],
    ["lsm_cgroup/x", "BPF_PROG_TYPE_LSM", "BPF_LSM_CGROUP", 0],
    ["iter.s/task", "BPF_PROG_TYPE_TRACING", "BPF_TRACE_ITER", 0x10],
    ["syscall", "BPF_PROG_TYPE_SYSCALL", 0, 0x10],
    ["xdp.frags/devmap", "BPF_PROG_TYPE_XDP", "BPF_XDP_DEVMAP", 0x20],
    ["xdp/cpumap", "BPF_PROG_TYPE_XDP", "BPF_XDP_CPUMAP", 0],
    ["xdp.frags", "BPF_PROG_TYPE_XDP", "BPF_XDP", 0x20],
    ["xdp", "BPF_PROG_TYPE_XDP", "BPF_XDP", 0],
    ["cgroup_skb/egress", "BPF_PROG_TYPE_CGROUP_SKB", "BPF_CGROUP_INET_EGRESS", 0],
    ["cgroup/sendmsg_unix", "BPF_PROG_TYPE_CGROUP_SOCK_ADDR", "BPF_CGROUP_UNIX_SENDMSG", 0],
    ["cgroup/getsockopt", "BPF_PROG_TYPE_CGROUP_SOCKOPT", "BPF_CGROUP_GETSOCKOPT", 0],
    ["cgroup/dev", "BPF_PROG_TYPE_CGROUP_DEVICE", "BPF_CGROUP_DEVICE", 0],
    ["struct_ops.s/member", "BPF_PROG_TYPE_STRUCT_OPS", 0, 0x10],
    ["sk_lookup", "BPF_PROG_TYPE_SK_LOOKUP", "BPF_SK_LOOKUP", 0],
    ["netfilter", "BPF_PROG_TYPE_NETFILTER", "BPF_NETFILTER", 0]
  ]
  for (const [section, type, attachType, flags] of rows) {
    it(`knows ${section}`, () => {
      const definition = SectionDefinitions.find(section) ?? assert.fail()
      assert.strictEqual(definition.programType, ProgType[type])
      assert.strictEqual(definition.expectedAttachType, attachType === 0 ? 0 : AttachType[attachType])
      assert.strictEqual(SectionDefinitions.programFlags(definition), flags)
    })
  }

  const misses = [
    "xdp/foo",
    "xdp/",
    "tc_prog",
    "tc/",
    "tc/ingress/x",
    "socket1",
    "Socket",
    "kprobe.multiple/x",
    "kprobes/x",
    "fentry.x/y",
    "struct_ops.link",
    "cgroup/",
    "cgroup",
    "lwt",
    "perf_event/x",
    "",
    "maps"
  ]
  for (const section of misses) {
    it(`does not know "${section}"`, () => assert.isUndefined(SectionDefinitions.find(section)))
  }

  it("takes a slash or nothing behind a pattern with a plus", () => {
    assert.strictEqual(SectionDefinitions.find("kprobe.multi/x")?.expectedAttachType, AttachType.BPF_TRACE_KPROBE_MULTI)
    assert.strictEqual(SectionDefinitions.find("kprobe/.multi")?.expectedAttachType, 0)
    assert.strictEqual(typeOf("kprobe/"), ProgType.BPF_PROG_TYPE_KPROBE)
  })

  it("fits the fixture that has one program of each", () => {
    const { programs } = opened("section_kinds.bpf.o")
    const found = new Set(programs.flatMap((each) => each.definition === undefined ? [] : [each.definition.pattern]))
    assert.strictEqual(found.size, 116)
    assert.deepStrictEqual(
      programs.filter((each) => each.definition === undefined).map((each) => each.section).sort(),
      [
        "kprobe.multiple/tcp_connect",
        "my_own_section",
        "tc_prog",
        "xdp/something"
      ]
    )
    assert.deepStrictEqual(
      programs.filter((each) => !each.autoload).map((each) => each.name).sort(),
      ["optional_kprobe", "optional_xdp"].map((each) => `kind_${each}`)
    )
  })
})

describe("definitions of the user's own", () => {
  it("are tried first, in their order", () => {
    const definitions = [own("my_section", 40), own("xdp", 41), own("my_section", 42)]
    assert.strictEqual(SectionDefinitions.find("my_section", definitions)?.programType, 40)
    assert.strictEqual(SectionDefinitions.find("xdp", definitions)?.programType, 41)
    assert.strictEqual(SectionDefinitions.find("tc", definitions)?.programType, ProgType.BPF_PROG_TYPE_SCHED_CLS)
  })

  it("may end in a slash, which must be there", () => {
    assert.strictEqual(SectionDefinitions.find("mine/x", [own("mine/", 40)])?.programType, 40)
    assert.strictEqual(SectionDefinitions.find("mine/", [own("mine/", 40)])?.programType, 40)
    assert.isUndefined(SectionDefinitions.find("mine", [own("mine/", 40)]))
  })

  it("may be a fallback, which takes what no other does, wherever it stands in the list", () => {
    const definitions = [own(undefined, 50), own("mine+", 40)]
    assert.strictEqual(SectionDefinitions.find("anything", definitions)?.programType, 50)
    assert.strictEqual(SectionDefinitions.find("mine/x", definitions)?.programType, 40)
    assert.strictEqual(SectionDefinitions.find("xdp", definitions)?.programType, ProgType.BPF_PROG_TYPE_XDP)
  })
})

describe("what stands behind the slash", () => {
  it("is all of it", () => {
    assert.strictEqual(SectionDefinitions.targetOf("fentry/a/b"), "a/b")
    assert.strictEqual(SectionDefinitions.targetOf("fentry/"), "")
    assert.isUndefined(SectionDefinitions.targetOf("fentry"))
  })
})
