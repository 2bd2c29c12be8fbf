import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { PerfBufferError } from "../../../src/events/perf/PerfError.ts"
import * as PerfRing from "../../../src/events/perf/PerfRing.ts"
import type { MemoryView } from "../../../src/services/Kernel/KernelCall.ts"

const pageSize = 4096

/** How a fake differs from the real thing, to see the law's check fail. */
interface Faults {
  /** What passes the end of the data is written behind it, not at its front. */
  readonly notWrapped?: true
  /** What is written to the tail does not arrive. */
  readonly tailLost?: true
  /** Payloads are not filled up. */
  readonly notPadded?: true
}

/** What a producer writes. */
type Written =
  | { readonly _tag: "Sample"; readonly payload: Uint8Array }
  | { readonly _tag: "Lost"; readonly count: bigint }
  | { readonly _tag: "Other"; readonly type: number; readonly words: number }

/** What a reader sees: bytes of payloads with what the kernel fills up with. */
type Seen =
  | { readonly _tag: "Sample"; readonly payload: ReadonlyArray<number> }
  | { readonly _tag: "Lost"; readonly count: bigint }
  | { readonly _tag: "Other"; readonly type: number; readonly length: number }

/** A buffer with a producer that writes it as the kernel does. */
const model = (pages: number, start: bigint, faults: Faults = {}) => {
  const size = pages * pageSize
  const bytes = new Uint8Array(pageSize + 2 * size)
  const view = new DataView(bytes.buffer)
  const memory: MemoryView = {
    get bytes() {
      return bytes
    },
    words: new Int32Array(bytes.buffer),
    loadAcquire32: (offset) => view.getUint32(offset, true),
    loadAcquire64: (offset) => view.getBigUint64(offset, true),
    storeRelease64: (offset, value) => {
      if (!faults.tailLost) view.setBigUint64(offset, value, true)
    }
  }
  let head = start
  let end = start
  view.setBigUint64(PerfRing.HEAD, start, true)
  view.setBigUint64(PerfRing.TAIL, start, true)
  view.setBigUint64(PerfRing.DATA_OFFSET, BigInt(pageSize), true)
  view.setBigUint64(PerfRing.DATA_SIZE, BigInt(size), true)
  const byte = (position: bigint, value: number) => {
    const at = Number(position % BigInt(size))
    const wraps = at < Number(end % BigInt(size))
    bytes[pageSize + at + (faults.notWrapped && wraps && position !== end ? size : 0)] = value
  }
  const append = (record: Uint8Array) => {
    end = head
    record.forEach((value, index) => byte(head + BigInt(index), value))
    head += BigInt(record.length)
    view.setBigUint64(PerfRing.HEAD, BigInt.asUintN(64, head), true)
  }
  const tail = () => view.getBigUint64(PerfRing.TAIL, true)
  const room = () => size - Number(BigInt.asUintN(64, head - tail()))
  const recordOf = (written: Written): Uint8Array => {
    const padded = (length: number) => faults.notPadded ? length : Math.ceil((length + 4) / 8) * 8 - 4
    const length = written._tag === "Sample"
      ? 12 + padded(written.payload.length)
      : written._tag === "Lost"
      ? 24
      : 8 + written.words * 8
    const record = new Uint8Array(Math.ceil(length / 8) * 8)
    const fields = new DataView(record.buffer)
    fields.setUint32(0, written._tag === "Sample" ? 9 : written._tag === "Lost" ? 2 : written.type, true)
    fields.setUint16(4, 1, true)
    fields.setUint16(6, record.length, true)
    if (written._tag === "Sample") {
      fields.setUint32(8, padded(written.payload.length), true)
      record.set(written.payload, 12)
    } else if (written._tag === "Lost") {
      fields.setBigUint64(8, 77n, true)
      fields.setBigUint64(16, written.count, true)
    }
    return record
  }
  const ring = Result.getOrThrow(PerfRing.make(memory, { map: "m", cpu: 3, pageSize, pages }))
  return {
    ring,
    memory,
    view,
    size,
    tail,
    head: () => BigInt.asUintN(64, head),
    /** Whether it was written: there was room for it. */
    write: (written: Written): boolean => {
      const record = recordOf(written)
      // One byte stays free: the kernel tells a full buffer from an empty one by it.
      if (record.length > room() - 1) return false
      append(record)
      return true
    },
    /** Writes bytes of a record of the test's making. */
    append
  }
}

const paddedTo = (payload: Uint8Array): ReadonlyArray<number> => {
  const bytes = new Array<number>(Math.ceil((payload.length + 4) / 8) * 8 - 4).fill(0)
  payload.forEach((value, index) => bytes[index] = value)
  return bytes
}

