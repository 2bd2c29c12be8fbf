/**
 * Simulated maps beside those of the running kernel: the same attributes are taken or refused with the same error, and the
 * same operations give the same answers and leave the same elements.
 *
 * Not compared, because the kernel leaves it to chance: the order of a hash's keys (that of its elements is, as a set), and
 * false positives of bloom filters with a random seed. What an LRU hash evicts depends on the CPU, so the test stays on one.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Arena from "../../src/services/Kernel/abi/Arena.ts"
import * as Attr from "../../src/services/Kernel/abi/Attr.ts"
import { Command, MapFlag, MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import type { Session } from "../../src/services/Kernel/Kernel.ts"
import type { KernelCall, MapAttributes, ResultOf, Value } from "../../src/services/Kernel/KernelCall.ts"
import { type CallError, KernelError } from "../../src/services/Kernel/KernelError.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Sys from "../../src/services/Kernel/sys/Sys.ts"
import * as SimulatedMap from "../../src/vm/maps/SimulatedMap.ts"
import { inSession, mapCreate, progLoad, returning } from "../support/LiveKernel.ts"
import * as MapCases from "../support/MapCases.ts"
import { describeWith, run, runs, toolPath } from "../support/Require.ts"

/** One case of a property: fast-check takes promises, and nothing of the test's own services is needed. */
const outcomeOf = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

/** An answer as text: bytes, `ok`, or the name of an error. */
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

const possibleCpus = (): number => {
  const last = /(\d+)\s*$/.exec(Fs.readFileSync("/sys/devices/system/cpu/possible", "utf8"))?.[1]
  return Number(last) + 1
}

/** How many CPUs the kernel was built for, from what a CPU map of so many entries is answered. */
const maximumCpus = (sys: Sys.Sys): number => {
  const isTaken = (entries: number): boolean => {
    const values = { map_type: MapType.BPF_MAP_TYPE_CPUMAP, key_size: 4, value_size: 4, max_entries: entries }
    const fd = sys.bpfDescriptor(Command.BPF_MAP_CREATE, Result.getOrThrow(Arena.make(Attr.MapCreate, values)))
    if (fd >= 0) sys.close(fd)
    return fd >= 0
  }
  let cpus = 1
  while (isTaken(cpus * 2)) cpus *= 2
  return cpus
}

/** The answer of a call as text. */
const said = <C extends KernelCall>(
  session: Session,
  call: C,
  show: (result: ResultOf<C>) => string
): Effect.Effect<string> =>
  session.call(call).pipe(
    Effect.map(show),
    Effect.catch((error: CallError) => error instanceof KernelError ? Effect.succeed(error.errno) : Effect.die(error))
  )

/** The answer of a simulated map as text. */
const answered = <A>(result: Result.Result<A, SimulatedMap.MapFailure>, show: (value: A) => string): string =>
  Result.isSuccess(result)
    ? show(result.success)
    : typeof result.failure === "string"
    ? result.failure
    : `unsupported ${result.failure.type}`

const ok = () => "ok"
const shown = (bytes: Uint8Array | undefined) => bytes === undefined ? "ENOENT" : hex(bytes)

/** What is done to the simulated side alone; a fault is one that changes something. */
interface Ours {
  readonly attr: (attr: MapAttributes) => MapAttributes
  readonly operation: (operation: MapCases.Operation) => MapCases.Operation
  readonly options: Partial<SimulatedMap.CreateOptions<string>>
}

const faultless: Ours = { attr: (attr) => attr, operation: (operation) => operation, options: {} }

/** Both kernels, with two maps and a program in the live session that slots can hold. */
interface Both {
  readonly session: Session
  readonly sys: Sys.Sys
  readonly options: SimulatedMap.CreateOptions<string>
  readonly slots: ReadonlyArray<{ readonly ref: Ref.MapRef | Ref.ProgRef; readonly slot: SimulatedMap.Slot<string> }>
  readonly inner: { readonly ref: Ref.MapRef; readonly map: SimulatedMap.SimulatedMap<string> }
  readonly ours: Ours
  /** The next free index for maps. */
  next: number
}

const innerShapes: ReadonlyArray<Partial<MapAttributes>> = [
  { type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 3 },
  { type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 4 },
  { type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 3 }
]

