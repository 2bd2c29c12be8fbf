/**
 * What a binary says for dynamic linking (`PT_DYNAMIC`): its symbols where section headers were stripped. Addresses are
 * turned into places in the file by the segments, as the loader maps them.
 *
 * How many symbols there are is said only by the hash tables. Source: System V gABI 4.3 draft, chapter 5 ("Dynamic
 * Section", "Hash Table"); the GNU hash table as GNU ld writes and glibc reads it.
 */
import type { BinarySymbols } from "./BinarySymbols.ts"
import { layoutOf } from "./BinarySymbols.ts"
import * as Bytes from "./ByteSource.ts"
import type { ElfBinary } from "./ElfBinary.ts"
import { segmentOf, viewOf } from "./ElfBinary.ts"
import * as C from "./ElfConstants.ts"
import { refuse } from "./ElfError.ts"
import { readVersions } from "./SymbolVersions.ts"

/** The values of the entries by tag: of each the first. */
const readEntries = (binary: ElfBinary): ReadonlyMap<number, bigint> | undefined => {
  const segment = binary.segments.find(({ type }) => type === C.PT_DYNAMIC)
  if (segment === undefined) return undefined
  if (segment.offset + segment.fileSize > BigInt(binary.source.size)) {
    const value = `${segment.offset} with size ${segment.fileSize}`
    refuse("OutOfBounds", { field: "p_offset of PT_DYNAMIC", value, expected: `inside ${binary.source.size} bytes` })
  }
  const view = viewOf(Bytes.need(binary.source, Number(segment.offset), Number(segment.fileSize)))
  const little = binary.byteOrder === "little"
  const values = new Map<number, bigint>()
  const size = binary.bits / 4
  for (let at = 0; at + size <= view.byteLength; at += size) {
    // Tags that are known here fit a number; others may be anything.
    const tag = binary.bits === 64 ? Number(view.getBigUint64(at, little)) : view.getUint32(at, little)
    const value = binary.bits === 64 ? view.getBigUint64(at + 8, little) : BigInt(view.getUint32(at + 4, little))
    if (tag === C.DT_NULL) break
    if (!values.has(tag)) values.set(tag, value)
  }
  return values
}

/** The bytes of the file from an address to the end of its segment. */
interface Place {
  readonly offset: number
  readonly room: number
}

const placeOf = (binary: ElfBinary, address: bigint, field: string): Place => {
  const segment = segmentOf(binary, address)
  const into = segment === undefined ? 0n : address - segment.address
  const end = segment === undefined ? 0n : segment.offset + segment.fileSize
  const size = BigInt(binary.source.size)
  if (segment === undefined || into >= segment.fileSize || segment.offset + into >= size) {
    return refuse("Dynamic", {
      field,
      value: `0x${address.toString(16)}`,
      expected: "an address with bytes in the file"
    })
  }
  const offset = segment.offset + into
  return { offset: Number(offset), room: Number((end < size ? end : size) - offset) }
}

const readAt = (binary: ElfBinary, address: bigint, length: number, field: string): Uint8Array => {
  const { offset, room } = placeOf(binary, address, field)
  if (length > room) {
    refuse("Dynamic", {
      field,
      value: `${length} bytes`,
      expected: `at most ${room}, which the segment has from there on`
    })
  }
  return Bytes.need(binary.source, offset, length)
}

/** The bytes from an address on, at most `limit`: of a table that does not say how long it is. */
const readUpTo = (binary: ElfBinary, address: bigint, limit: number, field: string): Uint8Array => {
  const { offset, room } = placeOf(binary, address, field)
  return Bytes.need(binary.source, offset, Math.min(room, limit))
}

/** Number of symbols by `DT_HASH`, whose chain has an entry for each. Some 64-bit machines have 64-bit entries there. */
const countByHash = (binary: ElfBinary, address: bigint, little: boolean): number => {
  const isWide = binary.bits === 64 && (binary.machine === C.EM_S390 || binary.machine === EM_ALPHA)
  return isWide
    ? Number(viewOf(readAt(binary, address, 16, "DT_HASH")).getBigUint64(8, little))
    : viewOf(readAt(binary, address, 8, "DT_HASH")).getUint32(4, little)
}

/** Machine: Alpha, whose hash table has 64-bit entries as that of 64-bit S/390 has. */
const EM_ALPHA = 0x9026

/** Bytes of a chain that are read at a time. */
const chunk = 65_536

