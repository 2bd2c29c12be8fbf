import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { probeBpf } from "../../test/support/bpfProbe.ts"
import * as Testing from "../../src/testing/Testing.ts"
import type { Case } from "../Harness.ts"

/** Packets of each case: divide by the time. */
const PACKETS = 10_000
const REPETITIONS = 30

const fixtures = Path.join(import.meta.dirname, "../../test/fixtures")

/** The firewall fixture, whose every packet asks a hash and a trie and adds to counters. */
export const firewall: Uint8Array = Fs.readFileSync(Path.join(fixtures, "xdp_firewall.bpf.o"))

const capture = Fs.readFileSync(Path.join(fixtures, "packets.pcap"))

/** The second packet of the capture, a TCP segment of 54 bytes: behind the file's header, the first packet and its own header. */
export const packet: Uint8Array = (() => {
  const second = 24 + 16 + capture.readUInt32LE(24 + 8)
  return capture.subarray(second + 16, second + 16 + capture.readUInt32LE(second + 8))
})()

export default async (): Promise<ReadonlyArray<Case>> => {
  // Lives as long as the process.
  const scope = Effect.runSync(Scope.make())
  const load = (coverage: boolean) =>
    Effect.runPromise(
      Testing.load(firewall).pipe(Scope.provide(scope), Effect.provide(Testing.simulated({ coverage })))
    )
  const plain = await load(false)
  const counted = await load(true)
  const run = (object: Testing.TestObject, repeat: number) => () =>
    Effect.runPromise(object.run("xdp_firewall", { packet, repeat }))
  process.on("exit", () => Effect.runSync(Scope.close(scope, Exit.void)))
  const peer = (packets: number): Pick<Case, "peer"> =>
    probeBpf().available
      ? {
        peer: {
          name: "PROG_TEST_RUN of the running kernel",
          boundary: "in process",
          repetitions: REPETITIONS,
          command: process.execPath,
          args: [Path.join(import.meta.dirname, "../peers/liveTestRun.ts"), String(REPETITIONS), String(packets)]
        }
      }
      : {}
  return [
    {
      name: `simulated: firewall on ${PACKETS} packets`,
      inputBytes: packet.length,
      ours: run(plain, PACKETS),
      ...peer(PACKETS)
    },
    {
      name: "simulated: firewall on one packet, a call each",
      inputBytes: packet.length,
      ours: run(plain, 1),
      ...peer(1)
    },
    {
      name: `simulated: firewall on ${PACKETS} packets, coverage`,
      inputBytes: packet.length,
      ours: run(counted, PACKETS)
    }
  ]
}
