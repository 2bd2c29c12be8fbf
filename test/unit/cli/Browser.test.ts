/**
 * The public API runs in a browser: bundled for one, it holds nothing of Node and no foreign calls.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Esbuild from "esbuild"
import * as Path from "node:path"
import { repository } from "../../support/Require.ts"

/** What of Node, or of packages other than effect, a browser bundle of a module would have to hold. */
const needs = async (entry: string): Promise<ReadonlyArray<string>> => {
  const found = new Set<string>()
  await Esbuild.build({
    entryPoints: [Path.join(repository, entry)],
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    logLevel: "silent",
    plugins: [{
      name: "outside",
      setup: (build) => {
        build.onResolve({ filter: /^[^./]/ }, ({ kind, path }) => {
          if (kind === "entry-point" || path.startsWith("effect/")) return undefined
          found.add(path)
          return { path, external: true }
        })
      }
    }]
  })
  return [...found].sort()
}

describe("the public API", () => {
  it("needs nothing but effect", async () => {
    assert.deepStrictEqual(await needs("src/index.ts"), [])
  })

  it("named fault: the entry for Node needs Node", async () => {
    assert.include(await needs("src/node.ts"), "node:fs")
  })
})
