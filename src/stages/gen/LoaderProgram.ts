/**
 * A loader program: a BPF program of type `SYSCALL` and the data that it works on, which together load an object.
 *
 * A loader is plain data. To run one, its data is put into an array map of one element, the program is loaded with that
 * map as number 0 of its `fd_array` (`code` gives its instructions with that reference), and run once on a context
 * (`context`); the descriptors of the maps and programs that it made are then in the context (`descriptors`), open in the
 * process that ran it. The program returns 0 or a negated error number; after an error it has closed what it had opened.
 *
 * A run uses the data up: run again with a fresh map. That is worth while after `EAGAIN`, with which the kernel gives up
 * verifying when a signal is pending. Descriptor 0 stands for none in a loader: run it where standard input is open.
 *
 * Source of the format: reference page `gen-loader`; libbpf's `skel_internal.h`.
 */
import * as Schema from "effect/Schema"
import * as Insn from "../../insn/Insn.ts"
import { BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE } from "../../insn/InsnConstants.ts"
import type { ByteOrder } from "../../insn/Insn.ts"
import type { Code, CodeRef } from "../../services/Kernel/KernelCall.ts"
import type { MapRef } from "../../services/Kernel/Ref.ts"
import * as LoaderInput from "./LoaderInput.ts"
import * as Layout from "./LoaderLayout.ts"

/** Where the initial image of a map's value is in the data, unless the context brings another; bytes. */
export interface InitialValue {
  readonly offset: number
  readonly size: number
}

/** A map that the context speaks of. Its number is its place in `LoaderProgram.maps`. */
export interface LoaderMap {
  /** The name in the plan, which may be longer than the kernel's. */
  readonly name: string
  /** The map ref of the plan: the map's position in its object. */
  readonly ref: number
  /** Where the context speaks of it (`struct bpf_map_desc`), bytes. */
  readonly contextOffset: number
  /** What the context's `max_entries` replaces unless it is 0. */
  readonly maxEntries: number
  /** What the context's `initial_value`, an address, replaces unless it is 0. */
  readonly initialValue?: InitialValue
  /** Whether the loader hands its descriptor out; it does not where it leaves the map out, or closes it itself. */
  readonly published: boolean
}

/** What a loader makes, as the plan calls it. */
export interface Created {
  /** The name in the plan, which may be longer than the kernel's. */
  readonly name: string
  /** The number of the plan's ref. */
  readonly ref: number
}

/** A program that the context speaks of. Its number is its place in `LoaderProgram.programs`. */
export interface LoadedProgram {
  readonly name: string
  /** The program ref of the plan: the program's position in its object. */
  readonly ref: number
  /** Where the loader puts its descriptor in the context, bytes. */
  readonly contextOffset: number
  readonly published: boolean
}

/** What is signed of a loader, and the signature once there is one. */
export interface Signed {
  /**
   * `insns_and_data`: the instructions and the data behind them, which the kernel puts together when it checks the signature.
   * `insns`: the instructions alone, which then compare the digest of the data with the one that they have in them.
   */
  readonly covers: "insns_and_data" | "insns"
  /** A detached CMS `SignedData`, DER. */
  readonly signature?: Uint8Array
}

/** A loader program. */
export interface LoaderProgram {
  /** The byte order of the machines that can run it: that of its instructions, its data and its context. */
  readonly byteOrder: ByteOrder
  /** The instructions of the loader, in that order. */
  readonly insns: Uint8Array
  /** The value of the one element of the map that the loader works on. */
  readonly data: Uint8Array
  /** The license that the loader itself is loaded with. */
  readonly license: string
  /** Bytes of the context that it is run on. */
  readonly contextSize: number
  readonly maps: ReadonlyArray<LoaderMap>
  readonly programs: ReadonlyArray<LoadedProgram>
  /** What it creates and loads, in the order in which it does, whether or not it hands it out. */
  readonly created: { readonly maps: ReadonlyArray<Created>; readonly programs: ReadonlyArray<Created> }
  /** What it has to be told of the machine that it runs on (`LoaderInputs`). */
  readonly inputs: ReadonlyArray<LoaderInput.LoaderInput>
  /** That it is to be signed: it then takes no changes and no inputs, so that what was signed is what is loaded. */
  readonly signed?: Signed
  /** What a load would do and the loader does not, for people. */
  readonly notes: ReadonlyArray<string>
}

