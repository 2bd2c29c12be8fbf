/**
 * Which types of maps the kernel creates.
 *
 * Source: reference page `features`, section 3.
 */
import { MapType } from "../../abi/BpfConstants.ts"
import * as MapShape from "../../abi/MapShape.ts"
import type { Support } from "../../Feature.ts"
import * as Blobs from "./Blobs.ts"
import { createMap, denied, type Host, judged, judgedBy, loadBtf, type MapFields, within } from "./Host.ts"

const fieldsOf = (type: number, ringSize: number): MapFields => {
  const { flags, keySize, maxEntries, valueSize } = MapShape.simplest(type, ringSize)
  return { map_type: type, key_size: keySize, value_size: valueSize, max_entries: maxEntries, map_flags: flags }
}

/** Whether the kernel creates maps of a type. */
export const probe = ({ sys }: Host, type: number): Support =>
  within(sys, (keep) => {
    let fields = fieldsOf(type, sys.pageSize)
    // libbpf also says that the type is in no module, in a field that kernels before 6.9 refuse because it is not zero.
    if (type === MapType.BPF_MAP_TYPE_STRUCT_OPS) fields = { ...fields, btf_vmlinux_value_type_id: 1 }
    if (MapShape.needsTypes(type)) {
      const object = keep(loadBtf(sys, Blobs.spinLockValue))
      if (object < 0) return denied(-object)
      fields = { ...fields, value_size: 8, btf_fd: object, btf_key_type_id: 1, btf_value_type_id: 3 }
    }
    if (MapShape.isOfMaps(type)) {
      const inner = keep(createMap(sys, fieldsOf(MapType.BPF_MAP_TYPE_HASH, sys.pageSize)))
      if (inner < 0) return denied(-inner)
      fields = { ...fields, inner_map_fd: inner }
    }
    const result = keep(createMap(sys, fields))
    // Types of operations are not to be had by number 1; the error is one that nothing else is refused with.
    return type === MapType.BPF_MAP_TYPE_STRUCT_OPS && result < 0 ? judgedBy(result, "ENOTSUPP") : judged(result)
  })

/** Whether the values of a map of devices or processors may hold a program to run there. */
export const probeProgramValue = ({ sys }: Host, type: number): Support =>
  within(
    sys,
    (keep) =>
      judged(
        keep(createMap(sys, { ...fieldsOf(MapType.BPF_MAP_TYPE_HASH, sys.pageSize), map_type: type, value_size: 8 }))
      )
  )
