/**
 * Runs the loop of map look-ups on the running kernel and prints the median call: the peer of the simulated kernel.
 * `node liveMapLoop.ts REPETITIONS array|hash`
 */
import * as Effect from "effect/Effect"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { mapLoop, mapTypes } from "../cases/maps.ts"
import { since, timesOf } from "./repeat.ts"

const repetitions = Number(process.argv[2] ?? 30)
const type = mapTypes[process.argv[3] ?? "array"] ?? 0

const measured = Effect.gen(function*() {
  const { once } = yield* mapLoop(type)
  const times: Array<number> = []
  for (let count = 0; count < repetitions; count++) {
    const begun = process.hrtime.bigint()
    yield* once
    times.push(since(begun))
  }
  return timesOf(times)
})

const result = await Effect.runPromise(measured.pipe(Effect.scoped, Effect.provide(KernelLive.layer)))
process.stdout.write(`${JSON.stringify(result)}\n`)
