/**
 * `net`: programs that see the packets of a network namespace, with bpftool's words.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import { reporting } from "./Failure.ts"
import { netJson } from "./json/NetDocument.ts"
import * as Verbs from "./net/Verbs.ts"
import { onKernel } from "./objects/OnKernel.ts"
import * as Output from "./Output.ts"
import { netText } from "./text/NetText.ts"

const words = (description: string) =>
  Argument.String("words").pipe(Argument.withDescription(description), Argument.variadic())

const show = (name: "show" | "list") =>
  Command.make(
    name,
    { words: words("dev NAME; all devices without it") },
    ({ words }) =>
      reporting(Effect.gen(function*() {
        const device = yield* Effect.fromResult(Verbs.showOf(words))
        const attached = yield* onKernel((objects) => Verbs.show(objects, device))
        yield* Output.result(() => netJson(attached), () => netText(attached))
      }))
  ).pipe(
    Command.withDescription(
      "Show the programs of this process's network namespace: XDP, tcx, netkit, filters of traffic control, the flow\n" +
        "  dissector and netfilter. Needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN."
    ),
    Command.withShortDescription(name === "show" ? "Show the programs of the network" : "The same as show"),
    Command.withExamples([{ command: `effect-bpf net ${name}` }, { command: `effect-bpf net ${name} dev eth0` }])
  )

const types = "xdp, xdpgeneric, xdpdrv, xdpoffload, tcx_ingress or tcx_egress"

const attach = Command.make(
  "attach",
  { words: words(`${types}; then PROG, dev NAME, and overwrite or nothing`) },
  ({ words }) =>
    reporting(Effect.gen(function*() {
      const wanted = yield* Effect.fromResult(Verbs.attachOf(words))
      yield* onKernel((objects) => Verbs.attach(objects, wanted))
      yield* Output.result(() => null, () => [])
    }))
).pipe(
  Command.withDescription(
    "Attach a program that is loaded to a device, without a link: it stays until it is detached, or the device goes. Where an\n" +
      "  XDP program is already, only with overwrite."
  ),
  Command.withShortDescription("Attach a program to a device"),
  Command.withExamples([
    { command: "effect-bpf net attach xdp pinned /sys/fs/bpf/firewall dev eth0" },
    { command: "effect-bpf net attach tcx_ingress id 7 dev eth0" }
  ])
)

const detach = Command.make(
  "detach",
  { words: words(`${types}; then dev NAME`) },
  ({ words }) =>
    reporting(Effect.gen(function*() {
      const wanted = yield* Effect.fromResult(Verbs.detachOf(words))
      yield* onKernel((objects) => Verbs.detach(objects, wanted))
      yield* Output.result(() => null, () => [])
    }))
).pipe(
  Command.withDescription(
    "Detach a program from a device that was attached without a link. Links are detached by effect-bpf link detach."
  ),
  Command.withShortDescription("Detach a program from a device"),
  Command.withExamples([{ command: "effect-bpf net detach xdp dev eth0" }])
)

/** The command with its verbs. */
export const net = Command.make("net").pipe(
  Command.withDescription(
    "Programs that see the packets of this process's network namespace, with bpftool's words and JSON keys. For those of\n" +
      "  cgroups see cgroup."
  ),
  Command.withShortDescription("Programs of the network: show, attach, detach"),
  Command.withSubcommands([show("show"), show("list"), attach, detach])
)
