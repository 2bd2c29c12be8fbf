/**
 * BTF built anew, extended and edited.
 *
 * An editor is a mutable copy that lives inside one function: `make` begins an empty one, `edit` one of a given blob.
 * Changes keep all ids, new types and strings are appended, and `finish` hands out a new, validated `Btf` with a
 * canonical blob. The `Btf` that was edited stays as it was.
 *
 * ```ts
 * const editor = BtfEdit.make()
 * const int = editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
 * // A type may refer to one that comes later, or to itself.
 * const node = editor.nextId
 * editor.addStruct("node", 16, [
 *   { name: "value", type: int, bitOffset: 0, bitfieldSize: 0 },
 *   { name: "next", type: node + 1, bitOffset: 64, bitfieldSize: 0 }
 * ])
 * editor.addPtr(node)
 * const btf = editor.finish()
 * ```
 *
 * A count has 24 bits. Kernels up to 6.18 at least, and libbpf before 1.7, take no more than 65535 elements.
 *
 * Source: reference pages `btf-format`, section 11, and `open`, sections 3 and 4.
 */
import * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import { type BtfError, isBtfError } from "./BtfError.ts"
import { assemble, type Image, imageOf, requireWritable } from "./BtfImage.ts"
import * as Kind from "./BtfKind.ts"
import type { Btf, ByteOrder } from "./BtfModel.ts"
import { HEADER_SIZE, HEADER_SIZE_WITH_LAYOUT } from "./BtfParse.ts"
import type { DatasecEntry, Enum64Value, EnumValue, Member, Param } from "./BtfType.ts"
import * as Changes from "./edit/Changes.ts"
import * as Copy from "./edit/Copy.ts"
import * as Draft from "./edit/Draft.ts"
import * as Elements from "./edit/Elements.ts"
import * as Records from "./edit/Records.ts"

/**
 * An edit in progress. A change that does not fit is not made; `finish` then answers with the first such error. A
 * reference may be to a type that is added later: `finish` checks that each type exists.
 */
export interface BtfEditor {
  /** The id that the next type gets. */
  readonly nextId: number

  /** Sets the size of a DATASEC, in bytes. */
  readonly setDatasecSize: (id: number, size: number) => void
  /** Changes the given fields of an entry of a DATASEC. */
  readonly setDatasecEntry: (id: number, index: number, entry: Partial<DatasecEntry>) => void
  /** Sorts the entries of a DATASEC by offset; entries of one offset keep their order. */
  readonly sortDatasec: (id: number) => void
  /** Sets the linkage of a VAR, `BTF_VAR_*`. */
  readonly setVarLinkage: (id: number, linkage: number) => void
  /** Sets the type of a VAR. */
  readonly setVarType: (id: number, type: number) => void
  /** Sets the linkage of a FUNC, `BTF_FUNC_*`. */
  readonly setFuncLinkage: (id: number, linkage: number) => void
  /** Sets the string offset of the name of a parameter of a FUNC_PROTO. */
  readonly setParamNameOffset: (id: number, index: number, nameOffset: number) => void

  /**
   * The string offset of `text`: the base's where it has the string, else this blob's, to which it is appended where
   * it is new. Each string is held once.
   */
  readonly addString: (text: string) => number
  /** Adds an integer of `size` bytes, a power of two up to 16; `encoding` is a sum of `BTF_INT_*`. Answers its id. */
  readonly addInt: (name: string, size: number, encoding: number) => number
  /** Adds a floating-point number of 2, 4, 8, 12 or 16 bytes. */
  readonly addFloat: (name: string, size: number) => number
  /** Adds a pointer. */
  readonly addPtr: (type: number) => number
  /** Adds a `const` type. */
  readonly addConst: (type: number) => number
  /** Adds a `volatile` type. */
  readonly addVolatile: (type: number) => number
  /** Adds a `restrict` type. */
  readonly addRestrict: (type: number) => number
  /** Adds a typedef. */
  readonly addTypedef: (name: string, type: number) => number
  /** Adds a tag on a type; `attribute` says that the text is a whole `__attribute__`, not that of `btf_type_tag`. */
  readonly addTypeTag: (text: string, type: number, attribute?: boolean) => number
  /**
   * Adds a tag on a declaration or, by its index, on one of its members or parameters; -1 stands for the declaration.
   * `attribute` says that the text is a whole `__attribute__`, not that of `btf_decl_tag`.
   */
  readonly addDeclTag: (text: string, type: number, componentIndex: number, attribute?: boolean) => number
  /** Adds an array of `length` elements of type `type`. */
  readonly addArray: (indexType: number, type: number, length: number) => number
  /** Adds a struct of `size` bytes; the empty name makes an anonymous one. */
  readonly addStruct: (name: string, size: number, members: ReadonlyArray<Member>) => number
  /** Adds a union of `size` bytes; the empty name makes an anonymous one. Its members begin at bit 0. */
  readonly addUnion: (name: string, size: number, members: ReadonlyArray<Member>) => number
  /**
   * Adds an enum of 1, 2, 4 or 8 bytes; the empty name makes an anonymous one. Its values have 32 bits. It is signed
   * where `signed` says so or a value is negative; a signed one has no values above 2^31 - 1. `ValueRange` otherwise.
   */
  readonly addEnum: (name: string, size: number, values: ReadonlyArray<EnumValue>, signed?: boolean) => number
  /** Adds an enum whose values have 64 bits; the rest is as in `addEnum`. */
  readonly addEnum64: (name: string, size: number, values: ReadonlyArray<Enum64Value>, signed?: boolean) => number
  /** Adds a forward declaration; that of an enum is an ENUM of 4 bytes without values. */
  readonly addFwd: (name: string, what: "struct" | "union" | "enum") => number
  /** Adds a prototype. A last parameter of no name and type 0 stands for `...`. */
  readonly addFuncProto: (returnType: number, params: ReadonlyArray<Param>) => number
  /** Adds a function with its FUNC_PROTO and linkage, `BTF_FUNC_*`. */
  readonly addFunc: (name: string, type: number, linkage: number) => number
  /** Adds a variable with its linkage, `BTF_VAR_*`. */
  readonly addVar: (name: string, type: number, linkage: number) => number
  /** Adds a section of `size` bytes. */
  readonly addDatasec: (name: string, size: number, entries: ReadonlyArray<DatasecEntry>) => number

