/**
 * `kernel`: what is known of a kernel. `kernel snapshot` writes the profile of the running one, for plans elsewhere.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { encode } from "../services/Kernel/KernelProfile.ts"
import { reporting } from "./Failure.ts"
import { profileDocument, snapshotDocument } from "./json/ProfileDocument.ts"
import * as KernelChoice from "./KernelChoice.ts"
import * as Output from "./Output.ts"
import { showText, snapshotText } from "./text/ProfileText.ts"

// Imported when it is wanted, as everything of the running kernel is.
const Snapshot = Effect.promise(() => import("../services/Kernel/live/Snapshot.ts"))

const ProfileFolder = Effect.promise(() => import("../services/Kernel/live/ProfileFolder.ts"))

const content = {
  modules: Flag.Boolean("modules").pipe(
    Flag.withDescription("With the types of the modules that are loaded; else their names alone"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  symbols: Flag.Boolean("symbols").pipe(
    Flag.withDescription("With the names of all kernel symbols, never with their addresses"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}

const snapshot = Command.make("snapshot", {
  out: Argument.String("out").pipe(
    Argument.withDescription("Folder to write: it appears when all is written, and must not exist or be empty")
  ),
  ...content,
  replace: Flag.Boolean("replace").pipe(
    Flag.withDescription("Replace the profile that is there"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}, ({ modules, out, replace, symbols }) =>
  reporting(Effect.gen(function*() {
    const profile = yield* (yield* Snapshot).take({ modules, symbols })
    const files = encode(profile)
    yield* (yield* ProfileFolder).write(out, files, { replace })
    yield* Output.result(() => snapshotDocument(out, profile, files), () => snapshotText(out, profile, files))
  }))).pipe(
    Command.withDescription(
      "Write the profile of the running kernel: its types, its configuration, and what can be said of it in a few lines.\n" +
        "  With it, plan --kernel OUT plans for this kernel on any machine, and run --kernel OUT runs programs on a\n" +
        "  simulated kernel like it. Needs no privileges; what this process may not read is left out, and said.\n\n" +
        "  Addresses of symbols are never in a profile: they help attackers, and are others after the next boot. Names are,\n" +
        "  with --symbols: then it is known which symbols the kernel has."
    ),
    Command.withShortDescription("Write the profile of the running kernel"),
    Command.withExamples([
      { command: "effect-bpf kernel snapshot production", description: "On the machine in question" },
      {
        command: "effect-bpf kernel snapshot production --modules --symbols --replace",
        description: "With everything that programs can refer to, in place of the one that was there"
      },
      { command: "effect-bpf plan firewall.bpf.o --kernel production", description: "Elsewhere" }
    ])
  )

const show = Command.make("show", {
  kernel: Argument.String("kernel").pipe(
    Argument.withDescription("live, the path of a kernel profile, or that of a BTF file"),
    Argument.withDefault("live")
  )
}, ({ kernel }) =>
  reporting(Effect.gen(function*() {
    const profile = kernel === "live"
      ? yield* (yield* Snapshot).take({ modules: true, symbols: true })
      : yield* KernelChoice.openProfile(kernel)
    yield* Output.result(() => profileDocument(profile), () => showText(profile))
  }))).pipe(
    Command.withDescription(
      "Show what is known of a kernel, and of what is not known, why. Nothing is written, and no privileges are needed."
    ),
    Command.withShortDescription("Show what is known of a kernel"),
    Command.withExamples([
      { command: "effect-bpf kernel show production", description: "The one of a profile" },
      { command: "effect-bpf kernel show", description: "The running one, as this user may see it" },
      { command: "effect-bpf kernel show /sys/kernel/btf/vmlinux", description: "What its types alone tell" }
    ])
  )

/** The command with its verbs. */
export const kernel = Command.make("kernel").pipe(
  Command.withDescription("What is known of a kernel, and profiles of kernels that are elsewhere"),
  Command.withShortDescription("What is known of a kernel: snapshot, show"),
  Command.withSubcommands([snapshot, show])
)
