/**
 * Law 6, and the first half of the proof that holds the design together.
 *
 * A deferred plan executed on a session, and the loader recorded from it replayed on an equal session, make the same
 * calls, `Close` apart. When attempt k fails, for every k, the loader returns that error, closes every descriptor that it
 * opened exactly once, and publishes none.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../src/insn/Encode.ts"
import * as Insn from "../../src/insn/Insn.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import type { CodeRef, KernelCall } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { assemble } from "../../src/stages/gen/Assemble.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import { replay, type Replayed, type ReplayOptions } from "../../src/stages/gen/Replay.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as LedgerKernel from "../support/LedgerKernel.ts"
import { runs } from "../support/Require.ts"
import { deferred, recordable } from "../unit/stages/gen/Recorded.ts"

interface Run {
  readonly replayed: Replayed
  readonly attempts: ReadonlyArray<KernelTraced.TracedAttempt>
  readonly ledger: LedgerKernel.Ledger
}

/** Replays a loader on a ledger; the attempt of this number fails, if any. The ledger's mark stands before the session's end. */
const run = (
  loader: LoaderProgram,
  fails?: { readonly at: number; readonly errno: Errno.Errno },
  options?: ReplayOptions
): Run => {
  const ledger = LedgerKernel.make()
  return Effect.runSync(Effect.gen(function*() {
    const kernel: KernelShape = fails === undefined
      ? ledger.kernel
      : yield* KernelFaulty.make(ledger.kernel, fails.at, { _tag: "Answer", errno: fails.errno })
    const traced = yield* KernelTraced.make(kernel)
    const replayed = yield* Effect.scoped(Effect.gen(function*() {
      const session = yield* traced.kernel.session()
      const replayed = yield* replay(loader, session, options)
      ledger.mark("end")
      return replayed
    }))
    return { replayed, attempts: yield* traced.attempts, ledger }
  }))
}

const isNoClose = (call: KernelCall): boolean => call._tag !== "Close"

/** What is still open in the ledger when the loader is over; `undefined` where something was closed that was not open. */
const openAtEnd = ({ ledger }: Run): number | undefined => {
  const open = new Set<number>()
  for (const entry of ledger.entries) {
    if (entry._tag === "Mark") return open.size
    if (entry._tag === "Acquire") open.add(entry.handle)
    if (entry._tag === "Release" && !open.delete(entry.handle)) return undefined
  }
  return undefined
}

/** Breaks of the law by a loader whose attempt `at` fails, as text. */
const breaksAt = (loader: LoaderProgram, at: number, errno: Errno.Errno): ReadonlyArray<string> => {
  const failed = run(loader, { at, errno })
  const { failure, leaked, maps, programs, retval, strayCloses } = failed.replayed
  const found: Array<string> = []
  if (retval !== -Errno.numbers[errno]) found.push(`returns ${retval}`)
  if (failure?._tag !== "KernelError" || failure.errno !== errno) found.push("goes on after the failure")
  if ([...maps, ...programs].some((ref) => ref !== undefined)) found.push("publishes")
  if (leaked.length > 0) found.push(`leaks ${leaked.map(Ref.key).join(", ")}`)
  if (strayCloses > 0) found.push(`closes ${strayCloses} times what is not open`)
  if (openAtEnd(failed) !== 0) found.push(`leaves ${openAtEnd(failed)} open`)
  return found.map((text) => `attempt ${at}: ${text}`)
}

/** Breaks of the law at every attempt. */
const breaks = (loader: LoaderProgram, errno: Errno.Errno = "ENOMEM"): ReadonlyArray<string> => {
  const whole = run(loader)
  const found: Array<string> = []
  if (whole.replayed.retval !== 0) found.push(`returns ${whole.replayed.retval} where nothing fails`)
  if (whole.replayed.strayCloses !== 0) found.push("closes what is not open where nothing fails")
  if (whole.replayed.leaked.length > 0) found.push("leaks where nothing fails")
  const published = [...loader.maps, ...loader.programs].filter((each) => each.published).length
  if (openAtEnd(whole) !== published) found.push(`hands out ${openAtEnd(whole)} descriptors, not ${published}`)
  whole.attempts.forEach(({ call }, at) => {
    if (isNoClose(call)) found.push(...breaksAt(loader, at, errno))
  })
  return found
}