/** A loader program as JSON: bytes in base64, keys in snake case. */
export interface LoaderProgramJson {
  readonly byte_order: ByteOrder
  readonly insns: string
  readonly data: string
  readonly license: string
  readonly context_size: number
  readonly maps: ReadonlyArray<{
    readonly name: string
    readonly ref: number
    readonly context_offset: number
    readonly max_entries: number
    readonly initial_value?: { readonly offset: number; readonly size: number }
    readonly published: boolean
  }>
  readonly programs: ReadonlyArray<{
    readonly name: string
    readonly ref: number
    readonly context_offset: number
    readonly published: boolean
  }>
  readonly created: { readonly maps: ReadonlyArray<Created>; readonly programs: ReadonlyArray<Created> }
  readonly inputs: ReadonlyArray<LoaderInput.LoaderInputJson>
  readonly signed?: { readonly covers: Signed["covers"]; readonly signature?: string }
  readonly notes: ReadonlyArray<string>
}

/** What is wrong with the parts of a loader taken together, if anything is. */
const complaintOf = (loader: LoaderProgram): string | undefined => {
  const { contextSize, data, insns, maps, programs } = loader
  if (insns.length === 0 || insns.length % 8 !== 0) return "insns must be a whole number of instructions"
  if (data.length < Layout.FD_ARRAY_SIZE) return `data must have at least ${Layout.FD_ARRAY_SIZE} bytes`
  const inputWords = loader.inputs.reduce((sum, input) => sum + LoaderInput.wordsOf(input), 0)
  if (contextSize !== Layout.contextSize(maps.length, programs.length, inputWords)) {
    return `the context of ${maps.length} maps and ${programs.length} programs has not ${contextSize} bytes`
  }
  if (contextSize > Layout.MAX_CONTEXT_SIZE) return `the kernel takes no context of ${contextSize} bytes`
  const inputs = inputsComplaint(loader)
  if (inputs !== undefined) return inputs
  for (const [number, map] of maps.entries()) {
    if (map.contextOffset !== Layout.contextMap(number)) return `map ${number} is not at its place in the context`
    if (map.maxEntries > 0xffff_ffff) return `map ${number} has more elements than a map can have`
    const image = map.initialValue
    if (image !== undefined && image.offset + image.size > data.length) return `map ${number} starts beyond the data`
  }
  for (const [number, { contextOffset }] of programs.entries()) {
    if (contextOffset !== Layout.contextProgram(maps.length, number)) {
      return `program ${number} is not at its place in the context`
    }
  }
  return undefined
}

/** What is wrong with where a loader's inputs go, if anything is. */
const inputsComplaint = ({ inputs, maps, programs, signed }: LoaderProgram): string | undefined => {
  if (signed !== undefined && inputs.length > 0) return "a signed loader takes no inputs"
  let own = Layout.contextInputs(maps.length, programs.length)
  for (const [number, input] of inputs.entries()) {
    const words = LoaderInput.wordsOf(input)
    const place = words > 0 || !("map" in input)
      ? own
      : Layout.contextMap(input.map) +
        (input._tag === "Kconfig" ? Layout.MapDescriptor.INITIAL_VALUE : Layout.MapDescriptor.MAX_ENTRIES)
    own += 4 * words
    if (input.contextOffset !== place) return `input ${number} is not at its place in the context`
    if ("map" in input) {
      const map = maps[input.map]
      if (map === undefined) return `input ${number} is for map ${input.map}, and there is none`
      if (input._tag !== "Kconfig") continue
      const size = map.initialValue?.size ?? 0
      const isInside = input.values.every((value) => value.size > 0 && value.dataOffset + value.size <= size)
      if (!isInside) return `input ${number} is for what is not in the value of ${map.name}`
    } else if (programs[input.program] === undefined) {
      return `input ${number} is for program ${input.program}, and there is none`
    }
  }
  return undefined
}

const mapJson = Schema.Struct({
  name: Schema.String,
  ref: Schema.Natural,
  contextOffset: Schema.Natural,
  maxEntries: Schema.Natural,
  initialValue: Schema.optionalKey(Schema.Struct({ offset: Schema.Natural, size: Schema.Natural })),
  published: Schema.Boolean
}).pipe(Schema.encodeKeys({
  contextOffset: "context_offset",
  maxEntries: "max_entries",
  initialValue: "initial_value"
}))

const programJson = Schema.Struct({
  name: Schema.String,
  ref: Schema.Natural,
  contextOffset: Schema.Natural,
  published: Schema.Boolean
}).pipe(Schema.encodeKeys({ contextOffset: "context_offset" }))

const createdJson = Schema.Array(Schema.Struct({ name: Schema.String, ref: Schema.Natural }))

/**
 * Loaders to JSON and back. What is decoded is consistent in itself (counts, offsets, sizes); whether its instructions
 * are those of a loader is for the verifier, or for a replay, to say.
 */
