/**
 * Rings of AF_XDP (`examples/xsk/Ring.ts`): both sides over one memory, the other side being the same code with the roles swapped, as the
 * kernel has them. What goes in comes out, in its order, whatever the indices are when they wrap at 2^32.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Abi from "../../examples/xsk/Abi.ts"
import * as Ring from "../../examples/xsk/Ring.ts"
import { runs } from "../support/Require.ts"

const offsets: Abi.RingOffsets = { producer: 0, consumer: 64, flags: 68, descriptors: 128 }

type Entries = "Addresses" | "Descriptors"

interface Sides {
  readonly memory: ArrayBuffer
  readonly words: Uint32Array
  readonly producer: Ring.Ring
  readonly consumer: Ring.Ring
}

/** Both sides of a ring whose indices begin at `start`. */
const sidesAt = (start: number, size: number, entries: Entries): Sides => {
  const bytes = entries === "Addresses" ? Abi.ADDRESS_SIZE : Abi.DESCRIPTOR_SIZE
  const memory = new ArrayBuffer(Ring.memorySize(offsets, size, bytes))
  const words = new Uint32Array(memory)
  words[0] = start
  words[16] = start
  return {
    memory,
    words,
    producer: Ring.producer(memory, offsets, size, entries),
    consumer: Ring.consumer(memory, offsets, size, entries)
  }
}

/** What a side does. */
type Step =
  | { readonly does: "reserve" | "submit" | "unreserve" | "peek" | "release" | "unpeek"; readonly count: number }
  /** Another mapping of the same memory. */
  | { readonly does: "move" }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      does: fc.constantFrom("reserve", "submit", "unreserve", "peek", "release", "unpeek"),
      count: fc.nat(6)
    })
  },
  { weight: 1, arbitrary: fc.constant({ does: "move" } as const) }
)

const starts = fc.oneof(
  fc.constantFrom(0, 1, 0x7fff_fff0, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff),
  fc.nat(0xffff_ffff)
)

/** Addresses that use all bits there are, and the rest of a descriptor. */
const entry = (serial: number) => ({
  address: (serial * 0x1_2345_6789) % 0x1_0000_0000_0000,
  offset: serial % 0x1_0000,
  length: (serial * 2654435761) >>> 0,
  options: serial & 3
})

/** The functions that are tested, so that others can be tried in their place. */
type Ops = Pick<typeof Ring, "reserve" | "submit" | "unreserve" | "peek" | "release" | "unpeek">

/** Takes the steps, and says what the first answer is that differs from the model's. */
const difference = (ops: Ops, start: number, power: number, entries: Entries, steps: ReadonlyArray<Step>) => {
  const size = 1 << power
  const { consumer, memory, producer } = sidesAt(start, size, entries)
  const has = entries === "Descriptors"
  // The model: serial numbers in the order of their indices; what is free is what is neither.
  let serial = 0
  const reserved: Array<number> = []
  const submitted: Array<number> = []
  const peeked: Array<number> = []
  // The consumer looks for more only when it has nothing left that it knows of.
  let known = 0
  for (const [position, each] of steps.entries()) {
    const fail = (text: string) => `step ${position}, ${JSON.stringify(each)}: ${text}`
    if (each.does === "move") {
      Ring.moveTo(producer, memory)
      continue
    }
    const { count, does } = each
    if (does === "reserve") {
      const room = size - reserved.length - submitted.length - peeked.length
      const expected = count <= room ? count : 0
      const first = producer.cachedProducer
      const got = ops.reserve(producer, count)
      if (got !== expected) return fail(`${got} instead of ${expected}`)
      for (let i = 0; i < got; i++) {
        const { address, length, offset, options } = entry(serial)
        const index = (first + i) >>> 0
        if (has) Ring.setDescriptor(producer, index, address, offset, length, options)
        else Ring.setAddress(producer, index, address, offset)
        reserved.push(serial++)
      }
    } else if (does === "submit") {
      ops.submit(producer, count)
      submitted.push(...reserved.splice(0, count))
    } else if (does === "unreserve") {
      ops.unreserve(producer, count)
      reserved.splice(Math.max(0, reserved.length - count))
    } else if (does === "peek") {
      if (known === 0) known = submitted.length
      const expected = Math.min(known, count)
      const first = consumer.cachedConsumer
      const got = ops.peek(consumer, count)
      if (got !== expected) return fail(`${got} instead of ${expected}`)
      known -= got
      for (let i = 0; i < got; i++) {
        const index = (first + i) >>> 0
        const next = submitted.shift() ?? -1
        const read = {
          address: Ring.addressOf(consumer, index),
          offset: Ring.offsetOf(consumer, index),
          length: has ? Ring.lengthOf(consumer, index) : entry(next).length,
          options: has ? Ring.optionsOf(consumer, index) : entry(next).options
        }
        if (JSON.stringify(read) !== JSON.stringify(entry(next))) {
          return fail(`${JSON.stringify(read)} instead of ${JSON.stringify(entry(next))}`)
        }
        peeked.push(next)
      }
    } else if (does === "release") {
      ops.release(consumer, count)
      peeked.splice(0, count)
    } else {
      ops.unpeek(consumer, count)
      const back = peeked.splice(Math.max(0, peeked.length - count))
      known += back.length
      submitted.unshift(...back)
    }
    const waiting = submitted.length + peeked.length
    if (Ring.pending(producer) !== waiting) return fail(`${Ring.pending(producer)} are pending, not ${waiting}`)
  }
  return undefined
}

