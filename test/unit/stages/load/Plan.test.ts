import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import { MapType, ProgType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel } from "../../../../src/services/Kernel/Kernel.ts"
import type { MapCreate, ProgLoad } from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import * as LoadPlan from "../../../../src/stages/load/LoadPlan.ts"
import * as MapSteps from "../../../../src/stages/load/MapSteps.ts"
import * as Plan from "../../../../src/stages/load/Plan.ts"
import { PlanError } from "../../../../src/stages/load/PlanError.ts"
import { type BpfObject, findMap } from "../../../../src/stages/open/BpfObject.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../../../src/stages/Stage.ts"
import { UnansweredError } from "../../../../src/stages/Asked.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"
import { allFeatures } from "../../../support/AllFeatures.ts"
import { fixture } from "../../../support/Require.ts"
import * as CallGraph from "../CallGraph.ts"
import { nothing } from "../ObjectBuilder.ts"
import { opened, planned, plannedFixtures, relocated } from "../Pipeline.ts"
import { outline } from "./outline.ts"

const edited = <E>(result: Result.Result<BpfObject, E>): BpfObject => Result.getOrThrow(result)

const lines = (object: BpfObject, options: LedgerKernel.LedgerOptions = {}): ReadonlyArray<string> =>
  outline(object, planned(object, options).plan)

const creates = (object: BpfObject, options: LedgerKernel.LedgerOptions = {}): ReadonlyArray<MapCreate> =>
  LoadPlan.mainCalls(planned(object, options).plan).filter((call) => call._tag === "MapCreate")

const loads = (object: BpfObject, options: LedgerKernel.LedgerOptions = {}): ReadonlyArray<ProgLoad> =>
  LoadPlan.mainCalls(planned(object, options).plan).filter((call) => call._tag === "ProgLoad")

