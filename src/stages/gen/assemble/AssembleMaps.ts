/**
 * The part of a loader that makes maps: creates, fills and freezes them.
 */
import * as Attr from "../../../services/Kernel/abi/Attr.ts"
import { Command } from "../../../services/Kernel/abi/BpfConstants.ts"
import { kernelName } from "../../../services/Kernel/abi/Name.ts"
import type { MapCreate, MapDelete, MapFreeze, MapUpdate } from "../../../services/Kernel/KernelCall.ts"
import * as Ref from "../../../services/Kernel/Ref.ts"
import { takeInitialValue, takeSize } from "./AssembleInputs.ts"
import { findValueType, knownValueType } from "./AssembleStructOps.ts"
import {
  add,
  addAttr,
  type Assembly,
  descriptorToData,
  type Draft,
  mapName,
  mapOf,
  printable,
  slotOf,
  through,
  tooMany,
  trace
} from "./Assembly.ts"
import * as LoaderCode from "./LoaderCode.ts"
import * as LoaderCopies from "./LoaderCopies.ts"
import * as Layout from "../LoaderLayout.ts"

/**
 * The part of each structure that libbpf's loaders pass. Kernels differ in what follows, and a structure that ends
 * early reads as zero there.
 */
const attrSize = {
  MapCreate: through(Attr.MapCreate.fields.map_extra),
  StructCreate: through(Attr.MapCreate.fields.value_type_btf_obj_fd),
  MapUpdate: through(Attr.MapElement.fields.flags),
  MapDelete: through(Attr.MapElement.fields.key),
  MapFreeze: through(Attr.MapFreeze.fields.map_fd)
}

/** The first slot of `fd_array` that no open map has. Throws `AssembleError` where all are taken. */
const freeSlot = (assembly: Assembly, call: MapCreate): number => {
  for (let slot = 0; slot < Layout.MAX_MAPS; slot++) if (!assembly.openMaps.has(slot)) return slot
  throw tooMany(
    call,
    call.attr.name,
    `a loader creates at most ${Layout.MAX_MAPS} maps`,
    "turn the autocreate of maps off that no program needs"
  )
}

/**
 * Where the descriptor of the next map is kept: in `fd_array`, where instructions find it, or on the stack, where only the
 * loader does. Throws `AssembleError` where there is no room.
 */
const placeOf = (assembly: Assembly, call: MapCreate): LoaderCode.Place => {
  if (assembly.templates.has(Ref.key(call.as)) && !assembly.templateIsOpen) {
    assembly.templateIsOpen = true
    return { _tag: "Stack", offset: Layout.STACK_TEMPLATE_FD }
  }
  const slot = freeSlot(assembly, call)
  assembly.openMaps.add(slot)
  return { _tag: "Data", offset: 4 * slot }
}

/** Creates a map. Throws `AssembleError`. */
export const mapCreate = (assembly: Assembly, call: MapCreate): void => {
  const { attr, types } = call
  const place = placeOf(assembly, call)
  const { code } = assembly
  const { fields } = Attr.MapCreate
  // The descriptor of the value's types comes behind what all other maps need.
  const size = call.valueType === undefined ? attrSize.MapCreate : attrSize.StructCreate
  const at = addAttr(assembly, call, attr.name, Attr.MapCreate, size, {
    map_type: attr.type,
    key_size: attr.keySize,
    value_size: attr.valueSize,
    max_entries: attr.maxEntries,
    map_flags: attr.flags,
    numa_node: attr.numaNode,
    map_name: kernelName(attr.name),
    map_ifindex: attr.ifindex,
    btf_key_type_id: types?.key,
    btf_value_type_id: types?.value,
    btf_vmlinux_value_type_id: knownValueType(call),
    map_extra: attr.extra
  })
  if (types !== undefined) descriptorToData(assembly, call, types.btf, at + fields.btf_fd.offset)
  if (call.inner !== undefined) descriptorToData(assembly, call, call.inner, at + fields.inner_map_fd.offset)
  const number = assembly.numbers.maps.get(call.as.index)
  takeSize(assembly, call, number, at + fields.max_entries.offset)
  const modules = findValueType(assembly, call, number, at)
  LoaderCode.sysBpf(code, Command.BPF_MAP_CREATE, at, size)
  trace(assembly, call, `MAP_CREATE of ${printable(attr.name)} r=%d`, 7)
  for (const module of modules) LoaderCode.closePlace(code, module)
  LoaderCode.checkError(code)
  LoaderCode.keep(code, place)
  const draft: Draft<MapCreate["attr"]> = {
    attr,
    ref: call.as.index,
    number,
    place,
    published: number !== undefined
  }
  assembly.maps.push(draft)
  assembly.slots.set(Ref.key(call.as), { _tag: "Map", place, draft })
}

