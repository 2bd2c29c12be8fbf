/** `elf offset` as a user sees it: documents, messages and exit statuses. */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Image } from "../../support/BinaryImage.ts"
import { codeOffset, writeBinary } from "../../support/BinaryImage.ts"
import * as C from "../../../src/services/Elf/ElfConstants.ts"
import * as Command from "../../support/Command.ts"
import { temporaryFolder } from "../../support/Require.ts"

const image: Image = {
  bits: 32,
  byteOrder: "big",
  address: 0x1000n,
  codeSize: 64,
  dynamic: [
    { name: "twice", at: 4, size: 4, version: "V1", isHidden: true },
    { name: "twice", at: 8, size: 4, version: "V2" },
    { name: "chosen", at: 12, type: C.STT_GNU_IFUNC, version: "V2" },
    { name: "imported", at: undefined }
  ],
  static: [{ name: "local", at: 16, binding: C.STB_LOCAL }, { name: "main", at: 20, size: 8 }]
}

const start = codeOffset(image)

const folder = temporaryFolder()
const path = Path.join(folder, "a program: ours")
Fs.writeFileSync(path, writeBinary(image))

const offset = (...args: ReadonlyArray<string>) => {
  const { status, stderr, stdout } = Command.run(["elf", "offset", ...args], { cwd: folder })
  return { status, stderr, stdout }
}

const json = (...args: ReadonlyArray<string>): unknown => {
  const { stdout } = offset(...args, "--json")
  return JSON.parse(stdout)
}

const places = (...args: ReadonlyArray<string>): unknown => {
  const document = json(path, ...args)
  return Array.isArray(document)
    ? document.map((each: { readonly symbol: string; readonly offset: number }) => [each.symbol, each.offset - start])
    : document
}

describe("elf offset", () => {
  it("gives a document of each function as it was asked for, patterns by their names", () => {
    assert.deepStrictEqual(places("main+0x4", "twice@V1", "twice@@V2", "l*"), [
      ["main+0x4", 24],
      ["twice@V1", 4],
      ["twice@@V2", 8],
      ["local", 16]
    ])
    assert.deepStrictEqual(json(path, "main"), [{
      symbol: "main",
      offset: start + 20,
      path,
      name: "main",
      version: null,
      default_version: null,
      address: String(0x1000 + 20),
      size: "8",
      binding: "global",
      table: "symtab",
      indirect: false
    }])
  })

  it("shows people offsets in hexadecimal, with versions", () => {
    const { status, stderr, stdout } = offset(path, "main", "t*@V1")
    assert.strictEqual(status, 0, stderr)
    assert.strictEqual(stderr, "")
    const lines = stdout.trimEnd().split("\n").map((line) => line.trim().split(/ +/))
    assert.deepStrictEqual(lines.slice(1), [
      ["OFFSET", "SYMBOL", "SIZE", "BINDING", "TABLE"],
      [`0x${(start + 20).toString(16)}`, "main", "8", "global", "symtab"],
      [`0x${(start + 4).toString(16)}`, "twice@V1", "4", "global", "dynsym"]
    ])
  })

  it("shows all functions of a name where that is asked for", () => {
    assert.deepStrictEqual(places("--all", "twice"), [["twice", 4], ["twice", 8]])
  })

  it("notes on standard error that an indirect function is not the one that is called", () => {
    const { status, stderr, stdout } = offset(path, "chosen", "--json")
    assert.strictEqual(status, 0)
    assert.include(stderr, "the function that chooses: chosen")
    assert.include(stdout, "\"indirect\":true")
  })

  it("fails with what is wrong with the name, and the others at fault", () => {
    for (
      const [name, reason, text] of [
        ["twice", "Ambiguous", "twice@V1"],
        ["imported", "Undefined", "not defined"],
        ["mai", "NotFound", "did you mean main?"],
        ["twice@V9", "Version", "there is twice@V1"],
        ["main+8", "BeyondFunction", "only 8 bytes"],
        ["z*", "NoMatch", "no function matches"],
        ["main@", "Name", "NAME@VERSION"]
      ] as const
    ) {
      const { status, stderr, stdout } = offset(path, "main", name, "--json")
      assert.strictEqual(status, 1, name)
      assert.include(stderr, text)
      const document: unknown = JSON.parse(stdout)
      assert.deepInclude(document, { type: "FunctionOffsetError", reason, symbol: name })
    }
    assert.include(offset(path, "x1", "x2", "x3").stderr, "and 2 other names")
  })

  it("takes files of its folder that are found nowhere else, and says of others where was searched", () => {
    assert.strictEqual(offset("a program: ours", "main").status, 0)
    const { status, stderr } = offset("libnowhere.so.9", "main")
    assert.strictEqual(status, 1)
    assert.include(stderr, "/usr/lib")
    assert.include(offset("./libnowhere.so.9", "main").stderr, "no such file")
  })

  it("fails on what is no binary, and on wrong usage", () => {
    const { status, stderr } = offset(import.meta.filename, "main")
    assert.strictEqual(status, 1)
    assert.include(stderr, "not an ELF file")
    assert.strictEqual(offset(path).status, 2)
    assert.strictEqual(offset(path, "main", "--pid", "0").status, 2)
    assert.strictEqual(offset(folder, "main").status, 1)
  })
})
