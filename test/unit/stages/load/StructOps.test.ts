import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../../src/btf/BtfEdit.ts"
import * as Kernels from "../../../../src/services/Kernel/Kernel.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import * as KernelSimulated from "../../../../src/services/Kernel/KernelSimulated.ts"
import * as Execute from "../../../../src/stages/load/Execute.ts"
import * as LoadPlan from "../../../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../../../src/stages/load/Plan.ts"
import { PlanError } from "../../../../src/stages/load/PlanError.ts"
import * as StructOps from "../../../../src/stages/load/StructOps.ts"
import type { BpfObject, StructOps as Declared } from "../../../../src/stages/open/BpfObject.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../../../src/stages/Stage.ts"
import { runs } from "../../../support/Require.ts"
import { opened } from "../Pipeline.ts"

// Structs of random members on both sides, beside a model that knows no BTF.

/** What a member is: its kind and size decide whether one fits another. */
type MemberType = "u32" | "u64" | "s32" | "bytes4" | "struct8" | "function" | "data" | "bits"

interface MemberModel {
  readonly name: string
  readonly type: MemberType
}

const member = (name: string, type: number, offset: number, bitfieldSize = 0): Btf.Member => ({
  name,
  type,
  bitOffset: offset * 8,
  bitfieldSize
})

const sizes: Readonly<Record<MemberType, number>> = {
  u32: 4,
  u64: 8,
  s32: 4,
  bytes4: 4,
  struct8: 8,
  function: 8,
  data: 8,
  bits: 4
}

const kinds: Readonly<Record<MemberType, string>> = {
  u32: "int",
  u64: "int",
  s32: "int",
  bytes4: "array",
  struct8: "struct",
  function: "pointer",
  data: "pointer",
  bits: "bits"
}

const signed = 1

/** A struct of members one behind the other, each at a multiple of 8 bytes; where each is, and the blob. */
const build = (members: ReadonlyArray<MemberModel>, first: number) => {
  const editor = BtfEdit.make()
  const u32 = editor.addInt("u32", 4, 0)
  const u64 = editor.addInt("u64", 8, 0)
  const s32 = editor.addInt("s32", 4, signed)
  const u8 = editor.addInt("u8", 1, 0)
  const struct8 = editor.addStruct("eight", 8, [member("inside", u64, 0)])
  const types: Readonly<Record<MemberType, number>> = {
    u32,
    u64,
    s32,
    bytes4: editor.addArray(u32, u8, 4),
    struct8,
    function: editor.addPtr(editor.addFuncProto(u32, [])),
    data: editor.addPtr(struct8),
    bits: u32
  }
  const id = editor.addStruct(
    "ops",
    first + members.length * 8,
    members.map(({ name, type }, index) => member(name, types[type], first + index * 8, type === "bits" ? 3 : 0))
  )
  return { btf: Result.getOrThrow(editor.finish()), id }
}

const memberType = fc.constantFrom<MemberType>(
  "u32",
  "u64",
  "s32",
  "bytes4",
  "struct8",
  "function",
  "function",
  "data",
  "bits"
)

const membersOf = fc.uniqueArray(
  fc.record({ name: fc.constantFrom("a", "b", "c", "d", "e", "f", "g"), type: memberType }),
  { selector: ({ name }) => name, maxLength: 7 }
)

/** What is in a member: nothing, a program where it is a function, or bytes. */
type Content = "empty" | "filled"

interface Pair {
  readonly local: ReadonlyArray<MemberModel>
  readonly kernel: ReadonlyArray<MemberModel>
  readonly contents: ReadonlyArray<Content>
}

const pair: fc.Arbitrary<Pair> = fc.record({
  local: membersOf,
  kernel: membersOf,
  contents: fc.array(fc.constantFrom<Content>("empty", "filled"), { minLength: 7, maxLength: 7 })
})

/** The rule by itself. */
const model = ({ contents, kernel, local }: Pair): ReadonlyArray<string> =>
  local.map(({ name, type }, index) => {
    const isFilled = contents[index] === "filled"
    const at = kernel.findIndex((each) => each.name === name)
    const there = kernel[at]
    if (there === undefined) return isFilled ? "Problem" : "Absent"
    if (type === "bits" || there.type === "bits") return "Problem"
    if (kinds[type] !== kinds[there.type]) return "Problem"
    if (kinds[type] === "pointer") {
      if (!isFilled) return "Empty"
      return type === "function" && there.type === "function" ? `Program ${at}` : "Problem"
    }
    return sizes[type] === sizes[there.type] ? `Value ${at}` : "Problem"
  })

