/**
 * How a skeleton in TypeScript speaks of maps: by their types, with codecs of what is in them.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import { MapType, ProgType } from "../../../services/Kernel/abi/BpfConstants.ts"
import { type BpfObject, isGlobalData, type MapDefinition } from "../../open/BpfObject.ts"
import * as EventTypes from "../../open/EventTypes.ts"
import { SkeletonError } from "./SkeletonShape.ts"
import * as TsCodecs from "./TsCodecs.ts"
import type { Member } from "./TsPrograms.ts"
import * as TsText from "./TsText.ts"

/** What maps are written with. */
export interface Context {
  readonly object: BpfObject
  readonly codecs: TsCodecs.TsCodecs | undefined
  readonly events: ReadonlyMap<number, EventTypes.EventMap>
  readonly runtime: string
}

/** A type of elements, and an expression for its codec. */
type Element = Pick<TsCodecs.TsType, "type" | "codec">

/** Begins: finds the types of records. Throws `SkeletonError` where an annotation names none. */
export const context = (
  object: BpfObject,
  codecs: TsCodecs.TsCodecs | undefined,
  runtime: string
): Context => {
  const found = EventTypes.of(object)
  if (Result.isFailure(found)) {
    const { detail, hint, map } = found.failure
    throw new SkeletonError({ reason: "Type", name: map, detail, ...(hint === undefined ? {} : { hint }) })
  }
  return { object, codecs, runtime, events: new Map(found.success.map((each) => [each.map, each])) }
}

/** Keys or values: of their type, or, where that has no values of so many bytes, bytes. */
const elementOf = ({ codecs, runtime }: Context, type: number, size: number, wanted: string): Element => {
  const found = codecs === undefined || type === 0
    ? undefined
    : Result.getOrUndefined(TsCodecs.codecOf(codecs, Btf.skipModifiers(codecs.btf, type), wanted))
  return found !== undefined && found.size === size && !found.flexible
    ? found
    : { type: "Uint8Array", codec: `${runtime}.bytes(${size})` }
}

/** The types of a buffer's records. */
const recordsOf = ({ codecs, runtime }: Context, events: EventTypes.EventMap | undefined): ReadonlyArray<Element> => {
  const types = codecs === undefined || events === undefined
    ? []
    : events.types.flatMap(({ name, type }) => {
      const found = TsCodecs.codecOf(codecs, type, name.replaceAll(/[^A-Za-z0-9_]/g, "_"))
      if (Result.isFailure(found)) throw found.failure
      return [found.success]
    })
  return types.length === 0 ? [{ type: "Uint8Array", codec: `${runtime}.anyBytes` }] : types
}

/** The type of a member that can be changed before the load: a function's is the names of programs. */
const memberType = ({ codecs, object }: Context, type: number): string | undefined => {
  if (codecs === undefined) return undefined
  const { btf } = codecs
  const found = Btf.typeOf(btf, Btf.resolveType(btf, type))
  switch (found._tag) {
    case "Ptr": {
      if (Btf.kindOf(btf, Btf.resolveType(btf, found.type)) !== Btf.BTF_KIND_FUNC_PROTO) return undefined
      const programs = object.programs.filter((each) => each.entry && each.type === ProgType.BPF_PROG_TYPE_STRUCT_OPS)
      return [...programs.map(({ name }) => TsText.literal(name)), "null"].join(" | ")
    }
    case "Int":
    case "Float":
    case "Enum":
    case "Enum64":
      return Result.getOrUndefined(TsCodecs.codecOf(codecs, Btf.skipModifiers(btf, type)))?.type
    case "Array": {
      const element = Btf.typeOf(btf, Btf.resolveType(btf, found.type))
      return element._tag === "Int" && element.name === "char" ? "string | Uint8Array" : undefined
    }
    default:
      return undefined
  }
}

/** A struct of functions, with those of its members that are functions, numbers or texts. */
const structOps = (context: Context, map: MapDefinition, called: string): Member => {
  const { object: { btf }, runtime } = context
  const struct = btf === undefined || map.structOps === undefined
    ? undefined
    : Btf.typeOf(btf, Btf.resolveType(btf, map.structOps.typeId))
  const all = struct?._tag === "Struct" ? struct.members : []
  const members = all.flatMap(({ bitfieldSize, name, type }) => {
    const found = name === "" || name.includes(".") || bitfieldSize > 0 ? undefined : memberType(context, type)
    return found === undefined ? [] : [{ name, type: found }]
  })
  const types = members.map(({ name, type }) => `${TsText.key(name)}: ${type}`).join("; ")
  return {
    type: `${runtime}.StructOpsMap<${members.length === 0 ? "Readonly<Record<never, never>>" : `{ ${types} }`}>`,
    expression: `${runtime}.structOps(${called}, [${members.map(({ name }) => TsText.literal(name)).join(", ")}])`
  }
}