const both = (session: Session, ours: Ours = faultless) =>
  Effect.gen(function*() {
    const sys = Result.getOrThrow(Sys.make())
    const options = {
      possibleCpus: possibleCpus(),
      pageSize: sys.pageSize,
      maximumCpus: maximumCpus(sys),
      hasDevice: (index: number) => Fs.existsSync("/sys/class/net/lo") && index === 1
    }
    const slots: Array<Both["slots"][number]> = []
    const maps: Array<SimulatedMap.SimulatedMap<string>> = []
    for (const [index, shape] of innerShapes.entries()) {
      yield* session.call(mapCreate(index, shape))
      const { id } = yield* session.call({ _tag: "MapGetInfo", map: Ref.map(index) })
      const map = Result.getOrThrow(SimulatedMap.create<string>(MapCases.attributes(shape), options))
      maps.push(map)
      slots.push({ ref: Ref.map(index), slot: { id, handle: `map ${index}`, map } })
    }
    yield* session.call(progLoad(0, returning(0)))
    const { id } = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(0) })
    slots.push({ ref: Ref.prog(0), slot: { id, handle: "prog" } })
    const [first] = maps
    assert.isDefined(first)
    const both: Both = { session, sys, options, slots, inner: { ref: Ref.map(0), map: first }, ours, next: maps.length }
    return both
  })

/** The same map on both kernels. */
interface Pair {
  readonly attr: MapAttributes
  readonly live: Ref.MapRef
  readonly simulated: SimulatedMap.SimulatedMap<string>
  /** A descriptor for commands that the contract has no call for. */
  readonly fd: number
}

const withInner = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS || type === MapType.BPF_MAP_TYPE_HASH_OF_MAPS

/** Creates a map on both; the answers are compared, and the pair is given where both are maps. */
const create = (both: Both, attr: MapAttributes): Effect.Effect<Pair | undefined> =>
  Effect.gen(function*() {
    const live = Ref.map(both.next++)
    const isOfMaps = withInner(attr.type)
    const call = { ...mapCreate(live.index, attr), ...(isOfMaps ? { inner: both.inner.ref } : {}) }
    const theirs = yield* said(both.session, call, ok)
    const options = { ...both.options, ...both.ours.options, ...(isOfMaps ? { inner: both.inner.map } : {}) }
    const ours = SimulatedMap.create(both.ours.attr(attr), options)
    assert.strictEqual(answered(ours, ok), theirs, "creation")
    if (Result.isFailure(ours)) return undefined
    const info = yield* Effect.orDie(both.session.call({ _tag: "MapGetInfo", map: live }))
    const { btfId, btfKeyTypeId, btfValueTypeId, id, ...attributes } = info
    assert.deepStrictEqual([btfId, btfKeyTypeId, btfValueTypeId], [0, 0, 0])
    assert.deepStrictEqual(SimulatedMap.info(ours.success), attributes)
    const access = attr.flags & (MapFlag.BPF_F_RDONLY | MapFlag.BPF_F_WRONLY)
    const ids = Result.getOrThrow(Arena.make(Attr.Ids, { start_id: id, open_flags: access }))
    return { attr, live, simulated: ours.success, fd: both.sys.bpf(Command.BPF_MAP_GET_FD_BY_ID, ids) }
  })

const close = (both: Both, pair: Pair): Effect.Effect<void> =>
  Effect.suspend(() => {
    both.sys.close(pair.fd)
    return Effect.orDie(both.session.call({ _tag: "Close", ref: pair.live }))
  })

/** A command on an element by its descriptor: for look-ups that delete, and bloom filters, whose question is the value. */
const raw = (both: Both, pair: Pair, command: number, key: Uint8Array, value: Uint8Array, flags: bigint): string => {
  const values = { map_fd: pair.fd, key: Arena.bytes(key), value: Arena.bytes(value), flags }
  const arena = Result.getOrThrow(Arena.make(Attr.MapElement, values))
  const result = both.sys.bpf(command, arena)
  return result < 0 ? Errno.fromNumber(-result) : hex(Arena.region(arena, "value"))
}

const isTarget = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_DEVMAP || type === MapType.BPF_MAP_TYPE_DEVMAP_HASH ||
  type === MapType.BPF_MAP_TYPE_CPUMAP

const oneCpuFlags = 0x18n

/** The sizes of values that the live session asks for with these flags. */
const liveValueSize = (pair: Pair, flags: bigint): number =>
  pair.simulated.shape.cpus > 1 && (flags & oneCpuFlags) !== 0n
    ? pair.attr.valueSize
    : SimulatedMap.userValueSize(pair.simulated)

