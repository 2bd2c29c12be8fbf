/**
 * Our search for functions, measured by itself in a process as `offsets_peer.c` measures libbpf's:
 * `node findMany.mjs BINARY NAMES REPETITIONS` opens the binary and finds the names of the file NAMES, one per line, that many
 * times after a warm-up.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as FileSource from "../../src/attach/FileSource.ts"
import * as FunctionOffset from "../../src/services/Elf/FunctionOffset.ts"
import { peak, repeat } from "./repeat.ts"

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

// What the first search takes; its repetitions leave garbage of which the most memory says nothing.
once()
const peakBytes = peak()
process.stdout.write(
  JSON.stringify({ ...repeat(once, repetitions, Math.min(200, repetitions)), peak_bytes: peakBytes })
)
