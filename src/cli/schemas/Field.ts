/**
 * What the documents of `--json` are made of, as schemas: texts, numbers, bytes in the forms in which they are written, each
 * with a description of what it is.
 */
import * as Schema from "effect/Schema"

/** A text. */
export const text = (description: string) => Schema.String.annotate({ description })

/** A truth value. */
export const flag = (description: string) => Schema.Boolean.annotate({ description })

/** One of some texts. */
export const oneOf = <const Values extends ReadonlyArray<string>>(values: Values, description: string) =>
  Schema.Literals(values).annotate({ description })

/** One text, for what tells kinds of documents apart. */
export const exactly = <const Value extends string>(value: Value, description: string) =>
  Schema.Literal(value).annotate({ description })

// JSON's own integers have no bounds, unlike Schema.Int.
const integers = Schema.Finite.check(
  Schema.makeFilter<number>((value) => Number.isInteger(value) || "Expected an integer", {
    toJsonSchema: () => ({ type: "integer" })
  })
)

const counts = Schema.Finite.check(
  Schema.makeFilter<number>((value) => (Number.isInteger(value) && value >= 0) || "Expected a count", {
    toJsonSchema: () => ({ type: "integer", minimum: 0 })
  })
)

/** An integer. */
export const integer = (description: string) => integers.annotate({ description })

/** An integer that is not negative: a number of things, an identifier, a place. */
export const count = (description: string) => counts.annotate({ description })

/** A number, with a fraction maybe. */
export const number = (description: string) => Schema.Finite.annotate({ description })

/** A 64-bit integer, as bpftool writes it: a number, digit for digit, beyond 2^53, too. */
export const exact = (description: string) =>
  integers.annotate({ description: `${description} A number digit for digit, beyond 2^53, too.` })

/** A 64-bit integer as a text of decimal digits. */
export const digits = (description: string) =>
  Schema.String.check(Schema.isPattern(/^-?\d+$/u)).annotate({
    description: `${description} A text of decimal digits.`
  })

/** Bytes as a text in base64. No pattern says so: a map's value may have more bytes than engines match at once. */
export const base64 = (description: string) =>
  Schema.String.annotate({ description: `${description} In base64.`, contentEncoding: "base64" })

/** Bytes as bpftool writes them: `["0x01","0x00"]`. */
export const hexBytes = (description: string) =>
  Schema.Array(Schema.String.check(Schema.isPattern(/^0x[0-9a-f]{2}$/u))).annotate({ description })

/** A list. */
export const list = <S extends Schema.Constraint>(each: S, description: string) =>
  Schema.Array(each).annotate({ description })

/** Something, or `null` where there is none of it. */
export const orNull = <S extends Schema.Constraint>(schema: S) => Schema.NullOr(schema)

/** A key that is there where it applies. */
export const maybe = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(schema)

/** Any document: what a value of a program's own types looks like is decided by those types. */
export const any = (description: string) => Schema.Json.annotate({ description })

/** Identifiers of objects of the kernel. */
export const ids = (description: string) => Schema.Array(counts).annotate({ description })

/** Values by names that are not known before. */
export const named = <S extends Schema.Constraint>(each: S, description: string) =>
  Schema.Record(Schema.String, each).annotate({ description })

/** What a command prints that has nothing to say: `null`, as with bpftool. */
export const nothing = Schema.Null.annotate({ description: "Done; there is nothing to say, as with bpftool." })
