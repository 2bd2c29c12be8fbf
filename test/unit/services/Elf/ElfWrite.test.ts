import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Elf from "../../../../src/services/Elf/Elf.ts"
import { at, parsed, refused, sampleBytes, sampleImage, setData, setHeader, setSection } from "./sample.ts"
import type { ExpectedError } from "./sample.ts"

const bytesOf = (image: Elf.ElfImage): Uint8Array => Result.getOrThrow(Elf.write(image))

const replace = (image: Elf.ElfImage, index: number, fields: Partial<Elf.ImageSection>): Elf.ElfImage => ({
  ...image,
  sections: image.sections.map((section, place) => place === index ? { ...section, ...fields } : section)
})

const withSymbols = (image: Elf.ElfImage, symbols: ReadonlyArray<Elf.ImageSymbol>): Elf.ElfImage =>
  replace(image, at.symtab, { content: { _tag: "Symbols", symbols } })

const withRelocations = (image: Elf.ElfImage, entries: ReadonlyArray<Elf.ImageRelocation>): Elf.ElfImage =>
  replace(image, at.relText, { content: { _tag: "Relocations", entries } })

const symbolsOf = (image: Elf.ElfImage): ReadonlyArray<Elf.ImageSymbol> => {
  const content = image.sections[at.symtab]?.content
  return content?._tag === "Symbols" ? content.symbols : []
}

const namesOf = (file: Elf.ElfFile): ReadonlyArray<string> => {
  const table = file.symbols
  assert.isDefined(table)
  return Array.from({ length: table.count }, (_, index) => Elf.symbolName(table, index))
}

describe("write", () => {
  it("is undone by parse and toImage", () => {
    for (const byteOrder of ["little", "big"] as const) {
      const image = sampleImage(byteOrder)
      assert.deepEqual(Result.getOrThrow(Elf.toImage(parsed(bytesOf(image)))), image)
    }
  })

  it("gives equal bytes for equal images", () => {
    assert.deepEqual(sampleBytes(), sampleBytes())
  })

  it("aligns sections, and not beyond 4096", () => {
    const image = replace(replace(sampleImage(), at.text, { alignment: 64n }), at.symtab, { alignment: 2n ** 40n })
    const { sections } = parsed(bytesOf(image))
    assert.strictEqual((sections[at.text]?.offset ?? 1) % 64, 0)
    assert.strictEqual(sections[at.symtab]?.offset, 4096)
    assert.strictEqual(sections[at.symtab]?.alignment, 2n ** 40n)
  })

  it("shares equal strings", () => {
    const image = withSymbols(sampleImage(), [
      Elf.nullSymbol,
      Elf.makeSymbol({ name: ".text" }),
      Elf.makeSymbol({ name: ".text" })
    ])
    const bytes = bytesOf(withRelocations(image, []))
    const table = parsed(bytes).symbols
    assert.isDefined(table)
    assert.strictEqual(Elf.symbolNameOffset(table, 1), Elf.symbolNameOffset(table, 2))
    assert.strictEqual(Buffer.from(table.strings).toString(), "\0.strtab\0.text\0.rel.text\0.bss\0.symtab\0")
  })

  it("puts locals first, counts them in sh_info and renumbers relocations", () => {
    const [nothing, section, main, counter, version, missing] = symbolsOf(sampleImage())
    const shuffled = [nothing, missing, main, section, version, counter].flatMap((symbol) => symbol ?? [])
    const image = withRelocations(withSymbols(sampleImage(), shuffled), [
      { offset: 0n, type: 1, symbol: 5, addend: 0n },
      { offset: 8n, type: 1, symbol: 3, addend: 0n },
      { offset: 16n, type: 10, symbol: 2, addend: 0n }
    ])
    const file = parsed(bytesOf(image))
    assert.deepEqual(namesOf(file), ["", "", "missing", "main", "VERSION", "counter"])
    assert.strictEqual(file.sections[at.symtab]?.info, 2)
    const relText = file.sections[at.relText]
    assert.isDefined(relText)
    const table = Result.getOrThrow(Elf.relocations(file, relText))
    assert.deepEqual([0, 1, 2].map((index) => Elf.relocationSymbol(table, index)), [5, 1, 3])
  })

  it("writes addends, negative ones too, in SHT_RELA", () => {
    const image = replace(sampleImage("big"), at.relText, {
      type: Elf.SHT_RELA,
      entrySize: 24,
      content: { _tag: "Relocations", entries: [{ offset: 2n ** 60n, type: 3, symbol: 2, addend: -5n }] }
    })
    const file = parsed(bytesOf(image))
    const relText = file.sections[at.relText]
    assert.isDefined(relText)
    const table = Result.getOrThrow(Elf.relocations(file, relText))
    assert.isTrue(table.hasAddends)
    assert.deepEqual(Elf.relocationAt(table, 0), { index: 0, offset: 2n ** 60n, type: 3, symbol: 2, addend: -5n })
  })
})

