/**
 * `usdt`: probes that programs and libraries have for those who watch them.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as UsdtList from "../attach/UsdtList.ts"
import { InFile, reporting } from "./Failure.ts"
import { probesDocument } from "./json/UsdtDocument.ts"
import * as Output from "./Output.ts"
import { probesText } from "./text/UsdtText.ts"

/** A number is a process; a file of such a name is given with its folder. */
const isProcess = (target: string): boolean => /^[1-9]\d{0,9}$/.test(target)

/** Errors of notes and headers know the bytes only. */
const inFile = (path: string) => (error: UsdtList.ListError): UsdtList.ListError | InFile =>
  error._tag === "UsdtError" || error._tag === "ElfError" || error._tag === "ByteSourceError"
    ? new InFile({ path, cause: error })
    : error

const list = Command.make("list", {
  target: Argument.String("binary|pid").pipe(
    Argument.withDescription(
      "A program or library: a path, a member of an archive (app.apk!/lib/x86_64/libfoo.so), or a name that is searched " +
        "for; or the number of a process, for all files that it executes"
    )
  )
}, ({ target }) =>
  reporting(Effect.gen(function*() {
    const probes = isProcess(target)
      ? yield* UsdtList.ofProcess(Number(target))
      : yield* Effect.mapError(UsdtList.ofFile(target), inFile(target))
    yield* Output.result(() => probesDocument(probes), () => probesText(probes))
  }))).pipe(
    Command.withDescription(
      "List the probes (USDT) of a program, a library or a process: provider and name, the address of each place and where it\n" +
        "  is in the file, the semaphore that counts who listens, and the arguments: type and register, memory or constant.\n" +
        "  A program is attached to one by SEC(\"usdt/PATH:PROVIDER:NAME\"). Needs no privileges but to read the files."
    ),
    Command.withShortDescription("List the probes of a program, library or process"),
    Command.withExamples([
      { command: "effect-bpf usdt list /usr/bin/python3", description: "What a program has" },
      { command: "effect-bpf usdt list libstdc++.so.6", description: "A library that is searched for" },
      { command: "sudo effect-bpf usdt list 4711 --json | jq '.[].name'", description: "All of a process, for scripts" }
    ])
  )

/** The command. */
export const usdt = Command.make("usdt").pipe(
  Command.withDescription("Probes that programs and libraries have for those who watch them (USDT)."),
  Command.withShortDescription("Probes of programs and libraries: list"),
  Command.withSubcommands([list])
)
