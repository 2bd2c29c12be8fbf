/**
 * What programs find around them: time, CPU, task, devices, the log; all of it can be replaced, and what programs do to the
 * outside (redirects, log lines, wake-ups) is recorded or handed to a function.
 *
 * An environment belongs to one memory, thus to one simulated kernel. Helpers and contexts of a program share one: through
 * it a helper finds the packet that a context pointer stands for, and the map that an address stands for.
 */
import type { Context } from "../contexts/Context.ts"
import type { Machine } from "../Vm.ts"
import type { SimulatedMap } from "../maps/SimulatedMap.ts"
import type * as Memory from "../Memory.ts"
import type { Program } from "../Program.ts"
import type { BoundMap } from "./BoundMap.ts"

/** The clocks that programs can read. */
export type Clock = "monotonic" | "boot" | "coarse" | "tai"

/** The task in whose context programs run. */
export interface Task {
  /** The thread's id, `pid` of the kernel's task. */
  readonly pid: number
  /** The process's id. */
  readonly tgid: number
  readonly uid: number
  readonly gid: number
  /** At most 15 bytes of it are seen. */
  readonly comm: string
}

/** A network device that packets may come from and go to. */
export interface Device {
  readonly ifindex: number
  /** 6 bytes. */
  readonly address: Uint8Array
  /** 6 bytes: where packets to all go. The loopback device has none, 0. */
  readonly broadcast: Uint8Array
  /** Receive queues that a program may be run on: below this number. */
  readonly queues: number
}

/** Where a program sent a packet. Nothing is sent: this is the record of it. */
export interface Redirect {
  readonly helper: "bpf_redirect" | "bpf_redirect_map" | "bpf_clone_redirect"
  /** The interface, or the key of the map. */
  readonly target: number
  readonly flags: bigint
  readonly map?: BoundMap
  /** The packet as it was cloned. */
  readonly packet?: Uint8Array
}

/** A call as an override sees it. The registers hold the arguments still. */
export interface Call {
  readonly machine: Machine
  readonly name: string
  /** The `size` bytes that argument `number` (1 to 5) points to, to be read or written; undefined where there are none. */
  readonly bytes: (number: number, size: number) => Uint8Array | undefined
  /** The string that argument `number` points to, without its NUL. */
  readonly string: (number: number) => string | undefined
}

/** How a mocked function is told its arguments: `pointer` and `u64` as they are, others by width and sign. */
export type ArgumentType = "u8" | "u16" | "u32" | "u64" | "s8" | "s16" | "s32" | "s64" | "bool" | "pointer"

/** What stands in for a helper or kernel function; the low 64 bits of its answer become r0. */
export type OverrideFunction = (args: ReadonlyArray<bigint>, call: Call) => bigint | number

/** An override, with the types of its arguments where they are known (default: five of `u64`). */
export type Override = OverrideFunction | {
  readonly params: ReadonlyArray<ArgumentType>
  readonly call: OverrideFunction
}

/** A record of a ring buffer that a program has reserved. */
export interface ReservedRecord {
  readonly map: BoundMap
  readonly region: Memory.Region
  /** Where its payload begins in the ring's memory. */
  readonly payload: number
}

/** What an environment may be made with. */
export interface EnvironmentOptions {
  /** Nanoseconds; default: the host's clock, one reading per call. */
  readonly time?: (clock: Clock) => bigint
  /** 64-bit ticks; default: derived from `time("monotonic")` at 250 ticks a second, as the kernel starts them. */
  readonly jiffies?: () => bigint
  /** 32 bits; default: `Math.random`. */
  readonly random?: () => number
  /** Default 0. */
  readonly cpu?: number
  /** CPUs of the machine, those of per-CPU maps; default 1. */
  readonly cpus?: number
  /** Default 0. */
  readonly numaNode?: number
  readonly task?: Partial<Task>
  /** Receives each line that `bpf_trace_printk` and `bpf_trace_vprintk` write; default: it is dropped. */
  readonly printk?: (text: string) => void
  /** Default: the loopback device, number 1. */
  readonly devices?: ReadonlyArray<Device>
  /** By helper id, by name (`bpf_ktime_get_ns`), or by the name of a kernel function. They come before what is built in. */
  readonly overrides?: ReadonlyMap<number | string, Override>
  /** A ring buffer or perf buffer wants its consumer to look. */
  readonly wake?: (map: BoundMap) => void
  /** The program that a slot of a program array stands for. */
  readonly programOf?: (handle: unknown) => Program | undefined
}

/** An environment. */
export interface Environment {
  readonly memory: Memory.Memory
  readonly time: (clock: Clock) => bigint
  readonly jiffies: () => bigint
  readonly random: () => number
  /** The CPU that programs run on: the host may choose another one between runs. */
  cpu: number
  readonly cpus: number
  readonly numaNode: number
  readonly task: Task
  readonly printk: (text: string) => void
  readonly devices: ReadonlyMap<number, Device>
  readonly overrides: ReadonlyMap<number | string, Override>
  readonly wake: (map: BoundMap) => void
  readonly programOf: (handle: unknown) => Program | undefined
  /** What programs redirected, in order; the host empties it when it likes. */
  readonly redirects: Array<Redirect>
  /** Open contexts by the number of their region. */
  readonly contexts: Map<number, Context>
  /** Maps by the number of their handle's region. */
  readonly maps: Map<number, BoundMap>
  /** Records of ring buffers that are reserved, by the number of their region. */
  readonly records: Map<number, ReservedRecord>
  /** What ends the drains of user ring buffers that are under way. */
  readonly drains: Set<() => void>
  /** The same maps by what they are. */
  readonly bound: Map<SimulatedMap, BoundMap>
}

/** The loopback device of every network namespace. */
export const loopback: Device = { ifindex: 1, address: new Uint8Array(6), broadcast: new Uint8Array(6), queues: 1 }

const hostTime = (): bigint => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e3)) * 1000n

/** Ticks at boot: the kernel's counter begins five minutes before its low half overflows. */
const initialJiffies = 0x1_0000_0000n - 300n * 250n

/** Makes the environment of programs whose memory this is. */
export const make = (memory: Memory.Memory, options: EnvironmentOptions = {}): Environment => {
  const time = options.time ?? hostTime
  return {
    memory,
    time,
    jiffies: options.jiffies ?? (() => initialJiffies + time("monotonic") / 4_000_000n),
    random: options.random ?? (() => Math.floor(Math.random() * 0x1_0000_0000)),
    cpu: options.cpu ?? 0,
    cpus: options.cpus ?? 1,
    numaNode: options.numaNode ?? 0,
    task: { pid: 1, tgid: 1, uid: 0, gid: 0, comm: "effect-bpf", ...options.task },
    printk: options.printk ?? (() => undefined),
    devices: new Map((options.devices ?? [loopback]).map((device) => [device.ifindex, device])),
    overrides: options.overrides ?? new Map(),
    wake: options.wake ?? (() => undefined),
    programOf: options.programOf ?? (() => undefined),
    redirects: [],
    contexts: new Map(),
    maps: new Map(),
    records: new Map(),
    drains: new Set(),
    bound: new Map()
  }
}
