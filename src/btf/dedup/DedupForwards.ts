/**
 * The fourth pass of dedup: forward declarations that no comparison resolved, but whose name has one definition only.
 */
import { BTF_KIND_FWD, BTF_KIND_STRUCT, BTF_KIND_UNION } from "../BtfKind.ts"
import { isComposite } from "./DedupGraph.ts"
import type { DedupWork } from "./DedupWork.ts"

/** Several structs or unions have the name. */
const AMBIGUOUS = 0

/**
 * Maps each forward declaration of the blob that still stands for itself to the struct or union of its name, if there is
 * one of that name and it is of the kind that was declared. Answers those whose name has several.
 */
export const resolveForwards = (work: DedupWork): ReadonlyArray<number> => {
  const { at, end, firstOwn, kinds, map, words } = work
  const open: Array<number> = []
  const definitions = new Map<number, number>()
  for (let id = firstOwn; id < end; id++) {
    const name = words[at[id] ?? 0] ?? 0
    if (kinds[id] !== BTF_KIND_FWD || map[id] !== id || name === 0) continue
    open.push(id)
    definitions.set(name, -1)
  }
  if (open.length === 0) return open
  for (let id = 1; id < end; id++) {
    if (!isComposite(kinds[id] ?? 0) || map[id] !== id) continue
    const name = words[at[id] ?? 0] ?? 0
    const known = definitions.get(name)
    if (known !== undefined) definitions.set(name, known === -1 ? id : AMBIGUOUS)
  }
  const ambiguous: Array<number> = []
  for (const id of open) {
    const start = at[id] ?? 0
    const definition = definitions.get(words[start] ?? 0) ?? -1
    if (definition === AMBIGUOUS) ambiguous.push(id)
    if (definition <= 0) continue
    const declared = (words[start + 1] ?? 0) < 0 ? BTF_KIND_UNION : BTF_KIND_STRUCT
    if (kinds[definition] === declared) map[id] = definition
  }
  return ambiguous
}
