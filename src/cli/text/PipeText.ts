/**
 * The text of what `map event_pipe` reads: a line for each record, and its bytes below.
 */
import type { PipeItem } from "../map/EventPipe.ts"
import { hexDump } from "./HexDump.ts"
import { type Line, line, span } from "./Text.ts"

/** The lines of a record, or of a loss. */
export const pipeText = ({ index, item }: PipeItem): ReadonlyArray<Line> => {
  const where = span("heading", `CPU ${item.cpu} index ${index}`)
  switch (item._tag) {
    case "Sample":
      return [line(where, span("dim", `, ${item.value.length} bytes`)), ...hexDump(item.value)]
    case "Lost":
      return [line(where, ", ", span("warning", `lost ${item.count}`))]
    case "Other":
      return [line(where, span("dim", `, record of type ${item.type}`)), ...hexDump(item.bytes)]
  }
}
