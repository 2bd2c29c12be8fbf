/**
 * What the verbs of `net` do on a kernel: each needs the Kernel service, and prints nothing.
 *
 * Devices and programs may go while they are looked at: what has gone is left out.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { AttachType } from "../../services/Kernel/abi/BpfConstants.ts"
import { type Device, XdpFlag } from "../../services/Kernel/abi/netlink/Device.ts"
import { type Filter, Parent } from "../../services/Kernel/abi/netlink/Filter.ts"
import type { AttachedProg } from "../../services/Kernel/calls/AttachCalls.ts"
import type { LinkDetail } from "../../services/Kernel/calls/LinkCalls.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import { oneOf, UsageError } from "../Usage.ts"

/** A program that traffic control or a device runs beside others: tcx and netkit. */
export interface PlacedProg extends AttachedProg {
  readonly _tag: "Placed"
  readonly device: Device
  readonly attachType: number
  /** `""` where it has none, or has gone. */
  readonly name: string
}

/** A program that is a filter of traffic control. */
export interface FilterProg {
  readonly _tag: "Filter"
  readonly device: Device
  /** `clsact/ingress`, or the kind of the queueing discipline that it is in. */
  readonly kind: string
  readonly filter: Filter
}

/** A netfilter link. */
export interface NetfilterProg {
  readonly detail: Extract<LinkDetail, { readonly _tag: "Netfilter" }>
  readonly progId: number
}

/** The programs of a network namespace. */
export interface Attached {
  /** Devices that run XDP programs. */
  readonly xdp: ReadonlyArray<Device>
  readonly tc: ReadonlyArray<PlacedProg | FilterProg>
  /** The program that takes packets apart, `undefined` for none. */
  readonly flowDissector: number | undefined
  readonly netfilter: ReadonlyArray<NetfilterProg>
}

/** Errors that say that something has gone, or is not there in this kernel or on this device. */
const absent: ReadonlySet<string> = new Set(["ENOENT", "ENODEV", "EINVAL", "EOPNOTSUPP", "ENOTSUPP"])

/** Also that a device is no netkit, or the end of one that programs cannot be attached by. */
const noPlace: ReadonlySet<string> = new Set([...absent, "ENXIO", "EACCES"])

const ifThere = <A, R>(
  effect: Effect.Effect<A, CallError, R>,
  errors: ReadonlySet<string> = absent
): Effect.Effect<A | undefined, CallError, R> =>
  Effect.catch(
    effect,
    (error) => error._tag === "KernelError" && errors.has(error.errno) ? Effect.succeed(undefined) : Effect.fail(error)
  )

/** The places beside filters where programs see the packets of a device, in the order in which bpftool shows them. */
const places: ReadonlyArray<number> = [
  AttachType.BPF_TCX_INGRESS,
  AttachType.BPF_TCX_EGRESS,
  AttachType.BPF_NETKIT_PRIMARY,
  AttachType.BPF_NETKIT_PEER
]

const nameOf = Effect.fnUntraced(function*(objects: Objects.Objects, id: number) {
  const [found] = yield* Effect.catch(
    Objects.findProgs(objects, { _tag: "Id", id }),
    (error) => error._tag === "KernelError" && absent.has(error.errno) ? Effect.succeed([]) : Effect.fail(error)
  )
  if (found === undefined) return ""
  yield* objects.session.call({ _tag: "Close", ref: found.ref })
  return found.name
})

const placedOn = Effect.fnUntraced(function*(objects: Objects.Objects, device: Device) {
  const found: Array<PlacedProg> = []
  for (const attachType of places) {
    const attached = yield* ifThere(
      objects.session.call({
        _tag: "ProgQuery",
        target: { _tag: "Device", ifindex: device.index },
        attachType,
        flags: 0
      }),
      noPlace
    )
    for (const program of attached?.programs ?? []) {
      found.push({ _tag: "Placed", device, attachType, name: yield* nameOf(objects, program.id), ...program })
    }
  }
  return found
})

