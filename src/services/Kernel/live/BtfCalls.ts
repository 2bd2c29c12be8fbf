/**
 * Loading BTF.
 */
import * as Effect from "effect/Effect"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import type { Handlers } from "../Session.ts"
import type { Context } from "./Context.ts"
import { attemptsOf, enter, patience, refused } from "./Enter.ts"
import type { Handle } from "./Handle.ts"
import * as LoadLog from "./LoadLog.ts"

const subject = "the object's types"

/** Where the kernel has said something of a blob, its word counts. */
const hintOf = (errnoNumber: number, log: string): string | undefined =>
  log !== "" && errnoNumber === Errno.numbers.EINVAL
    ? "the kernel's words tell which of the types it refuses"
    : undefined

/** The handler of `BtfLoad`. */
export const handlers = (context: Context): Pick<Handlers<Handle>, "BtfLoad"> => ({
  BtfLoad: Effect.fnUntraced(function*(call, bound) {
    const outcome = yield* LoadLog.load(
      attemptsOf(bound),
      patience,
      0,
      ({ level, size }) =>
        Effect.map(
          enter(context.sys, {
            call: "BtfLoad",
            subject,
            command: Command.BPF_BTF_LOAD,
            layout: Attr.BtfLoad,
            answer: "Descriptor",
            accept: "All",
            values: {
              btf: Arena.bytes(call.bytes),
              btf_size: call.bytes.length,
              btf_log_buf: Arena.room(size),
              btf_log_size: size,
              btf_log_level: level
            }
          }),
          ({ arena, result }) => ({
            result,
            log: Arena.region(arena, "btf_log_buf"),
            trueSize: Arena.field(arena, "btf_log_true_size")
          })
        ),
      (errnoNumber, log) => refused("BtfLoad", subject, errnoNumber, { hint: hintOf(errnoNumber, log) })
    )
    if (outcome._tag === "Loaded") {
      return { result: undefined, handle: { _tag: "Btf", fd: outcome.descriptor } as const }
    }
    const { error, log } = outcome
    return yield* refused("BtfLoad", error.subject, error.errnoNumber, { log, hint: error.hint })
  })
})
