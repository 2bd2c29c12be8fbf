/**
 * What processes trace by programs as data, with bpftool's keys in bpftool's order.
 */
import { kindOf, type TracedBy } from "../perf/Traced.ts"
import { exact } from "./Exact.ts"
import type { Json } from "./Json.ts"

type Fields = { readonly [key: string]: Json }

const whatJson = (traced: TracedBy): Fields => {
  const { address, name, offset } = traced
  const kind = kindOf(traced)
  switch (kind) {
    case undefined:
      return {}
    case "raw_tracepoint":
    case "tracepoint":
      return { fd_type: kind, tracepoint: name }
    case "kprobe":
    case "kretprobe":
      return { fd_type: kind, ...(name === "" ? { addr: exact(address) } : { func: name, offset: exact(offset) }) }
    case "uprobe":
    case "uretprobe":
      return { fd_type: kind, filename: name, offset: exact(offset) }
  }
}

/** One descriptor. */
export const tracedJson = (traced: TracedBy): Fields => ({
  pid: traced.pid,
  fd: traced.fd,
  prog_id: traced.progId,
  ...whatJson(traced)
})