const expected = (written: Written): Seen =>
  written._tag === "Sample"
    ? { _tag: "Sample", payload: paddedTo(written.payload) }
    : written._tag === "Lost"
    ? written
    : { _tag: "Other", type: written.type, length: 8 + written.words * 8 }

/** A handler that writes down what it sees. */
const watching = (seen: Array<Seen>, answer: (count: number) => boolean | void = () => {}): PerfRing.PerfHandler => ({
  sample: (view, at, length, cpu) => {
    assert.strictEqual(cpu, 3)
    seen.push({ _tag: "Sample", payload: [...new Uint8Array(view.buffer, view.byteOffset + at, length)] })
    return answer(seen.length)
  },
  lost: (count) => {
    seen.push({ _tag: "Lost", count })
    return answer(seen.length)
  },
  other: (type, view, at, length) => {
    assert.strictEqual(view.getUint16(at + 6, true), length)
    seen.push({ _tag: "Other", type, length })
    return answer(seen.length)
  }
})

const record: fc.Arbitrary<Written> = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 700 }).map((payload) => ({ _tag: "Sample", payload } as const)) },
  {
    weight: 1,
    arbitrary: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }).map((count) => ({ _tag: "Lost", count } as const))
  },
  {
    weight: 1,
    arbitrary: fc.record({
      _tag: fc.constant("Other" as const),
      type: fc.constantFrom(1, 3, 5, 6, 13, 0xffff_ffff),
      words: fc.nat(20)
    })
  }
)

/** What happens: something is written, or so many records are taken. */
const action = fc.oneof(
  { weight: 4, arbitrary: record.map((written) => ({ _tag: "Write", written } as const)) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }).map((limit) => ({ _tag: "Take", limit } as const)) }
)

/** Where a buffer begins: somewhere, or just before its end, or before positions have 65 bits. */
const start = fc.oneof(
  fc.integer({ min: 0, max: 511 }).map((place) => BigInt(place * 8)),
  fc.integer({ min: 1, max: 80 }).map((place) => BigInt(pageSize - place * 8)),
  fc.integer({ min: 1, max: 80 }).map((place) => 2n ** 64n - BigInt(place * 8))
)

/** Everything that was written is seen, once and in order, and the tail follows. */
const keepsAll = (faults: Faults) =>
  fc.property(start, fc.array(action, { maxLength: 120 }), (begin, actions) => {
    const buffer = model(1, begin, faults)
    const written: Array<Seen> = []
    const seen: Array<Seen> = []
    const take = (limit: number) => {
      const before = seen.length
      const taken = Result.getOrThrow(PerfRing.consume(buffer.ring, watching(seen), limit))
      assert.strictEqual(taken, seen.length - before)
      assert.isAtMost(taken, limit)
      assert.strictEqual(Number(BigInt.asUintN(64, buffer.head() - buffer.tail())), PerfRing.available(buffer.ring))
      if (written.length === seen.length) assert.strictEqual(buffer.tail(), buffer.head())
    }
    for (const each of actions) {
      if (each._tag === "Take") take(each.limit)
      else if (buffer.write(each.written)) written.push(expected(each.written))
    }
    take(Number.POSITIVE_INFINITY)
    assert.deepStrictEqual(seen, written)
    assert.strictEqual(buffer.tail(), buffer.head())
  })