/**
 * Number of symbols by `DT_GNU_HASH`, which has only those that are defined and sorts them last: the greatest index of a
 * chain's begin, followed to the chain's end. A table with no chain at all leaves those in front, all undefined.
 */
const countByGnuHash = (binary: ElfBinary, address: bigint, little: boolean): number => {
  const header = viewOf(readAt(binary, address, 16, "DT_GNU_HASH"))
  const buckets = header.getUint32(0, little)
  const first = header.getUint32(4, little)
  const bloom = header.getUint32(8, little)
  const start = address + 16n + BigInt(bloom) * BigInt(binary.bits / 8)
  const heads = viewOf(buckets === 0 ? new Uint8Array(0) : readAt(binary, start, buckets * 4, "DT_GNU_HASH"))
  let last = 0
  for (let at = 0; at < heads.byteLength; at += 4) last = Math.max(last, heads.getUint32(at, little))
  if (last < first) return first
  const chains = start + BigInt(buckets) * 4n
  for (let index = last;;) {
    const at = chains + BigInt(index - first) * 4n
    const words = viewOf(readUpTo(binary, at, chunk, "DT_GNU_HASH"))
    const whole = words.byteLength & ~3
    if (whole === 0) refuse("Dynamic", { field: "DT_GNU_HASH", expected: "chains that end" })
    for (let place = 0; place < whole; place += 4, index++) {
      if ((words.getUint32(place, little) & 1) === 1) return index + 1
    }
  }
}

const countOf = (binary: ElfBinary, values: ReadonlyMap<number, bigint>, little: boolean): number => {
  const hash = values.get(C.DT_HASH)
  if (hash !== undefined) return countByHash(binary, hash, little)
  const gnuHash = values.get(C.DT_GNU_HASH)
  if (gnuHash !== undefined) return countByGnuHash(binary, gnuHash, little)
  return refuse("Dynamic", { expected: "DT_HASH or DT_GNU_HASH, which say how many symbols there are" })
}

const readStrings = (binary: ElfBinary, values: ReadonlyMap<number, bigint>): Uint8Array => {
  const address = values.get(C.DT_STRTAB)
  const size = values.get(C.DT_STRSZ)
  if (address === undefined || size === undefined) {
    return refuse("Dynamic", { expected: "DT_STRTAB and DT_STRSZ, which say where names are" })
  }
  if (size === 0n) return new Uint8Array(0)
  const strings = readAt(binary, address, Number(size), "DT_STRTAB")
  if (strings[strings.length - 1] !== 0) refuse("StringTable", { field: "DT_STRTAB" })
  return strings
}

/** The dynamic symbols; throws. Undefined where the file is not linked dynamically. */
export const readSymbols = (binary: ElfBinary): BinarySymbols | undefined => {
  const values = readEntries(binary)
  const address = values?.get(C.DT_SYMTAB)
  if (values === undefined || address === undefined) return undefined
  const little = binary.byteOrder === "little"
  const layout = layoutOf(binary.bits)
  const size = layout.entry
  const stored = values.get(C.DT_SYMENT)
  if (stored !== undefined && stored !== BigInt(size)) {
    refuse("EntrySize", { field: "DT_SYMENT", value: String(stored), expected: String(size) })
  }
  const count = countOf(binary, values, little)
  const strings = readStrings(binary, values)
  const symbols = readAt(binary, address, count * size, "DT_SYMTAB")
  const versions = values.get(C.DT_VERSYM)
  // How long the lists of versions are they say themselves: each record where the next one is.
  const listAt = (tag: number, field: string): DataView | undefined => {
    const at = values.get(tag)
    return at === undefined ? undefined : viewOf(readUpTo(binary, at, maximumVersions, field))
  }
  return {
    table: "dynsym",
    bySections: false,
    bits: binary.bits,
    little,
    count,
    entries: viewOf(symbols),
    layout,
    strings,
    extended: undefined,
    versions: versions === undefined ? undefined : readVersions(
      {
        indices: viewOf(readAt(binary, versions, count * 2, "DT_VERSYM")),
        definitions: listAt(C.DT_VERDEF, "DT_VERDEF"),
        definitionStrings: strings,
        needs: listAt(C.DT_VERNEED, "DT_VERNEED"),
        needStrings: strings
      },
      count,
      little
    )
  }
}

/** Bytes of a list of versions that are looked at: more than 65536 versions, which is all that indices can number. */
const maximumVersions = 2 ** 22
