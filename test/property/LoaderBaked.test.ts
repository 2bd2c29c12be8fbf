/**
 * The second half of the proof that holds the design together: the deferred and the known plan of one object end in the same
 * maps, contents and instructions. Here for loaders: one that is for any kernel and is told of it when it runs, one that was
 * recorded for the kernel's profile, and a load without either.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel, type KernelShape, type Session } from "../../src/services/Kernel/Kernel.ts"
import * as KernelInfo from "../../src/services/Kernel/KernelInfo.ts"
import * as KernelProfile from "../../src/services/Kernel/KernelProfile.ts"
import * as KernelProfiled from "../../src/services/Kernel/KernelProfiled.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as LoaderInput from "../../src/stages/gen/LoaderInput.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import { runLoader } from "../../src/stages/gen/RunLoader.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import * as LedgerKernel from "../support/LedgerKernel.ts"
import { allFixtures } from "../support/Require.ts"
import { opened } from "../unit/stages/Pipeline.ts"

/** A kernel whose types are the object's own, so that all that it asks of types is there. */
const profileOf = (
  types: Btf.Btf,
  more: Partial<KernelProfile.KernelProfile> = {}
): KernelProfile.KernelProfile => ({
  ...KernelProfile.fromTypesAlone(types),
  release: "6.18.0",
  architecture: "x64",
  pageSize: 16_384,
  possibleCpus: 3,
  kernelVersion: 0x06_12_00,
  features: Object.fromEntries(KernelInfo.features.map((feature) => [feature, true])),
  configuration: [...LedgerKernel.defaultKconfig].map(([key, value]) => `${key}=${value}\n`).join(""),
  modules: [],
  symbols: new Map(),
  ...more
})

const planOf = (object: BpfObject, kernel: KernelShape) =>
  Effect.flatMap(Relocate.relocate.run(object), (relocated) => Plan.plan.run(relocated)).pipe(
    Effect.provideService(Kernel, kernel)
  )

/** The loader of an object, for whatever kernel or for that of a profile. */
const record = (object: BpfObject, profile?: KernelProfile.KernelProfile) =>
  Effect.gen(function*() {
    const { kernel } = yield* KernelRecording.makeWith(profile === undefined ? {} : { profile })
    return yield* KernelRecording.record(yield* planOf(object, kernel))
  })

/** What there is in a session of an object's maps and programs. */
const seen = Effect.fnUntraced(function*(session: Session, object: BpfObject) {
  const found = new Map<string, unknown>()
  for (const [index, { name }] of object.maps.entries()) {
    const map = Ref.map(index)
    if (!session.exists(map)) continue
    const { btfId: _, id: __, ...info } = yield* session.call({ _tag: "MapGetInfo", map })
    // The kernel wants a type of an LPM trie's keys. The simulated one does not, and a loader leaves out what the kernel refuses.
    const types = info.type === MapType.BPF_MAP_TYPE_LPM_TRIE ? { btfKeyTypeId: 0, btfValueTypeId: 0 } : {}
    found.set(`map ${name}`, { ...info, ...types })
    const contents: Array<unknown> = []
    for (let key: Uint8Array | undefined; info.keySize > 0 && contents.length < 512;) {
      const next: Result.Result<Uint8Array | undefined, unknown> = yield* Effect.result(
        session.call({ _tag: "MapNextKey", map, keySize: info.keySize, ...(key === undefined ? {} : { key }) })
      )
      if (Result.isFailure(next) || next.success === undefined) break
      key = next.success
      const { valueSize } = info
      const value = yield* Effect.result(session.call({ _tag: "MapLookup", map, key, valueSize, flags: 0n }))
      contents.push([key, Result.getOrUndefined(value)])
    }
    found.set(`contents of ${name}`, contents)
  }
  for (const [index, { name }] of object.programs.entries()) {
    const prog = Ref.prog(index)
    if (!session.exists(prog)) continue
    const info = yield* session.call({ _tag: "ProgGetInfo", prog, instructions: true })
    found.set(`program ${name}`, [info.type, info.name, info.instructions])
  }
  return found
})

