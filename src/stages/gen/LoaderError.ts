/**
 * What can go wrong when a loader program runs, besides the calls that bring it into the kernel.
 */
import * as Schema from "effect/Schema"
import { ErrnoSchema } from "../../services/Kernel/KernelError.ts"

/** The loader ran, and one of the calls that it makes failed: it has closed what it had opened. */
export class LoaderError extends Schema.TaggedError<LoaderError>()("LoaderError", {
  errno: ErrnoSchema,
  /** The number that the loader returned, positive. */
  errnoNumber: Schema.Number,
  /** What the kernel said of the BTF and the programs that the loader loaded, the refused one last; empty where it said nothing. */
  log: Schema.String,
  /** The line or two of the log that name the cause. */
  summary: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const said = this.summary === "" ? "" : `: ${this.summary}`
    const hint = this.hint === undefined ? "" : `\nhint: ${this.hint}`
    return `the loader program ended with ${this.errno}${said}${hint}`
  }
}

/** A run that was asked for makes no sense for this loader, or the loader none for this kernel: nothing was loaded. */
export class LoaderOptionsError extends Schema.TaggedError<LoaderOptionsError>()("LoaderOptionsError", {
  reason: Schema.Literals(["UnknownMap", "NoInitialValue", "InitialValueSize", "Signed", "BadNumber", "ByteOrder"]),
  /** The map that the option is for; absent where it is the loader itself that cannot run. */
  map: Schema.optionalKey(Schema.String),
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const hint = this.hint === undefined ? "" : `\nhint: ${this.hint}`
    return `${this.map === undefined ? "the loader" : `map ${this.map}`}: ${this.detail}${hint}`
  }
}