/** Does one thing to both maps and gives both answers. */
const perform = (both: Both, pair: Pair, operation: MapCases.Operation): Effect.Effect<readonly [string, string]> => {
  const { attr, live, simulated } = pair
  const { session } = both
  const size = SimulatedMap.userValueSize(simulated)
  const mine = both.ours.operation(operation)
  const myFlags = "flags" in mine ? mine.flags : 0n
  switch (operation._tag) {
    case "Update": {
      const { flags } = operation
      const key = MapCases.keyOf(attr, operation.key)
      if (MapCases.hasSlots(attr.type)) {
        const chosen = both.slots[operation.value % (both.slots.length + 1)]
        const value: Value = {
          bytes: new Uint8Array(4),
          refs: chosen === undefined ? [] : [{ at: 0, size: 4, to: chosen.ref }]
        }
        // Descriptor 0 is open, and neither a map nor a program.
        const ours = SimulatedMap.userUpdateSlot(simulated, key, chosen?.slot ?? "EINVAL", myFlags)
        return Effect.map(
          said(session, { _tag: "MapUpdate", map: live, key, value, flags }, ok),
          (theirs) => [answered(ours, ok), theirs]
        )
      }
      const bytes = isTarget(attr.type)
        ? MapCases.targetValue(size, operation.value)
        : MapCases.valueOf(size, operation.value)
      const value = { bytes: bytes.subarray(0, liveValueSize(pair, flags)), refs: [] }
      const ours = SimulatedMap.userUpdate(simulated, key, bytes, myFlags)
      return Effect.map(
        said(session, { _tag: "MapUpdate", map: live, key, value, flags }, ok),
        (theirs) => [answered(ours, ok), theirs]
      )
    }
    case "Lookup": {
      const { flags } = operation
      const key = MapCases.keyOf(attr, operation.key)
      const asked = MapCases.valueOf(size, operation.value)
      const ours = answered(SimulatedMap.userLookup(simulated, key, myFlags, asked), hex)
      if (attr.type === MapType.BPF_MAP_TYPE_BLOOM_FILTER) {
        return Effect.succeed([ours, raw(both, pair, Command.BPF_MAP_LOOKUP_ELEM, key, asked, flags)])
      }
      const call = { _tag: "MapLookup", map: live, key, valueSize: liveValueSize(pair, flags), flags } as const
      return Effect.map(said(session, call, shown), (theirs) => [ours, theirs])
    }
    case "Delete": {
      const key = MapCases.keyOf(attr, operation.key)
      const ours = answered(SimulatedMap.userDelete(simulated, key), ok)
      return Effect.map(said(session, { _tag: "MapDelete", map: live, key }, ok), (theirs) => [ours, theirs])
    }
    case "NextKey": {
      const key = operation.key === undefined ? undefined : MapCases.keyOf(attr, operation.key)
      const ours = answered(SimulatedMap.userNextKey(simulated, key), hex)
      const call = {
        _tag: "MapNextKey",
        map: live,
        keySize: attr.keySize,
        ...(key === undefined ? {} : { key })
      } as const
      return Effect.map(said(session, call, shown), (theirs) => {
        // Of an order that is not to be compared there remains: whether the map is empty.
        if (!MapCases.isUnordered(attr.type)) return [ours, theirs]
        const isKnown = key !== undefined && Result.isSuccess(SimulatedMap.userLookup(simulated, key))
        const coarse = (answer: string) => isKnown || /^[0-9a-f]/.test(answer) ? "some" : answer
        return [coarse(ours), coarse(theirs)]
      })
    }
    case "LookupAndDelete": {
      const key = MapCases.keyOf(attr, operation.key)
      const ours = answered(SimulatedMap.userLookupAndDelete(simulated, key, myFlags), hex)
      const room = new Uint8Array(size)
      return Effect.succeed([ours, raw(both, pair, Command.BPF_MAP_LOOKUP_AND_DELETE_ELEM, key, room, operation.flags)])
    }
    case "Freeze":
      return Effect.map(
        said(session, { _tag: "MapFreeze", map: live }, ok),
        (theirs) => [answered(SimulatedMap.userFreeze(simulated), ok), theirs]
      )
  }
}

