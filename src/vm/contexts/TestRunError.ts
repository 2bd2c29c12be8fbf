/** Why there is no test run, or no answer of one. */
import * as Schema from "effect/Schema"
import * as Errno from "../../services/Kernel/abi/Errno.ts"
import { ErrnoSchema } from "../../services/Kernel/KernelError.ts"

/** The kernel answers `BPF_PROG_TEST_RUN` with this error number. */
export class TestRunError extends Schema.TaggedError<TestRunError>()("TestRunError", {
  errno: ErrnoSchema,
  /** Positive. */
  errnoNumber: Schema.Number,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `the test run answers ${this.errno}${this.hint === undefined ? "" : `: ${this.hint}`}`
  }
}

/** The kernel can do this test run, the simulated one cannot. */
export class UnsupportedTestRun extends Schema.TaggedError<UnsupportedTestRun>()("UnsupportedTestRun", {
  /** What it is: a program type, a flag. */
  what: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `test runs of ${this.what} are not simulated${this.hint === undefined ? "" : `: ${this.hint}`}`
  }
}

/** The error of a number of `Errno.numbers`. */
export const refusal = (errnoNumber: number, hint?: string): TestRunError =>
  new TestRunError({ errno: Errno.fromNumber(errnoNumber), errnoNumber, ...(hint === undefined ? {} : { hint }) })
