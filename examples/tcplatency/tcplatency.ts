// How long TCP connections take to be made, one by one and as a histogram:
// sudo node examples/tcplatency/tcplatency.ts [--at-least MICROSECONDS]
//
// In a project of your own, import from "effect-bpf".
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { SocketAddress } from "node:net"
import { parseArgs } from "node:util"
import { RingReader } from "../../src/index.ts"
import { printable, run } from "../run.ts"
import { type connection, load } from "./tcplatency.skel.ts"

const { values: options } = parseArgs({
  options: {
    // Connections that took less are counted, and not printed.
    "at-least": { type: "string", default: "0" }
  }
})

const atLeast = Number(options["at-least"])
if (!(atLeast >= 0)) {
  console.error(`--at-least is a number of microseconds, not ${options["at-least"]}`)
  process.exit(2)
}

const AF_INET = 2

/** The other side, as `192.0.2.1:443` or `[2001:db8::1]:443`. */
const peer = ({ address, family, port }: connection): string => {
  if (family === AF_INET) return `${address.subarray(0, 4).join(".")}:${port}`
  const groups = Array.from(
    { length: 8 },
    (_, at) => ((address[2 * at] ?? 0) << 8 | (address[2 * at + 1] ?? 0)).toString(16)
  )
  // Node writes an address in its shortest form.
  return `[${new SocketAddress({ address: groups.join(":"), family: "ipv6" }).address}]:${port}`
}

const line = (event: connection): string => {
  const milliseconds = (Number(event.nanoseconds) / 1e6).toFixed(3)
  return [
    String(event.pid).padStart(7),
    printable(event.command).padEnd(15),
    peer(event).padEnd(26),
    `${milliseconds} ms`.padStart(14),
    event.established ? "" : " not connected"
  ].join(" ").trimEnd()
}

/** A row for each power of two of microseconds, up to the last that has any. */
const histogram = (counts: ReadonlyArray<bigint>): string => {
  const last = counts.findLastIndex((count) => count > 0n)
  const most = counts.reduce((a, b) => a > b ? a : b, 1n)
  return counts.slice(0, last + 1).map((count, at) =>
    `${`${2 ** at} µs`.padStart(14)} ${String(count).padStart(8)} ${"#".repeat(Number(count * 40n / most))}`.trimEnd()
  ).join("\n")
}

const tcplatency = Effect.gen(function*() {
  const { attach, maps } = yield* load({ globals: { rodata: { at_least: BigInt(Math.round(atLeast * 1000)) } } })
  const connections = yield* maps.connections.open()
  const summary = Effect.gen(function*() {
    const counts = yield* Stream.runCollect(maps.histogram.values)
    if (counts.some((count) => count > 0n)) {
      console.log(`\nconnections by time, each row at least\n${histogram(counts)}`)
    }
    const lost = yield* connections.lost
    if (lost !== undefined && lost > 0n) console.error(`${lost} connections were not reported: the buffer was full`)
  })
  yield* attach()
  console.error("watching TCP connections, Ctrl-C to end")
  yield* Stream.runForEach(RingReader.stream(connections), (event) => Effect.sync(() => console.log(line(event)))).pipe(
    Effect.ensuring(Effect.ignore(summary))
  )
})

await run(tcplatency)
