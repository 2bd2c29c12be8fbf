/**
 * Whether two blobs hold the same types, when it is said which id of one is which id of the other: the judge of what
 * transforms of BTF may not change. It compares types as objects, and knows nothing of how transforms work.
 */
import * as Btf from "../../src/btf/Btf.ts"

/** The fields of types, members, parameters and entries that are ids. */
const idFields: ReadonlySet<string> = new Set(["id", "type", "indexType", "returnType"])

/**
 * The first difference between type `id` of `one` and type `twin(id)` of `other`, every id in it compared by `twin`;
 * `undefined` where there is none.
 */
export const typeDifference = (
  one: Btf.Btf,
  id: number,
  other: Btf.Btf,
  twin: (id: number) => number | undefined
): string | undefined => {
  const expected = twin(id)
  if (expected === undefined) return `type ${id} has no twin`
  const pending: Array<readonly [path: string, field: string, one: unknown, other: unknown]> = [
    ["", "", Btf.typeOf(one, id), Btf.typeOf(other, expected)]
  ]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, field, left, right] = next
    if (typeof left === "object" && left !== null && typeof right === "object" && right !== null) {
      const others = new Map<string, unknown>(Object.entries(right))
      const fields = Object.entries(left)
      if (fields.length !== others.size) return `type ${id}${path}: ${fields.length} fields, not ${others.size}`
      for (const [key, value] of fields) pending.push([`${path}.${key}`, key, value, others.get(key)])
      continue
    }
    const same = idFields.has(field) && typeof left === "number" ? twin(left) === right : left === right
    if (!same) return `type ${id}${path}: ${String(left)}, and its twin ${expected} has ${String(right)}`
  }
  return undefined
}

/** The first difference between the types that `one` holds itself and their twins in `other`. */
export const difference = (
  one: Btf.Btf,
  other: Btf.Btf,
  twin: (id: number) => number | undefined
): string | undefined => {
  for (let id = one.firstId; id < one.endId; id++) {
    const found = typeDifference(one, id, other, twin)
    if (found !== undefined) return found
  }
  return undefined
}
