// A firewall on packets from a file: opens an object, changes its settings, loads it, runs it on a capture, and reads what
// it counted and reported: node examples/firewall.ts [--kernel live|simulated]
//
// In a project of your own, import from "effect-bpf" and "effect-bpf/node".
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { Btf, BtfValue, Edit, Execute, Open, Plan, Relocate, RingBuffer, Stage } from "../src/index.ts"
import { onKernel } from "./kernel.ts"

const fixture = (name: string) => readFileSync(new URL(`../test/fixtures/${name}`, import.meta.url))

// A stage of our own between those of the library: other ports are blocked, and the ring buffer is smaller.
const configure = Stage.make("configure", (object: Open.BpfObject) =>
  Effect.fromResult(Result.flatMap(
    Edit.setVariable(object, "blocked_ports", [23, 8080]),
    (changed) => Edit.setMap(changed, "events", { maxEntries: 4096 })
  )))

const load = Stage.pipeline(Open.open(), configure, Relocate.relocate, Plan.plan, Execute.execute())

/** The packets of a pcap file, little-endian as ours is: a header of 24 bytes, then records of 16 bytes and a packet. */
const packetsOf = (file: Uint8Array) => {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const packets: Array<Uint8Array> = []
  for (let at = 24; at < file.length; at += 16 + view.getUint32(at + 8, true)) {
    packets.push(file.subarray(at + 16, at + 16 + view.getUint32(at + 8, true)))
  }
  return packets
}

// What we expect of the C types `struct protocol_stats` and `struct packet_event`.
const Stats = Schema.Struct({ packets: Schema.BigInt, bytes: Schema.BigInt })
const [Address, Port] = [Schema.Array(Schema.Int), Schema.Int]
const PacketEvent = Schema.Struct({ reason: Schema.String, saddr: Address, daddr: Address, sport: Port, dport: Port })

const firewall = Effect.gen(function*() {
  const { map, object, program, session } = yield* load.run(fixture("xdp_firewall.bpf.o"))
  const { btf } = object
  const [blocklist, events, prog, stats] = [map("blocklist"), map("events"), program("xdp_firewall"), map("stats")]
  if (!btf || !blocklist || !events || !prog || !stats) return yield* Effect.die("the object is another one")

  // Keys, values and events are JavaScript values, encoded and decoded by the types in the object.
  const idOf = (type: string) => Btf.findOne(btf, type) ?? 0
  const encode = (type: string, value: unknown) => Effect.fromResult(BtfValue.encode(btf, idOf(type), value))
  const decode = <A>(type: string, schema: Schema.Codec<A>, bytes: Uint8Array) =>
    Effect.flatMap(
      Effect.fromResult(BtfValue.decode(btf, idOf(type), bytes)),
      Schema.decodeUnknownEffect(Schema.toType(schema))
    )

  const network = yield* encode("ipv4_network", { prefix_length: 24, address: [198, 51, 100, 0] })
  const hits = { bytes: new Uint8Array(8), refs: [] }
  yield* session.call({ _tag: "MapUpdate", map: blocklist, key: network, value: hits, flags: 0n })

  console.log("Verdicts")
  const once = { contextOutSize: 0, repeat: 1, flags: 0, cpu: 0, batchSize: 0 }
  for (const [index, packet] of packetsOf(fixture("packets.pcap")).entries()) {
    const run = { _tag: "ProgTestRun", prog, dataIn: packet, dataOutSize: packet.length, ...once } as const
    const { retval } = yield* session.call(run)
    console.log(`  packet ${index}, ${packet.length} bytes: ${["aborted", "drop", "pass"][retval] ?? retval}`)
  }

  console.log("\nPackets by protocol")
  for (const protocol of ["TCP", "UDP", "ICMP", "ICMPV6", "ARP", "OTHER"]) {
    const key = yield* encode("protocol", `PROTOCOL_${protocol}`)
    const value = yield* session.call({ _tag: "MapLookup", map: stats, key, valueSize: 16, flags: 0n })
    if (value === undefined) continue
    const { bytes, packets } = yield* decode("protocol_stats", Stats, value)
    console.log(`  ${protocol.padEnd(7)} packets ${packets}, bytes ${bytes}`)
  }

  console.log("\nEvents of the ring buffer")
  const ring = yield* RingBuffer.open(session, events)
  for (const record of yield* Effect.fromResult(RingBuffer.drain(ring))) {
    const { daddr, dport, reason, saddr, sport } = yield* decode("packet_event", PacketEvent, record)
    const [from, to] = [saddr.slice(0, 4).join("."), daddr.slice(0, 4).join(".")]
    console.log(`  dropped ${from}:${sport} -> ${to}:${dport}, ${reason}`)
  }
})

await Effect.runPromise(onKernel(firewall))
