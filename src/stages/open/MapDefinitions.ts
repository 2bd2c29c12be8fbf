/**
 * Maps that are defined by BTF: variables of the section `.maps`.
 *
 * The compiler is made to say numbers through types: `__uint(name, N)` is a pointer to an array of N ints, `__type` a
 * pointer to the type, `__array` an array of such pointers, `__ulong` an anonymous enum of one value. See libbpf's
 * `bpf_helpers.h` for the macros.
 */
import * as Btf from "../../btf/Btf.ts"
import * as Kind from "../../btf/BtfKind.ts"
import * as Result from "effect/Result"
import type { ElfSection } from "../../services/Elf/Elf.ts"
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import { type MapDefinition, holdsMaps } from "./BpfObject.ts"
import { OpenError } from "./OpenError.ts"
import { maxNameLength, type OpenOptions } from "./OpenOptions.ts"

const noType = 0

/** More members than any definition has; there are about a dozen that mean something. */
const maxMembers = 64

/** What is read of a definition before it is complete: absent members are undefined. */
interface Draft {
  type: number
  keySize: number | undefined
  valueSize: number | undefined
  keyType: number
  valueType: number
  maxEntries: number
  flags: number
  numaNode: number
  extra: bigint
  pinned: boolean
  inner: MapDefinition | undefined
}

/** Where in the file a definition stands, for the definition and for messages. */
interface Place {
  readonly name: string
  readonly section: ElfSection
  readonly offset: number
}

const refuse = (place: Place, detail: string, more: { reason?: OpenError["reason"]; hint?: string } = {}): OpenError =>
  new OpenError({
    reason: more.reason ?? "MapDefinition",
    section: place.section.name,
    offset: place.offset,
    name: place.name,
    detail,
    ...(more.hint === undefined ? {} : { hint: more.hint })
  })

/** `__uint`: the number of elements of the array that the member points to. */
const readUint = (btf: Btf.Btf, member: Btf.Member, place: Place): number => {
  const pointer = Btf.typeOf(btf, Btf.resolveType(btf, member.type))
  const array = pointer._tag === "Ptr" ? Btf.typeOf(btf, pointer.type) : undefined
  if (array?._tag !== "Array") throw refuse(place, `${member.name} is not written with __uint`)
  return array.length
}

/** `__ulong`: the value of the only enumerator of an anonymous enum; `undefined` when the member is not one. */
const readUlong = (btf: Btf.Btf, member: Btf.Member): bigint | undefined => {
  const id = Btf.resolveType(btf, member.type)
  if (Btf.vlenOf(btf, id) !== 1) return undefined
  const type = Btf.typeOf(btf, id)
  if (type._tag !== "Enum" && type._tag !== "Enum64") return undefined
  const value = type.values[0]?.value
  return value === undefined ? undefined : BigInt.asUintN(64, BigInt(value))
}

/** `__type`: the type that the member points to, and its size. */
const readType = (btf: Btf.Btf, member: Btf.Member, place: Place): { readonly type: number; readonly size: number } => {
  const pointer = Btf.typeOf(btf, member.type)
  if (pointer._tag !== "Ptr") throw refuse(place, `${member.name} is not written with __type`)
  const size = Btf.resolveSize(btf, pointer.type)
  if (Result.isFailure(size)) throw refuse(place, `the type of ${member.name} has no size: ${size.failure.message}`)
  return { type: pointer.type, size: size.success }
}

const setSize = (
  draft: Draft,
  which: "keySize" | "valueSize",
  size: number,
  member: string,
  place: Place
): void => {
  const before = draft[which]
  if (before !== undefined && before !== size) {
    throw refuse(place, `${member} says ${size} bytes where another member said ${before}`)
  }
  draft[which] = size
}

const readValues = (
  btf: Btf.Btf,
  member: Btf.Member,
  draft: Draft,
  place: Place,
  options: OpenOptions
): void => {
  if (!holdsMaps(draft.type) && draft.type !== MapType.BPF_MAP_TYPE_PROG_ARRAY) {
    throw refuse(place, "only maps of maps and program arrays can have values", {
      reason: "UnsupportedMapDefinition",
      hint: "write the type before the values"
    })
  }
  setSize(draft, "valueSize", 4, "values", place)
  const array = Btf.typeOf(btf, member.type)
  const pointer = array._tag === "Array" && array.length === 0 ? Btf.typeOf(btf, array.type) : undefined
  if (pointer?._tag !== "Ptr") throw refuse(place, "values is not written with __array")
  const target = Btf.resolveType(btf, pointer.type)
  const kind = Btf.kindOf(btf, target)
  if (draft.type === MapType.BPF_MAP_TYPE_PROG_ARRAY) {
    if (kind !== Kind.BTF_KIND_FUNC_PROTO) throw refuse(place, "the values of a program array must be functions")
    return
  }
  if (kind !== Kind.BTF_KIND_STRUCT) throw refuse(place, "the values of a map of maps must be map definitions")
  draft.inner = readStruct(btf, target, { ...place, name: `${place.name}.inner` }, true, options)
}

