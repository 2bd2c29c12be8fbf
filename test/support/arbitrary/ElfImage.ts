/** Generated ELF images: both byte orders, all kinds of content, sections in any order, odd names and alignments. */
import * as fc from "fast-check"
import * as Elf from "../../../src/services/Elf/Elf.ts"
import { readString } from "../../../src/services/Elf/ElfStrings.ts"

const u8 = fc.integer({ min: 0, max: 0xff })
const u16 = fc.integer({ min: 0, max: 0xffff })
/** Unsigned 32-bit integers. */
export const u32: fc.Arbitrary<number> = fc.integer({ min: 0, max: 0xffffffff })
/** Unsigned 64-bit integers, small and extreme ones among them. */
export const u64: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: 0n, max: 64n }),
  fc.constantFrom(2n ** 32n - 1n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n)
)
const size = fc.oneof(fc.integer({ min: 0, max: 64 }), fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }))
const someBytes = fc.uint8Array({ maxLength: 40 })

const name = fc.oneof(
  { weight: 4, arbitrary: fc.stringMatching(/^[A-Za-z_.?][A-Za-z0-9_./]{0,20}$/) },
  { weight: 1, arbitrary: fc.constantFrom("", ".text", ".text", ".maps") },
  { weight: 1, arbitrary: fc.string({ unit: "binary" }).filter((text) => !text.includes("\0")) },
  // Names of any bytes, in the only spelling that parse gives them.
  {
    weight: 1,
    arbitrary: fc.array(fc.integer({ min: 1, max: 255 }), { maxLength: 8 })
      .map((values) => readString(Uint8Array.from([...values, 0]), 0))
  }
)

/** A section before it has an index; references are by key. */
interface Draft {
  readonly key: string
  readonly link?: string
  readonly info?: string
  readonly section: Elf.ImageSection
}

const alignment = fc.oneof(fc.constant(0n), fc.integer({ min: 0, max: 63 }).map((shift) => 1n << BigInt(shift)))

const flags = u64.map((bits) => bits & ~(Elf.SHF_INFO_LINK | Elf.SHF_COMPRESSED))

const common = { name, flags, address: u64, alignment, entrySize: size }

const bytesSection = fc.record({
  ...common,
  info: u32,
  type: fc.oneof(
    fc.constantFrom(Elf.SHT_PROGBITS, Elf.SHT_NOTE, Elf.SHT_GROUP, Elf.SHT_LLVM_ADDRSIG),
    fc.integer({ min: Elf.SHT_LOOS, max: 0xffffffff })
  ),
  bytes: someBytes
}).map(({ bytes, ...fields }): Elf.ImageSection => ({ ...fields, link: 0, content: { _tag: "Bytes", bytes } }))

const rawStrings = fc.record({ ...common, info: u32, bytes: someBytes }).map((
  { bytes, ...fields }
): Elf.ImageSection => ({
  ...fields,
  type: Elf.SHT_STRTAB,
  link: 0,
  content: { _tag: "Bytes", bytes: bytes.length === 0 ? bytes : Uint8Array.from([...bytes, 0]) }
}))

const noBits = fc.record({ ...common, info: u32, size }).map(({ size, ...fields }): Elf.ImageSection => ({
  ...fields,
  type: Elf.SHT_NOBITS,
  link: 0,
  content: { _tag: "NoBits", size }
}))

const strings = fc.record(common).map((fields): Elf.ImageSection => ({
  ...fields,
  type: Elf.SHT_STRTAB,
  link: 0,
  info: 0,
  content: { _tag: "Strings" }
}))

/** Drafts without references: data, inactive sections, and the string tables. */
const plain = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: bytesSection },
    { weight: 1, arbitrary: rawStrings },
    { weight: 2, arbitrary: noBits },
    { weight: 1, arbitrary: fc.constant(Elf.nullSection) }
  ),
  { maxLength: 8 }
)

const symbol = fc.record({
  name,
  value: u64,
  size: u64,
  binding: fc.integer({ min: 0, max: 15 }),
  type: fc.integer({ min: 0, max: 15 }),
  visibility: fc.integer({ min: 0, max: 3 }),
  other: u8.map((bits) => bits & 0xfc),
  where: fc.oneof(u16, fc.constantFrom(Elf.SHN_ABS, Elf.SHN_COMMON)),
  isReserved: fc.boolean()
})

const relocation = fc.record({
  offset: u64,
  type: u32,
  pick: u32,
  addend: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
})

const symbolTable = fc.record({
  ...common,
  type: fc.constantFrom(Elf.SHT_SYMTAB, Elf.SHT_SYMTAB, Elf.SHT_DYNSYM),
  symbols: fc.array(symbol, { maxLength: 12 }),
  ownStrings: fc.boolean(),
  hasIndices: fc.boolean(),
  relocations: fc.array(
    fc.record({ ...common, hasAddends: fc.boolean(), entries: fc.array(relocation, { maxLength: 8 }), target: u32 }),
    { maxLength: 3 }
  )
})

