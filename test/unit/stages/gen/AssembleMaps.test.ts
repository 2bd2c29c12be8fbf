/** Maps in loaders: maps of maps, slots, what is left out; and what holds for loaders of any length, printing or not. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Insn from "../../../../src/insn/Insn.ts"
import { MapType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../../../src/services/Kernel/abi/Errno.ts"
import type {
  KernelCall,
  MapAttributes,
  MapUpdate,
  ProgLoad,
  Value
} from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelFaulty from "../../../../src/services/Kernel/KernelFaulty.ts"
import * as KernelRecording from "../../../../src/services/Kernel/KernelRecording.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import { assemble, type AssembleError, type AssembleOptions } from "../../../../src/stages/gen/Assemble.ts"
import type { LoaderProgram } from "../../../../src/stages/gen/LoaderProgram.ts"
import { replay, type Replayed } from "../../../../src/stages/gen/Replay.ts"
import type { PlannedObject } from "../../../../src/stages/load/Plan.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"
import { faults } from "../../../support/LoaderCheck.ts"
import { deferred } from "./Recorded.ts"

const mapCreate = (index: number, attr: Partial<MapAttributes> = {}, inner?: number): KernelCall => ({
  _tag: "MapCreate",
  as: Ref.map(index),
  attr: { ...LedgerKernel.plainMap, name: `map${index}`, ...attr },
  ...(inner === undefined ? {} : { inner: Ref.map(inner) })
})

const outer = { type: MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, keySize: 4, valueSize: 4 }
const progArray = { type: MapType.BPF_MAP_TYPE_PROG_ARRAY, keySize: 4, valueSize: 4 }
const close = (index: number): KernelCall => ({ _tag: "Close", ref: Ref.map(index) })

const holding = (to: Value["refs"][number]["to"]): Value => ({
  bytes: new Uint8Array(4),
  refs: [{ at: 0, size: 4, to }]
})

const update = (map: number, key: number, value: Value): MapUpdate => ({
  _tag: "MapUpdate",
  map: Ref.map(map),
  key: Uint8Array.of(key, 0, 0, 0),
  value,
  flags: 0n
})

const progLoad = (index: number, ...uses: ReadonlyArray<number>): ProgLoad => ({
  _tag: "ProgLoad",
  as: Ref.prog(index),
  attr: { name: `p${index}`, type: 1, expectedAttachType: 0, license: "GPL", kernelVersion: 0, flags: 0, ifindex: 0 },
  code: {
    insns: Encode.program(...uses.map(() => Encode.ldMapFd(1, 0)), Encode.mov64Imm(0, 0), Encode.exit()),
    refs: uses.map((map, at) => ({ _tag: "MapRef", at: 2 * at, map: Ref.map(map) }))
  },
  log: { level: 0 }
})

const loaderOf = (calls: ReadonlyArray<KernelCall>, options?: AssembleOptions): LoaderProgram => {
  const loader = Result.getOrThrow(assemble(calls, options))
  assert.deepStrictEqual(faults(loader), [])
  return loader
}

const errorOf = (...calls: ReadonlyArray<KernelCall>): AssembleError => {
  const result = assemble(calls)
  return Result.isFailure(result) ? result.failure : assert.fail("it was assembled")
}

/** Replays a loader on a ledger, of which an attempt may fail; nothing may leak or be closed twice. */
const run = (loader: LoaderProgram, failsAt?: number): Replayed =>
  Effect.runSync(Effect.scoped(Effect.gen(function*() {
    const { kernel } = LedgerKernel.make({ byteOrder: loader.byteOrder })
    const whole = failsAt === undefined
      ? kernel
      : yield* KernelFaulty.make(kernel, failsAt, { _tag: "Answer", errno: "EPERM" })
    const replayed = yield* replay(loader, yield* whole.session())
    const { leaked, strayCloses } = replayed
    assert.deepStrictEqual({ leaked, strayCloses }, { leaked: [], strayCloses: 0 })
    return replayed
  })))

const notClosed = (calls: ReadonlyArray<KernelCall>): ReadonlyArray<KernelCall> =>
  calls.filter(({ _tag }) => _tag !== "Close")

const listed = (maps: ReadonlyArray<number>, programs: ReadonlyArray<number> = []) => ({
  maps: maps.map((ref) => ({ name: `map${ref}`, ref, maxEntries: 1 })),
  programs: programs.map((ref) => ({ name: `p${ref}`, ref }))
})

