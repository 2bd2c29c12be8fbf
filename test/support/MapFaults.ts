/** Everything that is done to typed maps, with one attempt after another failing or interrupted. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as ArrayMap from "../../src/maps/ArrayMap.ts"
import * as BloomFilter from "../../src/maps/BloomFilter.ts"
import * as MappedArray from "../../src/maps/MappedArray.ts"
import * as PerCpuMap from "../../src/maps/PerCpuMap.ts"
import * as QueueMap from "../../src/maps/QueueMap.ts"
import * as SlotMap from "../../src/maps/SlotMap.ts"
import * as TypedMap from "../../src/maps/TypedMap.ts"
import { MapFlag, MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { mapCreate } from "./LiveKernel.ts"
import * as Rights from "./Rights.ts"
import { u32 } from "./TypedMapSuite.ts"

const create = (index: number, type: number, more = {}) =>
  mapCreate(index, { type, keySize: 4, valueSize: 4, maxEntries: 8, ...more })

/** Opens maps of most kinds and does to each what can be done to it. */
export const everything = (kernel: KernelShape): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const session = yield* kernel.session()
    yield* session.call(create(0, MapType.BPF_MAP_TYPE_HASH))
    yield* session.call(create(1, MapType.BPF_MAP_TYPE_ARRAY, { flags: MapFlag.BPF_F_MMAPABLE }))
    yield* session.call(create(2, MapType.BPF_MAP_TYPE_PERCPU_HASH))
    yield* session.call(create(3, MapType.BPF_MAP_TYPE_QUEUE, { keySize: 0 }))
    yield* session.call(create(4, MapType.BPF_MAP_TYPE_BLOOM_FILTER, { keySize: 0 }))
    yield* session.call({
      ...create(5, MapType.BPF_MAP_TYPE_HASH_OF_MAPS),
      inner: Ref.map(1)
    })
    const table = yield* TypedMap.make(session, Ref.map(0), { key: u32, value: u32 })
    yield* table.setAll([[1, 1], [2, 2], [3, 3], [4, 4]])
    yield* table.setAll([[5, 1]], { when: "NoExist" })
    yield* table.set(6, 6)
    yield* table.get(1)
    yield* table.take(2)
    yield* table.delete(3)
    yield* table.deleteAll([4, 4, 5])
    yield* Stream.runDrain(table.entries)
    yield* table.size
    yield* Stream.runDrain(table.takeAll)
    yield* table.clear
    const array = yield* ArrayMap.make(session, Ref.map(1), { value: u32 })
    yield* array.set(1, 1)
    yield* Stream.runDrain(array.values)
    yield* Effect.scoped(Effect.map(MappedArray.make(session, Ref.map(1), { value: u32 }), (mapped) => mapped.at(1)))
    const cpus = yield* PerCpuMap.make(session, Ref.map(2), { key: u32, value: u32 })
    yield* cpus.setEach(1, 1)
    yield* cpus.get(1)
    const queue = yield* QueueMap.make(session, Ref.map(3), { value: u32 })
    yield* queue.push(1)
    yield* queue.pop
    const filter = yield* BloomFilter.make(session, Ref.map(4), { value: u32 })
    yield* filter.add(1)
    yield* filter.has(1)
    const outer = yield* SlotMap.hashOfMaps(session, Ref.map(5), { key: u32 })
    yield* outer.set(1, Ref.map(1))
    if (Rights.identifiers()) yield* Effect.scoped(outer.open(1))
    yield* outer.clear(1)
  }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))

/** What may happen to an attempt. */
export const faults: ReadonlyArray<KernelFaulty.Fault> = [
  ...(["EPERM", "ENOMEM", "EINTR", "E2BIG"] as const).map((errno) => ({ _tag: "Answer", errno }) as const),
  { _tag: "InterruptBefore" },
  { _tag: "InterruptAfter" }
]

/** The errors by which the room may say that something failed. */
const named: ReadonlySet<unknown> = new Set(["KernelError", "BatchError", "TypedMapError"])

const tagOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "_tag" in error ? error._tag : error

/** What was found at a point where a fault struck. */
export interface Strike {
  readonly attempts: number
  /** What is wrong, as phrases. */
  readonly found: ReadonlyArray<string>
}

/**
 * Lets each attempt of `everything` meet with each fault; of `stride` attempts one, and another one for each fault. `left` tells
 * what there is of descriptors and memory.
 */
export const strike = (
  kernel: KernelShape,
  left: () => string,
  stride: number = 1
): Effect.Effect<Strike, unknown> =>
  Effect.gen(function*() {
    const traced = yield* KernelTraced.make(kernel)
    yield* everything(traced.kernel)
    const attempts = (yield* traced.attempts).length
    const found: Array<string> = []
    for (const [number, fault] of faults.entries()) {
      for (let at = number % stride; at < attempts; at += stride) {
        const where = `${fault._tag === "Answer" ? fault.errno : fault._tag} at attempt ${at}`
        const before = left()
        const exit = yield* Effect.exit(Effect.scoped(
          Effect.flatMap(KernelFaulty.make(kernel, at, fault), (faulty) => everything(faulty))
        ))
        if (left() !== before) found.push(`${where}: ${before} became ${left()}`)
        if (Exit.isSuccess(exit)) continue
        for (const reason of exit.cause.reasons) {
          if (Cause.isDieReason(reason)) found.push(`${where}: dies of ${String(reason.defect)}`)
          if (Cause.isFailReason(reason) && !named.has(tagOf(reason.error))) {
            found.push(`${where}: fails with ${String(reason.error)}`)
          }
        }
      }
    }
    return { attempts, found }
  })
