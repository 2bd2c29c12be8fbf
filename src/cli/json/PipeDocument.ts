/**
 * What `map event_pipe` reads, as data: a document for each record, on a line of its own, with bpftool's keys: `type`
 * (`PERF_RECORD_*`), `cpu`, `index`, and `data` (hexadecimal texts) of a record that a program sent, `lost` of a loss.
 */
import type { PipeItem } from "../map/EventPipe.ts"
import type { Json } from "./Json.ts"
import { hexList } from "./ObjectsDocument.ts"

/** The kernel's numbers. */
const PERF_RECORD_LOST = 2
const PERF_RECORD_SAMPLE = 9

/** A record, or a loss. */
export const pipeJson = ({ index, item }: PipeItem): Json => {
  switch (item._tag) {
    case "Sample":
      return { type: PERF_RECORD_SAMPLE, cpu: item.cpu, index, data: hexList(item.value) }
    case "Lost":
      return { type: PERF_RECORD_LOST, cpu: item.cpu, index, lost: { lost: item.count.toString() } }
    case "Other":
      return { type: item.type, cpu: item.cpu, index, data: hexList(item.bytes) }
  }
}
