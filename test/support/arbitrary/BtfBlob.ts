/**
 * Blobs written by hand for tests: an encoder that shares nothing with the library, so that both must agree with the
 * format and not with each other.
 */
import { assert } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../src/btf/Btf.ts"
import type { BtfErrorReason } from "../../../src/btf/Btf.ts"

export type Order = "little" | "big"

/** A type record: the words after the information word follow its third one. */
export interface Rec {
  readonly name?: string
  /** Takes the place of `name`. */
  readonly nameOffset?: number
  readonly kind: number
  readonly kflag?: boolean
  readonly vlen?: number
  readonly word?: number
  /** Words, or names that become string offsets. */
  readonly rest?: ReadonlyArray<number | string>
}

export interface BlobOptions {
  readonly order?: Order
  readonly headerLength?: number
  readonly version?: number
  readonly flags?: number
  /** Bytes between the header and the types, the types and the strings, and after the strings. */
  readonly gaps?: readonly [number, number, number]
  /** Info and element sizes by kind. */
  readonly layout?: ReadonlyArray<readonly [number, number]>
  /** String offset at which the blob's own strings begin, for split BTF. */
  readonly stringsStart?: number
  /** Takes the place of the string area. */
  readonly strings?: Uint8Array
  /** Strings of a base, by their offset: names that are among them are not written again. */
  readonly known?: ReadonlyMap<string, number>
  /** Each use of a name writes it again, as nothing sensible does. */
  readonly repeatStrings?: boolean
  /** Put after the generated strings. */
  readonly moreStrings?: ReadonlyArray<string>
  /** Bytes of the header past byte 32. */
  readonly headerExtra?: number
}

const encodeUtf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Writes a blob. */
export const blob = (types: ReadonlyArray<Rec>, options: BlobOptions = {}): Uint8Array => {
  const little = (options.order ?? "little") === "little"
  const start = options.stringsStart ?? 0
  const strings: Array<number> = start === 0 ? [0] : []
  const offsets = new Map<string, number>()
  const intern = (text: string): number => {
    if (text === "") return 0
    const known = options.known?.get(text) ?? (options.repeatStrings === true ? undefined : offsets.get(text))
    if (known !== undefined) return known
    const offset = start + strings.length
    for (const byte of encodeUtf8(text)) strings.push(byte)
    strings.push(0)
    offsets.set(text, offset)
    return offset
  }
  const words: Array<number> = []
  for (const type of types) {
    words.push(type.nameOffset ?? intern(type.name ?? ""))
    words.push(((type.kflag === true ? 2 ** 31 : 0) + type.kind * 2 ** 24 + (type.vlen ?? 0)) >>> 0)
    words.push((type.word ?? 0) >>> 0)
    for (const word of type.rest ?? []) words.push(typeof word === "string" ? intern(word) : word >>> 0)
  }
  for (const text of options.moreStrings ?? []) intern(text)
  const area = options.strings ?? Uint8Array.from(strings)
  const layout = options.layout ?? []
  const header = options.headerLength ?? (layout.length > 0 ? 32 : 24)
  const [before, between, after] = options.gaps ?? [0, 0, 0]
  const typesEnd = before + words.length * 4
  const stringsOffset = typesEnd + layout.length * 4 + between
  const bytes = new Uint8Array(header + stringsOffset + area.length + after).fill(0xa5, header)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, 0xeb9f, little)
  bytes[2] = options.version ?? 1
  bytes[3] = options.flags ?? 0
  view.setUint32(4, header, little)
  view.setUint32(8, before, little)
  view.setUint32(12, words.length * 4, little)
  view.setUint32(16, stringsOffset, little)
  view.setUint32(20, area.length, little)
  if (layout.length > 0) {
    view.setUint32(24, typesEnd, little)
    view.setUint32(28, layout.length * 4, little)
  }
  if (header > 32) bytes.fill(options.headerExtra ?? 0, 32, header)
  for (const [index, word] of words.entries()) view.setUint32(header + before + index * 4, word, little)
  for (const [index, [info, element]] of layout.entries()) {
    bytes[header + typesEnd + index * 4] = info
    bytes[header + typesEnd + index * 4 + 1] = element
    view.setUint16(header + typesEnd + index * 4 + 2, 0, little)
  }
  bytes.set(area, header + stringsOffset)
  return bytes
}

