/**
 * Calls that attach programs without links (`BPF_PROG_ATTACH`), tell who is attached, and open what is attached to.
 *
 * An attachment is released by detaching it, whether its session ends or it is closed; a target by closing its file.
 *
 * Source: `include/uapi/linux/bpf.h`; reference page `attach`, section 17.
 */
import type { Footprint } from "../KernelCall.ts"
import type { AttachmentRef, ProgRef, TargetRef } from "../Ref.ts"
import { type AttachPoint, neighbourReads, type Placement, pointReads } from "./LinkCalls.ts"

/** Opens a file that programs are attached to: a cgroup's folder, a network namespace, an infrared device. */
export interface TargetOpen {
  readonly _tag: "TargetOpen"
  readonly as: TargetRef
  readonly path: string
}

/** Attaches a program where it stays until it is detached, also when nothing refers to it any more. */
export interface ProgAttach extends Placement {
  readonly _tag: "ProgAttach"
  /** Names the attachment: releasing it detaches the program. */
  readonly as: AttachmentRef
  readonly prog: ProgRef
  readonly target: AttachPoint
  /** `BPF_*` attach type. */
  readonly attachType: number
  /** `BPF_F_*` of attachments; those that say what kind of neighbour is meant are added by the kernel implementation. */
  readonly flags: number
  /** The program that is to be replaced; the call has `BPF_F_REPLACE` among its flags. */
  readonly replace?: ProgRef
}

/** Detaches a program that was attached without a link, by whomever. */
export interface ProgDetach extends Placement {
  readonly _tag: "ProgDetach"
  /** Which program; absent: the only one there, where the attach type has no more. */
  readonly prog?: ProgRef
  readonly target: AttachPoint
  readonly attachType: number
  readonly flags: number
}

/** Who is attached somewhere. */
export interface ProgQuery {
  readonly _tag: "ProgQuery"
  readonly target: AttachPoint
  readonly attachType: number
  /** `BPF_F_QUERY_EFFECTIVE` 1: what runs, those of a cgroup's ancestors included. */
  readonly flags: number
}

/** A program that is attached somewhere. */
export interface AttachedProg {
  readonly id: number
  /** `BPF_F_*` it was attached with; 0 where the kernel does not say. */
  readonly flags: number
  /** The link that attaches it, 0 for none or where the kernel does not say. */
  readonly linkId: number
  readonly linkFlags: number
}

/** Who is attached somewhere. */
export interface Attached {
  /** `BPF_F_*` of the attach point. */
  readonly flags: number
  /** Counts changes of the attach point; 0 where it has none. */
  readonly revision: bigint
  /** In the order in which they run. */
  readonly programs: ReadonlyArray<AttachedProg>
}

/** The calls of this file by their tags. */
export interface AttachCalls {
  readonly TargetOpen: TargetOpen
  readonly ProgAttach: ProgAttach
  readonly ProgDetach: ProgDetach
  readonly ProgQuery: ProgQuery
}

/** What they answer. */
export interface AttachResults {
  readonly TargetOpen: void
  readonly ProgAttach: void
  readonly ProgDetach: void
  readonly ProgQuery: Attached
}

/** Which refs a call of this file touches. */
export const attachFootprint = (call: AttachCalls[keyof AttachCalls]): Footprint => {
  switch (call._tag) {
    case "TargetOpen":
      return { defines: call.as, changes: [], reads: [] }
    case "ProgAttach":
      return {
        defines: call.as,
        changes: [],
        reads: [
          call.prog,
          ...pointReads(call.target),
          ...neighbourReads(call.neighbour),
          ...(call.replace === undefined ? [] : [call.replace])
        ]
      }
    case "ProgDetach":
      return {
        defines: undefined,
        changes: [],
        reads: [
          ...(call.prog === undefined ? [] : [call.prog]),
          ...pointReads(call.target),
          ...neighbourReads(call.neighbour)
        ]
      }
    case "ProgQuery":
      return { defines: undefined, changes: [], reads: pointReads(call.target) }
  }
}
