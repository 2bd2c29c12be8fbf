/** `run` and `plan` on the simulated kernel, in this process: nothing of the machine is needed. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as InProcess from "../../support/InProcess.ts"
import { repository, temporaryFolder } from "../../support/Require.ts"

const fixture = (name: string) => Path.join(repository, "test/fixtures", name)
const firewall = fixture("xdp_firewall.bpf.o")
const capture = fixture("packets.pcap")

/** Runs the command on the simulated kernel: its exit status, and what it prints. */
const command = (...args: ReadonlyArray<string>) => InProcess.command(...args, "--kernel", "simulated")

const file = (name: string, bytes: Uint8Array): string => {
  const path = Path.join(temporaryFolder(), name)
  Fs.writeFileSync(path, bytes)
  return path
}

describe("effect-bpf run --kernel simulated", () => {
  it.live("gives a verdict for each packet of a capture", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* command("run", firewall, "xdp_firewall", "--data-in", capture)
      assert.strictEqual(status, 0)
      assert.match(stdout, /^xdp_firewall ran on 12 packets: XDP_PASS ×10, XDP_DROP ×2$/m)
      assert.notInclude(stdout, "coverage")
    }))

  it.live("shows the lines that ran, as text and as data", () =>
    Effect.gen(function*() {
      const args = ["run", firewall, "xdp_firewall", "--data-in", capture, "--coverage"]
      const text = (yield* command(...args)).stdout
      assert.match(text, /^coverage of .*xdp_firewall\.bpf\.c: \d+ of \d+ lines, [\d.]+ %$/m)
      assert.match(text, /^ +12 +106 {2}void \*end = /m)
      assert.match(text, /^ +- +\d+ {2}/m)
      const { coverage, packets } = JSON.parse((yield* command(...args, "--json")).stdout)
      assert.strictEqual(packets.length, 12)
      assert.deepInclude(coverage[0].lines.find(({ line }: { readonly line: number }) => line === 106), { count: 12 })
      assert.strictEqual(coverage[0].total, coverage[0].lines.length)
      assert.isBelow(coverage[0].percent, 100)
    }))

  it.live("takes contexts, and repeats", () =>
    Effect.gen(function*() {
      const context = file("context", new Uint8Array(BigUint64Array.of(40n, 2n, 0n).buffer))
      const out = Path.join(temporaryFolder(), "out")
      const sum = yield* command("run", fixture("test_run.bpf.o"), "add_in_context", "--ctx-in", context)
      assert.match(sum.stdout, /^add_in_context returned 1 /)
      const packet = file("packet", new Uint8Array(60))
      const args = ["run", fixture("test_run.bpf.o"), "trim_packet", "--data-in", packet, "--data-out", out]
      const trimmed = yield* command(...args, "--repeat", "10", "--json")
      assert.deepInclude(JSON.parse(trimmed.stdout), { retval: 3, action: "XDP_TX" })
      assert.strictEqual(Fs.statSync(out).size, 40)
    }))

  it.live("says where a program went wrong", () =>
    Effect.gen(function*() {
      const context = file("context", new Uint8Array(16))
      const args = ["run", fixture("core_reads.bpf.o"), "read_task", "--ctx-in", context]
      const { status, stderr } = yield* command(...args)
      assert.strictEqual(status, 1)
      assert.match(stderr, /instruction \d+, .*core_reads\.bpf\.c:\d+: nothing implements bpf_get_current_task/)
      const { type } = JSON.parse((yield* command(...args, "--json")).stdout)
      assert.strictEqual(type, "ProgramFault")
    }))
})

describe("effect-bpf plan --kernel simulated", () => {
  it.live("plans for it, and asks nothing of the machine", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* command("plan", firewall)
      assert.strictEqual(status, 0)
      assert.match(stdout, /on the simulated kernel \(Linux 6\.18\.0, x64, little-endian/)
    }))
})
