/**
 * Versions of dynamic symbols: which version each symbol has (`.gnu.version`), which versions a file defines
 * (`.gnu.version_d`) and which it needs of other files (`.gnu.version_r`).
 *
 * Source: Linux Standard Base, core specification, chapter "Symbol Versioning"; the same in both ELF classes.
 */
import * as C from "./ElfConstants.ts"
import { refuse } from "./ElfError.ts"
import { readString } from "./ElfStrings.ts"

/** The tables as bytes; each but the first may be absent. */
export interface VersionTables {
  /** `.gnu.version`: a 16-bit index for each symbol. */
  readonly indices: DataView
  readonly definitions: DataView | undefined
  /** The names of `definitions`. */
  readonly definitionStrings: Uint8Array
  readonly needs: DataView | undefined
  /** The names of `needs`. */
  readonly needStrings: Uint8Array
}

/** A version that another file has to have. */
export interface NeededVersion {
  readonly version: string
  /** The file's name, as `DT_NEEDED` has it: `libc.so.6`. */
  readonly library: string
}

/** The versions of a table of dynamic symbols. */
export interface SymbolVersions {
  readonly indices: DataView
  /** By index: the versions that the file defines; of several with one index the first. */
  readonly defined: ReadonlyMap<number, string>
  /** By index: the versions that it needs. */
  readonly needed: ReadonlyMap<number, NeededVersion>
}

/** Bytes of `Verdef`, `Verdaux`, `Verneed` and `Vernaux`. */
const definitionSize = 20
const definitionNameSize = 8
const needSize = 16
const needVersionSize = 16

/** Longest name of a version, bytes: records of hostile files can all point into one long string. */
const maximumName = 512

const inside = (view: DataView, at: number, size: number, what: string): void => {
  if (at + size > view.byteLength) {
    refuse("SymbolVersions", { field: what, value: String(at), expected: `inside ${view.byteLength} bytes` })
  }
}

const nameAt = (strings: Uint8Array, place: number, what: string): string => {
  if (place >= strings.length) {
    refuse("SymbolVersions", { field: what, value: String(place), expected: `below ${strings.length}` })
  }
  // Not searched further than this: many records may share a name.
  if (strings.subarray(place, place + maximumName + 1).indexOf(0) < 0) {
    refuse("SymbolVersions", { field: what, value: `a name of more than ${maximumName} bytes` })
  }
  return readString(strings, place)
}

/** The place of the next record, 0 for none; a record that begins inside the one before is of no linker. */
const step = (view: DataView, at: number, next: number, size: number, what: string): number => {
  if (next === 0) return 0
  if (next < size) refuse("SymbolVersions", { field: what, value: String(next), expected: `0 or at least ${size}` })
  inside(view, at + next, size, what)
  return at + next
}

const checkRevision = (found: number, expected: number, field: string): void => {
  if (found !== expected) refuse("SymbolVersions", { field, value: String(found), expected: String(expected) })
}

const readDefinitions = (view: DataView, strings: Uint8Array, little: boolean): ReadonlyMap<number, string> => {
  const found = new Map<number, string>()
  inside(view, 0, definitionSize, "vd_version")
  // Each step is forward by a record at least, so that the list ends.
  for (let at = 0;;) {
    checkRevision(view.getUint16(at, little), C.VER_DEF_CURRENT, "vd_version")
    const index = view.getUint16(at + 4, little) & ~C.VERSYM_HIDDEN
    const name = at + view.getUint32(at + 12, little)
    inside(view, name, definitionNameSize, "vd_aux")
    if (!found.has(index)) found.set(index, nameAt(strings, view.getUint32(name, little), "vda_name"))
    at = step(view, at, view.getUint32(at + 16, little), definitionSize, "vd_next")
    if (at === 0) return found
  }
}

const readNeeds = (view: DataView, strings: Uint8Array, little: boolean): ReadonlyMap<number, NeededVersion> => {
  const found = new Map<number, NeededVersion>()
  inside(view, 0, needSize, "vn_version")
  // All lists of versions together have no more records than there is room for: lists could share their records.
  let room = Math.floor(view.byteLength / needVersionSize)
  for (let at = 0;;) {
    checkRevision(view.getUint16(at, little), C.VER_NEED_CURRENT, "vn_version")
    const library = nameAt(strings, view.getUint32(at + 4, little), "vn_file")
    let version = view.getUint16(at + 2, little) === 0 ? 0 : at + view.getUint32(at + 8, little)
    if (version !== 0) inside(view, version, needVersionSize, "vn_aux")
    while (version !== 0) {
      if (room-- <= 0) refuse("SymbolVersions", { field: "vna_next", expected: "lists that share no records" })
      const index = view.getUint16(version + 6, little) & ~C.VERSYM_HIDDEN
      if (!found.has(index)) {
        found.set(index, { version: nameAt(strings, view.getUint32(version + 8, little), "vna_name"), library })
      }
      version = step(view, version, view.getUint32(version + 12, little), needVersionSize, "vna_next")
    }
    at = step(view, at, view.getUint32(at + 12, little), needSize, "vn_next")
    if (at === 0) return found
  }
}

/**
 * Reads the tables for `count` symbols; throws `ElfError`. Checked are the revisions, that every record and name lies inside
 * its table, and that there is an index for every symbol.
 */
export const readVersions = (tables: VersionTables, count: number, little: boolean): SymbolVersions => {
  const { definitionStrings, definitions, indices, needStrings, needs } = tables
  if (indices.byteLength < count * 2) {
    const value = `${indices.byteLength} bytes`
    refuse("SymbolVersions", { field: "size of .gnu.version", value, expected: `2 bytes for each of ${count} symbols` })
  }
  return {
    indices,
    defined: definitions === undefined || definitions.byteLength === 0
      ? new Map()
      : readDefinitions(definitions, definitionStrings, little),
    needed: needs === undefined || needs.byteLength === 0 ? new Map() : readNeeds(needs, needStrings, little)
  }
}
