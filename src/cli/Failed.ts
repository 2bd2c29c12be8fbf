/**
 * How a command ends that failed.
 */
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"

/** A command that failed and has said so: carries the exit status to the end of the process. */
export class Failed extends Schema.TaggedError<Failed>()("Failed", { status: Schema.Literals([1, 2]) }) {
  override readonly [Runtime.errorExitCode]: number = this.status
  override readonly [Runtime.errorReported] = false
  override get message(): string {
    return `exit status ${this.status}`
  }
}
