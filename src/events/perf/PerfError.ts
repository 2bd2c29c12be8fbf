/**
 * What can be wrong with a perf buffer, apart from what the kernel answers to calls.
 */
import * as Schema from "effect/Schema"

/** A map that is no perf buffer, pages or CPUs that it cannot have, or contents that make no sense. */
export class PerfBufferError extends Schema.TaggedError<PerfBufferError>()("PerfBufferError", {
  reason: Schema.Literals([
    /** The map is of another type. */
    "MapType",
    /** A number of pages that no buffer has: it is a power of two, from 1 to 2^20. */
    "Pages",
    /** A CPU that this machine never has, that the map has no place for, or that is listed twice; or none at all. */
    "Cpus",
    /** The memory has not the size that was asked for. */
    "Geometry",
    /** A header or a position that the kernel does not write. */
    "Corrupt",
    /** It was read after its scope had closed. */
    "Closed",
    /** The kernel does not say how large its pages are. */
    "PageSize"
  ]),
  /** The map's name. */
  map: Schema.String,
  detail: Schema.String,
  cpu: Schema.optionalKey(Schema.Number),
  /** Position of the record, in bytes since the buffer was made. */
  position: Schema.optionalKey(Schema.BigInt),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const cpu = this.cpu === undefined ? "" : ` of CPU ${this.cpu}`
    const where = this.position === undefined ? "" : ` at position ${this.position}`
    return `perf buffer ${this.map}${cpu}: ${this.detail}${where}${
      this.hint === undefined ? "" : `\nhint: ${this.hint}`
    }`
  }
}
