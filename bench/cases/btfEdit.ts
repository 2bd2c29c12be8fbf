import * as Fs from "node:fs"
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import * as BtfPermute from "../../src/btf/BtfPermute.ts"
import type { Case } from "../Harness.ts"
import { btfPeer } from "../Peers.ts"

const path = "/sys/kernel/btf/vmlinux"

/** The running kernel's types appended to themselves, and sorted by name, for which libbpf 1.1 has nothing. */
export default function(): ReadonlyArray<Case> {
  if (!Fs.existsSync(path)) {
    process.stderr.write(`no BTF of the running kernel: ${path} is absent\n`)
    return []
  }
  const bytes = new Uint8Array(Fs.readFileSync(path))
  const btf = Result.getOrThrow(Btf.parse(bytes))
  return [
    {
      name: "btf append vmlinux to itself",
      inputBytes: bytes.length,
      ours: () => Result.getOrThrow(BtfEdit.edit(btf).append(btf)),
      ...btfPeer("append", path, 20)
    },
    { name: "btf sort vmlinux by name", inputBytes: bytes.length, ours: () => BtfPermute.sortByName(btf) }
  ]
}
