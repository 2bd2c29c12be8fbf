/** `btf show`: the objects of types that the kernel has. */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import { reporting } from "../Failure.ts"
import { btfObjectJson } from "../json/BtfObjectsDocument.ts"
import * as Holders from "../objects/Holders.ts"
import { onKernel } from "../objects/OnKernel.ts"
import * as Output from "../Output.ts"
import { btfObjectsText } from "../text/BtfObjectsText.ts"
import * as Objects from "./Objects.ts"

/** `btf show` and its other name. */
export const show = (name: "show" | "list") =>
  Command.make(
    name,
    {
      words: Argument.String("words").pipe(
        Argument.withDescription("id N; all of them without it"),
        Argument.variadic()
      )
    },
    ({ words }) =>
      reporting(Effect.gen(function*() {
        const { all, found, holders } = yield* onKernel((objects) =>
          Effect.gen(function*() {
            // Before this process opens any itself.
            const holders = Holders.find("Btf")
            return { ...yield* Objects.show(objects, words), holders }
          })
        )
        yield* Output.result(
          () => {
            const documents = found.map((each) => btfObjectJson(each, holders.get(each.info.id)))
            const [only] = documents
            return !all && only !== undefined ? only : documents
          },
          () => btfObjectsText(found, holders)
        )
      }))
  ).pipe(
    Command.withDescription(
      "Show which types the kernel has: its own, its modules', and those that came with programs and maps, with who uses\n" +
        "  them. Needs root, or CAP_SYS_ADMIN."
    ),
    Command.withShortDescription(name === "show" ? "Show which types the kernel has" : "The same as show"),
    Command.withExamples([
      { command: `effect-bpf btf ${name}` },
      { command: `effect-bpf btf ${name} id 7 --json` }
    ])
  )