const matched = (
  { contents, kernel, local }: Pair,
  match: typeof StructOps.match = StructOps.match
): ReadonlyArray<string> => {
  const ours = build(local, 0)
  const theirs = build(kernel, 16)
  const image = new Uint8Array(local.length * 8)
  const programs: Array<Declared["members"][number]> = []
  local.forEach(({ name, type }, index) => {
    if (contents[index] !== "filled") return
    if (type === "function") programs.push({ offset: index * 8, member: name, program: index })
    else image[index * 8] = 5
  })
  return match(ours.btf, ours.id, image, programs, theirs).map(({ outcome, there }) =>
    outcome._tag === "Program" || outcome._tag === "Value" ? `${outcome._tag} ${there?.index ?? ""}` : outcome._tag
  )
}

describe("members of a struct, beside the kernel's", () => {
  it("are judged as the rule says", () => {
    const seen = new Set<string>()
    fc.assert(
      fc.property(pair, (each) => {
        const found = matched(each)
        for (const outcome of found) seen.add(outcome.replace(/ \d+/, ""))
        assert.deepStrictEqual(found, model(each))
      }),
      { numRuns: runs(500) }
    )
    assert.sameMembers([...seen], ["Absent", "Empty", "Problem", "Program", "Value"])
  })

  it("a rule that takes members of other sizes is caught", () => {
    const careless: typeof StructOps.match = (...given) =>
      StructOps.match(...given).map((each) =>
        each.outcome._tag === "Problem" && each.outcome.detail.includes("bytes, the kernel in")
          ? { ...each, outcome: { _tag: "Value", size: each.size } }
          : each
      )
    const { failed } = fc.check(
      fc.property(pair, (each) => assert.deepStrictEqual(matched(each, careless), model(each))),
      { numRuns: 2000, seed: 7 }
    )
    assert.isTrue(failed)
  })
})

/** The types of a kernel that lets programs implement `tcp_congestion_ops`, whose members have these names. */
const kernelTypes = (more: { readonly inModule?: boolean; readonly wrapper?: boolean } = {}) => {
  const make = (editor: BtfEdit.BtfEditor, own: boolean): void => {
    if (!own) return
    const u32 = editor.addInt("unsigned int", 4, 0)
    const char = editor.addInt("char", 1, signed)
    const name = editor.addArray(u32, char, 16)
    const pointer = editor.addPtr(editor.addFuncProto(u32, []))
    const ops = editor.addStruct("tcp_congestion_ops", 64, [
      ...["ssthresh", "cong_avoid", "set_state", "undo_cwnd", "init"].map((each, index) =>
        member(each, pointer, index * 8)
      ),
      member("flags", u32, 40),
      member("name", name, 44)
    ])
    if (more.wrapper === false) return
    editor.addStruct("bpf_struct_ops_tcp_congestion_ops", 128, [member("common", u32, 0), member("data", ops, 64)])
  }
  const base = BtfEdit.make()
  base.addInt("int", 4, signed)
  make(base, more.inModule !== true)
  const vmlinux = Result.getOrThrow(base.finish())
  if (more.inModule !== true) return { vmlinux, modules: [] }
  const split = BtfEdit.make({ base: vmlinux })
  make(split, true)
  return { vmlinux, modules: [{ name: "tcp_mine", btf: Result.getOrThrow(split.finish()) }] }
}

const infoOf = ({ modules, vmlinux }: ReturnType<typeof kernelTypes>): KernelInfo.KernelInfo =>
  KernelInfo.add(KernelInfo.make({ release: "6.18.0", architecture: "x64", byteOrder: "little" }), {
    vmlinuxTypes: KernelInfo.known(vmlinux),
    moduleTypes: KernelInfo.known(modules)
  })

const of = (object: BpfObject, info: KernelInfo.KernelInfo) =>
  Result.try({
    try: () => StructOps.of(object, info),
    catch: (thrown) => thrown instanceof PlanError ? thrown : assert.fail(String(thrown))
  })

const structsOf = (object: BpfObject, info: KernelInfo.KernelInfo): StructOps.Structs => {
  const asked = Result.getOrThrow(of(object, info))
  return asked._tag === "Done" ? asked.value : assert.fail("it asks")
}

const edited = (object: BpfObject, edit: (object: BpfObject) => Result.Result<BpfObject, Error>): BpfObject =>
  Result.getOrThrow(edit(object))