const liveDump = (both: Both, pair: Pair): Effect.Effect<ReadonlyArray<string>> =>
  Effect.gen(function*() {
    const { attr, live } = pair
    const elements: Array<string> = []
    let key: Uint8Array | undefined
    for (;;) {
      const call = {
        _tag: "MapNextKey",
        map: live,
        keySize: attr.keySize,
        ...(key === undefined ? {} : { key })
      } as const
      key = yield* Effect.orElseSucceed(both.session.call(call), () => undefined)
      if (key === undefined) return elements
      const size = SimulatedMap.userValueSize(pair.simulated)
      const value = yield* said(both.session, { _tag: "MapLookup", map: live, key, valueSize: size, flags: 0n }, shown)
      elements.push(`${hex(key)}: ${value}`)
    }
  })

const ourDump = (pair: Pair): ReadonlyArray<string> =>
  SimulatedMap.userKeys(pair.simulated).map((key) =>
    `${hex(key)}: ${answered(SimulatedMap.userLookup(pair.simulated, key), hex)}`
  )

/** Does the same to both and compares all answers, and in the end all elements. */
const compare = (both: Both, attr: MapAttributes, operations: ReadonlyArray<MapCases.Operation>) =>
  Effect.gen(function*() {
    const pair = yield* create(both, attr)
    if (pair === undefined) return
    const compared = Effect.gen(function*() {
      for (const [at, operation] of operations.entries()) {
        const [ours, theirs] = yield* perform(both, pair, operation)
        assert.strictEqual(ours, theirs, `operation ${at}: ${operation._tag}`)
      }
      const theirs = yield* liveDump(both, pair)
      const ours = ourDump(pair)
      const isUnordered = MapCases.isUnordered(attr.type)
      assert.deepStrictEqual(isUnordered ? ours.toSorted() : ours, isUnordered ? theirs.toSorted() : theirs)
    })
    yield* Effect.ensuring(compared, close(both, pair))
  })

/** Stays on CPU 0, since the LRU lists are per CPU and the simulated user space is on that one. */
const stayOnOneCpu = (): boolean =>
  toolPath("taskset") !== undefined && run("taskset", ["-p", "-c", "0", String(process.pid)]).status === 0

const leaveCpu = (): void => {
  run("taskset", ["-p", "-c", `0-${possibleCpus() - 1}`, String(process.pid)])
}

const nameOf = (type: number): string =>
  Object.entries(MapType).find(([, number]) => number === type)?.[0] ?? String(type)

