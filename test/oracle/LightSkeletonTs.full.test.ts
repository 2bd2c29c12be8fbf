/**
 * Light skeletons in TypeScript of all objects of the corpus of which a loader can be recorded: they type-check under `strict`
 * in one program, say `any` and `unknown` nowhere, and are the same when they are made again.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as LightSkeletonTs from "../../src/stages/gen/LightSkeletonTs.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as LightModule from "../support/LightModule.ts"
import { recordObject } from "../support/LoadersBeside.ts"
import { corpus, corpusFolder, describeWith } from "../support/Require.ts"
import * as SkeletonModule from "../support/SkeletonModule.ts"

describeWith({ kind: "oracle", files: [corpusFolder] }, "light skeletons of the corpus", () => {
  it.live("type-check under strict, without `any`, the same each time", () =>
    Effect.gen(function*() {
      const folder = SkeletonModule.folder()
      let modules = 0
      for (const [number, path] of corpus().entries()) {
        const file = Path.basename(path)
        const make = Effect.fnUntraced(function*() {
          const object = yield* Effect.fromResult(Open.fromBytes(new Uint8Array(Fs.readFileSync(path)), { path: file }))
          const loader = yield* recordObject(object)
          const options = { name: LightSkeletonTs.nameOfFile(file), runtime: LightModule.runtime }
          return LightSkeletonTs.make(object, loader, options)
        })
        const made = yield* Effect.option(make())
        // What cannot be opened alone, and what no loader can do.
        if (made._tag === "None") continue
        if (Result.isFailure(made.value)) return assert.fail(`${path}: ${made.value.failure.message}`)
        const text = made.value.success
        assert.deepStrictEqual(yield* make(), Result.succeed(text), path)
        assert.deepStrictEqual(SkeletonModule.loose(text), [], path)
        // Base64 is not for the compiler to read.
        Fs.writeFileSync(
          Path.join(folder, `light${number}.ts`),
          text.replaceAll(/^ {4}"[A-Za-z0-9+/=]{100,}"( \+)?$/gm, "    \"\"$1")
        )
        modules++
      }
      assert.isAbove(modules, 400)
      assert.strictEqual(SkeletonModule.complaints(folder), "")
    }), { timeout: 1_200_000 })
})
