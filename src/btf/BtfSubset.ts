/**
 * Some of the types of BTF, with some of the members of structs and unions, as a blob of their own.
 *
 * ```ts
 * // `struct task_struct` with its second member alone, and that member's type.
 * const { btf, origins } = Result.getOrThrow(
 *   BtfSubset.subset([{ btf: kernel, types: new Map([[taskStruct, new Set([1])], [pid, "whole"]]) }])
 * )
 * ```
 *
 * A reference to a type that is not taken becomes one to `void`. Tags of declarations come along with what they tag. Types
 * stay in their order and members where they were, so sizes and offsets are what they are in the whole.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { type BtfError, fail, isBtfError } from "./BtfError.ts"
import { ELEMENT_TYPE_WORD } from "./BtfFields.ts"
import { idsOfKind } from "./BtfFind.ts"
import { assembled } from "./BtfImage.ts"
import {
  BTF_KIND_DECL_TAG,
  BTF_KIND_ENUM,
  BTF_KIND_ENUM64,
  BTF_KIND_STRUCT,
  BTF_KIND_UNION,
  BTF_TYPE_SIZE,
  ELEMENT_SIZE
} from "./BtfKind.ts"
import { type Btf, kindOf, ownerOf, recordOffset, sizeOrTypeOf, vlenOf } from "./BtfModel.ts"
import { HEADER_SIZE } from "./BtfParse.ts"
import * as Copy from "./edit/Copy.ts"
import * as Draft from "./edit/Draft.ts"

/** What is taken of a type: all of it, or of a struct, union or enum the members or values at these positions. */
export type Taken = "whole" | ReadonlySet<number>

/** What is taken of the types that one blob holds itself, by id. */
export interface Selection {
  readonly btf: Btf
  readonly types: ReadonlyMap<number, Taken>
}

/** Where a type was taken from. */
export interface Origin {
  readonly btf: Btf
  readonly id: number
}

/** Some of the types of one or more blobs. */
export interface Subset {
  /** A blob without a base, in the byte order of the first selection. */
  readonly btf: Btf
  /** Where each type is from: entry `id - 1` is of type `id`. */
  readonly origins: ReadonlyArray<Origin>
}

/** A type that is taken, and what of it. */
interface Item extends Origin {
  readonly taken: Taken
}

/**
 * The selected types of all blobs in one, in the order of the selections and of ids. Split blobs find the types of their
 * base in the base's own selection: there is one selection for each blob that something is taken of.
 *
 * `UnknownKind` for a type whose references cannot be told, `BadTypeId` for one that the blob does not hold itself,
 * `BadArgument` for a blob that is selected from twice.
 */
export const subset = (selections: ReadonlyArray<Selection>): Result.Result<Subset, BtfError> =>
  attempt(isBtfError, () => taken(selections))

const taken = (selections: ReadonlyArray<Selection>): Subset => {
  const chosen = new Map<Btf, ReadonlyMap<number, Taken>>()
  for (const { btf, types } of selections) {
    if (chosen.has(btf)) fail("BadArgument", "there are two selections of the types of one blob")
    chosen.set(btf, types)
  }
  const components = componentsOf(chosen)
  const items = selections.flatMap(({ btf, types }) => itemsOf(btf, types, components))
  const newIds = new Map<Btf, Map<number, number>>()
  for (const [index, { btf, id }] of items.entries()) {
    const ids = newIds.get(btf)
    if (ids === undefined) newIds.set(btf, new Map([[id, index + 1]]))
    else ids.set(id, index + 1)
  }
  const byteOrder = selections[0]?.btf.byteOrder ?? "little"
  const draft = Draft.make({
    base: undefined,
    byteOrder,
    types: new Uint8Array(),
    starts: new Uint32Array(),
    strings: undefined
  })
  for (const item of items) {
    const newId = (id: number): number => newIds.get(ownerOf(item.btf, id) ?? item.btf)?.get(id) ?? 0
    if (item.taken !== "whole" && hasElements(kindOf(item.btf, item.id))) addPart(draft, item, item.taken, newId)
    else if (kindOf(item.btf, item.id) === BTF_KIND_DECL_TAG) addDeclTag(draft, item, components, newId)
    else Copy.addType(draft, item.btf, item.id, newId)
  }
  const btf = assembled({
    byteOrder,
    headerLength: HEADER_SIZE,
    base: undefined,
    pointerSize: undefined,
    types: draft.bytes.subarray(0, draft.length),
    layout: new Uint8Array(),
    strings: draft.strings.content()
  })
  return { btf, origins: items.map(({ btf, id }) => ({ btf, id })) }
}

