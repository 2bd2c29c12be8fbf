/**
 * What light skeletons in TypeScript run on: modules that `effect-bpf gen skeleton -L --lang ts` makes, each with the loader
 * program of one object. It has the sessions of the running kernel and no more: neither the object, ELF nor BTF is needed
 * where the skeleton runs.
 *
 * A skeleton is used in three steps: `open` gives the object's variables, with which anything can be done that shall be so
 * when its programs are verified; `load` brings it into the kernel, for as long as a scope; what it answers has the maps,
 * the programs, and the variables as the kernel has them, live.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Result from "effect/Result"
import { fitsBits } from "./btf/BtfBits.ts"
import { type Codec, CodecError } from "./btf/Codec.ts"
import { hostIsLittle } from "./services/Kernel/abi/Arena.ts"
import type { KernelShape, Session, SessionOptions } from "./services/Kernel/Kernel.ts"
import type { CallError, KernelError } from "./services/Kernel/KernelError.ts"
import * as LightKernel from "./services/Kernel/live/LightKernel.ts"
import * as Ref from "./services/Kernel/Ref.ts"
import type { LoaderError, LoaderOptionsError } from "./stages/gen/LoaderError.ts"
import type { LoaderInput } from "./stages/gen/LoaderInput.ts"
import type { LoaderProgram } from "./stages/gen/LoaderProgram.ts"
import * as LoaderRunner from "./stages/gen/LoaderRunner.ts"

export { type Codec, CodecError } from "./btf/Codec.ts"
export * as LayoutCodec from "./btf/LayoutCodec.ts"
export type { KernelShape, Session } from "./services/Kernel/Kernel.ts"
export type { CallError, KernelError, VerifierError } from "./services/Kernel/KernelError.ts"
export type { MapRef, ProgRef } from "./services/Kernel/Ref.ts"
export { LoaderError, LoaderOptionsError } from "./stages/gen/LoaderError.ts"

/** The kernel of this process, without what needs types. */
export const kernel: Effect.Effect<KernelShape> = LightKernel.make

/** A data section: the number of its map, its size in bytes, and whether it can be written to when it is loaded. */
export interface SectionDescription {
  readonly map: number
  readonly writable: boolean
}

/** What a generated module says of its object. Bytes are base64. */
export interface Description extends Omit<LoaderProgram, "insns" | "data" | "signed"> {
  readonly insns: string
  readonly data: string
  readonly signed?: { readonly covers: "insns_and_data" | "insns"; readonly signature?: string }
  readonly sections: ReadonlyArray<SectionDescription>
}

/** What a loader asks of the machine, and nobody has said. */
export class LightInputError extends Schema.TaggedError<LightInputError>()("LightInputError", {
  /** The options of the kernel's configuration, structs or programs that the loader asks for. */
  names: Schema.Array(Schema.String),
  hint: Schema.String
}) {
  override get message(): string {
    return `the loader asks for ${this.names.join(", ")}\nhint: ${this.hint}`
  }
}

/** Why a skeleton could not be loaded. */
export type LoadError = CallError | KernelError | LoaderError | LoaderOptionsError | LightInputError

/** What a loader is told of the machine beside what this module finds out itself; `LoaderInputs.ask` of effect-bpf has it. */
export interface Inputs {
  readonly maps: ReadonlyMap<number, LoaderRunner.MapOverride>
  readonly words: ReadonlyMap<number, number>
}

/** How a skeleton is loaded. */
export interface LoadOptions<MapName extends string = string> extends SessionOptions {
  /** Other sizes of maps. */
  readonly maxEntries?: Readonly<Partial<Record<MapName, number>>>
  /** How much the verifier is asked to say: bits 1, 2, 4. By default it is asked when the load has failed. */
  readonly logLevel?: number
  /** The keyring of the key that signed the loader: default the session's, -3. */
  readonly keyring?: number
  /** What the loader asks for and only types or the kernel's configuration tell. */
  readonly inputs?: Inputs
  /** The kernel to load into; default: that of this process. */
  readonly kernel?: KernelShape
}

/** What a load has made, by the numbers of maps and programs in the loader. */
export interface Loaded {
  readonly session: Session
  /** The kernel that it is loaded into. */
  readonly kernel: KernelShape
  readonly map: (number: number) => Ref.MapRef
  /** The number of the map that C calls so. */
  readonly mapNumber: (name: string) => number | undefined
  readonly program: (number: number) => Ref.ProgRef
  /** The bytes of a data section: the kernel's own memory where they can be written to, else a copy of what is there. */
  readonly section: (map: number) => Uint8Array
  /** The verifier's words, empty when they were not asked for. */
  readonly log: string
}

