/**
 * Which member of one struct is which of another, and how they differ.
 *
 * Members belong together by name, one level of named members after the other; what is left over on both sides in one
 * gap between members that belong together has been renamed.
 */
import { typeName } from "../BtfName.ts"
import type { Change, MemberChangeKind, MemberPlace } from "./DiffModel.ts"
import type { Reached } from "./Flatten.ts"
import type { Side } from "./Spelling.ts"

/** How many candidates of a gap are tried for a renamed member. */
const LOOKAHEAD = 8

/** Flattened members of a type of one side. */
export interface Members {
  readonly side: Side
  readonly list: ReadonlyArray<Reached>
}

/** The index in `after` of each member of `before`; -1 for one that is gone. */
const matchMembers = (before: Members, after: Members): Int32Array => {
  const forth = new Int32Array(before.list.length).fill(-1)
  const back = new Int32Array(after.list.length).fill(-1)
  const pair = (one: number, other: number): void => {
    forth[one] = other
    back[other] = one
  }
  const beforeLevels = levels(before.list)
  const afterLevels = levels(after.list)
  for (const [level, own] of beforeLevels.entries()) {
    const others = afterLevels[level] ?? []
    // Names within a parent; by C's rules there is one each, and bad input can have more.
    const byName = new Map<string, Array<number>>()
    for (const index of others.toReversed()) {
      const member = after.list[index]
      if (member === undefined || (member.parent >= 0 && (back[member.parent] ?? -1) < 0)) continue
      const key = `${member.parent} ${member.name}`
      const list = byName.get(key)
      if (list === undefined) byName.set(key, [index])
      else list.push(index)
    }
    const parentOf = (index: number): number | undefined => {
      const parent = before.list[index]?.parent ?? -1
      const matched = parent < 0 ? -1 : forth[parent] ?? -1
      // What is in a member that is gone is gone with it.
      return parent >= 0 && matched < 0 ? undefined : matched
    }
    for (const index of own) {
      const parent = parentOf(index)
      if (parent === undefined) continue
      const found = byName.get(`${parent} ${before.list[index]?.name ?? ""}`)?.pop()
      if (found !== undefined) pair(index, found)
    }
    matchGaps(before, after, own, others, parentOf, forth, back, pair)
  }
  return forth
}

const levels = (list: ReadonlyArray<Reached>): ReadonlyArray<ReadonlyArray<number>> => {
  const found: Array<Array<number>> = []
  for (const [index, { level }] of list.entries()) (found[level] ??= []).push(index)
  return found
}

/** Pairs what is left between members that belong together. */
const matchGaps = (
  before: Members,
  after: Members,
  own: ReadonlyArray<number>,
  others: ReadonlyArray<number>,
  parentOf: (index: number) => number | undefined,
  forth: Int32Array,
  back: Int32Array,
  pair: (one: number, other: number) => void
): void => {
  // A gap is named by the parent and by the member of `after` that it follows.
  const gone = new Map<string, Array<number>>()
  const lastOf = new Map<number, number>()
  for (const index of own) {
    const parent = parentOf(index)
    if (parent === undefined) continue
    const matched = forth[index] ?? -1
    if (matched >= 0) lastOf.set(parent, matched)
    else push(gone, `${parent} ${lastOf.get(parent) ?? -1}`, index)
  }
  if (gone.size === 0) return
  const come = new Map<string, Array<number>>()
  lastOf.clear()
  for (const index of others) {
    const parent = after.list[index]?.parent ?? -1
    if ((back[index] ?? -1) >= 0) lastOf.set(parent, index)
    else push(come, `${parent} ${lastOf.get(parent) ?? -1}`, index)
  }
  for (const [gap, removed] of gone) {
    const added = come.get(gap) ?? []
    const even = removed.length === added.length
    let next = 0
    for (const [place, index] of removed.entries()) {
      const candidates = even ? added.slice(place, place + 1) : added.slice(next, next + LOOKAHEAD)
      const found = candidates.findIndex((other) => isRenamed(before, index, after, other, even))
      if (found < 0) continue
      pair(index, candidates[found] ?? -1)
      next += found + 1
    }
  }
}

const push = (lists: Map<string, Array<number>>, key: string, index: number): void => {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [index])
  else list.push(index)
}

