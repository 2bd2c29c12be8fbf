import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TypedMap from "../../src/maps/TypedMap.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { probeBpf } from "../../test/support/bpfProbe.ts"
import { u32, u64 } from "../../test/support/TypedMapSuite.ts"
import type { Case } from "../Harness.ts"
import { mapPeer } from "../Peers.ts"

/** Elements of each case: divide by the time. */
const ELEMENTS = 10_000
const REPETITIONS = 50

/**
 * The elements of a hash on the running kernel, keys and values decoded and encoded by codecs, beside libbpf's wrappers of bpf(2)
 * in C, which decode nothing: one call for each element, and batches of 4,096.
 */
export default async (): Promise<ReadonlyArray<Case>> => {
  if (!probeBpf().available) return []
  // Lives as long as the process.
  const scope = Effect.runSync(Scope.make())
  process.on("exit", () => Effect.runSync(Scope.close(scope, Exit.void)))
  const map = await Effect.runPromise(
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const session = yield* kernel.session()
      yield* session.call({
        _tag: "MapCreate",
        as: Ref.map(0),
        attr: {
          name: "bench",
          type: MapType.BPF_MAP_TYPE_HASH,
          keySize: 4,
          valueSize: 8,
          maxEntries: ELEMENTS,
          flags: 0,
          numaNode: 0,
          ifindex: 0,
          extra: 0n
        }
      })
      return yield* TypedMap.make(session, Ref.map(0), { key: u32, value: u64 })
    }).pipe(Scope.provide(scope))
  )
  const entries = Array.from({ length: ELEMENTS }, (_, key) => [key, BigInt(key)] as const)
  await Effect.runPromise(map.setAll(entries))
  const one = (
    work: "get" | "set" | "setall" | "entries",
    name: string,
    ours: Effect.Effect<unknown, unknown>
  ): Case => ({
    name: `maps: ${ELEMENTS} elements of a hash, ${name}`,
    inputBytes: ELEMENTS * 12,
    ours: () => Effect.runPromise(ours),
    ...mapPeer(work, ELEMENTS, REPETITIONS)
  })
  return [
    one(
      "get",
      "get one by one",
      Effect.gen(function*() {
        for (let key = 0; key < ELEMENTS; key++) yield* map.get(key)
      })
    ),
    one(
      "set",
      "set one by one",
      Effect.gen(function*() {
        for (let key = 0; key < ELEMENTS; key++) yield* map.set(key, 1n)
      })
    ),
    one("setall", "set in batches", map.setAll(entries)),
    one("entries", "entries in batches, as a stream", Stream.runDrain(map.entries))
  ]
}
