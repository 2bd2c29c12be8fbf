/**
 * Hot upgrade: pinned links get the programs of a newly loaded object, which takes over the maps of the old one.
 *
 * Each link is swapped at once by the kernel: what goes by meets the old program or the new one, and never none. Several links are
 * swapped one after another, all or none: where one is refused, or where this is interrupted, those that were swapped before get
 * their old programs back, and pins their old names. Everything is looked at before the first link is touched, and a link that
 * somebody else has changed since is refused.
 *
 * Links of cgroups, XDP, tcx, netkit, network namespaces, maps of sockets, iterators and struct_ops can be swapped. Those of probes
 * and tracing programs cannot (`EOPNOTSUPP`): there the new program is attached beside the old one, whose link is removed then.
 *
 * Source: reference page `attach`, section 18; `bpf_link_ops.update_prog` in the kernel.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { LinkType, linkTypeName } from "../services/Kernel/abi/BpfConstants.ts"
import type { Kernel, Session, SessionOptions } from "../services/Kernel/Kernel.ts"
import type { CallError, KernelError } from "../services/Kernel/KernelError.ts"
import type { LinkRef, MapRef, ProgRef, Ref } from "../services/Kernel/Ref.ts"
import * as Execute from "../stages/load/Execute.ts"
import * as Plan from "../stages/load/Plan.ts"
import type { BpfObject } from "../stages/open/BpfObject.ts"
import type { EditError } from "../stages/open/EditError.ts"
import * as Relocate from "../stages/relocate/Relocate.ts"
import { adopt, type AdoptOptions, attachedId, opening } from "./Adopt.ts"
import * as StructOps from "./StructOps.ts"
import { refuse, UpgradeError } from "./UpgradeError.ts"

export { adopt, type Adopted, type AdoptOptions } from "./Adopt.ts"
export { UpgradeError } from "./UpgradeError.ts"

/** A pinned link, and what of the new object it gets. */
export interface Swap {
  /** The link's path in a bpf file system. */
  readonly pin: string
  /** A program of the object, or a struct_ops map where the link is of one. */
  readonly program: string
  /** The identifier of the program (or map) that must be there until then. Absent: whatever is found there at first. */
  readonly expected?: number
}

/** A pinned program whose name is to be the new one's. */
export interface ProgramPin {
  readonly pin: string
  readonly program: string
}

/** What is swapped besides links. */
export interface SwapOptions {
  /** Pins of programs, which name the new programs afterwards. Between the old name and the new there is a moment without. */
  readonly programPins?: ReadonlyArray<ProgramPin>
}

/** A link that was swapped. */
export interface Swapped extends Swap {
  readonly linkId: number
  /** Identifiers of programs, or of maps where the link is of struct_ops. */
  readonly was: number
  readonly is: number
}

/** Types of links whose programs cannot be swapped, by the kernel's source. */
const fixed: ReadonlySet<number> = new Set([
  LinkType.BPF_LINK_TYPE_RAW_TRACEPOINT,
  LinkType.BPF_LINK_TYPE_TRACING,
  LinkType.BPF_LINK_TYPE_PERF_EVENT,
  LinkType.BPF_LINK_TYPE_KPROBE_MULTI,
  LinkType.BPF_LINK_TYPE_UPROBE_MULTI,
  LinkType.BPF_LINK_TYPE_TRACING_MULTI,
  LinkType.BPF_LINK_TYPE_NETFILTER
])

const closing = (session: Session, opened: ReadonlyArray<Ref>): Effect.Effect<void> =>
  Effect.forEach([...opened].reverse(), (ref) => Effect.ignore(session.call({ _tag: "Close", ref })), { discard: true })

/** A link that is about to be swapped. */
interface Planned {
  readonly swap: Swap
  readonly link: LinkRef
  readonly linkId: number
  readonly old: ProgRef | MapRef
  readonly oldId: number
  readonly to: ProgRef | MapRef
  readonly newId: number
}

const idOf = (session: Session, ref: ProgRef | MapRef): Effect.Effect<number, CallError> =>
  ref._tag === "Prog"
    ? Effect.map(session.call({ _tag: "ProgGetInfo", prog: ref }), ({ id }) => id)
    : Effect.map(session.call({ _tag: "MapGetInfo", map: ref }), ({ id }) => id)

const programOf = (
  loaded: Execute.LoadedObject,
  { pin, program }: ProgramPin
): Effect.Effect<ProgRef, UpgradeError> => {
  const ref = loaded.program(program)
  return ref === undefined
    ? Effect.fail(refuse("NoSuchProgram", pin, `the object has no program ${program}, or has not loaded it`))
    : Effect.succeed(ref)
}

