/**
 * `plan`: the kernel calls that a load would make.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { Kernel, type KernelShape } from "../services/Kernel/Kernel.ts"
import * as KernelInfo from "../services/Kernel/KernelInfo.ts"
import { plan as planStage } from "../stages/load/Plan.ts"
import { relocate } from "../stages/relocate/Relocate.ts"
import * as Stage from "../stages/Stage.ts"
import { reporting } from "./Failure.ts"
import { planDocument } from "./json/PlanDocument.ts"
import * as KernelChoice from "./KernelChoice.ts"
import * as ObjectFile from "./ObjectFile.ts"
import * as Output from "./Output.ts"
import { planText } from "./text/PlanText.ts"
import { blank, heading, type Line, span, wrapped } from "./text/Text.ts"

/** From an opened object to its plan. */
export const planning = Stage.pipeline(relocate, planStage)

/** Something of the kernel that could not be found out. */
interface Unknown {
  /** As a person would name it. */
  readonly what: string
  readonly why: string
}

/**
 * The kernel for a plan that nobody carries out: what it refuses to tell is left open and remembered, instead of being
 * the end. Without privileges, or on another system, a plan is then still the plan, but for what is noted.
 */
const forgiving = (kernel: KernelShape, unknown: Array<Unknown>): KernelShape => ({
  ...kernel,
  ask: (requirements) =>
    Effect.map(
      Effect.forEach(requirements, (requirement) =>
        Effect.catch(kernel.ask([requirement]), (error) =>
          Effect.sync(() => {
            unknown.push({ what: KernelInfo.describe(requirement), why: `${error.subject}: ${error.errno}` })
            return leftOpen(requirement)
          }))),
      (answers) =>
        answers.reduce<KernelInfo.Answers>((all, each) => ({
          ...all,
          ...each,
          kconfig: new Map([...(all.kconfig ?? []), ...(each.kconfig ?? [])]),
          features: new Map([...(all.features ?? []), ...(each.features ?? [])]),
          symbols: new Map([...(all.symbols ?? []), ...(each.symbols ?? [])])
        }), {})
    )
})

/** The answer that leaves a requirement open. */
const leftOpen = (requirement: KernelInfo.Requirement): KernelInfo.Answers => {
  switch (requirement._tag) {
    case "PageSize":
      return { pageSize: KernelInfo.deferred }
    case "PossibleCpus":
      return { possibleCpus: KernelInfo.deferred }
    case "KernelVersion":
      return { kernelVersion: KernelInfo.deferred }
    case "Kconfig":
      return { kconfig: new Map([[requirement.key, KernelInfo.deferred]]) }
    case "Feature":
      return { features: new Map([[requirement.feature, KernelInfo.deferred]]) }
    case "Symbol":
      return { symbols: new Map([[requirement.name, KernelInfo.deferred]]) }
    case "VmlinuxTypes":
      return { vmlinuxTypes: KernelInfo.deferred }
  }
}

const unknownText = (unknown: ReadonlyArray<Unknown>): ReadonlyArray<Line> =>
  unknown.length === 0 ? [] : [
    blank,
    heading("Not known of this kernel, and so left open"),
    ...unknown.map(({ what, why }) => wrapped(4, "  ", span("warning", what), ` (${why})`))
  ]

/** The command. */
export const plan = Command.make("plan", {
  object: ObjectFile.argument,
  kernel: KernelChoice.flag,
  ...ObjectFile.edits
}, ({ kernel: kernelName, object: path, ...edits }) =>
  reporting(
    Effect.gen(function*() {
      const object = yield* ObjectFile.openEdited(path, edits)
      const kernel = yield* Kernel
      const unknown: Array<Unknown> = []
      const planned = yield* planning.run(object).pipe(
        Effect.provideService(Kernel, forgiving(kernel, unknown)),
        // An object that cannot be planned without what is missing: the error says what it lacks, this says why.
        Effect.tapError(() => Output.message(unknownText(unknown).slice(1)))
      )
      yield* Output.result(
        () => planDocument(planned, kernel.name, path, unknown.map(({ what }) => what)),
        () => [...planText(planned, kernel.name, path), ...unknownText(unknown)]
      )
    }).pipe(Effect.provide(KernelChoice.layer(kernelName)))
  )).pipe(
    Command.withDescription(
      "Show the kernel calls that loading an object would make, in order: what each is for, what it is given, and what\n" +
        "  is done instead where a kernel refuses it. Nothing is loaded, and no privileges are needed: of the kernel only\n" +
        "  that is asked which the object depends on, such as the page size.\n\n" +
        "  With --json the plan is data: `steps` with `call`, `command`, `why`, `arguments`, `required` and `otherwise`.\n" +
        "  Bytes are base64, 64-bit numbers texts of digits, references such as \"map#3\" positions in `maps` and `programs`."
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
