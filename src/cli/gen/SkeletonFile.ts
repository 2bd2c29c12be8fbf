/**
 * What `gen skeleton` and `gen subskeleton` have in common: the name, and where the text goes.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import { nameOfFile } from "../../stages/gen/skeleton/SkeletonShape.ts"
import * as FileOutput from "../FileOutput.ts"
import type { Json } from "../json/Json.ts"
import * as ObjectFile from "../ObjectFile.ts"
import * as Output from "../Output.ts"
import { counted, span, wrapped } from "../text/Text.ts"
import { UsageError } from "../Usage.ts"
import type { Asked, Written } from "./SkeletonAsked.ts"

type Named = Pick<Asked, "name" | "object" | "words">
type Placed = Pick<Asked, "lang" | "object" | "output">

/** The arguments of both. */
export const flags = {
  object: ObjectFile.argument,
  words: Argument.String("words").pipe(
    Argument.withDescription("name NAME: what all names begin with, instead of the file's name"),
    Argument.variadic()
  ),
  name: Flag.String("name").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("The same"),
    Flag.optional
  ),
  lang: Flag.Literals("lang", ["c", "ts"]).pipe(
    Flag.withDescription("The language: a C header, or a TypeScript module"),
    Flag.withDefault("c" as const)
  ),
  output: Flag.String("output").pipe(
    Flag.withAlias("o"),
    Flag.withMetavar("FILE"),
    Flag.withDescription("The file to write, as a whole when all is done; without it the text goes to standard output"),
    Flag.optional
  )
}

/** The name: that of `--name`, or what the words behind the object give, as bpftool takes it: `name NAME`, once. */
export const nameOf = Effect.fnUntraced(function*({ name: given, object, words }: Named) {
  const [keyword, name, ...rest] = words
  if (keyword === undefined) return Option.getOrElse(given, () => nameOfFile(object))
  if (Option.isSome(given)) {
    return yield* new UsageError({ argument: "--name", detail: "is given twice, once as words" })
  }
  if (keyword !== "name") {
    return yield* new UsageError({
      argument: keyword,
      detail: "is not expected",
      hint: "name NAME can follow the object"
    })
  }
  if (name === undefined) return yield* new UsageError({ argument: "name", detail: "needs a name behind it" })
  const [again] = rest
  if (again !== undefined) {
    const detail = again === "name" ? "is given twice" : "is not expected"
    return yield* new UsageError({ argument: again, detail })
  }
  return name
})

/** Refuses to write over the object. */
export const requireApart = Effect.fnUntraced(function*({ object, output }: Placed) {
  if (Option.isNone(output)) return
  const fileSystem = yield* FileSystem.FileSystem
  const real = (path: string) => Effect.orElseSucceed(fileSystem.realPath(path), () => path)
  if ((yield* real(object)) === (yield* real(output.value))) {
    return yield* new UsageError({ argument: output.value, detail: "is the object, and would be lost" })
  }
})

/** Writes the text, and says what was written. `verb` is what it does with the object. */
export const write = Effect.fnUntraced(function*(
  { lang, object: path, output }: Placed,
  name: string,
  { maps, notes, programs, text, what }: Written,
  verb: string = "loads"
) {
  const mode = yield* Output.jsonMode
  if (Option.isNone(output) && mode === "text") return yield* Output.verbatim(text.trimEnd())
  if (Option.isSome(output)) yield* FileOutput.writeFile(output.value, new TextEncoder().encode(text))
  yield* Output.result(
    (): Json => ({
      name,
      language: lang,
      maps,
      programs,
      notes,
      ...(Option.isSome(output) ? { output: output.value } : { text })
    }),
    () => [
      wrapped(
        2,
        span("name", Option.getOrElse(output, () => "")),
        `: ${what} that ${verb} ${path}, ${counted(maps.length, "map")} and ${
          counted(programs.length, "program")
        } under the name ${name}`
      )
    ]
  )
})
