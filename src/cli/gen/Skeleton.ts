/**
 * `gen skeleton`: code that loads an object, and names what is in it.
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
import type { Asked, Written } from "./SkeletonAsked.ts"
import * as SkeletonTs from "./SkeletonTs.ts"

/** The name: that of `--name`, or what the words behind the object give, as bpftool takes it: `name NAME`, once. */
const nameOf = Effect.fnUntraced(function*({ name: given, object, words }: Asked) {
  const [keyword, name, ...rest] = words
  if (keyword === undefined) return Option.getOrElse(given, () => LightSkeletonC.nameOfFile(object))
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

const requireApart = Effect.fnUntraced(function*(object: string, output: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const real = (path: string) => Effect.orElseSucceed(fileSystem.realPath(path), () => path)
  if ((yield* real(object)) === (yield* real(output))) {
    return yield* new UsageError({ argument: output, detail: "is the object, and would be lost" })
  }
})

/** A light skeleton: the object is in it as a loader program. */
const writeLight = Effect.fnUntraced(function*(asked: Asked, name: string) {
  const { lang, object: path, types } = asked
  const { options: recording, planned } = yield* plan(path, asked)
  const loader = yield* KernelRecording.record(planned, recording)
  const text = yield* Effect.fromResult(
    lang === "c"
      ? LightSkeletonC.make(planned.object, loader, { name, types })
      : LightSkeletonTs.make(planned.object, loader, { name })
  )
  return {
    text,
    what: lang === "c" ? "a header" : "a module",
    maps: loader.maps.map((map) => map.name),
    programs: loader.programs.map((program) => program.name),
    notes: loader.notes
  } satisfies Written
})

/** Refuses what only light skeletons take: all else is said to `open`, where the skeleton is used. */
const requireUnedited = Effect.fnUntraced(
  function*({ attachTo, autoload, btf, kconfig, kernel, map, noAutoload, set }: Asked) {
    const given = [
      ["--set", set.length > 0],
      ["--map", map.length > 0],
      ["--autoload", autoload.length > 0],
      ["--no-autoload", noAutoload.length > 0],
      ["--attach-to", attachTo.length > 0],
      ["--btf", Option.isSome(btf)],
      ["--kconfig", Option.isSome(kconfig)],
      ["--kernel", Option.isSome(kernel)]
    ] as const
    const [flag] = given.find(([, isGiven]) => isGiven) ?? []
    if (flag === undefined) return
    return yield* new UsageError({
      argument: flag,
      detail: "is for light skeletons (-L)",
      hint: "this one has the object as it is: it is changed between open and load"
    })
  }
)

/** A skeleton that has the object itself. */
const writeFull = Effect.fnUntraced(function*(asked: Asked, name: string) {
  yield* requireUnedited(asked)
  if (asked.lang === "ts") return yield* SkeletonTs.write(asked, name)
  return yield* new UsageError({
    argument: asked.object,
    detail: "skeletons in C that embed the object are not made yet",
    hint: "-L makes the light one, which embeds a loader program; --lang ts a module"
  })
})

const writeSkeleton = Effect.fnUntraced(function*(asked: Asked) {
  const { beside, lang, object: path, output, types, useLoader } = asked
  if (types && lang === "ts") return yield* new UsageError({ argument: "--types", detail: "is for skeletons in C" })
  if (beside && (useLoader || lang === "c")) {
    return yield* new UsageError({ argument: "--beside", detail: "is for skeletons in TypeScript that are not light" })
  }
  const name = yield* nameOf(asked)
  if (Option.isSome(output)) yield* requireApart(path, output.value)
  const { maps, notes, programs, text, what } = yield* useLoader ? writeLight(asked, name) : writeFull(asked, name)
  const mode = yield* Output.jsonMode
  if (Option.isNone(output) && mode === "text") return yield* Console.log(text.trimEnd())
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
        `: ${what} that loads ${path}, ${counted(maps.length, "map")} and ${
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
  name: Flag.String("name").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("The same"),
    Flag.optional
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
  beside: Flag.Boolean("beside").pipe(
    Flag.withDescription("Read the object from where it is beside the TypeScript module, instead of embedding it"),
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
    "Write a program's half of an object: names for its maps, programs and variables, types for their values, and functions\n" +
      "  that load it. The object is embedded, or lies beside.\n\n" +
      "  A light skeleton (-L) embeds a loader program instead, so that neither the object nor libbpf is needed where it runs.\n" +
      "  In C it is a header as bpftool's, for programs in user space and for kernel modules; it needs bpf/skel_internal.h of\n" +
      "  libbpf.\n\n" +
      "  In TypeScript a skeleton is a module with open and load, which needs effect and effect-bpf/skeleton; a light one\n" +
      "  needs effect-bpf/light."
  ),
  Command.withShortDescription("Write code that loads an object"),
  Command.withExamples([
    {
      command: "effect-bpf gen skeleton firewall.bpf.o --lang ts -o firewall.skel.ts",
      description: "A TypeScript module with the object in it"
    },
    {
      command: "effect-bpf gen skeleton firewall.bpf.o --lang ts --beside -o firewall.skel.ts",
      description: "One that reads firewall.bpf.o, beside it, when it is opened"
    },
    {
      command: "effect-bpf gen skeleton -L firewall.bpf.o > firewall.lskel.h",
      description: "A light one as a C header"
    },
    {
      command: "effect-bpf gen skeleton -L firewall.bpf.o name firewall --lang ts -o firewall.ts",
      description: "A light one in TypeScript, under another name"
    }
  ])
)
