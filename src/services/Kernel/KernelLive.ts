/**
 * The kernel that this process runs on, through bpf(2).
 *
 * Importing this module touches nothing: the foreign function interface is loaded when a session is opened or types are
 * asked for, files of the kernel are read when something of them is asked for. What was learned lives as long as the
 * layer, and serves everything that is loaded through it: the types of vmlinux are read and parsed once, types of modules
 * and symbols again when a module has come or gone.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { hostIsLittle } from "./abi/Arena.ts"
import * as Errno from "./abi/Errno.ts"
import type { FeatureReport } from "./FeatureReport.ts"
import { Kernel, type KernelShape } from "./Kernel.ts"
import { fromErrno, type KernelError } from "./KernelError.ts"
import * as KernelInfo from "./KernelInfo.ts"
import * as Answers from "./live/Answers.ts"
import { type Availability, probe } from "./live/Availability.ts"
import type { Context } from "./live/Context.ts"
import { backendOf, maximumWaiting } from "./live/Backend.ts"
import { enterAsync } from "./live/Enter.ts"
import * as Facts from "./live/Facts.ts"
import * as Features from "./live/Features.ts"
import { type Files, machine } from "./live/Files.ts"
import * as Memlock from "./live/Memlock.ts"
import * as Reactor from "./live/Reactor.ts"
import * as ProgFunctions from "./live/ProgFunctions.ts"
import * as Symbols from "./live/Symbols.ts"
import * as Token from "./live/Token.ts"
import * as Session from "./Session.ts"
import type { Unavailable } from "./sys/Platform.ts"
import * as Epoll from "./sys/Epoll.ts"
import * as Net from "./sys/Net.ts"
import * as Sys from "./sys/Sys.ts"

export type { Availability } from "./live/Availability.ts"
export type { ReportOptions } from "./live/Features.ts"

/** A live kernel on these system calls and facts. */
export interface Parts {
  readonly sys: () => Result.Result<Sys.Sys, Unavailable>
  readonly facts: Facts.Facts
  readonly architecture: string
  /** Default: those of this machine. */
  readonly files?: Files
  readonly memlock?: Memlock.MemlockOption
  /** Default: those of this process. */
  readonly net?: () => Result.Result<Net.Net, Unavailable>
  /** Default: those of this process. */
  readonly epoll?: () => Result.Result<Epoll.Epoll, Unavailable>
}

/** How the kernel of this process is used. */
export interface LiveOptions {
  /**
   * What to do when a kernel before 5.11 refuses a map or program because too much memory is locked: `raise` the limit of this
   * process as far as it goes (the default), raise it to so many bytes, or `leave` it alone. Newer kernels have no such limit.
   */
  readonly memlock?: Memlock.MemlockOption
  /**
   * A BPF token for everything that is asked and loaded, features included: the path of a bpf file system that delegates rights
   * to this process, or `default` for the one at `/sys/fs/bpf` where it does. Default: none.
   */
  readonly token?: string
}

const unavailable = (error: Unavailable): KernelError =>
  fromErrno("session", "the live kernel", Errno.numbers.ENOSYS, { hint: `${error.detail}; ${error.hint}` })

/** `LINUX_VERSION_CODE` of the first kernel that counts maps and programs as memory of the cgroup. */
const firstAccounting = 0x05_0b_00

/** Whether the kernel counts memory by cgroup. Where the probe is refused, as it is by a limit in its way, the version says. */
const accounting = (features: Features.Features, facts: Facts.Facts) => (): boolean | undefined => {
  const support = features.feature("MemcgAccount")
  if (Result.isFailure(support)) return undefined
  if (support.success._tag !== "Refused") return support.success._tag === "Supported"
  const version = facts.kernelVersion()
  return Result.isFailure(version) ? undefined : version.success >= firstAccounting
}

