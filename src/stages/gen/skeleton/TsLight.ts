/**
 * How a light skeleton in TypeScript speaks of maps, programs and variables: with codecs out of its own text, and by what the
 * object says of attaching, which is decided when the text is written.
 */
import * as Btf from "../../../btf/Btf.ts"
import * as Result from "effect/Result"
import { MapType, ProgType } from "../../../services/Kernel/abi/BpfConstants.ts"
import type { BpfObject, MapDefinition, Program } from "../../open/BpfObject.ts"
import * as EventTypes from "../../open/EventTypes.ts"
import { SkeletonError, type SkeletonVariable } from "./SkeletonShape.ts"
import * as TsCodecs from "./TsCodecs.ts"
import * as TsPrograms from "./TsPrograms.ts"
import * as TsText from "./TsText.ts"

/** A member of a module's maps or programs: its type, and the expression of its handle. */
export interface Member {
  readonly type: string
  readonly expression: string
  /** The part of the runtime that it needs beside the runtime itself. */
  readonly part?: "LightMaps" | "LightAttach"
}

/** How a variable is read and written: the runtime's field, and its type. */
export interface Access {
  readonly field: string
  readonly type: string
  /** Whether the property itself can be assigned. */
  readonly assignable: boolean
}

/** Numbers are read in place; other values by their codecs. What has no values is bytes. */
export const accessOf = (codecs: TsCodecs.TsCodecs, { name, offset, size, type }: SkeletonVariable): Access => {
  const { btf } = codecs
  const found = Btf.typeOf(btf, Btf.resolveType(btf, type))
  const signed = found._tag === "Int" && (found.encoding & Btf.BTF_INT_SIGNED) !== 0
  const isWhole = found._tag === "Int" && found.bits === size * 8
  if (found._tag === "Int" && (found.encoding & Btf.BTF_INT_BOOL) !== 0 && size === 1) {
    return { field: `Light.bool(${offset})`, type: "boolean", assignable: true }
  }
  if ((isWhole || found._tag === "Ptr") && size === 8) {
    return { field: `Light.bigint(${offset}, ${signed})`, type: "bigint", assignable: true }
  }
  if (isWhole && (size === 1 || size === 2 || size === 4)) {
    return { field: `Light.number(${offset}, ${size}, ${signed})`, type: "number", assignable: true }
  }
  if (found._tag === "Float" && (size === 4 || size === 8)) {
    return { field: `Light.float(${offset}, ${size})`, type: "number", assignable: true }
  }
  const codec = TsCodecs.codecOf(codecs, type, name)
  return Result.isSuccess(codec)
    ? {
      field: `Light.value(${offset}, ${size}, ${codec.success.codec})`,
      type: codec.success.type,
      assignable: true
    }
    : { field: `Light.bytes(${offset}, ${size})`, type: "Uint8Array", assignable: false }
}

/** A type in the text, or bytes where there is none of so many bytes. */
const half = (codecs: TsCodecs.TsCodecs | undefined, type: number, size: number, wanted: string) => {
  const codec = codecs === undefined || type === 0 ? undefined : TsCodecs.codecOf(codecs, type, wanted)
  // Sizes that were edited are those of the map.
  return codec !== undefined && Result.isSuccess(codec) && codec.success.size === size
    ? { type: codec.success.type, codec: codec.success.codec }
    : { type: "Uint8Array", codec: `Light.LayoutCodec.bytes(${size})` }
}

/** Maps of keys and values, by type: the function that opens one, and the type of its handle. */
const tables: ReadonlyMap<number, readonly [maker: string, type: string]> = new Map([
  [MapType.BPF_MAP_TYPE_HASH, ["table", "TypedMap"]],
  [MapType.BPF_MAP_TYPE_LRU_HASH, ["table", "TypedMap"]],
  [MapType.BPF_MAP_TYPE_DEVMAP, ["table", "TypedMap"]],
  [MapType.BPF_MAP_TYPE_DEVMAP_HASH, ["table", "TypedMap"]],
  [MapType.BPF_MAP_TYPE_CPUMAP, ["table", "TypedMap"]],
  [MapType.BPF_MAP_TYPE_SOCKMAP, ["table", "TypedMap"]],
  [MapType.BPF_MAP_TYPE_SOCKHASH, ["table", "TypedMap"]],
  [MapType.BPF_MAP_TYPE_XSKMAP, ["table", "TypedMap"]],
  [MapType.BPF_MAP_TYPE_LPM_TRIE, ["trie", "LpmTrie"]],
  [MapType.BPF_MAP_TYPE_PERCPU_HASH, ["perCpu", "PerCpuMap"]],
  [MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH, ["perCpu", "PerCpuMap"]]
])

