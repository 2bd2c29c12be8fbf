/**
 * What can go wrong with a typed map, beside what the kernel refuses.
 */
import * as Schema from "effect/Schema"
import type { CodecError } from "../btf/Codec.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import { ErrnoSchema } from "../services/Kernel/KernelError.ts"

/** A map that is not what it is taken for, or a request that it cannot be asked. */
export class TypedMapError extends Schema.TaggedError<TypedMapError>()("TypedMapError", {
  reason: Schema.Literals([
    /** The object has no map of this name, or the load did not make it. */
    "NoSuchMap",
    /** The map is of a kind that works otherwise. */
    "WrongKind",
    /** Keys or values have another size than the codec's. */
    "Size",
    /** The object says no types for keys or values, or types that have no values. */
    "NoType",
    /** An index beyond the array's end, or a CPU that the machine cannot have. */
    "Range",
    /** The kernel does not have what is asked for, and nothing else does the same. */
    "Unsupported",
    /** Programs change the map so much that its elements cannot be gone through. */
    "Unsteady",
    /** The scope in which memory was mapped is over. */
    "Closed"
  ]),
  /** The map's name. */
  map: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `map ${this.map}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** A change of many elements that ended before the last of them. */
export class BatchError extends Schema.TaggedError<BatchError>()("BatchError", {
  map: Schema.String,
  /** How many elements were changed; they stay so. */
  done: Schema.Number,
  /** How many were to be. */
  of: Schema.Number,
  /** The kernel's answer to the one after them. */
  errno: ErrnoSchema,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const hint = this.hint === undefined ? "" : `\nhint: ${this.hint}`
    return `map ${this.map}: element ${this.done + 1} of ${this.of} was refused (${this.errno})${hint}`
  }
}

/** Why something about a map did not work: the kernel's answer, bytes or values of another shape, or a mistaken request. */
export type MapError = CallError | CodecError | TypedMapError

/** A mistake about a map. */
export const mistake = (
  reason: TypedMapError["reason"],
  map: string,
  detail: string,
  hint?: string
): TypedMapError => new TypedMapError({ reason, map, detail, ...(hint === undefined ? {} : { hint }) })
