/**
 * `btf`: types of kernels, modules and objects: printed, deduplicated, moved from base to base, compared.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Btf } from "../btf/Btf.ts"
import * as BtfDedup from "../btf/BtfDedup.ts"
import * as BtfDiff from "../btf/BtfDiff.ts"
import * as BtfDistill from "../btf/BtfDistill.ts"
import * as BtfDump from "../btf/BtfDump.ts"
import * as BtfEdit from "../btf/BtfEdit.ts"
import type { BtfError } from "../btf/BtfError.ts"
import * as BtfRelocate from "../btf/BtfRelocate.ts"
import * as Elf from "../services/Elf/Elf.ts"
import * as BtfInput from "./BtfInput.ts"
import { Failed, InFile, reporting } from "./Failure.ts"
import * as FileOutput from "./FileOutput.ts"
import { blobDocument, dedupDocument, diffDocument } from "./json/BtfDocument.ts"
import * as Output from "./Output.ts"
import * as Progress from "./Progress.ts"
import { blobText, dedupText, diffLines } from "./text/BtfText.ts"
import { errorText, reportOf } from "./text/ErrorText.ts"
import { UsageError } from "./Usage.ts"

const file = Argument.String("file").pipe(Argument.withDescription(`The types: ${BtfInput.fileDescription}`))

const output = Flag.String("output").pipe(
  Flag.withAlias("o"),
  Flag.withMetavar("FILE"),
  Flag.withDescription("Where the result is written; a file that is there is replaced as a whole, when all is done")
)

/** Runs the pure part of a command, with the file in its errors. */
const within = <A, E extends object>(path: string, work: () => Result.Result<A, E>): Effect.Effect<A, InFile> =>
  Effect.suspend(() => Effect.mapError(Effect.fromResult(work()), (cause) => new InFile({ path, cause })))

/** Says what is being done for as long as it takes. */
const during = <A, E, R>(text: string, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const progress = yield* Progress.make
    yield* progress.say(text)
    return yield* Effect.ensuring(effect, progress.clear)
  })

// ---- dump ----

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

