/**
 * Loading something that the kernel checks and explains: without asking for the explanation first, since writing it is
 * slow, and with a buffer that grows until the explanation fits.
 *
 * Source: reference pages `load` (sections 9.5, 9.6) and `peers` (section 5).
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { cString } from "../abi/Arena.ts"
import { BPF_LOG_BUF_MAX } from "../abi/BpfConstants.ts"
import type { CallError, KernelError } from "../KernelError.ts"
import type { Attempts, Patience } from "./Enter.ts"

/** What is asked of the kernel: the level of its log, and the room for it in bytes. Both are 0 for no log. */
export interface LogSettings {
  readonly level: number
  readonly size: number
}

/** What the kernel answered: a descriptor or a negated error number, and what it wrote into the log's room. */
export interface LoggedAnswer {
  readonly result: number
  readonly log: Uint8Array
  /** Bytes that the whole log has, the closing NUL included; 0 from kernels before 6.4, which do not tell. */
  readonly trueSize: number
  /** Why the kernel may answer otherwise to what `enter` sends next, without a word about the program itself. */
  readonly adapted?: string | undefined
}

/** How loading ended, as far as the kernel decided it. */
export type Outcome =
  | { readonly _tag: "Loaded"; readonly descriptor: number; readonly log: string }
  | { readonly _tag: "Refused"; readonly error: KernelError; readonly log: string }

/** Room for the first log, bytes. */
export const firstLogSize = 65_536

/** A JavaScript text has at most half as many characters as this; the end of a log is what matters. */
const maximumText = 0x1000_0000

/** The text of a log, of its end if it is too long for one text. */
const textOf = (log: Uint8Array): string => {
  const end = log.indexOf(0)
  const whole = end < 0 ? log : log.subarray(0, end)
  return cString(whole.subarray(Math.max(0, whole.length - maximumText)))
}

/** Room for a log that did not fit into `size` bytes; `undefined` when more room would not help. */
export const grownLogSize = (size: number, trueSize: number): number | undefined => {
  if (size >= BPF_LOG_BUF_MAX) return undefined
  // A kernel that tells the log's size tells that it fitted: the error is about something else.
  if (trueSize > 0 && trueSize <= size) return undefined
  return Math.min(BPF_LOG_BUF_MAX, trueSize > size ? trueSize : size * 2)
}

/**
 * Loads with a log of this level; with level 0 without a log, and after a failure once more with one. `enter` enters
 * the kernel, `refuse` makes an error of what it answered. Every entry is an attempt; what the caller sees of failures
 * is the kernel's last word, unless that was about the log itself.
 */
export const load = Effect.fnUntraced(function*(
  attempts: Attempts,
  patience: Patience,
  level: number,
  enter: (settings: LogSettings) => Effect.Effect<LoggedAnswer, KernelError>,
  refuse: (errnoNumber: number, log: string) => KernelError
) {
  let log = ""
  let trueSize = 0
  let adapted: string | undefined
  const tryWith = (because: string | undefined, settings: LogSettings): Effect.Effect<number, CallError> =>
    attempts.persist(
      because,
      Effect.flatMap(enter(settings), (answer) => {
        log = textOf(answer.log)
        trueSize = answer.trueSize
        adapted = answer.adapted
        return answer.result < 0 ? Effect.fail(refuse(-answer.result, log)) : Effect.succeed(answer.result)
      }),
      patience
    )

  let settings: LogSettings = level === 0 ? { level, size: 0 } : { level, size: firstLogSize }
  let because: string | undefined
  let withoutLog: KernelError | undefined
  let truncated = ""
  for (;;) {
    log = ""
    trueSize = 0
    adapted = undefined
    const tried = yield* Effect.result(tryWith(because, settings))
    if (Result.isSuccess(tried)) return { _tag: "Loaded", descriptor: tried.success, log } satisfies Outcome
    const error = tried.failure
    if (error._tag !== "KernelError") return yield* error
    if (adapted !== undefined) {
      because = adapted
      continue
    }
    if (settings.level === 0) {
      withoutLog = error
      settings = { level: 1, size: firstLogSize }
      because = "log"
      continue
    }
    // Kernels that take only smaller buffers complain of the buffer and write nothing.
    const tooLarge = error.errno === "EINVAL" && log === "" && truncated !== ""
    const size = error.errno === "ENOSPC" ? grownLogSize(settings.size, trueSize) : undefined
    if (size === undefined) {
      const aboutTheLog = tooLarge || error.errno === "ENOSPC"
      const said = tooLarge ? truncated : log
      return { _tag: "Refused", error: aboutTheLog ? withoutLog ?? error : error, log: said } satisfies Outcome
    }
    truncated = log
    settings = { level: settings.level, size }
    because = `log of ${size} bytes`
  }
})
