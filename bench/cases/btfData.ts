import * as Fs from "node:fs"
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDataDump from "../../src/btf/BtfDataDump.ts"
import * as BtfValue from "../../src/btf/BtfValue.ts"
import type { Case } from "../Harness.ts"
import { dataPeer } from "../Peers.ts"

const path = "/sys/kernel/btf/vmlinux"

/**
 * Values of the running kernel's types: as text, beside libbpf's typed dump of the same bytes, and as JavaScript values,
 * which is what a stream of typed records costs. One dumper of libbpf's serves all of its dumps; ours is a function.
 */
export default function(): ReadonlyArray<Case> {
  if (!Fs.existsSync(path)) {
    process.stderr.write(`no BTF of the running kernel: ${path} is absent\n`)
    return []
  }
  const btf = Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(path)), { trusted: true }))
  const structs = ["task_struct", "iphdr", "sk_buff"].map((name) => {
    const id = Btf.findOne(btf, name, Btf.BTF_KIND_STRUCT) ?? 0
    const size = Result.getOrThrow(Btf.resolveSize(btf, id))
    return { name, id, size, bytes: Uint8Array.from({ length: size }, (_, at) => at * 7 + 1) }
  })
  return structs.flatMap(({ bytes, id, name, size }): ReadonlyArray<Case> => {
    const codec = Result.getOrThrow(BtfValue.codec(btf, id, { octets: true }))
    const value = Result.getOrThrow(codec.decode(bytes))
    return [
      {
        name: `btf data as text, struct ${name}`,
        inputBytes: size,
        ours: () => BtfDataDump.dump(btf, id, bytes),
        ...dataPeer(path, name, size, 200)
      },
      { name: `btf value decoded, struct ${name}`, inputBytes: size, ours: () => codec.decode(bytes) },
      { name: `btf value encoded, struct ${name}`, inputBytes: size, ours: () => codec.encode(value) }
    ]
  })
}
