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
import { BPF_PSEUDO_MAP_IDX_VALUE } from "../../insn/InsnConstants.ts"
import type { Code, CodeRef } from "../../services/Kernel/KernelCall.ts"
import type { MapRef } from "../../services/Kernel/Ref.ts"
import * as Layout from "./LoaderLayout.ts"

/** Where the initial image of a map's value is in the data, unless the context brings another; bytes. */
export interface InitialValue {
  readonly offset: number
  readonly size: number
}

/** A map that a loader creates. Its number is its place in `LoaderProgram.maps`. */
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
  /** Whether the loader hands its descriptor out; it does not when it closes the map itself. */
  readonly published: boolean
}

/** A program that a loader loads. Its number is its place in `LoaderProgram.programs`. */
export interface LoadedProgram {
  readonly name: string
  /** The program ref of the plan: the program's position in its object. */
  readonly ref: number
  /** Where the loader puts its descriptor in the context, bytes. */
  readonly contextOffset: number
  readonly published: boolean
}

/** A loader program. */
export interface LoaderProgram {
  /** The instructions of the loader, little-endian. */
  readonly insns: Uint8Array
  /** The value of the one element of the map that the loader works on. */
  readonly data: Uint8Array
  /** The license that the loader itself is loaded with. */
  readonly license: string
  /** Bytes of the context that it is run on. */
  readonly contextSize: number
  readonly maps: ReadonlyArray<LoaderMap>
  readonly programs: ReadonlyArray<LoadedProgram>
  /** What a load would do and the loader does not, for people. */
  readonly notes: ReadonlyArray<string>
}

/** A loader program as JSON: bytes in base64, keys in snake case. */
export interface LoaderProgramJson {
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
  readonly notes: ReadonlyArray<string>
}

/** What is wrong with the parts of a loader taken together, if anything is. */
const complaintOf = (loader: LoaderProgram): string | undefined => {
  const { contextSize, data, insns, maps, programs } = loader
  if (insns.length === 0 || insns.length % 8 !== 0) return "insns must be a whole number of instructions"
  if (maps.length > Layout.MAX_MAPS) return `a loader has at most ${Layout.MAX_MAPS} maps`
  if (programs.length > Layout.MAX_PROGRAMS) return `a loader has at most ${Layout.MAX_PROGRAMS} programs`
  if (data.length < Layout.FD_ARRAY_SIZE) return `data must have at least ${Layout.FD_ARRAY_SIZE} bytes`
  if (contextSize !== Layout.contextSize(maps.length, programs.length)) {
    return `the context of ${maps.length} maps and ${programs.length} programs has not ${contextSize} bytes`
  }
  for (const [number, map] of maps.entries()) {
    if (map.contextOffset !== Layout.contextMap(number)) return `map ${number} is not at its place in the context`
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

/**
 * Loaders to JSON and back. What is decoded is consistent in itself (counts, offsets, sizes); whether its instructions
 * are those of a loader is for the verifier, or for a replay, to say.
 */
export const codec: Schema.Codec<LoaderProgram, LoaderProgramJson> = Schema.Struct({
  insns: Schema.Uint8ArrayFromBase64,
  data: Schema.Uint8ArrayFromBase64,
  license: Schema.String,
  contextSize: Schema.Natural,
  maps: Schema.Array(mapJson),
  programs: Schema.Array(programJson),
  notes: Schema.Array(Schema.String)
}).pipe(Schema.encodeKeys({ contextSize: "context_size" })).check(Schema.makeFilter(complaintOf))

/** The loader's instructions for a load call, with every use of its data as a reference to the map that holds it. */
export const code = (loader: LoaderProgram, data: MapRef): Code => {
  const { insns } = loader
  const refs: Array<CodeRef> = []
  for (let at = 0; at < Insn.count(insns); at = Insn.nextSlot(insns, at)) {
    if (!Insn.isLdImm64(insns, at) || Insn.src(insns, at) !== BPF_PSEUDO_MAP_IDX_VALUE) continue
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
}

/** The context to run a loader on. Numbers of maps that it does not have are passed over. */
export const context = (loader: LoaderProgram, options: ContextOptions = {}): Uint8Array => {
  const bytes = new Uint8Array(loader.contextSize)
  const view = new DataView(bytes.buffer)
  view.setUint32(Layout.Context.SIZE, bytes.length, true)
  if (options.log !== undefined) {
    view.setUint32(Layout.Context.LOG_LEVEL, options.log.level, true)
    view.setUint32(Layout.Context.LOG_SIZE, options.log.size, true)
    view.setBigUint64(Layout.Context.LOG_BUF, options.log.address, true)
  }
  for (const [number, { initialValue = 0n, maxEntries = 0 }] of options.maps ?? []) {
    if (number < 0 || number >= loader.maps.length) continue
    const at = Layout.contextMap(number)
    view.setUint32(at + Layout.MapDescriptor.MAX_ENTRIES, maxEntries, true)
    view.setBigUint64(at + Layout.MapDescriptor.INITIAL_VALUE, initialValue, true)
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
  const at = (offset: number): number => offset + 4 <= context.length ? view.getInt32(offset, true) : 0
  return {
    maps: loader.maps.map(({ contextOffset }) => at(contextOffset + Layout.MapDescriptor.MAP_FD)),
    programs: loader.programs.map(({ contextOffset }) => at(contextOffset))
  }
}
