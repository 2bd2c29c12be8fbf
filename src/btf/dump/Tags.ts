/**
 * The name that a type has in C: its own, with a number from the second use on.
 *
 * Tags of structs, unions and enums are one name space, typedefs and enumerators the other. Forward declarations and
 * enums without values name what is defined elsewhere, so they take the name as it is.
 *
 * Source: reference page `btf-dump`, section D.
 */
import * as Kind from "../BtfKind.ts"
import { countAt, nameAt } from "./Flat.ts"
import { countName } from "./Names.ts"
import { ascii, put, putNumber, putString } from "./Output.ts"
import type { State } from "./State.ts"

/** Names with a number are cut to this many bytes, as in libbpf. */
const NUMBERED_LENGTH = 255

const SEPARATOR = ascii("___")

/** Which use of its name the type is: 1 for the first. The answer is fixed when it is first asked for. */
export const numberOf = (state: State, id: number): number => {
  const known = state.numbers[id] ?? 0
  if (known !== 0) return known
  const { flat } = state
  const name = nameAt(flat, id)
  const kind = flat.kinds[id]
  const bare = name === 0 || kind === Kind.BTF_KIND_FWD || (kind === Kind.BTF_KIND_ENUM && countAt(flat, id) === 0)
  const names = kind === Kind.BTF_KIND_TYPEDEF ? state.identifiers : state.tags
  const number = bare ? 1 : countName(names, name)
  state.numbers[id] = number
  return number
}

/** Writes the name of a type, numbered where it is not the first of this name; nothing for an anonymous one. */
export const putTag = (state: State, id: number): void => {
  const name = nameAt(state.flat, id)
  if (name === 0) return
  const number = numberOf(state, id)
  if (number === 1) putString(state.out, state.flat.strings, name)
  else putNumbered(state, name, number, NUMBERED_LENGTH)
}

/** Writes an enumerator's name, numbered where it is not the first of this name. */
export const putEnumerator = (state: State, name: number): void => {
  const number = countName(state.identifiers, name)
  if (number === 1) putString(state.out, state.flat.strings, name)
  else putNumbered(state, name, number, Number.MAX_SAFE_INTEGER)
}

const putNumbered = (state: State, name: number, number: number, longest: number): void => {
  const { out } = state
  const start = out.length
  putString(out, state.flat.strings, name)
  put(out, SEPARATOR)
  putNumber(out, number)
  if (out.length - start > longest) out.length = start + longest
}
