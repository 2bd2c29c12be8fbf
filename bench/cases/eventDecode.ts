import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as BtfValue from "../../src/btf/BtfValue.ts"
import * as RingBuffer from "../../src/events/RingBuffer.ts"
import { memoryView } from "../../src/services/Kernel/live/MemoryView.ts"
import * as TsCodecs from "../../src/stages/gen/skeleton/TsCodecs.ts"
import * as EventTypes from "../../src/stages/open/EventTypes.ts"
import * as Open from "../../src/stages/open/Open.ts"
import { repository } from "../../test/support/Require.ts"
import { runCodecs } from "../../test/support/TsModule.ts"
import type { Case } from "../Harness.ts"

/** Records of each case: a time of 20 ms is 5 million a second. */
const RECORDS = 100_000

const pageSize = 4096
const headerSize = 8

/** A ring of records like this one, each with a number and a name of its own. */
const filled = (record: Uint8Array): { readonly ring: RingBuffer.RingBuffer; readonly refill: () => void } => {
  const span = Math.ceil((record.length + headerSize) / 8) * 8
  const size = 2 ** Math.ceil(Math.log2(span * RECORDS))
  const memory = new Uint8Array(pageSize + 2 * size)
  const view = new DataView(memory.buffer)
  for (let index = 0; index < RECORDS; index++) {
    const at = pageSize + index * span
    view.setUint32(at, record.length, true)
    memory.set(record, at + headerSize)
    view.setBigUint64(at + headerSize, BigInt(index), true)
  }
  const consumer = memoryView(new ArrayBuffer(pageSize), true)
  const producer = memoryView(memory.buffer, true)
  producer.storeRelease64(0, BigInt(span * RECORDS))
  const ring = Result.getOrThrow(RingBuffer.make(consumer, producer, { size, pageSize }))
  return { ring, refill: () => consumer.storeRelease64(0, 0n) }
}

/**
 * Typed events from a ring buffer that is full: a hundred thousand records at a time, each decoded to an object. One type is
 * like an event of a tool (64 bytes: two numbers of 64 bits, a name of 16 characters, an enum, an inner struct, an array, bit
 * fields), one is small. By BTF they are decoded by walking over the types, by generated code at offsets in its text.
 */
export default function(): ReadonlyArray<Case> {
  const file = Fs.readFileSync(Path.join(repository, "test/fixtures/typed_events.bpf.o"))
  const object = Result.getOrThrow(Open.fromBytes(file))
  const { btf } = object
  if (btf === undefined) throw new Error("the object has no BTF")
  const codecs = TsCodecs.make(btf, { runtime: "LayoutCodec" })
  const types = Result.getOrThrow(EventTypes.of(object)).flatMap(({ types }) => types)
  const written = ["struct exec_event", "sample_t", "struct exit_event"].map((name) => {
    const type = types.find((each) => each.name === name)
    if (type === undefined) throw new Error(`the object has no ${name}`)
    return { ...type, text: Result.getOrThrow(TsCodecs.codecOf(codecs, type.type)) }
  })
  const module = runCodecs(TsCodecs.text(codecs))
  return written.flatMap(({ name, text, type }): ReadonlyArray<Case> => {
    const generated = module.get(text.codec)
    if (generated === undefined) throw new Error(`the module has no ${text.codec}`)
    const record = new Uint8Array(text.size)
    const values: Record<string, BtfValue.BtfValue> = {
      "struct exec_event": {
        sequence: 0n,
        process: 4711,
        action: "ACTION_CLOSE",
        command: "node",
        ports: [80, 443, 1, 2]
      },
      "sample_t": { cpu: 3, name: "worker" },
      "struct exit_event": { status: -1, killed: true }
    }
    record.set(Result.getOrThrow(generated.encode(values[name] ?? {})))
    const { refill, ring } = filled(record)
    const { read } = generated
    const interpreted = Result.getOrThrow(BtfValue.codec(btf, type, { octets: true, flexible: true }))
    const take = (decode: (view: DataView, at: number, length: number) => unknown) => () => {
      refill()
      let seen = 0
      let last: unknown
      const taken = RingBuffer.take(ring, (view, at, length) => {
        last = decode(view, at, length)
        seen++
      })
      if (Result.isFailure(taken)) throw taken.failure
      if (seen !== RECORDS) throw new Error(`${seen} records`)
      return last
    }
    const { bytes } = ring.producer
    return [
      {
        name: `eventDecode generated: ${RECORDS} of ${name}`,
        inputBytes: RECORDS * text.size,
        ours: take((view, at) => read(view, at))
      },
      {
        name: `eventDecode by BTF: ${RECORDS} of ${name}`,
        inputBytes: RECORDS * text.size,
        ours: take((_, at, length) => Result.getOrThrow(interpreted.decode(bytes.subarray(at, at + length))))
      }
    ]
  })
}
