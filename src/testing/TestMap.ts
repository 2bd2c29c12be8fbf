/**
 * A map as tests see it: keys and values are JavaScript values, encoded and decoded by the types in the object.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as BtfValue from "../btf/BtfValue.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import { ofDescriptors, perCpu } from "../services/Kernel/abi/ElementSize.ts"
import type { BpfObject, MapDefinition } from "../stages/open/BpfObject.ts"
import { TestingError } from "./TestingError.ts"

/** Why something about a map did not work. */
export type MapError = CallError | TestingError

/** An element of a map. */
export interface Entry {
  readonly key: BtfValue.BtfValue
  readonly value: BtfValue.BtfValue
}

/**
 * A map. Keys and values are encoded and decoded as `BtfValue` does it, by the types of the map's definition; where there
 * are none, and wherever a `Uint8Array` is given, they are bytes. Values of per-CPU maps are arrays of one for each CPU.
 */
export interface TestMap {
  readonly name: string
  /** The value of a key; `undefined` where the map has none. Of queues and stacks the next value: leave the key out. */
  readonly get: (key?: unknown) => Effect.Effect<BtfValue.BtfValue | undefined, MapError>
  /** Sets the value of a key. Of queues and stacks, pushes one: the key is `undefined`. */
  readonly set: (key: unknown, value: unknown) => Effect.Effect<void, MapError>
  /** Removes a key; one that is not there is `ENOENT`. */
  readonly delete: (key: unknown) => Effect.Effect<void, MapError>
  /** All elements, in the kernel's order. */
  readonly entries: Effect.Effect<ReadonlyArray<Entry>, MapError>
}

/** What turns values to bytes and back. */
export interface Codec {
  readonly encode: (value: unknown) => Result.Result<Uint8Array, TestingError>
  readonly decode: (bytes: Uint8Array) => Result.Result<BtfValue.BtfValue, TestingError>
}

const refuse = (subject: string, detail: string): Result.Result<never, TestingError> =>
  Result.fail(new TestingError({ reason: "Value", subject, detail }))

/** A 32-bit number, for what has no type and four bytes: indices and ids. */
const word = (object: BpfObject, value: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, object.byteOrder === "little")
  return bytes
}

/** The codec of a type of the object; of bytes where there is no type. */
export const codec = (object: BpfObject, type: number, size: number, subject: string): Codec => {
  const { btf } = object
  const sized = (bytes: Uint8Array): Result.Result<Uint8Array, TestingError> =>
    bytes.length === size
      ? Result.succeed(bytes)
      : refuse(subject, `it has ${size} bytes, and ${bytes.length} were given`)
  const failed = (error: BtfValue.BtfValueError) =>
    new TestingError({ reason: "Value", subject, detail: error.message })
  return {
    encode: (value) => {
      if (value instanceof Uint8Array && value.length === size) return Result.succeed(value)
      if (btf !== undefined && type !== 0) {
        return Result.flatMap(Result.mapError(BtfValue.encode(btf, type, value, object.byteOrder), failed), sized)
      }
      if (value instanceof Uint8Array) return sized(value)
      return size === 4 && typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff
        ? Result.succeed(word(object, value))
        : refuse(subject, "the object says no type for it: give its bytes, as a Uint8Array")
    },
    decode: (bytes) =>
      btf !== undefined && type !== 0
        ? Result.mapError(BtfValue.decode(btf, type, bytes, object.byteOrder), failed)
        : Result.succeed(bytes)
  }
}

/** How a map's values look to user space: one, or one for each CPU. */
const valueCodec = (object: BpfObject, map: MapDefinition, cpus: number): Codec & { readonly size: number } => {
  const subject = `value of ${map.name}`
  const { type, valueSize } = map.attr
  if (ofDescriptors.has(type)) {
    return {
      size: 4,
      encode: () => refuse(subject, "programs and maps are put into slots by the object, not by tests"),
      decode: (bytes) =>
        Result.succeed(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, object.byteOrder === "little"))
    }
  }
  const one = codec(object, map.valueType, valueSize, subject)
  if (!perCpu.has(type)) return { ...one, size: valueSize }
  const stride = Math.ceil(valueSize / 8) * 8
  const size = stride * cpus
  return {
    size,
    encode: (value) => {
      if (!Array.isArray(value) || value.length !== cpus) {
        return refuse(subject, `an array of ${cpus} values is expected, one for each CPU`)
      }
      const bytes = new Uint8Array(size)
      for (const [cpu, each] of value.entries()) {
        const encoded = one.encode(each)
        if (Result.isFailure(encoded)) return encoded
        bytes.set(encoded.success, cpu * stride)
      }
      return Result.succeed(bytes)
    },
    decode: (bytes) => {
      const values: Array<BtfValue.BtfValue> = []
      for (let cpu = 0; cpu < cpus; cpu++) {
        const value = one.decode(bytes.subarray(cpu * stride, cpu * stride + valueSize))
        if (Result.isFailure(value)) return value
        values.push(value.success)
      }
      return Result.succeed(values)
    }
  }
}

/** The map of a loaded object. */
export const make = (
  session: Session,
  object: BpfObject,
  definition: MapDefinition,
  map: MapRef,
  cpus: number
): TestMap => {
  const { keySize } = definition.attr
  const keys = codec(object, definition.keyType, keySize, `key of ${definition.name}`)
  const values = valueCodec(object, definition, cpus)
  const keyOf = (key: unknown) =>
    key === undefined && keySize === 0 ? Result.succeed(new Uint8Array(0)) : keys.encode(key)
  const lookup = (key: Uint8Array) => session.call({ _tag: "MapLookup", map, key, valueSize: values.size, flags: 0n })
  return {
    name: definition.name,
    get: (key) =>
      Effect.gen(function*() {
        const bytes = yield* lookup(yield* Effect.fromResult(keyOf(key)))
        return bytes === undefined ? undefined : yield* Effect.fromResult(values.decode(bytes))
      }),
    set: (key, value) =>
      Effect.gen(function*() {
        const encoded = yield* Effect.fromResult(keyOf(key))
        const bytes = yield* Effect.fromResult(values.encode(value))
        yield* session.call({ _tag: "MapUpdate", map, key: encoded, value: { bytes, refs: [] }, flags: 0n })
      }),
    delete: (key) =>
      Effect.gen(function*() {
        yield* session.call({ _tag: "MapDelete", map, key: yield* Effect.fromResult(keyOf(key)) })
      }),
    entries: Effect.gen(function*() {
      const found: Array<Entry> = []
      let key = yield* session.call({ _tag: "MapNextKey", map, keySize })
      // Programs may run meanwhile and move the end away; more than the map can hold is no longer its contents.
      while (key !== undefined && found.length <= definition.attr.maxEntries) {
        const bytes = yield* lookup(key)
        if (bytes !== undefined) {
          found.push({
            key: yield* Effect.fromResult(keys.decode(key)),
            value: yield* Effect.fromResult(values.decode(bytes))
          })
        }
        key = yield* session.call({ _tag: "MapNextKey", map, key, keySize })
      }
      return found
    })
  }
}
