/**
 * The cache of the dynamic linker (`/etc/ld.so.cache`): where libraries are that are found by name alone.
 *
 * Source: glibc's `sysdeps/generic/dl-cache.h`, the format of glibc 2.2 and later: a header of 48 bytes, entries of 24 bytes
 * and strings, whose places are counted from the header. Older caches hold it behind the entries of their own format.
 */
import { readString } from "./ElfStrings.ts"

/** A library in the cache. */
export interface CachedLibrary {
  /** The name by which programs ask for it: `libc.so.6`. */
  readonly name: string
  readonly path: string
  /** Kind of library and processor, as `ldconfig` encodes them. */
  readonly flags: number
}

const oldMagic = "ld.so-1.7.0"
const newMagic = "glibc-ld.so.cache1.1"

/** Bytes of the headers and entries. */
const oldHeaderSize = 16
const oldEntrySize = 12
const headerSize = 48
const entrySize = 24

/** Longest name or path, bytes: entries of a damaged file can all point into one long string. */
const maximumName = 4096

const startsWith = (bytes: Uint8Array, at: number, text: string): boolean => {
  for (let index = 0; index < text.length; index++) {
    if (bytes[at + index] !== text.charCodeAt(index)) return false
  }
  return true
}

/** Where the format of today begins, or undefined where the file has none. */
const findStart = (bytes: Uint8Array, view: DataView, little: boolean): number | undefined => {
  if (startsWith(bytes, 0, newMagic)) return 0
  if (!startsWith(bytes, 0, oldMagic) || bytes.length < oldHeaderSize) return undefined
  const end = oldHeaderSize + view.getUint32(12, little) * oldEntrySize
  const start = (end + 7) & ~7
  return start >= end && startsWith(bytes, start, newMagic) ? start : undefined
}

/**
 * The libraries of this name, in the order of the cache, which is the linker's preference. None for bytes that are no cache or
 * a damaged one: it only saves a search. The byte order is that of the machine that wrote it.
 */
export const librariesNamed = (bytes: Uint8Array, name: string, little = true): ReadonlyArray<CachedLibrary> => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const start = findStart(bytes, view, little)
  if (start === undefined || start + headerSize > bytes.length) return []
  const count = Math.min(
    view.getUint32(start + 20, little),
    Math.floor((bytes.length - start - headerSize) / entrySize)
  )
  const stringAt = (place: number): string | undefined => {
    const at = start + place
    const end = bytes.subarray(at, at + maximumName + 1).indexOf(0)
    return end < 0 ? undefined : readString(bytes, at)
  }
  const found: Array<CachedLibrary> = []
  for (let index = 0; index < count; index++) {
    const at = start + headerSize + index * entrySize
    const key = start + view.getUint32(at + 4, little)
    if (!startsWith(bytes, key, name) || bytes[key + name.length] !== 0) continue
    const path = stringAt(view.getUint32(at + 8, little))
    if (path !== undefined) found.push({ name, path, flags: view.getInt32(at, little) })
  }
  return found
}
