// Sends back what arrives on a queue of a network device, in place, past the network stack:
//
//   node examples/xsk/echo.ts                      between two network namespaces that it makes, with a sender that checks all
//   node examples/xsk/echo.ts DEVICE [QUEUE]       on a device, until it is interrupted; all that arrives on the queue comes here
//
// In a project of your own, copy this folder and import from "effect-bpf" and "effect-bpf/node".
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import { KernelLive } from "../../src/node.ts"
import { Action, type Batch } from "./Batch.ts"
import * as Redirect from "./Redirect.ts"
import * as System from "./System.ts"
import * as Xsk from "./Xsk.ts"

/** Exchanges `length` bytes at `from` with those that follow them. */
const swap = (bytes: Uint8Array, from: number, length: number): void => {
  for (let i = from; i < from + length; i++) {
    const kept = bytes[i] ?? 0
    bytes[i] = bytes[i + length] ?? 0
    bytes[i + length] = kept
  }
}

/** Turns packets round: Ethernet addresses, and of UDP over IPv4 addresses and ports. Sums stay what they are. */
const turnRound = (batch: Batch, bytes: Uint8Array): void => {
  for (let i = 0; i < batch.count; i++) {
    const at = batch.addresses[i] ?? 0
    const length = batch.lengths[i] ?? 0
    if (length < 14) continue
    swap(bytes, at, 6)
    const isIpv4 = bytes[at + 12] === 0x08 && bytes[at + 13] === 0x00 && length >= 34
    if (isIpv4) swap(bytes, at + 26, 4)
    const header = ((bytes[at + 14] ?? 0) & 15) * 4
    if (isIpv4 && bytes[at + 23] === 17 && length >= 14 + header + 8) swap(bytes, at + 14 + header, 2)
    batch.actions[i] = Action.Send
  }
}

/** A socket on a queue, to which the queue's packets go. */
const open = Effect.fnUntraced(function*(device: string, netns?: string, queue = 0) {
  const place = { device, queue, ...(netns === undefined ? {} : { netns }) }
  const umem = yield* Xsk.umem({ frames: 4096, frameSize: 2048 })
  const socket = yield* Xsk.socket(umem, place)
  yield* Redirect.insert(yield* Redirect.make(place), socket)
  return socket
})

const ip = (...args: ReadonlyArray<string>): void => {
  const { status, stderr } = ChildProcess.spawnSync("ip", args, { encoding: "utf8" })
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr.trim()}`)
}

/** Two network namespaces that a pair of devices connects, `near` and `far`, until the scope closes. */
const namespaces = Effect.acquireRelease(
  Effect.sync(() => {
    const [near, far] = [`echo${process.pid}a`, `echo${process.pid}b`]
    ip("netns", "add", near)
    ip("netns", "add", far)
    ip("-n", near, "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", far)
    ip("-n", near, "link", "set", "near", "up", "addrgenmode", "none")
    ip("-n", far, "link", "set", "far", "up", "addrgenmode", "none")
    return { near, far }
  }),
  ({ far, near }) => Effect.sync(() => [near, far].forEach((name) => ip("netns", "del", name)))
)

const frames = 10_000

/** A datagram with its number, whose addresses say which way it goes. */
const write = (bytes: Uint8Array, at: number, index: number): number => {
  bytes.fill(0, at, at + 64)
  bytes.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0, 0, 50], at)
  bytes.set([64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x10, 0x00, 0, 7, 0, 30], at + 22)
  new DataView(bytes.buffer, at + 42).setUint32(0, index)
  return 64
}

const demonstration = Effect.gen(function*() {
  const { far, near } = yield* namespaces
  const echo = yield* open("far", `/run/netns/${far}`)
  const socket = yield* open("near", `/run/netns/${near}`)
  yield* Effect.forkScoped(Xsk.run(echo, turnRound))

  let [returned, turned] = [0, 0]
  yield* Effect.forkScoped(Xsk.run(socket, (batch, bytes) => {
    for (let i = 0; i < batch.count; i++) {
      const at = batch.addresses[i] ?? 0
      // Its own address comes first now, and its number is the next.
      if (new DataView(bytes.buffer, at + 42).getUint32(0) === returned && bytes[at + 5] === 1) turned++
      returned++
    }
  }))
  const begin = performance.now()
  for (let sent = 0; sent < frames; sent += 100) {
    const first = sent
    while (first - returned > 900) yield* Effect.yieldNow
    yield* Xsk.sendWith(socket, 100, (bytes, at, index) => write(bytes, at, first + index))
  }
  while (returned < frames && performance.now() - begin < 10_000) yield* Effect.sleep(1)
  const seconds = (performance.now() - begin) / 1000
  console.log(`sent ${frames} datagrams, ${returned} came back, ${turned} in their order and turned round`)
  console.log(`${Math.round(returned / seconds / 1000)} thousand there and back in a second`)
  const { rxDropped, rxRingFull } = yield* Xsk.statistics(echo)
  console.log(`the kernel has dropped ${rxDropped + (rxRingFull ?? 0n)} of them`)
})

const onDevice = Effect.fnUntraced(function*(device: string, queue: number) {
  const socket = yield* open(device, undefined, queue)
  console.log(`echoing on ${device}, queue ${queue}${(yield* Xsk.isZeroCopy(socket)) ? ", without copies" : ""}`)
  return yield* Xsk.run(socket, turnRound)
})

const [device, queue = "0"] = process.argv.slice(2)
const program = device === undefined ? demonstration : onDevice(device, Number(queue))
const interrupted = new AbortController()
process.once("SIGINT", () => interrupted.abort())
await Effect.runPromise(
  program.pipe(Effect.scoped, Effect.provide([System.layer, KernelLive.layer])),
  { signal: interrupted.signal }
).catch((error: unknown) => {
  if (interrupted.signal.aborted) return
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