describe("extended section numbering", () => {
  const count = 0xff00 + 300

  /** `count` sections, then the string table and the symbol table, whose symbols name sections around the limit. */
  const manySections = (extra: ReadonlyArray<Elf.ImageSection>): Elf.ElfImage => ({
    ...sampleImage(),
    sectionNames: count,
    sections: [
      Elf.nullSection,
      ...Array.from({ length: count - 1 }, (_, index) =>
        Elf.makeSection({
          name: `s${index + 1}`,
          type: Elf.SHT_PROGBITS,
          content: { _tag: "Bytes", bytes: Uint8Array.of(index & 0xff) }
        })),
      Elf.makeSection({ name: ".strtab", type: Elf.SHT_STRTAB, content: { _tag: "Strings" } }),
      Elf.makeSection({
        name: ".symtab",
        type: Elf.SHT_SYMTAB,
        link: count,
        info: 1,
        content: {
          _tag: "Symbols",
          symbols: [
            Elf.nullSymbol,
            ...[1, 0xfeff, 0xff00, 0xfff1, count - 1].map((sectionIndex) =>
              Elf.makeSymbol({ name: `f${sectionIndex}`, binding: Elf.STB_GLOBAL, sectionIndex })
            ),
            Elf.makeSymbol({ name: "abs", binding: Elf.STB_GLOBAL, sectionIndex: Elf.SHN_ABS, isReserved: true })
          ]
        }
      }),
      ...extra
    ]
  })

  const indices = Elf.makeSection({
    name: ".symtab_shndx",
    type: Elf.SHT_SYMTAB_SHNDX,
    link: count + 1,
    content: { _tag: "SymbolSectionIndices" }
  })

  it("survives the round trip", () => {
    const image = manySections([indices])
    const bytes = bytesOf(image)
    const header = new DataView(bytes.buffer)
    assert.strictEqual(header.getUint16(60, true), 0, "e_shnum")
    assert.strictEqual(header.getUint16(62, true), Elf.SHN_XINDEX, "e_shstrndx")
    const file = parsed(bytes)
    assert.strictEqual(file.header.sectionHeaderCount, count + 3)
    assert.strictEqual(file.header.sectionNamesIndex, count)
    assert.deepInclude(file.sections[0], { size: 0, link: 0 })
    const table = file.symbols
    assert.isDefined(table)
    assert.deepEqual(
      Array.from({ length: table.count }, (_, index) => Elf.symbolSection(table, index)),
      [0, 1, 0xfeff, 0xff00, 0xfff1, count - 1, Elf.SHN_ABS]
    )
    assert.deepEqual([4, 6].map((index) => Elf.symbolIsReserved(table, index)), [false, true])
    assert.deepEqual(Result.getOrThrow(Elf.toImage(file)), image)
  })

  it("adds the section for symbol indices if the image has none", () => {
    assert.deepEqual(bytesOf(manySections([])), bytesOf(manySections([indices])))
  })

  it("refuses an index that does not exist", () => {
    const bytes = bytesOf(manySections([indices]))
    const shndx = parsed(bytes).sections.at(-1)
    assert.isDefined(shndx)
    new DataView(shndx.data.buffer, shndx.data.byteOffset).setUint32(4 * 5, count + 3, true)
    assert.deepInclude(refused(Elf.parse(bytes)), { reason: "Symbol", symbol: 5, value: String(count + 3) })
  })

  it("needs none of it with one section fewer than the limit", () => {
    const sections = Array.from({ length: 0xfeff }, (_, index) =>
      index === 0
        ? Elf.nullSection
        : index === 1
        ? Elf.makeSection({ name: ".strtab", type: Elf.SHT_STRTAB, content: { _tag: "Strings" } })
        : Elf.makeSection({ name: "", type: Elf.SHT_NOBITS, content: { _tag: "NoBits", size: 1 } }))
    const bytes = bytesOf({ ...sampleImage(), sections, sectionNames: 1 })
    assert.strictEqual(new DataView(bytes.buffer).getUint16(60, true), 0xfeff)
    assert.strictEqual(parsed(bytes).sections.length, 0xfeff)
  })
})

