import { assert, describe, it } from "@effect/vitest"
import type { AttachPoint, LinkOptions } from "../../../../src/services/Kernel/calls/LinkCalls.ts"
import { type CallTag, footprint, type KernelCall } from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"

const bytes = new Uint8Array(4)
const map = Ref.map(1)
const prog = Ref.prog(2)
const programAttr = { name: "p", type: 1, expectedAttachType: 0, license: "", kernelVersion: 0, flags: 0, ifindex: 0 }

const linkCreate = (target: AttachPoint, options?: LinkOptions): KernelCall => ({
  _tag: "LinkCreate",
  as: Ref.link(4),
  of: prog,
  target,
  attachType: 0,
  flags: 0,
  ...(options === undefined ? {} : { options })
})

/** For each call what it defines, changes and reads. */
const netns = Ref.target(9)

const rows: ReadonlyArray<readonly [KernelCall, string, string, string]> = [
  [{ _tag: "BtfLoad", as: Ref.btf(0), bytes }, "btf#0", "", ""],
  [{ _tag: "MapCreate", as: map, attr: LedgerKernel.plainMap }, "map#1", "", ""],
  [
    {
      _tag: "MapCreate",
      as: map,
      attr: LedgerKernel.plainMap,
      inner: Ref.map(7),
      types: { btf: Ref.btf(0), key: 1, value: 2 }
    },
    "map#1",
    "",
    "map#7 btf#0"
  ],
  [
    {
      _tag: "MapUpdate",
      map,
      key: bytes,
      value: { bytes, refs: [{ at: 0, size: 4, to: prog }, { at: 0, size: 4, to: Ref.map(3) }] },
      flags: 0n
    },
    "",
    "map#1",
    "prog#2 map#3"
  ],
  [{ _tag: "MapLookup", map, key: bytes, valueSize: 4, flags: 0n }, "", "", "map#1"],
  [{ _tag: "MapDelete", map, key: bytes }, "", "map#1", ""],
  [{ _tag: "MapNextKey", map, keySize: 4 }, "", "", "map#1"],
  [{ _tag: "MapFreeze", map }, "", "map#1", ""],
  [{ _tag: "MapLookupAndDelete", map, key: bytes, valueSize: 4, flags: 0n }, "", "map#1", ""],
  [
    { _tag: "MapLookupBatch", map, remove: false, count: 1, keySize: 4, valueSize: 4, flags: 0n },
    "",
    "",
    "map#1"
  ],
  [
    { _tag: "MapLookupBatch", map, remove: true, count: 1, keySize: 4, valueSize: 4, flags: 0n },
    "",
    "map#1",
    ""
  ],
  [{ _tag: "MapUpdateBatch", map, count: 1, keys: bytes, values: bytes, flags: 0n }, "", "map#1", ""],
  [{ _tag: "MapDeleteBatch", map, count: 1, keys: bytes, flags: 0n }, "", "map#1", ""],
  [{ _tag: "MapMmap", map, as: Ref.view(0), offset: 0, length: 4096, writable: false }, "view#0", "map#1", ""],
  [{ _tag: "ViewWrite", view: Ref.view(0), offset: 0, bytes }, "", "view#0", ""],
  [{ _tag: "MapGetInfo", map }, "", "", "map#1"],
  [
    {
      _tag: "ProgLoad",
      as: prog,
      attr: programAttr,
      code: {
        insns: bytes,
        refs: [
          { _tag: "MapRef", at: 0, map },
          { _tag: "MapValueRef", at: 2, map, offset: 4 },
          { _tag: "MapRef", at: 4, map: Ref.map(9) },
          { _tag: "SymbolRef", at: 6, symbol: { name: "x", kind: "Func", weak: false } }
        ]
      },
      btf: Ref.btf(0),
      log: { level: 0 }
    },
    "prog#2",
    "",
    "map#1 map#9 btf#0"
  ],
  [{ _tag: "ProgBindMap", prog, map }, "", "prog#2", "map#1"],
  [
    { _tag: "ProgTestRun", prog, dataOutSize: 0, contextOutSize: 0, repeat: 1, flags: 0, cpu: 0, batchSize: 0 },
    "",
    "prog#2",
    ""
  ],
  [
    { _tag: "LoaderRun", prog, context: bytes, memory: [], publishes: [{ at: 0, as: map }] },
    "",
    "prog#2",
    ""
  ],
  [{ _tag: "ProgGetInfo", prog }, "", "", "prog#2"],
  [{ _tag: "ProgStreamRead", prog, stream: "Stderr", length: 8 }, "", "prog#2", ""],
  [{ _tag: "StatsEnable", as: Ref.stats(9), what: "RunTime" }, "stats#9", "", ""],
  [{ _tag: "BtfGetInfo", btf: Ref.btf(3) }, "", "", "btf#3"],
  [{ _tag: "IdNext", kind: "Map", after: 0 }, "", "", ""],
  [{ _tag: "GetById", as: Ref.link(4), id: 7 }, "link#4", "", ""],
  [{ _tag: "ObjPin", object: map, path: "/p" }, "", "map#1", ""],
  [{ _tag: "ObjUnpin", path: "/p" }, "", "", ""],
  [{ _tag: "ObjGet", as: prog, path: "/p" }, "prog#2", "", ""],
  [{ _tag: "Adopt", as: map, fd: 7 }, "map#1", "", ""],
  [{ _tag: "Close", ref: Ref.view(5) }, "", "view#5", ""],
  [{ _tag: "Wait", refs: [map, Ref.event(7)], for: "Read", timeout: 5 }, "", "", "map#1 event#7"],
  [linkCreate({ _tag: "None" }), "link#4", "", "prog#2"],
  [linkCreate({ _tag: "Device", ifindex: 1 }), "link#4", "", "prog#2"],
  [linkCreate({ _tag: "Target", target: Ref.target(6) }), "link#4", "", "prog#2 target#6"],
  [linkCreate({ _tag: "Map", map }), "link#4", "", "prog#2 map#1"],
  [linkCreate({ _tag: "Event", event: Ref.event(7) }), "link#4", "", "prog#2 event#7"],
  [
    linkCreate({ _tag: "Function", of: { program: Ref.prog(8), function: "f" } }, { _tag: "Tracing", cookie: 1n }),
    "link#4",
    "",
    "prog#2 prog#8"
  ],
  [linkCreate({ _tag: "None" }, { _tag: "Placed", neighbour: Ref.link(9) }), "link#4", "", "prog#2 link#9"],
  [linkCreate({ _tag: "None" }, { _tag: "Placed", neighbour: { _tag: "LinkId", id: 9 } }), "link#4", "", "prog#2"],
  [linkCreate({ _tag: "None" }, { _tag: "Placed" }), "link#4", "", "prog#2"],
  [linkCreate({ _tag: "None" }, { _tag: "Iter", over: { _tag: "Map", map } }), "link#4", "", "prog#2 map#1"],
  [
    linkCreate({ _tag: "None" }, { _tag: "Iter", over: { _tag: "Cgroup", order: 1, target: Ref.target(6) } }),
    "link#4",
    "",
    "prog#2 target#6"
  ],
  [linkCreate({ _tag: "None" }, { _tag: "Iter", over: { _tag: "Task", tid: 0, pid: 0 } }), "link#4", "", "prog#2"],
  [{ _tag: "LinkUpdate", link: Ref.link(4), to: prog, flags: 0 }, "", "link#4", "prog#2"],
  [{ _tag: "LinkUpdate", link: Ref.link(4), to: prog, old: Ref.prog(3), flags: 0 }, "", "link#4", "prog#2 prog#3"],
  [{ _tag: "LinkDetach", link: Ref.link(4) }, "", "link#4", ""],
  [{ _tag: "LinkGetInfo", link: Ref.link(4) }, "", "", "link#4"],
  [{ _tag: "RawTracepointOpen", as: Ref.link(4), name: "sys_enter", prog, cookie: 0n }, "link#4", "", "prog#2"],
  [{ _tag: "IterCreate", as: Ref.iter(5), link: Ref.link(4) }, "iter#5", "", "link#4"],
  [{ _tag: "IterRead", iter: Ref.iter(5), length: 1 }, "", "iter#5", ""],
  [{ _tag: "ProbePmuGet", kind: "kprobe" }, "", "", ""],
  [{ _tag: "TracepointId", category: "sched", name: "sched_switch" }, "", "", ""],
  [{ _tag: "SymbolListRead", list: "kallsyms" }, "", "", ""],
  [
    {
      _tag: "TraceEventAdd",
      as: Ref.traceEvent(1),
      probe: { _tag: "Kprobe", symbol: "f", offset: 0n },
      isReturn: false,
      stem: "f"
    },
    "traceevent#1",
    "",
    ""
  ],
  [
    {
      _tag: "PerfEventOpen",
      as: Ref.event(7),
      source: { _tag: "TraceEvent", event: Ref.traceEvent(1) },
      pid: -1,
      cpu: 0
    },
    "event#7",
    "",
    "traceevent#1"
  ],
  [
    { _tag: "PerfEventOpen", as: Ref.event(7), source: { _tag: "Tracepoint", id: 1 }, pid: -1, cpu: 0 },
    "event#7",
    "",
    ""
  ],
  [{ _tag: "PerfEventSetProgram", event: Ref.event(7), prog }, "", "event#7", "prog#2"],
  [{ _tag: "PerfEventSwitch", event: Ref.event(7), on: true }, "", "event#7", ""],
  [{ _tag: "EventMmap", event: Ref.event(7), as: Ref.view(3), length: 8192 }, "view#3", "event#7", ""],
  [{ _tag: "PerfEventRead", event: Ref.event(7) }, "", "", "event#7"],
  [{ _tag: "CpusGet" }, "", "", ""],
  [{ _tag: "TargetOpen", as: Ref.target(6), path: "/c" }, "target#6", "", ""],
  [
    {
      _tag: "ProgAttach",
      as: Ref.attachment(1),
      prog,
      target: { _tag: "Target", target: Ref.target(6) },
      attachType: 0,
      flags: 0,
      neighbour: Ref.prog(3),
      replace: Ref.prog(5)
    },
    "attachment#1",
    "",
    "prog#2 target#6 prog#3 prog#5"
  ],
  [
    { _tag: "ProgDetach", prog, target: { _tag: "Map", map }, attachType: 0, flags: 0 },
    "",
    "",
    "prog#2 map#1"
  ],
  [{ _tag: "ProgDetach", target: { _tag: "None" }, attachType: 0, flags: 0 }, "", "", ""],
  [{ _tag: "ProgQuery", target: { _tag: "Device", ifindex: 1 }, attachType: 46, flags: 0 }, "", "", ""],
  [{ _tag: "ProgQuery", target: { _tag: "Device", ifindex: 1, netns }, attachType: 46, flags: 0 }, "", "", "target#9"],
  [
    {
      _tag: "LinkCreate",
      as: Ref.link(0),
      of: prog,
      target: { _tag: "None" },
      attachType: 45,
      flags: 0,
      options: { _tag: "Netfilter", protocolFamily: 2, hook: 1, priority: 0, flags: 0, netns }
    },
    "link#0",
    "",
    "prog#2 target#9"
  ],
  [{ _tag: "DeviceGet", device: "lo", netns }, "", "", "target#9"],
  [{ _tag: "DeviceList" }, "", "", ""],
  [
    {
      _tag: "XdpAttach",
      as: Ref.attachment(3),
      device: { ifindex: 1, netns },
      prog,
      flags: 2,
      replace: Ref.prog(7)
    },
    "attachment#3",
    "",
    "prog#2 prog#7 target#9"
  ],
  [{ _tag: "XdpDetach", device: { ifindex: 1 }, flags: 0, prog }, "", "", "prog#2"],
  [{ _tag: "ClsactCreate", as: Ref.attachment(3), device: { ifindex: 1, netns } }, "attachment#3", "", "target#9"],
  [{ _tag: "ClsactDelete", device: { ifindex: 1 } }, "", "", ""],
  [
    {
      _tag: "FilterAttach",
      as: Ref.attachment(3),
      device: { ifindex: 1 },
      parent: 0xffff_fff2,
      prog,
      handle: 0,
      priority: 0,
      replace: false
    },
    "attachment#3",
    "",
    "prog#2"
  ],
  [
    { _tag: "FilterDetach", device: { ifindex: 1, netns }, parent: 0xffff_fff2, handle: 1, priority: 1 },
    "",
    "",
    "target#9"
  ],
  [{ _tag: "FilterList", device: { ifindex: 1 }, parent: 0xffff_fff2 }, "", "", ""],
  [{ _tag: "QdiscList", device: { ifindex: 1, netns } }, "", "", "target#9"],
  [{ _tag: "TaskFdQuery", pid: 1, fd: 2 }, "", "", ""]
]

