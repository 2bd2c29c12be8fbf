/**
 * Our linker, measured by itself in a process as `link_peer.c` measures libbpf's: `node linkMany.mjs REPETITIONS OUT IN...`
 * reads, links and writes that many times after a warm-up.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Linker from "../../src/linker/Linker.ts"
import { peak, repeat } from "./repeat.ts"

const [count, out, ...paths] = process.argv.slice(2)
const repetitions = Number(count)
if (!(repetitions >= 1) || out === undefined || paths.length === 0) {
  process.stderr.write("usage: linkMany REPETITIONS OUT IN...\n")
  process.exit(2)
}

const once = (): void => {
  const linker = Linker.make()
  for (const name of paths) {
    Result.getOrThrow(Linker.add(linker, { name, bytes: new Uint8Array(Fs.readFileSync(name)) }))
  }
  Fs.writeFileSync(out, Result.getOrThrow(Linker.finalize(linker)).bytes)
}

// Compiled code comes with work done, so few files are linked more often before the clock runs.
const measured = repeat(once, repetitions, Math.max(3, 200 / paths.length))
process.stdout.write(JSON.stringify({ ...measured, peak_bytes: peak() }))
