/** What the programs of `usdt.bpf.o` and `usdt_wide.bpf.o` tell of probes that were passed. */
import * as Effect from "effect/Effect"
import * as RingBuffer from "../../src/events/RingBuffer.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"

/** `struct usdt_event`. */
export interface UsdtEvent {
  readonly process: number
  /** `enum program`. */
  readonly program: number
  readonly cookie: bigint
  readonly count: number
  /** Which arguments could not be fetched, by bits. */
  readonly failed: number
  /** Those that there are. */
  readonly values: ReadonlyArray<bigint>
}

const decode = (bytes: Uint8Array): UsdtEvent => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const count = view.getInt32(16, true)
  return {
    process: view.getUint32(0, true),
    program: view.getUint32(4, true),
    cookie: view.getBigUint64(8, true),
    count,
    failed: view.getInt32(20, true) & ((1 << Math.max(count, 0)) - 1),
    values: Array.from({ length: Math.max(count, 0) }, (_, index) => view.getBigInt64(24 + index * 8, true))
  }
}

/** Reads the events that are there. */
export const reader = (loaded: LoadedObject) =>
  Effect.map(
    Effect.suspend(() => {
      const map = loaded.map("events")
      return map === undefined ? Effect.die("no map of events") : RingBuffer.open(loaded.session, map)
    }),
    (ring) =>
      Effect.suspend(() => Effect.map(Effect.fromResult(RingBuffer.drain(ring)), (records) => records.map(decode)))
  )
