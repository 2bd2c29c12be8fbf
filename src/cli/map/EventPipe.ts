/**
 * `map event_pipe`: what programs send to a perf buffer of the kernel, whoever has loaded them.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as PerfBuffer from "../../events/PerfBuffer.ts"
import { MapType, mapTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import { UsageError } from "../Usage.ts"

/** A record, or how many were lost. */
export interface PipeItem {
  readonly item: PerfBuffer.PerfItem<Uint8Array>
  /** The map's slot that it came through. */
  readonly index: number
}

/**
 * Opens the buffer of a map that the words name, of all CPUs or of the one at `cpu N index N`, and hands on what comes, in
 * batches, for ever. `begun` is told when all that is sent from then on will be read.
 */
export const read = Effect.fnUntraced(function*<E, R>(
  objects: Objects.Objects,
  words: Words.Words,
  begun: Effect.Effect<void>,
  show: (items: ReadonlyArray<PipeItem>) => Effect.Effect<void, E, R>
) {
  const [reference, rest] = yield* Effect.fromResult(Words.reference("map", words))
  let left = rest
  const given = new Map<string, number>()
  while (left[0] === "cpu" || left[0] === "index") {
    const [keyword, ...behind] = left
    const [value, more] = yield* Effect.fromResult(Words.numeric(keyword, behind))
    given.set(keyword, value)
    left = more
  }
  yield* Effect.fromResult(Words.nothingLeft(left))
  const cpu = given.get("cpu")
  const key = given.get("index")
  if ((cpu === undefined) !== (key === undefined)) {
    return yield* new UsageError({
      argument: cpu === undefined ? "index" : "cpu",
      detail: "a CPU is given with the slot that programs send to, and the slot with its CPU",
      hint: "as in cpu 0 index 0; without both, all CPUs are read, each by the slot of its number"
    })
  }
  const { info, ref } = yield* Objects.oneMap(objects, reference)
  if (info.type !== MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY) {
    return yield* new UsageError({
      argument: Words.written(reference),
      detail: `it is of type ${mapTypeName(info.type)}, and a perf_event_array is read here`,
      hint: "ring buffers are read by who loads the object: see trace"
    })
  }
  const cpus = cpu === undefined || key === undefined ? {} : { cpus: [{ cpu, key }] }
  const buffer = yield* PerfBuffer.open(objects.session, ref, cpus)
  yield* begun
  return yield* Stream.runForEachArray(
    PerfBuffer.stream(buffer, PerfBuffer.raw),
    (items) => show(items.map((item) => ({ item, index: item.cpu === cpu && key !== undefined ? key : item.cpu })))
  )
})