/** What an object may be: maps with or without values, programs that use them, types or none. */
interface Drawn {
  readonly btf: Uint8Array | undefined
  readonly maps: ReadonlyArray<{
    readonly isArray: boolean
    readonly valueSize: number
    readonly maxEntries: number
    readonly name: string
    readonly fill: "none" | "plain" | "overridable"
    readonly freeze: boolean
    readonly closeEarly: boolean
  }>
  readonly programs: ReadonlyArray<{
    readonly uses: ReadonlyArray<{ readonly map: number; readonly offset: number | undefined }>
    readonly name: string
    readonly license: string
    readonly records: number
    readonly core: boolean
  }>
  readonly closeLate: ReadonlyArray<number>
}

const name = fc.string({ maxLength: 24 })

const drawn: fc.Arbitrary<Drawn> = fc.record({
  btf: fc.option(fc.uint8Array({ minLength: 1, maxLength: 60 }), { nil: undefined }),
  maps: fc.array(
    fc.record({
      isArray: fc.boolean(),
      valueSize: fc.integer({ min: 1, max: 40 }),
      maxEntries: fc.integer({ min: 1, max: 0xffff_ffff }),
      name,
      fill: fc.constantFrom("none", "plain", "overridable"),
      freeze: fc.boolean(),
      closeEarly: fc.boolean()
    }),
    { maxLength: 8 }
  ),
  programs: fc.array(
    fc.record({
      uses: fc.array(fc.record({ map: fc.nat(7), offset: fc.option(fc.nat(0xffff_ffff), { nil: undefined }) }), {
        maxLength: 5
      }),
      name,
      license: fc.constantFrom("GPL", "Dual MIT/GPL", ""),
      records: fc.nat(3),
      core: fc.boolean()
    }),
    { maxLength: 5 }
  ),
  closeLate: fc.array(fc.nat(7), { maxLength: 3 })
})

const bytesOf = (length: number, seed: number): Uint8Array => Uint8Array.from({ length }, (_, at) => at * 7 + seed)

/** The calls that load what was drawn. Refs are numbered with gaps, as those of plans are. */
const callsOf = ({ btf, closeLate, maps, programs }: Drawn): ReadonlyArray<KernelCall> => {
  const calls: Array<KernelCall> = []
  const mapRef = (map: number) => Ref.map(3 * map + 1)
  const isUsed = (map: number) => programs.some(({ uses }) => uses.some((use) => use.map === map))
  const closed = new Set<number>()
  if (btf !== undefined) calls.push({ _tag: "BtfLoad", as: Ref.btf(0), bytes: btf })
  maps.forEach(({ closeEarly, fill, freeze, isArray, maxEntries, name, valueSize }, map) => {
    calls.push({
      _tag: "MapCreate",
      as: mapRef(map),
      attr: {
        name,
        type: isArray ? MapType.BPF_MAP_TYPE_ARRAY : MapType.BPF_MAP_TYPE_HASH,
        keySize: 4,
        valueSize,
        maxEntries,
        flags: map,
        numaNode: 0,
        ifindex: 0,
        extra: BigInt(map) << 40n
      },
      ...(btf === undefined ? {} : { types: { btf: Ref.btf(0), key: map, value: map + 1 } })
    })
    if (fill !== "none") {
      calls.push({
        _tag: "MapUpdate",
        map: mapRef(map),
        key: bytesOf(4, map),
        value: { bytes: bytesOf(valueSize, map), refs: [] },
        flags: BigInt(map),
        ...(fill === "overridable" ? { overridable: true } : {})
      })
    }
    if (freeze) calls.push({ _tag: "MapFreeze", map: mapRef(map) })
    if (closeEarly && !isUsed(map)) {
      closed.add(map)
      calls.push({ _tag: "Close", ref: mapRef(map) })
    }
  })
  programs.forEach(({ core, license, name, records, uses }, program) => {
    const real = uses.filter(({ map }) => map < maps.length)
    const refs = real.map(({ map, offset }, use): CodeRef =>
      offset === undefined
        ? { _tag: "MapRef", at: 2 * use, map: mapRef(map) }
        : { _tag: "MapValueRef", at: 2 * use, map: mapRef(map), offset }
    )
    const insns = Encode.program(
      ...real.map(({ offset }) => offset === undefined ? Encode.ldMapFd(1, 0) : Encode.ldMapValue(1, 0, 0)),
      Encode.mov64Imm(0, program),
      Encode.exit()
    )
    const info = { recordSize: 8, records: bytesOf(8 * records, program) }
    const hasInfo = btf !== undefined && records > 0
    calls.push({
      _tag: "ProgLoad",
      as: Ref.prog(2 * program + 5),
      attr: { name, type: program, expectedAttachType: 3, license, kernelVersion: 0x60102, flags: 8, ifindex: 0 },
      code: {
        insns,
        refs,
        ...(hasInfo && core ? { coreRelocations: { recordSize: 16, records: bytesOf(16, 3) } } : {})
      },
      ...(btf === undefined ? {} : { btf: Ref.btf(0) }),
      ...(hasInfo ? { funcInfo: info, lineInfo: { recordSize: 16, records: bytesOf(16 * records, 5) } } : {}),
      log: { level: 0 }
    })
  })
  for (const map of closeLate) {
    if (map >= maps.length || closed.has(map)) continue
    closed.add(map)
    calls.push({ _tag: "Close", ref: mapRef(map) })
  }
  return calls
}