describe.each(["little", "big"] as const)("maps in loaders for %s-endian machines", (byteOrder) => {
  it("maps of maps take their shape from one that is gone then, and hold others", () => {
    const calls = [
      mapCreate(0),
      mapCreate(10, { valueSize: 8 }),
      mapCreate(1, outer, 10),
      close(10),
      update(1, 0, holding(Ref.map(0))),
      mapCreate(11, { valueSize: 8 }),
      mapCreate(2, { ...outer, type: MapType.BPF_MAP_TYPE_HASH_OF_MAPS }, 11),
      close(11),
      update(2, 7, holding(Ref.map(0))),
      update(2, 8, holding(Ref.map(0))),
      progLoad(0, 1, 2, 0)
    ]
    const loader = loaderOf(calls, { byteOrder, listed: listed([0, 1, 2], [0]) })
    const replayed = run(loader)
    assert.strictEqual(replayed.retval, 0)
    assert.deepStrictEqual(replayed.calls, calls)
    assert.deepStrictEqual(
      replayed.maps,
      [Ref.map(0), Ref.map(1), Ref.map(2)].map((ref, at) => replayed.maps[at] && ref)
    )
    for (const [at, call] of notClosed(calls).entries()) {
      const failed = run(loader, calls.indexOf(call))
      assert.strictEqual(failed.retval, -Errno.numbers.EPERM, String(at))
      assert.isTrue([...failed.maps, ...failed.programs].every((ref) => ref === undefined))
    }
  })

  it("templates that are there at the same time, and are filled and mentioned themselves", () => {
    const value = { bytes: new Uint8Array(4), refs: [] }
    const array = { type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 1 }
    const calls = [
      mapCreate(10, array),
      mapCreate(11, array),
      update(10, 0, value),
      update(11, 0, value),
      mapCreate(0, outer, 10),
      mapCreate(1, outer, 11),
      update(0, 1, holding(Ref.map(10))),
      progLoad(0, 11, 0),
      close(10),
      close(11)
    ]
    const replayed = run(loaderOf(calls, { byteOrder, listed: listed([0, 1], [0]) }))
    assert.deepStrictEqual(replayed.calls, calls)
  })

  it("what nobody is handed is closed in the end", () => {
    const calls = [mapCreate(0), mapCreate(9), progLoad(0, 9, 0), progLoad(5)]
    const replayed = run(loaderOf(calls, { byteOrder, listed: listed([0], [0]) }))
    assert.deepStrictEqual(replayed.calls, [
      ...calls,
      { _tag: "Close", ref: Ref.map(9) },
      { _tag: "Close", ref: Ref.prog(5) }
    ])
  })

  it("program arrays hold programs that are loaded by then", () => {
    const calls = [
      mapCreate(0, progArray),
      progLoad(3),
      progLoad(4, 0),
      update(0, 1, holding(Ref.prog(4))),
      update(0, 2, holding(Ref.prog(3)))
    ]
    assert.deepStrictEqual(run(loaderOf(calls, { byteOrder })).calls, calls)
    assert.strictEqual(run(loaderOf(calls, { byteOrder }), 4).retval, -Errno.numbers.EPERM)
  })

  it("what is left out keeps its place in the context", () => {
    const calls = [mapCreate(1), mapCreate(4), progLoad(6, 4), progLoad(2)]
    const loader = loaderOf(calls, { byteOrder, listed: listed([0, 1, 3, 4], [2, 5, 6]) })
    assert.deepStrictEqual(loader.maps.map(({ published, ref }) => [ref, published]), [
      [0, false],
      [1, true],
      [3, false],
      [4, true]
    ])
    assert.deepStrictEqual(loader.programs.map(({ published, ref }) => [ref, published]), [
      [2, true],
      [5, false],
      [6, true]
    ])
    assert.deepStrictEqual(loader.created, {
      maps: [{ name: "map1", ref: 1 }, { name: "map4", ref: 4 }],
      programs: [{ name: "p6", ref: 6 }, { name: "p2", ref: 2 }]
    })
    assert.strictEqual(loader.contextSize, 24 + 4 * 16 + 3 * 4)
    const replayed = run(loader)
    const indexes = (refs: ReadonlyArray<Ref.Ref | undefined>) => refs.map((ref) => ref?.index)
    assert.deepStrictEqual(indexes(replayed.maps), [undefined, 1, undefined, 4])
    assert.deepStrictEqual(indexes(replayed.programs), [2, undefined, 6])
  })

  it("slots of maps that were closed are free again", () => {
    const early = Array.from({ length: 64 }, (_, at) => [mapCreate(at), close(at)]).flat()
    const late = Array.from({ length: 64 }, (_, at) => mapCreate(100 + at))
    const calls = [...early, ...late, progLoad(0, 100, 163)]
    const refs = late.map((_, at) => 100 + at)
    assert.deepStrictEqual(run(loaderOf(calls, { byteOrder, listed: listed(refs, [0]) })).calls, calls)
    const error = errorOf(...late, mapCreate(0))
    assert.strictEqual(error.reason, "TooMany")
    assert.match(error.message, /MapCreate of map0: a loader creates at most 64 maps/)
  })
})

