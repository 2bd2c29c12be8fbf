/**
 * Global variables as maps: each section of data is an array map of one element, which is the section's image.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Kind from "../../btf/BtfKind.ts"
import type { ElfSection } from "../../services/Elf/Elf.ts"
import { MapFlag, MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { MapAttributes } from "../../services/Kernel/KernelCall.ts"
import type { Extern, MapDefinition, MapOrigin } from "./BpfObject.ts"
import { kconfigSize } from "./Externs.ts"
import { OpenError } from "./OpenError.ts"
import { maxNameLength } from "./OpenOptions.ts"
import type { Sections } from "./Sections.ts"

/**
 * The kernel's name for the map of a section: the object's name, cut so that the section's name fits behind it, within
 * 15 characters. A section with a second dot in its name says enough by itself.
 */
export const kernelName = (object: string, section: string): string => {
  const suffix = Math.min(maxNameLength, Math.max(7, section.length))
  const custom = section.indexOf(".", 1) >= 0
  const prefix = custom ? 0 : Math.min(maxNameLength - suffix, object.length)
  return (object.slice(0, prefix) + section.slice(0, suffix)).replace(/[^A-Za-z0-9_.]/g, "_")
}

/** What the user calls the map: a custom section's own name, else the kernel's name. */
const userName = (origin: MapOrigin, section: string, kernel: string): string =>
  (origin === "Data" && section !== ".data") || (origin === "Rodata" && section !== ".rodata") ? section : kernel

/**
 * The types of data sections by name, and whether user space has a reason to map them: at least one variable is visible
 * outside its file. Many sections may have one name, so the answer is looked for once per name.
 */
const sectionTypes = (
  btf: Btf.Btf | undefined
): (section: string) => { readonly type: number; readonly visible: boolean } => {
  const known = new Map<string, { readonly type: number; readonly visible: boolean }>()
  const look = (section: string) => {
    const type = btf === undefined ? undefined : Btf.findOne(btf, section)
    if (btf === undefined || type === undefined) return { type: 0, visible: false }
    const datasec = Btf.typeOf(btf, type)
    const visible = datasec._tag === "Datasec" && datasec.entries.some((entry) => {
      const variable = Btf.typeOf(btf, entry.type)
      return variable._tag === "Var" && variable.linkage !== Kind.BTF_VAR_STATIC
    })
    return { type, visible }
  }
  return (section) => {
    const found = known.get(section) ?? look(section)
    known.set(section, found)
    return found
  }
}

const dataMap = (
  object: string,
  valueType: { readonly type: number; readonly visible: boolean },
  origin: MapOrigin,
  section: { readonly name: string; readonly index: number; readonly size: number },
  initialValue: Uint8Array
): MapDefinition => {
  const name = kernelName(object, section.name)
  const readOnly = origin === "Rodata" || origin === "Kconfig"
  const attr: MapAttributes = {
    name,
    type: MapType.BPF_MAP_TYPE_ARRAY,
    keySize: 4,
    valueSize: section.size,
    maxEntries: 1,
    flags: (readOnly ? MapFlag.BPF_F_RDONLY_PROG : 0) | (valueType.visible ? MapFlag.BPF_F_MMAPABLE : 0),
    numaNode: 0,
    ifindex: 0,
    extra: 0n
  }
  return {
    name: userName(origin, section.name, name),
    origin,
    sectionName: section.name,
    sectionIndex: section.index,
    sectionOffset: 0,
    attr,
    keyType: 0,
    valueType: valueType.type,
    inner: undefined,
    slots: [],
    pinPath: undefined,
    initialValue,
    autocreate: true,
    structOps: undefined
  }
}

/**
 * Bytes of zeroes that an object may ask for in all its `.bss` sections together: 64 MiB. The file has none of them, so a
 * few bytes could ask for any amount, and whoever prints or records the images handles them whole.
 */
const maxZeroes = 0x400_0000

/** The maps of `.data*`, `.rodata*` and `.bss*`, in file order. Throws `OpenError`. */
export const collect = (
  object: string,
  sections: Sections,
  btf: Btf.Btf | undefined
): ReadonlyArray<MapDefinition> => {
  let zeroes = 0
  const image = (section: ElfSection, origin: MapOrigin): Uint8Array => {
    if (origin !== "Bss") return section.data
    // The only place where a few bytes of input ask for much memory.
    zeroes += section.size
    if (zeroes > maxZeroes) {
      throw new OpenError({
        reason: "Section",
        section: section.name,
        detail: `${section.size} bytes of zeroes are more than the 64 MiB that an object may have`
      })
    }
    return new Uint8Array(section.size)
  }
  const typesOf = sectionTypes(btf)
  return sections.data.map(({ origin, section }) =>
    dataMap(object, typesOf(section.name), origin, section, image(section, origin))
  )
}

/** The map of kernel configuration values, filled in when they are known; none where the object reads none. */
export const kconfigMap = (
  object: string,
  externs: ReadonlyArray<Extern>,
  btf: Btf.Btf | undefined
): ReadonlyArray<MapDefinition> => {
  const size = kconfigSize(externs)
  return size === 0
    ? []
    : [
      dataMap(
        object,
        sectionTypes(btf)(".kconfig"),
        "Kconfig",
        { name: ".kconfig", index: -1, size },
        new Uint8Array(size)
      )
    ]
}
