/**
 * Executables and shared libraries of both ELF classes and byte orders, read in parts: headers at once, the bytes of a
 * section or a segment when they are asked for.
 *
 * `Elf.parse` is for objects, which are small, ELF64 and wanted as a whole. Of a binary of hundreds of megabytes only a few
 * tables are wanted, and it may be damaged, stripped of its section headers, or a member of an archive.
 *
 * Source: System V gABI 4.3 draft, chapters 4 and 5.
 */
import type * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import type { ByteSource } from "./ByteSource.ts"
import * as Bytes from "./ByteSource.ts"
import * as C from "./ElfConstants.ts"
import type { ElfError } from "./ElfError.ts"
import { isElfError, refuse } from "./ElfError.ts"
import type { ByteOrder } from "./ElfModel.ts"
import { ElfLimits } from "./ElfModel.ts"
import { encodeString, readString } from "./ElfStrings.ts"

/** What can be wrong with the file itself. */
export type BinaryError = ElfError | Bytes.ByteSourceError

/** A section header; its bytes come from `sectionBytes`. */
export interface BinarySection {
  readonly index: number
  /** Place of the name in the section of names; see `sectionNamed` and `sectionName`. */
  readonly nameOffset: number
  /** `sh_type`, one of `SHT_*`. */
  readonly type: number
  /** `sh_flags`, bits of `SHF_*`. */
  readonly flags: bigint
  /** `sh_addr`, a virtual address. */
  readonly address: bigint
  /** `sh_offset`, bytes from the start of the file; not checked against its size. */
  readonly offset: bigint
  /** `sh_size` in bytes; not checked either. */
  readonly size: bigint
  readonly link: number
  readonly info: number
  readonly alignment: bigint
  readonly entrySize: bigint
}

/** A program header. Nothing of it is checked against the size of the file. */
export interface BinarySegment {
  /** `p_type`, one of `PT_*`. */
  readonly type: number
  /** `p_flags`, bits of `PF_*`. */
  readonly flags: number
  readonly offset: bigint
  readonly address: bigint
  readonly fileSize: bigint
  readonly memorySize: bigint
}

/** A file whose headers were read. */
export interface ElfBinary {
  readonly source: ByteSource
  /** 32 or 64: the size of addresses in bits. */
  readonly bits: 32 | 64
  readonly byteOrder: ByteOrder
  /** `e_type`, one of `ET_*`. */
  readonly type: number
  /** `e_machine`, one of `EM_*`. */
  readonly machine: number
  /** `e_flags`, meaning by machine. */
  readonly flags: number
  /** By index, inactive ones included; empty if the file has no section headers. */
  readonly sections: ReadonlyArray<BinarySection>
  /** Index of the section with the sections' names, 0 if there is none. */
  readonly sectionNamesIndex: number
  /** In the order of the file. */
  readonly segments: ReadonlyArray<BinarySegment>
  /** The `PT_LOAD` segments by address. */
  readonly loads: ReadonlyArray<BinarySegment>
}

/** Whether an error is of the file itself; for `attempt`. */
export const isBinaryError = (thrown: unknown): thrown is BinaryError =>
  isElfError(thrown) || Bytes.isByteSourceError(thrown)

/**
 * Reads the headers of an ELF file: of either class and byte order, of any type and machine. Checked are the
 * identification, the sizes of header entries and that both header tables lie inside the file; all else is checked when it
 * is used. Memory is in proportion to the header tables.
 */
export const open = (file: ByteSource | Uint8Array): Result.Result<ElfBinary, BinaryError> =>
  attempt(isBinaryError, () => openBinary(Bytes.of(file)))

/** Whether bytes begin as those of an ELF file do. */
export const isElf = (bytes: Uint8Array): boolean =>
  bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46

export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Where the fields of a header are that the two classes place differently, and how large the headers are. */
interface Places {
  readonly header: number
  readonly sectionHeader: number
  readonly programHeader: number
  readonly sectionTable: number
  readonly programTable: number
  readonly flags: number
  readonly headerSize: number
}

