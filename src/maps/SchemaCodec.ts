/**
 * Codecs that a schema refines: bytes to values by a codec, and those to values of the user's own by a schema.
 *
 * ```ts
 * class Flow extends Schema.Class<Flow>("Flow")({ bytes: Schema.BigInt, packets: Schema.Int }) {}
 * const flow = SchemaCodec.refine(codec, Flow)
 * ```
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { bytes, type Codec, CodecError } from "../btf/Codec.ts"

/** Values of a schema and their bytes. Unlike those of a `Codec` they may turn out to be none when they are read. */
export interface SchemaCodec<A> {
  readonly _tag: "SchemaCodec"
  readonly name: string
  /** Bytes of a value; where `flexible`, the least that there are. */
  readonly size: number
  readonly flexible?: boolean
  /** The value that begins `at` bytes into the view, where `size` bytes are. */
  readonly decode: (view: DataView, at: number) => Result.Result<A, CodecError>
  readonly encode: (value: A) => Result.Result<Uint8Array, CodecError>
}

/** What a schema refines: a `Codec`, or one that takes more than it gives, as those by BTF do. */
export interface Refinable<in I> extends Pick<Codec<unknown>, "name" | "size" | "flexible" | "read"> {
  readonly encode: (value: I) => Result.Result<Uint8Array, CodecError>
}

const refused = (name: string, what: string, error: { readonly message: string }): CodecError =>
  new CodecError({ reason: "Value", subject: name, detail: `${what}: ${error.message}` })

/** Refines a codec: what it reads is decoded by the schema, which must not be asynchronous. */
export const refine = <A, I>(codec: Refinable<I>, schema: Schema.Codec<A, I>): SchemaCodec<A> => {
  const toValue = Schema.decodeUnknownResult(schema)
  const toPlain = Schema.encodeUnknownResult(schema)
  const { flexible, name, size } = codec
  return {
    _tag: "SchemaCodec",
    name,
    size,
    ...(flexible === undefined ? {} : { flexible }),
    decode: (view, at) =>
      Result.mapError(toValue(codec.read(view, at)), (error) => refused(name, "what was read is no such value", error)),
    encode: (value) =>
      Result.flatMap(
        Result.mapError(toPlain(value), (error) => refused(name, "it is no such value", error)),
        codec.encode
      )
  }
}

/** A schema of values that are `size` bytes: for types that no BTF describes. */
export const ofBytes = <A>(size: number, schema: Schema.Codec<A, Uint8Array>, name?: string): SchemaCodec<A> =>
  refine(bytes(size, name), schema)
