/**
 * CO-RE over the corpus: every program that libbpf comes to load, relocated for the running kernel; and the kernel's own
 * tests of CO-RE, each for every kernel that was made for it.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import { type CoreComparison, coreBeside } from "../support/CoreBeside.ts"
import * as Peer from "../support/Peer.ts"
import { bpffs, corpus, corpusFolder, describeWith } from "../support/Require.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

const sum = (name: string, comparisons: ReadonlyArray<CoreComparison>) => {
  const total = (count: (one: CoreComparison) => number): number =>
    comparisons.reduce((all, one) => all + count(one), 0)
  const totals = {
    objects: comparisons.length,
    programs: total(({ programs }) => programs),
    records: total(({ records }) => records),
    refused: total(({ refused }) => refused)
  }
  Fs.writeSync(2, `\n${name}: ${JSON.stringify(totals)}\n`)
  return totals
}

const hasRecords = (path: string): boolean => {
  const opened = Open.fromBytes(new Uint8Array(Fs.readFileSync(path)), { path })
  return Result.isSuccess(opened) && opened.success.byteOrder === "little" &&
    opened.success.btfExt?.coreRelocations !== undefined
}

describeWith({ kind: "live", tools: Peer.peerTools, files: [vmlinux, corpusFolder] }, "CO-RE of the corpus", () => {
  it("on the running kernel", () => {
    const target = Core.target(Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(vmlinux)))))
    const pins = Path.join(bpffs(), "pins")
    const comparisons: Array<CoreComparison> = []
    const differences: Array<string> = []
    for (const path of corpus().filter(hasRecords)) {
      const done = coreBeside(path, target, ["--pin-root", pins])
      Fs.rmSync(pins, { recursive: true, force: true })
      comparisons.push(done)
      differences.push(...done.differences.map((line) => `${Path.basename(path)} ${line}`))
    }
    assert.deepStrictEqual(differences, [])
    assert.isAbove(sum("corpus on the running kernel", comparisons).records, 1000)
  })

  it("the kernel's tests of CO-RE", () => {
    const all = corpus()
    const comparisons: Array<CoreComparison> = []
    const differences: Array<string> = []
    for (const made of all.filter((path) => Path.basename(path).startsWith("btf__core_reloc"))) {
      const name = Path.basename(made)
      const test = name.replace(/^btf__/, "test_").replace(/___.*|__err.*|\.o$/, "")
      const btf = Result.getOrThrow(Btf.parse(B.elfSection(new Uint8Array(Fs.readFileSync(made)), ".BTF")))
      for (const path of all.filter((path) => Path.basename(path).startsWith(test))) {
        const done = coreBeside(path, Core.target(btf), ["--btf", made])
        comparisons.push(done)
        differences.push(...done.differences.map((line) => `${name} ${line}`))
      }
    }
    // Two kernel types of which each has one of two fields: libbpf takes the type that the first record needs for the only
    // one, and poisons the second. It is sent twice, the second time for the log.
    const [known = "", ...others] = new Set(differences)
    assert.match(known, /^btf__core_reloc_nesting___err_partial_match_dups.o .*850000001023ad0b$/)
    assert.deepStrictEqual(others, [])
    const totals = sum("the kernel's tests of CO-RE", comparisons)
    assert.isAbove(totals.programs, 60)
    assert.isAbove(totals.records, 900)
    assert.strictEqual(totals.refused, 5)
  })
})