describe("the buffer of one CPU", () => {
  it("law: everything that is written is seen, once and in order, wherever it wraps", () => {
    fc.assert(keepsAll({}), { numRuns: 300 })
  })

  it("named faults: a record that does not wrap, a tail that does not arrive, payloads that are not filled up", () => {
    for (const faults of [{ notWrapped: true }, { tailLost: true }, { notPadded: true }] as const) {
      assert.throws(() => fc.assert(keepsAll(faults), { numRuns: 300 }))
    }
  })

  it("a payload is whole at every place where it can pass the end, and where it ends exactly there", () => {
    const payload = Uint8Array.from({ length: 60 }, (_, index) => index + 1)
    for (let place = 8; place <= 96; place += 8) {
      const buffer = model(1, BigInt(pageSize - place))
      const seen: Array<Seen> = []
      for (let turn = 0; turn < 3; turn++) assert.isTrue(buffer.write({ _tag: "Sample", payload }))
      assert.strictEqual(Result.getOrThrow(PerfRing.consume(buffer.ring, watching(seen))), 3)
      assert.deepStrictEqual(seen, Array.from({ length: 3 }, () => expected({ _tag: "Sample", payload })))
    }
  })

  it("what was taken is handed back when the handler stops or throws, the record in hand included", () => {
    const fill = () => {
      const buffer = model(1, 4000n)
      for (let index = 0; index < 5; index++) buffer.write({ _tag: "Sample", payload: Uint8Array.of(index) })
      return buffer
    }
    const stopped = fill()
    const seen: Array<Seen> = []
    assert.strictEqual(Result.getOrThrow(PerfRing.consume(stopped.ring, watching(seen, (count) => count < 2))), 2)
    assert.strictEqual(stopped.tail(), 4000n + 32n)
    const thrown = fill()
    assert.throws(
      () =>
        PerfRing.consume(
          thrown.ring,
          watching([], (count) => {
            if (count === 3) throw new Error("a consumer's own")
          })
        ),
      /a consumer's own/
    )
    assert.strictEqual(thrown.tail(), 4000n + 48n)
    assert.strictEqual(Result.getOrThrow(PerfRing.consume(thrown.ring, watching([]))), 2)
  })

  it("contents that make no sense are an error, after what is in front of them, and stay where they are", () => {
    const header = (type: number, size: number, length = 0): Uint8Array => {
      const bytes = new Uint8Array(32)
      const fields = new DataView(bytes.buffer)
      fields.setUint32(0, type, true)
      fields.setUint16(6, size, true)
      fields.setUint32(8, length, true)
      return bytes
    }
    for (
      const [bytes, words] of [
        [header(9, 0), /a record of 0 bytes is none/],
        [header(9, 4), /a record of 4 bytes is none/],
        [header(9, 20), /a record of 20 bytes is none/],
        [header(9, 8), /a sample of 8 bytes has no length/],
        [header(9, 32, 21), /a sample of 32 bytes says that it has 21/],
        [header(9, 32, 0xffff_fff8), /says that it has 4294967288/],
        [header(2, 16), /a record of lost ones has 24 bytes, not 16/],
        [header(7, 40), /a record of 40 bytes is longer than the 32 bytes that are left/]
      ] as const
    ) {
      const buffer = model(1, 4080n)
      buffer.write({ _tag: "Sample", payload: Uint8Array.of(1) })
      buffer.append(bytes)
      const seen: Array<Seen> = []
      for (let turn = 0; turn < 2; turn++) {
        const failed = Result.flip(PerfRing.consume(buffer.ring, watching(seen)))
        const error = Result.getOrThrow(failed)
        assert.instanceOf(error, PerfBufferError)
        assert.deepStrictEqual([error.reason, error.cpu, error.position], ["Corrupt", 3, 4096n])
        assert.match(error.message, words)
      }
      assert.strictEqual(seen.length, 1)
      assert.strictEqual(buffer.tail(), 4096n)
    }
  })

  it("positions that make no sense are errors", () => {
    for (const [head, tail] of [[5000n, 0n], [0n, 8n], [12n, 0n], [4099n, 3n]] as const) {
      const buffer = model(1, 0n)
      buffer.view.setBigUint64(PerfRing.HEAD, head, true)
      buffer.view.setBigUint64(PerfRing.TAIL, tail, true)
      assert.isTrue(Result.isFailure(PerfRing.consume(buffer.ring, watching([]))))
      assert.strictEqual(buffer.tail(), tail)
    }
  })

  it("arbitrary memory is records or an error, and never more than there is", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 256, maxLength: 256 }),
        fc.nat(512),
        fc.nat(512),
        (noise, head, tail) => {
          const buffer = model(1, 0n)
          for (let at = 0; at < pageSize; at++) buffer.memory.bytes[pageSize + at] = noise[at % 256] ?? 0
          buffer.view.setBigUint64(PerfRing.HEAD, BigInt(head * 8), true)
          buffer.view.setBigUint64(PerfRing.TAIL, BigInt(tail * 8), true)
          PerfRing.consume(buffer.ring, watching([]))
        }
      ),
      { numRuns: 300 }
    )
  })

  it("memory of another size is refused", () => {
    const { memory, view } = model(2, 0n)
    const make = (pages: number) => PerfRing.make(memory, { map: "m", cpu: 0, pageSize, pages })
    for (const pages of [0, 3, 1.5, 64, 1, 4]) assert.isTrue(Result.isFailure(make(pages)), `${pages}`)
    assert.isTrue(Result.isSuccess(make(2)))
    // Kernels that do not say where the data is have it behind the first page.
    view.setBigUint64(PerfRing.DATA_OFFSET, 0n, true)
    view.setBigUint64(PerfRing.DATA_SIZE, 0n, true)
    assert.strictEqual(Result.getOrThrow(make(2)).offset, pageSize)
    view.setBigUint64(PerfRing.DATA_OFFSET, 1n << 40n, true)
    assert.isTrue(Result.isFailure(make(2)))
  })
})
