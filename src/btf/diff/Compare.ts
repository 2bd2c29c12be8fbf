/** What differs between two types of one name and kind. */
import type { Btf } from "../BtfModel.ts"
import { kindOf, sizeOrTypeOf } from "../BtfModel.ts"
import * as Kind from "../BtfKind.ts"
import { typeName } from "../BtfName.ts"
import { typeOf } from "../BtfType.ts"
import type { Param } from "../BtfType.ts"
import type { Change, ParamPlace } from "./DiffModel.ts"
import { anonymousWithin, flatten } from "./Flatten.ts"
import type { Budget } from "./Flatten.ts"
import { compareMembers } from "./Members.ts"
import { isDeclaredOnly, sameComposite, sameEnum, sameFunction } from "./Roots.ts"
import type { Side } from "./Spelling.ts"

/** What was found out. */
export interface Compared {
  readonly changes: ReadonlyArray<Change>
  readonly incomplete: boolean
}

const same: Compared = { changes: [], incomplete: false }

const complete = (changes: ReadonlyArray<Change>): Compared => ({ changes, incomplete: false })

/** Compares two types of one kind. */
export const compareTypes = (before: Side, one: number, after: Side, other: number, budget: Budget): Compared => {
  const kind = kindOf(before.btf, one)
  const wasDeclared = isDeclaredOnly(before.btf, one)
  const isDeclared = isDeclaredOnly(after.btf, other)
  if (wasDeclared || isDeclared) {
    return wasDeclared === isDeclared ? same : complete([{ _tag: wasDeclared ? "Defined" : "Undefined" }])
  }
  switch (kind) {
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      return compareComposites(before, one, after, other, budget)
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64:
      return sameEnum(before, one, after, other) ? same : complete(compareEnums(before.btf, one, after.btf, other))
    case Kind.BTF_KIND_TYPEDEF:
      return compareTypedefs(before, one, after, other, budget)
    case Kind.BTF_KIND_FUNC:
      return sameFunction(before, one, after, other) ? same : complete(compareFunctions(before, one, after, other))
    case Kind.BTF_KIND_VAR:
      return compareVariables(before, one, after, other, budget)
    case Kind.BTF_KIND_INT:
      return complete([...resized(before, one, after, other), ...encoded(before.btf, one, after.btf, other)])
    default:
      return complete(resized(before, one, after, other))
  }
}

/** The sizes that the types themselves say. */
const resized = (before: Side, one: number, after: Side, other: number): ReadonlyArray<Change> => {
  const [was, is] = [sizeOrTypeOf(before.btf, one), sizeOrTypeOf(after.btf, other)]
  return was === is ? [] : [{ _tag: "Resized", before: was, after: is }]
}

const compareComposites = (before: Side, one: number, after: Side, other: number, budget: Budget): Compared => {
  if (sameComposite(before, one, after, other)) return same
  const size = resized(before, one, after, other)
  const own = flatten(before.btf, one, budget)
  const others = flatten(after.btf, other, budget)
  if (own === undefined || others === undefined) return { changes: size, incomplete: true }
  return complete([...size, ...compareMembers({ side: before, list: own }, { side: after, list: others })])
}

const compareTypedefs = (before: Side, one: number, after: Side, other: number, budget: Budget): Compared =>
  compareTargets(before, sizeOrTypeOf(before.btf, one), after, sizeOrTypeOf(after.btf, other), budget)

/** What typedefs and variables are of; a struct without a name is compared member by member. */
const compareTargets = (before: Side, was: number, after: Side, is: number, budget: Budget): Compared => {
  const struct = anonymousWithin(before.btf, was)
  const otherStruct = anonymousWithin(after.btf, is)
  if (struct !== undefined && otherStruct !== undefined && struct.shell === otherStruct.shell) {
    return compareComposites(before, struct.id, after, otherStruct.id, budget)
  }
  if (before.spelling(was) === after.spelling(is)) return same
  return complete([{ _tag: "Retyped", before: typeName(before.btf, was), after: typeName(after.btf, is) }])
}

