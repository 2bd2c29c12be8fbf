/**
 * Arguments in the manner of bpftool: words in a row, such as `id 5 key 1 0 0 0 value 2 0 0 0 noexist`. Pure.
 *
 * A reader takes what it knows from the front and answers what is left.
 */
import * as Result from "effect/Result"
import { UsageError } from "../Usage.ts"

/** The words that are left. */
export type Words = ReadonlyArray<string>

/** What was read, and what is left. */
export type Read<A> = Result.Result<readonly [value: A, rest: Words], UsageError>

/** Wrong usage, as a result. */
export const wrong = (argument: string, detail: string, hint?: string): Result.Result<never, UsageError> =>
  Result.fail(new UsageError({ argument, detail, ...(hint === undefined ? {} : { hint }) }))

/** The word behind a keyword: `pinned FILE`. */
export const operand = (keyword: string, words: Words, what: string): Read<string> => {
  const [word, ...rest] = words
  return word === undefined ? wrong(keyword, `${what} is expected behind it`) : Result.succeed([word, rest])
}

/** A whole number as C writes it: decimal, `0x1f`, or `017`. `undefined` where the word is none. */
export const number = (word: string): bigint | undefined => {
  if (/^0[0-7]+$/.test(word)) return BigInt(`0o${word.slice(1)}`)
  return /^(0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)$/.test(word) ? BigInt(word) : undefined
}

/** The number behind a keyword, from 0 to `maximum`. */
export const numeric = (keyword: string, words: Words, maximum = 0xffff_ffff): Read<number> =>
  Result.flatMap(operand(keyword, words, "a number"), ([word, rest]) => {
    const value = number(word)
    return value === undefined || value > BigInt(maximum)
      ? wrong(`${keyword} ${word}`, `a number from 0 to ${maximum} is expected`)
      : Result.succeed([Number(value), rest])
  })

/** An object as bpftool names it. */
export type Reference =
  | { readonly _tag: "Id"; readonly id: number }
  | { readonly _tag: "Pinned"; readonly path: string }
  | { readonly _tag: "Name"; readonly name: string }
  | { readonly _tag: "Tag"; readonly tag: string }

/** What a reference may begin with. */
const grammar: Readonly<Record<"map" | "prog", string>> = {
  map: "id N, pinned FILE or name NAME",
  prog: "id N, pinned FILE, name NAME or tag TAG"
}

/** Whether a word begins a reference. */
export const isReference = (word: string | undefined): boolean =>
  word === "id" || word === "pinned" || word === "name" || word === "tag"

/** The reference at the front. */
export const reference = (kind: "map" | "prog", words: Words): Read<Reference> => {
  const [keyword = "", ...rest] = words
  switch (keyword) {
    case "id":
      return Result.map(numeric("id", rest), ([id, rest]) => [{ _tag: "Id", id }, rest])
    case "pinned":
      return Result.map(operand("pinned", rest, "a path"), ([path, rest]) => [{ _tag: "Pinned", path }, rest])
    case "name":
      return Result.map(operand("name", rest, "a name"), ([name, rest]) => [{ _tag: "Name", name }, rest])
    case "tag":
      if (kind === "map") return wrong("tag", "maps have no tags", `a map is ${grammar.map}`)
      return Result.flatMap(operand("tag", rest, "a tag"), ([tag, rest]) =>
        /^[0-9a-fA-F]{16}$/.test(tag)
          ? Result.succeed([{ _tag: "Tag", tag: tag.toLowerCase() }, rest])
          : wrong(`tag ${tag}`, "a tag is 16 hexadecimal digits"))
    default:
      return keyword === ""
        ? wrong(kind, `none is named`, `a ${kind} is ${grammar[kind]}`)
        : wrong(keyword, `this begins no ${kind}`, `a ${kind} is ${grammar[kind]}`)
  }
}

/** The reference as the user would write it again. */
export const written = (reference: Reference): string => {
  switch (reference._tag) {
    case "Id":
      return `id ${reference.id}`
    case "Pinned":
      return `pinned ${reference.path}`
    case "Name":
      return `name ${reference.name}`
    case "Tag":
      return `tag ${reference.tag}`
  }
}

/** Complains of words that are left. */
export const nothingLeft = (words: Words): Result.Result<void, UsageError> =>
  words.length === 0 ? Result.succeed(undefined) : wrong(words.join(" "), "nothing more is expected here")

/** Words that may not be bytes, for they begin something else. */
const keywords: ReadonlySet<string> = new Set(["key", "value", "any", "exist", "noexist"])

/**
 * The bytes behind `key` or `value`: as many as `size`, each a number as C writes it; behind `hex` two digits without
 * `0x`.
 */
export const bytes = (keyword: "key" | "value", words: Words, size: number): Read<Uint8Array> => {
  const hex = words[0] === "hex"
  const from = hex ? words.slice(1) : words
  const end = from.findIndex((word) => keywords.has(word))
  const all = end < 0 ? from : from.slice(0, end)
  const next = all[size]
  // A word behind the last byte that is no number is somebody else's.
  const given = next !== undefined && !/^[0-9]/.test(next) ? all.slice(0, size) : all
  const found = new Uint8Array(size)
  if (given.length !== size) {
    return wrong(
      keyword,
      `it has ${size} ${size === 1 ? "byte" : "bytes"}, and ${given.length} ${given.length === 1 ? "is" : "are"} given`,
      `each byte is a number, as in ${keyword} 0x01 0x00 or ${keyword} hex 01 00; or give it as JSON: --${keyword} JSON`
    )
  }
  for (const [at, word] of given.entries()) {
    const value = hex ?
      (/^(0x)?[0-9a-fA-F]{1,2}$/.test(word) ? BigInt(`0x${word.replace(/^0x/, "")}`) : undefined)
      : number(word)
    if (value === undefined || value > 255n) {
      return wrong(word, `byte ${at} of the ${keyword} is ${hex ? "two hexadecimal digits" : "a number from 0 to 255"}`)
    }
    found[at] = Number(value)
  }
  return Result.succeed([found, from.slice(given.length)])
}
