/**
 * Bytes of a type as text: C-like initialisers with names, types and values, in the format of libbpf's typed data dump.
 *
 * ```ts
 * const dumped = BtfDataDump.dump(btf, id, bytes, { compact: true })
 * // { text: "(struct event){.pid = (int)7,.comm = (char[16])['s','h',],}", size: 24, error: undefined }
 * ```
 *
 * Zero parts are left out unless asked for, but for the elements of an array that has others. Arrays of one-byte integers
 * are characters up to the first NUL, which is what libbpf takes them for whether they are text or not.
 *
 * Where libbpf (1.5 was the judge) does it wrong, this does not follow:
 *
 * 1. Whether a nested struct or union is zero is asked of all its members; libbpf looks at the first.
 * 2. That an array is of characters ends with the array; libbpf shows later one-byte integers as characters too, and
 *    after a NUL among them nothing at all.
 * 3. A string (`emitStrings`) is followed by its separator and not preceded by an indent.
 * 4. Values of an unsigned enum above 2^31 have their names. So have negative values of a bit field, which counts its own
 *    bits for what is zero.
 * 5. Enums are read at any address. A null pointer is `0x0`; libbpf leaves it to printf at aligned addresses, where glibc
 *    says `(nil)`.
 * 6. A bit field takes the bytes that it covers, also more than its type has, and up to 128 bits. Bit fields of old
 *    compilers, integers of fewer bits than their bytes, are bit fields.
 * 7. The number of an unnamed signed enum value is followed by its separator; an eight-byte ENUM shows all of it.
 * 8. A NUL ends characters; without `emitZeroes` libbpf leaves it out and goes on.
 * 9. Arrays end where the data ends, whatever their elements are, and what is missing is reported; libbpf reports nothing
 *    for arrays of numbers and prints brackets for elements that do not exist. An array of elements without bytes is
 *    empty.
 * 10. Integers of 1 to 16 bytes and floating-point numbers of 2, 4, 8, 10, 12 and 16 bytes are shown; libbpf knows the
 *    powers of 2, and no half precision.
 * 11. Variables are indented at the beginning of a line alone, not within it.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import * as Kind from "./BtfKind.ts"
import type { Btf, ByteOrder } from "./BtfModel.ts"
import { kindOf, nameOf } from "./BtfModel.ts"
import { skipModifiers } from "./BtfResolve.ts"
import type { DatasecType, VarType } from "./BtfType.ts"
import { typeOf } from "./BtfType.ts"
import { DEPTH_LIMIT } from "./BtfValueDecode.ts"
import type { BtfValueError, PathSegment } from "./BtfValueError.ts"
import { failValue, isBtfValueError, valueError } from "./BtfValueError.ts"
import { sizeOf } from "./BtfValuePlan.ts"
import { declare, makeNames } from "./data/Cast.ts"
import type { Names } from "./data/Cast.ts"
import { scalarText, stringText } from "./data/Scalar.ts"
import type { Source } from "./data/Scalar.ts"
import type { ArrayShape, Shape, Shapes, StructShape } from "./data/Shape.ts"
import { shapeOf } from "./data/Shape.ts"
import { isZero, makeZeroes } from "./data/Zero.ts"
import type { Zeroes } from "./data/Zero.ts"

/** How a dump looks. */
export interface DataDumpOptions {
  /** The text of one level of indentation: a tab unless given. */
  readonly indent?: string
  /** Levels by which the whole is indented: 0 unless given. */
  readonly level?: number
  /** All on one line, without indentation. */
  readonly compact?: boolean
  /** Without the names of members and without types. */
  readonly skipNames?: boolean
  /** With parts that are zero. */
  readonly emitZeroes?: boolean
  /** Arrays of one-byte integers that have a NUL as `"text"`, in which `\xNN` stands for what cannot be printed. */
  readonly emitStrings?: boolean
  /** Byte order of the data: the BTF's unless given. */
  readonly byteOrder?: ByteOrder
}

/** A dump, whole or as far as it went. */
export interface DataDump {
  readonly text: string
  /** Bytes of the type. */
  readonly size: number
  /**
   * Why the text is not whole, `undefined` if it is: `TooShort` and the first part that the bytes do not reach, or what
   * is wrong with a type. Brackets stay open where the end was within a struct.
   */
  readonly error: BtfValueError | undefined
}

/**
 * The text of `bytes` as type `typeId`: a type with a size, a variable, or a section. Fails with `NoSize` where the type
 * has none; whatever is found later comes with the text before it. Text is at most 1 MiB and 1 KiB for each byte
 * (`TooLarge`), which hostile types alone exceed, and nests at most 64 levels (`TooDeep`).
 */