describe("a struct that an object implements", () => {
  const object = opened("struct_ops.bpf.o")
  const position = object.maps.findIndex(({ name }) => name === "congestion")

  it("asks for the kernel's types, and for its modules' where vmlinux has no such struct", () => {
    const unasked = KernelInfo.make({ release: "", architecture: "x64", byteOrder: "little" })
    const { modules, vmlinux } = kernelTypes({ inModule: true })
    const known = KernelInfo.add(unasked, { vmlinuxTypes: KernelInfo.known(vmlinux) })
    const needs = (info: KernelInfo.KernelInfo) => {
      const asked = Result.getOrThrow(of(object, info))
      return asked._tag === "Needs" ? asked.requirements.map(({ _tag }) => _tag) : []
    }
    assert.deepStrictEqual(needs(unasked), ["VmlinuxTypes"])
    assert.deepStrictEqual(needs(known), ["ModuleTypes"])
    assert.deepStrictEqual(needs(KernelInfo.add(known, { moduleTypes: KernelInfo.known(modules) })), [])
    assert.strictEqual(structsOf(opened("xdp_firewall.bpf.o"), unasked).variables.size, 0)
  })

  it("is put into the kernel's layout, with the programs by their refs", () => {
    const { vmlinux } = kernelTypes()
    const { programs, variables } = structsOf(object, infoOf(kernelTypes()))
    const variable = variables.get(position) ?? assert.fail()
    const at = (name: string) => object.programs.findIndex((program) => program.name === name)
    assert.strictEqual(variable.value.bytes.length, 128)
    assert.deepStrictEqual(
      variable.value.refs.map(({ at, size, to }) => [at, size, to.index]),
      [[64, 8, at("halve_window")], [72, 8, at("grow_window")], [88, 8, at("restore_window")]]
    )
    assert.strictEqual(
      new TextDecoder().decode(variable.value.bytes.subarray(108, 124)).replaceAll("\0", ""),
      "effect_bpf_cc"
    )
    const id = Btf.findOne(vmlinux, "tcp_congestion_ops", Btf.BTF_KIND_STRUCT)
    assert.deepStrictEqual(programs.get(at("restore_window")), {
      index: 3,
      attachTo: {
        name: "tcp_congestion_ops",
        kind: "Struct",
        member: "undo_cwnd",
        weak: false,
        resolved: { owner: "vmlinux", id: id ?? 0 }
      }
    })
    assert.isFalse(variable.linked)
  })

  it("may be a module's", () => {
    const { programs, variables } = structsOf(object, infoOf(kernelTypes({ inModule: true })))
    assert.deepInclude(variables.get(position)?.valueType.resolved, { owner: "tcp_mine" })
    for (const { attachTo } of programs.values()) assert.deepInclude(attachTo.resolved, { owner: "tcp_mine" })
  })

  it("is refused by name where the kernel lacks it", () => {
    for (const more of [{ wrapper: false }, { inModule: true, wrapper: false }]) {
      const refused = Result.getOrThrow(Result.flip(of(object, infoOf(kernelTypes(more)))))
      assert.deepInclude(refused, { reason: "StructOps", name: "congestion" })
      assert.match(refused.message, /no struct bpf_struct_ops_tcp_congestion_ops/)
    }
  })

  it("stays a name, and its members too, where the kernel is not known yet", () => {
    const untold = KernelInfo.add(infoOf(kernelTypes()), { vmlinuxTypes: KernelInfo.deferred })
    const asked = Result.getOrThrow(of(object, untold))
    if (asked._tag !== "Done") return assert.fail("there is nothing to ask")
    const [variable] = asked.value.variables.values()
    assert.deepStrictEqual(variable?.valueType, {
      name: "bpf_struct_ops_tcp_congestion_ops",
      kind: "Struct",
      weak: false
    })
    assert.strictEqual(variable?.value.bytes.length, 0)
    assert.deepStrictEqual(
      [...asked.value.programs].map((
        [program, { attachTo, index }]
      ) => [object.programs[program]?.name, attachTo.member, attachTo.resolved, index]),
      [
        ["halve_window", "ssthresh", undefined, 0],
        ["grow_window", "cong_avoid", undefined, 0],
        ["restore_window", "undo_cwnd", undefined, 0]
      ]
    )
  })

  it("names the member and both types of what does not fit", () => {
    const shapes = opened("struct_ops_shapes.bpf.o")
    const refusal = (name: string) =>
      Result.getOrThrow(
        Result.flip(of(edited(shapes, (at) => Edit.setMap(at, name, { autocreate: true })), infoOf(kernelTypes())))
      )
    assert.deepInclude(refusal("wrong_size"), {
      reason: "StructOps",
      name: "wrong_size",
      member: "flags",
      localType: "__u64",
      kernelType: "unsigned int"
    })
    assert.match(
      refusal("wrong_kind").message,
      /wrong_kind: member flags of struct tcp_congestion_ops: the object has it/
    )
    assert.match(refusal("bit_field").message, /bit field/)
    assert.match(refusal("newer").message, /newer_than_the_kernel.*no such member.*gives it a value/)
    assert.match(refusal("newer_function").message, /newer_function.*program is spare/)
    assert.match(refusal("twice").message, /ssthresh implements tcp_congestion_ops\.undo_cwnd here and/)
    assert.strictEqual(refusal("newer").kernelType, undefined)
  })

  it("leaves out what the kernel lacks and the object leaves empty, and notes it", () => {
    const shapes = edited(
      opened("struct_ops_shapes.bpf.o"),
      (at) => Edit.setMap(at, "reordered", { autocreate: true })
    )
    const [variable] = structsOf(shapes, infoOf(kernelTypes())).variables.values()
    assert.deepStrictEqual(variable?.absent, ["newer_than_the_kernel", "owner"])
    const view = new DataView(variable?.value.bytes.buffer ?? new ArrayBuffer(0))
    assert.strictEqual(view.getUint32(64 + 40, true), 2)
  })
})

