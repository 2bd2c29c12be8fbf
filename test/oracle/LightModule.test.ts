/** TypeScript light skeletons run: what they load is what the object says, changed as their user asks. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as LoaderInputs from "../../src/stages/gen/LoaderInputs.ts"
import type * as RingReader from "../../src/events/RingReader.ts"
import * as Light from "../../src/light.ts"
import type * as LightAttach from "../../src/light/Attach.ts"
import * as LightModule from "../support/LightModule.ts"
import { mappings, openDescriptors, u32 } from "../support/LiveKernel.ts"
import { describeWith } from "../support/Require.ts"

type Section = Record<string, unknown>

/** A map of any kind. */
interface AnyMap {
  readonly ref: Light.MapRef
  readonly get: (key: unknown) => Effect.Effect<unknown, Error>
  readonly set: (key: unknown, value: unknown) => Effect.Effect<void, Error>
  readonly match: (key: unknown) => Effect.Effect<unknown, Error>
  readonly open: () => Effect.Effect<RingReader.RingReader<unknown>, Error, Scope.Scope>
}

/** A program of any kind. */
interface AnyProgram {
  readonly ref: Light.ProgRef
  readonly attach: (target?: unknown) => Effect.Effect<LightAttach.Link, Error, Scope.Scope>
}

interface Loaded {
  readonly session: Light.Session
  readonly maps: Readonly<Record<string, AnyMap>>
  readonly programs: Readonly<Record<string, AnyProgram>>
}

/** A generated module, as this test uses it: its own types are checked by another. */
interface Module {
  readonly loader: Light.Description
  readonly open: () => Readonly<Record<string, Section>>
  readonly load: (
    opened?: Readonly<Record<string, Section>>,
    options?: Light.LoadOptions
  ) => Effect.Effect<
    Loaded & Readonly<Record<string, Section>>,
    Light.LoadError,
    Scope.Scope
  >
  readonly attach: (loaded: Loaded) => Effect.Effect<Readonly<Record<string, unknown>>, Error, Scope.Scope>
}

const moduleOf = Effect.fnUntraced(function*(file: string) {
  const path = Path.join(LightModule.folder(), "skeleton.ts")
  Fs.writeFileSync(path, yield* LightModule.textOf(file, LightModule.runtime))
  return (yield* Effect.promise(() => import(path))) as Module
})

