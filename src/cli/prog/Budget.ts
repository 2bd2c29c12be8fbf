/**
 * `prog budget`: what an object's programs cost the verifier and the kernel, compared with what they cost before.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { Failed } from "../Failed.ts"
import { reporting } from "../Failure.ts"
import { budgetJson } from "../json/BudgetDocument.ts"
import * as KernelChoice from "../KernelChoice.ts"
import { loadMeasured, logLevel } from "../Load.ts"
import * as ObjectFile from "../ObjectFile.ts"
import * as Output from "../Output.ts"
import * as Relocation from "../Relocation.ts"
import { budgetText } from "../text/BudgetText.ts"
import * as Budgets from "./Budgets.ts"

/** `prog budget`. */
export const budget = Command.make(
  "budget",
  {
    object: ObjectFile.argument,
    ...Budgets.flags,
    log: ObjectFile.log,
    kernel: KernelChoice.lastingFlag,
    ...Relocation.flags,
    ...ObjectFile.edits
  },
  ({ btf, budget: path, budgetWrite, kconfig, kernel, log, object: objectPath, ...edits }) =>
    Effect.gen(function*() {
      const measuring = Effect.gen(function*() {
        const wanted = yield* Effect.fromResult(Budgets.wantedOf(path, budgetWrite))
        const stored = wanted === undefined ? undefined : yield* Budgets.read(wanted)
        const object = yield* ObjectFile.openEdited(objectPath, edits, { logLevel: logLevel(log) })
        const relocate = yield* Relocation.options({ btf, kconfig })
        // Nothing is committed: maps that the object pins by their names go, too.
        const measured = yield* Effect.scoped(
          loadMeasured(object, { kernel, log, relocate }, (measured) =>
            Effect.as(measured.loaded.session.rollback, measured))
        )
        const compared = yield* Budgets.compare(wanted, stored, measured)
        if (wanted?.write === true) {
          yield* Budgets.write(wanted.path, stored, measured)
        }
        yield* Output.result(
          () =>
            budgetJson(compared),
          () =>
            budgetText(compared.comparison, wanted !== undefined && stored !== undefined)
        )
        return compared.comparison.exceeded && !compared.written
      }).pipe(Effect.provide(KernelChoice.layer(kernel)))
      // That it is exceeded is what was asked about, and no failure of the work.
      if (yield* reporting(measuring, { showLog: log })) return yield* new Failed({ status: 1 })
    })
).pipe(
  Command.withDescription(
    "Load an object, tell what each of its programs costs, and unload it: instructions, those that the verifier looked at,\n" +
      "  the states that it kept, its time, the stack, the machine code.\n\n" +
      "  With --budget FILE that is compared with what the file says; exit status 1 if a program has grown by more than is\n" +
      "  allowed. --budget-write makes the file, or writes it anew. Needs root, or CAP_BPF and what the programs' types ask for."
  ),
  Command.withShortDescription("Tell what programs cost the verifier, and compare it with a stored budget"),
  Command.withExamples([
    { command: "effect-bpf prog budget firewall.bpf.o", description: "What its programs cost" },
    {
      command: "effect-bpf prog budget firewall.bpf.o --budget firewall.budget.json --budget-write",
      description: "Store it"
    },
    { command: "effect-bpf prog budget firewall.bpf.o --budget firewall.budget.json", description: "Compare" }
  ])
)
