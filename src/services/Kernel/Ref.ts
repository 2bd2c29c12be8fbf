/**
 * Names for kernel objects inside one session.
 *
 * A plan speaks of maps and programs that do not exist yet, so it names them instead of holding descriptors. What a
 * name became (a descriptor, a slot of a loader's blob, an object in memory) is known to the session alone.
 */

/** The kinds of kernel object that a session can name. */
export type RefTag =
  | "Map"
  | "Prog"
  | "Btf"
  | "Link"
  | "View"
  | "Event"
  | "TraceEvent"
  | "Target"
  | "Iter"
  | "Attachment"
  | "Stats"

interface RefOf<Tag extends RefTag> {
  readonly _tag: Tag
  /** Position in the session's table of this kind; a plan numbers its refs from 0. */
  readonly index: number
  /** The session that handed this ref out. Refs of plans carry none: they mean the session that executes the plan. */
  readonly session?: symbol
}

/** Names a map. */
export interface MapRef extends RefOf<"Map"> {}

/** Names a program. */
export interface ProgRef extends RefOf<"Prog"> {}

/** Names a BTF object that was loaded into the kernel. */
export interface BtfRef extends RefOf<"Btf"> {}

/** Names a link: the attachment of a program. */
export interface LinkRef extends RefOf<"Link"> {}

/** Names a memory mapping of a map. */
export interface ViewRef extends RefOf<"View"> {}

/** Names a perf event. */
export interface EventRef extends RefOf<"Event"> {}

/** Names an event that was added to tracefs. */
export interface TraceEventRef extends RefOf<"TraceEvent"> {}

/** Names an open file that programs are attached to: a cgroup's folder, a network namespace. */
export interface TargetRef extends RefOf<"Target"> {}

/** Names a run of an iterator, which is read like a file. */
export interface IterRef extends RefOf<"Iter"> {}

/** Names the attachment of a program that has no link. */
export interface AttachmentRef extends RefOf<"Attachment"> {}

/** Names the measuring of how programs run, which is on while somebody holds it. */
export interface StatsRef extends RefOf<"Stats"> {}

/** Any name that a session understands. */
export type Ref =
  | MapRef
  | ProgRef
  | BtfRef
  | LinkRef
  | ViewRef
  | EventRef
  | TraceEventRef
  | TargetRef
  | IterRef
  | AttachmentRef
  | StatsRef

/** Names the map of this index. */
export const map = (index: number): MapRef => ({ _tag: "Map", index })

/** Names the program of this index. */
export const prog = (index: number): ProgRef => ({ _tag: "Prog", index })

/** Names the BTF object of this index. */
export const btf = (index: number): BtfRef => ({ _tag: "Btf", index })

/** Names the link of this index. */
export const link = (index: number): LinkRef => ({ _tag: "Link", index })

/** Names the memory mapping of this index. */
export const view = (index: number): ViewRef => ({ _tag: "View", index })

/** Names the perf event of this index. */
export const event = (index: number): EventRef => ({ _tag: "Event", index })

/** Names the event of tracefs of this index. */
export const traceEvent = (index: number): TraceEventRef => ({ _tag: "TraceEvent", index })

/** Names the attach target of this index. */
export const target = (index: number): TargetRef => ({ _tag: "Target", index })

/** Names the run of an iterator of this index. */
export const iter = (index: number): IterRef => ({ _tag: "Iter", index })

/** Names the attachment of this index. */
export const attachment = (index: number): AttachmentRef => ({ _tag: "Attachment", index })

/** Names the measuring of this index. */
export const stats = (index: number): StatsRef => ({ _tag: "Stats", index })

/** A text that is equal for two refs exactly when they name the same object of one session. */
export const key = (ref: Ref): string => `${ref._tag.toLowerCase()}#${ref.index}`
