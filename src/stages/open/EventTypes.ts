/**
 * The types of the records that programs hand to user space, as the object's author wrote them beside the map.
 *
 * A buffer's definition does not say what is in it. A declaration tag on its variable does:
 *
 * ```c
 * struct {
 *   __uint(type, BPF_MAP_TYPE_RINGBUF);
 *   __uint(max_entries, 1 << 18);
 * } events SEC(".maps") __attribute__((btf_decl_tag("event:struct exec_event")));
 *
 * const struct exec_event *unused_exec_event __attribute__((unused));
 * ```
 *
 * The tag names a struct, a union, an enum or a typedef as C does. The variable behind it is only for the compiler, which
 * otherwise leaves out of the BTF a type that no program has in a variable or map. Several tags name several types of
 * records, which are told apart by their sizes. Other loaders pass over the tags.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Kind from "../../btf/BtfKind.ts"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { attempt } from "../../internal/attempt.ts"
import { mapTypeName, MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { BpfObject } from "./BpfObject.ts"

/** An annotation that names no type of records, or types that cannot be told apart. */
export class EventTypeError extends Schema.TaggedError<EventTypeError>()("EventTypeError", {
  reason: Schema.Literals([
    /** The map that is annotated has no records. */
    "Map",
    /** The object's BTF has no type of that name, or several. */
    "Unknown",
    /** The type has no size: it is declared and not defined. */
    "NoSize",
    /** Two types of one map whose records can have the same size. */
    "Ambiguous"
  ]),
  /** The name of the map. */
  map: Schema.String,
  /** What the annotation says after `event:`. */
  type: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `map ${this.map}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

const isEventTypeError = (thrown: unknown): thrown is EventTypeError => thrown instanceof EventTypeError

/** A type of records. */
export interface EventType {
  /** As the annotation spells it: `struct exec_event`. */
  readonly name: string
  /** The type in the object's BTF. */
  readonly type: number
  /** Bytes of the type, without those of a flexible array at its end. */
  readonly size: number
  /** Whether records may be longer than `size`: the type ends in a flexible array. */
  readonly flexible: boolean
}

/** How records get from one side to the other. */
export type EventMapKind =
  /** From programs to a process. */
  | "RingBuffer"
  /** From programs to a process, by CPU. */
  | "PerfEventArray"
  /** From a process to programs. */
  | "UserRingBuffer"

/** A map that records go through. */
export interface EventMap {
  /** Position in `object.maps`. */
  readonly map: number
  readonly name: string
  readonly kind: EventMapKind
  /** The types of its records, in the order of the annotations; none where there is no annotation. */
  readonly types: ReadonlyArray<EventType>
}

/** What a declaration tag of ours begins with. */
const prefix = "event:"

const kinds: ReadonlyMap<number, EventMapKind> = new Map<number, EventMapKind>([
  [MapType.BPF_MAP_TYPE_RINGBUF, "RingBuffer"],
  [MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY, "PerfEventArray"],
  [MapType.BPF_MAP_TYPE_USER_RINGBUF, "UserRingBuffer"]
])

/** The annotations of each variable of `.maps`, by the variable's name. */
const annotations = (btf: Btf.Btf): ReadonlyMap<string, ReadonlyArray<string>> => {
  const found = new Map<string, Array<string>>()
  const id = Btf.findOne(btf, ".maps", Kind.BTF_KIND_DATASEC)
  const datasec = id === undefined ? undefined : Btf.typeOf(btf, id)
  if (datasec?._tag !== "Datasec") return found
  const variables = new Set(datasec.entries.map((entry) => entry.type))
  for (const tagId of Btf.idsOfKind(btf, Kind.BTF_KIND_DECL_TAG)) {
    const tag = Btf.typeOf(btf, tagId)
    if (tag._tag !== "DeclTag" || tag.componentIndex !== -1 || !tag.name.startsWith(prefix)) continue
    if (!variables.has(tag.type)) continue
    const variable = Btf.nameOf(btf, tag.type)
    const names = found.get(variable) ?? []
    found.set(variable, names)
    const name = tag.name.slice(prefix.length).trim().replaceAll(/\s+/g, " ")
    if (!names.includes(name)) names.push(name)
  }
  return found
}

/** The kinds of types that a C name with this keyword may be. */
const kindsOfKeyword: ReadonlyMap<string, ReadonlyArray<number>> = new Map([
  ["struct", [Kind.BTF_KIND_STRUCT]],
  ["union", [Kind.BTF_KIND_UNION]],
  ["enum", [Kind.BTF_KIND_ENUM, Kind.BTF_KIND_ENUM64]],
  ["", [Kind.BTF_KIND_TYPEDEF, Kind.BTF_KIND_INT, Kind.BTF_KIND_FLOAT]]
])

/** Types of this name that are defined, and whether there are such that are only declared. */
const candidates = (
  btf: Btf.Btf,
  name: string
): { readonly ids: ReadonlyArray<number>; readonly declared: boolean; readonly hint: string | undefined } => {
  const [first = "", second] = name.split(" ", 2)
  const keyword = second !== undefined && kindsOfKeyword.has(first) ? first : ""
  const bare = keyword === "" ? name : name.slice(keyword.length + 1)
  const wanted = kindsOfKeyword.get(keyword) ?? []
  const found = bare === "" ? { _tag: "None" as const } : Btf.find(btf, bare)
  const all = found._tag === "None" ? [] : found._tag === "One" ? [found.id] : found.ids
  const forward = all.some((id) => {
    const type = Btf.typeOf(btf, id)
    return type._tag === "Fwd" && type.forward === keyword
  })
  const other = all.find((id) => ["Struct", "Union", "Enum", "Enum64"].includes(Btf.typeOf(btf, id)._tag))
  return {
    ids: all.filter((id) => wanted.includes(Btf.kindOf(btf, id))),
    declared: forward,
    hint: other === undefined || keyword !== "" ? undefined : `write ${prefix}${Btf.typeName(btf, other)}`
  }
}

/** Whether a type ends in an array without a length; typedefs in front of it, and structs at the end of structs, count. */
const isFlexible = (btf: Btf.Btf, type: number): boolean => {
  let current = Btf.resolveType(btf, type)
  // A struct that is the last member of another, and so on: each is smaller or of the same size, so the bound is generous.
  for (let depth = 0; depth < 32; depth++) {
    const found = Btf.typeOf(btf, current)
    if (found._tag === "Array") return found.length === 0 && Btf.resolveSize(btf, found.type)._tag === "Success"
    if (found._tag !== "Struct") return false
    const last = found.members.reduce<Btf.Member | undefined>(
      (latest, member) => latest === undefined || member.bitOffset >= latest.bitOffset ? member : latest,
      undefined
    )
    if (last === undefined || last.bitfieldSize !== 0) return false
    current = Btf.resolveType(btf, last.type)
  }
  return false
}

const readType = (btf: Btf.Btf, map: string, name: string): EventType => {
  const refuse = (reason: EventTypeError["reason"], detail: string, hint?: string) =>
    new EventTypeError({ reason, map, type: name, detail, ...(hint === undefined ? {} : { hint }) })
  const { declared, hint, ids } = candidates(btf, name)
  const keep = /^(struct|union|enum) \w+$|^\w+$/.test(name)
    ? `keep it in the BTF: const ${name} *unused_${name.replace(/^.* /, "")} __attribute__((unused));`
    : `a type is named as in C: ${prefix}struct exec_event`
  const [type] = ids
  if (type === undefined) {
    throw declared
      ? refuse("NoSize", `${name}, the type of its records, is declared and not defined`, keep)
      : refuse("Unknown", `the object's BTF has no type ${JSON.stringify(name)}`, hint ?? keep)
  }
  if (ids.length > 1) {
    throw refuse("Unknown", `the object's BTF has ${ids.length} types that are called ${name}`)
  }
  const size = Btf.resolveSize(btf, type)
  if (Result.isFailure(size)) throw refuse("NoSize", `${name}, the type of its records, has no size`)
  return { name, type, size: size.success, flexible: isFlexible(btf, type) }
}

