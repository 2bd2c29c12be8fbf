/**
 * The second pass of dedup: types that refer to no other, INT, FLOAT, ENUM, ENUM64 and FWD.
 *
 * Equal ones become one. An enum without values is a forward declaration, and becomes the newest enum of its name. Full
 * enums of one name that differ stay apart.
 */
import { BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT, BTF_KIND_FWD, BTF_KIND_INT } from "../BtfKind.ts"
import { findEqual, hashRecord, insert, makeTable } from "./DedupTable.ts"
import type { DedupWork } from "./DedupWork.ts"
import { recordWords } from "./DedupWork.ts"

const isPrimitive = (kind: number): boolean =>
  kind === BTF_KIND_INT || kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64 || kind === BTF_KIND_FWD ||
  kind === BTF_KIND_FLOAT

/** Whether the kind is an enum's, of 32 or 64 bits. */
export const isEnum = (kind: number): boolean => kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64

/**
 * Whether type `id` is a named enum without values: a forward declaration. An anonymous one declares nothing that
 * another type could define.
 */
export const isEnumForward = (work: DedupWork, id: number): boolean => {
  const start = work.at[id] ?? 0
  return isEnum(work.kinds[id] ?? 0) && ((work.words[start + 1] ?? 0) & 0xff_ffff) === 0 && work.words[start] !== 0
}

/** The enums of one name. */
interface EnumName {
  /** The newest that stays, forward declarations included. */
  newest: number
  /** Forward declarations that stay, in ascending order of ids. */
  readonly forwards: Array<number>
}

/** Decides all primitive types of the blob. */
export const dedupPrimitives = (work: DedupWork): void => {
  const { at, end, firstOwn, kinds, map, words } = work
  let count = 0
  for (let id = 1; id < end; id++) count += isPrimitive(kinds[id] ?? 0) ? 1 : 0
  const table = makeTable(count)
  // Of a name there is an entry only once it was met as a forward declaration, or when one of it is looked for.
  const enums = new Map<number, EnumName>()

  const keep = (id: number, hash: number): void => {
    map[id] = id
    insert(work, table, id, hash)
    const name = words[at[id] ?? 0] ?? 0
    if (name === 0 || !isEnum(kinds[id] ?? 0)) return
    const known = enums.get(name)
    if (known === undefined) enums.set(name, { newest: id, forwards: isEnumForward(work, id) ? [id] : [] })
    else {
      known.newest = id
      if (isEnumForward(work, id)) known.forwards.push(id)
    }
  }

  for (let id = 1; id < end; id++) {
    const kind = kinds[id] ?? 0
    if (!isPrimitive(kind)) continue
    const start = at[id] ?? 0
    const hash = hashRecord(words, start, recordWords(kind, words[start + 1] ?? 0))
    if (id < firstOwn) {
      keep(id, hash)
      continue
    }
    const declared = isEnumForward(work, id) ? enums.get(words[start] ?? 0)?.newest ?? 0 : 0
    const same = declared === 0 ? findEqual(work, table, id, hash) : declared
    if (same === 0) keep(id, hash)
    else map[id] = same
  }

  // Forward declarations become the last full enum of their name, unless that one is the copy of one before them. Going
  // backwards, each is decided once, however many there are: those that are left are older than all that was passed.
  for (let id = end - 1; id >= firstOwn; id--) {
    if (!isEnum(kinds[id] ?? 0) || isEnumForward(work, id)) continue
    const forwards = enums.get(words[at[id] ?? 0] ?? 0)?.forwards
    if (forwards === undefined) continue
    const same = map[id] ?? id
    const before = same === id ? 0 : same
    for (let last = forwards.at(-1); last !== undefined && last > before; last = forwards.at(-1)) {
      map[last] = id
      forwards.pop()
    }
  }
}
