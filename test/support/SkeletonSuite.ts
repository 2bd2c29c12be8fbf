/**
 * What skeletons in TypeScript promise, as tests for any kernel: they are registered once with the simulated one and once with
 * the running one.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Kernel } from "../../src/services/Kernel/Kernel.ts"
import type { KernelError } from "../../src/services/Kernel/KernelError.ts"
import * as GlobalData from "../fixtures/skeletons/global_data.skel.ts"
import * as MapInMap from "../fixtures/skeletons/map_in_map.skel.ts"
import * as MapKinds from "../fixtures/skeletons/map_kinds.skel.ts"
import * as TestRun from "../fixtures/skeletons/test_run.skel.ts"
import * as TypedEvents from "../fixtures/skeletons/typed_events.skel.ts"
import * as Firewall from "../fixtures/skeletons/xdp_firewall.skel.ts"

/** IPv4 says the type, and there is no header. */
const malformed = Uint8Array.from([...new Uint8Array(12), 0x08, 0x00])

/** Registers the tests. */
export const skeletons = (layer: Layer.Layer<Kernel, KernelError>): void => {
  const live = <A, E>(name: string, body: () => Effect.Effect<A, E, Kernel | Scope>) =>
    it.live(name, () => Effect.provide(Effect.scoped(body()), layer))

  live(
    "constants are set before the load, as properties or as options, and read afterwards",
    () =>
      Effect.gen(function*() {
        const opened = yield* Firewall.open({ globals: { rodata: { sample_every: 7 } } })
        assert.strictEqual(opened.globals.rodata.sample_every, 7)
        for (const [drop_malformed, action] of [[true, "XDP_DROP"], [false, "XDP_PASS"]] as const) {
          opened.globals.rodata.drop_malformed = drop_malformed
          const loaded = yield* opened.load()
          assert.deepStrictEqual({ ...loaded.globals.rodata }, { ...opened.globals.rodata })
          const ran = yield* loaded.programs.xdp_firewall.run({ packet: malformed })
          assert.strictEqual(ran.action, action)
          assert.strictEqual(loaded.globals.bss.totals.packets, 1n)
        }
      })
  )

  live("live variables are seen by programs and by this process", () =>
    Effect.gen(function*() {
      const { globals, programs } = yield* Firewall.load()
      globals.bss.totals = { packets: 41n, dropped: 0n, events_lost: 0n }
      yield* programs.xdp_firewall.run({ packet: malformed })
      assert.strictEqual(globals.bss.totals.packets, 42n)
      assert.throws(() => Object.assign(globals.rodata, { sample_every: 3 }), TypeError)
    }))

  live("variables of every type are as C initialises them, and take other values", () =>
    Effect.gen(function*() {
      const opened = yield* GlobalData.open()
      const before = { data: { ...opened.globals.data }, rodata: { ...opened.globals.rodata } }
      const loaded = yield* opened.load()
      assert.deepStrictEqual({ ...loaded.globals.data }, before.data)
      assert.deepStrictEqual({ ...loaded.globals.rodata }, before.rodata)
      for (const [section, values] of Object.entries(opened.globals)) {
        for (const [name, value] of Object.entries(values)) {
          // What was read is what can be written.
          Object.assign(values, { [name]: value })
          assert.deepStrictEqual(Reflect.get(values, name), value, `${section}.${name}`)
        }
      }
    }))

  live("maps have other sizes when they are asked to, and typed keys and values", () =>
    Effect.gen(function*() {
      const opened = yield* Firewall.open({ maps: { blocklist: { maxEntries: 3 } } })
      opened.maps.stats.maxEntries = 99
      const { maps } = yield* opened.load()
      assert.strictEqual(maps.blocklist.info.maxEntries, 3)
      assert.strictEqual(maps.stats.info.maxEntries, 99)
      yield* maps.stats.set("PROTOCOL_TCP", { packets: 1n, bytes: 60n })
      yield* maps.stats.set(77, { packets: 2n, bytes: 61n })
      assert.deepStrictEqual(yield* maps.stats.get("PROTOCOL_TCP"), { packets: 1n, bytes: 60n })
      const entries = yield* Stream.runCollect(maps.stats.entries)
      assert.sameDeepMembers(entries.map(([key]) => key), ["PROTOCOL_TCP", 77])
      const network = { prefix_length: 24, address: Uint8Array.of(10, 0, 0, 0) }
      yield* maps.blocklist.set(network, 5n)
      assert.strictEqual(
        yield* maps.blocklist.match({ prefix_length: 32, address: Uint8Array.of(10, 0, 0, 9) }),
        5n
      )
    }))

  live("every kind of map has the handle of its kind", () =>
    Effect.gen(function*() {
      const { maps } = yield* MapKinds.load()
      yield* maps.array.set(0, { count: 4n, label: "four" })
      assert.deepStrictEqual(yield* maps.array.get(0), { count: 4n, label: "four" })
      const values = yield* maps.percpu_array.get(0)
      assert.strictEqual(values?.length, maps.percpu_array.cpus)
      yield* maps.queue.push(3n)
      yield* maps.queue.push(4n)
      assert.strictEqual(yield* maps.queue.pop, 3n)
      yield* maps.bloom_filter.add(5)
      assert.isTrue(yield* maps.bloom_filter.has(5))
      assert.strictEqual(maps.cgroup_array.name, "cgroup_array")
    }))

  live("maps that are not loaded say so when they are asked for", () =>
    Effect.gen(function*() {
      const opened = yield* MapKinds.open({ maps: { queue: { autocreate: false } } })
      const { maps } = yield* opened.load()
      assert.throws(() => maps.queue, /queue: the load did not create it/)
      assert.strictEqual(maps.stack.name, "stack")
    }))

  live("programs run on contexts of their types", () =>
    Effect.gen(function*() {
      const { globals, programs } = yield* TestRun.load()
      const sum = yield* programs.add_in_context.run({ context: { first: 40n, second: 2n, sum: 0n } })
      assert.deepStrictEqual(sum.context, { first: 40n, second: 2n, sum: 42n })
      const trimmed = yield* programs.trim_packet.run({ packet: new Uint8Array(60) })
      assert.deepInclude(trimmed, { action: "XDP_TX", packet: new Uint8Array(58), context: undefined })
      yield* programs.sum_arguments.run({ context: [5n, 6n] })
      assert.deepStrictEqual({ ...globals.bss }, { runs: 0, raw_sum: 11n })
    }))

  live("programs that are not loaded cannot be run", () =>
    Effect.gen(function*() {
      const { programs } = yield* TestRun.load({ programs: { trim_packet: { autoload: false } } })
      assert.isUndefined(programs.trim_packet.ref)
      assert.strictEqual((yield* Effect.flip(programs.trim_packet.run())).message.includes("not loaded"), true)
    }))

  live("records of ring buffers are of the types that their annotations name", () =>
    Effect.gen(function*() {
      const { maps, programs } = yield* TypedEvents.load()
      yield* programs.send_execs.run({ context: { events: 3n, value: 10n, wake_up: 0n } })
      const execs = yield* maps.execs.stream().pipe(Stream.take(3), Stream.runCollect)
      assert.deepStrictEqual(
        execs.map(({ action, command, process, value }) => ({ action, command, process, value })),
        [
          { action: "ACTION_OPEN", command: "worker0", process: 0, value: 10n },
          { action: "ACTION_CLOSE", command: "worker1", process: 1, value: 9n },
          { action: "ACTION_OTHER", command: "worker2", process: 2, value: 8n }
        ]
      )
      yield* programs.send_mixed.run({ context: { events: 2n, value: 5n, wake_up: 0n } })
      const mixed = yield* maps.mixed.stream().pipe(Stream.take(2), Stream.runCollect)
      assert.deepStrictEqual(mixed.map((event) => "status" in event ? event.status : event.command), ["worker0", 4])
    }))

  live("maps of maps lead to typed maps", () =>
    Effect.gen(function*() {
      const { maps } = yield* MapInMap.load()
      yield* maps.first_inner.set(0, 8n)
      const inner = yield* maps.array_of_maps.inner(0)
      assert.strictEqual(inner === undefined ? undefined : yield* inner.get(0), 8n)
    }))
}
