/**
 * A loader while it is assembled: its code and data so far, and what every ref has become in it.
 */
import * as Result from "effect/Result"
import * as Arena from "../../../services/Kernel/abi/Arena.ts"
import type * as Encode from "../../../insn/Encode.ts"
import type { KernelCall, MapAttributes, ProgAttributes } from "../../../services/Kernel/KernelCall.ts"
import * as Ref from "../../../services/Kernel/Ref.ts"
import { AssembleError } from "../AssembleError.ts"
import * as LoaderCode from "./LoaderCode.ts"
import * as LoaderCopies from "./LoaderCopies.ts"
import * as LoaderData from "./LoaderData.ts"
import * as Layout from "../LoaderLayout.ts"
import type { LoaderInput } from "../LoaderInput.ts"
import type { InitialValue, Signed } from "../LoaderProgram.ts"

/** A map or program that a loader can hand out: the context speaks of all of them, in this order, made or not. */
export interface Listed {
  readonly name: string
  /** The number of its ref. */
  readonly ref: number
}

/** How a loader is assembled. */
export interface AssembleOptions {
  /** What the recording left out, for people. */
  readonly notes?: ReadonlyArray<string>
  /** What of the loader will be signed, if anything: it then takes neither changes nor inputs. */
  readonly signed?: Signed["covers"]
  /**
   * Whether the loader prints what it does with `bpf_trace_printk`, for who reads the kernel's trace: 0, the default, prints
   * nothing. It makes the same calls all the same. What the verifier says is another matter, for the context.
   */
  readonly logLevel?: number
  /** The byte order of the machine that the loader will run on; default little. Values, keys, records and BTF have it already. */
  readonly byteOrder?: "little" | "big"
  /**
   * What the context has a place for. A map or program that the calls do not make leaves its place empty; one that they make
   * and that is not among these is closed in the end. Default: everything that the calls make, in that order.
   */
  readonly listed?: {
    readonly maps: ReadonlyArray<Listed & { readonly maxEntries: number }>
    readonly programs: ReadonlyArray<Listed>
  }
}

/** A map or program while the loader is assembled. */
export interface Draft<Attributes> {
  readonly attr: Attributes
  readonly ref: number
  /** Its place among what is listed; `undefined` where it is not. */
  readonly number: number | undefined
  /** Where its descriptor is. */
  readonly place: LoaderCode.Place
  initialValue?: InitialValue
  published: boolean
}

/** What a ref stands for. */
export type Slot =
  | { readonly _tag: "Btf"; readonly place: LoaderCode.Place }
  | { readonly _tag: "Map"; readonly place: LoaderCode.Place; readonly draft: Draft<MapAttributes> }
  | { readonly _tag: "Prog"; readonly place: LoaderCode.Place; readonly draft: Draft<ProgAttributes> }

/** A loader while it is assembled. */
export interface Assembly {
  readonly options: AssembleOptions
  readonly little: boolean
  readonly code: LoaderCode.LoaderCode
  readonly data: LoaderData.LoaderData
  /** Places in the context, by the numbers of refs. */
  readonly numbers: { readonly maps: ReadonlyMap<number, number>; readonly programs: ReadonlyMap<number, number> }
  /** In the order in which they are made. */
  readonly maps: Array<Draft<MapAttributes>>
  readonly programs: Array<Draft<ProgAttributes>>
  readonly slots: Map<string, Slot>
  /** Slots of `fd_array` whose maps are open. */
  readonly openMaps: Set<number>
  /** Where the data has the descriptors of programs that have no place on the stack. */
  readonly programsAt: number
  /** What the loader has to be told, and where the words of its own begin in the context. */
  readonly inputs: Array<LoaderInput>
  readonly inputsAt: number
  /** The numbers of maps of maps, by the refs of those that give their shape to what is in them. */
  readonly holders: ReadonlyMap<string, number>
  /** Maps that only give their shape to others, by the keys of their refs; one of them at a time is kept on the stack. */
  readonly templates: ReadonlySet<string>
  templateIsOpen: boolean
  /** Where texts are in the data. */
  readonly texts: Map<string, number>
  hasBtf: boolean
  /** The types of the object, once they are loaded. */
  btf: Uint8Array | undefined
}

/** Whether the loader prints what it does. */
export const isTraced = ({ logLevel = 0 }: AssembleOptions): boolean => logLevel !== 0

/** The end of a field: how much of a structure is passed to the kernel when this is the last field that matters. */
export const through = (field: Arena.Field): number => field.offset + field.size

/** Appends bytes to the data, and answers with their offset. Throws `AssembleError`. */
export const add = (assembly: Assembly, call: KernelCall, name: string, bytes: Uint8Array): number => {
  const at = LoaderData.add(assembly.data, bytes)
  if (at === undefined) {
    throw new AssembleError({
      reason: "TooLarge",
      call: call._tag,
      name,
      detail: `the loader's data would have more than ${LoaderData.MAX_DATA} bytes`
    })
  }
  return at
}

