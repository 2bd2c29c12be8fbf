/**
 * Opens and loads objects on the running kernel one after another, each released again, `REPETITIONS` times, and prints the
 * median of a round as a peer does: our side of the benchmarks of loading, in a process of its own because the most memory
 * that it had is measured, too: until each object was loaded once, for later rounds say how much garbage V8 lets lie. `node liveLoads.ts rest|load REPETITIONS OBJECT...`
 *
 * `rest` takes one call after another and leaves out, as `apart_ns`, the time between entering the kernel to load a program
 * and having its answer. `load` measures all, with the programs of an object loaded at the same time.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Kernel from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../src/stages/Stage.ts"
import { peak, since, timesOf } from "./repeat.ts"

const WARM_UP = 5

const [mode = "rest", repetitions = "20", ...paths] = process.argv.slice(2)
const objects = paths.map((path) => ({ path, bytes: new Uint8Array(Fs.readFileSync(path)) }))

let apart = 0
let entered = 0n

/** Sums up the time inside the kernel that programs take to load. */
const clock: Kernel.Observer = {
  before: ({ call }) =>
    Effect.sync(() => {
      if (call._tag === "ProgLoad") entered = process.hrtime.bigint()
    }),
  after: ({ call }) =>
    Effect.sync(() => {
      if (call._tag === "ProgLoad") apart += since(entered)
    })
}

const executed = mode === "rest" ? Execute.execute({ observer: clock, listedOrder: true }) : Execute.execute()

const once = Effect.forEach(
  objects,
  ({ bytes, path }) =>
    Effect.scoped(Stage.pipeline(Open.open({ path }), Relocate.relocate, Plan.plan, executed).run(bytes)),
  { discard: true }
)

const measured = Effect.gen(function*() {
  const times: Array<number> = []
  const loading: Array<number> = []
  let most = 0
  for (let round = -WARM_UP; round < Number(repetitions); round++) {
    apart = 0
    const begun = process.hrtime.bigint()
    yield* once
    const time = since(begun)
    if (most === 0) most = peak()
    if (round < 0) continue
    times.push(time - apart)
    loading.push(apart)
  }
  return {
    ...timesOf(times),
    ...(mode === "rest" ? { apart_ns: timesOf(loading).median_ns } : {}),
    peak_bytes: most
  }
})

const kernel = await Effect.runPromise(Effect.provide(Effect.service(Kernel.Kernel), KernelLive.layer))
const result = await Effect.runPromise(Effect.provideService(measured, Kernel.Kernel, kernel))
process.stdout.write(`${JSON.stringify(result)}\n`)
