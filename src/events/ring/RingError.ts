/**
 * What can be wrong with a ring buffer, apart from what the kernel answers to calls.
 */
import * as Schema from "effect/Schema"

/** A map that is no ring buffer which can be read, or a ring buffer whose contents make no sense. */
export class RingBufferError extends Schema.TaggedError<RingBufferError>()("RingBufferError", {
  reason: Schema.Literals([
    /** The map is of another type. */
    "MapType",
    /** The kernel overwrites what was not read: its consumer needs a third position, which this one does not follow. */
    "Overwrite",
    /** Sizes that no ring buffer has: the data is a power of two and a multiple of the page. */
    "Geometry",
    /** A header or a position that the kernel does not write. */
    "Corrupt",
    /** The kernel does not say how large its pages are. */
    "PageSize",
    /** The buffer is not mapped any more: the scope in which it was opened is over. */
    "Closed"
  ]),
  detail: Schema.String,
  /** Position of the record, in bytes since the buffer was created. */
  position: Schema.optionalKey(Schema.BigInt),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const where = this.position === undefined ? "" : ` at position ${this.position}`
    return `ring buffer: ${this.detail}${where}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}
