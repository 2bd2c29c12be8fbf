/**
 * The table of kernels × objects: what each question of each object comes to, and how the object fares, beside what is
 * known in advance.
 */
import * as Result from "effect/Result"
import type * as Btf from "../../src/btf/Btf.ts"
import * as Insn from "../../src/insn/Insn.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import { objects, question, type QuestionName, reachesPoison } from "./CoreObjects.ts"
import { make, type Outcome, type Variant, type Verdict, verdictOf } from "./KernelVariants.ts"

/** What a question comes to, as text: `40`, `40 (4 bytes)` for a load, `poisoned: Missing`, `fails: Ambiguous`. */
export type Answer = string

const CLASS_LDX = 1

const answerOf = (insns: Uint8Array, outcome: Result.Result<Core.CoreOutcome, Core.CoreError>): Answer => {
  if (Result.isFailure(outcome)) return `fails: ${outcome.failure.reason}`
  const { result, slot } = outcome.success
  if (result._tag === "Poisoned") return `poisoned: ${result.why}`
  const loads = Insn.insnClass(insns, slot) === CLASS_LDX
  return loads ? `${Insn.offset(insns, slot)} (${Insn.sizeInBytes(insns, slot)} bytes)` : String(result.value)
}

/** How an object fares, by its instructions. */
const fares = (examined: Core.Examined): Verdict => {
  if (examined.outcomes.some(Result.isFailure) || reachesPoison(examined.insns)) return "fatal"
  return examined.outcomes.every((each) => Result.isSuccess(each) && each.success.found) ? "green" : "guarded"
}

/** The row of one object: its answers, in the order of its questions, and how it fares. */
export interface Row {
  readonly object: (typeof objects)[number]
  readonly answers: ReadonlyArray<Answer>
  readonly verdict: Verdict
}

/** The rows of all objects on a kernel. `examine` may be replaced by what is wrong on purpose. */
export const rowsOf = (target: Core.CoreTarget, examine: typeof Core.examine = Core.examine): ReadonlyArray<Row> =>
  objects.map((object) => {
    const { insns, local, records } = object.recorded
    const examined = Result.getOrThrow(examine(insns, records, local, target))
    return {
      object,
      answers: examined.outcomes.map((outcome) => answerOf(examined.insns, outcome)),
      verdict: fares(examined)
    }
  })

/** The answer to each question of any object; objects that ask the same must get the same. */
export const answers = (rows: ReadonlyArray<Row>): ReadonlyMap<QuestionName, Answer> => {
  const found = new Map<QuestionName, Answer>()
  for (const { answers, object } of rows) {
    object.asks.forEach((name, index) => {
      const answer = answers[index] ?? ""
      const known = found.get(name)
      if (known !== undefined && known !== answer) {
        throw new Error(`${name} is ${known}, and in ${object.name} ${answer}`)
      }
      found.set(name, answer)
    })
  }
  return found
}

const zeroIfGone: ReadonlySet<Core.CoreKind> = new Set([
  "field_exists",
  "type_exists",
  "type_matches",
  "type_size",
  "target_type_id",
  "enumval_exists"
])

/** What a question comes to on a changed kernel, from the answers of the kernel that was changed. */
const expectedAnswer = (
  name: QuestionName,
  outcome: Outcome,
  before: ReadonlyMap<QuestionName, Answer>,
  kernel: Btf.Btf
): Answer => {
  const old = before.get(name) ?? ""
  const [, value = "", bytes] = /^(-?\d+)(?: \((\d) bytes\))?$/.exec(old) ?? []
  const withBytes = (answer: number, size: string | number | undefined): Answer =>
    size === undefined ? String(answer) : `${answer} (${size} bytes)`
  switch (outcome._tag) {
    case "Same":
      return old
    case "Gone":
      return zeroIfGone.has(question(name).kind) ? "0" : "poisoned: Missing"
    case "Resized":
      return "poisoned: Resized"
    case "More":
      return withBytes(Number(value) + outcome.by, outcome.bytes ?? bytes)
    case "Becomes":
      return withBytes(outcome.value, Insn.insnClass(question(name).insn, 0) === CLASS_LDX ? 4 : undefined)
    case "As":
      // Of the other's place, in this one's size.
      return withBytes(
        Number.parseInt(before.get(outcome.question) ?? "", 10),
        Insn.sizeInBytes(question(name).insn, 0)
      )
    case "FirstOfModule":
      return String(kernel.endId)
    case "Fails":
      return `fails: ${outcome.reason}`
  }
}

/** Where the rows of a variant of `kernel` are not as it was written down, as lines; `before` are the kernel's own. */
export const unexpected = (
  variant: Variant,
  kernel: Btf.Btf,
  before: ReadonlyMap<QuestionName, Answer>,
  rows: ReadonlyArray<Row>
): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const { answers, object, verdict } of rows) {
    object.asks.forEach((name, index) => {
      const wanted = expectedAnswer(name, variant.outcomes[name] ?? { _tag: "Same" }, before, kernel)
      const answer = answers[index] ?? ""
      if (answer !== wanted) lines.push(`${variant.name}, ${object.name}: ${name} is ${answer}, not ${wanted}`)
    })
    const wanted = verdictOf(object.name, variant)
    if (verdict !== wanted) lines.push(`${variant.name}: ${object.name} is ${verdict}, not ${wanted}`)
  }
  return lines
}

/** The same for a variant that is still to be made. */
export const check = (
  variant: Variant,
  kernel: Btf.Btf,
  before: ReadonlyMap<QuestionName, Answer>,
  examine: typeof Core.examine = Core.examine
): ReadonlyArray<string> => {
  const { base, modules } = make(variant, kernel)
  return unexpected(variant, kernel, before, rowsOf(Core.target(base, modules), examine))
}
