/**
 * Values of one type and the bytes that they are in memory: what typed maps, event streams and generated skeletons take.
 *
 * A codec comes from BTF, from generated code, or from whoever knows the layout. It is a pure value; codecs of the same type
 * can be shared.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** Bytes that are no value of a type, or a value that has no bytes of it. */
export class CodecError extends Schema.TaggedError<CodecError>()("CodecError", {
  reason: Schema.Literals([
    /** Fewer bytes, or more, than a value has. */
    "Size",
    /** A value that does not fit its type. */
    "Value"
  ]),
  /** What was decoded or encoded: `value of map flows`, `struct event`. */
  subject: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.subject}: ${this.detail}${this.hint === undefined ? "" : ` (${this.hint})`}`
  }
}

/** Values of one type and their bytes. */
export interface Codec<A> {
  /** The name of the type, for errors. */
  readonly name: string
  /** Bytes of a value; where `flexible`, the least that there are. */
  readonly size: number
  /** Whether values have a tail of any length: their last member is a flexible array. */
  readonly flexible?: boolean
  /**
   * The value that begins `at` bytes into the view. The caller has made sure that `size` bytes are there; then this neither
   * fails nor throws. A flexible tail extends to the end of the view.
   */
  readonly read: (view: DataView, at: number) => A
  /** The bytes of a value, as many as it has. */
  readonly encode: (value: A) => Result.Result<Uint8Array, CodecError>
}

/** The error of bytes of the wrong number. */
export const sizeError = (codec: Pick<Codec<never>, "name" | "size" | "flexible">, given: number): CodecError =>
  new CodecError({
    reason: "Size",
    subject: codec.name,
    detail: `${given} bytes are given, and a value has ${codec.flexible === true ? "at least " : ""}${codec.size}`
  })

/** The value that these bytes are: exactly them, none more and none fewer, but for a flexible tail. */
export const decode = <A>(codec: Codec<A>, bytes: Uint8Array): Result.Result<A, CodecError> =>
  bytes.length === codec.size || (codec.flexible === true && bytes.length > codec.size)
    ? Result.succeed(codec.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0))
    : Result.fail(sizeError(codec, bytes.length))

/** Bytes as they are, `size` of them: of what has no type. Values are copies. */
export const bytes = (size: number, name: string = `${size} bytes`): Codec<Uint8Array> => {
  const codec: Codec<Uint8Array> = {
    name,
    size,
    read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, size).slice(),
    encode: (value) =>
      value.length === size ? Result.succeed(value.slice()) : Result.fail(sizeError(codec, value.length))
  }
  return codec
}
