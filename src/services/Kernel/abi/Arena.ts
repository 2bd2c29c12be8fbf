/**
 * One buffer that holds a kernel structure and everything that it points to.
 *
 * bpf(2) takes addresses. JavaScript memory has none until a foreign call is made, and only the memory that is passed
 * to that call is certain to stay alive; so the structure, the names, instructions and keys that it points to and the
 * room for what the kernel writes back are laid out in one buffer. Laying out is pure: pointers hold offsets from the
 * buffer's start, and `relocate` adds the start's address once it is known.
 */
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { attempt } from "../../../internal/attempt.ts"

/** What a field of a structure holds; `name` is text of at most one byte less than the field, padded with zeros. */
export type FieldKind = "u32" | "s32" | "u64" | "pointer" | "name"

/** A field: where it is in its structure, in bytes, and what it holds. */
export interface Field<Kind extends FieldKind = FieldKind> {
  readonly kind: Kind
  readonly offset: number
  readonly size: number
}

/** A kernel structure: its size in bytes and its fields by their kernel names. */
export interface Layout<Fields extends Readonly<Record<string, Field>> = Readonly<Record<string, Field>>> {
  readonly size: number
  readonly fields: Fields
}

/** What a pointer points to: bytes or text to read, room to write (bytes), a further structure, a table of pointers. */
export type Pointee =
  | { readonly _tag: "Bytes"; readonly bytes: Uint8Array }
  | { readonly _tag: "Text"; readonly text: string }
  | { readonly _tag: "Room"; readonly length: number }
  | {
    readonly _tag: "Struct"
    readonly layout: Layout
    readonly values: Readonly<Record<string, FieldValue>>
    readonly base?: Uint8Array
  }
  | { readonly _tag: "Table"; readonly entries: ReadonlyArray<Uint8Array> }

/** A value of a field. */
export type FieldValue = number | bigint | string | Pointee | undefined

type ValueOf<Kind extends FieldKind> = Kind extends "u32" | "s32" ? number
  : Kind extends "u64" ? bigint
  : Kind extends "name" ? string
  : Pointee

/** Values for the fields of a structure; those left out are zero. */
export type Values<L extends Layout> = {
  readonly [N in keyof L["fields"]]?: ValueOf<L["fields"][N]["kind"]> | undefined
}

/** A laid-out structure at offset 0 of `buffer`, with all that it points to behind it. */
export interface Arena<L extends Layout = Layout> {
  readonly buffer: ArrayBuffer
  readonly layout: L
  /** Offsets of the pointers in the buffer; each holds an offset until `relocate` makes an address of it. */
  readonly pointers: ReadonlyArray<number>
  /** Where the pointees of the structure's own fields are, by field name. */
  readonly regions: ReadonlyMap<string, Region>
}

/** A pointee in an arena, bytes. `inner` are the pointees of a structure. */
export interface Region {
  readonly offset: number
  readonly length: number
  readonly inner: ReadonlyMap<string, Region>
}

/** A value does not fit its field. */
export class FieldError extends Schema.TaggedError<FieldError>()("FieldError", {
  field: Schema.String,
  reason: Schema.Literals(["OutOfRange", "TooLong", "ContainsNul", "WrongKind"]),
  value: Schema.String
}) {
  override get message(): string {
    const why = {
      OutOfRange: "does not fit the field",
      TooLong: "is too long for the field",
      ContainsNul: "contains a NUL character",
      WrongKind: "is of another kind than the field"
    }[this.reason]
    return `${this.field}: ${this.value} ${why}`
  }
}

/** A 32-bit unsigned field. */
export const u32 = (offset: number): Field<"u32"> => ({ kind: "u32", offset, size: 4 })

/** A 32-bit signed field. */
export const s32 = (offset: number): Field<"s32"> => ({ kind: "s32", offset, size: 4 })

/** A 64-bit unsigned field. */
export const u64 = (offset: number): Field<"u64"> => ({ kind: "u64", offset, size: 8 })

/** A 64-bit field that holds an address. */
export const pointer = (offset: number): Field<"pointer"> => ({ kind: "pointer", offset, size: 8 })

/** A field of `size` bytes that holds text. */
export const name = (offset: number, size: number): Field<"name"> => ({ kind: "name", offset, size })

/** Points to these bytes; the pointer is null when there are none. */
export const bytes = (bytes: Uint8Array): Pointee => ({ _tag: "Bytes", bytes })

/** Points to `length` zeroed bytes for the kernel to fill; the pointer is null when `length` is 0. */
export const room = (length: number): Pointee => ({ _tag: "Room", length })

