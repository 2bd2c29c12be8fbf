/**
 * The proof over every fixture that a loader can be made of: the calls of its plan, the same end on the simulated kernel,
 * nothing left behind whichever call fails; whatever the byte order, printing or not, changed by its context unless signed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import type { KernelCall } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as Btf from "../../src/btf/Btf.ts"
import * as Result from "effect/Result"
import * as LoaderDiff from "../../src/stages/gen/LoaderDiff.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import { beside, recordObject } from "../support/LoadersBeside.ts"
import { breaks, isNoClose, run } from "../support/LoaderLaw.ts"
import { deferred, recordableAll } from "../unit/stages/gen/Recorded.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

/** What a fixture's loader does, and what its plan says. */
const both = (name: string, options?: KernelRecording.RecordingOptions) =>
  Effect.map(
    Effect.flatMap(deferred(name), (planned) =>
      Effect.map(KernelRecording.record(planned, options), (loader) => ({ planned, loader }))),
    ({ loader, planned }) => ({ loader, planned, replayed: run(loader).replayed })
  )

describe("the loader of a fixture makes the calls of its plan", () => {
  it.effect.each(recordableAll)("%s", (name) =>
    Effect.gen(function*() {
      const { loader, planned, replayed } = yield* both(name)
      assert.deepStrictEqual(LoaderDiff.fromPlan(planned.plan, replayed, loader), [])
      assert.deepStrictEqual([replayed.retval, replayed.leaked, replayed.leakedModules, replayed.strayCloses], [
        0,
        [],
        [],
        0
      ])
      assert.isAbove(replayed.calls.filter(isNoClose).length, 0)
    }))

  it("of all but a few, in both byte orders", () => {
    console.log(`${recordableAll.length} fixtures have loaders`)
    assert.isAtLeast(recordableAll.length, 40)
    assert.isAtLeast(recordableAll.filter((name) => name.endsWith(".eb.o")).length, 10)
  })

  it.effect.each(recordableAll)("%s: also when it says what it does", (name) =>
    Effect.gen(function*() {
      const { replayed: silent } = yield* both(name)
      const { replayed: speaking } = yield* both(name, { logLevel: 1 })
      assert.deepStrictEqual(speaking.calls, silent.calls)
      assert.deepStrictEqual(silent.printed, [])
      assert.isAtLeast(speaking.printed.length, silent.calls.filter(isNoClose).length)
    }))
})

describe("law 6", () => {
  it.effect.each(recordableAll)("%s, whichever call fails and whatever is missing", (name) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(breaks(yield* KernelRecording.record(yield* deferred(name))), [])
    }))
})

/** The loader with other sizes and values asked for in its context: what became of its calls. */
const changed = (loader: LoaderProgram) => {
  const maps = new Map(loader.maps.map(({ initialValue, maxEntries }, number) => [
    number,
    {
      maxEntries: maxEntries + 1,
      ...(initialValue === undefined ? {} : { initialValue: new Uint8Array(initialValue.size).fill(0xa5) })
    }
  ]))
  return run(loader, undefined, { maps }).replayed.calls
}

const refOf = (loader: LoaderProgram, index: number) => loader.maps.find(({ ref }) => ref === index)

describe("what the context asks for", () => {
  it.effect.each(recordableAll)("%s: is done", (name) =>
    Effect.gen(function*() {
      const { loader, replayed } = yield* both(name)
      const expected = replayed.calls.map((call): KernelCall => {
        if (call._tag === "MapCreate" && refOf(loader, call.as.index) !== undefined) {
          const maxEntries = (refOf(loader, call.as.index)?.maxEntries ?? 0) + 1
          return { ...call, attr: { ...call.attr, maxEntries } }
        }
        return call._tag === "MapUpdate" && call.overridable === true
          ? { ...call, value: { ...call.value, bytes: new Uint8Array(call.value.bytes.length).fill(0xa5) } }
          : call
      })
      assert.deepStrictEqual(changed(loader), expected)
    }))

  const isSignable = (name: string) => Result.isSuccess(Effect.runSync(Effect.result(both(name, { signed: true }))))
  const signable = recordableAll.filter(isSignable)

  it.effect.each(signable)("%s: a loader that is to be signed does not care", (name) =>
    Effect.gen(function*() {
      const { loader, replayed } = yield* both(name, { signed: true })
      assert.deepStrictEqual(changed(loader), replayed.calls)
      // It is the same as without, but for what may be changed.
      const { replayed: unsigned } = yield* both(name)
      const plain = (call: KernelCall): KernelCall => {
        if (call._tag !== "MapUpdate") return call
        const { overridable: _, ...rest } = call
        return rest
      }
      assert.deepStrictEqual(replayed.calls.map(plain), unsigned.calls.map(plain))
    }))

  it("some are signable", () => assert.isAtLeast(signable.length, 30))
})

/** A kernel that knows what fixtures ask of kernels. */
const simulated = KernelSimulated.make({
  kconfig: { CONFIG_HZ: "250", CONFIG_BPF_SYSCALL: "y", CONFIG_NET: "y", CONFIG_CC_VERSION_TEXT: "\"clang\"" },
  symbols: { schedule: 0xffff_ffff_8100_0000n },
  ...(Fs.existsSync(vmlinux) ? { types: Result.getOrThrow(Btf.parse(Fs.readFileSync(vmlinux))) } : {})
})

/** Why something differs that does. */
const deliberate: ReadonlyMap<string, { readonly reason: string; readonly of: RegExp }> = new Map([
  ["map_kinds.bpf.o", {
    reason: "every kernel refuses the types of a trie whose key has none, but the simulated one; the recorder knows",
    of: /^map lpm_trie (btfValueTypeId|hasBtf): /
  }]
])

describe("known and deferred plans end alike on the simulated kernel", () => {
  const names = recordableAll.filter((name) => name.endsWith(".bpf.o"))
  let alike = 0

  it.effect.each(names)("%s", (name) =>
    Effect.gen(function*() {
      const outcome = yield* beside(name, (yield* simulated).kernel)
      // Arenas are memory, which the simulated kernel does not keep.
      if (outcome._tag === "NotLoaded") return assert.match(outcome.why, /arena|the kernel does not tell its types/)
      if (outcome._tag === "NotRecorded") return assert.fail(outcome.why)
      const explained = deliberate.get(name)
      assert.deepStrictEqual(outcome.differences.filter((each) => explained?.of.test(each) !== true), [])
      alike++
    }))

  it("most of them", () => {
    console.log(`${alike} of ${names.length} fixtures end alike`)
    assert.isAtLeast(alike, 22)
  })

  it.effect("named fault: a loader that fills a map with something else is seen", () =>
    Effect.gen(function*() {
      const outcome = yield* beside("global_data.bpf.o", (yield* simulated).kernel, {
        record: (object) =>
          Effect.map(recordObject(object), (loader) => {
            const data = new Uint8Array(loader.data)
            const at = loader.maps.find(({ initialValue }) => (initialValue?.size ?? 0) > 0)?.initialValue?.offset ?? 0
            data[at] = (data[at] ?? 0) ^ 1
            return { ...loader, data }
          })
      })
      assert.isAbove(outcome._tag === "Loaded" ? outcome.differences.length : 0, 0)
    }))
})
