/**
 * Names of types and their essential part, byte by byte.
 *
 * `task_struct___before_5_14` is a flavor of `task_struct`: three underscores between two other characters, the last
 * such place counting, end the essential name. Source: reference page `core-relo`, section 3.
 */
import type { Btf } from "../../../btf/Btf.ts"
import { stringOwnerOf } from "../../../btf/BtfModel.ts"

/** The essential part of a name, in the bytes of a string area. */
export interface EssentialName {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  readonly hash: number
  /** Bytes of the whole name, flavor included. */
  readonly length: number
}

const UNDERSCORE = 0x5f

/** The essential part of the name at string offset `offset`; empty where there is no such string. */
export const essentialAt = (btf: Btf, offset: number): EssentialName => {
  const owner = stringOwnerOf(btf, offset)
  if (owner === undefined) return { bytes: new Uint8Array(), start: 0, end: 0, hash: 0, length: 0 }
  const { bytes } = owner
  const start = owner.stringsOffset + (offset - owner.stringsStart)
  // FNV-1a, of which the state before each run of underscores is kept: it is the hash if the run is a separator.
  let hash = 0x811c9dc5
  let run = 0
  let beforeRun = 0
  let cut = -1
  let cutHash = 0
  let at = start
  for (;; at++) {
    const byte = bytes[at] ?? 0
    if (byte === 0) break
    if (byte === UNDERSCORE) {
      if (run === 0) beforeRun = hash
      run++
    } else {
      if (run === 3 && at - 3 > start) {
        cut = at - 3
        cutHash = beforeRun
      }
      run = 0
    }
    hash = Math.imul(hash ^ byte, 0x01000193)
  }
  const chosen = cut < 0 ? hash : cutHash
  // The low bits choose a chain; FNV mixes upwards, so its high bits are folded in.
  return { bytes, start, end: cut < 0 ? at : cut, hash: (chosen ^ (chosen >>> 15)) >>> 0, length: at - start }
}

/** Whether two essential names are equal. */
export const equals = (one: EssentialName, other: EssentialName): boolean => {
  const length = one.end - one.start
  if (length !== other.end - other.start) return false
  for (let at = 0; at < length; at++) {
    if (one.bytes[one.start + at] !== other.bytes[other.start + at]) return false
  }
  return true
}