/** The whole strings of a blob by their offsets, counted from `start`. */
export const stringsOf = (bytes: Uint8Array, start = 0): ReadonlyMap<string, number> => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const little = bytes[0] === 0x9f
  const from = view.getUint32(4, little) + view.getUint32(16, little)
  const length = view.getUint32(20, little)
  const found = new Map<string, number>()
  for (let at = 0; at < length;) {
    const end = bytes.indexOf(0, from + at) - from
    const text = new TextDecoder().decode(bytes.subarray(from + at, from + end))
    if (!found.has(text)) found.set(text, start + at)
    at = end + 1
  }
  return found
}

/** The layout area of the kinds 0 to 19, as the reference gives it. */
export const canonicalLayout: ReadonlyArray<readonly [number, number]> = [
  [0, 0],
  [4, 0],
  [0, 0],
  [12, 0],
  [0, 12],
  [0, 12],
  [0, 8],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 8],
  [4, 0],
  [0, 12],
  [0, 0],
  [4, 0],
  [0, 0],
  [0, 12]
]

// Records by kind, in the order of the kinds.

export const int = (name: string, size: number, encoding = 0, bits = size * 8, bitOffset = 0): Rec => ({
  name,
  kind: 1,
  word: size,
  rest: [encoding * 2 ** 24 + bitOffset * 2 ** 16 + bits]
})
export const ptr = (type: number): Rec => ({ kind: 2, word: type })
export const array = (type: number, indexType: number, length: number): Rec => ({
  kind: 3,
  rest: [type, indexType, length]
})
export type MemberRec = readonly [name: string, type: number, bitOffset: number, bitfieldSize?: number]
const composite = (kind: number, name: string, size: number, members: ReadonlyArray<MemberRec>): Rec => {
  const kflag = members.some((member) => (member[3] ?? 0) !== 0)
  return {
    name,
    kind,
    kflag,
    vlen: members.length,
    word: size,
    rest: members.flatMap((member) => [member[0], member[1], (member[3] ?? 0) * 2 ** 24 + member[2]])
  }
}
export const struct = (name: string, size: number, members: ReadonlyArray<MemberRec>): Rec =>
  composite(4, name, size, members)
export const union = (name: string, size: number, members: ReadonlyArray<MemberRec>): Rec =>
  composite(5, name, size, members)
export const enumeration = (
  name: string,
  size: number,
  signed: boolean,
  values: ReadonlyArray<readonly [string, number]>
): Rec => ({ name, kind: 6, kflag: signed, vlen: values.length, word: size, rest: values.flat() })
export const fwd = (name: string, isUnion: boolean): Rec => ({ name, kind: 7, kflag: isUnion })
export const typedef = (name: string, type: number): Rec => ({ name, kind: 8, word: type })
export const volatile = (type: number): Rec => ({ kind: 9, word: type })
export const constant = (type: number): Rec => ({ kind: 10, word: type })
export const restrict = (type: number): Rec => ({ kind: 11, word: type })
export const func = (name: string, proto: number, linkage: number): Rec => ({
  name,
  kind: 12,
  vlen: linkage,
  word: proto
})
export const funcProto = (returnType: number, params: ReadonlyArray<readonly [string, number]>): Rec => ({
  kind: 13,
  vlen: params.length,
  word: returnType,
  rest: params.flat()
})
export const variable = (name: string, type: number, linkage: number): Rec => ({
  name,
  kind: 14,
  word: type,
  rest: [linkage]
})
export const datasec = (
  name: string,
  size: number,
  entries: ReadonlyArray<readonly [type: number, offset: number, size: number]>
): Rec => ({ name, kind: 15, vlen: entries.length, word: size, rest: entries.flat() })
export const float = (name: string, size: number): Rec => ({ name, kind: 16, word: size })
export const declTag = (text: string, type: number, component: number, kflag = false): Rec => ({
  name: text,
  kind: 17,
  kflag,
  word: type,
  rest: [component]
})
export const typeTag = (text: string, type: number, kflag = false): Rec => ({ name: text, kind: 18, kflag, word: type })
export const enum64 = (
  name: string,
  size: number,
  signed: boolean,
  values: ReadonlyArray<readonly [string, bigint]>
): Rec => ({
  name,
  kind: 19,
  kflag: signed,
  vlen: values.length,
  word: size,
  rest: values.flatMap(([value, bits]) => [
    value,
    Number(BigInt.asUintN(32, bits)),
    Number(BigInt.asUintN(32, bits >> 32n))
  ])
})

