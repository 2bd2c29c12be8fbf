/**
 * What something is called in a kernel that does not have it under the name that another kernel has it under.
 */
import * as Btf from "../../btf/Btf.ts"
import * as BtfDiff from "../../btf/BtfDiff.ts"
import type { Change } from "../../btf/diff/DiffModel.ts"
import * as Place from "./Place.ts"

/** The types of a name, those that are declared only left out. */
const rootsOf = (btf: Btf.Btf, kind: number, name: string): ReadonlyArray<number> => {
  const ids = Btf.ownNamed(btf, name, kind)
  if (ids.length > 0 || kind !== Btf.BTF_KIND_ENUM) return ids
  return rootsOf(btf, Btf.BTF_KIND_ENUM64, name)
}

/** The type of that name in which a path leads the furthest. */
const bestRoot = (
  btf: Btf.Btf,
  kind: number,
  name: string,
  steps: ReadonlyArray<Place.Step>
): { readonly id: number; readonly taken: ReadonlyArray<Place.Taken> } | undefined => {
  let best: { readonly id: number; readonly taken: ReadonlyArray<Place.Taken> } | undefined
  for (const id of rootsOf(btf, kind, name).slice(0, MAX_ROOTS)) {
    const taken = Place.walk(btf, id, steps)
    if (best === undefined || taken.length > best.taken.length) best = { id, taken }
  }
  return best
}

const MAX_ROOTS = 16

/** The type that a step is taken in: the root's, or what the step before led to. */
const typeBefore = (btf: Btf.Btf, root: number, taken: ReadonlyArray<Place.Taken>, position: number): number => {
  const before = position === 0 ? root : taken[position - 1]?.typeId ?? 0
  return Btf.skipModifiersAndTypedefs(btf, before)
}

const memberName = (changes: ReadonlyArray<Change>, name: string): string | undefined => {
  for (const change of changes) {
    if (change._tag === "MemberChanged" && change.path === name && change.what.includes("renamed")) {
      return change.newPath
    }
  }
  return undefined
}

const stepText = (step: Place.Step): string => typeof step === "string" ? `.${step}` : `[${step}]`

/**
 * The path of a field, or of an enumerator, in kernel `without`, where it seems to have another name than in kernel `having`:
 * the same type at the same place among its neighbours, or the same number. `undefined` where it is gone.
 */
export const nameIn = (having: Btf.Btf, without: Btf.Btf, reference: Place.Reference): string | undefined => {
  const { kind, name, root, steps } = Place.parse(reference.path)
  if (reference.what === "enumerator") {
    const enumerator = reference.path.slice(root.length + "::".length)
    const one = rootsOf(having, kind, name)[0]
    const other = rootsOf(without, kind, name)[0]
    if (one === undefined || other === undefined) return undefined
    for (const change of BtfDiff.changes(having, one, without, other)) {
      if (change._tag === "ValueRenamed" && change.name === enumerator) return `${root}::${change.newName}`
    }
    return undefined
  }
  if (reference.what !== "field") return undefined
  const one = bestRoot(having, kind, name, steps)
  const other = bestRoot(without, kind, name, steps)
  if (one === undefined || other === undefined || one.taken.length < steps.length) return undefined
  const position = other.taken.length
  const step = steps[position]
  if (typeof step !== "string") return undefined
  const changes = BtfDiff.changes(
    having,
    typeBefore(having, one.id, one.taken, position),
    without,
    typeBefore(without, other.id, other.taken, position)
  )
  const newName = memberName(changes, step)
  if (newName === undefined) return undefined
  const before = steps.slice(0, position).map(stepText).join("")
  return `${root}${before}.${newName}${steps.slice(position + 1).map(stepText).join("")}`
}
