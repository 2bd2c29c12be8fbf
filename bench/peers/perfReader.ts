/**
 * Our consumer of a perf buffer on the same records as perf_peer.c: prints the median time.
 * `node perfReader.ts full|decoded OBJECT RECORDS REPETITIONS`; `decoded` makes an object of each record, with its CPU.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import { decoder } from "../../src/events/perf/PerfDecode.ts"
import * as State from "../../src/events/perf/PerfState.ts"
import * as PerfBuffer from "../../src/events/PerfBuffer.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { since, timesOf } from "./repeat.ts"

const [, , way = "full", path = "", records = "0", repetitions = "1"] = process.argv
const wanted = Number(records)

/** Run where the call says, instead of here. */
const BPF_F_TEST_RUN_ON_CPU = 1

/** The record; the upper half of its number is 0 in every run here. */
const record: PerfBuffer.Readable<{ readonly sequence: number; readonly cpu: number }> = {
  name: "struct record",
  size: 16,
  read: (view, at) => ({ sequence: view.getUint32(at, true), cpu: view.getUint32(at + 8, true) })
}

const measured = Effect.gen(function*() {
  const object = yield* Effect.fromResult(Open.fromBytes(Fs.readFileSync(path)))
  const planned = yield* Plan.plan.run(yield* Relocate.relocate.run(object))
  const loaded = yield* Execute.toLoaded(planned)
  const map = loaded.map("records")
  const prog = loaded.program("send_fast")
  if (map === undefined || prog === undefined) return yield* Effect.die(new Error("the object is another one"))
  // 32 bytes each.
  const pages = 2 ** Math.ceil(Math.log2((wanted * 32 + 4096) / 4096))
  const buffer = yield* PerfBuffer.open(loaded.session, map, { pages })
  const decode = decoder(record, buffer.name)
  let next = 0
  const wrong = (): never => {
    throw new Error(`record ${next} is another one`)
  }
  const handler = {
    sample: (view: DataView, at: number): void => {
      if (view.getUint32(at, true) !== next++) wrong()
    },
    lost: wrong,
    other: wrong
  }
  const times: Array<number> = []
  for (let count = 0; count < Number(repetitions); count++) {
    const until = next + wanted
    const contextIn = new Uint8Array(BigUint64Array.of(BigInt(wanted), 0n, 0n).buffer)
    const room = { dataOutSize: 0, contextOutSize: 0, repeat: 0, batchSize: 0 }
    yield* loaded.session.call({ _tag: "ProgTestRun", prog, contextIn, flags: BPF_F_TEST_RUN_ON_CPU, cpu: 0, ...room })
    const begun = process.hrtime.bigint()
    if (way === "full") {
      if (Result.isFailure(buffer.consume(handler))) wrong()
    } else {
      while (next < until) {
        const { items } = State.drain(buffer.state, decode, 1024, false)
        if (items.length === 0) wrong()
        for (const item of items) if (item._tag !== "Sample" || item.value.sequence !== next++) wrong()
      }
    }
    times.push(since(begun))
    if (next !== until) wrong()
  }
  return timesOf(times)
})

const result = await Effect.runPromise(measured.pipe(Effect.scoped, Effect.provide(KernelLive.layer)))
process.stdout.write(`${JSON.stringify(result)}\n`)
