import { assert, describe, it } from "@effect/vitest"
import * as Memory from "../../../src/vm/Memory.ts"

const added = (memory: Memory.Memory, options: Memory.RegionOptions): Memory.Region => {
  const region = Memory.add(memory, options)
  assert.isDefined(region)
  return region
}

describe("Memory", () => {
  it("shares the bytes of the host, whatever their place in a buffer", () => {
    const memory = Memory.make()
    const buffer = new Uint8Array(64)
    const region = added(memory, { name: "r", bytes: buffer.subarray(13, 29) })
    const view = Memory.bytesAt(memory, 3, region.id, 4, true)
    view?.fill(7)
    assert.deepStrictEqual([...buffer.subarray(15, 22)], [0, 7, 7, 7, 7, 0, 0])
    assert.strictEqual(Memory.address(region, 3), (BigInt(region.id) << 32n) | 3n)
  })

  it("gives the bytes of an access only where all of it is in one region and permitted", () => {
    const memory = Memory.make()
    const region = added(memory, { name: "r", bytes: new Uint8Array(16), writable: false })
    assert.strictEqual(Memory.bytesAt(memory, 0, region.id, 16, false)?.length, 16)
    assert.strictEqual(Memory.bytesAt(memory, 16, region.id, 0, false)?.length, 0)
    assert.isUndefined(Memory.bytesAt(memory, 0, region.id, 17, false))
    assert.isUndefined(Memory.bytesAt(memory, 17, region.id, 0, false))
    assert.isUndefined(Memory.bytesAt(memory, -1, region.id, 1, false))
    assert.isUndefined(Memory.bytesAt(memory, 0, region.id, 1, true))
    assert.isUndefined(Memory.bytesAt(memory, 0, 0, 0, false))
    assert.isUndefined(Memory.bytesAt(memory, 0, -1, 0, false))
    assert.isUndefined(Memory.bytesAt(memory, 0, Memory.CODE_REGION, 1, false))
    assert.strictEqual(Memory.bytesFrom(memory, 5, region.id)?.length, 11)
    Memory.protect(region, false, true)
    assert.isUndefined(Memory.bytesAt(memory, 0, region.id, 1, false))
    assert.isUndefined(Memory.bytesFrom(memory, 0, region.id))
  })

  it("does not find a region that was removed, nor the one that came after it, through old addresses", () => {
    const memory = Memory.make()
    const old = added(memory, { name: "old", bytes: new Uint8Array(8) })
    const { id } = old
    Memory.remove(memory, old)
    Memory.remove(memory, old)
    assert.isUndefined(Memory.regionAt(memory, id))
    const other = added(memory, { name: "new", bytes: new Uint8Array(8) })
    const another = added(memory, { name: "another", bytes: new Uint8Array(8) })
    assert.strictEqual(id & 0xfffff, other.id & 0xfffff)
    assert.notStrictEqual(id, other.id)
    assert.notStrictEqual(another.id & 0xfffff, other.id & 0xfffff)
    assert.isUndefined(Memory.regionAt(memory, id))
    assert.strictEqual(Memory.regionAt(memory, other.id), other)
    assert.strictEqual(Memory.explain(memory, 0, id, 1, "read").reason, "NotMapped")
  })

  it("holds more regions than it starts with, and keeps their numbers", () => {
    const memory = Memory.make()
    const regions = Array.from(
      { length: 1000 },
      (_, at) => added(memory, { name: `${at}`, bytes: Uint8Array.of(at & 0xff) })
    )
    regions.forEach((region, at) =>
      assert.deepStrictEqual(Memory.bytesAt(memory, 0, region.id, 1, false)?.[0], at & 0xff)
    )
    for (let round = 0; round < 5000; round++) {
      const region = added(memory, { name: "again", bytes: new Uint8Array(1) })
      Memory.remove(memory, region)
    }
    assert.isAtMost(memory.next, 1100)
  })

  it("refuses one region more than it can hold", () => {
    const memory = Memory.make()
    memory.next = Memory.MAX_REGIONS
    assert.isUndefined(Memory.add(memory, { name: "one too many" }))
  })

  it("puts other bytes under an address", () => {
    const memory = Memory.make()
    const packet = Uint8Array.from({ length: 32 }, (_, at) => at)
    const region = added(memory, { name: "packet", bytes: packet })
    Memory.rebind(region, packet.subarray(4, 20))
    assert.strictEqual(Memory.bytesAt(memory, 0, region.id, 1, false)?.[0], 4)
    assert.isUndefined(Memory.bytesAt(memory, 16, region.id, 1, false))
  })

  it("keeps the values of a map apart", () => {
    const memory = Memory.make()
    const bytes = Uint8Array.from({ length: 60 }, (_, at) => at)
    const region = Memory.addElements(memory, { name: "values", bytes }, 12, 16, 4)
    assert.isDefined(region)
    for (let index = 0; index < 4; index++) {
      const low = Memory.elementOffset(region, index)
      assert.deepStrictEqual(
        Memory.bytesAt(memory, low, region.id, 12, true),
        bytes.subarray(index * 16, index * 16 + 12)
      )
      assert.deepStrictEqual(
        Memory.bytesFrom(memory, low + 5, region.id),
        bytes.subarray(index * 16 + 5, index * 16 + 12)
      )
      assert.isUndefined(Memory.bytesAt(memory, low, region.id, 13, false))
      assert.isUndefined(Memory.bytesAt(memory, low + 12, region.id, 1, false))
      assert.isUndefined(Memory.bytesAt(memory, low - 1, region.id, 1, false))
    }
    assert.isUndefined(Memory.bytesAt(memory, Memory.elementOffset(region, 4), region.id, 1, false))
    assert.isUndefined(Memory.addElements(memory, { name: "too few bytes", bytes }, 12, 16, 5))
    assert.isUndefined(Memory.addElements(memory, { name: "overlapping", bytes }, 12, 8, 2))
  })

  it("ends a string at the end of its value, also where the next one follows at once", () => {
    const memory = Memory.make()
    const bytes = Uint8Array.from({ length: 32 }, (_, at) => at)
    const region = Memory.addElements(memory, { name: "values", bytes }, 8, 8, 4)
    assert.isDefined(region)
    const low = Memory.elementOffset(region, 1)
    assert.deepStrictEqual(Memory.bytesFrom(memory, low + 6, region.id), bytes.subarray(14, 16))
    assert.deepStrictEqual(Memory.bytesFrom(memory, low + 8, region.id), new Uint8Array(0))
    assert.isUndefined(Memory.bytesFrom(memory, low + 9, region.id))
  })

  it("takes values of one byte, and as many values as addresses allow", () => {
    const memory = Memory.make()
    const bytes = new Uint8Array(1 << 20)
    const region = Memory.addElements(memory, { name: "bytes", bytes }, 1, 1, bytes.length)
    assert.isDefined(region)
    Memory.bytesAt(memory, Memory.elementOffset(region, 77), region.id, 1, true)?.fill(9)
    assert.strictEqual(bytes[77], 9)
    assert.isUndefined(
      Memory.addElements(memory, { name: "wide", bytes: new Uint8Array(1 << 24) }, 1 << 16, 0x10000, 1 << 20)
    )
  })
})
