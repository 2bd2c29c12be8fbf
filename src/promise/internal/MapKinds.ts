/**
 * What can be done with a map, by its kind: the handles of typed maps, all with the same names.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BtfCodec from "../../btf/BtfCodec.ts"
import type { BtfValue, BtfValueError } from "../../btf/BtfValue.ts"
import { CodecError } from "../../btf/Codec.ts"
import * as UserRingBuffer from "../../events/UserRingBuffer.ts"
import * as ArrayMap from "../../maps/ArrayMap.ts"
import * as BloomFilter from "../../maps/BloomFilter.ts"
import type { SetOptions } from "../../maps/Element.ts"
import * as LpmTrie from "../../maps/LpmTrie.ts"
import { type MapError, TypedMapError } from "../../maps/MapError.ts"
import type * as OfObject from "../../maps/OfObject.ts"
import * as PerCpuMap from "../../maps/PerCpuMap.ts"
import * as QueueMap from "../../maps/QueueMap.ts"
import * as SlotMap from "../../maps/SlotMap.ts"
import * as StorageMap from "../../maps/StorageMap.ts"
import * as TypedMap from "../../maps/TypedMap.ts"
import { mapTypeName, MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Kernel } from "../../services/Kernel/Kernel.ts"
import type { LoadedObject } from "../../stages/load/Execute.ts"
import type { MapDefinition } from "../../stages/open/BpfObject.ts"
import * as EventTypes from "../../stages/open/EventTypes.ts"

/** Why a map is not opened. */
export type OpenError =
  | MapError
  | UserRingBuffer.UserRingBufferError
  | BtfValueError
  | EventTypes.EventTypeError

/** What maps do, each as far as its kind can. */
export interface Abilities {
  readonly get: (key: BtfValue) => Effect.Effect<BtfValue | undefined, MapError>
  readonly has: (key: BtfValue) => Effect.Effect<boolean, MapError>
  readonly set: (key: BtfValue, value: BtfValue, options?: SetOptions) => Effect.Effect<void, MapError>
  readonly delete: (key: BtfValue) => Effect.Effect<boolean, MapError>
  readonly take: (key: BtfValue) => Effect.Effect<BtfValue | undefined, MapError>
  readonly entries: Stream.Stream<readonly [BtfValue, BtfValue], MapError>
  readonly clear: Effect.Effect<void, MapError>
  readonly push: (value: BtfValue) => Effect.Effect<void, MapError | UserRingBuffer.UserRingBufferError>
  readonly pop: Effect.Effect<BtfValue | undefined, MapError>
  readonly peek: Effect.Effect<BtfValue | undefined, MapError>
}

/** Where a kind of map does not do something. */
const unable = ({ attr, name }: MapDefinition): Abilities => {
  const refuse = (what: string) =>
    Effect.fail(
      new TypedMapError({ reason: "WrongKind", map: name, detail: `maps of type ${mapTypeName(attr.type)} ${what}` })
    )
  return {
    get: () => refuse("have no values that could be got by keys"),
    has: () => refuse("do not say what they have"),
    set: () => refuse("have no values that could be set by keys"),
    delete: () => refuse("let nothing be deleted"),
    take: () => refuse("let nothing be taken by keys"),
    entries: Stream.fromEffect(refuse("do not say what is in them")),
    clear: refuse("cannot be cleared"),
    push: () => refuse("are not pushed to"),
    pop: refuse("are not popped from"),
    peek: refuse("have no next value")
  }
}

/** Keys of arrays are numbers. What is none is no index, and refused as that when it is encoded. */
const index = (key: BtfValue): number => key as number

/** Arrays, with a value for each index. */
const ofArray = <V extends BtfValue>(
  map: TypedMap.WritableMap<number, V>
): Pick<Abilities, "get" | "has" | "set" | "entries"> => ({
  get: (key) => map.get(index(key)),
  has: (key) => map.has(index(key)),
  // Values are encoded, and so checked, whatever their types say.
  set: (key, value, options) => map.set(index(key), value as V, options),
  entries: map.entries
})

/** Tables of which nothing has to be known. */
const ofTable = <V extends BtfValue>(
  map: Pick<TypedMap.TypedMap<BtfValue, V>, "set" | "delete" | "entries" | "clear">
): Pick<Abilities, "set" | "delete" | "entries" | "clear"> => ({
  set: (key, value, options) => map.set(key, value as V, options),
  delete: map.delete,
  entries: map.entries,
  clear: map.clear
})

/** Slots for programs, or for maps: set by a name in the object, got as identifiers. */
const ofSlots = <K extends BtfValue, R>(
  { name }: MapDefinition,
  slots: Pick<SlotMap.MapOfMaps<K>, "idOf" | "has" | "clear" | "entries"> & {
    readonly set: (key: K, to: R, options?: Pick<SetOptions, "when">) => Effect.Effect<void, MapError>
  },
  refOf: (name: string) => R | undefined,
  keyOf: (key: BtfValue) => K
): Pick<Abilities, "get" | "has" | "set" | "delete" | "entries"> => ({
  get: (key) => slots.idOf(keyOf(key)),
  has: (key) => slots.has(keyOf(key)),
  set: (key, value, options) => {
    const to = typeof value === "string" ? refOf(value) : undefined
    if (to !== undefined) return slots.set(keyOf(key), to, options)
    const detail = "it is set to a program, or a map, of the object, by its name"
    return Effect.fail(new TypedMapError({ reason: "NoSuchMap", map: name, detail }))
  },
  delete: (key) => slots.clear(keyOf(key)),
  entries: slots.entries
})

