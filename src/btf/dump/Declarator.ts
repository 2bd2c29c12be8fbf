/**
 * Declarations: a name with the types around it.
 *
 * A declaration is a chain of types from the outside in, and it is written from the inside out: what the chain ends in,
 * then pointers and qualifiers, then the name, then what C puts after a name, outermost first.
 *
 * Source: reference page `btf-dump`, section F.
 */
import { fail } from "../BtfError.ts"
import * as Kind from "../BtfKind.ts"
import { defineEnum, putReference } from "./Enum.ts"
import { countAt, extraAt, flagAt, nameAt, wordAt } from "./Flat.ts"
import {
  AFTER_POINTER,
  AT,
  BASE,
  DECLARATOR,
  GIVEN_NAME,
  LEVEL,
  NAME,
  PARAMETER,
  pushFrame,
  SUFFIX,
  SUFFIXES,
  TOP,
  WHAT
} from "./Frames.ts"
import { ascii, put, putByte, putNumber, putString } from "./Output.ts"
import type { State } from "./State.ts"
import { step } from "./State.ts"
import { putTag } from "./Tags.ts"

const VOID = ascii("void")
const CONST_ = ascii("const ")
const VOLATILE_ = ascii("volatile ")
const RESTRICT_ = ascii("restrict ")
const AFTER_CONST = ascii(" const")
const AFTER_VOLATILE = ascii(" volatile")
const AFTER_RESTRICT = ascii(" restrict")
const TYPE_TAG = ascii(" __attribute__((btf_type_tag(\"")
const TYPE_TAG_END = ascii("\")))")
const ATTRIBUTE = ascii(" __attribute__((")
const ATTRIBUTE_END = ascii("))")
const NO_PARAMETERS = ascii("(void)")
const ELLIPSIS = ascii("...")
const COMMA_ = ascii(", ")
/** More pointers in a row than this are no simple declaration. */
const SIMPLE_POINTERS = 8

const SPACE = 0x20
const ASTERISK = 0x2a
const OPEN = 0x28
const CLOSE = 0x29
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

const isModifier = (kind: number | undefined): boolean =>
  kind === Kind.BTF_KIND_CONST || kind === Kind.BTF_KIND_VOLATILE || kind === Kind.BTF_KIND_RESTRICT
  || kind === Kind.BTF_KIND_TYPE_TAG

/** Collects the chain of a declaration and pushes its frame. */
export const openDeclaration = (state: State, id: number, name: number, level: number): void => {
  const { chain, flat, frames } = state
  const base = state.chainEnd
  let top = base
  let current = id
  for (let open = true; open;) {
    const kind = flat.kinds[current] ?? 0
    if (!(state.stripModifiers && isModifier(kind))) chain[top++] = current
    switch (kind) {
      case Kind.BTF_KIND_PTR:
      case Kind.BTF_KIND_VOLATILE:
      case Kind.BTF_KIND_CONST:
      case Kind.BTF_KIND_RESTRICT:
      case Kind.BTF_KIND_TYPE_TAG:
      case Kind.BTF_KIND_FUNC_PROTO:
        current = wordAt(flat, current)
        break
      case Kind.BTF_KIND_ARRAY:
        current = extraAt(flat, current, 0)
        break
      case 0:
      case Kind.BTF_KIND_INT:
      case Kind.BTF_KIND_FLOAT:
      case Kind.BTF_KIND_STRUCT:
      case Kind.BTF_KIND_UNION:
      case Kind.BTF_KIND_ENUM:
      case Kind.BTF_KIND_ENUM64:
      case Kind.BTF_KIND_FWD:
      case Kind.BTF_KIND_TYPEDEF:
        open = false
        break
      default:
        fail("WrongKind", `C cannot declare something of type ${current}, a ${Kind.kindName(kind)}`)
    }
    step(state, 1)
    if (top - base > flat.endId) fail("Cycle", `type ${id} leads back to itself`)
  }
  state.chainEnd = top
  const frame = pushFrame(state, DECLARATOR)
  frames[frame + BASE] = base
  frames[frame + AT] = top
  frames[frame + SUFFIX] = top
  frames[frame + TOP] = top
  frames[frame + NAME] = name
  frames[frame + LEVEL] = level
  frames[frame + AFTER_POINTER] = 1
  frames[frame + PARAMETER] = 0
}

/** Drops the qualifiers and tags that directly wrap what was written; answers the new `AT`. */
const dropModifiers = (state: State, base: number, at: number): number => {
  const { chain, flat } = state
  let left = at
  while (left > base && isModifier(flat.kinds[chain[left - 1] ?? 0])) left--
  return left
}