describe("the order of calls", () => {
  const expected: Readonly<Record<string, ReadonlyArray<string>>> = {
    "xdp_firewall.bpf.o": [
      "btf ?",
      "create stats typed",
      "| create stats",
      "create blocklist typed",
      "| create blocklist",
      "create events typed",
      "create xdp_fire.rodata typed",
      "| create xdp_fire.rodata",
      "fill xdp_fire.rodata",
      "freeze xdp_fire.rodata",
      "create xdp_fire.bss typed",
      "| create xdp_fire.bss",
      "fill xdp_fire.bss",
      "load xdp_firewall",
      "bind xdp_fire.rodata to xdp_firewall ?"
    ],
    // Configuration comes last of the data, and is constant.
    "externs.bpf.o": [
      "btf ?",
      "create externs.data typed",
      "| create externs.data",
      "fill externs.data",
      "create externs.bss typed",
      "| create externs.bss",
      "fill externs.bss",
      "create externs.kconfig typed",
      "| create externs.kconfig",
      "fill externs.kconfig",
      "freeze externs.kconfig",
      "load copy_configuration"
    ],
    // A template gives its shape and goes; slots are filled while maps are made.
    "map_in_map.bpf.o": [
      "btf ?",
      "create first_inner typed",
      "| create first_inner",
      "create second_inner typed",
      "| create second_inner",
      "create template of array_of_maps typed",
      "| create template of array_of_maps",
      "create array_of_maps of template of array_of_maps",
      "close template of array_of_maps",
      "array_of_maps[0] = first_inner",
      "array_of_maps[2] = second_inner",
      "create template of hash_of_maps typed",
      "| create template of hash_of_maps",
      "create hash_of_maps of template of hash_of_maps",
      "close template of hash_of_maps",
      "hash_of_maps[1] = first_inner",
      "hash_of_maps[5] = first_inner",
      "create template of only_template typed",
      "| create template of only_template",
      "create only_template of template of only_template",
      "close template of only_template",
      "load count_in_inner"
    ],
    // A slot for a map that comes later waits.
    "map_in_map_late.bpf.o": [
      "btf ?",
      "create template of early_outer typed",
      "| create template of early_outer",
      "create early_outer of template of early_outer",
      "close template of early_outer",
      "create late_inner typed",
      "| create late_inner",
      "early_outer[0] = late_inner",
      "load find_inner"
    ],
    // Programs must be there before they are put into slots.
    "prog_array.bpf.o": [
      "btf ?",
      "create steps typed",
      "create prog_arr.bss typed",
      "| create prog_arr.bss",
      "fill prog_arr.bss",
      "load add_ten",
      "load add_twenty",
      "load start",
      "steps[1] = add_ten",
      "steps[4] = add_twenty"
    ],
    "pinned_map.bpf.o": [
      "btf ?",
      "create own_counters typed",
      "| create own_counters",
      "ensure shared_counters at /sys/fs/bpf/shared_counters",
      "  create shared_counters typed",
      "  | create shared_counters",
      "  pin shared_counters at /sys/fs/bpf/shared_counters",
      "load count"
    ],
    "static_entry.bpf.o": ["btf ?", "load static_program"]
  }
  for (const [name, steps] of Object.entries(expected)) {
    it(`of ${name}`, () => assert.deepStrictEqual(lines(opened(name)), steps))
    const big = name.replace(".bpf.o", ".eb.o")
    if (["xdp_firewall", "externs", "map_in_map.", "prog_array"].some((each) => name.startsWith(each))) {
      it(`of ${big} is the same on a kernel of its byte order`, () => assert.deepStrictEqual(lines(opened(big)), steps))
    }
  }

  it("seals constants and binds them to every program, and no other data", () => {
    const steps = lines(opened("global_data.bpf.o"))
    const constants = ["global_d.rodata", ".rodata.custom", ".rodata.str1.1"]
    assert.sameMembers(steps.filter((each) => each.startsWith("freeze")), constants.map((each) => `freeze ${each}`))
    assert.sameMembers(
      steps.filter((each) => each.startsWith("bind")),
      constants.map((each) => `bind ${each} to read_all ?`)
    )
    for (const constant of constants) {
      assert.isBelow(steps.indexOf(`fill ${constant}`), steps.indexOf(`freeze ${constant}`))
    }
    assert.strictEqual(steps.filter((each) => each.startsWith("fill")).length, 7)
  })

  it("is for every fixture: types, maps, programs, slots of program arrays", () => {
    const rank = {
      BtfLoad: 0,
      MapCreate: 1,
      MapUpdate: 1,
      MapFreeze: 1,
      MapMmap: 1,
      ViewWrite: 1,
      Close: 1,
      ObjPin: 1,
      ProgLoad: 2,
      ProgBindMap: 2
    }
    for (const { name, planned: { plan } } of plannedFixtures()) {
      const ranks = LoadPlan.mainCalls(plan).map((call) =>
        call._tag === "MapUpdate" && call.value.refs[0]?.to._tag === "Prog" ? 3 : rank[call._tag as keyof typeof rank]
      )
      assert.deepStrictEqual(ranks, [...ranks].sort((a, b) => a - b), name)
    }
  })

  it("leaves out what is turned off", () => {
    const object = opened("xdp_firewall.bpf.o")
    const without = edited(
      Edit.setMap(edited(Edit.setMap(object, "events", { autocreate: false })), ".rodata", { autocreate: false })
    )
    const steps = lines(without)
    assert.isFalse(steps.some((each) => /events|rodata/.test(each)))
    assert.notInclude(lines(edited(Edit.setAutoload(object, "xdp_firewall", false))).join(), "load")
    assert.include(
      lines(edited(Edit.setAutoload(opened("tracepoint.bpf.o"), "count_getppid", true))),
      "load count_getppid"
    )
  })
})

