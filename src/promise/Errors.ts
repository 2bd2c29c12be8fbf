/**
 * Errors that promises reject with, and that functions throw: the same classes as elsewhere in the library, told apart by
 * `instanceof` or by `_tag`.
 */
import * as Schema from "effect/Schema"

/** Something was asked of what is closed. */
export class ClosedError extends Schema.TaggedError<ClosedError>()("ClosedError", {
  /** What is closed: `the object xdp_firewall`. */
  subject: Schema.String
}) {
  override get message(): string {
    return `${this.subject} is closed`
  }
}

/** The object has no program or map of this name, or the load did not take it. */
export class NotLoadedError extends Schema.TaggedError<NotLoadedError>()("NotLoadedError", {
  kind: Schema.Literals(["program", "map"]),
  name: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.kind} ${this.name}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

export { AttachError } from "../attach/AttachError.ts"
export { BinaryFileError } from "../attach/BinaryFile.ts"
export { LibraryNotFound } from "../attach/LibrarySearch.ts"
export { BtfError } from "../btf/BtfError.ts"
export { CodecError } from "../btf/Codec.ts"
export { BtfValueError } from "../btf/BtfValueError.ts"
export { PerfBufferError } from "../events/PerfBuffer.ts"
export { UserRingBufferError } from "../events/UserRingBuffer.ts"
export { TypedMapError } from "../maps/MapError.ts"
export { RingBufferError } from "../events/RingBuffer.ts"
export { FileReadError } from "../services/Elf/ElfService.ts"
export { ElfError } from "../services/Elf/ElfError.ts"
export { KernelError, ProgramFault, RefError, UnsupportedCall, VerifierError } from "../services/Kernel/KernelError.ts"
export { UnansweredError } from "../stages/Asked.ts"
export { GlobalsError } from "../stages/load/Globals.ts"
export { PinnedMapError, ReplacedMapError } from "../stages/load/PinnedMap.ts"
export { PlanError } from "../stages/load/PlanError.ts"
export { EditError } from "../stages/open/EditError.ts"
export { EventTypeError } from "../stages/open/EventTypes.ts"
export { OpenError } from "../stages/open/OpenError.ts"
export { CoreError } from "../stages/relocate/core/CoreError.ts"
export { RelocateError } from "../stages/relocate/RelocateError.ts"
export { TestingError } from "../testing/TestingError.ts"
export { UsdtError } from "../usdt/UsdtError.ts"
