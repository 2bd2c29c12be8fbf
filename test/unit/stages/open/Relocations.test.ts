import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Insn from "../../../../src/insn/Insn.ts"
import * as Elf from "../../../../src/services/Elf/Elf.ts"
import type { Relocation } from "../../../../src/stages/open/BpfObject.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import { fixture } from "../../../support/Require.ts"
import {
  btf,
  code,
  EXEC,
  nothing,
  type ObjectSpec,
  type RelocationSpec,
  type SectionSpec,
  type SymbolSpec
} from "../ObjectBuilder.ts"
import { opened } from "../Pipeline.ts"
import { failureOf, open, refusal } from "./opening.ts"

const load = Encode.ldImm64(1, 0)
const call = Encode.callSubprogram(-1)

/** A program in `socket` of these instructions, the functions `sub` and `more` in `.text`, `.data`, `.rodata` and more. */
const spec = (
  insns: Uint8Array,
  relocations: ReadonlyArray<Omit<RelocationSpec, "section"> & { readonly section?: string }>,
  more: {
    readonly symbols?: ReadonlyArray<SymbolSpec>
    readonly sections?: ReadonlyArray<SectionSpec>
    readonly text?: Uint8Array
  } = {}
): ObjectSpec => {
  const text = more.text ?? code(nothing, Encode.mov64Imm(0, 1), Encode.exit())
  const object = { type: Elf.STT_OBJECT, size: 4 }
  return {
    sections: [
      { name: "socket", flags: EXEC, bytes: insns },
      { name: ".text", flags: EXEC, bytes: text },
      { name: ".data", bytes: new Uint8Array(16) },
      { name: ".rodata", bytes: new Uint8Array(8) },
      { name: "license", bytes: Uint8Array.of(71, 80, 76, 0) },
      ...more.sections ?? []
    ],
    symbols: [
      { name: "prog", section: "socket", size: insns.length },
      { name: "sub", section: ".text", size: 16 },
      { name: "more", section: ".text", value: 16, size: text.length - 16 },
      { name: "", id: "section .text", section: ".text", type: Elf.STT_SECTION, binding: Elf.STB_LOCAL },
      { name: "", id: "section .rodata", section: ".rodata", type: Elf.STT_SECTION, binding: Elf.STB_LOCAL },
      { name: "variable", section: ".data", value: 12, ...object },
      { name: "constant", section: ".rodata", value: 4, ...object },
      { name: "in_license", section: "license", ...object },
      ...more.symbols ?? []
    ],
    relocations: relocations.map((each) => ({ section: "socket", ...each }))
  }
}

const relocationsOf = (built: ObjectSpec, name = "prog"): ReadonlyArray<Relocation> =>
  open(built).programs.find((each) => each.name === name)?.relocations ?? assert.fail()

const place = { reason: "Relocation" as const, section: "socket" }