describe("maps", () => {
  it("keep their attributes, and have the object's types where their kind takes any", () => {
    const object = opened("map_kinds.bpf.o")
    const calls = creates(object)
    assert.strictEqual(calls.length, 22)
    for (const { as, attr, types } of calls) {
      const map = object.maps[as.index] ?? assert.fail()
      const sized = MapType.BPF_MAP_TYPE_RINGBUF === attr.type || MapType.BPF_MAP_TYPE_USER_RINGBUF === attr.type ||
        MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY === attr.type
      assert.deepStrictEqual(attr, sized ? { ...map.attr, maxEntries: attr.maxEntries } : map.attr)
      if (types !== undefined) assert.deepStrictEqual([types.key, types.value], [map.keyType, map.valueType])
    }
    const untyped = calls.filter((call) => call.types === undefined).map((call) => call.attr.name)
    assert.sameMembers(untyped, [
      "queue",
      "stack",
      "stack_trace",
      "perf_events",
      "cgroup_array",
      "devmap",
      "cpumap",
      "sockhash"
    ])
  })

  it("get sizes from the kernel: ring buffers whole pages, perf event arrays one entry per CPU", () => {
    const sizes = (options: LedgerKernel.LedgerOptions) =>
      new Map(creates(opened("map_kinds.bpf.o"), options).map(({ attr }) => [attr.name, attr.maxEntries]))
    const small = sizes({ pageSize: 4096, possibleCpus: 6 })
    assert.strictEqual(small.get("ringbuf_rounded"), 8192)
    assert.strictEqual(small.get("ringbuf_exact"), 4096)
    assert.strictEqual(small.get("user_ringbuf"), 4096)
    assert.strictEqual(small.get("perf_events"), 6)
    const large = sizes({ pageSize: 65_536, possibleCpus: 1 })
    assert.strictEqual(large.get("ringbuf_rounded"), 65_536)
    assert.strictEqual(large.get("ringbuf_exact"), 65_536)
    assert.strictEqual(large.get("perf_events"), 1)
  })

  it("say in notes what was made of their sizes", () => {
    const { plan } = planned(opened("map_kinds.bpf.o"), { possibleCpus: 3 })
    const notes = plan.flatMap((step) => step._tag === "Call" ? step.notes : [])
    assert.includeMembers([...notes], [
      "size rounded up from 5000 to 8192",
      "size rounded up from 1 to 4096",
      "one entry per possible CPU"
    ])
  })

  const rounded: ReadonlyArray<readonly [number, number, number]> = [
    [0, 4096, 0],
    [1, 4096, 4096],
    [4095, 4096, 4096],
    [4096, 4096, 4096],
    [4097, 4096, 8192],
    [8192, 4096, 8192],
    [12_288, 4096, 16_384],
    [2 ** 31 - 1, 4096, 2 ** 31],
    [2 ** 31, 4096, 2 ** 31],
    [2 ** 31 + 1, 4096, 2 ** 31 + 1],
    [2 ** 32 - 1, 4096, 2 ** 32 - 1],
    [5000, 65_536, 65_536],
    [5000, 16_384, 16_384]
  ]
  for (const [bytes, page, size] of rounded) {
    it(`a ring buffer of ${bytes} bytes has ${size} with pages of ${page}`, () =>
      assert.strictEqual(MapSteps.ringSize(bytes, page), size))
  }

  it("of maps have a template of the inner definition, which is sized, too", () => {
    const object = opened("map_in_map.bpf.o")
    const position = object.maps.findIndex((map) => map.name === "array_of_maps")
    const inner = { ...(object.maps[position]?.inner ?? assert.fail()) }
    const perf = { ...inner, attr: { ...inner.attr, type: MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY, maxEntries: 0 } }
    const changed = { ...object, maps: object.maps.map((map, at) => at === position ? { ...map, inner: perf } : map) }
    const template = creates(changed, { possibleCpus: 9 }).find((call) =>
      call.as.index === object.maps.length + position
    )
    assert.strictEqual(template?.attr.maxEntries, 9)
    assert.isUndefined(template?.types)
  })

  it("that are pinned are filled by their creator alone, and when all that they hold is there", () => {
    const object = opened("map_in_map.bpf.o")
    const pinned = edited(Edit.setMap(object, "array_of_maps", { pinPath: "/p" }))
    assert.deepStrictEqual(lines(pinned).slice(5, 13), [
      "ensure array_of_maps at /p",
      "  create template of array_of_maps typed",
      "  | create template of array_of_maps",
      "  create array_of_maps of template of array_of_maps",
      "  close template of array_of_maps",
      "  array_of_maps[0] = first_inner",
      "  array_of_maps[2] = second_inner",
      "  pin array_of_maps at /p"
    ])
    const late = edited(Edit.setMap(opened("map_in_map_late.bpf.o"), "early_outer", { pinPath: "/p" }))
    assert.deepStrictEqual(lines(late), [
      "btf ?",
      "create late_inner typed",
      "| create late_inner",
      "ensure early_outer at /p",
      "  create template of early_outer typed",
      "  | create template of early_outer",
      "  create early_outer of template of early_outer",
      "  close template of early_outer",
      "  early_outer[0] = late_inner",
      "  pin early_outer at /p",
      "load find_inner"
    ])
  })

  it("in an object without BTF have no types, and nothing to do instead", () => {
    const { btf: _, btfExt: __, ...rest } = opened("xdp_firewall.bpf.o")
    const steps = lines({ ...rest, btf: undefined, btfExt: undefined })
    assert.isFalse(steps.some((each) => /btf|typed|\|/.test(each)))
  })

  it("start with the values that edits gave them", () => {
    const object = edited(Edit.setVariable(opened("xdp_firewall.bpf.o"), "sample_every", 7))
    const image = findMap(object, ".rodata")?.initialValue
    const position = object.maps.findIndex((map) => map.sectionName === ".rodata")
    const update = LoadPlan.mainCalls(planned(object).plan).find((call) =>
      call._tag === "MapUpdate" && call.map.index === position
    )
    if (update?._tag !== "MapUpdate") assert.fail()
    assert.deepStrictEqual(update.value, { bytes: image ?? assert.fail(), refs: [] })
    assert.deepStrictEqual([...update.key], [0, 0, 0, 0])
    assert.isTrue(update.overridable)
  })

  it("number slots in the object's byte order", () => {
    for (const [name, bytes] of [["prog_array.bpf.o", [4, 0, 0, 0]], ["prog_array.eb.o", [0, 0, 0, 4]]] as const) {
      const update = LoadPlan.mainCalls(planned(opened(name)).plan).at(-1)
      assert.deepStrictEqual(update?._tag === "MapUpdate" ? [...update.key] : [], [...bytes])
    }
  })
})

