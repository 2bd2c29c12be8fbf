/**
 * How the programs of each kind are attached: what their user has to say, and what their sections say already.
 *
 * A skeleton names only the kinds that its object has, so that a bundler leaves the others out.
 */
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { AttachFailure } from "../attach/AttachError.ts"
import * as AttachSpec from "../stages/open/AttachSpec.ts"
import * as Cgroup from "../attach/Cgroup.ts"
import * as Iter from "../attach/Iter.ts"
import * as Kprobe from "../attach/Kprobe.ts"
import * as KprobeMulti from "../attach/KprobeMulti.ts"
import * as Ksyscall from "../attach/Ksyscall.ts"
import type { Link } from "../attach/Link.ts"
import * as Lirc from "../attach/Lirc.ts"
import * as Netfilter from "../attach/Netfilter.ts"
import * as Netkit from "../attach/Netkit.ts"
import * as Netns from "../attach/Netns.ts"
import type * as Network from "../attach/Network.ts"
import * as PerfEvent from "../attach/PerfEvent.ts"
import * as RawTracepoint from "../attach/RawTracepoint.ts"
import * as Sockmap from "../attach/Sockmap.ts"
import * as Tc from "../attach/Tc.ts"
import * as Tcx from "../attach/Tcx.ts"
import * as Tracepoint from "../attach/Tracepoint.ts"
import * as Tracing from "../attach/Tracing.ts"
import * as TracingMulti from "../attach/TracingMulti.ts"
import * as Uprobe from "../attach/Uprobe.ts"
import * as UprobeMulti from "../attach/UprobeMulti.ts"
import * as Usdt from "../attach/Usdt.ts"
import * as Xdp from "../attach/Xdp.ts"
import type { CodecError } from "../btf/Codec.ts"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import type { LoadedObject } from "../stages/load/Execute.ts"
import type { Program } from "../stages/open/BpfObject.ts"

/** What test runs take for contexts, and what becomes of them. */
export interface ContextCodec<in out C> {
  readonly encode: (context: C) => Result.Result<Uint8Array | ReadonlyArray<bigint>, CodecError>
  readonly decode: (bytes: Uint8Array) => Result.Result<C, CodecError>
}

/** Contexts that are bytes. */
export const bytesContext: ContextCodec<Uint8Array> = { encode: Result.succeed, decode: Result.succeed }

/** Contexts that are arguments, each of 64 bits. The kernel gives none back. */
const argumentsContext: ContextCodec<ReadonlyArray<bigint>> = {
  encode: Result.succeed,
  decode: () => Result.succeed([])
}

/** A loaded object, as far as its programs are attached. */
export type Attaching = Pick<LoadedObject, "object" | "session" | "program" | "map">

/** A kind of programs, and what it takes to attach one. `C` is what its programs are run on. */
export interface Kind<in O, in out C = Uint8Array> {
  readonly name: string
  readonly context: ContextCodec<C>
  /** Attaches a program: `options` over what its section says. */
  readonly attach: (
    loaded: Attaching,
    program: Program,
    options: O
  ) => Effect.Effect<Link, AttachFailure, Kernel | Scope.Scope>
}

/** A function of the kernel, by name, or an address of it. */
export type KprobeTarget = Kprobe.KprobeOptions & ({ readonly symbol: string } | { readonly offset: bigint })

/** Functions of the kernel: by a pattern, by their names or by their addresses. */
export type KprobeMultiTarget =
  & KprobeMulti.KprobeMultiOptions
  & (
    | { readonly pattern: string }
    | { readonly symbols: ReadonlyArray<string> }
    | { readonly addresses: ReadonlyArray<bigint> }
  )

/** A system call. */
export type KsyscallTarget = Ksyscall.KsyscallOptions

/** A function of a program or library, by name, or a place in its file. */
export type UprobeTarget = Uprobe.UprobeOptions & ({ readonly symbol: string } | { readonly offset: bigint })

/** Functions of a program or library: by a pattern, by their names or by their places. */
export type UprobeMultiTarget =
  & UprobeMulti.UprobeMultiOptions
  & (
    | { readonly pattern: string }
    | { readonly symbols: ReadonlyArray<string> }
    | { readonly offsets: ReadonlyArray<bigint> }
  )

/** A probe of a program or library. */
export type UsdtTarget = Usdt.UsdtOptions

/** A tracepoint, by its category and name. */
export type TracepointTarget = Tracepoint.TracepointOptions

/** A tracepoint, by its name. */
export type RawTracepointTarget = RawTracepoint.RawTracepointOptions

/** What the program was loaded for. */
export type TracingTarget = Tracing.TracingOptions

/** Functions of the kernel or a module, by a pattern or their BTF ids. */
export type TracingMultiTarget =
  & TracingMulti.TracingMultiOptions
  & ({ readonly pattern: string } | { readonly ids: ReadonlyArray<number> })

/** What an iterator goes over: a map whose elements are wanted, or some of everything. */
export type IterTarget = Iter.IterOptions

