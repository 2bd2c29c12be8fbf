/** What a link moves beyond what libbpf's moves: jump tables, pointers in data, calls over what was left out, old maps. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Encode from "../../../src/insn/Encode.ts"
import * as Linker from "../../../src/linker/Linker.ts"
import * as Elf from "../../../src/services/Elf/Elf.ts"
import { expectFailure, expectSuccess } from "../../support/arbitrary/BtfBlob.ts"
import { btf, build, code, EXEC, inOrder, nothing, type ObjectSpec } from "../stages/ObjectBuilder.ts"

const orders: ReadonlyArray<Elf.ByteOrder> = ["little", "big"]

const linked = (specs: ReadonlyArray<ObjectSpec>, options: Linker.LinkOptions = {}) => {
  const inputs = specs.map((spec, index) => ({ name: `${index}.o`, bytes: build(spec) }))
  const { bytes, map } = expectSuccess(Linker.link(inputs, options))
  return { file: expectSuccess(Elf.parse(bytes)), map }
}

const dataOf = (file: Elf.ElfFile, name: string): Uint8Array =>
  Elf.sectionByName(file, name)?.data ?? assert.fail(`there is no section ${name}`)

const words = (file: Elf.ElfFile, name: string, size: 4 | 8): ReadonlyArray<number> => {
  const data = dataOf(file, name)
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const little = file.header.byteOrder === "little"
  return Array.from(
    { length: data.length / size },
    (_, index) => size === 8 ? Number(view.getBigUint64(index * 8, little)) : view.getUint32(index * 4, little)
  )
}

const numbers = (values: ReadonlyArray<number>, size: 4 | 8, byteOrder: Elf.ByteOrder): Uint8Array => {
  const bytes = new Uint8Array(values.length * size)
  const view = new DataView(bytes.buffer)
  const little = byteOrder === "little"
  values.forEach((value, index) => {
    if (size === 8) view.setBigUint64(index * 8, BigInt(value), little)
    else view.setUint32(index * 4, value, little)
  })
  return bytes
}

/** Named symbols and their offsets. */
const placesOf = ({ symbols }: Elf.ElfFile): Readonly<Record<string, number>> => {
  const places: Record<string, number> = {}
  for (let index = 1; index < (symbols?.count ?? 0); index++) {
    if (symbols !== undefined) places[Elf.symbolName(symbols, index)] = Elf.symbolOffset(symbols, index)
  }
  return places
}

const load = Encode.ldImm64(1, 0n)

describe("jump tables", () => {
  const withTable = (name: string, byteOrder: Elf.ByteOrder): ObjectSpec => ({
    byteOrder,
    sections: [
      { name: "xdp", flags: EXEC, bytes: inOrder(code(load, nothing), byteOrder) },
      { name: ".jumptables", bytes: numbers([16, 24], 8, byteOrder) }
    ],
    symbols: [
      { name: "BPF.JT.0.0", section: ".jumptables", size: 16, type: Elf.STT_OBJECT },
      { name, section: "xdp", size: 32, binding: Elf.STB_LOCAL }
    ],
    relocations: [{ section: "xdp", offset: 0, symbol: "BPF.JT.0.0" }]
  })

  it.each(orders)("lead into their own file's code, %s-endian", (byteOrder) => {
    const { file } = linked([withTable("one", byteOrder), withTable("two", byteOrder)])
    assert.deepStrictEqual(words(file, ".jumptables", 8), [16, 24, 48, 56])
  })

  it("that lead nowhere are refused", () => {
    const spec = withTable("one", "little")
    const sections = (spec.sections ?? []).map((section) =>
      section.name === ".jumptables" ? { ...section, bytes: numbers([16, 4000], 8, "little") } : section
    )
    const failed = expectFailure(Linker.link([{ name: "a", bytes: build({ ...spec, sections }) }]))
    assert.deepInclude(failed, { reason: "Relocation", file: "a", section: "xdp", symbol: "BPF.JT.0.0", offset: 0 })
  })
})

describe("pointers in data", () => {
  it.each(orders)("to static variables follow them, %s-endian", (byteOrder) => {
    const spec: ObjectSpec = {
      byteOrder,
      sections: [{ name: ".data.x", flags: 3n, bytes: new Uint8Array(8) }, {
        name: ".data.p",
        flags: 3n,
        bytes: numbers([4], 8, byteOrder)
      }],
      symbols: [{ name: "", id: "x", section: ".data.x", type: Elf.STT_SECTION, binding: Elf.STB_LOCAL }],
      relocations: [{ section: ".data.p", offset: 0, symbol: "x", type: Elf.R_BPF_64_ABS64 }]
    }
    const { file } = linked([spec, spec])
    assert.deepStrictEqual(words(file, ".data.p", 8), [4, 12])
  })
})

