/**
 * What a simulated kernel is like: everything that the live kernel would be asked, and everything that differs between two
 * runs on it. Without options it is the same machine at every run: time, random numbers, task and CPU included.
 */
import * as Result from "effect/Result"
import type { Btf } from "../../../btf/Btf.ts"
import { helperId } from "../../../insn/Helpers.ts"
import type { Clock, Device, EnvironmentOptions, Override, Task } from "../../../vm/helpers/Environment.ts"
import * as Errno from "../abi/Errno.ts"
import { fromErrno, type KernelError } from "../KernelError.ts"
import { type Feature, features as allFeatures, ofRelease, type Support, supportOf } from "../Feature.ts"
import type { ModuleTypes, SymbolAddress } from "../KernelInfo.ts"

/** How a simulated kernel differs from the one that is simulated without options. */
export interface SimulatedOptions {
  /** `uname -r`; default `6.18.0`. Programs see it in `LINUX_KERNEL_VERSION`. */
  readonly release?: string
  /** As Node names it; default `x64`. Only little-endian 64-bit machines are simulated. */
  readonly architecture?: string
  /** Bytes, a power of two of at least 4096, the default. */
  readonly pageSize?: number
  /** At least 1, the default. */
  readonly possibleCpus?: number
  /** `LINUX_VERSION_CODE`; default: that of `release`. */
  readonly kernelVersion?: number
  /** `CONFIG_*` options as `.config` has them after the `=`. Default: none is set. */
  readonly kconfig?: Readonly<Record<string, string>>
  /**
   * Those that differ from the default: every feature is there. One may also be refused, as to who lacks rights. `"release"`:
   * those of `release`, by the version of Linux in which each came; distributions' kernels may have others.
   */
  readonly features?: "release" | Readonly<Partial<Record<Feature, boolean | Support>>>
  /** The addresses of kallsyms. Default: there are none. */
  readonly symbols?: Readonly<Record<string, bigint>> | ReadonlyMap<string, SymbolAddress>
  /**
   * The types of the kernel, as of a profile: CO-RE relocations are applied against them, kernel functions and variables are
   * looked up in them. Default: none; then programs run as they were compiled, as though for this kernel.
   */
  readonly types?: Btf
  /** The types of its modules, each split over `types`; as a function they are read when needed. Default: there are none. */
  readonly modules?: ReadonlyArray<ModuleTypes> | (() => ReadonlyArray<ModuleTypes>)
  /** Contents of kernel variables that programs read (`extern const struct rq runqueues __ksym`); default: zeros. */
  readonly variables?: Readonly<Record<string, Uint8Array>>
  /** Nanoseconds of a clock. Default: one second after boot, and a microsecond later at each reading. */
  readonly time?: (clock: Clock) => bigint
  /** 32 bits. Default: a sequence that `seed` begins. */
  readonly random?: () => number
  /** Begins the random numbers; default 1. */
  readonly seed?: number
  /** The CPU that programs run on, below `possibleCpus`; default 0. */
  readonly cpu?: number
  readonly numaNode?: number
  /** Default: pid and tgid 1, user and group 0, `effect-bpf`. */
  readonly task?: Partial<Task>
  /** The network devices; default: loopback, number 1. */
  readonly devices?: ReadonlyArray<Device>
  /** Replaces helpers by name (`bpf_ktime_get_ns`), or supplies those that are not simulated. */
  readonly helpers?: Readonly<Record<string, Override>>
  /** Supplies kernel functions by name. */
  readonly kfuncs?: Readonly<Record<string, Override>>
  /** Receives each line of `bpf_printk` as it is written. */
  readonly onPrintk?: (line: string) => void
  /** Instructions that one run of a program may take; default 100 million. Helpers that work long take more than one. */
  readonly budget?: number
  /** Whether executions are counted by instruction, which makes programs slower; default false. */
  readonly coverage?: boolean
  /** Bytes that one map may take; default 1 GiB. */
  readonly memoryLimit?: number
  /** File systems in which objects can be pinned; default `/sys/fs/bpf`. */
  readonly bpffs?: ReadonlyArray<string>
}

/** The options with their defaults. */
export interface World {
  readonly release: string
  readonly architecture: string
  readonly kernelVersion: number
  readonly pageSize: number
  readonly possibleCpus: number
  readonly kconfig: Readonly<Record<string, string>>
  readonly features: Readonly<Record<Feature, Support>>
  readonly symbols: ReadonlyMap<string, SymbolAddress>
  readonly types: Btf | undefined
  readonly modules: () => ReadonlyArray<ModuleTypes>
  readonly variables: Readonly<Record<string, Uint8Array>>
  readonly kfuncs: Readonly<Record<string, Override>>
  readonly budget: number
  readonly coverage: boolean
  readonly memoryLimit: number
  readonly seed: number
  readonly bpffs: ReadonlyArray<string>
  readonly environment: EnvironmentOptions
}

const defaultRelease = "6.18.0"
const defaultBudget = 100_000_000
const defaultMemoryLimit = 2 ** 30

