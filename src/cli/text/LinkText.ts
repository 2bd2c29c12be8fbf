/** What `gen object` says to people of what it has written. */
import type { LinkMap } from "../../linker/LinkMap.ts"
import { counted, type Line, span, wrapped } from "./Text.ts"

/** The object that was written, and what was decided. */
export const linkText = (output: string, map: LinkMap): ReadonlyArray<Line> => {
  const definitions = map.symbols.filter(({ why }) => why !== "extern").length
  const externs = map.symbols.length - definitions
  const lines = [wrapped(
    2,
    span("name", output),
    `: ${counted(map.bytes, "byte")} from ${counted(map.inputs.length, "file")}, `,
    `${counted(map.sections.filter(({ index }) => index > 0).length, "section")}, `,
    `${counted(definitions, "global symbol")}, ${counted(externs, "extern")}`
  )]
  const { types } = map
  if (types !== undefined) {
    lines.push(wrapped(
      4,
      `  ${counted(types.before.types, "type")} became ${types.after.types}, `,
      `${counted(types.before.bytes - types.after.bytes, "byte")} saved`
    ))
  }
  for (const { mentions, name, why } of map.symbols) {
    if (why === "extern") continue
    const lost = mentions.filter(({ counts, kind }) => kind === "definition" && !counts).map(({ file }) => file)
    const winner = mentions.find(({ counts }) => counts)
    if (lost.length === 0 || winner === undefined) continue
    const others = lost.length > 3 ? `${lost.slice(0, 3).join(", ")} and ${lost.length - 3} more` : lost.join(", ")
    lines.push(wrapped(4, "  ", span("name", name), ` of ${winner.file} counts, not that of ${others}`))
  }
  return lines
}