describe("data", () => {
  it("is named by the symbol's place, and what stands in the instruction", () => {
    assert.deepStrictEqual(relocationsOf(spec(code(load, Encode.exit()), [{ offset: 0, symbol: "variable" }])), [
      { _tag: "MapValue", at: 0, map: 0, offset: 12 }
    ])
    // A static variable: the section's symbol, its place in the instruction.
    assert.deepStrictEqual(
      relocationsOf(spec(code(Encode.ldImm64(1, 6), Encode.exit()), [{ offset: 0, symbol: "section .rodata" }])),
      [{ _tag: "MapValue", at: 0, map: 1, offset: 6 }]
    )
  })

  it("records come in the order of their instructions", () => {
    const built = spec(code(load, load, Encode.exit()), [
      { offset: 16, symbol: "variable" },
      { offset: 0, symbol: "constant" }
    ])
    assert.deepStrictEqual(relocationsOf(built).map((each) => each.at), [0, 2])
  })

  it("must be of a section that is a map", () => {
    assert.deepInclude(refusal(spec(code(load, Encode.exit()), [{ offset: 0, symbol: "in_license" }])), {
      ...place,
      offset: 0,
      name: "in_license",
      detail: "points into license, which is no map and no function"
    })
  })

  it("must belong to a section; a hint tells of COMMON variables", () => {
    const common = { symbols: [{ name: "lost", section: Elf.SHN_COMMON, type: Elf.STT_OBJECT }] }
    const failed = failureOf(spec(code(load, Encode.exit()), [{ offset: 0, symbol: "lost" }], common))
    assert.match(failed.message, /belongs to no section\nhint: .*-fno-common/)
    const absolute = { symbols: [{ name: "lost", section: Elf.SHN_ABS, type: Elf.STT_OBJECT }] }
    assert.deepInclude(refusal(spec(code(load, Encode.exit()), [{ offset: 0, symbol: "lost" }], absolute)), {
      ...place,
      name: "lost",
      detail: "the symbol belongs to no section"
    })
  })

  it("of a jump table says where it leads, and needs a symbol that says how long it is", () => {
    const tables = {
      sections: [{ name: ".jumptables", bytes: new Uint8Array(8) }],
      symbols: [{ name: "table", section: ".jumptables", type: Elf.STT_OBJECT }]
    }
    assert.deepInclude(refusal(spec(code(load, Encode.exit()), [{ offset: 0, symbol: "table" }], tables)), {
      ...place,
      detail: "a jump table of 0 bytes at byte 0 has no whole entries"
    })
    const sized = { ...tables, symbols: tables.symbols.map((symbol) => ({ ...symbol, size: 8 })) }
    assert.deepStrictEqual(relocationsOf(spec(code(load, Encode.exit()), [{ offset: 0, symbol: "table" }], sized)), [
      { _tag: "JumpTable", at: 0, targets: [0] }
    ])
  })
})

describe("maps", () => {
  const maps = (value: number): ObjectSpec => {
    const built = spec(code(load, Encode.exit()), [{ offset: 0, symbol: "place" }], {
      sections: [{ name: ".maps", bytes: new Uint8Array(32) }],
      symbols: [
        { name: "numbers", section: ".maps", value: 16, size: 16, type: Elf.STT_OBJECT },
        { name: "place", section: ".maps", value, type: Elf.STT_OBJECT }
      ]
    })
    const blob = btf((types) => {
      const int = types.addInt("int", 4, 1)
      const struct = types.addStruct("", 8, [
        { name: "type", type: types.addPtr(types.addArray(int, int, 1)), bitOffset: 0, bitfieldSize: 0 }
      ])
      types.addDatasec(".maps", 32, [
        { type: types.addVar("numbers", struct, Btf.BTF_VAR_GLOBAL_ALLOCATED), offset: 16, size: 16 }
      ])
    })
    return { ...built, btf: blob }
  }

  it("are named by the place of their variable", () => {
    assert.deepStrictEqual(relocationsOf(maps(16)), [{ _tag: "Map", at: 0, map: 0 }])
  })

  it("must start there", () => {
    assert.deepInclude(refusal(maps(0)), {
      ...place,
      offset: 0,
      name: "place",
      detail: "no map is defined at byte 0 of .maps"
    })
    assert.deepInclude(refusal(maps(20)), { ...place, detail: "no map is defined at byte 20 of .maps" })
  })
})

