/** The layouts in generated TypeScript, of all objects of the corpus and of kernels, held against clang. */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as Open from "../../src/stages/open/Open.ts"
import { expectSuccess } from "../support/arbitrary/BtfBlob.ts"
import { clangLayouts } from "../support/ClangLayouts.ts"
import { layoutDifferences, namedRecords } from "../support/LayoutsBeside.ts"
import {
  corpus,
  corpusFolder,
  describeWith,
  kernel,
  kernelsFolder,
  newBpftool,
  run,
  temporaryFolder
} from "../support/Require.ts"

/** The types as bpftool spells them in C: what clang lays out. */
const headerOf = (file: string): string => {
  const path = Path.join(temporaryFolder(), "types.h")
  const done = run("sh", ["-c", "exec \"$1\" btf dump file \"$2\" format c > \"$0\"", path, newBpftool, file])
  assert.strictEqual(done.status, 0, done.stderr)
  return Fs.readFileSync(path, "utf8")
}

describeWith(
  { kind: "oracle", tools: ["clang-19", "gcc"], files: [newBpftool, corpusFolder, kernelsFolder] },
  "generated layouts",
  () => {
    it("are clang's for the types of all objects of the corpus", { timeout: 1_200_000 }, () => {
      let members = 0
      let fields = 0
      const seen = new Set<string>()
      for (const path of corpus()) {
        const opened = Open.fromBytes(new Uint8Array(Fs.readFileSync(path)), { relaxedMaps: true })
        const btf = Result.isSuccess(opened) ? opened.success.btf : undefined
        if (btf === undefined || btf.byteOrder !== "little" || namedRecords(btf).size === 0) continue
        const header = headerOf(path)
        if (seen.has(header)) continue
        seen.add(header)
        const { errors, records } = clangLayouts(header, namedRecords(btf).keys())
        assert.strictEqual(errors, "", path)
        const { bitFields, compared, differences } = layoutDifferences(btf, records)
        assert.deepStrictEqual(differences, [], path)
        members += compared
        fields += bitFields
      }
      assert.isAbove(members, 1000)
      assert.isAbove(fields, 10)
    })

    for (const series of ["6.1", "6.12"] as const) {
      it(`are clang's for the types of Linux ${series}`, { timeout: 1_200_000 }, () => {
        const file = kernel(series).btf
        const btf = expectSuccess(Btf.parse(new Uint8Array(Fs.readFileSync(file))))
        const { errors, records } = clangLayouts(headerOf(file), namedRecords(btf).keys(), "x86_64-linux-gnu")
        const { bitFields, compared, differences } = layoutDifferences(btf, records)
        assert.strictEqual(errors, "")
        assert.deepStrictEqual(differences.slice(0, 20), [])
        assert.isAbove(compared, 40_000)
        assert.isAbove(bitFields, 1000)
      })
    }
  }
)
