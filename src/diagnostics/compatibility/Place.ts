/**
 * Where a kernel has what an object refers to: the matter of histories over several kernels.
 *
 * A reference is known by its path as C writes it, so that all objects that access a field share one history of it.
 */
import * as Btf from "../../btf/Btf.ts"
import type { CoreCandidate, RefusalReason } from "../../stages/relocate/core/Core.ts"
import type { CoreEntry } from "../../stages/relocate/CoreReport.ts"

/** What kind of thing is referred to; `shape` stands for a type that is compared member by member. */
export type What = "field" | "enumerator" | "type" | "shape" | "function" | "variable"

/** Something that objects refer to by name. */
export interface Reference {
  readonly what: What
  /** `struct task_struct.comm[1]`, `enum pid_type::PIDTYPE_TGID`, `struct sock`, `vfs_read`. */
  readonly path: string
}

/** What one kernel has of it. */
export type Place =
  | {
    readonly _tag: "Present"
    /** The module that has it; `undefined` for the kernel itself. */
    readonly module: string | undefined
    /** Of a field: bits from the start of its outermost type. */
    readonly bitOffset: number | undefined
    /** Of a field, function or variable, as C writes it. */
    readonly type: string | undefined
    /** Of a type: bytes. */
    readonly size: number | undefined
    /** Of an enumerator. */
    readonly value: bigint | undefined
  }
  | {
    readonly _tag: "Absent"
    /** `NoType` where the kernel has no type of that name at all. */
    readonly reason: RefusalReason | "NoType"
    /** The step that is missing: a member's or enumerator's name, or an element's `[n]`. */
    readonly at: string
  }
  /** The kernel has several, and they contradict each other, or the relocation is malformed. */
  | { readonly _tag: "Unclear"; readonly reason: string }

/** References with their places in one kernel. */
export type Places = Map<string, { readonly reference: Reference; readonly place: Place }>

/** The key of a reference. */
export const keyOf = ({ path, what }: Reference): string => `${what} ${path}`

const rank = (place: Place): number => place._tag === "Present" ? 2 : place._tag === "Unclear" ? 1 : 0

/** Adds a place. Two objects may declare a field differently: what one of them finds is there. */
export const add = (places: Places, reference: Reference, place: Place): void => {
  const key = keyOf(reference)
  const known = places.get(key)?.place
  if (known === undefined || rank(place) > rank(known)) places.set(key, { reference, place })
  else if (known._tag === "Present" && place._tag === "Present" && known.value === undefined) {
    // That an enumerator exists is less than its value.
    if (place.value !== undefined) places.set(key, { reference, place })
  }
}

const present = (module: string | undefined, more: Partial<Place & { readonly _tag: "Present" }>): Place => ({
  _tag: "Present",
  module,
  bitOffset: undefined,
  type: undefined,
  size: undefined,
  value: undefined,
  ...more
})

/** What a CO-RE relocation of a kind refers to; `undefined` of one that refers to nothing outside of the object. */
export const whatOf = (kind: string): What | undefined => {
  switch (kind) {
    case "byte_off":
    case "byte_sz":
    case "field_exists":
    case "signed":
    case "lshift_u64":
    case "rshift_u64":
      return "field"
    case "enumval_exists":
    case "enumval_value":
      return "enumerator"
    case "type_exists":
    case "type_size":
    case "target_type_id":
      return "type"
    case "type_matches":
      return "shape"
    default:
      return undefined
  }
}

/** The types of the kernel and its modules by the name of who has them. */
export type TypesOf = (module: string | undefined) => Btf.Btf | undefined

const presentOf = (what: What, kind: string, candidate: CoreCandidate, typesOf: TypesOf): Place | undefined => {
  const { module, typeId, typeName, verdict } = candidate
  if (verdict._tag === "Refusal") return undefined
  const btf = typesOf(module)
  if (btf === undefined) return present(module, {})
  switch (what) {
    case "field": {
      const found = walk(btf, typeId, stepsOf(verdict.path.slice(typeName.length)))
      return present(module, { bitOffset: verdict.bitOffset, type: found.at(-1)?.type })
    }
    case "enumerator":
      return present(module, kind === "enumval_value" ? { value: verdict.value } : {})
    default: {
      const size = Btf.resolveSize(btf, typeId)
      return present(module, size._tag === "Success" ? { size: size.success } : {})
    }
  }
}

