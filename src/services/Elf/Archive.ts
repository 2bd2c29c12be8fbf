/**
 * Zip archives, as far as it takes to find where a stored member lies: Android packages hold shared libraries that are
 * executed in place, `app.apk!/lib/x86_64/libfoo.so`.
 *
 * Of an archive only the list of members at its end and the header of one member are read. Refused is what makes it doubtful
 * which bytes are meant: end records hidden in comments, members that share bytes, headers that contradict each other.
 *
 * Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
 */
import * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import { distance } from "../../internal/Distance.ts"
import { ArchiveError, refuseArchive as refuse } from "./ArchiveError.ts"
import type { ByteSource, ByteSourceError } from "./ByteSource.ts"
import * as Bytes from "./ByteSource.ts"
import { encodeString, readString } from "./ElfStrings.ts"

export { ArchiveError } from "./ArchiveError.ts"

/** An archive whose list of members was read and checked. */
export interface Archive {
  readonly source: ByteSource
  /** Number of members, folders included. */
  readonly count: number
  /** The list of members. */
  readonly directory: Uint8Array
  /** Where the list begins in the archive. */
  readonly directoryOffset: number
  /** Where the entry of each member begins in the list. */
  readonly entries: Uint32Array
  /** Where the members' own headers begin in the archive, in ascending order. */
  readonly headers: Uint32Array
}

/** A stored member. */
export interface Member {
  readonly name: string
  /** Where its bytes begin in the archive. */
  readonly offset: number
  /** Bytes of the member. */
  readonly size: number
  /**
   * Whether its bytes begin at a multiple of 4096. Without that no loader can map it from the archive, so that nothing there
   * is executed.
   */
  readonly isAligned: boolean
  /** Its bytes. */
  readonly source: ByteSource
}

/** What the list says of a member. */
export interface Entry {
  readonly name: string
  /** Compression: 0 for stored, 8 for deflated, ... */
  readonly method: number
  readonly isEncrypted: boolean
  /** Bytes in the archive, without the header. */
  readonly storedSize: number
  /** Bytes of what was put in. */
  readonly size: number
}

const END_MAGIC = 0x06054b50
const ENTRY_MAGIC = 0x02014b50
const HEADER_MAGIC = 0x04034b50
const LOCATOR_MAGIC = 0x07064b50

/** Bytes of the records, without what they have of variable length. */
const endSize = 22
const entrySize = 46
const headerSize = 30
const locatorSize = 20

/** Positions behind which no end record begins: its comment has at most 65535 bytes. */
const searched = 65_536

/** Flags of a member: encrypted, sizes behind the data, strongly encrypted, headers encrypted. */
const ENCRYPTED = 1 | (1 << 6) | (1 << 13)
const DATA_DESCRIPTOR = 1 << 3

/** Bytes of a page, and what zipalign aligns to. */
const page = 4096

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const isArchiveError = (thrown: unknown): thrown is ArchiveError | ByteSourceError =>
  thrown instanceof ArchiveError || Bytes.isByteSourceError(thrown)

/**
 * The two halves of a path into an archive, at the first `!/`; undefined for other paths.
 */
export const split = (path: string): { readonly archive: string; readonly member: string } | undefined => {
  const at = path.indexOf("!/")
  return at < 0 ? undefined : { archive: path.slice(0, at), member: path.slice(at + 2) }
}

/**
 * Reads the list of members. Checked are the end record, that the list lies in front of it and has as many entries as it
 * says, and that no two members share bytes.
 */
export const open = (file: ByteSource | Uint8Array): Result.Result<Archive, ArchiveError | ByteSourceError> =>
  attempt(isArchiveError, () => openArchive(Bytes.of(file)))

interface End {
  readonly offset: number
  readonly count: number
  readonly directoryOffset: number
  readonly directorySize: number
}

/** The end record at a place of the archive's tail, or undefined where there is none that fits. */
const endAt = (source: ByteSource, tail: DataView, at: number): End | undefined => {
  if (tail.getUint32(at, true) !== END_MAGIC) return undefined
  const offset = source.size - tail.byteLength + at
  if (offset + endSize + tail.getUint16(at + 20, true) !== source.size) return undefined
  const disk = tail.getUint16(at + 4, true)
  const directoryDisk = tail.getUint16(at + 6, true)
  const count = tail.getUint16(at + 8, true)
  const total = tail.getUint16(at + 10, true)
  const directorySize = tail.getUint32(at + 12, true)
  const directoryOffset = tail.getUint32(at + 16, true)
  const asks64 = [disk, directoryDisk, count, total].includes(0xffff) ||
    [directorySize, directoryOffset].includes(0xffff_ffff)
  const has64 = at >= locatorSize && tail.getUint32(at - locatorSize, true) === LOCATOR_MAGIC
  if (asks64 && has64) refuse("Zip64", { offset })
  if (disk !== 0 || directoryDisk !== 0 || count !== total) refuse("MultiDisk", { offset })
  return directoryOffset + directorySize > offset ? undefined : { offset, count, directoryOffset, directorySize }
}

