/**
 * Budgets as the commands use them: the flags, the file, what is compared and what is said of it.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Budget from "../../diagnostics/Budget.ts"
import type { Measured } from "../../diagnostics/Measure.ts"
import { InFile } from "../Failure.ts"
import * as FileOutput from "../FileOutput.ts"
import * as Findings from "../Findings.ts"
import type { Compared } from "../json/BudgetDocument.ts"
import * as Output from "../Output.ts"
import { noteText } from "../text/ErrorText.ts"
import { UsageError } from "../Usage.ts"

/** `--budget` and `--budget-write`. */
export const flags = {
  budget: Flag.String("budget").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "Compare what the programs cost (instructions, states, stack, time) with this file, and fail where they have grown " +
        "by more than it allows"
    ),
    Flag.optional
  ),
  budgetWrite: Flag.Boolean("budget-write").pipe(
    Flag.withDescription("Write what the programs cost now into the file of --budget; its thresholds stay"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}

/** What was asked for. */
export interface Wanted {
  readonly path: string
  readonly write: boolean
}

/** What the flags say; `undefined` where there is no budget. */
export const wantedOf = (
  path: Option.Option<string>,
  write: boolean
): Result.Result<Wanted | undefined, UsageError> => {
  if (Option.isSome(path)) return Result.succeed({ path: path.value, write })
  return write
    ? Result.fail(new UsageError({ argument: "--budget-write", detail: "which file?", hint: "add --budget FILE" }))
    : Result.succeed(undefined)
}

// Imported when it is wanted: most loads are not measured.
const module = Effect.promise(() => import("../../diagnostics/Budget.ts"))

/** The stored budget; `undefined` for a file that is to be written and is not there yet. */
export const read = Effect.fnUntraced(function*({ path, write }: Wanted) {
  const fileSystem = yield* FileSystem.FileSystem
  const { BudgetFileError, maximumSize, parse } = yield* module
  const inFile = (cause: unknown) => new InFile({ path, cause })
  const found = yield* Effect.option(fileSystem.stat(path))
  if (Option.isNone(found)) {
    if (write) return undefined
    return yield* new UsageError({
      argument: `--budget ${path}`,
      detail: "there is no such file",
      hint: "add --budget-write to make it"
    })
  }
  if (found.value.type !== "File") return yield* inFile(new Error("a budget is a regular file"))
  // Before it is read.
  if (Number(found.value.size) > maximumSize) {
    return yield* inFile(
      new BudgetFileError({ reason: "TooLarge", detail: `a budget has at most ${maximumSize} bytes` })
    )
  }
  const bytes = yield* Effect.mapError(fileSystem.readFile(path), inFile)
  return yield* Effect.mapError(Effect.fromResult(parse(bytes)), inFile)
})

/** `6.12` of a release. */
const series = (release: string | undefined): string | undefined => /^\d+\.\d+/.exec(release ?? "")?.[0]

/** Compares what was measured; without a budget everything is new. */
export const compare = Effect.fnUntraced(function*(
  wanted: Wanted | undefined,
  stored: Budget.Budget | undefined,
  { measurements, origin }: Measured
) {
  const { compare } = yield* module
  const empty: Budget.Budget = { kernel: undefined, thresholds: new Map(), programs: new Map() }
  const comparison = compare(stored ?? empty, measurements, origin)
  const { before, now } = comparison.kernels
  if (before !== undefined && wanted?.write !== true && series(before) !== series(now)) {
    yield* Output.message([
      noteText(`the budget is of Linux ${before}, this is ${now ?? "another"}: verifiers count differently`)
    ])
  }
  yield* Findings.add((about) =>
    Effect.map(Effect.promise(() => import("../../diagnostics/Diagnostic.ts")), ({ ofBudget }) => {
      const found = ofBudget(comparison, about)
      // What is written anew is allowed, whatever it is; without a budget everything is new.
      return stored === undefined || wanted?.write === true ? [] : found
    })
  )
  const compared: Compared = { comparison, measurements, path: wanted?.path, written: wanted?.write === true }
  return compared
})

/** Writes the budget with what was measured. */
export const write = Effect.fnUntraced(function*(
  path: string,
  stored: Budget.Budget | undefined,
  { measurements, origin }: Measured
) {
  const { encode, update } = yield* module
  yield* FileOutput.writeFile(path, encode(update(stored, measurements, origin)))
})

/** Fails where the budget is exceeded and was not to be written anew. */
export const enforce = Effect.fnUntraced(function*({ comparison, path, written }: Compared) {
  const { errorOf } = yield* module
  const error = written
    ? undefined
    : errorOf(comparison, "nothing is loaded; --budget-write allows what the programs cost now")
  if (error !== undefined) return yield* new InFile({ path: path ?? "", cause: error })
})
