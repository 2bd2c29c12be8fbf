/**
 * Executables made for tests: of both ELF classes and byte orders, with symbol tables, versions, segments and hash tables; with
 * section headers or stripped of them. `ElfWrite` makes objects, which have none of that.
 */
import * as C from "../../src/services/Elf/ElfConstants.ts"

/** A symbol. */
export interface ImageFunction {
  readonly name: string
  /** Bytes from the start of the code; undefined for one that is not defined here. */
  readonly at: number | undefined
  readonly size?: number
  readonly binding?: number
  readonly type?: number
  /** Version, where the dynamic symbols have any; hidden ones are written with one `@`. */
  readonly version?: string
  readonly isHidden?: boolean
}

/** What a file is made of. */
export interface Image {
  readonly bits: 32 | 64
  readonly byteOrder: "little" | "big"
  readonly machine?: number
  /** Address of the first byte of the code. */
  readonly address: bigint
  /** Bytes of code. */
  readonly codeSize: number
  readonly dynamic?: ReadonlyArray<ImageFunction>
  readonly static?: ReadonlyArray<ImageFunction>
  /** How the number of dynamic symbols is said; default `gnu`. */
  readonly hash?: "gnu" | "sysv"
  readonly isStripped?: boolean
}

const encoder = new TextEncoder()

/** Bytes that grow. */
class Bytes {
  readonly #parts: Array<Uint8Array> = []
  length = 0

  add(part: Uint8Array): number {
    const at = this.length
    this.#parts.push(part)
    this.length += part.length
    return at
  }

  align(to: number): void {
    const rest = this.length % to
    if (rest > 0) this.add(new Uint8Array(to - rest))
  }

  done(): Uint8Array {
    const all = new Uint8Array(this.length)
    let at = 0
    for (const part of this.#parts) {
      all.set(part, at)
      at += part.length
    }
    return all
  }
}

/** A string table and where its strings are. */
class Strings {
  readonly #bytes = new Bytes()
  readonly #known = new Map<string, number>()

  constructor() {
    this.at("")
  }

  at(text: string): number {
    const known = this.#known.get(text)
    if (known !== undefined) return known
    const place = this.#bytes.add(encoder.encode(`${text}\0`))
    this.#known.set(text, place)
    return place
  }

  done(): Uint8Array {
    return this.#bytes.done()
  }
}

/** Fields of 2, 4 or 8 bytes, or of a word (`w`) of the class, one behind the other. */
const record = (
  { bits, byteOrder }: Pick<Image, "bits" | "byteOrder">,
  ...fields: ReadonlyArray<readonly [1 | 2 | 4 | 8 | "w", number | bigint]>
): Uint8Array => {
  const sizes = fields.map(([size]) => size === "w" ? bits / 8 : size)
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0))
  const view = new DataView(bytes.buffer)
  const little = byteOrder === "little"
  let at = 0
  fields.forEach(([, value], index) => {
    const size = sizes[index] ?? 0
    if (size === 1) view.setUint8(at, Number(value))
    else if (size === 2) view.setUint16(at, Number(value), little)
    else if (size === 4) view.setUint32(at, Number(BigInt(value) & 0xffff_ffffn), little)
    else view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), little)
    at += size
  })
  return bytes
}

const joined = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Bytes()
  parts.forEach((part) => bytes.add(part))
  return bytes.done()
}

/** The section of the code, by index, in files with sections and without. */
const TEXT = 1

const symbolOf = (image: Image, symbol: ImageFunction | undefined, strings: Strings): Uint8Array => {
  const { address, bits } = image
  const info = symbol === undefined
    ? 0
    : ((symbol.binding ?? C.STB_GLOBAL) << 4) | (symbol.type ?? C.STT_FUNC)
  const name = strings.at(symbol?.name ?? "")
  const value = symbol?.at === undefined ? 0n : address + BigInt(symbol.at)
  const size = symbol?.size ?? 0
  const section = symbol?.at === undefined ? C.SHN_UNDEF : TEXT
  return bits === 64
    ? record(image, [4, name], [1, info], [1, 0], [2, section], [8, value], [8, size])
    : record(image, [4, name], [4, value], [4, size], [1, info], [1, 0], [2, section])
}

const gnuHash = (name: string): number => {
  let hash = 5381
  for (const byte of encoder.encode(name)) hash = (Math.imul(hash, 33) + byte) >>> 0
  return hash
}

