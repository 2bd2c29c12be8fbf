import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as RingBuffer from "../../../src/events/RingBuffer.ts"
import { Kernel, type KernelShape, type Session } from "../../../src/services/Kernel/Kernel.ts"
import type { KernelCall, MapInfo, MemoryView } from "../../../src/services/Kernel/KernelCall.ts"
import * as KernelInfo from "../../../src/services/Kernel/KernelInfo.ts"
import { memoryView } from "../../../src/services/Kernel/live/MemoryView.ts"
import * as Ref from "../../../src/services/Kernel/Ref.ts"

const pageSize = 4096
const BUSY = 0x8000_0000
const DISCARD = 0x4000_0000

/** How a fake differs from the real thing, to see the law's check fail. */
interface Faults {
  /** The data is not mapped a second time behind itself. */
  readonly notMirrored?: true
  /** What is written to the consumer's position does not arrive. */
  readonly positionLost?: true
  /** The flags of record headers are clear. */
  readonly flagsHidden?: true
}

const viewOf = (bytes: Uint8Array, more: Partial<MemoryView> = {}): MemoryView => {
  const view = new DataView(bytes.buffer)
  return {
    bytes,
    words: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2),
    loadAcquire32: (offset) => view.getUint32(offset, true),
    loadAcquire64: (offset) => view.getBigUint64(offset, true),
    storeRelease64: (offset, value) => view.setBigUint64(offset, value, true),
    ...more
  }
}

/** A record that a producer has reserved. */
interface Reserved {
  readonly at: bigint
  readonly payload: Uint8Array
}

/** A ring buffer with a producer that writes it as the kernel does. */
const model = (size: number, start: bigint, faults: Faults = {}) => {
  const consumerBytes = new Uint8Array(pageSize)
  const producerBytes = new Uint8Array(pageSize + 2 * size)
  const consumer = viewOf(
    consumerBytes,
    faults.positionLost ? { storeRelease64: () => {}, words: new Int32Array(pageSize / 4) } : {}
  )
  const producer = viewOf(producerBytes)
  new DataView(consumerBytes.buffer).setBigUint64(0, start, true)
  const positions = new DataView(producerBytes.buffer)
  positions.setBigUint64(0, start, true)
  const place = (position: bigint) => Number(position & BigInt(size - 1))
  const writeByte = (position: bigint, byte: number) => {
    const at = place(position)
    producerBytes[pageSize + at] = byte
    if (!faults.notMirrored) producerBytes[pageSize + size + at] = byte
  }
  const writeWord = (position: bigint, word: number) => {
    const written = faults.flagsHidden ? word & 0x3fff_ffff : word
    for (let index = 0; index < 4; index++) writeByte(position + BigInt(index), (written >>> (8 * index)) & 0xff)
  }
  const opened = RingBuffer.make(consumer, producer, { size, pageSize })
  if (Result.isFailure(opened)) throw opened.failure
  return {
    ring: opened.success,
    consumerPosition: () => new DataView(consumerBytes.buffer).getBigUint64(0, true),
    setProducer: (position: bigint) => positions.setBigUint64(0, BigInt.asUintN(64, position), true),
    writeWord,
    /** Reserves room for a record; `undefined` when there is none, as in the kernel. */
    reserve: (payload: Uint8Array): Reserved | undefined => {
      const at = positions.getBigUint64(0, true)
      const span = BigInt(Math.ceil((payload.length + 8) / 8) * 8)
      const used = BigInt.asUintN(64, at - new DataView(consumerBytes.buffer).getBigUint64(0, true))
      if (used + span > BigInt(size)) return undefined
      writeWord(at, (payload.length | BUSY) >>> 0)
      payload.forEach((byte, index) => writeByte(at + 8n + BigInt(index), byte))
      positions.setBigUint64(0, BigInt.asUintN(64, at + span), true)
      return { at, payload }
    },
    commit: ({ at, payload }: Reserved, discard: boolean) =>
      writeWord(at, (payload.length | (discard ? DISCARD : 0)) >>> 0)
  }
}

const drained = (ring: RingBuffer.RingBuffer, limit?: number): ReadonlyArray<ReadonlyArray<number>> => {
  const records = RingBuffer.drain(ring, limit)
  if (Result.isFailure(records)) throw records.failure
  return records.success.map((record) => [...record])
}

