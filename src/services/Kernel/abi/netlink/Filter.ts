/**
 * Programs in traffic control: the `clsact` queueing discipline, and filters of kind `bpf` in it that act directly.
 *
 * Source: `include/uapi/linux/{rtnetlink,pkt_sched,pkt_cls}.h`; the meaning of handle, priority and replacement is libbpf's
 * `bpf_tc_*`.
 */
import * as Result from "effect/Result"
import { hostIsLittle } from "../Arena.ts"
import type { Request } from "./Exchange.ts"
import * as Message from "./Message.ts"

const RTM_NEWQDISC = 36
const RTM_DELQDISC = 37
const RTM_NEWTFILTER = 44
const RTM_DELTFILTER = 45
const RTM_GETTFILTER = 46

const TCA_KIND = 1
const TCA_OPTIONS = 2
const TCA_CHAIN = 11

const TCA_BPF_ACT = 1
const TCA_BPF_FD = 6
const TCA_BPF_NAME = 7
const TCA_BPF_FLAGS = 8
const TCA_BPF_ID = 11

const TCA_BPF_FLAG_ACT_DIRECT = 1

const TCA_ACT_KIND = 1
const TCA_ACT_OPTIONS = 2

const TCA_ACT_BPF_NAME = 6
const TCA_ACT_BPF_ID = 9

const ETH_P_ALL = 3

const TC_H_CLSACT = 0xffff_fff1
const clsactHandle = 0xffff_0000

/** The parents of filters in a `clsact`: what comes in, what goes out. */
export const Parent = { ingress: 0xffff_fff2, egress: 0xffff_fff3 } as const

/** `struct tcmsg`, bytes. */
const headerSize = 20

/** What every request about traffic control begins with. */
export interface Header {
  readonly index: number
  readonly handle: number
  readonly parent: number
  readonly info: number
}

/** The header with attributes behind it. */
export const payload = (
  { handle, index, info, parent }: Header,
  attributes: ReadonlyArray<Message.Attribute>,
  little: boolean
): Uint8Array => {
  const encoded = Message.encodeAttributes(attributes, little)
  const bytes = new Uint8Array(headerSize + encoded.length)
  const view = new DataView(bytes.buffer)
  view.setInt32(4, index, little)
  view.setUint32(8, handle, little)
  view.setUint32(12, parent, little)
  view.setUint32(16, info, little)
  bytes.set(encoded, headerSize)
  return bytes
}

/** Priority in the upper half, the protocol in network byte order in the lower. */
const infoOf = (priority: number, protocol: number, little: boolean): number => {
  const swapped = little ? ((protocol & 0xff) << 8) | (protocol >> 8) : protocol
  return ((priority << 16) | swapped) >>> 0
}

/** Creates the `clsact` of a device. One that is there is `EEXIST`. */
export const createClsact = (index: number, little = hostIsLittle): Request => ({
  type: RTM_NEWQDISC,
  flags: Message.Flag.CREATE | Message.Flag.EXCLUSIVE,
  payload: payload(
    { index, handle: clsactHandle, parent: TC_H_CLSACT, info: 0 },
    [Message.text(TCA_KIND, "clsact")],
    little
  )
})

/** Takes the `clsact` of a device away, with all filters in it. */
export const deleteClsact = (index: number, little = hostIsLittle): Request => ({
  type: RTM_DELQDISC,
  flags: 0,
  payload: payload(
    { index, handle: clsactHandle, parent: TC_H_CLSACT, info: 0 },
    [Message.text(TCA_KIND, "clsact")],
    little
  )
})

/** Where a filter is. */
export interface FilterPlace {
  readonly index: number
  /** `TC_H_*`: one of `Parent`, or a class of another queueing discipline. */
  readonly parent: number
  /** 0: the kernel chooses. */
  readonly handle: number
  /** 1 to 65535, lower ones run first; 0: the kernel chooses. */
  readonly priority: number
}

/** Adds a filter, or puts it in the place of the one that has its handle and priority. The kernel repeats what it made. */
export const attach = (
  place: FilterPlace,
  program: { readonly fd: number; readonly name: string },
  replace: boolean,
  little = hostIsLittle
): Request => ({
  type: RTM_NEWTFILTER,
  flags: Message.Flag.CREATE | Message.Flag.ECHO | (replace ? Message.Flag.REPLACE : Message.Flag.EXCLUSIVE),
  payload: payload({ ...place, info: infoOf(place.priority, ETH_P_ALL, little) }, [
    Message.text(TCA_KIND, "bpf"),
    Message.nested(TCA_OPTIONS, [
      Message.s32(TCA_BPF_FD, program.fd),
      Message.text(TCA_BPF_NAME, program.name),
      Message.u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT)
    ])
  ], little)
})

