/**
 * The helpers of a loader that need no kernel: reading memory, printing, and looking names up, which is answered by whoever
 * replays the loader.
 *
 * Source: `bpf_btf_find_by_name_kind` in `kernel/bpf/btf.c`, `bpf_kallsyms_lookup_name` in `kernel/bpf/syscall.c`,
 * `bpf_trace_printk` in `kernel/trace/bpf_trace.c` (Linux 6.18).
 */
import * as Btf from "../../../btf/BtfKind.ts"
import * as Errno from "../../../services/Kernel/abi/Errno.ts"
import type { KernelSymbol } from "../../../services/Kernel/KernelCall.ts"
import * as Vm from "../../../vm/Vm.ts"
import * as Layout from "../LoaderLayout.ts"
import { bytesAt } from "./ReplayMemory.ts"
import * as ReplayTable from "./ReplayTable.ts"

/** What helpers note and ask. */
export interface HelperHost {
  readonly table: ReplayTable.Table
  /** Whether memory is little-endian. */
  readonly little: boolean
  readonly find: (lookup: ReplayTable.Lookup) => ReplayTable.Found | undefined
  /** What the loader printed, line by line. */
  readonly printed: Array<string>
}

/** The ids of helpers that libbpf's loaders call and ours need not. */
const TRACE_PRINTK = 6
const KALLSYMS_LOOKUP_NAME = 179

/** Copying costs an instruction of the budget for so many bytes. */
export const BYTES_PER_INSTRUCTION = 8

/** What a call of a helper costs that is more than a few instructions of this machine, in instructions of the budget. */
export const CALL_COST = 256

const kinds: ReadonlyMap<number, KernelSymbol["kind"]> = new Map([
  [Btf.BTF_KIND_FUNC, "Func"],
  [Btf.BTF_KIND_VAR, "Var"],
  [Btf.BTF_KIND_TYPEDEF, "Typedef"],
  [Btf.BTF_KIND_STRUCT, "Struct"]
])

/** The memory that a register points to. */
const memoryAt = (machine: Vm.Machine, register: number, size: number, write: boolean): Uint8Array | undefined =>
  bytesAt(machine.memory, machine.low[register] ?? 0, machine.high[register] ?? 0, size, write)

/** A size in a register; `undefined` where it is none. */
const sizeIn = (machine: Vm.Machine, register: number): number | undefined => {
  const size = machine.low[register] ?? 0
  return machine.high[register] !== 0 || size < 0 ? undefined : size
}

const noSize = (machine: Vm.Machine, register: number): Vm.Handled =>
  Vm.refuse(machine, `${Vm.register(machine, register)} is no size of memory`)

/** The fault of memory that cannot be written: `writable` notes it, for it permits no more than `memoryAt`. */
const faultAt = (machine: Vm.Machine, register: number, size: number): Vm.Handled => {
  Vm.writable(machine, register, size)
  return Vm.FAULTED
}

/** Reads memory into memory, or fills it with zeroes and answers `-EFAULT`: both helpers that copy do that. */
const copy: Vm.Helper = (machine) => {
  const size = sizeIn(machine, 2)
  if (size === undefined) return noSize(machine, 2)
  const into = memoryAt(machine, 1, size, true)
  if (into === undefined) return faultAt(machine, 1, size)
  Vm.charge(machine, size / BYTES_PER_INSTRUCTION)
  const from = memoryAt(machine, 3, size, false)
  if (from === undefined) {
    into.fill(0)
    return Vm.returnNumber(machine, -Errno.numbers.EFAULT)
  }
  into.set(from)
  return Vm.returnNumber(machine, 0)
}

/** The longest name that the kernel has of anything: `KSYM_NAME_LEN`. */
const MAX_NAME = 512

/** The name in memory that r1 and r2 tell of; `undefined` where the kernel takes it for none. */
const nameIn = (machine: Vm.Machine): string | undefined => {
  const size = sizeIn(machine, 2)
  if (size === undefined || size <= 1) return undefined
  const bytes = memoryAt(machine, 1, size, false)
  if (bytes === undefined || bytes[size - 1] !== 0) return undefined
  const end = bytes.indexOf(0)
  Vm.charge(machine, CALL_COST + end / BYTES_PER_INSTRUCTION)
  return end > MAX_NAME ? "" : new TextDecoder().decode(bytes.subarray(0, end))
}

