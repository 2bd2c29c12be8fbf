/**
 * What the sessions of all kernels have in common: the table from refs to what they became, and their release.
 *
 * A kernel supplies one handler per call; this module checks refs before the handler runs, registers what it acquired
 * before anything can interrupt, and releases everything in reverse order when the scope closes.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { Attempt, Handle, Observer, Session, SessionOptions } from "./Kernel.ts"
import {
  type Calls,
  type CallTag,
  type Footprint,
  footprint,
  type KernelCall,
  type MemoryView,
  type ResultOf,
  type Results
} from "./KernelCall.ts"
import * as Errno from "./abi/Errno.ts"
import * as Hints from "./abi/Hints.ts"
import { type CallError, fromErrno, RefError } from "./KernelError.ts"
import * as Ref from "./Ref.ts"

/** What a handler did: the call's result, what the defined ref became, and how to take back what no handle stands for. */
export interface Performed<H, A> {
  readonly result: A
  /** What the ref that the call defines stands for from now on. */
  readonly handle?: H
  /** What further refs of the call stand for: those that are not among these are absent. */
  readonly published?: ReadonlyArray<{ readonly ref: Ref.Ref; readonly handle: H }>
  /** Takes back the call's effect (unpins, detaches) unless the session is committed before it closes. */
  readonly undo?: Effect.Effect<void>
}

/** What a handler may ask of its session while it performs a call. */
export interface Bound<H> {
  /** What a ref of this call became; `undefined` where its creation failed and it encodes as 0. */
  readonly resolve: (ref: Ref.Ref) => H | undefined
  /**
   * Enters the kernel once and tells the observers. A handler whose call takes several entries acquires in the last one
   * only: what an earlier entry acquired would not be registered when a later one fails.
   */
  readonly attempt: <A>(
    number: number,
    because: string | undefined,
    enter: Effect.Effect<A, CallError>
  ) => Effect.Effect<A, CallError>
}

/** How a kernel performs each call. */
export type Handlers<H> = {
  readonly [T in Exclude<CallTag, "Close" | "Adopt">]: (
    call: Calls[T],
    bound: Bound<H>
  ) => Effect.Effect<Performed<H, Results[T]>, CallError>
}

/** Any one of the handlers: each takes its own call, so nothing but `never` fits all. */
type AnyHandler<H> = (call: never, bound: Bound<H>) => Effect.Effect<Performed<H, unknown>, CallError>

/** A kernel's side of a session. */
export interface Backend<H> {
  readonly handlers: Handlers<H>
  /** Releases what a ref became. Must not fail: there is nobody left to tell. */
  readonly release: (handle: H, ref: Ref.Ref) => Effect.Effect<void>
  /** Whether it takes values that are filled in when a loader program runs. */
  readonly takesPending?: boolean
  /** Lets go of what only the release of a disowned handle would have needed; absent where there is no such thing. */
  readonly abandon?: (handle: H) => void
  /** What a borrowed object becomes in the table. */
  readonly borrow: (handle: Handle) => Effect.Effect<H, CallError>
  readonly concurrency: number
}

type Entry<H> =
  | { readonly _tag: "Owned"; readonly handle: H; readonly scope: Scope.Closeable }
  | { readonly _tag: "Borrowed"; readonly handle: H }
  | { readonly _tag: "Pending" }
  | { readonly _tag: "Absent" }
  | { readonly _tag: "Closed" }

/** Calls that undo what an earlier one has done. */
const takingBack: ReadonlySet<CallTag> = new Set(
  [
    "MapDelete",
    "LinkUpdate",
    "LinkDetach",
    "PerfEventSwitch",
    "ProgDetach",
    "Close"
  ] satisfies ReadonlyArray<CallTag>
)

/** What an `Adopt` has of something that is only given when a loader program runs; for a kernel it is no descriptor. */
const NO_DESCRIPTOR = -1

/** Borrowed objects are numbered from here, beyond any plan's own refs. */
const firstBorrowedIndex = 0x4000_0000

