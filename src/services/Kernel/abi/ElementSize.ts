/**
 * How many bytes of a map's element pass between user space and the kernel, where that is not the value size.
 */
import { ElementFlag, MapType } from "./BpfConstants.ts"

/** Map types with one value per possible CPU, each padded to 8 bytes. */
export const perCpu: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE
])

/** Map types whose values are descriptors of 4 bytes when written and ids when read, whatever the value size says. */
export const ofDescriptors: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_PROG_ARRAY,
  MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
  MapType.BPF_MAP_TYPE_CGROUP_ARRAY,
  MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  MapType.BPF_MAP_TYPE_HASH_OF_MAPS
])

/** `BPF_F_CPU` and `BPF_F_ALL_CPUS`: a per-CPU value is then the value of one CPU. */
export const oneCpuFlags = 0x18n

/**
 * What is wrong with the flags of a call on an element, as a phrase: which CPU is meant, of those that the kernel may have.
 * `undefined` where nothing is, or where the flags are the kernel's to judge.
 */
export const flagsComplaint = (type: number, flags: bigint, possibleCpus: number): string | undefined => {
  if (!perCpu.has(type)) return undefined
  const [one, all] = [(flags & ElementFlag.BPF_F_CPU) !== 0n, (flags & ElementFlag.BPF_F_ALL_CPUS) !== 0n]
  if (one && all) return "BPF_F_CPU and BPF_F_ALL_CPUS exclude each other"
  const cpu = flags >> 32n
  return one && cpu >= BigInt(possibleCpus)
    ? `there is no CPU ${cpu}: this kernel may have ${possibleCpus}, counted from 0`
    : undefined
}
