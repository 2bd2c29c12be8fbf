/**
 * Types as a list of records, as bpftool prints them: text, or JSON with the same fields in the same order.
 *
 * Source: reference page `btf-dump`, sections H.1 and H.2. Unlike bpftool, JSON is always valid: strings are escaped by
 * its rules and made of whole characters, and unsigned values of enums are not extended by their sign.
 */
import * as Kind from "../BtfKind.ts"
import { decodeText } from "../BtfModel.ts"
import type { Flat } from "./Flat.ts"
import { countAt, extraAt, flagAt, nameAt, wordAt } from "./Flat.ts"
import type { Output } from "./Output.ts"
import { ascii, put, putByte, putNumber, putNumber64, putString } from "./Output.ts"

/** How records are written. */
export interface ListSyntax {
  readonly json: boolean
}

/** A field's name in both forms, with what separates it from the one before. */
interface Key {
  readonly text: Uint8Array
  readonly json: Uint8Array
}

const key = (name: string): Key => ({ text: ascii(` ${name}=`), json: ascii(`,"${name}":`) })

/** A word in both forms. */
const word = (text: string): Key => ({ text: ascii(text), json: ascii(`"${text}"`) })

const SIZE = key("size")
const BITS_OFFSET = key("bits_offset")
const NR_BITS = key("nr_bits")
const ENCODING = key("encoding")
const TYPE_ID = key("type_id")
const INDEX_TYPE_ID = key("index_type_id")
const NR_ELEMS = key("nr_elems")
const VLEN = key("vlen")
const BITFIELD_SIZE = key("bitfield_size")
const FWD_KIND = key("fwd_kind")
const LINKAGE = key("linkage")
const RET_TYPE_ID = key("ret_type_id")
const COMPONENT_IDX = key("component_idx")
const OFFSET = key("offset")
const VAL = key("val")
const MEMBERS = ascii(",\"members\":[")
const VALUES = ascii(",\"values\":[")
const PARAMS = ascii(",\"params\":[")
const VARS = ascii(",\"vars\":[")
const NAME = ascii("\"name\":")
const ID = ascii("{\"id\":")
const KIND = ascii(",\"kind\":")
const FIRST_TYPE_ID = ascii("\"type_id\":")
const TYPE_ID_TEXT = ascii("type_id=")
const LL = ascii("LL")
const ULL = ascii("ULL")
const ANON = ascii("(anon)")
const COMMA_NAME = ascii(",\"name\":")

const ENCODINGS: ReadonlyArray<Key> = [word("(none)"), word("SIGNED"), word("CHAR"), word("UNKN"), word("BOOL")]
const UNKNOWN_ENCODING = word("UNKN")
const SIGNED = word("SIGNED")
const UNSIGNED = word("UNSIGNED")
const FORWARDS: readonly [Key, Key] = [word("struct"), word("union")]
const LINKAGES: ReadonlyArray<Key> = [word("static"), word("global"), word("extern")]
const UNKNOWN_LINKAGE = word("(unknown)")
const KINDS: ReadonlyArray<Key> = Array.from(
  { length: Kind.NR_BTF_KINDS },
  (_, kind) => word(kind === 0 ? "UNKNOWN" : Kind.kindName(kind))
)
const UNKNOWN: Key = word("UNKNOWN")

const NEWLINE = 0x0a
const TAB = 0x09
const SPACE = 0x20
const QUOTE = 0x27
const DOUBLE_QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const CLOSE_BRACKET = 0x5d
const OPEN = 0x28
const CLOSE = 0x29

const putKey = (out: Output, json: boolean, name: Key): void => put(out, json ? name.json : name.text)

const putField = (out: Output, json: boolean, name: Key, value: number): void => {
  put(out, json ? name.json : name.text)
  putNumber(out, value)
}

const putWord = (out: Output, json: boolean, name: Key, value: Key): void => {
  putKey(out, json, name)
  putKey(out, json, value)
}

const encoder = new TextEncoder()

/** Writes a string in quotes. */
const putName = (flat: Flat, out: Output, json: boolean, offset: number): void => {
  const quote = json ? DOUBLE_QUOTE : QUOTE
  putByte(out, quote)
  if (offset === 0) put(out, ANON)
  else if (json && !isPlain(flat.strings, offset)) put(out, escaped(flat.strings, offset))
  else putString(out, flat.strings, offset)
  putByte(out, quote)
}

