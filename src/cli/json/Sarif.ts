/**
 * Diagnostics in the Static Analysis Results Interchange Format, for tools that show them beside source code.
 *
 * Source: OASIS, SARIF version 2.1.0; what GitHub reads of it.
 */
import * as Diagnostic from "../../diagnostics/Diagnostic.ts"
import { clip } from "../text/Clip.ts"
import { escape } from "../text/Text.ts"
import type { Json } from "./Json.ts"

const schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

/** What a log is made with. */
export interface SarifOptions {
  /** The version of the command. */
  readonly version: string
  /** A path as it is told: relative to the repository where it is in there. */
  readonly relative: (path: string) => string
  /** Whether the command did its work, whatever it found. */
  readonly successful: boolean
  /** The most results that the log has; by default what GitHub takes. */
  readonly maximum?: number
}

/** The name of a rule as SARIF wants it for people. */
const pascal = (id: string): string => id.replaceAll(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase())

/**
 * A path as a URI reference: what is no letter, digit or plain sign is escaped, so that a name is never taken for a scheme,
 * a query or a host.
 */
const uri = (path: string): string => {
  // A lone surrogate has no UTF-8.
  const escaped = path.toWellFormed().split("/").map(encodeURIComponent).join("/")
  if (!escaped.startsWith("/")) return escaped
  return `file:///${escaped.replace(/^\/+/, "")}`
}

/** Where a path leads; relative ones are those of the repository. */
const artifact = (path: string, { relative }: SarifOptions): Json => {
  const told = uri(relative(clip(path)))
  return { uri: told, ...(told.startsWith("file:") ? {} : { uriBaseId: "%SRCROOT%" }) }
}

const region = ({ column, line, text }: Diagnostic.Place): { readonly [key: string]: Json } =>
  line === undefined ? {} : {
    region: {
      startLine: line,
      ...(column === undefined ? {} : { startColumn: column }),
      ...(text === undefined ? {} : { snippet: { text: clip(text) } })
    }
  }

const physical = (place: Diagnostic.Place, options: SarifOptions): { readonly [key: string]: Json } => ({
  physicalLocation: { artifactLocation: artifact(place.file, options), ...region(place) }
})

/** Where a diagnostic is: its line of C, else the file that it is about; `undefined` where there is neither. */
const locationOf = (diagnostic: Diagnostic.Diagnostic, options: SarifOptions): Json | undefined => {
  const { path, place, subject } = diagnostic
  const where = place ?? (path === undefined ? undefined : { file: path })
  if (where === undefined) return undefined
  const names = [...new Set([subject, diagnostic.function].flatMap((name) => name === undefined ? [] : [name]))]
  return {
    ...physical(where, options),
    ...(names.length === 0 ? {} : { logicalLocations: names.map((name) => ({ name: clip(name), kind: "function" })) })
  }
}

/** All that a diagnostic says, as plain text; what terminals act upon is made visible. */
const textOf = ({ details, hint, message }: Diagnostic.Diagnostic): string => {
  const [first, ...more] = [message, ...details].map((line) => escape(clip(line)))
  const said = hint === undefined ? first : `${first}. ${escape(clip(hint))}`
  return [said, ...more].join("\n")
}

const propertiesOf = ({ instruction, path, properties }: Diagnostic.Diagnostic): { readonly [key: string]: Json } => ({
  ...properties,
  object: path ?? null,
  instruction: instruction ?? null
})

const resultOf = (
  diagnostic: Diagnostic.Diagnostic,
  location: Json,
  ruleIndex: number,
  options: SarifOptions
): Json => ({
  ruleId: diagnostic.rule,
  ruleIndex,
  level: diagnostic.level,
  message: { text: textOf(diagnostic) },
  locations: [location],
  ...(diagnostic.related.length === 0 ? {} : {
    relatedLocations: diagnostic.related.map(({ message, place }, id) => ({
      id,
      ...physical(place, options),
      message: { text: escape(clip(message)) }
    }))
  }),
  partialFingerprints: { "effectBpfFinding/v1": `${diagnostic.rule}|${clip(diagnostic.key)}` },
  properties: propertiesOf(diagnostic)
})

const descriptorOf = (id: string): Json => {
  const { help, summary } = Diagnostic.rules.get(id) ?? { summary: id, help: id }
  return {
    id,
    name: pascal(id),
    shortDescription: { text: summary },
    help: { text: help },
    defaultConfiguration: { level: "error" }
  }
}

/** The most results of a run that GitHub takes. */
const maximumResults = 25_000

/**
 * The log: one run, a result for each diagnostic, the worst first. What is about no file is told as a notification, since tools
 * show results in files.
 */
export const sarifDocument = (diagnostics: ReadonlyArray<Diagnostic.Diagnostic>, options: SarifOptions): Json => {
  const sorted = Diagnostic.worstFirst(diagnostics)
  const kept = sorted.slice(0, options.maximum ?? maximumResults)
  const rules = [...new Set(kept.map(({ rule }) => rule))].sort()
  const results: Array<Json> = []
  const notifications: Array<Json> = []
  const omitted = sorted.length - kept.length
  if (omitted > 0) {
    const text = `${omitted} more, none of them worse than these, are left out`
    notifications.push({ level: "warning", message: { text } })
  }
  for (const diagnostic of kept) {
    const location = locationOf(diagnostic, options)
    const ruleIndex = rules.indexOf(diagnostic.rule)
    if (location !== undefined) results.push(resultOf(diagnostic, location, ruleIndex, options))
    else {
      notifications.push({
        descriptor: { id: diagnostic.rule },
        level: diagnostic.level,
        message: { text: textOf(diagnostic) }
      })
    }
  }
  return {
    $schema: schema,
    version: "2.1.0",
    runs: [{
      tool: { driver: { name: "effect-bpf", version: options.version, rules: rules.map(descriptorOf) } },
      invocations: [{ executionSuccessful: options.successful, toolExecutionNotifications: notifications }],
      columnKind: "utf16CodeUnits",
      results
    }]
  }
}
