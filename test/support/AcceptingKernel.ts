/**
 * A kernel that accepts every call, or all but some, and does nothing: for ways of attaching that no kernel at hand knows. What it was asked is
 * seen by tracing it.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Loaded } from "../../src/attach/Loaded.ts"
import type { KernelShape } from "../../src/services/Kernel/Kernel.ts"
import type { CallTag, KernelCall, Results } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelInfo from "../../src/services/Kernel/KernelInfo.ts"
import { type CallError, fromErrno } from "../../src/services/Kernel/KernelError.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Session from "../../src/services/Kernel/Session.ts"
import * as Open from "../../src/stages/open/Open.ts"
import { fixture } from "./Require.ts"

/** What calls answer that answer anything. */
export type Answers = { readonly [T in CallTag]?: Results[T] }

/** Calls that are refused, and how. */
export type Refusals = { readonly [T in CallTag]?: Errno.Errno }

type AnyHandler = (
  call: KernelCall,
  bound: Session.Bound<object>
) => Effect.Effect<Session.Performed<object, unknown>, CallError>

const backend = (answers: Answers, refusals: Refusals): Session.Backend<object> => {
  const accept: AnyHandler = (call, bound) => {
    const errno = refusals[call._tag]
    const answer: Effect.Effect<void, CallError> = errno === undefined
      ? Effect.void
      : Effect.fail(fromErrno(call._tag, "what was asked", Errno.numbers[errno]))
    return Effect.map(bound.attempt(0, undefined, answer), () => ({ result: answers[call._tag], handle: {} }))
  }
  return {
    handlers: new Proxy({} as Session.Handlers<object>, { get: () => accept }),
    release: () => Effect.void,
    borrow: () => Effect.succeed({}),
    concurrency: 1
  }
}

/** A kernel that answers so. */
export const make = (answers: Answers, refusals: Refusals = {}): KernelShape => ({
  name: "accepting",
  info: Effect.succeed(KernelInfo.make({ release: "6.18", architecture: "x64", byteOrder: "little" })),
  ask: () => Effect.succeed({}),
  session: (options) => Session.make(backend(answers, refusals), options)
})

/** The calls that `body` makes with the programs of a fixture, which all count as loaded: those on its own behalf, in order. */
export const callsOf = <E>(
  name: string,
  answers: Answers,
  body: (loaded: Loaded) => Effect.Effect<unknown, E, Scope.Scope>,
  refusals: Refusals = {}
): Effect.Effect<ReadonlyArray<KernelCall>, unknown> =>
  Effect.gen(function*() {
    const { attempts, kernel } = yield* KernelTraced.make(make(answers, refusals))
    const object = Result.getOrThrow(Open.fromBytes(fixture(name), { path: name }))
    const before = object.programs.length
    yield* Effect.scoped(Effect.gen(function*() {
      const session = yield* kernel.session()
      for (const at of object.programs.keys()) {
        yield* session.call({ _tag: "ObjGet", as: Ref.prog(at), path: `/${at}` })
      }
      const program = (wanted: string): Ref.ProgRef =>
        Ref.prog(object.programs.findIndex((each) => each.name === wanted))
      yield* Effect.scoped(body({ object, session, program }))
    }))
    return (yield* attempts).slice(before).map(({ call }) => call)
  })
