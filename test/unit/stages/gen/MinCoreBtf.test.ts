import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as Encode from "../../../../src/insn/Encode.ts"
import { BPF_DW } from "../../../../src/insn/InsnConstants.ts"
import * as MinCoreBtf from "../../../../src/stages/gen/MinCoreBtf.ts"
import * as Core from "../../../../src/stages/relocate/core/Core.ts"
import * as B from "../../../support/arbitrary/BtfBlob.ts"
import { objects } from "../../../support/CoreObjects.ts"
import * as Variants from "../../../support/KernelVariants.ts"
import * as MinCore from "../../../support/MinCore.ts"
import { recorded, type RecordSpec } from "../relocate/core/Records.ts"

const int = B.int("int", 4, 1)
const ask = (kind: Core.CoreKind, type: number, access = "0", insn = Encode.mov64Imm(1, 1)): RecordSpec => ({
  insn,
  type,
  access,
  kind
})

/** The minimal BTF of a kernel for records about these types; the law holds for it. */
const minimal = (
  local: ReadonlyArray<B.Rec>,
  specs: ReadonlyArray<RecordSpec>,
  kernel: ReadonlyArray<B.Rec>,
  order: B.Order = "little"
): MinCoreBtf.MinCoreBtf => {
  const target = Core.target(B.btfOf(kernel, { order }))
  const program = recorded(local, specs, order)
  const made = B.expectSuccess(MinCoreBtf.make(target, [MinCore.objectOf(program)]))
  assert.deepStrictEqual(MinCore.differences(program, target, made), [])
  return made
}

/** Types by kind and name, structs with their members. */
const listed = ({ btf }: MinCoreBtf.MinCoreBtf): ReadonlyArray<string> =>
  Array.from({ length: btf.endId - 1 }, (_, index) => {
    const type = Btf.typeOf(btf, index + 1)
    const text = Btf.typeName(btf, index + 1)
    return type._tag === "Struct" || type._tag === "Union"
      ? `${text} { ${type.members.map(({ name, bitOffset }) => `${name}@${bitOffset}`).join(" ")} }`
      : text
  })

/** What became of each record against minimal BTF. */
const values = (
  local: ReadonlyArray<B.Rec>,
  specs: ReadonlyArray<RecordSpec>,
  { btf }: MinCoreBtf.MinCoreBtf
): ReadonlyArray<bigint | string> => {
  const { insns, local: types, records } = recorded(local, specs)
  return B.expectSuccess(Core.examine(insns, records, types, Core.target(btf))).outcomes.map((each) =>
    Result.isFailure(each)
      ? each.failure.reason
      : each.success.result._tag === "Poisoned"
      ? each.success.result.why
      : each.success.result.value
  )
}

