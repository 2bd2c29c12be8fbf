/**
 * Sends frames between two AF_XDP sockets of `examples/xsk` in one thread, as `xsk_peer bench` does: prints the median time.
 *
 *   node xskLoop.ts NETNS DEVICE NETNS DEVICE COUNT LENGTH REPETITIONS
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Batch from "../../examples/xsk/Batch.ts"
import * as Redirect from "../../examples/xsk/Redirect.ts"
import * as System from "../../examples/xsk/System.ts"
import * as Traffic from "../../examples/xsk/Traffic.ts"
import * as Xsk from "../../examples/xsk/Xsk.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { since, timesOf } from "./repeat.ts"

const [fromNetns = "", fromDevice = "", toNetns = "", toDevice = "", ...numbers] = process.argv.slice(2)
const [count = 0, length = 0, repetitions = 0] = numbers.map(Number)

/** Frames in one step, and repetitions that are not counted: the peer's. */
const step = 64
const warmUp = 3

const ok = <A>(result: Result.Result<A, Error>): A => Result.getOrThrowWith(result, (error) => error)

const loop = Effect.gen(function*() {
  const sizes = { frames: 4096, frameSize: 2048, receiveFrames: 2048 }
  const common = { mode: "copy", receiveFrames: 2048 } as const
  const from = yield* Xsk.socket(yield* Xsk.umem(sizes), {
    device: fromDevice,
    netns: fromNetns,
    ...common,
    receiveFrames: 0
  })
  const to = yield* Xsk.socket(yield* Xsk.umem(sizes), { device: toDevice, netns: toNetns, ...common })
  yield* Redirect.insert(yield* Redirect.make({ device: toDevice, netns: toNetns }), to)
  const [outgoing, incoming] = [Batch.make(step), Batch.make(2048)]
  const { bytes } = from.umem
  const arrived = to.umem.bytes
  let sum = 0
  const round = (): void => {
    for (let sent = 0, got = 0; got < count;) {
      ok(Traffic.service(from))
      const wanted = Math.min(step, count - sent, 2048 - Traffic.outstanding(from))
      const taken = wanted > 0 ? ok(Traffic.take(from, outgoing, wanted)) : 0
      for (let i = 0; i < taken; i++) {
        const at = outgoing.addresses[i] ?? 0
        bytes.fill(sent++, at, at + length)
        outgoing.lengths[i] = length
      }
      if (taken > 0) ok(Traffic.finish(from, outgoing))
      ok(Traffic.kick(from))
      const ready = ok(Traffic.receive(to, incoming))
      for (let i = 0; i < ready; i++) {
        sum += arrived[(incoming.addresses[i] ?? 0) + (incoming.lengths[i] ?? 0) - 1] ?? 0
      }
      if (ready > 0) {
        ok(Traffic.finish(to, incoming))
        ok(Traffic.service(to))
      }
      got += ready
    }
  }
  const times: Array<number> = []
  for (let repetition = 0; repetition < repetitions + warmUp; repetition++) {
    const begin = process.hrtime.bigint()
    round()
    if (repetition >= warmUp) times.push(since(begin))
  }
  process.stdout.write(JSON.stringify({ ...timesOf(times), sum }))
})

await Effect.runPromise(loop.pipe(Effect.scoped, Effect.provide([System.layer, KernelLive.layer])))
