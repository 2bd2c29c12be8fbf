/**
 * Maps and programs that stand in other maps from the start: `values` of map definitions, members of struct_ops.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Kind from "../../btf/BtfKind.ts"
import * as Elf from "../../services/Elf/Elf.ts"
import { MapType, ProgType } from "../../services/Kernel/abi/BpfConstants.ts"
import { functionAt, holdsMaps, type MapDefinition, type MapSlot } from "./BpfObject.ts"
import * as Ranges from "./Ranges.ts"
import { type Context, entriesOf, type Entry, offsetOf, refuse } from "./Relocations.ts"

/**
 * Where a pointer leads, as a byte offset in its symbol's section; -1 where it leads nowhere. A pointer to a static
 * function names the section only, and says where in it by what stands in the pointer's place.
 */
const placeOf = (context: Context, entry: Entry): number => {
  const value = offsetOf(context, entry.symbol)
  const { data } = entry.target
  if (Elf.symbolType(context.sections.symbols, entry.symbol) !== Elf.STT_SECTION || entry.offset + 8 > data.length) {
    return value
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const addend = view.getBigUint64(entry.offset, context.file.header.byteOrder === "little")
  return value < 0 || addend > 0xffff_ffffn ? -1 : value + Number(addend)
}

/** The program that a pointer to a function stands for, when it is one that can be loaded on its own. */
const entryProgram = (context: Context, entry: Entry): number | undefined => {
  const section = Elf.symbolSection(context.sections.symbols, entry.symbol)
  const value = placeOf(context, entry)
  const position = value < 0 || value % 8 !== 0 ? undefined : functionAt(context.programs, section, value / 8)
  const program = position === undefined ? undefined : context.programs[position]
  return program?.entry && program.sectionSlot * 8 === value ? position : undefined
}

/** Where each map of `.maps` has its variable, and how many bytes into the variable its values start. */
const variablesOf = (
  context: Context,
  btf: Btf.Btf,
  section: string
): ReadonlyArray<Ranges.Range<{ readonly map: number; readonly values: number | undefined }>> => {
  const id = Btf.findOne(btf, section, Kind.BTF_KIND_DATASEC)
  const datasec = id === undefined ? undefined : Btf.typeOf(btf, id)
  if (datasec?._tag !== "Datasec") return []
  const positions = new Map<number, number>()
  context.maps.forEach((map, position) => {
    if (map.origin === "Btf") positions.set(map.sectionOffset, position)
  })
  return datasec.entries.flatMap((entry) => {
    const map = positions.get(entry.offset)
    const variable = Btf.typeOf(btf, entry.type)
    // The definitions have been read before, which bounds the number of members.
    const struct = variable._tag === "Var" ? Btf.typeOf(btf, Btf.resolveType(btf, variable.type)) : undefined
    if (map === undefined || struct?._tag !== "Struct") return []
    const last = struct.members.at(-1)
    const values = last?.name === "values" ? last.bitOffset / 8 : undefined
    return [{ start: entry.offset, end: entry.offset + entry.size, value: { map, values } }]
  })
}

const slotOf = (
  context: Context,
  mapsByOffset: ReadonlyMap<number, number>,
  entry: Entry,
  map: MapDefinition,
  slot: number
): MapSlot => {
  if (map.attr.type === MapType.BPF_MAP_TYPE_PROG_ARRAY) {
    const program = entryProgram(context, entry)
    if (program === undefined) {
      throw refuse(context, entry, `a value of ${map.name} is not a program that can be loaded on its own`)
    }
    return { _tag: "Program", slot, program }
  }
  if (!holdsMaps(map.attr.type)) throw refuse(context, entry, `the map ${map.name} cannot hold maps or programs`)
  if (map.attr.type === MapType.BPF_MAP_TYPE_HASH_OF_MAPS && map.attr.keySize !== 4) {
    throw refuse(
      context,
      entry,
      `the keys of ${map.name} have ${map.attr.keySize} bytes; with initial values they need 4`
    )
  }
  const inner = Elf.symbolSection(context.sections.symbols, entry.symbol) === context.sections.maps?.index
    ? mapsByOffset.get(offsetOf(context, entry.symbol))
    : undefined
  if (inner === undefined) throw refuse(context, entry, `a value of ${map.name} is not a map`)
  return { _tag: "Map", slot, map: inner }
}

/** Fills the slots of maps of maps and program arrays from the relocations of `.maps`. Throws `OpenError` or `ElfError`. */
export const ofMaps = (context: Context): ReadonlyArray<MapDefinition> => {
  const { btf, sections } = context
  const relocations = sections.relocations.filter((each) => each.target === sections.maps)
  if (relocations.length === 0 || btf === undefined || sections.maps === undefined) return context.maps
  const slots = new Map<number, Map<number, MapSlot>>()
  const variableAt = Ranges.index(variablesOf(context, btf, sections.maps.name))
  const mapsByOffset = new Map<number, number>()
  context.maps.forEach((map, position) => {
    if (map.origin === "Btf") mapsByOffset.set(map.sectionOffset, position)
  })
  for (const { section, target } of relocations) {
    for (const entry of entriesOf(context, section, target)) {
      const variable = variableAt(entry.offset)
      const map = variable === undefined ? undefined : context.maps[variable.value.map]
      if (variable === undefined || map === undefined || entry.offset + 8 > variable.end) {
        throw refuse(context, entry, "stands in no map definition")
      }
      if (variable.value.values === undefined) throw refuse(context, entry, `the map ${map.name} has no values`)
      const inValues = entry.offset - variable.start - variable.value.values
      if (inValues < 0 || inValues % 8 !== 0) throw refuse(context, entry, `stands at no value of ${map.name}`)
      const filled = slots.get(variable.value.map) ?? new Map<number, MapSlot>()
      slots.set(variable.value.map, filled)
      filled.set(inValues / 8, slotOf(context, mapsByOffset, entry, map, inValues / 8))
    }
  }
  return context.maps.map((map, position) => {
    const filled = slots.get(position)
    return filled === undefined ? map : { ...map, slots: [...filled.values()].sort((a, b) => a.slot - b.slot) }
  })
}

/** The pointers to functions of a struct: member names by byte offset. */
const functionPointers = (btf: Btf.Btf, typeId: number): ReadonlyMap<number, string> => {
  const struct = Btf.typeOf(btf, typeId)
  const pointers = new Map<number, string>()
  if (struct._tag !== "Struct") return pointers
  for (const member of struct.members) {
    const pointer = Btf.typeOf(btf, Btf.resolveType(btf, member.type))
    if (pointer._tag !== "Ptr") continue
    const pointee = Btf.resolveType(btf, pointer.type)
    if (Btf.kindOf(btf, pointee) === Kind.BTF_KIND_FUNC_PROTO) pointers.set(member.bitOffset / 8, member.name)
  }
  return pointers
}

/** Which struct_ops variable of a section a byte lies in, by its position in `maps`. */
const structOpsVariables = (maps: ReadonlyArray<MapDefinition>, section: number) =>
  Ranges.index(
    maps.flatMap((map, position) =>
      map.origin === "StructOps" && map.sectionIndex === section
        ? [{ start: map.sectionOffset, end: map.sectionOffset + map.attr.valueSize, value: position }]
        : []
    )
  )

/** Puts programs into the members of struct_ops variables. Throws `OpenError` or `ElfError`. */
export const ofStructOps = (context: Context, maps: ReadonlyArray<MapDefinition>): ReadonlyArray<MapDefinition> => {
  const { btf, sections } = context
  const structOps = new Set(sections.structOps)
  if (structOps.size === 0 || btf === undefined) return maps
  const pointersOf = new Map<number, ReadonlyMap<number, string>>()
  const variablesOf = new Map<number, ReturnType<typeof structOpsVariables>>()
  const members = new Map<number, Map<number, { offset: number; member: string; program: number }>>()
  for (const { section, target } of sections.relocations) {
    if (!structOps.has(target)) continue
    const variableAt = variablesOf.get(target.index) ?? structOpsVariables(maps, target.index)
    variablesOf.set(target.index, variableAt)
    for (const entry of entriesOf(context, section, target)) {
      const variable = variableAt(entry.offset)
      const map = variable === undefined ? undefined : maps[variable.value]
      if (variable === undefined || map?.structOps === undefined) {
        throw refuse(context, entry, "stands in no struct_ops variable")
      }
      const { typeId } = map.structOps
      const pointers = pointersOf.get(typeId) ?? functionPointers(btf, typeId)
      pointersOf.set(typeId, pointers)
      const offset = entry.offset - variable.start
      const member = pointers.get(offset)
      if (member === undefined) {
        throw refuse(context, entry, `byte ${offset} of ${map.name} is not a pointer to a function`)
      }
      const program = entryProgram(context, entry)
      if (program === undefined || context.programs[program]?.type !== ProgType.BPF_PROG_TYPE_STRUCT_OPS) {
        throw refuse(context, entry, `the member ${member} of ${map.name} is not a struct_ops program`)
      }
      const filled = members.get(variable.value) ??
        new Map<number, { offset: number; member: string; program: number }>()
      members.set(variable.value, filled)
      filled.set(offset, { offset, member, program })
    }
  }
  return maps.map((map, position) => {
    const filled = members.get(position)
    return filled === undefined || map.structOps === undefined
      ? map
      : { ...map, structOps: { ...map.structOps, members: [...filled.values()].sort((a, b) => a.offset - b.offset) } }
  })
}
