/**
 * `cgroup`: programs of control groups, with bpftool's words.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Verbs from "./cgroup/Verbs.ts"
import { reporting } from "./Failure.ts"
import { cgroupProgJson, cgroupsJson } from "./json/CgroupDocument.ts"
import { onKernel } from "./objects/OnKernel.ts"
import * as Output from "./Output.ts"
import { cgroupsText, cgroupText } from "./text/CgroupText.ts"

const words = (description: string) =>
  Argument.String("words").pipe(Argument.withDescription(description), Argument.variadic())

const show = (name: "show" | "list") =>
  Command.make(
    name,
    { words: words("the folder of a cgroup; then effective, or nothing") },
    ({ words }) =>
      reporting(Effect.gen(function*() {
        const asked = yield* Effect.fromResult(Verbs.showOf(words))
        const programs = yield* onKernel((objects) => Verbs.show(objects, asked))
        yield* Output.result(() => programs.map(cgroupProgJson), () => cgroupText(programs))
      }))
  ).pipe(
    Command.withDescription(
      "Show the programs that are attached to a cgroup; with effective those that run for its processes, wherever they are\n" +
        "  attached. Needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN."
    ),
    Command.withShortDescription(name === "show" ? "Show the programs of a cgroup" : "The same as show"),
    Command.withExamples([
      { command: `effect-bpf cgroup ${name} /sys/fs/cgroup/system.slice` },
      { command: `effect-bpf cgroup ${name} /sys/fs/cgroup/system.slice effective` }
    ])
  )

const tree = Command.make(
  "tree",
  { words: words("the folder of a cgroup, then effective or nothing; all cgroups without it") },
  ({ words }) =>
    reporting(Effect.gen(function*() {
      const asked = yield* Effect.fromResult(Verbs.treeOf(words))
      const found = yield* onKernel((objects) => Verbs.tree(objects, asked))
      yield* Output.result(() => cgroupsJson(found), () => cgroupsText(found))
    }))
).pipe(
  Command.withDescription("Show the cgroups that have programs, with these. Needs what show needs."),
  Command.withShortDescription("Show the programs of all cgroups"),
  Command.withExamples([{ command: "effect-bpf cgroup tree" }])
)

const attach = Command.make(
  "attach",
  { words: words("CGROUP ATTACH_TYPE PROG, then multi, override or nothing") },
  ({ words }) =>
    reporting(Effect.gen(function*() {
      const wanted = yield* Effect.fromResult(Verbs.attachmentOf("attach", words))
      yield* onKernel((objects) => Verbs.attach(objects, wanted))
      yield* Output.result(() => null, () => [])
    }))
).pipe(
  Command.withDescription(
    "Attach a program that is loaded to a cgroup, without a link: it stays until it is detached, or the cgroup goes. Without\n" +
      "  a flag no other may be attached there or below; with override one below runs instead, with multi all of them run."
  ),
  Command.withShortDescription("Attach a program to a cgroup"),
  Command.withExamples([
    { command: "effect-bpf cgroup attach /sys/fs/cgroup/web cgroup_inet_egress pinned /sys/fs/bpf/count multi" }
  ])
)

const detach = Command.make(
  "detach",
  { words: words("CGROUP ATTACH_TYPE PROG") },
  ({ words }) =>
    reporting(Effect.gen(function*() {
      const wanted = yield* Effect.fromResult(Verbs.attachmentOf("detach", words))
      yield* onKernel((objects) => Verbs.detach(objects, wanted))
      yield* Output.result(() => null, () => [])
    }))
).pipe(
  Command.withDescription(
    "Detach a program from a cgroup that was attached without a link. Links are detached by effect-bpf link detach."
  ),
  Command.withShortDescription("Detach a program from a cgroup"),
  Command.withExamples([{ command: "effect-bpf cgroup detach /sys/fs/cgroup/web cgroup_inet_egress id 7" }])
)

/** The command with its verbs. */
export const cgroup = Command.make("cgroup").pipe(
  Command.withDescription(
    "Programs of control groups (version 2), with bpftool's words and JSON keys. A cgroup is the path of its folder."
  ),
  Command.withShortDescription("Programs of control groups: show, tree, attach, detach"),
  Command.withSubcommands([show("show"), show("list"), tree, attach, detach])
)
