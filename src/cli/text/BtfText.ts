/** What `btf` says to people of what it has written, and differences with their colours. */
import type { Btf } from "../../btf/Btf.ts"
import type { DedupReport, SurvivorReason } from "../../btf/BtfDedup.ts"
import * as Types from "../../btf/Btf.ts"
import * as BtfDiff from "../../btf/BtfDiff.ts"
import { clip } from "./Clip.ts"
import { counted, type Line, line, span, type Tone, wrapped } from "./Text.ts"

/** A blob that was written. */
export const blobText = (path: string, btf: Btf): ReadonlyArray<Line> => {
  const over = btf.base === undefined ? "" : ` over ${counted(btf.firstId - 1, "type")} of the base`
  return [line(span("name", path), `: ${counted(btf.offsets.length, "type")}${over}, ${btf.bytes.length} bytes`)]
}

const reasons: Readonly<Record<SurvivorReason, string>> = {
  Shape: "of another shape",
  Reference: "refers to something else",
  Unsettled: "stands for several that are not the same",
  BaseForward: "the base's refers to a declaration of what is defined here",
  Ambiguous: "a declaration of which there are several definitions",
  Budget: "not compared to the end"
}

/** How many types that stayed beside others are listed. */
const LISTED = 12

/** What dedup did. */
export const dedupText = (btf: Btf, report: DedupReport): ReadonlyArray<Line> => [
  line(
    `${report.types.before} types are ${report.types.after}, `
      + `${report.strings.before} bytes of strings ${report.strings.after}`
  ),
  ...(report.forwardsResolved === 0
    ? []
    : [line(
      `${counted(report.forwardsResolved, "declaration")} became what ${
        report.forwardsResolved === 1 ? "it declares" : "they declare"
      }`
    )]),
  ...(report.exhausted ? [wrapped(2, span("warning", "types that look alike were not compared to the end"))] : []),
  ...(report.survivorCount === 0
    ? []
    : [line(`${counted(report.survivorCount, "type")} of the name and kind of another:`)]),
  ...report.survivors.slice(0, LISTED).map(({ beside, id, reason }) =>
    wrapped(4, `  ${clip(Types.typeName(btf, id))} (${id} beside ${beside}): ${reasons[reason]}`)
  ),
  ...(report.survivorCount > LISTED ? [line("  …")] : [])
]

const toneOf = (text: string): Tone | undefined => {
  const mark = text.startsWith("    ") ? text.slice(4) : text
  if (text.startsWith("!") || text.startsWith("?")) return "heading"
  if (mark.startsWith("breaks ")) return "error"
  if (mark.startsWith("+ ")) return "good"
  if (mark.startsWith("- ")) return "warning"
  return mark.startsWith("> ") || text.startsWith("    also within ") ? "dim" : undefined
}

/** A difference, a line after another. */
export function* diffLines(difference: BtfDiff.Difference, names: readonly [string, string]): Generator<Line> {
  for (const text of BtfDiff.lines(difference, { names })) {
    const tone = toneOf(text)
    yield line(tone === undefined ? text : span(tone, text))
  }
}