const tables: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_HASH,
  MapType.BPF_MAP_TYPE_LRU_HASH,
  MapType.BPF_MAP_TYPE_DEVMAP,
  MapType.BPF_MAP_TYPE_DEVMAP_HASH,
  MapType.BPF_MAP_TYPE_CPUMAP,
  MapType.BPF_MAP_TYPE_SOCKMAP,
  MapType.BPF_MAP_TYPE_SOCKHASH,
  MapType.BPF_MAP_TYPE_XSKMAP
])

const storages: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_TASK_STORAGE,
  MapType.BPF_MAP_TYPE_SK_STORAGE,
  MapType.BPF_MAP_TYPE_INODE_STORAGE,
  MapType.BPF_MAP_TYPE_CGRP_STORAGE
])

/** A map, as the module has it: `name` is what C calls it, `at` its position in the object. */
export const member = (context: Context, map: MapDefinition, name: string, at: number | undefined): Member => {
  const { runtime } = context
  const { keySize, type, valueSize } = map.attr
  const called = TsText.literal(name)
  const made = (handle: string, maker: string, ...args: ReadonlyArray<string>): Member => ({
    type: `${runtime}.${handle}`,
    expression: `${runtime}.${maker}(${[called, ...args].join(", ")})`
  })
  const plain = made("MapHandle", "plain", String(type), String(keySize))
  if (isGlobalData(map)) return plain
  const stem = name.replaceAll(/[^A-Za-z0-9_]/g, "_")
  const key = () => elementOf(context, map.keyType, keySize, `${stem}_key`)
  const value = () => elementOf(context, map.valueType, valueSize, `${stem}_value`)
  const ofKeys = (handle: string, maker: string, ...args: ReadonlyArray<string>): Member => {
    const [k, v] = [key(), value()]
    return made(`${handle}<${k.type}, ${v.type}>`, maker, ...args, k.codec, v.codec)
  }
  const ofValues = (handle: string, maker: string, ...args: ReadonlyArray<string>): Member => {
    const v = value()
    return made(`${handle}<${v.type}>`, maker, ...args, v.codec)
  }
  const ofRecords = (handle: string, maker: string): Member => {
    const records = recordsOf(context, at === undefined ? undefined : context.events.get(at))
    const types = [...new Set(records.map((record) => record.type))].join(" | ")
    return made(`${handle}<${types}>`, `${maker}<${types}>`, `[${records.map(({ codec }) => codec).join(", ")}]`)
  }
  switch (type) {
    case MapType.BPF_MAP_TYPE_ARRAY:
      return keySize === 4 ? ofValues("ArrayMap", "array") : plain
    case MapType.BPF_MAP_TYPE_PERCPU_ARRAY:
      return keySize === 4 ? ofValues("PerCpuArray", "perCpuArray") : plain
    case MapType.BPF_MAP_TYPE_PERCPU_HASH:
    case MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH:
      return ofKeys("PerCpuMap", "perCpu", String(type))
    case MapType.BPF_MAP_TYPE_LPM_TRIE:
      return ofKeys("LpmTrie", "lpmTrie")
    case MapType.BPF_MAP_TYPE_QUEUE:
    case MapType.BPF_MAP_TYPE_STACK:
      return ofValues("QueueMap", "queue", String(type))
    case MapType.BPF_MAP_TYPE_BLOOM_FILTER:
      return ofValues("BloomFilter", "bloomFilter")
    case MapType.BPF_MAP_TYPE_PROG_ARRAY:
      return made("ProgArray", "progArray")
    case MapType.BPF_MAP_TYPE_RINGBUF:
      return ofRecords("RingBufferMap", "ringBuffer")
    case MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
      return ofRecords("PerfBufferMap", "perfBuffer")
    case MapType.BPF_MAP_TYPE_USER_RINGBUF: {
      const records = recordsOf(context, at === undefined ? undefined : context.events.get(at))
      const [only] = records
      const { codec, type } = records.length === 1 && only !== undefined
        ? only
        : { codec: `${runtime}.anyBytes`, type: "Uint8Array" }
      return made(`UserRingBufferMap<${type}>`, "userRingBuffer", codec)
    }
    case MapType.BPF_MAP_TYPE_STRUCT_OPS:
      return structOps(context, map, called)
    case MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS:
    case MapType.BPF_MAP_TYPE_HASH_OF_MAPS: {
      const inner = map.inner === undefined
        ? { type: `${runtime}.MapHandle`, expression: `${runtime}.plain(${called}, 0, 0)` }
        // What is in a map of maps holds no maps itself, so this goes no deeper.
        : member(context, map.inner, `${name}.inner`, undefined)
      if (type === MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS) {
        return made(`MapOfMaps<number, ${inner.type}>`, "arrayOfMaps", inner.expression)
      }
      const k = key()
      return made(`MapOfMaps<${k.type}, ${inner.type}>`, "hashOfMaps", k.codec, inner.expression)
    }
    default:
      return tables.has(type)
        ? ofKeys("TypedMap", "table", String(type))
        : storages.has(type)
        ? ofValues("StorageMap", "storage", String(type))
        : plain
  }
}
