/**
 * What the refs of a live session stand for: descriptors, and mappings of memory.
 */
import type { Ref } from "../Ref.ts"
import { ofDescriptors, oneCpuFlags, perCpu } from "../abi/ElementSize.ts"
import type { Mapping } from "../sys/Sys.ts"

/** The sizes that decide how many bytes the kernel reads and writes in calls on a map's elements. */
export interface MapShape {
  readonly type: number
  readonly keySize: number
  readonly valueSize: number
}

/** A map's descriptor. */
export interface MapHandle {
  readonly _tag: "Map"
  readonly fd: number
  readonly name: string
  readonly shape: MapShape
}

/** A program's descriptor. */
export interface ProgHandle {
  readonly _tag: "Prog"
  readonly fd: number
  readonly name: string
  /** `BPF_PROG_TYPE_*` */
  readonly type: number
}

/** A link's descriptor. */
export interface LinkHandle {
  readonly _tag: "Link"
  readonly fd: number
}

/** The descriptor of a BTF object. */
export interface BtfHandle {
  readonly _tag: "Btf"
  readonly fd: number
}

/** Memory of a map. */
export interface ViewHandle {
  readonly _tag: "View"
  readonly mapping: Mapping
  /** The map's name. */
  readonly name: string
  readonly writable: boolean
}

/** The descriptor of a perf event, an attach target, a run of an iterator, or of measuring. */
export interface FileHandle<Tag extends "Event" | "Target" | "Iter" | "Stats"> {
  readonly _tag: Tag
  readonly fd: number
  /** What it is, for messages. */
  readonly name: string
  /** A perf event of which the kernel counts what is lost. */
  readonly countsLost?: boolean
}

/** An event that was added to tracefs. */
export interface TraceEventHandle {
  readonly _tag: "TraceEvent"
  /** `group/event` */
  readonly name: string
  readonly id: number
  /** The file in which such events are added and removed. */
  readonly list: string
}

/** A program that was attached without a link: descriptors of its own, to detach it with. */
export interface AttachmentHandle {
  readonly _tag: "Attachment"
  readonly attachType: number
  readonly program: number
  /** The target's number: a descriptor of its own, or a device. */
  readonly target: number
  readonly isDescriptor: boolean
  /** A descriptor of its own of the network namespace that the device is in. */
  readonly netns?: number
}

/** What was attached by netlink. */
export interface RemovableHandle {
  readonly _tag: "Attachment"
  /** Takes it away if it is still there, and lets go of what that needs. To be called once; it never throws. */
  readonly remove: () => void
  /** Lets go of what that needs, and leaves it where it is. */
  readonly letGo: () => void
}

/** What a ref of a live session stands for. */
export type Handle =
  | MapHandle
  | ProgHandle
  | LinkHandle
  | BtfHandle
  | ViewHandle
  | FileHandle<"Event">
  | FileHandle<"Target">
  | FileHandle<"Iter">
  | FileHandle<"Stats">
  | TraceEventHandle
  | AttachmentHandle
  | RemovableHandle

/** The handle that a ref of this tag stands for. */
export type HandleOf<R extends Ref> = Extract<Handle, { readonly _tag: R["_tag"] }>

/** Whether a map has one value per CPU. */
export const isPerCpu = (shape: MapShape): boolean => perCpu.has(shape.type)

/**
 * How many bytes of value the kernel reads or writes in a call on one element, at most: it is told no length.
 * `bpf_map_value_size()` in `kernel/bpf/syscall.c`.
 */
export const valueLength = (shape: MapShape, possibleCpus: number): number =>
  isPerCpu(shape)
    ? Math.ceil(shape.valueSize / 8) * 8 * possibleCpus
    : ofDescriptors.has(shape.type)
    ? 4
    : shape.valueSize

/** How many bytes of value a caller must give with these flags. */
export const expectedValueLength = (shape: MapShape, possibleCpus: number, flags: bigint): number =>
  isPerCpu(shape) && (flags & oneCpuFlags) !== 0n ? shape.valueSize : valueLength(shape, possibleCpus)
