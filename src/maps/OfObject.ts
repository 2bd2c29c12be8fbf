/**
 * What the maps of a loaded object hold: codecs by the types that the object's BTF has for keys and values.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as BtfCodec from "../btf/BtfCodec.ts"
import type { BtfValue } from "../btf/BtfValue.ts"
import { bytes, type CodecError } from "../btf/Codec.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import type { LoadedObject } from "../stages/load/Execute.ts"
import { type BpfObject, findMap, type MapDefinition } from "../stages/open/BpfObject.ts"
import type { ElementCodec } from "./Element.ts"
import { mistake, type TypedMapError } from "./MapError.ts"

/** What is needed of a loaded object. */
export type Loaded = Pick<LoadedObject, "object" | "session" | "map">

/** A map of a loaded object, with what its types say of keys and values. */
export interface Opened<K, V> {
  readonly session: Session
  readonly map: MapRef
  readonly name: string
  readonly definition: MapDefinition
  readonly key: ElementCodec<K>
  readonly value: ElementCodec<V>
}

/** The codec of whatever a key or value is; of bytes where there is no type for it. */
export interface AnyCodec extends BtfCodec.BtfCodec {}

/** The codec of keys or values of a map: by their type; of bytes where the object has none. */
export const codecOf = (
  object: BpfObject,
  definition: MapDefinition,
  half: "key" | "value",
  options: BtfCodec.CodecOptions = { octets: true, flexible: true }
): Result.Result<AnyCodec, TypedMapError> => {
  const { btf } = object
  const type = half === "key" ? definition.keyType : definition.valueType
  const size = half === "key" ? definition.attr.keySize : definition.attr.valueSize
  const name = `${half} of ${definition.name}`
  if (btf === undefined || type === 0) return Result.succeed(anyBytes(size, name))
  return Result.mapError(
    BtfCodec.make(btf, type, { byteOrder: object.byteOrder, ...options, name }),
    (error) => mistake("NoType", definition.name, `the type of its ${half}s has no values: ${error.message}`)
  )
}

const anyBytes = (size: number, name: string): AnyCodec => {
  const codec = bytes(size, name)
  return {
    ...codec,
    encode: (value): Result.Result<Uint8Array, CodecError> =>
      codec.encode(value instanceof Uint8Array ? value : new Uint8Array(0))
  }
}

/** The map of this name, with the codecs that its types give. */
export const open = (
  { map: refOf, object, session }: Loaded,
  name: string
): Effect.Effect<Opened<BtfValue, BtfValue> & { readonly key: AnyCodec; readonly value: AnyCodec }, TypedMapError> =>
  Effect.suspend(() => {
    const definition = findMap(object, name)
    const map = refOf(name)
    if (definition === undefined || map === undefined) {
      const names = object.maps.filter((one) => one.autocreate).slice(0, mostNames).map((one) => one.name).join(", ")
      return Effect.fail(
        mistake(
          "NoSuchMap",
          name,
          definition === undefined ? "the object has no map of this name" : "the load did not create it",
          names === "" ? "there are none" : `there are ${names}`
        )
      )
    }
    return Effect.fromResult(
      Result.flatMap(
        codecOf(object, definition, "key"),
        (key) =>
          Result.map(codecOf(object, definition, "value"), (value) => ({
            session,
            map,
            name: definition.name,
            definition,
            key,
            value
          }))
      )
    )
  })

/** The most names that an error lists. */
const mostNames = 20