describe("programs", () => {
  it("have the attributes that the object gives them", () => {
    const [load = assert.fail()] = loads(opened("xdp_firewall.bpf.o"))
    assert.deepStrictEqual(load.attr, {
      name: "xdp_firewall",
      type: ProgType.BPF_PROG_TYPE_XDP,
      expectedAttachType: 37,
      license: "Dual MIT/GPL",
      kernelVersion: 0,
      flags: 0,
      ifindex: 0
    })
    assert.deepStrictEqual(load.btf, { _tag: "Btf", index: 0 })
    assert.isDefined(load.funcInfo)
    assert.isDefined(load.lineInfo)
    assert.isUndefined(load.attachTo)
    assert.strictEqual(load.log.level, 0)
  })

  it("have names of at most 15 characters", () => {
    const load = loads(opened("externs.bpf.o"))[0]
    assert.strictEqual(load?.attr.name, "copy_configurat")
  })

  it("of kprobes are for the kernel's version, or the object's", () => {
    const kprobe = edited(Edit.setSection(opened("xdp_firewall.bpf.o"), "xdp_firewall", "kprobe/do_unlinkat"))
    assert.strictEqual(loads(kprobe, { kernelVersion: 77 })[0]?.attr.kernelVersion, 77)
    assert.strictEqual(loads({ ...kprobe, kernelVersion: 78 }, { kernelVersion: 77 })[0]?.attr.kernelVersion, 78)
  })

  const targets: ReadonlyArray<readonly [string, object | undefined]> = [
    ["fentry/vfs_read", { name: "vfs_read", kind: "Func", weak: false }],
    ["fexit.s/mod:func", { name: "func", kind: "Func", weak: false, module: "mod" }],
    ["tp_btf/sched_switch", { name: "btf_trace_sched_switch", kind: "Typedef", weak: false }],
    ["lsm/file_open", { name: "bpf_lsm_file_open", kind: "Func", weak: false }],
    ["lsm_cgroup/file_open", { name: "bpf_lsm_file_open", kind: "Func", weak: false }],
    ["iter/task", { name: "bpf_iter_task", kind: "Func", weak: false }],
    ["fmod_ret/vmlinux:x", { name: "x", kind: "Func", weak: false, module: "vmlinux" }],
    ["fentry.multi/vfs_*", undefined],
    ["fentry.multi/vmlinux:vfs_*", undefined],
    ["fexit.multi/mod:tcp_*", {
      name: "tcp_*",
      kind: "Func",
      weak: false,
      module: "mod",
      resolved: { owner: "mod", id: 0 }
    }],
    ["kprobe/vfs_read", undefined],
    ["tp/syscalls/x", undefined]
  ]
  for (const [section, symbol] of targets) {
    it(`of ${section} are for ${symbol === undefined ? "nothing in BTF" : JSON.stringify(symbol)}`, () => {
      const object = edited(Edit.setSection(opened("xdp_firewall.bpf.o"), "xdp_firewall", section))
      assert.deepStrictEqual(loads(object)[0]?.attachTo, symbol)
    })
  }

  it("may be given a type and a target without a section that says so", () => {
    const base = opened("xdp_firewall.bpf.o")
    const tracing = { type: ProgType.BPF_PROG_TYPE_TRACING, expectedAttachType: 24 }
    const object = edited(Edit.setProgram(base, "xdp_firewall", { ...tracing, attachTarget: "vfs_read" }))
    assert.deepStrictEqual(loads(object)[0]?.attachTo, { name: "vfs_read", kind: "Func", weak: false })
    const many = edited(Edit.setProgram(base, "xdp_firewall", { ...tracing, expectedAttachType: 59 }))
    assert.isUndefined(loads(many)[0]?.attachTo)
  })
})