describe("what is kept", () => {
  const kernel = [
    int,
    B.ptr(5),
    B.array(1, 1, 16),
    B.struct("list_head", 16, [["next", 2, 0], ["prev", 2, 64]]),
    B.struct("task_struct", 256, [["state", 1, 0], ["", 6, 64], ["list", 4, 256], ["parent", 2, 512], [
      "comm",
      3,
      576
    ]]),
    B.union("", 8, [["pid", 1, 0], ["other", 2, 0]]),
    B.enumeration("pid_type", 4, false, [["PIDTYPE_PID", 0], ["PIDTYPE_TGID", 1]]),
    B.int("long", 8, 1)
  ]
  const local = [
    int,
    B.ptr(3),
    B.struct("task_struct", 32, [["pid", 1, 0], ["parent", 2, 64], ["list", 4, 128]]),
    B.struct("list_head", 8, [["next", 2, 0]]),
    B.enumeration("pid_type", 4, false, [["PIDTYPE_TGID", 1]])
  ]

  it("is the member, with what leads to it and what its layout needs", () => {
    assert.deepStrictEqual(listed(minimal(local, [ask("field_exists", 3, "0:0")], kernel)), [
      "int",
      "struct task_struct { @64 }",
      "union (anonymous) { pid@0 }"
    ])
  })
  it("of a pointer is the pointer, and how large pointers are", () => {
    const made = minimal(local, [ask("field_exists", 3, "0:1")], kernel)
    assert.deepStrictEqual(listed(made), ["struct task_struct *", "struct task_struct { parent@512 }", "long"])
    const only = minimal(local, [ask("field_exists", 4, "0:0")], kernel)
    assert.deepStrictEqual(listed(only), ["void *", "struct list_head { next@0 }", "long"])
  })
  it("of a struct that is a member are its own members that are accessed", () => {
    const made = minimal(local, [ask("field_exists", 3, "0:2:0"), ask("byte_sz", 3, "0:2")], kernel)
    assert.include(listed(made), "struct list_head { next@0 }")
    assert.include(listed(made), "struct task_struct { list@256 }")
  })
  it("of a type as a whole is its name and size", () => {
    assert.deepStrictEqual(listed(minimal(local, [ask("type_exists", 3)], kernel)), ["struct task_struct {  }"])
    assert.deepStrictEqual(listed(minimal(local, [ask("type_size", 3, "0", Encode.mov64Imm(1, 32))], kernel)), [
      "struct task_struct {  }"
    ])
  })
  it("of an enum are all its values", () => {
    const { btf } = minimal(local, [ask("enumval_exists", 5)], kernel)
    const type = Btf.typeOf(btf, 1)
    assert.deepStrictEqual(type._tag === "Enum" ? type.values.map(({ name }) => name) : [], [
      "PIDTYPE_PID",
      "PIDTYPE_TGID"
    ])
  })
  it("of a type that is compared are all its members, behind pointers names alone", () => {
    const made = minimal([int, B.struct("task_struct", 4, [["state", 1, 0]])], [ask("type_matches", 2)], kernel)
    assert.deepStrictEqual(listed(made), [
      "int",
      "struct task_struct *",
      "int[16]",
      "struct list_head { next@0 prev@64 }",
      "struct task_struct { state@0 @64 list@256 parent@512 comm@576 }",
      "union (anonymous) { pid@0 other@0 }",
      "long"
    ])
    const via = (
      members: ReadonlyArray<B.MemberRec>
    ) => [int, B.struct("a", 8, members), B.ptr(2), B.struct("s", 8, [["p", 3, 0]])]
    assert.include(
      listed(minimal(via([["x", 1, 0]]), [ask("type_matches", 4)], via([["x", 1, 0], ["y", 1, 32]]))),
      "struct a {  }"
    )
    // bpftool takes the members of what an array or a prototype behind a pointer holds.
    const elements = [int, B.struct("a", 8, [["x", 1, 0]]), B.array(2, 1, 2), B.ptr(3), B.struct("s", 8, [["p", 4, 0]])]
    assert.include(listed(minimal(elements, [ask("type_matches", 5)], elements)), "struct a { x@0 }")
  })
  it("of an id of the object's own is nothing, and the same of what the kernel does not have", () => {
    const specs = [
      ask("local_type_id", 3, "0", Encode.ldImm64(1, 3n)),
      ask("type_exists", 6),
      ask("field_exists", 6, "0:0")
    ]
    const made = minimal([...local, B.struct("gone", 4, [["x", 1, 0]])], specs, kernel)
    assert.deepStrictEqual(listed(made), [])
    assert.strictEqual(made.btf.bytes.length, 25)
  })
  it("are declarations, and tags of types and declarations", () => {
    const tagged = [
      int,
      B.fwd("opaque", false),
      B.typeTag("rcu", 2),
      B.ptr(3),
      B.struct("s", 16, [["a", 1, 0], ["p", 4, 64], ["b", 1, 32]]),
      B.declTag("whole", 5, -1),
      B.declTag("of a", 5, 0),
      B.declTag("of b", 5, 2),
      B.typedef("opaque_t", 4)
    ]
    const made = minimal(
      tagged,
      [ask("field_exists", 5, "0:1"), ask("field_exists", 5, "0:2"), ask("type_exists", 9)],
      tagged
    )
    const { btf } = made
    assert.deepStrictEqual(listed(made), [
      "int",
      "struct opaque",
      "__attribute__((btf_type_tag(\"rcu\"))) struct opaque",
      "__attribute__((btf_type_tag(\"rcu\"))) struct opaque *",
      "struct s { p@64 b@32 }",
      "__attribute__((btf_decl_tag(\"whole\")))",
      "__attribute__((btf_decl_tag(\"of b\")))",
      "opaque_t"
    ])
    const tags = [6, 7].map((id) => Btf.typeOf(btf, id)).map((tag) =>
      tag._tag === "DeclTag" ? [tag.type, tag.componentIndex] : []
    )
    assert.deepStrictEqual(tags, [[5, -1], [5, 1]])
  })
  it("is in the kernel's byte order", () => {
    for (const order of ["little", "big"] as const) {
      const made = minimal(local, [ask("field_exists", 3, "0:0")], kernel, order)
      assert.strictEqual(made.btf.byteOrder, order)
      assert.strictEqual(minimal(local, [], kernel, order).btf.byteOrder, order)
    }
  })
})

