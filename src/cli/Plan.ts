/**
 * `plan`: the kernel calls that a load would make.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { Kernel } from "../services/Kernel/Kernel.ts"
import { plan as planStage } from "../stages/load/Plan.ts"
import { type RelocateOptions, relocateWith } from "../stages/relocate/Relocate.ts"
import * as Stage from "../stages/Stage.ts"
import { type Assumed, assumedText, assuming } from "./Assuming.ts"
import { reporting } from "./Failure.ts"
import * as Findings from "./Findings.ts"
import { planDocument } from "./json/PlanDocument.ts"
import * as KernelChoice from "./KernelChoice.ts"
import * as ObjectFile from "./ObjectFile.ts"
import * as Output from "./Output.ts"
import * as Relocation from "./Relocation.ts"
import { planText } from "./text/PlanText.ts"

/** From an opened object to its plan. */
export const planning = (options: RelocateOptions) => Stage.pipeline(relocateWith(options), planStage)

/** What is not known of a simulated kernel of a release, but derived from its number. */
const assumedOfRelease = (kernelName: string): ReadonlyArray<Assumed> => {
  const release = KernelChoice.releaseIn(kernelName)
  return release === undefined ? [] : [{
    what: "the features",
    value: `those of Linux ${release}`,
    why: "by the version in which each came; kernels of distributions may have others"
  }]
}

// Imported when it is wanted.
const diagnostics = Effect.promise(() =>
  Promise.all([import("../diagnostics/Diagnostic.ts"), import("../diagnostics/Requirements.ts")])
)

/** The command. */
export const plan = Command.make("plan", {
  object: ObjectFile.argument,
  kernel: KernelChoice.flag,
  core: Flag.Boolean("core").pipe(
    Flag.withDescription("List every CO-RE relocation: its C line, what it accesses, and what the kernel has"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  ...Relocation.flags,
  ...ObjectFile.edits
}, ({ btf, core, kconfig, kernel: kernelName, object: path, ...edits }) =>
  reporting(
    Effect.gen(function*() {
      const object = yield* ObjectFile.openEdited(path, edits)
      const kernel = yield* Kernel
      const assumed: Array<Assumed> = [...assumedOfRelease(kernelName)]
      const options = yield* Relocation.options({ btf, kconfig })
      const planned = yield* planning(options).run(object).pipe(
        Effect.provideService(Kernel, assuming(kernel, assumed)),
        // An object that cannot be planned without what is missing: the error says what it lacks, this says why.
        Effect.tapError(() => Output.message(assumedText(assumed).slice(1)))
      )
      const { release } = yield* kernel.info
      yield* Findings.add(Effect.fnUntraced(function*(about) {
        const [{ ofRequirements }, { ofPlan }] = yield* diagnostics
        return ofRequirements(ofPlan(planned), release, about)
      }))
      yield* Output.result(
        () => planDocument(planned, kernel.name, path, assumed),
        () => [...planText(planned, kernel.name, path, { core }), ...assumedText(assumed)]
      )
    }).pipe(Effect.provide(KernelChoice.layer(kernelName)))
  )).pipe(
    Command.withDescription(
      "Show the kernel calls that loading an object would make, in order: what each is for, what it is given, and what\n" +
        "  is done instead where a kernel refuses it. Nothing is loaded, and no privileges are needed: of the kernel only\n" +
        "  that is asked which the object depends on, such as the page size.\n\n" +
        "  With --json the plan is data: `steps` with `call`, `command`, `why`, `arguments`, `required` and `otherwise`.\n" +
        "  Bytes are base64, 64-bit numbers texts of digits, references such as \"map#3\" positions in `maps` and `programs`.\n" +
        "  `core` and `core_relocations` tell what became of the CO-RE relocations, those included that --core lists."
    ),
    Command.withShortDescription("Show the kernel calls that a load would make"),
    Command.withExamples([
      { command: "effect-bpf plan firewall.bpf.o", description: "What would happen" },
      {
        command: "effect-bpf plan firewall.bpf.o --map events.max_entries=4096 --set sample_every=10",
        description: "With a smaller ring buffer, and another setting"
      },
      {
        command: "effect-bpf plan firewall.bpf.o --kernel simulated:5.4",
        description: "As an old kernel would be asked"
      },
      { command: "effect-bpf plan firewall.bpf.o --json | jq -r '.steps[].command'", description: "For scripts" }
    ])
  )
