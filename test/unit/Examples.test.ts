/** The skeletons of the examples are those of their objects: `sh examples/build.sh` makes both. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as SkeletonTs from "../../src/stages/gen/SkeletonTs.ts"
import * as Open from "../../src/stages/open/Open.ts"
import { repository } from "../support/Require.ts"

describe("the skeletons of examples", () => {
  for (const name of ["firewall", "nodegc", "snoop", "tcplatency"]) {
    it(`${name} is up to date`, () => {
      const folder = Path.join(repository, "examples", name)
      const file = `${name}.bpf.o`
      const object = Result.getOrThrow(Open.fromBytes(Fs.readFileSync(Path.join(folder, file)), { path: file }))
      const made = SkeletonTs.make(object, { name, source: { _tag: "Beside", file }, runtime: "../../src/skeleton.ts" })
      assert.strictEqual(Fs.readFileSync(Path.join(folder, `${name}.skel.ts`), "utf8"), Result.getOrThrow(made))
    })
  }
})
