/**
 * What all ways of attaching to the network have in common: devices and network namespaces, places among others, who is
 * attached.
 *
 * A device is named by its name or its number in a network namespace: this process's, or that of a file such as
 * `/run/netns/NAME` or `/proc/PID/ns/net`. In another namespace the call is made there, on this thread, which is back before
 * anything else can run on it; that needs CAP_SYS_ADMIN.
 *
 * Source: reference page `attach`, sections 12, 13 and 17.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { AttachFlag } from "../services/Kernel/abi/BpfConstants.ts"
import type { Device } from "../services/Kernel/abi/netlink/Device.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { Attached } from "../services/Kernel/calls/AttachCalls.ts"
import type { AttachPoint, Neighbour, Placement } from "../services/Kernel/calls/LinkCalls.ts"
import type { DeviceRef } from "../services/Kernel/calls/NetlinkCalls.ts"
import type { CallError, KernelError } from "../services/Kernel/KernelError.ts"
import type { TargetRef } from "../services/Kernel/Ref.ts"
import { type AttachError, type AttachFailure, explain, refuse, type What } from "./AttachError.ts"
import type { Builder } from "./Link.ts"

export type { Attached, AttachedProg } from "../services/Kernel/calls/AttachCalls.ts"
export type { Device, XdpState } from "../services/Kernel/abi/netlink/Device.ts"
export type { Neighbour } from "../services/Kernel/calls/LinkCalls.ts"

/** A network device. */
export interface DeviceTarget {
  /** Its name, also an alternative one, or its number. */
  readonly device: string | number
  /** The file of the network namespace that it is in: `/run/netns/NAME`, `/proc/PID/ns/net`. Absent: this process's. */
  readonly netns?: string
}

/** A device for people. */
export const deviceText = ({ device, netns }: DeviceTarget): string =>
  netns === undefined ? String(device) : `${device} in ${netns}`

/** Where among others a program is placed. */
export interface PlaceOptions {
  /**
   * `before` or `after` the neighbour; without one: before or after all. Absent: after all. Kernels of which cgroups have no
   * places (before 6.17) refuse it for them.
   */
  readonly place?: "before" | "after"
  /** A program or link of the session, or anybody's by its identifier. */
  readonly neighbour?: Neighbour
  /** The revision that the attach point must have, as a query told it: `ESTALE` where somebody has changed it since. */
  readonly expectedRevision?: bigint
}

/** The flags of a place. */
export const placeFlags = ({ place }: PlaceOptions): number =>
  place === undefined ? 0 : place === "before" ? AttachFlag.BPF_F_BEFORE : AttachFlag.BPF_F_AFTER

/** Whether anything is said of a place: what kernels without places do not understand. */
export const isPlaced = ({ expectedRevision, neighbour, place }: PlaceOptions): boolean =>
  place !== undefined || neighbour !== undefined || (expectedRevision ?? 0n) !== 0n

/** A place as calls take it. */
export const placement = ({ expectedRevision, neighbour }: PlaceOptions): Placement => ({
  ...(neighbour === undefined ? {} : { neighbour }),
  ...(expectedRevision === undefined ? {} : { expectedRevision })
})

/** How what is asked of the kernel is let go of: with an attachment, or at once. */
type Acquire = Builder["acquire"]

/** Opens the network namespace of a target, where it names one. */
export const openNamespace = (
  session: Session,
  acquire: Acquire,
  netns: string | undefined
): Effect.Effect<TargetRef | undefined, CallError> => {
  if (netns === undefined) return Effect.succeed(undefined)
  const as = session.fresh("Target")
  return Effect.as(acquire({ _tag: "TargetOpen", as, path: netns }), as)
}

/** The device of a target, which is looked up by its name or number: calls on one that is not there say something else. */
export const findDevice = Effect.fnUntraced(function*(
  session: Session,
  acquire: Acquire,
  target: DeviceTarget
): Effect.fn.Return<DeviceRef, CallError> {
  const netns = yield* openNamespace(session, acquire, target.netns)
  const inside = netns === undefined ? {} : { netns }
  const { index } = yield* session.call({ _tag: "DeviceGet", device: target.device, ...inside })
  return { ifindex: index, ...inside }
})