const fromBase64 = (text: string): Uint8Array => {
  const binary = atob(text)
  const bytes = new Uint8Array(binary.length)
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at)
  return bytes
}

/** A skeleton's loader program. */
export const program = (description: Description): LoaderProgram => {
  const { data, insns, signed, ...rest } = description
  return {
    ...rest,
    insns: fromBase64(insns),
    data: fromBase64(data),
    ...(signed === undefined ? {} : {
      signed: {
        covers: signed.covers,
        ...(signed.signature === undefined ? {} : { signature: fromBase64(signed.signature) })
      }
    })
  }
}

/** The initial images of a skeleton's sections, by the numbers of their maps: copies, which are the caller's to change. */
export const images = (description: Description): ReadonlyMap<number, Uint8Array> => {
  const data = fromBase64(description.data)
  return new Map(description.sections.map(({ map }) => {
    const { offset, size } = description.maps[map]?.initialValue ?? { offset: 0, size: 0 }
    return [map, data.slice(offset, offset + size)]
  }))
}

/** The section of this map. */
export const image = (images: ReadonlyMap<number, Uint8Array>, map: number): Uint8Array =>
  images.get(map) ?? new Uint8Array()

/** The smallest size of a ring buffer that has room for so many bytes. */
const ringSize = (bytes: number, page: number): number => {
  let size = page
  while (size < bytes && size < 0x8000_0000) size *= 2
  return size
}

/** What this module can find out by itself. */
const isMachine = (input: LoaderInput): boolean => input._tag === "PossibleCpus" || input._tag === "RingSize"

/** The names of what only types, the kernel's configuration or the user can say. */
const namesOf = (loader: LoaderProgram, input: LoaderInput): ReadonlyArray<string> => {
  switch (input._tag) {
    case "Kconfig":
      return input.values.map(({ name }) => name)
    case "PossibleCpus":
    case "RingSize":
      return []
    case "Program":
      return [
        `the program of which ${loader.programs[input.program]?.name ?? input.program} replaces ${input.function}`
      ]
    case "StructSize":
      return [`the size of struct bpf_struct_ops_${input.struct}`]
    case "Member":
      return [`the position of ${input.member} in struct ${input.struct}`]
  }
}

/** Asks the kernel what the machine is like, as far as the loader wants to know. */
const machineInputs = Effect.fnUntraced(function*(kernel: KernelShape, loader: LoaderProgram) {
  const maps = new Map<number, LoaderRunner.MapOverride>()
  const words = new Map<number, number>()
  const wanted = loader.inputs.filter(isMachine)
  if (wanted.length === 0) return { maps, words }
  const { pageSize, possibleCpus } = yield* kernel.ask([{ _tag: "PageSize" }, { _tag: "PossibleCpus" }])
  const cpus = possibleCpus?._tag === "Known" ? possibleCpus.value : 1
  const page = pageSize?._tag === "Known" ? pageSize.value : 4096
  for (const input of wanted) {
    if (input._tag !== "PossibleCpus" && input._tag !== "RingSize") continue
    const size = input._tag === "PossibleCpus" ? cpus : ringSize(input.bytes, page)
    if (input.template) words.set(input.contextOffset, size)
    else maps.set(input.map, { ...maps.get(input.map), maxEntries: size })
  }
  return { maps, words }
})

/**
 * Loads a skeleton. What it makes lives as long as the scope. `sections` are the bytes of its sections, as `open` gave them
 * and the user may have changed them, by the numbers of their maps.
 */
