/**
 * Laws of the simulated maps that need no kernel: hashes and tries beside plain models, views that stay, rings that lose
 * nothing, filters that forget nothing. Each law has a named fault that its check finds.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { MapFlag, MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { MapAttributes } from "../../src/services/Kernel/KernelCall.ts"
import * as HashTable from "../../src/vm/maps/HashTable.ts"
import * as RingBuffer from "../../src/vm/maps/RingBuffer.ts"
import * as SimulatedMap from "../../src/vm/maps/SimulatedMap.ts"
import * as MapCases from "../support/MapCases.ts"
import { runs } from "../support/Require.ts"

const machine = { possibleCpus: 3, pageSize: 4096 }

const make = (attr: Partial<MapAttributes>): SimulatedMap.SimulatedMap =>
  Result.getOrThrow(SimulatedMap.create(MapCases.attributes(attr), machine))

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

/** Whether a check that throws when it finds something wrong, finds it. */
const finds = (check: () => void): boolean => {
  try {
    check()
    return false
  } catch {
    return true
  }
}

// Hash tables ----------------------------------------------------------------------------------------------------------

type TableStep = { readonly _tag: "Insert" | "Remove" | "Replace"; readonly key: number }

/** The functions of a table that a fault can replace. */
type TableFunctions = Pick<typeof HashTable, "insert" | "remove" | "replace">

const tableSteps = fc.array(
  fc.record({
    _tag: fc.constantFrom("Insert", "Insert", "Insert", "Remove", "Remove", "Replace" as const),
    key: fc.integer({ min: 0, max: 60 })
  }),
  { maxLength: 200, size: "max" }
)

const tableKey = (keySize: number, key: number): Uint8Array => {
  const bytes = new Uint8Array(keySize)
  bytes[keySize - 1] = key
  bytes[key % keySize] = (bytes[key % keySize] ?? 0) ^ key
  return bytes
}

/** Does the steps to a table and to a `Map`, which also keeps the order of insertion, and compares what each says. */
const checkTable = (
  keySize: number,
  seed: number,
  steps: ReadonlyArray<TableStep>,
  functions: TableFunctions
): void => {
  const table = HashTable.make(keySize, 64, seed)
  const model = new Map<string, Uint8Array>()
  for (const step of steps) {
    const key = tableKey(keySize, step.key)
    const hash = HashTable.hashOf(table, key, 0)
    const place = HashTable.find(table, key, 0, hash)
    assert.strictEqual(place >= 0, model.has(hex(key)))
    if (step._tag === "Insert" && place < 0) {
      functions.insert(table, HashTable.take(table), key, 0, hash)
      model.set(hex(key), key)
    }
    if (step._tag === "Replace" && place >= 0) {
      functions.replace(table, place, HashTable.take(table))
      HashTable.give(table, place)
    }
    if (step._tag === "Remove" && place >= 0) {
      functions.remove(table, place)
      HashTable.give(table, place)
      model.delete(hex(key))
    }
  }
  assert.strictEqual(table.count, model.size)
  const listed: Array<string> = []
  for (let at = HashTable.following(table, undefined); at >= 0;) {
    const key = HashTable.keyAt(table, at)
    listed.push(hex(key))
    assert.isAtMost(listed.length, model.size, "the listing ends")
    at = HashTable.following(table, key)
  }
  assert.deepStrictEqual(listed, [...model.keys()])
  for (const key of model.values()) assert.isAtLeast(HashTable.find(table, key, 0, HashTable.hashOf(table, key, 0)), 0)
}

const tableProperty = (functions: TableFunctions) =>
  fc.property(
    fc.constantFrom(1, 2, 3, 4, 5, 8, 12, 13),
    fc.integer(),
    tableSteps,
    (keySize, seed, steps) => checkTable(keySize, seed, steps, functions)
  )

/** Empties a bucket without closing the gap: entries behind it are lost to searches. */
const leavesGaps: TableFunctions["remove"] = (table, place) => {
  const bucket = table.buckets.indexOf(place + 1)
  const before = table.buckets.slice()
  HashTable.remove(table, place)
  table.buckets.set(before)
  table.buckets[bucket] = 0
}