describe("programs of structs", () => {
  const plan = (object: BpfObject) => {
    const { modules, vmlinux } = kernelTypes()
    return Effect.gen(function*() {
      const { kernel } = yield* KernelSimulated.make({ types: vmlinux, modules })
      const planned = yield* Effect.provideService(
        Stage.pipeline(Relocate.relocate, Plan.plan).run(object),
        Kernels.Kernel,
        kernel
      )
      return { kernel, planned }
    })
  }

  const loads = (planned: Plan.PlannedObject): ReadonlyArray<string> =>
    LoadPlan.mainCalls(planned.plan).flatMap((call) =>
      call._tag === "ProgLoad" ? [`${call.attr.name} ${call.attr.expectedAttachType}`] : []
    )

  it.effect("are loaded for their members, whatever their autoload says", () =>
    Effect.gen(function*() {
      const shapes = edited(
        opened("struct_ops_shapes.bpf.o"),
        (at) => Edit.setMap(at, "reordered", { autocreate: true })
      )
      const { planned } = yield* plan(shapes)
      assert.deepStrictEqual(loads(planned), ["ssthresh 0", "cong_avoid 1", "undo_cwnd 3"])
      const created = LoadPlan.mainCalls(planned.plan).find((call) => call._tag === "MapCreate")
      assert.deepInclude(created, { _tag: "MapCreate", types: { btf: { _tag: "Btf", index: 0 }, key: 0, value: 0 } })
      assert.strictEqual(planned.plan[0]?._tag === "Call" && planned.plan[0].required, true)
      const other = edited(shapes, (at) => Edit.setStructOps(at, "reordered", "ssthresh", "spare"))
      assert.deepStrictEqual(loads((yield* plan(other)).planned), ["cong_avoid 1", "undo_cwnd 3", "spare 0"])
      const less = edited(shapes, (at) => Edit.setStructOps(at, "reordered", "cong_avoid", null))
      assert.deepStrictEqual(loads((yield* plan(less)).planned), ["ssthresh 0", "undo_cwnd 3"])
    }))

  it.effect("are taken by the simulated kernel, which keeps nothing in such maps", () =>
    Effect.gen(function*() {
      const { kernel, planned } = yield* plan(opened("struct_ops.bpf.o"))
      yield* Effect.scoped(Effect.gen(function*() {
        const loaded = yield* Execute.toLoaded(planned)
        const map = loaded.map("congestion") ?? assert.fail()
        assert.strictEqual((yield* loaded.session.call({ _tag: "MapGetInfo", map })).valueSize, 128)
        const position = map.index
        const value = planned.structOps.get(position)?.value ?? assert.fail()
        const key = new Uint8Array(4)
        const refused = yield* Effect.flip(loaded.session.call({ _tag: "MapUpdate", map, key, value, flags: 0n }))
        assert.strictEqual(refused._tag, "UnsupportedCall")
      })).pipe(Effect.provideService(Kernels.Kernel, kernel))
    }))
})
