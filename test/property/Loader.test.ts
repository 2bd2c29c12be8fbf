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
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import { isProgFunction, type KernelCall, type KernelSymbol } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { assemble, type AssembleOptions } from "../../src/stages/gen/Assemble.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import type { Found, Lookup } from "../../src/stages/gen/Replay.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import { asFound, bytesOf, callsOf, drawn } from "../support/arbitrary/Loader.ts"
import * as LedgerKernel from "../support/LedgerKernel.ts"
import { breaks, isNoClose, openAtEnd, run } from "../support/LoaderLaw.ts"
import { runs } from "../support/Require.ts"
import { deferred, recordable } from "../unit/stages/gen/Recorded.ts"

const assembled = (calls: ReadonlyArray<KernelCall>, options?: AssembleOptions): LoaderProgram =>
  Result.getOrThrow(assemble(calls, options))

/** Calls with symbols of which nothing is said but that they are found. */
const withoutModules = (calls: ReadonlyArray<KernelCall>): ReadonlyArray<KernelCall> => {
  const plain = (symbol: KernelSymbol): KernelSymbol => {
    const { module: _, ...rest } = symbol
    return rest
  }
  return calls.map((call) => {
    if (call._tag !== "ProgLoad") return call
    const { attachTo, code } = call
    return {
      ...call,
      code: {
        ...code,
        refs: code.refs.map((ref) => ref._tag === "SymbolRef" ? { ...ref, symbol: plain(ref.symbol) } : ref)
      },
      ...(attachTo === undefined || isProgFunction(attachTo) ? {} : { attachTo: plain(attachTo) })
    }
  })
}

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
        assert.deepStrictEqual(replayed.calls, [...calls.map(asFound), ...last])
        assert.deepStrictEqual(replayed.printed, [])
      }),
      { numRuns: runs(200) }
    )
  })

  it("is the same whatever the byte order of the machine, and whether or not the loader says what it does", () => {
    fc.assert(
      fc.property(drawn, (object) => {
        const calls = callsOf(object)
        const expected = run(assembled(calls)).replayed
        for (const options of [{ byteOrder: "big" }, { logLevel: 1 }, { byteOrder: "big", logLevel: 1 }] as const) {
          const loader = assembled(calls, options)
          const { calls: made, lookedUp, printed, retval } = run(loader).replayed
          assert.strictEqual(retval, 0)
          assert.deepStrictEqual(made, expected.calls)
          assert.deepStrictEqual(lookedUp, expected.lookedUp)
          // A loader that says what it does says so of each call and of each close that there is.
          if ("logLevel" in options) assert.isAtLeast(printed.length, made.length)
          else assert.deepStrictEqual(printed, [])
        }
      }),
      { numRuns: runs(40) }
    )
  })

  it("named fault: a loader of the other byte order that is taken for one of this is no loader at all", () => {
    const create: KernelCall = { _tag: "MapCreate", as: Ref.map(0), attr: LedgerKernel.plainMap }
    const loader = assembled([create], { byteOrder: "big" })
    assert.deepStrictEqual(run(loader).replayed.calls, [create])
    assert.throws(() => run({ ...loader, byteOrder: "little" }))
  })

  it("symbols are the same wherever they are, and what is weak may be missing", () => {
    fc.assert(
      fc.property(drawn, (object) => {
        const calls = callsOf(object)
        const loader = assembled(calls)
        const inModule = (lookup: Lookup): Found =>
          lookup.kind === "Func" || lookup.kind === "Var" ? { module: "m" } : {}
        const { calls: made, leakedModules, retval } = run(loader, undefined, { find: inModule }).replayed
        assert.deepStrictEqual({ leakedModules, retval }, { leakedModules: [], retval: 0 })
        assert.deepStrictEqual(withoutModules(made), run(loader).replayed.calls)
        const isWeak = ({ name }: Lookup) => object.weak[Number(name.slice(-1))] ?? false
        const missing = run(loader, undefined, { find: (lookup) => isWeak(lookup) ? undefined : {} }).replayed
        assert.strictEqual(missing.retval, 0)
        for (const call of missing.calls) {
          if (call._tag !== "ProgLoad") continue
          // What is left are calls of nothing; variables and addresses that are missing are the number 0.
          const weak = call.code.refs.flatMap((ref) =>
            ref._tag === "SymbolRef" && ref.symbol.weak ? [ref.symbol.resolved] : []
          )
          assert.deepStrictEqual(weak, weak.map(() => ({ absent: true })))
        }
        const strong = run(loader).replayed.lookedUp.find((lookup) => !isWeak(lookup))
        if (strong === undefined) return
        const without = run(loader, undefined, { find: ({ name }) => name === strong.name ? undefined : {} }).replayed
        assert.strictEqual(without.retval, -Errno.numbers.ENOENT)
      }),
      { numRuns: runs(100) }
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
      { numRuns: runs(40) }
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
        programs: [{ uses: [], symbols: [], attachTo: "none", name: "p", license: "GPL", records: 0, core: false }],
        weak: [],
        closeLate: []
      })),
      undefined,
      { logLevel: 4 }
    )
    const [load] = replayed.calls
    assert.deepStrictEqual(load?._tag === "ProgLoad" ? load.log : undefined, { level: 4 })
  })
})
