/**
 * The commands for maps without keys: `map push` and `enqueue`, `pop` and `dequeue`, `peek`.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { Failed } from "../Failed.ts"
import { reporting } from "../Failure.ts"
import { elementJson } from "../json/ElementDocument.ts"
import { onKernel } from "../objects/OnKernel.ts"
import * as Output from "../Output.ts"
import { elementText } from "../text/MapsText.ts"
import { line } from "../text/Text.ts"
import type { Shape } from "./Elements.ts"
import * as Queues from "./Queues.ts"
import { noJson } from "./Verbs.ts"

const words = (description: string) =>
  Argument.String("words").pipe(Argument.withDescription(description), Argument.variadic())

const queue = "the map, a queue or a stack: id N, pinned FILE or name NAME"

const value = Flag.String("value").pipe(
  Flag.withMetavar("JSON"),
  Flag.withDescription("The value by the map's types, in place of value BYTES"),
  Flag.optional
)

/** `push`, or the name that queues have for it. */
export const push = (name: "push" | "enqueue") =>
  Command.make(
    name,
    { words: words(`${queue}, or a bloom_filter; then value BYTES, and any or exist`), value },
    ({ value, words }) =>
      reporting(Effect.gen(function*() {
        yield* onKernel((objects) => Queues.push(objects, words, { ...noJson, value }))
        yield* Output.result(() => null, () => [])
      }))
  ).pipe(
    Command.withDescription(
      "Put a value into a map without keys. A queue or stack that is full refuses it; with exist it loses its oldest value."
    ),
    Command.withShortDescription(name === "push" ? "Put a value into a queue or stack" : "The same as push"),
    Command.withExamples([{ command: `effect-bpf map ${name} name jobs value 0x01 0x00 0x00 0x00` }])
  )

/** Shows a value that there is; where there is none, exit status 1. */
const shown = ({ shape, value }: { readonly shape: Shape; readonly value: Uint8Array | undefined }) => {
  const element = value === undefined ? undefined : { key: new Uint8Array(), value }
  return Effect.as(
    Output.result(
      () => element === undefined ? null : elementJson(shape, element),
      () => element === undefined ? [line("empty")] : elementText(shape, element)
    ),
    element !== undefined
  )
}

const foundOrFailed = (found: boolean): Effect.Effect<void, Failed> =>
  found ? Effect.void : Effect.fail(new Failed({ status: 1 }))

/** `pop`, or the name that queues have for it. */
export const pop = (name: "pop" | "dequeue") =>
  Command.make(
    name,
    { words: words(queue) },
    ({ words }) =>
      reporting(Effect.flatMap(onKernel((objects) => Queues.pop(objects, words)), shown)).pipe(
        Effect.flatMap(foundOrFailed)
      )
  ).pipe(
    Command.withDescription(
      "Take the next value out of a queue or stack and show it. Exit status 1 where there is none; in JSON that is null."
    ),
    Command.withShortDescription(name === "pop" ? "Take a value out of a queue or stack" : "The same as pop"),
    Command.withExamples([{ command: `effect-bpf map ${name} name jobs` }])
  )

/** `peek`. */
export const peek = Command.make(
  "peek",
  { words: words(queue) },
  ({ words }) =>
    reporting(Effect.flatMap(onKernel((objects) => Queues.peek(objects, words)), shown)).pipe(
      Effect.flatMap(foundOrFailed)
    )
).pipe(
  Command.withDescription(
    "Show the value of a queue or stack that would be taken out next. Exit status 1 where there is none; in JSON that is null."
  ),
  Command.withShortDescription("Show the next value of a queue or stack"),
  Command.withExamples([{ command: "effect-bpf map peek name jobs" }])
)
