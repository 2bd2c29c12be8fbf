/**
 * What a type comes to: the type behind modifiers and typedefs, sizes, alignments.
 *
 * Validation does not exclude cycles, so every walk is bounded: chains by a number of hops, alignment by a state per
 * type that is kept in the blob.
 *
 * Source: reference page `btf-format`, section 9.
 */
import * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import type { BtfError } from "./BtfError.ts"
import { btfError, fail, isBtfError } from "./BtfError.ts"
import * as Kind from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"
import { kflagOf, kindOf, nameOf, ownerOf, recordOffset, sizeOrTypeOf, vlenOf } from "./BtfModel.ts"

/** The longest chain of modifiers, typedefs and arrays that is followed, as in libbpf. */
export const MAX_HOPS = 32

const isModifier = (kind: number): boolean =>
  kind === Kind.BTF_KIND_CONST || kind === Kind.BTF_KIND_VOLATILE || kind === Kind.BTF_KIND_RESTRICT
  || kind === Kind.BTF_KIND_TYPE_TAG

/** Follows references while `follow` holds; 0 where the chain is longer than `MAX_HOPS`, as a cycle is. */
const skip = (btf: Btf, id: number, follow: (kind: number) => boolean): number => {
  let current = id
  for (let hops = 0; hops <= MAX_HOPS; hops++) {
    if (!follow(kindOf(btf, current))) return current
    current = sizeOrTypeOf(btf, current)
  }
  return 0
}

/**
 * The type behind `const`, `volatile`, `restrict` and type tags; a typedef ends the walk. A chain of more than 32, such
 * as a hostile blob's cycle, comes to 0, `void`.
 */
export const skipModifiers = (btf: Btf, id: number): number => skip(btf, id, isModifier)

const isModifierOrTypedef = (kind: number): boolean => isModifier(kind) || kind === Kind.BTF_KIND_TYPEDEF

/** The type behind modifiers and typedefs; 0 for a chain of more than 32. */
export const skipModifiersAndTypedefs = (btf: Btf, id: number): number => skip(btf, id, isModifierOrTypedef)

const isTransparent = (kind: number): boolean => isModifierOrTypedef(kind) || kind === Kind.BTF_KIND_VAR

/** The type behind modifiers, typedefs and a variable; 0 for `void` and for a chain of more than 32. */
export const resolveType = (btf: Btf, id: number): number => skip(btf, id, isTransparent)

/** Names under which `long` and `unsigned long` appear: compilers differ in the order of the words. */
const longNames: ReadonlySet<string> = new Set([
  "long",
  "long int",
  "int long",
  "unsigned long",
  "long unsigned",
  "unsigned long int",
  "unsigned int long",
  "long unsigned int",
  "long int unsigned",
  "int unsigned long",
  "int long unsigned"
])

/**
 * Bytes of a pointer: the base's for a split blob, what `parse` was told, the size of the first integer called `long`
 * or `unsigned long`, or else 8.
 */
export const pointerSize = (btf: Btf): 4 | 8 => {
  if (btf.base !== undefined) return pointerSize(btf.base)
  const { cache } = btf.internal
  cache.pointerSize ??= btf.internal.pointerSize ?? findPointerSize(btf)
  return cache.pointerSize
}

const findPointerSize = (btf: Btf): 4 | 8 => {
  const witness = pointerSizeType(btf)
  return witness !== undefined && sizeOrTypeOf(btf, witness) === 4 ? 4 : 8
}

/**
 * The type by which readers know how large pointers are: the first integer of 4 or 8 bytes called `long` or `unsigned
 * long`, of a split blob in its base; `undefined` where there is none.
 */
export const pointerSizeType = (btf: Btf): number | undefined => {
  if (btf.base !== undefined) return pointerSizeType(btf.base)
  for (let id = btf.firstId; id < btf.endId; id++) {
    if (kindOf(btf, id) !== Kind.BTF_KIND_INT) continue
    const size = sizeOrTypeOf(btf, id)
    if ((size === 4 || size === 8) && longNames.has(nameOf(btf, id))) return id
  }
  return undefined
}

