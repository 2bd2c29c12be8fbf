/**
 * Types as people write them in C.
 *
 * A name is for messages and listings: it never defines a struct, and it ends where it would become unreadable. A
 * prototype may name each of its parameters' prototypes, and those theirs, so a hostile blob could ask for a name of
 * exponential length; both the nesting and the number of types in one name are bounded, and what is left out shows as
 * `…`.
 */
import * as Kind from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"
import { exists, kflagOf, kindOf, nameOf, sizeOrTypeOf, vlenOf } from "./BtfModel.ts"
import { arrayLength, elementType } from "./BtfResolve.ts"
import { typeOf } from "./BtfType.ts"

/** The most types that one name goes through. */
const TYPE_LIMIT = 128

/** The deepest prototype in a prototype that is spelled out. */
const NESTING_LIMIT = 4

/** The longest identifier that is spelled out, in UTF-16 units. */
const IDENTIFIER_LIMIT = 512

/** What stands for a part that is left out. */
const LEFT_OUT = "…"

/**
 * The name of a type in C: `struct event`, `int[4]`, `char *`, `const struct foo *`, `int (*)(void *)`. A variable or a
 * function is spelled as its declaration, an anonymous type as `struct (anonymous)`, a section by its name.
 */
export const typeName = (btf: Btf, id: number): string => {
  const kind = kindOf(btf, id)
  switch (kind) {
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_INT:
    case Kind.BTF_KIND_TYPEDEF:
      // Most names that are asked for, and nothing in them to walk through.
      return terminal(btf, id, kind)
    default:
      return spell(btf, id, "", { left: TYPE_LIMIT }, 0)
  }
}

interface Budget {
  left: number
}

/**
 * Spells type `id` around `declarator`, what it declares: C puts pointers before and arrays and parameters after the
 * declared name, so the walk from the outer type inwards lets the declarator grow at both ends.
 */
const spell = (btf: Btf, id: number, declarator: string, budget: Budget, depth: number): string => {
  let inner = declarator
  let qualifiers = ""
  let afterPointer = false
  let current = id
  while (budget.left-- > 0) {
    const kind = kindOf(btf, current)
    switch (kind) {
      case Kind.BTF_KIND_VOLATILE:
        qualifiers += "volatile "
        break
      case Kind.BTF_KIND_CONST:
        qualifiers += "const "
        break
      case Kind.BTF_KIND_RESTRICT:
        qualifiers += "restrict "
        break
      case Kind.BTF_KIND_TYPE_TAG:
        qualifiers += `${attribute(btf, current, "btf_type_tag")} `
        break
      case Kind.BTF_KIND_PTR:
        inner = `*${inner === "" ? qualifiers.trimEnd() : qualifiers}${inner}`
        qualifiers = ""
        afterPointer = true
        break
      case Kind.BTF_KIND_ARRAY:
        // Qualifiers of an array are those of its elements.
        inner = `${afterPointer ? `(${inner})` : inner}[${arrayLength(btf, current)}]`
        afterPointer = false
        current = elementType(btf, current)
        continue
      case Kind.BTF_KIND_FUNC_PROTO:
        inner = `${afterPointer ? `(${inner})` : inner}(${parameters(btf, current, budget, depth)})`
        afterPointer = false
        qualifiers = ""
        break
      case Kind.BTF_KIND_VAR:
      case Kind.BTF_KIND_FUNC:
        inner = identifier(btf, current)
        break
      default:
        return join(qualifiers + terminal(btf, current, kind), inner)
    }
    current = sizeOrTypeOf(btf, current)
  }
  return join(qualifiers + LEFT_OUT, inner)
}

/** A base and its declarator; brackets of an array follow the base at once. */
const join = (base: string, declarator: string): string =>
  declarator === "" || declarator.startsWith("[") ? base + declarator : `${base} ${declarator}`

const parameters = (btf: Btf, id: number, budget: Budget, depth: number): string => {
  if (vlenOf(btf, id) === 0) return "void"
  if (depth >= NESTING_LIMIT) return LEFT_OUT
  const proto = typeOf(btf, id)
  if (proto._tag !== "FuncProto") return LEFT_OUT
  const spelled: Array<string> = []
  for (const [index, param] of proto.params.entries()) {
    if (budget.left <= 0) {
      spelled.push(LEFT_OUT)
      break
    }
    const variadic = index === proto.params.length - 1 && param.type === 0 && param.name === ""
    spelled.push(variadic ? "..." : spell(btf, param.type, shorten(param.name), budget, depth + 1))
  }
  return spelled.join(", ")
}

/** The type at the end of the chain, which the declarator declares something of. */
const terminal = (btf: Btf, id: number, kind: number): string => {
  switch (kind) {
    case Kind.BTF_KIND_STRUCT:
      return `struct ${identifier(btf, id)}`
    case Kind.BTF_KIND_UNION:
      return `union ${identifier(btf, id)}`
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64:
      return `enum ${identifier(btf, id)}`
    case Kind.BTF_KIND_FWD:
      return `${kflagOf(btf, id) ? "union" : "struct"} ${identifier(btf, id)}`
    case Kind.BTF_KIND_INT:
    case Kind.BTF_KIND_FLOAT:
    case Kind.BTF_KIND_TYPEDEF:
    case Kind.BTF_KIND_DATASEC:
      return identifier(btf, id)
    case Kind.BTF_KIND_DECL_TAG:
      return attribute(btf, id, "btf_decl_tag")
    default:
      if (id === 0) return "void"
      return exists(btf, id) ? `(${Kind.kindName(kind)}) ${identifier(btf, id)}` : `(no type ${id})`
  }
}

const identifier = (btf: Btf, id: number): string => shorten(nameOf(btf, id)) || "(anonymous)"

const shorten = (name: string): string =>
  name.length > IDENTIFIER_LIMIT ? name.slice(0, IDENTIFIER_LIMIT) + LEFT_OUT : name

const attribute = (btf: Btf, id: number, wrapper: string): string => {
  const text = shorten(nameOf(btf, id))
  return kflagOf(btf, id) ? `__attribute__((${text}))` : `__attribute__((${wrapper}("${text}")))`
}
