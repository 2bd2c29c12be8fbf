import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Result from "effect/Result"
import * as Elf from "../../src/services/Elf/Elf.ts"
import type { Case } from "../Harness.ts"

/** Reading an object as ELF. No peer does this step by itself; it is a part of `open`. */
export default function(): ReadonlyArray<Case> {
  return ["tracepoint.bpf.o", "xdp_firewall.bpf.o"].map((name) => {
    const bytes = new Uint8Array(Fs.readFileSync(Path.join(import.meta.dirname, "../../test/fixtures", name)))
    return { name: `elf ${name}`, inputBytes: bytes.length, ours: () => Result.getOrThrow(Elf.parse(bytes)) }
  })
}
