/**
 * The difference of two kernels' types, or of any two blobs: what is gone, new, and changed, and which accesses break.
 *
 * Types belong together by name and kind, members by name and then by place. Types are compared as C spells them, so
 * that a struct has not changed because one that it points to has; what has no name is compared by structure, as a part
 * of what it is in. Ids play no role. The work is near-linear in the types: two whole kernels take about a second.
 *
 * ```ts
 * const difference = BtfDiff.diff(older, newer, { filter: "task_struct" })
 * for (const { breaks } of difference.changed) {
 *   for (const { now, path, why } of breaks) console.log(path, why, now)
 * }
 * console.log(BtfDiff.render(difference))
 * ```
 *
 * A blob that is split over a base is compared in the types that it holds itself.
 */
import * as Kind from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"
import { kindOf, nameOf, nameOffsetOf, sizeOrTypeOf, stringAt, vlenOf } from "./BtfModel.ts"
import { compareEnums, compareTypes } from "./diff/Compare.ts"
import { diffKinds } from "./diff/DiffModel.ts"
import type { Ambiguity, BrokenAccess, Change, Difference, DiffKind, TypeAt, TypeChange } from "./diff/DiffModel.ts"
import { embeddings, pathsTo } from "./diff/Embedding.ts"
import type { Budget } from "./diff/Flatten.ts"
import { matches } from "../internal/Glob.ts"
import { pair, roots } from "./diff/Roots.ts"
import type { Root } from "./diff/Roots.ts"
import { interner, side, word } from "./diff/Spelling.ts"
import type { Side } from "./diff/Spelling.ts"

export { diffKinds } from "./diff/DiffModel.ts"
export type {
  Ambiguity,
  BrokenAccess,
  Change,
  Difference,
  DiffKind,
  MemberChangeKind,
  MemberPlace,
  ParamPlace,
  TypeAt,
  TypeChange
} from "./diff/DiffModel.ts"
export { lines, render } from "./diff/Render.ts"
export type { RenderOptions } from "./diff/Render.ts"

/** Options of `diff`. */
export interface DiffOptions {
  /** Only types whose name is this one or matches this pattern of `*` and `?`. */
  readonly filter?: string
  /** Only types of these kinds; all unless given. */
  readonly kinds?: ReadonlyArray<DiffKind>
}

/** Compares the types of two blobs; both may be the same, and of either byte order. */
export const diff = (before: Btf, after: Btf, options: DiffOptions = {}): Difference => {
  const { difference, isCyclic } = compare(before, after, options, false)
  return isCyclic ? compare(before, after, options, true).difference : difference
}

/**
 * What is different between one type of `before` and one of `after`, whatever they are called: the changes that `diff` tells
 * of two types of one name. Of types of different kinds there is nothing to tell.
 */
export const changes = (before: Btf, one: number, after: Btf, other: number): ReadonlyArray<Change> => {
  if (kindOf(before, one) !== kindOf(after, other)) return []
  const compareOnce = (inOrder: boolean) => {
    const numbers = interner()
    const was = side(before, numbers, inOrder)
    const is = side(after, numbers, inOrder)
    const budget: Budget = { left: 65_536 + before.typesLength + after.typesLength }
    const compared = compareTypes(was, one, is, other, budget)
    return { changes: compared.changes, isCyclic: was.isCyclic() || is.isCyclic() }
  }
  const first = compareOnce(false)
  return first.isCyclic ? compareOnce(true).changes : first.changes
}

