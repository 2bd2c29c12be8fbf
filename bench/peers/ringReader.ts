/**
 * Our consumer of a ring buffer on the same records as ring_peer.c: prints the median time.
 * `node ringReader.ts full|live|stream OBJECT RECORDS REPETITIONS`; `stream` is `live` with records decoded to numbers and
 * handed on in the chunks of a stream.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as RingBuffer from "../../src/events/RingBuffer.ts"
import * as RingReader from "../../src/events/RingReader.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { mapNamed, runContext, runNamed, runOften } from "../../test/support/RingProducer.ts"
import { since, timesOf } from "./repeat.ts"

const [, , way = "full", path = "", records = "0", repetitions = "1"] = process.argv
const wanted = Number(records)

/** The number of a record, whose upper half is 0 in every run here. */
const number: RingReader.Readable<number> = { name: "__u64", size: 8, read: (view, at) => view.getUint32(at, true) }

const measured = Effect.gen(function*() {
  const opened = yield* Effect.fromResult(Open.fromBytes(Fs.readFileSync(path)))
  const object = yield* Effect.fromResult(Edit.setMap(opened, "plain", { maxEntries: 1 << 25 }))
  const planned = yield* Plan.plan.run(yield* Relocate.relocate.run(object))
  const loaded = yield* Execute.toLoaded(planned)
  const reader = yield* RingReader.open(loaded.session, [RingReader.source(mapNamed(loaded, "plain"), number)])
  const [ring] = reader.rings
  if (ring === undefined) return yield* Effect.die(new Error("no ring"))
  const stream = RingReader.stream(reader)
  let next = 0
  const wrong = (): never => {
    throw new Error(`record ${next} is another one`)
  }
  const take = (view: DataView, at: number): void => {
    if (view.getUint32(at, true) !== next++) wrong()
  }
  const times: Array<number> = []
  for (let count = 0; count < Number(repetitions); count++) {
    const until = next + wanted
    if (way === "full") {
      yield* runNamed(loaded, "plain_many", runContext({ events: wanted }))
      const begun = process.hrtime.bigint()
      const taken = RingBuffer.take(ring, take)
      times.push(since(begun))
      if (Result.isFailure(taken) || next !== until) return yield* Effect.die(new Error("records are missing"))
      continue
    }
    const begun = process.hrtime.bigint()
    const producer = yield* Effect.forkChild(runOften(loaded, "plain_one", wanted))
    yield* way === "live"
      ? reader.run((view, at) => {
        take(view, at)
        return next < until
      })
      : Stream.runForEachArray(Stream.take(stream, wanted), (numbers) =>
        Effect.sync(() => {
          for (const each of numbers) if (each !== next++) wrong()
        }))
    times.push(since(begun))
    yield* Fiber.join(producer)
  }
  return timesOf(times)
})

const result = await Effect.runPromise(measured.pipe(Effect.scoped, Effect.provide(KernelLive.layer)))
process.stdout.write(`${JSON.stringify(result)}\n`)