const places32: Places = {
  header: 52,
  sectionHeader: 40,
  programHeader: 32,
  programTable: 28,
  sectionTable: 32,
  flags: 36,
  headerSize: 40
}

const places64: Places = {
  header: 64,
  sectionHeader: 64,
  programHeader: 56,
  programTable: 32,
  sectionTable: 40,
  flags: 48,
  headerSize: 52
}

const openBinary = (source: ByteSource): ElfBinary => {
  const start = Bytes.need(source, 0, Math.min(source.size, places64.header))
  if (!isElf(start)) return refuse("NotElf", { offset: 0, hint: "the first four bytes must be 7f 45 4c 46" })
  const bits = start[C.EI_CLASS] === C.ELFCLASS32 ? 32 : start[C.EI_CLASS] === C.ELFCLASS64 ? 64 : undefined
  if (bits === undefined) {
    const value = String(start[C.EI_CLASS])
    return refuse("Class", { field: "EI_CLASS", value, expected: "1 or 2", offset: C.EI_CLASS })
  }
  const places = bits === 32 ? places32 : places64
  if (start.length < places.header) {
    const expected = `at least ${places.header} bytes`
    return refuse("NotElf", { field: "file size", value: String(source.size), expected })
  }
  const order = start[C.EI_DATA]
  if (order !== C.ELFDATA2LSB && order !== C.ELFDATA2MSB) {
    refuse("ByteOrder", { field: "EI_DATA", value: String(order), expected: "1 or 2", offset: C.EI_DATA })
  }
  const little = order === C.ELFDATA2LSB
  const view = viewOf(start)
  const version = start[C.EI_VERSION]
  if (version !== C.EV_CURRENT) {
    refuse("Version", { field: "EI_VERSION", value: String(version), expected: "1", offset: C.EI_VERSION })
  }
  const headers = readTables(source, view, little, bits, places)
  return {
    source,
    bits,
    byteOrder: little ? "little" : "big",
    type: view.getUint16(16, little),
    machine: view.getUint16(18, little),
    flags: view.getUint32(places.flags, little),
    ...headers
  }
}

const readTables = (source: ByteSource, view: DataView, little: boolean, bits: 32 | 64, places: Places) => {
  const word = (at: number): bigint => bits === 64 ? view.getBigUint64(at, little) : BigInt(view.getUint32(at, little))
  const at = places.headerSize
  const storedSegments = view.getUint16(at + 4, little)
  const storedSections = view.getUint16(at + 8, little)
  const storedNames = view.getUint16(at + 10, little)
  const start = word(places.sectionTable)
  const first = storedSections === 0 || storedNames === C.SHN_XINDEX || storedSegments === C.PN_XNUM
    ? extensionOf(source, start, little, bits, places)
    : undefined
  const count = storedSections === 0 ? first?.size ?? 0n : BigInt(storedSections)
  const segments = readSegments(
    source,
    view,
    little,
    bits,
    places,
    storedSegments === C.PN_XNUM && first !== undefined ? first.info : storedSegments
  )
  if (start === 0n || count === 0n) return { sections: [], sectionNamesIndex: 0, ...segments }
  checkEntrySize(view.getUint16(at + 6, little), places.sectionHeader, "e_shentsize", at + 6)
  if (count > BigInt(ElfLimits.sections)) {
    refuse("TooLarge", { field: "section count", value: String(count), expected: `at most ${ElfLimits.sections}` })
  }
  const headers = viewOf(
    readTable(source, start, Number(count), places.sectionHeader, "e_shoff", places.sectionTable)
  )
  const sections = Array.from({ length: Number(count) }, (_, index) => sectionAt(headers, index, little, bits))
  const namesIndex = storedNames === C.SHN_XINDEX ? first?.link ?? 0 : storedNames
  return { sections, sectionNamesIndex: namesIndex < sections.length ? namesIndex : 0, ...segments }
}