export const codec: Schema.Codec<LoaderProgram, LoaderProgramJson> = Schema.Struct({
  byteOrder: Schema.Literals(["little", "big"]),
  insns: Schema.Uint8ArrayFromBase64,
  data: Schema.Uint8ArrayFromBase64,
  license: Schema.String,
  contextSize: Schema.Natural,
  maps: Schema.Array(mapJson),
  programs: Schema.Array(programJson),
  created: Schema.Struct({ maps: createdJson, programs: createdJson }),
  inputs: Schema.Array(LoaderInput.codec),
  signed: Schema.optionalKey(Schema.Struct({
    covers: Schema.Literals(["insns_and_data", "insns"]),
    signature: Schema.optionalKey(Schema.Uint8ArrayFromBase64)
  })),
  notes: Schema.Array(Schema.String)
}).pipe(Schema.encodeKeys({ byteOrder: "byte_order", contextSize: "context_size" })).check(
  Schema.makeFilter(complaintOf)
)

/** The loader's instructions for a load call, with every use of its data as a reference to the map that holds it. */
export const code = (loader: LoaderProgram, data: MapRef): Code => {
  const insns = Insn.fromByteOrder(loader.insns, loader.byteOrder)
  const refs: Array<CodeRef> = []
  for (let at = 0; at < Insn.count(insns); at = Insn.nextSlot(insns, at)) {
    if (!Insn.isLdImm64(insns, at)) continue
    if (Insn.src(insns, at) === BPF_PSEUDO_MAP_IDX) refs.push({ _tag: "MapRef", at, map: data })
    if (Insn.src(insns, at) !== BPF_PSEUDO_MAP_IDX_VALUE) continue
    refs.push({ _tag: "MapValueRef", at, map: data, offset: Insn.nextImm(insns, at) >>> 0 })
  }
  return { insns, refs }
}

/** What a run of a loader is told. Addresses are those of memory of the process that runs it. */
export interface ContextOptions {
  /** Where the verifier's words go, how many bytes are there, and how much it shall say (1, 2, 4); none by default. */
  readonly log?: { readonly address: bigint; readonly size: number; readonly level: number }
  /** Changes to maps, by their number: another size, another initial value of the size that the loader says. */
  readonly maps?: ReadonlyMap<number, { readonly maxEntries?: number; readonly initialValue?: bigint }>
  /** 32-bit words by their offsets in the context: inputs that are not about a map's size or initial value. */
  readonly words?: ReadonlyMap<number, number>
}

/** The context to run a loader on. Numbers of maps that it does not have are passed over. */
export const context = (loader: LoaderProgram, options: ContextOptions = {}): Uint8Array => {
  const bytes = new Uint8Array(loader.contextSize)
  const view = new DataView(bytes.buffer)
  const little = loader.byteOrder === "little"
  view.setUint32(Layout.Context.SIZE, bytes.length, little)
  if (options.log !== undefined) {
    view.setUint32(Layout.Context.LOG_LEVEL, options.log.level, little)
    view.setUint32(Layout.Context.LOG_SIZE, options.log.size, little)
    view.setBigUint64(Layout.Context.LOG_BUF, options.log.address, little)
  }
  for (const [number, { initialValue = 0n, maxEntries = 0 }] of options.maps ?? []) {
    if (number < 0 || number >= loader.maps.length) continue
    const at = Layout.contextMap(number)
    view.setUint32(at + Layout.MapDescriptor.MAX_ENTRIES, maxEntries, little)
    view.setBigUint64(at + Layout.MapDescriptor.INITIAL_VALUE, initialValue, little)
  }
  for (const [offset, word] of options.words ?? []) {
    if (offset >= 0 && offset + 4 <= bytes.length) view.setUint32(offset, word, little)
  }
  return bytes
}

/** What a run of a loader left in its context. */
export interface Descriptors {
  /** Descriptors by the maps' numbers; 0 where the loader published none. */
  readonly maps: ReadonlyArray<number>
  readonly programs: ReadonlyArray<number>
}

/** The descriptors that a loader published. */
export const descriptors = (loader: LoaderProgram, context: Uint8Array): Descriptors => {
  const view = new DataView(context.buffer, context.byteOffset, context.byteLength)
  const little = loader.byteOrder === "little"
  const at = (offset: number): number => offset + 4 <= context.length ? view.getInt32(offset, little) : 0
  return {
    maps: loader.maps.map(({ contextOffset }) => at(contextOffset + Layout.MapDescriptor.MAP_FD)),
    programs: loader.programs.map(({ contextOffset }) => at(contextOffset))
  }
}
