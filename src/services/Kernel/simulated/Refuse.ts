/**
 * How the handlers of the simulated kernel answer: with the errors that the live kernel's handlers answer with.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { MapFailure } from "../../../vm/maps/SimulatedMap.ts"
import { mapTypeName } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import { type Hint, ofCall } from "../abi/Hints.ts"
import type { CallTag } from "../KernelCall.ts"
import { type CallError, fromErrno, type KernelError, RefError, UnsupportedCall } from "../KernelError.ts"
import * as Ref from "../Ref.ts"
import type { Bound } from "../Session.ts"
import type { Handle } from "./Objects.ts"

/** The kernel's name in messages. */
export const kernelName = "simulated"

/** A failure of a call, from the error's name. */
export const refused = (call: CallTag, subject: string, errno: Errno.Errno, hintOf?: Hint): KernelError => {
  const hint = hintOf?.(errno) ?? ofCall[call](errno)
  return fromErrno(call, subject, Errno.numbers[errno], hint === undefined ? {} : { hint })
}

/** A failure that is the call's own: the kernel could only misread it. */
export const invalid = (call: CallTag, subject: string, hint: string): KernelError =>
  fromErrno(call, subject, Errno.numbers.EINVAL, { hint })

/** What is not simulated, whatever the arguments. */
export const unsupported = (call: string, detail: string, hint?: string): UnsupportedCall =>
  new UnsupportedCall({ call, kernel: kernelName, detail, ...(hint === undefined ? {} : { hint }) })

/** What a map answered, as a call answers it. */
export const answered = <A>(
  call: CallTag,
  subject: string,
  result: Result.Result<A, MapFailure>,
  hint?: Hint
): Result.Result<A, CallError> =>
  Result.mapError(result, (failure) =>
    typeof failure === "string"
      ? refused(call, subject, failure, hint)
      : unsupported(call, `keeps nothing in ${mapTypeName(failure.type)} maps such as ${subject}`, failure.hint))

/** Performs a call in one attempt, in which the kernel is entered. */
export const once = <A>(
  bound: Bound<Handle>,
  enter: () => Result.Result<A, CallError>
): Effect.Effect<A, CallError> => bound.attempt(0, undefined, Effect.suspend(() => Effect.fromResult(enter())))

type HandleOf<R extends Ref.Ref> = Extract<Handle, { readonly _tag: R["_tag"] }>

const isOf = <R extends Ref.Ref>(handle: Handle | undefined, ref: R): handle is HandleOf<R> => handle?._tag === ref._tag

/** What a ref became; `undefined` where its creation failed. */
export const optionalHandleOf = <R extends Ref.Ref>(bound: Bound<Handle>, ref: R): HandleOf<R> | undefined => {
  const handle = bound.resolve(ref)
  return isOf(handle, ref) ? handle : undefined
}

/** What a ref became that a call cannot do without. */
export const handleOf = <R extends Ref.Ref>(
  bound: Bound<Handle>,
  call: CallTag,
  ref: R
): Result.Result<HandleOf<R>, RefError> => {
  const handle = optionalHandleOf(bound, ref)
  return handle === undefined
    ? Result.fail(new RefError({ call, ref: Ref.key(ref), reason: "Absent" }))
    : Result.succeed(handle)
}
