/**
 * The types that a typed data dump puts before values: C declarations without qualifiers and tags, in which an anonymous
 * struct is just `struct`.
 *
 * Names are numbered as in a C dump: the second struct called `x` that a dump mentions is `x___2`. Structs, unions and
 * enums count together, typedefs by themselves.
 *
 * Source: reference page `btf-dump`, sections D and F.
 */
import * as Kind from "../BtfKind.ts"
import type { Btf } from "../BtfModel.ts"
import { kflagOf, kindOf, nameOf, sizeOrTypeOf, vlenOf } from "../BtfModel.ts"
import { arrayLength, elementType } from "../BtfResolve.ts"
import { typeOf } from "../BtfType.ts"

/** What one dump has called its types so far. */
export interface Names {
  readonly btf: Btf
  readonly tags: Map<string, number>
  readonly typedefs: Map<string, number>
  readonly byId: Map<number, string>
}

/** No type was named yet. */
export const makeNames = (btf: Btf): Names => ({ btf, tags: new Map(), typedefs: new Map(), byId: new Map() })

/** The most types that one declaration goes through: prototypes in prototypes may name exponentially many. */
const TYPE_LIMIT = 512

/** The deepest prototype in a prototype that is spelled out. */
const NESTING_LIMIT = 8

/** The longest identifier that is spelled out, in UTF-16 units; libbpf numbers no longer ones. */
const NAME_LIMIT = 4096

const NUMBERED_LIMIT = 255

/** What stands for a part that is left out. */
const LEFT_OUT = "…"

/** The type `id` as a declaration of `name`, or as a type alone where the name is empty. */
export const declare = (names: Names, id: number, name: string): string =>
  declaration(names, id, name, { left: TYPE_LIMIT }, 0)

interface Budget {
  left: number
}

const declaration = (names: Names, id: number, name: string, budget: Budget, depth: number): string => {
  const { btf } = names
  // From the outside in: pointers, arrays and prototypes. The declared thing's type is the last.
  const chain: Array<number> = []
  let current = id
  for (;;) {
    const kind = kindOf(btf, current)
    if (budget.left-- <= 0) return LEFT_OUT
    if (Kind.BTF_KIND_PTR === kind || Kind.BTF_KIND_FUNC_PROTO === kind) chain.push(current)
    else if (kind === Kind.BTF_KIND_ARRAY) {
      chain.push(current)
      current = elementType(btf, current)
      continue
    } else if (!isQualifier(kind)) break
    current = sizeOrTypeOf(btf, current)
  }
  // From the inside out: what a declarator wraps is put around what was spelled before.
  let before = terminal(names, current)
  // Parameters stand behind what surrounds them, so that the outermost prototype's names are met first.
  const params = chain.map((type) =>
    kindOf(btf, type) === Kind.BTF_KIND_FUNC_PROTO ? parameters(names, type, budget, depth) : ""
  )
  let after = ""
  let afterPointer = false
  for (let index = chain.length - 1; index >= 0; index--) {
    const type = chain[index] ?? 0
    const kind = kindOf(btf, type)
    const outer = index === 0 ? undefined : kindOf(btf, chain[index - 1] ?? 0)
    if (kind === Kind.BTF_KIND_PTR) {
      before += afterPointer ? "*" : " *"
      afterPointer = true
    } else if (kind === Kind.BTF_KIND_ARRAY) {
      after = `[${arrayLength(btf, type)}]${after}`
      if (outer === undefined || outer === Kind.BTF_KIND_ARRAY) continue
      before += name !== "" && !afterPointer ? " (" : "("
      after = `)${after}`
      afterPointer = true
    } else {
      after = outer === undefined ? `${params[index]}${after}` : `)${params[index]}${after}`
      if (outer === undefined) continue
      before += " ("
      afterPointer = true
    }
  }
  return before + (name === "" || afterPointer ? name : ` ${name}`) + after
}

const isQualifier = (kind: number): boolean =>
  kind === Kind.BTF_KIND_CONST || kind === Kind.BTF_KIND_VOLATILE || kind === Kind.BTF_KIND_RESTRICT
  || kind === Kind.BTF_KIND_TYPE_TAG

const parameters = (names: Names, id: number, budget: Budget, depth: number): string => {
  const { btf } = names
  const count = vlenOf(btf, id)
  if (count === 0) return "(void)"
  if (depth >= NESTING_LIMIT || count > budget.left) return `(${LEFT_OUT})`
  const proto = typeOf(btf, id)
  if (proto._tag !== "FuncProto") return `(${LEFT_OUT})`
  if (count === 1 && proto.params[0]?.type === 0) return "(void)"
  const spelled = proto.params.map((param, index) =>
    index === count - 1 && param.type === 0
      ? "..."
      : declaration(names, param.type, shorten(param.name), budget, depth + 1)
  )
  return `(${spelled.join(", ")})`
}

const terminal = (names: Names, id: number): string => {
  const { btf } = names
  const kind = kindOf(btf, id)
  switch (kind) {
    case Kind.BTF_KIND_STRUCT:
      return tagged("struct", numbered(names, id, names.tags))
    case Kind.BTF_KIND_UNION:
      return tagged("union", numbered(names, id, names.tags))
    case Kind.BTF_KIND_ENUM:
      return enumTag(vlenOf(btf, id) === 0 ? shorten(nameOf(btf, id)) : numbered(names, id, names.tags))
    case Kind.BTF_KIND_ENUM64:
      return enumTag(numbered(names, id, names.tags))
    case Kind.BTF_KIND_FWD:
      return tagged(kflagOf(btf, id) ? "union" : "struct", shorten(nameOf(btf, id)))
    case Kind.BTF_KIND_TYPEDEF:
      return numbered(names, id, names.typedefs)
    default:
      return id === 0 ? "void" : shorten(nameOf(btf, id))
  }
}

const tagged = (keyword: string, name: string): string => name === "" ? keyword : `${keyword} ${name}`

/** An anonymous enum keeps the space before the name that it has not, as in libbpf. */
const enumTag = (name: string): string => `enum ${name}`

const numbered = (names: Names, id: number, counts: Map<string, number>): string => {
  const known = names.byId.get(id)
  if (known !== undefined) return known
  const name = shorten(nameOf(names.btf, id))
  const count = (counts.get(name) ?? 0) + 1
  if (name !== "") counts.set(name, count)
  const suffix = `___${count}`
  const unique = count === 1 || name === "" ? name : name.slice(0, NUMBERED_LIMIT - suffix.length) + suffix
  names.byId.set(id, unique)
  return unique
}

const shorten = (name: string): string => name.length > NAME_LIMIT ? name.slice(0, NAME_LIMIT) + LEFT_OUT : name