const imageParts = fc.record({
  header: fc.record({
    byteOrder: fc.constantFrom<Elf.ByteOrder>("little", "big"),
    osAbi: u8,
    abiVersion: u8,
    type: u16,
    machine: u16,
    entry: u64,
    flags: u32
  }),
  hasNames: fc.boolean(),
  sharedStrings: strings,
  otherStrings: strings,
  plain,
  tables: fc.array(symbolTable, { maxLength: 2 }),
  order: fc.array(u32, { minLength: 40, maxLength: 40 })
})

type Parts = typeof imageParts extends fc.Arbitrary<infer A> ? A : never

/** Puts the parts together: assigns indices in a random order and turns keys into them. */
const assemble = (parts: Parts): Elf.ElfImage => {
  const drafts: Array<Draft> = [
    { key: "names", section: parts.sharedStrings },
    ...parts.plain.map((section, index) => ({ key: `plain${index}`, section }))
  ]
  for (const [index, table] of parts.tables.entries()) {
    const key = `symbols${index}`
    const link = table.ownStrings ? `strings${index}` : "names"
    if (table.ownStrings) drafts.push({ key: link, section: parts.otherStrings })
    const { address, alignment, flags, name } = table
    const base = { address, alignment, flags, name, link: 0, info: 0 }
    drafts.push({
      key,
      link,
      section: { ...base, type: table.type, entrySize: 24, content: { _tag: "Symbols", symbols: [] } }
    })
    if (table.hasIndices) {
      const content = { _tag: "SymbolSectionIndices" } as const
      const section = { ...base, type: Elf.SHT_SYMTAB_SHNDX, entrySize: 4, content }
      drafts.push({ key: `${key}indices`, link: key, section })
    }
    for (
      const [place, { address, alignment, entries, flags, hasAddends, name, target }] of table.relocations.entries()
    ) {
      const section: Elf.ImageSection = {
        address,
        alignment,
        flags,
        name,
        link: 0,
        info: 0,
        type: hasAddends ? Elf.SHT_RELA : Elf.SHT_REL,
        entrySize: hasAddends ? 24 : 16,
        content: {
          _tag: "Relocations",
          entries: entries.map(({ addend, offset, pick, type }) => ({
            offset,
            type,
            symbol: pick % (table.symbols.length + 1),
            addend: hasAddends ? addend : 0n
          }))
        }
      }
      drafts.push({
        key: `${key}rel${place}`,
        link: key,
        info: drafts[target % drafts.length]?.key ?? "names",
        section
      })
    }
  }
  const ordered = drafts.map((draft, index) => ({ draft, at: parts.order[index] ?? 0 }))
    .sort((left, right) => left.at - right.at)
    .map(({ draft }) => draft)
  const indexOf = new Map(ordered.map(({ key }, index) => [key, index + 1]))
  const sections = ordered.map(({ info, key, link, section }): Elf.ImageSection => {
    const table = parts.tables[Number(/^symbols(\d)$/.exec(key)?.[1] ?? -1)]
    const symbols = table === undefined ? undefined : symbolsOf(table.symbols, ordered.length + 1)
    const locals = symbols?.filter(({ binding }) => binding === Elf.STB_LOCAL).length
    return {
      ...section,
      name: parts.hasNames ? section.name : "",
      link: link === undefined ? 0 : indexOf.get(link) ?? 0,
      info: locals ?? (info === undefined ? section.info : indexOf.get(info) ?? 0),
      content: symbols === undefined ? section.content : { _tag: "Symbols", symbols }
    }
  })
  return {
    ...parts.header,
    sections: [Elf.nullSection, ...sections],
    sectionNames: parts.hasNames ? indexOf.get("names") ?? 0 : 0
  }
}

/** Symbols in canonical order: the null symbol, locals, all others. */
const symbolsOf = (
  drafts: Parts["tables"][number]["symbols"],
  sectionCount: number
): ReadonlyArray<Elf.ImageSymbol> => {
  const symbols = drafts.map(({ isReserved, where, ...fields }): Elf.ImageSymbol => {
    const reserved = isReserved && where >= Elf.SHN_LORESERVE && where < Elf.SHN_XINDEX
    return { ...fields, sectionIndex: reserved ? where : where % sectionCount, isReserved: reserved }
  })
  const isLocal = ({ binding }: Elf.ImageSymbol) => binding === Elf.STB_LOCAL
  return [Elf.nullSymbol, ...symbols.filter(isLocal), ...symbols.filter((symbol) => !isLocal(symbol))]
}

/**
 * Images that come back from the file as they were: symbols in canonical order, each string table used for names (one
 * that is not would be raw bytes when read back).
 */
export const image: fc.Arbitrary<Elf.ElfImage> = imageParts.map(assemble).filter(({ sectionNames, sections }) =>
  sections.every(({ content }, index) =>
    content._tag !== "Strings" || index === sectionNames ||
    sections.some((other) => other.content._tag === "Symbols" && other.link === index)
  )
)