/** Writes a value into its field, where it is of the field's kind and fits; answers whether it does. */
const store = (view: DataView, field: Arena.Field, value: Arena.FieldValue, little: boolean): boolean => {
  const { kind, offset, size } = field
  if (typeof value === "number") {
    if (kind !== "u32" || value >>> 0 !== value) return false
    view.setUint32(offset, value, little)
    return true
  }
  if (typeof value === "bigint") {
    if (kind !== "u64" || BigInt.asUintN(64, value) !== value) return false
    view.setBigUint64(offset, value, little)
    return true
  }
  if (typeof value !== "string" || kind !== "name" || value.length >= size) return false
  for (let at = 0; at < value.length; at++) {
    const char = value.charCodeAt(at)
    if (char === 0 || char > 0x7f) return false
    view.setUint8(offset + at, char)
  }
  return true
}

/** A structure of numbers and names; `undefined` where a value is anything else, or does not fit. */
const plain = (layout: Arena.Layout, values: Readonly<Record<string, Arena.FieldValue>>, little: boolean) => {
  const bytes = new Uint8Array(layout.size)
  const view = new DataView(bytes.buffer)
  for (const name in values) {
    const value = values[name]
    if (value === undefined) continue
    const field = layout.fields[name]
    if (field === undefined || !store(view, field, value, little)) return undefined
  }
  return bytes
}

/**
 * Adds the part of a structure that is known now: numbers and names. Pointers and descriptors are filled in later. Throws
 * `AssembleError`.
 */
export const addAttr = <L extends Arena.Layout>(
  assembly: Assembly,
  call: KernelCall,
  name: string,
  layout: L,
  size: number,
  values: Arena.Values<L>
): number => {
  const bytes = plain(layout, values, assembly.little)
  if (bytes !== undefined) return add(assembly, call, name, bytes.subarray(0, size))
  const arena = Arena.make(layout, values, assembly.little)
  if (Result.isFailure(arena)) {
    throw new AssembleError({ reason: "BadValue", call: call._tag, name, detail: arena.failure.message })
  }
  return add(assembly, call, name, new Uint8Array(arena.success.buffer, 0, size))
}

/** What a ref stands for at this point. Throws `AssembleError` where it stands for nothing. */
export const slotOf = (assembly: Assembly, call: KernelCall, ref: Ref.Ref): Slot => {
  const slot = assembly.slots.get(Ref.key(ref))
  if (slot === undefined) {
    throw new AssembleError({
      reason: "BadRef",
      call: call._tag,
      name: Ref.key(ref),
      detail: "the loader does not have it"
    })
  }
  return slot
}

/** Copies the descriptor of what a ref stands for into the data. Throws `AssembleError`. */
export const descriptorToData = (assembly: Assembly, call: KernelCall, ref: Ref.Ref, to: number): void =>
  LoaderCopies.placeToData(assembly.code, to, slotOf(assembly, call, ref).place)

/** The map that a ref stands for, if it stands for one. */
export const mapOf = (assembly: Assembly, ref: Ref.MapRef): Draft<MapAttributes> | undefined => {
  const slot = assembly.slots.get(Ref.key(ref))
  return slot?._tag === "Map" ? slot.draft : undefined
}

/** The name of a map of the loader. */
export const mapName = (assembly: Assembly, ref: Ref.MapRef): string => mapOf(assembly, ref)?.attr.name ?? Ref.key(ref)

/** The number of a map in `fd_array`, where the map that a ref stands for is in it. Throws `AssembleError`. */
export const mapIndex = (assembly: Assembly, call: KernelCall, ref: Ref.MapRef): number => {
  const { place } = slotOf(assembly, call, ref)
  if (place._tag === "Data" && place.offset < 4 * Layout.MAX_MAPS) return place.offset / 4
  throw new AssembleError({
    reason: "BadRef",
    call: call._tag,
    name: Ref.key(ref),
    detail: "it only gives its shape to other maps"
  })
}

/** Text in the data, with its NUL; one that is there already is used again. Throws `AssembleError`. */
export const addText = (assembly: Assembly, call: KernelCall, name: string, text: string): number => {
  const known = assembly.texts.get(text)
  if (known !== undefined) return known
  const at = add(assembly, call, name, new TextEncoder().encode(`${text}\0`))
  assembly.texts.set(text, at)
  return at
}

/** A name in a text that is printed: of ASCII, and no `%` that would ask for a number. */
export const printable = (name: string): string => name.replaceAll(/[^ -~]|%/gu, "?")

/**
 * Prints a text with the numbers in up to two registers, in a loader that prints what it does. R0 to R5 are lost then: so
 * nothing may be in them. Throws `AssembleError`.
 */
export const trace = (
  assembly: Assembly,
  call: KernelCall,
  text: string,
  first?: Encode.Register,
  second?: Encode.Register
): void => {
  if (!isTraced(assembly.options)) return
  const at = addText(assembly, call, call._tag, text)
  LoaderCode.printText(assembly.code, at, text.length + 1, first, second)
}

/** An error about something that the loader has no place for. */
export const tooMany = (call: KernelCall, name: string, detail: string, hint: string): AssembleError =>
  new AssembleError({ reason: "TooMany", call: call._tag, name, detail, hint })