/** The same of maps that have no keys, or a number for one. */
const lists: ReadonlyMap<number, readonly [maker: string, type: string]> = new Map([
  [MapType.BPF_MAP_TYPE_ARRAY, ["array", "ArrayMap"]],
  [MapType.BPF_MAP_TYPE_PERCPU_ARRAY, ["perCpuArray", "PerCpuArray"]],
  [MapType.BPF_MAP_TYPE_QUEUE, ["queue", "QueueMap"]],
  [MapType.BPF_MAP_TYPE_STACK, ["queue", "QueueMap"]],
  [MapType.BPF_MAP_TYPE_BLOOM_FILTER, ["bloom", "BloomFilter"]]
])

/** The annotated types of ring buffers' records, by the maps' names. Throws `SkeletonError` where an annotation names none. */
export const eventTypes = (object: BpfObject): ReadonlyMap<string, EventTypes.EventMap> => {
  const found = EventTypes.of(object)
  if (Result.isFailure(found)) {
    const { detail, hint, map } = found.failure
    throw new SkeletonError({ reason: "Type", name: map, detail, ...(hint === undefined ? {} : { hint }) })
  }
  const rings = found.success.filter(({ kind, types }) => kind === "RingBuffer" && types.length > 0)
  return new Map(rings.map((map) => [map.name, map]))
}

/** A map of the loader, whose number it is. */
export const map = (
  codecs: TsCodecs.TsCodecs | undefined,
  definition: MapDefinition,
  number: number,
  events: ReadonlyMap<string, EventTypes.EventMap>
): Member => {
  const { attr, keyType, name, valueType } = definition
  const called = TsText.literal(name)
  const value = () => half(codecs, valueType, attr.valueSize, `${name}_value`)
  const table = tables.get(attr.type)
  if (definition.origin === "Btf" && table !== undefined) {
    const [maker, type] = table
    const [keys, values] = [half(codecs, keyType, attr.keySize, `${name}_key`), value()]
    return {
      type: `LightMaps.${type}<${keys.type}, ${values.type}>`,
      expression:
        `LightMaps.${maker}(loaded, ${number}, { name: ${called}, key: ${keys.codec}, value: ${values.codec} })`,
      part: "LightMaps"
    }
  }
  const list = lists.get(attr.type)
  if (definition.origin === "Btf" && list !== undefined) {
    const [maker, type] = list
    const values = value()
    return {
      type: `LightMaps.${type}<${values.type}>`,
      expression: `LightMaps.${maker}(loaded, ${number}, { name: ${called}, value: ${values.codec} })`,
      part: "LightMaps"
    }
  }
  const annotated = codecs === undefined ? undefined : events.get(name)
  const types = (annotated?.types ?? []).flatMap(({ type }) => {
    const codec = codecs === undefined ? undefined : TsCodecs.codecOf(codecs, type, `${name}_event`)
    return codec !== undefined && Result.isSuccess(codec) ? [codec.success] : []
  })
  if (annotated !== undefined && types.length === annotated.types.length) {
    const union = types.map(({ type }) => type).join(" | ")
    return {
      type: `LightMaps.EventRing<${union}>`,
      expression: `LightMaps.events<${union}>(loaded, ${number}, ${called}, [${
        types.map(({ codec }) => codec).join(", ")
      }])`,
      part: "LightMaps"
    }
  }
  return { type: "Light.MapHandle", expression: `Light.mapHandle(loaded, ${number}, ${called})` }
}

/** Whether an object's section says to what a program is attached, so that it can be attached without a word of its user. */
export const attachesItself = (program: Program): boolean => canAttach(program) && TsPrograms.attachesItself(program)

/** Probes of programs that ask for their types (USDT) need the object's BTF, which a light skeleton leaves behind. */
const canAttach = (program: Program): boolean => {
  const kind = TsPrograms.kindOf(program)
  return kind !== undefined && kind.constant !== "usdt" && program.type !== ProgType.BPF_PROG_TYPE_EXT
}

/** A program of the loader, whose number it is. */
export const program = (definition: Program, number: number): Member => {
  const { attachTarget, expectedAttachType, name, section, type } = definition
  const kind = TsPrograms.kindOf(definition)
  const called = TsText.literal(name)
  if (kind === undefined || !canAttach(definition)) {
    return {
      type: "Light.ProgramHandle",
      expression: `Light.programHandle(loaded, ${number}, ${called}, ${TsText.literal(section)})`
    }
  }
  const [handle, maker] = attachesItself(definition)
    ? ["SelfAttaching", "selfAttaching"]
    : ["Attachable", "attachable"]
  const described = [
    `number: ${number}`,
    `name: ${called}`,
    `section: ${TsText.literal(section)}`,
    `type: ${type}`,
    `expectedAttachType: ${expectedAttachType}`,
    ...(attachTarget === undefined ? [] : [`attachTarget: ${TsText.literal(attachTarget)}`]),
    `autoAttach: ${TsText.literal(definition.definition?.autoAttach ?? "none")}`
  ].join(", ")
  return {
    type: `LightAttach.${handle}<LightAttach.${kind.target}>`,
    expression: `LightAttach.${maker}(loaded, { ${described} }, LightAttach.${kind.constant})`,
    part: "LightAttach"
  }
}
