/**
 * Enums, and types that are named by keyword and tag.
 *
 * Source: reference page `btf-dump`, section E.
 */
import * as Kind from "../BtfKind.ts"
import { countAt, extraAt, flagAt, nameAt, wordAt } from "./Flat.ts"
import { MAX_TABS } from "./Frames.ts"
import { ascii, put, putByte, putNumber, putNumber64, putTabs } from "./Output.ts"
import type { State } from "./State.ts"
import { putEnumerator, putTag } from "./Tags.ts"

const STRUCT = ascii("struct")
const UNION = ascii("union")
const ENUM = ascii("enum")
const OPEN_BRACE = ascii(" {")
const MODE_BYTE = ascii(" __attribute__((mode(byte)))")
const MODE_HALF = ascii(" __attribute__((mode(HI)))")
const MODE_WORD = ascii(" __attribute__((mode(word)))")
const IS = ascii(" = ")
const LL = ascii("LL,")
const ULL = ascii("ULL,")
const NEWLINE = 0x0a
const SPACE = 0x20
const COMMA = 0x2c
const CLOSE_BRACE = 0x7d

/** Writes the definition of enum `id`, without a semicolon. One without values is only named. */
export const defineEnum = (state: State, id: number, level: number): void => {
  const { flat, out } = state
  putReference(state, id)
  const count = countAt(flat, id)
  if (count === 0) return
  const signed = flagAt(flat, id)
  const wide = flat.kinds[id] === Kind.BTF_KIND_ENUM64
  const size = wordAt(flat, id)
  let fits = true
  put(out, OPEN_BRACE)
  for (let index = 0, at = 0; index < count; index++, at += wide ? 3 : 2) {
    putByte(out, NEWLINE)
    putTabs(out, Math.min(level + 1, MAX_TABS))
    putEnumerator(state, extraAt(flat, id, at))
    put(out, IS)
    const low = extraAt(flat, id, at + 1)
    if (wide) {
      const high = extraAt(flat, id, at + 2)
      if (high !== 0) fits = false
      putNumber64(out, low, high, signed)
      put(out, signed ? LL : ULL)
    } else {
      putNumber(out, signed ? low | 0 : low)
      putByte(out, COMMA)
    }
  }
  putByte(out, NEWLINE)
  putTabs(out, Math.min(level, MAX_TABS))
  putByte(out, CLOSE_BRACE)
  if (size === 1) put(out, MODE_BYTE)
  // libbpf says nothing here, and its enum has four bytes.
  else if (size === 2) put(out, MODE_HALF)
  else if (size === 8 && state.pointerSize === 8 && fits) put(out, MODE_WORD)
}

/** Writes a struct, union or enum by its keyword and tag. */
export const putReference = (state: State, id: number): void => {
  const { flat, out } = state
  switch (flat.kinds[id]) {
    case Kind.BTF_KIND_STRUCT:
      put(out, STRUCT)
      break
    case Kind.BTF_KIND_UNION:
      put(out, UNION)
      break
    case Kind.BTF_KIND_FWD:
      put(out, flagAt(flat, id) ? UNION : STRUCT)
      break
    default:
      put(out, ENUM)
  }
  // libbpf takes for granted that a forward declaration has a name.
  if (nameAt(flat, id) === 0 && flat.kinds[id] !== Kind.BTF_KIND_FWD) return
  putByte(out, SPACE)
  putTag(state, id)
}
