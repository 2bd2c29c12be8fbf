/**
 * Network devices over netlink: finding one, and the XDP program that it runs.
 *
 * Source: `include/uapi/linux/{rtnetlink,if_link}.h`; reference page `attach`, section 12.
 */
import * as Result from "effect/Result"
import { hostIsLittle } from "../Arena.ts"
import type { Request } from "./Exchange.ts"
import * as Message from "./Message.ts"

const RTM_NEWLINK = 16
const RTM_GETLINK = 18
const RTM_SETLINK = 19

const IFLA_IFNAME = 3
const IFLA_XDP = 43
const IFLA_ALT_IFNAME = 53

const IFLA_XDP_FD = 1
const IFLA_XDP_ATTACHED = 2
const IFLA_XDP_FLAGS = 3
const IFLA_XDP_PROG_ID = 4
const IFLA_XDP_DRV_PROG_ID = 5
const IFLA_XDP_SKB_PROG_ID = 6
const IFLA_XDP_HW_PROG_ID = 7
const IFLA_XDP_EXPECTED_FD = 8

/** `struct ifinfomsg`, bytes. */
const headerSize = 16
const indexAt = 4

/** Bytes of a device's name, and of an alternative one, with the closing NUL. */
const nameSize = 16

/** Flags of attaching an XDP program by netlink (`XDP_FLAGS_*`). */
export const XdpFlag = {
  /** Not where there is one already. */
  UPDATE_IF_NOEXIST: 1,
  SKB_MODE: 2,
  DRV_MODE: 4,
  HW_MODE: 8,
  /** In the place of the expected program, and of no other. */
  REPLACE: 16
} as const

/** Where a device's XDP programs run: nowhere, in its driver, in the generic path, on the device, or in several of these. */
export type XdpMode = "none" | "driver" | "generic" | "hardware" | "several"

const modes: ReadonlyArray<XdpMode> = ["none", "driver", "generic", "hardware", "several"]

/** A network device, as the kernel tells of it. */
export interface Device {
  /** From 1, in one network namespace. */
  readonly index: number
  readonly name: string
  readonly xdp: XdpState
}

/** The XDP programs of a device; 0 where there is none. */
export interface XdpState {
  readonly mode: XdpMode
  /** The program that runs, where there is only one. */
  readonly programId: number
  readonly driverProgramId: number
  readonly genericProgramId: number
  readonly hardwareProgramId: number
}

const header = (index: number, little: boolean): Uint8Array => {
  const bytes = new Uint8Array(headerSize)
  new DataView(bytes.buffer).setInt32(indexAt, index, little)
  return bytes
}

const payload = (
  index: number,
  attributes: ReadonlyArray<Message.Attribute>,
  little: boolean
): Uint8Array => {
  const encoded = Message.encodeAttributes(attributes, little)
  const bytes = new Uint8Array(headerSize + encoded.length)
  bytes.set(header(index, little))
  bytes.set(encoded, headerSize)
  return bytes
}

/** Asks for a device by its index, or by its name, which may be an alternative one where it is too long for another. */
export const get = (wanted: number | string, little = hostIsLittle): Request => ({
  type: RTM_GETLINK,
  flags: 0,
  payload: typeof wanted === "number" ? payload(wanted, [], little) : payload(0, [
    Message.text(new TextEncoder().encode(wanted).length < nameSize ? IFLA_IFNAME : IFLA_ALT_IFNAME, wanted)
  ], little)
})

/** Asks for all devices. */
export const list = (little = hostIsLittle): Request => ({
  type: RTM_GETLINK,
  flags: Message.Flag.DUMP,
  payload: payload(0, [], little)
})

/** What an XDP program is attached with. Descriptors are those of this process. */
export interface XdpRequest {
  readonly index: number
  /** -1 takes the program away. */
  readonly programFd: number
  /** `XDP_FLAGS_*` */
  readonly flags: number
  /** The program that must be there, with `XDP_FLAGS_REPLACE`; -1: none must be. */
  readonly expectedFd?: number | undefined
}

/** Attaches, replaces or takes away a device's XDP program. */
export const setXdp = ({ expectedFd, flags, index, programFd }: XdpRequest, little = hostIsLittle): Request => ({
  type: RTM_SETLINK,
  flags: 0,
  payload: payload(index, [
    Message.nested(IFLA_XDP, [
      Message.s32(IFLA_XDP_FD, programFd),
      ...(flags === 0 ? [] : [Message.u32(IFLA_XDP_FLAGS, flags)]),
      ...(expectedFd === undefined ? [] : [Message.s32(IFLA_XDP_EXPECTED_FD, expectedFd)])
    ])
  ], little)
})

const none: XdpState = {
  mode: "none",
  programId: 0,
  driverProgramId: 0,
  genericProgramId: 0,
  hardwareProgramId: 0
}

const xdpOf = (bytes: Uint8Array | undefined, little: boolean): Result.Result<XdpState, Message.NetlinkError> => {
  if (bytes === undefined) return Result.succeed(none)
  return Result.flatMap(Message.decodeAttributes(bytes, little), (attributes) => {
    const id = (type: number) => Result.map(Message.number(attributes, type, little), (found) => found ?? 0)
    const mode = modes[attributes.get(IFLA_XDP_ATTACHED)?.[0] ?? 0]
    if (mode === undefined) {
      return Result.fail(Message.malformed("Unexpected", 0, "programs run in a place that is not known"))
    }
    return Result.all({
      mode: Result.succeed(mode),
      programId: id(IFLA_XDP_PROG_ID),
      driverProgramId: id(IFLA_XDP_DRV_PROG_ID),
      genericProgramId: id(IFLA_XDP_SKB_PROG_ID),
      hardwareProgramId: id(IFLA_XDP_HW_PROG_ID)
    })
  })
}

/** The device that an answer tells of; `undefined` where it is of something else. */
export const decode = (
  { payload, type }: Message.Message,
  little = hostIsLittle
): Result.Result<Device | undefined, Message.NetlinkError> => {
  if (type !== RTM_NEWLINK) return Result.succeed(undefined)
  if (payload.length < headerSize) {
    return Result.fail(
      Message.malformed("Truncated", 0, `a device has ${headerSize} bytes, and there are ${payload.length}`)
    )
  }
  const index = new DataView(payload.buffer, payload.byteOffset, payload.length).getInt32(indexAt, little)
  return Result.flatMap(
    Message.decodeAttributes(payload.subarray(headerSize), little),
    (attributes) =>
      Result.map(xdpOf(attributes.get(IFLA_XDP), little), (xdp) => ({
        index,
        name: Message.textOf(attributes, IFLA_IFNAME) ?? "",
        xdp
      }))
  )
}