/** Whether the string is ASCII without anything that JSON escapes. */
const isPlain = (strings: Uint8Array, offset: number): boolean => {
  for (let at = offset;; at++) {
    const byte = strings[at] ?? 0
    if (byte === 0) return true
    if (byte < 0x20 || byte >= 0x80 || byte === DOUBLE_QUOTE || byte === BACKSLASH) return false
  }
}

const escaped = (strings: Uint8Array, offset: number): Uint8Array =>
  encoder.encode(JSON.stringify(decodeText(strings, offset, strings.length)).slice(1, -1))

/** Writes the record of type `id`: in text a line with a newline, in JSON an object. */
export const listType = (flat: Flat, out: Output, { json }: ListSyntax, id: number): void => {
  const kind = flat.kinds[id] ?? 0
  if (json) {
    put(out, ID)
    putNumber(out, id)
    put(out, KIND)
    put(out, (KINDS[kind] ?? UNKNOWN).json)
    put(out, COMMA_NAME)
  } else {
    putByte(out, 0x5b)
    putNumber(out, id)
    putByte(out, CLOSE_BRACKET)
    putByte(out, SPACE)
    put(out, (KINDS[kind] ?? UNKNOWN).text)
    putByte(out, SPACE)
  }
  putName(flat, out, json, nameAt(flat, id))
  putContent(flat, out, json, id, kind)
  putByte(out, json ? CLOSE_BRACE : NEWLINE)
}

const putContent = (flat: Flat, out: Output, json: boolean, id: number, kind: number): void => {
  const value = wordAt(flat, id)
  switch (kind) {
    case Kind.BTF_KIND_INT: {
      const data = extraAt(flat, id, 0)
      putField(out, json, SIZE, value)
      putField(out, json, BITS_OFFSET, (data >>> 16) & 0xff)
      putField(out, json, NR_BITS, data & 0xff)
      putWord(out, json, ENCODING, ENCODINGS[(data >>> 24) & 0xf] ?? UNKNOWN_ENCODING)
      break
    }
    case Kind.BTF_KIND_PTR:
    case Kind.BTF_KIND_TYPEDEF:
    case Kind.BTF_KIND_VOLATILE:
    case Kind.BTF_KIND_CONST:
    case Kind.BTF_KIND_RESTRICT:
    case Kind.BTF_KIND_TYPE_TAG:
      putField(out, json, TYPE_ID, value)
      break
    case Kind.BTF_KIND_ARRAY:
      putField(out, json, TYPE_ID, extraAt(flat, id, 0))
      putField(out, json, INDEX_TYPE_ID, extraAt(flat, id, 1))
      putField(out, json, NR_ELEMS, extraAt(flat, id, 2))
      break
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      putMembers(flat, out, json, id)
      break
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64:
      putWord(out, json, ENCODING, flagAt(flat, id) ? SIGNED : UNSIGNED)
      putValues(flat, out, json, id, kind === Kind.BTF_KIND_ENUM64)
      break
    case Kind.BTF_KIND_FWD:
      putWord(out, json, FWD_KIND, FORWARDS[flagAt(flat, id) ? 1 : 0])
      break
    case Kind.BTF_KIND_FUNC:
      putField(out, json, TYPE_ID, value)
      putWord(out, json, LINKAGE, LINKAGES[countAt(flat, id)] ?? UNKNOWN_LINKAGE)
      break
    case Kind.BTF_KIND_FUNC_PROTO:
      putParams(flat, out, json, id)
      break
    case Kind.BTF_KIND_VAR:
      putField(out, json, TYPE_ID, value)
      if (!json) putByte(out, COMMA)
      putWord(out, json, LINKAGE, LINKAGES[extraAt(flat, id, 0)] ?? UNKNOWN_LINKAGE)
      break
    case Kind.BTF_KIND_DATASEC:
      putVars(flat, out, json, id)
      break
    case Kind.BTF_KIND_FLOAT:
      putField(out, json, SIZE, value)
      break
    case Kind.BTF_KIND_DECL_TAG:
      putField(out, json, TYPE_ID, value)
      putField(out, json, COMPONENT_IDX, extraAt(flat, id, 0) | 0)
      break
    default:
      break
  }
}

