import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as Elf from "../../../../src/services/Elf/Elf.ts"
import { MapFlag } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import { kernelName } from "../../../../src/stages/open/DataMaps.ts"
import { findVariable, variables } from "../../../../src/stages/open/Variables.ts"
import { btf, program } from "../ObjectBuilder.ts"
import { opened } from "../Pipeline.ts"
import { open, refusal } from "./opening.ts"
import { findMap } from "../../../../src/stages/open/BpfObject.ts"

const { section, symbol } = program("socket")

describe("the kernel's name for a data section's map", () => {
  it("is the object's name, cut so that the section's fits behind it", () => {
    assert.strictEqual(kernelName("my_object_name", ".rodata"), "my_objec.rodata")
    assert.strictEqual(kernelName("my_object_name", ".bss"), "my_objec.bss")
    assert.strictEqual(kernelName("my_object_name", ".data"), "my_objec.data")
    assert.strictEqual(kernelName("my_object_name", ".kconfig"), "my_obje.kconfig")
    assert.strictEqual(kernelName("short", ".bss"), "short.bss")
    assert.strictEqual(kernelName("", ".data"), ".data")
  })

  it("is the section's alone where that has a second dot", () => {
    assert.strictEqual(kernelName("my_object_name", ".rodata.abracadabra"), ".rodata.abracad")
    assert.strictEqual(kernelName("my_object_name", ".data.x"), ".data.x")
    assert.strictEqual(kernelName("my_object_name", ".bss.custom"), ".bss.custom")
  })

  it("has only letters, digits, underscores and dots", () => {
    assert.strictEqual(kernelName("a-b c", ".data"), "a_b_c.data")
    assert.strictEqual(kernelName("ü", ".bss"), "_.bss")
  })
})

describe("data sections", () => {
  it("are array maps of one element, in the order of the file", () => {
    const object = opened("global_data.bpf.o")
    const rows = object.maps.map((
      map
    ) => [map.sectionName, map.name, map.origin, map.attr.flags, map.attr.valueSize === map.initialValue?.length])
    const mappable = MapFlag.BPF_F_MMAPABLE
    const readOnly = MapFlag.BPF_F_RDONLY_PROG
    assert.sameDeepMembers(rows, [
      [".data", "global_d.data", "Data", mappable, true],
      [".data.custom", ".data.custom", "Data", mappable, true],
      // Only a static variable in it: user space has no reason to map it.
      [".data.static", ".data.static", "Data", 0, true],
      [".rodata", "global_d.rodata", "Rodata", mappable | readOnly, true],
      [".rodata.custom", ".rodata.custom", "Rodata", mappable | readOnly, true],
      [".rodata.str1.1", ".rodata.str1.1", "Rodata", readOnly, true],
      [".bss", "global_d.bss", "Bss", mappable, true]
    ])
    assert.isTrue(object.maps.every(({ attr }) => attr.type === 2 && attr.keySize === 4 && attr.maxEntries === 1))
    const indices = object.maps.map((map) => map.sectionIndex)
    assert.deepStrictEqual(indices, [...indices].sort((a, b) => a - b))
    assert.strictEqual(findMap(object, ".rodata.str1.1")?.valueType, 0)
    assert.isTrue(findMap(object, ".bss")?.initialValue?.every((byte) => byte === 0))
  })

  it("of zeroes may have names of their own", () => {
    const object = opened("bss_custom.bpf.o")
    assert.deepStrictEqual(object.maps.map((map) => [map.name, map.sectionName]), [
      ["bss_cust.bss", ".bss"],
      [".bss.custom", ".bss.custom"]
    ])
  })

  it("without bytes make no map", () => {
    const object = open({
      sections: [section, { name: ".data" }, { name: ".bss", type: Elf.SHT_NOBITS, size: 0 }, {
        name: ".rodata",
        bytes: new Uint8Array(1)
      }],
      symbols: [symbol]
    })
    assert.deepStrictEqual(object.maps.map((map) => map.sectionName), [".rodata"])
  })

  it("of zeroes are bounded", () => {
    const bss = (size: number) => ({ name: ".bss", type: Elf.SHT_NOBITS, size })
    assert.deepInclude(refusal({ sections: [section, bss(0x400_0001)], symbols: [symbol] }), {
      reason: "Section",
      section: ".bss",
      detail: "67108865 bytes of zeroes are more than the 64 MiB that an object may have"
    })
    assert.strictEqual(refusal({ sections: [section, bss(0x3ff_ffff), bss(2)], symbols: [symbol] }).reason, "Section")
    assert.strictEqual(refusal({ sections: [section, bss(2 ** 40)], symbols: [symbol] }).reason, "Section")
    assert.strictEqual(open({ sections: [section, bss(0x400_0000)], symbols: [symbol] }).maps.length, 1)
  })
})

