/**
 * The command line as a whole: its commands, what it prints of itself, and what it ends with.
 */
import * as Effect from "effect/Effect"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import { Nested } from "./batch/Nested.ts"
import * as Chosen from "./Chosen.ts"
import { Failed } from "./Failed.ts"
import * as Output from "./Output.ts"
import { errorText } from "./text/ErrorText.ts"
import { helpText } from "./text/HelpText.ts"
import { line } from "./text/Text.ts"

/** The commands by their modules, which are imported when they are chosen. */
export const subcommands = (args: ReadonlyArray<string>) =>
  Chosen.commands([
    {
      name: "inspect",
      summary: "Show what is in a BPF object",
      load: Chosen.from(() => import("./Inspect.ts"), ({ inspect }) => inspect)
    },
    {
      name: "plan",
      summary: "Show the kernel calls that a load would make",
      load: Chosen.from(() => import("./Plan.ts"), ({ plan }) => plan)
    },
    {
      name: "run",
      summary: "Run a program on a packet, a capture or a context",
      load: Chosen.from(() => import("./Run.ts"), ({ run }) => run)
    },
    {
      name: "trace",
      summary: "Load an object, attach its programs and print what they send",
      load: Chosen.from(() => import("./Trace.ts"), ({ trace }) => trace)
    },
    {
      name: "prog",
      summary:
        "Programs of the kernel: load, loadall, budget, show, dump, run, stats, profile, pin, attach, detach, tracelog",
      load: Chosen.from(() => import("./Prog.ts"), ({ prog }) => prog)
    },
    {
      name: "map",
      summary:
        "Maps of the kernel: show, dump, lookup, update, delete, push, pop, peek, create, pin, freeze, event_pipe",
      load: Chosen.from(() => import("./Map.ts"), ({ mapCommand }) => mapCommand)
    },
    {
      name: "link",
      summary: "Links of the kernel: show, detach, pin",
      load: Chosen.from(() => import("./Link.ts"), ({ link }) => link)
    },
    {
      name: "net",
      summary: "Programs of the network: show, attach, detach",
      load: Chosen.from(() => import("./Net.ts"), ({ net }) => net)
    },
    {
      name: "cgroup",
      summary: "Programs of control groups: show, tree, attach, detach",
      load: Chosen.from(() => import("./Cgroup.ts"), ({ cgroup }) => cgroup)
    },
    {
      name: "perf",
      summary: "What processes trace by programs: show",
      load: Chosen.from(() => import("./Perf.ts"), ({ perf }) => perf)
    },
    {
      name: "iter",
      summary: "Iterators as files: pin",
      load: Chosen.from(() => import("./Iter.ts"), ({ iter }) => iter)
    },
    {
      name: "token",
      summary: "What tokens allow: show",
      load: Chosen.from(() => import("./Token.ts"), ({ token }) => token)
    },
    {
      name: "struct_ops",
      summary: "Structs of the kernel that programs implement: show, dump, register, unregister",
      load: (args) => Effect.flatMap(Effect.promise(() => import("./StructOps.ts")), ({ structOps }) => structOps(args))
    },
    {
      name: "btf",
      summary: "Types: show, dump, dedup, distill, relocate, diff",
      load: (args) => Effect.flatMap(Effect.promise(() => import("./Btf.ts")), ({ btf }) => btf(args))
    },
    {
      name: "core",
      summary: "CO-RE: check objects against many kernels",
      load: Chosen.from(() => import("./Core.ts"), ({ core }) => core)
    },
    {
      name: "gen",
      summary: "Files made of objects: object, min_core_btf, loader, replay, skeleton, subskeleton, verify",
      load: (args) => Effect.flatMap(Effect.promise(() => import("./Gen.ts")), ({ gen }) => gen(args))
    },
    {
      name: "elf",
      summary: "What is in binaries: offset",
      load: Chosen.from(() => import("./Elf.ts"), ({ elf }) => elf)
    },
    {
      name: "usdt",
      summary: "Probes of programs and libraries: list",
      load: Chosen.from(() => import("./Usdt.ts"), ({ usdt }) => usdt)
    },
    {
      name: "feature",
      summary: "What a kernel supports: probe",
      load: Chosen.from(() => import("./Feature.ts"), ({ feature }) => feature)
    },
    {
      name: "batch",
      summary: "Many commands in one process: file",
      load: Chosen.from(() => import("./Batch.ts"), ({ batch }) => batch)
    },
    {
      name: "kernel",
      summary: "What is known of a kernel: snapshot, show",
      load: Chosen.from(() => import("./Kernel.ts"), ({ kernel }) => kernel)
    }
  ], args)

const root = Command.make("effect-bpf").pipe(
  Command.withDescription(
    "Open, relocate, plan and load BPF objects.\n\n" +
      "  Results go to standard output, messages to standard error. Exit status: 0 success, 1 the work failed, 2 wrong\n" +
      "  usage, 130 interrupted. Colours are left out where standard output is no terminal, or NO_COLOR is set."
  ),
  Command.withGlobalFlags([Output.JsonFlag, Output.PrettyFlag, Output.SarifFlag, Output.GithubFlag]),
  Command.withExamples([
    { command: "effect-bpf inspect firewall.bpf.o", description: "What is in an object" },
    { command: "effect-bpf plan firewall.bpf.o", description: "What loading it would do" },
    { command: "sudo effect-bpf run firewall.bpf.o xdp_firewall --data-in packets.pcap", description: "What it does" }
  ])
)

const presented = (event: CliOutput.Presenter.Event) => {
  switch (event._tag) {
    case "Help":
      return Output.print(helpText(event.helpDoc))
    case "Version":
      return Output.print([line(`${event.name} ${event.version}`)])
    case "InvalidInvocation":
      return Output.message([
        ...event.errors.flatMap(({ message }) =>
          errorText({ message: message.replaceAll(/\n\s*\n/g, "\n"), hints: [] })
        ),
        line(`usage: ${event.helpDoc.usage}`),
        line(`       ${event.commandPath.join(" ")} --help explains it`)
      ])
  }
}

/** Help and versions on standard output; wrong usage on standard error, short, with the way to more. */
const presenter = Layer.effect(
  CliOutput.Presenter,
  Effect.map(Effect.context<Stdio.Stdio | Terminal.Terminal>(), (context): CliOutput.Presenter => ({
    present: (event) => Effect.provideContext(presented(event), context)
  }))
)

const commandLine = (version: string) => {
  return (args: ReadonlyArray<string>) =>
    Effect.flatMap(
      subcommands(args),
      (chosen) => Command.runWith(Command.withSubcommands(root, chosen), { version })(args)
    ).pipe(
      Effect.catchIf(CliError.isCliError, (error) =>
        error._tag === "ShowHelp" && error.errors.length === 0 ? Effect.void : Effect.fail(new Failed({ status: 2 }))),
      Effect.provide(Layer.mergeAll(
        CliConfig.layer({
          builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
        }),
        // Each of several in one process has its own output.
        Layer.fresh(presenter),
        Layer.succeed(Logger.LogToStderr, true)
      ))
    )
}

/** Runs the command with these arguments. */
export const run = (version: string) => {
  const nested = commandLine(version)
  return (args: ReadonlyArray<string>) => Effect.provideService(nested(args), Nested, nested)
}