const findEnd = (source: ByteSource): End => {
  const length = Math.min(source.size, endSize + searched + locatorSize)
  const tail = viewOf(Bytes.need(source, source.size - length, length))
  let found: End | undefined
  for (let at = length - endSize; at >= 0 && at > length - endSize - searched; at--) {
    const end = endAt(source, tail, at)
    if (end === undefined) continue
    if (found === undefined) found = end
    // Of two that fit, the earlier one has the later one in its comment: readers disagree on which counts.
    else refuse("Ambiguous", { offset: end.offset })
  }
  return found ?? refuse("NotArchive")
}

const openArchive = (source: ByteSource): Archive => {
  if (source.size > 0xffff_ffff) refuse("TooLarge", { field: "size", value: String(source.size) })
  const { count, directoryOffset, directorySize } = findEnd(source)
  // Before anything is read: an entry has 46 bytes at least.
  if (count * entrySize > directorySize) {
    const value = `${directorySize} bytes`
    refuse("Directory", { field: "its size", value, expected: `at least ${count * entrySize} for ${count} members` })
  }
  const directory = Bytes.need(source, directoryOffset, directorySize)
  const view = viewOf(directory)
  const entries = new Uint32Array(count)
  const headers = new Uint32Array(count)
  let at = 0
  for (let index = 0; index < count; index++) {
    const offset = directoryOffset + at
    if (at + entrySize > directorySize || view.getUint32(at, true) !== ENTRY_MAGIC) {
      refuse("Directory", { field: `entry ${index}`, expected: "there", offset })
    }
    const length = entrySize + view.getUint16(at + 28, true) + view.getUint16(at + 30, true) +
      view.getUint16(at + 32, true)
    if (at + length > directorySize) refuse("Directory", { field: `entry ${index}`, expected: "whole", offset })
    entries[index] = at
    headers[index] = view.getUint32(at + 42, true)
    at += length
  }
  checkOverlap(view, entries, directoryOffset)
  return { source, count, directory, directoryOffset, entries, headers: headers.sort() }
}

/** Each member has its header, its name and its data before the next one's header, and all are in front of the list. */
const checkOverlap = (view: DataView, entries: Uint32Array, directoryOffset: number): void => {
  const byPlace = entries.slice().sort((a, b) => view.getUint32(a + 42, true) - view.getUint32(b + 42, true))
  for (let index = 0; index < byPlace.length; index++) {
    const at = byPlace[index] ?? 0
    const header = view.getUint32(at + 42, true)
    const stored = view.getUint32(at + 20, true)
    // Where it begins and how much it has is said elsewhere; such a member is refused when it is asked for.
    if (header === 0xffff_ffff || stored === 0xffff_ffff) continue
    const next = byPlace[index + 1]
    const limit = next === undefined ? directoryOffset : Math.min(view.getUint32(next + 42, true), directoryOffset)
    const end = header + headerSize + view.getUint16(at + 28, true) + stored
    if (end > limit) {
      const expected = `at most 0x${limit.toString(16)}, where something else begins`
      refuse("Overlap", { field: "the end of a member", value: `0x${end.toString(16)}`, expected, offset: header })
    }
  }
}

/** The name of the member whose entry begins at `at`: its bytes. */
const nameAt = ({ directory }: Archive, at: number): Uint8Array =>
  directory.subarray(at + entrySize, at + entrySize + viewOf(directory).getUint16(at + 28, true))

/** A name as text: UTF-8, and what is none of it as in names of ELF files. */
const textOf = (name: Uint8Array): string => {
  const terminated = new Uint8Array(name.length + 1)
  terminated.set(name)
  return readString(terminated, 0)
}

/** What the list says of all members, in its order. */
export const entriesOf = (archive: Archive): ReadonlyArray<Entry> => {
  const view = viewOf(archive.directory)
  return Array.from(archive.entries, (at) => ({
    name: textOf(nameAt(archive, at)),
    method: view.getUint16(at + 10, true),
    isEncrypted: (view.getUint16(at + 8, true) & ENCRYPTED) !== 0,
    storedSize: view.getUint32(at + 20, true),
    size: view.getUint32(at + 24, true)
  }))
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, index) => byte === b[index])

