/**
 * Linking beside libbpf's linker, 1.5 and the machine's: 2 to 500 objects of more than 100 KB, each side in a process of its
 * own that reads the files, links, and writes the result, again and again; tiny objects; and the command as a whole beside
 * bpftool.
 */
import * as Esbuild from "esbuild"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { repository } from "../../test/support/Require.ts"
import type { Case, Measured } from "../Harness.ts"
import { linkInputs } from "../LinkInputs.ts"
import { bpftoolPeer, linkPeer } from "../Peers.ts"

/** The sets of which the issue has limits for the ratio, and some between for the growth. */
const sizes = [2, 10, 50, 150, 500]

const folder = Path.join(repository, ".cache/bench/linker")

/** Our side as it is shipped: one bundle, no TypeScript to be read. */
const bundle = (): string => {
  const outfile = Path.join(folder, "linkMany.mjs")
  Esbuild.buildSync({
    entryPoints: [Path.join(import.meta.dirname, "../peers/linkMany.ts")],
    bundle: true,
    platform: "node",
    format: "esm",
    outfile
  })
  return outfile
}

/** The command as it is shipped. */
const command = (): string => {
  const tool = Path.join(repository, "tools/bundle.mjs")
  const out = Path.join(folder, "command")
  const done = ChildProcess.spawnSync(process.execPath, [tool, Path.join(repository, "src/bin.ts"), out], {
    encoding: "utf8"
  })
  if (done.status !== 0) throw new Error(`${tool}: ${done.stderr}`)
  return Path.join(out, "effect-bpf.js")
}

export default (): ReadonlyArray<Case> => {
  const paths = linkInputs(Path.join(folder, "objects"), Math.max(...sizes))
  const tiny = ["statics_a", "statics_b"].map((name) => Path.join(repository, `test/fixtures/link/${name}.bpf.o`))
  const ours = bundle()
  const bytesOf = (files: ReadonlyArray<string>): number => files.reduce((sum, path) => sum + Fs.statSync(path).size, 0)
  const out = Path.join(folder, "ours.o")
  const measured = (files: ReadonlyArray<string>, repetitions: number): Measured => ({
    boundary: "in process",
    command: process.execPath,
    args: [ours, String(repetitions), out, ...files],
    repetitions
  })
  const beside = (
    name: string,
    files: ReadonlyArray<string>,
    repetitions: number,
    version: "system" | "1.5",
    growth?: Case["growth"]
  ): Case => ({
    name,
    inputBytes: bytesOf(files),
    ours: measured(files, repetitions),
    ...linkPeer(files, Path.join(folder, "theirs.o"), repetitions, version),
    ...(growth === undefined ? {} : { growth })
  })
  const program = command()
  const whole = (name: string, files: ReadonlyArray<string>): Case => ({
    name,
    inputBytes: bytesOf(files),
    ours: { command: process.execPath, args: [program, "gen", "object", Path.join(folder, "command.o"), ...files] },
    ...bpftoolPeer(["gen", "object", Path.join(folder, "bpftool.o"), ...files], 7)
  })
  return [
    ...sizes.map((size) =>
      beside(`link ${size} objects`, paths.slice(0, size), Math.max(1, Math.floor(200 / size)), "1.5", {
        series: "linking",
        size
      })
    ),
    ...[2, 50].map((size) =>
      beside(`link ${size} objects beside the machine's libbpf`, paths.slice(0, size), Math.floor(200 / size), "system")
    ),
    beside("link 2 tiny objects", tiny, 500, "1.5"),
    whole("link 2 tiny objects, the command", tiny),
    whole("link 50 objects, the command", paths.slice(0, 50))
  ]
}
