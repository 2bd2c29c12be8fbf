/**
 * Helpers that tell about the machine and the task: time, CPU, random numbers, ids.
 *
 * Semantics: `kernel/bpf/helpers.c`, `kernel/trace/bpf_trace.c`.
 */
import { FAULTED, type Helper, returnBigint, returnNumber, writable } from "../Vm.ts"
import type { Clock, Environment } from "./Environment.ts"
import { u32 } from "./Registers.ts"

const clock = (environment: Environment, which: Clock): Helper => (machine) =>
  returnBigint(machine, environment.time(which))

const pair = (high: number, low: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)

/** A task's name takes 16 bytes with its NUL. */
const TASK_COMM_LEN = 16

const commBytes = (comm: string): Uint8Array => new TextEncoder().encode(comm).slice(0, TASK_COMM_LEN - 1)

const currentComm = (environment: Environment): Helper => (machine) => {
  const into = writable(machine, 1, u32(machine, 2))
  if (into === undefined) return FAULTED
  into.fill(0)
  if (into.length > 0) into.set(commBytes(environment.task.comm).subarray(0, into.length - 1))
  return returnNumber(machine, 0)
}

/** The helpers by their name without prefix. */
export const helpers = (environment: Environment): Readonly<Record<string, Helper>> => ({
  ktime_get_ns: clock(environment, "monotonic"),
  ktime_get_boot_ns: clock(environment, "boot"),
  ktime_get_coarse_ns: clock(environment, "coarse"),
  ktime_get_tai_ns: clock(environment, "tai"),
  jiffies64: (machine) => returnBigint(machine, environment.jiffies()),
  get_prandom_u32: (machine) => returnNumber(machine, environment.random() >>> 0),
  get_smp_processor_id: (machine) => returnNumber(machine, environment.cpu),
  get_numa_node_id: (machine) => returnNumber(machine, environment.numaNode),
  get_current_pid_tgid: (machine) => returnBigint(machine, pair(environment.task.tgid, environment.task.pid)),
  get_current_uid_gid: (machine) => returnBigint(machine, pair(environment.task.gid, environment.task.uid)),
  get_current_comm: currentComm(environment),
  // A program in a test run was attached with no cookie.
  get_attach_cookie: (machine) => returnNumber(machine, 0)
})