/** Puts what was replaced at the end of the order. */
const movesToTheEnd: TableFunctions["replace"] = (table, old, place) => {
  const key = HashTable.keyAt(table, old)
  HashTable.remove(table, old)
  HashTable.insert(table, place, key, 0, HashTable.hashOf(table, key, 0))
}

describe("hash tables", () => {
  it("hold what a Map holds, in the same order", () => {
    fc.assert(tableProperty(HashTable), { numRuns: runs(300) })
  })

  it("(fault: gaps stay open) are found wrong", () => {
    assert.isTrue(
      finds(() => fc.assert(tableProperty({ ...HashTable, remove: leavesGaps }), { numRuns: 300, endOnFailure: true }))
    )
  })

  it("(fault: replacing moves) are found wrong", () => {
    assert.isTrue(
      finds(() =>
        fc.assert(tableProperty({ ...HashTable, replace: movesToTheEnd }), { numRuns: 300, endOnFailure: true })
      )
    )
  })

  it("are walked once through what was there at the start and still is, whatever is done on the way", () => {
    const changes = fc.array(fc.array(fc.record({ key: fc.nat(30), how: fc.nat(2) }), { maxLength: 4 }), {
      maxLength: 20
    })
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(30)), changes, (keys, changes) => {
        const map = make({ maxEntries: 64, keySize: 4 })
        const value = new Uint8Array(8)
        const bytesOf = (key: number) => Uint8Array.of(key, 0, 0, 0)
        for (const key of keys) SimulatedMap.helperUpdate(map, bytesOf(key), 0, value, 0, 0, 0)
        const left = new Set(keys)
        const iteration = SimulatedMap.helperIterate(map, 0)
        assert.notTypeOf(iteration, "number")
        if (typeof iteration === "number") return
        for (let turn = 0;; turn++) {
          const element = SimulatedMap.iterateNext(map, iteration, 0)
          if (element < 0) break
          const key = SimulatedMap.elementKey(map, element)[0] ?? -1
          assert.isTrue(left.delete(key), `key ${key} is visited at most once, and only if it was there`)
          for (const { how, key } of changes[turn] ?? []) {
            if (how === 0) {
              SimulatedMap.helperDelete(map, bytesOf(key), 0)
              left.delete(key)
            } else SimulatedMap.helperUpdate(map, bytesOf(key), 0, value, 0, how - 1, 0)
          }
        }
        assert.deepStrictEqual([...left], [])
      }),
      { numRuns: runs(300) }
    )
  })
})

// Elements -------------------------------------------------------------------------------------------------------------

const withElements = [
  MapType.BPF_MAP_TYPE_HASH,
  MapType.BPF_MAP_TYPE_ARRAY,
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  MapType.BPF_MAP_TYPE_LRU_HASH,
  MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_LPM_TRIE
]

const noPrealloc = (type: number): number => type === MapType.BPF_MAP_TYPE_LPM_TRIE ? MapFlag.BPF_F_NO_PREALLOC : 0

type BytesOf = (map: SimulatedMap.SimulatedMap, element: number) => Uint8Array