  /**
   * Adds a member to the struct or union that is the last type. One that does not begin at a byte is a bit field, of 1
   * to 255 bits; beside bit fields no member begins after bit 2^24 - 1.
   */
  readonly addMember: (member: Member) => void
  /** Adds a value to the enum that is the last type. */
  readonly addEnumValue: (value: EnumValue) => void
  /** Adds a value to the 64-bit enum that is the last type. */
  readonly addEnum64Value: (value: Enum64Value) => void
  /** Adds a parameter to the prototype that is the last type. */
  readonly addParam: (param: Param) => void
  /** Adds an entry to the section that is the last type. */
  readonly addDatasecEntry: (entry: DatasecEntry) => void

  /**
   * Adds a copy of type `id` of another BTF, in either byte order. Its strings are taken over; its references are what
   * `mapType` makes of them, or stay as they are. A type of an unknown kind is refused.
   */
  readonly addType: (source: Btf, id: number, mapType?: (id: number) => number) => number
  /**
   * Adds all types that `other` holds itself, in their order, and the strings that they use; answers the id of the
   * first. Split BTF can be appended where the edited one has the same base. Where it fails, for another base or a type
   * of an unknown kind, nothing was added and the edit can go on: its error is not kept for `finish`.
   */
  readonly append: (other: Btf) => Result.Result<number, BtfError>

  /**
   * The edited BTF, canonical and validated like any other, with the same base and byte order. The editor can be used
   * further, and finished again.
   */
  readonly finish: () => Result.Result<Btf, BtfError>
}

/** Options of `make`. */
export interface MakeOptions {
  /** The BTF over which the new one is split: its ids and strings continue those of the base. */
  readonly base?: Btf | undefined
  /** By default the base's, or little. */
  readonly byteOrder?: ByteOrder | undefined
  /**
   * Whether the blob describes the sizes of its records in a layout area, for readers that do not know all its kinds.
   * Kernels up to 6.18 at least refuse such a blob. By default it does not.
   */
  readonly layout?: boolean | undefined
  /** Bytes of a pointer, as in `parse`. */
  readonly pointerSize?: 4 | 8 | undefined
}

const noBytes = new Uint8Array(0)

/** Begins a new blob. Without a layout area it has the classic header of 24 bytes, which every reader takes. */
export const make = (options: MakeOptions = {}): BtfEditor => {
  const { base, layout, pointerSize } = options
  const byteOrder = options.byteOrder ?? base?.byteOrder ?? "little"
  const draft = Draft.make({ base, byteOrder, types: noBytes, starts: new Uint32Array(0), strings: undefined })
  return editorOf(draft, {
    byteOrder,
    headerLength: layout === true ? HEADER_SIZE_WITH_LAYOUT : HEADER_SIZE,
    base,
    pointerSize,
    layout: layout === true ? canonicalLayout() : noBytes
  })
}

/** Begins an edit of `btf`. */
export const edit = (btf: Btf): BtfEditor => {
  const image = imageOf(btf)
  const { base, byteOrder, strings, types } = image
  const starts = btf.offsets.map((offset) => offset - btf.typesOffset)
  return editorOf(Draft.make({ base, byteOrder, types, starts, strings }), image, btf)
}

