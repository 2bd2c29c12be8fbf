/**
 * An opened BPF object: what an object file says, as immutable data.
 *
 * Nothing in it is tied to a kernel, and nothing is a descriptor. Programs keep their relocations as records that name
 * maps, programs and externs by their position in this object, so edits (a smaller map, another initial value) never
 * have to touch instructions.
 */
import type { Btf } from "../../btf/Btf.ts"
import type { BtfExt } from "../../btf/BtfExt.ts"
import type { MapAttributes } from "../../services/Kernel/KernelCall.ts"
import type { Variable } from "../../services/Kernel/KernelConfig.ts"
import type { ByteOrder } from "../../services/Elf/Elf.ts"
import { isOfMaps } from "../../services/Kernel/abi/MapShape.ts"
import type { Given } from "./Given.ts"
import type { SectionDefinition } from "./SectionDefinitions.ts"

export { essentialName } from "../../btf/BtfEssential.ts"

/** A place in a program that depends on something outside it. `at` counts 8-byte instruction slots of the program. */
export type Relocation =
  /** An `ldimm64` of a map. */
  | { readonly _tag: "Map"; readonly at: number; readonly map: number }
  /** An `ldimm64` of a byte in a global data map. */
  | { readonly _tag: "MapValue"; readonly at: number; readonly map: number; readonly offset: number }
  /** A call of a function: section index and slot of its first instruction in that section. */
  | { readonly _tag: "Call"; readonly at: number; readonly section: number; readonly slot: number }
  /** An `ldimm64` of a function's address, for a callback. */
  | { readonly _tag: "Function"; readonly at: number; readonly section: number; readonly slot: number }
  /** An `ldimm64` of a jump table: the slots in the function's section where its entries lead. */
  | { readonly _tag: "JumpTable"; readonly at: number; readonly targets: ReadonlyArray<number> }
  /** An `ldimm64` or a call of an extern: position in `externs`. */
  | { readonly _tag: "Extern"; readonly at: number; readonly extern: number }

/** One function of the object: an entry program, or a subprogram that others call. */
export interface Program {
  readonly name: string
  /** The section's name without a leading `?`. */
  readonly section: string
  /** Whether the section's name has a leading `?`: a section of its own beside one of the same name without it. */
  readonly optional: boolean
  readonly sectionIndex: number
  /** First slot in the section. */
  readonly sectionSlot: number
  /** Slots that the function takes in the section; an edit of the instructions does not change it. */
  readonly sectionSlots: number
  /** The instructions, little-endian whatever the object's byte order. */
  readonly insns: Uint8Array
  readonly relocations: ReadonlyArray<Relocation>
  /** Entry programs are loaded on their own; subprograms only together with those that call them. */
  readonly entry: boolean
  /** Visible outside its file: the verifier checks a global function once, for all callers. */
  readonly global: boolean
  /** Global but `__hidden`: the kernel is told that it is static. */
  readonly hidden: boolean
  /** Whether a load takes this program; `?` in front of a section's name says no. */
  readonly autoload: boolean
  /** `BPF_PROG_TYPE_*`, 0 where no definition fits the section. */
  readonly type: number
  readonly expectedAttachType: number
  /** `BPF_F_*` of program loads. */
  readonly flags: number
  readonly ifindex: number
  readonly definition: SectionDefinition | undefined
  /** What the section's name says after its first `/`. */
  readonly attachTarget: string | undefined
  /**
   * The program that `attachTarget` is a function of, where it is not one of the kernel: another entry program of the object
   * by its name, or one of the user's.
   */
  readonly attachProgram?: string | Given | undefined
  /** What the verifier is asked to say on success: 0 nothing, 1 basic, 2 verbose, 4 statistics. */
  readonly logLevel: number
}

/** Where a map comes from. */
export type MapOrigin = "Btf" | "Legacy" | "Data" | "Rodata" | "Bss" | "Kconfig" | "StructOps"

/** What stands in a slot of a map that is filled with maps or programs before it is used. */
export type MapSlot =
  | { readonly _tag: "Map"; readonly slot: number; readonly map: number }
  | { readonly _tag: "Program"; readonly slot: number; readonly program: number }

/** A struct_ops variable: a struct of the kernel whose function pointers are programs of the object. */
export interface StructOps {
  /** The struct's name without a CO-RE flavor. */
  readonly typeName: string
  readonly typeId: number
  /** Which program stands in which member, by byte offset in the struct. */
  readonly members: ReadonlyArray<{ readonly offset: number; readonly member: string; readonly program: number }>
}

