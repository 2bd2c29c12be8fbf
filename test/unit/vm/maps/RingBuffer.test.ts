/** Ring buffers byte by byte: headers, positions, wake-ups, windows, and the samples that programs may not be shown. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { MapFlag, MapType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../../../src/services/Kernel/abi/Errno.ts"
import * as RingBuffer from "../../../../src/vm/maps/RingBuffer.ts"
import * as SimulatedMap from "../../../../src/vm/maps/SimulatedMap.ts"
import { attributes } from "../../../support/MapCases.ts"

const page = 4096
const machine = { possibleCpus: 1, pageSize: page }

const make = (type: number = MapType.BPF_MAP_TYPE_RINGBUF, maxEntries = 2 * page) => {
  const map = Result.getOrThrow(
    SimulatedMap.create(attributes({ type, keySize: 0, valueSize: 0, maxEntries }), machine)
  )
  const ring = SimulatedMap.ringOf(map)
  assert.isDefined(ring)
  const window = (offset: number, length: number, writable: boolean) =>
    Result.getOrThrow(SimulatedMap.userMap(map, { offset, length, writable }, page))
  return { map, ring, window }
}

describe("ring buffers that programs fill", () => {
  it("show a consumer what it sees on a live kernel", () => {
    const { ring, window } = make()
    const consumer = window(0, page, true).view
    const producer = window(page, page + 4 * page, false).view
    const payload = RingBuffer.reserve(ring, 5, 0)
    assert.strictEqual(producer.loadAcquire64(0), 16n)
    assert.strictEqual(producer.loadAcquire32(page), 0x8000_0005)
    assert.strictEqual(producer.loadAcquire32(page + 4), 3, "the data begins three pages into the kernel's structure")
    ring.memory.set([1, 2, 3, 4, 5], payload)
    assert.isTrue(RingBuffer.commit(ring, payload, false, 0))
    assert.strictEqual(producer.loadAcquire32(page), 5)
    assert.deepStrictEqual([...producer.bytes.subarray(page + 8, page + 13)], [1, 2, 3, 4, 5])
    assert.deepStrictEqual(
      [...producer.bytes.subarray(3 * page + 8, 3 * page + 13)],
      [1, 2, 3, 4, 5],
      "and a second time"
    )
    consumer.storeRelease64(0, 16n)
    assert.deepStrictEqual([0, 1, 2, 3, 4].map((what) => RingBuffer.query(ring, what)), [0, 2 * page, 16, 16, 0])
    const second = RingBuffer.reserve(ring, 1, 0)
    assert.isTrue(RingBuffer.commit(ring, second, true, 0))
    assert.strictEqual(producer.loadAcquire32(page + 16), 0x4000_0001)
  })

  it("wake a consumer that has caught up, or as the flags say", () => {
    const { ring } = make()
    const output = (flags: number) => RingBuffer.output(ring, new Uint8Array(8), 0, 8, flags)
    assert.deepStrictEqual(output(0), { answer: 0, wake: true })
    assert.deepStrictEqual(output(0), { answer: 0, wake: false })
    assert.deepStrictEqual(output(RingBuffer.BPF_RB_FORCE_WAKEUP), { answer: 0, wake: true })
    RingBuffer.consumeTo(ring, RingBuffer.producerPosition(ring))
    assert.deepStrictEqual(output(RingBuffer.BPF_RB_NO_WAKEUP), { answer: 0, wake: false })
    assert.deepStrictEqual(output(4), { answer: -numbers.EINVAL, wake: false })
    assert.deepStrictEqual(output(Infinity), { answer: -numbers.EINVAL, wake: false })
  })

  it("refuse what cannot fit or does not", () => {
    const { ring } = make(MapType.BPF_MAP_TYPE_RINGBUF, page)
    assert.strictEqual(RingBuffer.reserve(ring, page - 8, 0), -1, "never quite full")
    assert.strictEqual(RingBuffer.reserve(ring, 0x4000_0000, 0), -1)
    assert.strictEqual(RingBuffer.reserve(ring, 8, 1), -1)
    assert.isAtLeast(RingBuffer.reserve(ring, page - 16, 0), 0)
    assert.deepStrictEqual(RingBuffer.output(ring, new Uint8Array(8), 0, 8, 0), {
      answer: -numbers.EAGAIN,
      wake: false
    })
  })

  it("keep counting beyond 32 bits", () => {
    const { ring } = make()
    const start = 2 ** 32 - 16
    ring.view.setUint32(0, start, true)
    ring.view.setUint32(page, start, true)
    ring.view.setUint32(page + 8, start, true)
    for (let n = 0; n < 3; n++) assert.strictEqual(RingBuffer.output(ring, Uint8Array.of(n), 0, 1, 0).answer, 0)
    assert.strictEqual(RingBuffer.producerPosition(ring), start + 48)
    assert.deepStrictEqual(RingBuffer.records(ring).map(({ bytes, next }) => [bytes[0], next]), [
      [0, start + 16],
      [1, start + 32],
      [2, start + 48]
    ])
  })

  it("do not follow a consumer's page that was written over", () => {
    const { ring } = make()
    for (const position of [2 ** 53, 24, 2 ** 60]) {
      ring.view.setBigUint64(0, BigInt(position), true)
      assert.strictEqual(RingBuffer.output(ring, new Uint8Array(8), 0, 8, 0).answer, -numbers.EAGAIN)
      assert.deepStrictEqual(RingBuffer.records(ring), [])
    }
    ring.view.setBigUint64(0, 0n, true)
    assert.strictEqual(RingBuffer.output(ring, new Uint8Array(8), 0, 8, 0).answer, 0)
    for (const position of [2n ** 40n, 2n ** 63n]) {
      ring.view.setBigUint64(page, position, true)
      assert.deepStrictEqual(RingBuffer.records(ring), [])
      assert.strictEqual(RingBuffer.reserve(ring, 8, 0), -1)
    }
    ring.view.setBigUint64(page, 16n, true)
    ring.memory.fill(0x3f, 2 * page)
    assert.deepStrictEqual(RingBuffer.records(ring), [], "a record that passes the producer is none")
  })
})

describe("windows on memory", () => {
  it("are writable where they belong to user space alone", () => {
    const { map } = make()
    const failure = (offset: number, length: number, writable: boolean) => {
      const window = SimulatedMap.userMap(map, { offset, length, writable }, page)
      return Result.isFailure(window) ? window.failure : "ok"
    }
    assert.deepStrictEqual([failure(0, page, true), failure(page, page, true), failure(0, 2 * page, true)], [
      "ok",
      "EPERM",
      "EPERM"
    ])
    assert.deepStrictEqual([failure(0, 6 * page, false), failure(0, 7 * page, false)], ["ok", "EINVAL"])
    assert.deepStrictEqual([failure(8, page, false), failure(0, 0, false), failure(0, Number.NaN, false)], [
      "EINVAL",
      "EINVAL",
      "EINVAL"
    ])
    const user = make(MapType.BPF_MAP_TYPE_USER_RINGBUF).map
    assert.isTrue(Result.isFailure(SimulatedMap.userMap(user, { offset: 0, length: page, writable: true }, page)))
    assert.isTrue(
      Result.isSuccess(SimulatedMap.userMap(user, { offset: page, length: 5 * page, writable: true }, page))
    )
  })

  it("of arrays are the elements, and hold off freezing while they are writable", () => {
    const attr = attributes({ type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 600, flags: MapFlag.BPF_F_MMAPABLE })
    const map = Result.getOrThrow(SimulatedMap.create(attr, machine))
    const window = Result.getOrThrow(SimulatedMap.userMap(map, { offset: 0, length: 2 * page, writable: true }, page))
    window.view.storeRelease64(512 * 8, 77n)
    const key = Uint8Array.of(0, 2, 0, 0)
    assert.strictEqual(SimulatedMap.elementBytes(map, SimulatedMap.helperLookup(map, key, 0, 0))[0], 77)
    SimulatedMap.helperUpdate(map, key, 0, Uint8Array.of(5, 0, 0, 0, 6, 0, 0, 0), 0, 0, 0)
    assert.deepStrictEqual([window.view.loadAcquire32(512 * 8), window.view.loadAcquire32(512 * 8 + 4)], [5, 6])
    const busy = SimulatedMap.userFreeze(map)
    assert.isTrue(Result.isFailure(busy) && busy.failure === "EBUSY")
    window.close()
    window.close()
    assert.strictEqual(window.view.bytes.length, 0)
    assert.throws(() => window.view.loadAcquire32(0), /was closed/)
    assert.isTrue(Result.isSuccess(SimulatedMap.userFreeze(map)))
    const reading =
      Result.getOrThrow(SimulatedMap.userMap(map, { offset: 0, length: page, writable: false }, page)).view
    assert.throws(() => reading.storeRelease64(0, 0n), /for reading only/)
    for (const offset of [-8, 4, page, 0.5, Number.NaN]) assert.throws(() => reading.loadAcquire64(offset), RangeError)
    assert.strictEqual(SimulatedMap.elementSlab(map, 0)?.count, 600)
  })
})

describe("ring buffers that user space fills", () => {
  const makeUser = () => make(MapType.BPF_MAP_TYPE_USER_RINGBUF, page)

  it("are drained by one program at a time", () => {
    const { ring } = makeUser()
    assert.strictEqual(RingBuffer.beginDrain(ring, 4), -numbers.EINVAL)
    assert.strictEqual(RingBuffer.beginDrain(ring, RingBuffer.BPF_RB_NO_WAKEUP), 0)
    assert.strictEqual(RingBuffer.beginDrain(ring, 0), -numbers.EBUSY)
    RingBuffer.endDrain(ring)
    assert.strictEqual(RingBuffer.beginDrain(ring, 0), 0)
  })

  it("skip discarded samples, wait for those that are written, and refuse those that make no sense", () => {
    const { ring, window } = makeUser()
    const { view } = window(page, 3 * page, true)
    const header = (length: number, producer: bigint) => {
      new DataView(view.bytes.buffer, view.bytes.byteOffset).setUint32(page, length, true)
      view.storeRelease64(0, producer)
      return RingBuffer.peekSample(ring)
    }
    assert.strictEqual(header(8, 0n), -numbers.ENODATA)
    assert.strictEqual(header(8, 12n), -numbers.EINVAL)
    assert.strictEqual(header(9, 16n), -numbers.EINVAL)
    assert.strictEqual(header(0x8000_0008, 16n), -numbers.ENODATA)
    assert.strictEqual(header(page - 7, 2n ** 20n), -numbers.E2BIG)
    assert.deepStrictEqual(header(8, 16n), { at: 2 * page + 8, size: 8 })
    assert.strictEqual(header(0x4000_0008, 16n), "Discarded")
    assert.strictEqual(RingBuffer.peekSample(ring), -numbers.ENODATA)
    assert.strictEqual(RingBuffer.submitSample(ring, new Uint8Array(page)), -numbers.E2BIG)
  })
})