/** Writes the qualifiers that directly wrap a type, in front of it; answers the new `AT`. */
const writeQualifiers = (state: State, base: number, at: number): number => {
  const { chain, flat, out } = state
  let left = at
  for (; left > base; left--) {
    const kind = flat.kinds[chain[left - 1] ?? 0]
    if (kind === Kind.BTF_KIND_CONST) put(out, CONST_)
    else if (kind === Kind.BTF_KIND_VOLATILE) put(out, VOLATILE_)
    else if (kind === Kind.BTF_KIND_RESTRICT) put(out, RESTRICT_)
    else break
  }
  return left
}

const isEmptyName = (state: State, name: number): boolean => {
  if (name >= 0) return (state.flat.strings[name] ?? 0) === 0
  if (name === GIVEN_NAME) return state.givenName.length === 0
  return (state.flat.strings[nameAt(state.flat, -1 - name)] ?? 0) === 0
}

const writeName = (state: State, name: number, afterPointer: boolean): void => {
  if (isEmptyName(state, name)) return
  const { out } = state
  if (!afterPointer) putByte(out, SPACE)
  if (name >= 0) putString(out, state.flat.strings, name)
  else if (name === GIVEN_NAME) put(out, state.givenName)
  else putTag(state, -1 - name)
}

/**
 * Writes a declaration that is only a name, or pointers to one, perhaps constant: what nearly all are. Answers false,
 * and has written nothing, for all others.
 */
export const writeSimple = (state: State, id: number, name: number): boolean => {
  const { flat, out } = state
  let target = id
  let pointers = 0
  while (flat.kinds[target] === Kind.BTF_KIND_PTR && pointers < SIMPLE_POINTERS) {
    target = wordAt(flat, target)
    pointers++
  }
  const constant = flat.kinds[target] === Kind.BTF_KIND_CONST
  if (constant) target = wordAt(flat, target)
  if (constant && state.stripModifiers) return false
  const tag = nameAt(flat, target)
  switch (flat.kinds[target]) {
    case Kind.BTF_KIND_INT:
    case Kind.BTF_KIND_FLOAT:
      if (constant) put(out, CONST_)
      putString(out, flat.strings, tag)
      break
    case Kind.BTF_KIND_TYPEDEF:
      if (constant) put(out, CONST_)
      putTag(state, target)
      break
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64:
    case Kind.BTF_KIND_FWD:
      if (tag === 0) return false
      if (constant) put(out, CONST_)
      putReference(state, target)
      break
    case 0:
      if (constant) put(out, CONST_)
      put(out, VOID)
      break
    default:
      return false
  }
  if (pointers === 0) {
    writeName(state, name, false)
    return true
  }
  putByte(out, SPACE)
  for (let left = pointers; left > 0; left--) putByte(out, ASTERISK)
  writeName(state, name, true)
  return true
}

/**
 * Writes a declaration from the end of its chain on. Answers the struct or union whose body must be written before it
 * can go on, or 0; a declaration that has parameters leaves its frame, one that is complete removes it.
 */