/** A GNU hash table of one bucket: chains then end once, and symbols need no order but defined behind undefined. */
const gnuTable = (image: Image, symbols: ReadonlyArray<ImageFunction>): Uint8Array => {
  const undefinedCount = symbols.filter(({ at }) => at === undefined).length
  const first = undefinedCount + 1
  const defined = symbols.slice(undefinedCount)
  return joined([
    record(image, [4, 1], [4, first], [4, 1], [4, 0], ["w", -1n], [4, defined.length === 0 ? 0 : first]),
    ...defined.map(({ name }, place) =>
      record(image, [4, place === defined.length - 1 ? gnuHash(name) | 1 : gnuHash(name) & ~1])
    )
  ])
}

const versionNames = (symbols: ReadonlyArray<ImageFunction>): ReadonlyArray<string> => [
  ...new Set(symbols.flatMap(({ version }) => version ?? []))
]

/** `.gnu.version` and `.gnu.version_d`: version indices from 2 on, behind the file's own name. */
const versionTables = (image: Image, symbols: ReadonlyArray<ImageFunction>, strings: Strings) => {
  const names = versionNames(symbols)
  const indices = joined([
    record(image, [2, 0]),
    ...symbols.map(({ at, isHidden, version }) => {
      const index = version === undefined || at === undefined ? C.VER_NDX_GLOBAL : names.indexOf(version) + 2
      return record(image, [2, isHidden === true ? index | C.VERSYM_HIDDEN : index])
    })
  ])
  const all = ["made.so", ...names]
  const definitions = joined(all.map((name, place) =>
    record(
      image,
      [2, C.VER_DEF_CURRENT],
      [2, place === 0 ? 1 : 0],
      [2, place + 1],
      [2, 1],
      [4, 0],
      [4, 20],
      [4, place === all.length - 1 ? 0 : 28],
      [4, strings.at(name)],
      [4, 0]
    )
  ))
  return { indices, definitions, count: all.length }
}

interface Section {
  readonly name: string
  readonly type: number
  readonly address: bigint
  readonly offset: number
  readonly size: number
  readonly link?: number
  readonly info?: number
  readonly entrySize?: number
}