export const load = Effect.fnUntraced(function*(
  description: Description,
  sections: ReadonlyMap<number, Uint8Array>,
  options: LoadOptions
): Effect.fn.Return<Loaded, LoadError, Scope.Scope> {
  const loader = program(description)
  const target = options.kernel ?? (yield* kernel)
  const asked = loader.inputs.filter((input) => !isMachine(input))
  if (asked.length > 0 && options.inputs === undefined) {
    return yield* new LightInputError({
      names: asked.flatMap((input) => namesOf(loader, input)),
      hint: "LoaderInputs.ask of effect-bpf finds them out: give its answer as `inputs`"
    })
  }
  const found = yield* machineInputs(target, loader)
  const maps = new Map<number, LoaderRunner.MapOverride>(found.maps)
  const change = (number: number, override: LoaderRunner.MapOverride): void => {
    maps.set(number, { ...maps.get(number), ...override })
  }
  // A signed loader takes nothing: what was signed is what is loaded.
  if (loader.signed === undefined) { for (const [number, bytes] of sections) change(number, { initialValue: bytes }) }
  for (const [number, override] of options.inputs?.maps ?? []) change(number, override)
  for (const [name, maxEntries] of Object.entries(options.maxEntries ?? {})) {
    if (maxEntries !== undefined) change(loader.maps.findIndex((map) => map.name === name), { maxEntries })
  }
  const session = yield* target.session(options)
  const signature = loader.signed?.signature
  const ran = yield* LoaderRunner.run(session, loader, {
    maps,
    words: new Map([...found.words, ...options.inputs?.words ?? []]),
    ...(options.logLevel === undefined ? {} : { logLevel: options.logLevel }),
    ...(signature === undefined ? {} : { signature: { bytes: signature, keyring: options.keyring ?? -3 } })
  })
  const { pageSize } = yield* target.ask([{ _tag: "PageSize" }])
  const page = pageSize?._tag === "Known" ? pageSize.value : 4096
  const memory = new Map<number, Uint8Array>()
  for (const [index, { map, writable }] of description.sections.entries()) {
    const ref = ran.maps[map]
    const size = loader.maps[map]?.initialValue?.size ?? 0
    if (ref === undefined || size === 0) continue
    if (!writable) {
      // Constants can be copied, and then no mistake can write to memory that must not be written to.
      const lookup = { _tag: "MapLookup", map: ref, key: new Uint8Array(4), valueSize: size, flags: 0n } as const
      memory.set(map, (yield* session.call(lookup)) ?? new Uint8Array(size))
      continue
    }
    const length = Math.ceil(size / page) * page
    const view = { _tag: "MapMmap", map: ref, as: Ref.view(index), offset: 0, length, writable: true } as const
    memory.set(map, (yield* session.call(view)).bytes.subarray(0, size))
  }
  return {
    session,
    kernel: target,
    mapNumber: (name) => {
      const number = loader.maps.findIndex((map) => map.name === name)
      return number < 0 ? undefined : number
    },
    map: (number) => ran.maps[number] ?? session.stamp(Ref.map(loader.maps[number]?.ref ?? -1)),
    program: (number) => ran.programs[number] ?? session.stamp(Ref.prog(loader.programs[number]?.ref ?? -1)),
    section: (map) => memory.get(map) ?? new Uint8Array(),
    log: ran.log
  }
})

// Variables: how a generated module reads and writes the bytes of a section.

/** How a value lies in the bytes of a section. */
export interface Field<A> {
  readonly get: (view: DataView) => A
  /** Absent where the value is memory itself, which is written to in place. */
  readonly set?: (view: DataView, value: A) => void
}

const little = hostIsLittle

/** A field that takes what fits alone, as codecs do: memory would keep the low bits of anything else. */
const fitting = <A extends bigint | number>(field: Field<A>, what: string, fits: (value: A) => boolean): Field<A> => ({
  get: field.get,
  set: (view, value) => {
    if (!fits(value)) throw new CodecError({ reason: "Value", subject: what, detail: `${value} does not fit` })
    field.set?.(view, value)
  }
})

const integerOf = (size: number, signed: boolean): string =>
  `integer of ${size * 8} bits with${signed ? "" : "out"} a sign`

/** Numbers by their size in bytes; `signed` says how the top bit is read. Assigning one that does not fit throws a `CodecError`. */
export const number = (offset: number, size: 1 | 2 | 4, signed: boolean): Field<number> =>
  fitting(unchecked(offset, size, signed), integerOf(size, signed), (value) => fitsBits(value, size * 8, signed))

const unchecked = (offset: number, size: 1 | 2 | 4, signed: boolean): Field<number> => {
  switch (size) {
    case 1:
      return signed
        ? { get: (view) => view.getInt8(offset), set: (view, value) => view.setInt8(offset, value) }
        : { get: (view) => view.getUint8(offset), set: (view, value) => view.setUint8(offset, value) }
    case 2:
      return signed
        ? { get: (view) => view.getInt16(offset, little), set: (view, value) => view.setInt16(offset, value, little) }
        : { get: (view) => view.getUint16(offset, little), set: (view, value) => view.setUint16(offset, value, little) }
    case 4:
      return signed
        ? { get: (view) => view.getInt32(offset, little), set: (view, value) => view.setInt32(offset, value, little) }
        : { get: (view) => view.getUint32(offset, little), set: (view, value) => view.setUint32(offset, value, little) }
  }
}

