/**
 * What programs send through a map, whichever kind of buffer it is, and as values of the types that the object says.
 */
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Btf from "../../btf/Btf.ts"
import * as BtfCodec from "../../btf/BtfCodec.ts"
import type { BtfValue } from "../../btf/BtfValue.ts"
import { CodecError } from "../../btf/Codec.ts"
import * as Losses from "../../events/Losses.ts"
import * as PerfDecode from "../../events/perf/PerfDecode.ts"
import * as PerfBuffer from "../../events/PerfBuffer.ts"
import * as RingDecode from "../../events/ring/Decode.ts"
import * as RingReader from "../../events/RingReader.ts"
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Kernel } from "../../services/Kernel/Kernel.ts"
import type { MapRef } from "../../services/Kernel/Ref.ts"
import type { LoadedObject } from "../../stages/load/Execute.ts"
import type { MapDefinition } from "../../stages/open/BpfObject.ts"
import * as EventTypes from "../../stages/open/EventTypes.ts"

/** A buffer that is being read. */
export interface Buffer<E> {
  /** Waits for records and takes those that are there. Interrupted, it has taken none. */
  readonly take: Effect.Effect<ReadonlyArray<Uint8Array>, E>
  /** Records that found no room since the object was loaded; `undefined` where nobody counts them. */
  readonly lost: Effect.Effect<bigint | undefined, E>
}

/** Why a buffer is not read. */
export type BufferError =
  | RingReader.ReadError
  | PerfBuffer.PerfStreamError
  | Effect.Error<ReturnType<typeof Losses.ofMap>>

/** The item of a perf buffer that is a record. */
const isSample = (item: PerfBuffer.PerfItem<Uint8Array>): item is PerfBuffer.PerfSample<Uint8Array> =>
  item._tag === "Sample"

const openRing = Effect.fnUntraced(function*(loaded: LoadedObject, map: MapRef, name: string) {
  const losses = yield* Losses.ofMap(loaded, name)
  const reader = yield* RingReader.open(loaded.session, [RingReader.copies(map, losses)])
  return { take: reader.take, lost: losses === undefined ? Effect.succeed(undefined) : losses.read }
})

const openPerf = Effect.fnUntraced(function*(loaded: LoadedObject, map: MapRef) {
  const perf = yield* PerfBuffer.open(loaded.session, map)
  const pull = yield* Stream.toPull(PerfBuffer.stream(perf, PerfDecode.raw))
  // The stream has no end.
  const chunk = Pull.catchDone(pull, () => Effect.never)
  const take: Effect.Effect<ReadonlyArray<Uint8Array>, PerfBuffer.PerfStreamError> = Effect.flatMap(chunk, (items) => {
    const samples = items.filter(isSample)
    return samples.length > 0 ? Effect.succeed(samples.map(({ value }) => value)) : take
  })
  return { take, lost: Effect.map(perf.look, () => perf.counters().lost) }
})

/** Opens the buffer of a map until the scope closes. */
export const open = (
  loaded: LoadedObject,
  { attr, name }: MapDefinition,
  map: MapRef
): Effect.Effect<Buffer<BufferError>, BufferError, Kernel | Scope.Scope> =>
  attr.type === MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY ? openPerf(loaded, map) : openRing(loaded, map, name)

/** The type of this name, `struct` and the like in front of it or not. */
const typeNamed = (
  btf: Btf.Btf | undefined,
  map: string,
  name: string
): Result.Result<number, EventTypes.EventTypeError> => {
  const id = btf === undefined ? undefined : Btf.findOne(btf, name.replace(/^(struct|union|enum) /, ""))
  return id === undefined
    ? Result.fail(
      new EventTypes.EventTypeError({
        reason: "Unknown",
        map,
        type: name,
        detail: `the object's BTF has no type ${name}, or several`
      })
    )
    : Result.succeed(id)
}

/** The types of the records of a map: the one of this name, or those that the map names. */
const typesOf = (
  { object }: LoadedObject,
  map: string,
  type: string | undefined
): Result.Result<ReadonlyArray<number>, EventTypes.EventTypeError> =>
  type === undefined
    ? Result.map(
      EventTypes.of(object),
      (all) => all.find(({ name }) => name === map)?.types.map((each) => each.type) ?? []
    )
    : Result.map(typeNamed(object.btf, map, type), (id) => [id])

/** What makes values of records: of the type of this name, or of those that the map names; without one they are bytes. */
export const decoder = (
  loaded: LoadedObject,
  { attr, name }: MapDefinition,
  type: string | undefined
): Result.Result<(record: Uint8Array) => BtfValue, Error> =>
  Result.gen(function*() {
    const { btf, byteOrder } = loaded.object
    const ids = yield* typesOf(loaded, name, type)
    if (btf === undefined || ids.length === 0) return (record: Uint8Array): BtfValue => record
    const codecs: Array<BtfCodec.BtfCodec> = []
    for (const id of ids) codecs.push(yield* BtfCodec.make(btf, id, { byteOrder, octets: true, flexible: true }))
    const decode = attr.type === MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY
      ? PerfDecode.decoder(codecs, name)
      : RingDecode.ofTypes(codecs)
    return (record: Uint8Array): BtfValue => {
      const value = decode(new DataView(record.buffer, record.byteOffset, record.length), 0, record.length)
      if (value instanceof CodecError) throw value
      return value
    }
  })