/** A file whose code is loaded from where it lies, and all that the dynamic linker reads from there, too. */
export const writeBinary = (image: Image): Uint8Array => {
  const { address, bits } = image
  const headerSize = bits === 64 ? 64 : 52
  const programHeader = bits === 64 ? 56 : 32
  const sectionHeader = bits === 64 ? 64 : 40
  const symbolSize = bits === 64 ? 24 : 16
  // Undefined symbols are in front, as a GNU hash table needs it.
  const dynamic = image.dynamic?.toSorted((a, b) => Number(a.at !== undefined) - Number(b.at !== undefined))
  const body = new Bytes()
  const start = headerSize + (image.dynamic === undefined ? 1 : 2) * programHeader
  const offsetOf = (part: Uint8Array, alignment = 8): number => {
    while ((start + body.length) % alignment !== 0) body.add(new Uint8Array(1))
    return start + body.add(part)
  }
  const text = offsetOf(Uint8Array.from({ length: image.codeSize }, (_, at) => at & 0xff), 16)
  const addressOf = (offset: number): bigint => address + BigInt(offset - text)
  const sections: Array<Section> = [
    { name: "", type: C.SHT_NULL, address: 0n, offset: 0, size: 0 },
    { name: ".text", type: C.SHT_PROGBITS, address, offset: text, size: image.codeSize }
  ]
  const addSection = (name: string, type: number, bytes: Uint8Array, more: Partial<Section> = {}): Section => {
    const offset = offsetOf(bytes)
    const section = { name, type, address: addressOf(offset), offset, size: bytes.length, ...more }
    sections.push(section)
    return section
  }
  let dynamicSection: Section | undefined
  if (dynamic !== undefined) {
    const strings = new Strings()
    const entries = joined([undefined, ...dynamic].map((symbol) => symbolOf(image, symbol, strings)))
    const isVersioned = versionNames(dynamic).length > 0
    const versions = isVersioned ? versionTables(image, dynamic, strings) : undefined
    const names = sections.length + 1
    const table = addSection(".dynsym", C.SHT_DYNSYM, entries, { link: names, info: 1, entrySize: symbolSize })
    const stringTable = addSection(".dynstr", C.SHT_STRTAB, strings.done())
    const hash = image.hash === "sysv"
      ? addSection(
        ".hash",
        C.SHT_HASH,
        joined([
          record(image, [4, 1], [4, dynamic.length + 1], [4, 0]),
          ...[0, ...dynamic.keys()].map(() => record(image, [4, 0]))
        ])
      )
      : addSection(".gnu.hash", C.SHT_GNU_HASH, gnuTable(image, dynamic))
    const tags: Array<readonly [number, bigint]> = [
      [image.hash === "sysv" ? C.DT_HASH : C.DT_GNU_HASH, hash.address],
      [C.DT_STRTAB, stringTable.address],
      [C.DT_STRSZ, BigInt(stringTable.size)],
      [C.DT_SYMTAB, table.address],
      [C.DT_SYMENT, BigInt(symbolSize)]
    ]
    if (versions !== undefined) {
      const indices = addSection(".gnu.version", C.SHT_GNU_versym, versions.indices, { entrySize: 2 })
      const definitions = addSection(".gnu.version_d", C.SHT_GNU_verdef, versions.definitions, {
        link: names,
        info: versions.count
      })
      tags.push([C.DT_VERSYM, indices.address], [C.DT_VERDEF, definitions.address])
    }
    dynamicSection = addSection(
      ".dynamic",
      C.SHT_DYNAMIC,
      joined([...tags, [C.DT_NULL, 0n] as const].map(([tag, value]) => record(image, ["w", tag], ["w", value])))
    )
  }
  if (image.static !== undefined && image.isStripped !== true) {
    const strings = new Strings()
    const written = image.static.map((symbol) => ({
      ...symbol,
      name: symbol.version === undefined
        ? symbol.name
        : `${symbol.name}${symbol.isHidden === true ? "@" : "@@"}${symbol.version}`
    }))
    const entries = joined([undefined, ...written].map((symbol) => symbolOf(image, symbol, strings)))
    addSection(".symtab", C.SHT_SYMTAB, entries, { link: sections.length + 1, info: 1, entrySize: symbolSize })
    addSection(".strtab", C.SHT_STRTAB, strings.done())
  }
  const loaded = start + body.length
  const sectionNames = new Strings()
  sections.push({ name: ".shstrtab", type: C.SHT_STRTAB, address: 0n, offset: 0, size: 0 })
  sections.forEach(({ name }) => sectionNames.at(name))
  const nameBytes = sectionNames.done()
  const nameOffset = offsetOf(nameBytes)
  const headers = joined(sections.map((section) => {
    const isNames = section.name === ".shstrtab"
    return record(
      image,
      [4, sectionNames.at(section.name)],
      [4, section.type],
      ["w", section.type === C.SHT_NULL ? 0n : C.SHF_ALLOC],
      ["w", section.address],
      ["w", isNames ? nameOffset : section.offset],
      ["w", isNames ? nameBytes.length : section.size],
      [4, section.link ?? 0],
      [4, section.info ?? 0],
      ["w", 1],
      ["w", section.entrySize ?? 0]
    )
  }))
  const tableOffset = image.isStripped === true ? 0 : offsetOf(headers)
  const segment = (type: number, offset: number, size: number): Uint8Array => {
    const at = addressOf(offset)
    return bits === 64
      ? record(image, [4, type], [4, 5], [8, offset], [8, at], [8, at], [8, size], [8, size], [8, 16])
      : record(image, [4, type], [4, offset], [4, at], [4, at], [4, size], [4, size], [4, 5], [4, 16])
  }
  // The code and the tables are loaded as one: as if the whole file was, from its first byte on.
  const segments = [
    segment(C.PT_LOAD, text, loaded - text),
    ...(dynamicSection === undefined
      ? []
      : [segment(C.PT_DYNAMIC, dynamicSection.offset, dynamicSection.size)])
  ]
  const hasSections = image.isStripped !== true
  const identification = Uint8Array.from(
    { length: 16 },
    (_, at) => [0x7f, 0x45, 0x4c, 0x46, bits / 32, image.byteOrder === "little" ? 1 : 2, 1][at] ?? 0
  )
  const header = record(
    image,
    [2, C.ET_DYN],
    [2, image.machine ?? (bits === 64 ? C.EM_X86_64 : C.EM_386)],
    [4, 1],
    ["w", address],
    ["w", headerSize],
    ["w", tableOffset],
    [4, 0],
    [2, headerSize],
    [2, programHeader],
    [2, segments.length],
    [2, sectionHeader],
    [2, hasSections ? sections.length : 0],
    [2, hasSections ? sections.length - 1 : 0]
  )
  return joined([identification, header, ...segments, body.done()])
}

/** Where the code begins in such a file. */
export const codeOffset = (image: Image): number => {
  const start = (image.bits === 64 ? 64 : 52) +
    (image.dynamic === undefined ? 1 : 2) * (image.bits === 64 ? 56 : 32)
  return Math.ceil(start / 16) * 16
}
