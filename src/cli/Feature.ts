/**
 * `feature`: what a kernel supports.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { reporting } from "./Failure.ts"
import { featureDocument } from "./json/FeatureDocument.ts"
import * as KernelChoice from "./KernelChoice.ts"
import * as Output from "./Output.ts"
import * as Progress from "./Progress.ts"
import { featureText, untriedText } from "./text/FeatureText.ts"

const probe = Command.make("probe", {
  kernel: KernelChoice.askedFlag,
  full: Flag.Boolean("full").pipe(
    Flag.withDescription(
      "Also try the helpers that the kernel writes a warning of into its log: bpf_probe_write_user, …"
    ),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}, ({ full, kernel }) =>
  reporting(
    Effect.gen(function*() {
      const progress = yield* Progress.make
      const report = yield* KernelChoice.features(kernel, { full, progress: progress.say }).pipe(
        Effect.ensuring(progress.clear)
      )
      const untried = KernelChoice.isProfile(kernel) ? untriedText : []
      yield* Output.result(
        () => featureDocument(report, kernel),
        () => [...featureText(report, kernel), ...untried]
      )
    }).pipe(KernelChoice.explaining(kernel))
  )).pipe(
    Command.withDescription(
      "Find out what a kernel supports: features that decide how objects are loaded, types of programs and maps, ways to\n" +
        "  attach, the helpers that programs of each type may call, limits of the verifier, settings and configuration.\n" +
        "  The kernel of this machine is tried, with some thousand small loads; nothing is attached, nothing stays.\n\n" +
        "  What the kernel refuses for lack of rights is told apart from what it does not have. With --json sections and keys\n" +
        "  are those of bpftool feature probe; what was refused is false there, too, and stands under `refused` besides."
    ),
    Command.withShortDescription("Find out what a kernel supports"),
    Command.withExamples([
      { command: "sudo effect-bpf feature probe", description: "Everything about this machine's kernel" },
      {
        command: "sudo effect-bpf feature probe --json | jq '.map_types.have_arena_map_type'",
        description: "One answer, for scripts"
      },
      { command: "effect-bpf feature probe --kernel production", description: "What a kernel profile tells" }
    ])
  )

/** The command with its verbs. */
export const feature = Command.make("feature").pipe(
  Command.withDescription("What a kernel supports"),
  Command.withShortDescription("What a kernel supports: probe"),
  Command.withSubcommands([probe])
)
