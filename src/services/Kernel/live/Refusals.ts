/**
 * What a session does about calls that the kernel does not permit: makes room for locked memory where that is what is
 * missing, and else says which right is.
 */
import * as Effect from "effect/Effect"
import type { KernelCall } from "../KernelCall.ts"
import { type CallError, fromErrno, VerifierError } from "../KernelError.ts"
import type { Bound, Performed } from "../Session.ts"
import type { Sys } from "../sys/Sys.ts"
import * as Decision from "./Decision.ts"
import type { Files } from "./Files.ts"
import type { Handle } from "./Handle.ts"
import { general } from "./Hints.ts"
import type { Memlock } from "./Memlock.ts"
import * as Surroundings from "./Surroundings.ts"

/** What a refusal is explained by. */
export interface Sources {
  readonly sys: Sys
  readonly files: Files
  readonly memlock: Memlock
  /** Whether the kernel has programs of a type; `undefined` where it does not say. */
  readonly hasProgramType: (type: number) => boolean | undefined
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

/** Whether a hint says no more than what the error number means whatever the call was. */
const isGeneral = (error: CallError): boolean =>
  (error._tag === "KernelError" || error._tag === "VerifierError") &&
  (error.hint === undefined || error.hint === general(error.errno))

/** The error with its cause, as far as the machine tells; its own hint stays where that says more than the error number. */
const explained = (sources: Sources, call: KernelCall, error: CallError): CallError => {
  if (error._tag !== "KernelError" && error._tag !== "VerifierError") return error
  const { files, hasProgramType, memlock, sys } = sources
  const decision = Decision.of(call, error, {
    surroundings: () => {
      const limit = memlock.inTheWay(sys)
      return { ...Surroundings.read(files), ...(limit === undefined ? {} : { memlock: limit }) }
    },
    hasProgramType,
    hasTypes: () => Surroundings.showsTypes(files)
  })
  if (decision === undefined) return error
  // Where the handler has said what is wrong, in its own words, that is what was refused.
  if (isForbidden(error) && !isGeneral(error)) return error
  const { capabilities, hint = error.hint, reason } = decision
  const cause = {
    reason,
    ...(hint === undefined ? {} : { hint }),
    ...(capabilities === undefined ? {} : { capabilities })
  }
  if (error._tag === "VerifierError") {
    const { errno, errnoNumber, log, program, summary } = error
    return new VerifierError({ program, errno, errnoNumber, log, summary, ...cause })
  }
  return fromErrno(error.call, error.subject, error.errnoNumber, {
    ...cause,
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
