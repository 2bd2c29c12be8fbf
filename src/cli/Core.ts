/**
 * `core check`: objects against the types of many kernels.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Terminal from "effect/Terminal"
import * as Os from "node:os"
import * as Compatibility from "../diagnostics/Compatibility.ts"
import type * as Checker from "./core/Checker.ts"
import * as Inputs from "./core/Inputs.ts"
import * as Threads from "./core/Threads.ts"
import { Failed } from "./Failed.ts"
import { reporting } from "./Failure.ts"
import * as FileOutput from "./FileOutput.ts"
import * as Findings from "./Findings.ts"
import * as Html from "./html/Html.ts"
import { matrixPage } from "./html/MatrixPage.ts"
import { matrixDocument } from "./json/MatrixDocument.ts"
import * as Output from "./Output.ts"
import * as Progress from "./Progress.ts"
import { matrixText } from "./text/MatrixText.ts"
import { UsageError } from "./Usage.ts"
import { version } from "./Version.ts"

/** About how long a kernel takes to be read, and an object to be checked against it, in milliseconds. */
const KERNEL = 20
const CELL = 0.5

/** How much work another thread is worth its start for, in milliseconds. */
const SHARE = 500

/** How many threads share the work, where nobody says. */
const threadsFor = (objects: number, kernels: number): number =>
  Math.min(Os.availableParallelism(), kernels, 1 + Math.floor(kernels * (KERNEL + objects * CELL) / SHARE))

/** What is checked, and how. */
export interface MatrixOptions {
  readonly objects: ReadonlyArray<Checker.ObjectFile>
  readonly kernels: ReadonlyArray<Checker.KernelFile>
  /** Threads that do the work; unless given, as many as there are processors and the work is worth. */
  readonly threads?: number | undefined
  /** Told how far the work is. */
  readonly progress?: (text: string) => Effect.Effect<void>
}

/** Checks all objects against all kernels. */
export const matrix = ({ kernels, objects, progress, threads }: MatrixOptions): Effect.Effect<Compatibility.Matrix> =>
  Effect.scoped(Effect.gen(function*() {
    const setup = { objects, kernels }
    const count = Math.min(threads ?? threadsFor(objects.length, kernels.length), kernels.length)
    const say = progress ?? (() => Effect.void)
    yield* say(`opening ${objects.length} objects`)
    const working = yield* Threads.make(setup, count)
    const columns = yield* working.columns((done) => say(`checked ${done} of ${kernels.length} kernels`))
    const checked = columns.map((column) => column.checked)
    const questions = Compatibility.questions(checked.map((column) => column?.places))
    const names = yield* working.names(
      questions,
      (done) => say(`compared ${done} of ${questions.length} pairs of kernels`)
    )
    return Compatibility.assemble(
      working.rows,
      kernels.map(({ name, path }, position) => ({ name, path, problem: columns[position]?.problem })),
      checked,
      new Map(names.flat())
    )
  }))

const positional = Argument.String("object").pipe(
  Argument.withDescription(
    "BPF object files; a BTF file, a kernel image or a profile's folder among them counts as a kernel"
  ),
  Argument.variadic({ min: 1 })
)

const btf = Flag.String("btf").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription(
    "A kernel: raw BTF, an ELF file with .BTF (vmlinux), the folder of a kernel profile, or vmlinux for the running " +
      "kernel's types; repeatable"
  ),
  Flag.atLeast(0)
)

const page = Flag.String("html").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription("Also write the matrix as a page that stands alone, with details and histories"),
  Flag.optional
)

const guarded = Flag.Boolean("guarded").pipe(
  Flag.withDescription("List what is missing and guarded, too"),
  Flag.withoutNegation,
  Flag.withDefault(false)
)

const threads = Flag.Int("threads").pipe(
  Flag.withMetavar("COUNT"),
  Flag.withDescription(
    "Threads that share the work; 1 starts none. By default as many as there are processors, and as the work is worth"
  ),
  Flag.filter((count) => count >= 1 && count <= 1024, () => "Expected a number of threads, 1 to 1024"),
  Flag.optional
)