describe("what others would lose", () => {
  it("a second type of the name, with which the first does not agree", () => {
    const local = [int, B.struct("s", 4, [["x", 1, 0]])]
    const specs = [ask("field_exists", 2, "0:0")]
    const kernel = [int, B.struct("s", 4, [["x", 1, 0]]), B.struct("s___2", 8, [["x", 1, 32]])]
    const made = minimal(local, specs, kernel)
    assert.deepStrictEqual(listed(made), ["int", "struct s { x@0 }", "struct s___2 { x@32 }"])
    assert.deepStrictEqual(values(local, specs, made), ["Ambiguous"])
    assert.strictEqual(made.objects[0]?.problems[0]?.error.reason, "Ambiguous")
  })
  it("a member of the name that does not fit, and ends the search", () => {
    // Its struct's other member without a name has one that fits, and is there for the sake of another struct.
    const local = [
      int,
      B.struct("s", 4, [["x", 1, 0], ["y", 1, 0]]),
      B.struct("t", 4, [["x", 1, 0]])
    ]
    const kernel = [
      int,
      B.ptr(1),
      B.struct("", 8, [["x", 1, 0], ["y", 1, 32]]),
      B.struct("s", 16, [["x", 2, 0], ["", 3, 64]]),
      B.struct("t", 8, [["", 3, 0]])
    ]
    const specs = [ask("field_exists", 2, "0:0"), ask("field_exists", 2, "0:1"), ask("field_exists", 3, "0:0")]
    assert.deepStrictEqual(values(local, specs, minimal(local, specs, kernel)), [0n, 1n, 1n])
  })
  it("that an array of no elements is not the last member", () => {
    const local = [int, B.array(1, 1, 8), B.struct("s", 32, [["a", 2, 0]])]
    const kernel = [int, B.array(1, 1, 0), B.struct("s", 8, [["a", 2, 0], ["b", 1, 0], ["c", 1, 32]])]
    const specs = [ask("field_exists", 3, "0:0:5"), ask("field_exists", 3, "0:0")]
    const made = minimal(local, specs, kernel)
    assert.deepStrictEqual(values(local, specs, made), [0n, 1n])
    assert.include(listed(made), "struct s { a@0 c@32 }")
  })
  it("what a pointer leads to, where that makes a type another one", () => {
    const types = (to: number) => [int, B.ptr(to), B.struct("s", 8, [["p", 2, 0]])]
    const specs = [ask("type_matches", 3), ask("field_exists", 3, "0:0")]
    assert.deepStrictEqual(values(types(0), specs, minimal(types(0), specs, types(1))), [0n, 1n])
    const typedef = (to: number) => [int, B.ptr(to), B.typedef("t", 2)]
    const loose = [ask("type_exists", 3), ask("byte_off", 3, "0", Encode.mov64Imm(1, 0))]
    assert.deepStrictEqual(values(typedef(0), loose, minimal(typedef(0), loose, typedef(1))), [0n, 0n])
  })
  it("the same in elements of arrays, in parameters and in results", () => {
    const inner = (to: number) => [int, B.float("float", 4), B.ptr(to), B.struct("a", 8, [["p", 3, 0]])]
    const wraps: ReadonlyArray<readonly [root: number, wrap: ReadonlyArray<B.Rec>]> = [
      [6, [B.array(4, 1, 2), B.struct("s", 16, [["list", 5, 0]])]],
      [6, [B.funcProto(0, [["", 4]]), B.typedef("t", 5)]],
      [6, [B.funcProto(4, []), B.typedef("t", 5)]],
      [5, [B.struct("s", 8, [["a", 4, 0]])]]
    ]
    for (const [root, wrap] of wraps) {
      const [local, kernel] = [[...inner(0), ...wrap], [...inner(2), ...wrap]]
      const specs = [ask("type_matches", root), ask("field_exists", 4, "0:0")]
      assert.deepStrictEqual(values(local, specs, minimal(local, specs, kernel)), [0n, 1n])
    }
  })
  it("how large pointers are", () => {
    const local = [int, B.ptr(1), B.struct("s", 16, [["a", 1, 0], ["p", 2, 64]])]
    const kernel = [int, B.ptr(1), B.struct("s", 8, [["a", 1, 0], ["p", 2, 32]]), B.int("unsigned long", 4)]
    const specs = [
      ask("byte_sz", 3, "0:1", Encode.mov64Imm(1, 8)),
      ask("byte_off", 3, "0:1", Encode.ldx(BPF_DW, 1, 2, 8))
    ]
    assert.deepStrictEqual(values(local, specs, minimal(local, specs, kernel)), [4n, 4n])
  })
  it("an end, where a struct takes itself by value in a callback", () => {
    const types = [int, B.struct("s", 16, [["f", 3, 0], ["n", 1, 64]]), B.ptr(4), B.funcProto(1, [["", 2]])]
    minimal(types, [ask("type_matches", 2)], types)
    const itself = [int, B.struct("s", 16, [["s", 2, 0]])]
    assert.strictEqual(
      minimal(itself, [ask("type_matches", 2)], itself).objects[0]?.problems[0]?.error.reason,
      "TooDeep"
    )
  })
})

