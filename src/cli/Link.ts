/**
 * `link`: links of the kernel, with bpftool's words.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import { reporting } from "./Failure.ts"
import { linkJson } from "./json/LinksDocument.ts"
import * as Links from "./link/Links.ts"
import * as Holders from "./objects/Holders.ts"
import { onKernel } from "./objects/OnKernel.ts"
import * as Pins from "./objects/Pins.ts"
import * as Output from "./Output.ts"
import { linksText } from "./text/LinksText.ts"

const words = (description: string) =>
  Argument.String("words").pipe(Argument.withDescription(description), Argument.variadic())

const show = (name: "show" | "list") =>
  Command.make(
    name,
    { words: words("the link: id N or pinned FILE; all links without it"), bpffs: Pins.flag },
    ({ bpffs, words }) =>
      reporting(Effect.gen(function*() {
        const { all, holders, links, pins } = yield* onKernel((objects) =>
          Effect.gen(function*() {
            // Before this process opens any itself.
            const holders = Holders.find("Link")
            const shown = yield* Links.show(objects, words)
            return {
              ...shown,
              holders,
              pins: bpffs ? yield* Pins.find(objects, "Link") : new Map<number, Array<string>>()
            }
          })
        )
        yield* Output.result(
          () => {
            const documents = links.map((link) => linkJson(link, pins.get(link.info.id), holders.get(link.info.id)))
            const [only] = documents
            return !all && only !== undefined ? only : documents
          },
          () => linksText(links, pins, holders)
        )
      }))
  ).pipe(
    Command.withDescription("Show the links of the kernel, or one of them. All needs root, or CAP_SYS_ADMIN."),
    Command.withShortDescription(name === "show" ? "Show links" : "The same as show"),
    Command.withExamples([
      { command: `effect-bpf link ${name}` },
      { command: `effect-bpf link ${name} pinned /sys/fs/bpf/firewall_link` }
    ])
  )

const detach = Command.make(
  "detach",
  { words: words("the link: id N or pinned FILE") },
  ({ words }) =>
    reporting(Effect.gen(function*() {
      yield* onKernel((objects) => Links.detach(objects, words))
      yield* Output.result(() => null, () => [])
    }))
).pipe(
  Command.withDescription(
    "Take an attachment away, whoever holds its link: of links to cgroups, network devices and namespaces, and structs.\n" +
      "  Others cannot be detached by force: they end when the last pin and the last process that holds them go."
  ),
  Command.withShortDescription("Take an attachment away"),
  Command.withExamples([{ command: "effect-bpf link detach id 7" }])
)

const pin = Command.make("pin", { words: words("the link: id N or pinned FILE; then the path of the new pin") }, ({
  words
}) =>
  reporting(Effect.gen(function*() {
    yield* onKernel((objects) => Links.pin(objects, words))
    yield* Output.result(() => null, () => [])
  }))).pipe(
    Command.withDescription("Give a link a name in a bpf file system, which keeps it attached."),
    Command.withShortDescription("Give a link a name"),
    Command.withExamples([{ command: "effect-bpf link pin id 7 /sys/fs/bpf/firewall_link" }])
  )

/** The command with its verbs. */
export const link = Command.make("link").pipe(
  Command.withDescription(
    "Links of the kernel of this machine: what is attached to what, with bpftool's words and JSON keys. A link is id N or\n" +
      "  pinned FILE."
  ),
  Command.withShortDescription("Links of the kernel: show, detach, pin"),
  Command.withSubcommands([show("show"), show("list"), detach, pin])
)
