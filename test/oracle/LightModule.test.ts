/** TypeScript light skeletons run: what they load is what the object says, changed as their user asks. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as LoaderInputs from "../../src/stages/gen/LoaderInputs.ts"
import * as Light from "../../src/light.ts"
import * as LightModule from "../support/LightModule.ts"
import { mappings, openDescriptors, u32 } from "../support/LiveKernel.ts"
import { describeWith } from "../support/Require.ts"

type Section = Record<string, number | bigint | boolean | Uint8Array>

/** A generated module, as this test uses it: its own types are checked by another. */
interface Module {
  readonly loader: Light.Description
  readonly open: () => Readonly<Record<string, Section>>
  readonly load: (
    opened?: Readonly<Record<string, Section>>,
    options?: Light.LoadOptions
  ) => Effect.Effect<
    & {
      readonly session: Light.Session
      readonly maps: Readonly<Record<string, Light.MapRef>>
      readonly programs: Readonly<Record<string, Light.ProgRef>>
    }
    & Readonly<Record<string, Section>>,
    Light.LoadError,
    Scope.Scope
  >
}

const moduleOf = Effect.fnUntraced(function*(file: string) {
  const path = Path.join(LightModule.folder(), "skeleton.ts")
  Fs.writeFileSync(path, yield* LightModule.textOf(file, LightModule.runtime))
  return (yield* Effect.promise(() => import(path))) as Module
})

const held = () => ({ descriptors: openDescriptors(), mappings: mappings() })

describeWith({ kind: "live" }, "TypeScript light skeletons on the live kernel", () => {
  it.live("load the object with other values and sizes, and see the variables while programs run", () =>
    Effect.gen(function*() {
      const { load, open } = yield* moduleOf("xdp_firewall.bpf.o")
      const before = held()
      yield* Effect.scoped(Effect.gen(function*() {
        const opened = open()
        if (opened["rodata"] === undefined) return assert.fail("there are no constants")
        opened["rodata"]["sample_every"] = 1
        const loaded = yield* load(opened, { maxEntries: { blocklist: 77 } })
        const { maps, programs, session } = loaded
        const [blocklist, rodata] = [maps["blocklist"], maps["rodata"]]
        const prog = programs["xdp_firewall"]
        if (blocklist === undefined || rodata === undefined || prog === undefined) {
          return assert.fail("not all is there")
        }
        assert.strictEqual((yield* session.call({ _tag: "MapGetInfo", map: blocklist })).maxEntries, 77)
        const lookup = { _tag: "MapLookup", map: rodata, key: u32(0), valueSize: 13, flags: 0n } as const
        const found = yield* session.call(lookup)
        assert.deepStrictEqual(found, opened["rodata"]["bytes"])
        assert.strictEqual(loaded["rodata"]?.["sample_every"], 1)
        const run = {
          _tag: "ProgTestRun",
          prog,
          dataIn: new Uint8Array(60),
          dataOutSize: 0,
          contextOutSize: 0,
          repeat: 3,
          flags: 0,
          cpu: 0,
          batchSize: 0
        } as const
        yield* session.call(run)
        // Packets are counted in memory that the program and this process share.
        const totals = loaded["bss"]?.["totals"]
        if (!(totals instanceof Uint8Array)) return assert.fail("there are no totals")
        assert.strictEqual(new DataView(totals.buffer, totals.byteOffset).getBigUint64(0, true), 3n)
      }))
      assert.deepStrictEqual(held(), before)
    }))

  it.live("whatever attempt fails, nothing is left", () =>
    Effect.gen(function*() {
      const { load } = yield* moduleOf("global_data.bpf.o")
      const kernel = yield* Light.kernel
      yield* Effect.scoped(load(undefined, { kernel }))
      const before = held()
      let failed = 0
      for (let at = 0; at < 12; at++) {
        const faulty = yield* KernelFaulty.make(kernel, at, { _tag: "Answer", errno: "ENOMEM" })
        const exit = yield* Effect.exit(Effect.scoped(load(undefined, { kernel: faulty })))
        if (exit._tag === "Failure") failed++
        assert.deepStrictEqual(held(), before, String(at))
      }
      assert.isAtLeast(failed, 8)
    }))

  it.live("sizes that depend on the machine are found out, and the kernel's configuration is asked for by name", () =>
    Effect.gen(function*() {
      const events = yield* moduleOf("events.bpf.o")
      yield* Effect.scoped(Effect.gen(function*() {
        const { maps, session } = yield* events.load()
        const perf = maps["perf"]
        if (perf === undefined) return assert.fail("there is no such map")
        assert.isAbove((yield* session.call({ _tag: "MapGetInfo", map: perf })).maxEntries, 0)
      }))
      const externs = yield* moduleOf("externs.bpf.o")
      const error = yield* Effect.flip(Effect.scoped(externs.load()))
      assert.instanceOf(error, Light.LightInputError)
      assert.include(error.message, "CONFIG_HZ")
      const inputs = yield* LoaderInputs.ask(Light.program(externs.loader)).pipe(Effect.provide(KernelLive.layer))
      yield* Effect.scoped(Effect.gen(function*() {
        const loaded = yield* externs.load(undefined, { inputs })
        assert.isAbove(Number(loaded["kconfig"]?.["CONFIG_HZ"]), 0)
      }))
    }))
})
