/**
 * What a batch came to, as data, with bpftool's keys: each command with what it printed.
 */
import { exact } from "./Exact.ts"
import type { Json } from "./Json.ts"

/** A command that was run. */
export interface Done {
  readonly words: ReadonlyArray<string>
  /** What it printed: documents, each on a line; or a text, such as help. */
  readonly text: string
}

const isJson = (value: unknown): value is Json => value !== undefined

/** A document as it was written: numbers that a double does not hold keep their digits. */
const parsed = (text: string): Json | undefined => {
  const keep = (_key: string, value: unknown, context?: { readonly source?: string }): unknown => {
    const source = context?.source
    return typeof value === "number" && !Number.isSafeInteger(value) && source !== undefined && /^-?\d+$/.test(source)
      ? exact(BigInt(source))
      : value
  }
  try {
    const value: unknown = JSON.parse(text, keep)
    return isJson(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** The documents that were printed: one as it is, several as a list, none is `null`; what is none is a text. */
const outputJson = (text: string): Json => {
  const documents: Array<Json> = []
  for (const line of text.split("\n")) {
    if (line === "") continue
    const document = parsed(line)
    if (document === undefined) return text.trimEnd()
    documents.push(document)
  }
  const [first = null] = documents
  return documents.length > 1 ? documents : first
}

/** The document of one command. */
export const doneJson = ({ text, words }: Done): Json => ({ command: [...words], output: outputJson(text) })
