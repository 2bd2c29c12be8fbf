import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as Insn from "../../../../src/insn/Insn.ts"
import { AttachType, MapFlag } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import { descriptions, type Feature, inRelease, ofRelease, refused } from "../../../../src/services/Kernel/Feature.ts"
import { Kernel } from "../../../../src/services/Kernel/Kernel.ts"
import type { BtfLoad, InfoRecords, MapCreate, ProgLoad } from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelSimulated from "../../../../src/services/Kernel/KernelSimulated.ts"
import * as LoadPlan from "../../../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../../../src/stages/load/Plan.ts"
import * as ContextArguments from "../../../../src/stages/load/sanitise/ContextArguments.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../../../src/stages/Stage.ts"
import * as B from "../../../support/arbitrary/BtfBlob.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"
import { opened, planned } from "../Pipeline.ts"

const old = "old_kernels.bpf.o"

const without = (...features: ReadonlyArray<Feature>): LedgerKernel.LedgerOptions => ({
  features: new Map(features.map((feature) => [feature, false]))
})

const planOf = (name: string, ...features: ReadonlyArray<Feature>): Plan.PlannedObject =>
  planned(opened(name), without(...features))

const callsOf = (plan: Plan.PlannedObject) => LoadPlan.mainCalls(plan.plan)

const load = (plan: Plan.PlannedObject, name: string): ProgLoad => {
  const position = plan.object.programs.findIndex((program) => program.name === name)
  for (const call of callsOf(plan)) if (call._tag === "ProgLoad" && call.as.index === position) return call
  return assert.fail(`${name} is not loaded`)
}

const creates = (plan: Plan.PlannedObject): ReadonlyArray<MapCreate> =>
  callsOf(plan).filter((call) => call._tag === "MapCreate")

const btfOf = (plan: Plan.PlannedObject): BtfLoad | undefined => callsOf(plan).find((call) => call._tag === "BtfLoad")

/** The notes of the step whose reason this is. */
const notesAt = (plan: Plan.PlannedObject, why: string): ReadonlyArray<string> => {
  const step = plan.plan.find((each) => each.why === why)
  return step === undefined ? assert.fail(`no step for ${why}`) : step.notes
}

describe("the features that are asked for", () => {
  const asked = (name: string): ReadonlyArray<string> => {
    const object = opened(name)
    const ledger = LedgerKernel.make({ byteOrder: object.byteOrder })
    Effect.runSync(
      Stage.pipeline(Relocate.relocate, Plan.plan).run(object).pipe(Effect.provideService(Kernel, ledger.kernel))
    )
    return ledger.asked.flatMap((each) => each._tag === "Feature" ? [each.feature] : []).sort()
  }

  it("are those that the object depends on", () => {
    const common = ["Btf", "BtfDatasec", "BtfFunc", "BtfGlobalFunc", "ProgName"]
    assert.deepStrictEqual(asked("map_in_map.bpf.o"), common)
    assert.deepStrictEqual(asked("global_data.bpf.o"), [...common, "ArrayMmap", "GlobalData", "ProgBindMap"].sort())
    assert.deepStrictEqual(
      asked(old),
      [
        ...common,
        "ArgCtxTag",
        "ArrayMmap",
        "BtfDeclTag",
        "BtfEnum64",
        "BtfFloat",
        "BtfTypeTag",
        "ExpectedAttachType",
        "GlobalData",
        "ProbeReadKernel",
        "ProgBindMap",
        "UprobeMultiLink"
      ].sort()
    )
  })
})

describe("a kernel that has all", () => {
  it("is sent what the object has", () => {
    const plan = planOf(old)
    const { btf } = plan.object
    assert.deepEqual(btfOf(plan)?.bytes, btf?.bytes)
    for (const { code, program } of plan.relocated.programs) {
      const { name } = plan.object.programs[program] ?? assert.fail()
      assert.strictEqual(load(plan, name).code, code)
    }
    assert.deepStrictEqual(notesAt(plan, "program packet"), [])
    assert.strictEqual(load(plan, "marker").attr.expectedAttachType, AttachType.BPF_TRACE_UPROBE_MULTI)
  })
})

