/**
 * Our search for functions, measured by itself in a process as `offsets_peer.c` measures libbpf's:
 * `node findMany.mjs BINARY NAMES REPETITIONS` opens the binary and finds the names of the file NAMES, one per line, that many
 * times after a warm-up.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as FileSource from "../../src/attach/FileSource.ts"
import * as FunctionOffset from "../../src/services/Elf/FunctionOffset.ts"

const [binary, list, count] = process.argv.slice(2)
const repetitions = Number(count)
if (binary === undefined || list === undefined || !(repetitions >= 1)) {
  process.stderr.write("usage: findMany BINARY NAMES REPETITIONS\n")
  process.exit(2)
}

const names = Fs.readFileSync(list, "utf8").trimEnd().split("\n")

const once = (): void => {
  Result.getOrThrow(FileSource.ask(binary, (source) => FunctionOffset.findAll(source, names)))
}

/** The most memory since this program began, in bytes; `resourceUsage()` also counts what the one that started it had. */
const peak = (): number => {
  const [, kilobytes = "0"] = /VmHWM:\s*(\d+)/.exec(Fs.readFileSync("/proc/self/status", "utf8")) ?? []
  return Number(kilobytes) * 1024
}

// What the first search takes; its repetitions leave garbage of which the most memory says nothing.
once()
const peakBytes = peak()
for (let i = 0; i < Math.min(200, repetitions); i++) once()
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
  peak_bytes: peakBytes
}))
