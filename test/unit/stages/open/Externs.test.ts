import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../../src/btf/Btf.ts"
import type { BtfEditor } from "../../../../src/btf/BtfEdit.ts"
import * as Elf from "../../../../src/services/Elf/Elf.ts"
import { essentialName } from "../../../../src/stages/open/BpfObject.ts"
import { btf, type ObjectSpec, program } from "../ObjectBuilder.ts"
import { opened } from "../Pipeline.ts"
import { failureOf, open, refusal } from "./opening.ts"

const { section, symbol } = program("socket")

/** An extern variable of the object: its type is made by `type`. */
interface Declared {
  readonly name: string
  readonly type?: (types: BtfEditor) => number
  readonly func?: (types: BtfEditor) => number
  readonly section?: string
  readonly linkage?: number
  readonly weak?: boolean
  readonly withoutSymbol?: boolean
}

const int = (types: BtfEditor) => types.addInt("int", 4, Btf.BTF_INT_SIGNED)

/** An object that refers to these externs. */
const withExterns = (externs: ReadonlyArray<Declared>): ObjectSpec => {
  const blob = btf((types) => {
    const bySection = new Map<string, Array<Btf.DatasecEntry>>()
    for (const { func, linkage, name, section = ".kconfig", type = int } of externs) {
      const id = func === undefined
        ? types.addVar(name, type(types), linkage ?? Btf.BTF_VAR_GLOBAL_EXTERN)
        : types.addFunc(name, func(types), linkage ?? Btf.BTF_FUNC_EXTERN)
      if (section !== "") bySection.set(section, [...(bySection.get(section) ?? []), { type: id, offset: 0, size: 0 }])
    }
    for (const [name, entries] of bySection) types.addDatasec(name, 0, entries)
  })
  return {
    sections: [section],
    symbols: [
      symbol,
      ...externs.filter((each) => each.withoutSymbol !== true).map(({ name, weak }) => ({
        name,
        section: 0,
        type: Elf.STT_NOTYPE,
        binding: weak === true ? Elf.STB_WEAK : Elf.STB_GLOBAL
      }))
    ],
    btf: blob
  }
}

/** Where the first extern of such an object is refused. */
const place = { reason: "Extern" as const, section: ".symtab", offset: 48 }

const typesOf = (object: { readonly btf: Btf.Btf | undefined }): Btf.Btf => object.btf ?? assert.fail()

const datasec = (object: { readonly btf: Btf.Btf | undefined }, name: string): Btf.DatasecType => {
  const type = Btf.typeOf(typesOf(object), Btf.findOne(typesOf(object), name, Btf.BTF_KIND_DATASEC) ?? 0)
  return type._tag === "Datasec" ? type : assert.fail()
}

