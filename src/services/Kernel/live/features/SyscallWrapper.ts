/**
 * Whether the kernel's system calls are behind wrappers: functions called `__x64_sys_bpf`, where they were `sys_bpf`.
 *
 * Source: reference page `features`, section 1, feature 18.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../../btf/Btf.ts"
import * as Arena from "../../abi/Arena.ts"
import * as Errno from "../../abi/Errno.ts"
import { refused, type Support, supported, unsupported } from "../../Feature.ts"
import { denied, type Host, isInconclusive, type Keep } from "./Host.ts"

/** Prefix of the names of system calls behind wrappers, by Node's name of the architecture. */
const prefixes: ReadonlyMap<string, string> = new Map([
  ["x64", "x64"],
  ["arm64", "arm64"],
  ["s390x", "s390x"],
  ["riscv64", "riscv"],
  ["ppc64", "powerpc"]
])

/** `struct perf_event_attr` with the place of a kprobe: the function's name and the offset within. */
const PerfEvent = {
  size: 144,
  fields: {
    type: Arena.u32(0),
    size: Arena.u32(4),
    config: Arena.u64(8),
    kprobe_func: Arena.pointer(56),
    probe_offset: Arena.u64(64)
  }
} as const

/** The number that the kernel gave to kprobes among the types of perf events. */
const typeFile = "/sys/bus/event_source/devices/kprobe/type"

const PERF_FLAG_FD_CLOEXEC = 8

/** Whether a kprobe can be made at a function, for this process on all CPUs; `undefined` where kprobes are not made so. */
const kprobeAt = ({ files, sys }: Host, keep: Keep, name: string): number | undefined => {
  const file = files.read(typeFile, 64)
  if (Result.isFailure(file)) return undefined
  const type = Number(new TextDecoder().decode(file.success).trim())
  if (!Number.isInteger(type) || type <= 0) return undefined
  const arena = Arena.make(PerfEvent, { type, size: PerfEvent.size, kprobe_func: Arena.text(name) })
  if (Result.isFailure(arena)) return undefined
  return keep(sys.perfEventOpen(arena.success, process.pid, -1, -1, PERF_FLAG_FD_CLOEXEC))
}

/** By the kernel's types or its symbol table; where neither can be read, by a kprobe. */
export const wrapperProbe = (host: Host, keep: Keep): Support => {
  const prefix = prefixes.get(host.architecture)
  if (prefix === undefined) return unsupported(`${host.architecture} has no wrappers`)
  const name = `__${prefix}_sys_bpf`
  // The types are read in a hundredth of the time that the symbol table takes. They may lack it, the table never does.
  const types = host.facts.vmlinux()
  if (Result.isSuccess(types) && Btf.find(types.success, name, Btf.BTF_KIND_FUNC)._tag !== "None") return supported
  const addresses = host.facts.addresses([name])
  if (Result.isSuccess(addresses)) {
    return addresses.success.of.get(name) === undefined ? unsupported(`there is no ${name}`) : supported
  }
  const made = kprobeAt(host, keep, name)
  if (made !== undefined && made >= 0) return supported
  if (made === -Errno.numbers.ENOENT) return unsupported(`there is no ${name}`)
  if (made !== undefined && isInconclusive(-made)) return denied(-made)
  const { errno, subject } = addresses.failure
  return refused(errno, `${subject} cannot be read, and this kernel makes no kprobes`)
}
