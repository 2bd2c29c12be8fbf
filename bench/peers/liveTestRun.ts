/**
 * Runs the firewall fixture on a packet on the running kernel, `PACKETS` times per call, and prints the median call: the peer
 * of the simulated kernel. `node liveTestRun.ts REPETITIONS PACKETS`
 *
 * Calls with many packets are timed by the kernel itself, for it waits some 20 ms for its dispatcher of XDP programs before
 * it begins to repeat, however often that is.
 */
import * as Effect from "effect/Effect"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Testing from "../../src/testing/Testing.ts"
import { firewall, packet } from "../cases/simulated.ts"
import { since, timesOf } from "./repeat.ts"

const [repetitions = 100, packets = 1] = process.argv.slice(2).map(Number)

const measured = Effect.gen(function*() {
  const object = yield* Testing.load(firewall)
  const times: Array<number> = []
  for (let count = 0; count < repetitions; count++) {
    const begun = process.hrtime.bigint()
    const { duration } = yield* object.run("xdp_firewall", { packet, repeat: packets })
    times.push(packets > 1 ? duration * packets : since(begun))
  }
  return timesOf(times)
})

const result = await Effect.runPromise(measured.pipe(Effect.scoped, Effect.provide(KernelLive.layer)))
process.stdout.write(`${JSON.stringify(result)}\n`)
