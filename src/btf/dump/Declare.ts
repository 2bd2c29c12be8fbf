/**
 * Writes declarations and definitions: the text of C for one type, with all that has no name spelled in place.
 *
 * The body of an anonymous struct has declarations for its members, and a prototype has them for its parameters. Both
 * nest as deep as the blob says, so what is being written is a stack of frames.
 *
 * Source: reference page `btf-dump`, sections C, E and F.
 */
import * as Result from "effect/Result"
import { attempt } from "../../internal/attempt.ts"
import { btfError, isBtfError } from "../BtfError.ts"
import { openBody, writeMembers } from "./Body.ts"
import { openDeclaration, writeDeclarator, writeSuffixes } from "./Declarator.ts"
import { nameAt, wordAt } from "./Flat.ts"
import { BODY, DECLARATOR, FRAME, LEVEL, nameOfType, resetFrames, WHAT } from "./Frames.ts"
import { ascii, put } from "./Output.ts"
import type { State } from "./State.ts"
import { numberOf } from "./Tags.ts"

const TYPEDEF_ = ascii("typedef ")
const VA_LIST = ascii("typedef __builtin_va_list __gnuc_va_list")
const GNUC_VA_LIST = ascii("__gnuc_va_list\0")

/** Writes the definition of struct or union `id`, without a semicolon; answers whether it could be written. */
export const defineComposite = (state: State, id: number): boolean =>
  guarded(state, id, () => {
    openBody(state, id, 0)
    run(state)
  })

/** Writes typedef `id`, without a semicolon; answers whether it could be written. */
export const defineTypedef = (state: State, id: number): boolean =>
  guarded(state, id, () => {
    const { flat, out } = state
    const target = wordAt(flat, id)
    // The name takes its number before the enumerators of what it names take theirs.
    numberOf(state, id)
    if (target === 0 && isGnucVaList(flat.strings, nameAt(flat, id))) {
      put(out, VA_LIST)
      return
    }
    put(out, TYPEDEF_)
    openDeclaration(state, target, nameOfType(id), 0)
    run(state)
  })

const isGnucVaList = (strings: Uint8Array, offset: number): boolean => {
  for (let index = 0; index < GNUC_VA_LIST.length; index++) {
    if (strings[offset + index] !== GNUC_VA_LIST[index]) return false
  }
  return true
}

/** Writes a declaration of something named `name` (a string offset or `GIVEN_NAME`) of type `id`; it may throw. */
export const declare = (state: State, id: number, name: number, level: number): void => {
  openDeclaration(state, id, name, level)
  run(state)
}

/** Runs `body`; if it fails, what it wrote is taken back and the problem noted, unless all is at an end anyway. */
const guarded = (state: State, id: number, body: () => void): boolean => {
  const { out } = state
  const start = out.length
  const done = attempt(isBtfError, body)
  if (Result.isSuccess(done)) return true
  const { reason, detail } = done.failure
  resetFrames(state)
  if (reason === "TooComplex") throw done.failure
  out.length = start
  state.problems.push(btfError(reason, detail, { typeId: id }))
  return false
}

/** Continues the innermost frame until none is left. */
const run = (state: State): void => {
  while (state.depth > 0) {
    const frame = state.depth - FRAME
    const what = state.frames[frame + WHAT]
    if (what === BODY) {
      writeMembers(state, frame)
    } else if (what === DECLARATOR) {
      const body = writeDeclarator(state, frame)
      if (body !== 0) openBody(state, body, state.frames[frame + LEVEL] ?? 0)
    } else {
      writeSuffixes(state, frame)
    }
  }
}
