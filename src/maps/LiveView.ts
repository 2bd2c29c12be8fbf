/**
 * The global variables of a loaded object as properties, live: reading one reads the memory that its programs write, assigning
 * one writes to it. Structs and unions are objects of such properties in their turn, so that one member can be assigned (a bit
 * field is written with the struct that it is in).
 *
 * ```ts
 * const view = yield* LiveView.globals(loaded)
 * view["packets"]                       // 1042n, and a moment later 1043n
 * view["config"] = { threshold: 5 }     // the whole struct: what is left out is zero
 * ```
 *
 * Constants have no setters: assigning one is a `TypeError`, as of every such property. A value that does not fit its type is a
 * `CodecError` that the assignment throws, and so is a `TypedMapError` when the scope in which the memory was mapped is over.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Btf } from "../btf/BtfModel.ts"
import * as BtfCodec from "../btf/BtfCodec.ts"
import type { BtfValue } from "../btf/BtfValue.ts"
import { planOf, type StructPlan } from "../btf/BtfValuePlan.ts"
import { isBtfValueError } from "../btf/BtfValueError.ts"
import { attempt } from "../internal/attempt.ts"
import type { ByteOrder } from "../services/Elf/Elf.ts"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import * as Ref from "../services/Kernel/Ref.ts"
import * as ArenaMemory from "../stages/load/ArenaMemory.ts"
import type { LoadedObject } from "../stages/load/Execute.ts"
import * as Globals from "../stages/load/Globals.ts"
import { isGlobalData } from "../stages/open/BpfObject.ts"
import { type Variable, variables } from "../stages/open/Variables.ts"
import { type MapError, mistake } from "./MapError.ts"

/** What a property of a view is: a value, or, of a struct or union, a view of its members. */
export type LiveValue = Exclude<BtfValue, Readonly<Record<string, BtfValue>>> | LiveObject

/** A view of several values: reading a property reads memory. */
export interface LiveObject {
  [name: string]: LiveValue
}

/** Whether the value of a property is a view of members. */
export const isObject = (value: LiveValue | undefined): value is LiveObject =>
  typeof value === "object" && !Array.isArray(value) && !(value instanceof Uint8Array)

/** How the properties of a view are read and written. */
interface Memory extends Globals.Memory {
  /** For messages. */
  readonly name: string
  readonly btf: Btf
  readonly byteOrder: ByteOrder
}

/** The bytes of a part, where they are at this moment. */
const bytesAt = ({ name, view }: Memory, offset: number, size: number): DataView => {
  if (offset + size > view.bytes.length) {
    throw mistake("Closed", name, "its memory was unmapped: the scope in which it was opened is over")
  }
  return new DataView(view.bytes.buffer, view.bytes.byteOffset + offset, size)
}

const codecOf = ({ btf, byteOrder }: Memory, type: number, name: string) =>
  BtfCodec.make(btf, type, { byteOrder, octets: true, name })

/** A part of memory that has the type. */
interface Part {
  readonly name: string
  readonly type: number
  readonly offset: number
  readonly size: number
}

const write = (memory: Memory, part: Part, codec: BtfCodec.BtfCodec, value: unknown): void => {
  const bytes = Result.getOrThrow(codec.encode(value))
  bytesAt(memory, part.offset, part.size)
  const whole = new Uint8Array(part.size)
  whole.set(bytes.subarray(0, part.size))
  Globals.write(memory.view, part.offset, whole)
}

/** An object without any property, not even those that all objects have: names are the programs'. */
const blank = (): LiveObject => {
  const object: LiveObject = {}
  Object.setPrototypeOf(object, null)
  return object
}

const define = (
  object: LiveObject,
  memory: Memory,
  name: string,
  get: () => BtfValue | LiveObject,
  set: (value: unknown) => void
): void => {
  Object.defineProperty(object, name, {
    enumerable: true,
    configurable: false,
    get,
    ...(memory.writable ? { set } : {})
  })
}