describe("what is asked of the kernel", () => {
  // Those that a load depends on have a test of their own, that of Sanitise.
  const kconfigFeatures: ReadonlySet<string> = new Set(["BpfCookie", "SyscallWrapper"])
  const asked = (name: string, edit: (object: BpfObject) => BpfObject = (object) => object): ReadonlyArray<string> => {
    const object = edit(opened(name))
    const ledger = LedgerKernel.make({ byteOrder: object.byteOrder })
    Effect.runSync(
      Stage.pipeline(Relocate.relocate, Plan.plan).run(object).pipe(Effect.provideService(Kernel, ledger.kernel))
    )
    return ledger.asked.filter((each) => each._tag !== "Feature" || kconfigFeatures.has(each.feature))
      .map(KernelInfo.describe)
  }

  it("is what the object needs, once, and nothing more", () => {
    assert.deepStrictEqual(asked("global_data.bpf.o"), [])
    assert.deepStrictEqual(asked("map_in_map.bpf.o"), [])
    assert.deepStrictEqual(asked("xdp_firewall.bpf.o"), ["the page size"])
    assert.sameMembers([...asked("map_kinds.bpf.o")], ["the page size", "the number of possible CPUs"])
    assert.strictEqual(asked("externs.bpf.o").length, 9)
    assert.sameMembers([...asked("ksyms.bpf.o")], [
      "kernel symbol schedule",
      "kernel symbol there_is_no_such_address",
      "the BTF of vmlinux"
    ])
    const off = (object: BpfObject) => edited(Edit.setMap(object, "events", { autocreate: false }))
    assert.deepStrictEqual(asked("xdp_firewall.bpf.o", off), [])
    const kprobe = (object: BpfObject) => off(edited(Edit.setSection(object, "xdp_firewall", "kprobe/x")))
    assert.deepStrictEqual(asked("xdp_firewall.bpf.o", kprobe), ["the kernel version"])
    const never = (object: BpfObject) => edited(Edit.setAutoload(kprobe(object), "xdp_firewall", false))
    assert.deepStrictEqual(asked("xdp_firewall.bpf.o", never), [])
  })

  it("must be answered", () => {
    const { kernel } = LedgerKernel.make({ silentOn: ["PageSize"] })
    const failed = Effect.runSync(Effect.result(
      Stage.pipeline(Open.open(), Relocate.relocate, Plan.plan).run(fixture("map_kinds.bpf.o")).pipe(
        Effect.provideService(Kernel, kernel)
      )
    ))
    assert.isTrue(Result.isFailure(failed))
    const error = Result.isFailure(failed) ? failed.failure : assert.fail()
    if (!(error instanceof UnansweredError)) assert.fail(error.message)
    assert.strictEqual(error.kernel, "ledger")
    assert.deepStrictEqual(error.requirements, ["the page size"])
    assert.match(error.message, /the ledger kernel was asked for the page size.*did not say/)
  })
})

