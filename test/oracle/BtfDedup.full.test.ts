/**
 * Dedup beside libbpf's at length: all objects of the corpus appended to themselves, kernels appended to other kernels,
 * and modules of Debian's kernels over them.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDedup from "../../src/btf/BtfDedup.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import * as BtfPeer from "../support/BtfPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import {
  corpus,
  corpusFolder,
  describeWith,
  kernel,
  kernelsFolder,
  modulesOf,
  temporaryFolder
} from "../support/Require.ts"

const read = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

const parsed = (path: string): Btf.Btf => B.expectSuccess(Btf.parse(read(path)))

const appended = (...[first, ...others]: ReadonlyArray<Btf.Btf>): Btf.Btf => {
  if (first === undefined) throw new Error("nothing to append to")
  const editor = BtfEdit.edit(first)
  for (const other of others) B.expectSuccess(editor.append(other))
  return B.expectSuccess(editor.finish())
}

const isEqual = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0

/** The section of an object; `undefined` where it has none. */
const sectionOf = (path: string, name: string): Uint8Array | undefined => {
  try {
    return B.elfSection(read(path), name)
  } catch {
    return undefined
  }
}

describeWith(
  { kind: "oracle", ...Libbpf.needs("1.5"), files: [...Libbpf.needs("1.5").files, corpusFolder] },
  "dedup of the corpus beside libbpf",
  () => {
    it("appended to itself, each object's BTF is libbpf's, byte for byte", () => {
      const folder = temporaryFolder()
      const inputs: Array<{ readonly path: string; readonly btf: Btf.Btf; readonly file: string }> = []
      for (const [index, path] of corpus().entries()) {
        const bytes = sectionOf(path, ".BTF")
        const btf = bytes && Btf.parse(bytes)
        if (btf === undefined || Result.isFailure(btf)) continue
        const file = Path.join(folder, `${index}.btf`)
        const doubled = appended(btf.success, btf.success)
        Fs.writeFileSync(file, doubled.bytes)
        inputs.push({ path, btf: doubled, file })
      }
      assert.isAbove(inputs.length, 300)
      const answers = BtfPeer.batch("1.5", inputs.map(({ file }) => ["dedup", file, `${file}.out`]))
      const different: Array<string> = []
      for (const [index, { btf, file, path }] of inputs.entries()) {
        if (answers[index]?.error !== undefined) throw new Error(`${path}: ${answers[index]?.error?.log}`)
        const done = B.expectSuccess(BtfDedup.dedup(btf))
        assert.isFalse(done.report.exhausted)
        if (!isEqual(done.btf.bytes, read(`${file}.out`))) different.push(path)
      }
      assert.deepEqual(different, [])
    })

    it("all objects in one blob are libbpf's", () => {
      const blobs = corpus().flatMap((path) => {
        const bytes = sectionOf(path, ".BTF")
        const btf = bytes && Btf.parse(bytes)
        return btf === undefined || Result.isFailure(btf) || btf.success.byteOrder === "big" ? [] : [btf.success]
      })
      const btf = appended(...blobs)
      const file = Path.join(temporaryFolder(), "all.btf")
      Fs.writeFileSync(file, btf.bytes)
      const answer = BtfPeer.ask("1.5", "dedup", file, `${file}.out`)
      const done = B.expectSuccess(BtfDedup.dedup(btf))
      assert.isFalse(done.report.exhausted)
      assert.isBelow(done.report.work, btf.typesLength / 4)
      assert.strictEqual(done.btf.endId, answer.result?.types)
    })
  }
)

describeWith(
  { kind: "oracle", ...Libbpf.needs("1.5"), files: [...Libbpf.needs("1.5").files, kernelsFolder] },
  "dedup of kernels beside libbpf",
  () => {
    it("two builds of one kernel in one blob are libbpf's result, byte for byte", () => {
      const btf = appended(parsed(kernel("6.1").btf), parsed(kernel("6.1", "oldest").btf))
      const file = Path.join(temporaryFolder(), "two.btf")
      Fs.writeFileSync(file, btf.bytes)
      assert.isUndefined(BtfPeer.ask("1.5", "dedup", file, `${file}.out`).error)
      const done = B.expectSuccess(BtfDedup.dedup(btf))
      assert.isFalse(done.report.exhausted)
      assert.isBelow(done.report.work, btf.typesLength / 4)
      assert.isTrue(isEqual(done.btf.bytes, read(`${file}.out`)))
    })

    it("kernels of two series in one blob have as many types as in libbpf's result", () => {
      const btf = appended(parsed(kernel("6.1").btf), parsed(kernel("6.12").btf), parsed(kernel("6.1").btf))
      const file = Path.join(temporaryFolder(), "three.btf")
      Fs.writeFileSync(file, btf.bytes)
      const answer = BtfPeer.ask("1.5", "dedup", file, `${file}.out`)
      const done = B.expectSuccess(BtfDedup.dedup(btf))
      assert.isFalse(done.report.exhausted)
      assert.strictEqual(done.btf.endId, answer.result?.types)
    })

    for (const series of ["6.1", "6.12"] as const) {
      it(`modules of ${series} appended to themselves, over their kernel, are libbpf's result, byte for byte`, () => {
        const base = parsed(kernel(series).btf)
        const folder = temporaryFolder()
        const inputs: Array<{ readonly btf: Btf.Btf; readonly file: string; readonly path: string }> = []
        const modules = modulesOf(kernel(series))
        // Some from all over the list, which is sorted by name.
        const step = Math.max(1, Math.floor(modules.length / 80))
        for (const [index, path] of modules.entries()) {
          if (index % step !== 0) continue
          const bytes = sectionOf(path, ".BTF")
          const btf = bytes && Btf.parse(bytes, { base })
          if (btf === undefined || Result.isFailure(btf)) continue
          const file = Path.join(folder, `${index}.btf`)
          const doubled = appended(btf.success, btf.success)
          Fs.writeFileSync(file, doubled.bytes)
          inputs.push({ btf: doubled, file, path })
        }
        const answers = BtfPeer.batch(
          "1.5",
          inputs.map(({ file }) => ["dedup", file, `${file}.out`, "--base", kernel(series).btf])
        )
        const different: Array<string> = []
        for (const [index, { btf, file, path }] of inputs.entries()) {
          if (answers[index]?.error !== undefined) throw new Error(`${path}: ${answers[index]?.error?.log}`)
          const done = B.expectSuccess(BtfDedup.dedup(btf))
          assert.isFalse(done.report.exhausted)
          if (!isEqual(done.btf.bytes, read(`${file}.out`))) different.push(path)
        }
        assert.deepEqual(different, [])
        assert.isAbove(inputs.length, 50)
      })
    }

    it("a kernel over itself leaves its variables and sections", () => {
      const base = parsed(kernel("6.1").btf)
      const editor = BtfEdit.make({ base })
      B.expectSuccess(editor.append(base))
      const { btf } = B.expectSuccess(BtfDedup.dedup(B.expectSuccess(editor.finish())))
      for (let id = btf.firstId; id < btf.endId; id++) {
        assert.include([Btf.BTF_KIND_VAR, Btf.BTF_KIND_DATASEC, Btf.BTF_KIND_DECL_TAG], Btf.kindOf(btf, id))
      }
      assert.strictEqual(btf.stringsLength, 0)
    })
  }
)
