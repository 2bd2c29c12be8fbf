/** Where a blob's types contain each other by value, so that what breaks in one breaks in those around it. */
import * as Kind from "../BtfKind.ts"
import type { Btf } from "../BtfModel.ts"
import { kindOf, nameOf, nameOffsetOf, sizeOrTypeOf } from "../BtfModel.ts"
import { elementType, MAX_HOPS } from "../BtfResolve.ts"
import { anonymousWithin, flatten } from "./Flatten.ts"
import type { Budget } from "./Flatten.ts"

/** How many paths are told for one type. */
const PATH_LIMIT = 16

/** How many types are looked at for them, and how deeply they may lie within each other. */
const VISIT_LIMIT = 256
const DEPTH_LIMIT = 8

/** A member that is a type, and the type that has the member. */
interface Edge {
  readonly container: number
  readonly path: string
}

/** For each type, the members of others that are this type. */
export type Embeddings = ReadonlyMap<number, ReadonlyArray<Edge>>

/** The embeddings of all named structs and unions, typedefs of anonymous ones included. */
export const embeddings = (btf: Btf, budget: Budget): Embeddings => {
  const found = new Map<number, Array<Edge>>()
  for (let id = btf.firstId; id < btf.endId; id++) {
    const composite = namedComposite(btf, id)
    if (composite === undefined) continue
    for (const { path, shell, type } of flatten(btf, composite, budget) ?? []) {
      if (shell !== undefined) continue
      const inner = embedded(btf, type)
      if (inner === undefined) continue
      const edge = { container: id, path: inner.isArray ? `${path}[]` : path }
      const list = found.get(inner.id)
      if (list === undefined) found.set(inner.id, [edge])
      else list.push(edge)
    }
  }
  return found
}

/** The struct or union that a type with a name is: itself, or what a typedef gives a name to. */
const namedComposite = (btf: Btf, id: number): number | undefined => {
  switch (kindOf(btf, id)) {
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      return nameOffsetOf(btf, id) === 0 ? undefined : id
    case Kind.BTF_KIND_TYPEDEF: {
      const within = anonymousWithin(btf, sizeOrTypeOf(btf, id))
      return within === undefined || within.isArray ? undefined : within.id
    }
    default:
      return undefined
  }
}

/** The type with members that a member's type comes to. */
const embedded = (btf: Btf, type: number): { readonly id: number; readonly isArray: boolean } | undefined => {
  let current = type
  let isArray = false
  for (let hops = 0; hops <= MAX_HOPS; hops++) {
    switch (kindOf(btf, current)) {
      case Kind.BTF_KIND_ARRAY:
        isArray = true
        current = elementType(btf, current)
        break
      case Kind.BTF_KIND_TYPEDEF:
        if (namedComposite(btf, current) !== undefined) return { id: current, isArray }
        current = sizeOrTypeOf(btf, current)
        break
      case Kind.BTF_KIND_CONST:
      case Kind.BTF_KIND_VOLATILE:
      case Kind.BTF_KIND_TYPE_TAG:
        current = sizeOrTypeOf(btf, current)
        break
      case Kind.BTF_KIND_STRUCT:
      case Kind.BTF_KIND_UNION:
        return { id: current, isArray }
      default:
        return undefined
    }
  }
  return undefined
}

/** Paths at which type `id` lies within others, nearest first, and whether there are more. */
export const pathsTo = (
  btf: Btf,
  all: Embeddings,
  id: number
): { readonly paths: ReadonlyArray<string>; readonly more: boolean } => {
  const paths: Array<string> = []
  const queue: Array<{ readonly id: number; readonly suffix: string; readonly depth: number }> = [
    { id, suffix: "", depth: 0 }
  ]
  for (let at = 0; at < queue.length && at < VISIT_LIMIT; at++) {
    const entry = queue[at]
    if (entry === undefined) break
    for (const { container, path } of all.get(entry.id) ?? []) {
      if (paths.length >= PATH_LIMIT) return { paths, more: true }
      const whole = entry.suffix === "" ? path : `${path}.${entry.suffix}`
      paths.push(`${nameOf(btf, container)}.${whole}`)
      if (entry.depth < DEPTH_LIMIT) queue.push({ id: container, suffix: whole, depth: entry.depth + 1 })
    }
  }
  return { paths, more: false }
}
