/**
 * What a session does about calls that the kernel does not permit: makes room for locked memory where that is what is
 * missing, and else says which right is.
 */
import * as Effect from "effect/Effect"
import type { KernelCall } from "../KernelCall.ts"
import { type CallError, fromErrno, VerifierError } from "../KernelError.ts"
import type { Bound, Performed } from "../Session.ts"
import type { Sys } from "../sys/Sys.ts"
import type { Files } from "./Files.ts"
import type { Handle } from "./Handle.ts"
import { general } from "./Hints.ts"
import type { Memlock } from "./Memlock.ts"
import * as Permission from "./Permission.ts"
import * as Surroundings from "./Surroundings.ts"

/** What a refusal is explained by. */
export interface Sources {
  readonly sys: Sys
  readonly files: Files
  readonly memlock: Memlock
}

type Handler<C extends KernelCall, A> = (
  call: C,
  bound: Bound<Handle>
) => Effect.Effect<Performed<Handle, A>, CallError>

/** Why a further attempt is made. */
const raised = "RLIMIT_MEMLOCK"

/** Whether the kernel did not permit a call, without a word about the program. */
const isForbidden = (error: CallError): boolean =>
  (error._tag === "KernelError" || (error._tag === "VerifierError" && error.log === "")) && error.errno === "EPERM"

/** The error with the right that is missing in its hint, where it has none but the general one. */
const explained = ({ files, memlock, sys }: Sources, call: KernelCall, error: CallError): CallError => {
  if (!isForbidden(error) || (error._tag !== "KernelError" && error._tag !== "VerifierError")) return error
  if (error.hint !== undefined && error.hint !== general("EPERM")) return error
  const limit = memlock.inTheWay(sys)
  const hint = Permission.explain(call, {
    ...Surroundings.read(files),
    ...(limit === undefined ? {} : { memlock: limit })
  })
  if (hint === undefined) return error
  if (error._tag === "VerifierError") {
    const { errno, errnoNumber, log, program, summary } = error
    return new VerifierError({ program, errno, errnoNumber, log, summary, hint })
  }
  return fromErrno(error.call, error.subject, error.errnoNumber, {
    hint,
    ...(error.log === undefined ? {} : { log: error.log })
  })
}

/**
 * The handler with both. A second run counts its attempts on from the first; it was refused without having acquired
 * anything.
 */
export const watched =
  <C extends KernelCall, A>(sources: Sources, handler: Handler<C, A>): Handler<C, A> => (call, bound) =>
    Effect.suspend(() => {
      let made = 0
      const counting: Bound<Handle> = {
        ...bound,
        attempt: (number, because, enter) => {
          made = Math.max(made, number + 1)
          return bound.attempt(number, because, enter)
        }
      }
      const again = Effect.suspend(() => {
        const offset = made
        return handler(call, {
          ...bound,
          attempt: (number, because, enter) => bound.attempt(number + offset, number === 0 ? raised : because, enter)
        })
      })
      return handler(call, counting).pipe(
        Effect.catch((error) => isForbidden(error) && sources.memlock.raise(sources.sys) ? again : Effect.fail(error)),
        Effect.mapError((error) => explained(sources, call, error))
      )
    })
