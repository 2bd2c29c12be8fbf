/**
 * `elf`: what is in binaries.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { BinaryFile } from "../attach/BinaryFile.ts"
import * as BinaryFiles from "../attach/BinaryFile.ts"
import * as Process from "../attach/Process.ts"
import type { FunctionOffset } from "../services/Elf/FunctionOffset.ts"
import * as FunctionOffsets from "../services/Elf/FunctionOffset.ts"
import { written } from "../services/Elf/FunctionSymbol.ts"
import { InFile, reporting } from "./Failure.ts"
import { offsetDocument, type Place } from "./json/OffsetDocument.ts"
import * as Output from "./Output.ts"
import { noteText } from "./text/ErrorText.ts"
import { line, span, table } from "./text/Text.ts"
import { UsageError } from "./Usage.ts"

/** The binary's path, or the path by which the file of a process is reached. */
const pathOf = (binary: string, pid: Option.Option<number>) =>
  Option.match(pid, {
    onNone: () => Effect.succeed(binary),
    onSome: (number) =>
      number <= 0
        ? Effect.fail(new UsageError({ argument: `--pid ${number}`, detail: "no process has this number" }))
        : Effect.flatMap(Process.executableNamed(number, binary), (file) => Process.pathOf(number, file))
  })

/** What is found nowhere by its name alone may be in the folder that the user is in. */
const openNear = (path: string) =>
  Effect.catchTag(BinaryFiles.open(path), "LibraryNotFound", (error) =>
    Effect.mapError(
      BinaryFiles.open(`./${path}`),
      (near) => near._tag === "FileReadError" && near.reason === "NotFound" ? error : near
    ))

/** What is wrong with a file, under the file's name. */
const explained = (error: BinaryFiles.Failure) =>
  error._tag === "BinaryFileError" && error.fault._tag !== "ElfError"
    ? new InFile({ path: error.path, cause: error.fault })
    : error

const search = ({ binary }: BinaryFile, symbols: ReadonlyArray<string>, all: boolean) => {
  if (!all) return FunctionOffsets.resolve(binary, symbols, { indirect: "accept" })
  const found: Array<FunctionOffset> = []
  for (const symbol of symbols) {
    const some = FunctionOffsets.matching(binary, symbol, { indirect: "accept", tables: "all" })
    if (Result.isFailure(some)) return Result.fail(some.failure)
    found.push(...some.success)
  }
  return Result.succeed(found)
}

const textOf = (places: ReadonlyArray<Place>) =>
  table(
    ["offset", "symbol", "size", "binding", "table"],
    places.map(({ function: found, offset }) => [
      `0x${offset.toString(16)}`,
      span("name", found.symbol === found.name ? written(found) : found.symbol),
      found.size === 0n ? "" : String(found.size),
      found.binding,
      found.table
    ])
  )

/** What makes a probe see less than one thinks. */
const notesOf = (file: BinaryFile, places: ReadonlyArray<Place>): ReadonlyArray<string> => {
  const indirect = places.filter(({ function: { isIndirect } }) => isIndirect).map(({ function: { symbol } }) => symbol)
  const shown = indirect.slice(0, 5).join(", ")
  const more = indirect.length > 5 ? `, … (${indirect.length} in all)` : ""
  return [
    ...(indirect.length === 0 ? [] : [
      `note: chosen when the program starts, and what is there is the function that chooses: ${shown}${more}`
    ]),
    ...(file.member === undefined || file.member.isAligned ? [] : [
      `note: ${file.member.name} does not begin at a page of the archive, so that no loader executes it from there`
    ])
  ]
}

const offset = Command.make("offset", {
  binary: Argument.String("binary").pipe(
    Argument.withDescription(
      "A path; the name of a library or program to search for, as libc.so.6; or ARCHIVE!/MEMBER"
    )
  ),
  symbols: Argument.String("symbol").pipe(
    Argument.withDescription("NAME, NAME@VERSION, each with +OFFSET if wanted; or a pattern with * and ?"),
    Argument.atLeast(1)
  ),
  pid: Flag.Int("pid").pipe(
    Flag.withMetavar("PID"),
    Flag.withDescription("The binary is a file that this process executes: libc.so.6, or its path there"),
    Flag.optional
  ),
  all: Flag.Boolean("all").pipe(
    Flag.withDescription("All functions of the name: of both tables, all versions, local and weak ones"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}, ({ all, binary, pid, symbols }) =>
  reporting(Effect.scoped(Effect.gen(function*() {
    const path = yield* pathOf(binary, pid)
    const file = yield* Effect.mapError(openNear(path), explained)
    const found = yield* Effect.mapError(
      Effect.fromResult(search(file, symbols, all)),
      (cause) => new InFile({ path: binary, cause })
    )
    const places = found.map((each): Place => ({
      path: file.path,
      offset: file.base + each.offset,
      function: each
    }))
    yield* Output.result(() => offsetDocument(places), () => [line(span("heading", file.path)), ...textOf(places)])
    yield* Output.message(notesOf(file, places).map(noteText))
  })))).pipe(
    Command.withDescription(
      "Find where functions are in a binary: the offsets in its file that uprobes take. Executables and shared libraries of\n" +
        "  either class and byte order will do, without section headers, too, and stored members of zip archives, whose\n" +
        "  offsets are those in the archive.\n\n" +
        "  A name is looked for among the dynamic symbols, then in the symbol table. Of several functions of a name a strong\n" +
        "  one goes before weak ones; where that does not decide, name a version, or see them --all."
    ),
    Command.withShortDescription("Find where functions are in a binary"),
    Command.withExamples([
      { command: "effect-bpf elf offset libc.so.6 malloc free", description: "Of a library that is searched for" },
      { command: "effect-bpf elf offset libc.so.6 'pthread_cond_*' --json", description: "All that match, as JSON" },
      { command: "effect-bpf elf offset libc.so.6 pthread_cond_wait@GLIBC_2.2.5", description: "Of one version" },
      { command: "effect-bpf elf offset 'app.apk!/lib/x86_64/libfoo.so' foo+0x10", description: "In an archive" },
      { command: "sudo effect-bpf elf offset --pid 4711 libssl.so.3 SSL_write", description: "Of a running process" }
    ])
  )

/** The command with its verbs. */
export const elf = Command.make("elf").pipe(
  Command.withDescription("What is in binaries"),
  Command.withShortDescription("What is in binaries: offset"),
  Command.withSubcommands([offset])
)