/** Takes pointers to elements, adds many more, writes through the pointers, and looks the elements up again. */
const checkPointers = (type: number, valueSize: number, many: number, bytesOf: BytesOf): void => {
  const isTrie = type === MapType.BPF_MAP_TYPE_LPM_TRIE
  const map = make({ type, keySize: isTrie ? 8 : 4, valueSize, maxEntries: 2 * many + 1000, flags: noPrealloc(type) })
  const keyOf = (number: number): Uint8Array => {
    const key = new Uint8Array(isTrie ? 8 : 4)
    new DataView(key.buffer).setUint32(key.length - 4, number, !isTrie)
    if (isTrie) key[0] = 32
    return key
  }
  const value = MapCases.valueOf(valueSize, 7)
  const kept: Array<{ readonly key: Uint8Array; readonly cpu: number; readonly view: Uint8Array }> = []
  for (let n = 0; n < 10; n++) {
    SimulatedMap.helperUpdate(map, keyOf(n), 0, value, 0, 0, 0)
    for (let cpu = 0; cpu < machine.possibleCpus; cpu++) {
      kept.push({ key: keyOf(n), cpu, view: bytesOf(map, SimulatedMap.helperLookup(map, keyOf(n), 0, cpu)) })
    }
  }
  for (let n = 10; n < many; n++) SimulatedMap.helperUpdate(map, keyOf(n), 0, value, 0, 0, 0)
  for (const [at, { cpu, key, view }] of kept.entries()) {
    assert.strictEqual(view.length, valueSize)
    view.fill(at)
    const element = SimulatedMap.helperLookup(map, key, 0, cpu)
    assert.deepStrictEqual([...bytesOf(map, element)], [...view])
    assert.strictEqual(bytesOf(map, element), view, "the same view")
    const slab = SimulatedMap.elementSlab(map, element)
    assert.isDefined(slab)
    const start = (element - slab.first) * slab.stride
    assert.deepStrictEqual([...slab.bytes.subarray(start, start + slab.size)], [...view])
    assert.strictEqual(slab.number, Math.floor(element / SimulatedMap.elementsPerSlab(map)))
    assert.isBelow(element - slab.first, slab.count)
    const all = Result.getOrThrow(SimulatedMap.userLookup(map, key))
    const part = map.shape.cpus === 1 ? 0 : cpu * map.shape.valueStride
    assert.deepStrictEqual([...all.subarray(part, part + valueSize)], [...view])
  }
}

describe("elements", () => {
  it("stay where they are, and are one memory for programs and user space", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...withElements),
        fc.constantFrom(1, 3, 8, 20, 1000),
        fc.constantFrom(11, 100, 3000),
        (type, valueSize, many) => checkPointers(type, valueSize, many, SimulatedMap.elementBytes)
      ),
      { numRuns: runs(60) }
    )
  })

  it("(fault: copies instead of views) are found wrong", () => {
    const copies: BytesOf = (map, element) => SimulatedMap.elementBytes(map, element).slice()
    assert.isTrue(finds(() => checkPointers(MapType.BPF_MAP_TYPE_HASH, 8, 100, copies)))
  })
})

// Tries ----------------------------------------------------------------------------------------------------------------

interface Prefix {
  readonly length: number
  readonly data: ReadonlyArray<number>
}

const dataBytes = 2

const prefixes = fc.record({
  length: fc.integer({ min: 0, max: dataBytes * 8 }),
  data: fc.tuple(fc.constantFrom(0, 0x80, 0xc0, 0xa5, 0xa4, 0xff), fc.constantFrom(0, 1, 0x80, 0xff))
})

const bitsOf = ({ data, length }: Prefix): string =>
  data.map((byte) => byte.toString(2).padStart(8, "0")).join("").slice(0, length)

const trieKey = ({ data, length }: Prefix): Uint8Array => Uint8Array.of(length, 0, 0, 0, ...data)

type Longest = (candidates: ReadonlyArray<string>) => string | undefined

const longest: Longest = (candidates) => candidates.toSorted((a, b) => b.length - a.length)[0]

