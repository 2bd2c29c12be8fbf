/**
 * Which types of maps the kernel creates.
 *
 * Source: reference page `features`, section 3.
 */
import { MapFlag, MapType } from "../../abi/BpfConstants.ts"
import type { Support } from "../../Feature.ts"
import * as Blobs from "./Blobs.ts"
import { createMap, denied, type Host, judged, judgedBy, loadBtf, type MapFields, within } from "./Host.ts"

const storage: MapFields = { value_size: 8, max_entries: 0, map_flags: MapFlag.BPF_F_NO_PREALLOC }

const cgroupStorage: MapFields = { key_size: 16, value_size: 8, max_entries: 0 }

/** How each type differs from a map of one value of 4 bytes under a key of 4 bytes. */
const fieldsOf = (type: number, pageSize: number): MapFields => {
  switch (type) {
    case MapType.BPF_MAP_TYPE_STACK_TRACE:
      return { value_size: 8 }
    case MapType.BPF_MAP_TYPE_LPM_TRIE:
      return { key_size: 8, value_size: 8, map_flags: MapFlag.BPF_F_NO_PREALLOC }
    case MapType.BPF_MAP_TYPE_RHASH:
      return { map_flags: MapFlag.BPF_F_NO_PREALLOC }
    case MapType.BPF_MAP_TYPE_CGROUP_STORAGE:
    case MapType.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
      return cgroupStorage
    case MapType.BPF_MAP_TYPE_QUEUE:
    case MapType.BPF_MAP_TYPE_STACK:
    case MapType.BPF_MAP_TYPE_BLOOM_FILTER:
      return { key_size: 0 }
    case MapType.BPF_MAP_TYPE_RINGBUF:
    case MapType.BPF_MAP_TYPE_USER_RINGBUF:
      return { key_size: 0, value_size: 0, max_entries: pageSize }
    case MapType.BPF_MAP_TYPE_STRUCT_OPS:
      // libbpf also says that the type is in no module, in a field that kernels before 6.9 refuse because it is not zero.
      return { btf_vmlinux_value_type_id: 1 }
    case MapType.BPF_MAP_TYPE_ARENA:
      return { key_size: 0, value_size: 0, map_flags: MapFlag.BPF_F_MMAPABLE }
    case MapType.BPF_MAP_TYPE_INSN_ARRAY:
      return { value_size: 16 }
    default:
      return {}
  }
}

/** Types whose values the kernel must know the type of. */
const typed: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_SK_STORAGE,
  MapType.BPF_MAP_TYPE_INODE_STORAGE,
  MapType.BPF_MAP_TYPE_TASK_STORAGE,
  MapType.BPF_MAP_TYPE_CGRP_STORAGE
])

/** Types whose values are maps. */
const nested: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, MapType.BPF_MAP_TYPE_HASH_OF_MAPS])

const least: MapFields = { key_size: 4, value_size: 4, max_entries: 1 }

/** Whether the kernel creates maps of a type. */
export const probe = ({ sys }: Host, type: number): Support =>
  within(sys, (keep) => {
    let fields: MapFields = { ...least, ...fieldsOf(type, sys.pageSize), map_type: type }
    if (typed.has(type)) {
      const object = keep(loadBtf(sys, Blobs.spinLockValue))
      if (object < 0) return denied(-object)
      fields = { ...fields, ...storage, btf_fd: object, btf_key_type_id: 1, btf_value_type_id: 3 }
    }
    if (nested.has(type)) {
      const inner = keep(createMap(sys, { ...least, map_type: MapType.BPF_MAP_TYPE_HASH }))
      if (inner < 0) return denied(-inner)
      fields = { ...fields, inner_map_fd: inner }
    }
    const result = keep(createMap(sys, fields))
    // Types of operations are not to be had by number 1; the error is one that nothing else is refused with.
    return type === MapType.BPF_MAP_TYPE_STRUCT_OPS && result < 0 ? judgedBy(result, "ENOTSUPP") : judged(result)
  })

/** Whether the values of a map of devices or processors may hold a program to run there. */
export const probeProgramValue = ({ sys }: Host, type: number): Support =>
  within(sys, (keep) => judged(keep(createMap(sys, { ...least, map_type: type, value_size: 8 }))))
