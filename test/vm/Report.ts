/** What comes out of a virtual machine, and how it is summed up. */

/** A line that the guest prints, as JSON, on its second serial port. */
export type Line =
  /** The process of a test file starts. */
  | { readonly _tag: "File"; readonly file: string }
  | {
    readonly _tag: "Test"
    readonly test: string
    readonly state: "passed" | "failed" | "skipped"
    readonly milliseconds: number
    readonly error?: string
  }
  /** All tests of the file have run. */
  | { readonly _tag: "Done" }
  /** The process of the file ended; more than 128: by a signal; 143: its time was over. */
  | { readonly _tag: "Exit"; readonly status: number; readonly seconds: number }
  /** The guest ran all files, and switches itself off. */
  | { readonly _tag: "End" }

/** A test that ran in a guest, or did not. */
export interface Outcome {
  readonly file: string
  readonly test: string
  readonly state: "passed" | "failed" | "skipped"
  readonly milliseconds: number
  readonly error?: string
}

/** What a guest said: its tests, how long its files took, and lines that are no lines of ours (standard error). */
export interface Report {
  readonly outcomes: ReadonlyArray<Outcome>
  readonly seconds: ReadonlyMap<string, number>
  readonly other: ReadonlyArray<string>
}

const isLine = (value: unknown): value is Line =>
  typeof value === "object" && value !== null && "_tag" in value &&
  ["File", "Test", "Done", "Exit", "End"].includes(String(value._tag))

const lineOf = (text: string): Line | undefined => {
  if (!text.startsWith("{")) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return isLine(value) ? value : undefined
  } catch {
    return undefined
  }
}

/**
 * Reads what a guest printed. A file whose process did not come to its end, files that were never begun, and a guest that
 * did not reach its own end are failed tests: `expected` are the files that must be there.
 */
export const parse = (text: string, expected: ReadonlyArray<string>): Report => {
  const outcomes: Array<Outcome> = []
  const seconds = new Map<string, number>()
  const other: Array<string> = []
  const seen = new Set<string>()
  let file = ""
  let done = true
  let ended = false
  const fail = (test: string, error: string): void => {
    outcomes.push({ file, test, state: "failed", milliseconds: 0, error })
  }
  for (const raw of text.split("\n")) {
    const line = lineOf(raw.trim())
    if (line === undefined) {
      if (raw.trim() !== "") other.push(raw.trimEnd())
    } else if (line._tag === "File") {
      file = line.file
      done = false
      seen.add(file)
    } else if (line._tag === "Test") {
      const { _tag, ...outcome } = line
      outcomes.push({ file, ...outcome })
    } else if (line._tag === "Done") done = true
    else if (line._tag === "Exit") {
      seconds.set(file, line.seconds)
      if (!done || line.status !== 0) fail("runs to its end", `its process ended with status ${line.status}`)
      done = true
    } else ended = true
  }
  if (!done) fail("runs to its end", "the machine ended before it")
  if (!ended) {
    file = "the machine"
    fail("runs to its end", "the machine did not say that it ran all tests")
  }
  for (const each of expected) {
    if (seen.has(each)) continue
    file = each
    fail("runs", "was not begun")
  }
  return { outcomes, seconds, other }
}

/** How many tests ended in a state. */
export const count = (report: Report, state: Outcome["state"]): number =>
  report.outcomes.filter((outcome) => outcome.state === state).length

/** Why tests were skipped, with how many of them and in which files; the text of `describeWith` without its prefix. */
export const skips = (report: Report): ReadonlyArray<string> =>
  report.outcomes.filter(({ state }) => state === "skipped").map(({ error, file, test }) => {
    const reason = /skipped: (.*)$/.exec(test)?.[1] ?? (error === undefined ? test : `${test}: ${error}`)
    return `${file}: ${reason}`
  })