/** The clock of a machine that was booted a second ago; every reading takes a microsecond. */
const clockOf = (): (clock: Clock) => bigint => {
  let now = 1_000_000_000n
  // The wall clock reads as the morning of 1 January 2025; the others count from boot.
  const wall = 1_735_711_200_000_000_000n
  return (clock) => {
    now += 1000n
    return clock === "tai" ? wall + now : now
  }
}

/** Random numbers of 32 bits, the same for the same seed (SplitMix32). */
const randomOf = (seed: number): () => number => {
  let state = seed | 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    let mixed = state ^ (state >>> 16)
    mixed = Math.imul(mixed, 0x21f0aaad)
    mixed ^= mixed >>> 15
    mixed = Math.imul(mixed, 0x735a2d97)
    return (mixed ^ (mixed >>> 15)) >>> 0
  }
}

const versionCode = (release: string): number => {
  const [, major, minor, patch] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(release) ?? []
  return (Number(major ?? 0) << 16) + (Number(minor ?? 0) << 8) + Math.min(Number(patch ?? 0), 0xff)
}

const isPowerOfTwo = (value: number): boolean => Number.isInteger(Math.log2(value))

const problemOf = (options: SimulatedOptions): string | undefined => {
  const { budget, cpu, helpers, pageSize, possibleCpus = 1, types } = options
  const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 1
  if (!isCount(possibleCpus) || possibleCpus > 8192) return `possibleCpus is ${possibleCpus}, and must be 1 to 8192`
  if (pageSize !== undefined && !(isPowerOfTwo(pageSize) && pageSize >= 4096 && pageSize <= 65536)) {
    return `pageSize is ${pageSize}, and must be a power of two from 4096 to 65536`
  }
  if (cpu !== undefined && !(Number.isInteger(cpu) && cpu >= 0 && cpu < possibleCpus)) {
    return `cpu is ${cpu}, and must be below possibleCpus, ${possibleCpus}`
  }
  if (budget !== undefined && !isCount(budget)) return `budget is ${budget}, and must be a whole number of at least 1`
  if (options.features === "release" && ofRelease(options.release ?? defaultRelease) === undefined) {
    return `release is ${options.release}, and features of a release need its numbers, as 5.4`
  }
  if (types !== undefined && types.byteOrder !== "little") return "types are big-endian, and the machine is not"
  const unknown = Object.keys(helpers ?? {}).find((name) => helperId(name) === undefined)
  return unknown === undefined ? undefined : `helpers has ${unknown}, which is no helper: they are called bpf_…`
}

const featuresOf = (options: NonNullable<SimulatedOptions["features"]>, release: string): World["features"] => {
  const features: Partial<Record<Feature, Support>> = {}
  const given = options === "release" ? ofRelease(release) ?? {} : options
  for (const feature of allFeatures) features[feature] = supportOf(given[feature] ?? true)
  // Every feature has been given its answer.
  return features as Record<Feature, Support>
}

/** Whether a table of symbols is a map; an array of them would not be one. */
const isMap = (symbols: NonNullable<SimulatedOptions["symbols"]>): symbols is ReadonlyMap<string, SymbolAddress> =>
  symbols instanceof Map

/** The options with their defaults, or what is wrong with them as `EINVAL`. */
export const worldOf = (
  options: SimulatedOptions,
  onPrintk: (line: string) => void
): Result.Result<World, KernelError> => {
  const problem = problemOf(options)
  if (problem !== undefined) {
    return Result.fail(fromErrno("session", "the simulated kernel", Errno.numbers.EINVAL, { hint: problem }))
  }
  const release = options.release ?? defaultRelease
  const { cpu, devices, modules = [], numaNode, symbols = {}, task } = options
  return Result.succeed({
    release,
    architecture: options.architecture ?? "x64",
    kernelVersion: options.kernelVersion ?? versionCode(release),
    pageSize: options.pageSize ?? 4096,
    possibleCpus: options.possibleCpus ?? 1,
    kconfig: options.kconfig ?? {},
    features: featuresOf(options.features ?? {}, release),
    symbols: isMap(symbols) ? symbols : new Map(Object.entries(symbols)),
    types: options.types,
    modules: typeof modules === "function" ? modules : () => modules,
    variables: options.variables ?? {},
    kfuncs: options.kfuncs ?? {},
    budget: options.budget ?? defaultBudget,
    coverage: options.coverage ?? false,
    memoryLimit: options.memoryLimit ?? defaultMemoryLimit,
    seed: options.seed ?? 1,
    bpffs: options.bpffs ?? ["/sys/fs/bpf"],
    environment: {
      time: options.time ?? clockOf(),
      random: options.random ?? randomOf(options.seed ?? 1),
      printk: onPrintk,
      cpus: options.possibleCpus ?? 1,
      overrides: new Map([...Object.entries(options.helpers ?? {}), ...Object.entries(options.kfuncs ?? {})]),
      ...(cpu === undefined ? {} : { cpu }),
      ...(numaNode === undefined ? {} : { numaNode }),
      ...(task === undefined ? {} : { task }),
      ...(devices === undefined ? {} : { devices })
    }
  })
}
