/**
 * Our linker, measured by itself in a process as `link_peer.c` measures libbpf's: `node linkMany.mjs REPETITIONS OUT IN...`
 * reads, links and writes that many times after a warm-up.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Linker from "../../src/linker/Linker.ts"

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

/** The most memory since this program began, in bytes; `resourceUsage()` also counts what the one that started it had. */
const peak = (): number => {
  const [, kilobytes = "0"] = /VmHWM:\s*(\d+)/.exec(Fs.readFileSync("/proc/self/status", "utf8")) ?? []
  return Number(kilobytes) * 1024
}

// Compiled code comes with work done, so few files are linked more often before the clock runs.
for (let i = 0; i < Math.max(3, 200 / paths.length); i++) once()
const times: Array<number> = []
for (let i = 0; i < repetitions; i++) {
  const start = process.hrtime.bigint()
  once()
  times.push(Number(process.hrtime.bigint() - start))
}
times.sort((a, b) => a - b)
process.stdout.write(JSON.stringify({
  median_ns: times[repetitions >> 1],
  min_ns: times[0],
  n: repetitions,
  peak_bytes: peak()
}))
