/**
 * One entry into the kernel as an effect, and the attempts that a call consists of.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Arena from "../abi/Arena.ts"
import * as Errno from "../abi/Errno.ts"
import type { CallTag } from "../KernelCall.ts"
import { type CallError, fromErrno, type KernelError } from "../KernelError.ts"
import type { RefusalReason } from "../RefusalCause.ts"
import type { Bound } from "../Session.ts"
import type { Sys } from "../sys/Sys.ts"
import type { Handle } from "./Handle.ts"
import { type Hint, ofCall } from "./Hints.ts"

/** A bpf(2) call to be made. */
export interface Request<L extends Arena.Layout> {
  /** The call that it is made for, for messages. */
  readonly call: CallTag | "Borrow"
  /** What the call is about, for messages. */
  readonly subject: string
  readonly command: number
  readonly layout: L
  readonly values: Arena.Values<L>
  /** A descriptor is kept away from the numbers of standard input, output and error. */
  readonly answer?: "Descriptor"
  /** Error numbers that are answers, not failures; they come back negative. */
  readonly accept?: ReadonlyArray<number> | "All"
  readonly hint?: Hint
  /** Lays out the call's memory; absent, `layout` and `values` say all that is needed for it. */
  readonly lay?: () => Result.Result<Arena.Arena<L>, Arena.FieldError>
}

/** The kernel's answer: what bpf(2) returned, and the memory that it may have written to. */
export interface Answer<L extends Arena.Layout> {
  readonly result: number
  readonly arena: Arena.Arena<L>
}

/** A failure of a call, from the positive number. */
export const refused = (
  call: CallTag | "Borrow",
  subject: string,
  errnoNumber: number,
  more: { readonly log?: string; readonly hint?: string | undefined; readonly reason?: RefusalReason } = {}
): KernelError => {
  const hint = more.hint ?? ofCall[call](Errno.fromNumber(errnoNumber))
  return fromErrno(call, subject, errnoNumber, {
    ...(more.reason === undefined ? {} : { reason: more.reason }),
    ...(more.log === undefined ? {} : { log: more.log }),
    ...(hint === undefined ? {} : { hint })
  })
}

/** A failure that was found before the kernel was entered, because the kernel cannot find it. */
export const invalid = (call: CallTag | "Borrow", subject: string, hint: string): KernelError =>
  fromErrno(call, subject, Errno.numbers.EINVAL, { hint })

const arenaOf = <L extends Arena.Layout>(request: Request<L>): Result.Result<Arena.Arena<L>, KernelError> =>
  Result.mapError(
    request.lay === undefined ? Arena.make(request.layout, request.values) : request.lay(),
    (error) => invalid(request.call, request.subject, error.message)
  )

const answerOf = <L extends Arena.Layout>(
  request: Request<L>,
  arena: Arena.Arena<L>,
  result: number
): Result.Result<Answer<L>, KernelError> =>
  result >= 0 || request.accept === "All" || request.accept?.includes(-result) === true
    ? Result.succeed({ result, arena })
    : Result.fail(
      refused(request.call, request.subject, -result, { hint: request.hint?.(Errno.fromNumber(-result)) })
    )

/** Makes a bpf(2) call and waits for it on this thread. */
export const enter = <L extends Arena.Layout>(sys: Sys, request: Request<L>): Effect.Effect<Answer<L>, KernelError> =>
  Effect.suspend(() =>
    Effect.fromResult(Result.flatMap(arenaOf(request), (arena) => {
      const bpf = request.answer === "Descriptor" ? sys.bpfDescriptor : sys.bpf
      return answerOf(request, arena, bpf(request.command, arena))
    }))
  )

/**
 * Makes a bpf(2) call on another thread. It cannot be called back: whoever interrupts it must wait for its answer, or
 * a descriptor is lost; sessions see to that.
 */
export const enterAsync = <L extends Arena.Layout>(
  sys: Sys,
  request: Request<L>
): Effect.Effect<Answer<L>, KernelError> =>
  Effect.uninterruptible(Effect.callback<Answer<L>, KernelError>((resume) => {
    const arena = arenaOf(request)
    if (Result.isFailure(arena)) return resume(Effect.fail(arena.failure))
    const bpf = request.answer === "Descriptor" ? sys.bpfDescriptorAsync : sys.bpfAsync
    bpf(request.command, arena.success, (result) => {
      resume(Effect.fromResult(answerOf(request, arena.success, result)))
    })
  }))

/** How often a call is tried in all when it answers this. */
export type Patience = Readonly<Partial<Record<Errno.Errno, number>>>

/** A signal may disturb a call at any time. A profiler may do so for ever, hence the end. */
export const patience: Patience = { EINTR: 100 }

/** The attempts of one call, numbered from 0. */
export interface Attempts {
  /** Enters the kernel, again and again while the answer says that a further attempt may fare better. */
  readonly persist: <A>(
    because: string | undefined,
    enter: Effect.Effect<A, CallError>,
    patience?: Patience
  ) => Effect.Effect<A, CallError>
}

/** Starts counting the attempts of a call. */
export const attemptsOf = (bound: Bound<Handle>): Attempts => {
  let number = 0
  return {
    persist: (because, enter, limits = patience) => {
      let tries: Map<Errno.Errno, number> | undefined
      const again = (because: string | undefined): typeof enter =>
        Effect.suspend(() => bound.attempt(number++, because, enter)).pipe(
          Effect.catch((error) => {
            if (error._tag !== "KernelError") return Effect.fail(error)
            const { errno } = error
            if (limits[errno] === undefined) return Effect.fail(error)
            tries ??= new Map()
            const made = (tries.get(errno) ?? 0) + 1
            tries.set(errno, made)
            return made < (limits[errno] ?? 0) ? again(errno) : Effect.fail(error)
          })
        )
      return again(because)
    }
  }
}

/** One bpf(2) call with the usual patience. */
export const once = <L extends Arena.Layout>(
  sys: Sys,
  bound: Bound<Handle>,
  request: Request<L>
): Effect.Effect<Answer<L>, CallError> => attemptsOf(bound).persist(undefined, enter(sys, request))
