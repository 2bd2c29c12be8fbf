/**
 * `gen skeleton`: code that loads an object, and names what is in it.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as KernelRecording from "../../services/Kernel/KernelRecording.ts"
import * as LightSkeletonC from "../../stages/gen/LightSkeletonC.ts"
import * as LightSkeletonTs from "../../stages/gen/LightSkeletonTs.ts"
import { reporting } from "../Failure.ts"
import * as ObjectFile from "../ObjectFile.ts"
import * as Relocation from "../Relocation.ts"
import { UsageError } from "../Usage.ts"
import { decidingFlag, kernelFlag, plan } from "./Recording.ts"
import type { Asked, Written } from "./SkeletonAsked.ts"
import * as SkeletonC from "./SkeletonC.ts"
import * as SkeletonFile from "./SkeletonFile.ts"
import * as SkeletonTs from "./SkeletonTs.ts"

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
const requireUnedited = Effect.fnUntraced(function*(asked: Asked) {
  const flag = decidingFlag(asked) ?? (Option.isSome(asked.kernel) ? "--kernel" : undefined)
  if (flag === undefined) return
  return yield* new UsageError({
    argument: flag,
    detail: "is for light skeletons (-L)",
    hint: "this one has the object as it is: it is changed between open and load"
  })
})

/** A skeleton that has the object itself. */
const writeFull = Effect.fnUntraced(function*(asked: Asked, name: string) {
  yield* requireUnedited(asked)
  if (asked.lang === "ts") return yield* SkeletonTs.write(asked, name)
  return yield* SkeletonC.skeleton(asked.object, name)
})

const writeSkeleton = Effect.fnUntraced(function*(asked: Asked) {
  const { beside, lang, types, useLoader } = asked
  if (types && lang === "ts") return yield* new UsageError({ argument: "--types", detail: "is for skeletons in C" })
  if (types && !useLoader) {
    return yield* new UsageError({
      argument: "--types",
      detail: "is for light skeletons (-L)",
      hint: "this one includes libbpf's header, which has some of the types: include yours before it"
    })
  }
  if (beside && (useLoader || lang === "c")) {
    return yield* new UsageError({ argument: "--beside", detail: "is for skeletons in TypeScript that are not light" })
  }
  const name = yield* SkeletonFile.nameOf(asked)
  yield* SkeletonFile.requireApart(asked)
  yield* SkeletonFile.write(asked, name, yield* useLoader ? writeLight(asked, name) : writeFull(asked, name))
})

/** The command. */
export const skeleton = Command.make("skeleton", {
  ...SkeletonFile.flags,
  useLoader: Flag.Boolean("use-loader").pipe(
    Flag.withAlias("L"),
    Flag.withDescription("Make a light skeleton, which embeds a loader program instead of the object"),
    Flag.withoutNegation,
    Flag.withDefault(false)
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
  kernel: kernelFlag,
  ...Relocation.flags,
  ...ObjectFile.edits
}, (options) => reporting(writeSkeleton(options))).pipe(
  Command.withDescription(
    "Write a program's half of an object: names for its maps, programs and variables, types for their values, and functions\n" +
      "  that load it. The object is embedded, or lies beside.\n\n" +
      "  In C a skeleton is a header as bpftool's, over libbpf 1.0 or later. A light skeleton (-L) embeds a loader program\n" +
      "  instead, so that neither the object nor libbpf is needed where it runs: a header for programs in user space and for\n" +
      "  kernel modules, which needs bpf/skel_internal.h of libbpf.\n\n" +
      "  In TypeScript a skeleton is a module with open and load, which needs effect and effect-bpf/skeleton; a light one\n" +
      "  needs effect-bpf/light."
  ),
  Command.withShortDescription("Write code that loads an object"),
  Command.withExamples([
    { command: "effect-bpf gen skeleton firewall.bpf.o > firewall.skel.h", description: "A C header" },
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