const assembled = (calls: ReadonlyArray<KernelCall>): LoaderProgram => Result.getOrThrow(assemble(calls))

describe("the proof: a loader makes the calls of its plan", () => {
  it.effect.each(recordable)("%s", (name) =>
    Effect.gen(function*() {
      const planned = yield* deferred(name)
      const direct = yield* KernelTraced.make(LedgerKernel.make().kernel)
      yield* Effect.scoped(Execute.toLoaded(planned)).pipe(Effect.provideService(Kernel, direct.kernel))
      const loader = yield* KernelRecording.record(planned)
      const { attempts, replayed } = run(loader)
      assert.strictEqual(replayed.retval, 0)
      // What every kernel refuses, the recording one refuses as well, and the plan goes on without it.
      const made = (all: ReadonlyArray<KernelTraced.TracedAttempt>) =>
        all.flatMap(({ answer, call }) => Result.isSuccess(answer) && isNoClose(call) ? [call] : [])
      // What a loader cannot do was optional, and it says so.
      const calls = made(yield* direct.attempts)
      const bindings = calls.filter((call) => call._tag === "ProgBindMap")
      assert.strictEqual(loader.notes.length, bindings.length)
      assert.deepStrictEqual(made(attempts), calls.filter((call) => call._tag !== "ProgBindMap"))
      assert.isAbove(made(attempts).length, 3)
    }))

  it("of objects that were drawn", () => {
    fc.assert(
      fc.property(drawn, (object) => {
        const calls = callsOf(object)
        const { replayed } = run(assembled(calls))
        assert.strictEqual(replayed.retval, 0)
        // The object's BTF is closed when all is loaded.
        const last: ReadonlyArray<KernelCall> = object.btf === undefined ? [] : [{ _tag: "Close", ref: Ref.btf(0) }]
        assert.deepStrictEqual(replayed.calls, [...calls, ...last])
      }),
      { numRuns: runs(200) }
    )
  })

  it.effect("named fault: a byte of the data that differs is seen", () =>
    Effect.gen(function*() {
      const planned = yield* deferred("global_data.bpf.o")
      const loader = yield* KernelRecording.record(planned)
      const data = new Uint8Array(loader.data)
      const at = loader.maps[0]?.initialValue?.offset ?? 0
      data[at] = (data[at] ?? 0) ^ 1
      const calls = (which: LoaderProgram) => run(which).replayed.calls
      assert.notDeepEqual(calls({ ...loader, data }), calls(loader))
    }))
})

