/** Typed maps of all kinds, for kernels that have maps. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import type { BtfValue } from "../../src/btf/BtfValue.ts"
import { type Codec, CodecError } from "../../src/btf/Codec.ts"
import * as ArrayMap from "../../src/maps/ArrayMap.ts"
import * as BloomFilter from "../../src/maps/BloomFilter.ts"
import * as LiveView from "../../src/maps/LiveView.ts"
import * as LpmTrie from "../../src/maps/LpmTrie.ts"
import * as MappedArray from "../../src/maps/MappedArray.ts"
import * as PerCpuMap from "../../src/maps/PerCpuMap.ts"
import * as QueueMap from "../../src/maps/QueueMap.ts"
import * as SlotMap from "../../src/maps/SlotMap.ts"
import * as StorageMap from "../../src/maps/StorageMap.ts"
import * as TypedMap from "../../src/maps/TypedMap.ts"
import { MapFlag, MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel, type KernelShape, type Session } from "../../src/services/Kernel/Kernel.ts"
import { numbers } from "../../src/services/Kernel/abi/Errno.ts"
import type { KernelCall, MapAttributes } from "../../src/services/Kernel/KernelCall.ts"
import { fromErrno } from "../../src/services/Kernel/KernelError.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import * as Globals from "../../src/stages/load/Globals.ts"
import { mapCreate, progLoad, returning } from "./LiveKernel.ts"
import { loadFixture } from "./LoadFixture.ts"
import * as MapModel from "./MapModel.ts"
import { runs } from "./Require.ts"
import * as Rights from "./Rights.ts"

/** Numbers of 4 bytes. */
export const u32: Codec<number> = {
  name: "u32",
  size: 4,
  read: (view, at) => view.getUint32(at, true),
  encode: (value) => {
    if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
      return Result.fail(new CodecError({ reason: "Value", subject: "u32", detail: `${value} does not fit` }))
    }
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, value, true)
    return Result.succeed(bytes)
  }
}

/** Numbers of 8 bytes. */
export const u64: Codec<bigint> = {
  name: "u64",
  size: 8,
  read: (view, at) => view.getBigUint64(at, true),
  encode: (value) => Result.succeed(new Uint8Array(BigUint64Array.of(value).buffer))
}

/** A session of a kernel that has no batches, and takes no elements as it reads them. */
export const old = (session: Session): Session => ({
  ...session,
  call: (call) => {
    const { _tag } = call
    return _tag === "MapLookupBatch" || _tag === "MapUpdateBatch" || _tag === "MapDeleteBatch" ||
        _tag === "MapLookupAndDelete"
      ? Effect.fail(fromErrno(_tag, "an old kernel", numbers.ENOTSUPP))
      : session.call(call)
  }
})

/** A call that creates a map of numbers. */
const create = (index: number, type: number, attr: Partial<MapAttributes> = {}) =>
  mapCreate(index, { type, keySize: 4, valueSize: 4, maxEntries: 8, ...attr })

const reasonOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "reason" in error ? error.reason : error

const errnoOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "errno" in error ? error.errno : error

