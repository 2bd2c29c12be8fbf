/**
 * The contract between a plan and whatever carries it out: one function from a call to its result.
 *
 * The live kernel, a recorder of loader programs, a simulated kernel and decorators of any of them implement it. The
 * stages know it by this file alone.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { KernelCall, MemoryView, ResultOf } from "./KernelCall.ts"
import type { CallError, KernelError } from "./KernelError.ts"
import type { Answers, KernelInfo, Requirement } from "./KernelInfo.ts"
import type { LinkRef, MapRef, ProgRef, Ref, RefTag, ViewRef } from "./Ref.ts"

/**
 * One entry into the kernel on behalf of a call.
 *
 * A call is usually one attempt. A session may make more when that does not change the call's meaning: after `EAGAIN`
 * or `EINTR`, or with a larger log buffer.
 */
export interface Attempt {
  readonly call: KernelCall
  /** 0 for the first attempt of the call. */
  readonly number: number
  /** Why there is a further attempt: `"EAGAIN"`, `"log"`, `"log of 131072 bytes"`. */
  readonly because: string | undefined
}

/** Sees every attempt of a session, in order. Decorators are made of it. */
export interface Observer {
  /** Runs before the kernel is entered. Failing here is the attempt's failure: the kernel is not entered. */
  readonly before: (attempt: Attempt) => Effect.Effect<void, KernelError>
  /** Runs when the answer is registered, so that whatever was acquired will be released. */
  readonly after: (attempt: Attempt, answer: Result.Result<unknown, CallError>) => Effect.Effect<void>
}

/** What a session is opened with. */
export interface SessionOptions {
  readonly observer?: Observer
  /** Take calls one after another, in the order in which they are given. */
  readonly listedOrder?: boolean
  /**
   * A BPF token for the calls of this session: the path of a bpf file system that delegates rights to this process, or
   * `default` for the one at `/sys/fs/bpf` where it does. Only the live kernel has tokens. What is asked of a kernel beside its
   * sessions needs a token of the layer (`KernelLive.layerWith`).
   */
  readonly token?: string
}

/** An object that the user owns and lends to a session: a map or program by its descriptor, or by its pin. */
export type Handle = { readonly _tag: "Descriptor"; readonly kind: "Map" | "Prog" | "Link"; readonly fd: number }

/** A conversation with a kernel: a table from refs to what they became, and what must be released at its end. */
export interface Session {
  /** Which session the refs that it hands out belong to. */
  readonly id: symbol
  /** How many calls that do not depend on each other may be under way at once. */
  readonly concurrency: number
  /** Makes one call. Whatever it acquires is released, in reverse order, when the session's scope closes. */
  readonly call: <C extends KernelCall>(call: C) => Effect.Effect<ResultOf<C>, CallError>
  /** Borrows an object of the user's; the session never closes it. */
  readonly adopt: (handle: Handle) => Effect.Effect<MapRef | ProgRef | LinkRef, CallError>
  /** A name for something that no plan has: what is acquired beside it is called so. */
  readonly fresh: <T extends RefTag>(kind: T) => Extract<Ref, { readonly _tag: T }>
  /** Lets what a ref names outlive the session: it is never released, and stays until the process ends. */
  readonly disown: (ref: Ref) => void
  /** The ref stamped with this session, so that another session refuses it. */
  readonly stamp: <R extends MapRef | ProgRef | LinkRef>(ref: R) => R
  /** Whether the ref names something that exists now: not one whose optional call failed. */
  readonly exists: (ref: MapRef | ProgRef | LinkRef) => boolean
  /** The memory of a mapping that this session has made (`MapMmap`) and not closed. */
  readonly view: (ref: ViewRef) => MemoryView | undefined
  /** Keeps the pins that were made so far when the session closes. */
  readonly commit: Effect.Effect<void>
  /** Takes back, last first, the pins that were made since the last `commit`, now instead of when the session closes. */
  readonly rollback: Effect.Effect<void>
}

/** What every kernel offers. */
export interface KernelShape {
  /** For messages: `live`, `recording`, `simulated`. */
  readonly name: string
  /** What is known without asking. */
  readonly info: Effect.Effect<KernelInfo, KernelError>
  /** Answers requirements of pure stages; each answer is there afterwards, as `Known` or `Deferred`. */
  readonly ask: (requirements: ReadonlyArray<Requirement>) => Effect.Effect<Answers, KernelError>
  /**
   * How loader programs run here: absent where the kernel runs them itself (`LoaderRun`); `Replayed` where the calls that
   * they would make have to be made by somebody else in their place.
   */
  readonly loaders?: "Replayed"
  /** Opens a session; it ends with the scope. */
  readonly session: (options?: SessionOptions) => Effect.Effect<Session, KernelError, Scope.Scope>
}

/** The kernel that a program talks to. */
export class Kernel extends Context.Service<Kernel, KernelShape>()("effect-bpf/Kernel") {}

/**
 * One observer of two: `outer` is nearer to the caller, so it sees an attempt first and its answer last. When `inner`
 * refuses an attempt, `outer` is told so as the attempt's answer.
 */
export const bothObservers = (outer: Observer | undefined, inner: Observer): Observer =>
  outer === undefined
    ? inner
    : {
      before: (attempt) =>
        Effect.andThen(
          outer.before(attempt),
          Effect.tapError(inner.before(attempt), (error) => outer.after(attempt, Result.fail(error)))
        ),
      after: (attempt, answer) => Effect.andThen(inner.after(attempt, answer), outer.after(attempt, answer))
    }
