import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Result from "effect/Result"
import * as Facts from "../../src/services/Kernel/live/Facts.ts"
import { machine } from "../../src/services/Kernel/live/Files.ts"
import * as Kallsyms from "../../src/services/Kernel/live/Kallsyms.ts"
import * as Sys from "../../src/services/Kernel/sys/Sys.ts"
import type { Case } from "../Harness.ts"
import { btfPeer } from "../Peers.ts"

const path = "/sys/kernel/btf/vmlinux"

/**
 * What a layer of the live kernel reads once: types by a descriptor and from sysfs, read and parsed, beside libbpf, which
 * reads sysfs (newer versions map it); symbols looked for in the table, in memory.
 */
export default function(): ReadonlyArray<Case> {
  if (!Fs.existsSync(path)) {
    process.stderr.write(`no BTF of the running kernel: ${path} is absent\n`)
    return []
  }
  const bound = Sys.make()
  const facts = (sys: typeof bound | undefined): Facts.Facts =>
    Facts.fromSources({
      sys: () => sys ?? Result.fail(undefined),
      files: machine,
      release: Os.release(),
      version: Os.version()
    })
  const vmlinux = (sys: typeof bound | undefined) => () => Result.getOrThrow(facts(sys).vmlinux())
  const inputBytes = Fs.statSync(path).size
  const table = Fs.readFileSync("/proc/kallsyms")
  return [
    { name: "kernel types by a descriptor", inputBytes, ours: vmlinux(bound), ...btfPeer("load", path, 50) },
    { name: "kernel types from sysfs", inputBytes, ours: vmlinux(undefined), ...btfPeer("load", path, 50) },
    {
      name: "symbols: three looked for",
      inputBytes: table.length,
      ours: () => Kallsyms.find(table, ["bpf_prog_put", "schedule", "no_such_symbol"])
    }
  ]
}
