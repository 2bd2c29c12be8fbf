/**
 * Causes that are found in logs beside the labels made by hand.
 */
import { assert } from "@effect/vitest"
import * as VerifierLogCause from "../../../src/diagnostics/VerifierLogCause.ts"
import type { CauseId } from "../../../src/diagnostics/VerifierLogCauses.ts"
import * as VerifierLogParse from "../../../src/diagnostics/VerifierLogParse.ts"
import type { Failing } from "./FailingLogs.ts"
import { labels } from "./Labels.ts"

/** The causes of all labelled programs. */
export const expected: ReadonlyMap<string, string> = new Map(
  Object.entries(labels).flatMap(([cause, names]) => Object.keys(names).map((name) => [name, cause] as const))
)

/** What came of the logs. */
export interface Judgement {
  readonly logs: number
  readonly labelled: number
  readonly right: number
  /** Those of which another cause was found, or none: `name: cause instead of cause: complaint`. */
  readonly wrong: ReadonlyArray<string>
  /** Complaints of which no cause is known, labelled or not. */
  readonly unknown: ReadonlyArray<string>
}

/** Judges the causes that are found; `find` is replaced to show that the judge sees faults. */
export const judge = (
  failing: ReadonlyArray<Failing>,
  find: (log: string) => CauseId | undefined = (log) => VerifierLogCause.causeOf(VerifierLogParse.parse(log))?.id
): Judgement => {
  const wrong: Array<string> = []
  const unknown: Array<string> = []
  let labelled = 0
  for (const { log, name } of failing) {
    const cause = find(log)
    const complaint = VerifierLogParse.parse(log).complaint.join("; ").slice(0, 200)
    if (cause === undefined) unknown.push(`${name}: ${complaint}`)
    const label = expected.get(name)
    if (label === undefined) continue
    labelled++
    if (cause !== label) wrong.push(`${name}: ${cause ?? "none"} instead of ${label}: ${complaint}`)
  }
  return { logs: failing.length, labelled, right: labelled - wrong.length, wrong, unknown }
}

/** At least nine of ten causes are right, of as many logs as there have to be. Prints what was found. */
export const assertJudged = (failing: ReadonlyArray<Failing>, atLeast: number): void => {
  const { labelled, logs, right, unknown, wrong } = judge(failing)
  const lines = [
    `${logs} logs of refused programs, ${labelled} of them labelled: the cause is right in ${right}`,
    ...wrong.map((line) => `  ${line}`),
    ...unknown.map((line) => `  unknown: ${line}`)
  ]
  process.stderr.write(lines.map((line) => `count: causes: ${line}\n`).join(""))
  assert.isAtLeast(labelled, atLeast)
  assert.isAtLeast(right / labelled, 0.9)
  // Complaints that nobody labelled are known as well, but for few.
  assert.isBelow(unknown.length, logs / 20)
}
