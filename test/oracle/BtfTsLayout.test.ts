/** The offsets and sizes in generated TypeScript, held against the compiler that laid the types out. */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Open from "../../src/stages/open/Open.ts"
import { clangLayouts } from "../support/ClangLayouts.ts"
import { layoutDifferences, namedRecords } from "../support/LayoutsBeside.ts"
import { describeWith, fixture, repository } from "../support/Require.ts"

const fixtures = ["typed_events", "global_data", "xdp_firewall", "events", "map_kinds", "test_run", "struct_ops"]

const btfOf = (name: string) => {
  const { btf } = Result.getOrThrow(Open.fromBytes(fixture(`${name}.bpf.o`)))
  if (btf === undefined) throw new Error(`${name} has no BTF`)
  return btf
}

const sourceOf = (name: string): string => Fs.readFileSync(Path.join(repository, `test/fixtures/${name}.bpf.c`), "utf8")

describeWith({ kind: "oracle", tools: ["clang-19", "gcc"] }, "generated layouts", () => {
  it("are clang's for the types of our programs", () => {
    let members = 0
    let fields = 0
    for (const name of fixtures) {
      const btf = btfOf(name)
      const { errors, records } = clangLayouts(sourceOf(name), namedRecords(btf).keys())
      assert.strictEqual(errors, "", name)
      const { bitFields, compared, differences } = layoutDifferences(btf, records)
      assert.deepStrictEqual(differences, [], name)
      members += compared
      fields += bitFields
    }
    assert.isAbove(members, 60)
    assert.isAbove(fields, 5)
  })

  it("named fault: an offset and a bit field that are off by one are seen", () => {
    const { records } = clangLayouts(sourceOf("global_data"), ["struct settings", "struct flags"])
    const faulty = (change: (text: string) => string) =>
      layoutDifferences(btfOf("global_data"), records, change).differences
    assert.deepStrictEqual(faulty((text) => text.replace("colour: { offset: 16,", "colour: { offset: 17,")), [
      "struct settings.colour: at 136, by clang at 128"
    ])
    assert.deepStrictEqual(faulty((text) => text.replace("{ bitOffset: 3,", "{ bitOffset: 4,")), [
      "struct flags.middle: 12 bits at 4, by clang 12 bits at 3"
    ])
  })
})