/** Looks every prefix up in a trie and in a list of bit strings. */
const checkTrie = (
  added: ReadonlyArray<Prefix>,
  removed: ReadonlyArray<Prefix>,
  asked: ReadonlyArray<Prefix>,
  choose: Longest
): void => {
  const map = make({ type: MapType.BPF_MAP_TYPE_LPM_TRIE, keySize: 4 + dataBytes, maxEntries: 1000, flags: 1 })
  const model = new Map<string, Uint8Array>()
  for (const [at, prefix] of added.entries()) {
    const value = MapCases.valueOf(8, at)
    model.set(bitsOf(prefix), value)
    Result.getOrThrow(SimulatedMap.userUpdate(map, trieKey(prefix), value))
  }
  for (const prefix of removed) {
    const expected = model.delete(bitsOf(prefix)) ? "ok" : "ENOENT"
    const answer = SimulatedMap.userDelete(map, trieKey(prefix))
    assert.strictEqual(Result.isSuccess(answer) ? "ok" : answer.failure, expected)
  }
  for (const prefix of [...asked, ...added, ...removed]) {
    const bits = bitsOf(prefix)
    const found = choose([...model.keys()].filter((candidate) => bits.startsWith(candidate)))
    const answer = SimulatedMap.userLookup(map, trieKey(prefix))
    assert.deepStrictEqual(
      Result.isSuccess(answer) ? answer.success : undefined,
      found === undefined ? undefined : model.get(found)
    )
  }
  const listed = SimulatedMap.userKeys(map).map((key) => bitsOf({ length: key[0] ?? 0, data: [...key.subarray(4)] }))
  assert.deepStrictEqual(listed.toSorted(), [...model.keys()].toSorted())
  for (const [at, bits] of listed.entries()) {
    assert.isFalse(
      listed.slice(at + 1).some((later) => later !== bits && later.startsWith(bits)),
      "longer prefixes come first"
    )
  }
}

const trieProperty = (choose: Longest) =>
  fc.property(
    fc.array(prefixes, { maxLength: 30 }),
    fc.array(prefixes, { maxLength: 10 }),
    fc.array(prefixes),
    (added, removed, asked) => checkTrie(added, removed, asked, choose)
  )

describe("tries", () => {
  it("find the longest of all prefixes that match, and list each once, longer ones first", () => {
    fc.assert(trieProperty(longest), { numRuns: runs(300) })
  })

  it("(fault: the shortest prefix wins) are told apart", () => {
    const shortest: Longest = (candidates) => candidates.toSorted((a, b) => a.length - b.length)[0]
    assert.isTrue(finds(() => fc.assert(trieProperty(shortest), { numRuns: 300, endOnFailure: true })))
  })
})

// Queues and stacks ----------------------------------------------------------------------------------------------------

describe("queues and stacks", () => {
  it("give back what a list gives back", () => {
    const steps = fc.array(fc.record({ how: fc.constantFrom("push", "force", "pop", "peek"), value: fc.nat(255) }))
    fc.assert(
      fc.property(fc.boolean(), fc.integer({ min: 1, max: 5 }), steps, (isStack, maxEntries, steps) => {
        const type = isStack ? MapType.BPF_MAP_TYPE_STACK : MapType.BPF_MAP_TYPE_QUEUE
        const map = make({ type, keySize: 0, valueSize: 3, maxEntries })
        const model: Array<number> = []
        const into = new Uint8Array(5)
        for (const { how, value } of steps) {
          if (how === "push" || how === "force") {
            const isFull = model.length === maxEntries
            const answer = SimulatedMap.helperPush(
              map,
              Uint8Array.of(0, value, value, value),
              1,
              how === "force" ? 2 : 0
            )
            assert.strictEqual(answer, isFull && how === "push" ? -7 : 0)
            if (isFull && how === "force") model.shift()
            if (!isFull || how === "force") model.push(value)
          } else {
            into.fill(0xee)
            const expected = isStack ? model.at(-1) : model[0]
            const answer = (how === "pop" ? SimulatedMap.helperPop : SimulatedMap.helperPeek)(map, into, 1)
            assert.strictEqual(answer, expected === undefined ? -2 : 0)
            const value = expected ?? 0
            assert.deepStrictEqual([...into], [0xee, value, value, value, 0xee])
            if (how === "pop" && isStack) model.pop()
            if (how === "pop" && !isStack) model.shift()
          }
        }
      }),
      { numRuns: runs(300) }
    )
  })
})

// Bloom filters --------------------------------------------------------------------------------------------------------