/** Splits arguments into objects and kernels. */
const inputs = Effect.fnUntraced(function*(paths: ReadonlyArray<string>, flags: ReadonlyArray<string>) {
  const kernels = yield* Effect.forEach(flags, Inputs.kernelPath)
  const objects: Array<string> = []
  for (const path of paths) {
    if (yield* Inputs.isKernel(path)) kernels.push(path)
    else objects.push(path)
  }
  if (objects.length === 0) {
    return yield* new UsageError({
      argument: "object",
      detail: "there is no object among the arguments",
      hint: "name BPF object files"
    })
  }
  if (kernels.length === 0) {
    return yield* new UsageError({
      argument: "--btf",
      detail: "there is no kernel to check against",
      hint: "name BTF files, kernel images or kernel profiles; --btf vmlinux is the running kernel"
    })
  }
  return { objects: yield* Effect.forEach([...new Set(objects)], Inputs.readObject), kernels: Inputs.named(kernels) }
})

/** The columns of the terminal that standard output is; nothing where it is none. */
const terminalWidth = Effect.gen(function*() {
  const stdio = yield* Stdio.Stdio
  const columns = (yield* stdio.stdoutIsTerminal) ? yield* (yield* Terminal.Terminal).columns : 0
  return columns > 0 ? columns : undefined
})

// Imported when it is wanted.
const diagnostics = Effect.promise(() => import("../diagnostics/Diagnostic.ts"))

/** The work, up to what is printed; answers how many cells are fatal. */
const run = Effect.fnUntraced(
  function*(options: {
    readonly object: ReadonlyArray<string>
    readonly btf: ReadonlyArray<string>
    readonly page: Option.Option<string>
    readonly guarded: boolean
    readonly threads: Option.Option<number>
  }) {
    const { kernels, objects } = yield* inputs(options.object, options.btf)
    const progress = yield* Progress.makeBeforeOutput
    const made = yield* Effect.ensuring(
      matrix({ objects, kernels, threads: Option.getOrUndefined(options.threads), progress: progress.say }),
      progress.clear
    )
    if (Option.isSome(options.page)) {
      yield* FileOutput.writeFile(options.page.value, Html.encode(matrixPage(made, version)))
    }
    yield* Effect.forEach(objects, ({ path }) => Findings.about(path))
    yield* Findings.add(() => Effect.map(diagnostics, ({ ofMatrix }) => ofMatrix(made)))
    const width = yield* terminalWidth
    yield* Output.result(() => matrixDocument(made), () => matrixText(made, { width, guarded: options.guarded }))
    return made.summary.fatal
  }
)

const check = Command.make(
  "check",
  { object: positional, btf, page, guarded, threads },
  (options) =>
    Effect.gen(function*() {
      // A fatal cell is what was asked about, and no failure of the work: it is in the result, and in the status alone.
      if ((yield* reporting(run(options))) > 0) return yield* new Failed({ status: 1 })
    })
).pipe(
  Command.withDescription(
    "Tell for each object and each kernel whether the object can be loaded, by the kernel's types: all CO-RE relocations,\n" +
      "  what programs are attached to (fentry, fexit, fmod_ret, tp_btf, lsm, iter), functions and variables of the kernel,\n" +
      "  structs that the object implements, and the kernel's configuration where a profile has it.\n\n" +
      "  A cell is green where the kernel has everything, guarded where the object's own checks keep it from using what is\n" +
      "  missing, unknown where only the verifier can tell, fatal where the object cannot be loaded. Exit status 1 if a\n" +
      "  cell is fatal. Kernels are ordered by their names, numbers in them by value."
  ),
  Command.withShortDescription("Check objects against the types of many kernels"),
  Command.withExamples([
    { command: "effect-bpf core check *.bpf.o --btf kernels/*.btf", description: "A matrix of objects and kernels" },
    {
      command: "effect-bpf core check tool.bpf.o --btf vmlinux --btf profile-6.1/",
      description: "The running kernel and a profile"
    },
    { command: "effect-bpf core check *.bpf.o --btf kernels/*.btf --html matrix.html", description: "As a page" },
    {
      command:
        "effect-bpf core check *.bpf.o --btf kernels/*.btf --json | jq -r '.findings[] | select(.verdict == \"fatal\") | .subject'",
      description: "What is missing"
    }
  ])
)

/** The command. */
export const core = Command.make("core").pipe(
  Command.withDescription("CO-RE: objects that are compiled once and run on many kernels"),
  Command.withShortDescription("CO-RE: check objects against many kernels"),
  Command.withSubcommands([check])
)
