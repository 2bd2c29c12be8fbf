/**
 * Calls that load BTF and ask about it, and what they answer.
 */
import type { BtfRef } from "../Ref.ts"

/** Loads a BTF blob. */
export interface BtfLoad {
  readonly _tag: "BtfLoad"
  readonly as: BtfRef
  readonly bytes: Uint8Array
}

/** What the kernel says of a BTF object. */
export interface BtfGetInfo {
  readonly _tag: "BtfGetInfo"
  readonly btf: BtfRef
  /** With the blob itself. */
  readonly bytes?: boolean
}

/** What the kernel says of a BTF object. */
export interface BtfInfo {
  readonly id: number
  /** `vmlinux`, the name of a module, or `""`: what came with a program has none. */
  readonly name: string
  /** The kernel's own or a module's, not one that a program brought. */
  readonly isKernels: boolean
  /** Bytes of the blob. */
  readonly size: number
  /** The blob: absent unless asked for. */
  readonly bytes?: Uint8Array
}
