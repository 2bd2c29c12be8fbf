/**
 * C skeletons and subskeletons of all fixtures and of the corpus: they compile as C and as C++ without a warning, and where
 * bpftool makes one that does, every member of its structs is in the same place, in as many bytes.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Path from "node:path"
import { allFixtures, corpus, corpusFolder, describeWith, newBpftool, repository } from "../support/Require.ts"
import * as HeadersBeside from "../support/HeadersBeside.ts"

/** What is meant to differ, by file. */
const deliberate: ReadonlyMap<string, string> = new Map([
  ["struct_ops_shapes.bpf.o", "bpftool takes the size of a bit field for a part of its place"]
])

const compareAll = (paths: ReadonlyArray<string>, kind: HeadersBeside.Kind) => {
  const counts = { same: 0, inCxx: 0, alone: 0, types: 0 }
  const refused: Array<string> = []
  const different: Array<string> = []
  for (const path of paths) {
    const ours = HeadersBeside.ours(path, kind)
    const name = Path.basename(path)
    if (Result.isFailure(ours)) {
      const reason = `${name}: ${ours.failure.message}`
      // What bpftool makes a header of must be no reason for us to give up.
      if (HeadersBeside.bpftools(path, kind, newBpftool) === undefined) refused.push(reason)
      else different.push(`${reason}, but bpftool makes one`)
      continue
    }
    const compared = HeadersBeside.compare(ours.success, kind, newBpftool)
    if (compared._tag === "Same") {
      counts.same++
      if (compared.inCxx) counts.inCxx++
    } else if (compared._tag === "Alone") counts.alone++
    else if (compared._tag === "Types") counts.types++
    else if (!deliberate.has(name)) different.push(`${path}: ${compared.detail.slice(0, 1500)}`)
  }
  const { alone, inCxx, same, types } = counts
  console.log(
    `${kind} of ${paths.length} objects: ${same} as bpftool's (${inCxx} in C++ too), ${alone} alone, ${types} whose types do ` +
      `not compile, ${refused.length} refused by both\n${refused.join("\n")}`
  )
  assert.deepStrictEqual(different, [])
  return counts
}

describeWith({ kind: "oracle", tools: ["clang"], files: [newBpftool] }, "C headers of fixtures", () => {
  const paths = allFixtures().map((name) => Path.join(repository, "test/fixtures", name))
  it("skeletons are bpftool's", () => {
    assert.isAtLeast(compareAll(paths, "skeleton").same, 25)
  })
  it("subskeletons are bpftool's", () => {
    assert.isAtLeast(compareAll(paths, "subskeleton").same, 20)
  })
})

describeWith({ kind: "oracle", tools: ["clang"], files: [newBpftool, corpusFolder] }, "C headers of the corpus", () => {
  it("skeletons are bpftool's", () => {
    assert.isAtLeast(compareAll(corpus(), "skeleton").inCxx, 200)
  })
  it("subskeletons are bpftool's", () => {
    assert.isAtLeast(compareAll(corpus(), "subskeleton").inCxx, 200)
  })
})
