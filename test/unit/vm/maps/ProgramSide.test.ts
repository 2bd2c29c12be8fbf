/** What the helpers for maps answer to programs, from the documented semantics of the kernel. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { MapFlag, MapType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../../../src/services/Kernel/abi/Errno.ts"
import type { MapAttributes } from "../../../../src/services/Kernel/KernelCall.ts"
import * as PerfEvents from "../../../../src/vm/maps/PerfEvents.ts"
import * as SimulatedMap from "../../../../src/vm/maps/SimulatedMap.ts"
import { u32, u64 } from "../../../support/LiveKernel.ts"
import { attributes } from "../../../support/MapCases.ts"

const machine = { possibleCpus: 2, pageSize: 4096 }

const make = <H = string>(
  attr: Partial<MapAttributes>,
  more: Partial<SimulatedMap.CreateOptions<H>> = {}
): SimulatedMap.SimulatedMap<H> => Result.getOrThrow(SimulatedMap.create<H>(attributes(attr), { ...machine, ...more }))

const update = (map: SimulatedMap.SimulatedMap, key: number, value: bigint, flags = 0, cpu = 0): number =>
  SimulatedMap.helperUpdate(map, u32(key), 0, u64(value), 0, flags, cpu)

const find = (map: SimulatedMap.SimulatedMap, key: number, cpu = 0): Uint8Array | undefined => {
  const element = SimulatedMap.helperLookup(map, u32(key), 0, cpu)
  return element < 0 ? undefined : SimulatedMap.elementBytes(map, element)
}

const keysOf = (map: SimulatedMap.SimulatedMap): ReadonlyArray<number> =>
  SimulatedMap.userKeys(map).map((key) => key[0] ?? -1)

describe("elements for programs", () => {
  it("are updated, found and deleted by keys at an offset of some memory", () => {
    const map = make({})
    const stack = new Uint8Array(64)
    stack.set(u32(7), 13)
    stack.set(u64(99n), 30)
    assert.strictEqual(SimulatedMap.helperUpdate(map, stack, 13, stack, 30, 0, 0), 0)
    assert.deepStrictEqual(find(map, 7), u64(99n))
    assert.strictEqual(SimulatedMap.helperLookup(map, stack, 0, 0), -1)
    assert.strictEqual(SimulatedMap.helperDelete(map, stack, 13), 0)
    assert.strictEqual(SimulatedMap.helperDelete(map, stack, 13), -numbers.ENOENT)
    assert.strictEqual(find(map, 7), undefined)
  })

  it("obey the flags, and refuse what is beyond the map", () => {
    const map = make({ maxEntries: 2 })
    assert.strictEqual(update(map, 1, 1n, 2), -numbers.ENOENT)
    assert.strictEqual(update(map, 1, 1n, 1), 0)
    assert.strictEqual(update(map, 1, 1n, 1), -numbers.EEXIST)
    assert.strictEqual(update(map, 1, 1n, 3), -numbers.EINVAL)
    assert.strictEqual(update(map, 1, 1n, Infinity), -numbers.EINVAL)
    assert.strictEqual(update(map, 2, 1n), 0)
    assert.strictEqual(update(map, 3, 1n), -numbers.E2BIG)
    assert.strictEqual(update(map, 3, 1n, 2), -numbers.ENOENT)
    assert.strictEqual(update(map, 2, 5n), 0, "a full map takes a replacement")
    const array = make({ type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 2 })
    assert.strictEqual(update(array, 2, 1n), -numbers.E2BIG)
    assert.strictEqual(update(array, 1, 1n, 1), -numbers.EEXIST)
    assert.strictEqual(SimulatedMap.helperDelete(array, u32(1), 0), -numbers.EINVAL)
    assert.strictEqual(SimulatedMap.directElement(array), 0)
    assert.strictEqual(SimulatedMap.directElement(map), -1)
  })

  it("of a hash are new ones after an update: an old pointer shows the old value", () => {
    const map = make({})
    update(map, 1, 1n)
    const before = find(map, 1)
    update(map, 1, 2n)
    assert.deepStrictEqual(before, u64(1n))
    assert.deepStrictEqual(find(map, 1), u64(2n))
    const after = find(map, 1)
    after?.set(u64(3n))
    assert.deepStrictEqual(Result.getOrThrow(SimulatedMap.userLookup(map, u32(1))), u64(3n))
  })

  it("that were deleted keep their bytes until another element takes their place", () => {
    const map = make({})
    update(map, 1, 1n)
    const pointer = find(map, 1)
    SimulatedMap.helperDelete(map, u32(1), 0)
    assert.deepStrictEqual(pointer, u64(1n))
    update(map, 2, 2n)
    assert.deepStrictEqual(pointer, u64(2n))
    assert.strictEqual(find(map, 2), pointer)
  })

  it("of per-CPU maps are one for each CPU, and other CPUs' are 0 in a new one", () => {
    for (
      const type of [
        MapType.BPF_MAP_TYPE_PERCPU_HASH,
        MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH,
        MapType.BPF_MAP_TYPE_PERCPU_ARRAY
      ]
    ) {
      const map = make({ type })
      update(map, 1, 5n, 0, 1)
      assert.deepStrictEqual([find(map, 1, 0), find(map, 1, 1), find(map, 1, 2)], [u64(0n), u64(5n), undefined])
      const pointer = find(map, 1, 1)
      update(map, 1, 6n, 0, 1)
      assert.deepStrictEqual(pointer, u64(6n), "updated in place")
      update(map, 1, 7n, 0, 0)
      const both = Result.getOrThrow(SimulatedMap.userLookup(map, u32(1)))
      assert.deepStrictEqual([both.subarray(0, 8), both.subarray(8)], [u64(7n), u64(6n)])
      if (type !== MapType.BPF_MAP_TYPE_PERCPU_ARRAY) {
        SimulatedMap.helperDelete(map, u32(1), 0)
        update(map, 2, 8n, 0, 0)
        assert.deepStrictEqual(find(map, 2, 1), u64(0n), "nothing is left of the element that was there")
      }
    }
  })

  it("of an LRU hash that are looked up by programs outlive those that are not", () => {
    for (const flags of [0, MapFlag.BPF_F_NO_COMMON_LRU]) {
      const map = make({ type: MapType.BPF_MAP_TYPE_LRU_HASH, maxEntries: 40, flags })
      for (let key = 0; key < 10; key++) update(map, key, 1n)
      for (let key = 10; key < 200; key++) {
        update(map, key, 1n)
        for (let used = 0; used < 5; used++) find(map, used)
      }
      const keys = keysOf(map)
      assert.deepStrictEqual([0, 1, 2, 3, 4].filter((key) => keys.includes(key)), [0, 1, 2, 3, 4])
      assert.isFalse([5, 6, 7, 8, 9].some((key) => keys.includes(key)))
      assert.isAtMost(keys.length, 40)
    }
  })

  it("can be read-only or write-only for programs", () => {
    const readOnly = make({ flags: MapFlag.BPF_F_RDONLY_PROG })
    assert.deepStrictEqual(SimulatedMap.programAccess(readOnly), { reads: true, writes: false })
    assert.strictEqual(update(readOnly, 1, 1n), -numbers.EACCES)
    assert.strictEqual(SimulatedMap.helperDelete(readOnly, u32(1), 0), -numbers.EACCES)
    assert.isTrue(Result.isSuccess(SimulatedMap.userUpdate(readOnly, u32(1), u64(1n))), "user space may write")
    const writeOnly = make({ flags: MapFlag.BPF_F_WRONLY_PROG })
    assert.deepStrictEqual(SimulatedMap.programAccess(writeOnly), { reads: false, writes: true })
    const frozen = make({})
    Result.getOrThrow(SimulatedMap.userFreeze(frozen))
    assert.strictEqual(update(frozen, 1, 1n), 0, "freezing binds user space alone")
    const devices = make({ type: MapType.BPF_MAP_TYPE_DEVMAP, valueSize: 4 })
    assert.isFalse(SimulatedMap.programAccess(devices).writes)
  })

  it("of tries are found by the longest prefix", () => {
    const map = make({ type: MapType.BPF_MAP_TYPE_LPM_TRIE, keySize: 8, flags: 1 })
    const key = (length: number, ...data: ReadonlyArray<number>) => Uint8Array.of(length, 0, 0, 0, ...data)
    const put = (key: Uint8Array, value: bigint) => SimulatedMap.helperUpdate(map, key, 0, u64(value), 0, 0, 0)
    assert.strictEqual(put(key(8, 10, 0, 0, 0), 1n), 0)
    assert.strictEqual(put(key(24, 10, 1, 2, 0), 2n), 0)
    assert.strictEqual(put(key(33, 10, 1, 2, 0), 2n), -numbers.EINVAL)
    const at = (key: Uint8Array) => {
      const element = SimulatedMap.helperLookup(map, key, 0, 0)
      return element < 0 ? undefined : SimulatedMap.elementBytes(map, element)[0]
    }
    assert.deepStrictEqual([at(key(32, 10, 1, 2, 3)), at(key(32, 10, 1, 3, 3)), at(key(32, 11, 1, 2, 3))], [
      2,
      1,
      undefined
    ])
    assert.strictEqual(at(key(16, 10, 1, 2, 3)), 1, "a shorter key matches shorter prefixes alone")
    assert.deepStrictEqual([
      ...SimulatedMap.elementKey(map, SimulatedMap.helperLookup(map, key(24, 10, 1, 2, 9), 0, 0))
    ], [
      ...key(24, 10, 1, 2, 0)
    ])
  })
})

describe("values without keys", () => {
  it("leave a queue in order, a stack in reverse", () => {
    for (const [type, order] of [[MapType.BPF_MAP_TYPE_QUEUE, [1, 2]], [MapType.BPF_MAP_TYPE_STACK, [2, 1]]] as const) {
      const map = make({ type, keySize: 0, valueSize: 4, maxEntries: 2 })
      const into = new Uint8Array(4).fill(9)
      assert.strictEqual(SimulatedMap.helperPop(map, into, 0), -numbers.ENOENT)
      assert.deepStrictEqual(into, u32(0), "an empty one clears the value")
      for (const value of [1, 2]) assert.strictEqual(SimulatedMap.helperPush(map, u32(value), 0, 0), 0)
      assert.strictEqual(SimulatedMap.helperPush(map, u32(3), 0, 0), -numbers.E2BIG)
      assert.strictEqual(SimulatedMap.helperPush(map, u32(3), 0, 1), -numbers.EINVAL)
      assert.strictEqual(SimulatedMap.helperPeek(map, into, 0), 0)
      assert.strictEqual(into[0], order[0])
      const left = order.map(() => (SimulatedMap.helperPop(map, into, 0), into[0]))
      assert.deepStrictEqual(left, [...order])
    }
  })

  it("of a bloom filter are asked for", () => {
    const map = make({ type: MapType.BPF_MAP_TYPE_BLOOM_FILTER, keySize: 0, valueSize: 4, maxEntries: 100 })
    assert.strictEqual(SimulatedMap.helperPush(map, u32(5), 0, 0), 0)
    assert.strictEqual(SimulatedMap.helperPush(map, u32(5), 0, 2), -numbers.EINVAL)
    assert.strictEqual(SimulatedMap.helperPeek(map, u32(5), 0), 0)
    assert.strictEqual(SimulatedMap.helperPeek(map, u32(6), 0), -numbers.ENOENT)
    assert.strictEqual(SimulatedMap.helperPop(map, u32(5), 0), -numbers.EOPNOTSUPP)
  })
})

describe("iteration", () => {
  const visit = (map: SimulatedMap.SimulatedMap, body: (key: number) => boolean, cpu = 0): number => {
    const iteration = SimulatedMap.helperIterate(map, 0)
    if (typeof iteration === "number") return iteration
    let count = 0
    for (;;) {
      const element = SimulatedMap.iterateNext(map, iteration, cpu)
      if (element < 0) return count
      count++
      if (body(SimulatedMap.elementKey(map, element)[0] ?? -1)) {
        SimulatedMap.endIteration(map, iteration)
        return count
      }
    }
  }

  it("of a hash follows the order of insertion, of an array the indices, and can be ended", () => {
    const hash = make({})
    for (const key of [3, 1, 2]) update(hash, key, 1n)
    update(hash, 3, 2n)
    const seen: Array<number> = []
    assert.strictEqual(visit(hash, (key) => (seen.push(key), false)), 3)
    assert.deepStrictEqual(seen, [3, 1, 2])
    assert.strictEqual(visit(hash, (key) => key === 1), 2)
    const array = make({ type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 3 })
    seen.length = 0
    assert.strictEqual(visit(array, (key) => (seen.push(key), false)), 3)
    assert.deepStrictEqual(seen, [0, 1, 2])
  })

  it("gives this CPU's elements", () => {
    const map = make({ type: MapType.BPF_MAP_TYPE_PERCPU_ARRAY, maxEntries: 2 })
    update(map, 1, 8n, 0, 1)
    const iteration = SimulatedMap.helperIterate(map, 0)
    assert.notTypeOf(iteration, "number")
    if (typeof iteration === "number") return
    const values = [0, 1].map(() => SimulatedMap.elementBytes(map, SimulatedMap.iterateNext(map, iteration, 1))[0])
    assert.deepStrictEqual(values, [0, 8])
  })

  it("is refused with flags, and for types that have none", () => {
    assert.strictEqual(SimulatedMap.helperIterate(make({}), 1), -numbers.EINVAL)
    assert.strictEqual(visit(make({ type: MapType.BPF_MAP_TYPE_QUEUE, keySize: 0 }), () => false), -numbers.EINVAL)
  })

  it("of which many were given up does not harm those that go on", () => {
    const map = make({ maxEntries: 100 })
    for (let key = 0; key < 100; key++) update(map, key, 1n)
    const walks = Array.from({ length: 40 }, () => {
      const iteration = SimulatedMap.helperIterate(map, 0)
      return typeof iteration === "number" ? assert.fail() : iteration
    })
    for (let key = 0; key < 99; key++) SimulatedMap.helperDelete(map, u32(key), 0)
    const ends = walks.map((iteration) => SimulatedMap.iterateNext(map, iteration, 0))
    assert.deepStrictEqual(ends.map((element) => element >= 0), Array.from({ length: 40 }, (_, at) => at >= 24))
  })
})

describe("slots", () => {
  it("hold programs of tail calls and inner maps, and say what they keep alive", () => {
    const programs = make({ type: MapType.BPF_MAP_TYPE_PROG_ARRAY, valueSize: 4 })
    const slot = { id: 12, handle: "my program" }
    Result.getOrThrow(SimulatedMap.userUpdateSlot(programs, u32(2), slot))
    assert.strictEqual(SimulatedMap.slotAt(programs, 2), slot)
    assert.strictEqual(SimulatedMap.slotAt(programs, 3), undefined)
    assert.deepStrictEqual(SimulatedMap.held(programs), [slot])
    assert.deepStrictEqual(Result.getOrThrow(SimulatedMap.userLookup(programs, u32(2))), u32(12))

    const inner = make({ type: MapType.BPF_MAP_TYPE_ARRAY })
    for (const type of [MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, MapType.BPF_MAP_TYPE_HASH_OF_MAPS]) {
      const outer = make({ type, valueSize: 4 }, { inner })
      Result.getOrThrow(SimulatedMap.userUpdateSlot(outer, u32(1), { id: 3, handle: "inner", map: inner }))
      assert.strictEqual(SimulatedMap.slotOf(outer, u32(1), 0)?.handle, "inner")
      assert.strictEqual(SimulatedMap.slotOf(outer, u32(2), 0), undefined)
      const refused = SimulatedMap.userUpdateSlot(outer, u32(1), slot)
      assert.isTrue(Result.isFailure(refused) && refused.failure === "EINVAL")
      const other = make({ type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 5 })
      const unlike = SimulatedMap.userUpdateSlot(outer, u32(1), { id: 4, handle: "unlike", map: other })
      assert.isTrue(Result.isFailure(unlike) && unlike.failure === "EINVAL")
    }
  })

  it("of device maps say where a packet goes, and with which program", () => {
    const map = make({ type: MapType.BPF_MAP_TYPE_DEVMAP_HASH, valueSize: 8 }, { hasDevice: (index) => index < 5 })
    const value = new Uint8Array(8)
    value[0] = 4
    Result.getOrThrow(SimulatedMap.userUpdateSlot(map, u32(77), { id: 9, handle: "egress" }, 0n, value))
    const target = SimulatedMap.targetOf(map, u32(77), 0)
    assert.deepStrictEqual([target?.number, target?.program?.handle], [4, "egress"])
    assert.deepStrictEqual([...find(map, 77) ?? []], [4, 0, 0, 0, 9, 0, 0, 0])
    assert.deepStrictEqual(SimulatedMap.held(map).map(({ handle }) => handle), ["egress"])
    value[0] = 5
    const absent = SimulatedMap.userUpdate(map, u32(1), value)
    assert.isTrue(Result.isFailure(absent) && absent.failure === "EINVAL")
    assert.strictEqual(SimulatedMap.targetOf(map, u32(1), 0), undefined)
  })
})

describe("perf event output", () => {
  it("goes to the buffer of the CPU, padded, and counts what is lost", () => {
    const map = make({ type: MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY, valueSize: 4, maxEntries: 2 })
    const buffers = [PerfEvents.make(0), PerfEvents.make(1)]
    for (const [cpu, perf] of buffers.entries()) {
      PerfEvents.map(perf, 8192, 4096)
      perf.isOn = true
      Result.getOrThrow(SimulatedMap.userUpdateSlot(map, u32(cpu), { id: 0, handle: "perf", perf }))
    }
    const output = (index: number, cpu: number, ...parts: ReadonlyArray<Uint8Array>) =>
      SimulatedMap.helperPerfOutput(map, index, cpu, parts)
    assert.strictEqual(output(PerfEvents.BPF_F_CURRENT_CPU, 1, Uint8Array.of(1, 2), Uint8Array.of(3)), 0)
    assert.strictEqual(output(0, 1, u32(1)), -numbers.EOPNOTSUPP)
    assert.strictEqual(output(2, 0, u32(1)), -numbers.E2BIG)
    assert.strictEqual(output(1, 1, new Uint8Array(4080)), -numbers.ENOSPC)
    assert.strictEqual(output(1, 1, new Uint8Array(65533)), -numbers.E2BIG)
    const [first, second] = buffers
    assert.isDefined(first)
    assert.isDefined(second)
    assert.deepStrictEqual([first.head, first.allLost], [0, 0])
    // Header, length, three bytes and one that fills up.
    assert.deepStrictEqual([second.head, second.allLost, second.lost], [16, 1, 1])
    const data = second.memory?.bytes.subarray(4096) ?? new Uint8Array()
    assert.deepStrictEqual([...data.subarray(0, 16)], [9, 0, 0, 0, 1, 0, 16, 0, 4, 0, 0, 0, 1, 2, 3, 0])
    // A record of the lost one stands in front of the next.
    assert.strictEqual(output(1, 1, u32(7)), 0)
    assert.deepStrictEqual([...data.subarray(16, 24), data[32]], [2, 0, 0, 0, 0, 0, 24, 0, 1])
    assert.deepStrictEqual([second.head, second.allLost, second.lost], [56, 1, 0])
    second.isOn = false
    assert.strictEqual(output(1, 1, u32(1)), -numbers.EOPNOTSUPP)
    Result.getOrThrow(SimulatedMap.userDelete(map, u32(0)))
    assert.strictEqual(output(0, 0, u32(1)), -numbers.ENOENT)
    const ids = SimulatedMap.userLookup(map, u32(1))
    assert.isTrue(Result.isFailure(ids) && ids.failure === "ENOTSUPP")
  })
})

describe("types of which only the creation is simulated", () => {
  it("are refused by name when they are used", () => {
    const map = make({ name: "stacks", type: MapType.BPF_MAP_TYPE_STACK_TRACE, valueSize: 64 })
    assert.strictEqual(SimulatedMap.info(map).valueSize, 64)
    const answers: ReadonlyArray<Result.Result<unknown, SimulatedMap.MapFailure>> = [
      SimulatedMap.userLookup(map, u32(0)),
      SimulatedMap.userUpdate(map, u32(0), new Uint8Array(64)),
      SimulatedMap.userDelete(map, u32(0)),
      SimulatedMap.userNextKey(map),
      SimulatedMap.userLookupAndDelete(map, u32(0)),
      SimulatedMap.userMap(map, { offset: 0, length: 4096, writable: false }, 4096)
    ]
    const operations = answers.map((answer) => {
      const failure = Result.isFailure(answer) ? answer.failure : undefined
      if (!(failure instanceof SimulatedMap.UnsupportedMap)) return assert.fail(`${failure}`)
      assert.match(failure.message, /map stacks is a stack_trace, which the simulated kernel can only create\nhint: /)
      return failure.operation
    })
    assert.deepStrictEqual(operations, [
      "MapLookup",
      "MapUpdate",
      "MapDelete",
      "MapNextKey",
      "MapLookupAndDelete",
      "MapMmap"
    ])
    assert.strictEqual(SimulatedMap.refusal(map, "ProgLoad")?.operation, "ProgLoad")
    assert.strictEqual(SimulatedMap.refusal(make({}), "ProgLoad"), undefined)
  })

  it("need types where the kernel needs them", () => {
    const attr = { type: MapType.BPF_MAP_TYPE_TASK_STORAGE, maxEntries: 0, flags: MapFlag.BPF_F_NO_PREALLOC }
    assert.isTrue(Result.isFailure(SimulatedMap.create(attributes(attr), machine)))
    assert.isTrue(Result.isSuccess(SimulatedMap.create(attributes(attr), { ...machine, hasTypes: true })))
  })
})