/** Looks at a link, and at what it is to get. Nothing is changed. */
const look = Effect.fnUntraced(function*(
  loaded: Execute.LoadedObject,
  swap: Swap,
  open: ReturnType<typeof opening>
): Effect.fn.Return<Planned, CallError | UpgradeError | StructOps.StructOpsError> {
  const { session } = loaded
  const link = yield* open(session.fresh("Link"), { path: swap.pin })
  const info = yield* session.call({ _tag: "LinkGetInfo", link })
  if (fixed.has(info.type)) {
    return yield* refuse(
      "NotSwappable",
      swap.pin,
      `links of type ${linkTypeName(info.type)} keep their program`,
      "attach the new program by a link of its own, then remove this one"
    )
  }
  const oldId = attachedId(info)
  if (swap.expected !== undefined && swap.expected !== oldId) {
    return yield* refuse(
      "Changed",
      swap.pin,
      `${swap.expected} was there, and now ${oldId === 0 ? "nothing" : oldId} is`,
      "somebody else has swapped it: look at what is there, and begin again"
    )
  }
  if (oldId === 0) {
    return yield* refuse("Changed", swap.pin, "the link was detached", "attach the new program by a link of its own")
  }
  if (info.detail._tag !== "StructOps") {
    const to = yield* programOf(loaded, swap)
    const old = yield* open(session.fresh("Prog"), { id: oldId })
    return { swap, link, linkId: info.id, old, oldId, to, newId: yield* idOf(session, to) }
  }
  // The kernel wants the struct's image in its map before a link takes it.
  const update = yield* StructOps.update(loaded, swap.program)
  yield* Effect.catch(
    session.call(update),
    (error) => error._tag === "KernelError" && error.errno === "EBUSY" ? Effect.void : Effect.fail(error)
  )
  const old = yield* open(session.fresh("Map"), { id: oldId })
  return { swap, link, linkId: info.id, old, oldId, to: update.map, newId: yield* idOf(session, update.map) }
})

/** The first that is there twice. */
const twice = (pins: ReadonlyArray<string>): string | undefined => pins.find((pin, at) => pins.indexOf(pin) !== at)

/** What has been done, and can be taken back. */
interface Done {
  readonly what: string
  readonly undo: Effect.Effect<void, CallError>
}

const ignoreErrno = (
  effect: Effect.Effect<void, CallError>,
  ...errnos: ReadonlyArray<string>
): Effect.Effect<void, CallError> =>
  Effect.catch(
    effect,
    (error) => error._tag === "KernelError" && errnos.includes(error.errno) ? Effect.void : Effect.fail(error)
  )

/** Takes everything back, last first; answers what could not be. */
const takeBack = (done: ReadonlyArray<Done>): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(
    Effect.forEach([...done].reverse(), ({ undo, what }) =>
      Effect.map(Effect.result(undo), (result) =>
        Result.isFailure(result) ? [`${what} (${result.failure.message.split("\n")[0]})`] : [])),
    (lines) =>
      lines.flat()
  )

/** A pinned program that is about to give its name away. */
interface PlannedPin extends ProgramPin {
  readonly old: ProgRef
  readonly to: ProgRef
}

/**
 * Swaps pinned links to programs of a loaded object, all or none. The links stay pinned where they are; the object's programs
 * stay attached when its scope closes.
 */