/** The difference, and whether spellings go in circles, for which they have to be made in order. */
const compare = (
  before: Btf,
  after: Btf,
  options: DiffOptions,
  inOrder: boolean
): { readonly difference: Difference; readonly isCyclic: boolean } => {
  const numbers = interner()
  const was = side(before, numbers, inOrder)
  const is = before === after ? was : side(after, numbers, inOrder)
  const { filter } = options
  const selection = {
    accepts: filter === undefined ? () => true : (name: string) => matches(filter, name),
    kinds: new Set(options.kinds ?? diffKinds)
  }
  const budget: Budget = { left: 65_536 + before.typesLength + after.typesLength }
  const comparison = new Comparison(was, is, budget)
  const old = roots(was, selection)
  const now = before === after ? old : roots(is, selection)
  for (const [key, root] of old) comparison.root(root, now.get(key))
  for (const [key, root] of now) if (!old.has(key)) comparison.root(undefined, root)
  if (selection.kinds.has("enum")) comparison.anonymousEnums(selection.accepts)
  return { difference: comparison.finish(), isCyclic: was.isCyclic() || is.isCyclic() }
}

/** A comparison under way. */
class Comparison {
  readonly #was: Side
  readonly #is: Side
  readonly #budget: Budget
  readonly #tagsBefore: ReadonlyMap<number, ReadonlyArray<Tag>>
  readonly #tagsAfter: ReadonlyMap<number, ReadonlyArray<Tag>>
  readonly #added: Array<TypeAt> = []
  readonly #removed: Array<TypeAt> = []
  readonly #changed: Array<TypeChange> = []
  readonly #ambiguous: Array<Ambiguity> = []
  #before = 0
  #after = 0
  #same = 0

  constructor(was: Side, is: Side, budget: Budget) {
    this.#was = was
    this.#is = is
    this.#budget = budget
    this.#tagsBefore = declarationTags(was.btf)
    this.#tagsAfter = was === is ? this.#tagsBefore : declarationTags(is.btf)
  }

