/**
 * Calls that are the same for objects of all kinds: found by identifiers, pinned, taken over, closed.
 */
import type { BtfRef, LinkRef, MapRef, ProgRef, Ref } from "../Ref.ts"

/** The kinds of object that the kernel gives identifiers to. */
export type IdKind = "Map" | "Prog" | "Btf" | "Link"

/** The lowest identifier of this kind above `after`, `undefined` after the last. Begin with 0. Needs `CAP_SYS_ADMIN`. */
export interface IdNext {
  readonly _tag: "IdNext"
  readonly kind: IdKind
  readonly after: number
}

/** Opens the object of an identifier: `ENOENT` where it has gone. Needs `CAP_SYS_ADMIN`. */
export interface GetById {
  readonly _tag: "GetById"
  /** What it is called from now on; its kind is the kind of the identifier. */
  readonly as: MapRef | ProgRef | BtfRef | LinkRef
  readonly id: number
}

/** Gives an object a name in a bpf file system. Undone when the session closes, unless it was committed. */
export interface ObjPin {
  readonly _tag: "ObjPin"
  readonly object: MapRef | ProgRef | LinkRef
  readonly path: string
}

/**
 * Takes a name in a bpf file system away; `ENOENT` where there is none. The folder stays. It cannot be undone: the name may be
 * the last that kept its object alive. So no plan has it, and a session refuses it (`EBUSY`) while it has pins that it
 * may still have to take back itself: commit first.
 */
export interface ObjUnpin {
  readonly _tag: "ObjUnpin"
  readonly path: string
}

/** Opens what is pinned at a path. */
export interface ObjGet {
  readonly _tag: "ObjGet"
  readonly as: MapRef | ProgRef | LinkRef
  readonly path: string
}

/** Takes an object of the user's into the session, which never closes it: a descriptor that the user has open. */
export interface Adopt {
  readonly _tag: "Adopt"
  /** What it is called from now on. What the descriptor stands for must be of this kind. */
  readonly as: MapRef | ProgRef | LinkRef
  /** -1 for what whoever runs a loader program gives: no load without a loader has it. */
  readonly fd: number
}

/** Releases what a ref names before its session ends. */
export interface Close {
  readonly _tag: "Close"
  readonly ref: Ref
}
