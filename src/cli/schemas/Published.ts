/**
 * Documents of commands as JSON Schemas, as they are published in `docs/schemas`.
 *
 * Source: JSON Schema, draft 2020-12.
 */
import * as Schema from "effect/Schema"

/** What a command prints with `--json`. */
export interface Published {
  /** What the document says; where its keys come from. */
  readonly description: string
  /** The document; of a command that prints lines the document of each. */
  readonly schema: Schema.Constraint
  /** A document for each thing that happens, each on a line of its own. */
  readonly lines?: true
}

/** Commands by their words: `prog show`. */
export type ByCommand = Readonly<Record<string, Published>>

/** The version of all documents: another one when a key goes or means something else, which takes a major version. */
export const version = 1

/** Anything that can be written as JSON. */
type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

/** The published file of a command. */
export const fileName = (words: string): string => `${words.replaceAll(" ", "-")}.json`

/** The identifier of a command's schema. */
export const idOf = (words: string): string => `urn:effect-bpf:json:${version}:${words.replaceAll(" ", "-")}`

type JsonObject = { readonly [key: string]: Json }

const isList = (value: unknown): value is ReadonlyArray<unknown> => Array.isArray(value)

const isObject = (value: Json): value is JsonObject => typeof value === "object" && value !== null && !isList(value)

/** `{ allOf: [A, B] }` as one object where A and B have no key in common: since 2020-12 a `$ref` may have neighbours. */
const joined = (parts: ReadonlyArray<Json>): JsonObject | undefined => {
  const objects = parts.filter(isObject)
  const entries = objects.flatMap((part) => Object.entries(part))
  const one = Object.fromEntries(entries)
  return objects.length < parts.length || Object.keys(one).length < entries.length ? undefined : one
}

const isJsonList = (value: Json | undefined): value is ReadonlyArray<Json> => isList(value)

/** A schema as JSON, with what is said in two places said in one. */
const tidied = (value: unknown): Json => {
  if (isList(value)) return value.map(tidied)
  if (typeof value !== "object" || value === null) {
    return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : null
  }
  // byte is no format of JSON Schema, and contentEncoding says it.
  const entries = Object.entries(value).filter(([key, each]) => key !== "format" || each !== "byte")
    .map(([key, each]) => [key, tidied(each)] as const)
  const { allOf, ...rest }: JsonObject = Object.fromEntries(entries)
  const one = isJsonList(allOf) ? joined([rest, ...allOf]) : undefined
  return one ?? Object.fromEntries(entries)
}

/** The JSON Schema of a command's document. Keys that it does not name are no part of the document. */
export const jsonSchema = (
  words: string,
  { description, lines, schema }: Published
): { readonly [key: string]: Json } => {
  const { definitions, schema: root } = Schema.toJsonSchemaDocument(schema, { onExcessProperty: "error" })
  const defs = tidied(definitions)
  const body = tidied(root)
  // What is said of the command goes before what its schema says of itself.
  const said = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: idOf(words),
    title: words === "failure" ? "effect-bpf: a failure" : `effect-bpf ${words} --json`,
    description: lines === true ? `${description} There is a document on each line.` : description
  }
  return {
    ...said,
    ...(isObject(body) ? body : {}),
    ...said,
    ...(isObject(defs) && Object.keys(defs).length > 0 ? { $defs: defs } : {})
  }
}

/** The published text of a schema. */
export const schemaText = (words: string, published: Published): string =>
  `${JSON.stringify(jsonSchema(words, published), undefined, 2)}\n`

const BEGIN = "<!-- schemas: written by tools/schemas.ts -->"
const END = "<!-- end -->"

/** A page with the list of all schemas between the comments that say where it is. */
export const listed = (page: string, published: ByCommand): string => {
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END, begin)
  if (begin === -1 || end === -1) return page
  const lines = Object.entries(published)
    .toSorted(([one], [other]) => one === "failure" ? 1 : other === "failure" ? -1 : one < other ? -1 : 1)
    .map(([words, { description, lines }]) =>
      `- [\`${words}\`](schemas/${fileName(words)})${lines === true ? ", a document on each line" : ""}: ${description}`
    )
  return `${page.slice(0, begin)}${BEGIN}\n\n${lines.join("\n")}\n\n${page.slice(end)}`
}
