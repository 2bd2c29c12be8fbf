/**
 * `gen object`: many objects linked into one.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Linker from "../../linker/Linker.ts"
import * as LinkMap from "../../linker/LinkMap.ts"
import { readFile } from "../../services/Elf/ElfService.ts"
import { reporting } from "../Failure.ts"
import * as FileOutput from "../FileOutput.ts"
import { linkDocument } from "../json/LinkDocument.ts"
import * as Output from "../Output.ts"
import * as Progress from "../Progress.ts"
import { linkText } from "../text/LinkText.ts"
import { counted } from "../text/Text.ts"
import { UsageError } from "../Usage.ts"

interface Options {
  readonly output: string
  readonly input: ReadonlyArray<string>
  readonly map: Option.Option<string>
  readonly relocatable: boolean
  readonly strictLicenses: boolean
}

/** What is written must be none of what is read, under whatever name, nor one file twice. */
const requireApart = Effect.fnUntraced(function*({ input, map, output }: Options) {
  const fileSystem = yield* FileSystem.FileSystem
  const real = (path: string) => Effect.orElseSucceed(fileSystem.realPath(path), () => path)
  const written = [output, ...Option.toArray(map)]
  const targets = yield* Effect.forEach(written, real)
  if (targets[0] === targets[1]) {
    return yield* new UsageError({ argument: output, detail: "is to be the object and its map at once" })
  }
  for (const path of input) {
    const at = targets.indexOf(yield* real(path))
    if (at < 0) continue
    return yield* new UsageError({
      argument: written[at] ?? path,
      detail: `is one of the inputs, ${path}, and would be lost`,
      hint: "the first argument is the file to write, all others are read"
    })
  }
})

const linkFiles = Effect.fnUntraced(function*(options: Options) {
  const { input, map, output, relocatable, strictLicenses } = options
  yield* requireApart(options)
  const fileSystem = yield* FileSystem.FileSystem
  const progress = yield* Progress.makeBeforeOutput
  const linker = Linker.make({ relocatable, licenses: strictLicenses ? "strict" : "join" })
  const linked = yield* Effect.gen(function*() {
    for (const [index, name] of input.entries()) {
      yield* progress.say(`adding ${index + 1} of ${counted(input.length, "file")}: ${name}`)
      const bytes = yield* readFile(fileSystem, name)
      yield* Effect.fromResult(Linker.add(linker, { name, bytes }))
    }
    yield* progress.say(`linking ${counted(input.length, "file")}`)
    return yield* Effect.suspend(() => Effect.fromResult(Linker.finalize(linker)))
  }).pipe(Effect.ensuring(progress.clear))
  yield* FileOutput.writeFile(output, linked.bytes)
  if (Option.isSome(map)) {
    yield* FileOutput.writeFile(map.value, new TextEncoder().encode(LinkMap.text(linked.map)))
  }
  yield* Output.result(
    () => linkDocument(output, linked.map),
    () => linkText(output, linked.map)
  )
})

/** The command. */
export const object = Command.make("object", {
  output: Argument.String("output").pipe(
    Argument.withDescription("The file to write; one that is there is replaced as a whole, when all is done")
  ),
  input: Argument.String("input").pipe(
    Argument.withDescription("BPF object files, in either byte order, all in the same"),
    Argument.variadic({ min: 1 })
  ),
  map: Flag.String("map").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("Write a map of the link: where each section and symbol came from, and why it counts"),
    Flag.optional
  ),
  relocatable: Flag.Boolean("relocatable").pipe(
    Flag.withAlias("r"),
    Flag.withDescription("Link for a later link: keep externs that nobody defines, and weak definitions that lost"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  strictLicenses: Flag.Boolean("strict-licenses").pipe(
    Flag.withDescription("Refuse licenses that are not equal to the byte, instead of joining compatible ones to GPL"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}, (options) => reporting(linkFiles(options))).pipe(
  Command.withDescription(
    "Link BPF objects into one. Sections of one name become one, and so do symbols: externs find their definition in\n" +
      "  whichever file it is, a strong definition beats weak ones in any order. Types are compared, merged and\n" +
      "  deduplicated. One object alone loses its debug information, and keeps its types.\n\n" +
      "  Nothing is written when the link fails, and never half a file."
  ),
  Command.withShortDescription("Link BPF objects into one"),
  Command.withExamples([
    { command: "effect-bpf gen object app.bpf.o main.bpf.o library.bpf.o", description: "Two objects" },
    {
      command: "effect-bpf gen object app.bpf.o *.tmp.o --map app.map",
      description: "Many, with a map of what came from where"
    },
    {
      command: "effect-bpf gen object library.bpf.o list.bpf.o tree.bpf.o --relocatable",
      description: "A library, to be linked with programs later"
    }
  ])
)