/** What is needed of a loaded object. */
export type Loaded = OfObject.Loaded & Pick<LoadedObject, "program">

const someBytes: Pick<BtfCodec.BtfCodec, "encode"> = {
  encode: (value) =>
    value instanceof Uint8Array
      ? Result.succeed(value.slice())
      : Result.fail(
        new CodecError({ reason: "Value", subject: "record", detail: "it has no one type, so it is given as bytes" })
      )
}

/** What records of a user ring buffer are: values of the one type that the map names, else bytes. */
const recordOf = (
  { object }: Loaded,
  name: string
): Result.Result<Pick<BtfCodec.BtfCodec, "encode">, BtfValueError | EventTypes.EventTypeError> =>
  Result.gen(function*() {
    const { btf, byteOrder } = object
    const types = (yield* EventTypes.of(object)).find((each) => each.name === name)?.types ?? []
    const [type] = types
    return btf === undefined || type === undefined || types.length > 1
      ? someBytes
      : yield* BtfCodec.make(btf, type.type, { byteOrder, octets: true, flexible: true })
  })

const ofUserRing = (loaded: Loaded, name: string) =>
  Effect.gen(function*() {
    const record = yield* Effect.fromResult(recordOf(loaded, name))
    const map = loaded.map(name)
    if (map === undefined) return {}
    const ring = yield* UserRingBuffer.open(loaded.session, map)
    return { push: (value: BtfValue) => UserRingBuffer.send(ring, record, value) }
  })

const known = (
  loaded: Loaded,
  definition: MapDefinition
): Effect.Effect<Partial<Abilities>, OpenError, Kernel | Scope.Scope> => {
  const { attr, name } = definition
  switch (attr.type) {
    case MapType.BPF_MAP_TYPE_ARRAY:
      return Effect.map(ArrayMap.of(loaded, name), ofArray)
    case MapType.BPF_MAP_TYPE_PERCPU_ARRAY:
      return Effect.map(PerCpuMap.arrayOf(loaded, name), ofArray)
    case MapType.BPF_MAP_TYPE_PERCPU_HASH:
    case MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH:
      return Effect.map(PerCpuMap.of(loaded, name), (map) => ({
        ...ofTable(map),
        get: map.get,
        has: map.has,
        take: map.take
      }))
    case MapType.BPF_MAP_TYPE_LPM_TRIE:
      return Effect.map(LpmTrie.of(loaded, name), (map) => ({
        ...ofTable(map),
        get: map.match,
        has: (key) => Effect.map(map.match(key), (value) => value !== undefined)
      }))
    case MapType.BPF_MAP_TYPE_QUEUE:
    case MapType.BPF_MAP_TYPE_STACK:
      return Effect.map(
        QueueMap.of(loaded, name),
        ({ peek, pop, push }) => ({ peek, pop, push: (value) => push(value) })
      )
    case MapType.BPF_MAP_TYPE_BLOOM_FILTER:
      return Effect.map(BloomFilter.of(loaded, name), ({ add, has }) => ({ has, push: add }))
    case MapType.BPF_MAP_TYPE_PROG_ARRAY:
      return Effect.map(SlotMap.progArrayOf(loaded, name), (map) => ofSlots(definition, map, loaded.program, index))
    case MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS:
      return Effect.map(SlotMap.arrayOfMapsOf(loaded, name), (map) => ofSlots(definition, map, loaded.map, index))
    case MapType.BPF_MAP_TYPE_HASH_OF_MAPS:
      return Effect.map(
        SlotMap.hashOfMapsOf(loaded, name),
        (map) => ofSlots(definition, map, loaded.map, (key: BtfValue) => key)
      )
    case MapType.BPF_MAP_TYPE_TASK_STORAGE:
    case MapType.BPF_MAP_TYPE_SK_STORAGE:
    case MapType.BPF_MAP_TYPE_CGRP_STORAGE:
    case MapType.BPF_MAP_TYPE_INODE_STORAGE:
      return Effect.map(StorageMap.of(loaded, name), (map) => ({
        get: (key) => map.get(index(key)),
        has: (key) => map.has(index(key)),
        set: (key, value, options) => map.set(index(key), value, options),
        delete: (key) => map.delete(index(key))
      }))
    case MapType.BPF_MAP_TYPE_USER_RINGBUF:
      return ofUserRing(loaded, name)
    case MapType.BPF_MAP_TYPE_RINGBUF:
    case MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
    case MapType.BPF_MAP_TYPE_ARENA:
    case MapType.BPF_MAP_TYPE_STRUCT_OPS:
      return Effect.succeed({})
    default:
      return Effect.map(TypedMap.of(loaded, name), (map) => ({
        ...ofTable(map),
        get: (key) => map.get(key),
        has: map.has,
        take: map.take
      }))
  }
}

/** Opens a map of a loaded object: what its kind cannot do fails. */
export const open = (
  loaded: Loaded,
  definition: MapDefinition
): Effect.Effect<Abilities, OpenError, Kernel | Scope.Scope> =>
  Effect.map(known(loaded, definition), (abilities) => ({ ...unable(definition), ...abilities }))