export const dump = (
  btf: Btf,
  typeId: number,
  bytes: Uint8Array,
  options: DataDumpOptions = {}
): Result.Result<DataDump, BtfValueError> =>
  attempt(isBtfValueError, () => {
    const root = nameOf(btf, kindOf(btf, typeId) === Kind.BTF_KIND_VAR ? typeId : skipModifiers(btf, typeId)) || "value"
    const size = sizeOf(btf, typeId, [root])
    const dumping = makeDumping(btf, bytes, options, root)
    return { size, ...finish(dumping, typeId) }
  })

/** What a dump goes through its types with. */
interface Dumping extends Source {
  readonly compact: boolean
  readonly skipNames: boolean
  readonly emitStrings: boolean
  readonly indent: string
  readonly level: number
  readonly names: Names
  readonly shapes: Shapes
  /** Casts by type id, as spelled first. */
  readonly casts: Map<number, string>
  /** Questions about zero; `undefined` where zeroes are emitted. */
  readonly zeroes: Zeroes | undefined
  readonly path: Array<PathSegment>
  readonly parts: Array<string>
  /** UTF-16 units that may still be added. */
  room: number
  depth: number
  /** Within an array, at any depth: there are no casts, and zeroes are shown. */
  inArray: boolean
  missing: BtfValueError | undefined
}

/** More than V8's longest string would end as an exception. */
const TEXT_LIMIT = 1 << 28

const makeDumping = (btf: Btf, bytes: Uint8Array, options: DataDumpOptions, root: string): Dumping => {
  const littleEndian = (options.byteOrder ?? btf.byteOrder) === "little"
  const shapes: Shapes = { btf, byId: btf.internal.cache.shapes ??= new Map<number, Shape>() }
  return {
    btf,
    bytes,
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    littleEndian,
    compact: options.compact ?? false,
    skipNames: options.skipNames ?? false,
    emitStrings: options.emitStrings ?? false,
    indent: options.indent ?? "\t",
    level: options.level ?? 0,
    names: makeNames(btf),
    shapes,
    casts: new Map(),
    zeroes: options.emitZeroes === true ? undefined : makeZeroes(btf, shapes, bytes, littleEndian),
    path: [root],
    parts: [],
    room: Math.min(TEXT_LIMIT, (1 << 20) + 1024 * bytes.length),
    depth: 0,
    inArray: false,
    inCharacters: false,
    missing: undefined
  }
}

const finish = (
  dumping: Dumping,
  typeId: number
): { readonly text: string; readonly error: BtfValueError | undefined } => {
  let error: BtfValueError | undefined
  try {
    dumpTop(dumping, typeId)
  } catch (thrown) {
    if (!isBtfValueError(thrown)) throw thrown
    error = thrown
  }
  return { text: dumping.parts.join(""), error: dumping.missing ?? error }
}

const dumpTop = (dumping: Dumping, id: number): void => {
  const bare = skipModifiers(dumping.btf, id)
  const kind = kindOf(dumping.btf, bare)
  indent(dumping)
  if (kind !== Kind.BTF_KIND_DATASEC && kind !== Kind.BTF_KIND_VAR) return dumpPart(dumping, id, 0, 0, 0, "")
  const type = typeOf(dumping.btf, bare)
  if (type._tag === "Datasec") dumpSection(dumping, type)
  else if (type._tag === "Var") dumpVariable(dumping, type, 0)
}

const dumpSection = (dumping: Dumping, section: DatasecType): void => {
  put(dumping, `SEC("${section.name}") `)
  for (const entry of section.entries) {
    const variable = typeOf(dumping.btf, entry.type)
    dumping.path.push(nameOf(dumping.btf, entry.type))
    if (variable._tag === "Var") dumpVariable(dumping, variable, entry.offset)
    else failValue("Unsupported", dumping.path, entry.type, "it is no variable")
    dumping.path.pop()
    put(dumping, ";")
  }
}

const dumpVariable = (dumping: Dumping, variable: VarType, at: number): void => {
  const linkage = variable.linkage === Kind.BTF_VAR_STATIC
    ? "static "
    : variable.linkage === Kind.BTF_VAR_GLOBAL_EXTERN
    ? "extern "
    : ""
  put(dumping, `${linkage}${castOf(dumping, variable.type)} ${variable.name} = `)
  dumpPart(dumping, variable.type, at, 0, 0, "")
}

/** Shows a part whose line is begun: its name, its type, its value, its separator. */
const dumpPart = (dumping: Dumping, id: number, at: number, bit: number, bits: number, name: string): void => {
  if (!dumping.skipNames) {
    if (name !== "") put(dumping, `.${name} = `)
    if (!dumping.inArray) put(dumping, `(${castOf(dumping, id)})`)
  }
  const shape = shapeOf(dumping.shapes, id, dumping.path)
  switch (shape._tag) {
    case "Struct":
      return dumpStruct(dumping, id, shape, at)
    case "Array":
      return dumpArray(dumping, id, shape, at)
    default:
      reach(dumping, id, at, bit, bits)
      put(dumping, scalarText(dumping, id, shape, at, bit, bits))
      return separate(dumping)
  }
}