describe("bloom filters", () => {
  const filters = fc.record({
    valueSize: fc.integer({ min: 1, max: 40 }),
    maxEntries: fc.integer({ min: 1, max: 100 }),
    extra: fc.bigInt({ min: 0n, max: 15n })
  })

  it("never deny what was pushed", () => {
    fc.assert(
      fc.property(filters, fc.array(fc.nat(100_000)), (attr, pushed) => {
        const map = make({ ...attr, type: MapType.BPF_MAP_TYPE_BLOOM_FILTER, keySize: 0 })
        for (const number of pushed) {
          assert.strictEqual(SimulatedMap.helperPush(map, MapCases.valueOf(attr.valueSize, number), 0, 0), 0)
        }
        for (const number of pushed) {
          assert.strictEqual(SimulatedMap.helperPeek(map, MapCases.valueOf(attr.valueSize, number), 0), 0)
        }
      }),
      { numRuns: runs(200) }
    )
  })

  it("deny nearly all that was not: no more than one in ten of a filter that is full", () => {
    const map = make({ type: MapType.BPF_MAP_TYPE_BLOOM_FILTER, keySize: 0, valueSize: 4, maxEntries: 1000 })
    const value = new Uint8Array(4)
    const ask = (number: number, how: (value: Uint8Array) => number) => {
      new DataView(value.buffer).setUint32(0, number)
      return how(value)
    }
    for (let n = 0; n < 1000; n++) ask(n, (value) => SimulatedMap.helperPush(map, value, 0, 0))
    let wrong = 0
    for (let n = 1000; n < 11000; n++) if (ask(n, (value) => SimulatedMap.helperPeek(map, value, 0)) === 0) wrong++
    assert.isBelow(wrong, 1000)
    assert.isAbove(wrong, 0)
  })
})

// Ring buffers ---------------------------------------------------------------------------------------------------------

type RingStep =
  | { readonly _tag: "Output"; readonly size: number; readonly fill: number }
  | { readonly _tag: "Reserve"; readonly size: number; readonly fill: number }
  | { readonly _tag: "Commit"; readonly which: number; readonly discard: boolean }
  | { readonly _tag: "Consume"; readonly most: number }

const ringSteps: fc.Arbitrary<ReadonlyArray<RingStep>> = fc.array(
  fc.oneof(
    fc.record({ _tag: fc.constant("Output" as const), size: fc.integer({ min: 0, max: 1500 }), fill: fc.nat(255) }),
    fc.record({ _tag: fc.constant("Reserve" as const), size: fc.integer({ min: 0, max: 1500 }), fill: fc.nat(255) }),
    fc.record({ _tag: fc.constant("Commit" as const), which: fc.nat(), discard: fc.boolean() }),
    fc.record({ _tag: fc.constant("Consume" as const), most: fc.integer({ min: 1, max: 10 }) })
  ),
  { maxLength: 120, size: "max" }
)

type Commit = typeof RingBuffer.commit