  /** Compares the types of one name and kind. */
  root(old: Root | undefined, now: Root | undefined): void {
    const root = old ?? now
    if (root === undefined) return
    const { kind, name } = root
    const pairing = pair(
      { side: this.#was, ids: old?.ids ?? [], more: (id) => tagText(this.#tagsBefore.get(id)) },
      { side: this.#is, ids: now?.ids ?? [], more: (id) => tagText(this.#tagsAfter.get(id)) }
    )
    this.#before += old?.ids.length ?? 0
    this.#after += now?.ids.length ?? 0
    for (const [one, other] of pairing.pairs) this.#pair(kind, name, one, other)
    if (pairing.ambiguous) {
      this.#ambiguous.push({ kind, name, before: pairing.before, after: pairing.after })
      return
    }
    for (const id of pairing.before) this.#removed.push({ kind, name, id })
    for (const id of pairing.after) this.#added.push({ kind, name, id })
  }

  #pair(kind: DiffKind, name: string, one: number, other: number): void {
    const { changes, incomplete } = compareTypes(this.#was, one, this.#is, other, this.#budget)
    const tags = tagChanges(this.#tagsBefore.get(one), this.#tagsAfter.get(other))
    if (changes.length === 0 && tags.length === 0 && !incomplete) {
      this.#same += 1
      return
    }
    const all = [...changes, ...tags]
    this.#changed.push({
      before: { kind, name, id: one },
      after: { kind, name, id: other },
      changes: all,
      breaks: all.flatMap((change) => broken(name, change)),
      embeddedIn: [],
      embeddedInMore: false,
      incomplete
    })
  }

  /** Enums without a name belong together by an enumerator that both have. */
  anonymousEnums(accepts: (name: string) => boolean): void {
    const old = anonymousEnums(this.#was.btf, accepts)
    const now = anonymousEnums(this.#is.btf, accepts)
    const taken = new Set<number>()
    // The same ones first, so that of several with a common enumerator none takes another's place.
    const bySpelling = new Map<number, Array<number>>()
    for (const [index, { id }] of [...now.entries()].reverse()) push(bySpelling, this.#is.spelling(id), index)
    const changed = old.filter(({ id }) => {
      const index = bySpelling.get(this.#was.spelling(id))?.pop()
      if (index !== undefined) taken.add(index)
      return index === undefined
    })
    this.#same += old.length - changed.length
    const byEnumerator = new Map<string, Array<number>>()
    for (const [index, { names }] of [...now.entries()].reverse()) {
      if (!taken.has(index)) { for (const name of names) push(byEnumerator, name, index) }
    }
    const partner = (name: string): number | undefined => {
      const indices = byEnumerator.get(name)
      while (indices !== undefined && taken.has(indices.at(-1) ?? -1)) indices.pop()
      return indices?.at(-1)
    }
    let elsewhere: ReadonlySet<string> | undefined
    this.#before += old.length
    this.#after += now.length
    for (const { first, id, names } of changed) {
      const index = names.map(partner).find((found) => found !== undefined)
      const other = index === undefined ? undefined : now[index]
      if (index === undefined || other === undefined) {
        this.#removed.push({ kind: "enum", name: "", id, first })
        continue
      }
      taken.add(index)
      const changes = compareEnums(this.#was.btf, id, this.#is.btf, other.id)
      if (changes.length === 0) {
        this.#same += 1
        continue
      }
      // An enumerator without an enum's name is reached by its own, from whichever enum it is in now.
      elsewhere ??= enumeratorNames(this.#is.btf)
      const known = elsewhere
      const breaks = changes.flatMap((change) => broken("", change)).filter(({ path }) => !known.has(path))
      this.#changed.push({
        before: { kind: "enum", name: "", id, first },
        after: { kind: "enum", name: "", id: other.id, first: other.first },
        changes,
        breaks,
        embeddedIn: [],
        embeddedInMore: false,
        incomplete: false
      })
    }
    for (const [index, { first, id }] of now.entries()) {
      if (!taken.has(index)) this.#added.push({ kind: "enum", name: "", id, first })
    }
  }

  finish(): Difference {
    return {
      compared: { before: this.#before, after: this.#after, same: this.#same },
      removed: this.#removed.sort(inOrder),
      added: this.#added.sort(inOrder),
      changed: this.#withEmbeddings().sort((one, other) => inOrder(one.before, other.before)),
      ambiguous: this.#ambiguous.sort((one, other) => byKindAndName(one.kind, one.name, other.kind, other.name))
    }
  }

  #withEmbeddings(): Array<TypeChange> {
    const hasMembers = (change: TypeChange): boolean => change.before.kind !== "enum" && change.before.kind !== "func"
    if (!this.#changed.some((change) => change.breaks.length > 0 && hasMembers(change))) return this.#changed
    const { btf } = this.#was
    const all = embeddings(btf, { left: 65_536 + btf.typesLength })
    return this.#changed.map((change) => {
      if (change.breaks.length === 0 || !hasMembers(change)) return change
      const { more, paths } = pathsTo(btf, all, change.before.id)
      return { ...change, embeddedIn: paths, embeddedInMore: more }
    })
  }
}

const inOrder = (one: TypeAt, other: TypeAt): number =>
  byKindAndName(one.kind, one.name, other.kind, other.name) || compareText(one.first ?? "", other.first ?? "")
  || one.id - other.id

const byKindAndName = (kind: DiffKind, name: string, otherKind: DiffKind, otherName: string): number =>
  diffKinds.indexOf(kind) - diffKinds.indexOf(otherKind) || compareText(name, otherName)

/** By UTF-16 units: an order that depends on no locale. */
const compareText = (one: string, other: string): number => one < other ? -1 : one > other ? 1 : 0

/** The accesses that one change breaks. An access by offset breaks with every move, one through CO-RE does not. */
const broken = (name: string, change: Change): ReadonlyArray<BrokenAccess> => {
  const at = (path: string): string => name === "" ? path : `${name}.${path}`
  switch (change._tag) {
    case "MemberRemoved":
      return [{ path: at(change.path), why: "removed" }]
    case "MemberChanged":
      if (change.what.includes("renamed")) return [{ path: at(change.path), why: "renamed", now: at(change.newPath) }]
      return change.what.includes("retyped")
        ? [{ path: at(change.path), why: "retyped", now: change.after.type }]
        : []
    case "ValueRemoved":
      return [{ path: at(change.name), why: "removed" }]
    case "ValueRenamed":
      return [{ path: at(change.name), why: "renamed", now: at(change.newName) }]
    default:
      return []
  }
}

const push = <K>(lists: Map<K, Array<number>>, key: K, index: number): void => {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [index])
  else list.push(index)
}

// ---- Tags of declarations ----

interface Tag {
  readonly text: string
  readonly component: number
}

const declarationTags = (btf: Btf): ReadonlyMap<number, ReadonlyArray<Tag>> => {
  const found = new Map<number, Array<Tag>>()
  for (let id = btf.firstId; id < btf.endId; id++) {
    if (kindOf(btf, id) !== Kind.BTF_KIND_DECL_TAG) continue
    const target = sizeOrTypeOf(btf, id)
    const tag = { text: nameOf(btf, id), component: word(btf, id, 12) | 0 }
    const list = found.get(target)
    if (list === undefined) found.set(target, [tag])
    else list.push(tag)
  }
  return found
}

const tagText = (tags: ReadonlyArray<Tag> = []): string =>
  tags.length === 0 ? "" : tags.map(({ component, text }) => `${component} ${text}`).sort().join("\0")

const tagChanges = (
  before: ReadonlyArray<Tag> = [],
  after: ReadonlyArray<Tag> = []
): ReadonlyArray<Change> => {
  if (before.length === 0 && after.length === 0) return []
  const key = ({ component, text }: Tag): string => `${component} ${text}`
  const old = new Set(before.map(key))
  const now = new Set(after.map(key))
  return [
    ...before.filter((tag) => !now.has(key(tag))).map((tag): Change => ({
      _tag: "TagRemoved",
      tag: tag.text,
      component: tag.component
    })),
    ...after.filter((tag) => !old.has(key(tag))).map((tag): Change => ({
      _tag: "TagAdded",
      tag: tag.text,
      component: tag.component
    }))
  ]
}

// ---- Enums without a name ----

interface AnonymousEnum {
  readonly id: number
  readonly first: string
  readonly names: ReadonlyArray<string>
}

/** Enums without a name of which an enumerator is selected. */
const anonymousEnums = (btf: Btf, accepts: (name: string) => boolean): ReadonlyArray<AnonymousEnum> => {
  const found: Array<AnonymousEnum> = []
  for (let id = btf.firstId; id < btf.endId; id++) {
    const kind = kindOf(btf, id)
    if ((kind !== Kind.BTF_KIND_ENUM && kind !== Kind.BTF_KIND_ENUM64) || nameOffsetOf(btf, id) !== 0) continue
    const names = namesOf(btf, id, kind)
    const [first] = names
    if (first !== undefined && names.some(accepts)) found.push({ id, first, names })
  }
  return found
}

const namesOf = (btf: Btf, id: number, kind: number): ReadonlyArray<string> => {
  const names: Array<string> = []
  const size = Kind.ELEMENT_SIZE[kind] ?? 8
  const count = vlenOf(btf, id)
  for (let index = 0; index < count; index++) names.push(stringAt(btf, word(btf, id, 12 + index * size)) ?? "")
  return names
}

/** The enumerators of all enums of a blob and of what it is split over. */
const enumeratorNames = (btf: Btf): ReadonlySet<string> => {
  const found = new Set<string>()
  for (let id = 1; id < btf.endId; id++) {
    const kind = kindOf(btf, id)
    if (kind === Kind.BTF_KIND_ENUM || kind === Kind.BTF_KIND_ENUM64) {
      for (const name of namesOf(btf, id, kind)) found.add(name)
    }
  }
  return found
}