/** One type of each kind, ids 1 to 19 being the kinds, and some more: what compilers do not all emit. */
export const everyKind: ReadonlyArray<Rec> = [
  int("int", 4, 1),
  ptr(4),
  array(1, 1, 4),
  struct("event", 16, [["flag", 1, 0, 3], ["rest", 1, 3, 29], ["next", 2, 64]]),
  union("", 8, [["number", 1, 0], ["pointer", 2, 0]]),
  enumeration("color", 4, true, [["RED", -1], ["GREEN", 2]]),
  fwd("opaque", true),
  typedef("event_t", 4),
  volatile(1),
  constant(9),
  restrict(2),
  func("handle", 13, 1),
  funcProto(1, [["event", 2], ["", 0]]),
  variable("counter", 1, 1),
  datasec(".bss", 4, [[14, 0, 4]]),
  float("double", 8),
  declTag("kept", 4, 1),
  typeTag("rcu", 4),
  enum64("wide", 8, false, [["SMALL", 1n], ["LARGE", 0xffff_ffff_0000_0001n]])
]

/** The value of a result that must be one. */
export const expectSuccess = <A, E>(result: Result.Result<A, E>): A => {
  if (Result.isFailure(result)) throw new Error(`expected a value, got ${String(result.failure)}`)
  return result.success
}

/** The error of a result that must be one. */
export const expectFailure = <A, E>(result: Result.Result<A, E>): E => {
  if (Result.isSuccess(result)) throw new Error("expected an error")
  return result.failure
}

/** Parses the types, which must succeed. */
export const btfOf = (types: ReadonlyArray<Rec>, options: BlobOptions & { readonly base?: Btf.Btf } = {}): Btf.Btf =>
  expectSuccess(Btf.parse(
    blob(types, {
      ...options,
      ...(options.base === undefined ? {} : { stringsStart: options.base.stringsStart + options.base.stringsLength })
    }),
    { base: options.base }
  ))

/** Parsing the bytes must fail for this reason. */
export const refuses = (bytes: Uint8Array, reason: BtfErrorReason, base?: Btf.Btf): Btf.BtfError => {
  const error = expectFailure(Btf.parse(bytes, { base }))
  assert.strictEqual(error.reason, reason, error.message)
  return error
}

/** The bytes of a section of an ELF64 object of either byte order. */
export const elfSection = (elf: Uint8Array, name: string): Uint8Array => {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength)
  const little = elf[5] === 1
  const headers = Number(view.getBigUint64(0x28, little))
  const size = view.getUint16(0x3a, little)
  const count = view.getUint16(0x3c, little)
  const place = (index: number): readonly [offset: number, length: number] => [
    Number(view.getBigUint64(headers + index * size + 0x18, little)),
    Number(view.getBigUint64(headers + index * size + 0x20, little))
  ]
  const [names] = place(view.getUint16(0x3e, little))
  for (let index = 0; index < count; index++) {
    const start = names + view.getUint32(headers + index * size, little)
    if (new TextDecoder().decode(elf.subarray(start, elf.indexOf(0, start))) !== name) continue
    const [offset, length] = place(index)
    return elf.slice(offset, offset + length)
  }
  throw new Error(`no section ${name}`)
}
