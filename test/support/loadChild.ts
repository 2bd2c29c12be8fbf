/**
 * A process that loads objects for another one: takes messages of what to load and answers each with an `OurLoad`, and
 * with the number of BPF descriptors that are left open.
 *
 * Loading strange objects can take the verifier long, and could end a process; here it ends only this one.
 */
import * as Fs from "node:fs"
import { type LoadOptions, loadOurs, openDescriptors } from "./LoadOurs.ts"

process.on("message", (options: LoadOptions) => {
  loadOurs(new Uint8Array(Fs.readFileSync(options.path)), options).then(
    (load) => process.send?.({ load, leaked: openDescriptors() }),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`)
      process.exit(1)
    }
  )
})
