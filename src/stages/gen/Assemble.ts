/**
 * Assembles a loader program from the kernel calls that it shall make.
 *
 * A pure function of the calls, in their order. Each becomes a `bpf_attr` in the loader's data, with what it points to,
 * and a few instructions that complete it at run time (addresses, descriptors, what the caller put into the context) and
 * hand it to the kernel. Every call is required: the first that fails ends the loader with its error.
 *
 * Loaders can load BTF, create, fill and freeze maps, load programs, and close what they made. Not yet: whatever a name
 * of the kernel has to be looked up for, maps and programs as values of maps, templates of maps of maps, signing,
 * big-endian targets.
 *
 * Source: reference page `gen-loader`, sections 2 to 6. Differences from libbpf: the kernel version that a program asks
 * for is kept; flags and keys of an update may be any; a map's types are named whenever the plan names them.
 */
import * as Result from "effect/Result"
import * as Insn from "../../insn/Insn.ts"
import { BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE } from "../../insn/InsnConstants.ts"
import { attempt } from "../../internal/attempt.ts"
import * as Arena from "../../services/Kernel/abi/Arena.ts"
import * as Attr from "../../services/Kernel/abi/Attr.ts"
import { Command } from "../../services/Kernel/abi/BpfConstants.ts"
import { kernelName } from "../../services/Kernel/abi/Name.ts"
import type {
  BtfLoad,
  Code,
  InfoRecords,
  KernelCall,
  MapAttributes,
  MapCreate,
  MapFreeze,
  MapUpdate,
  ProgAttributes,
  ProgLoad
} from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import { AssembleError, isAssembleError } from "./AssembleError.ts"
import * as LoaderCode from "./LoaderCode.ts"
import * as LoaderData from "./LoaderData.ts"
import * as Layout from "./LoaderLayout.ts"
import type { InitialValue, LoadedProgram, LoaderMap, LoaderProgram } from "./LoaderProgram.ts"
import * as Recordable from "./Recordable.ts"

export { AssembleError } from "./AssembleError.ts"

/** What a ref became in a loader: the BTF object on the stack, or the map or program of this number. */
type Slot = { readonly _tag: "Btf" } | { readonly _tag: "Map" | "Prog"; readonly number: number }

/** A map or program while the loader is assembled. */
interface Draft<Attributes> {
  readonly attr: Attributes
  readonly ref: number
  initialValue?: InitialValue
  published: boolean
}

/** A loader while it is assembled. */
interface Assembly {
  readonly code: LoaderCode.LoaderCode
  readonly data: LoaderData.LoaderData
  readonly maps: Array<Draft<MapAttributes>>
  readonly programs: Array<Draft<ProgAttributes>>
  readonly slots: Map<string, Slot>
  hasBtf: boolean
}

/** The end of a field: how much of a structure is passed to the kernel when this is the last field that matters. */
const through = (field: Arena.Field): number => field.offset + field.size

/**
 * The part of each structure that libbpf's loaders pass. Kernels differ in what follows, and a structure that ends
 * early reads as zero there.
 */
const attrSize = {
  BtfLoad: through(Attr.BtfLoad.fields.btf_log_level),
  MapCreate: through(Attr.MapCreate.fields.map_extra),
  MapUpdate: through(Attr.MapElement.fields.flags),
  MapFreeze: through(Attr.MapFreeze.fields.map_fd),
  ProgLoad: through(Attr.ProgLoad.fields.core_relo_rec_size)
}

