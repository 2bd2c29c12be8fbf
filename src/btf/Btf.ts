/**
 * BTF, the types of BPF objects and kernels: parsing, lookup, and what a type comes to.
 *
 * `parse` turns a blob into a `Btf`, an immutable value that reads from the blob's bytes in place, whatever their byte
 * order. A type is a number, its id; functions of this module answer what is asked about it. `typeOf` makes an object
 * of one type. Other modules of this folder: `BtfExt` for `.BTF.ext`, `BtfEdit` for changes, `BtfEncode` for writing,
 * `BtfValue` for values of types, `BtfFields` for all type ids and strings of a blob.
 */
export { BtfError } from "./BtfError.ts"
export type { BtfErrorReason } from "./BtfError.ts"
export {
  elementNames,
  essentialAt,
  essentialElements,
  essentialName,
  essentialOf,
  idsOfEssential,
  ownNamed,
  sameEssential
} from "./BtfEssential.ts"
export type { EssentialName, Steps } from "./BtfEssential.ts"
export { find, findOne, findOwn, idsOfKind } from "./BtfFind.ts"
export type { Found } from "./BtfFind.ts"
export * from "./BtfKind.ts"
export { exists, kflagOf, kindOf, nameOf, nameOffsetOf, ownerOf, sizeOrTypeOf, stringAt, vlenOf } from "./BtfModel.ts"
export type { Btf, ByteOrder, ElementNames, EssentialElements } from "./BtfModel.ts"
export { typeName } from "./BtfName.ts"
export { BTF_MAGIC, BTF_VERSION, parse } from "./BtfParse.ts"
export type { ParseOptions } from "./BtfParse.ts"
export {
  alignOf,
  arrayLength,
  elementType,
  pointerSize,
  pointerSizeType,
  resolveSize,
  resolveType,
  skipModifiers,
  skipModifiersAndTypedefs
} from "./BtfResolve.ts"
export * from "./BtfType.ts"