describe("the footprint of", () => {
  for (const [call, defines, changes, reads] of rows) {
    it(`${call._tag}: ${[defines && `defines ${defines}`, changes && `changes ${changes}`, reads && `reads ${reads}`].filter(Boolean).join(", ")}`, () => {
      const found = footprint(call)
      assert.strictEqual(found.defines === undefined ? "" : Ref.key(found.defines), defines)
      assert.strictEqual(found.changes.map(Ref.key).join(" "), changes)
      assert.strictEqual(found.reads.map(Ref.key).join(" "), reads)
    })
  }

  it("every call is known", () => {
    const tags: Readonly<Record<CallTag, true>> = {
      BtfLoad: true,
      MapCreate: true,
      MapUpdate: true,
      MapLookup: true,
      MapDelete: true,
      MapNextKey: true,
      MapLookupAndDelete: true,
      MapLookupBatch: true,
      MapUpdateBatch: true,
      MapDeleteBatch: true,
      MapFreeze: true,
      MapMmap: true,
      ViewWrite: true,
      MapGetInfo: true,
      ProgLoad: true,
      ProgBindMap: true,
      ProgTestRun: true,
      LoaderRun: true,
      ProgGetInfo: true,
      ProgStreamRead: true,
      StatsEnable: true,
      BtfGetInfo: true,
      IdNext: true,
      GetById: true,
      ObjPin: true,
      ObjUnpin: true,
      ObjGet: true,
      Adopt: true,
      Close: true,
      Wait: true,
      LinkCreate: true,
      LinkUpdate: true,
      LinkDetach: true,
      LinkGetInfo: true,
      RawTracepointOpen: true,
      IterCreate: true,
      IterRead: true,
      ProbePmuGet: true,
      TracepointId: true,
      SymbolListRead: true,
      TraceEventAdd: true,
      PerfEventOpen: true,
      PerfEventSetProgram: true,
      PerfEventSwitch: true,
      EventMmap: true,
      PerfEventRead: true,
      CpusGet: true,
      TargetOpen: true,
      ProgAttach: true,
      ProgDetach: true,
      ProgQuery: true,
      DeviceGet: true,
      DeviceList: true,
      XdpAttach: true,
      XdpDetach: true,
      ClsactCreate: true,
      ClsactDelete: true,
      FilterAttach: true,
      FilterDetach: true,
      FilterList: true,
      QdiscList: true,
      TaskFdQuery: true
    }
    assert.sameMembers([...new Set(rows.map(([call]) => call._tag))], Object.keys(tags))
  })
})

