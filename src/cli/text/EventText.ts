/**
 * The text of records of buffers: a line each.
 */
import { valueJson } from "../json/Json.ts"
import type { EventRecord, MapSummary } from "../trace/Records.ts"
import { clip } from "./Clip.ts"
import { hexBytes } from "./HexDump.ts"
import { counted, type Line, line, span } from "./Text.ts"
import { jsonValueText } from "./ValueText.ts"

/** The most bytes that are shown of a record without a type. */
const shownBytes = 64

const two = (value: number, digits = 2): string => String(value).padStart(digits, "0")

/** The time of day here, to the millisecond. */
const clock = (time: Date): string =>
  `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${two(time.getMilliseconds(), 3)}`

/** A record: when it was read, its map, the CPU of perf buffers, and its value as in C, or its bytes. */
export const recordText = ({ bytes, cpu, map, value }: EventRecord, time: Date): Line =>
  line(
    span("dim", clock(time)),
    " ",
    span("name", clip(map)),
    ...(cpu === undefined ? [] : [span("dim", ` cpu ${cpu}`)]),
    ...(value === undefined
      ? [` ${hexBytes(bytes ?? new Uint8Array(), shownBytes)}`]
      : [" ", span("dim", clip(value.type)), ` ${jsonValueText(valueJson(value.value))}`])
  )

/** What was read and lost in all. */
export const summaryText = (records: number, maps: ReadonlyArray<MapSummary>): ReadonlyArray<Line> => [
  line(span("dim", counted(records, "record"))),
  ...maps.flatMap(({ lost, lostByCpu, map }) =>
    lost === undefined || lost === 0n ? [] : [
      line(
        span("warning", "lost"),
        `: ${lost} of map `,
        span("name", clip(map)),
        ...(lostByCpu.length === 0
          ? []
          : [` (${lostByCpu.map(({ cpu, lost }) => `CPU ${cpu}: ${lost}`).join(", ")})`])
      )
    ]
  ),
  ...maps.flatMap(({ lost, map, records }) =>
    lost !== undefined || records === 0 ? [] : [
      line(span("dim", `what map ${clip(map)} could not take is not known: no variable ${clip(map)}_lost counts it`))
    ]
  )
]
