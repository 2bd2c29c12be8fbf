/**
 * Bytes that are read in parts: a file of which only the tables are wanted, or a part of another source, such as a member
 * of an archive. Reading in parts keeps the memory that a question costs in proportion to what it looks at.
 *
 * Reads are synchronous: a question makes a few dozen of them. The source over a file is in `attach/FileSource.ts`.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/**
 * Bytes that could not be had.
 *
 * - `OutOfBounds`: the range reaches beyond the end, or is none: `offset` and `length` say which, `size` where the end is
 * - `Truncated`: the file became shorter while it was read
 * - `Io`: the system's answer is in `detail`
 */
export class ByteSourceError extends Schema.TaggedError<ByteSourceError>()("ByteSourceError", {
  reason: Schema.Literals(["OutOfBounds", "Truncated", "Io"]),
  offset: Schema.Number,
  length: Schema.Number,
  size: Schema.Number,
  detail: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const range = `${this.length} bytes at 0x${this.offset.toString(16)}`
    switch (this.reason) {
      case "OutOfBounds":
        return `${range} reach beyond the end at 0x${this.size.toString(16)}; the file may have been cut off`
      case "Truncated":
        return `${range} are not there any more: the file became shorter while it was read`
      case "Io":
        return `${range} cannot be read: ${this.detail ?? "no reason given"}`
    }
  }
}

/** A range of bytes of known size. */
export interface ByteSource {
  /** Bytes in all. */
  readonly size: number
  /**
   * Exactly `length` bytes from `offset` on, which the caller must not change: a source in memory hands out views. A range
   * that is not wholly inside is refused (`OutOfBounds`) before anything is read or allocated.
   */
  readonly read: (offset: number, length: number) => Result.Result<Uint8Array, ByteSourceError>
}

/** Whether a range is inside `size` bytes; false for what is no range: fractions, NaN and negative numbers. */
export const isInside = (offset: number, length: number, size: number): boolean =>
  Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0 && offset + length <= size

/** The failure of a read outside the source. */
export const outOfBounds = (offset: number, length: number, size: number): Result.Result<never, ByteSourceError> =>
  Result.fail(new ByteSourceError({ reason: "OutOfBounds", offset, length, size }))

/** Bytes in memory; reads are views of them. */
export const fromBytes = (bytes: Uint8Array): ByteSource => ({
  size: bytes.length,
  read: (offset, length) =>
    isInside(offset, length, bytes.length)
      // Not `subarray`: of a Node Buffer that would be another Buffer.
      ? Result.succeed(new Uint8Array(bytes.buffer, bytes.byteOffset + offset, length))
      : outOfBounds(offset, length, bytes.length)
})

/** A part of a source as a source of its own. The part must lie inside. */
export const slice = (
  source: ByteSource,
  start: number,
  size: number
): Result.Result<ByteSource, ByteSourceError> =>
  isInside(start, size, source.size)
    ? Result.succeed({
      size,
      read: (offset, length) =>
        isInside(offset, length, size) ? source.read(start + offset, length) : outOfBounds(offset, length, size)
    })
    : outOfBounds(start, size, source.size)

/** Bytes are a source already as far as callers care; for functions that take either. */
export const of = (source: ByteSource | Uint8Array): ByteSource =>
  source instanceof Uint8Array ? fromBytes(source) : source

/** Whether a thrown value is a `ByteSourceError`; for `attempt`. */
export const isByteSourceError = (thrown: unknown): thrown is ByteSourceError => thrown instanceof ByteSourceError

/** Reads, and throws what went wrong; for the inside of this folder, whose public functions catch it with `attempt`. */
export const need = (source: ByteSource, offset: number, length: number): Uint8Array => {
  const read = source.read(offset, length)
  if (Result.isFailure(read)) throw read.failure
  return read.success
}