/** Where the filters of a device are: the disciplines and classes that have a number, and both ends of a `clsact`. */
const parentsOf = Effect.fnUntraced(function*({ session }: Objects.Objects, device: Device) {
  const qdiscs = (yield* ifThere(session.call({ _tag: "QdiscList", device: { ifindex: device.index } }))) ?? []
  const parents = qdiscs.filter(({ handle, isClass, kind }) => isClass || (kind !== "clsact" && handle !== 0)).map((
    { handle, kind }
  ) => ({ parent: handle, kind }))
  // An ingress discipline answers for the ends of a clsact, too, with the same filters once more.
  return qdiscs.some(({ kind }) => kind === "ingress") ? parents : [
    ...parents,
    { parent: Parent.ingress, kind: "clsact/ingress" },
    { parent: Parent.egress, kind: "clsact/egress" }
  ]
})

const filtersOn = Effect.fnUntraced(function*(objects: Objects.Objects, device: Device) {
  const found: Array<FilterProg> = []
  for (const { kind, parent } of yield* parentsOf(objects, device)) {
    const filters = yield* ifThere(
      objects.session.call({ _tag: "FilterList", device: { ifindex: device.index }, parent })
    )
    for (const filter of filters ?? []) found.push({ _tag: "Filter", device, kind, filter })
  }
  return found
})

/** The program that takes packets apart in this network namespace. */
const flowDissector = Effect.fnUntraced(function*({ session }: Objects.Objects) {
  const target = session.fresh("Target")
  yield* session.call({ _tag: "TargetOpen", as: target, path: "/proc/self/ns/net" })
  const attached = yield* ifThere(
    session.call({
      _tag: "ProgQuery",
      target: { _tag: "Target", target },
      attachType: AttachType.BPF_FLOW_DISSECTOR,
      flags: 0
    })
  )
  yield* session.call({ _tag: "Close", ref: target })
  return attached?.programs[0]?.id
})

const compared = ({ detail: a }: NetfilterProg, { detail: b }: NetfilterProg): number =>
  a.protocolFamily - b.protocolFamily || a.hook - b.hook || a.priority - b.priority || a.flags - b.flags

/** The netfilter links, in the order in which they run. */
const netfilter = Effect.fnUntraced(function*(objects: Objects.Objects) {
  const links = (yield* ifThere(Objects.links(objects))) ?? []
  return links.flatMap(({ detail, progId }): ReadonlyArray<NetfilterProg> =>
    detail._tag === "Netfilter" ? [{ detail, progId }] : []
  ).sort(compared)
})

const noDevice = (word: string): UsageError =>
  new UsageError({ argument: word, detail: "dev NAME is expected here", hint: "as in dev eth0" })

/** The device that `dev NAME` names at the front. */
const deviceIn = (words: Words.Words): Words.Read<string> => {
  const [keyword, ...rest] = words
  return keyword === "dev"
    ? Words.operand("dev", rest, "the name of a network device")
    : Result.fail(noDevice(keyword ?? "dev"))
}

/** Reads the words of `net show`: the name of one device, or `undefined` for all. */
export const showOf = (words: Words.Words): Result.Result<string | undefined, UsageError> =>
  words.length === 0
    ? Result.succeed(undefined)
    : Result.flatMap(deviceIn(words), ([name, rest]) => Result.map(Words.nothingLeft(rest), () => name))

/** `net show`: the programs of a network namespace, on one device or on all. */
export const show = Effect.fnUntraced(function*(objects: Objects.Objects, name: string | undefined) {
  const { session } = objects
  const dissector = yield* flowDissector(objects)
  const devices = name === undefined
    ? yield* session.call({ _tag: "DeviceList" })
    : [yield* session.call({ _tag: "DeviceGet", device: name })]
  const tc: Array<PlacedProg | FilterProg> = []
  for (const device of devices) tc.push(...yield* placedOn(objects, device), ...yield* filtersOn(objects, device))
  return {
    xdp: devices.filter(({ xdp }) => xdp.mode !== "none"),
    tc,
    flowDissector: dissector,
    netfilter: yield* netfilter(objects)
  } satisfies Attached
})