describe("a kernel without", () => {
  it("names is told none", () => {
    const plan = planOf(old, "ProgName")
    for (const { attr } of creates(plan)) assert.strictEqual(attr.name, "")
    assert.strictEqual(load(plan, "packet").attr.name, "")
    const why = "without a name: the kernel lacks PROG_NAME, which Linux has since 4.15"
    assert.deepStrictEqual(notesAt(plan, "map newer"), [why])
    assert.deepStrictEqual(notesAt(plan, "program packet"), [why])
    // Those of inner maps, too.
    assert.isTrue(creates(planOf("map_in_map.bpf.o", "ProgName")).every(({ attr }) => attr.name === ""))
  })

  it("attach types at the load is told none of those that can be left out", () => {
    const plan = planOf(old, "ExpectedAttachType")
    assert.strictEqual(load(plan, "packet").attr.expectedAttachType, 0)
    assert.strictEqual(load(plan, "leaving").attr.expectedAttachType, 0)
    assert.match(notesAt(plan, "program leaving")[0] ?? "", /^without an attach type: the kernel lacks EXP_ATTACH_TYPE/)
    assert.strictEqual(load(planOf(old), "leaving").attr.expectedAttachType, AttachType.BPF_CGROUP_INET_EGRESS)
  })

  it("links to many places loads USDT programs as ordinary ones", () => {
    assert.strictEqual(load(planOf(old, "UprobeMultiLink"), "marker").attr.expectedAttachType, 0)
  })

  it("maps that can be mapped gets variables that cannot", () => {
    const flags = (plan: Plan.PlannedObject) => creates(plan).map(({ attr }) => attr.flags & MapFlag.BPF_F_MMAPABLE)
    assert.isTrue(flags(planOf(old)).some((flag) => flag !== 0))
    const plan = planOf(old, "ArrayMmap")
    assert.isTrue(flags(plan).every((flag) => flag === 0))
    assert.match(notesAt(plan, "map old_kern.bss")[0] ?? "", /^without BPF_F_MMAPABLE: the kernel lacks ARRAY_MMAP/)
  })

  it("a way to bind maps to programs is not asked to", () => {
    const plan = planOf(old, "ProgBindMap")
    assert.isFalse(callsOf(plan).some((call) => call._tag === "ProgBindMap"))
    assert.match(
      notesAt(plan, "program packet")[0] ?? "",
      /^does not keep old_kern\.rodata alive: the kernel lacks PROG_BIND_MAP/
    )
  })

  it("probe_read_kernel() gets probe_read()", () => {
    const plan = planOf(old, "ProbeReadKernel")
    const helpers = ({ code: { insns } }: ProgLoad) =>
      Array.from({ length: Insn.count(insns) }, (_, slot) => Insn.isHelperCall(insns, slot) ? Insn.imm(insns, slot) : 0)
        .filter((helper) => helper !== 0)
    assert.deepStrictEqual(helpers(load(plan, "reads")), [1, 4, 45, 4, 45])
    assert.deepStrictEqual(helpers(load(planOf(old), "reads")), [1, 112, 114, 113, 115])
    assert.strictEqual(load(plan, "packet").code, plan.relocated.programs[0]?.code)
  })

  it("functions in BTF gets programs without them", () => {
    const plan = planOf(old, "BtfFunc")
    assert.isDefined(btfOf(plan))
    const { btf, funcInfo, lineInfo } = load(plan, "packet")
    assert.deepStrictEqual({ btf, funcInfo, lineInfo }, { btf: undefined, funcInfo: undefined, lineInfo: undefined })
    assert.match(notesAt(plan, "program packet")[0] ?? "", /^without function and line info: the kernel lacks BTF_FUNC/)
  })

  it("BTF gets none", () => {
    const plan = planOf(old, "Btf")
    assert.isUndefined(btfOf(plan))
    assert.isUndefined(load(plan, "packet").btf)
    assert.isTrue(creates(plan).every((create) => create.types === undefined))
    assert.match(notesAt(plan, "program packet")[0] ?? "", /^without function and line info: the kernel lacks BTF,/)
  })

  it("variables gets programs that are refused where they reach one, and no maps of them", () => {
    const plan = planOf(old, "GlobalData")
    assert.deepStrictEqual(creates(plan).map(({ attr }) => attr.name), ["newer"])
    assert.isFalse(callsOf(plan).some((call) => call._tag === "MapUpdate" || call._tag === "ProgBindMap"))
    const { code } = load(plan, "leaving")
    assert.deepStrictEqual(code.refs, [])
    const slots = Array.from({ length: Insn.count(code.insns) }, (_, slot) => slot)
    const position = plan.object.maps.findIndex(({ name }) => name === "old_kern.rodata")
    const poisoned = slots.filter((slot) =>
      Insn.isCall(code.insns, slot) && Insn.imm(code.insns, slot) === Relocate.poisonedMap + position
    )
    assert.strictEqual(poisoned.length, 2)
    assert.deepStrictEqual(notesAt(plan, "program leaving"), [
      "refused where it reaches old_kern.rodata: the kernel lacks GLOBAL_DATA, which Linux has since 5.2"
    ])
    assert.deepStrictEqual(notesAt(plan, "program reads"), [])
    // What was opened stays as it was.
    assert.isTrue(opened(old).maps.every(({ autocreate }) => autocreate))
  })

  it("kinds of types gets others, with a note of each", () => {
    const plan = planOf(old, "BtfFloat", "BtfTypeTag", "BtfEnum64")
    const types = Result.getOrThrow(Btf.parse(btfOf(plan)?.bytes ?? assert.fail()))
    assert.isUndefined(Btf.findOne(types, "float", Btf.BTF_KIND_FLOAT))
    assert.deepStrictEqual(notesAt(plan, "types of the object").slice(1), [
      "2 FLOAT became STRUCT: the kernel lacks BTF_FLOAT, which Linux has since 5.13",
      "1 TYPE_TAG became CONST: the kernel lacks BTF_TYPE_TAG, which Linux has since 5.17",
      "1 signed ENUM became unsigned ENUM: the kernel lacks BTF_ENUM64, which Linux has since 6.0",
      "1 ENUM64 became UNION: the kernel lacks BTF_ENUM64, which Linux has since 6.0"
    ])
  })
})

