/**
 * Kernel functions that are simulated: numeric iterators, and those that only matter where others run at the same time.
 *
 * Semantics: `kernel/bpf/bpf_iter.c`, `kernel/bpf/helpers.c`.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import { FAULTED, type Helper, MAX_LOOPS, returnAddress, returnNumber } from "../Vm.ts"
import { placeOf, regionOf, s32 } from "./Registers.ts"

/** Bytes of `struct bpf_iter_num`: the current number and the end. */
const ITERATOR_SIZE = 8

const nothing: Helper = (machine) => returnNumber(machine, 0)

const newNumbers: Helper = (machine) => {
  const region = regionOf(machine, 1, ITERATOR_SIZE, true)
  if (region === undefined) return FAULTED
  const at = placeOf(machine, 1, region)
  const start = s32(machine, 2)
  const end = s32(machine, 3)
  const refused = start > end ? -numbers.EINVAL : end - start > MAX_LOOPS ? -numbers.E2BIG : 0
  region.view.setInt32(at, refused === 0 ? start - 1 : 0, true)
  region.view.setInt32(at + 4, refused === 0 ? end : 0, true)
  return returnNumber(machine, refused)
}

const nextNumber: Helper = (machine) => {
  const region = regionOf(machine, 1, ITERATOR_SIZE, true)
  if (region === undefined) return FAULTED
  const at = placeOf(machine, 1, region)
  // A start of -2^31 is kept as the number before it, which wraps.
  const next = (region.view.getInt32(at, true) + 1) | 0
  if (next >= region.view.getInt32(at + 4, true)) {
    region.view.setInt32(at, 0, true)
    region.view.setInt32(at + 4, 0, true)
    return returnNumber(machine, 0)
  }
  region.view.setInt32(at, next, true)
  return returnAddress(machine, region, s32(machine, 1))
}

const endNumbers: Helper = (machine) => {
  const region = regionOf(machine, 1, ITERATOR_SIZE, true)
  if (region === undefined) return FAULTED
  const at = placeOf(machine, 1, region)
  region.view.setInt32(at, 0, true)
  region.view.setInt32(at + 4, 0, true)
  return returnNumber(machine, 0)
}

/** The kernel functions by name. */
export const kfuncs: ReadonlyMap<string, Helper> = new Map<string, Helper>([
  ["bpf_rcu_read_lock", nothing],
  ["bpf_rcu_read_unlock", nothing],
  ["bpf_preempt_disable", nothing],
  ["bpf_preempt_enable", nothing],
  ["bpf_local_irq_save", nothing],
  ["bpf_local_irq_restore", nothing],
  ["bpf_iter_num_new", newNumbers],
  ["bpf_iter_num_next", nextNumber],
  ["bpf_iter_num_destroy", endNumbers]
])