/** An object with a section of 16 bytes and two variables in it, as the compiler leaves them: without places. */
const twoVariables = (more: {
  readonly size?: number
  readonly visibility?: number
  readonly linkage?: number
  readonly names?: ReadonlyArray<string>
  readonly section?: string
  readonly offsets?: readonly [number, number]
  readonly binding?: number
} = {}) => {
  const name = more.section ?? ".data"
  const blob = btf((types) => {
    const int = types.addInt("int", 4, 1)
    const linkage = more.linkage ?? Btf.BTF_VAR_GLOBAL_ALLOCATED
    const [one, other] = more.offsets ?? [0, 0]
    types.addDatasec(name, more.size ?? 0, [
      { type: types.addVar("one", int, linkage), offset: one, size: 4 },
      { type: types.addVar("other", int, linkage), offset: other, size: 4 }
    ])
  })
  const names = more.names ?? ["one", "other"]
  return {
    sections: [section, { name: ".data", bytes: new Uint8Array(16) }],
    symbols: [
      symbol,
      ...names.map((each, index) => ({
        name: each,
        section: ".data",
        value: index === 0 ? 12 : 4,
        size: 4,
        type: Elf.STT_OBJECT,
        visibility: more.visibility ?? Elf.STV_DEFAULT,
        binding: more.binding ?? Elf.STB_GLOBAL
      }))
    ],
    btf: blob
  }
}

const datasecOf = (object: { readonly btf: Btf.Btf | undefined }, name: string): Btf.DatasecType => {
  const types = object.btf ?? assert.fail("no BTF")
  const found = Btf.typeOf(types, Btf.findOne(types, name, Btf.BTF_KIND_DATASEC) ?? 0)
  return found._tag === "Datasec" ? found : assert.fail(`no ${name}`)
}

const variableOf = (object: { readonly btf: Btf.Btf | undefined }, name: string): Btf.VarType => {
  const types = object.btf ?? assert.fail("no BTF")
  const found = Btf.typeOf(types, Btf.findOne(types, name, Btf.BTF_KIND_VAR) ?? 0)
  return found._tag === "Var" ? found : assert.fail(`no ${name}`)
}