const encodingName = (btf: Btf, id: number): string => {
  const type = typeOf(btf, id)
  if (type._tag !== "Int") return ""
  const words = [
    (type.encoding & Kind.BTF_INT_SIGNED) === 0 ? "unsigned" : "signed",
    ...((type.encoding & Kind.BTF_INT_CHAR) === 0 ? [] : ["char"]),
    ...((type.encoding & Kind.BTF_INT_BOOL) === 0 ? [] : ["bool"])
  ]
  const place = type.bitOffset === 0 ? "" : ` at bit ${type.bitOffset}`
  return `${words.join(" ")}, ${type.bits} bits${place}`
}

const encoded = (before: Btf, one: number, after: Btf, other: number): ReadonlyArray<Change> => {
  const [was, is] = [encodingName(before, one), encodingName(after, other)]
  return was === is ? [] : [{ _tag: "Encoding", before: was, after: is }]
}

const compareVariables = (before: Side, one: number, after: Side, other: number, budget: Budget): Compared => {
  const [was, is] = [sizeOrTypeOf(before.btf, one), sizeOrTypeOf(after.btf, other)]
  const { changes: compared, incomplete } = compareTargets(before, was, after, is, budget)
  const changes = [...compared]
  const size = before.size(one)
  const otherSize = after.size(other)
  const isResized = size !== otherSize && size >= 0 && otherSize >= 0
  if (isResized && !compared.some(({ _tag }) => _tag === "Resized")) {
    changes.push({ _tag: "Resized", before: size, after: otherSize })
  }
  linkage(changes, before.btf, one, after.btf, other)
  return { changes, incomplete }
}

const linkages = ["static", "global", "extern"]

const linkage = (changes: Array<Change>, before: Btf, one: number, after: Btf, other: number): void => {
  const [was, is] = [linkageOf(before, one), linkageOf(after, other)]
  if (was !== is) changes.push({ _tag: "Linkage", before: was, after: is })
}

const linkageOf = (btf: Btf, id: number): string => {
  const type = typeOf(btf, id)
  if (type._tag !== "Func" && type._tag !== "Var") return ""
  return linkages[type.linkage] ?? String(type.linkage)
}

// ---- Enums ----

interface Enumerators {
  readonly signed: boolean
  readonly values: ReadonlyArray<{ readonly name: string; readonly value: bigint }>
}

const enumerators = (btf: Btf, id: number): Enumerators => {
  const type = typeOf(btf, id)
  switch (type._tag) {
    case "Enum":
      return { signed: type.signed, values: type.values.map(({ name, value }) => ({ name, value: BigInt(value) })) }
    case "Enum64":
      return { signed: type.signed, values: type.values }
    default:
      return { signed: false, values: [] }
  }
}

/** Compares two enums; an ENUM may have become an ENUM64. */
export const compareEnums = (before: Btf, one: number, after: Btf, other: number): ReadonlyArray<Change> => {
  const was = enumerators(before, one)
  const is = enumerators(after, other)
  const changes: Array<Change> = []
  const [size, otherSize] = [sizeOrTypeOf(before, one), sizeOrTypeOf(after, other)]
  if (size !== otherSize) changes.push({ _tag: "Resized", before: size, after: otherSize })
  if (was.signed !== is.signed) changes.push({ _tag: "Signedness", before: was.signed, after: is.signed })
  const old = new Map(was.values.map(({ name, value }) => [name, value]))
  const now = new Map(is.values.map(({ name, value }) => [name, value]))
  // A value whose name is gone and another whose name is new are one if they are the only ones of that number.
  const added = new Map<bigint, Array<string>>()
  for (const [name, value] of now) {
    if (old.has(name)) continue
    const names = added.get(value)
    if (names === undefined) added.set(value, [name])
    else names.push(name)
  }
  const renamed = new Set<string>()
  const goneOf = new Map<bigint, number>()
  for (const [name, value] of old) if (!now.has(name)) goneOf.set(value, (goneOf.get(value) ?? 0) + 1)
  for (const [name, value] of old) {
    const current = now.get(name)
    if (current === value) continue
    const candidates = added.get(value) ?? []
    const [newName] = candidates
    if (current !== undefined) changes.push({ _tag: "ValueChanged", name, before: value, after: current })
    else if (newName !== undefined && candidates.length === 1 && goneOf.get(value) === 1) {
      renamed.add(newName)
      changes.push({ _tag: "ValueRenamed", name, newName, value })
    } else changes.push({ _tag: "ValueRemoved", name, before: value })
  }
  for (const [name, value] of now) {
    if (!old.has(name) && !renamed.has(name)) changes.push({ _tag: "ValueAdded", name, after: value })
  }
  return changes
}

