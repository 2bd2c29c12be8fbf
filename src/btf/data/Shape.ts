/**
 * What a typed data dump needs to know of a type, worked out once and kept in the blob: leaves are the plans of value codecs,
 * structs keep their anonymous members.
 */
import * as Kind from "../BtfKind.ts"
import type { Btf } from "../BtfModel.ts"
import { kindOf } from "../BtfModel.ts"
import { arrayLength, elementType, resolveType } from "../BtfResolve.ts"
import type { Member } from "../BtfType.ts"
import { typeOf } from "../BtfType.ts"
import type { PathSegment } from "../BtfValueError.ts"
import { failValue } from "../BtfValueError.ts"
import type { BytesPlan, EnumPlan, FloatPlan, IntPlan, PointerPlan } from "../BtfValuePlan.ts"
import { planOf, sizeOf } from "../BtfValuePlan.ts"

/** A member of a struct or union; `bit` counts within the byte at `offset`. */
export interface ShapeMember {
  readonly name: string
  readonly type: number
  readonly offset: number
  readonly bit: number
  /** Bits of a bit field, else 0. */
  readonly bits: number
}

/** A struct or union with its members as they are declared. */
export interface StructShape {
  readonly _tag: "Struct"
  readonly size: number
  readonly members: ReadonlyArray<ShapeMember>
}

/** An array; `character` where its elements are integers of one byte, which are shown as characters. */
export interface ArrayShape {
  readonly _tag: "Array"
  readonly size: number
  readonly length: number
  readonly element: number
  readonly elementSize: number
  readonly character: boolean
}

/** How a type is dumped. */
export type Shape = StructShape | ArrayShape | IntPlan | EnumPlan | FloatPlan | BytesPlan | PointerPlan

/** The shapes that dumps of a blob have met, by type id. */
export interface Shapes {
  readonly btf: Btf
  readonly byId: Map<number, Shape>
}

/** The shape of type `id`, qualifiers and typedefs left out; `path` is where it occurs, for errors. */
export const shapeOf = (shapes: Shapes, id: number, path: ReadonlyArray<PathSegment>): Shape => {
  const known = shapes.byId.get(id)
  if (known !== undefined) return known
  const resolved = resolveType(shapes.btf, id)
  const shape = shapes.byId.get(resolved) ?? makeShape(shapes.btf, resolved, path)
  shapes.byId.set(resolved, shape)
  shapes.byId.set(id, shape)
  return shape
}

const makeShape = (btf: Btf, id: number, path: ReadonlyArray<PathSegment>): Shape => {
  const kind = kindOf(btf, id)
  if (kind === Kind.BTF_KIND_STRUCT || kind === Kind.BTF_KIND_UNION) return structShape(btf, id)
  if (kind === Kind.BTF_KIND_ARRAY) {
    const element = elementType(btf, id)
    const elementSize = sizeOf(btf, element, path)
    return {
      _tag: "Array",
      size: sizeOf(btf, id, path),
      length: arrayLength(btf, id),
      element,
      elementSize,
      character: elementSize === 1 && kindOf(btf, resolveType(btf, element)) === Kind.BTF_KIND_INT
    }
  }
  const plan = planOf(btf, id, path)
  if (plan._tag !== "Struct" && plan._tag !== "Array") return plan
  return failValue("Unsupported", path, id, `a ${Kind.kindName(kind)} cannot be a part of a type`)
}

const structShape = (btf: Btf, id: number): StructShape => {
  const type = typeOf(btf, id)
  if (type._tag !== "Struct" && type._tag !== "Union") return { _tag: "Struct", size: 0, members: [] }
  return { _tag: "Struct", size: type.size, members: type.members.map((member) => memberShape(btf, member)) }
}

const memberShape = (btf: Btf, member: Member): ShapeMember => {
  const { name, type } = member
  let { bitOffset, bitfieldSize: bits } = member
  const resolved = resolveType(btf, type)
  const int = bits === 0 && kindOf(btf, resolved) === Kind.BTF_KIND_INT ? typeOf(btf, resolved) : undefined
  // Old compilers describe a bit field by an integer type of its own, which says its width and part of its place.
  if (int?._tag === "Int" && (int.bits !== int.size * 8 || bitOffset % 8 !== 0)) {
    bitOffset += int.bitOffset
    bits = int.bits
  }
  return { name, type, offset: Math.floor(bitOffset / 8), bit: bitOffset % 8, bits }
}