/**
 * The first section header, which has the numbers of sections and segments and the place of the sections' names where these do
 * not fit 16 bits. Undefined where there is none: files that were stripped of section headers may still say where they were.
 */
const extensionOf = (
  source: ByteSource,
  start: bigint,
  little: boolean,
  bits: 32 | 64,
  places: Places
): BinarySection | undefined => {
  if (start === 0n || start + BigInt(places.sectionHeader) > BigInt(source.size)) return undefined
  const first = sectionAt(viewOf(Bytes.need(source, Number(start), places.sectionHeader)), 0, little, bits)
  return first.type === C.SHT_NULL ? first : undefined
}

const readSegments = (
  source: ByteSource,
  view: DataView,
  little: boolean,
  bits: 32 | 64,
  places: Places,
  count: number
) => {
  if (count === 0) return { segments: [], loads: [] }
  const size = places.headerSize + 2
  checkEntrySize(view.getUint16(size, little), places.programHeader, "e_phentsize", size)
  const start = bits === 64
    ? view.getBigUint64(places.programTable, little)
    : BigInt(view.getUint32(places.programTable, little))
  const headers = viewOf(readTable(source, start, count, places.programHeader, "e_phoff", places.programTable))
  const segments = Array.from({ length: count }, (_, index) => segmentAt(headers, index, little, bits))
  const loads = segments.filter(({ type }) => type === C.PT_LOAD).sort((a, b) =>
    a.address < b.address ? -1 : a.address > b.address ? 1 : 0
  )
  return { segments, loads }
}

const checkEntrySize = (size: number, expected: number, field: string, offset: number): void => {
  if (size !== expected) refuse("HeaderSize", { field, value: String(size), expected: String(expected), offset })
}

const readTable = (
  source: ByteSource,
  start: bigint,
  count: number,
  entrySize: number,
  field: string,
  at: number
): Uint8Array => {
  const length = count * entrySize
  if (start + BigInt(length) > BigInt(source.size)) {
    const expected = `a table of ${count} headers inside the file's ${source.size} bytes`
    refuse("OutOfBounds", { field, value: String(start), expected, offset: at, hint: "the file may have been cut off" })
  }
  return Bytes.need(source, Number(start), length)
}

const sectionAt = (view: DataView, index: number, little: boolean, bits: 32 | 64): BinarySection => {
  const at = index * (bits === 64 ? places64.sectionHeader : places32.sectionHeader)
  const u32 = (place: number): number => view.getUint32(at + place, little)
  const head = { index, nameOffset: u32(0), type: u32(4) }
  if (bits === 32) {
    return {
      ...head,
      flags: BigInt(u32(8)),
      address: BigInt(u32(12)),
      offset: BigInt(u32(16)),
      size: BigInt(u32(20)),
      link: u32(24),
      info: u32(28),
      alignment: BigInt(u32(32)),
      entrySize: BigInt(u32(36))
    }
  }
  const u64 = (place: number): bigint => view.getBigUint64(at + place, little)
  return {
    ...head,
    flags: u64(8),
    address: u64(16),
    offset: u64(24),
    size: u64(32),
    link: u32(40),
    info: u32(44),
    alignment: u64(48),
    entrySize: u64(56)
  }
}

const segmentAt = (view: DataView, index: number, little: boolean, bits: 32 | 64): BinarySegment => {
  const at = index * (bits === 64 ? places64.programHeader : places32.programHeader)
  const type = view.getUint32(at, little)
  if (bits === 32) {
    const u32 = (place: number): bigint => BigInt(view.getUint32(at + place, little))
    return {
      type,
      flags: view.getUint32(at + 24, little),
      offset: u32(4),
      address: u32(8),
      fileSize: u32(16),
      memorySize: u32(20)
    }
  }
  const u64 = (place: number): bigint => view.getBigUint64(at + place, little)
  return {
    type,
    flags: view.getUint32(at + 4, little),
    offset: u64(8),
    address: u64(16),
    fileSize: u64(32),
    memorySize: u64(40)
  }
}

