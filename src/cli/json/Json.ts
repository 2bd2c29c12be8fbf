/**
 * What every JSON document of the command has in common.
 *
 * Keys are those of bpftool where it has them, otherwise in its manner (`snake_case`). JSON has neither bytes nor 64-bit
 * numbers: bytes are a base64 text, a `bigint` is its decimal digits as a text. What does not apply is `null`, not absent.
 */
import type { BtfValue } from "../../btf/BtfValue.ts"

/** Anything that can be written as JSON. */
export type Json =
  | null
  | boolean
  | number
  | string
  | ReadonlyArray<Json>
  | { readonly [key: string]: Json }

/** A document with these keys, where numbers of any size are among the values: TypeScript does not know those of JSON. */
export type Keys<Document> = { readonly [Key in keyof Document]: Json }

/** Bytes as base64. */
export const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")

const isArray = (value: BtfValue): value is ReadonlyArray<BtfValue> => Array.isArray(value)

/** A decoded value: numbers up to 32 bits are numbers, larger ones texts of digits, bytes arrays of numbers. */
export const valueJson = (value: BtfValue): Json => {
  if (typeof value === "bigint") return value.toString()
  // JSON has no infinities; a text says which one it was.
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value)
  if (typeof value !== "object") return value
  if (value instanceof Uint8Array) return [...value]
  if (isArray(value)) return value.map(valueJson)
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, valueJson(each)]))
}

/** The document as text, with a newline at its end. */
export const jsonText = (document: Json, pretty: boolean): string =>
  `${JSON.stringify(document, undefined, pretty ? 2 : undefined)}\n`
