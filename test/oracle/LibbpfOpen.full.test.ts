/**
 * Opening the corpus of real objects, beside libbpf: each field of every program and map.
 */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { type DeliberateName, differences, whichDeliberate } from "../support/OpenedBeside.ts"
import * as Peer from "../support/Peer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { corpus, corpusFolder, describeWith } from "../support/Require.ts"

/** The differences that the corpus shows; one that no longer occurs fails. */
const expected: ReadonlyArray<DeliberateName> = [
  "byteOrder",
  "legacyMaps",
  "onlyText",
  "ringSize",
  "structOpsMember",
  "structOpsValue"
]

describeWith(
  { kind: "oracle", ...Libbpf.needs("system"), files: [corpusFolder] },
  "open of the corpus, beside libbpf",
  () => {
    it("all objects are the same, apart from what is meant to differ", () => {
      const objects = corpus()
      assert.isAbove(objects.length, 400)
      const kinds = new Set<DeliberateName>()
      const unexplained: Array<string> = []
      for (const path of objects) {
        const found = differences(new Uint8Array(Fs.readFileSync(path)), path, Peer.open(path))
        for (const difference of found) {
          const kind = whichDeliberate(difference)
          if (kind !== undefined) kinds.add(kind)
          else unexplained.push(`${Path.basename(path)}: ${Object.values(difference).join(" | ").slice(0, 500)}`)
        }
      }
      assert.deepStrictEqual(unexplained, [])
      assert.deepStrictEqual([...kinds].sort(), expected)
    })
  }
)
