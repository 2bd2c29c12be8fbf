/** `btf dump`: types as a list, a C header or JSON. */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Btf } from "../../btf/Btf.ts"
import * as BtfDump from "../../btf/BtfDump.ts"
import type { BtfError } from "../../btf/BtfError.ts"
import * as BtfInput from "../BtfInput.ts"
import * as Engine from "../Engine.ts"
import { Failed } from "../Failed.ts"
import { InFile, reporting } from "../Failure.ts"
import * as Output from "../Output.ts"
import * as Progress from "../Progress.ts"
import { errorText, reportOf } from "../text/ErrorText.ts"
import { UsageError } from "../Usage.ts"
import { during } from "./Common.ts"
import * as Source from "./Source.ts"

/** The text of a dump in parts; what is missing from it goes to `problems`. */
function* textOf(parts: Iterable<BtfDump.Part>, problems: Array<BtfError>): Generator<Uint8Array> {
  for (const part of parts) {
    if (Result.isSuccess(part)) yield part.success
    else problems.push(part.failure)
  }
}

/** JSON with line breaks, made of the whole of it. Numbers of 64 bits are more than JavaScript's hold, so no parsing. */
function* prettyJson(parts: Iterable<Uint8Array>): Generator<Uint8Array> {
  const utf8 = new TextDecoder()
  const encoder = new TextEncoder()
  let depth = 0
  let isText = false
  let isEscaped = false
  let isEmpty = false
  for (const part of parts) {
    let text = ""
    for (const character of utf8.decode(part, { stream: true })) {
      if (isText) {
        text += character
        if (isEscaped) isEscaped = false
        else if (character === "\\") isEscaped = true
        else if (character === "\"") isText = false
        continue
      }
      const isClosing = character === "}" || character === "]"
      if (isEmpty && !isClosing) text += `\n${"  ".repeat(depth)}`
      if (isClosing) {
        depth -= 1
        if (!isEmpty) text += `\n${"  ".repeat(depth)}`
      }
      isEmpty = character === "{" || character === "["
      if (isEmpty) depth += 1
      if (character === "\"") isText = true
      text += character === "," ? `,\n${"  ".repeat(depth)}` : character === ":" ? ": " : character
    }
    yield encoder.encode(text)
  }
}

const checkRoots = (btf: Btf, ids: ReadonlyArray<number>): Effect.Effect<void, UsageError> => {
  const missing = ids.find((id) => !(id >= 0 && id < btf.endId))
  return missing === undefined ? Effect.void : Effect.fail(
    new UsageError({
      argument: `--root-id ${missing}`,
      detail: "there is no such type",
      hint: `ids go up to ${btf.endId - 1}`
    })
  )
}

// Imported where types of the kernel are asked for: files need no kernel.
const kernelModules = Effect.promise(async () => ({
  ...(await import("../objects/OnKernel.ts")),
  ...(await import("./FromKernel.ts"))
}))

/** The types of a source, and which of them are meant: all, where none is named. */
const read = Effect.fnUntraced(function*(source: Source.Source, base: Option.Option<string>) {
  if (source._tag === "File") {
    return { btf: (yield* BtfInput.read(source.path, { base })).file.btf, roots: [] as ReadonlyArray<number> }
  }
  if (Option.isSome(base)) {
    return yield* new UsageError({ argument: "--base-btf", detail: "the kernel knows what its types are split over" })
  }
  const { load, onKernel } = yield* kernelModules
  return yield* onKernel((objects) => load(objects, source))
})

/** The command. */
export const dump = Command.make("dump", {
  file: Argument.String("file").pipe(
    Argument.withDescription(`The types: ${BtfInput.fileDescription}; or bpftool's file, id, prog and map`)
  ),
  words: Argument.String("words").pipe(
    Argument.withDescription(
      "Behind id: its number; behind prog: a program; behind map: a map, and key, value, kv or all; then format raw or c, unsorted"
    ),
    Argument.variadic()
  ),
  format: Flag.Literals("format", ["raw", "c"]).pipe(
    Flag.withAlias("f"),
    Flag.withMetavar("FORMAT"),
    Flag.withDescription("raw: a line for each type and each part of it, the default; c: a header that compiles"),
    Flag.optional
  ),
  base: BtfInput.baseFlag,
  rootId: Flag.Int("root-id").pipe(
    Flag.withMetavar("ID"),
    Flag.withDescription("Only this type, and with --format c what it needs; repeatable"),
    Flag.atLeast(0)
  ),
  unsorted: Flag.Boolean("unsorted").pipe(
    Flag.withDescription("With --format c: in order of ids, not by kind and name"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}, ({ base, file, format: formatFlag, rootId, unsorted: unsortedFlag, words }) =>
  reporting(Effect.gen(function*() {
    const mode = yield* Output.jsonMode
    const asked = yield* Effect.fromResult(Source.read(file, words))
    const path = Source.written(asked.source)
    const format = Option.getOrElse(formatFlag, () => asked.format ?? "raw")
    const unsorted = unsortedFlag || asked.unsorted
    if (format === "c" && mode !== "text") {
      return yield* new UsageError({ argument: "--json", detail: "C is no JSON", hint: "leave out --format c" })
    }
    if (format === "raw" && unsorted) {
      return yield* new UsageError({ argument: "--unsorted", detail: "goes with --format c only" })
    }
    const { btf, roots: meant } = yield* during(`reading ${path}`, read(asked.source, base))
    yield* checkRoots(btf, rootId)
    const wanted = rootId.length === 0 ? meant : rootId
    const problems: Array<BtfError> = []
    const roots = wanted.length === 0 ? {} : { rootIds: wanted }
    const parts = textOf(
      format === "c"
        ? BtfDump.toC(btf, { sorted: !unsorted, ...roots })
        : mode === "text"
        ? BtfDump.toRaw(btf, roots)
        : BtfDump.toJson(btf, roots),
      problems
    )
    const progress = yield* Progress.make
    yield* Effect.ensuring(
      Engine.short(Output.stream(
        mode === "pretty" ? prettyJson(parts) : parts,
        (bytes) => progress.say(`dumped ${bytes >> 10} KiB`)
      )),
      progress.clear
    )
    for (const problem of problems) yield* Output.message(errorText(reportOf(new InFile({ path, cause: problem }))))
    if (problems.length > 0) return yield* new Failed({ status: 1 })
  }))).pipe(
    Command.withDescription(
      "Print types: as bpftool lists them, as a C header, or with --json as bpftool's JSON. The types of split BTF, such\n" +
        "  as a module's, are listed without its base's; a C header has those that they need.\n\n" +
        "  What cannot be written in C is left out and told on standard error, and the exit status is 1."
    ),
    Command.withShortDescription("Print types as a list, a C header or JSON"),
    Command.withExamples([
      {
        command: "effect-bpf btf dump vmlinux --format c > vmlinux.h",
        description: "The header of the running kernel"
      },
      { command: "effect-bpf btf dump firewall.bpf.o", description: "What an object's types are" },
      {
        command: "effect-bpf btf dump vmlinux --json | jq '.types[] | select(.name == \"task_struct\").size'",
        description: "For scripts"
      },
      { command: "effect-bpf btf dump map name stats value format c", description: "The types of a map's values" }
    ])
  )
