/**
 * The records of an object's buffers, as the command shows them: read of all its ring buffers and perf buffers at once,
 * and decoded by the types that annotations name.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as BtfCodec from "../../btf/BtfCodec.ts"
import type { BtfValue } from "../../btf/BtfValue.ts"
import * as Losses from "../../events/Losses.ts"
import * as PerfBuffer from "../../events/PerfBuffer.ts"
import * as RingReader from "../../events/RingReader.ts"
import type { LoadedObject } from "../../stages/load/Execute.ts"
import type { BpfObject } from "../../stages/open/BpfObject.ts"
import * as EventTypes from "../../stages/open/EventTypes.ts"
import { UsageError } from "../Usage.ts"

/** A record of a buffer. */
export interface EventRecord {
  /** The name of the map. */
  readonly map: string
  /** The CPU that the program ran on, of perf buffers. */
  readonly cpu: number | undefined
  /** The type's name as in C, and the value; absent where no annotation names a type of the record's size. */
  readonly value: { readonly type: string; readonly value: BtfValue } | undefined
  /** The bytes, where there is no type. */
  readonly bytes: Uint8Array | undefined
}

/** What was read of a map. */
export interface MapSummary {
  readonly map: string
  readonly kind: "ringbuf" | "perf_event_array"
  /** Records that were taken. */
  readonly records: number
  /** Records that found no room; `undefined` where nobody counts them: the program of a ring buffer has to. */
  readonly lost: bigint | undefined
  /** By CPU, of perf buffers: those that have lost something. */
  readonly lostByCpu: ReadonlyArray<{ readonly cpu: number; readonly lost: bigint }>
}

/** The buffers of an object, open for reading. */
export interface Opened {
  /** Their maps, in the object's order. */
  readonly maps: ReadonlyArray<EventTypes.EventMap>
  /** Things that people should know of them. */
  readonly notes: ReadonlyArray<string>
  /**
   * Reads until `most` records were shown, or for ever; `show` gets them in batches, in the order of each buffer.
   */
  readonly read: <E, R>(
    most: number,
    show: (records: ReadonlyArray<EventRecord>) => Effect.Effect<void, E, R>
  ) => Effect.Effect<void, E | RingReader.ReadError | PerfBuffer.PerfStreamError, R>
  /** What was read until now. Losses are asked for now. */
  readonly summary: Effect.Effect<ReadonlyArray<MapSummary>>
}

/** The maps of an object that are read: those of these names, or all. */
export const mapsOf = (
  object: BpfObject,
  names: ReadonlyArray<string>
): Result.Result<ReadonlyArray<EventTypes.EventMap>, EventTypes.EventTypeError | UsageError> =>
  Result.flatMap(EventTypes.of(object), (all) => {
    const read = all.filter(({ kind }) => kind !== "UserRingBuffer")
    const unknown = names.find((name) => !read.some((map) => map.name === name))
    if (unknown !== undefined) {
      return Result.fail(
        new UsageError({
          argument: `--events ${unknown}`,
          detail: "the object has no ring buffer or perf buffer of this name",
          hint: read.length === 0 ? "it has none at all" : `it has ${read.map(({ name }) => name).join(", ")}`
        })
      )
    }
    return Result.succeed(names.length === 0 ? read : read.filter(({ name }) => names.includes(name)))
  })

/** How the records of a map are read, and what to say of types that have no values. */
const decoderOf = (object: BpfObject, map: EventTypes.EventMap) => {
  const notes: Array<string> = []
  const codecs = new Map<EventTypes.EventType, BtfCodec.BtfCodec>()
  for (const type of map.types) {
    if (object.btf === undefined) continue
    const codec = BtfCodec.make(object.btf, type.type, { name: type.name, flexible: type.flexible })
    if (Result.isSuccess(codec)) codecs.set(type, codec.success)
    else notes.push(`records of map ${map.name} are shown as bytes: ${codec.failure.message}`)
  }
  const decode = (view: DataView, at: number, length: number, cpu: number | undefined): EventRecord => {
    const type = EventTypes.typeOfRecord(map, length)
    const codec = type === undefined ? undefined : codecs.get(type)
    if (type === undefined || codec === undefined) {
      const bytes = new Uint8Array(view.buffer, view.byteOffset + at, length).slice()
      return { map: map.name, cpu, value: undefined, bytes }
    }
    // A flexible value ends with its view.
    const own = codec.flexible === true ? new DataView(view.buffer, view.byteOffset + at, length) : view
    return {
      map: map.name,
      cpu,
      value: { type: type.name, value: codec.read(own, codec.flexible === true ? 0 : at) },
      bytes: undefined
    }
  }
  return { decode, notes }
}