describe("elements of maps", () => {
  it("are set without a key where a map has none, and removed", () => {
    const queue = mapCreate(0, { type: MapType.BPF_MAP_TYPE_QUEUE, keySize: 0 })
    const value = { bytes: Uint8Array.of(1, 2, 3, 4), refs: [] }
    const calls: ReadonlyArray<KernelCall> = [
      queue,
      { ...update(0, 0, value), key: new Uint8Array(0) },
      mapCreate(1),
      update(1, 5, value),
      { _tag: "MapDelete", map: Ref.map(1), key: Uint8Array.of(5, 0, 0, 0) }
    ]
    const replayed = run(loaderOf(calls))
    assert.deepStrictEqual({ retval: replayed.retval, calls: replayed.calls }, { retval: 0, calls })
    const twice = run(loaderOf([...calls, ...calls.slice(-1)]))
    assert.strictEqual(twice.retval, -Errno.numbers.ENOENT)
    const short = { _tag: "MapDelete", map: Ref.map(1), key: new Uint8Array(2) } as const
    assert.match(errorOf(mapCreate(1), short).message, /MapDelete of map1: keys of this map have 4 bytes, not 2/)
    assert.strictEqual(errorOf(short).reason, "BadValue")
  })
})

describe("values of maps", () => {
  it("are refused where they are not what the map holds, with the map named", () => {
    const wrong: ReadonlyArray<readonly [Partial<MapAttributes>, Value]> = [
      [outer, { bytes: new Uint8Array(4), refs: [] }],
      [outer, holding(Ref.prog(0))],
      [progArray, holding(Ref.map(9))],
      [progArray, { bytes: new Uint8Array(4), refs: [{ at: 2, size: 4, to: Ref.prog(0) }] }],
      [progArray, { bytes: new Uint8Array(8), refs: [{ at: 0, size: 8, to: Ref.prog(0) }] }],
      [{ valueSize: 8 }, { bytes: new Uint8Array(8), refs: [{ at: 4, size: 8, to: Ref.prog(0) }] }]
    ]
    for (const [attr, value] of wrong) {
      const error = errorOf(mapCreate(9), progLoad(0), mapCreate(0, attr, 9), update(0, 0, value))
      assert.strictEqual(error.reason, "BadValue")
      assert.match(error.message, /MapUpdate of map0: /)
    }
    assert.strictEqual(errorOf(mapCreate(0, progArray), update(0, 0, holding(Ref.prog(3)))).reason, "BadRef")
    assert.strictEqual(errorOf(mapCreate(0, outer, 3)).reason, "BadRef")
    assert.match(errorOf(mapCreate(9, outer, 9)).message, /MapCreate of map#9: the loader does not have it/)
  })

  it("types of keys alone are refused as the kernel refuses them", () => {
    const btf: KernelCall = { _tag: "BtfLoad", as: Ref.btf(0), bytes: new Uint8Array(8) }
    const types = (key: number, value: number): KernelCall => ({
      _tag: "MapCreate",
      as: Ref.map(0),
      attr: LedgerKernel.plainMap,
      types: { btf: Ref.btf(0), key, value }
    })
    assert.strictEqual(errorOf(btf, types(3, 0)).reason, "BadValue")
    loaderOf([btf, types(3, 4)])
    loaderOf([btf, types(0, 0)])
  })
})

describe("long loaders", () => {
  const many = (count: number): ReadonlyArray<KernelCall> => [
    mapCreate(0, { type: MapType.BPF_MAP_TYPE_ARRAY }),
    ...Array.from(
      { length: count },
      (_, at) => update(0, at % 8, { bytes: Uint8Array.of(at, at >> 8, 0, 0), refs: [] })
    ),
    progLoad(0, 0)
  ]

  const far = many(4000)
  const farLoader = loaderOf(far)

  it("reach the cleanup from everywhere, in steps where it is far", () => {
    const [calls, loader] = [far, farLoader]
    assert.isAbove(Insn.count(loader.insns), 2 * 0x8000)
    const whole = run(loader)
    assert.strictEqual(whole.retval, 0)
    assert.deepStrictEqual(whole.calls, calls)
    for (const at of [1, 1200, 2500, 3999, 4001]) {
      const failed = run(loader, at)
      assert.strictEqual(failed.retval, -Errno.numbers.EPERM)
      assert.strictEqual(notClosed(failed.calls).length, at + 1)
    }
  })

  it("named fault: without the steps a jump would not reach", () => {
    // The distance of the last check, if it went to the cleanup itself.
    assert.isFalse(Insn.fitsOffset(7 - Insn.count(farLoader.insns)))
  })

  it("close thousands of programs", () => {
    const programs = Array.from({ length: 3000 }, (_, at) => progLoad(at))
    const loader = loaderOf(programs)
    assert.strictEqual(run(loader).retval, 0)
    const failed = run(loader, 2999)
    assert.strictEqual(failed.retval, -Errno.numbers.EPERM)
    assert.strictEqual(failed.calls.length, 3000 + 2999)
  })

  it("are refused where they are longer than the kernel takes", () => {
    const calls = many(28_000).map((call): KernelCall =>
      call._tag === "MapUpdate" ? { ...call, overridable: true } : call
    )
    const result = assemble(calls, { logLevel: 1 })
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) assert.match(result.failure.message, /1000000 instructions/)
  })

  it("are refused where the context would be longer than the kernel takes", () => {
    const result = assemble([], { listed: listed(Array.from({ length: 4095 }, (_, at) => at)) })
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) assert.match(result.failure.message, /have 65544 bytes, and the kernel takes 65535/)
    loaderOf([], { listed: listed(Array.from({ length: 4094 }, (_, at) => at)) })
  })
})

