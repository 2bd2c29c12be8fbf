/**
 * What an object needs of the kernel, as text: the oldest kernel in one line, and everything with its release.
 */
import * as Requirements from "../../diagnostics/Requirements.ts"
import * as CoreText from "../../stages/relocate/CoreText.ts"
import { clip } from "./Clip.ts"
import { blank, heading, type Line, type Piece, span, wrapped } from "./Text.ts"

/** The most names that one line has. */
const NAMED = 4

const namesOf = (requirements: ReadonlyArray<Requirements.Requirement>): string => {
  const names = [...new Set(requirements.map((each) => clip(Requirements.labelOf(each))))]
  const more = names.length - NAMED
  return names.slice(0, NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "")
}

/** What makes the oldest kernel that, in a few words. */
export const oldestReasons = ({ because, open }: Requirements.Oldest): string =>
  [
    ...(because.length === 0 ? [] : [namesOf(because)]),
    ...(open.length === 0 ? [] : [`when ${namesOf(open)} came is not known`])
  ].join("; ")

/** `5.12 and later, for atomics`; what came with a release that is not known is named besides. */
const oldestPieces = ({ because, open, release }: Requirements.Oldest): ReadonlyArray<Piece> => [
  ...(release === undefined
    ? ["any Linux with BPF"]
    : ["Linux ", span("name", release), ` and later, for ${namesOf(because)}`]),
  ...(open.length === 0
    ? []
    : ["; ", span("warning", `when ${namesOf(open)} came is not known, which may make it newer`)])
]

/** The line that tells the oldest kernel, of loading and of attaching where that takes a newer one. */
export const oldestLines = ({ attach, load }: Requirements.Requirements): ReadonlyArray<Line> => {
  const attaching = attach.release !== load.release || attach.open.length > load.open.length
  return [
    wrapped(4, "It needs ", ...oldestPieces(load), ...(attaching ? [" to be loaded"] : [])),
    ...(attaching ? [wrapped(4, "To be attached it needs ", ...oldestPieces(attach))] : [])
  ]
}

/** What a kernel does not have by its release, where that is known. */
export const lackingLines = (
  { all }: Requirements.Requirements,
  release: string
): ReadonlyArray<Line> => {
  const lacking = Requirements.lackingIn(all, release)
  return lacking.length === 0
    ? []
    : [wrapped(4, span("warning", `By its release this kernel does not have ${namesOf(lacking)}`))]
}

const useText = (use: Requirements.Use): string => {
  const where = CoreText.place(use.source) ??
    (use.slot === undefined ? undefined : `${use.function} at instruction ${use.slot}`)
  if (use.map !== undefined) return `map ${use.map}`
  if (use.program === undefined) return ""
  return where === undefined ? use.program : `${use.program} (${where})`
}

const usesText = ({ count, uses }: Requirements.Requirement): string => {
  const [first] = uses
  const text = first === undefined ? "" : useText(first)
  if (text === "") return ""
  return count > 1 ? `: ${text}, and ${count - 1} more` : `: ${text}`
}

const requirementLine = (requirement: Requirements.Requirement): Line => {
  const { description, kind, module, otherwise, required, since, when } = requirement
  const release = since ?? "?"
  return wrapped(
    12,
    `  ${release.padEnd(6)}  `,
    span("name", clip(Requirements.labelOf(requirement))),
    description === undefined || kind === "instruction" ? "" : ` (${clip(description)})`,
    module === undefined ? "" : ` of module ${module}`,
    // Names in capitals and of helpers say what they are.
    kind === "map-field" ? " in the value" : kind === "iterator" ? " (iterator)" : "",
    when === "attach" ? ", to be attached" : "",
    since === undefined ? span("warning", `, ${Requirements.availabilityText(requirement)}`) : "",
    span("dim", clip(usesText(requirement))),
    required || otherwise === undefined ? "" : `; ${otherwise}`
  )
}

/** Everything, each with the release that brought it. */
export const requirementsText = ({ all }: Requirements.Requirements): ReadonlyArray<Line> => {
  const required = all.filter((each) => each.required)
  const others = all.filter((each) => !each.required)
  return [
    ...(required.length === 0 ? [] : [blank, heading("What it needs, since Linux")]),
    ...required.map(requirementLine),
    ...(others.length === 0 ? [] : [blank, heading("What it uses where the kernel has it")]),
    ...others.map(requirementLine)
  ]
}