const bytes = (...values: ReadonlyArray<number>) => Uint8Array.from(values)

/** Reserves and commits at once. */
const write = (ring: ReturnType<typeof model>, payload: Uint8Array) => {
  const reserved = ring.reserve(payload)
  if (reserved === undefined) throw new Error("no room")
  ring.commit(reserved, false)
}

describe("RingBuffer", () => {
  it("hands records out in order, each once, and publishes the position", () => {
    const ring = model(4096, 0n)
    assert.deepStrictEqual(drained(ring.ring), [])
    write(ring, bytes(1, 2, 3))
    write(ring, bytes())
    write(ring, bytes(4))
    assert.strictEqual(RingBuffer.available(ring.ring), 16 + 8 + 16)
    assert.deepStrictEqual(drained(ring.ring), [[1, 2, 3], [], [4]])
    assert.strictEqual(ring.consumerPosition(), 40n)
    assert.strictEqual(RingBuffer.available(ring.ring), 0)
    assert.deepStrictEqual(drained(ring.ring), [])
  })

  it("hands out copies", () => {
    const ring = model(4096, 0n)
    write(ring, bytes(7))
    const records = RingBuffer.drain(ring.ring)
    if (Result.isFailure(records)) throw records.failure
    ring.ring.producer.bytes.fill(0)
    assert.deepStrictEqual(records.success, [bytes(7)])
  })

  it("reads a record that wraps around the end in one piece", () => {
    const ring = model(4096, 4096n - 16n)
    const payload = Uint8Array.from({ length: 100 }, (_, index) => index)
    write(ring, payload)
    assert.deepStrictEqual(drained(ring.ring), [[...payload]])
    assert.strictEqual(ring.consumerPosition(), 4096n - 16n + 112n)
  })

  it("stops at a record that is still being written, and takes it and those behind it later", () => {
    const ring = model(4096, 0n)
    write(ring, bytes(1))
    const busy = ring.reserve(bytes(2))
    if (busy === undefined) throw new Error("no room")
    write(ring, bytes(3))
    assert.deepStrictEqual(drained(ring.ring), [[1]])
    assert.strictEqual(ring.consumerPosition(), 16n)
    assert.deepStrictEqual(drained(ring.ring), [])
    ring.commit(busy, false)
    assert.deepStrictEqual(drained(ring.ring), [[2], [3]])
  })

  it("passes over discarded records, and counts only the others towards the limit", () => {
    const ring = model(4096, 0n)
    for (const value of [1, 2, 3, 4]) {
      const reserved = ring.reserve(bytes(value))
      if (reserved === undefined) throw new Error("no room")
      ring.commit(reserved, value % 2 === 1)
    }
    assert.deepStrictEqual(drained(ring.ring, 0), [])
    assert.strictEqual(ring.consumerPosition(), 0n)
    assert.deepStrictEqual(drained(ring.ring, 1), [[2]])
    assert.strictEqual(ring.consumerPosition(), 32n)
    assert.deepStrictEqual(drained(ring.ring), [[4]])
    assert.strictEqual(ring.consumerPosition(), 64n)
  })

  it("looks at the producer once more, and no more than that", () => {
    const ring = model(4096, 0n)
    let more = 5
    const { producer } = ring.ring
    write(ring, bytes(0))
    // A producer that writes another record whenever its position is read.
    const eager: RingBuffer.RingBuffer = {
      ...ring.ring,
      producer: {
        ...producer,
        loadAcquire64: (offset) => {
          const position = producer.loadAcquire64(offset)
          if (more-- > 0) write(ring, bytes(more))
          return position
        }
      }
    }
    assert.strictEqual(drained(eager).length, 2)
    assert.strictEqual(drained(eager).length, 2)
  })

  it("goes on over the end of 64 bits", () => {
    const ring = model(4096, 2n ** 64n - 8n)
    write(ring, bytes(1, 2, 3, 4, 5, 6, 7, 8))
    assert.deepStrictEqual(drained(ring.ring), [[1, 2, 3, 4, 5, 6, 7, 8]])
    assert.strictEqual(ring.consumerPosition(), 8n)
  })

  const reasonOf = (result: Result.Result<unknown, RingBuffer.RingBufferError>): string =>
    Result.isFailure(result) ? `${result.failure.reason} ${result.failure.message}` : "no failure"

  it("refuses contents that the kernel does not write", () => {
    const ahead = model(4096, 0n)
    ahead.setProducer(4104n)
    assert.match(reasonOf(RingBuffer.drain(ahead.ring)), /^Corrupt .*4104 bytes ahead in a buffer of 4096/)
    const behind = model(4096, 64n)
    behind.setProducer(0n)
    assert.match(reasonOf(RingBuffer.drain(behind.ring)), /^Corrupt .*bytes ahead/)
    const crooked = model(4096, 4n)
    crooked.setProducer(32n)
    assert.match(reasonOf(RingBuffer.drain(crooked.ring)), /^Corrupt .*no multiple of 8 at position 4/)
    const short = model(4096, 0n)
    short.setProducer(4n)
    assert.match(reasonOf(RingBuffer.drain(short.ring)), /^Corrupt .*4 bytes are left/)
    const long = model(4096, 0n)
    long.writeWord(0n, 25)
    long.setProducer(32n)
    assert.match(reasonOf(RingBuffer.drain(long.ring)), /^Corrupt .*record of 25 bytes is longer than the 32/)
  })

  it("answers what stands in front of a corrupt record, and fails at the next call", () => {
    const ring = model(4096, 0n)
    write(ring, bytes(1))
    ring.writeWord(16n, 1000)
    ring.setProducer(48n)
    assert.deepStrictEqual(drained(ring.ring), [[1]])
    assert.match(reasonOf(RingBuffer.drain(ring.ring)), /^Corrupt .*at position 16/)
    assert.strictEqual(ring.consumerPosition(), 16n)
  })

  it("fails where the visitor takes the memory away, and shows nothing that was not there", () => {
    const memory = new ArrayBuffer(pageSize + 2 * 4096)
    const page = new ArrayBuffer(pageSize)
    const [consumer, producer] = [memoryView(page, true), memoryView(memory, true)]
    const words = new Int32Array(memory)
    for (let record = 0; record < 4; record++) words[(pageSize + 16 * record) / 4] = 8
    producer.storeRelease64(0, 64n)
    const ring = RingBuffer.make(consumer, producer, { size: 4096, pageSize })
    if (Result.isFailure(ring)) throw ring.failure
    let shown = 0
    const taken = RingBuffer.take(ring.success, () => {
      if (++shown === 2) { for (const each of [memory, page]) each.transfer(0) }
    })
    assert.match(reasonOf(taken), /^Closed/)
    assert.strictEqual(shown, 2)
    assert.match(reasonOf(RingBuffer.take(ring.success, () => {})), /^Closed/)
  })

  it("keeps what is held, and gives it back when it is told to", () => {
    const ring = model(4096, 0n)
    for (let value = 0; value < 6; value++) write(ring, bytes(value))
    const seen: Array<number> = []
    const take = () =>
      RingBuffer.take(ring.ring, (view, at) => void seen.push(view.getUint8(at)), { hold: true, records: 2 })
    const first = take()
    take()
    assert.deepStrictEqual(seen, [0, 1, 0, 1])
    assert.strictEqual(ring.consumerPosition(), 0n)
    if (Result.isFailure(first)) throw first.failure
    assert.deepStrictEqual(first.success, { records: 2, end: "Limit", next: 32n })
    RingBuffer.release(ring.ring, first.success.next)
    assert.deepStrictEqual(drained(ring.ring), [[2], [3], [4], [5]])
  })

  it("ends at a number of bytes, and where the visitor wants no more", () => {
    const ring = model(4096, 0n)
    for (let value = 0; value < 6; value++) write(ring, new Uint8Array(100))
    const records = (limits: RingBuffer.Limits, visit: RingBuffer.Visit = () => {}) => {
      const taken = RingBuffer.take(ring.ring, visit, limits)
      return Result.isSuccess(taken) ? `${taken.success.records} ${taken.success.end}` : taken.failure.message
    }
    assert.strictEqual(records({ bytes: 150 }), "2 Limit")
    assert.strictEqual(records({}, () => false), "1 Limit")
    assert.strictEqual(records({}), "3 Empty")
    assert.deepStrictEqual(ring.ring.counters, { records: 6, bytes: 600, discarded: 0, failed: 0, highWater: 672 })
  })

  it("refuses sizes that no ring buffer has", () => {
    const page = viewOf(new Uint8Array(pageSize))
    const make = (size: number, length: number, pages = pageSize) =>
      reasonOf(RingBuffer.make(page, viewOf(new Uint8Array(length)), { size, pageSize: pages }))
    assert.match(make(4097, 20000), /^Geometry .*no power of two/)
    assert.match(make(0, 20000), /^Geometry/)
    assert.match(make(Number.NaN, 20000), /^Geometry/)
    assert.match(make(2048, 20000), /^Geometry .*whole pages/)
    assert.match(make(4096, pageSize + 4096), /^Geometry .*not mapped twice/)
    assert.strictEqual(make(4096, pageSize + 2 * 4096), "no failure")
  })
})