/** Adds the property of a part, where its type has values. */
const addPart = (object: LiveObject, memory: Memory, part: Part): void => {
  const codec = codecOf(memory, part.type, part.name)
  if (Result.isFailure(codec) || part.size === 0) return
  const plan = attempt(isBtfValueError, () => planOf(memory.btf, part.type, [part.name]))
  const struct = Result.isSuccess(plan) && plan.success._tag === "Struct" ? plan.success : undefined
  // A view of members is made when it is first asked for: a struct may have many.
  let members: LiveObject | undefined
  define(
    object,
    memory,
    part.name,
    () =>
      struct === undefined
        ? codec.success.read(bytesAt(memory, part.offset, part.size), 0)
        : (members ??= viewOf(memory, struct, part, codec.success)),
    (value) => write(memory, part, codec.success, value)
  )
}

const isRecord = (value: unknown): value is Readonly<Record<string, BtfValue>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The members of a struct as properties. Bit fields are read out of the whole struct and written with it. */
const viewOf = (memory: Memory, { list }: StructPlan, whole: Part, codec: BtfCodec.BtfCodec): LiveObject => {
  const object: LiveObject = blank()
  const all = (): Readonly<Record<string, BtfValue>> => {
    const value = codec.read(bytesAt(memory, whole.offset, whole.size), 0)
    return isRecord(value) ? value : {}
  }
  for (const { bits, name, offset, size, type } of list) {
    const part: Part = { name, type, offset: whole.offset + offset, size }
    if (bits === 0) addPart(object, memory, part)
    else {
      define(
        object,
        memory,
        name,
        () => all()[name] ?? 0,
        (value) => write(memory, whole, codec, { ...all(), [name]: value })
      )
    }
  }
  return Object.preventExtensions(object)
}

/** What is needed of a loaded object. */
export type Loaded = Pick<LoadedObject, "object" | "plan" | "session" | "map">

/** The memory of a section of variables; `undefined` where the load did not make it, or it cannot be mapped. */
const memoryOf = Effect.fnUntraced(function*(
  loaded: Loaded,
  { map }: Variable
): Effect.fn.Return<Globals.Memory | undefined, MapError, Kernel | Scope.Scope> {
  const definition = loaded.object.maps[map]
  const ref = loaded.session.stamp(Ref.map(map))
  if (definition === undefined || !loaded.session.exists(ref)) return undefined
  if (!isGlobalData(definition)) {
    const view = ArenaMemory.of(loaded)?.variables
    return view === undefined ? undefined : { view, writable: true }
  }
  return yield* Effect.catch(
    Globals.memory({ session: loaded.session, map: () => ref }, definition.name),
    (error): Effect.Effect<undefined, MapError> =>
      error._tag === "GlobalsError" ? Effect.succeed(undefined) : Effect.fail(error)
  )
})

/**
 * The global variables of a loaded object as properties, until the scope closes: those of sections that user space can map, and
 * of types that have values. A global variable goes before static ones of the same name.
 */
export const globals = Effect.fnUntraced(function*(
  loaded: Loaded
): Effect.fn.Return<LiveObject, MapError, Kernel | Scope.Scope> {
  const { object } = loaded
  const view: LiveObject = blank()
  const { btf } = object
  if (btf === undefined) return Object.preventExtensions(view)
  const memories = new Map<number, Globals.Memory | undefined>()
  const all = variables(object).toSorted((one, other) => Number(other.global) - Number(one.global))
  for (const variable of all) {
    if (!memories.has(variable.map)) memories.set(variable.map, yield* memoryOf(loaded, variable))
    const memory = memories.get(variable.map)
    if (memory === undefined || Object.hasOwn(view, variable.name)) continue
    addPart(view, { ...memory, name: variable.section, btf, byteOrder: object.byteOrder }, variable)
  }
  return Object.preventExtensions(view)
})
