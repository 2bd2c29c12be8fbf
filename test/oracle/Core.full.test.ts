/**
 * CO-RE over the corpus: every program that libbpf comes to load, relocated for three kernels; and the kernel's own tests of
 * CO-RE, each for every kernel that was made for any of them. The judges are libbpf 1.1 and 1.5.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import { elfSection } from "../support/arbitrary/BtfBlob.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { type CoreComparison, coreBeside } from "../support/CoreBeside.ts"
import { bpffs, corpus, corpusFolder, describeWith, kernel, kernelsFolder } from "../support/Require.ts"

const running = "/sys/kernel/btf/vmlinux"

const sum = (name: string, comparisons: ReadonlyArray<CoreComparison>) => {
  const total = (count: (one: CoreComparison) => number): number =>
    comparisons.reduce((all, one) => all + count(one), 0)
  const totals = {
    objects: comparisons.length,
    programs: total(({ programs }) => programs),
    records: total(({ records }) => records),
    refused: total(({ refused }) => refused),
    differences: total(({ differences }) => differences.length)
  }
  Fs.writeSync(2, `\n${name}: ${JSON.stringify(totals)}\n`)
  return totals
}

const hasRecords = (path: string): boolean => {
  const opened = Open.fromBytes(new Uint8Array(Fs.readFileSync(path)), { path })
  return Result.isSuccess(opened) && opened.success.byteOrder === "little" &&
    opened.success.btfExt?.coreRelocations !== undefined
}

/**
 * Two kernel types of which each has one of two fields: libbpf takes the type that the first record needs for the only one,
 * and poisons the second. It is sent twice, the second time for the log. `Core.test.ts` has a small program that shows it:
 * "an earlier record does not decide which types a later one sees".
 */
const isKnown = (difference: string): boolean =>
  /^btf__core_reloc_nesting___err_partial_match_dups.o test_core_reloc_nesting.o .*, libbpf 850000001023ad0b$/.test(
    difference
  )

/** A kernel of the test, which is only looked for when its group runs. */
const kernels: ReadonlyArray<{ readonly name: string; readonly file: string; readonly path: () => string }> = [
  { name: "the running kernel", file: running, path: () => running },
  { name: "Linux 6.1", file: kernelsFolder, path: () => kernel("6.1").btf },
  { name: "Linux 6.12", file: kernelsFolder, path: () => kernel("6.12").btf }
]

for (const version of Libbpf.versions) {
  const needs = Libbpf.needs(version)
  const judge = `libbpf ${version}`

  for (const { file, name, path: pathOf } of kernels) {
    describeWith(
      { kind: "live", tools: needs.tools, files: [...needs.files, file, corpusFolder] },
      `CO-RE of the corpus on ${name}, beside ${judge}`,
      () => {
        it("is libbpf's", () => {
          const target = Core.target(Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(pathOf())))))
          const pins = Path.join(bpffs(), "pins")
          const args = ["--pin-root", pins, ...(pathOf() === running ? [] : ["--btf", pathOf()])]
          const comparisons: Array<CoreComparison> = []
          const differences: Array<string> = []
          for (const path of corpus().filter(hasRecords)) {
            const done = coreBeside(path, target, args, version)
            Fs.rmSync(pins, { recursive: true, force: true })
            comparisons.push(done)
            differences.push(...done.differences.map((line) => `${Path.basename(path)} ${line}`))
          }
          assert.deepStrictEqual(differences, [])
          assert.isAbove(sum(`corpus on ${name}, beside ${judge}`, comparisons).records, 1000)
        })
      }
    )
  }

  describeWith(
    { kind: "live", tools: needs.tools, files: [...needs.files, corpusFolder] },
    `the kernel's tests of CO-RE, beside ${judge}`,
    () => {
      const all = corpus()
      const kernelsOfTests = all.filter((path) => Path.basename(path).startsWith("btf__core_reloc"))
      const tests = all.filter((path) => Path.basename(path).startsWith("test_core_reloc"))
      /** The start of the names of the tests that a kernel was made for. */
      const testOf = (made: string): string =>
        Path.basename(made).replace(/^btf__/, "test_").replace(/___.*|__err.*|\.o$/, "")

      const compare = (pairs: ReadonlyArray<readonly [made: string, test: string]>) => {
        const comparisons: Array<CoreComparison> = []
        const differences: Array<string> = []
        const targets = new Map<string, Core.CoreTarget>()
        for (const [made, test] of pairs) {
          let target = targets.get(made)
          if (target === undefined) {
            const blob = elfSection(new Uint8Array(Fs.readFileSync(made)), ".BTF")
            targets.set(made, target = Core.target(Result.getOrThrow(Btf.parse(blob))))
          }
          const done = coreBeside(test, target, ["--btf", made], version)
          comparisons.push(done)
          differences.push(...done.differences.map((line) => `${Path.basename(made)} ${Path.basename(test)} ${line}`))
        }
        return { comparisons, differences: [...new Set(differences)] }
      }

      it("each on the kernels that were made for it", () => {
        const pairs = kernelsOfTests.flatMap((made) => {
          const its = tests.filter((test) => Path.basename(test).startsWith(testOf(made)))
          assert.isNotEmpty(its, `no test for ${made}`)
          return its.map((test) => [made, test] as const)
        })
        const { comparisons, differences } = compare(pairs)
        assert.deepStrictEqual(differences.filter((line) => !isKnown(line)), [])
        assert.strictEqual(differences.length, 1)
        const totals = sum(`the kernel's tests of CO-RE, beside ${judge}`, comparisons)
        assert.isAtLeast(pairs.length, 70)
        assert.isAbove(totals.programs, 60)
        assert.isAbove(totals.records, 900)
        assert.strictEqual(totals.refused, 5)
      })

      it("each on every kernel that was made for any", () => {
        const pairs = kernelsOfTests.flatMap((made) => tests.map((test) => [made, test] as const))
        const { comparisons, differences } = compare(pairs)
        const totals = sum(`the kernel's tests of CO-RE on all of their kernels, beside ${judge}`, comparisons)
        assert.deepStrictEqual(differences.filter((line) => !isKnown(line)), [])
        assert.strictEqual(differences.length, 1)
        assert.isAbove(totals.records, 10_000)
      })
    }
  )
}
