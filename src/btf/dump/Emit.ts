/**
 * Writes a queued definition after the forward declarations that it needs.
 *
 * A definition may point to types that are not defined yet. The walk goes through all that the definition spells and
 * declares the named structs and unions among it; typedefs are written before their first use. It keeps its own stack.
 *
 * Source: reference page `btf-dump`, section C.
 */
import { fail } from "../BtfError.ts"
import * as Kind from "../BtfKind.ts"
import { defineComposite, defineTypedef } from "./Declare.ts"
import { defineEnum } from "./Enum.ts"
import { countAt, extraAt, flagAt, nameAt, wordAt } from "./Flat.ts"
import { ascii, put, putString } from "./Output.ts"
import type { State } from "./State.ts"
import { step } from "./State.ts"
import { numberOf, putTag } from "./Tags.ts"

/** The walk is inside the type. */
const INSIDE = 1
/** Nothing is left to write for the type. */
const DONE = 2
/** It was declared: a struct or union by its tag, a typedef by its definition. */
const DECLARED = 4

/** Entries of a frame in `state.walk`: type, the definition that it is part of or 0, next child. */
const FRAME = 3

const STRUCT_ = ascii("struct ")
const UNION_ = ascii("union ")
const END = ascii(";\n\n")

/** Integers that compilers have and C has no name for; their BTF needs a typedef of them. */
const ALIASES: ReadonlyArray<readonly [name: Uint8Array, declaration: Uint8Array]> = [
  ["__Poly8_t", "unsigned char"],
  ["__Poly16_t", "unsigned short"],
  ["__Poly64_t", "unsigned long long"],
  ["__Poly128_t", "unsigned __int128"]
].map(([name = "", type]) => [ascii(name), ascii(`typedef ${type} ${name};\n\n`)])

/** A compiler knows this type by itself and refuses another definition. */
const BUILTIN = ascii("__builtin_va_list")

/** Writes the definition of `id`, if it is not written yet, and before it what it needs. */
export const emit = (state: State, id: number): void => {
  const { walk } = state
  let top = enter(state, id, 0, 0)
  while (top > 0) {
    const frame = top - FRAME
    const current = walk[frame] ?? 0
    const child = childOf(state, current, walk[frame + 2] ?? 0)
    if (child < 0) {
      leave(state, current, walk[frame + 1] ?? 0)
      top = frame
      continue
    }
    walk[frame + 2] = (walk[frame + 2] ?? 0) + 1
    top = enter(state, child, insideOf(state, current, walk[frame + 1] ?? 0), top)
  }
}

/** The definition that the children of a type are part of. */
const insideOf = (state: State, id: number, container: number): number => {
  const kind = state.flat.kinds[id]
  if (kind === Kind.BTF_KIND_TYPEDEF) return id
  return kind === Kind.BTF_KIND_FUNC_PROTO || nameAt(state.flat, id) === 0 ? container : id
}

/** The `index`th type that the type spells; -1 past the last. */
const childOf = (state: State, id: number, index: number): number => {
  const { flat } = state
  switch (flat.kinds[id]) {
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      return index < countAt(flat, id) ? extraAt(flat, id, index * 3 + 1) : -1
    case Kind.BTF_KIND_FUNC_PROTO:
      if (index === 0) return wordAt(flat, id)
      return index <= countAt(flat, id) ? extraAt(flat, id, index * 2 - 1) : -1
    default:
      return index === 0 ? wordAt(flat, id) : -1
  }
}

