/**
 * Calls that attach programs by links, and that read what iterators write.
 *
 * A link is released when its session ends, or by `Close`: the kernel detaches what nothing refers to any more, a pin
 * excepted. `LinkDetach` takes the attachment away and leaves the link.
 *
 * Source: `include/uapi/linux/bpf.h`; reference page `attach`.
 */
import type { Footprint, ProgFunction } from "../KernelCall.ts"
import type { EventRef, IterRef, LinkRef, MapRef, ProgRef, Ref, TargetRef } from "../Ref.ts"

/** Where something is attached. */
export type AttachPoint =
  /** Nowhere but where the program was loaded for, or where the options say. */
  | { readonly _tag: "None" }
  /** A network device, by its number in the network namespace of this process or in one that was opened. */
  | { readonly _tag: "Device"; readonly ifindex: number; readonly netns?: TargetRef }
  /** A file that was opened: a cgroup's folder, a network namespace, a device. */
  | { readonly _tag: "Target"; readonly target: TargetRef }
  /** A map of sockets. */
  | { readonly _tag: "Map"; readonly map: MapRef }
  | { readonly _tag: "Event"; readonly event: EventRef }
  /** A function of a loaded program, which a program of type `EXT` replaces or one of type `TRACING` watches. */
  | { readonly _tag: "Function"; readonly of: ProgFunction }

/** The program or link beside which something is placed: one of the session's, or anybody's by its identifier. */
export type Neighbour =
  | ProgRef
  | LinkRef
  | { readonly _tag: "ProgId"; readonly id: number }
  | { readonly _tag: "LinkId"; readonly id: number }

/** A place among the programs of an attach point. */
export interface Placement {
  /** Beside whom; `BPF_F_BEFORE` or `BPF_F_AFTER` of the call's flags says on which side. Absent: beside all. */
  readonly neighbour?: Neighbour
  /** The revision that the attach point must have (`ESTALE` where it has another); 0 or absent: any. */
  readonly expectedRevision?: bigint
}

/** What an iterator goes over, where its kind needs to be told. */
export type IterOver =
  | { readonly _tag: "Map"; readonly map: MapRef }
  /** `order` is `BPF_CGROUP_ITER_*`; an identifier of 0 without a target is the root. */
  | { readonly _tag: "Cgroup"; readonly order: number; readonly target?: TargetRef; readonly id?: bigint }
  /** Threads: one by its `tid`, those of a process by its `pid`, or all where both are 0. */
  | { readonly _tag: "Task"; readonly tid: number; readonly pid: number }

/** What the kernel is told beyond program and target; which it may be depends on the attach type. */
export type LinkOptions =
  | { readonly _tag: "PerfEvent"; readonly cookie: bigint }
  | {
    readonly _tag: "KprobeMulti"
    readonly isReturn: boolean
    /** Functions by name, or by address: one of the two. */
    readonly symbols?: ReadonlyArray<string>
    readonly addresses?: ReadonlyArray<bigint>
    /** One per function. */
    readonly cookies?: ReadonlyArray<bigint>
  }
  | {
    readonly _tag: "UprobeMulti"
    readonly path: string
    /** Bytes from the file's beginning. */
    readonly offsets: ReadonlyArray<bigint>
    /** Where counters (USDT semaphores) are in the file, one per offset, 0 for none. */
    readonly counterOffsets?: ReadonlyArray<bigint>
    readonly cookies?: ReadonlyArray<bigint>
    readonly isReturn: boolean
    /** The process whose calls count, 0 for every process's. */
    readonly pid: number
  }
  | { readonly _tag: "Tracing"; readonly cookie: bigint }
  | {
    readonly _tag: "TracingMulti"
    /** BTF ids of functions of the kernel, or of the module that the program was loaded for. */
    readonly ids: ReadonlyArray<number>
    readonly cookies?: ReadonlyArray<bigint>
  }
  | {
    readonly _tag: "Netfilter"
    /** `NFPROTO_*` */
    readonly protocolFamily: number
    /** `NF_INET_*` */
    readonly hook: number
    readonly priority: number
    /** `BPF_F_NETFILTER_*` */
    readonly flags: number
    /** The network namespace whose packets they are; absent: this process's. */
    readonly netns?: TargetRef
  }
  | { readonly _tag: "Placed" } & Placement
  | { readonly _tag: "Iter"; readonly over: IterOver }