/** Sets an element. Throws `AssembleError`. */
export const mapUpdate = (assembly: Assembly, call: MapUpdate): void => {
  const { code } = assembly
  const { fields } = Attr.MapElement
  const name = mapName(assembly, call.map)
  slotOf(assembly, call, call.map)
  const { bytes } = call.value
  const value = add(assembly, call, name, bytes)
  const key = add(assembly, call, name, call.key)
  takeInitialValue(assembly, call, mapOf(assembly, call.map), value)
  for (const { at, size, to } of call.value.refs) {
    // A wide place holds a number of the machine's byte order.
    const low = assembly.little ? 0 : size - 4
    descriptorToData(assembly, call, to, value + at + low)
  }
  const attr = addAttr(assembly, call, name, Attr.MapElement, attrSize.MapUpdate, { flags: call.flags })
  descriptorToData(assembly, call, call.map, attr + fields.map_fd.offset)
  // Queues have no keys, and the kernel wants no address then.
  if (call.key.length > 0) LoaderCopies.storeAddress(code, attr + fields.key.offset, key)
  LoaderCopies.storeAddress(code, attr + fields.value.offset, value)
  LoaderCode.sysBpf(code, Command.BPF_MAP_UPDATE_ELEM, attr, attrSize.MapUpdate)
  trace(assembly, call, `MAP_UPDATE_ELEM of ${printable(name)} r=%d`, 7)
  LoaderCode.checkError(code)
}

/** Removes an element; that there is none of the key ends the loader. Throws `AssembleError`. */
export const mapDelete = (assembly: Assembly, call: MapDelete): void => {
  const { code } = assembly
  const { fields } = Attr.MapElement
  const name = mapName(assembly, call.map)
  const key = add(assembly, call, name, call.key)
  const attr = addAttr(assembly, call, name, Attr.MapElement, attrSize.MapDelete, {})
  descriptorToData(assembly, call, call.map, attr + fields.map_fd.offset)
  if (call.key.length > 0) LoaderCopies.storeAddress(code, attr + fields.key.offset, key)
  LoaderCode.sysBpf(code, Command.BPF_MAP_DELETE_ELEM, attr, attrSize.MapDelete)
  trace(assembly, call, `MAP_DELETE_ELEM of ${printable(name)} r=%d`, 7)
  LoaderCode.checkError(code)
}

/** Makes a map read-only for user space. Throws `AssembleError`. */
export const mapFreeze = (assembly: Assembly, call: MapFreeze): void => {
  const { code } = assembly
  slotOf(assembly, call, call.map)
  const attr = addAttr(assembly, call, mapName(assembly, call.map), Attr.MapFreeze, attrSize.MapFreeze, {})
  descriptorToData(assembly, call, call.map, attr + Attr.MapFreeze.fields.map_fd.offset)
  LoaderCode.sysBpf(code, Command.BPF_MAP_FREEZE, attr, attrSize.MapFreeze)
  trace(assembly, call, `MAP_FREEZE of ${printable(mapName(assembly, call.map))} r=%d`, 7)
  LoaderCode.checkError(code)
}