/** The tests on a kernel. */
export const typedMapSuite = (make: Effect.Effect<KernelShape, unknown>): void => {
  const inSession = (
    body: (session: Session, kernel: KernelShape) => Effect.Effect<void, unknown, Scope.Scope | Kernel>
  ) =>
    Effect.gen(function*() {
      const kernel = yield* make
      yield* Effect.flatMap(kernel.session(), (session) => body(session, kernel)).pipe(
        Effect.scoped,
        Effect.provideService(Kernel, kernel)
      )
    })

  const withObject = (
    name: string,
    body: (loaded: LoadedObject) => Effect.Effect<void, unknown, Scope.Scope | Kernel>
  ) =>
    Effect.gen(function*() {
      const kernel = yield* make
      yield* Effect.flatMap(loadFixture(name, { kernel }), body).pipe(
        Effect.scoped,
        Effect.provideService(Kernel, kernel)
      )
    })

  const types = [
    ["hash", MapType.BPF_MAP_TYPE_HASH, 0],
    ["hash without preallocation", MapType.BPF_MAP_TYPE_HASH, MapFlag.BPF_F_NO_PREALLOC]
  ] as const
  it.live("a hash is one where the kernel has no batches", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(MapModel.steps(9, 40), (steps) =>
          Effect.runPromise(inSession((session) =>
            Effect.gen(function*() {
              yield* session.call(create(0, MapType.BPF_MAP_TYPE_HASH, { maxEntries: 6 }))
              const map = yield* TypedMap.make(old(session), Ref.map(0), { key: u32, value: u32 })
              yield* MapModel.check(map, { key: (n) => n * 7, value: (n) => n }, { most: 6 }, steps)
            })
          ))),
        { numRuns: runs(25) }
      )
    ))

  it.live("batches say how far they came, and are checked before they are sent", () =>
    inSession((session) =>
      Effect.gen(function*() {
        yield* session.call(create(0, MapType.BPF_MAP_TYPE_HASH, { maxEntries: 4 }))
        yield* session.call(create(1, MapType.BPF_MAP_TYPE_QUEUE, { keySize: 0 }))
        const map = Ref.map(0)
        const words = (...numbers: ReadonlyArray<number>) => new Uint8Array(Uint32Array.from(numbers).buffer)
        const update = (...keys: ReadonlyArray<number>) =>
          session.call({
            _tag: "MapUpdateBatch",
            map,
            count: keys.length,
            keys: words(...keys),
            values: words(...keys),
            flags: 0n
          })
        yield* update(1, 2)
        const full = yield* Effect.flip(update(3, 4, 5, 6))
        assert.propertyVal(full, "errno", "E2BIG")
        assert.propertyVal(full, "done", 2)
        const missing = yield* Effect.flip(
          session.call({ _tag: "MapDeleteBatch", map, count: 3, keys: words(1, 9, 2), flags: 0n })
        )
        assert.propertyVal(missing, "errno", "ENOENT")
        assert.propertyVal(missing, "done", 1)
        assert.match(missing.message, /elements done before: 1/)
        const lookup = {
          _tag: "MapLookupBatch",
          map,
          remove: false,
          count: 8,
          keySize: 4,
          valueSize: 4,
          flags: 0n
        } as const
        const { count, keys, next, values } = yield* session.call(lookup)
        assert.deepStrictEqual([count, next], [3, undefined])
        assert.deepStrictEqual([...new Uint32Array(keys.slice().buffer)].toSorted((a, b) => a - b), [2, 3, 4])
        assert.deepStrictEqual(keys, values)
        // What the kernel would misread, or never be told of, is refused before.
        const refused: ReadonlyArray<KernelCall> = [
          { ...lookup, count: 0 },
          { ...lookup, keySize: 8 },
          { ...lookup, valueSize: 3 },
          { ...lookup, after: new Uint8Array(3) },
          { _tag: "MapUpdateBatch", map, count: 2, keys: words(1), values: words(1, 2), flags: 0n },
          { _tag: "MapUpdateBatch", map, count: 1, keys: words(1), values: words(1, 2), flags: 0n },
          { _tag: "MapDeleteBatch", map, count: 2, keys: words(1), flags: 0n },
          { _tag: "MapDeleteBatch", map, count: 0.5, keys: words(1), flags: 0n },
          { _tag: "MapLookupAndDelete", map, key: words(1, 2), valueSize: 4, flags: 0n },
          { _tag: "MapLookupAndDelete", map, key: words(1), valueSize: 8, flags: 0n },
          { _tag: "MapLookup", map: Ref.map(1), key: words(), value: words(1, 2), valueSize: 4, flags: 0n }
        ]
        for (const call of refused) {
          assert.strictEqual(
            errnoOf(yield* Effect.flip(session.call(call))),
            "EINVAL",
            JSON.stringify(call, (_, part) => typeof part === "bigint" ? `${part}` : part)
          )
        }
        // Queues have no batches.
        const queue = { ...lookup, map: Ref.map(1), keySize: 0 }
        assert.include(["ENOTSUPP", "EOPNOTSUPP"], errnoOf(yield* Effect.flip(session.call(queue))))
        const removed = yield* session.call({ ...lookup, remove: true })
        assert.strictEqual(removed.count, 3)
        assert.strictEqual((yield* session.call(lookup)).count, 0)
      })
    ))

  for (const [name, type, flags] of types) {
    it.live(`a ${name} is a Map of JavaScript, whatever is done to it`, () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(MapModel.steps(9, 40), (steps) =>
            Effect.runPromise(inSession((session) =>
              Effect.gen(function*() {
                yield* session.call(create(0, type, { maxEntries: 6, flags }))
                const map = yield* TypedMap.make(session, Ref.map(0), { key: u32, value: u32 })
                yield* MapModel.check(
                  map,
                  {
                    key: (n) => n * 7,
                    value: (n) => n
                  },
                  { most: 6 },
                  steps
                )
              })
            ))),
          { numRuns: runs(60) }
        )
      ))
  }

  it.live("a hash with types of C is one, too", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(MapModel.steps(9, 30), (steps) =>
          Effect.runPromise(withObject("map_kinds.bpf.o", (loaded) =>
            Effect.gen(function*() {
              const map = yield* TypedMap.of(loaded, "hash")
              const key = (n: number): BtfValue => ({ first: n, second: n % 3, padding: 0 })
              const value = (n: number): BtfValue => ({ count: BigInt(n), label: `label ${n}` })
              yield* MapModel.check(map, { key, value }, { most: 100 }, steps)
            })))),
        { numRuns: runs(5) }
      )
    ))

  it.live("named fault: a map that forgets to take is found out", () =>
    inSession((session) =>
      Effect.gen(function*() {
        yield* session.call(create(0, MapType.BPF_MAP_TYPE_HASH))
        const map = yield* TypedMap.make(session, Ref.map(0), { key: u32, value: u32 })
        const steps: ReadonlyArray<MapModel.Step> = [
          { _tag: "set", key: 1, value: 1, when: "Any" },
          { _tag: "take", key: 1 },
          { _tag: "size" }
        ]
        const meaning = { key: (n: number) => n, value: (n: number) => n }
        yield* MapModel.check(map, meaning, { most: 8 }, steps)
        const wrong = { ...map, take: (key: number) => map.get(key) }
        const found = yield* Effect.exit(MapModel.check(wrong, meaning, { most: 8 }, steps))
        assert.strictEqual(found._tag, "Failure")
      })
    ))

  it.live("an array has its elements, and no others", () =>
    inSession((session) =>
      Effect.gen(function*() {
        yield* session.call(create(0, MapType.BPF_MAP_TYPE_ARRAY, { maxEntries: 300 }))
        const map = yield* ArrayMap.make(session, Ref.map(0), { value: u32 })
        assert.strictEqual(map.length, 300)
        assert.strictEqual(yield* map.setAll([[0, 10], [299, 11], [7, 12]]), 3)
        assert.deepStrictEqual([yield* map.get(0), yield* map.get(1), yield* map.get(299)], [10, 0, 11])
        const all = yield* Stream.runCollect(map.entries)
        assert.deepStrictEqual(all.map(([index]) => index), Array.from({ length: 300 }, (_, index) => index))
        assert.deepStrictEqual(all[7], [7, 12])
        assert.instanceOf(yield* Effect.flip(map.get(300)), CodecError)
        assert.strictEqual(errnoOf(yield* Effect.flip(map.set(1, 1, { when: "NoExist" }))), "EEXIST")
      })
    ))

  it.live("values for each CPU are arrays of one for each", () =>
    inSession((session) =>
      Effect.gen(function*() {
        yield* session.call(create(0, MapType.BPF_MAP_TYPE_PERCPU_HASH))
        yield* session.call(create(1, MapType.BPF_MAP_TYPE_PERCPU_ARRAY))
        const table = yield* PerCpuMap.make(session, Ref.map(0), { key: u32, value: u32 })
        const array = yield* PerCpuMap.array(session, Ref.map(1), { value: u32 })
        const each = Array.from({ length: table.cpus }, (_, cpu) => 100 + cpu)
        assert.strictEqual(yield* table.setAll([[1, each], [2, each.map((one) => one + 1)]]), 2)
        assert.deepStrictEqual(yield* table.get(1), each)
        assert.strictEqual(yield* table.getOf(2, table.cpus - 1), 100 + table.cpus)
        assert.deepStrictEqual(yield* table.take(2), each.map((one) => one + 1))
        assert.deepStrictEqual(yield* Stream.runCollect(table.entries), [[1, each]])
        yield* array.setEach(3, 9)
        assert.deepStrictEqual(yield* array.get(3), each.map(() => 9))
        assert.strictEqual((yield* Stream.runCollect(array.values)).length, 8)
        const set = yield* Effect.exit(array.setOf(3, 0, 5))
        if (set._tag === "Success") assert.strictEqual(yield* array.getOf(3, 0), 5)
        else assert.strictEqual(reasonOf(yield* Effect.flip(array.setOf(3, 0, 5))), "Unsupported")
        assert.strictEqual(reasonOf(yield* Effect.flip(array.setOf(3, array.cpus, 5))), "Range")
        assert.instanceOf(yield* Effect.flip(table.set(1, [...each, 1])), CodecError)
      })
    ))

  it.live("queues give the first value, stacks the last", () =>
    inSession((session) =>
      Effect.gen(function*() {
        for (const [index, type] of [MapType.BPF_MAP_TYPE_QUEUE, MapType.BPF_MAP_TYPE_STACK].entries()) {
          yield* session.call(create(index, type, { keySize: 0, maxEntries: 3 }))
          const map = yield* QueueMap.make(session, Ref.map(index), { value: u32 })
          assert.deepStrictEqual([map.isStack, map.capacity], [index === 1, 3])
          assert.strictEqual(yield* map.pop, undefined)
          for (const value of [1, 2, 3]) yield* map.push(value)
          assert.strictEqual(errnoOf(yield* Effect.flip(map.push(4))), "E2BIG")
          yield* map.push(4, { displace: true })
          assert.strictEqual(yield* map.peek, index === 1 ? 4 : 2)
          assert.strictEqual(yield* map.pop, index === 1 ? 4 : 2)
          assert.deepStrictEqual(yield* Stream.runCollect(map.popAll), index === 1 ? [3, 2] : [3, 4])
          assert.strictEqual(yield* map.peek, undefined)
        }
      })
    ))

  it.live("a bloom filter has what was added", () =>
    inSession((session) =>
      Effect.gen(function*() {
        yield* session.call(create(0, MapType.BPF_MAP_TYPE_BLOOM_FILTER, { keySize: 0, maxEntries: 1000 }))
        const filter = yield* BloomFilter.make(session, Ref.map(0), { value: u32 })
        for (let value = 0; value < 20; value++) yield* filter.add(value)
        for (let value = 0; value < 20; value++) assert.isTrue(yield* filter.has(value))
        let perhaps = 0
        for (let value = 1000; value < 1100; value++) if (yield* filter.has(value)) perhaps++
        assert.isBelow(perhaps, 20)
      })
    ))

  it.live("a trie answers with the longest prefix", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const attr = { keySize: 8, maxEntries: 10, flags: MapFlag.BPF_F_NO_PREALLOC }
        yield* session.call(create(0, MapType.BPF_MAP_TYPE_LPM_TRIE, attr))
        const routes = yield* LpmTrie.make(session, Ref.map(0), { key: LpmTrie.ipv4, value: u32 })
        assert.strictEqual(yield* routes.setAll([["10.0.0.0/8", 1], ["10.1.0.0/16", 2], ["0.0.0.0/0", 3]]), 3)
        assert.strictEqual(yield* routes.match("10.1.2.3"), 2)
        assert.strictEqual(yield* routes.match("10.2.2.3"), 1)
        assert.strictEqual(yield* routes.match("11.2.2.3"), 3)
        assert.deepStrictEqual(
          (yield* Stream.runCollect(routes.entries)).toSorted(([, one], [, other]) => one - other),
          [["10.0.0.0/8", 1], ["10.1.0.0/16", 2], ["0.0.0.0/0", 3]]
        )
        assert.strictEqual(yield* routes.delete("10.1.0.0/16"), true)
        assert.strictEqual(yield* routes.deleteAll(["10.1.0.0/16", "0.0.0.0/0"]), 1)
        assert.strictEqual(yield* routes.match("10.1.2.3"), 1)
        assert.strictEqual(yield* routes.match("11.1.2.3"), undefined)
        yield* routes.clear
        assert.strictEqual(yield* routes.size, 0)
        for (const wrong of ["10.0.0.0/33", "10.0.0/8", "256.0.0.0/8", "10.0.0.0/8/8"]) {
          assert.instanceOf(yield* Effect.flip(routes.set(wrong, 1)), CodecError)
        }
        // With a codec that does not know what a prefix is, the kernel has the word: 33 bits of 4 bytes.
        const bare = yield* LpmTrie.make(session, Ref.map(0), { key: u64, value: u32 })
        assert.match((yield* Effect.flip(bare.set(33n, 1))).message, /EINVAL[^]*no longer than their keys/)
        assert.strictEqual(yield* bare.match(33n), undefined)
      })
    ))

  it.live("maps of maps take maps of the session, and open them", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const { BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS } = MapType
        for (const index of [0, 1, 2]) yield* session.call(create(index, BPF_MAP_TYPE_ARRAY))
        const inner = { inner: Ref.map(0) }
        yield* session.call({ ...create(3, BPF_MAP_TYPE_ARRAY_OF_MAPS), ...inner })
        yield* session.call({ ...create(4, BPF_MAP_TYPE_HASH_OF_MAPS), ...inner })
        const array = yield* SlotMap.arrayOfMaps(session, Ref.map(3))
        const hash = yield* SlotMap.hashOfMaps(session, Ref.map(4), { key: u32 })
        const one = yield* ArrayMap.make(session, Ref.map(1), { value: u32 })
        yield* one.set(2, 77)
        for (const outer of [array, hash]) {
          assert.isFalse(yield* outer.has(5))
          yield* outer.set(5, Ref.map(1))
          yield* outer.set(6, Ref.map(2))
          assert.strictEqual(yield* outer.idOf(5), one.info.id)
          assert.deepStrictEqual(
            (yield* Stream.runCollect(outer.entries)).map(([key]) => key).toSorted((one, other) => one - other),
            [5, 6]
          )
          // Identifiers are opened with CAP_SYS_ADMIN.
          if (Rights.identifiers()) {
            yield* Effect.scoped(Effect.gen(function*() {
              const opened = yield* outer.open(5)
              if (opened === undefined) return assert.fail("nothing is there")
              const again = yield* ArrayMap.make(session, opened, { value: u32 })
              assert.strictEqual(yield* again.get(2), 77)
            }))
          }
          assert.strictEqual(yield* outer.clear(5), true)
          assert.strictEqual(yield* Effect.scoped(outer.open(5)), undefined)
          assert.strictEqual(reasonOf(yield* Effect.flip(outer.set(1, Ref.map(99)))), "NoSuchMap")
        }
      })
    ))

  it.live("arrays of programs take programs of the session", () =>
    inSession((session) =>
      Effect.gen(function*() {
        yield* session.call(create(0, MapType.BPF_MAP_TYPE_PROG_ARRAY, { maxEntries: 4 }))
        yield* session.call(progLoad(0, returning(1)))
        const array = yield* SlotMap.progArray(session, Ref.map(0))
        yield* array.set(2, Ref.prog(0))
        const { id } = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(0) })
        assert.strictEqual(yield* array.idOf(2), id)
        assert.deepStrictEqual(yield* Stream.runCollect(array.entries), [[2, id]])
        if (Rights.identifiers()) {
          yield* Effect.scoped(Effect.gen(function*() {
            const opened = yield* array.open(2)
            if (opened === undefined) return assert.fail("nothing is there")
            assert.strictEqual((yield* session.call({ _tag: "ProgGetInfo", prog: opened })).id, id)
          }))
        }
        assert.strictEqual(yield* array.clear(2), true)
        assert.strictEqual(yield* array.idOf(2), undefined)
      })
    ))

  it.live("schemas refine what types say, and bytes", () =>
    withObject("map_kinds.bpf.o", (loaded) =>
      Effect.gen(function*() {
        class Value extends Schema.Class<Value>("Value")({
          count: Schema.BigInt,
          label: Schema.NonEmptyString
        }) {
          get shout() {
            return this.label.toUpperCase()
          }
        }
        const map = yield* TypedMap.withSchema(loaded, "hash", { value: Value })
        const key = { first: 1, second: 2, padding: 0 }
        yield* map.set(key, new Value({ count: 3n, label: "three" }))
        const found = yield* map.get(key)
        assert.instanceOf(found, Value)
        assert.strictEqual(found?.shout, "THREE")
        const plain = yield* TypedMap.of(loaded, "hash")
        assert.deepStrictEqual(yield* plain.get(key), { count: 3n, label: "three" })
        yield* plain.set({ ...key, first: 2 }, { count: 4n, label: "" })
        // What the schema does not take is an error of the stream, after what it takes.
        assert.instanceOf(yield* Effect.flip(map.get({ ...key, first: 2 })), CodecError)
        const read: Array<unknown> = []
        const failed = yield* Effect.flip(
          Stream.runForEach(map.values, (value) => Effect.sync(() => read.push(value)))
        )
        assert.instanceOf(failed, CodecError)
        assert.isAtMost(read.length, 1)
        const unfit = yield* Effect.flip(plain.set(key, { count: -1n, label: "x" }))
        assert.match(String(unfit), /value of hash.*count/)
      })))

  it.live("what is no such map is refused by name", () =>
    withObject("map_kinds.bpf.o", (loaded) =>
      Effect.gen(function*() {
        const none = yield* Effect.flip(TypedMap.of(loaded, "nonesuch"))
        assert.strictEqual(reasonOf(none), "NoSuchMap")
        assert.match(String(none), /nonesuch.*\n.*hash/)
        const array = yield* Effect.flip(TypedMap.of(loaded, "array"))
        assert.strictEqual(reasonOf(array), "WrongKind")
        assert.match(String(array), /map array.*array\n.*ArrayMap/)
        const wrong: ReadonlyArray<Effect.Effect<unknown, TypedMap.MapError, Kernel>> = [
          ArrayMap.of(loaded, "hash"),
          PerCpuMap.of(loaded, "hash"),
          PerCpuMap.arrayOf(loaded, "hash"),
          QueueMap.of(loaded, "hash"),
          BloomFilter.of(loaded, "hash"),
          LpmTrie.of(loaded, "hash"),
          StorageMap.of(loaded, "hash"),
          SlotMap.progArrayOf(loaded, "hash"),
          SlotMap.arrayOfMapsOf(loaded, "hash"),
          SlotMap.hashOfMapsOf(loaded, "hash")
        ]
        for (const each of wrong) assert.strictEqual(reasonOf(yield* Effect.flip(each)), "WrongKind")
        const { map, session } = loaded
        const hash = map("hash") ?? assert.fail("no hash")
        const size = yield* Effect.flip(TypedMap.make(session, hash, { key: u64, value: u32, name: "hash" }))
        assert.strictEqual(reasonOf(size), "Size")
        assert.match(String(size), /map hash: its values have 32 bytes, and u32 has 4/)
      })))

  it.live("arrays in shared memory are read and written without calls", () =>
    withObject("map_kinds.bpf.o", (loaded) =>
      Effect.gen(function*() {
        const kept = yield* Effect.scoped(Effect.gen(function*() {
          const mapped = yield* MappedArray.of(loaded, "array")
          const plain = yield* ArrayMap.of(loaded, "array")
          assert.deepStrictEqual([mapped.length, mapped.writable, mapped.stride], [8, true, 32])
          mapped.set(3, { count: 5n, label: "five" })
          assert.deepStrictEqual(yield* plain.get(3), { count: 5n, label: "five" })
          yield* plain.set(4, { count: 6n, label: "six" })
          assert.deepStrictEqual(mapped.at(4), { count: 6n, label: "six" })
          assert.strictEqual([...mapped].length, 8)
          assert.throws(() => mapped.at(8), /no index/)
          assert.throws(() => mapped.set(0, { count: -1n }), /count/)
          return mapped
        }))
        assert.throws(() => kept.at(0), /scope/)
        assert.throws(() => kept.set(0, { count: 1n }), /scope/)
        const not = yield* Effect.flip(Effect.scoped(MappedArray.of(loaded, "hash")))
        assert.strictEqual(reasonOf(not), "WrongKind")
      })))

  it.live("global variables are properties that read and write memory", () =>
    withObject("global_data.bpf.o", (loaded) =>
      Effect.gen(function*() {
        const globals = yield* Globals.open(loaded)
        const kept = yield* Effect.scoped(Effect.gen(function*() {
          const view = yield* LiveView.globals(loaded)
          assert.strictEqual(view["answer"], 42)
          assert.strictEqual(view["biggest"], 0xfedcba9876543210n)
          view["answer"] = -7
          assert.strictEqual(yield* globals.get("answer"), -7)
          yield* globals.set("answer", 8)
          assert.strictEqual(view["answer"], 8)
          const { settings } = view
          if (!LiveView.isObject(settings)) return assert.fail("a struct is a view")
          assert.strictEqual(settings["name"], "fixture")
          settings["enabled"] = false
          settings["colour"] = "GREEN"
          const { flags } = settings
          if (!LiveView.isObject(flags)) return assert.fail("a struct in it is one, too")
          assert.deepStrictEqual({ ...flags }, { low: 5, middle: -7, high: 0x1ffff, wide: 0xabcdef0123n })
          flags["middle"] = 9
          assert.deepStrictEqual({ ...flags }, { low: 5, middle: 9, high: 0x1ffff, wide: 0xabcdef0123n })
          const now = yield* globals.get("settings")
          assert.deepInclude(now, {
            name: "fixture",
            colour: "GREEN",
            enabled: false,
            flags: { low: 5, middle: 9, high: 0x1ffff, wide: 0xabcdef0123n },
            number: 0x01020304
          })
          view["position"] = { x: 3 }
          assert.deepStrictEqual(yield* globals.get("position"), { x: 3, y: 0 })
          // A constant has no setter.
          assert.strictEqual(view["limit"], 100)
          assert.throws(() => {
            view["limit"] = 1
          }, TypeError)
          assert.throws(() => {
            view["answer"] = 2 ** 40
          }, /answer/)
          assert.throws(() => {
            view["nonesuch"] = 1
          }, TypeError)
          return view
        }))
        assert.throws(() => kept["answer"], /scope/)
      })))

  it.live("streams are interrupted, and begin anew", () =>
    inSession((session) =>
      Effect.gen(function*() {
        yield* session.call(create(0, MapType.BPF_MAP_TYPE_HASH, { maxEntries: 5000 }))
        const map = yield* TypedMap.make(session, Ref.map(0), { key: u32, value: u32 })
        yield* map.setAll(Array.from({ length: 5000 }, (_, n) => [n, n] as const))
        const fiber = yield* Effect.forkChild(Stream.runForEach(map.entries, () => Effect.yieldNow))
        yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        assert.strictEqual((yield* Stream.runCollect(Stream.take(map.keys, 10))).length, 10)
        assert.strictEqual((yield* Stream.runCollect(map.keys)).length, 5000)
        const seen: Array<number> = []
        yield* Effect.promise(async () => {
          for await (const key of Stream.toAsyncIterable(map.keys)) if (seen.push(key) === 7) break
        })
        assert.strictEqual(seen.length, 7)
      })
    ))
}
