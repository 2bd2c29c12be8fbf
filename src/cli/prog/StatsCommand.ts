/**
 * `prog stats`.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import { reporting } from "../Failure.ts"
import { jsonText } from "../json/Json.ts"
import { statsJson } from "../json/StatsDocument.ts"
import { onKernel } from "../objects/OnKernel.ts"
import * as Output from "../Output.ts"
import * as Screen from "../Screen.ts"
import { statsText } from "../text/StatsText.ts"
import { line, span } from "../text/Text.ts"
import * as Stats from "./Stats.ts"

/** Lines of the screen that no program stands in: the titles, what is below the table, and the cursor's own. */
const otherLines = 6

/** `prog stats`. */
export const stats = Command.make("stats", {
  words: Argument.String("words").pipe(
    Argument.withDescription(
      "the program: id N, pinned FILE, name NAME or tag TAG; all without it; then duration SECONDS, interval SECONDS"
    ),
    Argument.variadic()
  )
}, ({ words }) =>
  reporting(Effect.gen(function*() {
    const wanted = yield* Effect.fromResult(Stats.watchOf(words))
    const mode = yield* Output.jsonMode
    const alwaysOn = Stats.isAlwaysOn()
    const screen = mode === "text" ? yield* Screen.make : undefined
    let last: Stats.Measured = { watched: 0n, programs: [] }
    // However it ends, what has been measured is told: on a terminal it stands there already.
    const end = Effect.suspend(() =>
      mode !== "text"
        ? Output.lines([jsonText(statsJson(last, alwaysOn), mode === "pretty").trimEnd()])
        : screen === undefined
        ? Output.print(statsText(last))
        : Effect.void
    )
    const context = yield* Effect.context<Effect.Services<typeof end>>()
    const begun = Effect.gen(function*() {
      yield* Effect.addFinalizer(() => Effect.provideContext(end, context))
      if (alwaysOn === true) {
        yield* Output.message([
          line(
            span("dim", "kernel.bpf_stats_enabled is on: the kernel measures at all times, not only while this watches")
          )
        ])
      }
      if (mode === "text" && wanted.duration === undefined) {
        yield* Output.message([line(span("dim", "until interrupted: Ctrl-C"))])
      }
    })
    yield* onKernel((objects) =>
      Effect.flatMap(Effect.context<Effect.Services<typeof begun>>(), (context) =>
        Stats.watch(objects, wanted, Effect.provideContext(begun, context), (measured) =>
          Effect.gen(function*() {
            last = measured
            if (screen === undefined) {
              return
            }
            yield* screen.draw(statsText(measured, (yield* screen.rows) - otherLines))
          })))
    )
  }))).pipe(
    Command.withDescription(
      "Watch how often and how long programs run: each with its runs, their time in all and each, and its share of one CPU.\n" +
        "  Until it is interrupted, or for a duration; on a terminal the table is drawn anew at each interval, 1 second unless\n" +
        "  said otherwise. The kernel measures while somebody watches, or where kernel.bpf_stats_enabled is on; then programs take\n" +
        "  some nanoseconds more. Needs root, or CAP_SYS_ADMIN."
    ),
    Command.withShortDescription("Watch how often and how long programs run"),
    Command.withExamples([
      { command: "effect-bpf prog stats" },
      { command: "effect-bpf prog stats name xdp_firewall duration 10 --json" }
    ])
  )
