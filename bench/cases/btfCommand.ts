/**
 * The built command as a whole process, Node's start included, beside bpftool: its start alone, and the kernel's header
 * into a file.
 */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Case } from "../Harness.ts"
import { bpftoolPeer } from "../Peers.ts"

const repository = Path.resolve(import.meta.dirname, "../..")
const vmlinux = "/sys/kernel/btf/vmlinux"

/** The command as it is shipped, bundled anew; where it is bundled, the compile cache of another run may serve it. */
const bundle = (): string => {
  const folder = Path.join(repository, ".cache/bench/btf-command")
  const tool = Path.join(repository, "tools/bundle.mjs")
  const done = ChildProcess.spawnSync(process.execPath, [tool, Path.join(repository, "src/bin.ts"), folder], {
    encoding: "utf8"
  })
  if (done.status !== 0) throw new Error(`${tool}: ${done.stderr}`)
  return Path.join(folder, "effect-bpf.js")
}

/** A shell that runs a command with its output in a file. */
const into = (file: string, command: string, args: ReadonlyArray<string>) => ({
  command: "sh",
  args: ["-c", "out=$1; shift; exec \"$@\" > \"$out\"", "sh", file, command, ...args]
})

export default (): ReadonlyArray<Case> => {
  const command = bundle()
  const out = Path.join(repository, ".cache/bench/btf-command/vmlinux.h")
  const repetitions = 7
  const version = into(out, process.execPath, [command, "--version"])
  const { peer: start } = bpftoolPeer(["version"], repetitions)
  const node = { name: `Node ${process.versions.node}`, boundary: "whole process", repetitions } as const
  const starts: ReadonlyArray<Case> = [
    {
      name: "start of the command: --version beside bpftool version",
      inputBytes: 0,
      ours: version,
      ...(start === undefined ? {} : { peer: { ...start, ...into(out, start.command, start.args) } })
    },
    {
      name: "start of the command: --version beside node -e 0",
      inputBytes: 0,
      ours: version,
      peer: { ...node, ...into(out, process.execPath, ["-e", "0"]) }
    }
  ]
  if (!Fs.existsSync(vmlinux)) return starts
  const { peer } = bpftoolPeer(["btf", "dump", "file", vmlinux, "format", "c"], repetitions)
  const dump = (name: string, ...flags: ReadonlyArray<string>): Case => ({
    name,
    inputBytes: Fs.statSync(vmlinux).size,
    ours: into(out, process.execPath, [command, "btf", "dump", vmlinux, "--format", "c", ...flags]),
    ...(peer === undefined ? {} : { peer: { ...peer, ...into(out, peer.command, peer.args) } })
  })
  return [
    ...starts,
    dump("btf dump of the kernel in C to a file", "--unsorted"),
    // Before 7.5 bpftool does not sort: then this is more work than its own.
    dump("btf dump of the kernel in C to a file, sorted")
  ]
}
