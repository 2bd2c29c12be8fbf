/**
 * `batch`: the commands of a file, one after another in one process.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import { captured } from "./batch/Captured.ts"
import { Nested } from "./batch/Nested.ts"
import * as Script from "./batch/Script.ts"
import { Failed } from "./Failed.ts"
import { reporting } from "./Failure.ts"
import { type Done, doneJson } from "./json/BatchDocument.ts"
import type { Json } from "./json/Json.ts"
import * as KernelChoice from "./KernelChoice.ts"
import * as Output from "./Output.ts"
import * as Packets from "./Packets.ts"
import { counted, line, span } from "./text/Text.ts"
import { UsageError } from "./Usage.ts"

const nameOf = (path: string): string => path === "-" ? "standard input" : path

/** The commands of a file, read whole before the first is run. */
const script = Effect.fnUntraced(function*(path: string) {
  const bytes = yield* Packets.readBytes(path)
  return yield* Effect.fromResult(Script.parse(new TextDecoder().decode(bytes), nameOf(path)))
})

const file = Command.make("file", {
  file: Argument.String("file").pipe(Argument.withDescription("The file; - is standard input"))
}, ({ file }) =>
  reporting(Effect.gen(function*() {
    const run = yield* Nested
    if (run === undefined) {
      return yield* new UsageError({ argument: `batch file ${file}`, detail: "a batch runs no other batches" })
    }
    const mode = yield* Output.jsonMode
    const commands = yield* script(file)
    // What is known of the kernel is found out once for all.
    const kernel = yield* Effect.cached(KernelChoice.makeLive)
    const nested = (words: ReadonlyArray<string>) =>
      run(mode === "text" ? words : ["--json", ...words]).pipe(
        Effect.provideService(Nested, undefined),
        Effect.provideService(KernelChoice.SharedLive, kernel),
        Effect.as<0 | 1 | 2>(0),
        Effect.catch((error) => error instanceof Failed ? Effect.succeed<0 | 1 | 2>(error.status) : Effect.die(error))
      )
    const documents: Array<Json> = []
    const told = Effect.suspend(() => mode === "text" ? Effect.void : Output.result(() => documents, () => []))
    const context = yield* Effect.context<Effect.Services<typeof told>>()
    const status = yield* Effect.scoped(Effect.gen(function*() {
      // However it ends, also by an interruption, what was done is told.
      yield* Effect.addFinalizer(() => Effect.provideContext(told, context))
      for (const [index, { line: number, words }] of commands.entries()) {
        const ended = mode === "text"
          ? { answer: yield* nested(words), text: "" }
          : yield* captured(nested(words))
        const done: Done = { words, text: ended.text }
        if (mode !== "text") documents.push(doneJson(done))
        if (ended.answer === 0) continue
        const left = commands.length - index - 1
        yield* Output.message([
          line(
            span("error", `${nameOf(file)}:${number}: ${words.join(" ")} has failed`),
            left === 0 ? "" : `; ${counted(left, "command")} behind it ${left === 1 ? "was" : "were"} not run`
          )
        ])
        return ended.answer
      }
      return 0
    }))
    if (status === 0 && mode === "text") {
      yield* Output.message([line(span("dim", `${counted(commands.length, "command")} done`))])
    }
    return status
  })).pipe(Effect.flatMap((status) => status === 0 ? Effect.void : Effect.fail(new Failed({ status }))))).pipe(
    Command.withDescription(
      "Run the commands of a file, one after another in one process, until one fails. A line is a command in the words of this\n" +
        "  command line, without its name; # begins a comment, quotes hold words together, and \\ at its end goes on in the next line.\n" +
        "  The file is read whole before the first command is run. JSON is bpftool's: a list with each command and its output."
    ),
    Command.withShortDescription("Run the commands of a file"),
    Command.withExamples([
      { command: "effect-bpf batch file setup.batch" },
      { command: "echo prog show | effect-bpf batch file - --json" }
    ])
  )

/** The command with its verb. */
export const batch = Command.make("batch").pipe(
  Command.withDescription("Many commands in one process, in the manner of bpftool."),
  Command.withShortDescription("Many commands in one process: file"),
  Command.withSubcommands([file])
)