/** What a loader makes on the kernel of a profile. */
const loaded = (loader: LoaderProgram, object: BpfObject, profile: KernelProfile.KernelProfile) =>
  Effect.gen(function*() {
    const { kernel } = yield* KernelProfiled.make(profile)
    return yield* Effect.scoped(
      Effect.flatMap(runLoader(loader), ({ session }) => seen(session, object))
    ).pipe(Effect.provideService(Kernel, kernel))
  })

/** What a load without a loader makes there. */
const direct = (object: BpfObject, profile: KernelProfile.KernelProfile) =>
  Effect.gen(function*() {
    const { kernel } = yield* KernelProfiled.make(profile)
    const planned = yield* planOf(object, kernel)
    return yield* Effect.scoped(
      Effect.flatMap(Execute.toLoaded(planned), ({ session }) => seen(session, object))
    ).pipe(Effect.provideService(Kernel, kernel))
  })

const fixtures = allFixtures().filter((name) => /^[^/]*[.]bpf[.]o$/.test(name))

describe("a loader for any kernel, one for a profile's, and a load", () => {
  it.effect("end in the same maps, contents and instructions, for every fixture that can be loaded so", () =>
    Effect.gen(function*() {
      const compared: Array<string> = []
      const others: Array<string> = []
      for (const name of fixtures) {
        const object = Result.getOrUndefined(Result.try(() => opened(name)))
        if (object?.btf === undefined) continue
        const profile = profileOf(object.btf)
        const whole = yield* Effect.result(direct(object, profile))
        const later = yield* Effect.result(record(object))
        if (Result.isFailure(whole) || Result.isFailure(later)) {
          const why = Result.isFailure(whole) ? whole.failure : Result.isFailure(later) ? later.failure : undefined
          others.push(`${name}: ${why instanceof Error ? why.message.split("\n")[0] : ""}`)
          continue
        }
        const baked = yield* record(object, profile)
        assert.deepStrictEqual(baked.inputs.filter(LoaderInput.isRequired), [], name)
        assert.deepStrictEqual(yield* loaded(later.success, object, profile), whole.success, name)
        assert.deepStrictEqual(yield* loaded(baked, object, profile), whole.success, name)
        compared.push(name)
      }
      console.log(`${compared.length} of ${fixtures.length} fixtures\n  ${others.join("\n  ")}`)
      assert.isAtLeast(compared.length, 20)
    }))

  it.effect("named fault: recorded for another kernel, it ends in other maps and instructions", () =>
    Effect.gen(function*() {
      for (
        const [name, more] of [
          ["events.bpf.o", { possibleCpus: 4 }],
          ["externs.bpf.o", { kernelVersion: 0x06_01_00 }],
          ["core_matches.bpf.o", { vmlinux: otherTypes() }]
        ] as const
      ) {
        const object = opened(name)
        const profile = profileOf(object.btf ?? assert.fail("the fixture has changed"))
        const foreign = yield* record(object, { ...profile, ...more })
        assert.notDeepEqual(yield* loaded(foreign, object, profile), yield* direct(object, profile), name)
      }
    }))

  it.effect("what a profile does not know stays open, addresses always", () =>
    Effect.gen(function*() {
      const externs = opened("externs.bpf.o")
      const types = profileOf(externs.btf ?? assert.fail("the fixture has changed"))
      const { inputs } = yield* record(externs, { ...types, configuration: undefined })
      const [kconfig] = inputs
      if (kconfig?._tag !== "Kconfig") return assert.fail("there is no configuration")
      assert.isTrue(kconfig.values.every(({ name }) => name.startsWith("CONFIG_")))
      const { kernel } = yield* KernelRecording.makeWith({
        profile: { ...types, symbols: new Map([["schedule", "one"]]) }
      })
      const { symbols } = yield* kernel.ask([{ _tag: "Symbol", name: "schedule" }])
      assert.deepStrictEqual(symbols?.get("schedule"), KernelInfo.deferred)
    }))
})

/** Types of a kernel that has nothing. */
const otherTypes = (): Btf.Btf => {
  const editor = BtfEdit.make()
  editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
  return Result.getOrThrow(editor.finish())
}
