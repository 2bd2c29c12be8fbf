/** Sizes, alignments and offsets of Debian's kernels and of all their modules, beside libbpf's and pahole's. */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import { elfSection, expectSuccess } from "../support/arbitrary/BtfBlob.ts"
import * as BtfPeer from "../support/BtfPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import * as Beside from "../support/LayoutBeside.ts"
import { describeWith, kernel, kernelsFolder, modulesOf, run } from "../support/Require.ts"

const read = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

describeWith(
  {
    kind: "oracle",
    tools: [...Libbpf.needs().tools, "pahole"],
    files: [...Libbpf.needs("1.5").files, kernelsFolder]
  },
  "layouts of Debian's kernels",
  () => {
    for (const one of [kernel("6.1"), kernel("6.1", "oldest"), kernel("6.12")]) {
      const base = expectSuccess(Btf.parse(read(one.btf)))
      const moduleBtf = (path: string): Btf.Btf => expectSuccess(Btf.parse(elfSection(read(path), ".BTF"), { base }))

      it(`all types of ${one.release}, libbpf of the machine and 1.5`, () => {
        for (const version of Libbpf.versions) {
          const judged = BtfPeer.layout(version, one.btf)
          assert.strictEqual(judged.length, base.endId - 1)
          assert.deepEqual(Beside.layoutDifferences(base, judged), [], version)
        }
      })

      it(`all types of all modules of ${one.release}, libbpf 1.5`, () => {
        const modules = modulesOf(one)
        assert.isAtLeast(modules.length, 1000)
        const answers = BtfPeer.batch("1.5", modules.map((path) => ["layout", path, "--base", one.btf]))
        for (const [index, path] of modules.entries()) {
          const answer = answers[index]
          assert.isUndefined(answer?.error, path)
          const btf = moduleBtf(path)
          const judged = BtfPeer.readLayout(answer?.text ?? "")
          assert.strictEqual(judged.length, btf.endId - btf.firstId, path)
          assert.deepEqual(Beside.layoutDifferences(btf, judged), [], path)
        }
      })

      it(`members of all structs and unions of each fiftieth module of ${one.release}, pahole`, () => {
        for (const path of modulesOf(one).filter((_, index) => index % 50 === 0)) {
          const done = run("pahole", ["-F", "btf", `--btf_base=${one.btf}`, path])
          assert.strictEqual(done.status, 0, done.stderr)
          const printed = Beside.readPahole(done.stdout)
          assert.isAtLeast(printed.length, 5000)
          assert.deepEqual(Beside.paholeDifferences(moduleBtf(path), printed), [], Path.basename(path))
        }
      })
    }
  }
)
