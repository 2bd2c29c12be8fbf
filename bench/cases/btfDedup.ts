import * as Fs from "node:fs"
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDedup from "../../src/btf/BtfDedup.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import type { Case } from "../Harness.ts"
import { btfPeer } from "../Peers.ts"

const path = "/sys/kernel/btf/vmlinux"

/** Dedup of the running kernel's types appended to themselves; appending is not timed. */
export default function(): ReadonlyArray<Case> {
  if (!Fs.existsSync(path)) {
    process.stderr.write(`no BTF of the running kernel: ${path} is absent\n`)
    return []
  }
  const btf = Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(path))))
  const editor = BtfEdit.edit(btf)
  Result.getOrThrow(editor.append(btf))
  const doubled = Result.getOrThrow(editor.finish())
  return [
    {
      name: "btf dedup vmlinux appended to itself",
      inputBytes: doubled.bytes.length,
      ours: () => Result.getOrThrow(BtfDedup.dedup(doubled)),
      ...btfPeer("dedup", path, 10)
    }
  ]
}