/**
 * The bytes of a section: none for `SHT_NOBITS` and inactive ones. Refused are sections beyond the end of the file and
 * compressed ones. A read of the file, whose size is the section's.
 */
export const sectionBytes = (binary: ElfBinary, section: BinarySection): Result.Result<Uint8Array, BinaryError> =>
  attempt(isBinaryError, () => needSection(binary, section))

/** `sectionBytes` that throws; for the inside of this folder. */
export const needSection = (binary: ElfBinary, section: BinarySection): Uint8Array => {
  if (section.type === C.SHT_NOBITS || section.type === C.SHT_NULL) return new Uint8Array(0)
  const { index: sectionIndex, offset, size } = section
  if ((section.flags & C.SHF_COMPRESSED) !== 0n) refuse("Compressed", { sectionIndex, offset: Number(offset) })
  if (offset + size > BigInt(binary.source.size)) {
    const value = `${offset} with size ${size}`
    const expected = `inside the file's ${binary.source.size} bytes`
    refuse("OutOfBounds", { sectionIndex, field: "sh_offset", value, expected, hint: "the file may have been cut off" })
  }
  return Bytes.need(binary.source, Number(offset), Number(size))
}

/** A string table, which ends with a NUL byte unless it is empty. */
export const needStrings = (binary: ElfBinary, section: BinarySection): Uint8Array => {
  const strings = needSection(binary, section)
  if (strings.length > 0 && strings[strings.length - 1] !== 0) {
    refuse("StringTable", { sectionIndex: section.index, offset: Number(section.offset) + strings.length - 1 })
  }
  return strings
}

/** The section of the sections' names; empty where the file has none. */
const namesOf = (binary: ElfBinary): Uint8Array => {
  const names = binary.sections[binary.sectionNamesIndex]
  return names === undefined || names.type !== C.SHT_STRTAB ? new Uint8Array(0) : needStrings(binary, names)
}

/** The first active section of that name, or undefined. Reads the table of names. */
export const sectionNamed = (
  binary: ElfBinary,
  name: string
): Result.Result<BinarySection | undefined, BinaryError> =>
  attempt(isBinaryError, () => {
    const wanted = encodeString(name)
    if (wanted === undefined) return undefined
    const names = namesOf(binary)
    return binary.sections.find(({ nameOffset, type }) => {
      if (type === C.SHT_NULL || names[nameOffset + wanted.length] !== 0) return false
      for (let at = 0; at < wanted.length; at++) {
        if (names[nameOffset + at] !== wanted[at]) return false
      }
      return true
    })
  })

/** The name of a section, as `ElfSection.name` has it; empty where the file has no names. Reads the table of names. */
export const sectionName = (binary: ElfBinary, section: BinarySection): Result.Result<string, BinaryError> =>
  attempt(isBinaryError, () => readString(namesOf(binary), section.nameOffset))

/**
 * The `PT_LOAD` segment whose memory contains a virtual address, or undefined. Of segments that overlap, which no loader
 * maps, it is the one that begins last.
 */
export const segmentOf = ({ loads }: ElfBinary, address: bigint): BinarySegment | undefined => {
  let low = 0
  let high = loads.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((loads[middle]?.address ?? 0n) <= address) low = middle + 1
    else high = middle
  }
  const segment = loads[low - 1]
  return segment !== undefined && address - segment.address < segment.memorySize ? segment : undefined
}

/**
 * Where in the file the byte is that is loaded to a virtual address: by the `PT_LOAD` segments, as the kernel maps them.
 * Undefined for addresses outside of them, in memory that is only zeroed, or beyond the end of the file.
 */
export const fileOffsetOf = (binary: ElfBinary, address: bigint): bigint | undefined => {
  const segment = segmentOf(binary, address)
  if (segment === undefined || address - segment.address >= segment.fileSize) return undefined
  const offset = address - segment.address + segment.offset
  return offset < BigInt(binary.source.size) ? offset : undefined
}
