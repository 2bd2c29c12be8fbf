/** Dumps of the running kernel's BTF: into nothing beside libbpf, and to text beside bpftool. */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDump from "../../src/btf/BtfDump.ts"
import type { Case } from "../Harness.ts"
import { btfPeer } from "../Peers.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

/** The bytes of a dump, which must be without problems. */
const drain = (parts: Iterable<BtfDump.Part>): number => {
  let bytes = 0
  for (const part of parts) bytes += Result.getOrThrow(part).length
  return bytes
}

export default (): ReadonlyArray<Case> => {
  if (!Fs.existsSync(vmlinux)) return []
  const blob = new Uint8Array(Fs.readFileSync(vmlinux))
  const btf = Result.getOrThrow(Btf.parse(blob))
  const inputBytes = blob.length
  return [
    {
      name: "dump the kernel's BTF in C, in order of ids",
      inputBytes,
      ours: () => drain(BtfDump.toC(btf, { sorted: false, header: false })),
      ...btfPeer("dump", vmlinux, 10)
    },
    { name: "dump the kernel's BTF in C, sorted", inputBytes, ours: () => drain(BtfDump.toC(btf)) },
    { name: "dump the kernel's BTF as text", inputBytes, ours: () => drain(BtfDump.toRaw(btf)) },
    { name: "dump the kernel's BTF as JSON", inputBytes, ours: () => drain(BtfDump.toJson(btf)) }
  ]
}