/** Runs a program once. */
const run = ({ session }: Loaded, prog: Light.ProgRef, given: { dataIn?: Uint8Array; contextIn?: Uint8Array }) =>
  session.call({
    _tag: "ProgTestRun",
    prog,
    ...given,
    dataOutSize: 0,
    contextOutSize: given.contextIn?.length ?? 0,
    repeat: given.dataIn === undefined ? 0 : 1,
    flags: 0,
    cpu: 0,
    batchSize: 0
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
        const [blocklist, rodata] = [maps["blocklist"]?.ref, maps["rodata"]?.ref]
        const prog = programs["xdp_firewall"]?.ref
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
        assert.deepStrictEqual(totals, { packets: 3n, dropped: 0n, events_lost: 0n })
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
        const perf = maps["perf"]?.ref
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

  it.live("maps have keys and values of their types, sections take whole values", () =>
    Effect.gen(function*() {
      const { load, open } = yield* moduleOf("xdp_firewall.bpf.o")
      const before = held()
      yield* Effect.scoped(Effect.gen(function*() {
        const opened = open()
        const rodata = opened["rodata"]
        if (rodata === undefined) return assert.fail("there are no constants")
        rodata["blocked_ports"] = [23, 0, 0, 65535]
        assert.throws(() => {
          rodata["blocked_ports"] = [23, 0, 0, 65536]
        }, /\[3\]: 65536 does not fit 16 bits/)
        assert.throws(() => {
          rodata["blocked_ports"] = [1, 2, 3, 4, 5]
        }, /too many/)
        const loaded = yield* load(opened)
        assert.deepStrictEqual(loaded["rodata"]?.["blocked_ports"], [23, 0, 0, 65535])
        const { blocklist, stats } = loaded.maps
        const prog = loaded.programs["xdp_firewall"]?.ref
        if (blocklist === undefined || stats === undefined || prog === undefined) return assert.fail("not all is there")
        yield* run(loaded, prog, { dataIn: new Uint8Array(60) })
        assert.deepStrictEqual(yield* stats.get("PROTOCOL_OTHER"), { packets: 1n, bytes: 60n })
        assert.isUndefined(yield* stats.get("PROTOCOL_TCP"))
        yield* blocklist.set({ prefix_length: 8, address: Uint8Array.of(10, 0, 0, 0) }, 7n)
        assert.strictEqual(yield* blocklist.match({ prefix_length: 32, address: Uint8Array.of(10, 1, 2, 3) }), 7n)
        const error = yield* Effect.flip(blocklist.set({ prefix_length: 8, address: Uint8Array.of(1, 2, 3, 4, 5) }, 7n))
        assert.include(error.message, "address: 5 bytes are too many")
      }))
      assert.deepStrictEqual(held(), before)
    }))

  it.live("records of annotated ring buffers are values of their types", () =>
    Effect.gen(function*() {
      const { load } = yield* moduleOf("typed_events.bpf.o")
      const before = held()
      yield* Effect.scoped(Effect.gen(function*() {
        const loaded = yield* load()
        const { execs, mixed } = loaded.maps
        const { send_execs, send_mixed } = loaded.programs
        if (execs === undefined || mixed === undefined || send_execs === undefined || send_mixed === undefined) {
          return assert.fail("not all is there")
        }
        const contextIn = new Uint8Array(24)
        new DataView(contextIn.buffer).setBigUint64(0, 100n, true)
        yield* run(loaded, send_execs.ref, { contextIn })
        yield* run(loaded, send_mixed.ref, { contextIn })
        const reader = yield* execs.open()
        const records = yield* reader.take
        assert.strictEqual(records.length, 100)
        assert.deepStrictEqual(records[7], {
          sequence: 7n,
          process: 7,
          action: "ACTION_CLOSE",
          value: -7n,
          position: { x: 7, y: -7 },
          command: "worker7",
          ports: [7, 8, 443, 65535],
          urgent: 1,
          level: 7,
          octets: Uint8Array.of(7, 0, 255)
        })
        const [first, second] = yield* (yield* mixed.open()).take
        assert.include(first, { sequence: 100n, action: "ACTION_OPEN" })
        assert.deepStrictEqual(second, { sequence: 101n, status: -1, killed: true })
        assert.strictEqual(loaded["bss"]?.["sequence"], 200n)
      }))
      assert.deepStrictEqual(held(), before)
    }))

  it.live("programs are attached by what their sections say, as long as a scope", () =>
    Effect.gen(function*() {
      const { attach, load } = yield* moduleOf("typed_events.bpf.o")
      const before = held()
      yield* Effect.scoped(Effect.gen(function*() {
        const loaded = yield* load()
        const seen = () => loaded["bss"]?.["sequence"]
        const rename = () => Fs.writeFileSync("/proc/self/comm", "effect-bpf")
        rename()
        assert.strictEqual(seen(), 0n)
        yield* Effect.scoped(Effect.gen(function*() {
          const links = yield* attach(loaded)
          assert.deepStrictEqual(Object.keys(links), ["send_samples"])
          rename()
          // Other tasks may be renamed, too.
          assert.isAtLeast(Number(seen()), 1024)
        }))
        const after = seen()
        rename()
        assert.strictEqual(seen(), after)
        // What is given counts instead of what the section says.
        const error = yield* Effect.flip(
          Effect.scoped(loaded.programs["send_samples"]?.attach({ name: "no_such_tracepoint" }) ?? Effect.void)
        )
        assert.include(String(error), "no such tracepoint")
      }))
      assert.deepStrictEqual(held(), before)
    }))
})
