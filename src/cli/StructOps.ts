/**
 * `struct_ops`: structs of the kernel that programs implement, with bpftool's words.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Chosen from "./Chosen.ts"
import { reporting } from "./Failure.ts"
import { structOpsDumpJson, structOpsJson } from "./json/StructOpsDocument.ts"
import { onKernel } from "./objects/OnKernel.ts"
import * as Output from "./Output.ts"
import * as Verbs from "./structops/Verbs.ts"
import { structOpsDumpText, structOpsText } from "./text/StructOpsText.ts"

const words = (description: string) =>
  Argument.String("words").pipe(Argument.withDescription(description), Argument.variadic())

const map = "the struct_ops map: id N or name NAME"

const show = (name: "show" | "list") =>
  Command.make(
    name,
    { words: words(`${map}; all of them without it`) },
    ({ words }) =>
      reporting(Effect.gen(function*() {
        const found = yield* onKernel((objects) => Verbs.show(objects, words))
        yield* Output.result(() => found.map(structOpsJson), () => structOpsText(found))
      }))
  ).pipe(
    Command.withDescription("Show the maps that hold structs of the kernel. Needs root, or CAP_SYS_ADMIN."),
    Command.withShortDescription(name === "show" ? "Show struct_ops maps" : "The same as show"),
    Command.withExamples([{ command: `effect-bpf struct_ops ${name}` }])
  )

const dump = Command.make(
  "dump",
  { words: words(`${map}; all of them without it`) },
  ({ words }) =>
    reporting(Effect.gen(function*() {
      const found = yield* onKernel((objects) => Verbs.dump(objects, words))
      yield* Output.result(() => structOpsDumpJson(found), () => structOpsDumpText(found))
    }))
).pipe(
  Command.withDescription(
    "Show what is in struct_ops maps, by the kernel's types: the state of each struct, and which programs its functions are."
  ),
  Command.withShortDescription("Show what is in struct_ops maps"),
  Command.withExamples([{ command: "effect-bpf struct_ops dump name congestion" }])
)

const unregister = Command.make("unregister", { words: words(map) }, ({ words }) =>
  reporting(Effect.gen(function*() {
    yield* onKernel((objects) => Verbs.unregister(objects, words))
    yield* Output.result(() => null, () => [])
  }))).pipe(
    Command.withDescription(
      "Take a struct away from the kernel that its map has registered. Whoever uses it, such as a socket its congestion\n" +
        "  control, goes on with it. Structs that links register end with their links: effect-bpf link detach."
    ),
    Command.withShortDescription("Take a struct away from the kernel"),
    Command.withExamples([{ command: "effect-bpf struct_ops unregister name congestion" }])
  )

/** The command with its verbs; what loads objects is imported where it is among the arguments. */
export const structOps = (args: ReadonlyArray<string>) =>
  Effect.map(
    Chosen.commands([
      {
        name: "register",
        summary: "Register the structs of an object",
        load: Chosen.from(() => import("./structops/Register.ts"), ({ command }) => command)
      }
    ], args),
    (chosen) =>
      Command.make("struct_ops").pipe(
        Command.withDescription(
          "Structs of the kernel of this machine that programs implement, with bpftool's words and JSON keys. A struct is named\n" +
            "  by its map: id N or name NAME."
        ),
        Command.withShortDescription("Structs of the kernel that programs implement: show, dump, register, unregister"),
        Command.withSubcommands([show("show"), show("list"), dump, ...chosen, unregister])
      )
  )
