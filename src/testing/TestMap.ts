/**
 * A map as tests see it: keys and values are JavaScript values, encoded and decoded by the types in the object.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as BtfCodec from "../btf/BtfCodec.ts"
import type * as BtfValue from "../btf/BtfValue.ts"
import { CodecError } from "../btf/Codec.ts"
import * as Element from "../maps/Element.ts"
import type { MapError as TypedError } from "../maps/MapError.ts"
import { ofCpus } from "../maps/PerCpuMap.ts"
import * as Walk from "../maps/Walk.ts"
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

/** Half of an element, of which any value may be tried. */
interface Half extends Element.Half<BtfValue.BtfValue> {
  readonly encode: (value: unknown) => Result.Result<Uint8Array, CodecError>
}

const unfit = (subject: string, detail: string): CodecError => new CodecError({ reason: "Value", subject, detail })

const refuse = (subject: string, detail: string): Result.Result<never, CodecError> =>
  Result.fail(unfit(subject, detail))

const failed = (error: CodecError): TestingError =>
  new TestingError({ reason: "Value", subject: error.subject, detail: error.detail })

/** The errors of maps as those of tests. */
const told = <A>(effect: Effect.Effect<A, TypedError>): Effect.Effect<A, MapError> =>
  Effect.mapError(effect, (error) =>
    error._tag === "CodecError"
      ? failed(error)
      : error._tag === "TypedMapError"
      ? new TestingError({ reason: "Value", subject: error.map, detail: error.detail })
      : error)

const bytesAt = (view: DataView, at: number, size: number): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset + at, size)

/** A 32-bit number, for what has no type and four bytes: indices and ids. */
const word = (object: BpfObject, value: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, object.byteOrder === "little")
  return bytes
}

/** Half of an element by its type; bytes where there is none. */
const halfOf = (object: BpfObject, type: number, size: number, subject: string): Half => {
  const { btf, byteOrder } = object
  const sized = (bytes: Uint8Array): Result.Result<Uint8Array, CodecError> =>
    bytes.length === size
      ? Result.succeed(bytes)
      : refuse(subject, `it has ${size} bytes, and ${bytes.length} were given`)
  const typed = btf === undefined || type === 0 ? undefined : BtfCodec.make(btf, type, { byteOrder, name: subject })
  const whole = (value: unknown): Uint8Array | undefined =>
    value instanceof Uint8Array && value.length === size ? value : undefined
  if (typed === undefined) {
    return {
      name: subject,
      size,
      read: (view, at) => bytesAt(view, at, size).slice(),
      encode: (value) =>
        value instanceof Uint8Array
          ? sized(value)
          : size === 4 && typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff
          ? Result.succeed(word(object, value))
          : refuse(subject, "the object says no type for it: give its bytes, as a Uint8Array")
    }
  }
  const codec = Result.mapError(typed, (error) => unfit(subject, error.message))
  return {
    name: subject,
    size,
    read: (view, at) => {
      if (Result.isFailure(codec)) throw codec.failure
      return codec.success.read(view, at)
    },
    encode: (value) => {
      const given = whole(value)
      if (given !== undefined) return Result.succeed(given)
      return Result.flatMap(Result.flatMap(codec, (one) => one.encode(value)), sized)
    }
  }
}

/** The codec of a type of the object; of bytes where there is no type. */
export const codec = (object: BpfObject, type: number, size: number, subject: string): Codec => {
  const half = halfOf(object, type, size, subject)
  return {
    encode: (value) => Result.mapError(half.encode(value), failed),
    decode: (bytes) => Result.mapError(Element.decode(half, bytes), failed)
  }
}

/** How a map's values look to user space: one, or one for each CPU. */
const valueOf = (object: BpfObject, map: MapDefinition, cpus: number): Half => {
  const subject = `value of ${map.name}`
  const { type, valueSize } = map.attr
  if (ofDescriptors.has(type)) {
    return {
      name: subject,
      size: 4,
      encode: () => refuse(subject, "programs and maps are put into slots by the object, not by tests"),
      read: (view, at) => view.getUint32(at, object.byteOrder === "little")
    }
  }
  const one = halfOf(object, map.valueType, valueSize, subject)
  if (!perCpu.has(type)) return one
  const each = ofCpus(one, cpus)
  return {
    ...each,
    encode: (value) =>
      Array.isArray(value) && value.length === cpus
        ? each.encode(value)
        : refuse(subject, `an array of ${cpus} values is expected, one for each CPU`)
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
  const { attr, keyType, name } = definition
  const keys = halfOf(object, keyType, attr.keySize, `key of ${name}`)
  const key: Half = {
    ...keys,
    encode: (value) =>
      value === undefined && attr.keySize === 0 ? Result.succeed(new Uint8Array(0)) : keys.encode(value)
  }
  const value = valueOf(object, definition, cpus)
  // What the kernel would say of it, as far as it is asked here.
  const info = { ...attr, id: 0, btfId: 0, btfKeyTypeId: 0, btfValueTypeId: 0 }
  const source: Element.Source<unknown, BtfValue.BtfValue> & { readonly key: Half; readonly value: Half } = {
    session,
    map,
    name,
    info,
    key,
    value
  }
  return {
    name,
    get: (of) => told(Element.get(source, of)),
    set: (of, to) => told(Element.set<unknown, unknown>(source, of, to)),
    delete: (of) =>
      told(Effect.flatMap(
        Effect.suspend(() => Effect.fromResult(key.encode(of))),
        (bytes): Effect.Effect<void, TypedError> => session.call({ _tag: "MapDelete", map, key: bytes })
      )),
    entries: told(
      Effect.map(
        Stream.runCollect(Walk.entries({ ...source, key })),
        (found) => found.map(([key, value]): Entry => ({ key, value }))
      )
    )
  }
}
