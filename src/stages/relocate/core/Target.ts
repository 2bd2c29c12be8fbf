/**
 * The kernel that a program is relocated for, and what is remembered about its types.
 *
 * Nothing here is global: what was once computed lives in a `CoreCache`, which the caller keeps as long as it likes and
 * which goes with it. Every entry is a function of immutable values, so sharing a cache changes speed and nothing else.
 */
import * as Btf from "../../../btf/Btf.ts"
import { essentialName } from "../../open/BpfObject.ts"
import type { Budget } from "./Budget.ts"
import { spend } from "./Budget.ts"
import type { EssentialName } from "./Names.ts"
import * as Names from "./Names.ts"
import type { Resolution } from "./Resolve.ts"
import { elementNameOffset } from "./Types.ts"

/** A kernel module's types, split over those of the kernel. */
export interface CoreModule {
  readonly name: string
  readonly btf: Btf.Btf
}

/** The types that the records are resolved against. */
export interface CoreTarget {
  /** The kernel's own types. */
  readonly base: Btf.Btf
  /** Looked at, in this order, only for types of which the kernel itself has none of the name. */
  readonly modules?: ReadonlyArray<CoreModule>
  /** From `makeCache`; may be shared by targets, and should be by those of one kernel. */
  readonly cache: CoreCache
}

/** What is remembered about blobs of types, and about objects that were relocated against a target. */
export interface CoreCache {
  readonly blobs: WeakMap<Btf.Btf, BlobFacts>
  readonly resolutions: WeakMap<CoreTarget, WeakMap<Btf.Btf, Map<number, Map<number, Resolution>>>>
}

/** What is remembered about one blob. */
export interface BlobFacts {
  index: TypeIndex | undefined
  readonly members: Map<number, MemberIndex>
  readonly essentials: Map<number, EssentialIndex>
}

/** Hash chains over the essential names of a blob's own types: entries are indices plus one, 0 ends a chain. */
interface TypeIndex {
  readonly mask: number
  readonly heads: Uint32Array
  readonly next: Uint32Array
  readonly hashes: Uint32Array
}

/** The members of a struct or union by name: the first of each name. */
export interface MemberIndex {
  readonly named: ReadonlyMap<string, number>
  /** Members without a name, in order. */
  readonly anonymous: ReadonlyArray<number>
}

/** Members or enumerators by essential name, in order; those without a name under the empty one. */
export type EssentialIndex = ReadonlyMap<string, ReadonlyArray<number>>

/** An empty cache. */
export const makeCache = (): CoreCache => ({ blobs: new WeakMap(), resolutions: new WeakMap() })

/** A target with a cache of its own. */
export const target = (base: Btf.Btf, modules: ReadonlyArray<CoreModule> = []): CoreTarget => ({
  base,
  modules,
  cache: makeCache()
})

const factsOf = (cache: CoreCache, blob: Btf.Btf): BlobFacts => {
  const known = cache.blobs.get(blob)
  if (known !== undefined) return known
  const facts: BlobFacts = { index: undefined, members: new Map(), essentials: new Map() }
  cache.blobs.set(blob, facts)
  return facts
}

/** The kinds of named types that an access can start from. Others are never candidates. */
const isRootKind = (kind: number): boolean => {
  switch (kind) {
    case Btf.BTF_KIND_INT:
    case Btf.BTF_KIND_STRUCT:
    case Btf.BTF_KIND_UNION:
    case Btf.BTF_KIND_ENUM:
    case Btf.BTF_KIND_FWD:
    case Btf.BTF_KIND_TYPEDEF:
    case Btf.BTF_KIND_FLOAT:
    case Btf.BTF_KIND_ENUM64:
      return true
    default:
      return false
  }
}

/** Walks the types backwards, so that each chain is in order of ids. */
const buildIndex = (blob: Btf.Btf): TypeIndex => {
  const { littleEndian, view } = blob.internal
  const { offsets } = blob
  const count = offsets.length
  const mask = 2 ** Math.max(4, 32 - Math.clz32(count)) - 1
  const heads = new Uint32Array(mask + 1)
  const next = new Uint32Array(count)
  const hashes = new Uint32Array(count)
  for (let index = count - 1; index >= 0; index--) {
    const at = offsets[index] ?? 0
    if (!isRootKind((view.getUint32(at + 4, littleEndian) >>> 24) & 0x7f)) continue
    const name = view.getUint32(at, littleEndian)
    if (name === 0) continue
    const { hash } = Names.essentialAt(blob, name)
    hashes[index] = hash
    next[index] = heads[hash & mask] ?? 0
    heads[hash & mask] = index + 1
  }
  return { mask, heads, next, hashes }
}

/** The blob's own types, of any kind, with this essential name, in order of ids. */
export const idsOfName = (
  cache: CoreCache,
  blob: Btf.Btf,
  name: EssentialName,
  budget: Budget
): ReadonlyArray<number> => {
  const facts = factsOf(cache, blob)
  facts.index ??= buildIndex(blob)
  const { hashes, heads, mask, next } = facts.index
  const ids: Array<number> = []
  for (let entry = heads[name.hash & mask] ?? 0; entry !== 0; entry = next[entry - 1] ?? 0) {
    spend(budget, 1)
    if (hashes[entry - 1] !== name.hash) continue
    const id = blob.firstId + entry - 1
    const other = Names.essentialAt(blob, Btf.nameOffsetOf(blob, id))
    spend(budget, other.length >> 4)
    if (Names.equals(name, other)) ids.push(id)
  }
  return ids
}

/** The name of a member or enumerator that is remembered: long ones are paid for. */
const nameAt = (btf: Btf.Btf, id: number, index: number, budget: Budget): string => {
  const name = Btf.stringAt(btf, elementNameOffset(btf, id, index)) ?? ""
  spend(budget, 1 + (name.length >> 4))
  return name
}

/** The members of struct or union `id`. */
export const membersOf = (cache: CoreCache, btf: Btf.Btf, id: number, budget: Budget): MemberIndex => {
  const facts = factsOf(cache, Btf.ownerOf(btf, id) ?? btf)
  const known = facts.members.get(id)
  if (known !== undefined) return known
  const named = new Map<string, number>()
  const anonymous: Array<number> = []
  const count = Btf.vlenOf(btf, id)
  for (let index = 0; index < count; index++) {
    const name = nameAt(btf, id, index, budget)
    if (name === "") anonymous.push(index)
    else if (!named.has(name)) named.set(name, index)
  }
  const members = { named, anonymous }
  facts.members.set(id, members)
  return members
}

/** The members of struct or union `id`, or the enumerators of enum `id`, by essential name. */
export const essentialsOf = (cache: CoreCache, btf: Btf.Btf, id: number, budget: Budget): EssentialIndex => {
  const facts = factsOf(cache, Btf.ownerOf(btf, id) ?? btf)
  const known = facts.essentials.get(id)
  if (known !== undefined) return known
  const essentials = new Map<string, Array<number>>()
  const count = Btf.vlenOf(btf, id)
  for (let index = 0; index < count; index++) {
    const name = essentialName(nameAt(btf, id, index, budget))
    const same = essentials.get(name)
    if (same === undefined) essentials.set(name, [index])
    else same.push(index)
  }
  facts.essentials.set(id, essentials)
  return essentials
}
