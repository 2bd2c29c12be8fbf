/**
 * Layouts of types as this library sees them and as its judges do: libbpf's size and alignment of each type, and the
 * lines that pahole prints for the members of structs and unions.
 */
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import type { Layout } from "./BtfPeer.ts"

/** A type whose size or alignment two implementations see differently. */
export interface Difference {
  readonly id: number
  readonly what: "size" | "alignment"
  readonly ours: number | undefined
  readonly judged: number | undefined
}

/** How this library answers; a test of the comparison may give another. */
export interface Answers {
  readonly size: (btf: Btf.Btf, id: number) => number | undefined
  readonly alignment: (btf: Btf.Btf, id: number) => number | undefined
}

/** This library's answers: undefined where a type has no size, or no alignment. */
export const ours: Answers = {
  size: (btf, id) => Result.getOrUndefined(Btf.resolveSize(btf, id)),
  alignment: (btf, id) => Result.getOrUndefined(Btf.alignOf(btf, id))
}

const judgement = (value: number): number | undefined => value < 0 ? undefined : value

/** Where `answers` differ from what libbpf says of the types of `btf`. */
export const layoutDifferences = (
  btf: Btf.Btf,
  judged: ReadonlyArray<Layout>,
  answers: Answers = ours
): ReadonlyArray<Difference> => {
  const differences: Array<Difference> = []
  for (const { alignment, id, size } of judged) {
    const ownSize = answers.size(btf, id)
    const ownAlignment = answers.alignment(btf, id)
    if (ownSize !== judgement(size)) differences.push({ id, what: "size", ours: ownSize, judged: judgement(size) })
    if (ownAlignment !== judgement(alignment)) {
      differences.push({ id, what: "alignment", ours: ownAlignment, judged: judgement(alignment) })
    }
  }
  return differences
}

/** A member's place: bytes, for a bit field the bit in its storage too, and the size of its type. */
interface Place {
  readonly offset: number
  readonly bit: number | undefined
  readonly size: number
  /** The member's name, empty where it has none; pahole's whole line of C. */
  readonly text: string
}

/** A struct or union as pahole prints it. */
export interface Printed {
  readonly tag: "struct" | "union"
  readonly name: string
  /** pahole does not say it of unions. */
  readonly size: number | undefined
  readonly places: ReadonlyArray<Place>
}

/** What pahole printed, struct by struct. */
export const readPahole = (text: string): ReadonlyArray<Printed> => {
  const printed: Array<Printed> = []
  let places: Array<Place> = []
  for (const line of text.split("\n")) {
    const head = /^(struct|union) (\S+) \{/.exec(line)
    if (head !== null) {
      places = []
      printed.push({ tag: head[1] === "union" ? "union" : "struct", name: head[2] ?? "", size: undefined, places })
      continue
    }
    const member = /^(.*?)\s*\/\*\s+(\d+)(?::\s*(\d+))?\s+(\d+) \*\/$/.exec(line)
    if (member !== null) {
      const [, text = "", offset, bit, size] = member
      places.push({
        offset: Number(offset),
        bit: bit === undefined ? undefined : Number(bit),
        size: Number(size),
        text
      })
      continue
    }
    const size = /^\s+\/\* size: (\d+), cachelines: /.exec(line)?.[1]
    const last = printed.pop()
    if (last !== undefined) printed.push(size === undefined ? last : { ...last, size: Number(size) })
  }
  return printed
}

/** The composite behind arrays, qualifiers and pointers that a member is written with, and whether a pointer was there. */
const written = (btf: Btf.Btf, id: number): { readonly id: number; readonly pointer: boolean } => {
  let current = id
  let pointer = false
  for (;;) {
    switch (Btf.kindOf(btf, current)) {
      case Btf.BTF_KIND_ARRAY:
        current = Btf.elementType(btf, current)
        break
      case Btf.BTF_KIND_PTR:
        pointer = true
        current = Btf.sizeOrTypeOf(btf, current)
        break
      case Btf.BTF_KIND_CONST:
      case Btf.BTF_KIND_VOLATILE:
      case Btf.BTF_KIND_RESTRICT:
        current = Btf.sizeOrTypeOf(btf, current)
        break
      default:
        return { id: current, pointer }
    }
  }
}

/** Gives the offset in bits of an anonymous member for what is inside it. */
type InnerStart = (bits: number) => number

/**
 * The places of a type's members in the order in which pahole prints them: those of an anonymous type before its own.
 * Behind a pointer pahole counts anew for each anonymous type.
 */
const placesOf = (btf: Btf.Btf, id: number, start: number, innerStart: InnerStart): Array<Place> => {
  const type = Btf.typeOf(btf, id)
  if (type._tag !== "Struct" && type._tag !== "Union") return []
  return type.members.flatMap((member) => {
    const bits = start + member.bitOffset
    const size = Result.getOrElse(Btf.resolveSize(btf, member.type), () => 0)
    const { id: inner, pointer } = written(btf, member.type)
    const below = pointer ? () => 0 : innerStart
    const places = Btf.nameOf(btf, inner) === "" ? placesOf(btf, inner, below(bits), below) : []
    if (member.bitfieldSize === 0) {
      places.push({ offset: bits / 8, bit: undefined, size, text: member.name })
    } else if (member.name !== "") {
      const storage = Math.floor(bits / 8 / size) * size
      places.push({ offset: storage, bit: bits - 8 * storage, size, text: member.name })
    }
    return places
  })
}

const samePlace = (own: Place, judged: Place | undefined): boolean =>
  judged !== undefined && own.offset === judged.offset && own.bit === judged.bit && own.size === judged.size &&
  (own.text === "" || judged.text.split(/\W+/).includes(own.text))

const sameComposite = (btf: Btf.Btf, id: number, judged: Printed, innerStart: InnerStart): boolean => {
  const places = placesOf(btf, id, 0, innerStart)
  return (judged.size === undefined || judged.size === Btf.sizeOrTypeOf(btf, id)) &&
    places.length === judged.places.length && places.every((place, index) => samePlace(place, judged.places[index]))
}

/**
 * The structs and unions, as `struct NAME`, whose size or members pahole prints otherwise than this library sees them in
 * each of the types of that name. `innerStart` gives the offset of an anonymous member for what is inside it: a test of
 * the comparison may give another.
 */
export const paholeDifferences = (
  btf: Btf.Btf,
  printed: ReadonlyArray<Printed>,
  innerStart: InnerStart = (bits) => bits
): ReadonlyArray<string> => {
  const ids = new Map<string, Array<number>>()
  for (let id = 1; id < btf.endId; id++) {
    const kind = Btf.kindOf(btf, id)
    if (kind !== Btf.BTF_KIND_STRUCT && kind !== Btf.BTF_KIND_UNION) continue
    const key = `${kind === Btf.BTF_KIND_STRUCT ? "struct" : "union"} ${Btf.nameOf(btf, id)}`
    const known = ids.get(key)
    if (known === undefined) ids.set(key, [id])
    else known.push(id)
  }
  return printed.map((one) => ({ one, key: `${one.tag} ${one.name}` })).filter(({ key, one }) =>
    !(ids.get(key) ?? []).some((id) => sameComposite(btf, id, one, innerStart))
  ).map(({ key }) => key)
}
