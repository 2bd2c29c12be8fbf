/**
 * Types, members and enumerators by the essential part of their names, as CO-RE looks for them.
 *
 * `task_struct___before_5_14` is a flavor of `task_struct`: three underscores between two other characters, the last
 * such place counting, end the essential name. What a search builds stays in the `Btf`, so all who relocate against one
 * kernel share it, and it goes with the kernel's types: an index of the types of each kind that is asked for, and the
 * names of the elements of each type that is.
 *
 * Source: reference page `core-relo`, sections 3 to 5.
 */
import { idsOfKind } from "./BtfFind.ts"
import { BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_STRUCT, BTF_KIND_UNION } from "./BtfKind.ts"
import type { Btf, ElementNames, EssentialChains, EssentialElements, MemberPlace } from "./BtfModel.ts"
import { decodeText, kindOf, nameOffsetOf, ownerOf, stringOwnerOf, vlenOf } from "./BtfModel.ts"

/** A name without its flavor: `task_struct___old` is `task_struct`. */
export const essentialName = (name: string): string => {
  for (let at = name.length - 5; at >= 0; at--) {
    if (name.startsWith("___", at + 1) && name[at] !== "_" && name[at + 4] !== "_") return name.slice(0, at + 1)
  }
  return name
}

/** The essential part of a name, in the bytes of a string area. */
export interface EssentialName {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  readonly hash: number
  /** Bytes of the whole name, flavor included. */
  readonly length: number
}

/**
 * Steps that searches may still take: they count them down, and stop once there are none left, with an answer that is not
 * the whole one then. One step looks at a type, an element or sixteen bytes of a name. Names made to have one hash, or
 * to be long, cost steps; those of a real kernel cost a few for each search.
 */
export interface Steps {
  left: number
}

const unlimited = (): Steps => ({ left: Number.MAX_SAFE_INTEGER })

const UNDERSCORE = 0x5f

const nothing = new Uint8Array()

/** The essential part of the name at string offset `offset`; empty where there is no such string. */
export const essentialAt = (btf: Btf, offset: number): EssentialName => {
  const owner = stringOwnerOf(btf, offset)
  if (owner === undefined) return { bytes: nothing, start: 0, end: 0, hash: 0, length: 0 }
  return scan(owner.bytes, owner.stringsOffset + (offset - owner.stringsStart))
}

const utf8 = new TextEncoder()

/** The essential part of a name that is in no blob. A name with a NUL in it ends there. */
export const essentialOf = (name: string): EssentialName => scan(utf8.encode(`${name}\0`), 0)