/** The layout area of the kinds that this library knows. Its flags, the upper half of an entry, are 0. */
const canonicalLayout = (): Uint8Array => {
  const bytes = new Uint8Array(Kind.NR_BTF_KINDS * 4)
  for (let kind = 0; kind < Kind.NR_BTF_KINDS; kind++) {
    bytes[kind * 4] = Kind.INFO_SIZE[kind] ?? 0
    bytes[kind * 4 + 1] = Kind.ELEMENT_SIZE[kind] ?? 0
  }
  return bytes
}

const editorOf = (draft: Draft.Draft, parts: Omit<Image, "types" | "strings">, original?: Btf): BtfEditor => {
  const change = (body: () => void): void => Draft.guarded(draft, undefined, body)
  /** Runs what adds a type. One that fails answers the id that it would have had. */
  const add = (body: () => number): number => Draft.guarded(draft, Draft.nextId(draft), body)
  const reference = (kind: number) => (type: number): number => add(() => Records.addReference(draft, kind, type))
  const composite = (kind: number) => (name: string, size: number, members: ReadonlyArray<Member>): number =>
    add(() => Records.addComposite(draft, kind, name, size, members))
  return {
    get nextId() {
      return Draft.nextId(draft)
    },
    setDatasecSize: (id, size) => change(() => Changes.setDatasecSize(draft, id, size)),
    setDatasecEntry: (id, index, entry) => change(() => Changes.setDatasecEntry(draft, id, index, entry)),
    sortDatasec: (id) => change(() => Changes.sortDatasec(draft, id)),
    setVarLinkage: (id, linkage) => change(() => Changes.setVarLinkage(draft, id, linkage)),
    setVarType: (id, type) => change(() => Changes.setVarType(draft, id, type)),
    setFuncLinkage: (id, linkage) => change(() => Changes.setFuncLinkage(draft, id, linkage)),
    setParamNameOffset: (id, index, nameOffset) =>
      change(() => Changes.setParamNameOffset(draft, id, index, nameOffset)),
    addString: (text) => Draft.guarded(draft, 0, () => Draft.textOffset(draft, text)),
    addInt: (name, size, encoding) => add(() => Records.addInt(draft, name, size, encoding)),
    addFloat: (name, size) => add(() => Records.addFloat(draft, name, size)),
    addPtr: reference(Kind.BTF_KIND_PTR),
    addConst: reference(Kind.BTF_KIND_CONST),
    addVolatile: reference(Kind.BTF_KIND_VOLATILE),
    addRestrict: reference(Kind.BTF_KIND_RESTRICT),
    addTypedef: (name, type) => add(() => Records.addNamedReference(draft, Kind.BTF_KIND_TYPEDEF, name, type, false)),
    addTypeTag: (text, type, attribute = false) =>
      add(() => Records.addNamedReference(draft, Kind.BTF_KIND_TYPE_TAG, text, type, attribute)),
    addDeclTag: (text, type, componentIndex, attribute = false) =>
      add(() => Records.addDeclTag(draft, text, type, componentIndex, attribute)),
    addArray: (indexType, type, length) => add(() => Records.addArray(draft, indexType, type, length)),
    addStruct: composite(Kind.BTF_KIND_STRUCT),
    addUnion: composite(Kind.BTF_KIND_UNION),
    addEnum: (name, size, values, signed) => add(() => Records.addEnum(draft, name, size, values, signed)),
    addEnum64: (name, size, values, signed) => add(() => Records.addEnum64(draft, name, size, values, signed)),
    addFwd: (name, what) => add(() => Records.addFwd(draft, name, what)),
    addFuncProto: (returnType, params) => add(() => Records.addFuncProto(draft, returnType, params)),
    addFunc: (name, type, linkage) => add(() => Records.addFunc(draft, name, type, linkage)),
    addVar: (name, type, linkage) => add(() => Records.addVar(draft, name, type, linkage)),
    addDatasec: (name, size, entries) => add(() => Records.addDatasec(draft, name, size, entries)),
    addMember: (member) => change(() => Elements.addMember(draft, member)),
    addEnumValue: (value) => change(() => Elements.addEnumValue(draft, value)),
    addEnum64Value: (value) => change(() => Elements.addEnum64Value(draft, value)),
    addParam: (param) => change(() => Elements.addParam(draft, param)),
    addDatasecEntry: (entry) => change(() => Elements.addDatasecEntry(draft, entry)),
    addType: (source, id, mapType = (type) => type) => add(() => Copy.addType(draft, source, id, mapType)),
    append: (other) => attempt(isBtfError, () => Copy.append(draft, other)),
    finish: () => {
      if (original !== undefined) {
        const writable = attempt(isBtfError, () => requireWritable(original))
        if (Result.isFailure(writable)) return Result.fail(writable.failure)
      }
      if (draft.error !== undefined) return Result.fail(draft.error)
      return assemble({
        ...parts,
        types: draft.bytes.subarray(0, draft.length),
        strings: draft.strings.content()
      })
    }
  }
}
