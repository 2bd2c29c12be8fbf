// Tests of the firewall as its author would write them, with vitest. They run on a simulated kernel: no root, no Linux.
// With `Effect.provide(KernelLive.layer)` in the place of `Testing.simulated()` they run on the kernel of the machine.
//
// In a project of your own, import from "effect-bpf".
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { Testing } from "../src/index.ts"

const object = readFileSync(new URL("../test/fixtures/xdp_firewall.bpf.o", import.meta.url))

/** An Ethernet frame with a TCP segment from 198.51.100.7 to a port of 192.0.2.10. */
const tcp = (port: number): Uint8Array => {
  const ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00]
  const ip = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 198, 51, 100, 7, 192, 0, 2, 10]
  const segment = [0xc0, 0x00, port >> 8, port & 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]
  return Uint8Array.from([...ethernet, ...ip, ...segment])
}

describe("the firewall", () => {
  it.effect("drops what goes to blocked ports, and reports it", () =>
    Effect.gen(function*() {
      const firewall = yield* Testing.load(object, { globals: { blocked_ports: [23, 8080] } })
      assert.strictEqual((yield* firewall.run("xdp_firewall", { packet: tcp(8080) })).action, "XDP_DROP")
      assert.strictEqual((yield* firewall.run("xdp_firewall", { packet: tcp(443) })).action, "XDP_PASS")

      const [event, ...more] = yield* firewall.events("events", "packet_event")
      assert.deepInclude(event, { reason: "REASON_BLOCKED_PORT", dport: 8080, sequence: 1n })
      assert.deepStrictEqual(more, [])
    }).pipe(Effect.provide(Testing.simulated())))

  it.effect("drops what comes from blocked networks, and counts it", () =>
    Effect.gen(function*() {
      const firewall = yield* Testing.load(object)
      const blocklist = yield* firewall.map("blocklist")
      const network = { prefix_length: 24, address: [198, 51, 100, 0] }
      yield* blocklist.set(network, 0n)
      assert.strictEqual((yield* firewall.run("xdp_firewall", { packet: tcp(443), repeat: 3 })).action, "XDP_DROP")

      assert.strictEqual(yield* blocklist.get(network), 3n)
      assert.deepStrictEqual(yield* (yield* firewall.map("stats")).get("PROTOCOL_TCP"), { packets: 3n, bytes: 162n })
      assert.deepStrictEqual(yield* firewall.global("totals"), { packets: 3n, dropped: 3n, events_lost: 0n })
    }).pipe(Effect.provide(Testing.simulated())))

  it.effect("looks at packets of every kind", () =>
    Effect.gen(function*() {
      const firewall = yield* Testing.load(object)
      yield* firewall.run("xdp_firewall", { packet: tcp(443) })
      const [file] = Testing.Coverage.byFile((yield* firewall.coverage) ?? [])
      // What a single TCP packet does not reach: the lines of other protocols, VLAN tags and drops.
      assert.isAbove(file?.covered ?? 0, 30)
      assert.isBelow(file?.covered ?? 0, file?.lines.length ?? 0)
    }).pipe(Effect.provide(Testing.simulated())))
})
