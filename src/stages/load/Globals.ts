/**
 * The global variables of a loaded object while its programs run: read and written by name, as values of their types.
 *
 * A section that the kernel lets user space map is mapped, so that a read sees what a program has just written and costs no
 * system call; the others, and all on kernels that map no arrays, are looked up and updated as a whole. It makes no
 * difference whether the load made the map, found it by its pin, or was given it: unlike libbpf, whose pointers into a map
 * that it did not make lead to memory of its own, these always lead to the map.
 *
 * A variable of 1, 2, 4 or 8 bytes that is aligned is read and written in one access, others byte by byte, while programs
 * may be writing. Where a section is not mapped, setting a variable writes the whole section as it was a moment before: what
 * programs write to other variables of it meanwhile is lost.
 *
 * Source: reference page `load`, section 8.2.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as BtfValue from "../../btf/BtfValue.ts"
import { hostIsLittle } from "../../services/Kernel/abi/Arena.ts"
import { MapFlag, MapType, mapTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import { Kernel, type Session } from "../../services/Kernel/Kernel.ts"
import type { MapInfo, MemoryView } from "../../services/Kernel/KernelCall.ts"
import type { CallError, KernelError } from "../../services/Kernel/KernelError.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import { type Variable, variables } from "../open/Variables.ts"
import * as ArenaMemory from "./ArenaMemory.ts"
import type { LoadedObject } from "./Execute.ts"

/** Why a global variable was not read or written. */
export class GlobalsError extends Schema.TaggedError<GlobalsError>()("GlobalsError", {
  reason: Schema.Literals([
    /** The object has no variable, or no map, of this name, or the load did not make its section. */
    "NoSuchName",
    /** The programs read it and nobody writes it: a constant, or a value of the kernel's configuration. */
    "ReadOnly",
    /** The value does not fit the variable's type, or its type has no values. */
    "Value",
    /** The map is none that user space can map. */
    "NotMappable",
    /** The scope in which the variables were opened is over. */
    "Closed"
  ]),
  name: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.name}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** Why an access failed: the kernel's answer, or what is wrong with the request. */
export type AccessError = CallError | GlobalsError

/** A global variable of a loaded object. */
export interface LiveVariable extends Variable {
  /** Whether user space may write it. */
  readonly writable: boolean
  /** Whether its section is mapped, so that reading it costs no system call. */
  readonly mapped: boolean
  /** Its value at this moment: see `BtfValue` for how types become values. */
  readonly get: Effect.Effect<BtfValue.BtfValue, AccessError>
  /** Gives it another value; parts of a struct or array that are left out become zero. */
  readonly set: (value: unknown) => Effect.Effect<void, AccessError>
}

/** The global variables of a loaded object, by name. */
export interface Globals {
  /** All of them, by section and offset; those of sections that the load did not make are left out. */
  readonly variables: ReadonlyArray<LiveVariable>
  /** The variable of this name; a global one is preferred to static ones of the same name. */
  readonly variable: (name: string) => Result.Result<LiveVariable, GlobalsError>
  readonly get: (name: string) => Effect.Effect<BtfValue.BtfValue, AccessError>
  readonly set: (name: string, value: unknown) => Effect.Effect<void, AccessError>
}

/** What is needed of a loaded object. */
export type Loaded = Pick<LoadedObject, "object" | "plan" | "session">

const refuse = (reason: GlobalsError["reason"], name: string, detail: string, hint?: string): GlobalsError =>
  new GlobalsError({ reason, name, detail, ...(hint === undefined ? {} : { hint }) })

/** Views are numbered from here by their map's number, away from those of plans and ring buffers. */
const firstView = 0x1800_0000

/** Views of the same map are this far apart, and there are at most so many at once. */
const viewStride = 0x0010_0000
const mostViews = 64

const isKernelError = (error: CallError): error is KernelError => error._tag === "KernelError"

/** Maps a map's memory until the scope closes, under the first number that nobody in the session uses. */
const mapped = (
  session: Session,
  map: Ref.MapRef,
  length: number,
  writable: boolean,
  attempt = 0
): Effect.Effect<MemoryView, CallError, Scope.Scope> => {
  const as = Ref.view(firstView + (map.index % viewStride) + attempt * viewStride)
  return Effect.acquireRelease(
    session.call({ _tag: "MapMmap", map, as, offset: 0, length, writable }),
    () => Effect.ignore(session.call({ _tag: "Close", ref: as }))
  ).pipe(
    Effect.catch((error) =>
      error._tag === "RefError" && error.reason === "InUse" && attempt + 1 < mostViews
        ? mapped(session, map, length, writable, attempt + 1)
        : Effect.fail(error)
    )
  )
}

/** Bytes of memory that a mapping of an array has; `undefined` where the page size is not known. */
const lengthOf = Effect.fnUntraced(function*(info: MapInfo) {
  const kernel = yield* Kernel
  const { pageSize } = yield* kernel.ask([{ _tag: "PageSize" }])
  if (pageSize?._tag !== "Known") return undefined
  const bytes = Math.ceil(info.valueSize / 8) * 8 * info.maxEntries
  return Math.ceil(bytes / pageSize.value) * pageSize.value
})

const isMappable = (info: MapInfo): boolean =>
  info.type === MapType.BPF_MAP_TYPE_ARRAY && (info.flags & MapFlag.BPF_F_MMAPABLE) !== 0

/** Memory of an array, with what may be done to it. */
export interface Memory {
  readonly view: MemoryView
  /** Whether it may be written to; to write where it may not ends the process. */
  readonly writable: boolean
}

/** Maps an array for writing, or for reading alone where it is constant. */
const memoryOf = Effect.fnUntraced(function*(
  session: Session,
  map: Ref.MapRef,
  info: MapInfo
): Effect.fn.Return<Memory | undefined, CallError, Kernel | Scope.Scope> {
  const length = isMappable(info) ? yield* lengthOf(info) : undefined
  if (length === undefined) return undefined
  const readable = Effect.map(mapped(session, map, length, false), (view): Memory => ({ view, writable: false }))
  // Programs cannot write to it: it is constant, and its map frozen.
  if ((info.flags & MapFlag.BPF_F_RDONLY_PROG) !== 0) return yield* readable
  return yield* Effect.catch(
    Effect.map(mapped(session, map, length, true), (view): Memory => ({ view, writable: true })),
    (error) =>
      // Frozen since, or created for reading.
      isKernelError(error) && (error.errno === "EPERM" || error.errno === "EACCES") ? readable : Effect.fail(error)
  )
})

/**
 * The memory of an array of `BPF_F_MMAPABLE` or of a global data section, by the map's name; it is unmapped when the scope
 * closes. Elements are 8 bytes apart, or a multiple of that. Writing to the bytes of a constant section ends the process.
 */
export const view = (
  loaded: Pick<LoadedObject, "map" | "session">,
  name: string
): Effect.Effect<MemoryView, AccessError, Kernel | Scope.Scope> => Effect.map(memory(loaded, name), ({ view }) => view)

/** As `view`, with whether the memory may be written to: it is mapped for writing where that is possible. */
export const memory = Effect.fnUntraced(function*(
  loaded: Pick<LoadedObject, "map" | "session">,
  name: string
): Effect.fn.Return<Memory, AccessError, Kernel | Scope.Scope> {
  const map = loaded.map(name)
  if (map === undefined) return yield* refuse("NoSuchName", name, "the load made no map of this name")
  const info = yield* loaded.session.call({ _tag: "MapGetInfo", map })
  const memory = yield* memoryOf(loaded.session, map, info)
  return memory ?? (yield* refuse(
    "NotMappable",
    name,
    `the map is of type ${mapTypeName(info.type)}${isMappable(info) ? "" : " and was not created with BPF_F_MMAPABLE"}`,
    "look its elements up, or give it BPF_F_MMAPABLE (arrays alone have it)"
  ))
})

/** The typed array in which an aligned number of this size is one access; `undefined` for any other size or place. */
const cellAt = ({ bytes }: MemoryView, offset: number, size: number) => {
  const at = bytes.byteOffset + offset
  if (at % size !== 0) return undefined
  switch (size) {
    case 1:
      return new Int8Array(bytes.buffer, at, 1)
    case 2:
      return new Int16Array(bytes.buffer, at, 1)
    case 4:
      return new Int32Array(bytes.buffer, at, 1)
    default:
      return undefined
  }
}

/** A copy of some bytes of a view. */
const read = (view: MemoryView, offset: number, size: number): Uint8Array => {
  if (size === 8 && offset % 8 === 0) {
    return new Uint8Array(BigUint64Array.of(view.loadAcquire64(offset)).buffer)
  }
  const cell = cellAt(view, offset, size)
  if (cell === undefined) return view.bytes.slice(offset, offset + size)
  const copy = new Uint8Array(size)
  const into = size === 1
    ? new Int8Array(copy.buffer)
    : size === 2
    ? new Int16Array(copy.buffer)
    : new Int32Array(copy.buffer)
  into[0] = Atomics.load(cell, 0)
  return copy
}

/** Puts bytes into a view: numbers that are aligned in one access. */
export const write = (view: MemoryView, offset: number, bytes: Uint8Array): void => {
  const { length } = bytes
  const numbers = new DataView(bytes.buffer, bytes.byteOffset, length)
  if (length === 8 && offset % 8 === 0) return view.storeRelease64(offset, numbers.getBigUint64(0, hostIsLittle))
  const cell = cellAt(view, offset, length)
  if (cell === undefined) return view.bytes.set(bytes, offset)
  Atomics.store(
    cell,
    0,
    length === 1
      ? numbers.getInt8(0)
      : length === 2
      ? numbers.getInt16(0, hostIsLittle)
      : numbers.getInt32(0, hostIsLittle)
  )
}

/** One section of variables. */
interface Section {
  readonly writable: boolean
  readonly mapped: boolean
  readonly read: (variable: Variable) => Effect.Effect<Uint8Array, AccessError>
  readonly write: (variable: Variable, bytes: Uint8Array) => Effect.Effect<void, AccessError>
}

const closed = ({ name }: Variable): GlobalsError =>
  refuse("Closed", name, "its memory was unmapped: the scope in which the variables were opened is over")

const mappedSection = ({ view, writable }: Memory): Section => {
  const inside = <A>(variable: Variable, body: () => A): Effect.Effect<A, GlobalsError> =>
    Effect.suspend(() =>
      variable.offset + variable.size > view.bytes.length ? Effect.fail(closed(variable)) : Effect.succeed(body())
    )
  return {
    writable,
    mapped: true,
    read: (variable) => inside(variable, () => read(view, variable.offset, variable.size)),
    write: (variable, bytes) => inside(variable, () => write(view, variable.offset, bytes))
  }
}

const firstKey = new Uint8Array(4)

/** A section that is looked up and updated as a whole. */
const unmappedSection = (session: Session, map: Ref.MapRef, info: MapInfo, constant: boolean): Section => {
  const { valueSize } = info
  const whole = (variable: Variable) =>
    Effect.flatMap(
      session.call({ _tag: "MapLookup", map, key: firstKey, valueSize, flags: 0n }),
      (bytes) => bytes === undefined ? Effect.fail(closed(variable)) : Effect.succeed(bytes)
    )
  return {
    writable: !constant && (info.flags & MapFlag.BPF_F_RDONLY) === 0,
    mapped: false,
    read: (variable) =>
      Effect.map(whole(variable), (bytes) => bytes.slice(variable.offset, variable.offset + variable.size)),
    write: (variable, bytes) =>
      Effect.flatMap(whole(variable), (image) => {
        const changed = image.slice()
        changed.set(bytes, variable.offset)
        return session.call({
          _tag: "MapUpdate",
          map,
          key: firstKey,
          value: { bytes: changed, refs: [] },
          flags: 0n
        })
      })
  }
}

const liveVariable = ({ object }: Loaded, variable: Variable, section: Section): LiveVariable => {
  const { name, size, type } = variable
  const failed = (error: BtfValue.BtfValueError): GlobalsError => refuse("Value", name, error.message)
  const { btf } = object
  const noTypes = refuse("Value", name, "the object has no types")
  return {
    ...variable,
    writable: section.writable,
    mapped: section.mapped,
    get: Effect.flatMap(section.read(variable), (bytes) =>
      Effect.fromResult(
        btf === undefined
          ? Result.fail(noTypes)
          : Result.mapError(BtfValue.decode(btf, type, bytes, object.byteOrder), failed)
      )),
    set: (value) =>
      Effect.suspend(() => {
        if (!section.writable) {
          return Effect.fail(
            refuse(
              "ReadOnly",
              name,
              `a variable of ${variable.section} is constant once the object is loaded`,
              "set it before the load: Edit.setVariable"
            )
          )
        }
        if (btf === undefined) return Effect.fail(noTypes)
        const encoded = BtfValue.encode(btf, type, value, object.byteOrder)
        if (Result.isFailure(encoded)) return Effect.fail(failed(encoded.failure))
        const bytes = encoded.success
        if (bytes.length > size) {
          return Effect.fail(refuse("Value", name, `the value has ${bytes.length} bytes, the variable ${size}`))
        }
        const whole = new Uint8Array(size)
        whole.set(bytes)
        return section.write(variable, whole)
      })
  }
}

/** The most names that an error lists. */
const mostNames = 20

/**
 * Opens the global variables of a loaded object: sections are mapped until the scope closes. Fails where the kernel cannot
 * be asked about a map; a section that it does not let user space map is read and written through its map.
 */
export const open = Effect.fnUntraced(function*(
  loaded: Loaded
): Effect.fn.Return<Globals, AccessError, Kernel | Scope.Scope> {
  const { object, session } = loaded
  const sections = new Map<number, Section | undefined>()
  const found: Array<LiveVariable> = []
  for (const variable of variables(object)) {
    if (!sections.has(variable.map)) {
      const map = session.stamp(Ref.map(variable.map))
      const arena = object.maps[variable.map]?.attr.type === MapType.BPF_MAP_TYPE_ARENA
      sections.set(
        variable.map,
        !session.exists(map) ? undefined : arena ? sectionOfArena(loaded) : yield* sectionOf(loaded, map)
      )
    }
    const section = sections.get(variable.map)
    if (section !== undefined) found.push(liveVariable(loaded, variable, section))
  }
  const byName = new Map<string, LiveVariable>()
  for (const variable of found) {
    const known = byName.get(variable.name)
    if (known === undefined || (variable.global && !known.global)) byName.set(variable.name, variable)
  }
  const variable = (name: string): Result.Result<LiveVariable, GlobalsError> => {
    const one = byName.get(name)
    if (one !== undefined) return Result.succeed(one)
    const names = [...byName.keys()].slice(0, mostNames).join(", ")
    return Result.fail(
      refuse(
        "NoSuchName",
        name,
        "there is no such global variable",
        names === "" ? "there are none" : `there are ${names}`
      )
    )
  }
  return {
    variables: found,
    variable,
    get: (name) => Effect.flatMap(Effect.fromResult(variable(name)), (one) => one.get),
    set: (name, value) => Effect.flatMap(Effect.fromResult(variable(name)), (one) => one.set(value))
  }
})

/** The variables of an arena, in the memory that the load has mapped. */
const sectionOfArena = (loaded: Loaded): Section | undefined => {
  const view = ArenaMemory.of(loaded)?.variables
  return view === undefined ? undefined : mappedSection({ view, writable: true })
}

const sectionOf = Effect.fnUntraced(function*(
  { object, session }: Loaded,
  map: Ref.MapRef
): Effect.fn.Return<Section, CallError, Kernel | Scope.Scope> {
  const info = yield* session.call({ _tag: "MapGetInfo", map })
  const origin = object.maps[map.index]?.origin
  const memory = yield* memoryOf(session, map, info)
  return memory === undefined
    ? unmappedSection(session, map, info, origin === "Rodata" || origin === "Kconfig")
    : mappedSection(memory)
})
