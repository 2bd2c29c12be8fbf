// What is in a BPF object: node examples/inspect.ts [OBJECT]
//
// In a project of your own, import from "effect-bpf".
import * as Result from "effect/Result"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { BpfConstants, Btf, Open } from "../src/index.ts"

const path = process.argv[2] ?? fileURLToPath(new URL("../test/fixtures/xdp_firewall.bpf.o", import.meta.url))
const opened = Open.fromBytes(readFileSync(path), { path })
if (Result.isFailure(opened)) {
  console.error(opened.failure.message)
  process.exit(1)
}
const { btf, maps, programs } = opened.success
for (const program of programs.filter((each) => each.entry)) {
  console.log(
    `program ${program.name}: ${BpfConstants.progTypeName(program.type)}, ${program.insns.length / 8} instructions`
  )
}
for (const { attr, keyType, name, valueType } of maps) {
  const typeOf = (id: number, size: number) => btf === undefined || id === 0 ? `${size} bytes` : Btf.typeName(btf, id)
  console.log(
    `map ${name}: ${BpfConstants.mapTypeName(attr.type)}, ${typeOf(keyType, attr.keySize)} -> ${
      typeOf(valueType, attr.valueSize)
    }`
  )
}