/** Fills and drains a ring in any order, and compares with a list: what comes out, what waits, what fits. */
const checkRing = (steps: ReadonlyArray<RingStep>, commit: Commit): void => {
  const map = make({ type: MapType.BPF_MAP_TYPE_RINGBUF, keySize: 0, valueSize: 0, maxEntries: 4096 })
  const ring = SimulatedMap.ringOf(map)
  assert.isDefined(ring)
  interface Model {
    readonly payload: number
    readonly size: number
    readonly fill: number
    state: "busy" | "submitted" | "discarded"
  }
  const model: Array<Model> = []
  const span = (size: number) => Math.ceil((size + 8) / 8) * 8
  let produced = 0
  let consumed = 0
  // Where the oldest record that is still written begins: nothing may reach a whole ring beyond it.
  const pendingAt = () => {
    let at = consumed
    for (const record of model) {
      if (record.state === "busy") return at
      at += span(record.size)
    }
    return produced
  }
  const fits = (size: number) => produced + span(size) - consumed < 4096 && produced + span(size) - pendingAt() < 4096
  for (const step of steps) {
    switch (step._tag) {
      case "Output": {
        const expected = fits(step.size) ? 0 : -11
        const { answer, wake } = RingBuffer.output(ring, new Uint8Array(step.size + 2).fill(step.fill), 1, step.size, 0)
        assert.strictEqual(answer, expected)
        if (answer !== 0) break
        assert.strictEqual(wake, produced % 4096 === consumed % 4096)
        model.push({ payload: 0, size: step.size, fill: step.fill, state: "submitted" })
        produced += span(step.size)
        break
      }
      case "Reserve": {
        const isRoom = fits(step.size)
        const payload = RingBuffer.reserve(ring, step.size, 0)
        assert.strictEqual(payload >= 0, isRoom)
        if (payload < 0) break
        ring.memory.fill(step.fill, payload, payload + step.size)
        model.push({ payload, size: step.size, fill: step.fill, state: "busy" })
        produced += span(step.size)
        break
      }
      case "Commit": {
        const busy = model.filter((record) => record.state === "busy")
        const chosen = busy[step.which % Math.max(1, busy.length)]
        if (chosen === undefined) break
        commit(ring, chosen.payload, step.discard, 0)
        chosen.state = step.discard ? "discarded" : "submitted"
        break
      }
      case "Consume": {
        const waiting = model.findIndex((record) => record.state === "busy")
        const ready = waiting < 0 ? model.length : waiting
        const records = RingBuffer.records(ring)
        assert.strictEqual(records.length, ready)
        for (const record of records.slice(0, step.most)) {
          const expected = model.shift()
          assert.isDefined(expected)
          assert.strictEqual(record.discarded, expected.state === "discarded")
          assert.strictEqual(record.bytes.length, expected.size)
          assert.isTrue(record.bytes.every((byte) => byte === expected.fill))
          consumed += span(expected.size)
          assert.strictEqual(record.next, consumed)
          RingBuffer.consumeTo(ring, record.next)
        }
      }
    }
    assert.strictEqual(RingBuffer.query(ring, 0), produced - consumed)
    assert.strictEqual(RingBuffer.query(ring, 3), produced)
    // What is not being written is twice in the memory, as mapped twice.
    if (model.every((record) => record.state !== "busy")) {
      const data = ring.memory.subarray(2 * machine.pageSize)
      assert.strictEqual(Buffer.compare(data.subarray(0, 4096), data.subarray(4096)), 0)
    }
  }
}

const ringProperty = (commit: Commit) => fc.property(ringSteps, (steps) => checkRing(steps, commit))

describe("ring buffers", () => {
  it("give every record once, whole and in order, and hold what fits", () => {
    fc.assert(ringProperty(RingBuffer.commit), { numRuns: runs(300) })
  })

  it("(fault: the second copy is not written) are found wrong", () => {
    const once: Commit = (ring, payload, discard, flags) => {
      const before = ring.memory.slice()
      const wake = RingBuffer.commit(ring, payload, discard, flags)
      const after = ring.memory.slice(payload - 8, payload)
      ring.memory.set(before)
      ring.memory.set(after, payload - 8)
      return wake
    }
    assert.isTrue(finds(() => fc.assert(ringProperty(once), { numRuns: 300, endOnFailure: true })))
  })

  it("(fault: discarded records are submitted) are found wrong", () => {
    const keeps: Commit = (ring, payload, _, flags) => RingBuffer.commit(ring, payload, false, flags)
    assert.isTrue(finds(() => fc.assert(ringProperty(keeps), { numRuns: 300, endOnFailure: true })))
  })

  it("of user space give programs every sample once, whole and in order", () => {
    const samples = fc.array(
      fc.record({ size: fc.integer({ min: 0, max: 900 }), fill: fc.nat(255), drain: fc.nat(3) }),
      { maxLength: 60 }
    )
    fc.assert(
      fc.property(samples, (samples) => {
        const ring = SimulatedMap.ringOf(
          make({ type: MapType.BPF_MAP_TYPE_USER_RINGBUF, keySize: 0, valueSize: 0, maxEntries: 4096 })
        )
        assert.isDefined(ring)
        const model: Array<{ readonly size: number; readonly fill: number }> = []
        for (const { drain, fill, size } of samples) {
          const answer = RingBuffer.submitSample(ring, new Uint8Array(size).fill(fill))
          if (answer === 0) model.push({ size, fill })
          else assert.strictEqual(answer, -28)
          for (let n = 0; n < drain; n++) {
            const sample = RingBuffer.peekSample(ring)
            const expected = model.shift()
            if (expected === undefined) {
              assert.strictEqual(sample, -61)
              break
            }
            if (typeof sample !== "object") return assert.fail(`${sample}`)
            assert.strictEqual(sample.size, expected.size)
            assert.isTrue(
              ring.memory.subarray(sample.at, sample.at + sample.size).every((byte) => byte === expected.fill)
            )
            RingBuffer.release(ring, sample.size)
          }
        }
      }),
      { numRuns: runs(300) }
    )
  })
})

