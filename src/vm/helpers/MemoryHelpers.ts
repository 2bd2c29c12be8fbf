/**
 * Helpers that read memory which may not be there. All memory is the virtual machine's: what is kernel's and what is
 * user's is not told apart.
 *
 * Semantics: `kernel/trace/bpf_trace.c`, `mm/maccess.c`.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as Memory from "../Memory.ts"
import { FAULTED, type Helper, returnNumber, writable } from "../Vm.ts"
import { u32 } from "./Registers.ts"

/** Copies `size` bytes; where they are not there all of the destination becomes zero, and the answer is `-EFAULT`. */
const read: Helper = (machine) => {
  const size = u32(machine, 2)
  const into = writable(machine, 1, size)
  if (into === undefined) return FAULTED
  if (size === 0) return returnNumber(machine, 0)
  const from = Memory.bytesAt(machine.memory, machine.low[3] as number, machine.high[3] as number, size, false)
  if (from === undefined) {
    into.fill(0)
    return returnNumber(machine, -numbers.EFAULT)
  }
  into.set(from)
  return returnNumber(machine, 0)
}

/** Copies a string of at most `size` bytes with its NUL, which a longer one gets as well; answers its length with the NUL. */
const readString: Helper = (machine) => {
  const size = u32(machine, 2)
  const into = writable(machine, 1, size)
  if (into === undefined) return FAULTED
  if (size === 0) return returnNumber(machine, 0)
  const from = Memory.bytesFrom(machine.memory, machine.low[3] as number, machine.high[3] as number)
  const found = from?.subarray(0, size).indexOf(0) ?? -1
  if (from === undefined || (found < 0 && from.length < size)) {
    into.fill(0)
    return returnNumber(machine, -numbers.EFAULT)
  }
  const length = found < 0 ? size - 1 : found
  into.set(from.subarray(0, length))
  into[length] = 0
  return returnNumber(machine, length + 1)
}

/** The helpers by their name without prefix. */
export const helpers: Readonly<Record<string, Helper>> = {
  probe_read: read,
  probe_read_kernel: read,
  probe_read_user: read,
  copy_from_user: read,
  probe_read_str: readString,
  probe_read_kernel_str: readString,
  probe_read_user_str: readString
}
