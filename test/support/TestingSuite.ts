/**
 * What the testing module promises, as tests for any kernel: they are registered once with the simulated one and once with
 * the running one.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Kernel } from "../../src/services/Kernel/Kernel.ts"
import { KernelError } from "../../src/services/Kernel/KernelError.ts"
import * as Testing from "../../src/testing/Testing.ts"
import { fixture } from "./Require.ts"

const firewallBytes = fixture("xdp_firewall.bpf.o")

const packet = (length = 60): Uint8Array => new Uint8Array(length)

/** Registers the tests. */
export const testing = (layer: Layer.Layer<Kernel, KernelError>): void => {
  const live = <A, E>(name: string, body: () => Effect.Effect<A, E, Kernel | import("effect/Scope").Scope>) =>
    it.live(name, () => Effect.provide(Effect.scoped(body()), layer))

  live("runs a program on a packet, with its constants set before the load", () =>
    Effect.gen(function*() {
      for (const [drop_malformed, action] of [[true, "XDP_DROP"], [false, "XDP_PASS"]] as const) {
        const firewall = yield* Testing.load(firewallBytes, { globals: { drop_malformed } })
        // IPv4 says the type, and there is no header.
        const malformed = Uint8Array.from([...packet(12), 0x08, 0x00])
        assert.strictEqual((yield* firewall.run("xdp_firewall", { packet: malformed })).action, action)
      }
    }))

  live("hands back packets and contexts as programs leave them, contexts by their type", () =>
    Effect.gen(function*() {
      const object = yield* Testing.load(fixture("test_run.bpf.o"))
      const trimmed = yield* object.run("trim_packet", { packet: packet() })
      assert.deepInclude(trimmed, { action: "XDP_TX", packet: packet(58), context: undefined })
      const sum = yield* object.run("add_in_context", { context: { first: 40n, second: 2n } })
      assert.deepInclude(sum, { retval: 1, context: { first: 40n, second: 2n, sum: 42n } })
      const marked = yield* object.run("mark_packet", { packet: packet(), context: { mark: 7 } })
      assert.deepInclude(marked.context, { mark: 12 })
      assert.strictEqual(marked.action, "TC_ACT_REDIRECT")
      assert.strictEqual(marked.packet[0], 0xff)
      yield* object.run("sum_arguments", { context: [5n, 6] })
      assert.strictEqual(yield* object.global("raw_sum"), 11n)
      assert.strictEqual(yield* object.global("runs"), 1)
    }))

  live(
    "reads and writes maps by values, per-CPU ones for each CPU, and whatever else as bytes",
    () =>
      Effect.gen(function*() {
        const firewall = yield* Testing.load(firewallBytes, { maps: { blocklist: { maxEntries: 2 } } })
        const blocklist = yield* firewall.map("blocklist")
        const [one, two, three] = [1, 2, 3].map((last) => ({ prefix_length: 32, address: [10, 0, 0, last] }))
        yield* blocklist.set(one, 1n)
        yield* blocklist.set(two, 2n)
        assert.strictEqual((yield* Effect.flip(blocklist.set(three, 3n)))._tag, "KernelError")
        const found = yield* blocklist.entries
        assert.sameDeepMembers(found.map(({ value }) => value), [1n, 2n])
        yield* blocklist.delete(one)
        assert.isUndefined(yield* blocklist.get(one))
        assert.strictEqual(yield* blocklist.get(Uint8Array.of(32, 0, 0, 0, 10, 0, 0, 2)), 2n)

        const kinds = yield* Testing.load(fixture("map_kinds.bpf.o"))
        const counters = yield* kinds.map("percpu_array")
        const values = yield* counters.get(0)
        if (!Array.isArray(values)) return assert.fail("the values of a per-CPU map are an array")
        yield* counters.set(0, values.map((_, cpu) => ({ count: BigInt(cpu + 1) })))
        const again = yield* counters.get(0)
        assert.deepStrictEqual(
          Array.isArray(again) ? again.map((value) => value.count) : again,
          values.map((_, cpu) => BigInt(cpu + 1))
        )
      })
  )

  live("reads and writes globals of a loaded object; constants stay", () =>
    Effect.gen(function*() {
      const firewall = yield* Testing.load(firewallBytes)
      yield* firewall.setGlobal("totals", { packets: 5n })
      yield* firewall.run("xdp_firewall", { packet: packet() })
      assert.deepStrictEqual(yield* firewall.global("totals"), { packets: 6n, dropped: 0n, events_lost: 0n })
      const refused = yield* Effect.flip(firewall.setGlobal("sample_every", 2))
      assert.isTrue(refused instanceof KernelError && refused.errno === "EPERM")
    }))

  live("takes the events of ring buffers, once each, by their type or as bytes", () =>
    Effect.gen(function*() {
      const firewall = yield* Testing.load(firewallBytes, { globals: { sample_every: 1 } })
      yield* firewall.run("xdp_firewall", { packet: packet(), repeat: 2 })
      const events = yield* firewall.events("events", "packet_event")
      assert.strictEqual(events.length, 2)
      assert.deepInclude(events[1], { sequence: 2n, length: 60, reason: "REASON_SAMPLED", verdict: "VERDICT_PASS" })
      assert.deepStrictEqual(yield* firewall.events("events"), [])
      yield* firewall.run("xdp_firewall", { packet: packet() })
      const [bytes] = yield* firewall.events("events")
      assert.isTrue(bytes instanceof Uint8Array && bytes.length === 64)
    }))

  live("says what there is, where a test names what there is not", () =>
    Effect.gen(function*() {
      const firewall = yield* Testing.load(firewallBytes)
      const said = (effect: Effect.Effect<unknown, { readonly message: string }>) =>
        Effect.map(Effect.flip(effect), ({ message }) => message)
      assert.match(yield* said(firewall.run("tc_firewall")), /no such program\nhint: programs: xdp_firewall/)
      assert.match(yield* said(firewall.map("nothing")), /no such map\nhint: maps: stats, blocklist, events/)
      assert.match(yield* said(firewall.global("nothing")), /no such global variable\nhint: variables: .*totals/)
      assert.match(yield* said(firewall.events("events", "nothing")), /no one type of this name/)
      const blocklist = yield* firewall.map("blocklist")
      assert.match(yield* said(blocklist.get({ prefix_length: "long" })), /prefix_length/)
      for (const repeat of [-1, 0.5, 2 ** 32]) {
        const run = firewall.run("xdp_firewall", { packet: packet(), repeat })
        assert.include(yield* said(run), `repeat: "${repeat}" does not fit the field`)
      }
      const unloaded = yield* Testing.load(fixture("test_run.bpf.o"), { programs: ["trim_packet"] })
      assert.match(yield* said(unloaded.run("allow_short", { packet: packet() })), /it was not loaded/)
      const gone = yield* Effect.scoped(Testing.load(firewallBytes))
      assert.match(
        yield* said(gone.run("xdp_firewall", { packet: packet() })),
        /it is loaded no more: its scope is over/
      )
    }))
}