/**
 * Bytes of the record of a type of `size` bytes, as its reader sees it: the kernel fills records of perf buffers up so
 * that they end, behind a length of four bytes, at a multiple of eight.
 */
export const recordSize = (kind: EventMapKind, size: number): number =>
  kind === "PerfEventArray" ? Math.ceil((size + 4) / 8) * 8 - 4 : size

/** Throws where a record could be of two types. */
const distinguish = ({ kind, name, types }: EventMap): void => {
  const refuse = (a: EventType, b: EventType) =>
    new EventTypeError({
      reason: "Ambiguous",
      map: name,
      type: b.name,
      detail: `nothing tells records of ${a.name} from those of ${b.name}: ${
        a.flexible || b.flexible ? "their sizes overlap" : `both have ${recordSize(kind, a.size)} bytes`
      }`,
      hint: "make one union of them with a member that says which it is, or give them buffers of their own"
    })
  const bySize = new Map<number, EventType>()
  const [flexible, second] = types.filter((type) => type.flexible)
  if (flexible !== undefined && second !== undefined) throw refuse(flexible, second)
  for (const type of types) {
    if (type.flexible) continue
    const size = recordSize(kind, type.size)
    const same = bySize.get(size)
    if (same !== undefined) throw refuse(same, type)
    if (flexible !== undefined && size >= flexible.size) throw refuse(flexible, type)
    bySize.set(size, type)
  }
}

/**
 * The maps that records go through, in the order of the object's maps, each with the types of its records. An object
 * without BTF has maps without types.
 *
 * Fails where an annotation stands at another map, names a type that the BTF has not or has several of, or where the
 * records of two types of one map can have the same size.
 */
export const of = (object: BpfObject): Result.Result<ReadonlyArray<EventMap>, EventTypeError> =>
  attempt(isEventTypeError, () => {
    const { btf } = object
    const named = btf === undefined ? new Map<string, ReadonlyArray<string>>() : annotations(btf)
    return object.maps.flatMap((map, position): ReadonlyArray<EventMap> => {
      const kind = kinds.get(map.attr.type)
      const tags = map.origin === "Btf" ? named.get(map.name) ?? [] : []
      if (kind === undefined) {
        const [first] = tags
        if (first === undefined) return []
        throw new EventTypeError({
          reason: "Map",
          map: map.name,
          type: first,
          detail: `a map of type ${mapTypeName(map.attr.type)} has no records of type ${first}`,
          hint: "tag a ring buffer, a perf event array or a user ring buffer"
        })
      }
      const found = {
        map: position,
        name: map.name,
        kind,
        types: btf === undefined ? [] : tags.map((tag) => readType(btf, map.name, tag))
      }
      distinguish(found)
      return [found]
    })
  })

/** The type of a record of `length` bytes, as its reader sees it; `undefined` where none has that size. */
export const typeOfRecord = (map: Pick<EventMap, "kind" | "types">, length: number): EventType | undefined =>
  map.types.find((type) => !type.flexible && recordSize(map.kind, type.size) === length) ??
    map.types.find((type) => type.flexible && type.size <= length)