/**
 * The size of a type in bytes. `NoSize` for `void`, forward declarations, functions and unknown kinds, `TooDeep` for a
 * chain of more than 32 references, `SizeOverflow` for an array of 4 GiB or more. A flexible array has size 0.
 */
export const resolveSize = (btf: Btf, id: number): Result.Result<number, BtfError> => {
  let count = 1
  let current = id
  for (let hops = 0; hops <= MAX_HOPS; hops++) {
    const kind = kindOf(btf, current)
    switch (kind) {
      case Kind.BTF_KIND_INT:
      case Kind.BTF_KIND_STRUCT:
      case Kind.BTF_KIND_UNION:
      case Kind.BTF_KIND_ENUM:
      case Kind.BTF_KIND_ENUM64:
      case Kind.BTF_KIND_DATASEC:
      case Kind.BTF_KIND_FLOAT:
        return total(id, count, sizeOrTypeOf(btf, current))
      case Kind.BTF_KIND_PTR:
        return total(id, count, pointerSize(btf))
      case Kind.BTF_KIND_TYPEDEF:
      case Kind.BTF_KIND_VOLATILE:
      case Kind.BTF_KIND_CONST:
      case Kind.BTF_KIND_RESTRICT:
      case Kind.BTF_KIND_VAR:
      case Kind.BTF_KIND_DECL_TAG:
      case Kind.BTF_KIND_TYPE_TAG:
        current = sizeOrTypeOf(btf, current)
        break
      case Kind.BTF_KIND_ARRAY:
        count *= arrayLength(btf, current)
        if (count > 0xffff_ffff) return overflow(id)
        current = elementType(btf, current)
        break
      default: {
        const what = current === 0 ? "void" : `a ${Kind.kindName(kind)}`
        return Result.fail(btfError("NoSize", `${what} has no size`, { typeId: id }))
      }
    }
  }
  return Result.fail(tooDeep(id))
}

const total = (id: number, count: number, size: number): Result.Result<number, BtfError> =>
  count * size > 0xffff_ffff ? overflow(id) : Result.succeed(count * size)

const overflow = (id: number): Result.Result<never, BtfError> =>
  Result.fail(btfError("SizeOverflow", "the array is larger than 4 GiB", { typeId: id }))

const tooDeep = (id: number): BtfError =>
  btfError("TooDeep", `more than ${MAX_HOPS} references follow each other`, {
    typeId: id,
    hint: "the types probably refer to each other in a cycle"
  })

/** The type of the elements of array `id`. */
export const elementType = (btf: Btf, id: number): number => arrayWord(btf, id, 12)

/** The number of elements of array `id`. */
export const arrayLength = (btf: Btf, id: number): number => arrayWord(btf, id, 20)

const arrayWord = (btf: Btf, id: number, delta: number): number => {
  const owner = ownerOf(btf, id)
  if (owner === undefined || kindOf(owner, id) !== Kind.BTF_KIND_ARRAY) return 0
  return owner.internal.view.getUint32(recordOffset(owner, id) + delta, owner.internal.littleEndian)
}

/** States of `BtfCache.alignments`; every other value is an alignment. Alignments are at most 16 bytes. */
const UNVISITED = 0
const VISITING = 254
const WITHOUT = 255

/**
 * The alignment of a type in bytes, by natural alignment. A struct whose members or size break it counts as packed and
 * has alignment 1, like one without members. `NoSize` for `void`, forward declarations, functions, variables, sections
 * and unknown kinds, and for what contains them or itself.
 */
export const alignOf = (btf: Btf, id: number): Result.Result<number, BtfError> =>
  attempt(isBtfError, () => {
    const alignment = alignments(btf, id)
    if (alignment === WITHOUT) fail("NoSize", "the type has no alignment", { typeId: id })
    return alignment
  })

/** The state of each own type of the owner of `id`, and the place of `id` in it. */
const stateOf = (btf: Btf, id: number): number => {
  const owner = ownerOf(btf, id)
  return owner === undefined ? WITHOUT : owner.internal.cache.alignments?.[id - owner.firstId] ?? UNVISITED
}