describe("ids of the kernel's types", () => {
  it("are those of the minimal BTF, which knows the kernel's", () => {
    const kernel = [int, B.struct("other", 4, []), B.struct("s", 4, [])]
    const specs = [ask("target_type_id", 1, "0", Encode.ldImm64(1, 7n))]
    const made = minimal([B.struct("s", 4, [])], specs, kernel)
    assert.deepStrictEqual(values([B.struct("s", 4, [])], specs, made), [1n])
    assert.deepStrictEqual(MinCoreBtf.kernelId(made, 1), { module: undefined, id: 3 })
    assert.isUndefined(MinCoreBtf.kernelId(made, 0))
    assert.isUndefined(MinCoreBtf.kernelId(made, 2))
    assert.deepInclude(made.objects[0], { name: "object", records: 1, typeIds: 1 })
  })
  it("of two modules are two, also where they are one number", () => {
    const base = B.btfOf([int])
    const modules = ["a", "b"].map((name) => ({ name, btf: B.btfOf([B.struct("s", 4, [])], { base }) }))
    const { insns, local, records } = recorded([B.struct("s", 4, [])], [
      ask("target_type_id", 1, "0", Encode.ldImm64(1, 7n)),
      ask("type_exists", 1)
    ])
    const { outcomes } = B.expectSuccess(Core.examine(insns, records, local, Core.target(base, modules)))
    assert.deepStrictEqual(outcomes.map((each) => Result.isFailure(each) ? each.failure.reason : "fine"), [
      "Ambiguous",
      "fine"
    ])
  })
})

describe("modules", () => {
  const base = B.btfOf([int, B.struct("shared", 4, [["x", 1, 0]])])
  const module = (types: ReadonlyArray<B.Rec>, name = "mod") => ({ name, btf: B.btfOf(types, { base }) })
  const made = (local: ReadonlyArray<B.Rec>, specs: ReadonlyArray<RecordSpec>, target: Core.CoreTarget) => {
    const program = recorded(local, specs)
    return { program, result: MinCoreBtf.make(target, [MinCore.objectOf(program)]) }
  }
  const local = [
    int,
    B.struct("own", 8, [["s", 3, 0]]),
    B.struct("inner", 4, [["x", 1, 0]]),
    B.struct("shared", 4, [["x", 1, 0]])
  ]

  it("have what the kernel does not have, in the same blob", () => {
    const target = Core.target(base, [
      module([B.struct("own", 8, [["s", 4, 32]]), B.struct("inner", 4, [["x", 1, 0]])]),
      module([B.struct("shared", 8, [["x", 1, 32]])], "other")
    ])
    const { program, result } = made(local, [ask("field_exists", 2, "0:0:0"), ask("field_exists", 4, "0:0")], target)
    const minimal = B.expectSuccess(result)
    assert.deepStrictEqual(MinCore.differences(program, target, minimal), [])
    assert.deepStrictEqual(listed(minimal), [
      "int",
      "struct shared { x@0 }",
      "struct own { s@32 }",
      "struct inner { x@0 }"
    ])
    assert.deepStrictEqual(minimal.origins, [
      { module: undefined, id: 1 },
      { module: undefined, id: 2 },
      { module: "mod", id: 3 },
      { module: "mod", id: 4 }
    ])
  })
  it("whose types would be taken for the kernel's are refused", () => {
    const target = Core.target(base, [
      module([B.struct("own", 8, [["s", 4, 32]]), B.struct("shared", 4, [["x", 1, 0]])])
    ])
    const types = local.with(1, B.struct("own", 8, [["s", 4, 0]]))
    const { result } = made(types, [ask("field_exists", 2, "0:0"), ask("field_exists", 4, "0:0")], target)
    const error = B.expectFailure(result)
    assert.deepInclude(error, { reason: "ModuleConflict", module: "mod" })
    assert.include(error.message, "mod: the objects need its struct shared")
    assert.isTrue(Result.isSuccess(made(types, [ask("field_exists", 2, "0:0")], target).result))
  })
  it("that are themselves the kernel, split over theirs, are one blob too", () => {
    const { btf } = module([B.struct("own", 8, [["s", 2, 32]])])
    const { program, result } = made(local, [ask("type_exists", 2), ask("field_exists", 4, "0:0")], Core.target(btf))
    const minimal = B.expectSuccess(result)
    assert.deepStrictEqual(MinCore.differences(program, Core.target(btf), minimal), [])
    assert.isUndefined(minimal.btf.base)
  })
})

