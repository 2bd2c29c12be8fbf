/**
 * Arenas on the live kernel: their place in memory, and the variables in them, which programs and this process share.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as ArenaMemory from "../../src/stages/load/ArenaMemory.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Globals from "../../src/stages/load/Globals.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../src/stages/Stage.ts"
import { mappings, openDescriptors } from "../support/LiveKernel.ts"
import { describeWith, fixture } from "../support/Require.ts"

const page = 4096

const opened = (name: string): BpfObject => Result.getOrThrow(Open.fromBytes(fixture(name), { path: name }))

const load = (object: BpfObject) => Stage.pipeline(Relocate.relocate, Plan.plan, Execute.execute()).run(object)

/** Runs on the live kernel, and leaves neither descriptors nor memory behind. */
const live = <A, E>(body: Effect.Effect<A, E, Kernel | Scope.Scope>) =>
  Effect.gen(function*() {
    const before = openDescriptors()
    const exit = yield* Effect.exit(Effect.provide(Effect.scoped(body), KernelLive.layer))
    assert.deepStrictEqual(openDescriptors(), before)
    return yield* exit
  })

const run = Effect.fnUntraced(function*(loaded: Execute.LoadedObject, name: string) {
  const prog = loaded.program(name)
  if (prog === undefined) return assert.fail(`${name} is not loaded`)
  const { retval } = yield* loaded.session.call({
    _tag: "ProgTestRun",
    prog,
    dataOutSize: 0,
    contextOutSize: 0,
    repeat: 0,
    flags: 0,
    cpu: 0,
    batchSize: 0
  })
  return retval
})

const arenaOf = (loaded: Execute.LoadedObject): ArenaMemory.ArenaMemory => {
  const arena = ArenaMemory.of(loaded)
  return arena ?? assert.fail("there is no memory of an arena")
}

describeWith({ kind: "live", linux: "6.9" }, "arenas of the live kernel", () => {
  it.live("lie where the map says; programs and this process see the same variables", () =>
    live(Effect.gen(function*() {
      const loaded = yield* load(opened("arena.bpf.o"))
      const { memory, variables } = arenaOf(loaded)
      assert.strictEqual(memory.address, 1n << 44n)
      assert.strictEqual(memory.bytes.length, 4 * page)
      const globals = yield* Globals.open(loaded)
      assert.strictEqual(yield* globals.get("shared_counter"), 5n)
      assert.deepStrictEqual(yield* globals.get("shared_table"), [1, 2, 3])
      yield* globals.set("shared_counter", 40n)
      yield* globals.set("shared_table", [10, 20, 30])
      assert.strictEqual(yield* run(loaded, "use_arena"), 0)
      assert.strictEqual(yield* globals.get("shared_counter"), 41n)
      assert.deepStrictEqual(yield* globals.get("first_node"), { value: 60n, next: 0n })
      assert.strictEqual(yield* globals.get("sum"), 101n)
      // A pointer that a program left there leads to a place in the memory.
      const head = yield* globals.get("list_head")
      const node = Result.getOrThrow(globals.variable("first_node"))
      if (typeof head !== "bigint" || variables.address === undefined) return assert.fail()
      assert.strictEqual(head - variables.address, BigInt(node.offset))
      assert.strictEqual(variables.loadAcquire64(node.offset), 60n)
    })))

  it.live("lie where the kernel wants, with variables of several types and pages", () =>
    live(Effect.gen(function*() {
      const object = Result.getOrThrow(Edit.setVariable(opened("arena_anywhere.bpf.o"), "negative", -100n))
      const loaded = yield* load(object)
      const { memory } = arenaOf(loaded)
      assert.strictEqual((memory.address ?? 1n) % BigInt(page), 0n)
      const globals = yield* Globals.open(loaded)
      const settings = { port: 8080, level: -3, enabled: true, name: "first", range: { low: 1n << 40n, high: -5 } }
      assert.deepStrictEqual(yield* globals.get("settings"), settings)
      assert.strictEqual(yield* globals.get("untouched"), 0n)
      assert.strictEqual(yield* run(loaded, "change_all"), 77)
      assert.deepStrictEqual(yield* globals.get("settings"), {
        ...settings,
        port: 8081,
        level: -4,
        range: { low: 1n << 40n, high: 5 }
      })
      assert.strictEqual(yield* globals.get("negative"), -105n)
      assert.strictEqual(yield* globals.get("mode"), "MODE_OFF")
      yield* globals.set("table", Array.from({ length: 1100 }, (_, index) => index))
      assert.strictEqual(yield* run(loaded, "change_all"), 1099)
    })))

  it.live("have a place without variables, too, before programs are loaded", () =>
    live(Effect.gen(function*() {
      const loaded = yield* load(opened("arena_empty.bpf.o"))
      assert.strictEqual(yield* run(loaded, "name_arena"), 4)
      const { memory, variables } = arenaOf(loaded)
      assert.strictEqual(memory.bytes.length, 2 * page)
      assert.strictEqual(variables.bytes.length, 0)
    })))

  it.live("are not put over what lies there already, and go with their session", () =>
    live(Effect.gen(function*() {
      const object = opened("arena.bpf.o")
      const before = mappings()
      yield* Effect.scoped(Effect.gen(function*() {
        const first = yield* load(object)
        const refused = yield* Effect.flip(load(object))
        assert.deepInclude(refused, { _tag: "KernelError", call: "MapMmap", errno: "EEXIST" })
        const globals = yield* Globals.open(first)
        assert.strictEqual(yield* globals.get("shared_counter"), 5n)
      }))
      assert.strictEqual(mappings(), before)
      // The place is free again.
      yield* load(object)
    })))

  it.live("refuse a view over the closed memory", () =>
    live(Effect.gen(function*() {
      const loaded = yield* load(opened("arena_anywhere.bpf.o"))
      const { memory, view } = arenaOf(loaded)
      const globals = yield* Globals.open(loaded)
      yield* loaded.session.call({ _tag: "Close", ref: view })
      assert.strictEqual(memory.bytes.length, 0)
      assert.strictEqual(ArenaMemory.of(loaded), undefined)
      const closed = yield* Effect.flip(globals.get("negative"))
      assert.deepInclude(closed, { _tag: "GlobalsError", reason: "Closed" })
    })))

  it.live("writes beside a view, and to one that is for reading, are refused", () =>
    live(Effect.gen(function*() {
      const loaded = yield* load(opened("arena_anywhere.bpf.o"))
      const { view } = arenaOf(loaded)
      const map = loaded.map("arena")
      if (map === undefined) return assert.fail()
      assert.strictEqual((yield* loaded.session.call({ _tag: "MapGetInfo", map })).type, MapType.BPF_MAP_TYPE_ARENA)
      for (const offset of [-1, 0.5, 3 * page - 3, 2 ** 53]) {
        const bytes = new Uint8Array(4)
        const refused = yield* Effect.flip(loaded.session.call({ _tag: "ViewWrite", view, offset, bytes }))
        assert.deepInclude(refused, { _tag: "KernelError", call: "ViewWrite", errno: "EINVAL" })
      }
    })))
})
