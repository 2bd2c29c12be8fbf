/**
 * Maps that have a value for each CPU of every element: hashes, with or without a limit, and arrays.
 *
 * A value is an array of one for each CPU that the kernel may ever have, in the order of their numbers.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type { BtfValue } from "../btf/BtfValue.ts"
import { perCpuStride } from "../btf/BtfValue.ts"
import { CodecError } from "../btf/Codec.ts"
import { ElementFlag, MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Kernel, Session } from "../services/Kernel/Kernel.ts"
import type { MapInfo } from "../services/Kernel/KernelCall.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import type { Values } from "./ArrayMap.ts"
import * as Element from "./Element.ts"
import { type MapError, mistake } from "./MapError.ts"
import * as OfObject from "./OfObject.ts"
import { refine } from "./SchemaCodec.ts"
import { type Codecs, table, type TypedMap, writable, type WritableMap } from "./TypedMap.ts"

/** What is done with the value of one CPU. */
export interface OnCpus<K, V> {
  /** How many CPUs the kernel may ever have. */
  readonly cpus: number
  /** The value of one CPU; `undefined` where the map has no such element. */
  readonly getOf: (key: K, cpu: number) => Effect.Effect<V | undefined, MapError>
  /**
   * Sets the value of one CPU and leaves the others'. Kernels that cannot do that (before 6.19) are told of as `Unsupported`:
   * reading all and writing all would undo what programs do meanwhile.
   */
  readonly setOf: (
    key: K,
    cpu: number,
    value: V,
    options?: Pick<Element.SetOptions, "when">
  ) => Effect.Effect<void, MapError>
  /** Sets the values of all CPUs to the same. */
  readonly setEach: (key: K, value: V, options?: Pick<Element.SetOptions, "when">) => Effect.Effect<void, MapError>
}

/** A table with a value for each CPU. */
export interface PerCpuMap<K, V> extends TypedMap<K, ReadonlyArray<V>>, OnCpus<K, V> {}

/** An array with a value for each CPU. */
export interface PerCpuArray<V> extends WritableMap<number, ReadonlyArray<V>>, OnCpus<number, V> {
  /** How many elements there are. */
  readonly length: number
}

/** The values of all CPUs: each begins at a multiple of 8 bytes. */
export const ofCpus = <V>(one: Element.Half<V>, cpus: number): Element.Half<ReadonlyArray<V>> => {
  const stride = perCpuStride(one.size)
  return {
    name: one.name,
    size: stride * cpus,
    read: (view, at) => {
      const values: Array<V> = []
      for (let cpu = 0; cpu < cpus; cpu++) values.push(one.read(view, at + cpu * stride))
      return values
    },
    encode: (values) => {
      if (values.length !== cpus) {
        const detail = `${values.length} values are given: an array of one for each of ${cpus} CPUs is expected`
        return Result.fail(new CodecError({ reason: "Value", subject: one.name, detail }))
      }
      const bytes = new Uint8Array(stride * cpus)
      for (const [cpu, value] of values.entries()) {
        const encoded = one.encode(value)
        if (Result.isFailure(encoded)) return encoded
        bytes.set(encoded.success, cpu * stride)
      }
      return Result.succeed(bytes)
    }
  }
}

const onCpus = <K, V>(
  source: Element.Source<K, ReadonlyArray<V>>,
  one: Element.Half<V>,
  cpus: number
): OnCpus<K, V> => {
  const { name } = source
  const within = (cpu: number): Effect.Effect<void, MapError> =>
    Number.isInteger(cpu) && cpu >= 0 && cpu < cpus
      ? Effect.void
      : Effect.fail(mistake("Range", name, `there is no CPU ${cpu}: the kernel may have ${cpus}, counted from 0`))
  return {
    cpus,
    getOf: (key, cpu) => Effect.andThen(within(cpu), Effect.map(Element.get(source, key), (values) => values?.[cpu])),
    setOf: (key, cpu, value, options) =>
      Effect.andThen(
        within(cpu),
        Effect.catch(
          Element.set(
            { ...source, value: one },
            key,
            value,
            Element.setFlags(options) | ElementFlag.BPF_F_CPU | BigInt(cpu) << 32n
          ),
          (error): Effect.Effect<void, MapError> =>
            error._tag === "KernelError" && error.errno === "EINVAL"
              ? Effect.fail(
                mistake(
                  "Unsupported",
                  name,
                  "this kernel does not set the value of one CPU (BPF_F_CPU)",
                  "set the values of all CPUs, where no program changes them meanwhile"
                )
              )
              : Effect.fail(error)
        )
      ),
    setEach: (key, value, options) =>
      Element.set(source, key, Array.from({ length: cpus }, () => value), Element.setFlags(options))
  }
}

