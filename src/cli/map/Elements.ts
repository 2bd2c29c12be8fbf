/**
 * The elements of a map: read, written and decoded by the types that the map has.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Btf } from "../../btf/Btf.ts"
import * as BtfValue from "../../btf/BtfValue.ts"
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import { isOfMaps } from "../../services/Kernel/abi/MapShape.ts"
import { perCpu } from "../../services/Kernel/abi/ElementSize.ts"
import { Kernel } from "../../services/Kernel/Kernel.ts"
import type { MapInfo } from "../../services/Kernel/KernelCall.ts"
import type { CallError, KernelError } from "../../services/Kernel/KernelError.ts"
import { type Objects, type OpenMap, types, vmlinux } from "../objects/Objects.ts"
import { UsageError } from "../Usage.ts"

/** What elements of a map are. */
export interface Shape {
  readonly info: MapInfo
  /** Values of an element: one for each possible CPU in a per-CPU map. */
  readonly cpus: number
  /** The types, where the map has some. */
  readonly btf: Btf | undefined
  /** The type of keys in them, 0 where they have none. */
  readonly key: number
  /** The type of values. */
  readonly value: number
}

/** One element: its value's bytes, or why they cannot be read; `undefined` where nothing is at a key that is listed. */
export interface Element {
  readonly key: Uint8Array
  readonly value: Uint8Array | KernelError | undefined
}

/** Whether a map has a value for each CPU. */
export const isPerCpu = (info: MapInfo): boolean => perCpu.has(info.type)

/** Whether values are maps: look-ups answer their identifiers, updates take maps. */
export const holdsMaps = ({ type }: MapInfo): boolean => isOfMaps(type)

/** Whether values are programs. */
export const holdsProgs = ({ type }: MapInfo): boolean => type === MapType.BPF_MAP_TYPE_PROG_ARRAY

/** Bytes from one CPU's value to the next. */
const stride = (info: MapInfo): number => BtfValue.perCpuStride(info.valueSize)

/** Bytes of an element's value. */
export const valueLength = ({ cpus, info }: Shape): number => isPerCpu(info) ? stride(info) * cpus : info.valueSize

/** The values in an element's bytes: one, or one for each CPU. */
export const valuesOf = ({ cpus, info }: Shape, bytes: Uint8Array): ReadonlyArray<Uint8Array> =>
  isPerCpu(info)
    ? Array.from({ length: cpus }, (_, cpu) => bytes.subarray(cpu * stride(info), cpu * stride(info) + info.valueSize))
    : [bytes]

/** What elements of a map are: asks for CPUs and types where the map needs them. */
export const shapeOf = Effect.fnUntraced(function*(objects: Objects, { info }: OpenMap) {
  const cpus = isPerCpu(info)
    ? (yield* (yield* Kernel).ask([{ _tag: "PossibleCpus" }])).possibleCpus
    : undefined
  const structOps = info.vmlinuxValueTypeId ?? 0
  // A struct_ops map's value is a struct of the kernel, or of a module.
  const btf = structOps === 0
    ? yield* types(objects, info.btfValueTypeId === 0 ? 0 : info.btfId)
    : (yield* types(objects, info.vmlinuxBtfId ?? 0)) ?? (yield* vmlinux)
  return {
    info,
    cpus: cpus?._tag === "Known" ? cpus.value : 1,
    btf,
    key: structOps === 0 ? info.btfKeyTypeId : 0,
    value: structOps === 0 ? info.btfValueTypeId : structOps
  } satisfies Shape
})

/** The value of a key; `undefined` where there is none, and the kernel's refusal where it does not let values be read. */
export const read = (
  { session }: Objects,
  { ref }: OpenMap,
  shape: Shape,
  key: Uint8Array
): Effect.Effect<Uint8Array | KernelError | undefined, CallError> =>
  Effect.catch(
    session.call({ _tag: "MapLookup", map: ref, key, valueSize: valueLength(shape), flags: 0n }),
    (error): Effect.Effect<KernelError, CallError> =>
      error._tag === "KernelError" ? Effect.succeed(error) : Effect.fail(error)
  )

/** What reading all elements came to. */
export interface Elements {
  readonly elements: ReadonlyArray<Element>
  /** Others changed the map meanwhile so much that the kernel began again and again: elements may be missing. */
  readonly aborted: boolean
}

/** Maps in which a missing value is an empty place, which is not worth a word. */
const hasPlaces = (info: MapInfo): boolean => holdsMaps(info) || holdsProgs(info)

/**
 * All elements, in the order in which the kernel gives their keys. Ends after as many steps as the map could ever need:
 * where elements are removed meanwhile, the kernel may begin again with the first key.
 */
export const readAll = Effect.fnUntraced(function*(objects: Objects, map: OpenMap, shape: Shape) {
  const { session } = objects
  const { info } = shape
  const elements: Array<Element> = []
  const most = info.maxEntries === 0 ? Number.MAX_SAFE_INTEGER : 2 * info.maxEntries + 16
  const next = (key: Uint8Array | undefined) =>
    session.call({
      _tag: "MapNextKey",
      map: map.ref,
      keySize: info.keySize,
      ...(key === undefined ? {} : { key })
    })
  // Queues, rings and filters have no keys to go through, and may be full all the same: the kernel's refusal says so.
  let key = yield* next(undefined)
  let steps = 0
  for (; key !== undefined && steps < most; steps++) {
    const value = yield* read(objects, map, shape, key)
    if (value !== undefined || !hasPlaces(info)) elements.push({ key, value })
    key = yield* next(key)
  }
  return { elements, aborted: key !== undefined && !hasPlaces(info) && steps >= most } satisfies Elements
})

/** The value as a person would read it; `undefined` where there are no types, or they do not fit. */
export const decoded = (shape: Shape, what: "key" | "value", bytes: Uint8Array): BtfValue.BtfValue | undefined => {
  const type = shape[what]
  if (shape.btf === undefined || type === 0) return undefined
  return Result.getOrUndefined(BtfValue.decode(shape.btf, type, bytes))
}

/** The bytes of a value given as JSON. */
export const encoded = (
  shape: Shape,
  what: "key" | "value",
  argument: string,
  value: unknown
): Result.Result<Uint8Array, UsageError> => {
  const size = what === "key" ? shape.info.keySize : shape.info.valueSize
  const type = shape[what]
  if (shape.btf === undefined || type === 0) {
    return Result.fail(
      new UsageError({
        argument,
        detail: `the map has no types, so that its ${what} can be given as bytes only`,
        hint: `as in ${what} ${"0x00 ".repeat(Math.min(size, 4)).trim()}${size > 4 ? " …" : ""}, ${size} bytes`
      })
    )
  }
  return Result.flatMap(
    Result.mapError(
      BtfValue.encode(shape.btf, type, value),
      (error) => new UsageError({ argument, detail: error.message })
    ),
    (bytes) =>
      bytes.length === size ? Result.succeed(bytes) : Result.fail(
        new UsageError({ argument, detail: `its type has ${bytes.length} bytes, and the map's ${what} ${size}` })
      )
  )
}
