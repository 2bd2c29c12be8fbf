import * as Fs from "node:fs"
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfPermute from "../../src/btf/BtfPermute.ts"
import type { Case } from "../Harness.ts"
import { btfPeer } from "../Peers.ts"

const path = "/sys/kernel/btf/vmlinux"

const absent = "no_type_has_this_name"

/**
 * The running kernel's types parsed, indexed and searched.
 *
 * libbpf 1.1 validates nothing that it parses, and 1.5 validates what we do; so a trusted parse stands beside the one
 * and a parse beside the other. libbpf walks over all types for each name; ours does so four times, and has an index of
 * names then, which the lookups here use.
 */
export default function(): ReadonlyArray<Case> {
  if (!Fs.existsSync(path)) {
    process.stderr.write(`no BTF of the running kernel: ${path} is absent\n`)
    return []
  }
  const bytes = new Uint8Array(Fs.readFileSync(path))
  const inputBytes = bytes.length
  const parse = (trusted: boolean): Btf.Btf => Result.getOrThrow(Btf.parse(bytes, { trusted }))
  const known = parse(true)
  const { btf: sorted } = Result.getOrThrow(BtfPermute.sortByName(known))
  const find = (btf: Btf.Btf, times = 1): number => {
    for (let time = 0; time < times; time++) {
      if (Btf.findOne(btf, absent, Btf.BTF_KIND_STRUCT) !== undefined) throw new Error("it is there")
    }
    return times
  }
  find(known, 10)
  const index = (): Btf.Btf => {
    const btf = parse(true)
    find(btf, 5)
    Btf.idsOfKind(btf, Btf.BTF_KIND_STRUCT)
    return btf
  }
  const struct = Btf.BTF_KIND_STRUCT
  return [
    {
      name: "btf parse vmlinux",
      inputBytes,
      ours: () => parse(false),
      held: () => parse(false),
      ...btfPeer("parse", path, 50, "1.5")
    },
    {
      name: "btf parse vmlinux, trusted",
      inputBytes,
      ours: () => parse(true),
      held: () => parse(true),
      ...btfPeer("parse", path, 50)
    },
    { name: "btf parse vmlinux, trusted, and index names and kinds", inputBytes, ours: index, held: index },
    {
      name: "btf find absent name",
      inputBytes,
      ours: () => find(known),
      ...btfPeer(["find", absent, struct], path, 200)
    },
    { name: "btf find absent name, sorted", inputBytes, ours: () => find(sorted) }
  ]
}
