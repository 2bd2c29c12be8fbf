/**
 * `iter`: iterators as files, with bpftool's words.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Iter from "../attach/Iter.ts"
import { AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import type { BpfObject, Program } from "../stages/open/BpfObject.ts"
import { requireProgram } from "./Edits.ts"
import { reporting } from "./Failure.ts"
import * as KernelChoice from "./KernelChoice.ts"
import { load as loadObject, logLevel } from "./Load.ts"
import * as ObjectFile from "./ObjectFile.ts"
import * as Objects from "./objects/Objects.ts"
import * as Words from "./objects/Words.ts"
import * as Output from "./Output.ts"
import * as Relocation from "./Relocation.ts"
import { UsageError } from "./Usage.ts"

const isIterator = ({ autoload, entry, expectedAttachType }: Program): boolean =>
  entry && autoload && expectedAttachType === AttachType.BPF_TRACE_ITER

/** The program that is pinned: the one that was named, or the object's first iterator. */
const chosen = (object: BpfObject, name: Option.Option<string>): Result.Result<Program, UsageError> => {
  const argument = Option.isSome(name) ? `--prog ${name.value}` : "object"
  const wrong = (detail: string) =>
    Result.fail(
      new UsageError({
        argument,
        detail,
        hint: "a program in SEC(\"iter/task\") is one; effect-bpf inspect shows them"
      })
    )
  if (Option.isSome(name)) {
    return Result.flatMap(
      requireProgram(object, name.value, argument),
      (program) => isIterator(program) ? Result.succeed(program) : wrong("it is no iterator that a load takes")
    )
  }
  const first = object.programs.find(isIterator)
  return first === undefined ? wrong("it has no iterator that a load takes") : Result.succeed(first)
}

/** The map among the words behind the path: `map MAP`. */
const mapOf = (words: Words.Words): Result.Result<Words.Reference | undefined, UsageError> => {
  const [keyword, ...behind] = words
  if (keyword === undefined) return Result.succeed(undefined)
  if (keyword !== "map") return Words.wrong(keyword, "nothing is expected here but map MAP")
  return Result.flatMap(
    Words.reference("map", behind),
    ([reference, rest]) => Result.map(Words.nothingLeft(rest), () => reference)
  )
}

const pin = Command.make(
  "pin",
  {
    object: ObjectFile.argument,
    path: Argument.String("path").pipe(
      Argument.withDescription("The name of the new file in a bpf file system: /sys/fs/bpf/tasks")
    ),
    words: Argument.String("words").pipe(
      Argument.withDescription("map MAP: what to go over, for iterators over the elements of a map"),
      Argument.variadic()
    ),
    prog: Flag.String("prog").pipe(
      Flag.withMetavar("NAME"),
      Flag.withDescription("This program instead of the object's first iterator"),
      Flag.optional
    ),
    log: ObjectFile.log,
    kernel: KernelChoice.lastingFlag,
    ...Relocation.flags,
    ...ObjectFile.edits
  },
  ({ btf, kconfig, kernel, log, object: file, path, prog, words, ...edits }) =>
    reporting(
      Effect.gen(function*() {
        const reference = yield* Effect.fromResult(mapOf(words))
        const object = yield* ObjectFile.openEdited(file, edits, { logLevel: logLevel(log) })
        const program = yield* Effect.fromResult(chosen(object, prog))
        const relocate = yield* Relocation.options({ btf, kconfig })
        yield* Effect.scoped(Effect.gen(function*() {
          const loaded = yield* loadObject(object, { kernel, log, relocate })
          const map = reference === undefined
            ? undefined
            : (yield* Objects.oneMap(Objects.inSession(loaded.session), reference)).ref
          const link = yield* Iter.attach(
            loaded,
            program.name,
            map === undefined ? {} : { over: { _tag: "Map", map } }
          )
          yield* link.pin(path)
        }))
        yield* Output.result(() => null, () => [])
      }).pipe(Effect.provide(KernelChoice.layer(kernel))),
      { showLog: log }
    )
).pipe(
  Command.withDescription(
    "Load an object and make its iterator a file: each reading of it runs the program, which writes what is read. The\n" +
      "  iterator goes with the file. Needs root, or CAP_BPF and CAP_PERFMON."
  ),
  Command.withShortDescription("Make an iterator a file"),
  Command.withExamples([
    { command: "effect-bpf iter pin tasks.bpf.o /sys/fs/bpf/tasks" },
    { command: "effect-bpf iter pin elements.bpf.o /sys/fs/bpf/ports map name ports", description: "Over a map" }
  ])
)

/** The command with its verbs. */
export const iter = Command.make("iter").pipe(
  Command.withDescription("Iterators of the kernel of this machine as files, with bpftool's words."),
  Command.withShortDescription("Iterators as files: pin"),
  Command.withSubcommands([pin])
)
