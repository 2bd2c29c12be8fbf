/** The schemas of the command's documents: what is published, and that they tell right from wrong. */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileName, schemaText } from "../../../src/cli/schemas/Published.ts"
import { commands, published } from "../../../src/cli/schemas/Schemas.ts"
import { faultOf } from "../../support/Documents.ts"
import { repository } from "../../support/Require.ts"

const folder = Path.join(repository, "docs/schemas")

/** A program as bpftool would show it. */
const prog = {
  id: 7,
  type: "xdp",
  tag: "0123456789abcdef",
  gpl_compatible: true,
  orphaned: false,
  bytes_xlated: 64,
  jited: false
}

const shown = (document: unknown, status = 0) =>
  faultOf(["prog", "show", "id", "7", "--json"], { status, stdout: `${JSON.stringify(document)}\n` })

describe("schemas of documents", () => {
  it("are published as they are in the sources: node tools/schemas.ts writes them", () => {
    const files = Fs.readdirSync(folder).filter((name) => name.endsWith(".json")).sort()
    assert.deepStrictEqual(files, Object.keys(published).map(fileName).sort())
    for (const [words, each] of Object.entries(published)) {
      assert.strictEqual(Fs.readFileSync(Path.join(folder, fileName(words)), "utf8"), schemaText(words, each), words)
    }
  })

  it("take what bpftool would show", () => {
    assert.strictEqual(shown(prog), undefined)
    assert.strictEqual(shown([prog, { ...prog, id: 8, name: "other" }]), undefined)
    assert.strictEqual(shown({ error: "no", type: "UsageError", hints: [] }, 2), undefined)
  })

  it("named fault: a key too many, one too few and one of another type are told", () => {
    assert.include(shown({ ...prog, colour: "red" }), "must NOT have additional properties")
    assert.include(shown([{ ...prog, colour: "red" }]), "must NOT have additional properties")
    const { tag: _, ...few } = prog
    assert.include(shown(few), "must have required property 'tag'")
    assert.include(shown({ ...prog, id: "7" }), "/id must be integer")
    assert.include(shown({ ...prog, id: -7 }), "/id must be >= 0")
  })

  it("named fault: a failure with another status, or with less, is told", () => {
    assert.isDefined(shown({ error: "no", type: "UsageError", hints: [] }, 0))
    assert.isDefined(shown({ error: "no", type: "UsageError" }, 1))
  })

  it("named fault: documents of which there should be one are told", () => {
    const twice = `${JSON.stringify(prog)}\n${JSON.stringify(prog)}\n`
    assert.include(faultOf(["prog", "show", "--json"], { status: 0, stdout: twice }), "printed 2 documents")
    assert.include(faultOf(["prog", "show", "--json"], { status: 0, stdout: "" }), "printed 0 documents")
  })

  it("look at documents that are laid out, too", () => {
    const stdout = `${JSON.stringify({ ...prog, colour: "red" }, undefined, 2)}\n`
    assert.isDefined(faultOf(["prog", "show", "--pretty"], { status: 0, stdout }))
    assert.isUndefined(faultOf(["prog", "show", "-p"], { status: 0, stdout: JSON.stringify(prog, undefined, 2) }))
  })

  it("describe every key that is not described by its name", () => {
    for (const words of Object.keys(commands)) {
      assert.isNotEmpty(commands[words]?.description)
    }
  })
})
