/**
 * What became of a field, enumerator, type, function or variable over several kernels, in their order.
 */
import type { Place, Places, Reference } from "./Place.ts"

/** Kernels in a row that have something in the same place. */
export interface Run {
  /** Positions of the first and the last of these kernels. Kernels that nothing is known of may be in between. */
  readonly from: number
  readonly to: number
  readonly place: Place
}

/** In what way something is different from one kernel to the next. */
export type ChangeKind =
  /** It is there, and was not before. */
  | "appeared"
  /** It is not there any more. */
  | "gone"
  /** It is there under another name than before, or was: see `name`. */
  | "renamed"
  /** It is at another offset. */
  | "moved"
  /** It is of another type. */
  | "retyped"
  /** The type is of another size. */
  | "resized"
  /** The enumerator has another value. */
  | "renumbered"
  /** It went to a module, or from one to another. */
  | "elsewhere"

/** What is different between two kernels. */
export interface Change {
  readonly before: number
  readonly after: number
  readonly kinds: ReadonlyArray<ChangeKind>
  /** Its path in whichever of the two kernels does not have it under its own. */
  readonly name: string | undefined
}

/** The history of one reference. */
export interface History {
  readonly reference: Reference
  readonly runs: ReadonlyArray<Run>
  readonly changes: ReadonlyArray<Change>
}

/** A question to two kernels: what is each of these called in the one that does not have it. */
export interface Question {
  /** Position of the kernel that has them. */
  readonly having: number
  readonly without: number
  readonly references: ReadonlyArray<Reference>
}

/** The key of a question about one reference. */
export const questionKey = (having: number, without: number, { path, what }: Reference): string =>
  `${having} ${without} ${what} ${path}`

/** Answers to questions, by their keys. */
export type Names = ReadonlyMap<string, string>

const samePlace = (one: Place, other: Place): boolean => {
  if (one._tag === "Present") return other._tag === "Present" && kindsBetween(one, other).length === 0
  if (one._tag === "Absent") return other._tag === "Absent" && one.reason === other.reason
  return other._tag === "Unclear" && one.reason === other.reason
}

/** Whether two values differ; one that is not known does not. */
const differ = <A>(one: A | undefined, other: A | undefined): boolean =>
  one !== undefined && other !== undefined && one !== other

const kindsBetween = (
  one: Place & { readonly _tag: "Present" },
  other: Place & { readonly _tag: "Present" }
): ReadonlyArray<ChangeKind> => {
  const kinds: Array<ChangeKind> = []
  if (differ(one.bitOffset, other.bitOffset)) kinds.push("moved")
  if (differ(one.type, other.type)) kinds.push("retyped")
  if (differ(one.size, other.size)) kinds.push("resized")
  if (differ(one.value, other.value)) kinds.push("renumbered")
  if (one.module !== other.module) kinds.push("elsewhere")
  return kinds
}

/** Whether something is there, only that it is of another type than the object's. */
const isRetyped = (place: Place): boolean =>
  place._tag === "Absent" && (place.reason === "IncompatibleMember" || place.reason === "IncompatibleType")

const changeKinds = (one: Place, other: Place): ReadonlyArray<ChangeKind> => {
  if (one._tag === "Present" && other._tag === "Present") return kindsBetween(one, other)
  if (one._tag === "Unclear" || other._tag === "Unclear" || one._tag === other._tag) return []
  if (isRetyped(one) || isRetyped(other)) return ["retyped"]
  return one._tag === "Present" ? ["gone"] : ["appeared"]
}

/** Whether a type has something else in the place of what is not there, so that it is worth looking for. */
const isLookedFor = (place: Place): boolean =>
  place._tag === "Absent" && (place.reason === "NoMember" || place.reason === "NoEnumerator")

interface Known {
  readonly kernel: number
  readonly place: Place
}

/** What each kernel has of each reference, in the kernels' order; kernels of which nothing is known are left out. */
const gather = (
  columns: ReadonlyArray<Places | undefined>
): ReadonlyArray<{ readonly reference: Reference; readonly known: ReadonlyArray<Known> }> => {
  const all = new Map<string, { readonly reference: Reference; readonly known: Array<Known> }>()
  for (const [kernel, places] of columns.entries()) {
    for (const [key, { place, reference }] of places ?? []) {
      const entry = all.get(key)
      if (entry === undefined) all.set(key, { reference, known: [{ kernel, place }] })
      else entry.known.push({ kernel, place })
    }
  }
  return [...all.values()]
}

const pairs = <A>(list: ReadonlyArray<A>): ReadonlyArray<readonly [A, A]> =>
  list.slice(1).flatMap((after, index) => {
    const before = list[index]
    return before === undefined ? [] : [[before, after] as const]
  })

/** What has to be asked of pairs of kernels for `make` to know other names. */
export const questions = (columns: ReadonlyArray<Places | undefined>): ReadonlyArray<Question> => {
  const byPair = new Map<string, Question & { readonly references: Array<Reference> }>()
  for (const { known, reference } of gather(columns)) {
    for (const [before, after] of pairs(known)) {
      const [having, without] = before.place._tag === "Present" ? [before, after] : [after, before]
      if (having.place._tag !== "Present" || !isLookedFor(without.place)) continue
      const key = `${having.kernel} ${without.kernel}`
      const question = byPair.get(key)
      if (question !== undefined) question.references.push(reference)
      else byPair.set(key, { having: having.kernel, without: without.kernel, references: [reference] })
    }
  }
  return [...byPair.values()]
}

const historyOf = (reference: Reference, known: ReadonlyArray<Known>, names: Names): History => {
  const runs: Array<Run> = []
  for (const { kernel, place } of known) {
    const last = runs.at(-1)
    if (last !== undefined && samePlace(last.place, place)) runs[runs.length - 1] = { ...last, to: kernel }
    else runs.push({ from: kernel, to: kernel, place })
  }
  const changes = pairs(known).flatMap(([before, after]): ReadonlyArray<Change> => {
    const kinds = changeKinds(before.place, after.place)
    if (kinds.length === 0) return []
    const [having, without] = before.place._tag === "Present" ? [before, after] : [after, before]
    const name = names.get(questionKey(having.kernel, without.kernel, reference))
    return [{ before: before.kernel, after: after.kernel, kinds: name === undefined ? kinds : ["renamed"], name }]
  })
  return { reference, runs, changes }
}

const order: Readonly<Record<Reference["what"], number>> = {
  field: 0,
  enumerator: 1,
  type: 2,
  shape: 3,
  function: 4,
  variable: 5
}

const byPath = ({ reference: one }: History, { reference: other }: History): number =>
  order[one.what] - order[other.what] || (one.path < other.path ? -1 : one.path > other.path ? 1 : 0)

/** The histories of all references, by what they are and by their paths. */
export const make = (columns: ReadonlyArray<Places | undefined>, names: Names = new Map()): ReadonlyArray<History> =>
  gather(columns).map(({ known, reference }) => historyOf(reference, known, names)).sort(byPath)

/** Whether some kernel does not have it, or has it in a way that an object cannot use. */
export const isLacking = ({ runs }: History): boolean => runs.some(({ place }) => place._tag !== "Present")
