/**
 * `token`: what bpf file systems delegate, with bpftool's words.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { reporting } from "./Failure.ts"
import { tokenJson } from "./json/TokenDocument.ts"
import { delegations } from "./objects/Delegations.ts"
import { mounts } from "./objects/Mounts.ts"
import * as Output from "./Output.ts"
import { tokensText } from "./text/TokenText.ts"

const show = (name: "show" | "list") =>
  Command.make(name, {}, () =>
    reporting(Effect.gen(function*() {
      const found = delegations(mounts())
      yield* Output.result(() => found.map(tokenJson), () => tokensText(found))
    }))).pipe(
      Command.withDescription(
        "Show what the bpf file systems delegate that this process sees: which commands, maps, programs and attachments a\n" +
          "  process of their user namespace may use by a token. Needs nothing."
      ),
      Command.withShortDescription(name === "show" ? "Show what tokens allow" : "The same as show"),
      Command.withExamples([{ command: `effect-bpf token ${name}` }])
    )

/** The command with its verbs. */
export const token = Command.make("token").pipe(
  Command.withDescription(
    "Tokens, by which processes of user namespaces use bpf(2): they are made of what a bpf file system was mounted with."
  ),
  Command.withShortDescription("What tokens allow: show"),
  Command.withSubcommands([show("show"), show("list")])
)