describe("configuration values", () => {
  const byte = (types: BtfEditor) => types.addInt("char", 1, Btf.BTF_INT_CHAR | Btf.BTF_INT_SIGNED)
  const wide = (types: BtfEditor) => types.addInt("u64", 8, 0)
  const bool = (types: BtfEditor) => types.addInt("_Bool", 1, Btf.BTF_INT_BOOL)
  const text = (types: BtfEditor) => types.addArray(int(types), byte(types), 7)

  it("are laid out by alignment, size and name, each at its alignment", () => {
    const object = open(withExterns([
      { name: "CONFIG_C", type: byte },
      { name: "CONFIG_TEXT", type: text },
      { name: "CONFIG_B", type: int },
      { name: "CONFIG_A", type: int },
      { name: "CONFIG_WIDE", type: wide },
      { name: "CONFIG_BOOL", type: bool }
    ]))
    assert.deepStrictEqual(
      object.externs.map((extern) =>
        extern._tag === "Kconfig" ? [extern.name, extern.dataOffset, extern.size, extern.kind, extern.signed] : []
      ),
      [
        ["CONFIG_WIDE", 0, 8, "int", false],
        ["CONFIG_A", 8, 4, "int", true],
        ["CONFIG_B", 12, 4, "int", true],
        ["CONFIG_BOOL", 16, 1, "bool", false],
        ["CONFIG_C", 17, 1, "char", true],
        ["CONFIG_TEXT", 18, 7, "string", false]
      ]
    )
    const [map] = object.maps
    assert.deepInclude({ ...map }, {
      name: "test.kconfig",
      sectionName: ".kconfig",
      origin: "Kconfig",
      sectionIndex: -1
    })
    assert.strictEqual(map?.attr.valueSize, 25)
  })

  it("have a DATASEC that is rewritten to that layout, of global variables", () => {
    const object = open(withExterns([{ name: "CONFIG_C", type: byte }, { name: "CONFIG_A", type: int }]))
    const { entries, size } = datasec(object, ".kconfig")
    assert.strictEqual(size, 5)
    assert.deepStrictEqual(entries.map(({ offset, type }) => [Btf.nameOf(typesOf(object), type), offset]), [
      ["CONFIG_A", 0],
      ["CONFIG_C", 4]
    ])
    for (const { type } of entries) {
      const variable = Btf.typeOf(typesOf(object), type)
      assert.strictEqual(variable._tag === "Var" ? variable.linkage : -1, Btf.BTF_VAR_GLOBAL_ALLOCATED)
    }
  })

  it("are those of the fixture, in either byte order", () => {
    for (const name of ["externs.bpf.o", "externs.eb.o"]) {
      const object = opened(name)
      const kinds = object.externs.map((extern) =>
        extern._tag === "Kconfig" ? `${extern.name} ${extern.kind}${extern.weak ? " weak" : ""}` : ""
      )
      assert.sameMembers(kinds, [
        "LINUX_NOT_KNOWN_YET int weak",
        "CONFIG_BPF_SYSCALL tristate",
        "CONFIG_HZ int",
        "LINUX_KERNEL_VERSION int",
        "CONFIG_THERE_IS_NO_SUCH_THING int weak",
        "CONFIG_BPF_JIT char weak",
        "CONFIG_NET bool",
        "LINUX_HAS_BPF_COOKIE bool weak",
        "LINUX_HAS_SYSCALL_WRAPPER bool weak",
        "CONFIG_CC_VERSION_TEXT string weak"
      ])
      const map = object.maps.find((each) => each.origin === "Kconfig") ?? assert.fail()
      assert.strictEqual(map.name, "externs.kconfig")
      assert.strictEqual(datasec(object, ".kconfig").size, map.attr.valueSize)
      assert.strictEqual(map.valueType, datasec(object, ".kconfig").id)
      const last = object.externs.at(-1)
      assert.strictEqual(last?._tag === "Kconfig" ? last.dataOffset + last.size : 0, map.attr.valueSize)
    }
  })

  it("have types that a configuration value can have", () => {
    const bad: ReadonlyArray<readonly [Declared["type"], RegExp]> = [
      [(types) => types.addStruct("s", 4, []), /is no type of a kernel configuration value/],
      [(types) => types.addPtr(0), /is no type of a kernel configuration value/],
      [(types) => types.addInt("bool2", 2, Btf.BTF_INT_BOOL), /is no type of/],
      [(types) => types.addInt("u128", 16, 0), /is no type of/],
      [(types) => types.addArray(int(types), int(types), 3), /is no type of/],
      [(types) => types.addArray(int(types), byte(types), 0), /the variable has no size/],
      [() => 0, /the variable has no size/]
    ]
    for (const [type, message] of bad) {
      const refused = refusal(withExterns([{ name: "CONFIG_X", ...(type === undefined ? {} : { type }) }]))
      assert.deepInclude(refused, { ...place, name: "CONFIG_X" })
      assert.match(refused.detail, message)
    }
  })

  it("cannot ask for gigabytes", () => {
    const huge = withExterns([{
      name: "CONFIG_X",
      type: (types) => types.addArray(int(types), byte(types), 0xffff_ffff)
    }])
    assert.deepInclude(refusal(huge), { reason: "Extern", section: ".kconfig", offset: 0, name: "CONFIG_X" })
  })

  it("are no functions", () => {
    const spec = withExterns([{ name: "CONFIG_X", func: (types) => types.addFuncProto(0, []) }])
    assert.deepInclude(refusal(spec), { ...place, detail: "a function cannot be a kernel configuration value" })
  })
})