type Operation =
  | { readonly _tag: "Reserve"; readonly length: number }
  | { readonly _tag: "Commit"; readonly which: number; readonly discard: boolean }
  | { readonly _tag: "Drain"; readonly limit: number }

const operations: fc.Arbitrary<ReadonlyArray<Operation>> = fc.array(
  fc.oneof(
    fc.record({ _tag: fc.constant("Reserve" as const), length: fc.nat({ max: 1500 }) }),
    fc.record({ _tag: fc.constant("Commit" as const), which: fc.nat({ max: 9 }), discard: fc.boolean() }),
    fc.record({ _tag: fc.constant("Drain" as const), limit: fc.oneof(fc.nat({ max: 5 }), fc.constant(1e9)) })
  ),
  { maxLength: 120, size: "max" }
)

/** Positions at which something may go over: a buffer's end, 2^32, 2^53 and 2^64. */
const starts = fc.tuple(fc.constantFrom(0n, 4096n, 2n ** 32n, 2n ** 53n, 2n ** 64n), fc.nat({ max: 600 }))
  .map(([edge, before]) => BigInt.asUintN(64, edge - 8n * BigInt(before)))

/** Whether the reader hands out what the producer wrote, in the order of reservation, whatever both do in turn. */
const readsBack = (start: bigint, steps: ReadonlyArray<Operation>, faults: Faults = {}): boolean => {
  const ring = model(4096, start, faults)
  const waiting: Array<Reserved & { state: "busy" | "discarded" | "committed" }> = []
  let counter = 0
  const handedOut = (limit: number): ReadonlyArray<ReadonlyArray<number>> => {
    const expected: Array<ReadonlyArray<number>> = []
    while (waiting[0] !== undefined && waiting[0].state !== "busy" && expected.length < limit) {
      const record = waiting.shift()
      if (record?.state === "committed") expected.push([...record.payload])
    }
    return expected
  }
  for (const step of steps) {
    if (step._tag === "Reserve") {
      const value = counter++
      const reserved = ring.reserve(Uint8Array.from({ length: step.length }, (_, index) => (value + index) & 0xff))
      if (reserved !== undefined) waiting.push({ ...reserved, state: "busy" })
    } else if (step._tag === "Commit") {
      const record = waiting.filter(({ state }) => state === "busy")[step.which]
      if (record === undefined) continue
      record.state = step.discard ? "discarded" : "committed"
      ring.commit(record, step.discard)
    } else {
      const records = RingBuffer.drain(ring.ring, step.limit)
      if (Result.isFailure(records)) return false
      const expected = handedOut(step.limit)
      if (JSON.stringify(records.success.map((each) => [...each])) !== JSON.stringify(expected)) return false
      // Trailing discarded records may be taken with the last record of a limit or with the next drain.
      const next = waiting[0]?.at
      if (next !== undefined && ring.consumerPosition() !== next) return false
    }
  }
  return true
}