const dumpStruct = (dumping: Dumping, id: number, shape: StructShape, at: number): void => {
  open(dumping, id, "{")
  for (const member of shape.members) {
    dumping.path.push(member.name)
    const start = at + member.offset
    // Before its line begins: a member that the bytes do not reach leaves nothing, not even its name.
    reach(dumping, member.type, start, member.bit, member.bits)
    if (!leftOut(dumping, member.type, start, member.bit, member.bits)) {
      indent(dumping)
      dumpPart(dumping, member.type, start, member.bit, member.bits, member.name)
    }
    dumping.path.pop()
  }
  close(dumping, "}")
}

const dumpArray = (dumping: Dumping, id: number, shape: ArrayShape, at: number): void => {
  if (shape.character && dumping.emitStrings) {
    const text = stringText(dumping, shape, at)
    if (text !== undefined) {
      put(dumping, text)
      return separate(dumping)
    }
  }
  open(dumping, id, "[")
  const { inArray, inCharacters } = dumping
  dumping.inArray = true
  dumping.inCharacters = shape.character
  const end = dumping.bytes.length
  for (let index = 0; index < shape.length && shape.elementSize > 0; index++) {
    const start = at + index * shape.elementSize
    dumping.path.push(index)
    // Elements that are not there at all end the array; the first of them is what is reported.
    if (start >= end || cutOff(dumping, shape.element, start, 0, 0)) {
      dumping.missing ??= tooShort(dumping, shape.element, start + shape.elementSize)
      dumping.path.pop()
      break
    }
    const nul = shape.character && dumping.bytes[start] === 0
    if (!nul || dumping.zeroes === undefined) {
      indent(dumping)
      dumpPart(dumping, shape.element, start, 0, 0, "")
    }
    dumping.path.pop()
    if (nul) break
  }
  dumping.inArray = inArray
  dumping.inCharacters = inCharacters
  close(dumping, "]")
}

/** Whether a part is zero and zeroes are not shown here. */
const leftOut = (dumping: Dumping, id: number, at: number, bit: number, bits: number): boolean =>
  dumping.zeroes !== undefined && !dumping.inArray && isZero(dumping.zeroes, id, at, bit, bits, dumping.path)

/** The byte after a part that is read as a whole; 0 for one whose parts are asked themselves. */
const endOf = (dumping: Dumping, id: number, at: number, bit: number, bits: number): number => {
  const shape = shapeOf(dumping.shapes, id, dumping.path)
  if (shape._tag === "Struct" || shape._tag === "Array") return 0
  // Nothing but integers and enums has bit fields; whatever else says so is read whole.
  const partial = bits > 0 && (shape._tag === "Int" || shape._tag === "Enum")
  return at + (partial ? Math.ceil((bit + bits) / 8) : shape.size)
}

const cutOff = (dumping: Dumping, id: number, at: number, bit: number, bits: number): boolean =>
  endOf(dumping, id, at, bit, bits) > dumping.bytes.length

const reach = (dumping: Dumping, id: number, at: number, bit: number, bits: number): void => {
  const end = endOf(dumping, id, at, bit, bits)
  if (end > dumping.bytes.length) throw tooShort(dumping, id, end)
}

const tooShort = (dumping: Dumping, typeId: number, end: number): BtfValueError =>
  valueError("TooShort", dumping.path, typeId, `it ends at byte ${end} and ${dumping.bytes.length} are given`)

/** The type as it stands before a value. */
const castOf = (dumping: Dumping, id: number): string => {
  const known = dumping.casts.get(id)
  if (known !== undefined) return known
  const cast = declare(dumping.names, id, "")
  dumping.casts.set(id, cast)
  return cast
}

const put = (dumping: Dumping, text: string): void => {
  dumping.room -= text.length
  if (dumping.room < 0) failValue("TooLarge", dumping.path, 0, "the text becomes too long")
  dumping.parts.push(text)
}

const indent = (dumping: Dumping): void => {
  if (dumping.compact) return
  const levels = Math.max(0, dumping.level + dumping.depth)
  if (levels * dumping.indent.length > dumping.room) failValue("TooLarge", dumping.path, 0, "it is indented too far")
  put(dumping, dumping.indent.repeat(levels))
}

/** A comma and the end of the line; nothing after the whole. */
const separate = (dumping: Dumping): void => {
  if (dumping.depth > 0) put(dumping, dumping.compact ? "," : ",\n")
}

const open = (dumping: Dumping, id: number, bracket: string): void => {
  if (dumping.depth >= DEPTH_LIMIT) {
    failValue("TooDeep", dumping.path, id, `it is nested more than ${DEPTH_LIMIT} levels deep`)
  }
  put(dumping, dumping.compact ? bracket : `${bracket}\n`)
  dumping.depth++
}

const close = (dumping: Dumping, bracket: string): void => {
  dumping.depth--
  indent(dumping)
  put(dumping, bracket)
  separate(dumping)
}