describe("calls", () => {
  it("lead to the symbol's place plus what stands in the instruction", () => {
    assert.deepStrictEqual(relocationsOf(spec(code(call, Encode.exit()), [{ offset: 0, symbol: "more" }])), [
      { _tag: "Call", at: 0, section: 2, slot: 2 }
    ])
    // A static function: the section's symbol, the distance in the instruction.
    assert.deepStrictEqual(
      relocationsOf(spec(code(Encode.callSubprogram(1), Encode.exit()), [{ offset: 0, symbol: "section .text" }])),
      [{ _tag: "Call", at: 0, section: 2, slot: 2 }]
    )
  })

  it("inside one section need no record", () => {
    const text = code(Encode.callSubprogram(1), Encode.exit(), nothing)
    assert.deepStrictEqual(relocationsOf(spec(nothing, [], { text }), "sub"), [{
      _tag: "Call",
      at: 0,
      section: 2,
      slot: 2
    }])
  })

  it("and addresses of functions inside one section need no record either", () => {
    const text = code(Encode.exit(), Encode.exit(), Encode.ldFunc(1, -2), call, Encode.exit())
    assert.deepStrictEqual(relocationsOf(spec(nothing, [], { text }), "more"), [
      { _tag: "Function", at: 0, section: 2, slot: 1 },
      { _tag: "Call", at: 2, section: 2, slot: 4 }
    ])
  })

  it("of helpers and kernel functions are none of these", () => {
    assert.deepStrictEqual(relocationsOf(spec(code(Encode.callHelper(1), Encode.callKfunc(7), Encode.exit()), [])), [])
  })

  it("must be calls of functions, in a section of instructions, at an instruction", () => {
    assert.deepInclude(refusal(spec(code(Encode.callHelper(1), Encode.exit()), [{ offset: 0, symbol: "sub" }])), {
      ...place,
      detail: "the call is not one of a function of the object"
    })
    assert.deepInclude(refusal(spec(code(call, Encode.exit()), [{ offset: 0, symbol: "variable" }])), {
      ...place,
      detail: "the call leads into .data, which holds no instructions"
    })
    const odd = { symbols: [{ name: "odd", section: ".text", value: 4, type: Elf.STT_NOTYPE }] }
    assert.deepInclude(refusal(spec(code(call, Encode.exit()), [{ offset: 0, symbol: "odd" }], odd)), {
      ...place,
      name: "odd",
      detail: "the function does not start at an instruction"
    })
    const far = { symbols: [{ name: "far", section: ".text", value: 2n ** 63n, type: Elf.STT_NOTYPE }] }
    assert.deepInclude(refusal(spec(code(call, Encode.exit()), [{ offset: 0, symbol: "far" }], far)), {
      ...place,
      detail: "the function does not start at an instruction"
    })
  })

  it("make static functions of other sections subprograms", () => {
    const insns = code(Encode.callSubprogram(1), Encode.exit(), nothing)
    const object = open({
      sections: [{ name: "socket", flags: EXEC, bytes: insns }],
      symbols: [
        { name: "prog", section: "socket", size: 16 },
        { name: "callee", section: "socket", value: 16, size: 16, binding: Elf.STB_LOCAL }
      ]
    })
    assert.deepStrictEqual(object.programs.map(({ entry, name, type }) => [name, entry, type]), [
      ["prog", true, 1],
      ["callee", false, 0]
    ])
  })

  it("of oneself leave an entry program what it is", () => {
    const object = open({
      sections: [{ name: "socket", flags: EXEC, bytes: code(Encode.callSubprogram(-1), Encode.exit()) }],
      symbols: [{ name: "prog", section: "socket", size: 16, binding: Elf.STB_LOCAL }]
    })
    assert.isTrue(object.programs[0]?.entry)
  })
})

describe("addresses of functions", () => {
  it("are places in a section of instructions", () => {
    assert.deepStrictEqual(relocationsOf(spec(code(load, Encode.exit()), [{ offset: 0, symbol: "more" }])), [
      { _tag: "Function", at: 0, section: 2, slot: 2 }
    ])
    // A static function has its place in the instruction, in bytes.
    assert.deepStrictEqual(
      relocationsOf(spec(code(Encode.ldImm64(1, 16), Encode.exit()), [{ offset: 0, symbol: "section .text" }])),
      [{ _tag: "Function", at: 0, section: 2, slot: 2 }]
    )
  })

  it("must be those of instructions", () => {
    for (const distance of [4, -8]) {
      assert.deepInclude(
        refusal(
          spec(code(Encode.ldImm64(1, BigInt.asUintN(32, BigInt(distance))), Encode.exit()), [{
            offset: 0,
            symbol: "section .text"
          }])
        ),
        { ...place, detail: "the function does not start at an instruction" }
      )
    }
  })
})