describe("write refuses", () => {
  const sample = sampleImage()
  const global = (fields: Partial<Elf.ImageSymbol>) =>
    withSymbols(withRelocations(sample, []), [Elf.nullSymbol, Elf.makeSymbol({ binding: 1, ...fields })])
  const refusals: ReadonlyArray<readonly [string, Elf.ElfImage, ExpectedError]> = [
    ["a first section in use", { ...sample, sections: sample.sections.slice(1) }, {
      sectionIndex: 0,
      field: "sh_type"
    }],
    [
      "content that does not fit the type",
      replace(sample, at.text, { type: 3, content: { _tag: "NoBits", size: 1 } }),
      {
        field: "content"
      }
    ],
    ["a set field of an inactive section", replace(sample, 0, { link: 1 }), { sectionIndex: 0 }],
    ["another entry size", replace(sample, at.symtab, { entrySize: 16 }), { field: "sh_entsize", expected: "24" }],
    ["an alignment of 3", replace(sample, at.text, { alignment: 3n }), { field: "sh_addralign", section: ".text" }],
    ["a negative alignment", replace(sample, at.text, { alignment: -8n }), { field: "sh_addralign" }],
    ["names without a place", { ...sample, sectionNames: 0 }, { section: ".strtab" }],
    ["names in code", { ...sample, sectionNames: at.text }, { field: "sectionNames" }],
    ["a NUL in a name", replace(sample, at.text, { name: "a\0b" }), { sectionIndex: at.text }],
    ["a lone surrogate in a name", global({ name: "\ud800" }), { symbol: 1 }],
    ["escapes that spell a character", global({ name: "\udcc3\udca4" }), { symbol: 1 }],
    ["a link to nothing", replace(sample, at.text, { link: 6 }), { field: "sh_link" }],
    ["a target that is not there", replace(sample, at.relText, { info: 6 }), { field: "sh_info" }],
    ["a table without null symbol", withSymbols(sample, []), { symbol: 0 }],
    ["symbols without strings", replace(sample, at.symtab, { link: at.text }), { field: "sh_link" }],
    ["a symbol's absent section", global({ sectionIndex: 6 }), { symbol: 1, value: "6" }],
    ["a fractional section", global({ sectionIndex: 0.5 }), { symbol: 1, value: "0.5" }],
    ["a reserved index that is none", global({ sectionIndex: 1, isReserved: true }), { symbol: 1 }],
    ["a binding of 16", global({ binding: 16 }), { field: "binding" }],
    ["a visibility of 4", global({ visibility: 4 }), { field: "visibility" }],
    ["visibility bits in other", global({ other: 1 }), { field: "st_other" }],
    ["a negative value", global({ value: -1n }), { field: "st_value", value: "-1" }],
    ["a value of 65 bits", global({ value: 2n ** 64n }), { field: "st_value" }],
    ["a relocation of no symbol", withRelocations(sample, [{ offset: 0n, type: 1, symbol: 6, addend: 0n }]), {
      relocation: 0,
      field: "symbol index"
    }],
    ["an addend in SHT_REL", withRelocations(sample, [{ offset: 0n, type: 1, symbol: 1, addend: 4n }]), {
      field: "r_addend"
    }],
    ["a machine of 17 bits", { ...sample, machine: 65536 }, { field: "e_machine" }],
    ["a flag beyond 64 bits", replace(sample, at.text, { flags: 2n ** 64n }), { field: "sh_flags" }],
    ["a fractional size", replace(sample, at.bss, { content: { _tag: "NoBits", size: 1.5 } }), { field: "sh_size" }]
  ]
  for (const [what, image, expected] of refusals) {
    it(what, () => {
      const error = refused(Elf.write(image))
      assert.deepInclude(error, { reason: "Image", ...expected })
    })
  }

  it("to reorder symbols under raw bytes that may refer to them", () => {
    const addrsig = Elf.makeSection({
      name: ".llvm_addrsig",
      type: Elf.SHT_LLVM_ADDRSIG,
      link: at.symtab,
      content: { _tag: "Bytes", bytes: Uint8Array.of(2) }
    })
    const ordered = { ...sample, sections: [...sample.sections, addrsig] }
    assert.isTrue(Result.isSuccess(Elf.write(ordered)))
    const symbols = [...symbolsOf(sample), Elf.makeSymbol({ name: "late local" })]
    assert.deepInclude(refused(Elf.write(withSymbols(ordered, symbols))), { reason: "Image", section: ".llvm_addrsig" })
  })

  it("files beyond the limit before memory is taken", () => {
    const bytes = new Uint8Array(2 ** 27)
    const big = Elf.makeSection({ name: "", type: Elf.SHT_PROGBITS, content: { _tag: "Bytes", bytes } })
    const sections = [...sample.sections, ...Array.from({ length: 8 }, () => big)]
    assert.deepInclude(refused(Elf.write({ ...sample, sections })), { reason: "TooLarge", sectionIndex: 13 })
  })
})

