import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Btf from "../../src/btf/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import * as BtfPeer from "../support/BtfPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { describeWith } from "../support/Require.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

describeWith(
  { kind: "oracle", tools: Libbpf.needs().tools, files: [vmlinux] },
  "all names of the running kernel",
  () => {
    it("are found where libbpf finds them", { timeout: 300_000 }, () => {
      const kernel = B.expectSuccess(Btf.parse(new Uint8Array(Fs.readFileSync(vmlinux))))
      const seen = new Set<string>()
      const queries: Array<{ readonly name: string; readonly kind: number }> = []
      for (let id = 1; id < kernel.endId; id++) {
        const query = { name: Btf.nameOf(kernel, id), kind: Btf.kindOf(kernel, id) }
        const key = `${query.kind} ${query.name}`
        if (query.name === "" || seen.has(key)) continue
        seen.add(key)
        queries.push(query)
      }
      const theirs: Array<number> = []
      // The tool that runs a program waits two minutes for it, and libbpf walks over all types for each name.
      for (let at = 0; at < queries.length; at += 20_000) {
        theirs.push(...BtfPeer.find("system", vmlinux, queries.slice(at, at + 20_000)))
      }
      assert.isAbove(queries.length, 10_000)
      assert.deepEqual(queries.map(({ kind, name }) => Btf.findOne(kernel, name, kind)), theirs)
    })
  }
)
