/**
 * Runs a loader with fewer and fewer descriptors to spare, and prints what came of it and what stayed open. A process of its
 * own, since Node needs descriptors, too: all that can be had are taken, and so many are given back.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import { runLoader } from "../../src/stages/gen/RunLoader.ts"
import { openDescriptors } from "./LiveKernel.ts"
import { planFixture } from "./LoadFixture.ts"

/** The descriptors that `limit` leaves free are taken, all but these. */
const taken: Array<number> = []
const take = (): void => {
  for (;;) {
    try {
      taken.push(Fs.openSync("/dev/null", "r"))
    } catch {
      return
    }
  }
}
const giveBack = (count: number): void => {
  for (const fd of taken.splice(0, count)) Fs.closeSync(fd)
}

const outcomes = await Effect.runPromise(Effect.gen(function*() {
  const live = yield* KernelLive.make
  const recording = yield* KernelRecording.make
  const planned = yield* planFixture("xdp_firewall.bpf.o", { kernel: recording.kernel })
  const loader = yield* KernelRecording.record(planned)
  const run = Effect.scoped(runLoader(loader)).pipe(Effect.provideService(Kernel, live))
  // Everything that is opened once has been.
  yield* run
  const found: Array<{ readonly spare: number; readonly error: string; readonly left: number }> = []
  for (let spare = 1; spare <= 40; spare++) {
    take()
    giveBack(spare)
    const outcome = yield* Effect.result(run)
    giveBack(taken.length)
    const error = Result.isFailure(outcome)
      ? "errno" in outcome.failure ? outcome.failure.errno : outcome.failure._tag
      : ""
    found.push({ spare, error, left: openDescriptors().length })
    if (error === "") break
  }
  return found
}))
process.stdout.write(JSON.stringify(outcomes))