const readMember = (
  btf: Btf.Btf,
  member: Btf.Member,
  last: boolean,
  draft: Draft,
  place: Place,
  isInner: boolean,
  options: OpenOptions
): void => {
  switch (member.name) {
    case "type":
      draft.type = readUint(btf, member, place)
      return
    case "max_entries":
      draft.maxEntries = readUint(btf, member, place)
      return
    case "map_flags":
      draft.flags = readUint(btf, member, place)
      return
    case "numa_node":
      draft.numaNode = readUint(btf, member, place)
      return
    case "map_extra":
      draft.extra = readUlong(btf, member) ?? BigInt(readUint(btf, member, place))
      return
    case "key_size":
      return setSize(draft, "keySize", readUint(btf, member, place), "key_size", place)
    case "value_size":
      return setSize(draft, "valueSize", readUint(btf, member, place), "value_size", place)
    case "key": {
      const { size, type } = readType(btf, member, place)
      draft.keyType = type
      return setSize(draft, "keySize", size, "key", place)
    }
    case "value": {
      const { size, type } = readType(btf, member, place)
      draft.valueType = type
      return setSize(draft, "valueSize", size, "value", place)
    }
    case "values":
      if (isInner) {
        throw refuse(place, "maps of maps cannot be nested any deeper", { reason: "UnsupportedMapDefinition" })
      }
      if (!last) throw refuse(place, "values must be the last member")
      return readValues(btf, member, draft, place, options)
    case "pinning": {
      const pinning = readUint(btf, member, place)
      if (isInner) throw refuse(place, "an inner map cannot be pinned")
      if (pinning > 1) throw refuse(place, `${pinning} is no way of pinning`, { hint: "use LIBBPF_PIN_BY_NAME" })
      draft.pinned = pinning === 1
      return
    }
    default:
      if (options.relaxedMaps !== true) {
        throw refuse(place, `the member ${member.name} is not understood`, {
          reason: "UnsupportedMapDefinition",
          hint: "open with relaxedMaps to pass over it"
        })
      }
  }
}

/** The pin of a map that is shared by its name. */
const pinPathOf = (name: string, place: Place, options: OpenOptions): string => {
  const path = `${options.pinRoot ?? "/sys/fs/bpf"}/${name}`
  if (new TextEncoder().encode(path).length >= 4096) throw refuse(place, "the path of its pin is too long")
  return path
}

const readStruct = (
  btf: Btf.Btf,
  struct: number,
  place: Place,
  isInner: boolean,
  options: OpenOptions
): MapDefinition => {
  const draft: Draft = {
    type: 0,
    keySize: undefined,
    valueSize: undefined,
    keyType: noType,
    valueType: noType,
    maxEntries: 0,
    flags: 0,
    numaNode: 0,
    extra: 0n,
    pinned: false,
    inner: undefined
  }
  // Definitions may share one type: without this bound, a file of many could make each of them cost its whole length.
  if (Btf.vlenOf(btf, struct) > maxMembers) throw refuse(place, `the definition has more than ${maxMembers} members`)
  const type = Btf.typeOf(btf, struct)
  const members = type._tag === "Struct" ? type.members : []
  members.forEach((member, index) =>
    readMember(btf, member, index === members.length - 1, draft, place, isInner, options)
  )
  if (draft.type === 0) {
    throw refuse(place, "the definition has no type", { hint: "add __uint(type, BPF_MAP_TYPE_...)" })
  }
  return {
    name: place.name,
    origin: "Btf",
    sectionName: place.section.name,
    sectionIndex: place.section.index,
    sectionOffset: place.offset,
    attr: {
      name: place.name.slice(0, maxNameLength),
      type: draft.type,
      keySize: draft.keySize ?? 0,
      valueSize: draft.valueSize ?? 0,
      maxEntries: draft.maxEntries,
      flags: draft.flags,
      numaNode: draft.numaNode,
      ifindex: 0,
      extra: draft.extra
    },
    keyType: draft.keyType,
    valueType: draft.valueType,
    inner: draft.inner,
    slots: [],
    pinPath: draft.pinned ? pinPathOf(place.name, place, options) : undefined,
    initialValue: undefined,
    autocreate: true,
    structOps: undefined
  }
}

/** Reads the definitions of `.maps`, in the order in which the variables stand there. Throws `OpenError`. */
export const collect = (section: ElfSection, btf: Btf.Btf, options: OpenOptions): ReadonlyArray<MapDefinition> => {
  const id = Btf.findOne(btf, section.name, Kind.BTF_KIND_DATASEC)
  const datasec = id === undefined ? undefined : Btf.typeOf(btf, id)
  if (datasec?._tag !== "Datasec") {
    throw new OpenError({
      reason: "MissingBtf",
      section: section.name,
      detail: "the object's BTF does not describe this section",
      hint: "compile with `-g`"
    })
  }
  return datasec.entries.map((entry) => {
    const variable = Btf.typeOf(btf, entry.type)
    if (variable._tag !== "Var" || variable.name === "") {
      throw new OpenError({
        reason: "MapDefinition",
        section: section.name,
        offset: entry.offset,
        detail: "a map definition must be a variable with a name"
      })
    }
    const place: Place = { name: variable.name, section, offset: entry.offset }
    if (entry.offset + entry.size > section.size) throw refuse(place, "the definition reaches beyond its section")
    if (variable.linkage !== Kind.BTF_VAR_GLOBAL_ALLOCATED) {
      throw refuse(place, "a map definition must be a global variable", { reason: "UnsupportedMapDefinition" })
    }
    const struct = Btf.resolveType(btf, variable.type)
    if (Btf.kindOf(btf, struct) !== Kind.BTF_KIND_STRUCT) throw refuse(place, "a map definition must be a struct")
    const size = Btf.sizeOrTypeOf(btf, struct)
    if (size > entry.size) throw refuse(place, `the definition has ${entry.size} bytes, its type ${size}`)
    return readStruct(btf, struct, place, false, options)
  })
}
