/**
 * Skeletons in TypeScript of all objects of the corpus, the selftests of linux-source-6.1 among them: they type-check under
 * `strict` in one program, say `any` and `unknown` nowhere, and are the same when they are made again.
 */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Result from "effect/Result"
import * as SkeletonModule from "../support/SkeletonModule.ts"
import { corpus, corpusFolder, describeWith } from "../support/Require.ts"

describeWith({ kind: "oracle", files: [corpusFolder] }, "skeletons of the corpus", () => {
  it("type-check under strict, without `any`, the same each time", () => {
    const folder = SkeletonModule.folder()
    let modules = 0
    for (const [number, path] of corpus().entries()) {
      const bytes = new Uint8Array(Fs.readFileSync(path))
      const made = SkeletonModule.textOf(bytes, Path.basename(path))
      // What cannot be opened alone, and objects of before BTF that no loader takes.
      if (made === undefined) continue
      if (Result.isFailure(made)) return assert.fail(`${path}: ${made.failure.message}`)
      const again = SkeletonModule.textOf(new Uint8Array(Fs.readFileSync(path)), Path.basename(path))
      assert.isTrue(again !== undefined && Result.isSuccess(again) && again.success === made.success, path)
      assert.deepStrictEqual(SkeletonModule.loose(made.success), [], path)
      Fs.writeFileSync(Path.join(folder, `skeleton${number}.ts`), made.success)
      modules++
    }
    assert.isAbove(modules, 400)
    assert.strictEqual(SkeletonModule.complaints(folder), "")
  })
})
