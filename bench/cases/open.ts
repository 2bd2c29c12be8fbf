import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Result from "effect/Result"
import * as Open from "../../src/stages/open/Open.ts"
import type { Case } from "../Harness.ts"
import { libbpfPeer } from "../Peers.ts"

/** Opening an object from memory: sections, programs, maps, externs, relocation records. Both ends let go of it again. */
export default function(): ReadonlyArray<Case> {
  return ["tracepoint", "xdp_firewall", "core_reads", "section_kinds"].flatMap((name) => {
    const path = Path.join(import.meta.dirname, "../../test/fixtures", `${name}.bpf.o`)
    const bytes = new Uint8Array(Fs.readFileSync(path))
    const ours = () => Result.getOrThrow(Open.fromBytes(bytes, { path }))
    return [{ name: `open ${name}`, inputBytes: bytes.length, ours, ...libbpfPeer("open", path, 300) }]
  })
}