describe("weak definitions that lost", () => {
  const types = (linkage: number) =>
    btf((types) => {
      const int = types.addInt("int", 4, 1)
      types.addFunc("w", types.addFuncProto(int, []), linkage)
    })
  const call = (slots: number) => Encode.callSubprogram(slots)
  /** `first` calls `last` without a relocation, over the weak function. */
  const weak = (byteOrder: Elf.ByteOrder, middle = nothing): ObjectSpec => ({
    byteOrder,
    btf: byteOrder === "little" ? types(1) : btf((types) => {
      types.addFunc("w", types.addFuncProto(types.addInt("int", 4, 1), []), 1)
    }, "big"),
    sections: [{
      name: ".text",
      flags: EXEC,
      bytes: inOrder(code(call(3), Encode.exit(), middle, nothing), byteOrder)
    }],
    symbols: [
      { name: "first", section: ".text", size: 16, binding: Elf.STB_LOCAL },
      { name: "w", section: ".text", value: 16, size: 16, binding: Elf.STB_WEAK },
      { name: "last", section: ".text", value: 32, size: 16, binding: Elf.STB_LOCAL }
    ]
  })
  const strong = (byteOrder: Elf.ByteOrder): ObjectSpec => ({
    ...weak(byteOrder),
    sections: [{ name: ".text", flags: EXEC, bytes: inOrder(nothing, byteOrder) }],
    symbols: [{ name: "w", section: ".text", size: 16 }]
  })

  it.each(orders)("are left out of a final link, and calls over them corrected, %s-endian", (byteOrder) => {
    const { file, map } = linked([weak(byteOrder), strong(byteOrder)])
    assert.deepStrictEqual(placesOf(file), { first: 0, last: 16, w: 32 })
    const expected = inOrder(code(call(1), Encode.exit(), nothing, nothing), byteOrder)
    assert.deepStrictEqual(dataOf(file, ".text"), expected)
    const mentions = map.symbols.find(({ name }) => name === "w")?.mentions
    assert.deepStrictEqual(mentions?.map(({ counts, leftOut }) => ({ counts, leftOut })), [
      { counts: false, leftOut: true },
      { counts: true, leftOut: false }
    ])
  })

  it("stay in a partial link", () => {
    const { file } = linked([weak("little"), strong("little")], { relocatable: true })
    assert.deepStrictEqual(placesOf(file), { first: 0, last: 32, w: 48 })
  })

  it("stay where a call leads into them", () => {
    const spec = weak("little")
    const into = code(call(1), Encode.exit(), nothing, nothing)
    const { file, map } = linked([
      { ...spec, sections: [{ name: ".text", flags: EXEC, bytes: into }] },
      strong("little")
    ])
    assert.strictEqual(dataOf(file, ".text").length, 64)
    assert.strictEqual(map.symbols[0]?.mentions[0]?.leftOut, false)
  })
})

describe("maps from before BTF", () => {
  const legacy = (name: string, record: ReadonlyArray<number>): ObjectSpec => ({
    sections: [{ name: "maps", flags: 3n, bytes: numbers(record, 4, "little") }],
    symbols: [{ name, section: "maps", size: record.length * 4, type: Elf.STT_OBJECT }]
  })

  it("are one after another, padded to the longest record", () => {
    const { file } = linked([
      legacy("a", [1, 4, 8, 16, 0]),
      legacy("b", [2, 4, 4, 1, 0, 0, 0]),
      legacy("c", [1, 1, 1, 1, 1])
    ])
    assert.deepStrictEqual(words(file, "maps", 4), [1, 4, 8, 16, 0, 0, 0, 2, 4, 4, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0])
    assert.deepInclude(placesOf(file), { a: 0, b: 28, c: 56 })
  })
})

describe("a linker", () => {
  const input = (name: string) => ({
    name,
    bytes: build({ sections: [{ name: ".data", flags: 3n, bytes: new Uint8Array(4) }] })
  })

  it("cannot be used after its end", () => {
    const linker = Linker.make()
    expectSuccess(Linker.add(linker, input("a")))
    assert.strictEqual(linker.count, 1)
    expectSuccess(Linker.finalize(linker))
    assert.strictEqual(expectFailure(Linker.add(linker, input("b"))).reason, "Finished")
    assert.strictEqual(expectFailure(Linker.finalize(linker)).reason, "Finished")
  })

  it("cannot be used after an input that was refused", () => {
    const linker = Linker.make()
    assert.strictEqual(expectFailure(Linker.add(linker, { name: "a", bytes: new Uint8Array(3) })).reason, "Elf")
    assert.strictEqual(expectFailure(Linker.add(linker, input("b"))).reason, "Failed")
    assert.strictEqual(expectFailure(Linker.finalize(linker)).reason, "Failed")
  })

  it("needs an input", () => {
    assert.strictEqual(expectFailure(Linker.finalize(Linker.make())).reason, "NoInput")
  })

  it("refuses an object of the other byte order", () => {
    const bytes = build({ byteOrder: "big" })
    const failed = expectFailure(Linker.link([input("a"), { name: "b", bytes }]))
    assert.deepInclude(failed, { reason: "ByteOrder", file: "b" })
    assert.isTrue(Result.isSuccess(Linker.link([{ name: "b", bytes }])))
  })
})