/** A live kernel made of these parts; tests replace the system calls. */
export const fromParts = (parts: Parts): KernelShape => {
  const { architecture, facts, files = machine } = parts
  const gate = Semaphore.makeUnsafe(maximumWaiting)
  const sys = () => Result.mapError(parts.sys(), unavailable)
  let netlink: Result.Result<Net.Net, KernelError> | undefined
  const net = () => netlink ??= Result.mapError((parts.net ?? Net.make)(), unavailable)
  let waiting: Result.Result<Epoll.Epoll, KernelError> | undefined
  const reactors = Reactor.make(() => waiting ??= Result.mapError((parts.epoll ?? Epoll.make)(), unavailable))
  const features = Features.make({ sys, facts, files, architecture })
  const ask = Answers.make(sys, facts, features)
  const hasProgramType = (type: number): boolean | undefined => {
    const support = features.programType(type)
    return Result.isFailure(support) || support.success._tag === "Refused"
      ? undefined
      : support.success._tag === "Supported"
  }
  const memlock = Memlock.make(parts.memlock ?? "raise", accounting(features, facts))
  return {
    name: "live",
    info: Effect.succeed(
      KernelInfo.make({ release: facts.release, architecture, byteOrder: hostIsLittle ? "little" : "big" })
    ),
    ask,
    session: Effect.fnUntraced(function*(options) {
      const opened = yield* Token.wanted(yield* Effect.fromResult(sys()), options?.token)
      const context: Context = {
        sys: opened,
        enterAsync: (request) => gate.withPermit(enterAsync(opened, request)),
        possibleCpus: facts.possibleCpus,
        targets: Symbols.make(opened, facts),
        functionOf: (program, target, name) => ProgFunctions.find(context, program, target, name),
        mapNames: new Map(),
        files,
        net,
        reactor: yield* reactors.session
      }
      return yield* Session.make(backendOf(context, { sys: opened, files, memlock, hasProgramType }), options)
    })
  }
}

/** The kernel of this process. Nothing is loaded or read yet. */
export const make: Effect.Effect<KernelShape> = Effect.sync(() => {
  let bound: Result.Result<Sys.Sys, Unavailable> | undefined
  const sys = () => bound ??= Sys.make()
  return fromParts({ sys, facts: Facts.make(sys), architecture: process.arch })
})

/**
 * The kernel of this process, used as the options say. What it learns is its own: with a token other things are permitted. The
 * token is closed with the scope.
 */
export const makeWith = (options: LiveOptions): Effect.Effect<KernelShape, KernelError, Scope.Scope> =>
  Effect.gen(function*() {
    const bound = Sys.make()
    const plain = yield* Effect.fromResult(Result.mapError(bound, unavailable))
    const sys = Result.succeed(yield* Token.wanted(plain, options.token))
    return fromParts({
      sys: () => sys,
      facts: Facts.make(() => sys),
      architecture: process.arch,
      ...(options.memlock === undefined ? {} : { memlock: options.memlock })
    })
  })

/** The kernel of this process as a service, used as the options say. */
export const layerWith = (options: LiveOptions): Layer.Layer<Kernel, KernelError> =>
  Layer.effect(Kernel, makeWith(options))

/** The kernel of this process as a service. */
export const layer: Layer.Layer<Kernel> = Layer.effect(Kernel, make)

/** Whether calls on the kernel of this process will work, and if not why. Loads and closes a program to find out. */
export const availability: Effect.Effect<Availability> = Effect.suspend(() => probe(Sys.make()))

/**
 * What the kernel of this process supports: features, types of programs and maps, ways to attach, helpers. Thousands of
 * programs are loaded and closed again, none is attached. Fails only where bpf(2) cannot be called at all; what the kernel
 * refuses to tell is an answer.
 */
export const features = (options: Features.ReportOptions = {}): Effect.Effect<FeatureReport, KernelError> =>
  Effect.suspend(() => {
    const bound = Sys.make()
    const sys = () => Result.mapError(bound, unavailable)
    const facts = Facts.make(() => bound)
    return Features.make({ sys, facts, files: machine, architecture: process.arch }).report(options)
  })