describe("a feature that the kernel would not tell of", () => {
  it("is missing, and the note says why", () => {
    const refusing = KernelSimulated.make({ features: { BtfFloat: refused("EPERM", "root") } })
    const plan = Effect.runSync(
      Effect.flatMap(
        refusing,
        ({ kernel }) =>
          Stage.pipeline(Relocate.relocate, Plan.plan).run(opened(old)).pipe(Effect.provideService(Kernel, kernel))
      )
    )
    assert.include(
      notesAt(plan, "types of the object"),
      "2 FLOAT became STRUCT: the kernel would not say whether it has BTF_FLOAT (EPERM)"
    )
  })
})

describe("arguments that are the context by their tag", () => {
  const funcId = (btf: Btf.Btf, name: string): number => Btf.findOne(btf, name, Btf.BTF_KIND_FUNC) ?? assert.fail(name)

  /** The prototypes of the functions that a program's records name. */
  const functions = (plan: Plan.PlannedObject, program: string): ReadonlyArray<string> => {
    const btf = Result.getOrThrow(Btf.parse(btfOf(plan)?.bytes ?? assert.fail()))
    const { recordSize, records } = load(plan, program).funcInfo ?? assert.fail()
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
    return Array.from({ length: records.length / recordSize }, (_, index) => {
      const func = Btf.typeOf(btf, view.getUint32(index * recordSize + 4, true))
      const prototype = func._tag === "Func" ? Btf.typeOf(btf, func.type) : undefined
      return func._tag === "Func" && prototype?._tag === "FuncProto"
        ? `${func.name}(${prototype.params.map(({ type }) => Btf.typeName(btf, type)).join(", ")})`
        : "?"
    })
  }

  it("become what a kernel without the tag takes, in each program another", () => {
    const plan = planOf(old, "ArgCtxTag")
    assert.deepStrictEqual(functions(plan, "packet"), [
      "packet(struct xdp_md *)",
      "from_pointer(struct xdp_md *, __u64)",
      "from_xdp(struct xdp_md *)",
      "from_two(struct xdp_md *, __u64, struct xdp_md *)"
    ])
    assert.deepStrictEqual(functions(plan, "probe"), [
      "probe(struct pt_regs *)",
      "from_registers(struct bpf_user_pt_regs_t *)",
      "from_pointer(struct bpf_user_pt_regs_t *, __u64)"
    ])
    assert.include(functions(plan, "raw"), "from_pointer(struct bpf_raw_tracepoint_args *, __u64)")
    assert.include(
      notesAt(plan, "types of the object")[1] ?? "",
      "5 functions with tagged arguments got types of their own"
    )
    assert.include(functions(planOf(old), "packet"), "from_pointer(void *, __u64)")
  })

  const infoOf = (...ids: ReadonlyArray<number>): InfoRecords => {
    const records = new Uint8Array(ids.length * 8)
    ids.forEach((id, index) => new DataView(records.buffer).setUint32(index * 8 + 4, id, true))
    return { recordSize: 8, records }
  }

  /** Whether a program of a type gets a twin of a function whose argument is of the last of these types. */
  const twinFor = (type: number, types: ReadonlyArray<B.Rec>, linkage = 1, component = 0): boolean => {
    const last = types.length
    const btf = B.btfOf([
      ...types,
      B.funcProto(0, [["ctx", last]]),
      B.func("f", last + 1, linkage),
      B.declTag("arg:ctx", last + 2, component)
    ])
    const { btf: made, funcInfos, twins } = Result.getOrThrow(
      ContextArguments.retype(btf, [{ type, funcInfo: infoOf(funcId(btf, "f")) }], "x64")
    )
    assert.strictEqual(made === btf, twins[0] === 0)
    assert.strictEqual(funcInfos.length, 1)
    return twins[0] === 1
  }

  const kprobe = 2
  const perfEvent = 7
  const rawTracepoint = 17
  const xdp = 6
  const registers = B.struct("pt_regs", 8, [])

  it("are left as they are where the kernel takes them, or would take nothing for them", () => {
    assert.isTrue(twinFor(xdp, [B.ptr(0)]))
    assert.isTrue(twinFor(xdp, [B.typedef("anything", 0), B.constant(1), B.ptr(2)]))
    assert.isFalse(twinFor(xdp, [B.struct("xdp_md", 4, []), B.ptr(1)]))
    assert.isFalse(twinFor(xdp, [B.struct("other", 4, []), B.ptr(1)]))
    assert.isFalse(twinFor(xdp, [B.int("long", 8)]))
    // Static functions are verified with their callers, other types of programs have no struct.
    assert.isFalse(twinFor(xdp, [B.ptr(0)], 0))
    assert.isFalse(twinFor(5, [B.ptr(0)]))
    assert.isFalse(twinFor(xdp, [B.ptr(0)], 1, 1))
  })

  it("are registers for probes", () => {
    assert.isTrue(twinFor(kprobe, [registers, B.ptr(1)]))
    assert.isTrue(twinFor(perfEvent, [registers, B.ptr(1)]))
    assert.isFalse(twinFor(xdp, [registers, B.ptr(1)]))
    const named = [registers, B.typedef("bpf_user_pt_regs_t", 1), B.ptr(2)]
    assert.isFalse(twinFor(kprobe, named))
    assert.isFalse(twinFor(perfEvent, named))
    assert.isTrue(twinFor(rawTracepoint, [B.int("long long", 8), B.ptr(1)]))
    assert.isFalse(twinFor(rawTracepoint, [B.int("int", 4), B.ptr(1)]))
  })
})