/** Attaches a program, or a map of type `STRUCT_OPS`, by a link. */
export interface LinkCreate {
  readonly _tag: "LinkCreate"
  readonly as: LinkRef
  readonly of: ProgRef | MapRef
  readonly target: AttachPoint
  /** `BPF_*` attach type. */
  readonly attachType: number
  /** `BPF_F_*` of links, or the mode of XDP. */
  readonly flags: number
  readonly options?: LinkOptions
}

/** Puts another program, or another struct, in the place of a link's. */
export interface LinkUpdate {
  readonly _tag: "LinkUpdate"
  readonly link: LinkRef
  readonly to: ProgRef | MapRef
  /** What must be attached until then (`EPERM` where something else is); the call has `BPF_F_REPLACE` among its flags. */
  readonly old?: ProgRef | MapRef
  readonly flags: number
}

/** Takes an attachment away at once, whoever else holds the link; not all types of links can (`EOPNOTSUPP`). */
export interface LinkDetach {
  readonly _tag: "LinkDetach"
  readonly link: LinkRef
}

/** What the kernel says of a link. */
export interface LinkGetInfo {
  readonly _tag: "LinkGetInfo"
  readonly link: LinkRef
}

/**
 * Attaches a program to a raw tracepoint by its name. Without a name: a tracing program to what it was loaded for, which old
 * kernels want to be told this way.
 */
export interface RawTracepointOpen {
  readonly _tag: "RawTracepointOpen"
  readonly as: LinkRef
  readonly name?: string
  readonly prog: ProgRef
  readonly cookie: bigint
}

/** Starts a run of an iterator: what its program writes can be read once. */
export interface IterCreate {
  readonly _tag: "IterCreate"
  readonly as: IterRef
  readonly link: LinkRef
}

/** The next bytes of a run of an iterator, at most `length`; none at the end. The program runs meanwhile. */
export interface IterRead {
  readonly _tag: "IterRead"
  readonly iter: IterRef
  readonly length: number
}

/** What a link is, by its type. 64-bit numbers that the kernel does not tell (older ones) are 0. */
export type LinkDetail =
  | { readonly _tag: "RawTracepoint"; readonly name: string; readonly cookie: bigint }
  | {
    readonly _tag: "Tracing"
    readonly attachType: number
    /** The BTF object of the kernel's, or the program, that the function is of. */
    readonly targetObjectId: number
    readonly targetBtfId: number
    readonly cookie: bigint
  }
  | { readonly _tag: "Cgroup"; readonly cgroupId: bigint; readonly attachType: number }
  | {
    readonly _tag: "Iter"
    /** What it goes over: `task`, `bpf_map_elem`. */
    readonly target: string
    readonly mapId?: number
    readonly cgroup?: { readonly id: bigint; readonly order: number }
    readonly task?: { readonly tid: number; readonly pid: number }
  }
  | { readonly _tag: "Netns"; readonly inode: number; readonly attachType: number }
  | { readonly _tag: "Xdp"; readonly ifindex: number }
  | { readonly _tag: "StructOps"; readonly mapId: number }
  | {
    readonly _tag: "Netfilter"
    readonly protocolFamily: number
    readonly hook: number
    readonly priority: number
    readonly flags: number
  }
  | {
    readonly _tag: "KprobeMulti"
    /** Addresses are 0 where the kernel hides them. */
    readonly probes: ReadonlyArray<{ readonly address: bigint; readonly cookie: bigint }>
    readonly flags: number
    /** Hits that were missed because the program was running already. */
    readonly missed: bigint
  }
  | {
    readonly _tag: "UprobeMulti"
    readonly path: string
    readonly probes: ReadonlyArray<
      { readonly offset: bigint; readonly counterOffset: bigint; readonly cookie: bigint }
    >
    readonly flags: number
    readonly pid: number
  }
  | {
    readonly _tag: "PerfUprobe"
    readonly isReturn: boolean
    readonly path: string
    readonly offset: number
    readonly cookie: bigint
    readonly counterOffset: bigint
  }
  | {
    readonly _tag: "PerfKprobe"
    readonly isReturn: boolean
    readonly name: string
    readonly offset: number
    readonly address: bigint
    readonly missed: bigint
    readonly cookie: bigint
  }
  | { readonly _tag: "PerfTracepoint"; readonly name: string; readonly cookie: bigint }
  | { readonly _tag: "PerfEvent"; readonly type: number; readonly config: bigint; readonly cookie: bigint }
  | { readonly _tag: "Tcx"; readonly ifindex: number; readonly attachType: number }
  | { readonly _tag: "Netkit"; readonly ifindex: number; readonly attachType: number }
  | { readonly _tag: "Sockmap"; readonly mapId: number; readonly attachType: number }
  /** A type that is not known here, or of which the kernel tells nothing. */
  | { readonly _tag: "Other" }