// Simulated maps are those of the newest kernel, which gives other errors for some mistakes than older ones.
describeWith({ kind: "live", linux: "6.18" }, "simulated maps beside the live kernel's", () => {
  it.live("are refused with the same errors, whatever is asked for", () =>
    inSession((session) =>
      Effect.flatMap(both(session), (both) =>
        Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(MapCases.oddAttributes, (attr) =>
              outcomeOf(
                Effect.flatMap(create(both, attr), (pair) => pair === undefined ? Effect.void : close(both, pair))
              )),
            { numRuns: runs(3000) }
          )
        ))
    ))

  for (const type of MapCases.operableTypes) {
    it.live(`of type ${nameOf(type)} answer alike`, () =>
      inSession((session) =>
        Effect.gen(function*() {
          const kernels = yield* both(session)
          const pinned = MapCases.isLru(type) && stayOnOneCpu()
          if (MapCases.isLru(type) && !pinned) return
          const [keys, length] = MapCases.isLru(type)
            ? [120, 150]
            : type === MapType.BPF_MAP_TYPE_LPM_TRIE
            ? [84, 50]
            : [12, 40]
          yield* Effect.ensuring(
            Effect.promise(() =>
              fc.assert(
                fc.asyncProperty(
                  MapCases.validAttributes(type),
                  MapCases.operations(keys, length),
                  (attr, operations) => outcomeOf(compare(kernels, attr, operations))
                ),
                { numRuns: runs(150) }
              )
            ),
            Effect.sync(leaveCpu)
          )
        })
      ))
  }

  it.live("of the LRU types evict the same keys, when they are larger than what a CPU takes at a time", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const kernels = yield* both(session)
        if (!stayOnOneCpu()) return
        const large = fc.record({
          type: fc.constantFrom(MapType.BPF_MAP_TYPE_LRU_HASH, MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH),
          maxEntries: fc.integer({ min: 1, max: 900 }),
          flags: fc.constantFrom(0, MapFlag.BPF_F_NO_COMMON_LRU)
        }).map(MapCases.attributes)
        const wide = fc.array(
          fc.record({
            _tag: fc.constantFrom(
              "Update",
              "Update",
              "Update",
              "Update",
              "Delete",
              "LookupAndDelete",
              "Lookup" as const
            ),
            key: fc.integer({ min: 256, max: 1600 }),
            value: fc.integer({ min: 0, max: 255 }),
            flags: fc.constant(0n)
          }),
          { minLength: 200, maxLength: 2000, size: "max" }
        )
        yield* Effect.ensuring(
          Effect.promise(() =>
            fc.assert(
              fc.asyncProperty(
                large,
                wide,
                (attr, operations) => outcomeOf(compare(kernels, attr, operations))
              ),
              { numRuns: runs(15) }
            )
          ),
          Effect.sync(leaveCpu)
        )
      })
    ))

  it.live("that are too large for their type or for any machine are refused alike", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const kernels = yield* both(session)
        const { BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC } = MapFlag
        const hash = { type: MapType.BPF_MAP_TYPE_HASH, flags: BPF_F_NO_PREALLOC }
        const most = 2 ** 32 - 1
        const large: ReadonlyArray<Partial<MapAttributes>> = [
          { ...hash, maxEntries: 2 ** 27 + 1 },
          { ...hash, maxEntries: 2 ** 31 },
          { ...hash, maxEntries: most },
          { ...hash, flags: 0, maxEntries: most },
          { type: MapType.BPF_MAP_TYPE_LRU_HASH, maxEntries: most },
          { type: MapType.BPF_MAP_TYPE_LRU_HASH, maxEntries: most, flags: BPF_F_NO_COMMON_LRU },
          { ...hash, valueSize: 4194251 },
          { ...hash, valueSize: 4194252 },
          { ...hash, keySize: 4194248 },
          { type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: most, valueSize: 64 },
          { type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: most, valueSize: 2 ** 31 - 1 },
          { type: MapType.BPF_MAP_TYPE_PERCPU_ARRAY, maxEntries: most, valueSize: 32768 },
          { type: MapType.BPF_MAP_TYPE_QUEUE, keySize: 0, maxEntries: most, valueSize: 64 },
          { type: MapType.BPF_MAP_TYPE_LPM_TRIE, keySize: 8, maxEntries: most, flags: BPF_F_NO_PREALLOC },
          { type: MapType.BPF_MAP_TYPE_DEVMAP_HASH, maxEntries: most, valueSize: 4 },
          { type: MapType.BPF_MAP_TYPE_STACK_TRACE, maxEntries: most },
          {
            type: MapType.BPF_MAP_TYPE_ARENA,
            keySize: 0,
            valueSize: 0,
            maxEntries: 2 ** 20 + 1,
            flags: MapFlag.BPF_F_MMAPABLE
          },
          {
            type: MapType.BPF_MAP_TYPE_ARENA,
            keySize: 0,
            valueSize: 0,
            maxEntries: 2,
            flags: MapFlag.BPF_F_MMAPABLE,
            extra: 0xffff_f000n
          }
        ]
        for (const attr of large) {
          const pair = yield* create(kernels, MapCases.attributes(attr))
          if (pair !== undefined) yield* close(kernels, pair)
        }
      })
    ))

  it.live("are mapped alike, and refuse alike to be", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const kernels = yield* both(session)
        const { pageSize } = kernels.sys
        const maps = fc.constantFrom<Partial<MapAttributes>>(
          { type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 1000 },
          { type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 1000 },
          { type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 1000 },
          { type: MapType.BPF_MAP_TYPE_RINGBUF, keySize: 0, valueSize: 0, maxEntries: 2 * pageSize },
          { type: MapType.BPF_MAP_TYPE_USER_RINGBUF, keySize: 0, valueSize: 0, maxEntries: 2 * pageSize },
          { type: MapType.BPF_MAP_TYPE_HASH }
        )
        const { BPF_F_MMAPABLE, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY } = MapFlag
        const flags = fc.constantFrom(0, 0, BPF_F_RDONLY, BPF_F_WRONLY, BPF_F_RDONLY_PROG)
        const pages = fc.oneof(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 7 }))
        const requests = fc.array(
          fc.record({ offset: pages, length: pages, writable: fc.boolean(), freeze: fc.nat(5) }),
          { maxLength: 8 }
        )
        const mapped = (
          attr: MapAttributes,
          windows: ReadonlyArray<{ offset: number; length: number; writable: boolean; freeze: number }>
        ) =>
          Effect.gen(function*() {
            const pair = yield* create(kernels, attr)
            if (pair === undefined) return
            let view = 0
            const same = Effect.gen(function*() {
              for (const { freeze, length, offset, writable } of windows) {
                const request = { offset: offset * pageSize, length: length * pageSize, writable }
                const ref = Ref.view(view++)
                const call = { _tag: "MapMmap", map: pair.live, as: ref, ...request } as const
                const theirs = yield* said(
                  session,
                  call,
                  (view) => `${view.bytes.length} ${hex(view.bytes.subarray(0, 16))}`
                )
                const window = SimulatedMap.userMap(pair.simulated, request, pageSize)
                const ours = answered(window, ({ view }) => `${view.bytes.length} ${hex(view.bytes.subarray(0, 16))}`)
                assert.strictEqual(ours, theirs, JSON.stringify(request))
                const isOpen = Result.isSuccess(window)
                // Whether a window for writing is open decides whether the map can be frozen.
                if (freeze === 0) {
                  const answer = yield* said(session, { _tag: "MapFreeze", map: pair.live }, ok)
                  assert.strictEqual(answered(SimulatedMap.userFreeze(pair.simulated), ok), answer)
                }
                if (isOpen) {
                  window.success.close()
                  yield* Effect.orDie(session.call({ _tag: "Close", ref }))
                }
              }
            })
            yield* Effect.ensuring(same, close(kernels, pair))
          })
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(maps, flags, fc.boolean(), requests, (map, access, mmapable, windows) => {
              const more = mmapable && map.type === MapType.BPF_MAP_TYPE_ARRAY ? BPF_F_MMAPABLE : 0
              return outcomeOf(
                Effect.scoped(mapped(MapCases.attributes({ ...map, flags: access | more }), windows))
              )
            }),
            { numRuns: runs(150) }
          )
        )
      })
    ))

  const found = (
    ours: Partial<Ours>,
    property: (both: Both) => fc.IAsyncProperty<[MapAttributes, ReadonlyArray<MapCases.Operation>]>
  ) =>
    inSession((session) =>
      Effect.gen(function*() {
        const kernels = yield* both(session, { ...faultless, ...ours })
        const details = yield* Effect.promise(() =>
          Promise.resolve(fc.check(property(kernels), { numRuns: 300, endOnFailure: true }))
        )
        assert.isTrue(details.failed, "the fault is found")
      })
    )

  it.live("(fault: BPF_NOEXIST is ignored) are found unlike", () =>
    found(
      {
        operation: (operation) =>
          operation._tag === "Update" && operation.flags === 1n ? { ...operation, flags: 0n } : operation
      },
      (kernels) =>
        fc.asyncProperty(
          MapCases.validAttributes(MapType.BPF_MAP_TYPE_HASH),
          MapCases.operations(12, 40),
          (attr, operations) => outcomeOf(compare(kernels, attr, operations))
        )
    ))

  it.live("(fault: write-only for programs goes with read-only) are found unlike", () =>
    found(
      { attr: (attr) => ({ ...attr, flags: attr.flags & ~MapFlag.BPF_F_WRONLY_PROG }) },
      (kernels) =>
        fc.asyncProperty(
          MapCases.oddAttributes,
          fc.constant([]),
          (attr, operations) => outcomeOf(compare(kernels, attr, operations))
        )
    ))

  /** Four times as many keys as the map holds, every third of them looked up in between. */
  const overflow = Array.from({ length: 800 }, (_, index) => index + 256).flatMap((key): Array<MapCases.Operation> => [
    { _tag: "Update", key, value: key & 255, flags: 0n },
    ...(key % 3 === 0 ? [{ _tag: "Lookup", key: key - 2, value: 0, flags: 0n } as const] : [])
  ])

  it.live("(fault: LRU lists for one CPU more) are found unlike", () =>
    Effect.suspend(() =>
      stayOnOneCpu()
        ? Effect.ensuring(
          found(
            { options: { possibleCpus: possibleCpus() + 1 } },
            (kernels) =>
              fc.asyncProperty(
                fc.constant(MapCases.attributes({ type: MapType.BPF_MAP_TYPE_LRU_HASH, maxEntries: 200 })),
                // Random operations seldom evict enough to tell the two apart; this always does.
                fc.constant(overflow),
                (attr, operations) => outcomeOf(compare(kernels, attr, operations))
              )
          ),
          Effect.sync(leaveCpu)
        )
        : Effect.void
    ))
})