describe("the BTF of data sections", () => {
  it("gets the section's size and the variables' places, sorted by them", () => {
    const object = open(twoVariables())
    const datasec = datasecOf(object, ".data")
    assert.strictEqual(datasec.size, 16)
    const types = object.btf ?? assert.fail()
    assert.deepStrictEqual(datasec.entries.map(({ offset, type }) => [offset, Btf.nameOf(types, type)]), [
      [4, "other"],
      [12, "one"]
    ])
    for (const name of ["xdp_firewall.bpf.o", "global_data.bpf.o", "global_data.eb.o"]) {
      const fixture = opened(name)
      for (const map of fixture.maps.filter((each) => each.origin === "Data" && each.valueType !== 0)) {
        assert.strictEqual(datasecOf(fixture, map.sectionName).size, map.attr.valueSize)
      }
    }
    const data = datasecOf(opened("global_data.bpf.o"), ".data")
    const offsets = data.entries.map((entry) => entry.offset)
    assert.strictEqual(new Set(offsets).size, offsets.length)
    assert.deepStrictEqual(offsets, [...offsets].sort((a, b) => a - b))
  })

  it("keeps places that a linker has filled in, and sorts them", () => {
    const datasec = datasecOf(open(twoVariables({ size: 16, offsets: [8, 0] })), ".data")
    assert.deepStrictEqual(datasec.entries.map((entry) => entry.offset), [0, 8])
  })

  it("calls hidden variables static, and then the map is not to be mapped", () => {
    for (const visibility of [Elf.STV_HIDDEN, Elf.STV_INTERNAL]) {
      const object = open(twoVariables({ visibility }))
      assert.strictEqual(variableOf(object, "one").linkage, Btf.BTF_VAR_STATIC)
      assert.strictEqual(object.maps[0]?.attr.flags, 0)
    }
    const visible = open(twoVariables({ visibility: Elf.STV_PROTECTED }))
    assert.strictEqual(variableOf(visible, "one").linkage, Btf.BTF_VAR_GLOBAL_ALLOCATED)
    assert.strictEqual(visible.maps[0]?.attr.flags, MapFlag.BPF_F_MMAPABLE)
    const fixture = opened("global_data.bpf.o")
    assert.strictEqual(variableOf(fixture, "hidden_data").linkage, Btf.BTF_VAR_STATIC)
    assert.strictEqual(variableOf(fixture, "answer").linkage, Btf.BTF_VAR_GLOBAL_ALLOCATED)
  })

  it("leaves static variables alone", () => {
    const datasec = datasecOf(open(twoVariables({ linkage: Btf.BTF_VAR_STATIC, names: [], offsets: [4, 0] })), ".data")
    assert.deepStrictEqual(datasec.entries.map((entry) => entry.offset), [0, 4])
  })

  it("must describe what is there", () => {
    assert.deepInclude(refusal(twoVariables({ section: ".data.gone" })), {
      reason: "Datasec",
      section: ".data.gone",
      offset: 0,
      detail: "the BTF describes variables of this section, but the file has no such section"
    })
    assert.deepInclude(refusal(twoVariables({ names: ["one"] })), {
      reason: "Datasec",
      section: ".data",
      name: "other",
      detail: "the symbol table has no such variable"
    })
    assert.deepInclude(refusal(twoVariables({ binding: Elf.STB_LOCAL })), { reason: "Datasec", name: "one" })
    const notVariable = btf((types) => {
      types.addDatasec(".data", 16, [{ type: types.addInt("int", 4, 1), offset: 3, size: 4 }])
    })
    assert.deepInclude(refusal({ ...twoVariables(), btf: notVariable }), {
      reason: "Datasec",
      section: ".data",
      offset: 3,
      detail: "entry 0 is not a variable"
    })
  })
})

describe("hidden functions", () => {
  it("are static in the BTF, which the kernel then verifies with each call", () => {
    for (const name of ["subprograms.bpf.o", "subprograms.eb.o"]) {
      const { btf, programs } = opened(name)
      const types = btf ?? assert.fail()
      const linkage = (func: string) => {
        const type = Btf.typeOf(types, Btf.findOne(types, func, Btf.BTF_KIND_FUNC) ?? 0)
        return type._tag === "Func" ? type.linkage : assert.fail()
      }
      assert.strictEqual(linkage("hidden_negate"), Btf.BTF_FUNC_STATIC)
      assert.strictEqual(linkage("add_element"), Btf.BTF_FUNC_STATIC)
      assert.strictEqual(linkage("global_sum"), Btf.BTF_FUNC_GLOBAL)
      assert.strictEqual(linkage("weak_double"), Btf.BTF_FUNC_GLOBAL)
      assert.isTrue(programs.find((each) => each.name === "hidden_negate")?.hidden)
    }
  })
})

describe("variables", () => {
  it("are found by name, with their place and type", () => {
    const object = opened("global_data.bpf.o")
    const answer = findVariable(object, "answer") ?? assert.fail()
    assert.strictEqual(answer.section, ".data")
    assert.strictEqual(answer.size, 4)
    assert.isTrue(answer.global)
    assert.strictEqual(object.maps[answer.map]?.sectionName, ".data")
    assert.isFalse(findVariable(object, "static_data")?.global)
    assert.isUndefined(findVariable(object, "no_such_variable"))
    assert.includeMembers(variables(object).map((each) => each.name), [
      "answer",
      "custom_data",
      "limit",
      "counter",
      "custom_limit"
    ])
  })

  it("come without BTF not at all", () => {
    assert.deepStrictEqual(
      variables(open({ sections: [section, { name: ".data", bytes: new Uint8Array(4) }], symbols: [symbol] })),
      []
    )
  })
})
