/**
 * Attachments as resources: each lives as long as the scope in which it was made.
 *
 * Most are links of the kernel's. What older kernels attach in other ways (perf events, events of tracefs, netlink) looks the
 * same from here, but has no link that could be pinned, asked or updated.
 *
 * Source: reference page `attach`, section 18.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { LinkInfo } from "../services/Kernel/calls/LinkCalls.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { KernelCall, ResultOf } from "../services/Kernel/KernelCall.ts"
import { type CallError, KernelError } from "../services/Kernel/KernelError.ts"
import type { LinkRef, MapRef, ProgRef, Ref } from "../services/Kernel/Ref.ts"
import { type AttachError, type AttachFailure, explain, refuse, type What } from "./AttachError.ts"

/** An attachment. */
export interface Link extends What {
  /** By what it is attached: a link, or what came before links. */
  readonly means: string
  /** The link; absent where it is attached by something else. */
  readonly ref: LinkRef | undefined
  /** What the kernel says of the link; `undefined` where there is none. */
  readonly info: Effect.Effect<LinkInfo | undefined, AttachFailure>
  /**
   * Puts another program, or another struct_ops map, in the place of what is attached, at once and without a gap. Where `old`
   * is given, only if that is what is attached.
   */
  readonly update: (to: ProgRef | MapRef, old?: ProgRef | MapRef) => Effect.Effect<void, AttachFailure>
  /** Gives the link a name in a bpf file system: it stays attached when the scope closes, and when the process ends. */
  readonly pin: (path: string) => Effect.Effect<void, AttachFailure>
  /** Takes the name away that was given last. */
  readonly unpin: Effect.Effect<void, AttachFailure>
  /**
   * Takes the attachment away, now and for everybody, pinned or not. A pinned link of a kind that cannot be detached by force
   * is an error: it ends when its pin is removed.
   */
  readonly detach: Effect.Effect<void, AttachFailure>
  /** Lets go of the attachment without detaching it: it stays until the process ends. */
  readonly disconnect: Effect.Effect<void>
}

/** Calls that bring a ref to life. */
type Acquiring = Extract<KernelCall, { readonly as: Ref }>

/** What an attachment is made with: everything that is acquired is released in reverse order, at the latest with the scope. */
export interface Builder {
  /** Makes a call that acquires something. */
  readonly acquire: <C extends Acquiring>(call: C) => Effect.Effect<ResultOf<C>, CallError>
  /** What is done before what was acquired until now is released; failures have nobody to go to. */
  readonly before: <E>(undo: Effect.Effect<unknown, E>) => Effect.Effect<void>
  /** An attachment that is a part of this one. */
  readonly part: <E, R>(link: Effect.Effect<Link, E, R>) => Effect.Effect<Link, E, Exclude<R, Scope.Scope>>
}

/** What was made: by what it is attached, and the link if it is one. */
export interface Made {
  readonly means: string
  readonly ref?: LinkRef
  /** Where it is pinned already. */
  readonly pinnedAt?: string
  /** Puts another program in the place of what is attached, where that can be done without a link. */
  readonly update?: (to: ProgRef, old: ProgRef | undefined) => Effect.Effect<void, CallError>
}

const linkless = (what: What, means: string, wanted: string): AttachError =>
  refuse(
    what,
    "Unsupported",
    `it is attached by ${means}, which cannot be ${wanted}`,
    "only links can, which newer kernels attach it by"
  )

/** Errors that say that a link of this kind cannot be detached by force, or has been detached already. */
const undetachable: ReadonlySet<string> = new Set(["EOPNOTSUPP", "ENOTSUPP", "EINVAL"])
const detached = "ENOLINK"

/**
 * Makes an attachment that lives as long as the scope. Where the body fails or is interrupted, what it has acquired is
 * released at once; the kernel's refusals come out as `AttachError`.
 */
export const attach = <E, R>(
  session: Session,
  what: What,
  body: (build: Builder) => Effect.Effect<Made, E, R>
): Effect.Effect<Link, Exclude<E, KernelError> | AttachError, R | Scope.Scope> =>
  Effect.gen(function*() {
    const own = yield* Scope.fork(yield* Effect.scope)
    const refs: Array<Ref> = []
    const parts: Array<Link> = []
    let isConnected = true
    const pin: PinState = { at: undefined }
    const ifConnected = <E>(undo: Effect.Effect<unknown, E>): Effect.Effect<void> =>
      Effect.suspend(() => isConnected ? Effect.ignore(undo) : Effect.void)
    const build: Builder = {
      acquire: (call) => {
        const release = Effect.ignore(session.call({ _tag: "Close", ref: call.as }))
        return Effect.uninterruptible(
          Effect.tap(
            // An observer may interrupt when the call is made already.
            Effect.onError(session.call(call), () => release),
            () => {
              refs.push(call.as)
              return Scope.addFinalizer(own, ifConnected(release))
            }
          )
        )
      },
      // What is pinned goes on: a perf event that is stopped would fire no more, pinned or not.
      before: (undo) =>
        Scope.addFinalizer(own, Effect.suspend(() => pin.at === undefined ? ifConnected(undo) : Effect.void)),
      part: (link) =>
        Effect.tap(Scope.provide(link, own), (made) =>
          Effect.sync(() => {
            parts.push(made)
          }))
    }
    const made = yield* body(build).pipe(
      Effect.mapError((error) => explain(what, error) as Exclude<E, KernelError> | AttachError),
      Effect.onError(() => Scope.close(own, Exit.void))
    )
    const close = Scope.close(own, Exit.void)
    const disconnect: Effect.Effect<void> = Effect.suspend(() => {
      isConnected = false
      for (const ref of refs) session.disown(ref)
      return Effect.forEach(parts, (part) => part.disconnect, { discard: true })
    })
    pin.at = made.pinnedAt
    return ofRef(session, what, made, { close, disconnect, pin })
  })

