/**
 * Assembles a loader program from the kernel calls that it shall make.
 *
 * A pure function of the calls, in their order. Each becomes a `bpf_attr` in the loader's data, with what it points to,
 * and a few instructions that complete it at run time (addresses, descriptors, what the caller put into the context) and
 * hand it to the kernel. Every call is required: the first that fails ends the loader with its error.
 *
 * Source: reference page `gen-loader`, sections 2 to 8. Differences from libbpf: the kernel version that a program asks
 * for is kept; flags and keys of an update may be any; a map's types are named whenever the plan names them.
 */
import type * as Result from "effect/Result"
import * as Insn from "../../insn/Insn.ts"
import { attempt } from "../../internal/attempt.ts"
import { sha256 } from "../../internal/Sha256.ts"
import * as Attr from "../../services/Kernel/abi/Attr.ts"
import { Command } from "../../services/Kernel/abi/BpfConstants.ts"
import type { BtfLoad, KernelCall } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import { AssembleError, isAssembleError } from "./AssembleError.ts"
import { checkSigned } from "./assemble/AssembleInputs.ts"
import { mapCreate, mapDelete, mapFreeze, mapUpdate } from "./assemble/AssembleMaps.ts"
import { programPlace, progLoad } from "./assemble/AssembleProgram.ts"
import {
  add,
  addAttr,
  type AssembleOptions,
  type Assembly,
  isTraced,
  type Listed,
  mapOf,
  slotOf,
  through,
  tooMany,
  trace
} from "./assemble/Assembly.ts"
import * as LoaderCode from "./assemble/LoaderCode.ts"
import * as LoaderCopies from "./assemble/LoaderCopies.ts"
import * as LoaderInput from "./LoaderInput.ts"
import * as LoaderData from "./assemble/LoaderData.ts"
import * as Layout from "./LoaderLayout.ts"
import type { LoadedProgram, LoaderMap, LoaderProgram } from "./LoaderProgram.ts"
import * as Recordable from "./assemble/Recordable.ts"

export { AssembleError } from "./AssembleError.ts"
export type { AssembleOptions, Listed } from "./assemble/Assembly.ts"

/** The part of the structure that libbpf's loaders pass: kernels differ in what follows. */
const btfAttrSize = through(Attr.BtfLoad.fields.btf_log_level)

const btfLoad = (assembly: Assembly, call: BtfLoad): void => {
  const name = Ref.key(call.as)
  if (assembly.hasBtf) {
    throw tooMany(call, name, "a loader loads one BTF object", "record each object in a loader of its own")
  }
  assembly.hasBtf = true
  assembly.btf = call.bytes
  const { code } = assembly
  const { fields } = Attr.BtfLoad
  const bytes = add(assembly, call, name, call.bytes)
  const attr = addAttr(assembly, call, name, Attr.BtfLoad, btfAttrSize, { btf_size: call.bytes.length })
  LoaderCopies.contextToData(code, attr + fields.btf_log_level.offset, 4, Layout.Context.LOG_LEVEL)
  LoaderCopies.contextToData(code, attr + fields.btf_log_size.offset, 4, Layout.Context.LOG_SIZE)
  LoaderCopies.contextToData(code, attr + fields.btf_log_buf.offset, 8, Layout.Context.LOG_BUF)
  LoaderCopies.storeAddress(code, attr + fields.btf.offset, bytes)
  LoaderCode.sysBpf(code, Command.BPF_BTF_LOAD, attr, btfAttrSize)
  trace(assembly, call, `BTF_LOAD of ${call.bytes.length} bytes r=%d`, 7)
  LoaderCode.checkError(code)
  const place: LoaderCode.Place = { _tag: "Stack", offset: Layout.STACK_BTF_FD }
  LoaderCode.keep(code, place)
  assembly.slots.set(Ref.key(call.as), { _tag: "Btf", place })
}

/** Closes what a ref stands for. It is not handed out then. */
const close = (assembly: Assembly, call: KernelCall, ref: Ref.Ref): void => {
  const slot = slotOf(assembly, call, ref)
  assembly.slots.delete(Ref.key(ref))
  if (slot._tag !== "Btf") slot.draft.published = false
  if (slot._tag === "Map") {
    if (slot.place._tag === "Data") assembly.openMaps.delete(slot.place.offset / 4)
    else assembly.templateIsOpen = false
  }
  LoaderCode.closePlace(assembly.code, slot.place)
}

