/**
 * The queueing disciplines of a network device and their classes, in which filters are.
 *
 * Source: `include/uapi/linux/{rtnetlink,pkt_sched}.h`.
 */
import * as Result from "effect/Result"
import { hostIsLittle } from "../Arena.ts"
import type { Request } from "./Exchange.ts"
import { payload } from "./Filter.ts"
import * as Message from "./Message.ts"

const RTM_NEWQDISC = 36
const RTM_GETQDISC = 38
const RTM_NEWTCLASS = 40
const RTM_GETTCLASS = 42

const TCA_KIND = 1

/** `struct tcmsg`, bytes. */
const headerSize = 20

/** A queueing discipline, or a class of one. */
export interface Qdisc {
  readonly index: number
  /** `TC_H_*`: the parent of the filters in it. 0 where it has no number, as those that devices begin with. */
  readonly handle: number
  /** Where it is: another one, a class, or the root. */
  readonly parent: number
  /** `clsact`, `ingress`, `htb`, ...; of a class that of its discipline. */
  readonly kind: string
  readonly isClass: boolean
}

/** Asks for the disciplines of a device; the kernel may tell of those of all devices. */
export const listQdiscs = (index: number, little = hostIsLittle): Request => ({
  type: RTM_GETQDISC,
  flags: Message.Flag.DUMP,
  payload: payload({ index, parent: 0, handle: 0, info: 0 }, [], little)
})

/** Asks for the classes of a device. */
export const listClasses = (index: number, little = hostIsLittle): Request => ({
  type: RTM_GETTCLASS,
  flags: Message.Flag.DUMP,
  payload: payload({ index, parent: 0, handle: 0, info: 0 }, [], little)
})

/** The discipline or class that an answer tells of; `undefined` where it is of something else. */
export const decode = (
  { payload, type }: Message.Message,
  little = hostIsLittle
): Result.Result<Qdisc | undefined, Message.NetlinkError> => {
  if (type !== RTM_NEWQDISC && type !== RTM_NEWTCLASS) return Result.succeed(undefined)
  if (payload.length < headerSize) {
    return Result.fail(
      Message.malformed(
        "Truncated",
        0,
        `a queueing discipline has ${headerSize} bytes, and there are ${payload.length}`
      )
    )
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
  return Result.map(Message.decodeAttributes(payload.subarray(headerSize), little), (attributes) => ({
    index: view.getInt32(4, little),
    handle: view.getUint32(8, little),
    parent: view.getUint32(12, little),
    kind: Message.textOf(attributes, TCA_KIND) ?? "",
    isClass: type === RTM_NEWTCLASS
  }))
}
