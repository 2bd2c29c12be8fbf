/**
 * Iterators: programs that the kernel runs for each of its objects of a kind, and what they write as a stream.
 *
 * Source: reference page `attach`, section 11.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import type { IterOver } from "../services/Kernel/calls/LinkCalls.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import { type AttachFailure, explain, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"

/** How an iterator is attached. */
export interface IterOptions {
  /** What it goes over: iterators over the elements of a map need to be told which. Default: everything. */
  readonly over?: IterOver
}

/** Attaches an iterator: nothing runs until it is read. */
export const attach = (
  loaded: Loaded,
  program: string,
  { over }: IterOptions = {}
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const { object, session } = loaded
  const definition = object.programs.find((each) => each.entry && each.name === program)
  const what: What = { kind: "iter", target: definition?.attachTarget ?? "", program }
  return Link.attach(session, what, (build) =>
    Effect.gen(function*() {
      const { ref: of } = yield* programOf(loaded, what)
      if (definition?.expectedAttachType !== AttachType.BPF_TRACE_ITER) {
        return yield* refuse(what, "WrongType", "it is no iterator", "SEC(\"iter/task\") would make it one over tasks")
      }
      const ref = session.fresh("Link")
      yield* build.acquire({
        _tag: "LinkCreate",
        as: ref,
        of,
        target: { _tag: "None" },
        attachType: AttachType.BPF_TRACE_ITER,
        flags: 0,
        ...(over === undefined ? {} : { options: { _tag: "Iter", over } })
      })
      return { means: "a link", ref }
    }))
}

/** Bytes that are asked for at once: as much as the kernel writes in one go. */
const chunk = 65_536

/**
 * What one run of an iterator writes, piece by piece, as long as somebody reads: the program runs no further than that. Each
 * reading of the stream is a run of its own.
 */
export const read = (session: Session, link: Link.Link): Stream.Stream<Uint8Array, AttachFailure> => {
  const what: What = { kind: "iter", target: link.target, program: link.program }
  const explained = <A>(effect: Effect.Effect<A, CallError>): Effect.Effect<A, AttachFailure> =>
    Effect.mapError(effect, (error) => explain(what, error))
  return Stream.unwrap(Effect.gen(function*() {
    const { ref } = link
    if (ref === undefined) return yield* refuse(what, "Unsupported", "it is attached by no link")
    const iter = session.fresh("Iter")
    yield* Effect.acquireRelease(
      explained(session.call({ _tag: "IterCreate", as: iter, link: ref })),
      () => Effect.ignore(session.call({ _tag: "Close", ref: iter }))
    )
    const next = explained(session.call({ _tag: "IterRead", iter, length: chunk }))
    return Stream.takeWhile(Stream.fromEffectRepeat(next), (bytes) => bytes.length > 0)
  }))
}

/** Everything that one run of an iterator writes. */
export const bytes = (session: Session, link: Link.Link): Effect.Effect<Uint8Array, AttachFailure> =>
  Effect.map(Stream.runCollect(read(session, link)), (pieces) => {
    const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0))
    let at = 0
    for (const piece of pieces) {
      whole.set(piece, at)
      at += piece.length
    }
    return whole
  })

/** Everything that one run of an iterator writes, as text. */
export const text = (session: Session, link: Link.Link): Effect.Effect<string, AttachFailure> =>
  Effect.map(bytes(session, link), (whole) => new TextDecoder().decode(whole))