/** How many names are suggested, and how many are compared. */
const maximumNear = 5
const maximumCompared = 10_000

/** Members of the same last name, as for another processor, and those of similar name. */
const nearNames = (archive: Archive, wanted: string): ReadonlyArray<string> => {
  const last = wanted.slice(wanted.lastIndexOf("/") + 1)
  const limit = Math.max(1, Math.floor(Math.min(wanted.length, 64) / 3))
  const near: Array<{ readonly name: string; readonly edits: number }> = []
  for (const at of archive.entries.subarray(0, maximumCompared)) {
    const bytes = nameAt(archive, at)
    if (bytes.length > 256 || wanted.length > 256) continue
    const name = textOf(bytes)
    const isNamesake = last !== "" && (name === last || name.endsWith(`/${last}`))
    const edits = isNamesake ? 0 : distance(name, wanted, limit)
    if (edits <= limit) near.push({ name, edits })
  }
  return near.sort((a, b) => a.edits - b.edits).slice(0, maximumNear).map(({ name }) => name)
}

/**
 * The first member of that name, whose bytes must lie in the archive as they are. Refused are members that are compressed or
 * encrypted, whose sizes are behind them, or whose own header says something else than the list.
 */
export const member = (archive: Archive, name: string): Result.Result<Member, ArchiveError | ByteSourceError> =>
  attempt(isArchiveError, () => {
    const wanted = encodeString(name)
    const at = wanted === undefined
      ? undefined
      : archive.entries.find((entry) => isEqual(nameAt(archive, entry), wanted))
    if (at === undefined) return refuse("NotFound", { member: name, near: nearNames(archive, name) })
    return memberAt(archive, at, name)
  })

const memberAt = (archive: Archive, at: number, name: string): Member => {
  const { source } = archive
  const view = viewOf(archive.directory)
  checkUsable(view.getUint16(at + 8, true), view.getUint16(at + 10, true), name)
  const size = view.getUint32(at + 20, true)
  const start = view.getUint32(at + 42, true)
  if (size === 0xffff_ffff || view.getUint32(at + 24, true) === 0xffff_ffff || start === 0xffff_ffff) {
    refuse("Zip64", { member: name })
  }
  const bytes = nameAt(archive, at)
  const header = viewOf(Bytes.need(source, start, headerSize + bytes.length))
  const wrong = (field: string, value: number, expected: number): void => {
    if (value !== expected) {
      refuse("Member", { member: name, field, value: String(value), expected: String(expected), offset: start })
    }
  }
  wrong("its signature", header.getUint32(0, true), HEADER_MAGIC)
  checkUsable(header.getUint16(6, true), header.getUint16(8, true), name)
  wrong("its size in the archive", header.getUint32(18, true), size)
  wrong("its size", header.getUint32(22, true), size)
  wrong("its size in the list", view.getUint32(at + 24, true), size)
  wrong("the length of its name", header.getUint16(26, true), bytes.length)
  const own = new Uint8Array(header.buffer, header.byteOffset + headerSize, bytes.length)
  if (!isEqual(own, bytes)) refuse("Member", { member: name, field: "its name", value: textOf(own), offset: start })
  const offset = start + headerSize + bytes.length + header.getUint16(28, true)
  const end = nextHeader(archive, start)
  if (offset + size > end) {
    const expected = `at most 0x${end.toString(16)}, where something else begins`
    refuse("Overlap", { member: name, field: "its end", value: `0x${(offset + size).toString(16)}`, expected })
  }
  const part = Bytes.slice(source, offset, size)
  if (Result.isFailure(part)) throw part.failure
  return { name, offset, size, isAligned: offset % page === 0, source: part.success }
}

/** Where the next member or the list begins behind a header. */
const nextHeader = ({ directoryOffset, headers }: Archive, start: number): number => {
  for (const header of headers) {
    if (header > start) return Math.min(header, directoryOffset)
  }
  return directoryOffset
}

const methods: ReadonlyMap<number, string> = new Map([
  [8, "deflate"],
  [9, "deflate64"],
  [12, "bzip2"],
  [14, "lzma"],
  [93, "zstd"],
  [95, "xz"],
  [98, "ppmd"]
])

/** Compression by which members encrypted with AES are marked. */
const AES = 99

const checkUsable = (flags: number, method: number, member: string): void => {
  if ((flags & ENCRYPTED) !== 0 || method === AES) refuse("Encrypted", { member })
  if (method !== 0) {
    const value = methods.get(method) ?? String(method)
    refuse("Compressed", { member, field: "the method", value, expected: "stored" })
  }
  if ((flags & DATA_DESCRIPTOR) !== 0) refuse("DataDescriptor", { member })
}
