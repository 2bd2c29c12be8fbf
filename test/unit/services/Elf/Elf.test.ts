import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Elf from "../../../../src/services/Elf/Elf.ts"
import { at, parsed, refused, sampleBytes, sampleImage, setData, setHeader, setSection } from "./sample.ts"
import type { ExpectedError } from "./sample.ts"

const byteOrders: ReadonlyArray<Elf.ByteOrder> = ["little", "big"]

describe("parse", () => {
  for (const byteOrder of byteOrders) {
    it(`reads header, sections, symbols and relocations, ${byteOrder}-endian`, () => {
      const file = parsed(sampleBytes(byteOrder))
      assert.deepInclude(file.header, {
        byteOrder,
        type: Elf.ET_REL,
        machine: Elf.EM_BPF,
        version: 1,
        programHeaderCount: 0,
        sectionHeaderCount: 6,
        sectionNamesIndex: at.strtab
      })
      assert.deepEqual(
        file.sections.map(({ name, size, type }) => [name, type, size]),
        [["", 0, 0], [".strtab", 3, 67], [".text", 1, 24], [".rel.text", 9, 32], [".bss", 8, 4096], [".symtab", 2, 144]]
      )
      assert.deepEqual([...(file.sections[at.text]?.data ?? [])], [...Array(24).keys()])
      assert.strictEqual(file.sections[at.bss]?.data.length, 0)
      assert.deepEqual(file.symbolTables, [at.symtab])
      const symbols = file.symbols
      assert.isDefined(symbols)
      assert.strictEqual(symbols.count, 6)
      assert.deepEqual(Elf.symbolAt(symbols, 3), {
        index: 3,
        name: "counter",
        value: 8n,
        size: 8n,
        binding: Elf.STB_WEAK,
        type: Elf.STT_OBJECT,
        visibility: Elf.STV_HIDDEN,
        other: 0,
        sectionIndex: at.bss,
        isReserved: false
      })
      assert.deepInclude(Elf.symbolAt(symbols, 4), { name: "VERSION", sectionIndex: Elf.SHN_ABS, isReserved: true })
      const section = file.sections[at.relText]
      assert.isDefined(section)
      const table = Result.getOrThrow(Elf.relocations(file, section))
      assert.deepInclude(table, {
        section: at.relText,
        target: at.text,
        symbols: at.symtab,
        count: 2,
        hasAddends: false
      })
      assert.deepEqual(Elf.relocationAt(table, 1), { index: 1, offset: 16n, type: 10, symbol: 2, addend: 0n })
    })
  }

  it("copies nothing, wherever the bytes lie in their buffer", () => {
    const sample = sampleBytes()
    const buffer = Buffer.alloc(sample.length + 11)
    buffer.set(sample, 7)
    const bytes = buffer.subarray(7, 7 + sample.length)
    const file = parsed(bytes)
    for (const { data } of file.sections) {
      assert.strictEqual(Object.getPrototypeOf(data), Uint8Array.prototype)
      if (data.length > 0) assert.strictEqual(data.buffer, buffer.buffer)
    }
    assert.isDefined(file.symbols)
    assert.strictEqual(file.symbols.entries.buffer, buffer.buffer)
    assert.strictEqual(Elf.symbolName(file.symbols, 2), "main")
    assert.deepEqual(file.sections.map(({ name }) => name), parsed(sample).sections.map(({ name }) => name))
  })

  it("reads a file without sections", () => {
    const file = parsed(Result.getOrThrow(Elf.write({ ...sampleImage(), sections: [], sectionNames: 0 })))
    assert.strictEqual(file.bytes.length, 64)
    assert.deepEqual(file.sections, [])
    assert.isUndefined(file.symbols)
  })

  it("lets a file with two symbol tables pass and lists both", () => {
    const sample = sampleImage()
    const second: ReadonlyArray<Elf.ImageSymbol> = [Elf.nullSymbol, Elf.makeSymbol({ name: "other" })]
    const sections = [
      ...sample.sections,
      Elf.makeSection({
        name: ".symtab2",
        type: Elf.SHT_SYMTAB,
        link: 1,
        content: { _tag: "Symbols", symbols: second }
      })
    ]
    const file = parsed(Result.getOrThrow(Elf.write({ ...sample, sections })))
    assert.deepEqual(file.symbolTables, [5, 6])
    assert.strictEqual(file.symbols?.section, 5)
    const other = Result.getOrThrow(Elf.symbolTable(file, 6))
    assert.strictEqual(Elf.symbolName(other, 1), "other")
    assert.strictEqual(Result.getOrThrow(Elf.symbolTable(file, 5)), file.symbols)
  })

  it("keeps inactive sections in their place and reads nothing of them", () => {
    const bytes = sampleBytes()
    setSection(bytes, at.relText, "sh_type", 0n)
    setSection(bytes, at.relText, "sh_size", 2n ** 64n - 1n)
    setSection(bytes, at.relText, "sh_link", 999n)
    const section = parsed(bytes).sections[at.relText]
    assert.deepInclude(section, { index: at.relText, name: "", type: 0, size: 0, link: 0 })
  })

  it("asks neither bytes nor a sensible offset of an empty section", () => {
    const bytes = sampleBytes()
    setSection(bytes, at.text, "sh_size", 0n)
    setSection(bytes, at.text, "sh_offset", 2n ** 40n)
    assert.deepInclude(parsed(bytes).sections[at.text], { size: 0, offset: 2 ** 40 })
  })

  it("marks compressed sections and refuses to read one as a table", () => {
    const bytes = sampleBytes()
    setSection(bytes, at.text, "sh_flags", Elf.SHF_COMPRESSED)
    const file = parsed(bytes)
    const compressed = file.sections.filter(Elf.isCompressed)
    assert.deepEqual(compressed.map(({ name }) => name), [".text"])
    setSection(bytes, at.symtab, "sh_flags", Elf.SHF_COMPRESSED)
    assert.deepInclude(refused(Elf.parse(bytes)), { reason: "Compressed", section: ".symtab" })
  })

  it("resolves names that are not UTF-8 without losing them", () => {
    const sample = sampleImage()
    const sections = sample.sections.map((section, index) =>
      index === at.text ? { ...section, name: "näme\udcff" } : section
    )
    const bytes = Result.getOrThrow(Elf.write({ ...sample, sections }))
    const file = parsed(bytes)
    assert.strictEqual(file.sections[at.text]?.name, "näme\udcff")
    assert.include(Buffer.from(bytes).toString("latin1"), "n\xc3\xa4me\xff\0")
  })
})

