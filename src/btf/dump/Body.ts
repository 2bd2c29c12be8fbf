/**
 * Bodies of structs and unions.
 *
 * Source: reference page `btf-dump`, section E.
 */
import { fail } from "../BtfError.ts"
import * as Kind from "../BtfKind.ts"
import { openDeclaration, writeDeclarator, writeSimple } from "./Declarator.ts"
import { putReference } from "./Enum.ts"
import { countAt, extraAt, flagAt, wordAt } from "./Flat.ts"
import * as Frames from "./Frames.ts"
import { alignmentOf, isPacked, sizeOf } from "./Layout.ts"
import { ascii, put, putByte, putNumber, putTabs } from "./Output.ts"
import { pad } from "./Padding.ts"
import type { State } from "./State.ts"

const { BODY, BODY_BITFIELD, BODY_END, BODY_LEVEL, BODY_NEXT, BODY_PACKED, BODY_TYPE, FRAME, MAX_TABS, pushFrame } =
  Frames

const OPEN_BRACE = ascii(" {")
const PACKED = ascii(" __attribute__((packed))")
const BITS = ascii(": ")
const NEWLINE = 0x0a
const SEMICOLON = 0x3b
const CLOSE_BRACE = 0x7d

/** Writes the head of a definition and pushes its frame. */
export const openBody = (state: State, id: number, level: number): void => {
  const { flat, frames, out } = state
  if (state.open[id] === 1) fail("Cycle", "the type contains itself", { typeId: id })
  state.open[id] = 1
  putReference(state, id)
  put(out, OPEN_BRACE)
  const frame = pushFrame(state, BODY)
  frames[frame + BODY_TYPE] = id
  frames[frame + BODY_NEXT] = 0
  frames[frame + BODY_END] = 0
  frames[frame + BODY_LEVEL] = level
  frames[frame + BODY_PACKED] = flat.kinds[id] === Kind.BTF_KIND_STRUCT && isPacked(state, id) ? 1 : 0
  frames[frame + BODY_BITFIELD] = 0
}

/** Writes members until one has a body or parameters of its own, or the definition is complete. */
export const writeMembers = (state: State, frame: number): void => {
  const { flat, frames, out, pointerSize } = state
  const id = frames[frame + BODY_TYPE] ?? 0
  const level = frames[frame + BODY_LEVEL] ?? 0
  const packed = frames[frame + BODY_PACKED] === 1
  const isStruct = flat.kinds[id] === Kind.BTF_KIND_STRUCT
  const flagged = flagAt(flat, id)
  const count = countAt(flat, id)
  const inner = level + 1
  let end = frames[frame + BODY_END] ?? 0
  let bitfield = frames[frame + BODY_BITFIELD] === 1
  let next = frames[frame + BODY_NEXT] ?? 0
  // A member whose declaration was left to a frame above this one is complete but for its end.
  let pending = next > 0
  for (;;) {
    if (pending) {
      const type = extraAt(flat, id, next * 3 - 2)
      const offset = extraAt(flat, id, next * 3 - 1)
      const bits = flagged ? offset >>> 24 : 0
      end = flagged ? offset & 0xff_ffff : offset
      bitfield = bits !== 0
      if (bitfield) {
        put(out, BITS)
        putNumber(out, bits)
        end += bits
      } else {
        end += sizeOf(state, type) * 8
      }
      putByte(out, SEMICOLON)
    }
    if (next === count) break
    const type = extraAt(flat, id, next * 3 + 1)
    const offset = extraAt(flat, id, next * 3 + 2)
    const start = flagged ? offset & 0xff_ffff : offset
    if (end < start) {
      const alignment = packed ? 1 : alignmentOf(state, type)
      pad(out, pointerSize, end, start, alignment, bitfield && flagged && offset >>> 24 !== 0, inner)
    }
    putByte(out, NEWLINE)
    putTabs(out, inner < MAX_TABS ? inner : MAX_TABS)
    const name = extraAt(flat, id, next * 3)
    next++
    pending = true
    if (writeSimple(state, type, name)) continue
    openDeclaration(state, type, name, inner)
    const body = writeDeclarator(state, frame + FRAME)
    if (body !== 0) openBody(state, body, inner)
    if (state.depth !== frame + FRAME) {
      frames[frame + BODY_NEXT] = next
      frames[frame + BODY_END] = end
      frames[frame + BODY_BITFIELD] = bitfield ? 1 : 0
      return
    }
  }
  const size = wordAt(flat, id)
  if (isStruct) pad(out, pointerSize, end, size * 8, alignmentOf(state, id), false, inner)
  if (count > 0 || size > 0) {
    putByte(out, NEWLINE)
    putTabs(out, level < MAX_TABS ? level : MAX_TABS)
  }
  putByte(out, CLOSE_BRACE)
  if (packed) put(out, PACKED)
  state.open[id] = 0
  state.depth = frame
}
