/** The built command as a whole process, Node's start included, beside bpftool: the kernel's header into a file. */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Case } from "../Harness.ts"
import { bpftoolPeer } from "../Peers.ts"

const repository = Path.resolve(import.meta.dirname, "../..")
const vmlinux = "/sys/kernel/btf/vmlinux"

/** The command as it is shipped, bundled anew; where it is bundled, the compile cache of another run may serve it. */
const bundle = (): string => {
  const folder = Path.join(repository, ".cache/bench")
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
  if (!Fs.existsSync(vmlinux)) return []
  const command = bundle()
  const out = Path.join(repository, ".cache/bench/vmlinux.h")
  const repetitions = 7
  const { peer } = bpftoolPeer(["btf", "dump", "file", vmlinux, "format", "c"], repetitions)
  return [{
    name: "btf dump of the kernel in C to a file",
    inputBytes: Fs.statSync(vmlinux).size,
    ours: into(out, process.execPath, [command, "btf", "dump", vmlinux, "--format", "c", "--unsorted"]),
    ...(peer === undefined ? {} : { peer: { ...peer, ...into(out, peer.command, peer.args) } })
  }]
}
