// Tests of the firewall as its author would write them, with vitest. They run on a simulated kernel: no root, no Linux.
// With `Effect.provide(KernelLive.layer)` in the place of `Testing.simulated()` they run on the kernel of the machine.
//
// In a project of your own, import from "effect-bpf".
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { KernelSimulated, Testing } from "../../src/index.ts"
import { type action, load, type network } from "./firewall.skel.ts"
import { networkText, parseNetwork } from "./networks.ts"

const networkOf = (text: string): network => parseNetwork(text) ?? assert.fail(`${text} is no network`)

/** An Ethernet frame with an IP header, and nothing behind it. */
const from = (sender: string): Uint8Array => {
  const { address } = networkOf(sender)
  const devices = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]
  return Uint8Array.from(
    sender.includes(":")
      ? [...devices, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 59, 64, ...address, ...address]
      : [...devices, 0x08, 0x00, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, ...address.subarray(12), 192, 0, 2, 10]
  )
}

const rule = (action: action) => ({ action, reserved: 0, packets: 0n, bytes: 0n })

describe("the firewall", () => {
  it.effect("lets through what no rule is for, unless it is told otherwise", () =>
    Effect.gen(function*() {
      const { globals, programs } = yield* load()
      const { run } = programs.firewall
      assert.strictEqual((yield* run({ packet: from("198.51.100.7") })).action, "XDP_PASS")
      globals.bss.otherwise = "ACTION_DENY"
      assert.strictEqual((yield* run({ packet: from("198.51.100.7") })).action, "XDP_DROP")
      // What is none of IP is not the firewall's.
      assert.strictEqual((yield* run({ packet: new Uint8Array(60) })).action, "XDP_PASS")
      assert.deepInclude(globals.bss, { allowed: 1n, denied: 1n })
    }).pipe(Effect.provide(Testing.simulated())))

  it.effect("decides by the longest network, and counts", () =>
    Effect.gen(function*() {
      const { maps, programs } = yield* load()
      const { run } = programs.firewall
      yield* maps.rules.set(networkOf("198.51.100.0/24"), rule("ACTION_DENY"))
      yield* maps.rules.set(networkOf("198.51.100.7"), rule("ACTION_ALLOW"))
      yield* maps.rules.set(networkOf("2001:db8::/32"), rule("ACTION_DENY"))
      assert.strictEqual((yield* run({ packet: from("198.51.100.8"), repeat: 3 })).action, "XDP_DROP")
      assert.strictEqual((yield* run({ packet: from("198.51.100.7") })).action, "XDP_PASS")
      assert.strictEqual((yield* run({ packet: from("198.51.101.7") })).action, "XDP_PASS")
      assert.strictEqual((yield* run({ packet: from("2001:db8::1") })).action, "XDP_DROP")
      assert.strictEqual((yield* run({ packet: from("2001:db9::1") })).action, "XDP_PASS")
      assert.deepInclude(yield* maps.rules.match(networkOf("198.51.100.9")), { packets: 3n, bytes: 102n })
      // A rule that is gone decides nothing.
      assert.isTrue(yield* maps.rules.delete(networkOf("198.51.100.0/24")))
      assert.strictEqual((yield* run({ packet: from("198.51.100.8") })).action, "XDP_PASS")
    }).pipe(Effect.provide(Testing.simulated())))

  it.effect("is tested line by line", () =>
    Effect.gen(function*() {
      const { maps, programs } = yield* load()
      yield* maps.rules.set(networkOf("198.51.100.0/24"), rule("ACTION_DENY"))
      for (const sender of ["198.51.100.8", "192.0.2.1", "2001:db8::1"]) {
        yield* programs.firewall.run({ packet: from(sender) })
      }
      const simulation = yield* KernelSimulated.Simulation
      const [file] = Testing.Coverage.byFile((yield* simulation.coverage) ?? [])
      const missed = file?.lines.filter(({ count }) => count === 0).map(({ text }) => text.trim()) ?? []
      // Packets that end inside of a header are left.
      assert.isAbove(file?.covered ?? 0, 15)
      assert.isAtMost(missed.length, 3, missed.join("\n"))
    }).pipe(Effect.provide(Testing.simulated())))
})

describe("networks", () => {
  it("are read and written", () => {
    for (
      const [text, written] of [
        ["192.0.2.1", "192.0.2.1/32"],
        ["10.0.0.0/8", "10.0.0.0/8"],
        ["0.0.0.0/0", "0.0.0.0/0"],
        ["2001:db8::7:0/112", "2001:db8:0:0:0:0:7:0/112"],
        ["::/0", "0:0:0:0:0:0:0:0/0"],
        ["::1", "0:0:0:0:0:0:0:1/128"]
      ] as const
    ) assert.strictEqual(networkText(networkOf(text)), written)
    for (const text of ["", "1.2.3", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/8/8", "::/129", "::1%lo", "::ffff:1.2.3.4"]) {
      assert.isUndefined(parseNetwork(text), text)
    }
  })
})