const one = (assembly: Assembly, call: KernelCall): void => {
  const complaint = Recordable.complaint(call, (ref) => mapOf(assembly, ref)?.attr)
  if (complaint !== undefined) throw complaint
  switch (call._tag) {
    case "BtfLoad":
      return btfLoad(assembly, call)
    case "MapCreate":
      return mapCreate(assembly, call)
    case "MapUpdate":
      return mapUpdate(assembly, call)
    case "MapDelete":
      return mapDelete(assembly, call)
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

/** Everything has succeeded: closes what nobody is handed, and hands out the descriptors of maps and programs. */
const finish = (assembly: Assembly, listedMaps: number): void => {
  const { code, maps, programs, slots } = assembly
  for (const slot of slots.values()) {
    if (slot._tag === "Btf" || slot.draft.number === undefined) LoaderCode.closePlace(code, slot.place)
  }
  for (const { number, place, published } of programs) {
    if (published && number !== undefined) {
      LoaderCopies.placeToContext(code, Layout.contextProgram(listedMaps, number), place)
    }
  }
  for (const { number, place, published } of maps) {
    if (published && number !== undefined) LoaderCopies.placeToContext(code, Layout.contextMap(number), place)
  }
  LoaderCode.succeed(code)
}

/** Throws `AssembleError` where there is more code than a kernel takes. */
const checkLength = ({ code }: Assembly): void => {
  if (code.slots <= Layout.MAX_CODE) return
  throw new AssembleError({
    reason: "TooLarge",
    call: "loader",
    name: "code",
    detail: `it would have ${code.slots} instructions, and the kernel takes ${Layout.MAX_CODE} instructions`,
    hint: "set fewer elements of maps, or load fewer maps and programs with one loader"
  })
}

/** What is listed where nobody said what is: everything that is made; what is made again keeps its place. */
const listedOf = (calls: ReadonlyArray<KernelCall>): NonNullable<AssembleOptions["listed"]> => {
  const maps = new Map<number, Listed & { readonly maxEntries: number }>()
  const programs = new Map<number, Listed>()
  for (const call of calls) {
    if (call._tag === "MapCreate") {
      const { attr: { maxEntries, name }, as: { index: ref } } = call
      maps.set(ref, { name, ref, maxEntries })
    }
    if (call._tag === "ProgLoad") programs.set(call.as.index, { name: call.attr.name, ref: call.as.index })
  }
  return { maps: [...maps.values()], programs: [...programs.values()] }
}

const numbered = (listed: ReadonlyArray<{ readonly ref: number }>): ReadonlyMap<number, number> =>
  new Map(listed.map(({ ref }, number) => [ref, number]))

/** The numbers of maps of maps, by the refs of those that give their shape to what is in them. */
const holdersOf = (
  calls: ReadonlyArray<KernelCall>,
  numbers: ReadonlyMap<number, number>
): ReadonlyMap<string, number> => {
  const holders = new Map<string, number>()
  for (const call of calls) {
    if (call._tag !== "MapCreate" || call.inner === undefined) continue
    const number = numbers.get(call.as.index)
    if (number !== undefined) holders.set(Ref.key(call.inner), number)
  }
  return holders
}

const count = (calls: ReadonlyArray<KernelCall>, tag: KernelCall["_tag"]): number =>
  calls.reduce((sum, call) => call._tag === tag ? sum + 1 : sum, 0)

/** Where descriptors are at some time, which the cleanup closes. */
const placesOf = (calls: ReadonlyArray<KernelCall>, programsAt: number): ReadonlyArray<LoaderCode.Place> => {
  const programs = count(calls, "ProgLoad")
  const maps = Math.min(Layout.MAX_MAPS, count(calls, "MapCreate"))
  return [
    { _tag: "Stack", offset: Layout.STACK_BTF_FD },
    { _tag: "Stack", offset: Layout.STACK_TEMPLATE_FD },
    ...Array.from({ length: programs }, (_, number) => programPlace(number, programsAt)),
    ...Array.from({ length: maps }, (_, at): LoaderCode.Place => ({ _tag: "Data", offset: 4 * at }))
  ]
}

/** Maps that only give their shape to others: nothing but that, and their contents, mentions them. */
const templatesOf = (calls: ReadonlyArray<KernelCall>, listed: ReadonlyMap<number, number>): ReadonlySet<string> => {
  const templates = new Set<string>()
  for (const call of calls) {
    if (call._tag === "MapCreate" && call.inner !== undefined && !listed.has(call.inner.index)) {
      templates.add(Ref.key(call.inner))
    }
  }
  for (const call of calls) {
    if (call._tag !== "ProgLoad") continue
    for (const ref of call.code.refs) if (ref._tag !== "SymbolRef") templates.delete(Ref.key(ref.map))
  }
  return templates
}

const assembleCalls = (calls: ReadonlyArray<KernelCall>, options: AssembleOptions): LoaderProgram => {
  const byteOrder = options.byteOrder ?? "little"
  const listed = options.listed ?? listedOf(calls)
  const numbers = { maps: numbered(listed.maps), programs: numbered(listed.programs) }
  const data = LoaderData.make()
  const closeText = isTraced(options)
    ? LoaderData.add(data, new TextEncoder().encode(`${LoaderCode.CLOSE_TEXT}\0`))
    : undefined
  // Descriptors of programs that have no place on the stack.
  const further = Math.max(0, count(calls, "ProgLoad") - Layout.STACK_PROGRAMS)
  const programsAt = data.length
  LoaderData.add(data, new Uint8Array(4 * further))
  const assembly: Assembly = {
    options,
    little: byteOrder === "little",
    code: LoaderCode.make(placesOf(calls, programsAt), closeText),
    data,
    numbers,
    maps: [],
    programs: [],
    slots: new Map(),
    openMaps: new Set(),
    templates: templatesOf(calls, numbers.maps),
    templateIsOpen: false,
    texts: new Map(),
    programsAt,
    inputs: [],
    inputsAt: Layout.contextInputs(listed.maps.length, listed.programs.length),
    holders: holdersOf(calls, numbers.maps),
    hasBtf: false,
    btf: undefined
  }
  // The older form of a signature is of the instructions alone, which then answer for the data.
  const digest = options.signed === "insns" ? LoaderCode.checkDigest(assembly.code) : []
  for (const call of calls) one(assembly, call)
  finish(assembly, listed.maps.length)
  checkLength(assembly)
  const words = assembly.inputs.reduce((sum, input) => sum + LoaderInput.wordsOf(input), 0)
  const contextSize = Layout.contextSize(listed.maps.length, listed.programs.length, words)
  if (contextSize > Layout.MAX_CONTEXT_SIZE) {
    throw new AssembleError({
      reason: "TooMany",
      call: "loader",
      name: "context",
      detail:
        `a context of ${listed.maps.length} maps, ${listed.programs.length} programs and ${words} words of inputs would ` +
        `have ${contextSize} bytes, and the kernel takes ${Layout.MAX_CONTEXT_SIZE}`,
      hint: "divide the object, or record parts of it"
    })
  }
  checkSigned(assembly, {
    map: (number) => listed.maps[number]?.name ?? `map ${number}`,
    program: (number) => listed.programs[number]?.name ?? `program ${number}`
  })
  const madeMaps = new Map(assembly.maps.map((draft) => [draft.ref, draft]))
  const madePrograms = new Map(assembly.programs.map((draft) => [draft.ref, draft]))
  const maps = listed.maps.map(({ maxEntries, name, ref }, number): LoaderMap => {
    const { initialValue, published = false } = madeMaps.get(ref) ?? {}
    return {
      name,
      ref,
      contextOffset: Layout.contextMap(number),
      maxEntries,
      ...(initialValue === undefined ? {} : { initialValue }),
      published
    }
  })
  const programs = listed.programs.map(({ name, ref }, number): LoadedProgram => ({
    name,
    ref,
    contextOffset: Layout.contextProgram(maps.length, number),
    published: madePrograms.get(ref)?.published ?? false
  }))
  const blob = LoaderData.join(assembly.data)
  if (digest.length > 0) LoaderCode.setDigest(assembly.code, digest, sha256(blob), assembly.little)
  return {
    byteOrder,
    insns: Insn.toByteOrder(LoaderCode.join(assembly.code), byteOrder),
    data: blob,
    license: Layout.LOADER_LICENSE,
    contextSize,
    maps,
    programs,
    created: {
      maps: assembly.maps.map(({ attr, ref }) => ({ name: attr.name, ref })),
      programs: assembly.programs.map(({ attr, ref }) => ({ name: attr.name, ref }))
    },
    inputs: assembly.inputs,
    ...(options.signed === undefined ? {} : { signed: { covers: options.signed } }),
    notes: options.notes ?? []
  }
}

/**
 * The loader program that makes these calls in this order. Refs are those of one session; what a call refers to must be
 * made by a call before it.
 */
export const assemble = (
  calls: ReadonlyArray<KernelCall>,
  options: AssembleOptions = {}
): Result.Result<LoaderProgram, AssembleError> => attempt(isAssembleError, () => assembleCalls(calls, options))
