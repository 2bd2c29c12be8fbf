/** Skeletons in TypeScript as text: of every fixture one that type-checks, without `any`, the same each time. */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Result from "effect/Result"
import * as Open from "../../../../src/stages/open/Open.ts"
import * as SkeletonTs from "../../../../src/stages/gen/SkeletonTs.ts"
import * as SubskeletonTs from "../../../../src/stages/gen/SubskeletonTs.ts"
import { allFixtures, fixture } from "../../../support/Require.ts"
import * as SkeletonModule from "../../../support/SkeletonModule.ts"

const texts = (): ReadonlyMap<string, string> =>
  new Map(
    allFixtures().flatMap((file) => {
      const made = SkeletonModule.textOf(fixture(file), file)
      // What cannot be opened alone is there to be linked.
      return made === undefined ? [] : [[file, Result.getOrThrow(made)] as const]
    })
  )

describe("SkeletonTs", () => {
  it("type-checks of every fixture under strict, in one program", () => {
    const folder = SkeletonModule.folder()
    const made = texts()
    for (const [file, text] of made) Fs.writeFileSync(Path.join(folder, `${file.replace(/\.o$/, "")}.ts`), text)
    assert.isAbove(made.size, 50)
    // Named fault: a mistake in one of them is seen.
    const text = made.get("xdp_firewall.bpf.o") ?? ""
    const faulty = SkeletonModule.folder()
    Fs.writeFileSync(
      Path.join(faulty, "fault.ts"),
      text.replace("view.getUint32(at, true)", "view.getBigUint64(at, true)")
    )
    const complaints = SkeletonModule.complaints(faulty).trim().split("\n")
    assert.match(
      complaints[0] ?? "",
      /fault\.ts\(\d+,\d+\): error TS2322: Type 'bigint' is not assignable to type 'number'/
    )
    assert.deepStrictEqual(complaints.filter((line) => /^\S/.test(line) && !line.includes("fault.ts")), [])
  })

  it("says `any` and `unknown` of nothing", () => {
    for (const [file, text] of texts()) assert.deepStrictEqual(SkeletonModule.loose(text), [], file)
    // Named fault: they are seen where they are types, and properties may be called so.
    assert.deepStrictEqual(SkeletonModule.loose("readonly any: A<any>; b: unknown; c: Array<unknown>"), [
      "A<any>",
      "b: unknown",
      "Array<unknown>"
    ])
  })

  it("says the type of each export, without which no declarations are made of a module that imports a package", () => {
    for (const [file, text] of texts()) {
      assert.deepStrictEqual(text.match(/^export const \w+ =.*$/gm) ?? [], [], file)
    }
    const library = Result.getOrThrow(Open.fromBytes(fixture("link_library.bpf.o")))
    assert.notMatch(Result.getOrThrow(SubskeletonTs.make(library, { name: "library" })), /^export const \w+ =/m)
  })

  it("is the same each time, and another for another name or place of the object", () => {
    const object = Result.getOrThrow(Open.fromBytes(fixture("xdp_firewall.bpf.o")))
    const beside = { _tag: "Beside", file: "xdp_firewall.bpf.o" } as const
    const text = Result.getOrThrow(SkeletonTs.make(object, { name: "firewall", source: beside }))
    assert.strictEqual(Result.getOrThrow(SkeletonTs.make(object, { name: "firewall", source: beside })), text)
    assert.notStrictEqual(Result.getOrThrow(SkeletonTs.make(object, { name: "other", source: beside })), text)
    assert.include(text, "Skeleton.beside(\"xdp_firewall.bpf.o\", import.meta)")
    assert.include(text, "from \"effect-bpf/skeleton\"")
    for (const [file, text] of texts()) {
      assert.isTrue(text === Result.getOrThrow(SkeletonModule.textOf(fixture(file), file) ?? Result.succeed("")), file)
    }
  })

  it("refuses names that are none", () => {
    const object = Result.getOrThrow(Open.fromBytes(fixture("xdp_firewall.bpf.o")))
    for (const name of ["", "9lives", "a-b", "x\n", "*/"]) {
      const made = SkeletonTs.make(object, { name, source: { _tag: "Beside", file: "x.o" } })
      assert.strictEqual(Result.isFailure(made) ? made.failure.reason : "", "Name", name)
    }
  })
})
