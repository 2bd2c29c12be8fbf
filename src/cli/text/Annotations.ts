/**
 * Diagnostics as annotations of GitHub: workflow commands, a line each, which the runner shows at the lines of C.
 *
 * Source: GitHub, workflow commands; what is escaped is what `@actions/core` escapes.
 */
import * as Diagnostic from "../../diagnostics/Diagnostic.ts"
import { clip } from "./Clip.ts"
import { escape } from "./Text.ts"

const commands: Readonly<Record<Diagnostic.Level, string>> = { error: "error", warning: "warning", note: "notice" }

/** The text behind the `::`: what would end the line is escaped. */
const data = (text: string): string =>
  text.toWellFormed().replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A")

/** A property: what would end it is escaped, too. */
const property = (text: string): string => data(text).replaceAll(":", "%3A").replaceAll(",", "%2C")

/** Lines of a message; what terminals act upon is made visible. */
const lines = (texts: ReadonlyArray<string>): string => texts.map((text) => escape(clip(text))).join("\n")

/** The title: what is found, and in what. */
const titleOf = ({ rule, subject }: Diagnostic.Diagnostic): string =>
  subject === undefined ? rule : `${rule}: ${subject}`

/** The annotation of a diagnostic: one line, whatever is in it. */
export const annotation = (diagnostic: Diagnostic.Diagnostic, relative: (path: string) => string): string => {
  const { details, hint, level, message, path, place } = diagnostic
  const file = place?.file ?? path
  const properties: ReadonlyArray<readonly [string, string | number | undefined]> = [
    ["file", file === undefined ? undefined : relative(clip(file))],
    ["line", place?.line],
    ["col", place?.column],
    ["title", titleOf(diagnostic)]
  ]
  const given = properties.flatMap(([name, value]) =>
    value === undefined || value === "" ? [] : [`${name}=${property(escape(String(value)))}`]
  )
  const text = lines([message, ...details, ...(hint === undefined ? [] : [`hint: ${hint}`])])
  return `::${commands[level]} ${given.join(",")}::${data(text)}`
}

/** The annotations, the worst first: GitHub shows ten of each kind. */
export const annotations = (
  diagnostics: ReadonlyArray<Diagnostic.Diagnostic>,
  relative: (path: string) => string
): ReadonlyArray<string> => Diagnostic.worstFirst(diagnostics).map((each) => annotation(each, relative))