export const writeDeclarator = (state: State, frame: number): number => {
  const { chain, flat, frames, out } = state
  const base = frames[frame + BASE] ?? 0
  const name = frames[frame + NAME] ?? 0
  let at = frames[frame + AT] ?? 0
  let suffix = frames[frame + SUFFIX] ?? 0
  let afterPointer = frames[frame + AFTER_POINTER] === 1
  let named = false
  while (at > base) {
    const id = chain[--at] ?? 0
    const kind = flat.kinds[id] ?? 0
    switch (kind) {
      case 0:
        at = writeQualifiers(state, base, at)
        put(out, VOID)
        break
      case Kind.BTF_KIND_INT:
      case Kind.BTF_KIND_FLOAT:
        at = writeQualifiers(state, base, at)
        putString(out, flat.strings, nameAt(flat, id))
        break
      case Kind.BTF_KIND_STRUCT:
      case Kind.BTF_KIND_UNION:
        at = writeQualifiers(state, base, at)
        if (nameAt(flat, id) === 0 && !state.omitBodies) {
          frames[frame + AT] = at
          frames[frame + SUFFIX] = suffix
          frames[frame + AFTER_POINTER] = 0
          return id
        }
        putReference(state, id)
        break
      case Kind.BTF_KIND_ENUM:
      case Kind.BTF_KIND_ENUM64:
        at = writeQualifiers(state, base, at)
        if (nameAt(flat, id) === 0 && !state.omitBodies) defineEnum(state, id, frames[frame + LEVEL] ?? 0)
        else putReference(state, id)
        break
      case Kind.BTF_KIND_FWD:
        at = writeQualifiers(state, base, at)
        putReference(state, id)
        break
      case Kind.BTF_KIND_TYPEDEF:
        at = writeQualifiers(state, base, at)
        putTag(state, id)
        break
      case Kind.BTF_KIND_PTR:
        if (!afterPointer) putByte(out, SPACE)
        putByte(out, ASTERISK)
        break
      case Kind.BTF_KIND_CONST:
        put(out, AFTER_CONST)
        break
      case Kind.BTF_KIND_VOLATILE:
        put(out, AFTER_VOLATILE)
        break
      case Kind.BTF_KIND_RESTRICT:
        put(out, AFTER_RESTRICT)
        break
      case Kind.BTF_KIND_TYPE_TAG:
        at = writeQualifiers(state, base, at)
        put(out, flagAt(flat, id) ? ATTRIBUTE : TYPE_TAG)
        putString(out, flat.strings, nameAt(flat, id))
        put(out, flagAt(flat, id) ? ATTRIBUTE_END : TYPE_TAG_END)
        break
      default: {
        // An array or a prototype. What is left of the chain goes before its suffix, in parentheses unless it is an
        // array of arrays. Compilers put qualifiers here that mean nothing.
        at = dropModifiers(state, base, at)
        const array = kind === Kind.BTF_KIND_ARRAY
        let closing = 0
        if (at === base) {
          writeName(state, name, afterPointer)
          named = true
        } else if (array) {
          if (!afterPointer && !isEmptyName(state, name)) putByte(out, SPACE)
          if (flat.kinds[chain[at - 1] ?? 0] !== Kind.BTF_KIND_ARRAY) {
            putByte(out, OPEN)
            closing = 1
          }
        } else {
          putByte(out, SPACE)
          putByte(out, OPEN)
          closing = 1
        }
        chain[--suffix] = id * 2 + closing
        afterPointer = true
        continue
      }
    }
    afterPointer = kind === Kind.BTF_KIND_PTR
  }
  if (!named) writeName(state, name, afterPointer)
  frames[frame + AT] = at
  frames[frame + SUFFIX] = suffix
  writeSuffixes(state, frame)
  return 0
}

/** Writes what follows the name. Each parameter is a frame of its own, after which this one goes on. */
export const writeSuffixes = (state: State, frame: number): void => {
  const { chain, flat, frames, out } = state
  const top = frames[frame + TOP] ?? 0
  let suffix = frames[frame + SUFFIX] ?? 0
  // A frame that comes back here after its last parameter has this number, too.
  let parameter = frames[frame + PARAMETER] ?? 0
  for (; suffix < top; suffix++) {
    const entry = chain[suffix] ?? 0
    const id = entry >>> 1
    if (parameter === 0 && (entry & 1) === 1) putByte(out, CLOSE)
    if (flat.kinds[id] === Kind.BTF_KIND_ARRAY) {
      putByte(out, OPEN_BRACKET)
      putNumber(out, extraAt(flat, id, 2))
      putByte(out, CLOSE_BRACKET)
      continue
    }
    const count = countAt(flat, id)
    if (count === 0 || (count === 1 && extraAt(flat, id, 1) === 0)) {
      put(out, NO_PARAMETERS)
      continue
    }
    if (parameter === 0) {
      if (state.open[id] === 1) fail("Cycle", `type ${id} takes itself as a parameter`)
      state.open[id] = 1
      putByte(out, OPEN)
    }
    for (; parameter < count; parameter++) {
      if (parameter > 0) put(out, COMMA_)
      const type = extraAt(flat, id, parameter * 2 + 1)
      if (type === 0 && parameter === count - 1) {
        put(out, ELLIPSIS)
        break
      }
      const name = extraAt(flat, id, parameter * 2)
      if (writeSimple(state, type, name)) continue
      frames[frame + WHAT] = SUFFIXES
      frames[frame + SUFFIX] = suffix
      frames[frame + PARAMETER] = parameter + 1
      openDeclaration(state, type, name, frames[frame + LEVEL] ?? 0)
      return
    }
    putByte(out, CLOSE)
    state.open[id] = 0
    parameter = 0
  }
  state.chainEnd = frames[frame + BASE] ?? 0
  state.depth = frame
}
