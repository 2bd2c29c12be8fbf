/**
 * What the SARIF 2.1.0 standard wants of a log: the schema that OASIS publishes, and beside it, as far as logs of ours go,
 * sections 3.13 to 3.58 of the document and what GitHub wants of it, which the schema does not say. Keys that are not listed
 * here are errors, so that nothing passes because nobody has looked at it.
 */
import { Ajv, type ValidateFunction } from "ajv"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Zlib from "node:zlib"
import { repository } from "./Require.ts"

const Text = Schema.String.check(Schema.isMinLength(1))
const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const Positive = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

/** RFC 3986: a URI reference has none but these characters, percent signs followed by two digits, and at most one scheme. */
const isUriReference = (text: string): boolean =>
  /^(?:[A-Za-z0-9._~:/?#[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*$/.test(text) &&
  // A colon in the first segment would end a scheme.
  (!text.split("/")[0]?.includes(":") || /^(https|file):/.test(text))

const UriReference = Schema.String.check(
  Schema.makeFilter<string>((text) => isUriReference(text) || "Expected a URI reference")
)

/** 3.11: plain text, no empty one. */
const Message = Schema.Struct({ text: Text })

/** 3.4: GitHub takes files by their paths in the repository, or wherever they are. */
const ArtifactLocation = Schema.Union([
  Schema.Struct({
    uri: UriReference.check(Schema.isPattern(/^(?!\/|file:|https:)./)),
    uriBaseId: Schema.Literal("%SRCROOT%")
  }),
  Schema.Struct({ uri: UriReference.check(Schema.isPattern(/^file:\/\/\//)) })
])

/** 3.30: lines and columns count from 1. */
const Region = Schema.Struct({
  startLine: Positive,
  startColumn: Schema.optionalKey(Positive),
  snippet: Schema.optionalKey(Message)
})

const PhysicalLocation = Schema.Struct({ artifactLocation: ArtifactLocation, region: Schema.optionalKey(Region) })

/** 3.28, 3.29, 3.33 */
const Location = Schema.Struct({
  physicalLocation: PhysicalLocation,
  logicalLocations: Schema.optionalKey(
    Schema.Array(Schema.Struct({ name: Schema.String, kind: Schema.Literal("function") }))
  )
})

/** 3.28 */
const RelatedLocation = Schema.Struct({ id: Count, physicalLocation: PhysicalLocation, message: Message })

/** 3.27: with `kind` absent, which stands for `fail`, a level is any but `none`. */
const ResultObject = Schema.Struct({
  ruleId: Text,
  ruleIndex: Count,
  level: Schema.Literals(["error", "warning", "note"]),
  message: Message,
  locations: Schema.Tuple([Location]),
  relatedLocations: Schema.optionalKey(Schema.Array(RelatedLocation).check(Schema.isMinLength(1))),
  partialFingerprints: Schema.Record(Text, Text),
  properties: Schema.Record(Schema.String, Schema.Unknown)
})

/** 3.49 */
const ReportingDescriptor = Schema.Struct({
  id: Text,
  name: Schema.String.check(Schema.isPattern(/^[A-Z][A-Za-z]*$/)),
  shortDescription: Message,
  help: Message,
  defaultConfiguration: Schema.Struct({ level: Schema.Literals(["error", "warning", "note", "none"]) })
})

/** 3.58 */
const Notification = Schema.Struct({
  descriptor: Schema.optionalKey(Schema.Struct({ id: Text })),
  level: Schema.Literals(["error", "warning", "note"]),
  message: Message
})

const Log = Schema.Struct({
  $schema: UriReference,
  version: Schema.Literal("2.1.0"),
  runs: Schema.Tuple([Schema.Struct({
    tool: Schema.Struct({
      driver: Schema.Struct({ name: Text, version: Text, rules: Schema.Array(ReportingDescriptor) })
    }),
    invocations: Schema.Tuple([Schema.Struct({
      executionSuccessful: Schema.Boolean,
      toolExecutionNotifications: Schema.Array(Notification)
    })]),
    columnKind: Schema.Literals(["utf16CodeUnits", "unicodeCodePoints"]),
    results: Schema.Array(ResultObject)
  })])
})

/** A log that was found well formed. */
export type Log = typeof Log.Type

let judge: ValidateFunction | undefined

/** The schema of OASIS: draft 4 of JSON Schema, of which it uses what later drafts have, but for the name of `id`. */
const oasis = (): ValidateFunction => {
  if (judge !== undefined) return judge
  const file = Path.join(repository, "test/fixtures/oasis/sarif-schema-2.1.0.json.gz")
  const { $schema: _, id, ...schema } = JSON.parse(Zlib.gunzipSync(Fs.readFileSync(file)).toString("utf8"))
  const ajv = new Ajv({
    strict: false,
    formats: {
      "uri": isUriReference,
      "uri-reference": isUriReference,
      "date-time": (text) => !Number.isNaN(Date.parse(text))
    }
  })
  return judge = ajv.compile({ $id: id, ...schema })
}

/** What OASIS' schema says is wrong with a log. */
export const oasisProblem = (document: unknown): string | undefined => {
  const validate = oasis()
  return validate(document) ? undefined : JSON.stringify(validate.errors)
}

/** What is wrong with a log, as text; nothing where it is well formed. */
export const problem = (document: unknown): string | undefined => {
  const refused = oasisProblem(document)
  if (refused !== undefined) return refused
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