export const swap = (
  loaded: Execute.LoadedObject,
  swaps: ReadonlyArray<Swap>,
  { programPins = [] }: SwapOptions = {}
): Effect.Effect<ReadonlyArray<Swapped>, CallError | UpgradeError | StructOps.StructOpsError> =>
  loaded.changes.inTurn(Effect.suspend(() => {
    const { session } = loaded
    const opened: Array<Ref> = []
    const done: Array<Done> = []
    /** The pin that is being dealt with: the kernel's refusal is about it. */
    let current = ""
    const open = opening(session, opened)
    const exchange = ({ link, old, swap, to }: Planned): Effect.Effect<void, CallError> =>
      Effect.suspend(() => {
        current = swap.pin
        // Noted before it is made: whoever interrupts the call may do so when it is made already. If it was not, the kernel
        // finds another program than the one that is to go (EPERM), and all is well.
        done.push({
          what: `the program of ${swap.pin}`,
          undo: ignoreErrno(session.call({ _tag: "LinkUpdate", link, to: old, old: to, flags: 0 }), "EPERM")
        })
        return session.call({ _tag: "LinkUpdate", link, to, old, flags: 0 })
      })
    const rename = (pins: ReadonlyArray<PlannedPin>): Effect.Effect<void, CallError> =>
      Effect.gen(function*() {
        // Names can be taken away while none that were given could still be taken back.
        for (const { old, pin } of pins) {
          current = pin
          done.push({
            what: `the pin ${pin}`,
            undo: Effect.andThen(
              ignoreErrno(session.call({ _tag: "ObjPin", object: old, path: pin }), "EEXIST"),
              session.commit
            )
          })
          yield* session.call({ _tag: "ObjUnpin", path: pin })
        }
        if (pins.length > 0) done.push({ what: "new pins", undo: session.rollback })
        for (const { pin, to } of pins) {
          current = pin
          yield* session.call({ _tag: "ObjPin", object: to, path: pin })
        }
      })
    const all = Effect.gen(function*() {
      const doubled = twice([...swaps, ...programPins].map(({ pin }) => pin))
      if (doubled !== undefined) return yield* refuse("Twice", doubled, "it is named twice")
      const planned: Array<Planned> = []
      for (const each of swaps) {
        current = each.pin
        planned.push(yield* look(loaded, each, open))
      }
      const pins: Array<PlannedPin> = []
      for (const each of programPins) {
        current = each.pin
        const to = yield* programOf(loaded, each)
        pins.push({ ...each, to, old: yield* open(session.fresh("Prog"), { path: each.pin }) })
      }
      for (const each of planned) yield* exchange(each)
      yield* rename(pins)
      return planned.map(({ linkId, newId, oldId, swap }): Swapped => ({ ...swap, linkId, was: oldId, is: newId }))
    })
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.exit(restore(all)), (exit) =>
        Effect.gen(function*() {
          if (Exit.isSuccess(exit)) {
            yield* session.commit
            return yield* exit
          }
          const left = yield* takeBack(done)
          return yield* Effect.mapError(exit, (error) => told(error, current, left))
        }).pipe(Effect.ensuring(closing(session, opened))))
    )
  }))

/** The failure with what it is about, and what it has left. */
const told = <E extends CallError | UpgradeError | StructOps.StructOpsError>(
  error: E,
  pin: string,
  left: ReadonlyArray<string>
): E | UpgradeError =>
  error._tag === "UpgradeError"
    ? left.length === 0 ? error : new UpgradeError({ reason: error.reason, pin: error.pin, detail: error.detail, left })
    : error._tag !== "KernelError"
    ? error
    : new UpgradeError({
      reason: "Refused",
      pin,
      detail: `the kernel answers ${error.errno} to ${error.call}`,
      errno: error.errno,
      left,
      ...(error.hint === undefined ? {} : { hint: error.hint })
    })

/** How an object takes the place of a running one. */
export interface UpgradeOptions extends AdoptOptions, SwapOptions, SessionOptions {}

/** An object that has taken the place of a running one. */
export interface Upgraded {
  /** The object, loaded until the scope closes; its programs stay attached. */
  readonly loaded: Execute.LoadedObject
  readonly swapped: ReadonlyArray<Swapped>
  /** The names of the maps that were taken over. */
  readonly adopted: ReadonlyArray<string>
}

/** Every way in which an upgrade can fail. */
export type UpgradeFailure =
  | UpgradeError
  | StructOps.StructOpsError
  | EditError
  | KernelError
  | Effect.Error<ReturnType<typeof load>>

const load = (object: BpfObject, options: SessionOptions) =>
  Relocate.relocate.run(object).pipe(
    Effect.flatMap((relocated) => Plan.plan.run(relocated)),
    Effect.flatMap((planned) => Execute.toLoaded(planned, options))
  )

/**
 * Loads an object with the maps of the programs behind pinned links, and swaps the links to its programs: all of it, or nothing
 * of it. Until the swap, what runs is not touched; what nothing refers to any more afterwards, the kernel frees.
 */
export const upgrade = (
  object: BpfObject,
  swaps: ReadonlyArray<Swap>,
  options: UpgradeOptions = {}
): Effect.Effect<Upgraded, UpgradeFailure, Kernel | Scope.Scope> =>
  Effect.gen(function*() {
    const { data, except, programPins, ...sessionOptions } = options
    const adopted = yield* adopt(object, swaps.map(({ pin }) => pin), {
      ...(data === undefined ? {} : { data }),
      ...(except === undefined ? {} : { except })
    })
    const loaded = yield* load(adopted.object, sessionOptions)
    const expecting = swaps.map((each) => {
      const expected = each.expected ?? adopted.found.get(each.pin)
      return expected === undefined ? each : { ...each, expected }
    })
    const swapped = yield* swap(loaded, expecting, programPins === undefined ? {} : { programPins })
    return { loaded, swapped, adopted: adopted.maps }
  })
