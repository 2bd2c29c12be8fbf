// A firewall on packets from a file: opens an object, changes its settings, loads it into the running kernel, runs it on
// a capture, and reads what it counted and reported. Where bpf(2) may not be used it says so: node examples/firewall.ts
//
// In a project of your own, import from "effect-bpf" and "effect-bpf/node".
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import type { Kernel, Ref } from "../src/index.ts"
import { Btf, BtfValue, Edit, Execute, Open, Plan, Relocate, RingBuffer, Stage } from "../src/index.ts"
import { KernelLive } from "../src/node.ts"

const fixture = (name: string) => readFileSync(new URL(`../test/fixtures/${name}`, import.meta.url))

// A stage of our own between those of the library: other ports are blocked, and the ring buffer is smaller.
const configure = Stage.make("configure", (object: Open.BpfObject) =>
  Effect.fromResult(Result.flatMap(
    Edit.setVariable(object, "blocked_ports", [23, 8080]),
    (changed) => Edit.setMap(changed, "events", { maxEntries: 4096 })
  )))

const load = Stage.pipeline(
  Open.open({ path: "xdp_firewall.bpf.o" }),
  configure,
  Relocate.relocate,
  Plan.plan,
  Execute.execute()
)

/** What the programs' C types look like here, as far as we use them; `BtfValue` decodes them by the object's own types. */
const Stats = Schema.Struct({ packets: Schema.BigInt, bytes: Schema.BigInt })
const PacketEvent = Schema.Struct({
  protocol: Schema.String,
  reason: Schema.String,
  sport: Schema.Int,
  dport: Schema.Int,
  saddr: Schema.Array(Schema.Int),
  daddr: Schema.Array(Schema.Int)
})

/** The packets of a pcap file, little-endian as ours is: a header of 24 bytes, then records of 16 bytes and a packet. */
const packetsOf = (file: Uint8Array) => {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const packets: Array<Uint8Array> = []
  for (let at = 24; at < file.length; at += 16 + view.getUint32(at + 8, true)) {
    packets.push(file.subarray(at + 16, at + 16 + view.getUint32(at + 8, true)))
  }
  return packets
}

/** Every element of a map, as bytes. */
const entriesOf = Effect.fnUntraced(
  function*(session: Kernel.Session, map: Ref.MapRef, keySize: number, valueSize: number) {
    const entries: Array<{ readonly key: Uint8Array; readonly value: Uint8Array }> = []
    let key = yield* session.call({ _tag: "MapNextKey", map, keySize })
    while (key !== undefined) {
      const value = yield* session.call({ _tag: "MapLookup", map, key, valueSize, flags: 0n })
      if (value !== undefined) entries.push({ key, value })
      key = yield* session.call({ _tag: "MapNextKey", map, key, keySize })
    }
    return entries
  }
)

const firewall = Effect.gen(function*() {
  const { map, object, program, session } = yield* load.run(fixture("xdp_firewall.bpf.o"))
  const { btf } = object
  const [blocklist, events, prog, stats] = [map("blocklist"), map("events"), program("xdp_firewall"), map("stats")]
  if (!btf || !blocklist || !events || !prog || !stats) return yield* Effect.die("the object is another one")
  const encode = (type: string, value: unknown) =>
    Effect.fromResult(BtfValue.encode(btf, Btf.findOne(btf, type) ?? 0, value))
  const decode = <A>(type: string, schema: Schema.Codec<A>, bytes: Uint8Array) =>
    Effect.flatMap(
      Effect.fromResult(BtfValue.decode(btf, Btf.findOne(btf, type) ?? 0, bytes)),
      Schema.decodeUnknownEffect(Schema.toType(schema))
    )

  // Keys and values are JavaScript values, checked against the types that the C source declares.
  const key = yield* encode("ipv4_network", { prefix_length: 24, address: [198, 51, 100, 0] })
  yield* session.call({
    _tag: "MapUpdate",
    map: blocklist,
    key,
    value: { bytes: new Uint8Array(8), refs: [] },
    flags: 0n
  })

  console.log("Verdicts")
  const verdicts = ["aborted", "drop", "pass"]
  for (const [frame, packet] of packetsOf(fixture("packets.pcap")).entries()) {
    const { retval } = yield* session.call({
      _tag: "ProgTestRun",
      prog,
      dataIn: packet,
      dataOutSize: packet.length,
      contextOutSize: 0,
      repeat: 1,
      flags: 0,
      cpu: 0,
      batchSize: 0
    })
    console.log(`  packet ${frame}, ${packet.length} bytes: ${verdicts[retval] ?? retval}`)
  }

  console.log("\nPackets by protocol")
  for (const entry of yield* entriesOf(session, stats, 4, 16)) {
    const protocol = yield* decode("protocol", Schema.String, entry.key)
    const { bytes, packets } = yield* decode("protocol_stats", Stats, entry.value)
    console.log(`  ${protocol.padEnd(16)}packets ${packets}, bytes ${bytes}`)
  }

  console.log("\nEvents of the ring buffer")
  const ring = yield* RingBuffer.open(session, events)
  for (const record of yield* Effect.fromResult(RingBuffer.drain(ring))) {
    const event = yield* decode("packet_event", PacketEvent, record)
    const [from, to] = [event.saddr.slice(0, 4).join("."), event.daddr.slice(0, 4).join(".")]
    console.log(`  dropped ${from}:${event.sport} -> ${to}:${event.dport}, ${event.protocol}: ${event.reason}`)
  }
})

/** Says what is missing where bpf(2) may not be used, wholly or for what this program needs. */
const refused = (reason: string) => Effect.sync(() => console.log(`The firewall is not loaded here: ${reason}`))

const availability = await Effect.runPromise(KernelLive.availability)
await Effect.runPromise(
  availability.available
    ? firewall.pipe(
      Effect.scoped,
      Effect.catchTag("KernelError", (error) => error.errno === "EPERM" ? refused(error.message) : Effect.fail(error)),
      Effect.provide(KernelLive.layer)
    )
    : refused(`${availability.reason}.\nTo see it at work, ${availability.hint}.`)
)