describe("sectionByName", () => {
  it("finds the first of a name", () => {
    const sample = sampleImage()
    const sections = sample.sections.map((section, index) => index === at.bss ? { ...section, name: ".text" } : section)
    const file = parsed(Result.getOrThrow(Elf.write({ ...sample, sections })))
    assert.strictEqual(Elf.sectionByName(file, ".text")?.index, at.text)
    assert.isUndefined(Elf.sectionByName(file, ".data"))
  })
})

describe("accessors", () => {
  it("agree with the object and throw beyond the table", () => {
    const table = parsed(sampleBytes("big")).symbols
    assert.isDefined(table)
    for (let index = 0; index < table.count; index++) {
      const symbol = Elf.symbolAt(table, index)
      assert.deepEqual(
        {
          index,
          name: Elf.symbolName(table, index),
          value: Elf.symbolValue(table, index),
          size: Elf.symbolSize(table, index),
          binding: Elf.symbolBinding(table, index),
          type: Elf.symbolType(table, index),
          visibility: Elf.symbolVisibility(table, index),
          other: 0,
          sectionIndex: Elf.symbolSection(table, index),
          isReserved: Elf.symbolIsReserved(table, index)
        },
        symbol
      )
      assert.strictEqual(BigInt(Elf.symbolOffset(table, index)), symbol.value)
      assert.strictEqual(BigInt(Elf.symbolLength(table, index)), symbol.size)
    }
    assert.throws(() => Elf.symbolAt(table, table.count), RangeError)
    assert.throws(() => Elf.symbolValue(table, -1), RangeError)
  })

  it("keep 64 bits of values that a number would round", () => {
    const bytes = sampleBytes()
    setData(bytes, at.symtab, 3 * 24 + 8, 8, 2n ** 63n + 1n)
    const table = parsed(bytes).symbols
    assert.isDefined(table)
    assert.strictEqual(Elf.symbolValue(table, 3), 2n ** 63n + 1n)
    assert.strictEqual(Elf.symbolOffset(table, 3), 2 ** 63)
  })
})

