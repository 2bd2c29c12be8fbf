/**
 * Calls on network devices by netlink: finding them, XDP programs without links, programs in traffic control.
 *
 * What they attach is released by detaching it, whether the session ends or it is closed; what somebody else has put there
 * meanwhile stays.
 *
 * Source: `include/uapi/linux/{if_link,pkt_cls}.h`; reference page `attach`, section 12.
 */
import type { Device } from "../abi/netlink/Device.ts"
import type { Filter } from "../abi/netlink/Filter.ts"
import type { Qdisc } from "../abi/netlink/Qdisc.ts"
import type { Footprint } from "../KernelCall.ts"
import type { AttachmentRef, ProgRef, Ref, TargetRef } from "../Ref.ts"

/** A network device by its number, in the network namespace of this process or in one that was opened. */
export interface DeviceRef {
  readonly ifindex: number
  readonly netns?: TargetRef
}

/** Looks a network device up by its name or number: `ENODEV` where there is none. */
export interface DeviceGet {
  readonly _tag: "DeviceGet"
  readonly device: string | number
  readonly netns?: TargetRef
}

/** Every network device of a namespace. */
export interface DeviceList {
  readonly _tag: "DeviceList"
  readonly netns?: TargetRef
}

/** Attaches an XDP program to a device without a link. */
export interface XdpAttach {
  readonly _tag: "XdpAttach"
  /** Names the attachment: releasing it detaches the program, if it is still there. */
  readonly as: AttachmentRef
  readonly device: DeviceRef
  readonly prog: ProgRef
  /** `XDP_FLAGS_*`: where it runs, and whether one may be there already. */
  readonly flags: number
  /** The program that must be there, and is replaced; the kernel implementation adds the flag. */
  readonly replace?: ProgRef
}

/** Takes a device's XDP program away, whoever attached it; none is no failure. */
export interface XdpDetach {
  readonly _tag: "XdpDetach"
  readonly device: DeviceRef
  /** `XDP_FLAGS_*`: where it runs. */
  readonly flags: number
  /** The program that must be there: `EEXIST` where another is. */
  readonly prog?: ProgRef
}

/** Gives a device the queueing discipline `clsact`, in which programs are filters; one that is there is used. */
export interface ClsactCreate {
  readonly _tag: "ClsactCreate"
  /** Names it: releasing it takes it away if this call has created it and nobody's filter is in it. */
  readonly as: AttachmentRef
  readonly device: DeviceRef
}

/** Takes the `clsact` of a device away with all filters in it, whoever made them. */
export interface ClsactDelete {
  readonly _tag: "ClsactDelete"
  readonly device: DeviceRef
}

/** Adds a program to traffic control as a filter that acts directly. */
export interface FilterAttach {
  readonly _tag: "FilterAttach"
  /** Names the attachment: releasing it takes the filter away, if it still has the program. */
  readonly as: AttachmentRef
  readonly device: DeviceRef
  /** `TC_H_*`: of what comes in or goes out of a `clsact`, or a class of another queueing discipline. */
  readonly parent: number
  readonly prog: ProgRef
  /** 0: the kernel chooses. */
  readonly handle: number
  /** Lower ones run first, 1 to 65535; 0: the kernel chooses. */
  readonly priority: number
  /** In the place of the filter of this handle and priority; otherwise one that is there is `EEXIST`. */
  readonly replace: boolean
}

/** Takes a filter away, whoever attached it; without handle and priority all filters of the parent. */
export interface FilterDetach {
  readonly _tag: "FilterDetach"
  readonly device: DeviceRef
  readonly parent: number
  readonly handle: number
  readonly priority: number
}

/** The programs among the filters of a parent, in the order in which they run. */
export interface FilterList {
  readonly _tag: "FilterList"
  readonly device: DeviceRef
  readonly parent: number
}

/** The queueing disciplines of a device and their classes: where its filters are. */
export interface QdiscList {
  readonly _tag: "QdiscList"
  readonly device: DeviceRef
}

/** The calls of this file by their tags. */
export interface NetlinkCalls {
  readonly DeviceGet: DeviceGet
  readonly DeviceList: DeviceList
  readonly XdpAttach: XdpAttach
  readonly XdpDetach: XdpDetach
  readonly ClsactCreate: ClsactCreate
  readonly ClsactDelete: ClsactDelete
  readonly FilterAttach: FilterAttach
  readonly FilterDetach: FilterDetach
  readonly FilterList: FilterList
  readonly QdiscList: QdiscList
}

/** What they answer. */
export interface NetlinkResults {
  readonly DeviceGet: Device
  readonly DeviceList: ReadonlyArray<Device>
  readonly XdpAttach: void
  readonly XdpDetach: void
  /** Whether it was created, rather than there. */
  readonly ClsactCreate: { readonly created: boolean }
  readonly ClsactDelete: void
  /** The filter as the kernel made it. */
  readonly FilterAttach: Filter
  readonly FilterDetach: void
  readonly FilterList: ReadonlyArray<Filter>
  /** Classes first. */
  readonly QdiscList: ReadonlyArray<Qdisc>
}

const deviceReads = ({ netns }: { readonly netns?: TargetRef }): ReadonlyArray<Ref> =>
  netns === undefined ? [] : [netns]

const optional = (ref: Ref | undefined): ReadonlyArray<Ref> => ref === undefined ? [] : [ref]

/** Which refs a call of this file touches. */
export const netlinkFootprint = (call: NetlinkCalls[keyof NetlinkCalls]): Footprint => {
  switch (call._tag) {
    case "DeviceGet":
    case "DeviceList":
      return { defines: undefined, changes: [], reads: deviceReads(call) }
    case "XdpAttach":
      return {
        defines: call.as,
        changes: [],
        reads: [call.prog, ...optional(call.replace), ...deviceReads(call.device)]
      }
    case "XdpDetach":
      return { defines: undefined, changes: [], reads: [...optional(call.prog), ...deviceReads(call.device)] }
    case "ClsactCreate":
      return { defines: call.as, changes: [], reads: deviceReads(call.device) }
    case "FilterAttach":
      return { defines: call.as, changes: [], reads: [call.prog, ...deviceReads(call.device)] }
    case "ClsactDelete":
    case "FilterDetach":
    case "FilterList":
    case "QdiscList":
      return { defines: undefined, changes: [], reads: deviceReads(call.device) }
  }
}
