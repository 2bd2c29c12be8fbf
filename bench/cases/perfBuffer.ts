import * as Path from "node:path"
import { probeBpf } from "../../test/support/bpfProbe.ts"
import { repository } from "../../test/support/Require.ts"
import type { Case } from "../Harness.ts"
import { perfPeer } from "../Peers.ts"

/** Records of each time: 20 ms are a million a second. So few that hardly anything else of the machine falls into a time. */
const RECORDS = 20_000
const REPETITIONS = 50

/** Bytes of a record of 16 bytes in the buffer: header, length, and what the kernel fills up with. */
const span = 32

/**
 * Records that lie ready in the perf buffer of one CPU, where a program has written them: taken without copying, and made
 * into objects with their CPU, beside libbpf's consumer, which hands out pointers. The writing is not in the times.
 */
export default function(): ReadonlyArray<Case> {
  const { available, reason } = probeBpf()
  if (!available) {
    process.stderr.write(`no perf buffers: ${reason}\n`)
    return []
  }
  const object = Path.join(repository, "test/fixtures/perf_events.bpf.o")
  const ours = (way: "full" | "decoded") => ({
    boundary: "in process" as const,
    command: process.execPath,
    args: [
      Path.join(import.meta.dirname, "../peers/perfReader.ts"),
      way,
      object,
      String(RECORDS),
      String(REPETITIONS)
    ],
    repetitions: REPETITIONS
  })
  const work = (name: string, way: "full" | "decoded"): Case => ({
    name: `${RECORDS} records of a perf buffer, ${name}`,
    inputBytes: RECORDS * span,
    ours: ours(way),
    ...perfPeer(object, RECORDS, REPETITIONS)
  })
  return [work("where they lie", "full"), work("as objects", "decoded")]
}