/** A map as the object defines it. */
export interface MapDefinition {
  /** What the user calls it. */
  readonly name: string
  readonly origin: MapOrigin
  /** Where it stands in the file; inner definitions and `.kconfig` have no section of their own. */
  readonly sectionName: string
  readonly sectionIndex: number
  readonly sectionOffset: number
  /** What the kernel is given; `attr.name` is the kernel's name for it. */
  readonly attr: MapAttributes
  /** BTF types of key and value in the object's BTF, 0 where there is none. */
  readonly keyType: number
  readonly valueType: number
  /** The shape of the maps that a map of maps holds. */
  readonly inner: MapDefinition | undefined
  readonly slots: ReadonlyArray<MapSlot>
  /** Path of the pin that the map is shared by, where the definition asks for one. */
  readonly pinPath: string | undefined
  /** The bytes that the map's only element has at first: the image of a data section. */
  readonly initialValue: Uint8Array | undefined
  /** Whether a load creates this map. */
  readonly autocreate: boolean
  readonly structOps: StructOps | undefined
  /** A map of the user's that a load takes in place of one of its own; it is neither filled nor sealed. */
  readonly replacedBy?: Given
  /** Of a map of maps: a map of the user's that has the shape of those in it, in place of `inner`. */
  readonly innerLike?: Given
  /** The name of the only program that may use the map. */
  readonly exclusiveTo?: string
}

/** A kernel configuration value that a program reads: one variable of `.kconfig`. */
export interface KconfigExtern extends Variable {
  readonly _tag: "Kconfig"
  readonly typeId: number
  readonly alignment: number
}

/** A function or variable of the kernel that a program refers to. */
export interface KsymExtern {
  readonly _tag: "Ksym"
  readonly name: string
  /** The name without a CO-RE flavor: what the kernel is searched for. */
  readonly kernelName: string
  readonly weak: boolean
  readonly isFunction: boolean
  /** The type as the object declares it; 0 for a variable of `void`, which is looked up in kallsyms instead of BTF. */
  readonly typeId: number
}

/** Something outside of the object that it refers to by name. */
export type Extern = KconfigExtern | KsymExtern

/** An opened object. */
export interface BpfObject {
  readonly name: string
  /** Byte order of the file, and of everything in it but the instructions. */
  readonly byteOrder: ByteOrder
  readonly license: string
  /** From a `version` section. */
  readonly kernelVersion: number | undefined
  /** All functions, ordered by section and place. */
  readonly programs: ReadonlyArray<Program>
  /** All maps, in the order in which they are created. */
  readonly maps: ReadonlyArray<MapDefinition>
  readonly externs: ReadonlyArray<Extern>
  /** The object's BTF with what the compiler could not know filled in. */
  readonly btf: Btf | undefined
  readonly btfExt: BtfExt | undefined
  /** What was passed over, for people: sections that are not understood, relocations into holes. */
  readonly notes: ReadonlyArray<string>
}

/** The programs that can be loaded on their own. */
export const entryPrograms = (object: BpfObject): ReadonlyArray<Program> => object.programs.filter((p) => p.entry)

/** The entry program of this name. */
export const findProgram = (object: BpfObject, name: string): Program | undefined =>
  object.programs.find((program) => program.entry && program.name === name)

/**
 * The map of this name. A name that starts with a dot is a section's name and finds that section's map; any other is
 * compared with the maps' own names, so that both `.bss` and `my_objec.bss` find the map of `.bss`.
 */
export const findMap = (object: BpfObject, name: string): MapDefinition | undefined =>
  object.maps.find((map) => name.startsWith(".") && isGlobalData(map) ? map.sectionName === name : map.name === name)

/** Whether a map holds variables of the object: `.data`, `.rodata`, `.bss`, `.kconfig`. */
export const isGlobalData = (map: MapDefinition): boolean =>
  map.origin === "Data" || map.origin === "Rodata" || map.origin === "Bss" || map.origin === "Kconfig"

/** Whether the elements of a map of this type are maps. */
export const holdsMaps = (type: number): boolean => isOfMaps(type)

/** The function that holds this slot of this section, by binary search. */
export const functionAt = (
  programs: ReadonlyArray<Program>,
  section: number,
  slot: number
): number | undefined => {
  let low = 0
  let high = programs.length - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    const program = programs[middle]
    if (program === undefined) return undefined
    if (
      program.sectionIndex < section ||
      (program.sectionIndex === section && program.sectionSlot + program.sectionSlots <= slot)
    ) {
      low = middle + 1
    } else if (program.sectionIndex > section || program.sectionSlot > slot) {
      high = middle - 1
    } else return middle
  }
  return undefined
}
