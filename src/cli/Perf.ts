/**
 * `perf`: what processes trace by programs, with bpftool's words.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { reporting } from "./Failure.ts"
import { tracedJson } from "./json/PerfDocument.ts"
import { onKernel } from "./objects/OnKernel.ts"
import * as Output from "./Output.ts"
import * as Traced from "./perf/Traced.ts"
import { tracedText } from "./text/PerfText.ts"

const show = (name: "show" | "list") =>
  Command.make(name, {}, () =>
    reporting(Effect.gen(function*() {
      const found = yield* onKernel((objects) => Traced.all(objects))
      yield* Output.result(() => found.map(tracedJson), () => tracedText(found))
    }))).pipe(
      Command.withDescription(
        "Show which processes trace what by programs: raw tracepoints, tracepoints, kprobes and uprobes, by the descriptors\n" +
          "  that they have open. Pinned links and those that are no perf events are shown by link show. Needs root, or\n" +
          "  CAP_SYS_ADMIN and CAP_SYS_PTRACE."
      ),
      Command.withShortDescription(name === "show" ? "Show what processes trace" : "The same as show"),
      Command.withExamples([{ command: `effect-bpf perf ${name}` }])
    )

/** The command with its verbs. */
export const perf = Command.make("perf").pipe(
  Command.withDescription("What processes of this machine trace by programs, with bpftool's words and JSON keys."),
  Command.withShortDescription("What processes trace by programs: show"),
  Command.withSubcommands([show("show"), show("list")])
)