describe("law 6: a loader that fails leaves nothing behind", () => {
  it.effect.each(recordable)("%s, whichever call fails", (name) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(breaks(yield* KernelRecording.record(yield* deferred(name))), [])
    }))

  it("objects that were drawn, whichever call fails", () => {
    fc.assert(
      fc.property(drawn, fc.constantFrom("EPERM", "EINVAL", "ENOENT"), (object, errno) => {
        assert.deepStrictEqual(breaks(assembled(callsOf(object)), errno), [])
      }),
      { numRuns: runs(60) }
    )
  })

  const map = (index: number): KernelCall => ({
    _tag: "MapCreate",
    as: Ref.map(index),
    attr: { ...LedgerKernel.plainMap, name: `map${index}` }
  })

  /** The loader with one instruction changed: the first at which `is` answers true. */
  const spoil = (
    loader: LoaderProgram,
    is: (insns: Uint8Array, at: number) => boolean,
    by: Uint8Array
  ): LoaderProgram => {
    const insns = new Uint8Array(loader.insns)
    for (let at = 0; at < Insn.count(insns); at = Insn.nextSlot(insns, at)) {
      if (!is(insns, at)) continue
      insns.set(by, at * 8)
      return { ...loader, insns }
    }
    return assert.fail("nothing to spoil")
  }
  const nothing = Encode.mov64Reg(0, 0)

  it("named fault: a slot that is not emptied when its descriptor is closed, as in libbpf's loaders, is closed again", () => {
    const loader = assembled([map(0), { _tag: "Close", ref: Ref.map(0) }, map(1)])
    assert.deepStrictEqual(breaks(loader), [])
    // `*(u32 *)(r0 + 0) = 0`
    const spoilt = spoil(loader, (insns, at) => Insn.opcode(insns, at) === 0x62, nothing)
    assert.deepStrictEqual(breaks(spoilt), ["attempt 2: closes 1 times what is not open"])
  })

  it("named fault: a descriptor that the cleanup forgets is seen", () => {
    const loader = assembled([map(0), map(1)])
    const spoilt = spoil(loader, (insns, at) => Insn.isLdImm64(insns, at), Encode.ldMapIdxValue(0, 0, 1272))
    assert.deepStrictEqual(breaks(spoilt), ["attempt 1: leaks map#0", "attempt 1: leaves 1 open"])
  })

  it("named fault: an answer that is not looked at is seen", () => {
    const spoilt = spoil(assembled([map(0), map(1)]), (insns, at) => Insn.opcode(insns, at) === 0xc5, nothing)
    assert.include(breaks(spoilt), "attempt 0: returns 0")
  })
})

describe("what the context asks for", () => {
  it("sizes and initial values replace those of the plan, call by call", () => {
    fc.assert(
      fc.property(drawn, fc.nat(7), fc.integer({ min: 1, max: 0xffff_ffff }), (object, number, maxEntries) => {
        const loader = assembled(callsOf(object))
        fc.pre(number < loader.maps.length)
        const size = loader.maps[number]?.initialValue?.size
        const initialValue = size === undefined ? undefined : bytesOf(size, 99)
        const asked = { maxEntries, ...(initialValue === undefined ? {} : { initialValue }) }
        const { replayed } = run(loader, undefined, { maps: new Map([[number, asked]]) })
        const ref = loader.maps[number]?.ref
        const expected = run(loader).replayed.calls.map((call): KernelCall => {
          if (call._tag === "MapCreate" && call.as.index === ref) return { ...call, attr: { ...call.attr, maxEntries } }
          return call._tag === "MapUpdate" && call.map.index === ref && initialValue !== undefined
            ? { ...call, value: { bytes: initialValue, refs: [] } }
            : call
        })
        assert.deepStrictEqual(replayed.calls, expected)
      }),
      { numRuns: runs(100) }
    )
  })

  it("an initial value that cannot be read is EFAULT, with nothing left open", () => {
    const update: KernelCall = {
      _tag: "MapUpdate",
      map: Ref.map(0),
      key: new Uint8Array(4),
      value: { bytes: new Uint8Array(4), refs: [] },
      flags: 0n,
      overridable: true
    }
    const create: KernelCall = { _tag: "MapCreate", as: Ref.map(0), attr: LedgerKernel.plainMap }
    // Too short for the map.
    const short = { maps: new Map([[0, { initialValue: new Uint8Array(3) }]]) }
    const failed = run(assembled([create, update]), undefined, short)
    assert.strictEqual(failed.replayed.retval, -Errno.numbers.EFAULT)
    assert.strictEqual(openAtEnd(failed), 0)
    assert.strictEqual(failed.replayed.strayCloses, 0)
  })

  it("what the verifier shall say reaches every load", () => {
    const { replayed } = run(
      assembled(callsOf({
        btf: undefined,
        maps: [],
        programs: [{ uses: [], name: "p", license: "GPL", records: 0, core: false }],
        closeLate: []
      })),
      undefined,
      { logLevel: 4 }
    )
    const [load] = replayed.calls
    assert.deepStrictEqual(load?._tag === "ProgLoad" ? load.log : undefined, { level: 4 })
  })
})