/** What the kernel says of a link. */
export interface LinkInfo {
  readonly id: number
  /** `BPF_LINK_TYPE_*` */
  readonly type: number
  /** The program's identifier, 0 where it has none (struct_ops) or has been detached. */
  readonly progId: number
  readonly detail: LinkDetail
}

/** The calls of this file by their tags. */
export interface LinkCalls {
  readonly LinkCreate: LinkCreate
  readonly LinkUpdate: LinkUpdate
  readonly LinkDetach: LinkDetach
  readonly LinkGetInfo: LinkGetInfo
  readonly RawTracepointOpen: RawTracepointOpen
  readonly IterCreate: IterCreate
  readonly IterRead: IterRead
}

/** What they answer. */
export interface LinkResults {
  readonly LinkCreate: void
  readonly LinkUpdate: void
  readonly LinkDetach: void
  readonly LinkGetInfo: LinkInfo
  readonly RawTracepointOpen: void
  readonly IterCreate: void
  readonly IterRead: Uint8Array
}

/** The refs that a neighbour names. */
export const neighbourReads = (neighbour: Neighbour | undefined): ReadonlyArray<Ref> =>
  neighbour === undefined || neighbour._tag === "ProgId" || neighbour._tag === "LinkId" ? [] : [neighbour]

/** The refs that an attach point names. */
export const pointReads = (point: AttachPoint): ReadonlyArray<Ref> => {
  switch (point._tag) {
    case "None":
      return []
    case "Device":
      return point.netns === undefined ? [] : [point.netns]
    case "Target":
      return [point.target]
    case "Map":
      return [point.map]
    case "Event":
      return [point.event]
    case "Function":
      return [point.of.program]
  }
}

const optionReads = (options: LinkOptions | undefined): ReadonlyArray<Ref> => {
  if (options?._tag === "Placed") return neighbourReads(options.neighbour)
  if (options?._tag === "Netfilter") return options.netns === undefined ? [] : [options.netns]
  if (options?._tag !== "Iter") return []
  const { over } = options
  if (over._tag === "Map") return [over.map]
  return over._tag === "Cgroup" && over.target !== undefined ? [over.target] : []
}

/** Which refs a call of this file touches. */
export const linkFootprint = (call: LinkCalls[keyof LinkCalls]): Footprint => {
  switch (call._tag) {
    case "LinkCreate":
      return {
        defines: call.as,
        changes: [],
        reads: [call.of, ...pointReads(call.target), ...optionReads(call.options)]
      }
    case "LinkUpdate":
      return {
        defines: undefined,
        changes: [call.link],
        reads: call.old === undefined ? [call.to] : [call.to, call.old]
      }
    case "LinkDetach":
      return { defines: undefined, changes: [call.link], reads: [] }
    case "LinkGetInfo":
      return { defines: undefined, changes: [], reads: [call.link] }
    case "RawTracepointOpen":
      return { defines: call.as, changes: [], reads: [call.prog] }
    case "IterCreate":
      return { defines: call.as, changes: [], reads: [call.link] }
    case "IterRead":
      return { defines: undefined, changes: [call.iter], reads: [] }
  }
}
