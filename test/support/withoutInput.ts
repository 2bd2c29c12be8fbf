/** A process whose standard input is closed creates objects of the kernel and prints which descriptors they got. */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { inSession, mapCreate, openDescriptors, progLoad, returning } from "./LiveKernel.ts"

const open = await Effect.runPromise(inSession((session) =>
  Effect.gen(function*() {
    // From now on the kernel hands out number 0.
    Fs.closeSync(0)
    yield* session.call(mapCreate(0))
    yield* session.call(progLoad(0, returning(0)))
    return openDescriptors()
  })
))
Fs.writeSync(1, JSON.stringify({ open, after: openDescriptors() }))