/** How many records the buffers' readers take at once. */
const batch = 256

/** Opens buffers of a loaded object, for the length of a scope. */
export const open = Effect.fnUntraced(function*(loaded: LoadedObject, maps: ReadonlyArray<EventTypes.EventMap>) {
  const notes: Array<string> = []
  const { session } = loaded
  const present = maps.flatMap((map) => {
    const ref = loaded.map(map.name)
    const { decode, notes: told } = decoderOf(loaded.object, map)
    notes.push(...told)
    // One that the kernel lacks, or that was left out, has no records.
    return ref === undefined ? [] : [{ ...map, ref, decode }]
  })
  const taken = new Map<string, number>(present.map(({ name }) => [name, 0]))

  const rings = present.filter(({ kind }) => kind === "RingBuffer")
  const losses = yield* Effect.forEach(rings, ({ name }) => Losses.ofMap(loaded, name))
  const reader = rings.length === 0 ? undefined : yield* RingReader.open(
    session,
    rings.map(({ decode, ref }, index): RingReader.Source<EventRecord> => ({
      map: ref,
      decode: (view, at, length) => decode(view, at, length, undefined),
      losses: losses[index]
    })),
    { batch }
  )
  const perf = yield* Effect.forEach(
    present.filter(({ kind }) => kind === "PerfEventArray"),
    (map) => Effect.map(PerfBuffer.open(session, map.ref), (buffer) => ({ ...map, buffer }))
  )
  for (const { buffer, name } of perf) {
    if (buffer.withoutSlot.length > 0) {
      notes.push(`map ${name} has no slot for CPU ${buffer.withoutSlot.join(", ")}: what runs there cannot send to it`)
    }
  }

  const read: Opened["read"] = Effect.fnUntraced(function*(most, show) {
    const enough = yield* Deferred.make<void>()
    let left = most
    const shown = (records: ReadonlyArray<EventRecord>) =>
      Effect.suspend(() => {
        const some = records.slice(0, left)
        left -= some.length
        for (const { map } of records) taken.set(map, (taken.get(map) ?? 0) + 1)
        return Effect.andThen(
          some.length === 0 ? Effect.void : show(some),
          left === 0 ? Deferred.succeed(enough, undefined) : Effect.void
        )
      })
    const ofRings = reader === undefined
      ? Effect.never
      : Stream.runForEachArray(RingReader.stream(reader), shown)
    const ofPerf = perf.map(({ buffer, decode }) => {
      const type: PerfBuffer.Readable<EventRecord> = {
        name: "record",
        size: 0,
        flexible: true,
        read: (view, at) => decode(view, at, view.byteLength - at, undefined)
      }
      return Stream.runForEachArray(
        PerfBuffer.stream(buffer, type, { batch }),
        (items) => shown(items.flatMap((item) => item._tag === "Sample" ? [{ ...item.value, cpu: item.cpu }] : []))
      )
    })
    if (left === 0) return
    yield* Effect.raceFirst(
      Effect.asVoid(Effect.all([ofRings, ...ofPerf], { concurrency: "unbounded" })),
      Deferred.await(enough)
    )
  })

  const summary: Opened["summary"] = Effect.gen(function*() {
    const ofRings = yield* Effect.forEach(
      rings,
      ({ name }, index) =>
        Effect.map(
          // A counter that cannot be read any more is none.
          Effect.orElseSucceed(losses[index]?.read ?? Effect.succeed(undefined), () => undefined),
          (lost): MapSummary => ({
            map: name,
            kind: "ringbuf",
            records: taken.get(name) ?? 0,
            lost,
            lostByCpu: []
          })
        )
    )
    const ofPerf = yield* Effect.forEach(
      perf,
      ({ buffer, name }) =>
        Effect.map(Effect.ignore(buffer.look), (): MapSummary => {
          const { cpus, lost } = buffer.counters()
          return {
            map: name,
            kind: "perf_event_array",
            records: taken.get(name) ?? 0,
            lost,
            lostByCpu: cpus.filter((each) => each.lost > 0n).map(({ cpu, lost }) => ({ cpu, lost }))
          }
        })
    )
    const all = new Map([...ofRings, ...ofPerf].map((each) => [each.map, each]))
    return present.flatMap(({ name }) => all.get(name) ?? [])
  })
  return { maps: present, notes, read, summary } satisfies Opened
})
