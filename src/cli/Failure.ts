/**
 * What becomes of a failure: a message for people on standard error, a document on standard output with `--json`, and
 * the exit status, 1 when the work failed and 2 for wrong usage.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { BtfRelocateError } from "../btf/BtfRelocateError.ts"
import type { ElfError } from "../services/Elf/ElfError.ts"
import type { KernelError, VerifierError } from "../services/Kernel/KernelError.ts"
import type { AssembleError } from "../stages/gen/AssembleError.ts"
import type { PlanError } from "../stages/load/PlanError.ts"
import type { EditError } from "../stages/open/Edit.ts"
import type { RelocateError } from "../stages/relocate/RelocateError.ts"
import { Failed } from "./Failed.ts"
import * as Findings from "./Findings.ts"
import type { Explanation } from "../diagnostics/VerifierLogExplanation.ts"
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
const isKernelError = isTagged<KernelError>("KernelError")
const isPlanError = isTagged<PlanError>("PlanError")
const isRelocateError = isTagged<RelocateError>("RelocateError")
const isVerifierError = isTagged<VerifierError>("VerifierError")

const compile = (path: string): string => {
  const source = path.endsWith(".c") ? path : "prog.bpf.c"
  return `clang -target bpf -g -O2 -c ${source} -o ${source.replace(/\.c$/, "")}.o`
}

/** Whether the command shows the verifier's log: as asked for, not unless asked for, or it has no flag for it. */
type LogFlag = "shown" | "hidden" | "absent"

/** How many lines a text has, that at its end not counted. */
const linesIn = (text: string): number => {
  let lines = 1
  for (let at = text.indexOf("\n"); at >= 0 && at < text.length - 1; at = text.indexOf("\n", at + 1)) lines++
  return lines
}

/** What the command knows about a failure that the library does not: the file, and the flags that help. */
const report = (error: object, log: LogFlag): Report => {
  if (error instanceof InFile && typeof error.cause === "object" && error.cause !== null) {
    const inner = report(error.cause, log)
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
  if (isVerifierError(error) && error.log !== "" && log !== "shown") {
    const how = log === "hidden" ? "run again with --log to see all of them" : "--json has all of them"
    return { message, hints: [...hints, `the verifier said ${counted(linesIn(error.log), "line")}; ${how}`] }
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

/** What an error is about: one with the file that it is about is unwrapped. */
const aboutOf = (error: object): object =>
  error instanceof InFile && typeof error.cause === "object" && error.cause !== null ? error.cause : error

/** The document of a failure. `error` is bpftool's key; `type` is the error's tag, and its own fields stand beside. */
const errorDocument = (error: object, { hints, message }: Report, explanation: Json | undefined): Json => {
  const about = aboutOf(error)
  const fields = Object.entries(about).filter((entry): entry is [string, string | number | boolean] =>
    isScalar(entry[1]) && !["_tag", "message", "stack", "name", "hint"].includes(entry[0]) && !entry[0].startsWith("~")
  )
  const tag: unknown = Reflect.get(about, "_tag")
  return {
    error: message,
    type: typeof tag === "string" ? tag : "Error",
    hints: [...hints],
    ...Object.fromEntries(fields),
    ...(explanation === undefined ? {} : { explanation }),
    ...(isKernelError(about) && about.attributes !== undefined
      ? { attributes: about.attributes.map((attribute) => ({ ...attribute })) }
      : {}),
    ...(isKernelError(about) || isVerifierError(about)
      ? about.capabilities === undefined ? {} : { capabilities: [...about.capabilities] }
      : {}),
    ...(isBtfRelocateError(about) ? { mismatches: mismatchesOf(about) } : {})
  }
}

const mismatchesOf = ({ mismatches }: BtfRelocateError): ReadonlyArray<Json> =>
  mismatches.map(({ candidateCount, candidates, ...mismatch }) => ({
    ...mismatch,
    candidates: candidates.map((candidate) => ({ ...candidate })),
    candidate_count: candidateCount
  }))

/** What of a report is told otherwise where the verifier's words are explained: its first line says what is wrong. */
const withExplanation = (said: Report, details: Report["details"]): Report => ({
  ...said,
  message: said.message.split("\n", 1)[0] ?? "",
  ...(details === undefined ? {} : { details })
})

/** Whether there is more to say than what the message says. */
const isExplained = ({ cause, instruction, place }: Explanation): boolean =>
  cause !== undefined || place !== undefined || instruction?.text !== undefined

/** The verifier's refusal, explained as text and as a document: nothing for other errors. Only such a failure loads what it takes. */
const explained = Effect.fnUntraced(function*(error: object, said: Report) {
  const about = aboutOf(error)
  if (!isVerifierError(about) || about.log === "") return { said, document: undefined }
  const [{ of }, { explanationText }, { explanationJson }] = yield* Effect.promise(() =>
    Promise.all([
      import("../diagnostics/VerifierLogExplanation.ts"),
      import("./text/ExplanationText.ts"),
      import("./json/ExplanationDocument.ts")
    ])
  )
  const explanation = of(about)
  const columns = yield* Output.columnsOfErrors
  return {
    said: isExplained(explanation) ? withExplanation(said, explanationText(explanation, columns)) : said,
    document: explanationJson(explanation)
  }
})

/** Reports what a command fails with, and fails with the exit status alone. `showLog` is the command's own flag, if it has it. */
export const reporting = <A, E extends object, R>(
  effect: Effect.Effect<A, E, R>,
  options: { readonly showLog?: boolean } = {}
) =>
  Effect.catch(Findings.gathering(effect), (error) =>
    Effect.gen(function*() {
      const log: LogFlag = options.showLog === undefined ? "absent" : options.showLog ? "shown" : "hidden"
      const { document, said } = yield* explained(error, report(error, log))
      const mode = yield* Output.jsonMode
      if (mode !== "text") {
        yield* Output.verbatim(jsonText(errorDocument(error, said, document), mode === "pretty").trimEnd())
      }
      yield* Output.message(errorText(said))
      // Edits come from the command line, so one that does not fit is wrong usage, too.
      return yield* new Failed({ status: error instanceof UsageError || isEditError(error) ? 2 : 1 })
    }))
