/**
 * `plan`: the kernel calls that a load would make.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { Kernel, type KernelShape } from "../services/Kernel/Kernel.ts"
import * as KernelInfo from "../services/Kernel/KernelInfo.ts"
import { plan as planStage } from "../stages/load/Plan.ts"
import { relocate } from "../stages/relocate/Relocate.ts"
import * as Stage from "../stages/Stage.ts"
import { reporting } from "./Failure.ts"
import { type Assumed, planDocument } from "./json/PlanDocument.ts"
import * as KernelChoice from "./KernelChoice.ts"
import * as ObjectFile from "./ObjectFile.ts"
import * as Output from "./Output.ts"
import { planText } from "./text/PlanText.ts"
import { blank, heading, type Line, span, wrapped } from "./text/Text.ts"

/** From an opened object to its plan. */
export const planning = Stage.pipeline(relocate, planStage)

/**
 * The kernel for a plan that nobody carries out: what it refuses to tell is assumed and remembered, instead of being the
 * end. Without privileges, or on another system, a plan is then still the plan, but for what is said beside it.
 */
const assuming = (kernel: KernelShape, assumed: Array<Assumed>): KernelShape => {
  const askOne = (requirement: KernelInfo.Requirement) =>
    Effect.catch(kernel.ask([requirement]), (error) => {
      const assumption = assumptionFor(requirement)
      if (assumption === undefined) return Effect.fail(error)
      assumed.push({
        what: KernelInfo.describe(requirement),
        value: assumption.text,
        why: `${error.subject}: ${error.errno}`
      })
      return Effect.succeed(assumption.answers)
    })
  return {
    ...kernel,
    // One by one only where some are refused: a kernel may answer many at once with less work.
    ask: (requirements) =>
      Effect.catch(kernel.ask(requirements), () => Effect.map(Effect.forEach(requirements, askOne), together))
  }
}

/** Answers to different requirements as one. */
const together = (answers: ReadonlyArray<KernelInfo.Answers>): KernelInfo.Answers => {
  const all: KernelInfo.Answers = {}
  for (const each of answers) Object.assign(all, each)
  return {
    ...all,
    kconfig: new Map(answers.flatMap(({ kconfig }) => [...(kconfig ?? [])])),
    features: new Map(answers.flatMap(({ features }) => [...(features ?? [])])),
    symbols: new Map(answers.flatMap(({ symbols }) => [...(symbols ?? [])]))
  }
}

/** What is assumed where a kernel does not say, with its text for people; nothing can be assumed of its types. */
const assumptionFor = (
  requirement: KernelInfo.Requirement
): { readonly answers: KernelInfo.Answers; readonly text: string } | undefined => {
  switch (requirement._tag) {
    case "PageSize":
      return { answers: { pageSize: KernelInfo.known(4096) }, text: "4096 bytes" }
    case "PossibleCpus":
      return { answers: { possibleCpus: KernelInfo.known(1) }, text: "1" }
    case "KernelVersion":
      return { answers: { kernelVersion: KernelInfo.known(0) }, text: "0" }
    case "Kconfig":
      return { answers: { kconfig: new Map([[requirement.key, KernelInfo.known(undefined)]]) }, text: "not set" }
    case "Feature":
      return { answers: { features: new Map([[requirement.feature, KernelInfo.known(false)]]) }, text: "absent" }
    case "Symbol":
      return { answers: { symbols: new Map([[requirement.name, KernelInfo.known(undefined)]]) }, text: "absent" }
    default:
      return undefined
  }
}

const assumedText = (assumed: ReadonlyArray<Assumed>): ReadonlyArray<Line> =>
  assumed.length === 0 ? [] : [
    blank,
    heading("Not known of this kernel, and so assumed"),
    ...assumed.map(({ value, what, why }) => wrapped(4, "  ", span("warning", what), `: ${value} (${why})`))
  ]

/** The command. */
export const plan = Command.make("plan", {
  object: ObjectFile.argument,
  kernel: KernelChoice.flag,
  core: Flag.Boolean("core").pipe(
    Flag.withDescription("List every CO-RE relocation: its C line, what it accesses, and what the kernel has"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  ...ObjectFile.edits
}, ({ core, kernel: kernelName, object: path, ...edits }) =>
  reporting(
    Effect.gen(function*() {
      const object = yield* ObjectFile.openEdited(path, edits)
      const kernel = yield* Kernel
      const assumed: Array<Assumed> = []
      const planned = yield* planning.run(object).pipe(
        Effect.provideService(Kernel, assuming(kernel, assumed)),
        // An object that cannot be planned without what is missing: the error says what it lacks, this says why.
        Effect.tapError(() => Output.message(assumedText(assumed).slice(1)))
      )
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
      { command: "effect-bpf plan firewall.bpf.o --json | jq -r '.steps[].command'", description: "For scripts" }
    ])
  )