const scan = (bytes: Uint8Array, start: number): EssentialName => {
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

/** The hash of the essential part of a name, as `scan` has it, without an object for each of many names. */
const hashOf = (bytes: Uint8Array, start: number): number => {
  let hash = 0x811c9dc5
  let run = 0
  let beforeRun = 0
  let cutHash = 0
  let isCut = false
  for (let at = start;; at++) {
    const byte = bytes[at] ?? 0
    if (byte === 0) break
    if (byte === UNDERSCORE) {
      if (run++ === 0) beforeRun = hash
    } else {
      if (run === 3 && at - 3 > start) {
        isCut = true
        cutHash = beforeRun
      }
      run = 0
    }
    hash = Math.imul(hash ^ byte, 0x01000193)
  }
  const chosen = isCut ? cutHash : hash
  return (chosen ^ (chosen >>> 15)) >>> 0
}

/** Whether two essential names are equal. */
export const sameEssential = (one: EssentialName, other: EssentialName): boolean => {
  const length = one.end - one.start
  if (length !== other.end - other.start) return false
  for (let at = 0; at < length; at++) {
    if (one.bytes[one.start + at] !== other.bytes[other.start + at]) return false
  }
  return true
}

/**
 * The blob's own types of kind `kind` with this essential name, in order of ids; those of its base are
 * `idsOfEssential(btf.base, kind, name)`. Enums of either width count as of one kind. The name's bytes may be those of any
 * blob. The index of a kind takes twelve bytes for each of its types, and is built when first asked for.
 */
export const idsOfEssential = (
  btf: Btf,
  kind: number,
  name: EssentialName,
  steps: Steps = unlimited()
): ReadonlyArray<number> => {
  const ids: Array<number> = []
  const { cache } = btf.internal
  const indexed = kind === BTF_KIND_ENUM64 ? BTF_KIND_ENUM : kind
  cache.essentials ??= new Map()
  let chains = cache.essentials.get(indexed)
  if (chains === undefined) cache.essentials.set(indexed, chains = buildChains(btf, ownIds(btf, indexed)))
  const { hashes, heads, ids: all, mask, next } = chains
  for (let entry = heads[name.hash & mask] ?? 0; entry !== 0; entry = next[entry - 1] ?? 0) {
    steps.left--
    if (steps.left < 0) return ids
    if (hashes[entry - 1] !== name.hash) continue
    const id = all[entry - 1] ?? 0
    const other = essentialAt(btf, nameOffsetOf(btf, id))
    steps.left -= other.length >> 4
    if (sameEssential(name, other)) ids.push(id)
  }
  return ids
}

/**
 * The blob's own types of kind `kind` that are called `name`, flavor and all, in order of ids: as `find` finds them, by the
 * index that `idsOfEssential` builds of one kind. For many names of a kind: a single one is found sooner by `find`.
 */
export const ownNamed = (
  btf: Btf,
  name: string,
  kind: number,
  steps: Steps = unlimited()
): ReadonlyArray<number> => {
  if (name === "" || name.includes("\0")) return []
  const needle = essentialOf(name)
  return idsOfEssential(btf, kind, needle, steps).filter((id) =>
    kindOf(btf, id) === kind && sameWhole(needle, essentialAt(btf, nameOffsetOf(btf, id)))
  )
}

/** Whether two names are equal as a whole; their essential parts are. */
const sameWhole = (one: EssentialName, other: EssentialName): boolean => {
  if (one.length !== other.length) return false
  for (let at = one.end - one.start; at < one.length; at++) {
    if (one.bytes[one.start + at] !== other.bytes[other.start + at]) return false
  }
  return true
}

/** The ids of a kind, those of enums of both widths in one order. */
const ownIds = (btf: Btf, kind: number): Readonly<Uint32Array> => {
  const ids = idsOfKind(btf, kind)
  if (kind !== BTF_KIND_ENUM) return ids
  const wide = idsOfKind(btf, BTF_KIND_ENUM64)
  if (wide.length === 0) return ids
  const both = new Uint32Array(ids.length + wide.length)
  both.set(ids)
  both.set(wide, ids.length)
  return both.sort()
}

/** Walks the types backwards, so that each chain is in order of ids. */
const buildChains = (btf: Btf, ids: Readonly<Uint32Array>): EssentialChains => {
  const { offsets } = btf
  const { littleEndian, view } = btf.internal
  const { length } = ids
  const mask = 2 ** Math.max(4, 32 - Math.clz32(length)) - 1
  const heads = new Uint32Array(mask + 1)
  const next = new Uint32Array(length)
  const hashes = new Uint32Array(length)
  for (let index = length - 1; index >= 0; index--) {
    const name = view.getUint32(offsets[(ids[index] ?? 0) - btf.firstId] ?? 0, littleEndian)
    const owner = name >= btf.stringsStart ? btf : stringOwnerOf(btf, name)
    const start = owner === undefined ? 0 : owner.stringsOffset + (name - owner.stringsStart)
    if (owner === undefined || owner.bytes[start] === 0) continue
    const hash = hashOf(owner.bytes, start)
    hashes[index] = hash
    next[index] = heads[hash & mask] ?? 0
    heads[hash & mask] = index + 1
  }
  return { ids, mask, heads, next, hashes }
}

/** The members of struct or union `id`, or the enumerators of an enum, by name. An answer cut short is not kept. */
export const elementNames = (btf: Btf, id: number, steps: Steps = unlimited()): ElementNames => {
  const owner = ownerOf(btf, id) ?? btf
  const known = owner.internal.cache.elementNames?.get(id)
  if (known !== undefined) return known
  const named = new Map<string, number>()
  const anonymous: Array<number> = []
  const count = elementCount(owner, id)
  for (let index = 0; index < count && steps.left >= 0; index++) {
    const name = elementName(owner, id, index, steps)
    if (name === "") anonymous.push(index)
    else if (!named.has(name)) named.set(name, index)
  }
  const names = { named, anonymous }
  if (steps.left >= 0) (owner.internal.cache.elementNames ??= new Map()).set(id, names)
  return names
}

/**
 * The members of struct or union `id`, or the enumerators of enum `id`, by essential name, in order; those without a name
 * under the empty one. An answer cut short by `steps` is not kept.
 */
export const essentialElements = (btf: Btf, id: number, steps: Steps = unlimited()): EssentialElements => {
  const owner = ownerOf(btf, id) ?? btf
  const known = owner.internal.cache.essentialElements?.get(id)
  if (known !== undefined) return known
  const elements = new Map<string, Array<number>>()
  const count = elementCount(owner, id)
  for (let index = 0; index < count && steps.left >= 0; index++) {
    const name = essentialName(elementName(owner, id, index, steps))
    const same = elements.get(name)
    if (same === undefined) elements.set(name, [index])
    else same.push(index)
  }
  if (steps.left >= 0) (owner.internal.cache.essentialElements ??= new Map()).set(id, elements)
  return elements
}

/** As many members of a blob as any object of a process could ask for. */
const MAX_PLACES = 1 << 16

/** Where the member `name` of struct or union `id` was found before: what `rememberPlace` was told. */
export const memberPlace = (btf: Btf, id: number, name: string): MemberPlace | undefined =>
  (ownerOf(btf, id) ?? btf).internal.cache.memberPlaces?.places.get(id)?.get(name)

/**
 * Remembers where the member `name` of struct or union `id` is, for all who search from now on. It must be a function of
 * the types. A blob remembers no more than 65,536, so that who asks for many cannot fill the memory.
 */
export const rememberPlace = (btf: Btf, id: number, name: string, place: MemberPlace): void => {
  const { cache } = (ownerOf(btf, id) ?? btf).internal
  const memory = cache.memberPlaces ??= { count: 0, places: new Map<number, Map<string, MemberPlace>>() }
  if (memory.count >= MAX_PLACES) return
  memory.count++
  const known = memory.places.get(id)
  if (known === undefined) memory.places.set(id, new Map([[name, place]]))
  else known.set(name, place)
}

/** How many members or enumerators a type has. */
const elementCount = (owner: Btf, id: number): number => {
  switch (kindOf(owner, id)) {
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
    case BTF_KIND_ENUM:
    case BTF_KIND_ENUM64:
      return vlenOf(owner, id)
    default:
      return 0
  }
}

/** The name of an element, which costs a step and more where it is long. `owner` holds the type itself. */
const elementName = (owner: Btf, id: number, index: number, steps: Steps): string => {
  const { littleEndian, view } = owner.internal
  const stride = kindOf(owner, id) === BTF_KIND_ENUM ? 8 : 12
  const at = (owner.offsets[id - owner.firstId] ?? 0) + 12 + index * stride
  const offset = view.getUint32(at, littleEndian)
  const strings = stringOwnerOf(owner, offset)
  if (strings === undefined) return ""
  const start = strings.stringsOffset + (offset - strings.stringsStart)
  const name = decodeText(strings.bytes, start, strings.stringsOffset + strings.stringsLength)
  steps.left -= 1 + (name.length >> 4)
  return name
}