const law = (ops: Ops) =>
  fc.property(
    starts,
    fc.nat(4),
    fc.constantFrom<Entries>("Addresses", "Descriptors"),
    fc.array(step, { maxLength: 60 }),
    (start, power, entries, steps) => {
      assert.strictEqual(difference(ops, start, power, entries, steps), undefined)
    }
  )

describe("a ring", () => {
  it("hands on what goes in, in its order, whatever its indices are", () => {
    fc.assert(law(Ring), { numRuns: runs(1500) })
  })

  it("named faults: a side that does not look for room, and indices that do not wrap, are found", () => {
    const blind: Ops = {
      ...Ring,
      reserve: (ring, count) => {
        ring.cachedProducer = (ring.cachedProducer + count) >>> 0
        return count
      }
    }
    assert.isTrue(fc.check(law(blind), { numRuns: 3000 }).failed)
    const straight: Ops = {
      ...Ring,
      peek: (ring, most) => {
        const ready = Math.min((ring.words[ring.producerAt] ?? 0) - ring.cachedConsumer, most)
        if (ready > 0) ring.cachedConsumer += ready
        return ready
      }
    }
    assert.isTrue(fc.check(law(straight), { numRuns: 3000 }).failed)
  })

  it("does not believe an index that is further away than its size, nor one that goes back", () => {
    fc.assert(
      fc.property(starts, fc.nat(5), fc.nat(32), fc.nat(0xffff_ffff), (start, power, used, jump) => {
        const size = 1 << power
        const count = used % (size + 1)
        const { consumer, producer, words } = sidesAt(start, size, "Addresses")
        assert.strictEqual(Ring.reserve(producer, count), count)
        Ring.submit(producer, count)
        // The kernel says that it has taken `jump` entries.
        Atomics.store(words, 16, (start + jump) >>> 0)
        const room = Ring.free(producer, size + 1)
        assert.strictEqual(room, jump <= count ? size - count + jump : Ring.CORRUPT)
        assert.strictEqual(Ring.reserve(producer, size + 1), room < 0 ? Ring.CORRUPT : 0)
        assert.strictEqual(Ring.pending(producer), jump <= count ? count - jump : Ring.CORRUPT)
        // And that it has written `jump` of them.
        Atomics.store(words, 0, (start + jump) >>> 0)
        assert.strictEqual(Ring.peek(consumer, 0xffff_ffff), jump <= size ? jump : Ring.CORRUPT)
        if (jump > 0 && jump <= size) {
          Atomics.store(words, 0, (start + jump - 1) >>> 0)
          assert.strictEqual(Ring.peek(consumer, 1), Ring.CORRUPT)
        }
      }),
      { numRuns: runs(1000) }
    )
  })

  it("never writes more than its own index and its own entries", () => {
    const { memory, producer, words } = sidesAt(0xffff_fffe, 4, "Descriptors")
    words[16] = 0xffff_fffe
    words[17] = 1
    assert.isTrue(Ring.needsWakeup(producer))
    assert.strictEqual(Ring.reserve(producer, 4), 4)
    for (let i = 0; i < 4; i++) {
      Ring.setDescriptor(producer, (0xffff_fffe + i) >>> 0, 2 ** 48 - 1, 0xffff, 0xffff_ffff, 3)
    }
    Ring.submit(producer, 9)
    assert.deepStrictEqual([...new Uint32Array(memory, 0, 18)], [2, ...new Array(15).fill(0), 0xffff_fffe, 1])
    assert.deepStrictEqual([...new Uint32Array(memory, 128, 4)], [0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 3])
  })
})

describe("layouts", () => {
  it("of kernels before 5.4 have no place of flags: it follows the consumer's", () => {
    const old = BigUint64Array.from([0n, 64n, 128n, 0n, 64n, 128n, 0n, 64n, 128n, 0n, 64n, 128n])
    const ring = { producer: 0, consumer: 64, descriptors: 128, flags: 68 }
    assert.deepStrictEqual(Abi.ringsOffsets(new Uint8Array(old.buffer)), {
      rx: ring,
      tx: ring,
      fill: ring,
      completion: ring
    })
    const now = BigUint64Array.from([1, 2, 3, 4].flatMap((each) => [0n, 64n, 128n * BigInt(each), 72n]))
    assert.deepStrictEqual(Abi.ringsOffsets(new Uint8Array(now.buffer))?.completion, {
      producer: 0,
      consumer: 64,
      descriptors: 512,
      flags: 72
    })
  })

  it("of another length, or with places that no ring has, are refused", () => {
    for (const length of [0, 64, 95, 97, 120, 129, 256]) {
      assert.strictEqual(Abi.ringsOffsets(new Uint8Array(length)), undefined)
    }
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 128, maxLength: 128 }), (bytes) => {
        const found = Abi.ringsOffsets(bytes)
        if (found === undefined) return
        for (const { consumer, descriptors, flags, producer } of Object.values(found)) {
          assert.isAtMost(Math.max(consumer, flags, producer) + 4, descriptors)
        }
      }),
      { numRuns: runs(200) }
    )
  })

  it("statistics of older kernels are the first three", () => {
    const read = Abi.statistics(new Uint8Array(BigUint64Array.of(1n, 2n, 3n).buffer))
    assert.deepStrictEqual(read, {
      rxDropped: 1n,
      rxInvalidDescriptors: 2n,
      txInvalidDescriptors: 3n,
      rxRingFull: undefined,
      fillRingEmpty: undefined,
      txRingEmpty: undefined
    })
    assert.strictEqual(Abi.statistics(new Uint8Array(23)), undefined)
  })
})
