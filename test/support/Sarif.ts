/**
 * What the SARIF 2.1.0 standard wants of a log, as far as logs of ours go: sections 3.13 to 3.49 of the OASIS document.
 * Keys that are not listed are errors, so that nothing passes because nobody has looked at it.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

const Text = Schema.String.check(Schema.isMinLength(1))
const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const Positive = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

/** RFC 3986: a URI reference has none but these characters, percent signs followed by two digits, and at most one scheme. */
const UriReference = Schema.String.check(
  Schema.makeFilter<string>((text) =>
    (/^(?:[A-Za-z0-9._~:/?#[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*$/.test(text) &&
      // A colon in the first segment would end a scheme.
      (!text.split("/")[0]?.includes(":") || /^(https|file):/.test(text))) || "Expected a URI reference"
  )
)

/** 3.11: plain text, no empty one. */
const Message = Schema.Struct({ text: Text })

/** 3.4 */
const ArtifactLocation = Schema.Struct({ uri: UriReference })

/** 3.30: lines and columns count from 1. */
const Region = Schema.Struct({
  startLine: Positive,
  startColumn: Schema.optionalKey(Positive),
  snippet: Schema.optionalKey(Message)
})

/** 3.28, 3.29, 3.33 */
const Location = Schema.Struct({
  physicalLocation: Schema.Struct({ artifactLocation: ArtifactLocation, region: Schema.optionalKey(Region) }),
  logicalLocations: Schema.optionalKey(
    Schema.Array(Schema.Struct({ name: Schema.String, kind: Schema.Literal("function") }))
  )
})

/** 3.27: with `kind` absent, which stands for `fail`, a level is any but `none`. */
const ResultObject = Schema.Struct({
  ruleId: Text,
  ruleIndex: Count,
  level: Schema.Literals(["error", "warning", "note"]),
  message: Message,
  locations: Schema.Array(Location).check(Schema.isMinLength(1)),
  partialFingerprints: Schema.Record(Text, Text),
  properties: Schema.Record(Schema.String, Schema.Unknown)
})

/** 3.49 */
const ReportingDescriptor = Schema.Struct({
  id: Text,
  name: Schema.String.check(Schema.isPattern(/^[A-Z][A-Za-z]*$/)),
  shortDescription: Message,
  defaultConfiguration: Schema.Struct({ level: Schema.Literals(["error", "warning", "note", "none"]) })
})

const Log = Schema.Struct({
  $schema: UriReference,
  version: Schema.Literal("2.1.0"),
  runs: Schema.Tuple([Schema.Struct({
    tool: Schema.Struct({
      driver: Schema.Struct({ name: Text, version: Text, rules: Schema.Array(ReportingDescriptor) })
    }),
    columnKind: Schema.Literals(["utf16CodeUnits", "unicodeCodePoints"]),
    results: Schema.Array(ResultObject)
  })])
})

/** A log that was found well formed. */
export type Log = typeof Log.Type

/** What is wrong with a log, as text; nothing where it is well formed. */
export const problem = (document: unknown): string | undefined => {
  const decoded = Schema.decodeUnknownResult(Log, { onExcessProperty: "error" })(document)
  if (Result.isFailure(decoded)) return decoded.failure.message
  const [run] = decoded.success.runs
  const { rules } = run.tool.driver
  const ids = rules.map(({ id }) => id)
  if (new Set(ids).size !== ids.length) return "two rules have one id"
  const wrong = run.results.find(({ ruleId, ruleIndex }) => ids[ruleIndex] !== ruleId)
  return wrong === undefined ? undefined : `rule ${wrong.ruleIndex} is not ${wrong.ruleId}`
}

/** The log of a document that must be well formed. */
export const logOf = (document: unknown): Log => {
  const wrong = problem(document)
  if (wrong !== undefined) throw new Error(wrong)
  return Schema.decodeUnknownSync(Log)(document)
}
