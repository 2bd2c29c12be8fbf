/**
 * What a command takes for granted of a kernel that does not say: so that a plan is still a plan without privileges, on
 * another system, or for a kernel of which only the types are known. All of it is told beside the result.
 */
import * as Effect from "effect/Effect"
import { descriptions, inRelease } from "../services/Kernel/Feature.ts"
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

/**
 * Whether a feature is taken to be there that a kernel does not tell of: as the release says, of the features that Linux has
 * by then. A kernel of no known release is a recent one, and features of no known version are newer.
 */
const assumedFeature = (
  feature: KernelInfo.Feature,
  release: string
): { readonly support: KernelInfo.Support; readonly text: string } => {
  const { since } = descriptions[feature]
  if (since === undefined) return { support: KernelInfo.unsupported(), text: "absent" }
  return inRelease(feature, release) === false
    ? { support: KernelInfo.unsupported(), text: `absent, as in Linux ${release}` }
    : { support: KernelInfo.supported, text: "present" }
}

/** What is assumed where a kernel does not say, with its text for people; nothing can be assumed of its own types. */
const assumptionFor = (
  requirement: KernelInfo.Requirement,
  release: string
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
    case "Feature": {
      const { support, text } = assumedFeature(requirement.feature, release)
      return { answers: { features: new Map([[requirement.feature, KernelInfo.known(support)]]) }, text }
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
  /** Features are many: those of which the same is to be said are told together. */
  const tellFeature = (feature: KernelInfo.Feature, value: string, why: string): void => {
    if (told.has(feature)) return
    told.add(feature)
    const at = assumed.findIndex((each) => each.what.startsWith("feature") && each.value === value && each.why === why)
    const known = assumed[at]
    if (known === undefined) assumed.push({ what: `feature ${feature}`, value, why })
    else assumed[at] = { what: `${known.what.replace(/^feature /, "features ")}, ${feature}`, value, why }
  }
  const askOne = (release: string) => (requirement: KernelInfo.Requirement) =>
    Effect.catch(kernel.ask([requirement]), (error) => {
      const assumption = assumptionFor(requirement, release)
      if (assumption === undefined) return Effect.fail(error)
      if (requirement._tag === "Feature") tellFeature(requirement.feature, assumption.text, whyOf(error))
      else tell(KernelInfo.describe(requirement), assumption.text, whyOf(error))
      return Effect.succeed(assumption.answers)
    })
  const tellDeferred = (answers: KernelInfo.Answers): void => {
    for (const [name, fact] of answers.symbols ?? []) {
      if (fact._tag !== "Deferred") continue
      const what = KernelInfo.describe({ _tag: "Symbol", name })
      tell(what, "looked up when the program is loaded", "this kernel is known without its symbols")
    }
  }
  /** A feature that the kernel would not tell of. */
  const assumeRefused = (release: string) => (answers: KernelInfo.Answers): KernelInfo.Answers => {
    const features = new Map(answers.features)
    for (const [feature, fact] of features) {
      if (fact._tag !== "Known" || fact.value._tag !== "Refused") continue
      const { support, text } = assumedFeature(feature, release)
      tellFeature(feature, text, `a probe: ${fact.value.errno}`)
      features.set(feature, KernelInfo.known(support))
    }
    return answers.features === undefined ? answers : { ...answers, features }
  }
  return {
    ...kernel,
    // One by one only where some are refused: a kernel may answer many at once with less work.
    ask: (requirements) =>
      Effect.flatMap(kernel.info, ({ release }) =>
        Effect.tap(
          Effect.catch(
            kernel.ask(requirements),
            () => Effect.map(Effect.forEach(requirements, askOne(release)), KernelInfo.together)
          ).pipe(Effect.map(assumeRefused(release))),
          (answers) => Effect.sync(() => tellDeferred(answers))
        ))
  }
}

/** The lines that tell what was assumed; none where nothing was. */
export const assumedText = (assumed: ReadonlyArray<Assumed>): ReadonlyArray<Line> =>
  assumed.length === 0 ? [] : [
    blank,
    heading("Not known of this kernel, and so assumed"),
    ...assumed.map(({ value, what, why }) => wrapped(4, "  ", span("warning", what), `: ${value} (${why})`))
  ]