const add = (assembly: Assembly, call: KernelCall, name: string, bytes: Uint8Array): number => {
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

/** Adds the part of a structure that is known now: numbers and names. Pointers and descriptors are filled in later. */
const addAttr = <L extends Arena.Layout>(
  assembly: Assembly,
  call: KernelCall,
  name: string,
  layout: L,
  size: number,
  values: Arena.Values<L>
): number => {
  const arena = Arena.make(layout, values, true)
  if (Result.isFailure(arena)) {
    throw new AssembleError({ reason: "BadValue", call: call._tag, name, detail: arena.failure.message })
  }
  return add(assembly, call, name, new Uint8Array(arena.success.buffer, 0, size))
}

/** What a ref stands for at this point. */
const slotOf = (assembly: Assembly, call: KernelCall, ref: Ref.Ref): Slot => {
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

/** The number of the map that a ref stands for. */
const mapNumber = (assembly: Assembly, call: KernelCall, ref: Ref.MapRef): number => {
  const slot = slotOf(assembly, call, ref)
  return slot._tag === "Map" ? slot.number : 0
}

/** Where the descriptor of a map is in the data: its slot of `fd_array`. */
const mapFdAt = (number: number): number => 4 * number

/** The map that a ref stands for, if it stands for one. */
const draftOf = (assembly: Assembly, ref: Ref.MapRef): Draft<MapAttributes> | undefined => {
  const slot = assembly.slots.get(Ref.key(ref))
  return slot?._tag === "Map" ? assembly.maps[slot.number] : undefined
}

/** The name of a map of the loader. */
const mapName = (assembly: Assembly, ref: Ref.MapRef): string => draftOf(assembly, ref)?.attr.name ?? Ref.key(ref)

const tooMany = (call: KernelCall, name: string, detail: string, hint: string): AssembleError =>
  new AssembleError({ reason: "TooMany", call: call._tag, name, detail, hint })

const btfLoad = (assembly: Assembly, call: BtfLoad): void => {
  const name = Ref.key(call.as)
  if (assembly.hasBtf) {
    throw tooMany(call, name, "a loader loads one BTF object", "record each object in a loader of its own")
  }
  assembly.hasBtf = true
  const { code } = assembly
  const { fields } = Attr.BtfLoad
  const bytes = add(assembly, call, name, call.bytes)
  const attr = addAttr(assembly, call, name, Attr.BtfLoad, attrSize.BtfLoad, { btf_size: call.bytes.length })
  LoaderCode.contextToData(code, attr + fields.btf_log_level.offset, 4, Layout.Context.LOG_LEVEL)
  LoaderCode.contextToData(code, attr + fields.btf_log_size.offset, 4, Layout.Context.LOG_SIZE)
  LoaderCode.contextToData(code, attr + fields.btf_log_buf.offset, 8, Layout.Context.LOG_BUF)
  LoaderCode.storeAddress(code, attr + fields.btf.offset, bytes)
  LoaderCode.sysBpf(code, Command.BPF_BTF_LOAD, attr, attrSize.BtfLoad)
  LoaderCode.checkError(code)
  LoaderCode.keepOnStack(code, Layout.STACK_BTF_FD)
  assembly.slots.set(Ref.key(call.as), { _tag: "Btf" })
}

const mapCreate = (assembly: Assembly, call: MapCreate): void => {
  const { attr, types } = call
  const number = assembly.maps.length
  if (number >= Layout.MAX_MAPS) {
    throw tooMany(
      call,
      attr.name,
      `a loader creates at most ${Layout.MAX_MAPS} maps`,
      "turn the autocreate of maps off that no program needs"
    )
  }
  if (types !== undefined) slotOf(assembly, call, types.btf)
  const { code } = assembly
  const { fields } = Attr.MapCreate
  const at = addAttr(assembly, call, attr.name, Attr.MapCreate, attrSize.MapCreate, {
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
    map_extra: attr.extra
  })
  if (types !== undefined) LoaderCode.stackToData(code, at + fields.btf_fd.offset, Layout.STACK_BTF_FD)
  const asked = Layout.contextMap(number) + Layout.MapDescriptor.MAX_ENTRIES
  LoaderCode.contextToData(code, at + fields.max_entries.offset, 4, asked, true)
  LoaderCode.sysBpf(code, Command.BPF_MAP_CREATE, at, attrSize.MapCreate)
  LoaderCode.checkError(code)
  LoaderCode.keepInData(code, mapFdAt(number))
  assembly.maps.push({ attr, ref: call.as.index, published: true })
  assembly.slots.set(Ref.key(call.as), { _tag: "Map", number })
}

const mapUpdate = (assembly: Assembly, call: MapUpdate): void => {
  const { code } = assembly
  const { fields } = Attr.MapElement
  const name = mapName(assembly, call.map)
  const number = mapNumber(assembly, call, call.map)
  const { bytes } = call.value
  const value = add(assembly, call, name, bytes)
  const key = add(assembly, call, name, call.key)
  if (call.overridable === true) {
    const callers = Layout.contextMap(number) + Layout.MapDescriptor.INITIAL_VALUE
    LoaderCode.replaceByCallers(code, value, bytes.length, callers)
    const map = assembly.maps[number]
    if (map !== undefined) map.initialValue = { offset: value, size: bytes.length }
  }
  const attr = addAttr(assembly, call, name, Attr.MapElement, attrSize.MapUpdate, { flags: call.flags })
  LoaderCode.dataToData(code, attr + fields.map_fd.offset, 4, mapFdAt(number))
  LoaderCode.storeAddress(code, attr + fields.key.offset, key)
  LoaderCode.storeAddress(code, attr + fields.value.offset, value)
  LoaderCode.sysBpf(code, Command.BPF_MAP_UPDATE_ELEM, attr, attrSize.MapUpdate)
  LoaderCode.checkError(code)
}

const mapFreeze = (assembly: Assembly, call: MapFreeze): void => {
  const { code } = assembly
  const number = mapNumber(assembly, call, call.map)
  const attr = addAttr(assembly, call, mapName(assembly, call.map), Attr.MapFreeze, attrSize.MapFreeze, {})
  LoaderCode.dataToData(code, attr + Attr.MapFreeze.fields.map_fd.offset, 4, mapFdAt(number))
  LoaderCode.sysBpf(code, Command.BPF_MAP_FREEZE, attr, attrSize.MapFreeze)
  LoaderCode.checkError(code)
}

/** The instructions with every ref as an index into `fd_array`, whose slots have the maps' numbers. */
const bind = (assembly: Assembly, call: ProgLoad, { insns, refs }: Code): Uint8Array => {
  // Not `slice`: of a Buffer it would be a view, and the plan's code would change.
  const bound = new Uint8Array(insns)
  for (const ref of refs) {
    const bad = (detail: string): AssembleError =>
      new AssembleError({
        reason: "BadRef",
        call: call._tag,
        name: call.attr.name,
        detail: `instruction ${ref.at}: ${detail}`
      })
    // Those were complained of before.
    if (ref._tag === "SymbolRef") continue
    const isPlace = Number.isInteger(ref.at) && ref.at >= 0 && ref.at + 1 < Insn.count(bound) &&
      Insn.isLdImm64(bound, ref.at)
    if (!isPlace) throw bad("only a 64-bit immediate load can refer to a map")
    const offset = ref._tag === "MapValueRef" ? ref.offset : 0
    if (!Number.isInteger(offset) || offset < 0 || offset > 0xffff_ffff) {
      throw bad(`${offset} is no offset into a value`)
    }
    Insn.setSrc(bound, ref.at, ref._tag === "MapRef" ? BPF_PSEUDO_MAP_IDX : BPF_PSEUDO_MAP_IDX_VALUE)
    Insn.setImm(bound, ref.at, mapNumber(assembly, call, ref.map))
    Insn.setNextImm(bound, ref.at, offset | 0)
  }
  return bound
}

/** Records in the data: where they are, how many, how long each. */
interface Placed {
  readonly at: number
  readonly count: number
  readonly size: number
}

const addRecords = (assembly: Assembly, call: ProgLoad, info: InfoRecords | undefined): Placed | undefined => {
  if (info === undefined || info.records.length === 0) return undefined
  const at = add(assembly, call, call.attr.name, info.records)
  return { at, count: info.records.length / info.recordSize, size: info.recordSize }
}

const progLoad = (assembly: Assembly, call: ProgLoad): void => {
  const { attr } = call
  const { code } = assembly
  const { fields } = Attr.ProgLoad
  const number = assembly.programs.length
  if (number >= Layout.MAX_PROGRAMS) {
    throw tooMany(
      call,
      attr.name,
      `a loader loads at most ${Layout.MAX_PROGRAMS} programs`,
      "turn the autoload of programs off that are not needed"
    )
  }
  if (call.btf !== undefined) slotOf(assembly, call, call.btf)
  const bound = bind(assembly, call, call.code)
  const license = add(assembly, call, attr.name, new TextEncoder().encode(`${attr.license}\0`))
  const insns = add(assembly, call, attr.name, bound)
  // Function and line records name types of the object's BTF: without it they mean nothing.
  const funcs = call.btf && addRecords(assembly, call, call.funcInfo)
  const lines = call.btf && addRecords(assembly, call, call.lineInfo)
  const core = addRecords(assembly, call, call.code.coreRelocations)
  const at = addAttr(assembly, call, attr.name, Attr.ProgLoad, attrSize.ProgLoad, {
    prog_type: attr.type,
    insn_cnt: Insn.count(bound),
    kern_version: attr.kernelVersion,
    prog_flags: attr.flags,
    prog_name: kernelName(attr.name),
    prog_ifindex: attr.ifindex,
    expected_attach_type: attr.expectedAttachType,
    func_info_rec_size: funcs?.size,
    func_info_cnt: funcs?.count,
    line_info_rec_size: lines?.size,
    line_info_cnt: lines?.count,
    core_relo_cnt: core?.count,
    core_relo_rec_size: core?.size
  })
  LoaderCode.storeAddress(code, at + fields.license.offset, license)
  LoaderCode.storeAddress(code, at + fields.insns.offset, insns)
  if (funcs !== undefined) LoaderCode.storeAddress(code, at + fields.func_info.offset, funcs.at)
  if (lines !== undefined) LoaderCode.storeAddress(code, at + fields.line_info.offset, lines.at)
  if (core !== undefined) LoaderCode.storeAddress(code, at + fields.core_relos.offset, core.at)
  LoaderCode.storeAddress(code, at + fields.fd_array.offset, 0)
  LoaderCode.contextToData(code, at + fields.log_level.offset, 4, Layout.Context.LOG_LEVEL)
  LoaderCode.contextToData(code, at + fields.log_size.offset, 4, Layout.Context.LOG_SIZE)
  LoaderCode.contextToData(code, at + fields.log_buf.offset, 8, Layout.Context.LOG_BUF)
  if (call.btf !== undefined) LoaderCode.stackToData(code, at + fields.prog_btf_fd.offset, Layout.STACK_BTF_FD)
  LoaderCode.sysBpf(code, Command.BPF_PROG_LOAD, at, attrSize.ProgLoad)
  LoaderCode.checkError(code)
  LoaderCode.keepOnStack(code, Layout.stackProgFd(number))
  assembly.programs.push({ attr, ref: call.as.index, published: true })
  assembly.slots.set(Ref.key(call.as), { _tag: "Prog", number })
}

/** Closes what a ref stands for. It is not handed out then. */
const close = (assembly: Assembly, call: KernelCall, ref: Ref.Ref): void => {
  const slot = slotOf(assembly, call, ref)
  assembly.slots.delete(Ref.key(ref))
  if (slot._tag === "Btf") return LoaderCode.closeStack(assembly.code, Layout.STACK_BTF_FD)
  const draft = (slot._tag === "Map" ? assembly.maps : assembly.programs)[slot.number]
  if (draft !== undefined) draft.published = false
  if (slot._tag === "Map") LoaderCode.closeData(assembly.code, mapFdAt(slot.number))
  else LoaderCode.closeStack(assembly.code, Layout.stackProgFd(slot.number))
}

const one = (assembly: Assembly, call: KernelCall): void => {
  const complaint = Recordable.complaint(call, (ref) => draftOf(assembly, ref)?.attr)
  if (complaint !== undefined) throw complaint
  switch (call._tag) {
    case "BtfLoad":
      return btfLoad(assembly, call)
    case "MapCreate":
      return mapCreate(assembly, call)
    case "MapUpdate":
      return mapUpdate(assembly, call)
    case "MapFreeze":
      return mapFreeze(assembly, call)
    case "ProgLoad":
      return progLoad(assembly, call)
    case "Close":
      return close(assembly, call, call.ref)
    default:
      // Every other call has been complained of.
      return
  }
}

/** Everything has succeeded: hands out the descriptors of maps and programs, and closes the BTF object. */
const finish = ({ code, hasBtf, maps, programs, slots }: Assembly): void => {
  if (hasBtf && [...slots.values()].some((slot) => slot._tag === "Btf")) {
    LoaderCode.closeStack(code, Layout.STACK_BTF_FD)
  }
  programs.forEach(({ published }, number) => {
    if (published) {
      LoaderCode.stackToContext(code, Layout.contextProgram(maps.length, number), Layout.stackProgFd(number))
    }
  })
  maps.forEach(({ published }, number) => {
    if (published) LoaderCode.dataToContext(code, Layout.contextMap(number), 4, mapFdAt(number))
  })
  LoaderCode.succeed(code)
}

const assembleCalls = (calls: ReadonlyArray<KernelCall>, notes: ReadonlyArray<string>): LoaderProgram => {
  const count = (tag: KernelCall["_tag"], most: number): number =>
    Math.min(most, calls.filter((call) => call._tag === tag).length)
  const assembly: Assembly = {
    code: LoaderCode.make(count("MapCreate", Layout.MAX_MAPS), count("ProgLoad", Layout.MAX_PROGRAMS)),
    data: LoaderData.make(),
    maps: [],
    programs: [],
    slots: new Map(),
    hasBtf: false
  }
  for (const call of calls) one(assembly, call)
  finish(assembly)
  const maps = assembly.maps.map(({ attr, initialValue, published, ref }, number): LoaderMap => ({
    name: attr.name,
    ref,
    contextOffset: Layout.contextMap(number),
    maxEntries: attr.maxEntries,
    ...(initialValue === undefined ? {} : { initialValue }),
    published
  }))
  const programs = assembly.programs.map(({ attr, published, ref }, number): LoadedProgram => ({
    name: attr.name,
    ref,
    contextOffset: Layout.contextProgram(maps.length, number),
    published
  }))
  return {
    insns: LoaderCode.join(assembly.code),
    data: LoaderData.join(assembly.data),
    license: Layout.LOADER_LICENSE,
    contextSize: Layout.contextSize(maps.length, programs.length),
    maps,
    programs,
    notes
  }
}

/**
 * The loader program that makes these calls in this order. Refs are those of one session; what a call refers to must be
 * made by a call before it. `notes` are kept with the loader.
 */
export const assemble = (
  calls: ReadonlyArray<KernelCall>,
  notes: ReadonlyArray<string> = []
): Result.Result<LoaderProgram, AssembleError> => attempt(isAssembleError, () => assembleCalls(calls, notes))
