/**
 * `prog profile`.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import { reporting } from "../Failure.ts"
import { profilingJson } from "../json/ProfilingDocument.ts"
import { onKernel } from "../objects/OnKernel.ts"
import * as Output from "../Output.ts"
import { profilingText } from "../text/ProfilingText.ts"
import { line, span } from "../text/Text.ts"
import * as Profile from "./Profile.ts"

const names = Profile.metrics.map(({ name }) => name)

/** `prog profile`. */
export const profile = Command.make("profile", {
  words: Argument.String("words").pipe(
    Argument.withDescription(
      `the program: id N, pinned FILE, name NAME or tag TAG; then duration SECONDS, and what is counted: ${
        names.join(", ")
      }`
    ),
    Argument.variadic()
  )
}, ({ words }) =>
  reporting(Effect.gen(function*() {
    const wanted = yield* Effect.fromResult(Profile.profileOf(words))
    const mode = yield* Output.jsonMode
    const hint = mode === "text" && wanted.duration === undefined
      ? Output.message([line(span("dim", "until interrupted: Ctrl-C"))])
      : Effect.void
    const context = yield* Effect.context<Effect.Services<typeof hint>>()
    yield* onKernel((objects) =>
      Profile.profile(
        objects,
        wanted,
        Effect.provideContext(hint, context),
        (profile, { name }) => Output.result(() => profilingJson(profile), () => profilingText(name, profile))
      )
    )
  }))).pipe(
    Command.withDescription(
      "Count what a program costs the processor while it runs: cycles, instructions, misses of caches, time, faults. Two programs\n" +
        "  are attached to its beginning and its end meanwhile (fentry and fexit), for a duration or until it is interrupted. Needs\n" +
        "  root, a program that was loaded with types, and a kernel that has trampolines. JSON is bpftool's."
    ),
    Command.withShortDescription("Count what a program costs the processor"),
    Command.withExamples([
      { command: "effect-bpf prog profile name xdp_firewall duration 10 cycles instructions llc_misses" },
      { command: "effect-bpf prog profile id 12 duration 5 task_clock", description: "On machines without counters" }
    ])
  )