/** Counts of a clock or counter. */
export type PerfEventTarget = PerfEvent.PerfEventOptions

/** A network device. */
export type XdpTarget = Network.DeviceTarget & Xdp.XdpOptions

/** A network device; the direction is as the section says, unless given. */
export type TcxTarget = Network.DeviceTarget & Tcx.TcxOptions

/** A network device and a direction, or a class of it. */
export type TcTarget = Network.DeviceTarget & Tc.TcOptions & { readonly direction: Tc.Direction }

/** A netkit device; the end is as the section says, unless given. */
export type NetkitTarget = Network.DeviceTarget & Netkit.NetkitOptions

/** A hook of netfilter. */
export type NetfilterTarget = Netfilter.NetfilterOptions

/** A network namespace, by default that of this process. */
export type NetnsTarget = Netns.NetnsOptions

/** A cgroup, by the path of its folder. */
export type CgroupTarget = { readonly path: string } & Cgroup.CgroupOptions

/** A map of sockets, by its name in the object or as it is. */
export type SockmapTarget = { readonly map: string | MapRef } & Sockmap.SockmapOptions

/** An infrared receiver: `/dev/lirc0`. */
export interface LircTarget {
  readonly path: string
}

/** What a program's section says of how it is attached, as options; nothing where it says nothing. */
const saidBy = <T extends AttachSpec.AttachSpec["_tag"]>(
  program: Program,
  tag: T
): Partial<Omit<Extract<AttachSpec.AttachSpec, { readonly _tag: T }>, "_tag">> => {
  const { definition, section } = program
  const says = definition === undefined ? undefined : AttachSpec.read(definition.autoAttach, section)
  if (says === undefined || Result.isFailure(says) || says.success._tag === "Skip") return {}
  const { _tag, ...said } = says.success.spec
  // The tag says whose fields they are, which the compiler cannot follow through a type parameter.
  return _tag === tag ? said as Partial<Omit<Extract<AttachSpec.AttachSpec, { readonly _tag: T }>, "_tag">> : {}
}

const prefixOf = ({ section }: Program): string => section.split("/", 1)[0] ?? section

/** Whether programs of this section run when functions return. */
const isReturn = (program: Program): boolean => /^(kret|uret)/.test(prefixOf(program))

/** Whether programs of this section run at the beginning and at the return. */
const isSession = (program: Program): boolean => /^[ku]probe\.session/.test(prefixOf(program))

/** What a section says of the place, unless the options name another. */
const unless = <A extends object>(isNamed: boolean, said: A): Partial<A> => isNamed ? {} : said

/** Programs at functions of the kernel. */
export const kprobe: Kind<Kprobe.KprobeOptions> = {
  name: "kprobe",
  context: bytesContext,
  attach: (loaded, program, options) => {
    const { offset, symbol } = saidBy(program, "Kprobe")
    const isNamed = options.symbol !== undefined || options.offset !== undefined
    return Kprobe.attach(loaded, program.name, {
      ...unless(isNamed || symbol === undefined, { symbol: symbol ?? "", offset: offset ?? 0n }),
      isReturn: isReturn(program),
      ...options
    })
  }
}

/** Programs at many functions of the kernel. */
export const kprobeMulti: Kind<KprobeMulti.KprobeMultiOptions> = {
  name: "kprobe.multi",
  context: bytesContext,
  attach: (loaded, program, options) => {
    const { pattern } = saidBy(program, "KprobeMulti")
    const { addresses, pattern: other, symbols } = options
    const isNamed = [addresses, other, symbols].some((each) => each !== undefined)
    return KprobeMulti.attach(loaded, program.name, {
      ...unless(isNamed || pattern === undefined, { pattern: pattern ?? "" }),
      isReturn: isReturn(program),
      isSession: isSession(program),
      ...options
    })
  }
}

/** Programs at system calls. */
export const ksyscall: Kind<Partial<KsyscallTarget>> = {
  name: "ksyscall",
  context: bytesContext,
  attach: (loaded, program, options) =>
    Ksyscall.attach(loaded, program.name, {
      name: "",
      isReturn: isReturn(program),
      ...saidBy(program, "Ksyscall"),
      ...options
    })
}

/** Programs at functions of programs and libraries. */
export const uprobe: Kind<Partial<Uprobe.UprobeOptions>> = {
  name: "uprobe",
  context: bytesContext,
  attach: (loaded, program, options) => {
    const { offset, path, symbol } = saidBy(program, "Uprobe")
    const isNamed = options.symbol !== undefined || options.offset !== undefined
    return Uprobe.attach(loaded, program.name, {
      path: path ?? "",
      ...unless(isNamed || symbol === undefined, { symbol: symbol ?? "", offset: offset ?? 0n }),
      isReturn: isReturn(program),
      ...options
    })
  }
}

