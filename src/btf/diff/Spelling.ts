/**
 * Types of two blobs made comparable: names become numbers that both blobs share, and so do types as they are spelled.
 *
 * Two uses of a type are spelled alike when C would write them alike: `struct foo *` is `struct foo *`, whatever `foo`
 * has become; what has no name is spelled by its structure. Ids do not take part, so two kernels can be compared.
 */
import * as Result from "effect/Result"
import * as Kind from "../BtfKind.ts"
import type { Btf } from "../BtfModel.ts"
import { kflagOf, kindOf, nameOffsetOf, ownerOf, recordOffset, sizeOrTypeOf, stringAt, vlenOf } from "../BtfModel.ts"
import { arrayLength, elementType, resolveSize } from "../BtfResolve.ts"

/** Numbers for names and spellings; the two sides of a comparison share one. */
export interface Interner {
  /** The number of a name; 0 is the empty one. */
  readonly name: (text: string) => number
  /** The number of a spelling, by a key that says what it is made of. */
  readonly pair: (one: number, other: number) => number
  readonly text: (key: string) => number
}

/** Spellings that need no key. */
const VOID = 1
const CYCLE = 2

/** What a named type is called in C comes before its name: these are different name spaces. */
const LEAF_STRUCT = 1
const LEAF_UNION = 2
const LEAF_ENUM = 3
const LEAF_ORDINARY = 4

/** Kinds of pairs, out of the way of the kinds of types. */
const PAIR_LEAF = 1000

/** Begins a comparison. */
export const interner = (): Interner => {
  const names = new Map<string, number>([["", 0]])
  const pairs = new Map<number, number>()
  const texts = new Map<string, number>()
  let last = CYCLE
  return {
    name: (text) => {
      const known = names.get(text)
      if (known !== undefined) return known
      const number = names.size
      names.set(text, number)
      return number
    },
    pair: (one, other) => {
      // Both are at most 2^31 and 2^11, so that the key is exact.
      const key = one * 2048 + other
      const known = pairs.get(key)
      if (known !== undefined) return known
      last += 1
      pairs.set(key, last)
      return last
    },
    text: (key) => {
      const known = texts.get(key)
      if (known !== undefined) return known
      last += 1
      texts.set(key, last)
      return last
    }
  }
}

/** One of the two blobs. */
export interface Side {
  readonly btf: Btf
  /** The number of the string at a string offset. */
  readonly nameAt: (offset: number) => number
  /** The number of the name of type `id`. */
  readonly name: (id: number) => number
  /** The number of the spelling of type `id`. */
  readonly spelling: (id: number) => number
  /** Like `spelling`, with the layout of what has no name: equal only where members are at the same places. */
  readonly layout: (id: number) => number
  /** Bytes of type `id`; -1 where it has no size. */
  readonly size: (id: number) => number
  /** A spelling that was asked for so far goes in a circle. */
  readonly isCyclic: () => boolean
}

/** Word `delta` bytes into the record of type `id`. */
export const word = (btf: Btf, id: number, delta: number): number => {
  const owner = ownerOf(btf, id)
  if (owner === undefined) return 0
  return owner.internal.view.getUint32(recordOffset(owner, id) + delta, owner.internal.littleEndian)
}

/**
 * A blob as one of the sides.
 *
 * Where types without a name contain each other in a cycle, which compilers do not make, a spelling depends on where the
 * walk began. `inOrder` spells all types in order of ids before the first is asked for, so that equal blobs have equal
 * spellings whoever asks for what.
 */
export const side = (btf: Btf, numbers: Interner, inOrder: boolean): Side => {
  // The numbers of names by string offset, of spellings by id: minus one where not asked yet.
  const names = new Int32Array(btf.stringsStart + btf.stringsLength).fill(-1)
  const sizes = new Float64Array(btf.endId).fill(-2)

  const nameAt = (offset: number): number => {
    const known = names[offset] ?? 0
    if (known >= 0) return known
    const number = numbers.name(stringAt(btf, offset) ?? "")
    names[offset] = number
    return number
  }

  const name = (id: number): number => nameAt(nameOffsetOf(btf, id))

  const size = (id: number): number => {
    const known = sizes[id] ?? -1
    if (known !== -2) return known
    const resolved = resolveSize(btf, id)
    const bytes = Result.isSuccess(resolved) ? resolved.success : -1
    sizes[id] = bytes
    return bytes
  }

  const plain = speller(btf, numbers, nameAt, false, inOrder)
  const withLayout = speller(btf, numbers, nameAt, true, inOrder)
  const { spelling } = plain
  // Only what has no name by value has a layout of its own.
  const layout = (id: number): number => mayBeAnonymous(kindOf(btf, id)) ? withLayout.spelling(id) : spelling(id)
  const isCyclic = (): boolean => plain.isCyclic() || withLayout.isCyclic()

  return { btf, nameAt, name, spelling, layout, size, isCyclic }
}

const mayBeAnonymous = (kind: number): boolean => {
  switch (kind) {
    case Kind.BTF_KIND_ARRAY:
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
    case Kind.BTF_KIND_VOLATILE:
    case Kind.BTF_KIND_CONST:
      return true
    default:
      return false
  }
}