/** A device as an attach point. */
export const pointOf = (device: DeviceRef): AttachPoint => ({ _tag: "Device", ...device })

/** Whether a number can be a device's. 0 would stand for something else in many calls. */
export const checkDevice = (what: What, { device }: DeviceTarget): Effect.Effect<void, AttachError> =>
  typeof device === "number" && !(Number.isInteger(device) && device > 0 && device <= 0x7fff_ffff)
    ? Effect.fail(refuse(what, "BadTarget", `${device} is no number of a network device`, "they are numbered from 1"))
    : Effect.void

/**
 * Asks with what is opened for it, which is closed at once: a question leaves nothing behind, whatever becomes of it.
 */
export const asking = <A, E>(
  session: Session,
  what: What,
  question: (acquire: Acquire) => Effect.Effect<A, E>
): Effect.Effect<A, Exclude<E, KernelError> | AttachError | Exclude<CallError, KernelError>> =>
  Effect.suspend(() => {
    const opened: Array<TargetRef> = []
    const acquire: Acquire = (call) =>
      Effect.tap(session.call(call), () =>
        Effect.sync(() => {
          if (call.as._tag === "Target") opened.push(call.as)
        }))
    return question(acquire).pipe(
      Effect.ensuring(
        Effect.suspend(() =>
          Effect.forEach(opened.splice(0), (ref) => Effect.ignore(session.call({ _tag: "Close", ref })), {
            discard: true
          })
        )
      ),
      Effect.mapError((error) => explain(what, error) as Exclude<E, KernelError> | AttachError)
    )
  })

/** What a question is about, for errors. */
export const questionOf = (kind: string, target: string): What => ({ kind, target, program: "who is attached" })

/** A device as the kernel tells of it: its number, name and XDP programs. */
export const deviceOf = (session: Session, target: DeviceTarget): Effect.Effect<Device, AttachFailure> =>
  asking(session, questionOf("device", deviceText(target)), (acquire) =>
    Effect.gen(function*() {
      const netns = yield* openNamespace(session, acquire, target.netns)
      return yield* session.call({
        _tag: "DeviceGet",
        device: target.device,
        ...(netns === undefined ? {} : { netns })
      })
    }))

/** All devices of a network namespace: that of a file, or this process's. */
export const devices = (session: Session, netns?: string): Effect.Effect<ReadonlyArray<Device>, AttachFailure> =>
  asking(session, questionOf("device", netns ?? ""), (acquire) =>
    Effect.gen(function*() {
      const space = yield* openNamespace(session, acquire, netns)
      return yield* session.call({ _tag: "DeviceList", ...(space === undefined ? {} : { netns: space }) })
    }))

/** Who is attached to a device by an attach type that has places. */
export const queryDevice = (
  session: Session,
  kind: string,
  target: DeviceTarget,
  attachType: number
): Effect.Effect<Attached, AttachFailure> =>
  asking(
    session,
    questionOf(kind, deviceText(target)),
    (acquire) =>
      Effect.flatMap(
        findDevice(session, acquire, target),
        (device) => session.call({ _tag: "ProgQuery", target: pointOf(device), attachType, flags: 0 })
      )
  )

/** Errors by which kernels say that they do not know links of a kind, or links at all. */
export const isUnknownLink = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "KernelError" && "errno" in error &&
  (error.errno === "EINVAL" || error.errno === "EOPNOTSUPP" || error.errno === "ENOTSUPP")

/**
 * Attaches by a link; where the kernel does not know such links, in the older way. Where that is refused as well, what was said to
 * the link counts: the older way is not what was asked for.
 */
export const linkOr = <A, B, E>(
  link: Effect.Effect<A, E>,
  older: Effect.Effect<B, E> | undefined
): Effect.Effect<A | B, E> =>
  older === undefined ? link : Effect.catch(link, (refused): Effect.Effect<A | B, E> =>
    isUnknownLink(refused)
      ? Effect.flatMap(Effect.result(older), (tried) =>
        Result.isSuccess(tried) ? Effect.succeed(tried.success) : Effect.fail(refused))
      : Effect.fail(refused))