describe("the features of a release", () => {
  it("are those that came by then", () => {
    assert.isUndefined(ofRelease("live"))
    assert.isUndefined(ofRelease("5."))
    const has = (release: string) => Object.entries(ofRelease(release) ?? {}).flatMap(([name, is]) => is ? [name] : [])
    assert.deepStrictEqual(has("4.18.0-305.el8"), ["ProgName", "Btf", "ExpectedAttachType", "SyscallWrapper"])
    assert.includeMembers([...has("6.1")], ["BtfEnum64", "BpfCookie"])
    assert.notInclude(has("6.1"), "UprobeMultiLink")
    assert.strictEqual(inRelease("BtfDatasec", "5.10"), true)
    assert.strictEqual(inRelease("BtfDatasec", "5.1.20"), false)
    assert.isUndefined(inRelease("BtfLayout", "6.18"))
    for (const [name, { since }] of Object.entries(descriptions)) {
      if (since !== undefined) assert.include(has(since), name)
    }
  })

  it("are those of a simulated kernel that asks for them", () => {
    const simulated = (release: string) =>
      Effect.runSync(Effect.result(KernelSimulated.features({ release, features: "release" })))
    const report = Result.getOrThrow(simulated("5.4.0"))
    assert.strictEqual(report.features.get("BtfFloat")?._tag, "Unsupported")
    assert.strictEqual(report.features.get("BtfDatasec")?._tag, "Supported")
    const wrong = simulated("newest")
    assert.match(Result.isFailure(wrong) ? wrong.failure.message : "", /features of a release need its numbers/)
  })
})
