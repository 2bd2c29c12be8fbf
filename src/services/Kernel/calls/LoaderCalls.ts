/**
 * The call that runs a loader program: a program inside the kernel that makes kernel calls itself, and leaves the
 * descriptors of what it made in its context.
 *
 * It is a call of its own because what it makes is acquired by its answer: between the program's return and the table of
 * the session nothing may come, or descriptors would be lost.
 */
import type { MapRef, ProgRef } from "../Ref.ts"

/** Memory of the caller that a context points to. */
export interface LoaderMemory {
  /** Where in the context its address goes, bytes; 8 bytes wide. */
  readonly at: number
  readonly bytes: Uint8Array
}

/** A descriptor that a program leaves in its context. */
export interface Published {
  /** Where in the context it is, bytes; 4 bytes wide. 0 there means that the program published nothing. */
  readonly at: number
  /** What it is called from now on; absent where the program published nothing. */
  readonly as: MapRef | ProgRef
}

/** A function of a program that a loader is told of: what one of the programs that it loads is for. */
export interface Lent {
  /** Where in the context the program's descriptor goes, and behind it the id of the function in its types; 8 bytes. */
  readonly at: number
  readonly program: ProgRef
  /** Looked up in the types that came with the program. */
  readonly function: string
}

/** Runs a program of type `SYSCALL` once, and takes over what it published in its context if it returns 0. */
export interface LoaderRun {
  readonly _tag: "LoaderRun"
  readonly prog: ProgRef
  readonly context: Uint8Array
  /** What the context points to. */
  readonly memory: ReadonlyArray<LoaderMemory>
  /** Room for the words of the verifier on what the program loads: where its address goes, and how many bytes it has. */
  readonly log?: { readonly at: number; readonly size: number }
  readonly publishes: ReadonlyArray<Published>
  readonly lends?: ReadonlyArray<Lent>
}

/** What a run of a loader program answers. */
export interface LoaderRunResult {
  /** What the program returned: 0, or a negated error number. */
  readonly retval: number
  /** The context as the program left it, without the addresses that the call has put into it. */
  readonly context: Uint8Array
  /** What the verifier said of the programs that it loaded. */
  readonly log: string
}

/** The signature that a program is loaded with, and who vouches for the key. */
export interface ProgSignature {
  /** CMS `SignedData` in DER, detached. */
  readonly bytes: Uint8Array
  /**
   * A keyring: 0 the built-in trusted keys, 1 these and the secondary ones, 2 the platform's; others are serial numbers,
   * negative ones stand for keyrings of the process (-3 its session's).
   */
  readonly keyring: number
}
