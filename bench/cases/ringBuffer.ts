import * as Result from "effect/Result"
import * as Path from "node:path"
import * as RingBuffer from "../../src/events/RingBuffer.ts"
import { memoryView } from "../../src/services/Kernel/live/MemoryView.ts"
import { probeBpf } from "../../test/support/bpfProbe.ts"
import { repository } from "../../test/support/Require.ts"
import type { Case, Measured } from "../Harness.ts"
import { ringPeer } from "../Peers.ts"

/** Records of the case in memory: a time of 5 ms is 20 million a second. */
const RECORDS = 100_000
/** Records of the cases on the running kernel, and how often they are read: 16 bytes of the buffer each. */
const SENT = 300_000
const REPETITIONS = 25

const pageSize = 4096
const headerSize = 8
const recordSize = 64

/** A ring buffer that is full of records of 64 bytes, and what fills it again. */
const filled = (): { readonly ring: RingBuffer.RingBuffer; readonly refill: () => void } => {
  const span = recordSize + headerSize
  const size = 2 ** Math.ceil(Math.log2(span * RECORDS))
  const memory = new ArrayBuffer(pageSize + 2 * size)
  const view = new DataView(memory)
  for (let index = 0; index < RECORDS; index++) {
    view.setUint32(pageSize + index * span, recordSize, true)
    view.setUint32(pageSize + index * span + headerSize, index, true)
  }
  const consumer = memoryView(new ArrayBuffer(pageSize), true)
  const producer = memoryView(memory, true)
  producer.storeRelease64(0, BigInt(span * RECORDS))
  const ring = Result.getOrThrow(RingBuffer.make(consumer, producer, { size, pageSize }))
  return { ring, refill: () => consumer.storeRelease64(0, 0n) }
}

/**
 * Ring buffers: records that lie ready and are looked at where they lie, in memory and on the running kernel, and records that
 * a program sends meanwhile; the latter beside libbpf's consumer on the same program. Typed values: `eventDecode`.
 */
export default function(): ReadonlyArray<Case> {
  const { refill, ring } = filled()
  const object = Path.join(repository, "test/fixtures/ring_flood.bpf.o")
  const ours = (way: string): Measured => ({
    boundary: "in process",
    repetitions: REPETITIONS,
    command: process.execPath,
    args: [
      Path.join(import.meta.dirname, "../peers/ringReader.ts"),
      way,
      object,
      String(SENT),
      String(REPETITIONS)
    ]
  })
  const live = (name: string, way: "full" | "live" | "stream"): Case => ({
    name: `ringBuffer ${name}: ${SENT} records of 8 bytes`,
    inputBytes: 8 * SENT,
    ours: ours(way),
    ...ringPeer(way === "full" ? "full" : "live", object, SENT, REPETITIONS)
  })
  return [
    {
      name: `ringBuffer in memory: ${RECORDS} records of ${recordSize} bytes`,
      inputBytes: recordSize * RECORDS,
      ours: () => {
        refill()
        let next = 0
        const taken = RingBuffer.take(ring, (view, at) => {
          if (view.getUint32(at, true) !== next++) throw new Error(`not record ${next - 1}`)
        })
        if (Result.isFailure(taken) || next !== RECORDS) throw new Error(`${next} records`)
      }
    },
    ...(probeBpf().available
      ? [
        live("that lies ready", "full"),
        live("while it is filled", "live"),
        live("while it is filled, as a stream of numbers", "stream")
      ]
      : [])
  ]
}