/** One edit that breaks the sample, what it must be refused for, and fields that the error must carry. */
const refusals: ReadonlyArray<readonly [string, (bytes: Uint8Array) => Uint8Array | void, ExpectedError]> = [
  ["nothing", () => new Uint8Array(0), { reason: "NotElf" }],
  ["a wrong magic number", (bytes) => void (bytes[1] = 0), { reason: "NotElf", offset: 0 }],
  ["a cut header", (bytes) => bytes.subarray(0, 63), { reason: "NotElf", value: "63" }],
  ["a 32-bit class", (bytes) => void (bytes[4] = 1), { reason: "Class", hint: "32-bit files are not supported" }],
  ["an unknown class", (bytes) => void (bytes[4] = 9), { reason: "Class", value: "9" }],
  ["an unknown byte order", (bytes) => void (bytes[5] = 3), { reason: "ByteOrder", value: "3" }],
  ["an unknown identification", (bytes) => void (bytes[6] = 2), { reason: "Version", field: "EI_VERSION" }],
  ["an unknown version", (bytes) => setHeader(bytes, "e_version", 2n), { reason: "Version", field: "e_version" }],
  ["a header size", (bytes) => setHeader(bytes, "e_ehsize", 52n), { reason: "HeaderSize", field: "e_ehsize" }],
  ["a section header size", (bytes) => setHeader(bytes, "e_shentsize", 40n), { reason: "HeaderSize" }],
  [
    "a program header size",
    (bytes) => {
      setHeader(bytes, "e_phnum", 1n)
      setHeader(bytes, "e_phentsize", 32n)
    },
    { reason: "HeaderSize", field: "e_phentsize" }
  ],
  [
    "program headers outside",
    (bytes) => {
      setHeader(bytes, "e_phnum", 1n)
      setHeader(bytes, "e_phentsize", 56n)
      setHeader(bytes, "e_phoff", 2n ** 64n - 8n)
    },
    { reason: "OutOfBounds", field: "e_phoff" }
  ],
  ["a section table outside", (bytes) => setHeader(bytes, "e_shoff", 2n ** 64n - 1n), { reason: "OutOfBounds" }],
  ["a section table that is cut", (bytes) => bytes.subarray(0, -1), { reason: "OutOfBounds", field: "e_shoff" }],
  ["a section table at no place", (bytes) => setHeader(bytes, "e_shoff", 0n), { reason: "OutOfBounds", value: "0" }],
  ["no such names section", (bytes) => setHeader(bytes, "e_shstrndx", 6n), { reason: "Link", field: "e_shstrndx" }],
  ["a reserved names section", (bytes) => setHeader(bytes, "e_shstrndx", 0xff01n), { reason: "Link" }],
  [
    "an extended names section that is absent",
    (bytes) => {
      setHeader(bytes, "e_shstrndx", 0xffffn)
      setSection(bytes, 0, "sh_link", 6n)
    },
    { reason: "Link", value: "6" }
  ],
  ["names in no string table", (bytes) => setHeader(bytes, "e_shstrndx", 2n), {
    reason: "SectionType",
    sectionIndex: 2
  }],
  ["an active section 0", (bytes) => setSection(bytes, 0, "sh_type", 1n), { reason: "SectionType", sectionIndex: 0 }],
  [
    "too many sections",
    (bytes) => {
      setHeader(bytes, "e_shnum", 0n)
      setSection(bytes, 0, "sh_size", 2n ** 40n)
    },
    { reason: "TooLarge" }
  ],
  [
    "more sections than the file holds",
    (bytes) => {
      setHeader(bytes, "e_shnum", 0n)
      setSection(bytes, 0, "sh_size", 7n)
    },
    { reason: "OutOfBounds" }
  ],
  [
    "a section outside",
    (bytes) => setSection(bytes, at.text, "sh_offset", 10000n),
    { reason: "OutOfBounds", section: ".text", sectionIndex: at.text, field: "sh_offset" }
  ],
  ["a size that wraps", (bytes) => setSection(bytes, at.text, "sh_size", 2n ** 64n - 8n), { reason: "OutOfBounds" }],
  [
    "sections that overlap",
    (bytes) => {
      setSection(bytes, at.text, "sh_offset", 0n)
      setSection(bytes, at.text, "sh_size", BigInt(bytes.length))
    },
    { reason: "Overlap", section: ".text" }
  ],
  ["a name outside", (bytes) => setSection(bytes, at.text, "sh_name", 67n), { reason: "Name", field: "sh_name" }],
  [
    "unterminated names",
    (bytes) => setSection(bytes, at.strtab, "sh_size", 66n),
    { reason: "StringTable", sectionIndex: at.strtab }
  ],
  ["a link outside", (bytes) => setSection(bytes, at.text, "sh_link", 6n), { reason: "Link", field: "sh_link" }],
  ["a target outside", (bytes) => setSection(bytes, at.relText, "sh_info", 6n), { reason: "Link", field: "sh_info" }],
  [
    "a symbol size",
    (bytes) => setSection(bytes, at.symtab, "sh_entsize", 16n),
    { reason: "EntrySize", section: ".symtab", value: "16", expected: "24" }
  ],
  ["half a symbol", (bytes) => setSection(bytes, at.symtab, "sh_size", 30n), { reason: "EntrySize", field: "sh_size" }],
  ["symbols without strings", (bytes) => setSection(bytes, at.symtab, "sh_link", 2n), { reason: "Link", value: "2" }],
  [
    "a symbol's name outside",
    (bytes) => setData(bytes, at.symtab, 2 * 24, 4, 67n),
    { reason: "Name", section: ".symtab", symbol: 2, field: "st_name" }
  ],
  ["a symbol's section", (bytes) => setData(bytes, at.symtab, 30, 2, 6n), { reason: "Symbol", symbol: 1, value: "6" }],
  ["an unextended symbol", (bytes) => setData(bytes, at.symtab, 30, 2, 0xffffn), { reason: "Symbol", symbol: 1 }]
]

