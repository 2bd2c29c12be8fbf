/**
 * `btf`: types of kernels, modules and objects: printed, deduplicated, moved from base to base, compared.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Chosen from "./Chosen.ts"

/** The command, with those of its verbs loaded that are among the arguments. */
export const btf = (args: ReadonlyArray<string>) =>
  Effect.map(
    Chosen.commands([
      {
        name: "show",
        summary: "Show which types the kernel has",
        load: Chosen.from(() => import("./btf/Show.ts"), ({ show }) => show("show"))
      },
      {
        name: "list",
        summary: "The same as show",
        load: Chosen.from(() => import("./btf/Show.ts"), ({ show }) => show("list"))
      },
      {
        name: "dump",
        summary: "Print types as a list, a C header or JSON",
        load: Chosen.from(() => import("./btf/Dump.ts"), ({ dump }) => dump)
      },
      {
        name: "dedup",
        summary: "Make each type one, of one file or several",
        load: Chosen.from(() => import("./btf/Dedup.ts"), ({ dedup }) => dedup)
      },
      {
        name: "distill",
        summary: "Make split types independent of their exact base",
        load: Chosen.from(() => import("./btf/Distill.ts"), ({ distill }) => distill)
      },
      {
        name: "relocate",
        summary: "Move types from their distilled base onto a kernel's",
        load: Chosen.from(() => import("./btf/Relocate.ts"), ({ relocate }) => relocate)
      },
      {
        name: "diff",
        summary: "Compare types, and tell which accesses break",
        load: Chosen.from(() => import("./btf/Diff.ts"), ({ diff }) => diff)
      }
    ], args),
    (verbs) =>
      Command.make("btf").pipe(
        Command.withDescription(
          "Types of kernels, modules and objects: show, print, deduplicate, move and compare them"
        ),
        Command.withShortDescription("Types: show, dump, dedup, distill, relocate, diff"),
        Command.withSubcommands(verbs)
      )
  )
