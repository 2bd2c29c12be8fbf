/**
 * Whether two files mean the same type.
 *
 * Types are compared by structure. Modifiers, typedefs and tags count for nothing, and what is behind a pointer is
 * compared by its name alone, where a declaration stands for any struct or union of that name.
 *
 * Source: reference page `linker`, section 6.
 */
import * as Btf from "../btf/Btf.ts"

/** Two types that are to be compared, and whether structs are compared by their members. */
type Pair = readonly [one: number, two: number, exact: boolean]

/** Pairs that are compared at most, beside a few for each type. */
const MAX_PAIRS = 100_000

/** Types of two files that are compared. What was equal once is not compared again. */
export interface Comparison {
  readonly one: Btf.Btf
  readonly two: Btf.Btf
  readonly seen: Set<number>
  /** Work that is left. */
  left: number
}

/** Begins to compare the types of two files. */
export const makeComparison = (one: Btf.Btf, two: Btf.Btf): Comparison => ({
  one,
  two,
  seen: new Set(),
  left: MAX_PAIRS + 8 * (one.typesLength + two.typesLength)
})

/**
 * In what two types differ, `undefined` where they are compatible. After a difference the comparison must not be used
 * any more.
 */
export const typeDifference = (
  comparison: Comparison,
  oneId: number,
  twoId: number,
  exact = true
): string | undefined => {
  const { one, seen, two } = comparison
  const stack: Array<Pair> = [[oneId, twoId, exact]]
  while (true) {
    const pair = stack.pop()
    if (pair === undefined) return undefined
    const a = Btf.skipModifiersAndTypedefs(one, pair[0])
    const b = Btf.skipModifiersAndTypedefs(two, pair[1])
    const key = (a * two.endId + b) * 2 + (pair[2] ? 1 : 0)
    if (seen.has(key)) continue
    seen.add(key)
    comparison.left -= 1 + Btf.vlenOf(one, a)
    if (comparison.left < 0) return "the types are too many to compare"
    const difference = differenceOf(one, a, two, b, pair[2], stack)
    if (difference !== undefined) return difference
  }
}

const namedKinds: ReadonlySet<number> = new Set([
  Btf.BTF_KIND_STRUCT,
  Btf.BTF_KIND_UNION,
  Btf.BTF_KIND_ENUM,
  Btf.BTF_KIND_ENUM64,
  Btf.BTF_KIND_FWD,
  Btf.BTF_KIND_FUNC,
  Btf.BTF_KIND_VAR
])

/** Compares two types without what they refer to, which is put on the stack. */
const differenceOf = (
  one: Btf.Btf,
  a: number,
  two: Btf.Btf,
  b: number,
  exact: boolean,
  stack: Array<Pair>
): string | undefined => {
  const kind = Btf.kindOf(one, a)
  const other = Btf.kindOf(two, b)
  const says = (what: string): string => `${what}: ${Btf.typeName(one, a)} and ${Btf.typeName(two, b)}`
  const isForward = kind === Btf.BTF_KIND_FWD
  if (!exact && isForward !== (other === Btf.BTF_KIND_FWD)) {
    const concrete = isForward ? other : kind
    const forwardIsUnion = isForward ? Btf.kflagOf(one, a) : Btf.kflagOf(two, b)
    if (Btf.nameOf(one, a) !== Btf.nameOf(two, b)) return says("names of types")
    const isSame = forwardIsUnion ? concrete === Btf.BTF_KIND_UNION : concrete === Btf.BTF_KIND_STRUCT
    return isSame ? undefined : says("kinds of types")
  }
  if (kind !== other) return says("kinds of types")
  if (namedKinds.has(kind) && Btf.nameOf(one, a) !== Btf.nameOf(two, b)) return says("names of types")
  switch (kind) {
    case Btf.BTF_KIND_UNKN:
    case Btf.BTF_KIND_FWD:
      return undefined
    case Btf.BTF_KIND_INT:
    case Btf.BTF_KIND_FLOAT:
    case Btf.BTF_KIND_ENUM:
    case Btf.BTF_KIND_ENUM64:
      return Btf.sizeOrTypeOf(one, a) === Btf.sizeOrTypeOf(two, b)
        ? undefined
        : says(`sizes ${Btf.sizeOrTypeOf(one, a)} and ${Btf.sizeOrTypeOf(two, b)}`)
    case Btf.BTF_KIND_PTR:
      stack.push([Btf.sizeOrTypeOf(one, a), Btf.sizeOrTypeOf(two, b), false])
      return undefined
    case Btf.BTF_KIND_ARRAY:
      stack.push([Btf.elementType(one, a), Btf.elementType(two, b), exact])
      return undefined
    case Btf.BTF_KIND_FUNC:
    case Btf.BTF_KIND_VAR:
      stack.push([Btf.sizeOrTypeOf(one, a), Btf.sizeOrTypeOf(two, b), exact])
      return undefined
    case Btf.BTF_KIND_STRUCT:
    case Btf.BTF_KIND_UNION:
      return exact ? membersDiffer(one, a, two, b, stack, says) : undefined
    case Btf.BTF_KIND_FUNC_PROTO:
      return paramsDiffer(one, a, two, b, exact, stack, says)
    default:
      return says("types that no symbol can have")
  }
}

const membersDiffer = (
  one: Btf.Btf,
  a: number,
  two: Btf.Btf,
  b: number,
  stack: Array<Pair>,
  says: (what: string) => string
): string | undefined => {
  if (Btf.vlenOf(one, a) !== Btf.vlenOf(two, b)) {
    return says(`${Btf.vlenOf(one, a)} and ${Btf.vlenOf(two, b)} members`)
  }
  const first = Btf.typeOf(one, a)
  const second = Btf.typeOf(two, b)
  if (!("members" in first && "members" in second)) return undefined
  for (let index = first.members.length - 1; index >= 0; index--) {
    const mine = first.members[index]
    const theirs = second.members[index]
    if (mine === undefined || theirs === undefined) continue
    if (mine.name !== theirs.name) return says(`member ${index} is ${mine.name} and ${theirs.name}`)
    if (mine.bitOffset !== theirs.bitOffset || mine.bitfieldSize !== theirs.bitfieldSize) {
      return says(`member ${mine.name} at bits ${mine.bitOffset} and ${theirs.bitOffset}`)
    }
    stack.push([mine.type, theirs.type, true])
  }
  return undefined
}

const paramsDiffer = (
  one: Btf.Btf,
  a: number,
  two: Btf.Btf,
  b: number,
  exact: boolean,
  stack: Array<Pair>,
  says: (what: string) => string
): string | undefined => {
  const first = Btf.typeOf(one, a)
  const second = Btf.typeOf(two, b)
  if (first._tag !== "FuncProto" || second._tag !== "FuncProto") return undefined
  if (first.params.length !== second.params.length) {
    return says(`${first.params.length} and ${second.params.length} parameters`)
  }
  stack.push([first.returnType, second.returnType, exact])
  for (let index = first.params.length - 1; index >= 0; index--) {
    stack.push([first.params[index]?.type ?? 0, second.params[index]?.type ?? 0, exact])
  }
  return undefined
}
