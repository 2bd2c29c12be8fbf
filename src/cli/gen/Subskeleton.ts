/**
 * `gen subskeleton`: code that finds what is in a library object, in the object of a program that it was linked into.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { reporting } from "../Failure.ts"
import { UsageError } from "../Usage.ts"
import type { Asked } from "./SkeletonAsked.ts"
import * as SkeletonC from "./SkeletonC.ts"
import * as SkeletonFile from "./SkeletonFile.ts"
import * as SkeletonTs from "./SkeletonTs.ts"

type Given = Pick<Asked, "lang" | "name" | "object" | "output" | "useLoader" | "words">

const writeSubskeleton = Effect.fnUntraced(function*(asked: Given) {
  if (asked.useLoader) {
    return yield* new UsageError({ argument: "--use-loader", detail: "is for skeletons: a subskeleton loads nothing" })
  }
  const name = yield* SkeletonFile.nameOf(asked)
  yield* SkeletonFile.requireApart(asked)
  const written = yield* (asked.lang === "ts" ? SkeletonTs : SkeletonC).subskeleton(asked.object, name)
  yield* SkeletonFile.write(asked, name, written, "finds what is in")
})

/** The command. */
export const subskeleton = Command.make("subskeleton", {
  ...SkeletonFile.flags,
  useLoader: Flag.Boolean("use-loader").pipe(
    Flag.withAlias("L"),
    Flag.withDescription("Refused: there are no light subskeletons"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}, (options) => reporting(writeSubskeleton(options))).pipe(
  Command.withDescription(
    "Write a library's half of an object: names for the maps, programs and variables of a library object, and a function\n" +
      "  that finds them in the object of a program that the library was linked into (gen object), wherever the linker put\n" +
      "  them. The program loads its object; the library is given that.\n\n" +
      "  In C it is a header as bpftool's, over libbpf 1.0 or later. In TypeScript it is a module with attachTo, which needs\n" +
      "  effect and effect-bpf/skeleton."
  ),
  Command.withShortDescription("Write code that finds a library's parts in a linked object"),
  Command.withExamples([
    { command: "effect-bpf gen subskeleton library.bpf.o > library.subskel.h", description: "A C header" },
    {
      command: "effect-bpf gen subskeleton library.bpf.o --lang ts -o library.subskel.ts",
      description: "A TypeScript module"
    }
  ])
)
