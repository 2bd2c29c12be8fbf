/**
 * Which attributes of a map a kernel refuses, found by trying.
 *
 * A kernel that refuses a map says `EINVAL`, and not of what. So the simplest map of the type is created, then one with each of
 * the attributes by itself, and, where each of them is fine alone, the map as it was wanted without each of them. What is created
 * on the way is closed at once, and none of it is large: an attribute that only much memory could tell about is tried the other
 * way round. An answer that is about something else, no memory or no right, ends the search without a result.
 *
 * Source: the `map_alloc_check` functions of `kernel/bpf/*.c`, `map_create()` of `kernel/bpf/syscall.c`.
 */
import * as Effect from "effect/Effect"
import { MapFlag, MapType, mapTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import { perCpu } from "../../services/Kernel/abi/ElementSize.ts"
import type { Errno } from "../../services/Kernel/abi/Errno.ts"
import * as MapShape from "../../services/Kernel/abi/MapShape.ts"
import type { Session } from "../../services/Kernel/Kernel.ts"
import type { MapAttributes, MapCreate } from "../../services/Kernel/KernelCall.ts"
import { type CallError, KernelError, type RefusedAttribute } from "../../services/Kernel/KernelError.ts"
import { reasonOf } from "./MapRules.ts"

export type { RefusedAttribute }

/** Answers that are about what was asked for. */
const telling: ReadonlySet<Errno> = new Set<Errno>(["EINVAL", "E2BIG", "EOPNOTSUPP", "ENOTSUPP", "ENODEV"])

/** Whether a refusal says too little, so that trying may tell more. */
export const isUnclear = (error: KernelError): boolean => error.call === "MapCreate" && telling.has(error.errno)

/** What one try tells: the kernel takes it, refuses it, or says something else. */
type Verdict = "Taken" | "Refused" | "Unclear"

/** A map that is tried takes at most about so many bytes. */
const largest = 4 * 1024 * 1024

/** A ring of this size is a power of two and a multiple of any page size. */
const ringSize = 65_536

/** The simplest map of a type. The keys and values of struct_ops maps are the kernel's. */
const plain = (type: number, { keySize, valueSize }: MapAttributes): MapAttributes => ({
  name: "",
  type,
  numaNode: 0,
  ifindex: 0,
  extra: 0n,
  ...MapShape.simplest(type, ringSize),
  ...(type === MapType.BPF_MAP_TYPE_STRUCT_OPS ? { keySize, valueSize } : {})
})

/** BTF of one type, a number of 4 bytes, in this machine's byte order: what kernels need of keys and values of storage maps. */
const integerTypes = (): Uint8Array => {
  // Header: magic and version, its length, where types and strings lie. Then the type: name, kind INT, size, signed 32 bits.
  const words = [24, 0, 16, 16, 5, 1, 1 << 24, 4, 1 << 24 | 32]
  const bytes = new Uint8Array(4 + words.length * 4 + 5)
  bytes.set(new Uint8Array(Uint16Array.of(0xeb9f).buffer))
  bytes[2] = 1
  bytes.set(new Uint8Array(Uint32Array.from(words).buffer), 4)
  bytes.set(new TextEncoder().encode("\0int\0"), 4 + words.length * 4)
  return bytes
}

/** What of a call can be changed by itself. */
interface Part {
  readonly attribute: RefusedAttribute["attribute"]
  readonly value: string
  /** The flag, of a part that is one. */
  readonly flag?: number
  /** Whether the simplest map has it and the wanted one has not. */
  readonly isMissing?: boolean
  /** `to` with what `from` has here. */
  readonly put: (to: MapCreate, from: MapCreate) => MapCreate
}

const numeric = (
  attribute: RefusedAttribute["attribute"],
  key: Exclude<keyof MapAttributes, "flags">,
  wanted: MapCreate,
  base: MapCreate
): ReadonlyArray<Part> =>
  wanted.attr[key] === base.attr[key] ? [] : [{
    attribute,
    value: String(wanted.attr[key]),
    put: (to, from) => ({ ...to, attr: { ...to.attr, [key]: from.attr[key] } })
  }]

const optional = (
  attribute: RefusedAttribute["attribute"],
  key: "inner" | "types" | "valueType" | "exclusiveTo",
  wanted: MapCreate,
  base: MapCreate
): ReadonlyArray<Part> =>
  wanted[key] === base[key] ? [] : [{
    attribute,
    value: wanted[key] === undefined ? "none" : "given",
    isMissing: wanted[key] === undefined,
    put: (to, from) => {
      const { [key]: _, ...rest } = to
      return from[key] === undefined ? rest : { ...rest, [key]: from[key] }
    }
  }]

const flagNames: ReadonlyMap<number, string> = new Map(
  Object.entries(MapFlag).map(([name, bit]): readonly [number, string] => [bit, name])
)

const flags = (wanted: MapCreate, base: MapCreate): ReadonlyArray<Part> => {
  const parts: Array<Part> = []
  for (let shift = 0; shift < 32; shift++) {
    const bit = 2 ** shift
    const has = ({ attr }: MapCreate): boolean => Math.floor(attr.flags / bit) % 2 === 1
    if (has(wanted) === has(base)) continue
    parts.push({
      attribute: "map_flags",
      value: `${has(base) ? "without " : ""}${flagNames.get(bit) ?? `0x${bit.toString(16)}`}`,
      flag: bit,
      isMissing: has(base),
      put: (to, from) => {
        const change = (has(from) ? bit : 0) - (has(to) ? bit : 0)
        return { ...to, attr: { ...to.attr, flags: to.attr.flags + change } }
      }
    })
  }
  return parts
}

/** A node of memory is asked for with its flag alone. */
const node = (wanted: MapCreate, base: MapCreate): ReadonlyArray<Part> =>
  numeric("numa_node", "numaNode", wanted, base).map((part) => ({
    ...part,
    put: (to, from) => {
      const put = part.put(to, from)
      const flags = put.attr.flags - put.attr.flags % 8 + (put.attr.flags % 4)
      const asks = from.attr.numaNode !== 0 && Math.floor(wanted.attr.flags / MapFlag.BPF_F_NUMA_NODE) % 2 === 1
      return { ...put, attr: { ...put.attr, flags: flags + (asks ? MapFlag.BPF_F_NUMA_NODE : 0) } }
    }
  }))

/** Types go with the sizes that they have. */
const types = (wanted: MapCreate, base: MapCreate): ReadonlyArray<Part> =>
  optional("btf", "types", wanted, base).map((part) => ({
    ...part,
    put: (to, from) => {
      const put = part.put(to, from)
      if (from.types === undefined) return put
      const { keySize, valueSize } = from.attr
      return { ...put, attr: { ...put.attr, keySize, valueSize } }
    }
  }))

const sizes = (wanted: MapCreate, base: MapCreate): ReadonlyArray<Part> => {
  const keySize = numeric("key_size", "keySize", wanted, base)
  // Of other sizes than their types no map is taken.
  return MapShape.needsTypes(wanted.attr.type)
    ? keySize
    : [...keySize, ...numeric("value_size", "valueSize", wanted, base)]
}

const partsOf = (wanted: MapCreate, base: MapCreate): ReadonlyArray<Part> => [
  ...sizes(wanted, base),
  ...numeric("max_entries", "maxEntries", wanted, base),
  ...flags(wanted, base),
  ...node(wanted, base),
  ...numeric("map_ifindex", "ifindex", wanted, base),
  ...numeric("map_extra", "extra", wanted, base),
  ...numeric("map_name", "name", wanted, base),
  ...optional("inner_map", "inner", wanted, base),
  ...types(wanted, base),
  ...optional("value_type", "valueType", wanted, base),
  ...optional("exclusive_to", "exclusiveTo", wanted, base)
]

/** How many CPUs a machine may have, for what has a value for each. */
const manyCpus = 64

/** About how many bytes a map takes that is created like this. */
const weightOf = ({ attr }: MapCreate): number =>
  MapShape.isRing(attr.type) || attr.type === MapType.BPF_MAP_TYPE_ARENA
    ? attr.maxEntries
    : (attr.keySize + attr.valueSize * (perCpu.has(attr.type) ? manyCpus : 1) + 64) * Math.max(1, attr.maxEntries)

const refused = (wanted: MapCreate, errno: Errno, part: Omit<Part, "put">): RefusedAttribute => ({
  attribute: part.attribute,
  value: part.value,
  reason: reasonOf(wanted, errno, part)
})

/** The search, in a session of which it closes all that it makes. */
const search = Effect.fnUntraced(function*(session: Session, wanted: MapCreate, errno: Errno) {
  /** Tries a map; what is too large to be tried says nothing. */
  const attempt = (call: MapCreate): Effect.Effect<Verdict> => {
    if (weightOf(call) > largest) return Effect.succeed("Unclear")
    const as = session.fresh("Map")
    return session.call({ ...call, as }).pipe(
      Effect.andThen(session.call({ _tag: "Close", ref: as })),
      Effect.as<Verdict>("Taken"),
      Effect.catch((error) =>
        Effect.succeed<Verdict>(error._tag === "KernelError" && telling.has(error.errno) ? "Refused" : "Unclear")
      )
    )
  }
  /** What the simplest map needs beside its attributes, for as long as it is used. */
  const made: Array<ReturnType<typeof session.fresh>> = []
  const close = Effect.suspend(() =>
    Effect.forEach(made, (ref) => Effect.ignore(session.call({ _tag: "Close", ref })), { discard: true })
  )
  const baseOf = Effect.gen(function*() {
    const { type } = wanted.attr
    let base: MapCreate = { _tag: "MapCreate", as: wanted.as, attr: plain(type, wanted.attr) }
    if (MapShape.needsTypes(type)) {
      const as = session.fresh("Btf")
      yield* session.call({ _tag: "BtfLoad", as, bytes: integerTypes() })
      made.push(as)
      base = { ...base, types: { btf: as, key: 1, value: 1 } }
    }
    if (MapShape.isOfMaps(type)) {
      const as = session.fresh("Map")
      yield* session.call({ _tag: "MapCreate", as, attr: plain(MapType.BPF_MAP_TYPE_ARRAY, wanted.attr) })
      made.push(as)
      base = { ...base, inner: as }
    }
    if (type === MapType.BPF_MAP_TYPE_STRUCT_OPS && wanted.valueType !== undefined) {
      base = { ...base, valueType: wanted.valueType }
    }
    return base
  })
  const found = Effect.gen(function*() {
    // Another moment may have another answer: then no attribute is to blame.
    if ((yield* attempt(wanted)) === "Taken") return []
    const base = yield* baseOf
    const verdict = yield* attempt(base)
    if (verdict === "Unclear") return []
    if (verdict === "Refused") {
      const { attr, valueType } = wanted
      // The type of these maps is the struct that programs are to implement.
      return attr.type === MapType.BPF_MAP_TYPE_STRUCT_OPS && valueType !== undefined
        ? [refused(wanted, errno, { attribute: "value_type", value: valueType.name })]
        : [refused(wanted, errno, { attribute: "type", value: mapTypeName(attr.type) })]
    }
    const parts = partsOf(wanted, base)
    const alone: Array<RefusedAttribute> = []
    for (const part of parts) {
      // Refused sizes are refused with their types, too.
      if (part.attribute === "btf" && alone.some(({ attribute }) => attribute.endsWith("_size"))) continue
      const verdict = yield* attempt(part.put(base, wanted))
      // The memory that it would take cannot be tried; without it the rest can.
      const isRefused = verdict === "Refused" ||
        (verdict === "Unclear" && (yield* attempt(part.put(wanted, base))) === "Taken")
      if (isRefused) alone.push(refused(wanted, errno, part))
    }
    if (alone.length > 0) return alone
    const together: Array<RefusedAttribute> = []
    for (const part of parts) {
      if ((yield* attempt(part.put(wanted, base))) === "Taken") together.push(refused(wanted, errno, part))
    }
    return together
  })
  return yield* found.pipe(Effect.orElseSucceed((): ReadonlyArray<RefusedAttribute> => []), Effect.ensuring(close))
})

/** The attributes of a map that a kernel refused which it refuses, as far as trying tells; empty where it does not. */
export const attributesOf = (
  session: Session,
  call: MapCreate,
  error: KernelError
): Effect.Effect<ReadonlyArray<RefusedAttribute>> =>
  isUnclear(error) ? search(session, call, error.errno) : Effect.succeed([])

const sentence = ({ attribute, reason, value }: RefusedAttribute): string => `${attribute} ${value}: ${reason}`

/** The error with the attributes that the kernel refuses, in a field and in its hint. Nothing is tried where the error says enough. */
export const explained = (session: Session, call: MapCreate, error: KernelError): Effect.Effect<KernelError> =>
  Effect.map(attributesOf(session, call, error), (attributes) => {
    if (attributes.length === 0) return error
    const { errno, errnoNumber, log, subject } = error
    return new KernelError({
      call: error.call,
      errno,
      errnoNumber,
      subject,
      attributes,
      reason: attributes.some(({ attribute }) => attribute === "type") ? "UnknownType" : "MapAttributes",
      hint: `the kernel refuses ${attributes.map(sentence).join("; ")}`,
      ...(log === undefined ? {} : { log })
    })
  })

/** Creates a map in a session; a refusal says of which attributes. */
export const create = (session: Session, call: MapCreate): Effect.Effect<void, CallError> =>
  Effect.catch(session.call(call), (error): Effect.Effect<never, CallError> =>
    error._tag === "KernelError"
      ? Effect.flatMap(explained(session, call, error), Effect.fail)
      : Effect.fail(error))
