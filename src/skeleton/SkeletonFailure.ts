/**
 * What can go wrong when a skeleton is opened and loaded.
 */
import * as Schema from "effect/Schema"
import type { CodecError } from "../btf/Codec.ts"
import type { KernelError } from "../services/Kernel/KernelError.ts"
import type { MapError } from "../maps/MapError.ts"
import type { AccessError } from "../stages/load/Globals.ts"
import type { ExecuteError } from "../stages/load/Execute.ts"
import type { EditError } from "../stages/open/EditError.ts"
import type { OpenFailure } from "../stages/open/Open.ts"
import type * as Plan from "../stages/load/Plan.ts"
import type * as Relocate from "../stages/relocate/Relocate.ts"
import type * as Effect from "effect/Effect"

/** The object is another than the one that the skeleton was made of: its types have other sizes, or parts of it are gone. */
export class SkeletonOutOfDate extends Schema.TaggedError<SkeletonOutOfDate>()("SkeletonOutOfDate", {
  /** The skeleton's name. */
  skeleton: Schema.String,
  /** What differs, one line for each map, program and variable. */
  differences: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const [first = "", ...rest] = this.differences
    const more = rest.length === 0 ? first : `\n  ${this.differences.join("\n  ")}`
    return `the skeleton ${this.skeleton} is out of date: ${more}\nhint: make it again, with effect-bpf gen skeleton`
  }
}

/** The object file beside a skeleton could not be read. */
export class ObjectUnreadable extends Schema.TaggedError<ObjectUnreadable>()("ObjectUnreadable", {
  /** Where it should be. */
  url: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.url}: ${this.detail}\nhint: put the object beside the module, or give its bytes to open({ object })`
  }
}

/** Why a skeleton was not opened. */
export type OpenError = OpenFailure | ObjectUnreadable | SkeletonOutOfDate | CodecError

/** Why an opened skeleton was not loaded. */
export type LoadError =
  | EditError
  | ExecuteError
  | KernelError
  | AccessError
  | MapError
  | Effect.Error<ReturnType<typeof Relocate.relocate.run>>
  | Effect.Error<ReturnType<typeof Plan.plan.run>>