/** Where a program may be attached by `net attach`. */
type Place =
  | { readonly _tag: "Xdp"; readonly mode: number }
  | { readonly _tag: "Tcx"; readonly attachType: number }

const attachTypes: Readonly<Record<string, Place>> = {
  xdp: { _tag: "Xdp", mode: 0 },
  xdpgeneric: { _tag: "Xdp", mode: XdpFlag.SKB_MODE },
  xdpdrv: { _tag: "Xdp", mode: XdpFlag.DRV_MODE },
  xdpoffload: { _tag: "Xdp", mode: XdpFlag.HW_MODE },
  tcx_ingress: { _tag: "Tcx", attachType: AttachType.BPF_TCX_INGRESS },
  tcx_egress: { _tag: "Tcx", attachType: AttachType.BPF_TCX_EGRESS }
}

/** The place at the front. */
const placeIn = (verb: "attach" | "detach", words: Words.Words): Words.Read<Place> => {
  const [name, ...rest] = words
  const place = name !== undefined && Object.hasOwn(attachTypes, name) ? attachTypes[name] : undefined
  if (place !== undefined) return Result.succeed([place, rest])
  const names = Object.keys(attachTypes)
  return Words.wrong(
    name ?? `net ${verb}`,
    name === undefined ? "where is not said" : "there is no such place on a device",
    oneOf(name ?? "", names)
  )
}

/** What `net attach` attaches where. */
export interface Attaching {
  readonly place: Place
  readonly reference: Words.Reference
  readonly device: string
  /** In the place of an XDP program that is there. */
  readonly overwrite: boolean
}

/** Reads the words of `net attach`. */
export const attachOf = (words: Words.Words): Result.Result<Attaching, UsageError> =>
  Result.gen(function*() {
    const [place, behindPlace] = yield* placeIn("attach", words)
    const [reference, behindProg] = yield* Words.reference("prog", behindPlace)
    const [device, rest] = yield* deviceIn(behindProg)
    const overwrite = rest[0] === "overwrite"
    yield* Words.nothingLeft(overwrite ? rest.slice(1) : rest)
    return { place, reference, device, overwrite }
  })

/** `net attach`: attaches a program to a device, where it stays when the command ends. */
export const attach = Effect.fnUntraced(
  function*(objects: Objects.Objects, { device: name, overwrite, place, reference }: Attaching) {
    const { session } = objects
    const { ref: prog } = yield* Objects.oneProg(objects, reference)
    const { index: ifindex } = yield* session.call({ _tag: "DeviceGet", device: name })
    const as = session.fresh("Attachment")
    yield* place._tag === "Xdp"
      ? session.call({
        _tag: "XdpAttach",
        as,
        device: { ifindex },
        prog,
        flags: place.mode | (overwrite ? 0 : XdpFlag.UPDATE_IF_NOEXIST)
      })
      : session.call({
        _tag: "ProgAttach",
        as,
        prog,
        target: { _tag: "Device", ifindex },
        attachType: place.attachType,
        flags: 0
      })
    session.disown(as)
  }
)

/** Reads the words of `net detach`. */
export const detachOf = (
  words: Words.Words
): Result.Result<{ readonly place: Place; readonly device: string }, UsageError> =>
  Result.gen(function*() {
    const [place, behindPlace] = yield* placeIn("detach", words)
    const [device, rest] = yield* deviceIn(behindPlace)
    yield* Words.nothingLeft(rest)
    return { place, device }
  })

/** `net detach`: takes a program away from a device that was attached without a link. */
export const detach = Effect.fnUntraced(
  function*({ session }: Objects.Objects, { device: name, place }: { readonly place: Place; readonly device: string }) {
    const { index: ifindex } = yield* session.call({ _tag: "DeviceGet", device: name })
    yield* place._tag === "Xdp"
      ? session.call({ _tag: "XdpDetach", device: { ifindex }, flags: place.mode })
      : session.call({
        _tag: "ProgDetach",
        target: { _tag: "Device", ifindex },
        attachType: place.attachType,
        flags: 0
      })
  }
)