describe("the key of a ref", () => {
  it("tells kinds and numbers apart, and not sessions", () => {
    const refs = [Ref.map(1), Ref.prog(1), Ref.btf(1), Ref.link(1), Ref.view(1), Ref.map(2), Ref.map(12)]
    assert.strictEqual(new Set(refs.map(Ref.key)).size, refs.length)
    assert.strictEqual(Ref.key({ ...Ref.map(1), session: Symbol("other") }), Ref.key(Ref.map(1)))
  })
})

describe("what is known of a kernel", () => {
  const info = KernelInfo.make({ release: "6.18", architecture: "x64", byteOrder: "little" })
  const requirements: ReadonlyArray<readonly [KernelInfo.Requirement, KernelInfo.Answers, string]> = [
    [{ _tag: "PageSize" }, { pageSize: KernelInfo.known(4096) }, "the page size"],
    [{ _tag: "PossibleCpus" }, { possibleCpus: KernelInfo.known(4) }, "the number of possible CPUs"],
    [{ _tag: "KernelVersion" }, { kernelVersion: KernelInfo.deferred }, "the kernel version"],
    [
      { _tag: "Kconfig", key: "CONFIG_HZ" },
      { kconfig: new Map([["CONFIG_HZ", KernelInfo.known(undefined)]]) },
      "kernel option CONFIG_HZ"
    ],
    [
      { _tag: "Feature", feature: "BpfCookie" },
      { features: new Map([["BpfCookie", KernelInfo.known(KernelInfo.unsupported())]]) },
      "feature BpfCookie"
    ],
    [
      { _tag: "Symbol", name: "schedule" },
      { symbols: new Map([["schedule", KernelInfo.known(1n)]]) },
      "kernel symbol schedule"
    ],
    [{ _tag: "VmlinuxTypes" }, { vmlinuxTypes: KernelInfo.deferred }, "the BTF of vmlinux"]
  ]
  for (const [requirement, answers, text] of requirements) {
    it(`${text} is unasked, then answered`, () => {
      assert.deepStrictEqual(KernelInfo.factOf(info, requirement), KernelInfo.unasked)
      const answered = KernelInfo.add(info, answers)
      assert.notStrictEqual(KernelInfo.factOf(answered, requirement)._tag, "Unasked")
      assert.strictEqual(KernelInfo.describe(requirement), text)
      for (const [other] of requirements) {
        if (other !== requirement) assert.deepStrictEqual(KernelInfo.factOf(answered, other), KernelInfo.unasked)
      }
      assert.deepStrictEqual(KernelInfo.factOf(info, requirement), KernelInfo.unasked)
    })
  }

  it("keeps earlier answers", () => {
    const one = KernelInfo.add(info, {
      kconfig: new Map([["A", KernelInfo.known("y")]]),
      pageSize: KernelInfo.known(1)
    })
    const two = KernelInfo.add(one, { kconfig: new Map([["B", KernelInfo.known("n")]]) })
    assert.deepStrictEqual([...two.kconfig.keys()], ["A", "B"])
    assert.deepStrictEqual(two.pageSize, KernelInfo.known(1))
  })
})
