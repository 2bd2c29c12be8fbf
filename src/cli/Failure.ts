/**
 * What becomes of a failure: a message for people on standard error, a document on standard output with `--json`, and
 * the exit status, 1 when the work failed and 2 for wrong usage.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { BtfRelocateError } from "../btf/BtfRelocateError.ts"
import type { ElfError } from "../services/Elf/ElfError.ts"
import type { VerifierError } from "../services/Kernel/KernelError.ts"
import type { AssembleError } from "../stages/gen/AssembleError.ts"
import type { PlanError } from "../stages/load/PlanError.ts"
import type { EditError } from "../stages/open/Edit.ts"
import type { RelocateError } from "../stages/relocate/RelocateError.ts"
import { Failed } from "./Failed.ts"
import { type Json, jsonText } from "./json/Json.ts"
import * as Output from "./Output.ts"
import { errorText, type Report, reportOf } from "./text/ErrorText.ts"
import { counted } from "./text/Text.ts"
import { UsageError } from "./Usage.ts"

/** A failure with the file that it is about, for errors which know bytes only. */
export class InFile extends Schema.TaggedError<InFile>()("InFile", {
  path: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `${this.path}: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

/** Whether an error is the library's of this tag. By the tag, since the class would bring all that the error is about. */
const isTagged = <E extends { readonly _tag: string }>(tag: E["_tag"]) => (error: unknown): error is E =>
  typeof error === "object" && error !== null && Reflect.get(error, "_tag") === tag

const isAssembleError = isTagged<AssembleError>("AssembleError")
const isBtfRelocateError = isTagged<BtfRelocateError>("BtfRelocateError")
const isEditError = isTagged<EditError>("EditError")
const isElfError = isTagged<ElfError>("ElfError")
const isPlanError = isTagged<PlanError>("PlanError")
const isRelocateError = isTagged<RelocateError>("RelocateError")
const isVerifierError = isTagged<VerifierError>("VerifierError")

const compile = (path: string): string => {
  const source = path.endsWith(".c") ? path : "prog.bpf.c"
  return `clang -target bpf -g -O2 -c ${source} -o ${source.replace(/\.c$/, "")}.o`
}

/** What the command knows about a failure that the library does not: the file, and the flags that help. */
const report = (error: object, showLog: boolean): Report => {
  if (error instanceof InFile && typeof error.cause === "object" && error.cause !== null) {
    const inner = report(error.cause, showLog)
    const notElf = isElfError(error.cause) && error.cause.reason === "NotElf"
    const hints = notElf
      ? [
        error.path.endsWith(".c")
          ? `this is source: compile it first, ${compile(error.path)}`
          : `a BPF object file is expected, as this makes one: ${compile("")}`
      ]
      : inner.hints
    return { message: `${error.path}: ${inner.message}`, hints }
  }
  const { hints, message } = reportOf(error)
  if (isVerifierError(error) && error.log !== "" && !showLog) {
    const lines = error.log.trimEnd().split("\n").length
    return {
      message,
      hints: [...hints, `the verifier said ${counted(lines, "line")}; run again with --log to see all of them`]
    }
  }
  return { message, hints: [...hints, ...flagsFor(error, hints)] }
}

/** The flags for what the library's hints ask for in its own words. */
const flagsFor = (error: object, hints: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (isRelocateError(error) && error.reason === "Kconfig" && error.name.startsWith("CONFIG_")) {
    return ["--kconfig FILE gives options in place of the kernel's own"]
  }
  if (isAssembleError(error) && error.reason === "NeedsInputs") {
    return ["here that is --kernel PROFILE; options of the kernel alone can be given by --kconfig FILE"]
  }
  if (!isPlanError(error)) return []
  const hint = hints.join(" ")
  if (hint.includes("Edit.attachTo")) {
    return [`here that is --attach-to ${error.name}=HANDLE:FUNCTION, or --no-autoload ${error.name}`]
  }
  if (hint.includes("autoload off")) return [`here that is --no-autoload ${error.name}`]
  if (hint.includes("autocreate off")) return [`here that is --map ${error.name}.autocreate=no`]
  return []
}

const isScalar = (value: unknown): value is string | number | boolean =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"

/** The document of a failure. `error` is bpftool's key; `type` is the error's tag, and its own fields stand beside. */
const errorDocument = (error: object, { hints, message }: Report): Json => {
  const about = error instanceof InFile && typeof error.cause === "object" && error.cause !== null ? error.cause : error
  const fields = Object.entries(about).filter((entry): entry is [string, string | number | boolean] =>
    isScalar(entry[1]) && !["_tag", "message", "stack", "name", "hint"].includes(entry[0]) && !entry[0].startsWith("~")
  )
  const tag: unknown = Reflect.get(about, "_tag")
  return {
    error: message,
    type: typeof tag === "string" ? tag : "Error",
    hints: [...hints],
    ...Object.fromEntries(fields),
    ...(isBtfRelocateError(about) ? { mismatches: mismatchesOf(about) } : {})
  }
}

const mismatchesOf = ({ mismatches }: BtfRelocateError): ReadonlyArray<Json> =>
  mismatches.map(({ candidateCount, candidates, ...mismatch }) => ({
    ...mismatch,
    candidates: candidates.map((candidate) => ({ ...candidate })),
    candidate_count: candidateCount
  }))

/** Reports what a command fails with, and fails with the exit status alone. */
export const reporting = <A, E extends object, R>(
  effect: Effect.Effect<A, E, R>,
  options: { readonly showLog?: boolean } = {}
) =>
  Effect.catch(effect, (error) =>
    Effect.gen(function*() {
      const said = report(error, options.showLog === true)
      const mode = yield* Output.jsonMode
      if (mode !== "text") yield* Console.log(jsonText(errorDocument(error, said), mode === "pretty").trimEnd())
      yield* Output.message(errorText(said))
      // Edits come from the command line, so one that does not fit is wrong usage, too.
      return yield* new Failed({ status: error instanceof UsageError || isEditError(error) ? 2 : 1 })
    }))