/** A path by the names that are looked for in kernels: without the flavors of the object's types and enumerators. */
const withoutFlavor = (path: string): string => {
  const end = path.search(/[.[]|::/)
  if (end < 0) return Btf.essentialName(path)
  const rest = path.slice(end)
  return Btf.essentialName(path.slice(0, end)) + (rest.startsWith("::") ? Btf.essentialName(rest) : rest)
}

/** Where the kernel has what a relocation refers to; `undefined` of one that refers to nothing outside of the object. */
export const ofEntry = (
  entry: CoreEntry,
  typesOf: TypesOf
): { readonly reference: Reference; readonly place: Place } | undefined => {
  const what = whatOf(entry.kind)
  if (what === undefined) return undefined
  // Shapes are those of the object's type, flavor and all.
  const reference: Reference = { what, path: what === "shape" ? entry.path : withoutFlavor(entry.path) }
  if (entry.outcome._tag === "Failed") {
    return { reference, place: { _tag: "Unclear", reason: entry.outcome.error.reason } }
  }
  for (const candidate of entry.candidates) {
    const place = presentOf(what, entry.kind, candidate, typesOf)
    if (place !== undefined) return { reference, place }
  }
  const verdict = entry.candidates[0]?.verdict
  return {
    reference,
    place: verdict?._tag === "Refusal"
      ? { _tag: "Absent", reason: verdict.reason, at: verdict.at }
      : { _tag: "Absent", reason: "NoType", at: "" }
  }
}

/** The place of a function, variable or tracepoint that the kernel has. A tracepoint is a typedef of its prototype. */
export const ofSymbol = (btf: Btf.Btf, module: string | undefined, id: number): Place =>
  present(module, {
    type: Btf.typeName(btf, Btf.kindOf(btf, id) === Btf.BTF_KIND_TYPEDEF ? Btf.sizeOrTypeOf(btf, id) : id)
  })

/** The place of one that it does not have. */
export const missing: Place = { _tag: "Absent", reason: "NoType", at: "" }

// ---- Paths ----

/** A step of a path: a member's name, or the index of an element. */
export type Step = string | number

/** The steps of what a path says behind its root type: `.comm[1]`. */
export const stepsOf = (path: string): ReadonlyArray<Step> =>
  [...path.matchAll(/\.([^.[\]]*)|\[(\d+)\]/g)].map(([, name, index]) => name ?? Number(index))

/** A path in its parts: the kind of its root type (`undefined` for a typedef), the root's name, and the steps. */
export const parse = (
  path: string
): { readonly kind: number; readonly name: string; readonly steps: ReadonlyArray<Step>; readonly root: string } => {
  const end = path.search(/[.[]|::/)
  const root = end < 0 ? path : path.slice(0, end)
  const space = root.indexOf(" ")
  const kinds = { struct: Btf.BTF_KIND_STRUCT, union: Btf.BTF_KIND_UNION, enum: Btf.BTF_KIND_ENUM }
  const keyword = root.slice(0, Math.max(0, space))
  const kind = keyword === "struct" || keyword === "union" || keyword === "enum" ? kinds[keyword] : Btf.BTF_KIND_TYPEDEF
  const name = Btf.essentialName(root.slice(space + 1))
  return { kind, name, steps: end < 0 ? [] : stepsOf(path.slice(end)), root }
}

/** A step that was taken. */
export interface Taken {
  /** The struct or union of which the member is reached, or the array. */
  readonly within: number
  /** What is there, as C writes it. */
  readonly type: string
  readonly typeId: number
}

interface Found {
  readonly typeId: number
  /** Of a bit field. */
  readonly bits: number
}

/** Anonymous structs in each other are followed this far, and so many of them are looked at. */
const MAX_NESTING = 64
const MAX_LOOKED_AT = 4096

const isComposite = (btf: Btf.Btf, id: number): boolean => {
  const kind = Btf.kindOf(btf, id)
  return kind === Btf.BTF_KIND_STRUCT || kind === Btf.BTF_KIND_UNION
}

const memberAt = (btf: Btf.Btf, id: number, index: number): Found => {
  const owner = Btf.ownerOf(btf, id)
  if (owner === undefined) return { typeId: 0, bits: 0 }
  const { littleEndian, view } = owner.internal
  const at = (owner.offsets[id - owner.firstId] ?? 0) + 12 + index * 12
  return {
    typeId: view.getUint32(at + 4, littleEndian),
    bits: Btf.kflagOf(btf, id) ? view.getUint32(at + 8, littleEndian) >>> 24 : 0
  }
}

/** A member of a struct or union, or of the anonymous ones in it, as C finds it. */
const memberOf = (btf: Btf.Btf, id: number, name: string): Found | undefined => {
  const seen = new Set<number>()
  const stack = [{ id, depth: 0 }]
  for (let next = stack.pop(); next !== undefined && seen.size < MAX_LOOKED_AT; next = stack.pop()) {
    const { depth, id } = next
    if (seen.has(id) || !isComposite(btf, id)) continue
    seen.add(id)
    const { anonymous, named } = Btf.elementNames(btf, id)
    const index = named.get(name)
    if (index !== undefined) return memberAt(btf, id, index)
    if (depth === MAX_NESTING) continue
    for (const inner of [...anonymous].toReversed()) {
      stack.push({ id: Btf.skipModifiersAndTypedefs(btf, memberAt(btf, id, inner).typeId), depth: depth + 1 })
    }
  }
  return undefined
}

/** Follows a path from a type as far as it goes. */
export const walk = (btf: Btf.Btf, root: number, steps: ReadonlyArray<Step>): ReadonlyArray<Taken> => {
  const taken: Array<Taken> = []
  let current = Btf.skipModifiersAndTypedefs(btf, root)
  for (const [position, step] of steps.entries()) {
    // The first index counts whole types.
    if (position === 0 && typeof step === "number") {
      taken.push({ within: current, type: Btf.typeName(btf, current), typeId: current })
      continue
    }
    const found = typeof step === "string"
      ? memberOf(btf, current, step)
      : Btf.kindOf(btf, current) === Btf.BTF_KIND_ARRAY
      ? { typeId: Btf.elementType(btf, current), bits: 0 }
      : undefined
    if (found === undefined) break
    const type = Btf.typeName(btf, found.typeId)
    taken.push({ within: current, type: found.bits === 0 ? type : `${type} : ${found.bits}`, typeId: found.typeId })
    current = Btf.skipModifiersAndTypedefs(btf, found.typeId)
  }
  return taken
}