describe("no plan", () => {
  const refused = (object: BpfObject, byteOrder: BpfObject["byteOrder"] = "little") => {
    const info = KernelInfo.add(KernelInfo.make({ release: "6.18", architecture: "x64", byteOrder }), {
      pageSize: KernelInfo.known(4096),
      possibleCpus: KernelInfo.known(1),
      kernelVersion: KernelInfo.known(1),
      features: allFeatures()
    })
    const answer = Plan.toPlan(relocated(object), info)
    if (Result.isSuccess(answer) || !(answer.failure instanceof PlanError)) throw new Error("there is a plan")
    const { detail, hint, message, name, reason } = answer.failure
    assert.include(message, detail)
    return { reason, name, detail, hint }
  }

  it("is made for a kernel of another byte order", () => {
    assert.strictEqual(refused(opened("xdp_firewall.eb.o")).reason, "ByteOrder")
    assert.match(
      refused(opened("xdp_firewall.bpf.o"), "big").detail,
      /the object is little-endian, the kernel big-endian/
    )
  })

  it("is made for programs of no known type", () => {
    const program = CallGraph.program({ name: "unknown", insns: nothing, section: "xdp/foo", type: 0 })
    assert.deepInclude(refused(CallGraph.object([program])), {
      reason: "ProgramType",
      name: "unknown",
      detail: "no program type is known for SEC(\"xdp/foo\")"
    })
  })

  it("is made for programs that are for something, but do not say for what", () => {
    for (const section of ["fentry", "lsm.s", "fentry/", "freplace"]) {
      const object = edited(Edit.setSection(opened("xdp_firewall.bpf.o"), "xdp_firewall", section))
      assert.deepInclude(refused(object), { reason: "AttachTarget", name: "xdp_firewall" }, section)
    }
    const typed = edited(
      Edit.setProgram(opened("xdp_firewall.bpf.o"), "xdp_firewall", { type: ProgType.BPF_PROG_TYPE_LSM })
    )
    assert.strictEqual(refused(typed).reason, "AttachTarget")
  })

  it("is made for slots of what is not loaded", () => {
    const slots = edited(Edit.setAutoload(opened("prog_array.bpf.o"), "add_twenty", false))
    assert.deepInclude(refused(slots), {
      reason: "Slot",
      name: "steps",
      detail: "slot 4 holds add_twenty, which is not loaded"
    })
    const maps = edited(Edit.setMap(opened("map_in_map.bpf.o"), "second_inner", { autocreate: false }))
    assert.deepInclude(refused(maps), { reason: "Slot", name: "array_of_maps" })
  })

  it("is made for programs of other programs' functions, unless these are named", () => {
    const freplace = edited(Edit.setSection(opened("xdp_firewall.bpf.o"), "xdp_firewall", "freplace/other"))
    assert.strictEqual(refused(freplace).reason, "AttachTarget")
  })

  it("is needed of struct_ops programs that nothing uses; those that only variables not created use are left out", () => {
    let object = opened("struct_ops_link.bpf.o")
    for (const map of object.maps) {
      if (map.origin === "StructOps") object = edited(Edit.setMap(object, map.name, { autocreate: false }))
    }
    assert.isFalse(lines(object).some((each) => each.startsWith("load")))
    const unused = edited(Edit.setSection(opened("xdp_firewall.bpf.o"), "xdp_firewall", "struct_ops/x"))
    assert.deepInclude(refused(unused), { reason: "AttachTarget", name: "xdp_firewall" })
  })
})

describe("the BTF", () => {
  it("is loaded in the kernel's byte order, and may be refused", () => {
    for (const name of ["xdp_firewall.bpf.o", "xdp_firewall.eb.o"]) {
      const object = opened(name)
      const [step] = planned(object).plan
      if (step?._tag !== "Call" || step.call._tag !== "BtfLoad") assert.fail()
      assert.isFalse(step.required)
      const parsed = Result.getOrThrow(Btf.parse(step.call.bytes))
      assert.strictEqual(parsed.byteOrder, object.byteOrder)
      assert.strictEqual(parsed.endId, object.btf?.endId)
    }
  })
})

describe("calls of a plan", () => {
  it("are those of all branches, or of a load where nothing fails", () => {
    const { plan } = planned(opened("pinned_map.bpf.o"))
    const tags = (calls: ReadonlyArray<{ readonly _tag: string }>) => calls.map((call) => call._tag)
    assert.deepStrictEqual(tags(LoadPlan.mainCalls(plan)), ["BtfLoad", "MapCreate", "MapCreate", "ObjPin", "ProgLoad"])
    assert.deepStrictEqual(tags(LoadPlan.calls(plan)), [
      "BtfLoad",
      "MapCreate",
      "MapCreate",
      "MapCreate",
      "MapCreate",
      "ObjPin",
      "ProgLoad"
    ])
  })
})
