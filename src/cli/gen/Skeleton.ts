/**
 * `gen skeleton -L`: light skeletons.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as KernelRecording from "../../services/Kernel/KernelRecording.ts"
import * as LightSkeletonC from "../../stages/gen/LightSkeletonC.ts"
import * as LightSkeletonTs from "../../stages/gen/LightSkeletonTs.ts"
import { reporting } from "../Failure.ts"
import * as FileOutput from "../FileOutput.ts"
import type { Json } from "../json/Json.ts"
import * as ObjectFile from "../ObjectFile.ts"
import * as Output from "../Output.ts"
import * as Relocation from "../Relocation.ts"
import { counted, span, wrapped } from "../text/Text.ts"
import { UsageError } from "../Usage.ts"
import { kernelFlag, plan } from "./Recording.ts"
import type * as Recording from "./Recording.ts"

interface Options extends Recording.Given {
  readonly object: string
  readonly words: ReadonlyArray<string>
  readonly useLoader: boolean
  readonly lang: "c" | "ts"
  readonly types: boolean
  readonly output: Option.Option<string>
}

/** The name that the words behind the object give, as bpftool takes it: `name NAME`, once. */
const nameOf = Effect.fnUntraced(function*(object: string, words: ReadonlyArray<string>) {
  const [keyword, name, ...rest] = words
  if (keyword === undefined) return LightSkeletonC.nameOfFile(object)
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

const requireApart = Effect.fnUntraced(function*(object: string, output: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const real = (path: string) => Effect.orElseSucceed(fileSystem.realPath(path), () => path)
  if ((yield* real(object)) === (yield* real(output))) {
    return yield* new UsageError({ argument: output, detail: "is the object, and would be lost" })
  }
})

const writeSkeleton = Effect.fnUntraced(function*(options: Options) {
  const { lang, object: path, output, types, useLoader, words } = options
  if (!useLoader) {
    return yield* new UsageError({
      argument: path,
      detail: "only light skeletons are made yet: skeletons that embed the object come later",
      hint: "-L makes the light one, which embeds a loader program"
    })
  }
  if (types && lang === "ts") return yield* new UsageError({ argument: "--types", detail: "is for skeletons in C" })
  const name = yield* nameOf(path, words)
  if (Option.isSome(output)) yield* requireApart(path, output.value)
  const { options: recording, planned } = yield* plan(path, options)
  const loader = yield* KernelRecording.record(planned, recording)
  const text = yield* Effect.fromResult(
    lang === "c"
      ? LightSkeletonC.make(planned.object, loader, { name, types })
      : LightSkeletonTs.make(planned.object, loader, { name })
  )
  const mode = yield* Output.jsonMode
  if (Option.isNone(output) && mode === "text") return yield* Console.log(text.trimEnd())
  if (Option.isSome(output)) yield* FileOutput.writeFile(output.value, new TextEncoder().encode(text))
  const { maps, notes, programs } = loader
  yield* Output.result(
    (): Json => ({
      name,
      language: lang,
      maps: maps.map(({ name }) => name),
      programs: programs.map(({ name }) => name),
      notes,
      ...(Option.isSome(output) ? { output: output.value } : { text })
    }),
    () => [
      wrapped(
        2,
        span("name", Option.getOrElse(output, () => "")),
        `: ${lang === "c" ? "a header" : "a module"} that loads ${path}, ${counted(maps.length, "map")} and ${
          counted(programs.length, "program")
        } under the name ${name}`
      )
    ]
  )
})

/** The command. */
export const skeleton = Command.make("skeleton", {
  object: ObjectFile.argument,
  words: Argument.String("words").pipe(
    Argument.withDescription("name NAME: what all names begin with, instead of the file's name"),
    Argument.variadic()
  ),
  useLoader: Flag.Boolean("use-loader").pipe(
    Flag.withAlias("L"),
    Flag.withDescription("Make a light skeleton, which embeds a loader program instead of the object"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  lang: Flag.Literals("lang", ["c", "ts"]).pipe(
    Flag.withDescription("The language: a C header, or a TypeScript module"),
    Flag.withDefault("c" as const)
  ),
  types: Flag.Boolean("types").pipe(
    Flag.withDescription("Define the types of the variables in the C header; without it, include yours before"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  output: Flag.String("output").pipe(
    Flag.withAlias("o"),
    Flag.withMetavar("FILE"),
    Flag.withDescription("The file to write, as a whole when all is done; without it the text goes to standard output"),
    Flag.optional
  ),
  kernel: kernelFlag,
  ...Relocation.flags,
  ...ObjectFile.edits
}, (options) => reporting(writeSkeleton(options))).pipe(
  Command.withDescription(
    "Write a program's half of an object: names for its maps, programs and variables, and functions that load it. A light\n" +
      "  skeleton embeds a loader program, so that neither the object nor libbpf is needed where it runs.\n\n" +
      "  In C it is a header as bpftool's, for programs in user space and for kernel modules; it needs bpf/skel_internal.h of\n" +
      "  libbpf. In TypeScript it is a module with open and load, which needs effect and effect-bpf/light."
  ),
  Command.withShortDescription("Write code that loads an object"),
  Command.withExamples([
    { command: "effect-bpf gen skeleton -L firewall.bpf.o > firewall.lskel.h", description: "A C header" },
    {
      command: "effect-bpf gen skeleton -L firewall.bpf.o name firewall --lang ts -o firewall.ts",
      description: "A TypeScript module, under another name"
    }
  ])
)