const dump = Command.make("dump", {
  file,
  format: Flag.Literals("format", ["raw", "c"]).pipe(
    Flag.withAlias("f"),
    Flag.withDescription("raw: a line for each type and each part of it; c: a header that compiles"),
    Flag.withDefault("raw")
  ),
  base: BtfInput.baseFlag,
  rootId: Flag.Int("root-id").pipe(
    Flag.withMetavar("ID"),
    Flag.withDescription("With --format c: only this type and what it needs; repeatable"),
    Flag.atLeast(0)
  ),
  unsorted: Flag.Boolean("unsorted").pipe(
    Flag.withDescription("With --format c: in order of ids, not by kind and name"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}, ({ base, file: path, format, rootId, unsorted }) =>
  reporting(Effect.gen(function*() {
    const mode = yield* Output.jsonMode
    if (format === "c" && mode !== "text") {
      return yield* new UsageError({ argument: "--json", detail: "C is no JSON", hint: "leave out --format c" })
    }
    if (format === "raw" && (rootId.length > 0 || unsorted)) {
      const argument = unsorted ? "--unsorted" : `--root-id ${rootId[0] ?? ""}`
      return yield* new UsageError({ argument, detail: "goes with --format c only" })
    }
    const input = yield* during(`reading ${path}`, BtfInput.read(path, { base }))
    const { btf } = input.file
    yield* checkRoots(btf, rootId)
    const problems: Array<BtfError> = []
    const parts = textOf(
      format === "c"
        ? BtfDump.toC(btf, { sorted: !unsorted, ...(rootId.length === 0 ? {} : { rootIds: rootId }) })
        : mode === "text"
        ? BtfDump.toRaw(btf)
        : BtfDump.toJson(btf),
      problems
    )
    const progress = yield* Progress.make
    yield* Effect.ensuring(
      Output.stream(
        mode === "pretty" ? prettyJson(parts) : parts,
        (bytes) => progress.say(`dumped ${bytes >> 10} KiB`)
      ),
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
      }
    ])
  )

// ---- dedup ----

/** The types of all files in one blob, in their order. */
const appended = (blobs: ReadonlyArray<BtfInput.BtfInput>): Effect.Effect<Btf, InFile> => {
  const [first, ...others] = blobs
  if (first === undefined) return Effect.die("no files")
  return Effect.suspend(() => {
    if (others.length === 0) return Effect.succeed(first.file.btf)
    const editor = BtfEdit.edit(first.file.btf)
    for (const { file, path } of others) {
      const done = editor.append(file.btf)
      if (Result.isFailure(done)) return Effect.fail(new InFile({ path, cause: done.failure }))
    }
    return within(first.path, () => editor.finish())
  })
}

const dedup = Command.make("dedup", {
  files: Argument.String("file").pipe(
    Argument.withDescription(`The types, of several files one after another: ${BtfInput.fileDescription}`),
    Argument.variadic({ min: 1 })
  ),
  output,
  base: BtfInput.baseFlag
}, ({ base, files, output }) =>
  reporting(Effect.gen(function*() {
    const over = Option.isSome(base) ? yield* BtfInput.readBase(base.value) : undefined
    const inputs: Array<BtfInput.BtfInput> = []
    for (const path of files) {
      inputs.push(yield* during(`reading ${path}`, BtfInput.read(path, { over })))
    }
    const whole = yield* appended(inputs)
    const { btf, report } = yield* during("comparing types", within(files[0] ?? "", () => BtfDedup.dedup(whole)))
    yield* FileOutput.writeFile(output, btf.bytes)
    yield* Output.result(
      () => dedupDocument(files, output, btf, report),
      () => [...dedupText(btf, report), ...blobText(output, btf)]
    )
  }))).pipe(
    Command.withDescription(
      "Write BTF in which each type is once: the same types of several compilation units become one, declarations become\n" +
        "  the definitions that another unit has. Several files are put one after another first. The result is raw BTF."
    ),
    Command.withShortDescription("Make each type one, of one file or several"),
    Command.withExamples([
      { command: "effect-bpf btf dedup a.bpf.o b.bpf.o -o both.btf", description: "The types of two objects" }
    ])
  )

// ---- distill and relocate ----

/** An ELF file with a distilled base and the types over it, as a module has them. */
const moduleFile = (base: Btf, split: Btf): Result.Result<Uint8Array, Elf.ElfError> => {
  const section = (name: string, { bytes }: Btf): Elf.ImageSection =>
    Elf.makeSection({ name, type: Elf.SHT_PROGBITS, content: { _tag: "Bytes", bytes } })
  return Elf.write({
    byteOrder: split.byteOrder,
    osAbi: 0,
    abiVersion: 0,
    type: Elf.ET_REL,
    machine: Elf.EM_BPF,
    entry: 0n,
    flags: 0,
    sections: [
      Elf.nullSection,
      section(".BTF", split),
      section(".BTF.base", base),
      Elf.makeSection({ name: ".shstrtab", type: Elf.SHT_STRTAB, content: { _tag: "Strings" } })
    ],
    sectionNames: 3
  })
}

const distill = Command.make("distill", {
  file,
  base: BtfInput.baseFlag,
  output,
  raw: Flag.Boolean("raw").pipe(
    Flag.withDescription("Write two raw files, the types into FILE and their base into FILE.base"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}, ({ base, file: path, output, raw }) =>
  reporting(Effect.gen(function*() {
    const { file } = yield* during(`reading ${path}`, BtfInput.read(path, { base }))
    const distilled = yield* within(path, () => BtfDistill.distill(file.btf))
    const basePath = raw ? `${output}.base` : output
    if (raw) {
      yield* FileOutput.writeFile(basePath, distilled.base.bytes)
      yield* FileOutput.writeFile(output, distilled.split.bytes)
    } else {
      yield* FileOutput.writeFile(output, yield* within(path, () => moduleFile(distilled.base, distilled.split)))
    }
    yield* Output.result(
      () => ({
        path,
        base: blobDocument(basePath, distilled.base),
        split: blobDocument(output, distilled.split)
      }),
      () => [
        ...blobText(`${basePath}${raw ? "" : " .BTF.base"}`, distilled.base),
        ...blobText(`${output}${raw ? "" : " .BTF"}`, distilled.split)
      ]
    )
  }))).pipe(
    Command.withDescription(
      "Make a module's types independent of the exact kernel that it was built for: of the base's types only name, kind\n" +
        "  and size of those stay that the module refers to, as a distilled base. The result is an ELF file with .BTF and\n" +
        "  .BTF.base, which any kernel with types of these names and sizes can take; `btf relocate` does."
    ),
    Command.withShortDescription("Make split types independent of their exact base"),
    Command.withExamples([
      {
        command: "effect-bpf btf distill nf_tables.ko --base-btf vmlinux -o nf_tables.btf.o",
        description: "The types of a module"
      }
    ])
  )

const relocate = Command.make("relocate", {
  file,
  base: Flag.String("base-btf").pipe(
    Flag.withAlias("B"),
    Flag.withMetavar("FILE"),
    Flag.withDescription(`The types to move onto: ${BtfInput.fileDescription}`)
  ),
  distilledBase: Flag.String("distilled-base").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("The distilled base of raw types; an ELF file has it in .BTF.base"),
    Flag.optional
  ),
  output
}, ({ base, distilledBase, file: path, output }) =>
  reporting(Effect.gen(function*() {
    const distilled = Option.isSome(distilledBase) ? yield* BtfInput.readBase(distilledBase.value) : undefined
    const { file } = yield* during(`reading ${path}`, BtfInput.read(path, { over: distilled }))
    if (distilled === undefined && file.distilled === undefined) {
      return yield* new UsageError({
        argument: path,
        detail: "has no distilled base",
        hint: "an ELF file has it in .BTF.base; name that of raw types with --distilled-base"
      })
    }
    const onto = yield* during(`reading ${base}`, BtfInput.readBase(base))
    const { btf } = yield* within(path, () => BtfRelocate.relocate(file.btf, onto))
    yield* FileOutput.writeFile(output, btf.bytes)
    yield* Output.result(() => blobDocument(output, btf), () => blobText(output, btf))
  }))).pipe(
    Command.withDescription(
      "Move types from their distilled base onto a kernel's: its types of the same names, kinds and sizes take the place\n" +
        "  of the distilled ones. Every type without a counterpart is told. The result is raw BTF split over that kernel's."
    ),
    Command.withShortDescription("Move types from their distilled base onto a kernel's"),
    Command.withExamples([
      {
        command: "effect-bpf btf relocate nf_tables.btf.o --base-btf vmlinux -o nf_tables.btf",
        description: "Onto the running kernel"
      }
    ])
  )

// ---- diff ----

const diff = Command.make("diff", {
  before: Argument.String("before").pipe(
    Argument.withDescription(`The types of one side: ${BtfInput.fileDescription}`)
  ),
  after: Argument.String("after").pipe(Argument.withDescription("Those of the other side")),
  filter: Flag.String("filter").pipe(
    Flag.withMetavar("GLOB"),
    Flag.withDescription("Only types whose name is this or matches this pattern of * and ?"),
    Flag.optional
  ),
  kind: Flag.Literals("kind", BtfDiff.diffKinds).pipe(
    Flag.withDescription("Only types of this kind; repeatable"),
    Flag.atLeast(0)
  ),
  base: BtfInput.baseFlag
}, ({ after, base, before, filter, kind }) =>
  reporting(Effect.gen(function*() {
    const was = yield* during(`reading ${before}`, BtfInput.read(before, { base }))
    const is = yield* during(`reading ${after}`, BtfInput.read(after, { base }))
    const difference = yield* during(
      "comparing types",
      Effect.sync(() =>
        BtfDiff.diff(was.file.btf, is.file.btf, {
          ...(Option.isSome(filter) ? { filter: filter.value } : {}),
          ...(kind.length === 0 ? {} : { kinds: kind })
        })
      )
    )
    yield* Output.result(
      () => diffDocument(before, after, difference),
      () => [...diffLines(difference, [before, after])]
    )
  }))).pipe(
    Command.withDescription(
      "Compare the types of two kernels, modules or objects by name: what is gone and new, members that were moved,\n" +
        "  renamed, retyped and resized, values that were renumbered, parameters of functions, and the accesses that break.\n\n" +
        "  A line begins with - for what is gone, + for what is new, ! for what changed, ? for what is not clear; > moved\n" +
        "  only, which CO-RE takes care of. An access that breaks for one type breaks in all that contain it."
    ),
    Command.withShortDescription("Compare types, and tell which accesses break"),
    Command.withExamples([
      {
        command: "effect-bpf btf diff 6.1.btf vmlinux --filter task_struct",
        description: "What became of a struct"
      },
      {
        command: "effect-bpf btf diff 6.1.btf vmlinux --json | jq -r '.changed[].breaks[] | \"\\(.path) \\(.why)\"'",
        description: "All accesses that break"
      }
    ])
  )

/** The command. */
export const btf = Command.make("btf").pipe(
  Command.withDescription("Types of kernels, modules and objects: print, deduplicate, move and compare them"),
  Command.withShortDescription("Types: dump, dedup, distill, relocate, diff"),
  Command.withSubcommands([dump, dedup, distill, relocate, diff])
)