describe("parse refuses", () => {
  for (const [what, edit, expected] of refusals) {
    it(what, () => {
      const bytes = sampleBytes()
      const error = refused(Elf.parse(edit(bytes) ?? bytes))
      assert.deepInclude(error, expected)
      assert.isAbove(error.message.length, 10)
    })
  }

  it("in words made of the fields", () => {
    const bytes = sampleBytes()
    setSection(bytes, at.symtab, "sh_entsize", 16n)
    assert.strictEqual(
      refused(Elf.parse(bytes)).message,
      "section 5 .symtab: table with entries of unexpected size: sh_entsize is 16, must be 24 (file offset 0xc0)"
    )
  })
})

describe("relocations refuses", () => {
  const section = (bytes: Uint8Array, index: number) => {
    const file = parsed(bytes)
    const found = file.sections[index]
    assert.isDefined(found)
    return refused(Elf.relocations(file, found))
  }

  it("another section type", () => {
    assert.deepInclude(section(sampleBytes(), at.text), { reason: "SectionType", section: ".text" })
  })
  it("a symbol that does not exist", () => {
    const bytes = sampleBytes()
    setData(bytes, at.relText, 16 + 12, 4, 6n)
    assert.deepInclude(section(bytes, at.relText), { reason: "Relocation", relocation: 1, value: "6" })
  })
  it("a wrong entry size", () => {
    const bytes = sampleBytes()
    setSection(bytes, at.relText, "sh_entsize", 24n)
    assert.deepInclude(section(bytes, at.relText), { reason: "EntrySize", value: "24", expected: "16" })
  })
  it("a link to no symbol table", () => {
    const bytes = sampleBytes()
    setSection(bytes, at.relText, "sh_link", 1n)
    assert.deepInclude(section(bytes, at.relText), { reason: "Link", value: "1" })
  })
})

describe("symbolTable refuses", () => {
  it("a section that is none", () => {
    const file = parsed(sampleBytes())
    assert.deepInclude(refused(Elf.symbolTable(file, at.text)), { reason: "SectionType", section: ".text" })
    assert.deepInclude(refused(Elf.symbolTable(file, 99)), { reason: "SectionType", sectionIndex: 99 })
  })
})