describe("a relocation", () => {
  it("must stand at an instruction that can have one", () => {
    assert.deepInclude(refusal(spec(code(Encode.mov64Imm(0, 0), Encode.exit()), [{ offset: 8, symbol: "variable" }])), {
      ...place,
      offset: 8,
      name: "variable",
      detail: "the instruction (opcode 149) cannot have a relocation"
    })
  })

  it("must stand at whole instructions of its section", () => {
    for (const offset of [4, 16, 4096]) {
      assert.deepInclude(refusal(spec(nothing, [{ offset, symbol: "variable" }])), {
        ...place,
        offset,
        detail: "stands at no whole instruction or pointer of its section"
      })
    }
  })

  it("must stand at a whole 64-bit load", () => {
    const built = spec(code(Encode.mov64Imm(0, 0), load, nothing), [{ offset: 8, symbol: "variable" }])
    const symbols = (built.symbols ?? []).map((each) => each.name === "prog" ? { ...each, size: 16 } : each)
    assert.deepInclude(refusal({ ...built, symbols }), {
      ...place,
      offset: 8,
      detail: "the 64-bit load is cut off by the function's end"
    })
  })

  it("must name a symbol that exists", () => {
    const built = spec(code(load, Encode.exit()), [])
    const rel = { name: ".relsocket", type: Elf.SHT_REL, link: 0, info: 1, entrySize: 16, bytes: new Uint8Array(16) }
    const bytes = rel.bytes
    new DataView(bytes.buffer).setUint32(12, 99, true)
    const failed = failureOf({ ...built, sections: [...built.sections ?? [], { ...rel, bytes }] })
    assert.strictEqual(failed._tag, "ElfError")
    assert.match(failed.message, /relocation 0.*symbol that does not exist/)
  })

  it("in a hole that the linker left is passed over", () => {
    const built = spec(code(nothing, load, Encode.exit()), [{ offset: 16, symbol: "in_license" }])
    const symbols = (built.symbols ?? []).map((each) => each.name === "prog" ? { ...each, size: 16 } : each)
    const object = open({ ...built, symbols })
    assert.deepStrictEqual(object.programs.find((each) => each.name === "prog")?.relocations, [])
    assert.include(object.notes, "1 relocations of socket belong to no function")
  })

  it("belongs to every name of a function", () => {
    const alias = { symbols: [{ name: "alias", section: "socket", size: 24 }] }
    const object = open(spec(code(load, Encode.exit()), [{ offset: 0, symbol: "variable" }], alias))
    const [prog, other] = ["prog", "alias"].map((name) => object.programs.find((each) => each.name === name))
    assert.strictEqual(prog?.relocations.length, 1)
    assert.strictEqual(other?.relocations, prog?.relocations)
  })

  it("of an undefined symbol that is no extern is refused", () => {
    const undefined_ = { symbols: [{ name: "gone", section: 0, type: Elf.STT_OBJECT }] }
    assert.deepInclude(refusal(spec(code(load, Encode.exit()), [{ offset: 0, symbol: "gone" }], undefined_)), {
      ...place,
      name: "gone",
      detail: "the symbol belongs to no section"
    })
  })
})

describe("fixtures", () => {
  it("have every kind of relocation", () => {
    const tags = (name: string) =>
      new Set(opened(name).programs.flatMap((each) => each.relocations.map(({ _tag }) => _tag)))
    assert.sameMembers([...tags("subprograms.bpf.o")], ["Call", "Function", "Map", "MapValue"])
    assert.isTrue(tags("externs.bpf.o").has("Extern"))
    assert.isTrue(tags("ksyms.bpf.o").has("Extern"))
    assert.isTrue(tags("legacy_maps.bpf.o").has("Map"))
    assert.isTrue(tags("arena.bpf.o").has("MapValue"))
  })

  it("are read in instructions of little-endian form, whatever the file's order", () => {
    const little = opened("prog_array.bpf.o").programs
    const big = opened("prog_array.eb.o").programs
    for (const [index, program] of little.entries()) {
      assert.strictEqual(Insn.count(program.insns), Insn.count(big[index]?.insns ?? assert.fail()))
      assert.strictEqual(Insn.opcode(program.insns, 0), Insn.opcode(big[index]?.insns ?? assert.fail(), 0))
    }
  })
})

