/**
 * Split BTF for real: the modules of Debian's kernels, distilled and relocated onto the kernel that they were built for,
 * onto another build of its series, and onto a newer series; libbpf 1.5 does the same beside us.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import { distill } from "../../src/btf/BtfDistill.ts"
import { mismatchText, relocate } from "../../src/btf/BtfRelocate.ts"
import * as BtfPeer from "../support/BtfPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { roundTripFault } from "../support/BtfRoundTrip.ts"
import { describeWith, kernel, kernelsFolder, modulesOf, temporaryFolder } from "../support/Require.ts"
import { elfSection, expectSuccess } from "../support/arbitrary/BtfBlob.ts"

const needs = Libbpf.needs("1.5")

interface Module {
  readonly name: string
  /** A file with the raw blob. */
  readonly path: string
  readonly split: Btf.Btf
}

describeWith({ kind: "oracle", tools: needs.tools, files: [...needs.files, kernelsFolder] }, "BTF of modules", () => {
  const kernels = [kernel("6.1"), kernel("6.1", "oldest"), kernel("6.12")]
  const vmlinux = kernels.map(({ btf }) => expectSuccess(Btf.parse(new Uint8Array(Fs.readFileSync(btf)))))
  const at = <A>(list: ReadonlyArray<A>, index: number): A => list[index] ?? assert.fail(`no item ${index}`)

  /** The modules of a kernel in parts, which keep what is in memory small. */
  const parts = function*(index: number): Generator<ReadonlyArray<Module>> {
    const folder = temporaryFolder()
    const paths = modulesOf(at(kernels, index))
    for (let start = 0; start < paths.length; start += 100) {
      yield paths.slice(start, start + 100).map((path) => {
        const bytes = elfSection(new Uint8Array(Fs.readFileSync(path)), ".BTF")
        const blob = Path.join(folder, `${Path.basename(path)}.btf`)
        Fs.writeFileSync(blob, bytes)
        return {
          name: Path.basename(path, ".ko"),
          path: blob,
          split: expectSuccess(Btf.parse(bytes, { base: at(vmlinux, index) }))
        }
      })
    }
  }

  for (const from of [0, 1, 2]) {
    const { btf, release } = at(kernels, from)

    it(`of ${release} is distilled as libbpf does it, and comes back onto its own kernel as it was`, () => {
      let modules = 0
      let types = 0
      let kept = 0
      for (const part of parts(from)) {
        const answers = BtfPeer.batch("1.5", part.map(({ path }) => ["distill", path, btf, "-", "-"]))
        for (const [index, { name, split }] of part.entries()) {
          const { base: theirBase, error, split: theirSplit } = at(answers, index)
          assert.isUndefined(error, `${name}: ${error?.log ?? ""}`)
          const ours = expectSuccess(distill(split))
          assert.deepEqual(ours.base.bytes, BtfPeer.bytesOf(theirBase), `${name}: distilled base`)
          assert.deepEqual(ours.split.bytes, BtfPeer.bytesOf(theirSplit), `${name}: split BTF`)
          assert.isUndefined(roundTripFault(split, { distill, relocate }), name)
          modules++
          types += split.endId - split.firstId
          kept += ours.base.endId - 1
        }
      }
      Fs.writeSync(2, `${release}: ${modules} modules, ${types} own types, ${kept} types in distilled bases\n`)
      assert.isAbove(modules, 1000)
    })

    for (const to of from === 1 ? [0] : [0, 1, 2].filter((to) => to !== from)) {
      const target = at(kernels, to)

      it(`of ${release} goes onto ${target.release} as libbpf moves it, or not at all where libbpf does not`, () => {
        const counts = { moved: 0, refused: 0 }
        const reasons = new Map<string, number>()
        for (const part of parts(from)) {
          const answers = BtfPeer.batch("1.5", part.map(({ path }) => ["redistill", path, btf, target.btf, "-"]))
          for (const [index, { name, split }] of part.entries()) {
            const { error, result } = at(answers, index)
            const ours = relocate(expectSuccess(distill(split)).split, at(vmlinux, to))
            if (Result.isSuccess(ours)) {
              assert.isUndefined(error, `${name}: libbpf refuses it: ${error?.log ?? ""}`)
              assert.deepEqual(ours.success.btf.bytes, BtfPeer.bytesOf(result), name)
              counts.moved++
              continue
            }
            const failure = ours.failure
            assert.strictEqual(error?.name, "EINVAL", `${name}: libbpf takes it: ${failure.message}`)
            if (failure._tag !== "BtfRelocateError") throw failure
            assert.isAbove(failure.mismatches.length, 0)
            // libbpf names one type, which is among those that we name.
            const [, blamed = ""] = /type '([^']+)'/.exec(error?.log ?? "") ?? []
            assert.include(failure.mismatches.map((mismatch) => mismatch.name), blamed, error?.log)
            for (const mismatch of failure.mismatches) {
              const text = mismatchText(mismatch).replaceAll(/ \(type \d+\)/g, "")
              reasons.set(text, (reasons.get(text) ?? 0) + 1)
            }
            counts.refused++
          }
        }
        const most = [...reasons].sort((one, other) => other[1] - one[1]).slice(0, 5)
        Fs.writeSync(
          2,
          `${release} -> ${target.release}: ${counts.moved} moved, ${counts.refused} refused, as by libbpf 1.5; ` +
            `${reasons.size} different reasons, most often:\n${
              most.map(([text, count]) => `  ${count}: ${text}\n`).join("")
            }`
        )
        assert.isAbove(counts.moved, 100)
      })
    }
  }
})