/** The numbers of spellings of one blob's types, each computed once; those with layout differ from those without. */
const speller = (
  btf: Btf,
  numbers: Interner,
  nameAt: (offset: number) => number,
  layout: boolean,
  inOrder: boolean
): { readonly spelling: (id: number) => number; readonly isCyclic: () => boolean } => {
  const spellings = new Int32Array(btf.endId)
  let isCyclic = false
  const name = (id: number): number => nameAt(nameOffsetOf(btf, id))

  const known = (id: number): number => {
    if (id === 0) return VOID
    const number = spellings[id] ?? 0
    if (number !== VISITING) return number
    isCyclic = true
    return CYCLE
  }

  const leaf = (space: number, id: number): number => numbers.pair(name(id), PAIR_LEAF + space)

  /** Types that have to be spelled before type `id` can be. */
  const visitInner = (id: number, kind: number, visit: (inner: number) => void): void => {
    switch (kind) {
      case Kind.BTF_KIND_PTR:
      case Kind.BTF_KIND_VOLATILE:
      case Kind.BTF_KIND_CONST:
      case Kind.BTF_KIND_RESTRICT:
      case Kind.BTF_KIND_TYPE_TAG:
        visit(sizeOrTypeOf(btf, id))
        break
      case Kind.BTF_KIND_ARRAY:
        visit(elementType(btf, id))
        break
      case Kind.BTF_KIND_STRUCT:
      case Kind.BTF_KIND_UNION:
        if (nameOffsetOf(btf, id) !== 0) break
        for (let index = 0, count = vlenOf(btf, id); index < count; index++) visit(word(btf, id, 16 + index * 12))
        break
      case Kind.BTF_KIND_FUNC_PROTO:
        visit(sizeOrTypeOf(btf, id))
        for (let index = 0, count = vlenOf(btf, id); index < count; index++) visit(word(btf, id, 16 + index * 8))
        break
    }
  }

  const anonymousComposite = (id: number, kind: number): number => {
    let key = layout ? `${kind} ${sizeOrTypeOf(btf, id)} ${kflagOf(btf, id)}` : `${kind}`
    for (let index = 0, count = vlenOf(btf, id); index < count; index++) {
      const at = 12 + index * 12
      key += ` ${nameAt(word(btf, id, at))},${known(word(btf, id, at + 4))}`
      if (layout) key += `,${word(btf, id, at + 8)}`
    }
    return numbers.text(key)
  }

  const anonymousEnum = (id: number, words: number): number => {
    let key = `enum ${sizeOrTypeOf(btf, id)} ${kflagOf(btf, id)}`
    for (let index = 0, count = vlenOf(btf, id); index < count; index++) {
      const at = 12 + index * (4 + words * 4)
      key += ` ${nameAt(word(btf, id, at))},${word(btf, id, at + 4)}`
      if (words === 2) key += `,${word(btf, id, at + 8)}`
    }
    return numbers.text(key)
  }

  const spell = (id: number, kind: number): number => {
    switch (kind) {
      case Kind.BTF_KIND_PTR:
      case Kind.BTF_KIND_VOLATILE:
      case Kind.BTF_KIND_CONST:
      case Kind.BTF_KIND_RESTRICT:
        return numbers.pair(known(sizeOrTypeOf(btf, id)), kind)
      case Kind.BTF_KIND_TYPE_TAG:
        return numbers.text(`tag ${known(sizeOrTypeOf(btf, id))} ${name(id)} ${kflagOf(btf, id)}`)
      case Kind.BTF_KIND_ARRAY:
        return numbers.text(`array ${known(elementType(btf, id))} ${arrayLength(btf, id)}`)
      case Kind.BTF_KIND_FUNC_PROTO: {
        let key = `proto ${known(sizeOrTypeOf(btf, id))}`
        for (let index = 0, count = vlenOf(btf, id); index < count; index++) {
          key += ` ${known(word(btf, id, 16 + index * 8))}`
        }
        return numbers.text(key)
      }
      case Kind.BTF_KIND_STRUCT:
        return nameOffsetOf(btf, id) === 0 ? anonymousComposite(id, kind) : leaf(LEAF_STRUCT, id)
      case Kind.BTF_KIND_UNION:
        return nameOffsetOf(btf, id) === 0 ? anonymousComposite(id, kind) : leaf(LEAF_UNION, id)
      case Kind.BTF_KIND_FWD:
        return leaf(kflagOf(btf, id) ? LEAF_UNION : LEAF_STRUCT, id)
      case Kind.BTF_KIND_ENUM:
        return nameOffsetOf(btf, id) === 0 ? anonymousEnum(id, 1) : leaf(LEAF_ENUM, id)
      case Kind.BTF_KIND_ENUM64:
        return nameOffsetOf(btf, id) === 0 ? anonymousEnum(id, 2) : leaf(LEAF_ENUM, id)
      case Kind.BTF_KIND_INT:
      case Kind.BTF_KIND_FLOAT:
      case Kind.BTF_KIND_TYPEDEF:
        return leaf(LEAF_ORDINARY, id)
      default:
        // No C type: a function, a variable, a section, a tag, a kind that is not known.
        return numbers.text(`other ${kind} ${name(id)}`)
    }
  }

  const resolve = (id: number): void => {
    const stack = [id]
    while (stack.length > 0) {
      const current = stack[stack.length - 1] ?? 0
      const state = spellings[current] ?? VOID
      const kind = kindOf(btf, current)
      if (state === 0) {
        spellings[current] = VISITING
        visitInner(current, kind, (inner) => {
          if (inner !== 0 && spellings[inner] === 0) stack.push(inner)
        })
        continue
      }
      stack.pop()
      if (state === VISITING) spellings[current] = spell(current, kind)
    }
  }

  if (inOrder) { for (let id = 1; id < btf.endId; id++) if (spellings[id] === 0) resolve(id) }
  const spelling = (id: number): number => {
    if (id === 0) return VOID
    if (spellings[id] === 0) resolve(id)
    return spellings[id] ?? VOID
  }
  return { spelling, isCyclic: () => isCyclic }
}

/** A spelling that waits for those of the types in it. */
const VISITING = -1