describe("names that would outgrow the file", () => {
  /** `count` sections or symbols, each named by another suffix of one string of `length` bytes. */
  const long = (name: string) => "x".repeat(100_000) + name

  it("of sections are refused, while one long name is not", () => {
    const sample = sampleImage()
    const sections = [
      ...sample.sections,
      ...Array.from({ length: 2000 }, () => ({ ...Elf.nullSection, type: Elf.SHT_PROGBITS, content: empty })),
      Elf.makeSection({ name: long("s"), type: Elf.SHT_PROGBITS, content: empty })
    ]
    const bytes = Result.getOrThrow(Elf.write({ ...sample, sections }))
    assert.strictEqual(parsed(bytes).sections.at(-1)?.name.length, 100_001)
    const start = bytes.length - 64
    const name = new DataView(bytes.buffer).getUint32(start, true)
    for (let index = 0; index < 2000; index++) setSection(bytes, 6 + index, "sh_name", BigInt(name + index))
    assert.deepInclude(refused(Elf.parse(bytes)), { reason: "TooLarge" })
  })

  it("of symbols are refused, while one long name is not", () => {
    const sample = sampleImage()
    const symbols = [
      Elf.nullSymbol,
      Elf.makeSymbol({ name: long("f") }),
      ...Array.from({ length: 2000 }, () => Elf.makeSymbol({}))
    ]
    const sections = sample.sections.map((section, index) =>
      index === at.symtab
        ? { ...section, content: { _tag: "Symbols" as const, symbols } }
        : index === at.relText
        ? { ...section, content: { _tag: "Relocations" as const, entries: [] } }
        : section
    )
    const bytes = Result.getOrThrow(Elf.write({ ...sample, sections }))
    const table = parsed(bytes).symbols
    assert.isDefined(table)
    const name = Elf.symbolNameOffset(table, 1)
    for (let index = 0; index < 2000; index++) table.entries.setUint32((2 + index) * 24, name + index, true)
    assert.deepInclude(refused(Elf.parse(bytes)), { reason: "TooLarge", section: ".symtab" })
  })

  const empty: Elf.SectionContent = { _tag: "Bytes", bytes: new Uint8Array(0) }
})

describe("programHeaderAt", () => {
  it("decodes on demand", () => {
    const bytes = new Uint8Array(64 + 2 * 56)
    bytes.set(Result.getOrThrow(Elf.write({ ...sampleImage("big"), sections: [], sectionNames: 0 })))
    setHeader(bytes, "e_phoff", 64n)
    setHeader(bytes, "e_phnum", 2n)
    setHeader(bytes, "e_phentsize", 56n)
    const view = new DataView(bytes.buffer, 64 + 56)
    view.setUint32(0, Elf.PT_LOAD)
    view.setUint32(4, Elf.PF_R | Elf.PF_X)
    for (let index = 0; index < 6; index++) view.setBigUint64(8 + 8 * index, 2n ** 40n + BigInt(index))
    const file = parsed(bytes)
    assert.deepEqual(Elf.programHeaderAt(file, 1), {
      index: 1,
      type: Elf.PT_LOAD,
      flags: 5,
      offset: 2n ** 40n,
      virtualAddress: 2n ** 40n + 1n,
      physicalAddress: 2n ** 40n + 2n,
      fileSize: 2n ** 40n + 3n,
      memorySize: 2n ** 40n + 4n,
      alignment: 2n ** 40n + 5n
    })
    assert.throws(() => Elf.programHeaderAt(file, 2), RangeError)
  })

  it("counts beyond PN_XNUM through section 0", () => {
    const bytes = sampleBytes()
    setHeader(bytes, "e_phnum", BigInt(Elf.PN_XNUM))
    setSection(bytes, 0, "sh_info", 1n)
    setHeader(bytes, "e_phentsize", 56n)
    assert.strictEqual(parsed(bytes).header.programHeaderCount, 1)
    setSection(bytes, 0, "sh_info", 70000n)
    assert.deepInclude(refused(Elf.parse(bytes)), { reason: "OutOfBounds", field: "e_phoff" })
  })
})