describe("slots of maps", () => {
  it("are those of the source, with holes", () => {
    for (const kind of [".bpf.o", ".eb.o"]) {
      const { maps } = opened(`map_in_map${kind}`)
      const slots = (name: string) =>
        maps.find((map) => map.name === name)?.slots.map((
          slot
        ) => [slot.slot, slot._tag === "Map" ? maps[slot.map]?.name : ""])
      assert.deepStrictEqual(slots("array_of_maps"), [[0, "first_inner"], [2, "second_inner"]])
      assert.deepStrictEqual(slots("hash_of_maps"), [[1, "first_inner"], [5, "first_inner"]])
      assert.deepStrictEqual(slots("only_template"), [])
      const array = opened(`prog_array${kind}`)
      assert.deepStrictEqual(
        array.maps[0]?.slots.map((
          slot
        ) => [slot.slot, slot._tag === "Program" ? array.programs[slot.program]?.name : ""]),
        [[1, "add_ten"], [4, "add_twenty"]]
      )
    }
    const late = opened("map_in_map_late.bpf.o").maps
    assert.deepStrictEqual(late.map((map) => [map.name, map.slots]), [
      ["early_outer", [{ _tag: "Map", slot: 0, map: 1 }]],
      ["late_inner", []]
    ])
  })

  /** A program array of which one pointer is relocated, and two static programs in one section. */
  const array = (more: {
    readonly symbol: string
    readonly offset?: number
    readonly addend?: number
    readonly type?: number
    readonly keySize?: number
    readonly values?: boolean
    readonly byteOrder?: Elf.ByteOrder
  }): ObjectSpec => {
    const byteOrder = more.byteOrder ?? "little"
    const data = new Uint8Array(64)
    new DataView(data.buffer).setBigUint64(more.offset ?? 40, BigInt(more.addend ?? 0), byteOrder === "little")
    const blob = btf((types) => {
      const int = types.addInt("int", 4, 1)
      const uint = (name: string, value: number, at: number): Btf.Member => ({
        name,
        type: types.addPtr(types.addArray(int, int, value)),
        bitOffset: at * 64,
        bitfieldSize: 0
      })
      const inner = types.addStruct("inner", 8, [uint("type", 1, 0)])
      const pointee = (more.type ?? 3) === 3 ? types.addFuncProto(int, []) : inner
      const values: ReadonlyArray<Btf.Member> = more.values === false
        ? []
        : [{ name: "values", type: types.addArray(int, types.addPtr(pointee), 0), bitOffset: 2 * 64, bitfieldSize: 0 }]
      const struct = types.addStruct("", 16, [
        uint("type", more.type ?? 3, 0),
        uint("key_size", more.keySize ?? 4, 1),
        ...values
      ])
      types.addDatasec(".maps", 64, [
        { type: types.addVar("inner_map", inner, Btf.BTF_VAR_GLOBAL_ALLOCATED), offset: 0, size: 8 },
        { type: types.addVar("outer", struct, Btf.BTF_VAR_GLOBAL_ALLOCATED), offset: 16, size: 40 }
      ])
    }, byteOrder)
    const big = byteOrder === "big" ? Insn.toByteOrder : (insns: Uint8Array) => insns
    return {
      byteOrder,
      sections: [
        { name: "socket", flags: EXEC, bytes: big(code(nothing, nothing), "big") },
        { name: ".text", flags: EXEC, bytes: big(nothing, "big") },
        { name: ".maps", bytes: data }
      ],
      symbols: [
        { name: "one", section: "socket", size: 16, binding: Elf.STB_LOCAL },
        { name: "two", section: "socket", value: 16, size: 16, binding: Elf.STB_LOCAL },
        { name: "", id: "section socket", section: "socket", type: Elf.STT_SECTION, binding: Elf.STB_LOCAL },
        { name: "sub", section: ".text", size: 16 },
        { name: "inner_map", section: ".maps", size: 8, type: Elf.STT_OBJECT },
        { name: "outer", section: ".maps", value: 16, size: 40, type: Elf.STT_OBJECT }
      ],
      relocations: [{ section: ".maps", offset: more.offset ?? 40, symbol: more.symbol, type: 2 }],
      btf: blob
    }
  }
  const slotsOf = (built: ObjectSpec) => open(built).maps.find((map) => map.name === "outer")?.slots
  const here = { reason: "Relocation" as const, section: ".maps" }

  it("follow pointers to static programs by what stands in their place", () => {
    assert.deepStrictEqual(slotsOf(array({ symbol: "two" })), [{ _tag: "Program", slot: 1, program: 1 }])
    for (const byteOrder of ["little", "big"] as const) {
      assert.deepStrictEqual(slotsOf(array({ symbol: "section socket", addend: 16, byteOrder })), [
        { _tag: "Program", slot: 1, program: 1 }
      ])
    }
    assert.deepStrictEqual(slotsOf(array({ symbol: "section socket" })), [{ _tag: "Program", slot: 1, program: 0 }])
    for (const addend of [8, 32, 4]) {
      assert.match(
        refusal(array({ symbol: "section socket", addend })).detail,
        /is not a program that can be loaded on its own/
      )
    }
  })

  it("hold programs that can be loaded on their own, or maps, as the type says", () => {
    assert.deepInclude(refusal(array({ symbol: "sub" })), {
      ...here,
      offset: 40,
      name: "sub",
      detail: "a value of outer is not a program that can be loaded on its own"
    })
    assert.deepStrictEqual(slotsOf(array({ symbol: "inner_map", type: 12 })), [{ _tag: "Map", slot: 1, map: 0 }])
    assert.deepInclude(refusal(array({ symbol: "one", type: 12 })), {
      ...here,
      detail: "a value of outer is not a map"
    })
    assert.deepInclude(refusal(array({ symbol: "inner_map", type: 13, keySize: 8 })), {
      ...here,
      detail: "the keys of outer have 8 bytes; with initial values they need 4"
    })
  })

  it("are pointers inside the values of a definition", () => {
    assert.deepInclude(refusal(array({ symbol: "one", offset: 8 })), {
      ...here,
      offset: 8,
      detail: "stands in no map definition"
    })
    assert.deepInclude(refusal(array({ symbol: "one", offset: 56 })), {
      ...here,
      offset: 56,
      detail: "stands in no map definition"
    })
    assert.deepInclude(refusal(array({ symbol: "one", offset: 24 })), {
      ...here,
      detail: "stands at no value of outer"
    })
    assert.deepInclude(refusal(array({ symbol: "one", values: false })), {
      ...here,
      detail: "the map outer has no values"
    })
  })
})

