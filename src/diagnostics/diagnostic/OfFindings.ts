/**
 * What is found without a failure, as diagnostics: findings of the compatibility matrix, growth, requirements.
 */
import * as Budget from "../Budget.ts"
import * as Compatibility from "../Compatibility.ts"
import * as Requirements from "../Requirements.ts"
import { kinds, labelOf } from "../requirements/Requirement.ts"
import { type About, cut, type Diagnostic, type Level, make, type Place } from "./Model.ts"

const verdictLevels: Readonly<Record<Compatibility.Finding["verdict"], Level>> = {
  fatal: "error",
  unknown: "warning",
  guarded: "note"
}

/** The diagnostics of a matrix: one for each finding. */
export const ofMatrix = (matrix: Compatibility.Matrix): ReadonlyArray<Diagnostic> =>
  matrix.findings.map((finding) => {
    const { candidates, detail, hint, kernels, object, programs, rule, slot, source, subject, verdict } = finding
    const row = object === undefined ? undefined : matrix.objects[object]
    const on = Compatibility.kernelRanges(matrix.kernels, kernels)
    const what = row === undefined ? "" : `${row.name} on `
    return make({
      level: verdictLevels[verdict],
      rule,
      message: `${cut(subject)}: ${cut(detail)} (${what}${on})`,
      hint,
      path: row?.path ?? matrix.kernels[kernels[0] ?? 0]?.path,
      subject: finding.function ?? programs[0],
      function: finding.function,
      instruction: slot,
      place: source,
      key: [row?.name ?? "", rule, finding.function ?? "", cut(subject)].join("|"),
      properties: {
        verdict,
        programs: programs.map(cut),
        object: row?.path ?? null,
        kernels: kernels.map((position) => matrix.kernels[position]?.name ?? ""),
        candidates: candidates.map((each) => cut(`${each.name} ${Compatibility.refusalText(each)}`))
      }
    })
  })

/** `6.12` of a release. */
const series = (release: string | undefined): string | undefined => /^\d+\.\d+/.exec(release ?? "")?.[0]

/** The diagnostics of a comparison: an error for each growth that is not allowed, and what else the budget does not say. */
export const ofBudget = (comparison: Budget.Comparison, about: About = {}): ReadonlyArray<Diagnostic> => {
  const { kernels, programs } = comparison
  const of = (rule: string, level: Level, name: string, message: string, more: Diagnostic["properties"] = {}) =>
    make({
      level,
      rule,
      message,
      path: about.object,
      subject: name,
      place: about.placeOf?.(name),
      key: [name, ...Object.values(more).slice(0, 1)].join("|"),
      properties: more
    })
  const growths = Budget.growths(comparison).map((growth) => {
    const { allowed, before, metric, now, program } = growth
    return of("budget-exceeded", "error", program, `program ${program} has ${Budget.growthText(growth)}`, {
      metric,
      before: before ?? null,
      now,
      allowed
    })
  })
  const others = programs.flatMap(({ name, status }) => {
    if (status === "new") return [of("budget-new", "note", name, `program ${name} is not in the budget`)]
    return status === "removed"
      ? [of("budget-removed", "note", name, `program ${name} is in the budget, and not in the object`)]
      : []
  })
  const other = kernels.before !== undefined && series(kernels.before) !== series(kernels.now)
    ? [make({
      level: "warning",
      rule: "budget-kernel",
      message: `the budget is of Linux ${kernels.before}, this is ${kernels.now ?? "another"}`,
      path: about.object
    })]
    : []
  return [...growths, ...other, ...others]
}

/** The most things that are named as the reason of one. */
const maximumNamed = 4

const placesOf = ({ uses }: Requirements.Requirement): ReadonlyArray<Place> =>
  uses.flatMap(({ source }) => source === undefined ? [] : [source])

/**
 * The diagnostics of what an object needs of the kernel: the oldest release that has all of it as a note; and where the release
 * of a kernel is given, a warning for everything that came later.
 */
export const ofRequirements = (
  { all, load }: Pick<Requirements.Requirements, "all" | "load">,
  release: string | undefined,
  about: About = {}
): ReadonlyArray<Diagnostic> => {
  const of = (
    rule: string,
    level: Level,
    message: string,
    needs: ReadonlyArray<Requirements.Requirement>
  ): Diagnostic => {
    const [place, ...more] = needs.flatMap(placesOf)
    const use = needs[0]?.uses[0]
    const begin = use?.program === undefined ? undefined : about.placeOf?.(use.program)
    return make({
      rule,
      level,
      message,
      path: about.object,
      subject: use?.program ?? use?.map,
      function: use?.function,
      instruction: use?.slot,
      place: place ?? begin,
      related: more.map((each) => ({ message: "here, too", place: each })),
      key: needs.map(({ kind, name }) => `${kind} ${name}`).join(", "),
      properties: { release: needs[0]?.since ?? null, requirements: needs.map(({ name }) => cut(name)) }
    })
  }
  const named = load.because.slice(0, maximumNamed).map(labelOf).join(", ")
  const others = load.because.length - maximumNamed
  const oldest = load.release === undefined ? [] : [of(
    "requires-kernel",
    "note",
    `the object needs Linux ${load.release} or newer, because of ${named}${others > 0 ? ` and ${others} more` : ""}`,
    load.because
  )]
  const newer = release === undefined
    ? []
    : all.filter((each) => each.required && each.when === "load" && Requirements.isIn(each, release) === false)
  return [
    ...newer.map((each) =>
      of(
        "requires-newer-kernel",
        "warning",
        `${labelOf(each)} (${kinds[each.kind]}) came with Linux ${Requirements.availabilityText(each)}, and this is ${
          cut(release ?? "")
        }`,
        [each]
      )
    ),
    ...oldest
  ]
}
