/**
 * A number for each type that types which may turn out to be equal have in common, whatever becomes of forward
 * declarations.
 *
 * Thousands of anonymous structs and unions have the same members but for their types. Hashed by what their members are
 * called alone, each would be compared with all before it; with the signatures of the members' types, with its equals
 * and hardly any other. A signature looks through a few pointers and qualifiers, and no further than the next name.
 */
import {
  BTF_KIND_ARRAY,
  BTF_KIND_CONST,
  BTF_KIND_ENUM,
  BTF_KIND_ENUM64,
  BTF_KIND_FLOAT,
  BTF_KIND_FUNC_PROTO,
  BTF_KIND_FWD,
  BTF_KIND_INT,
  BTF_KIND_PTR,
  BTF_KIND_RESTRICT,
  BTF_KIND_STRUCT,
  BTF_KIND_TYPE_TAG,
  BTF_KIND_TYPEDEF,
  BTF_KIND_UNION,
  BTF_KIND_VOLATILE
} from "../BtfKind.ts"
import { emptyHash, hashRecord, mix } from "./DedupTable.ts"
import type { DedupWork } from "./DedupWork.ts"
import { recordWords } from "./DedupWork.ts"

/** How many pointers, qualifiers and arrays a signature looks through. */
const LEVELS = 6

/** The signature of type `id` as something that another type refers to. */
const signatureOf = (work: DedupWork, id: number): number => {
  const { at, kinds, words } = work
  let signature = emptyHash()
  let current = id
  for (let level = 0; level < LEVELS; level++) {
    signature = mix(signature, localSignature(work, current))
    switch (kinds[current]) {
      case BTF_KIND_PTR:
      case BTF_KIND_CONST:
      case BTF_KIND_VOLATILE:
      case BTF_KIND_RESTRICT:
      case BTF_KIND_TYPE_TAG:
      case BTF_KIND_FUNC_PROTO:
        current = words[(at[current] ?? 0) + 2] ?? 0
        continue
      case BTF_KIND_ARRAY:
        current = words[(at[current] ?? 0) + 3] ?? 0
        continue
      default:
        return signature
    }
  }
  return signature
}

/** The part of a signature that a record gives by itself; kept, since a record may be large and referred to often. */
const localSignature = (work: DedupWork, id: number): number => {
  const known = work.signatures[id] ?? 0
  if (known !== 0) return known
  const made = makeLocal(work, id)
  work.signatures[id] = made
  return made
}

const makeLocal = (work: DedupWork, id: number): number => {
  const { at, kinds, words } = work
  const start = at[id] ?? 0
  const kind = kinds[id] ?? 0
  const name = words[start] ?? 0
  const info = words[start + 1] ?? 0
  switch (kind) {
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
      return name === 0 ? shapeHash(work, id) : mix(mix(kind, name), BTF_KIND_STRUCT)
    case BTF_KIND_FWD:
      // As the type that it declares: the kind flag is the sign.
      return mix(mix(info < 0 ? BTF_KIND_UNION : BTF_KIND_STRUCT, name), BTF_KIND_STRUCT)
    case BTF_KIND_ENUM:
    case BTF_KIND_ENUM64:
      return name === 0
        ? hashRecord(words, start, recordWords(kind, info))
        : mix(mix(BTF_KIND_ENUM, name), BTF_KIND_ENUM)
    case BTF_KIND_TYPEDEF:
      return mix(name, info)
    case BTF_KIND_ARRAY:
      return mix(kind, words[start + 5] ?? 0)
    case BTF_KIND_FUNC_PROTO: {
      let hash = mix(kind, info)
      const end = start + 3 + (info & 0xff_ffff) * 2
      for (let parameter = start + 3; parameter < end; parameter += 2) hash = mix(hash, words[parameter] ?? 0)
      return hash
    }
    case BTF_KIND_PTR:
    case BTF_KIND_CONST:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_TYPE_TAG:
      return mix(name, info)
    default:
      // Integers and floats by all that they are; the rest, which no compiler lets a type contain, by kind and name.
      return kind === BTF_KIND_INT || kind === BTF_KIND_FLOAT
        ? hashRecord(words, start, recordWords(kind, info))
        : mix(kind, name)
  }
}

/** The hash of the record of a struct or union without the types that it refers to. */
const shapeHash = (work: DedupWork, id: number): number => {
  const { at, words } = work
  const start = at[id] ?? 0
  const info = words[start + 1] ?? 0
  let hash = mix(mix(mix(emptyHash(), words[start] ?? 0), info), words[start + 2] ?? 0)
  const end = start + 3 + (info & 0xff_ffff) * 3
  for (let member = start + 3; member < end; member += 3) {
    hash = mix(mix(hash, words[member] ?? 0), words[member + 2] ?? 0)
  }
  return hash
}

/** The hash of a struct, union or typedef: its record with signatures in the place of types. */
export const hashGraph = (work: DedupWork, id: number): number => {
  const { at, kinds, words } = work
  const start = at[id] ?? 0
  const info = words[start + 1] ?? 0
  let hash = mix(mix(emptyHash(), words[start] ?? 0), info)
  if (kinds[id] === BTF_KIND_TYPEDEF) return mix(hash, signatureOf(work, words[start + 2] ?? 0))
  hash = mix(hash, words[start + 2] ?? 0)
  const end = start + 3 + (info & 0xff_ffff) * 3
  for (let member = start + 3; member < end; member += 3) {
    hash = mix(mix(hash, words[member] ?? 0), words[member + 2] ?? 0)
    hash = mix(hash, signatureOf(work, words[member + 1] ?? 0))
  }
  return hash
}