/** Points to a further structure. What its fields do not say is zero, or as in `base`, which is as long as the structure. */
export const struct = <L extends Layout>(layout: L, values: Values<L>, base?: Uint8Array): Pointee => ({
  _tag: "Struct",
  layout,
  values,
  ...(base === undefined ? {} : { base })
})

/** Points to an array of pointers, one for each of these. */
export const table = (entries: ReadonlyArray<Uint8Array>): Pointee => ({ _tag: "Table", entries })

/** Points to text that ends with a NUL; text that has one inside is refused when the arena is made. */
export const text = (text: string): Pointee => ({ _tag: "Text", text })

/** Whether this machine is little-endian: the order in which its kernel reads structures. */
export const hostIsLittle: boolean = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** Structures start on 8 bytes, as the kernel aligns its own. */
const align = (offset: number): number => Math.ceil(offset / 8) * 8

const isFieldError = (thrown: unknown): thrown is FieldError => thrown instanceof FieldError

const refuse = (field: string, reason: FieldError["reason"], value: FieldValue): FieldError =>
  new FieldError({ field, reason, value: typeof value === "object" ? value._tag : JSON.stringify(String(value)) })

/** Offsets stay far below what a number or a buffer can hold. */
const maximumSize = 0x7fff_ffff

interface Placement {
  readonly pointee: Exclude<Pointee, { readonly _tag: "Text" }>
  readonly offset: number
  readonly length: number
  readonly inner: Map<string, Region>
}

/** Text as the bytes that the kernel reads. */
const encodeText = (fieldName: string, pointee: Pointee): Placement["pointee"] => {
  if (pointee._tag !== "Text") return pointee
  if (pointee.text.includes("\0")) throw refuse(fieldName, "ContainsNul", pointee.text)
  return { _tag: "Bytes", bytes: new TextEncoder().encode(`${pointee.text}\0`) }
}

const lengthOf = (pointee: Placement["pointee"]): number => {
  switch (pointee._tag) {
    case "Bytes":
      return pointee.bytes.length
    case "Room":
      return pointee.length
    case "Struct":
      return pointee.layout.size
    case "Table":
      return pointee.entries.length * 8
  }
}

const isPointee = (value: FieldValue): value is Pointee => typeof value === "object"

const allocate = (size: number): ArrayBuffer => {
  try {
    return new ArrayBuffer(size)
  } catch {
    // The machine has no memory of that size, whatever the limits say.
    throw refuse("buffer", "OutOfRange", size)
  }
}

/**
 * Lays out a structure and what it points to, in the byte order of this machine (or as told). Values are checked
 * against the size of their fields.
 */
export const make = <L extends Layout>(
  layout: L,
  values: Values<L>,
  little: boolean = hostIsLittle
): Result.Result<Arena<L>, FieldError> =>
  attempt(isFieldError, () => {
    const root: Placement = {
      pointee: { _tag: "Struct", layout, values },
      offset: 0,
      length: layout.size,
      inner: new Map()
    }
    const placements: Array<Placement> = [root]
    const links: Array<{ readonly at: number; readonly to: number }> = []
    let end = align(layout.size)
    const place = (fieldName: string, unencoded: Pointee, at: number): Placement | undefined => {
      const pointee = encodeText(fieldName, unencoded)
      const length = lengthOf(pointee)
      if (length === 0) return undefined
      if (!Number.isInteger(length) || length < 0 || end + length > maximumSize) {
        throw refuse(fieldName, "OutOfRange", length)
      }
      const placement = { pointee, offset: end, length, inner: new Map<string, Region>() }
      placements.push(placement)
      links.push({ at, to: end })
      end = align(end + length)
      return placement
    }
    // Structures inside structures join the end of the list, so one pass places everything.
    for (let index = 0; index < placements.length; index++) {
      const placement = placements[index]
      if (placement === undefined) break
      const { inner, offset, pointee } = placement
      if (pointee._tag === "Table") {
        pointee.entries.forEach((entry, i) => place("table", bytes(entry), offset + i * 8))
      }
      if (pointee._tag !== "Struct") continue
      for (const [fieldName, field] of Object.entries(pointee.layout.fields)) {
        const value = pointee.values[fieldName]
        if (field.kind !== "pointer" || value === undefined) continue
        if (!isPointee(value)) throw refuse(fieldName, "WrongKind", value)
        const placed = place(fieldName, value, offset + field.offset)
        if (placed !== undefined) inner.set(fieldName, placed)
      }
    }
    const buffer = allocate(end)
    const whole = new Uint8Array(buffer)
    const view = new DataView(buffer)
    for (const { offset, pointee } of placements) {
      if (pointee._tag === "Bytes") whole.set(pointee.bytes, offset)
      if (pointee._tag === "Struct") {
        if (pointee.base !== undefined) whole.set(pointee.base.subarray(0, pointee.layout.size), offset)
        writeScalars(view, offset, pointee.layout, pointee.values, little)
      }
    }
    for (const { at, to } of links) view.setBigUint64(at, BigInt(to), little)
    return { buffer, layout, pointers: links.map((link) => link.at), regions: root.inner }
  })