/** Whether a member may be another one under another name; `even` says that the gap has as many of each. */
const isRenamed = (before: Members, index: number, after: Members, other: number, even: boolean): boolean => {
  const one = before.list[index]
  const two = after.list[other]
  if (one === undefined || two === undefined || one.name === "" || two.name === "") return false
  if (bare(one.name) === bare(two.name)) return true
  if (one.bitfieldSize !== two.bitfieldSize) return false
  if (sameType(before.side, one, after.side, two)) return true
  return even && one.group === two.group && !one.group.includes("u") && one.bitOffset === two.bitOffset
    && before.side.size(one.type) === after.side.size(two.type)
}

/** A name without the underscores around it, which are the commonest rename. */
const bare = (name: string): string => {
  let start = 0
  let end = name.length
  while (name[start] === "_") start += 1
  while (end > start && name[end - 1] === "_") end -= 1
  return name.slice(start, end)
}

/** Whether two members' types are spelled alike; of what is listed member by member, only what is around it counts. */
const sameType = (before: Side, one: Reached, after: Side, two: Reached): boolean =>
  one.shell === undefined && two.shell === undefined
    ? before.spelling(one.type) === after.spelling(two.type)
    : one.shell === two.shell

/** What differs between the members of two types. */
export const compareMembers = (before: Members, after: Members): ReadonlyArray<Change> => {
  const forth = matchMembers(before, after)
  const changes: Array<Change> = []
  const matched = new Uint8Array(after.list.length)
  // Members whose own members have something to be compared with.
  const wasOpen = new Uint8Array(after.list.length)
  for (const [index, one] of before.list.entries()) {
    const other = forth[index] ?? -1
    const two = after.list[other]
    if (two !== undefined) {
      matched[other] = 1
      if (one.shell !== undefined) wasOpen[other] = 1
      const what = differences(before, one, after, two)
      if (what.length === 0) continue
      const places = { before: placeOf(before.side, one), after: placeOf(after.side, two) }
      changes.push({ _tag: "MemberChanged", path: one.path, newPath: two.path, what, ...places })
    } else if (one.parent < 0 || after.list[forth[one.parent] ?? -1]?.shell !== undefined) {
      // What was in a member that is gone, or is no struct any more, is gone with that.
      changes.push({ _tag: "MemberRemoved", path: one.path, before: placeOf(before.side, one) })
    }
  }
  for (const [index, two] of after.list.entries()) {
    if (matched[index] === 1 || (two.parent >= 0 && wasOpen[two.parent] !== 1)) continue
    changes.push({ _tag: "MemberAdded", path: two.path, after: placeOf(after.side, two) })
  }
  return changes
}

/** Bits from the named member that it is in: what moves with that one has not moved. */
const ownOffset = ({ list }: Members, member: Reached): number => {
  const parent = list[member.parent]
  return parent === undefined || parent.shell?.includes("[") === true
    ? member.bitOffset
    : member.bitOffset - parent.bitOffset
}

const differences = (
  before: Members,
  one: Reached,
  after: Members,
  two: Reached
): ReadonlyArray<MemberChangeKind> => {
  const what: Array<MemberChangeKind> = []
  if (one.name !== two.name) what.push("renamed")
  if (ownOffset(before, one) !== ownOffset(after, two)) what.push("moved")
  if (!sameType(before.side, one, after.side, two)) {
    what.push(
      withoutQualifiers(shownType(before.side, one)) === withoutQualifiers(shownType(after.side, two))
        ? "requalified"
        : "retyped"
    )
  }
  const sameBits = one.bitfieldSize === two.bitfieldSize
  if (!sameBits || (one.bitfieldSize === 0 && before.side.size(one.type) !== after.side.size(two.type))) {
    what.push("resized")
  }
  if (one.group !== two.group) what.push("regrouped")
  return what
}

/** A type's spelling without what does not change its values. */
export const withoutQualifiers = (text: string): string =>
  text.replaceAll(/\b(const|volatile|restrict|__attribute__\(\([^()]*(\([^()]*\))?\)\))(?= |$) ?/g, "").trimEnd()

const shownType = (side: Side, member: Reached): string => member.shell ?? typeName(side.btf, member.type)

const placeOf = (side: Side, member: Reached): MemberPlace => {
  const size = side.size(member.type)
  return {
    type: shownType(side, member),
    bitOffset: member.bitOffset,
    bitfieldSize: member.bitfieldSize,
    ...(size < 0 ? {} : { size })
  }
}