// ---- Functions ----

const protoOf = (btf: Btf, id: number): { readonly returnType: number; readonly params: ReadonlyArray<Param> } => {
  const proto = typeOf(btf, sizeOrTypeOf(btf, id))
  return proto._tag === "FuncProto" ? proto : { returnType: 0, params: [] }
}

const isVariadic = (param: Param, index: number, params: ReadonlyArray<Param>): boolean =>
  index === params.length - 1 && param.type === 0 && param.name === ""

const compareFunctions = (before: Side, one: number, after: Side, other: number): ReadonlyArray<Change> => {
  const changes: Array<Change> = []
  linkage(changes, before.btf, one, after.btf, other)
  const was = protoOf(before.btf, one)
  const is = protoOf(after.btf, other)
  if (before.spelling(was.returnType) !== after.spelling(is.returnType)) {
    changes.push({
      _tag: "ReturnRetyped",
      before: typeName(before.btf, was.returnType),
      after: typeName(after.btf, is.returnType)
    })
  }
  const place = (side: Side, params: ReadonlyArray<Param>, index: number): ParamPlace => {
    const param = params[index] ?? { name: "", type: 0 }
    return {
      index,
      name: param.name,
      type: isVariadic(param, index, params) ? "..." : typeName(side.btf, param.type)
    }
  }
  const partner = matchParams(was.params, is.params, (one, other) => before.spelling(one) === after.spelling(other))
  const taken = new Set<number>()
  for (const [index, param] of was.params.entries()) {
    const found = partner[index] ?? -1
    const match = is.params[found]
    if (match === undefined) {
      changes.push({ _tag: "ParamRemoved", before: place(before, was.params, index) })
      continue
    }
    taken.add(found)
    const what: Array<"moved" | "renamed" | "retyped"> = []
    if (param.name !== match.name) what.push("renamed")
    if (found !== index) what.push("moved")
    const variadic = isVariadic(param, index, was.params) !== isVariadic(match, found, is.params)
    if (variadic || before.spelling(param.type) !== after.spelling(match.type)) what.push("retyped")
    if (what.length === 0) continue
    const places = { before: place(before, was.params, index), after: place(after, is.params, found) }
    changes.push({ _tag: "ParamChanged", what, ...places })
  }
  for (const index of is.params.keys()) {
    if (!taken.has(index)) changes.push({ _tag: "ParamAdded", after: place(after, is.params, index) })
  }
  return changes
}

/** The index in `after` of each parameter of `before`: by name, and what is left by its place if the type is the same. */
const matchParams = (
  before: ReadonlyArray<Param>,
  after: ReadonlyArray<Param>,
  sameType: (one: number, other: number) => boolean
): ReadonlyArray<number> => {
  const byName = new Map<string, number>()
  for (const [index, { name }] of after.entries()) if (name !== "" && !byName.has(name)) byName.set(name, index)
  const partner = before.map(({ name }) => {
    const found = byName.get(name) ?? -1
    byName.delete(name)
    return found
  })
  const taken = new Set(partner)
  const free = partner.every((found, index) => found < 0 || found === index)
  for (const [index, param] of before.entries()) {
    const match = after[index]
    if ((partner[index] ?? -1) >= 0 || match === undefined || taken.has(index)) continue
    // Where names say nothing, the place does.
    if (sameType(param.type, match.type) || (free && before.length === after.length)) {
      partner[index] = index
      taken.add(index)
    }
  }
  return partner
}
