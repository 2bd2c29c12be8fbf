/** The document of `prog budget`, which is also in that of a load that keeps to a budget. */
import * as Schema from "effect/Schema"
import { metrics } from "../../diagnostics/Budget.ts"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

const MetricRow = Schema.Struct({
  metric: Field.oneOf(metrics, "What is counted."),
  before: Field.orNull(Field.count("What the budget says.")),
  now: Field.orNull(Field.count("What was measured.")),
  allowed: Field.orNull(Field.count("The most that is allowed; null where anything is.")),
  percent: Field.orNull(Field.number("How much more that is than before, in percent.")),
  status: Field.oneOf(
    ["same", "less", "more", "exceeded", "new", "untold", "ignored"],
    "exceeded: more than is allowed; new: not in the budget; untold: the kernel does not tell; ignored: not compared."
  )
})

const ProgramRow = Schema.Struct({
  name: Field.text("The program."),
  status: Field.oneOf(
    ["within", "exceeded", "new", "removed", "unmeasured"],
    "removed: in the budget, and not in the object; unmeasured: it was not loaded."
  ),
  stack_depths: Field.list(Field.count("Bytes."), "The stack of each function, the program's own first."),
  metrics: Field.list(MetricRow, "What was counted of it.")
})

/** What programs cost. */
export const Budget = Schema.Struct({
  budget: Field.orNull(Field.text("The file that was compared with.")),
  kernel: Field.orNull(Field.text("The release of the kernel.")),
  budget_kernel: Field.orNull(Field.text("The release of the kernel that the budget is from.")),
  exceeded: Field.flag("Whether a program has grown by more than is allowed."),
  written: Field.flag("Whether the file was written anew."),
  programs: Field.list(ProgramRow, "Each program that was loaded; behind them those that the budget has besides.")
}).annotate({ identifier: "Budget", title: "What programs cost" })

/** The documents. */
export const documents: ByCommand = {
  "prog budget": {
    description: "What an object's programs cost the verifier and the kernel, compared with a stored budget.",
    schema: Budget
  }
}