describe("RingBuffer, the law that what is written is read back in order", () => {
  it("holds for every sequence of reserving, committing, discarding and draining", () => {
    fc.assert(fc.property(starts, operations, (start, steps) => readsBack(start, steps)))
  })

  const fails = (faults: Faults) =>
    fc.check(fc.property(starts, operations, (start, steps) => readsBack(start, steps, faults)), {
      numRuns: 300,
      endOnFailure: true
    }).failed

  it("named fault: data that is mapped once", () => {
    assert.isTrue(fails({ notMirrored: true }))
  })

  it("named fault: a position that is not published", () => {
    assert.isTrue(fails({ positionLost: true }))
  })

  it("named fault: flags that are not looked at", () => {
    assert.isTrue(fails({ flagsHidden: true }))
  })

  it("never throws, whatever the memory holds", () => {
    fc.assert(fc.property(
      fc.uint8Array({ minLength: 64, maxLength: 64 }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.bigInt({ min: -64n, max: 9000n }),
      (noise, position, ahead) => {
        const ring = model(4096, position)
        for (let at = pageSize; at < ring.ring.producer.bytes.length; at++) {
          ring.ring.producer.bytes[at] = noise[at % noise.length] ?? 0
        }
        ring.setProducer(position + ahead)
        RingBuffer.drain(ring.ring)
      }
    ))
  })
})

describe("RingBuffer.open", () => {
  const info: MapInfo = {
    name: "events",
    type: 27,
    keySize: 0,
    valueSize: 0,
    maxEntries: 8192,
    flags: 0,
    numaNode: 0,
    ifindex: 0,
    extra: 0n,
    id: 1,
    btfId: 0,
    btfKeyTypeId: 0,
    btfValueTypeId: 0
  }

  /** A session that answers `MapGetInfo` and `MapMmap`, and writes down what it is asked. */
  const sessionOf = (map: MapInfo, seen: Array<KernelCall>): Session => {
    let index = 0
    const answer = (call: KernelCall): unknown => {
      if (call._tag === "MapGetInfo") return map
      return call._tag === "MapMmap" ? viewOf(new Uint8Array(call.length)) : undefined
    }
    return {
      id: Symbol("session"),
      concurrency: 1,
      call: (call) =>
        Effect.sync(() => {
          seen.push(call)
          return answer(call) as never
        }),
      adopt: () => Effect.die("not called"),
      fresh: (kind) => ({ _tag: kind, index: index++ }) as never,
      disown: () => {},
      stamp: (ref) => ref,
      exists: () => true,
      view: () => undefined,
      commit: Effect.void,
      rollback: Effect.void
    }
  }

  const kernel: KernelShape = {
    name: "fake",
    info: Effect.succeed(KernelInfo.make({ release: "0", architecture: "x64", byteOrder: "little" })),
    ask: () => Effect.succeed({ pageSize: KernelInfo.known(4096) }),
    session: () => Effect.die("not called")
  }

  const open = (map: MapInfo, seen: Array<KernelCall> = [], of: KernelShape = kernel) =>
    RingBuffer.open(sessionOf(map, seen), Ref.map(3)).pipe(Effect.scoped, Effect.provideService(Kernel, of))

  it.effect("maps the consumer's page for writing and the rest for reading, and unmaps both", () =>
    Effect.gen(function*() {
      const seen: Array<KernelCall> = []
      const ring = yield* open(info, seen)
      assert.strictEqual(ring.size, 8192)
      const mapped = seen.filter((call) => call._tag === "MapMmap")
      assert.deepStrictEqual(mapped.map(({ length, offset, writable }) => ({ length, offset, writable })), [
        { length: 4096, offset: 0, writable: true },
        { length: 4096 + 2 * 8192, offset: 4096, writable: false }
      ])
      const closed = seen.filter((call) => call._tag === "Close").map(({ ref }) => ref)
      assert.deepStrictEqual(closed, mapped.map(({ as }) => as).reverse())
    }))

  it.effect("refuses other maps, overwrite mode, and a kernel without a page size", () =>
    Effect.gen(function*() {
      const reasonOf = (map: MapInfo, of?: KernelShape) =>
        Effect.map(Effect.flip(open(map, [], of)), (error) =>
          error._tag === "RingBufferError" ? error.reason : error._tag)
      assert.strictEqual(yield* reasonOf({ ...info, type: 1 }), "MapType")
      assert.strictEqual(yield* reasonOf({ ...info, flags: 1 << 19 }), "Overwrite")
      const silent: KernelShape = {
        ...kernel,
        ask: () =>
          Effect.succeed({ pageSize: KernelInfo.deferred })
      }
      assert.strictEqual(yield* reasonOf(info, silent), "PageSize")
      assert.strictEqual(yield* reasonOf({ ...info, maxEntries: 6000 }), "Geometry")
    }))
})