describe("struct_ops", () => {
  it("variables are maps of the fixture, in sections with and without a question mark", () => {
    const object = opened("struct_ops_link.bpf.o")
    const rows = object.maps.filter((map) => map.origin === "StructOps").map((map) => [
      map.name,
      map.autocreate,
      map.attr.flags,
      map.structOps?.typeName,
      map.structOps?.members.map(({ member, program }) => `${member}=${object.programs[program]?.name}`).join(" ")
    ])
    const tcp = "tcp_congestion_ops"
    assert.deepStrictEqual(rows, [
      ["linked", true, 0x2000, tcp, "ssthresh=threshold cong_avoid=avoid undo_cwnd=undo"],
      ["optional", false, 0x2000, tcp, "ssthresh=other_threshold cong_avoid=avoid undo_cwnd=undo"],
      ["future", false, 0x2000, tcp, "ssthresh=threshold cong_avoid=avoid undo_cwnd=undo"]
    ])
    const plain = opened("struct_ops.bpf.o").maps.filter((map) => map.origin === "StructOps")
    assert.isTrue(plain.every((map) => map.attr.flags === 0 && map.attr.type === 26 && map.attr.keySize === 4))
  })

  /** A struct_ops section with one variable of a struct with a function pointer at 0 and an int at 8. */
  const ops = (more: {
    readonly symbol?: string
    readonly offset?: number
    readonly struct?: string
    readonly kind?: "int"
    readonly size?: number
    readonly twice?: boolean
    readonly withoutDatasec?: boolean
    readonly programSection?: string
  } = {}): ObjectSpec => {
    const blob = btf((types) => {
      const int = types.addInt("int", 4, 1)
      const struct = types.addStruct(more.struct ?? "some_ops", more.size ?? 16, [
        { name: "callback", type: types.addPtr(types.addFuncProto(int, [])), bitOffset: 0, bitfieldSize: 0 },
        { name: "number", type: int, bitOffset: 64, bitfieldSize: 0 }
      ])
      const variable = types.addVar("mine", more.kind === "int" ? int : struct, Btf.BTF_VAR_GLOBAL_ALLOCATED)
      if (more.withoutDatasec !== true) types.addDatasec(".struct_ops", 0, [{ type: variable, offset: 0, size: 16 }])
    })
    const section = { name: ".struct_ops", bytes: new Uint8Array(16) }
    return {
      sections: [
        { name: more.programSection ?? "struct_ops", flags: EXEC, bytes: nothing },
        section,
        ...(more.twice === true ? [section] : [])
      ],
      symbols: [
        { name: "prog", section: more.programSection ?? "struct_ops", size: 16 },
        { name: "mine", section: ".struct_ops", size: 16, type: Elf.STT_OBJECT }
      ],
      relocations: [{ section: ".struct_ops", offset: more.offset ?? 0, symbol: more.symbol ?? "prog", type: 2 }],
      btf: blob
    }
  }

  it("members that are pointers to functions hold programs", () => {
    assert.deepStrictEqual(open(ops()).maps[0]?.structOps?.members, [{ offset: 0, member: "callback", program: 0 }])
    const here = { reason: "Relocation" as const, section: ".struct_ops" }
    assert.deepInclude(refusal(ops({ offset: 8 })), {
      ...here,
      offset: 8,
      detail: "byte 8 of mine is not a pointer to a function"
    })
    assert.deepInclude(refusal(ops({ symbol: "mine" })), {
      ...here,
      detail: "the member callback of mine is not a struct_ops program"
    })
    assert.deepInclude(refusal(ops({ programSection: "socket" })), {
      ...here,
      detail: "the member callback of mine is not a struct_ops program"
    })
    assert.deepInclude(refusal(ops({ size: 8, offset: 8 })), { ...here, detail: "stands in no struct_ops variable" })
  })

  it("variables are of structs with names, inside their section, which is the only one of its name", () => {
    const here = { reason: "StructOps" as const, section: ".struct_ops", offset: 0 }
    assert.deepInclude(refusal(ops({ kind: "int" })), { ...here, name: "mine", detail: "is not a struct" })
    assert.deepInclude(refusal(ops({ struct: "" })), { ...here, name: "mine", detail: "is of a struct without a name" })
    assert.deepInclude(refusal(ops({ size: 24 })), { ...here, name: "mine", detail: "reaches beyond its section" })
    assert.deepInclude(refusal(ops({ twice: true })), { ...here, detail: "there is a second section of this name" })
    assert.deepInclude(refusal(ops({ withoutDatasec: true })), {
      ...here,
      detail: "the object's BTF does not describe this section"
    })
  })
})

describe("every fixture but those for the linker", () => {
  it("is opened", () => {
    const refused = ["link_main.bpf.o", "link_main.eb.o"]
    for (const name of refused) {
      const failed = Open.fromBytes(fixture(name))
      assert.isTrue(
        Result.isFailure(failed) && failed.failure._tag === "OpenError" && failed.failure.reason === "Extern"
      )
    }
  })
})
