/**
 * Structs of the kernel that an object implements: variables of the sections `.struct_ops` and `.struct_ops.link`.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Kind from "../../btf/BtfKind.ts"
import { MapFlag, MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import { type BpfObject, essentialName, type MapDefinition } from "./BpfObject.ts"
import { OpenError } from "./OpenError.ts"
import { maxNameLength } from "./OpenOptions.ts"
import type { Sections } from "./Sections.ts"

/** Reads the variables of every struct_ops section. Throws `OpenError`. */
export const collect = (sections: Sections, btf: Btf.Btf): ReadonlyArray<MapDefinition> => {
  const seen = new Set<string>()
  return sections.structOps.flatMap((section) => {
    const id = Btf.findOne(btf, section.name, Kind.BTF_KIND_DATASEC)
    const datasec = id === undefined ? undefined : Btf.typeOf(btf, id)
    const refuse = (offset: number, name: string, detail: string): OpenError =>
      new OpenError({ reason: "StructOps", section: section.name, offset, name, detail })
    if (datasec?._tag !== "Datasec") throw refuse(0, section.name, "the object's BTF does not describe this section")
    // The BTF tells sections apart by their names alone; and variables would count once for each section.
    if (seen.has(section.name)) throw refuse(0, section.name, "there is a second section of this name")
    seen.add(section.name)
    const optional = section.name.startsWith("?")
    const linked = section.name.endsWith(".link")
    return datasec.entries.map((entry): MapDefinition => {
      const variable = Btf.typeOf(btf, entry.type)
      const name = variable._tag === "Var" ? variable.name : `type ${entry.type}`
      const typeId = variable._tag === "Var" ? Btf.resolveType(btf, variable.type) : 0
      const size = Btf.sizeOrTypeOf(btf, typeId)
      const typeName = Btf.nameOf(btf, typeId)
      if (Btf.kindOf(btf, typeId) !== Kind.BTF_KIND_STRUCT) throw refuse(entry.offset, name, "is not a struct")
      if (typeName === "") throw refuse(entry.offset, name, "is of a struct without a name")
      if (entry.offset + entry.size > section.data.length || size > section.data.length - entry.offset) {
        throw refuse(entry.offset, name, "reaches beyond its section")
      }
      return {
        name,
        origin: "StructOps",
        sectionName: section.name,
        sectionIndex: section.index,
        sectionOffset: entry.offset,
        attr: {
          name: name.slice(0, maxNameLength),
          type: MapType.BPF_MAP_TYPE_STRUCT_OPS,
          keySize: 4,
          valueSize: size,
          maxEntries: 1,
          flags: linked ? MapFlag.BPF_F_LINK : 0,
          numaNode: 0,
          ifindex: 0,
          extra: 0n
        },
        keyType: 0,
        valueType: typeId,
        inner: undefined,
        slots: [],
        pinPath: undefined,
        initialValue: section.data.subarray(entry.offset, entry.offset + size),
        autocreate: !optional,
        structOps: { typeName: essentialName(typeName), typeId, members: [] }
      }
    })
  })
}

/**
 * The object with the autoload of its struct_ops programs as its variables want it: a program that stands in one is loaded
 * exactly if a load creates one of those that it stands in, whatever its own autoload says, as in libbpf. Programs that stand
 * in none keep theirs.
 */
export const withAutoload = (object: BpfObject): BpfObject => {
  const wanted = new Map<number, boolean>()
  for (const { autocreate, structOps } of object.maps) {
    for (const { program } of structOps?.members ?? []) wanted.set(program, autocreate || wanted.get(program) === true)
  }
  const isAsWanted = object.programs.every(({ autoload }, position) => autoload === (wanted.get(position) ?? autoload))
  return isAsWanted ? object : {
    ...object,
    programs: object.programs.map((program, position) => {
      const autoload = wanted.get(position) ?? program.autoload
      return autoload === program.autoload ? program : { ...program, autoload }
    })
  }
}