/** A number of 64 bits, which throws as `number` does. */
export const bigint = (offset: number, signed: boolean): Field<bigint> =>
  fitting(
    signed
      ? {
        get: (view) => view.getBigInt64(offset, little),
        set: (view, value) => view.setBigInt64(offset, value, little)
      }
      : {
        get: (view) => view.getBigUint64(offset, little),
        set: (view, value) => view.setBigUint64(offset, value, little)
      },
    integerOf(8, signed),
    (value) => (signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value)) === value
  )

/** A number of 32 bits with a fraction, or of 64. One that is too large for 32 throws as `number` does. */
export const float = (offset: number, size: 4 | 8): Field<number> =>
  size === 4
    ? fitting(
      { get: (view) => view.getFloat32(offset, little), set: (view, value) => view.setFloat32(offset, value, little) },
      "float",
      (value) => !Number.isFinite(value) || Number.isFinite(Math.fround(value))
    )
    : { get: (view) => view.getFloat64(offset, little), set: (view, value) => view.setFloat64(offset, value, little) }

/** A byte that is true unless it is 0. */
export const bool = (offset: number): Field<boolean> => ({
  get: (view) => view.getUint8(offset) !== 0,
  set: (view, value) => view.setUint8(offset, value ? 1 : 0)
})

/** Bytes of whatever type, in place. */
export const bytes = (offset: number, size: number): Field<Uint8Array> => ({
  get: (view) => new Uint8Array(view.buffer, view.byteOffset + offset, size)
})

/**
 * A value of a type: it is read as a whole, and assigned as a whole. Assigning one that does not fit throws a `CodecError`, for an
 * assignment has no other way to say so.
 */
export const value = <A>(offset: number, size: number, codec: Codec<A>): Field<A> => ({
  // A flexible array ends where the variable does.
  get: (view) => codec.read(new DataView(view.buffer, view.byteOffset + offset, size), 0),
  set: (view, value) => {
    const bytes = Result.getOrThrow(codec.encode(value))
    if (bytes.length > size) {
      const detail = `the value has ${bytes.length} bytes, and there is room for ${size}`
      throw new CodecError({ reason: "Size", subject: codec.name, detail })
    }
    const place = new Uint8Array(view.buffer, view.byteOffset + offset, size)
    place.set(bytes)
    place.fill(0, bytes.length)
  }
})

/** A map of which no more is known than what it is called in C. */
export interface MapHandle {
  readonly name: string
  /** The map in its session. */
  readonly ref: Ref.MapRef
}

/** A program that is not attached by itself: it is run, called, or stands in a map. */
export interface ProgramHandle {
  readonly name: string
  /** What SEC() says, without a leading `?`. */
  readonly section: string
  /** The program in its session. */
  readonly ref: Ref.ProgRef
}

/** The handle of a map. */
export const mapHandle = (loaded: Loaded, number: number, name: string): Effect.Effect<MapHandle> =>
  Effect.succeed({ name, ref: loaded.map(number) })

/** The handle of a program. */
export const programHandle = (loaded: Loaded, number: number, name: string, section: string): ProgramHandle => ({
  name,
  section,
  ref: loaded.program(number)
})

/** A section's variables, and all its bytes. */
export type Section<F> =
  & { readonly bytes: Uint8Array; readonly view: DataView }
  & { -readonly [N in keyof F]: F[N] extends Field<infer A> ? A : never }

/** The variables in the bytes of a section: properties that read and write them where they are. */
export const section = <F extends { readonly [N in keyof F]: { readonly get: (view: DataView) => unknown } }>(
  bytes: Uint8Array,
  fields: F
): Section<F> => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const properties: PropertyDescriptorMap = { bytes: { value: bytes }, view: { value: view } }
  for (const [name, field] of Object.entries<Settable>(fields)) {
    properties[name] = {
      enumerable: true,
      get: () => field.get(view),
      ...(field.set === undefined ? {} : { set: (value: never) => field.set?.(view, value) })
    }
  }
  return Object.freeze(Object.defineProperties({}, properties)) as Section<F>
}

interface Settable {
  readonly get: (view: DataView) => unknown
  readonly set?: (view: DataView, value: never) => void
}