/** Begins an element with a name: in text a line of its own, in JSON an object. */
const beginElement = (flat: Flat, out: Output, json: boolean, index: number, name: number): void => {
  if (json) {
    if (index > 0) putByte(out, COMMA)
    putByte(out, OPEN_BRACE)
    put(out, NAME)
  } else {
    putByte(out, NEWLINE)
    putByte(out, TAB)
  }
  putName(flat, out, json, name)
}

const putMembers = (flat: Flat, out: Output, json: boolean, id: number): void => {
  const count = countAt(flat, id)
  const flagged = flagAt(flat, id)
  putField(out, json, SIZE, wordAt(flat, id))
  putField(out, json, VLEN, count)
  if (json) put(out, MEMBERS)
  for (let index = 0; index < count; index++) {
    beginElement(flat, out, json, index, extraAt(flat, id, index * 3))
    putField(out, json, TYPE_ID, extraAt(flat, id, index * 3 + 1))
    const offset = extraAt(flat, id, index * 3 + 2)
    putField(out, json, BITS_OFFSET, flagged ? offset & 0xff_ffff : offset)
    if (flagged && offset >>> 24 !== 0) putField(out, json, BITFIELD_SIZE, offset >>> 24)
    if (json) putByte(out, CLOSE_BRACE)
  }
  if (json) putByte(out, CLOSE_BRACKET)
}

const putValues = (flat: Flat, out: Output, json: boolean, id: number, wide: boolean): void => {
  const count = countAt(flat, id)
  const signed = flagAt(flat, id)
  putField(out, json, SIZE, wordAt(flat, id))
  putField(out, json, VLEN, count)
  if (json) put(out, VALUES)
  for (let index = 0, at = 0; index < count; index++, at += wide ? 3 : 2) {
    beginElement(flat, out, json, index, extraAt(flat, id, at))
    const low = extraAt(flat, id, at + 1)
    putKey(out, json, VAL)
    if (wide) {
      putNumber64(out, low, extraAt(flat, id, at + 2), signed)
      if (!json) put(out, signed ? LL : ULL)
    } else {
      putNumber(out, signed ? low | 0 : low)
    }
    if (json) putByte(out, CLOSE_BRACE)
  }
  if (json) putByte(out, CLOSE_BRACKET)
}

const putParams = (flat: Flat, out: Output, json: boolean, id: number): void => {
  const count = countAt(flat, id)
  putField(out, json, RET_TYPE_ID, wordAt(flat, id))
  putField(out, json, VLEN, count)
  if (json) put(out, PARAMS)
  for (let index = 0; index < count; index++) {
    beginElement(flat, out, json, index, extraAt(flat, id, index * 2))
    putField(out, json, TYPE_ID, extraAt(flat, id, index * 2 + 1))
    if (json) putByte(out, CLOSE_BRACE)
  }
  if (json) putByte(out, CLOSE_BRACKET)
}

/** Entries have no name; in text the variable's follows in parentheses. */
const putVars = (flat: Flat, out: Output, json: boolean, id: number): void => {
  const count = countAt(flat, id)
  putField(out, json, SIZE, wordAt(flat, id))
  putField(out, json, VLEN, count)
  if (json) put(out, VARS)
  for (let index = 0; index < count; index++) {
    const type = extraAt(flat, id, index * 3)
    if (json) {
      if (index > 0) putByte(out, COMMA)
      putByte(out, OPEN_BRACE)
      put(out, FIRST_TYPE_ID)
    } else {
      putByte(out, NEWLINE)
      putByte(out, TAB)
      put(out, TYPE_ID_TEXT)
    }
    putNumber(out, type)
    putField(out, json, OFFSET, extraAt(flat, id, index * 3 + 1))
    putField(out, json, SIZE, extraAt(flat, id, index * 3 + 2))
    if (json) {
      putByte(out, CLOSE_BRACE)
    } else {
      putByte(out, SPACE)
      putByte(out, OPEN)
      put(out, (KINDS[flat.kinds[type] ?? 0] ?? UNKNOWN).text)
      putByte(out, SPACE)
      putName(flat, out, false, nameAt(flat, type))
      putByte(out, CLOSE)
    }
  }
  if (json) putByte(out, CLOSE_BRACKET)
}
