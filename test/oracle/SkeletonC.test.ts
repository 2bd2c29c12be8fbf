/** C skeletons beside bpftool's: see the full run for all fixtures and the corpus. */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Path from "node:path"
import { describeWith, newBpftool, repository } from "../support/Require.ts"
import * as HeadersBeside from "../support/HeadersBeside.ts"

const path = (fixture: string): string => Path.join(repository, "test/fixtures", fixture)

describeWith({ kind: "oracle", tools: ["clang"], files: [newBpftool] }, "a C skeleton", () => {
  it.each(["global_data.bpf.o", "externs.bpf.o", "arena_anywhere.bpf.o", "struct_ops_link.bpf.o"])(
    "%s has what bpftool's has, where it has it",
    (file) => {
      const skeleton = Result.getOrThrow(HeadersBeside.ours(path(file), "skeleton"))
      const theirs = HeadersBeside.bpftools(skeleton.path, "skeleton", newBpftool) ?? assert.fail("bpftool makes none")
      const expected = HeadersBeside.layout(skeleton, theirs, theirs)
      assert.match(expected, /maps\.\w+ at \d+ has 8\n/)
      for (const language of ["c", "c++"] as const) {
        assert.strictEqual(HeadersBeside.layout(skeleton, skeleton.header, theirs, { language }), expected, language)
      }
      assert.strictEqual(HeadersBeside.layout(skeleton, skeleton.header, theirs, { libbpf: "1.1" }), expected)
    }
  )
})