/** Programs at many functions of a program or library. */
export const uprobeMulti: Kind<Partial<UprobeMulti.UprobeMultiOptions>> = {
  name: "uprobe.multi",
  context: bytesContext,
  attach: (loaded, program, options) => {
    const { path, pattern } = saidBy(program, "UprobeMulti")
    const { offsets, pattern: other, symbols } = options
    const isNamed = [offsets, other, symbols].some((each) => each !== undefined)
    return UprobeMulti.attach(loaded, program.name, {
      path: path ?? "",
      ...unless(isNamed || pattern === undefined, { pattern: pattern ?? "" }),
      isReturn: isReturn(program),
      isSession: isSession(program),
      ...options
    })
  }
}

/** Programs at probes of programs and libraries (USDT). */
export const usdt: Kind<Partial<UsdtTarget>> = {
  name: "usdt",
  context: bytesContext,
  attach: (loaded, program, options) =>
    Usdt.attach(loaded, program.name, { path: "", provider: "", name: "", ...saidBy(program, "Usdt"), ...options })
}

/** Programs at tracepoints. */
export const tracepoint: Kind<Partial<TracepointTarget>> = {
  name: "tracepoint",
  context: bytesContext,
  attach: (loaded, program, options) =>
    Tracepoint.attach(loaded, program.name, { category: "", name: "", ...saidBy(program, "Tracepoint"), ...options })
}

/** Programs at tracepoints, with the arguments as the kernel passes them. */
export const rawTracepoint: Kind<Partial<RawTracepointTarget>, ReadonlyArray<bigint>> = {
  name: "raw_tracepoint",
  context: argumentsContext,
  attach: (loaded, program, options) =>
    RawTracepoint.attach(loaded, program.name, { name: "", ...saidBy(program, "RawTracepoint"), ...options })
}

/** Programs that were loaded for what they are attached to: `fentry`, `fexit`, `tp_btf`, `lsm`, `freplace`. */
export const tracing: Kind<TracingTarget> = {
  name: "tracing",
  context: bytesContext,
  attach: (loaded, program, options) => Tracing.attach(loaded, program.name, options)
}

/** Programs at many functions, by their types. */
export const tracingMulti: Kind<TracingMulti.TracingMultiOptions> = {
  name: "tracing.multi",
  context: bytesContext,
  attach: (loaded, program, options) => {
    const { module, pattern } = saidBy(program, "TracingMulti")
    const isNamed = options.pattern !== undefined || options.ids !== undefined
    return TracingMulti.attach(loaded, program.name, {
      ...unless(isNamed || pattern === undefined, { pattern: pattern ?? "" }),
      ...(module === undefined ? {} : { module }),
      ...options
    })
  }
}

/** Iterators. */
export const iter: Kind<IterTarget> = {
  name: "iter",
  context: bytesContext,
  attach: (loaded, program, options) => Iter.attach(loaded, program.name, options)
}

/** Programs at clocks and counters. */
export const perfEvent: Kind<PerfEventTarget> = {
  name: "perf_event",
  context: bytesContext,
  attach: (loaded, program, options) => PerfEvent.attach(loaded, program.name, options)
}

/** Programs at what network devices receive. */
export const xdp: Kind<XdpTarget> = {
  name: "xdp",
  context: bytesContext,
  attach: (loaded, program, options) => Xdp.attach(loaded, program.name, options, options)
}

/** Programs at what comes in and goes out of network devices, in an order of their own. */
export const tcx: Kind<TcxTarget> = {
  name: "tcx",
  context: bytesContext,
  attach: (loaded, program, options) => Tcx.attach(loaded, program.name, options, options)
}

/** Programs in traffic control. */
export const tc: Kind<TcTarget> = {
  name: "tc",
  context: bytesContext,
  attach: (loaded, program, options) => Tc.attach(loaded, program.name, options, options.direction, options)
}

/** Programs at netkit devices. */
export const netkit: Kind<NetkitTarget> = {
  name: "netkit",
  context: bytesContext,
  attach: (loaded, program, options) => Netkit.attach(loaded, program.name, options, options)
}

/** Programs at hooks of netfilter. */
export const netfilter: Kind<NetfilterTarget> = {
  name: "netfilter",
  context: bytesContext,
  attach: (loaded, program, options) => Netfilter.attach(loaded, program.name, options)
}

/** Flow dissectors and `sk_lookup` programs. */
export const netns: Kind<NetnsTarget> = {
  name: "netns",
  context: bytesContext,
  attach: (loaded, program, options) => Netns.attach(loaded, program.name, options)
}

/** Programs of cgroups. */
export const cgroup: Kind<CgroupTarget> = {
  name: "cgroup",
  context: bytesContext,
  attach: (loaded, program, { path, ...options }) => Cgroup.attach(loaded, program.name, path, options)
}

/** Programs of maps of sockets. */
export const sockmap: Kind<SockmapTarget> = {
  name: "sockmap",
  context: bytesContext,
  attach: (loaded, program, { map, ...options }) => Sockmap.attach(loaded, program.name, map, options)
}

/** Programs of infrared receivers. */
export const lirc: Kind<LircTarget> = {
  name: "lirc",
  context: bytesContext,
  attach: (loaded, program, { path }) => Lirc.attach(loaded, program.name, path)
}
