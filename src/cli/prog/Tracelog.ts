/**
 * `prog tracelog`: the lines that programs print with `bpf_printk`, of the whole machine; or what one program has printed to its
 * standard output or standard error.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Result from "effect/Result"
import * as ProgStream from "../../events/ProgStream.ts"
import { reporting } from "../Failure.ts"
import { onKernel } from "../objects/OnKernel.ts"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import * as Output from "../Output.ts"
import { line, span } from "../text/Text.ts"
import * as TracePipe from "../trace/TracePipe.ts"
import type { UsageError } from "../Usage.ts"
import { seconds } from "./Stats.ts"

/** What is to be shown. */
type Tracelog =
  | { readonly _tag: "Pipe"; readonly duration: number | undefined }
  | { readonly _tag: "Stream"; readonly output: ProgStream.Output; readonly prog: Words.Reference }

/** Reads the words. */
const tracelogOf = (words: Words.Words): Result.Result<Tracelog, UsageError> =>
  Result.gen(function*() {
    const [first, ...rest] = words
    switch (first) {
      case undefined:
        return { _tag: "Pipe", duration: undefined }
      case "duration": {
        const [duration, left] = yield* seconds("duration", rest)
        yield* Words.nothingLeft(left)
        return { _tag: "Pipe", duration }
      }
      case "stdout":
      case "stderr": {
        const [prog, left] = yield* Words.reference("prog", rest)
        yield* Words.nothingLeft(left)
        return { _tag: "Stream", output: first === "stdout" ? "Stdout" : "Stderr", prog }
      }
      default:
        return yield* Words.wrong(
          first,
          "nothing of this name is shown",
          "stdout PROG, stderr PROG, or duration SECONDS"
        )
    }
  })

/** How often the pipe is looked at. */
const pause = "50 millis"

/** Lines as bpftool writes them, with their ends: elements of one list, each on a line. */
const elements = () => {
  let isFirst = true
  return (lines: ReadonlyArray<string>): ReadonlyArray<string> =>
    lines.map((text) => {
      const element = `${isFirst ? "" : ","}${JSON.stringify(`${text}\n`)}`
      isFirst = false
      return element
    })
}

/** Prints what programs print, until it is interrupted or the time is over. */
const pipe = Effect.fnUntraced(function*(duration: number | undefined) {
  const mode = yield* Output.jsonMode
  yield* Effect.scoped(Effect.gen(function*() {
    const open = yield* TracePipe.open
    if (mode === "text" && duration === undefined) {
      yield* Output.message([line(span("dim", "until interrupted: Ctrl-C"))])
    }
    if (mode !== "text") {
      yield* Output.lines(["["])
      yield* Effect.addFinalizer(() => Output.lines(["]"]))
    }
    const written = elements()
    const look = Effect.flatMap(
      open.look,
      (lines) => mode === "text" ? Output.print(lines.map((text) => line(text))) : Output.lines(written(lines))
    )
    const forever = Effect.forever(Effect.andThen(look, Effect.sleep(pause)))
    if (duration === undefined) return yield* forever
    yield* Effect.raceFirst(forever, Effect.sleep(duration * 1000))
    // What has come since the last look.
    yield* look
  }))
})

/** What a program has printed by now. */
const stream = Effect.fnUntraced(function*(output: ProgStream.Output, reference: Words.Reference) {
  const bytes = yield* onKernel((objects) =>
    Effect.gen(function*() {
      const { ref } = yield* Objects.oneProg(objects, reference)
      return yield* ProgStream.read(objects.session, ref, output)
    })
  )
  const text = new TextDecoder().decode(bytes)
  const lines = text.split("\n")
  if (lines.at(-1) === "") lines.pop()
  yield* Output.result(
    () => lines.map((each, index) => index < lines.length - 1 || text.endsWith("\n") ? `${each}\n` : each),
    () => lines.map((each) => line(each))
  )
})

/** `prog tracelog`. */
export const tracelog = Command.make("tracelog", {
  words: Argument.String("words").pipe(
    Argument.withDescription(
      "nothing, or duration SECONDS; stdout or stderr, and the program: id N, pinned FILE, name NAME, tag TAG"
    ),
    Argument.variadic()
  )
}, ({ words }) =>
  reporting(Effect.gen(function*() {
    const wanted = yield* Effect.fromResult(tracelogOf(words))
    yield* wanted._tag === "Pipe" ? pipe(wanted.duration) : stream(wanted.output, wanted.prog)
  }))).pipe(
    Command.withDescription(
      "Print what programs print with bpf_printk, of all on this machine, until interrupted: the kernel's trace pipe, which gives\n" +
        "  each line to one reader. With stdout or stderr print what one program has printed with bpf_stream_printk by now, or what\n" +
        "  the kernel reports of it (stderr); Linux 6.17 was the first that has those. JSON is one list of lines, as bpftool's."
    ),
    Command.withShortDescription("Print what programs print"),
    Command.withExamples([
      { command: "sudo effect-bpf prog tracelog" },
      { command: "sudo effect-bpf prog tracelog stderr name loop_for_ever" }
    ])
  )