describe("kernel symbols", () => {
  const proto = (types: BtfEditor) =>
    types.addFuncProto(0, [{ name: "", type: types.addInt("long", 8, 1) }, { name: "given", type: 1 }, {
      name: "",
      type: 0
    }])

  it("are typeless variables, typed ones, and functions; flavours are no part of the kernel's name", () => {
    const object = open(withExterns([
      { name: "typed", section: ".ksyms", weak: true },
      { name: "address", section: ".ksyms", type: () => 0 },
      { name: "call_me___flavour", section: ".ksyms", func: proto }
    ]))
    assert.deepStrictEqual(
      object.externs.map((extern) =>
        extern._tag === "Ksym"
          ? [extern.name, extern.kernelName, extern.weak, extern.isFunction, extern.typeId === 0]
          : []
      ),
      [
        ["address", "address", false, false, true],
        ["call_me___flavour", "call_me", false, true, false],
        ["typed", "typed", true, false, false]
      ]
    )
    assert.deepStrictEqual(object.maps, [])
  })

  it("have a DATASEC that is rewritten to global ints, a made-up variable for each function", () => {
    const object = open(withExterns([
      { name: "variable", section: ".ksyms", type: (types) => types.addStruct("big", 64, []) },
      { name: "func", section: ".ksyms", func: proto },
      { name: "CONFIG_LATER", type: int }
    ]))
    const types = typesOf(object)
    const { entries, size } = datasec(object, ".ksyms")
    assert.strictEqual(size, 8)
    assert.deepStrictEqual(entries.map((entry) => [Btf.nameOf(types, entry.type), entry.offset, entry.size]), [
      ["variable", 0, 4],
      ["dummy_ksym", 4, 4]
    ])
    for (const { type } of entries) {
      const variable = Btf.typeOf(types, type)
      if (variable._tag !== "Var") assert.fail()
      assert.strictEqual(variable.linkage, Btf.BTF_VAR_GLOBAL_ALLOCATED)
      const typed = Btf.typeOf(types, variable.type)
      assert.strictEqual(typed._tag === "Int" ? typed.bits : 0, 32)
    }
    const func = Btf.typeOf(types, Btf.findOne(types, "func", Btf.BTF_KIND_FUNC) ?? 0)
    if (func._tag !== "Func") assert.fail()
    assert.strictEqual(func.linkage, Btf.BTF_FUNC_GLOBAL)
    const params = Btf.typeOf(types, func.type)
    assert.deepStrictEqual(params._tag === "FuncProto" ? params.params.map((each) => each.name) : [], [
      "dummy_ksym",
      "given",
      ""
    ])
  })

  it("get an int of their own where the object has none", () => {
    const object = open(withExterns([{ name: "address", section: ".ksyms", type: () => 0 }]))
    const types = typesOf(object)
    assert.isDefined(Btf.findOne(types, "int", Btf.BTF_KIND_INT))
    assert.isUndefined(Btf.findOne(types, "dummy_ksym"))
  })

  it("are those of the fixture", () => {
    for (const name of ["ksyms.bpf.o", "ksyms.eb.o"]) {
      const object = opened(name)
      assert.deepStrictEqual(
        object.externs.map((extern) =>
          extern._tag === "Ksym"
            ? [extern.name, extern.kernelName, extern.weak, extern.isFunction, extern.typeId === 0]
            : []
        ),
        [
          ["bpf_rcu_read_lock", "bpf_rcu_read_lock", false, true, false],
          ["bpf_rcu_read_lock___second_spelling", "bpf_rcu_read_lock", true, true, false],
          ["bpf_rcu_read_unlock", "bpf_rcu_read_unlock", false, true, false],
          ["schedule", "schedule", false, false, true],
          ["there_is_no_such_address", "there_is_no_such_address", true, false, true],
          ["there_is_no_such_function", "there_is_no_such_function", true, true, false]
        ]
      )
      const names = datasec(object, ".ksyms").entries.map((entry) => Btf.nameOf(typesOf(object), entry.type))
      assert.deepStrictEqual(names.filter((each) => each === "dummy_ksym").length, 4)
      assert.deepStrictEqual(datasec(object, ".ksyms").entries.map((entry) => entry.offset), [0, 4, 8, 12, 16, 20])
    }
  })
})

describe("externs", () => {
  it("must be declared, extern, and of a section that can be looked up", () => {
    const plain = (more: Partial<Declared>) => withExterns([{ name: "outside", ...more }])
    assert.deepInclude(refusal({ ...plain({}), btf: btf(() => {}) }), {
      ...place,
      name: "outside",
      detail: "the object's BTF does not declare this extern"
    })
    assert.deepInclude(refusal(plain({ linkage: Btf.BTF_VAR_GLOBAL_ALLOCATED })), {
      ...place,
      detail: "is defined in the object's BTF, but not in its symbol table"
    })
    assert.deepInclude(refusal(plain({ section: ".maps" })), { ...place, detail: "belongs to section .maps" })
    assert.deepInclude(refusal(plain({ section: "" })), { ...place, detail: "belongs to no section" })
    const link = failureOf({ ...plain({ section: ".maps" }) })
    assert.match(link.message, /link the objects first/)
  })

  it("in the BTF must be referred to", () => {
    const others = { name: "used", section: ".ksyms" }
    assert.deepInclude(refusal(withExterns([others, { name: "unused", section: ".ksyms", withoutSymbol: true }])), {
      reason: "Extern",
      section: ".ksyms",
      offset: 0,
      name: "unused",
      detail: "is in .ksyms, but no symbol refers to it"
    })
    assert.deepInclude(refusal(withExterns([others, { name: "CONFIG_UNUSED", withoutSymbol: true }])), {
      reason: "Extern",
      section: ".kconfig",
      offset: 0,
      name: "CONFIG_UNUSED",
      detail: "is in .kconfig, but no symbol refers to it"
    })
  })
})

describe("a name without its flavour", () => {
  const rows: ReadonlyArray<readonly [string, string]> = [
    ["task_struct", "task_struct"],
    ["task_struct___old", "task_struct"],
    ["a___b___c", "a___b"],
    ["___old", "___old"],
    ["name___", "name___"],
    ["name____x", "name____x"],
    ["name__x", "name__x"],
    ["s___2", "s"],
    ["", ""]
  ]
  for (const [name, essential] of rows) {
    it(`of "${name}" is "${essential}"`, () => assert.strictEqual(essentialName(name), essential))
  }
})
