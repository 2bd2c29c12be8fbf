/**
 * Programs in traffic control: filters that act directly in a device's `clsact`, for kernels without `tcx` (before 6.6) and for
 * what `tc` users expect.
 *
 * The `clsact` is created where the device has none, and goes with the scope if nobody else's filters are in it by then. Filters
 * run by priority, lower ones first, until one returns something else than `TC_ACT_UNSPEC`.
 *
 * Source: reference page `attach`; the meaning of handle, priority and replacement is that of libbpf's `bpf_tc_attach`.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Filter, Parent } from "../services/Kernel/abi/netlink/Filter.ts"
import * as Errno from "../services/Kernel/abi/Errno.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import { fromErrno } from "../services/Kernel/KernelError.ts"
import type { ProgRef } from "../services/Kernel/Ref.ts"
import { type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"
import { type Loaded, programOf } from "./Loaded.ts"
import * as Network from "./Network.ts"

export type { Filter } from "../services/Kernel/abi/netlink/Filter.ts"

/** What comes in, what goes out, or a class of another queueing discipline (`TC_H_*`, as 0x10001 for `1:1`). */
export type Direction = "ingress" | "egress" | number

/** How a program is put into traffic control. */
export interface TcOptions {
  /** 1 to 65535, lower ones run first. Absent: the kernel chooses one above those that are there. */
  readonly priority?: number
  /** Tells filters of one priority apart. Absent: the kernel chooses. */
  readonly handle?: number
  /** In the place of the filter of this priority and handle, which must both be given. */
  readonly replace?: boolean
  /** Create the device's `clsact` where it has none: the default, but for classes of other queueing disciplines. */
  readonly create?: boolean
}

/** A program in traffic control. */
export interface TcLink extends Link.Link {
  /** The filter as the kernel made it. */
  readonly filter: Filter
}

const kind = "tc"

const parentOf = (direction: Direction): number => typeof direction === "number" ? direction : Parent[direction]

const textOf = (target: Network.DeviceTarget, direction: Direction): string =>
  `${typeof direction === "number" ? `class 0x${direction.toString(16)}` : direction} of ${Network.deviceText(target)}`

const largestPriority = 0xffff
const largestHandle = 0xffff_ffff

const isWhole = (value: number, largest: number): boolean => Number.isInteger(value) && value >= 0 && value <= largest

/** Puts a program into traffic control until the scope closes. */
export const attach = (
  loaded: Loaded,
  program: string,
  target: Network.DeviceTarget,
  direction: Direction,
  options: TcOptions = {}
): Effect.Effect<TcLink, AttachFailure, Scope.Scope> => {
  const what: What = { kind, target: textOf(target, direction), program }
  const { session } = loaded
  const { create = typeof direction !== "number", handle = 0, priority = 0, replace = false } = options
  return Effect.suspend(() => {
    let filter: Filter | undefined
    const link = Link.attach(session, what, (build) =>
      Effect.gen(function*() {
        const { ref: prog } = yield* programOf(loaded, what)
        yield* Network.checkDevice(what, target)
        if (!isWhole(priority, largestPriority) || !isWhole(handle, largestHandle)) {
          return yield* refuse(what, "BadTarget", "priorities go to 65535, handles to 4294967295")
        }
        if (replace && (priority === 0 || handle === 0)) {
          return yield* refuse(
            what,
            "BadTarget",
            "which filter is to be replaced is not said",
            "give its priority and its handle, as a query tells them"
          )
        }
        const device = yield* Network.findDevice(session, build.acquire, target)
        const parent = parentOf(direction)
        if (create && typeof direction !== "number") {
          yield* build.acquire({ _tag: "ClsactCreate", as: session.fresh("Attachment"), device })
        }
        const put = (to: ProgRef, place: { readonly handle: number; readonly priority: number }, instead: boolean) =>
          Effect.tap(
            build.acquire({
              _tag: "FilterAttach",
              as: session.fresh("Attachment"),
              device,
              parent,
              prog: to,
              ...place,
              replace: instead
            }),
            (made) =>
              Effect.sync(() => {
                filter = made
              })
          )
        const made = yield* put(prog, { handle, priority }, replace)
        return {
          means: "netlink",
          update: (to: ProgRef, old: ProgRef | undefined) =>
            old === undefined
              ? Effect.asVoid(put(to, { handle: made.handle, priority: made.priority }, true))
              : Effect.fail(
                fromErrno("FilterAttach", what.target, Errno.numbers.EOPNOTSUPP, {
                  hint: "traffic control replaces whatever is there: it cannot be told what must be"
                })
              )
        } satisfies Link.Made
      }))
    return Effect.map(link, (made): TcLink => ({
      ...made,
      get filter() {
        // Attached, so there is one; another program in its place makes it another.
        return filter ?? { index: 0, parent: 0, handle, priority, programId: 0, name: "", chain: 0, directAction: true }
      }
    }))
  })
}

/** The programs in a direction of a device, in the order in which they run. */
export const query = (
  session: Session,
  target: Network.DeviceTarget,
  direction: Direction
): Effect.Effect<ReadonlyArray<Filter>, AttachFailure> =>
  Network.asking(
    session,
    Network.questionOf(kind, textOf(target, direction)),
    (acquire) =>
      Effect.flatMap(
        Network.findDevice(session, acquire, target),
        (device) => session.call({ _tag: "FilterList", device, parent: parentOf(direction) })
      )
  )

/** Takes a filter away, whoever made it; without priority and handle all filters of the direction. */
export const detach = (
  session: Session,
  target: Network.DeviceTarget,
  direction: Direction,
  filter: { readonly priority: number; readonly handle: number } = { priority: 0, handle: 0 }
): Effect.Effect<void, AttachFailure> =>
  Network.asking(
    session,
    { kind, target: textOf(target, direction), program: "the filter" },
    (acquire) =>
      Effect.flatMap(Network.findDevice(session, acquire, target), (device) =>
        session.call({ _tag: "FilterDetach", device, parent: parentOf(direction), ...filter }))
  )

/** Takes the `clsact` of a device away, with everybody's filters in it. */
export const destroyHook = (
  session: Session,
  target: Network.DeviceTarget
): Effect.Effect<void, AttachFailure> =>
  Network.asking(
    session,
    { kind, target: Network.deviceText(target), program: "clsact" },
    (acquire) =>
      Effect.flatMap(Network.findDevice(session, acquire, target), (device) =>
        session.call({ _tag: "ClsactDelete", device }))
  )