describe("what is refused", () => {
  it("an object without .BTF.ext", () => {
    const btf = B.btfOf([int])
    const error = B.expectFailure(MinCoreBtf.make(Core.target(btf), [{ name: "x.o", btf, ext: undefined }]))
    assert.deepInclude(error, { reason: "NoRecords", object: "x.o" })
    assert.include(error.message, "x.o: has no .BTF.ext")
  })
  it("an object of the other byte order", () => {
    const program = recorded([int], [ask("type_exists", 1)], "big")
    const error = B.expectFailure(MinCoreBtf.make(Core.target(B.btfOf([int])), [MinCore.objectOf(program, "x.o")]))
    assert.deepInclude(error, { reason: "BadRecords", object: "x.o" })
    assert.include(error.message, "big-endian")
  })
  it("pointers of which no type tells the size", () => {
    const kernel = Result.getOrThrow(Btf.parse(B.blob([B.ptr(0), B.struct("s", 4, [["p", 1, 0]])]), { pointerSize: 4 }))
    const program = recorded([B.ptr(0), B.struct("s", 8, [["p", 1, 0]])], [ask("field_exists", 2, "0:0")])
    const error = B.expectFailure(MinCoreBtf.make(Core.target(kernel), [MinCore.objectOf(program)]))
    assert.deepInclude(error, { reason: "PointerSize" })
  })
  it("records that cannot be read are told once each, and the others are taken", () => {
    const types = [int, B.struct("s", 4, [["x", 1, 0]])]
    const specs = [ask("field_exists", 2, "0:9"), ask("field_exists", 2, "0:9"), ask("field_exists", 2, "0:0"), {
      ...ask("type_exists", 99),
      kind: 13
    }]
    const made = minimal(types, specs, types)
    assert.deepStrictEqual(listed(made), ["int", "struct s { x@0 }"])
    assert.deepStrictEqual(
      made.objects[0]?.problems.map(({ error, section }) => [section, error.record, error.slot, error.reason]),
      [["socket", 0, 0, "BadAccess"], ["socket", 3, 3, "BadType"]]
    )
  })
})

describe("the law, for kernels that are each different in one respect:", () => {
  const kernel = Variants.smallKernel()
  for (const variant of Variants.variants) {
    it(variant.name, () => {
      const { base, modules } = Variants.make(variant, kernel)
      const target = Core.target(base, modules)
      const all = objects.map(({ name, recorded }) => MinCore.objectOf(recorded, name))
      const together = B.expectSuccess(MinCoreBtf.make(target, all))
      for (const [index, { name, recorded }] of objects.entries()) {
        const alone = B.expectSuccess(MinCoreBtf.make(target, all.slice(index, index + 1)))
        assert.deepStrictEqual(MinCore.differences(recorded, target, together), [], name)
        assert.deepStrictEqual(MinCore.differences(recorded, target, alone), [], name)
        assert.isAtMost(alone.btf.bytes.length, together.btf.bytes.length)
      }
      assert.isBelow(together.btf.bytes.length, base.bytes.length)
    })
  }
})