const hashes: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH
])

const arrays: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_PERCPU_ARRAY])

const otherwise = ({ type }: MapInfo): string =>
  type === MapType.BPF_MAP_TYPE_PERCPU_ARRAY
    ? "arrays with a value for each CPU are opened with PerCpuMap.array"
    : hashes.has(type)
    ? "tables with a value for each CPU are opened with PerCpuMap.make"
    : "its elements have one value: see the page on maps for what opens it"

/** A table of a session, with codecs of keys and of the value of one CPU. */
export const make: <K, V>(
  session: Session,
  map: MapRef,
  codecs: Codecs<K, V>
) => Effect.Effect<PerCpuMap<K, V>, MapError, Kernel> = Effect.fnUntraced(function*<K, V>(
  session: Session,
  map: MapRef,
  codecs: Codecs<K, V>
): Effect.fn.Return<PerCpuMap<K, V>, MapError, Kernel> {
  const info = yield* Element.infoOf(session, map, codecs.name, hashes, otherwise)
  const name = codecs.name ?? info.name
  const cpus = yield* Element.possibleCpus(name)
  const key = yield* Effect.fromResult(Element.half(codecs.key, "keys", name, info.keySize))
  const one = yield* Effect.fromResult(Element.half(codecs.value, "values", name, info.valueSize))
  const source = { session, map, name, info, key, value: ofCpus(one, cpus) }
  return { ...table(source), ...onCpus(source, one, cpus) }
})

/** An array of a session, with the codec of the value of one CPU. */
export const array: <V>(
  session: Session,
  map: MapRef,
  values: Values<V>
) => Effect.Effect<PerCpuArray<V>, MapError, Kernel> = Effect.fnUntraced(function*<V>(
  session: Session,
  map: MapRef,
  values: Values<V>
): Effect.fn.Return<PerCpuArray<V>, MapError, Kernel> {
  const info = yield* Element.infoOf(session, map, values.name, arrays, otherwise)
  const name = values.name ?? info.name
  const cpus = yield* Element.possibleCpus(name)
  const key = Element.index(name, info.maxEntries)
  const one = yield* Effect.fromResult(Element.half(values.value, "values", name, info.valueSize))
  const source = { session, map, name, info, key, value: ofCpus(one, cpus) }
  return { ...writable(source), ...onCpus(source, one, cpus), length: info.maxEntries }
})

/** A table of a loaded object by its name. */
export const of = (
  loaded: OfObject.Loaded,
  name: string
): Effect.Effect<PerCpuMap<BtfValue, BtfValue>, MapError, Kernel> =>
  Effect.flatMap(OfObject.open(loaded, name), (opened) => make(opened.session, opened.map, opened))

/** An array of a loaded object by its name. */
export const arrayOf = (
  loaded: OfObject.Loaded,
  name: string
): Effect.Effect<PerCpuArray<BtfValue>, MapError, Kernel> =>
  Effect.flatMap(OfObject.open(loaded, name), (opened) => array(opened.session, opened.map, opened))

/** A table of a loaded object whose values of one CPU are refined by a schema over what `of` has. */
export const withSchema = <V, VI>(
  loaded: OfObject.Loaded,
  name: string,
  schema: Schema.Codec<V, VI>
): Effect.Effect<PerCpuMap<BtfValue, V>, MapError, Kernel> =>
  Effect.flatMap(
    OfObject.open(loaded, name),
    ({ key, map, session, value }) => make(session, map, { key, value: refine(value, schema), name })
  )

/** An array of a loaded object whose values of one CPU are refined by a schema over what `arrayOf` has. */
export const arrayWithSchema = <V, VI>(
  loaded: OfObject.Loaded,
  name: string,
  schema: Schema.Codec<V, VI>
): Effect.Effect<PerCpuArray<V>, MapError, Kernel> =>
  Effect.flatMap(
    OfObject.open(loaded, name),
    ({ map, session, value }) => array(session, map, { value: refine(value, schema), name })
  )
