/**
 * The text of `perf show`.
 */
import { kindOf, type TracedBy } from "../perf/Traced.ts"
import { clip } from "./Clip.ts"
import { type Line, line, span, table } from "./Text.ts"

const hex = (value: bigint): string => `0x${value.toString(16)}`

const whatText = (traced: TracedBy): string => {
  const { address, name, offset } = traced
  switch (kindOf(traced)) {
    case "kprobe":
    case "kretprobe":
      return name === "" ? hex(address) : `${clip(name)}+${hex(offset)}`
    case "uprobe":
    case "uretprobe":
      return `${clip(name)}:${hex(offset)}`
    case "raw_tracepoint":
    case "tracepoint":
    case undefined:
      return clip(name)
  }
}

/** A table of descriptors. */
export const tracedText = (all: ReadonlyArray<TracedBy>): ReadonlyArray<Line> =>
  all.length === 0 ? [line("nothing is traced")] : table(
    ["process", "fd", "program", "kind", "traces"],
    all.map((traced) => [
      `${clip(traced.comm)}(${traced.pid})`,
      String(traced.fd),
      String(traced.progId),
      kindOf(traced) ?? `type ${traced.type}`,
      span("name", whatText(traced))
    ])
  )
