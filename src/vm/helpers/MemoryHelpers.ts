/**
 * Helpers that read memory which may not be there. All memory is the virtual machine's: what is kernel's and what is
 * user's is not told apart.
 *
 * Semantics: `kernel/trace/bpf_trace.c`, `mm/maccess.c`.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as Memory from "../Memory.ts"
import { FAULTED, type Helper, type Machine, returnNumber, writable } from "../Vm.ts"
import { u32 } from "./Registers.ts"

/**
 * What the kernel's own reads answer where there is nothing: `-ERANGE` for an address that cannot be the kernel's, NULL and
 * other small numbers among them, `-EFAULT` for others. A pointer beyond the end of memory that is there counts as the kernel's.
 */
const missing = (machine: Machine, number: number): number => {
  const high = machine.high[number] as number
  const isPointer = Memory.regionAt(machine.memory, high) !== undefined || high >>> 15 === 0x1ffff
  return isPointer ? -numbers.EFAULT : -numbers.ERANGE
}

/** What reads of user space answer where there is nothing. */
const always = (): number => -numbers.EFAULT

/** Copies `size` bytes; where they are not there all of the destination becomes zero, and the answer is an error number. */
const read = (fails: (machine: Machine, number: number) => number): Helper => (machine) => {
  const size = u32(machine, 2)
  const into = writable(machine, 1, size)
  if (into === undefined) return FAULTED
  const from = Memory.bytesAt(machine.memory, machine.low[3] as number, machine.high[3] as number, size, false)
  if (from === undefined) {
    into.fill(0)
    return returnNumber(machine, size === 0 && fails === always ? 0 : fails(machine, 3))
  }
  into.set(from)
  return returnNumber(machine, 0)
}

/** Copies a string of at most `size` bytes with its NUL, which a longer one gets as well; answers its length with the NUL. */
const readString = (fails: (machine: Machine, number: number) => number): Helper => (machine) => {
  const size = u32(machine, 2)
  const into = writable(machine, 1, size)
  if (into === undefined) return FAULTED
  if (size === 0) return returnNumber(machine, 0)
  const from = Memory.bytesFrom(machine.memory, machine.low[3] as number, machine.high[3] as number)
  const found = from?.subarray(0, size).indexOf(0) ?? -1
  if (from === undefined || (found < 0 && from.length < size)) {
    into.fill(0)
    return returnNumber(machine, fails(machine, 3))
  }
  const length = found < 0 ? size - 1 : found
  into.set(from.subarray(0, length))
  into[length] = 0
  return returnNumber(machine, length + 1)
}

/** The helpers by their name without prefix. */
export const helpers: Readonly<Record<string, Helper>> = {
  // Of addresses that may be either's.
  probe_read: read(always),
  probe_read_str: readString(always),
  probe_read_kernel: read(missing),
  probe_read_kernel_str: readString(missing),
  probe_read_user: read(always),
  probe_read_user_str: readString(always),
  copy_from_user: read(always)
}