/** Every ref that a call of this footprint brings to life. */
const definitions = ({ defines, publishes = noRefs }: Footprint): ReadonlyArray<Ref.Ref> =>
  defines === undefined ? publishes : [defines, ...publishes]

const noRefs: ReadonlyArray<Ref.Ref> = []

/** How the attempts of one call are told. */
interface Watched {
  readonly attempt: Bound<never>["attempt"]
  readonly tell: Effect.Effect<void>
}

const unwatched: Watched = { attempt: (_number, _because, enter) => enter, tell: Effect.void }

const silent: Observer = { before: () => Effect.void, after: () => Effect.void }

/** Opens a session on a backend; it ends, and releases all that it acquired, with the surrounding scope. */
export const make = Effect.fnUntraced(function*<H>(backend: Backend<H>, options: SessionOptions | undefined) {
  const id = Symbol("session")
  const scope = yield* Effect.scope
  const table = new Map<string, Entry<H>>()
  /** The memory of mappings; those that are closed are no longer told. */
  const views = new Map<string, MemoryView>()
  const observer = options?.observer ?? silent
  /** Undoable effects that were neither kept nor undone yet, in the order in which they were made. */
  const undoable = new Set<Effect.Effect<void>>()
  let borrowed = firstBorrowedIndex

  /** Whether the scope has begun to close: what it released must not be used, and nothing may be acquired any more. */
  const isOver = (): boolean => scope.state._tag === "Closed"

  /**
   * Calls that finalizers of the session's users make while its scope closes: finalizers run in reverse order, so what a struct
   * was registered with is still there when it is to be taken away.
   */
  const takesBack = (call: KernelCall): boolean => takingBack.has(call._tag)

  /** Why a call may not use this ref, if it may not. Absent refs are for the handlers to encode. */
  const refuse = (call: KernelCall, ref: Ref.Ref, absentIsFine: boolean): RefError | undefined => {
    const refused = (reason: RefError["reason"]) => new RefError({ call: call._tag, ref: Ref.key(ref), reason })
    if (ref.session !== undefined && ref.session !== id) return refused("OtherSession")
    if (isOver() && !takesBack(call)) return refused("Closed")
    const entry = table.get(Ref.key(ref))
    if (entry === undefined || entry._tag === "Pending") return refused("Unknown")
    if (entry._tag === "Closed") return refused("Closed")
    return entry._tag === "Absent" && !absentIsFine ? refused("Absent") : undefined
  }

  const check = (call: KernelCall, touched: Footprint): RefError | undefined => {
    const { changes, reads } = touched
    for (const ref of changes) {
      const refused = refuse(call, ref, false)
      if (refused) return refused
    }
    for (const ref of reads) {
      // A program or a value may name what an optional step failed to create: it encodes as 0.
      const refused = refuse(
        call,
        ref,
        call._tag === "ProgLoad" || call._tag === "MapUpdate" || call._tag === "MapCreate"
      )
      if (refused) return refused
    }
    const defined = definitions(touched)
    if (defined.length === 0) return undefined
    const seen = new Set<string>()
    for (const ref of defined) {
      const key = Ref.key(ref)
      const refused = (reason: RefError["reason"]) => new RefError({ call: call._tag, ref: key, reason })
      if (ref.session !== undefined && ref.session !== id) return refused("OtherSession")
      if (isOver()) return refused("Closed")
      const taken = table.get(key)
      if (seen.has(key) || (taken !== undefined && taken._tag !== "Absent" && taken._tag !== "Closed")) {
        return refused("InUse")
      }
      seen.add(key)
    }
    return undefined
  }

  const resolve = (ref: Ref.Ref): H | undefined => {
    const entry = table.get(Ref.key(ref))
    return entry?._tag === "Owned" || entry?._tag === "Borrowed" ? entry.handle : undefined
  }

  /** The attempts of one call. The answer that ends the call is told only when what it acquired is registered. */
  const attemptsOf = (call: KernelCall): Watched => {
    // Nobody looks on: an attempt is what is done in it, and there is nobody to tell.
    if (observer === silent) return unwatched
    let untold: Effect.Effect<void> = Effect.void
    const tell = Effect.suspend(() => {
      const told = untold
      untold = Effect.void
      return told
    })
    const attempt: Bound<H>["attempt"] = (number, because, enter) => {
      const attempt: Attempt = { call, number, because }
      return tell.pipe(
        Effect.andThen(observer.before(attempt)),
        Effect.andThen(Effect.tapError(enter, (error) => observer.after(attempt, Result.fail(error)))),
        Effect.tap((answer) =>
          Effect.sync(() => {
            untold = observer.after(attempt, Result.succeed(answer))
          })
        )
      )
    }
    return { attempt, tell }
  }

  /**
   * Puts what a call acquired into the table, with its release in a scope of its own below the session's. What arrives
   * when the session is over is released at once.
   */
  const register = Effect.fnUntraced(function*<A>(call: KernelCall, performed: Performed<H, A>) {
    const defines = footprint(call).defines
    const acquired = defines !== undefined && performed.handle !== undefined
      ? [{ ref: defines, handle: performed.handle }]
      : performed.published ?? []
    for (const { handle, ref } of acquired) {
      const name = Ref.key(ref)
      const own = yield* Scope.fork(scope)
      table.set(name, { _tag: "Owned", handle, scope: own })
      yield* Scope.addFinalizer(
        own,
        Effect.suspend(() => {
          // What was disowned is borrowed by now.
          if (table.get(name)?._tag === "Borrowed") return Effect.void
          // Its number may soon be that of something else: from here on nobody may use it.
          table.set(name, { _tag: "Closed" })
          return backend.release(handle, ref)
        })
      )
    }
    if (acquired[0] !== undefined && isOver()) {
      return yield* new RefError({ call: call._tag, ref: Ref.key(acquired[0].ref), reason: "Closed" })
    }
    for (const ref of footprint(call).publishes ?? []) {
      if (table.get(Ref.key(ref))?._tag === "Pending") table.set(Ref.key(ref), { _tag: "Absent" })
    }
    if (performed.undo !== undefined) {
      // One of its own, so that two calls that are undone alike are told apart.
      const undo = Effect.andThen(Effect.void, performed.undo)
      undoable.add(undo)
      yield* Scope.addFinalizer(scope, Effect.suspend(() => undoable.delete(undo) ? undo : Effect.void))
    }
    if (call._tag === "MapMmap" || call._tag === "EventMmap") {
      views.set(Ref.key(call.as), performed.result as MemoryView & A)
    }
    return performed.result
  })

  const close = Effect.fnUntraced(function*(ref: Ref.Ref) {
    const entry = table.get(Ref.key(ref))
    table.set(Ref.key(ref), { _tag: "Closed" })
    if (entry?._tag === "Owned") yield* Scope.close(entry.scope, Exit.void)
  })

  const perform = (call: KernelCall, bound: Bound<H>): Effect.Effect<unknown, CallError> => {
    if (call._tag === "Close") return bound.attempt(0, undefined, close(call.ref))
    if (call._tag === "Adopt") {
      const { as, fd } = call
      if (fd === NO_DESCRIPTOR && backend.takesPending !== true) {
        const hint = "what it stands for is given when a loader program runs, and this is a load without one: name it"
        return Effect.fail(fromErrno(call._tag, Ref.key(as), Errno.numbers.EBADF, { hint }))
      }
      const borrow = bound.attempt(0, undefined, backend.borrow({ _tag: "Descriptor", kind: as._tag, fd }))
      return Effect.map(borrow, (handle) => void table.set(Ref.key(as), { _tag: "Borrowed", handle }))
    }
    if (call._tag === "MapUpdate" && (call.pending?.length ?? 0) > 0 && backend.takesPending !== true) {
      const names = call.pending?.map(({ name }) => name).join(", ")
      const hint = `the plan leaves ${names} to whoever runs a loader program; plan for this kernel instead`
      return Effect.fail(fromErrno(call._tag, Ref.key(call.map), Errno.numbers.EINVAL, { hint }))
    }
    if (call._tag === "ObjUnpin" && undoable.size > 0) {
      return Effect.fail(fromErrno(call._tag, call.path, Errno.numbers.EBUSY, { hint: Hints.objUnpin("EBUSY") ?? "" }))
    }
    const handler: AnyHandler<H> = backend.handlers[call._tag]
    // The tag chose the handler, so the call is of the handler's type: a fact that the type system cannot follow.
    return Effect.flatMap(handler(call as never, bound), (performed) => {
      const { handle, published, undo } = performed
      // Most calls bring nothing that would have to be released.
      const isPlain = handle === undefined && published === undefined && undo === undefined && call._tag !== "LoaderRun"
      return isPlain ? Effect.succeed(performed.result) : register(call, performed)
    })
  }

  const call = <C extends KernelCall>(call: C): Effect.Effect<ResultOf<C>, CallError> => {
    const performed = Effect.suspend(() => {
      const touched = footprint(call)
      const refused = check(call, touched)
      if (refused) return Effect.fail(refused)
      const defined = definitions(touched)
      for (const ref of defined) table.set(Ref.key(ref), { _tag: "Pending" })
      const { attempt, tell } = attemptsOf(call)
      if (observer === silent && defined.length === 0) return perform(call, { resolve, attempt })
      return perform(call, { resolve, attempt }).pipe(
        Effect.onError(() => {
          for (const ref of defined) table.set(Ref.key(ref), { _tag: "Absent" })
          return tell
        }),
        Effect.tap(() => tell)
      )
    })
    // From entering the kernel to registering its answer nothing may interrupt, or a descriptor would be lost. An
    // observer's own failure, which `tell` may be, comes too late to undo the call.
    // Waiting alone acquires nothing, and may take for ever.
    return (call._tag === "Wait" ? performed : Effect.uninterruptible(performed)) as Effect.Effect<
      ResultOf<C>,
      CallError
    >
  }

  const session: Session = {
    id,
    concurrency: options?.listedOrder === true ? 1 : backend.concurrency,
    call,
    adopt: Effect.fnUntraced(function*(handle: Handle) {
      const became = yield* backend.borrow(handle)
      const ref = { _tag: handle.kind, index: borrowed++, session: id } as const
      table.set(Ref.key(ref), { _tag: "Borrowed", handle: became })
      return ref
    }),
    fresh: <T extends Ref.RefTag>(kind: T) => {
      const ref: { readonly _tag: T; readonly index: number; readonly session: symbol } = {
        _tag: kind,
        index: borrowed++,
        session: id
      }
      // A ref is its kind and a number, so this is the one of its kind: a fact that the type system cannot follow.
      return ref as Extract<Ref.Ref, { readonly _tag: T }>
    },
    disown: (ref) => {
      const isOurs = ref.session === undefined || ref.session === id
      const entry = table.get(Ref.key(ref))
      if (!isOurs || entry?._tag !== "Owned") return
      table.set(Ref.key(ref), { _tag: "Borrowed", handle: entry.handle })
      backend.abandon?.(entry.handle)
    },
    stamp: (ref) => ({ ...ref, session: id }),
    view: (ref) => {
      const isOurs = ref.session === undefined || ref.session === id
      return isOurs && table.get(Ref.key(ref))?._tag === "Owned" ? views.get(Ref.key(ref)) : undefined
    },
    exists: (ref) => {
      const entry = table.get(Ref.key(ref))
      return (ref.session === undefined || ref.session === id) &&
        (entry?._tag === "Owned" || entry?._tag === "Borrowed")
    },
    commit: Effect.sync(() => undoable.clear()),
    rollback: Effect.uninterruptible(Effect.suspend(() => {
      const undos = [...undoable].reverse()
      undoable.clear()
      return Effect.forEach(undos, (undo) => undo, { discard: true })
    }))
  }
  return session
})
