/**
 * Where the types of `btf dump` are, in bpftool's words and in our own: a file, or an object of the kernel. Pure.
 */
import * as Result from "effect/Result"
import * as Words from "../objects/Words.ts"
import type { UsageError } from "../Usage.ts"

/** Which types of a map are meant. */
export type MapPart = "key" | "value" | "kv" | "all"

/** Where types are. */
export type Source =
  | { readonly _tag: "File"; readonly path: string }
  | { readonly _tag: "Id"; readonly id: number }
  | { readonly _tag: "Prog"; readonly reference: Words.Reference }
  | { readonly _tag: "Map"; readonly reference: Words.Reference; readonly part: MapPart }

/** What is asked for; what is not said is `undefined`. */
export interface Asked {
  readonly source: Source
  readonly format: "raw" | "c" | undefined
  readonly unsorted: boolean
}

const parts: ReadonlySet<string> = new Set(["key", "value", "kv", "all"] satisfies ReadonlyArray<MapPart>)

const isPart = (word: string | undefined): word is MapPart => word !== undefined && parts.has(word)

const sourceIn = (first: string, behind: Words.Words): Words.Read<Source> => {
  switch (first) {
    case "id":
      return Result.map(Words.numeric("id", behind), ([id, rest]) => [{ _tag: "Id", id }, rest])
    case "prog":
      return Result.map(
        Words.reference("prog", behind),
        ([reference, rest]) => [{ _tag: "Prog", reference }, rest]
      )
    case "map":
      return Result.map(Words.reference("map", behind), ([reference, rest]) => {
        const [part] = rest
        return isPart(part)
          ? [{ _tag: "Map", reference, part }, rest.slice(1)]
          : [{ _tag: "Map", reference, part: "kv" }, rest]
      })
    default:
      return Result.map(Words.operand("file", behind, "a path"), ([path, rest]) => [{ _tag: "File", path }, rest])
  }
}

const keywords: ReadonlySet<string> = new Set(["file", "id", "prog", "map"])

/** Reads the words: `FILE`, or `id N`, `prog PROG`, `map MAP [key|value|kv|all]`, `file FILE`; then `format raw|c [unsorted]`. */
export const read = (first: string, behind: Words.Words): Result.Result<Asked, UsageError> =>
  Result.gen(function*() {
    const isKeyword = keywords.has(first) && behind.length > 0
    const [source, given]: readonly [Source, Words.Words] = isKeyword
      ? yield* sourceIn(first, behind)
      : [{ _tag: "File", path: first }, behind]
    let format: Asked["format"]
    let unsorted = false
    let rest = given
    for (let word = rest[0]; word !== undefined; word = rest[0]) {
      rest = rest.slice(1)
      if (word === "unsorted") unsorted = true
      else if (word === "format") {
        const [value, left] = yield* Words.operand("format", rest, "raw or c")
        if (value !== "raw" && value !== "c") return yield* Words.wrong(`format ${value}`, "raw or c is expected")
        format = value
        rest = left
      } else {return yield* Words.wrong(
          word,
          "nothing of this name is expected here",
          "format raw, or format c [unsorted]"
        )}
    }
    return { source, format, unsorted }
  })

/** The source as the user would write it again. */
export const written = (source: Source): string => {
  switch (source._tag) {
    case "File":
      return source.path
    case "Id":
      return `id ${source.id}`
    case "Prog":
      return `prog ${Words.written(source.reference)}`
    case "Map":
      return `map ${Words.written(source.reference)}`
  }
}
