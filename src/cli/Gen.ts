/**
 * `gen`: files that are made of objects.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Chosen from "./Chosen.ts"

/** The command, with those of its verbs loaded that are among the arguments. */
export const gen = (args: ReadonlyArray<string>) =>
  Effect.map(
    Chosen.commands([
      {
        name: "object",
        summary: "Link BPF objects into one",
        load: Chosen.from(() => import("./gen/Object.ts"), ({ object }) => object)
      },
      {
        name: "min_core_btf",
        summary: "Write the BTF that objects need of a kernel",
        load: Chosen.from(() => import("./gen/MinCoreBtf.ts"), ({ minCoreBtf }) => minCoreBtf)
      },
      {
        name: "loader",
        summary: "Record the loader program of an object",
        load: Chosen.from(() => import("./gen/Loader.ts"), ({ loader }) => loader)
      },
      {
        name: "replay",
        summary: "Run a loader in the virtual machine, and print its calls",
        load: Chosen.from(() => import("./gen/Replay.ts"), ({ replay }) => replay)
      },
      {
        name: "skeleton",
        summary: "Write code that loads an object",
        load: Chosen.from(() => import("./gen/Skeleton.ts"), ({ skeleton }) => skeleton)
      },
      {
        name: "subskeleton",
        summary: "Write code that finds a library's parts in a linked object",
        load: Chosen.from(() => import("./gen/Subskeleton.ts"), ({ subskeleton }) => subskeleton)
      },
      {
        name: "verify",
        summary: "Check the signature of a loader",
        load: Chosen.from(() => import("./gen/Verify.ts"), ({ verify }) => verify)
      }
    ], args),
    (verbs) =>
      Command.make("gen").pipe(
        Command.withDescription("Files that are made of objects, under the names that bpftool has for them."),
        Command.withShortDescription(
          "Files made of objects: object, min_core_btf, loader, replay, skeleton, subskeleton, verify"
        ),
        Command.withSubcommands(verbs)
      )
  )
