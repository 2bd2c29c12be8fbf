/**
 * What can be wrong with a budget, and with a program by its budget.
 */
import * as Schema from "effect/Schema"

/**
 * A file that is no budget.
 *
 * - `TooLarge`: larger than any budget
 * - `Json`: no JSON
 * - `Version`: written by a version of the library that this one does not know
 * - `Shape`: JSON that is no budget; `at` names the place
 */
export class BudgetFileError extends Schema.TaggedError<BudgetFileError>()("BudgetFileError", {
  reason: Schema.Literals(["TooLarge", "Json", "Version", "Shape"]),
  /** The key in question: `programs.xdp_pass.stack`. */
  at: Schema.optionalKey(Schema.String),
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const at = this.at === undefined ? "" : `${this.at}: `
    return `no budget: ${at}${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** Whether something thrown is a `BudgetFileError`. */
export const isBudgetFileError = (thrown: unknown): thrown is BudgetFileError => thrown instanceof BudgetFileError

/** A program that has grown by more than its budget allows. */
export class BudgetExceeded extends Schema.TaggedError<BudgetExceeded>()("BudgetExceeded", {
  /** What has grown, a clause each: `xdp_pass: 1200 verified instructions, were 1000; 1100 are allowed`. */
  growth: Schema.Array(Schema.String),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return ["the budget is exceeded", ...this.growth].join("\n") +
      (this.hint === undefined ? "" : `\nhint: ${this.hint}`)
  }
}
