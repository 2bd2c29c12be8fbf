/**
 * Relocation reports as text: per program what became of its CO-RE relocations, and which instructions need what the kernel
 * does not have.
 */
import type { CoreEntry, ProgramReport } from "../../stages/relocate/CoreReport.ts"
import * as CoreReport from "../../stages/relocate/CoreReport.ts"
import * as CoreText from "../../stages/relocate/CoreText.ts"
import { blank, counted, heading, type Line, type Piece, span, type Tone, wrapped } from "./Text.ts"

/** The most entries of one program that are listed where not all are asked for. */
const maximumListed = 20

/** What the counts of a program say: `5 relocations: 3 changed, 1 absent and checked, 1 guarded`. */
const summaryText = (entries: ReadonlyArray<CoreEntry>): ReadonlyArray<Piece> => {
  const { absent, deferred, failed, poisoned, relocations, unchanged, values } = CoreReport.summarise(entries)
  const parts: ReadonlyArray<readonly [number, string, Tone | undefined]> = [
    [values, "changed", undefined],
    [unchanged, "right already", undefined],
    [absent, "absent and checked", undefined],
    [poisoned.guarded, "missing and guarded", "good"],
    [poisoned.unknown, "missing, perhaps guarded", "warning"],
    [poisoned.reachable, "missing and reachable", "error"],
    [failed, "failed", "error"],
    [deferred, "left to the kernel", undefined]
  ]
  const pieces = parts.filter(([count]) => count > 0).flatMap(([count, what, tone], index): ReadonlyArray<Piece> => [
    index === 0 ? "" : ", ",
    tone === undefined ? `${count} ${what}` : span(tone, `${count} ${what}`)
  ])
  return [`${counted(relocations, "relocation")}: `, ...pieces]
}

const verdictTones = { guarded: "good", unknown: "warning", reachable: "error" } as const

/** What a relocation came to, in a few words. */
const became = ({ local, outcome }: CoreEntry): Piece => {
  const number = (value: bigint): string => BigInt.asIntN(64, value).toString()
  switch (outcome._tag) {
    case "Value":
      // A bit field may be loaded otherwise than its type says, so the instruction changes where the value does not.
      return `${local === undefined || local === outcome.value ? "" : `${number(local)} -> `}${number(outcome.value)}${
        outcome.size === undefined ? "" : `, ${counted(outcome.size, "byte")}`
      }`
    case "Unchanged":
      return span("dim", `${number(outcome.value)}, right already`)
    case "Absent":
      return "0: absent, and the program is told so"
    case "Poisoned":
      return span(verdictTones[outcome.verdict], `missing, ${outcome.verdict}`)
    case "Failed":
      return span("error", outcome.error.detail)
    case "Deferred":
      return span("dim", "left to the kernel")
  }
}

/** Where an entry stands: `core.bpf.c:12`, or the instruction. */
const placeOf = (entry: CoreEntry): string =>
  CoreText.place(entry.source) ?? `${entry.function} at instruction ${entry.functionSlot}`

const entryLines = (entry: CoreEntry): ReadonlyArray<Line> => {
  const { candidates, outcome } = entry
  const details = outcome._tag === "Poisoned" && outcome.why === "Resized"
    ? [CoreText.instead(entry)]
    : outcome._tag === "Absent" || outcome._tag === "Poisoned" || outcome._tag === "Failed"
    ? (candidates.length === 0 ? (outcome._tag === "Failed" ? [] : [CoreText.instead(entry)]) : CoreText.candidates(
      candidates
    ))
    : []
  return [
    wrapped(8, "      ", placeOf(entry), "  ", span("name", CoreText.relocation(entry)), ": ", became(entry)),
    ...details.map((detail) => wrapped(10, "        ", span("dim", detail)))
  ]
}

/** What is worth saying of an entry even where nobody asks. */
const isTrouble = ({ outcome }: CoreEntry): boolean =>
  outcome._tag === "Failed" || (outcome._tag === "Poisoned" && outcome.verdict !== "guarded")

/** The reports of an object's programs; `all` lists every relocation, else those are listed that a load may fail for. */
export const coreReportText = (reports: ReadonlyArray<ProgramReport>, all: boolean): ReadonlyArray<Line> => {
  const shown = reports.filter(({ entries }) => entries.length > 0)
  if (shown.length === 0) return []
  return [
    blank,
    heading("CO-RE relocations"),
    ...shown.flatMap(({ entries, program }) => {
      const listed = all ? entries : entries.filter(isTrouble)
      const first = all ? listed : listed.slice(0, maximumListed)
      const rest = listed.length - first.length
      return [
        wrapped(4, "  ", span("name", program), ": ", ...summaryText(entries)),
        ...first.flatMap(entryLines),
        ...(rest === 0 ? [] : [wrapped(8, `      and ${rest} more; --core lists all`)])
      ]
    })
  ]
}
