/**
 * The records of buffers as data: of `trace`, which prints a document for each record, on a line of its own, and one of all that
 * was read at its end.
 *
 * - A record: `time` (when it was read, ISO 8601), `map`, `cpu` (of perf buffers), `type` (as C names it) and `value`; where
 *   there is no type, `bytes` in base64.
 * - The end: `records` that were printed, and `maps` with `map`, `type`, `records`, `lost` (digits; `null` where nobody counts)
 *   and `lost_by_cpu`.
 */
import type * as Documents from "../schemas/Trace.ts"
import type { EventRecord, MapSummary } from "../trace/Records.ts"
import { base64, type Json, jsonText, valueJson } from "./Json.ts"

/** A record. */
export const recordJson = ({ bytes, cpu, map, value }: EventRecord, time: Date): typeof Documents.Record.Type => ({
  time: time.toISOString(),
  map,
  cpu: cpu ?? null,
  type: value?.type ?? null,
  value: value === undefined ? null : valueJson(value.value),
  bytes: bytes === undefined ? null : base64(bytes)
})

/** All that was read. */
export const summaryJson = (records: number, maps: ReadonlyArray<MapSummary>): typeof Documents.Summary.Type => ({
  records,
  maps: maps.map(({ kind, lost, lostByCpu, map, records }) => ({
    map,
    type: kind,
    records,
    lost: lost?.toString() ?? null,
    lost_by_cpu: lostByCpu.map(({ cpu, lost }) => ({ cpu, lost: lost.toString() }))
  }))
})

/** What a terminal would act upon although JSON has it as it is. In a document such characters are in texts only. */
const acting = /[\u007f-\u009f\u2028\u2029\p{Bidi_Control}\ufeff]/gu

/** A document on one line, or laid out; texts that a program has written do not reach a terminal as they are. */
export const safeText = (document: Json, pretty: boolean): string =>
  jsonText(document, pretty).trimEnd().replaceAll(
    acting,
    (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`
  )