/** Goes to the type, pushing a frame at `top` if it has children to visit; answers the new top. */
const enter = (state: State, id: number, container: number, top: number): number => {
  const { emit: states, flat, out, walk } = state
  let current = id
  for (let hops = 0;; hops++) {
    step(state, 1)
    if (current === 0) return top
    const known = states[current] ?? 0
    if ((known & DONE) !== 0) return top
    if ((known & INSIDE) !== 0) {
      declareOpen(state, current, container, known)
      return top
    }
    switch (flat.kinds[current]) {
      case Kind.BTF_KIND_INT:
        writeAlias(state, current)
        states[current] = known | DONE
        return top
      case Kind.BTF_KIND_ENUM:
      case Kind.BTF_KIND_ENUM64:
        if (container === 0) {
          defineEnum(state, current, 0)
          put(out, END)
        }
        states[current] = known | DONE
        return top
      case Kind.BTF_KIND_FWD:
        put(out, flagAt(flat, current) ? UNION_ : STRUCT_)
        putString(out, flat.strings, nameAt(flat, current))
        put(out, END)
        states[current] = known | DONE
        return top
      case Kind.BTF_KIND_PTR:
      case Kind.BTF_KIND_VOLATILE:
      case Kind.BTF_KIND_CONST:
      case Kind.BTF_KIND_RESTRICT:
      case Kind.BTF_KIND_TYPE_TAG:
        current = wordAt(flat, current)
        break
      case Kind.BTF_KIND_ARRAY:
        current = extraAt(flat, current, 0)
        break
      case Kind.BTF_KIND_STRUCT:
      case Kind.BTF_KIND_UNION:
        if (container !== 0 && nameAt(flat, current) !== 0) {
          if ((known & DECLARED) === 0 && current !== container) declareTag(state, current)
          return top
        }
        states[current] = known | INSIDE
        return push(walk, top, current, container)
      case Kind.BTF_KIND_TYPEDEF:
        states[current] = known | INSIDE
        return push(walk, top, current, container)
      case Kind.BTF_KIND_FUNC_PROTO:
        // It has no state of its own: the order pass excludes prototypes that spell themselves.
        if (top > FRAME * flat.endId) fail("Cycle", "the type spells itself", { typeId: current })
        return push(walk, top, current, container)
      default:
        return top
    }
    if (hops > flat.endId) fail("Cycle", "the type spells itself", { typeId: current })
  }
}

const push = (walk: Array<number>, top: number, id: number, container: number): number => {
  walk[top] = id
  walk[top + 1] = container
  walk[top + 2] = 0
  return top + FRAME
}

/** A type on the walk's stack was met again: what meets it must know its name. */
const declareOpen = (state: State, id: number, container: number, known: number): void => {
  if ((known & DECLARED) !== 0) return
  if (state.flat.kinds[id] === Kind.BTF_KIND_TYPEDEF) {
    writeTypedef(state, id)
    state.emit[id] = known | DECLARED
  } else if (id !== container) {
    if (nameAt(state.flat, id) === 0) fail("Cycle", "the type has no name and contains itself", { typeId: id })
    declareTag(state, id)
  }
}

const declareTag = (state: State, id: number): void => {
  const { flat, out } = state
  put(out, flat.kinds[id] === Kind.BTF_KIND_STRUCT ? STRUCT_ : UNION_)
  putTag(state, id)
  put(out, END)
  state.emit[id] = (state.emit[id] ?? 0) | DECLARED
}

/** Ends the visit of a type: what is to be written for it is written now. */
const leave = (state: State, id: number, container: number): void => {
  const { emit: states, flat, out } = state
  const known = (states[id] ?? 0) & ~INSIDE
  switch (flat.kinds[id]) {
    case Kind.BTF_KIND_TYPEDEF:
      if ((known & DECLARED) === 0) writeTypedef(state, id)
      states[id] = known | DONE
      break
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      states[id] = known
      if (container === 0) {
        states[id] = known | DONE
        if (defineComposite(state, id)) put(out, END)
      }
      break
    default:
      break
  }
}

const writeTypedef = (state: State, id: number): void => {
  const { flat, out } = state
  if (isNamed(flat.strings, nameAt(flat, id), BUILTIN)) return
  if (defineTypedef(state, id)) put(out, END)
}

/** Asks for the number of the integer's name, which thereby takes the tag; so does libbpf. */
const writeAlias = (state: State, id: number): void => {
  const { flat, out } = state
  const name = nameAt(flat, id)
  if (name === 0) return
  const number = numberOf(state, id)
  if (number > 1) return
  for (const [alias, declaration] of ALIASES) {
    if (isNamed(flat.strings, name, alias)) put(out, declaration)
  }
}

/** Whether the string at `offset` is `text`. */
const isNamed = (strings: Uint8Array, offset: number, text: Uint8Array): boolean => {
  for (let index = 0; index < text.length; index++) {
    if (strings[offset + index] !== text[index]) return false
  }
  return strings[offset + text.length] === 0
}