describe("toImage refuses", () => {
  it("a file with segments", () => {
    const bytes = sampleBytes()
    setHeader(bytes, "e_phnum", 1n)
    setHeader(bytes, "e_phentsize", 56n)
    assert.deepInclude(refused(Elf.toImage(parsed(bytes))), { reason: "Image", field: "e_phnum" })
  })
  it("a string table of names that another section uses", () => {
    const bytes = sampleBytes()
    setSection(bytes, at.text, "sh_link", BigInt(at.strtab))
    assert.deepInclude(refused(Elf.toImage(parsed(bytes))), { reason: "Image", section: ".text", field: "sh_link" })
  })
  it("a symbol table without null symbol", () => {
    const bytes = sampleBytes()
    parsed(bytes).symbols?.entries.setUint8(4, 1)
    assert.deepInclude(refused(Elf.toImage(parsed(bytes))), { reason: "Image", symbol: 0 })
  })
  it("symbol tables that name their symbols from one long string again and again", () => {
    const strings = 1
    const tables = Array.from({ length: 60 }, (_, index) =>
      Elf.makeSection({
        name: "",
        type: Elf.SHT_SYMTAB,
        link: strings,
        content: {
          _tag: "Symbols",
          symbols: [Elf.nullSymbol, Elf.makeSymbol({ name: index === 0 ? "x".repeat(100_000) : "" })]
        }
      }))
    const sections = [...sampleImage().sections.slice(0, 2), ...tables]
    const bytes = bytesOf({ ...sampleImage(), sections })
    const file = parsed(bytes)
    assert.isTrue(Result.isSuccess(Elf.toImage(file)))
    const name = file.symbols === undefined ? 0 : Elf.symbolNameOffset(file.symbols, 1)
    for (let index = 1; index < 60; index++) setData(bytes, 2 + index, 24, 4, BigInt(name))
    assert.deepInclude(refused(Elf.toImage(parsed(bytes))), { reason: "TooLarge" })
  })
  it("relocations that do not decode", () => {
    const bytes = sampleBytes()
    setSection(bytes, at.relText, "sh_entsize", 8n)
    assert.deepInclude(refused(Elf.toImage(parsed(bytes))), { reason: "EntrySize", section: ".rel.text" })
  })
})
