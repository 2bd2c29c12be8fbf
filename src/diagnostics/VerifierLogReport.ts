/**
 * The report at the end of the logs of newer kernels (Linux 7.3 and later): what is wrong in a sentence, where, how the
 * program came to it, and what to do.
 *
 * ```text
 * Verification failed: Register Type Safety: Unreadable register
 *
 * Reason:
 *   R0 has never been initialized on this path, so the verifier cannot use it as an input.
 *
 * At:
 *   insn 0
 *         | ^-- error: R0 is not readable
 *   Instruction context:
 *   >>> 0 | (95) exit
 *
 * Causal path:
 *   …
 *
 * Suggestion:
 *   Initialize R0 on every path before this instruction.
 * ```
 *
 * A place with line information begins with `function @ file.c:12:5` and has a `Source context:`. The places of the causal
 * path are alike. The complaint in the older wording stands above the report.
 *
 * Source: `kernel/bpf/diagnostics.c`.
 */

/** A place in the program that a report speaks of. */
export interface Place {
  /** The C function; absent where the program has no line information. */
  readonly function?: string
  readonly file?: string
  /** Counted from 1. */
  readonly line?: number
  readonly column?: number
  /** The line of C. */
  readonly source?: string
  /** The instruction, in slots of the whole program. */
  readonly instruction?: number
  readonly disassembly?: string
  /** What kind of remark it is: `error`, `branch`, `update`, `invalidated`, `spilled`, `acquired`, `released`, `context`. */
  readonly label?: string
  /** What the kernel remarks. */
  readonly remark?: string
}

/** A report of a newer kernel. What is absent was cut off, or is not said. */
export interface Report {
  /** `Register Type Safety`, `Memory Safety`, … */
  readonly category: string
  /** `Unreadable register` */
  readonly problem?: string
  readonly reason?: string
  readonly at?: Place
  /** How the program came there, the first event first. */
  readonly path: ReadonlyArray<Place>
  readonly suggestion?: string
  /** What other sections say, by their titles: `Active lock`. */
  readonly others: ReadonlyMap<string, string>
}

const heading = /^Verification failed: ([^:]{1,100})(?:: (.*))?$/
const section = /^([A-Z][A-Za-z ]{0,40}):$/
const remark = /^\s*\| {0,200}\^-- ([a-z]+): (.*)$/
const more = /^\s*\| {5,}(\S.*)$/

/** Lines that follow each other in a report's place are of one event; a blank one ends it. */
const placeOf = (lines: ReadonlyArray<string>): Place => {
  const place: { -readonly [K in keyof Place]: Place[K] } = {}
  let context: "source" | "instruction" | undefined
  let remarking = false
  for (const line of lines) {
    const where = /^ {2}(?:(\S{1,200}) @ )?(\S.{0,400}):(\d{1,9}):(\d{1,9})$/.exec(line)
    const insn = /^ {2}insn (\d{1,9})$/.exec(line)
    const said = remark.exec(line)
    const focus = /^\s*>>> +(\d{1,9}) \| ?(.*)$/.exec(line)
    if (said !== null) {
      place.label = said[1] ?? ""
      place.remark = said[2] ?? ""
      remarking = true
      continue
    }
    const continued = remarking ? more.exec(line) : null
    if (continued !== null) {
      place.remark = `${place.remark ?? ""} ${continued[1] ?? ""}`
      continue
    }
    remarking = false
    if (/^ {2}Source context:$/.test(line)) context = "source"
    else if (/^ {2}Instruction context:$/.test(line)) context = "instruction"
    else if (focus !== null && context === "source") place.source = (focus[2] ?? "").trim()
    else if (focus !== null && context === "instruction") {
      place.instruction = Number(focus[1])
      place.disassembly = (focus[2] ?? "").trim()
    } else if (insn !== null) place.instruction = Number(insn[1])
    else if (where !== null && place.file === undefined) {
      if (where[1] !== undefined) place.function = where[1]
      place.file = where[2] ?? ""
      place.line = Number(where[3])
      place.column = Number(where[4])
    }
  }
  return place
}

const isPlace = (place: Place): boolean => place.instruction !== undefined || place.file !== undefined

const text = (lines: ReadonlyArray<string>): string =>
  lines.map((line) => line.trim()).filter((line) => line !== "").join(" ")

/** Events of a causal path are parted by blank lines. */
const eventsOf = (lines: ReadonlyArray<string>): ReadonlyArray<Place> => {
  const events: Array<Place> = []
  let current: Array<string> = []
  for (const line of [...lines, ""]) {
    if (line.trim() !== "") {
      current.push(line)
      continue
    }
    const place = placeOf(current)
    if (isPlace(place)) events.push(place)
    current = []
  }
  return events
}

/** Where the report begins among the lines of a log: the last heading. `undefined` where there is none. */
export const beginning = (lines: ReadonlyArray<string>): number | undefined => {
  for (let at = lines.length - 1; at >= 0; at--) if (heading.test(lines[at] ?? "")) return at
  return undefined
}

/** The report that begins in line `at`; what the verifier counts behind it does not belong to it. */
export const parse = (lines: ReadonlyArray<string>, at: number): Report | undefined => {
  const found = heading.exec(lines[at] ?? "")
  if (found === null) return undefined
  const sections = new Map<string, Array<string>>()
  let current: Array<string> | undefined
  for (const line of lines.slice(at + 1)) {
    if (/^processed \d+ insns|^verification time \d|^stack depth \d/.test(line)) break
    const title = section.exec(line)
    if (title !== null) {
      current = []
      sections.set(title[1] ?? "", current)
    } else current?.push(line)
  }
  const of = (title: string): string | undefined => {
    const lines = sections.get(title)
    return lines === undefined ? undefined : text(lines)
  }
  const reason = of("Reason")
  const suggestion = of("Suggestion")
  const place = placeOf(sections.get("At") ?? [])
  const known = new Set(["Reason", "At", "Causal path", "Suggestion"])
  return {
    category: found[1] ?? "",
    ...(found[2] === undefined ? {} : { problem: found[2] }),
    ...(reason === undefined ? {} : { reason }),
    ...(isPlace(place) ? { at: place } : {}),
    path: eventsOf(sections.get("Causal path") ?? []),
    ...(suggestion === undefined ? {} : { suggestion }),
    others: new Map([...sections].flatMap(([title, lines]) => known.has(title) ? [] : [[title, text(lines)] as const]))
  }
}
