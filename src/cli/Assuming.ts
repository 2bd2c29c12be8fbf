/**
 * What a command takes for granted of a kernel that does not say: so that a plan is still a plan without privileges, on
 * another system, or for a kernel of which only the types are known. All of it is told beside the result.
 */
import * as Effect from "effect/Effect"
import type { KernelShape } from "../services/Kernel/Kernel.ts"
import type { KernelError } from "../services/Kernel/KernelError.ts"
import * as KernelInfo from "../services/Kernel/KernelInfo.ts"
import type { Json } from "./json/Json.ts"
import { blank, heading, type Line, span, wrapped } from "./text/Text.ts"

/** Something of the kernel that could not be found out, and what it is taken for. */
export interface Assumed {
  readonly [key: string]: Json
  /** As a person would name it. */
  readonly what: string
  readonly value: string
  /** Why the kernel did not say. */
  readonly why: string
}

/** What is assumed where a kernel does not say, with its text for people; nothing can be assumed of its own types. */
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
      return {
        answers: { features: new Map([[requirement.feature, KernelInfo.known(KernelInfo.unsupported())]]) },
        text: "absent"
      }
    case "Symbol":
      return { answers: { symbols: new Map([[requirement.name, KernelInfo.known(undefined)]]) }, text: "absent" }
    case "ModuleTypes":
      return { answers: { moduleTypes: KernelInfo.known([]) }, text: "none" }
    case "VmlinuxTypes":
      return undefined
  }
}

const whyOf = ({ errno, hint, subject }: KernelError): string =>
  errno === "ENODATA" && hint !== undefined ? hint : `${subject}: ${errno}`

/** The kernel, with what it refuses to tell assumed and added to `assumed`. */
export const assuming = (kernel: KernelShape, assumed: Array<Assumed>): KernelShape => {
  const told = new Set<string>()
  const tell = (what: string, value: string, why: string): void => {
    if (told.has(what)) return
    told.add(what)
    assumed.push({ what, value, why })
  }
  const askOne = (requirement: KernelInfo.Requirement) =>
    Effect.catch(kernel.ask([requirement]), (error) => {
      const assumption = assumptionFor(requirement)
      if (assumption === undefined) return Effect.fail(error)
      tell(KernelInfo.describe(requirement), assumption.text, whyOf(error))
      return Effect.succeed(assumption.answers)
    })
  const tellDeferred = (answers: KernelInfo.Answers): void => {
    for (const [name, fact] of answers.symbols ?? []) {
      if (fact._tag !== "Deferred") continue
      const what = KernelInfo.describe({ _tag: "Symbol", name })
      tell(what, "looked up when the program is loaded", "this kernel is known without its symbols")
    }
  }
  /** A feature that the kernel would not tell of is taken for absent. */
  const assumeRefused = (answers: KernelInfo.Answers): KernelInfo.Answers => {
    const features = new Map(answers.features)
    for (const [feature, fact] of features) {
      if (fact._tag !== "Known" || fact.value._tag !== "Refused") continue
      tell(KernelInfo.describe({ _tag: "Feature", feature }), "absent", `a probe: ${fact.value.errno}`)
      features.set(feature, KernelInfo.known(KernelInfo.unsupported()))
    }
    return answers.features === undefined ? answers : { ...answers, features }
  }
  return {
    ...kernel,
    // One by one only where some are refused: a kernel may answer many at once with less work.
    ask: (requirements) =>
      Effect.tap(
        Effect.catch(
          kernel.ask(requirements),
          () => Effect.map(Effect.forEach(requirements, askOne), KernelInfo.together)
        ).pipe(Effect.map(assumeRefused)),
        (answers) => Effect.sync(() => tellDeferred(answers))
      )
  }
}

/** The lines that tell what was assumed; none where nothing was. */
export const assumedText = (assumed: ReadonlyArray<Assumed>): ReadonlyArray<Line> =>
  assumed.length === 0 ? [] : [
    blank,
    heading("Not known of this kernel, and so assumed"),
    ...assumed.map(({ value, what, why }) => wrapped(4, "  ", span("warning", what), `: ${value} (${why})`))
  ]