/** How an attachment is let go of. */
interface Ends {
  readonly close: Effect.Effect<void>
  readonly disconnect: Effect.Effect<void>
  readonly pin: PinState
}

/** Where a link is pinned now. */
interface PinState {
  at: string | undefined
}

const ofRef = (session: Session, what: What, made: Made, { close, disconnect, pin }: Ends): Link => {
  const { means, ref, update } = made
  const explained = <A>(effect: Effect.Effect<A, CallError>): Effect.Effect<A, AttachFailure> =>
    Effect.mapError(effect, (error) => explain(what, error))
  const withRef = <A>(
    wanted: string,
    body: (ref: LinkRef) => Effect.Effect<A, CallError>
  ): Effect.Effect<A, AttachFailure> =>
    ref === undefined ? Effect.fail(linkless(what, means, wanted)) : explained(body(ref))
  const detachByForce = (ref: LinkRef): Effect.Effect<void, AttachFailure> =>
    Effect.catch(session.call({ _tag: "LinkDetach", link: ref }), (error): Effect.Effect<void, AttachFailure> => {
      if (error._tag !== "KernelError" || error.errno === detached) {
        return error._tag === "KernelError" ? Effect.void : Effect.fail(error)
      }
      if (!undetachable.has(error.errno)) return Effect.fail(explain(what, error))
      return pin.at === undefined ? Effect.void : Effect.fail(
        refuse(
          what,
          "Unsupported",
          `links of this kind cannot be detached while they are pinned (${pin.at})`,
          "remove the pin: the link ends with the last that refers to it"
        )
      )
    })
  return {
    ...what,
    means,
    ref,
    info: ref === undefined ? Effect.succeed(undefined) : explained(session.call({ _tag: "LinkGetInfo", link: ref })),
    update: (to, old) =>
      update !== undefined && to._tag === "Prog" && old?._tag !== "Map" ?
        explained(update(to, old)) :
        withRef("updated", (link) =>
          session.call({ _tag: "LinkUpdate", link, to, flags: 0, ...(old === undefined ? {} : { old }) })),
    pin: (path) =>
      withRef("pinned", (object) =>
        Effect.gen(function*() {
          yield* session.call({ _tag: "ObjPin", object, path })
          yield* session.commit
          pin.at = path
        })),
    unpin: withRef("unpinned", () =>
      Effect.suspend(() => {
        if (pin.at === undefined) {
          return Effect.fail(
            new KernelError({
              call: "ObjUnpin",
              errno: "EINVAL",
              errnoNumber: 22,
              subject: what.target,
              hint: "the link is not pinned"
            })
          )
        }
        return Effect.tap(session.call({ _tag: "ObjUnpin", path: pin.at }), () =>
          Effect.sync(() => {
            pin.at = undefined
          }))
      })),
    detach: Effect.suspend(() =>
      ref !== undefined && session.exists(ref) ? Effect.andThen(detachByForce(ref), close) : close
    ),
    disconnect
  }
}

/** What a link is that was opened by its name or its identifier. */
const opened = (path: string): What => ({ kind: "link", target: path, program: "the program" })

/** Opens a pinned link. What it was attached by besides, such as a perf event, the kernel keeps alive. */
export const open = (session: Session, path: string): Effect.Effect<Link, AttachFailure, Scope.Scope> =>
  attach(session, opened(path), (build) => {
    const ref = session.fresh("Link")
    return Effect.as(build.acquire({ _tag: "ObjGet", as: ref, path }), { means: "a link", ref, pinnedAt: path })
  })

/** Opens a link by its identifier. */
export const openId = (session: Session, id: number): Effect.Effect<Link, AttachFailure, Scope.Scope> =>
  attach(session, opened(`link ${id}`), (build) => {
    const ref = session.fresh("Link")
    return Effect.as(build.acquire({ _tag: "GetById", as: ref, id }), { means: "a link", ref })
  })