const setState = (btf: Btf, id: number, state: number): void => {
  const owner = ownerOf(btf, id)
  if (owner === undefined) return
  const states = owner.internal.cache.alignments ??= new Uint8Array(owner.offsets.length)
  states[id - owner.firstId] = state
}

/** Computes the alignment of `id` after those of the types in it, without recursion and each type once. */
const alignments = (btf: Btf, id: number): number => {
  const stack = [id]
  // Which member of a struct comes next, beside each entry of the stack.
  const progress = [0]
  while (stack.length > 0) {
    const top = stack.length - 1
    const current = stack[top] ?? 0
    const state = stateOf(btf, current)
    if (state !== UNVISITED && state !== VISITING) {
      stack.pop()
      progress.pop()
      continue
    }
    const at = progress[top] ?? 0
    progress[top] = at + 1
    setState(btf, current, VISITING)
    const inner = innerType(btf, current, at)
    if (inner === undefined) {
      setState(btf, current, settle(btf, current))
    } else if (stateOf(btf, inner) === VISITING) {
      // It contains itself.
      setState(btf, current, WITHOUT)
    } else {
      stack.push(inner)
      progress.push(0)
    }
  }
  return stateOf(btf, id)
}

/** The `index`th type on which the alignment of `id` depends; `undefined` past the last. */
const innerType = (btf: Btf, id: number, index: number): number | undefined => {
  switch (kindOf(btf, id)) {
    case Kind.BTF_KIND_TYPEDEF:
    case Kind.BTF_KIND_VOLATILE:
    case Kind.BTF_KIND_CONST:
    case Kind.BTF_KIND_RESTRICT:
    case Kind.BTF_KIND_TYPE_TAG:
      return index === 0 ? sizeOrTypeOf(btf, id) : undefined
    case Kind.BTF_KIND_ARRAY:
      return index === 0 ? elementType(btf, id) : undefined
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      return index < vlenOf(btf, id) ? memberWord(btf, id, index, 4) : undefined
    default:
      return undefined
  }
}

const memberWord = (btf: Btf, id: number, index: number, delta: number): number => {
  const owner = ownerOf(btf, id)
  if (owner === undefined) return 0
  return owner.internal.view.getUint32(recordOffset(owner, id) + 12 + index * 12 + delta, owner.internal.littleEndian)
}

/** The alignment of `id`, those of the types in it being known. */
const settle = (btf: Btf, id: number): number => {
  switch (kindOf(btf, id)) {
    case Kind.BTF_KIND_INT:
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64:
    case Kind.BTF_KIND_FLOAT:
      return Math.min(pointerSize(btf), sizeOrTypeOf(btf, id)) || WITHOUT
    case Kind.BTF_KIND_PTR:
      return pointerSize(btf)
    case Kind.BTF_KIND_TYPEDEF:
    case Kind.BTF_KIND_VOLATILE:
    case Kind.BTF_KIND_CONST:
    case Kind.BTF_KIND_RESTRICT:
    case Kind.BTF_KIND_TYPE_TAG:
      return stateOf(btf, sizeOrTypeOf(btf, id))
    case Kind.BTF_KIND_ARRAY:
      return stateOf(btf, elementType(btf, id))
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      return settleComposite(btf, id)
    default:
      return WITHOUT
  }
}

const settleComposite = (btf: Btf, id: number): number => {
  const kflag = kflagOf(btf, id)
  const count = vlenOf(btf, id)
  let largest = 1
  let packed = false
  for (let index = 0; index < count; index++) {
    const alignment = stateOf(btf, memberWord(btf, id, index, 4))
    if (alignment === WITHOUT) return WITHOUT
    const offset = memberWord(btf, id, index, 8)
    const isBitfield = kflag && offset >>> 24 !== 0
    if (!isBitfield && (kflag ? offset & 0xff_ffff : offset) % (8 * alignment) !== 0) packed = true
    if (alignment > largest) largest = alignment
  }
  return packed || sizeOrTypeOf(btf, id) % largest !== 0 ? 1 : largest
}
