/**
 * What programs are attached to, and the attachments.
 */
import type { CgroupOptions } from "../attach/Cgroup.ts"
import type { KprobeOptions } from "../attach/Kprobe.ts"
import type { KprobeMultiOptions } from "../attach/KprobeMulti.ts"
import type { KsyscallOptions } from "../attach/Ksyscall.ts"
import type { NetfilterOptions } from "../attach/Netfilter.ts"
import type { NetkitOptions } from "../attach/Netkit.ts"
import type { NetnsOptions } from "../attach/Netns.ts"
import type { DeviceTarget, PlaceOptions } from "../attach/Network.ts"
import type { PerfEventOptions } from "../attach/PerfEvent.ts"
import type { RawTracepointOptions } from "../attach/RawTracepoint.ts"
import type { SockmapOptions } from "../attach/Sockmap.ts"
import type { Direction as TcDirection, TcOptions } from "../attach/Tc.ts"
import type { TcxOptions } from "../attach/Tcx.ts"
import type { TracepointOptions } from "../attach/Tracepoint.ts"
import type { TracingOptions } from "../attach/Tracing.ts"
import type { TracingMultiOptions } from "../attach/TracingMulti.ts"
import type { UprobeOptions } from "../attach/Uprobe.ts"
import type { UprobeMultiOptions } from "../attach/UprobeMulti.ts"
import type { UsdtOptions } from "../attach/Usdt.ts"
import type { XdpOptions } from "../attach/Xdp.ts"
import type { LinkInfo } from "../services/Kernel/calls/LinkCalls.ts"
import type { RequestOptions, Resource } from "./Resource.ts"

export type { LinkInfo } from "../services/Kernel/calls/LinkCalls.ts"

/** Beside whom a program is placed: anybody's program or link, by its identifier. */
export type NeighbourId =
  | { readonly _tag: "ProgId"; readonly id: number }
  | { readonly _tag: "LinkId"; readonly id: number }

/** Options without those that name programs of a session. */
type Plain<O> = Omit<O, "replace" | "neighbour">

/** The same, with a neighbour by its identifier. */
type Placed<O extends PlaceOptions> = Plain<O> & { readonly neighbour?: NeighbourId }

/** What a program is attached to, where its section does not say it, or something else. */
export type Target =
  | { readonly kind: "xdp" } & DeviceTarget & Plain<XdpOptions>
  | { readonly kind: "tcx" } & DeviceTarget & Placed<TcxOptions>
  | { readonly kind: "tc"; readonly direction: TcDirection } & DeviceTarget & TcOptions
  | { readonly kind: "netkit" } & DeviceTarget & Placed<NetkitOptions>
  | { readonly kind: "cgroup"; readonly path: string } & Placed<CgroupOptions>
  | { readonly kind: "netfilter" } & NetfilterOptions
  | { readonly kind: "netns" } & NetnsOptions
  | { readonly kind: "sockmap"; readonly map: string } & Plain<SockmapOptions>
  | { readonly kind: "lirc"; readonly path: string }
  | { readonly kind: "kprobe" } & KprobeOptions
  | { readonly kind: "kprobe.multi" } & KprobeMultiOptions
  | { readonly kind: "ksyscall" } & KsyscallOptions
  | { readonly kind: "uprobe" } & UprobeOptions
  | { readonly kind: "uprobe.multi" } & UprobeMultiOptions
  | { readonly kind: "usdt" } & UsdtOptions
  | { readonly kind: "tracepoint" } & TracepointOptions
  | { readonly kind: "raw_tracepoint" } & RawTracepointOptions
  | { readonly kind: "tracing" } & TracingOptions
  | { readonly kind: "tracing.multi" } & TracingMultiOptions
  | { readonly kind: "perf_event" } & PerfEventOptions
  | { readonly kind: "iter" }

/** An attachment. Closing it detaches the program; so does closing its object. */
export interface Link extends Resource {
  /** How it is attached: `kprobe`, `uprobe.multi`, `cgroup`. */
  readonly kind: string
  /** To what, for people. */
  readonly target: string
  /** The name of the program, or of the struct_ops map. */
  readonly program: string
  /** By what it is attached: a link, or what came before links. */
  readonly means: string
  /** What the kernel says of the link; `undefined` where it is attached by something else. */
  readonly info: (options?: RequestOptions) => Promise<LinkInfo | undefined>
  /** Puts another program of the same object in the place of this one, at once and without a gap. */
  readonly update: (program: string, options?: RequestOptions) => Promise<void>
  /** Gives the link a name in a bpf file system: it stays attached when it is closed, and when the process ends. */
  readonly pin: (path: string, options?: RequestOptions) => Promise<void>
  /** Takes the name away that was given last. */
  readonly unpin: (options?: RequestOptions) => Promise<void>
  /** Takes the attachment away, now and for everybody, pinned or not. */
  readonly detach: (options?: RequestOptions) => Promise<void>
  /** Of an iterator: everything that one run of it writes, as text. */
  readonly text: (options?: RequestOptions) => Promise<string>
}

/** What attaching a whole object may be told. */
export interface AttachOptions extends RequestOptions {
  /** Programs and struct_ops maps that are left alone, by name. */
  readonly except?: ReadonlyArray<string>
}

/** A program that was not attached, and why. */
export interface Skipped {
  readonly name: string
  readonly section: string
  readonly because: string
}

/** What is attached of an object. Closing it detaches all of it. */
export interface Attached extends Resource {
  /** By the names of programs and struct_ops maps. */
  readonly links: ReadonlyMap<string, Link>
  readonly skipped: ReadonlyArray<Skipped>
}
