/**
 * Arrays in memory that the kernel shares (`BPF_F_MMAPABLE`): elements are read and written without a call.
 *
 * What is read is what is there at this moment; a value of more than 8 bytes may be one that a program is just writing.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { BtfValue } from "../btf/BtfValue.ts"
import { perCpuStride } from "../btf/BtfValue.ts"
import { CodecError } from "../btf/Codec.ts"
import { MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Kernel, Session } from "../services/Kernel/Kernel.ts"
import type { MapInfo, MemoryView } from "../services/Kernel/KernelCall.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import * as Globals from "../stages/load/Globals.ts"
import type { Values } from "./ArrayMap.ts"
import * as Element from "./Element.ts"
import { type MapError, mistake, TypedMapError } from "./MapError.ts"
import * as OfObject from "./OfObject.ts"

/** An array whose elements lie in memory of this process, until the scope closes. */
export interface MappedArray<V> extends Iterable<V> {
  readonly name: string
  readonly ref: MapRef
  readonly info: MapInfo
  readonly length: number
  /** Whether elements can be written: they cannot where the map is frozen, or made for reading. */
  readonly writable: boolean
  /** The element of an index, as it is now. Throws a `TypedMapError`: beyond the end, or where the scope is over. */
  readonly at: (index: number) => V
  /** Writes an element. Throws a `TypedMapError`, and a `CodecError` where the value does not fit. */
  readonly set: (index: number, value: V) => void
  /** The memory itself: elements are `stride` bytes apart. */
  readonly view: MemoryView
  /** Bytes from one element to the next: a multiple of 8. */
  readonly stride: number
}

const types: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_ARRAY])

/** What the failure of a mapping is, as a mistake about a map. */
export const unmapped = (name: string, error: Globals.AccessError): MapError =>
  error._tag === "GlobalsError"
    ? mistake(error.reason === "Closed" ? "Closed" : "WrongKind", name, error.detail, error.hint)
    : error

/** An array of a session, mapped until the scope closes. */
export const make: <V>(
  session: Session,
  map: MapRef,
  values: Values<V>
) => Effect.Effect<MappedArray<V>, MapError, Kernel | Scope.Scope> = Effect.fnUntraced(function*<V>(
  session: Session,
  map: MapRef,
  values: Values<V>
): Effect.fn.Return<MappedArray<V>, MapError, Kernel | Scope.Scope> {
  const info = yield* Element.infoOf(session, map, values.name, types, () => "arrays alone are mapped")
  const name = values.name ?? info.name
  const { encode, read } = yield* Effect.fromResult(Element.half(values.value, "values", name, info.valueSize))
  const { view, writable } = yield* Effect.mapError(
    Globals.memory({ session, map: () => map }, name),
    (error) => unmapped(name, error)
  )
  const stride = perCpuStride(info.valueSize)
  const length = info.maxEntries
  const offsetOf = (index: number): number => {
    if (!Number.isInteger(index) || index < 0 || index >= length) {
      throw mistake("Range", name, `${index} is no index: there are ${length} elements, counted from 0`)
    }
    const offset = index * stride
    if (offset + stride > view.bytes.length) {
      throw mistake("Closed", name, "its memory was unmapped: the scope in which it was opened is over")
    }
    return offset
  }
  const at = (index: number): V => {
    const offset = offsetOf(index)
    return read(new DataView(view.bytes.buffer, view.bytes.byteOffset + offset, info.valueSize), 0)
  }
  return {
    name,
    ref: map,
    info,
    length,
    writable,
    view,
    stride,
    at,
    set: (index, value) => {
      const offset = offsetOf(index)
      if (!writable) throw mistake("Unsupported", name, "it can only be read: it is frozen, or was made for reading")
      const bytes = encode(value)
      if (Result.isFailure(bytes)) throw bytes.failure
      Globals.write(view, offset, bytes.success)
    },
    *[Symbol.iterator]() {
      for (let index = 0; index < length; index++) yield at(index)
    }
  }
})

/** An array of a loaded object by its name, mapped until the scope closes. */
export const of = (
  loaded: OfObject.Loaded,
  name: string
): Effect.Effect<MappedArray<BtfValue>, MapError, Kernel | Scope.Scope> =>
  Effect.flatMap(OfObject.open(loaded, name), ({ map, session, value }) => make(session, map, { value, name }))

/** Whether something that was thrown is what `at` and `set` throw. */
export const isAccessError = (thrown: unknown): thrown is TypedMapError | CodecError =>
  thrown instanceof TypedMapError || thrown instanceof CodecError