const invalid = (machine: Vm.Machine): Vm.Handled => Vm.returnNumber(machine, -Errno.numbers.EINVAL)

const findType = (host: HelperHost): Vm.Helper => (machine) => {
  const name = nameIn(machine)
  if (name === undefined || Vm.register(machine, 4) !== 0n) return invalid(machine)
  const number = machine.low[3] ?? 0
  const lookup = { name, kind: kinds.get(number) ?? number }
  const answer = ReplayTable.typeOf(host.table, { ...lookup, found: host.find(lookup) })
  return answer === undefined
    ? Vm.returnNumber(machine, -Errno.numbers.ENOENT)
    : Vm.returnBigint(machine, answer)
}

const findAddress = (host: HelperHost): Vm.Helper => (machine) => {
  const name = nameIn(machine)
  if (name === undefined || Vm.register(machine, 3) !== 0n) return invalid(machine)
  const into = memoryAt(machine, 4, 8, true)
  if (into === undefined) return faultAt(machine, 4, 8)
  const lookup = { name, kind: "Address" as const }
  const answer = ReplayTable.addressOf(host.table, { ...lookup, found: host.find(lookup) })
  new DataView(into.buffer, into.byteOffset, 8).setBigUint64(0, answer ?? 0n, host.little)
  return Vm.returnNumber(machine, answer === undefined ? -Errno.numbers.ENOENT : 0)
}

/** A conversion of `bpf_trace_printk`: flags and width are taken, and have no effect. */
const conversion = /%(?:%|[-+ #0]*\d*(l{0,2})([duixXps]))/g

/** The text that a format and three values come to. */
export const format = (text: string, values: ReadonlyArray<bigint>): string => {
  let next = 0
  return text.replaceAll(conversion, (all: string, long: string | undefined, letter: string | undefined) => {
    if (letter === undefined) return "%"
    const value = values[next++]
    if (value === undefined) return all
    const bits = letter === "p" || long !== "" ? 64 : 32
    if (letter === "d" || letter === "i") return BigInt.asIntN(bits, value).toString()
    if (letter === "u") return BigInt.asUintN(bits, value).toString()
    const digits = BigInt.asUintN(bits, value).toString(16)
    return letter === "X" ? digits.toUpperCase() : letter === "x" ? digits : `0x${digits}`
  })
}

/** Loaders print lines; a longer text of a hostile one is cut. */
const MAX_LINE = 1024

const print = (host: HelperHost): Vm.Helper => (machine) => {
  const size = sizeIn(machine, 2)
  if (size === undefined || size === 0) return invalid(machine)
  const bytes = memoryAt(machine, 1, size, false)
  if (bytes === undefined || bytes[size - 1] !== 0) return invalid(machine)
  const head = bytes.subarray(0, MAX_LINE)
  const end = head.indexOf(0)
  const text = new TextDecoder().decode(end < 0 ? head : head.subarray(0, end))
  const line = format(text, [3, 4, 5].map((register) => Vm.register(machine, register)))
  Vm.charge(machine, CALL_COST + line.length)
  host.printed.push(line)
  return Vm.returnNumber(machine, line.length)
}

/** The helpers by their ids; the machine stops at all others. */
export const make = (host: HelperHost): ReadonlyArray<Vm.Helper | undefined> => {
  const helpers: Array<Vm.Helper | undefined> = []
  helpers[TRACE_PRINTK] = print(host)
  helpers[Layout.Helper.PROBE_READ_KERNEL] = copy
  helpers[Layout.Helper.COPY_FROM_USER] = copy
  helpers[Layout.Helper.BTF_FIND_BY_NAME_KIND] = findType(host)
  helpers[KALLSYMS_LOOKUP_NAME] = findAddress(host)
  return helpers
}