const hasElements = (kind: number): boolean => isComposite(kind) || kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64

const isComposite = (kind: number): boolean => kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION

/** What is taken of a blob, in the order of ids, with the tags on it. */
const itemsOf = (btf: Btf, types: ReadonlyMap<number, Taken>, components: Components): ReadonlyArray<Item> => {
  const items: Array<Item> = []
  for (const [id, taken] of types) {
    if (!(id >= btf.firstId && id < btf.endId)) {
      fail("BadTypeId", "the blob does not hold this type itself", { typeId: id })
    }
    items.push({ btf, id, taken })
  }
  for (const id of idsOfKind(btf, BTF_KIND_DECL_TAG)) {
    if (!types.has(id) && components(btf, id) !== undefined) items.push({ btf, id, taken: "whole" })
  }
  return items.sort((one, other) => one.id - other.id)
}

/** -1 in the component index of a DECL_TAG: the declaration itself is tagged. */
const NO_COMPONENT = 0xffff_ffff

/** The component index of a DECL_TAG in the subset; `undefined` where what it tags is not taken. */
type Components = (btf: Btf, tag: number) => number | undefined

const componentsOf = (chosen: ReadonlyMap<Btf, ReadonlyMap<number, Taken>>): Components => {
  const known = new Map<Taken, ReadonlyMap<number, number>>()
  return (btf, tag) => {
    const { littleEndian, view } = btf.internal
    const component = view.getUint32(recordOffset(btf, tag) + BTF_TYPE_SIZE, littleEndian)
    const declaration = sizeOrTypeOf(btf, tag)
    const owner = ownerOf(btf, declaration)
    const taken = owner === undefined ? undefined : chosen.get(owner)?.get(declaration)
    if (taken === undefined) return undefined
    if (taken === "whole" || component === NO_COMPONENT || !isComposite(kindOf(btf, declaration))) return component
    let positions = known.get(taken)
    if (positions === undefined) known.set(taken, positions = new Map(inOrder(taken).map((old, index) => [old, index])))
    return positions.get(component)
  }
}

const inOrder = (taken: ReadonlySet<number>): ReadonlyArray<number> => [...taken].sort((one, other) => one - other)

/** A tag that a type refers to is taken even where the member that it tags is not; it then tags the whole. */
const addDeclTag = (
  draft: Draft.Draft,
  { btf, id }: Item,
  components: Components,
  newId: (id: number) => number
): void => {
  const added = Copy.addType(draft, btf, id, newId)
  const at = Draft.recordOf(draft, added, BTF_KIND_DECL_TAG) + BTF_TYPE_SIZE
  Draft.put(draft, at, components(btf, id) ?? NO_COMPONENT)
}

/** A struct, union or enum with some of its elements. Its kind flag stays, which says how they are to be read. */
const addPart = (
  draft: Draft.Draft,
  { btf, id }: Item,
  taken: ReadonlySet<number>,
  newId: (id: number) => number
): void => {
  const { littleEndian, view } = btf.internal
  const from = recordOffset(btf, id)
  const word = (at: number): number => view.getUint32(from + at, littleEndian)
  const kind = kindOf(btf, id)
  const stride = ELEMENT_SIZE[kind] ?? 0
  const count = vlenOf(btf, id)
  const positions = inOrder(taken).filter((position) => position >= 0 && position < count)
  const at = Draft.extend(draft, BTF_TYPE_SIZE + positions.length * stride)
  Draft.put(draft, at, draft.strings.addFrom(btf, word(0)))
  Draft.put(draft, at + 4, word(4) - count + positions.length)
  Draft.put(draft, at + 8, word(8))
  for (const [index, position] of positions.entries()) {
    const element = BTF_TYPE_SIZE + position * stride
    const to = at + BTF_TYPE_SIZE + index * stride
    Draft.put(draft, to, draft.strings.addFrom(btf, word(element)))
    for (let field = 4; field < stride; field += 4) {
      const isType = field === ELEMENT_TYPE_WORD[kind]
      Draft.put(draft, to + field, isType ? newId(word(element + field)) : word(element + field))
    }
  }
  Draft.begin(draft, at)
}