/** Takes a filter away. Without priority and handle: all filters of the parent. */
export const detach = (place: FilterPlace, little = hostIsLittle): Request => {
  const all = place.priority === 0 && place.handle === 0
  return {
    type: RTM_DELTFILTER,
    flags: 0,
    payload: payload(
      { ...place, info: all ? 0 : infoOf(place.priority, ETH_P_ALL, little) },
      all ? [] : [Message.text(TCA_KIND, "bpf")],
      little
    )
  }
}

/** Asks for all filters of a parent. */
export const list = (index: number, parent: number, little = hostIsLittle): Request => ({
  type: RTM_GETTFILTER,
  flags: Message.Flag.DUMP,
  payload: payload({ index, parent, handle: 0, info: 0 }, [], little)
})

/** A program that a filter runs besides its own: an action of kind `bpf`. */
export interface FilterAction {
  readonly name: string
  /** 0 where it brings its own instructions. */
  readonly programId: number
}

/** A filter that is a program. */
export interface Filter extends FilterPlace {
  /** 0 where the filter brings its own instructions, of the old kind. */
  readonly programId: number
  /** As `tc filter show` has it: `name:[id]` of libbpf's. */
  readonly name: string
  /** Chains other than 0 are reached by `goto`. */
  readonly chain: number
  /** What the program returns is the verdict. */
  readonly directAction: boolean
  /** Its programs among the actions behind it, in their order; absent where it has no actions. */
  readonly actions?: ReadonlyArray<FilterAction>
}

/** The programs among the actions of a filter. Actions are numbered in the order in which they run. */
const actionsOf = (
  bytes: Uint8Array,
  little: boolean
): Result.Result<ReadonlyArray<FilterAction>, Message.NetlinkError> =>
  Result.gen(function*() {
    const found: Array<FilterAction> = []
    const numbered = [...yield* Message.decodeAttributes(bytes, little)].sort(([a], [b]) => a - b)
    for (const [, action] of numbered) {
      const attributes = yield* Message.decodeAttributes(action, little)
      const options = attributes.get(TCA_ACT_OPTIONS)
      if (Message.textOf(attributes, TCA_ACT_KIND) !== "bpf" || options === undefined) continue
      const inner = yield* Message.decodeAttributes(options, little)
      const id = yield* Message.number(inner, TCA_ACT_BPF_ID, little)
      found.push({ name: Message.textOf(inner, TCA_ACT_BPF_NAME) ?? "", programId: id ?? 0 })
    }
    return found
  })

/** The program that an answer tells of; `undefined` where it is of something else: a filter of another kind, or a mere head. */
export const decode = (
  { payload, type }: Message.Message,
  little = hostIsLittle
): Result.Result<Filter | undefined, Message.NetlinkError> => {
  if (type !== RTM_NEWTFILTER) return Result.succeed(undefined)
  if (payload.length < headerSize) {
    return Result.fail(
      Message.malformed("Truncated", 0, `a filter has ${headerSize} bytes, and there are ${payload.length}`)
    )
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
  const [index, handle, parent, info] = [
    view.getInt32(4, little),
    view.getUint32(8, little),
    view.getUint32(12, little),
    view.getUint32(16, little)
  ]
  return Result.gen(function*() {
    const attributes = yield* Message.decodeAttributes(payload.subarray(headerSize), little)
    const options = attributes.get(TCA_OPTIONS)
    if (Message.textOf(attributes, TCA_KIND) !== "bpf" || options === undefined) return undefined
    const inner = yield* Message.decodeAttributes(options, little)
    const programId = yield* Message.number(inner, TCA_BPF_ID, little)
    // Filters of the old kind bring their own instructions, and have no identifier.
    if (handle === 0) return undefined
    const flags = yield* Message.number(inner, TCA_BPF_FLAGS, little)
    const chain = yield* Message.number(attributes, TCA_CHAIN, little)
    const actions = inner.get(TCA_BPF_ACT)
    return {
      index,
      parent,
      handle,
      priority: info >>> 16,
      programId: programId ?? 0,
      name: Message.textOf(inner, TCA_BPF_NAME) ?? "",
      chain: chain ?? 0,
      directAction: ((flags ?? 0) & TCA_BPF_FLAG_ACT_DIRECT) !== 0,
      ...(actions === undefined ? {} : { actions: yield* actionsOf(actions, little) })
    }
  })
}