describe("loaders that print", () => {
  const fixtures = ["global_data.bpf.o", "ksyms.bpf.o", "ksyms.eb.o", "map_in_map.bpf.o", "prog_array.eb.o"]

  it.effect.each(fixtures)("%s: print what they do, and make the same calls", (name) =>
    Effect.gen(function*() {
      const planned: PlannedObject = yield* deferred(name)
      const silent = run(yield* KernelRecording.record(planned))
      const printing = run(yield* KernelRecording.record(planned, { logLevel: 1 }))
      assert.deepStrictEqual(printing.calls, silent.calls)
      assert.deepStrictEqual(printing.lookedUp, silent.lookedUp)
      assert.deepStrictEqual(silent.printed, [])
      const { printed } = printing
      assert.match(printed[0] ?? "", /^BTF_LOAD of \d+ bytes r=\d+$/)
      assert.match(printed.at(-1) ?? "", /^close\(\d+\) = 0$/)
      const loaded = silent.calls.filter(({ _tag }) => _tag === "ProgLoad").length
      assert.strictEqual(printed.filter((line) => line.startsWith("PROG_LOAD of ")).length, loaded)
      assert.strictEqual(
        printed.filter((line) => line.includes("lookup_name(")).length +
          printed.filter((line) => line.includes("find_by_name_kind(")).length,
        silent.lookedUp.length
      )
    }))

  it("names are printed as they are, but for what would ask for numbers", () => {
    const { printed } = run(loaderOf([mapCreate(0, { name: "a%d%sü" })], { logLevel: 1 }))
    assert.match(printed[0] ?? "", /^MAP_CREATE of a\?d\?s\? r=\d+$/)
  })

  it("failures are printed, and what is closed for them", () => {
    const { printed } = run(loaderOf([mapCreate(0), mapCreate(1)], { logLevel: 1 }), 1)
    assert.match(printed.join("\n"), /^MAP_CREATE of map0 r=\d+\nMAP_CREATE of map1 r=-1\nclose\(\d+\) = 0$/)
  })
})