// Bad input ------------------------------------------------------------------------------------------------------------

describe("any attributes", () => {
  it("give a map or an error, and take little memory at first", () => {
    const u32 = fc.oneof(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.constantFrom(0, 1, 4, 8, 2 ** 31, 2 ** 32 - 1))
    const any = fc.record({
      type: fc.integer({ min: 0, max: 40 }),
      keySize: u32,
      valueSize: u32,
      maxEntries: u32,
      flags: fc.oneof(fc.constantFrom(0, 1), u32),
      numaNode: u32,
      ifindex: fc.constantFrom(0, 1),
      extra: fc.constantFrom(0n, 1n, 2n ** 64n - 1n)
    })
    fc.assert(
      fc.property(any, (attr) => {
        const map = SimulatedMap.create(MapCases.attributes(attr), { ...machine, memoryLimit: 2 ** 26 })
        if (Result.isFailure(map)) return
        assert.isDefined(SimulatedMap.info(map.success))
        const key = new Uint8Array(Math.min(attr.keySize, 4096))
        SimulatedMap.userNextKey(map.success)
        SimulatedMap.userLookup(map.success, key)
        SimulatedMap.helperLookup(map.success, new Uint8Array(attr.keySize), 0, 0)
        for (const element of [-1, 0, 1, 2 ** 40, Number.NaN]) {
          SimulatedMap.elementBytes(map.success, element)
          SimulatedMap.elementSlab(map.success, element)
        }
      }),
      { numRuns: runs(3000) }
    )
  })

  it("of four thousand million elements give a map that takes what is touched", () => {
    const attr = MapCases.attributes({ type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 2 ** 32 - 1 })
    const map = Result.getOrThrow(SimulatedMap.create(attr, { ...machine, memoryLimit: 2 ** 40 }))
    const last = Uint8Array.of(0xfe, 0xff, 0xff, 0xff)
    Result.getOrThrow(SimulatedMap.userUpdate(map, last, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)))
    assert.deepStrictEqual([...SimulatedMap.elementBytes(map, SimulatedMap.helperLookup(map, last, 0, 0))], [
      1,
      2,
      3,
      4,
      5,
      6,
      7,
      8
    ])
    assert.deepStrictEqual(Result.getOrThrow(SimulatedMap.userLookup(map, new Uint8Array(4))), new Uint8Array(8))
    const refused = SimulatedMap.create(attr, machine)
    assert.isTrue(Result.isFailure(refused) && refused.failure === "ENOMEM")
  })

  it("without preallocation grow to the limit and no further", () => {
    const attr = MapCases.attributes({ flags: MapFlag.BPF_F_NO_PREALLOC, valueSize: 1000, maxEntries: 2 ** 20 })
    const map = Result.getOrThrow(SimulatedMap.create(attr, { ...machine, memoryLimit: 100_000 }))
    const key = new Uint8Array(4)
    let answer = 0
    let count = 0
    for (; answer === 0 && count < 1000; count++) {
      key[0] = count
      key[1] = count >> 8
      answer = SimulatedMap.helperUpdate(map, key, 0, new Uint8Array(1000), 0, 0, 0)
    }
    assert.strictEqual(answer, -12)
    assert.isAtMost((count - 1) * 1000, 100_000)
  })
})