const writeScalars = (
  view: DataView,
  base: number,
  layout: Layout,
  values: Readonly<Record<string, FieldValue>>,
  little: boolean
): void => {
  for (const [fieldName, field] of Object.entries(layout.fields)) {
    const value = values[fieldName]
    if (value === undefined || field.kind === "pointer") continue
    writeScalar(view, base + field.offset, fieldName, field, value, little)
  }
}

const writeScalar = (
  view: DataView,
  at: number,
  fieldName: string,
  field: Field,
  value: FieldValue,
  little: boolean
): void => {
  if (field.kind === "u32" || field.kind === "s32") {
    const [minimum, maximum] = field.kind === "u32" ? [0, 0xffff_ffff] : [-0x8000_0000, 0x7fff_ffff]
    if (typeof value !== "number") throw refuse(fieldName, "WrongKind", value)
    if (!Number.isInteger(value) || value < minimum || value > maximum) throw refuse(fieldName, "OutOfRange", value)
    view.setInt32(at, value | 0, little)
  } else if (field.kind === "u64") {
    if (typeof value !== "bigint") throw refuse(fieldName, "WrongKind", value)
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw refuse(fieldName, "OutOfRange", value)
    view.setBigUint64(at, value, little)
  } else {
    if (typeof value !== "string") throw refuse(fieldName, "WrongKind", value)
    const encoded = new TextEncoder().encode(value)
    if (encoded.includes(0)) throw refuse(fieldName, "ContainsNul", value)
    if (encoded.length >= field.size) throw refuse(fieldName, "TooLong", value)
    new Uint8Array(view.buffer, at, field.size).set(encoded)
  }
}

/** Turns the offsets in the arena's pointers into addresses, now that the buffer's own is known. To be done once. */
export const relocate = (arena: Arena, address: bigint, little: boolean = hostIsLittle): void => {
  const view = new DataView(arena.buffer)
  for (const at of arena.pointers) view.setBigUint64(at, view.getBigUint64(at, little) + address, little)
}

/** The bytes of a pointee: those of the field's region, empty when its pointer is null. Not a copy. */
export const region = <L extends Layout>(
  arena: Arena<L>,
  ...path: readonly [keyof L["fields"] & string, ...Array<string>]
): Uint8Array => {
  let regions = arena.regions
  let found: Region | undefined
  for (const fieldName of path) {
    found = regions.get(fieldName)
    regions = found?.inner ?? new Map()
  }
  return found === undefined ? new Uint8Array(0) : new Uint8Array(arena.buffer, found.offset, found.length)
}

/** A scalar of the structure at the arena's start, as the kernel left it. */
export const field = <L extends Layout>(arena: Arena<L>, fieldName: keyof L["fields"] & string): number => {
  const found = arena.layout.fields[fieldName]
  return found === undefined ? 0 : readNumber(new Uint8Array(arena.buffer), found, hostIsLittle)
}

/** A 32-bit field of a structure that lies in these bytes; 0 where they end before it, as older kernels leave it. */
export const readNumber = (structure: Uint8Array, field: Field, little: boolean = hostIsLittle): number => {
  if (field.offset + 4 > structure.length) return 0
  const view = new DataView(structure.buffer, structure.byteOffset, structure.length)
  return field.kind === "s32" ? view.getInt32(field.offset, little) : view.getUint32(field.offset, little)
}

/** A 64-bit field of a structure that lies in these bytes; 0 where they end before it. */
export const readBigInt = (structure: Uint8Array, field: Field, little: boolean = hostIsLittle): bigint =>
  field.offset + 8 > structure.length
    ? 0n
    : new DataView(structure.buffer, structure.byteOffset, structure.length).getBigUint64(field.offset, little)

/** The text of a name field of a structure that lies in these bytes: up to the first NUL. */
export const readName = (structure: Uint8Array, field: Field<"name">): string =>
  cString(structure.subarray(field.offset, field.offset + field.size))

/** The text in these bytes up to the first NUL; bytes that are not UTF-8 read as U+FFFD. */
export const cString = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}
