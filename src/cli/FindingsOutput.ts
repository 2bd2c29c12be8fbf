/**
 * How what commands have found is told: which paths, which forms. Loaded where somebody wants it.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { type About, type Diagnostic, ofError, type Place } from "../diagnostics/Diagnostic.ts"
import type { BpfObject } from "../stages/open/BpfObject.ts"
import * as SourceLines from "../stages/relocate/SourceLines.ts"
import { InFile } from "./Failure.ts"
import * as FileOutput from "./FileOutput.ts"
import type { Gathered, Wanted } from "./Findings.ts"
import { jsonText } from "./json/Json.ts"
import { sarifDocument } from "./json/Sarif.ts"
import * as Output from "./Output.ts"
import { annotations } from "./text/Annotations.ts"
import { relativeTo } from "./text/SourceRoot.ts"
import { version } from "./Version.ts"

/** Where programs of an object begin. */
const beginnings = (object: BpfObject): (program: string) => Place | undefined => {
  const find = SourceLines.of(object)
  return (program) => {
    const position = object.programs.findIndex(({ name }) => name === program)
    const line = position < 0 ? undefined : find(position, 0)
    return line === undefined || line.line === 0 ? undefined : { file: line.file, line: line.line, text: line.text }
  }
}

/** What is known beside a diagnostic: the object that was opened last. */
export const aboutOf = ({ objects }: Gathered): About => {
  const last = [...objects].at(-1)
  if (last === undefined) return {}
  const [path, object] = last
  return { object: path, placeOf: object === undefined ? undefined : beginnings(object) }
}

/** The diagnostics of what a command fails with. The file that an error is about goes before the object. */
export const ofFailure = (error: object, gathered: Gathered): ReadonlyArray<Diagnostic> => {
  const about = aboutOf(gathered)
  return error instanceof InFile && typeof error.cause === "object" && error.cause !== null
    ? ofError(error.cause, error.path === about.object ? about : { object: error.path })
    : ofError(error, about)
}

/** The root of the repository that the command runs in, or the folder that it runs in. */
const rootOf = (folder: string): string => {
  const given = process.env["GITHUB_WORKSPACE"]
  if (given !== undefined && Path.isAbsolute(given)) return given
  for (let at = folder;; at = Path.dirname(at)) {
    if (Fs.existsSync(Path.join(at, ".git"))) return at
    if (at === Path.dirname(at)) return folder
  }
}

/** How paths are told. */
const relativeOf = ({ objects }: Gathered): (path: string) => string => {
  const folder = process.cwd()
  const beside = [...new Set([...objects.keys()].map((path) => Path.resolve(Path.dirname(path))))]
  return relativeTo({ root: rootOf(folder), folder, beside, exists: Fs.existsSync })
}

/** Tells all that was gathered. */
export const tell = Effect.fnUntraced(function*(gathered: Gathered, { github, sarif }: Wanted, successful: boolean) {
  const relative = relativeOf(gathered)
  if (github) yield* Output.commands(annotations(gathered.diagnostics, relative))
  if (Option.isNone(sarif)) return
  const document = sarifDocument(gathered.diagnostics, { version, relative, successful })
  const text = jsonText(document, (yield* Output.jsonMode) === "pretty")
  if (sarif.value === "-") yield* Output.verbatim(text.trimEnd())
  else yield* FileOutput.writeFile(sarif.value, new TextEncoder().encode(text))
})
