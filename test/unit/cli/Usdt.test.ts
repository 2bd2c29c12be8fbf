/** `usdt list`: its text, its document, and what it says of what is none. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as UsdtList from "../../../src/attach/UsdtList.ts"
import { probesDocument } from "../../../src/cli/json/UsdtDocument.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import { probesText } from "../../../src/cli/text/UsdtText.ts"
import * as ElfBinary from "../../../src/services/Elf/ElfBinary.ts"
import { command } from "../../support/InProcess.ts"
import { temporaryFolder } from "../../support/Require.ts"
import { binaryWith } from "../../support/UsdtBinary.ts"
import type { WrittenNote } from "../../support/UsdtNotes.ts"

const listed = (...notes: ReadonlyArray<WrittenNote>): ReadonlyArray<UsdtList.ListedProbe> =>
  Result.getOrThrow(UsdtList.ofBinary("./app", Result.getOrThrow(ElfBinary.open(binaryWith(notes))), 0n))

const text = (probes: ReadonlyArray<UsdtList.ListedProbe>): ReadonlyArray<string> =>
  render(probesText(probes), plain).trimEnd().split("\n")

const document = (probes: ReadonlyArray<UsdtList.ListedProbe>): unknown =>
  JSON.parse(JSON.stringify(probesDocument(probes)))

const fine = {
  address: 0x1010n,
  semaphore: 0x3008n,
  provider: "app",
  name: "begin",
  arguments: "-4@%eax 8@8(%rbp,%rcx,4) 4@$-1 1@-3(%rsp)"
}

describe("usdt list", () => {
  it("shows addresses, places in the file, semaphores and arguments", () => {
    assert.deepStrictEqual(text(listed(fine)), [
      "  PROVIDER  NAME   ADDRESS  FILE OFFSET  SEMAPHORE  ARGUMENTS",
      "  app       begin  0x1010   0x1010       0x3008     s32 eax, u64 [rbp + rcx * 4 + 8], u32 4294967295, u8 [rsp - 3]",
      "1 place"
    ])
  })

  it("has them all in its document", () => {
    assert.deepStrictEqual(document(listed(fine)), [{
      path: "./app",
      provider: "app",
      name: "begin",
      address: 0x1010,
      file_offset: 0x1010,
      semaphore: { address: 0x3008, file_offset: 0x2008 },
      note: fine.arguments,
      arguments: [
        { size: 4, signed: true, location: { kind: "register", register: "eax" } },
        { size: 8, signed: false, location: { kind: "indexed", base: "rbp", index: "rcx", scale: 4, offset: 8 } },
        { size: 4, signed: false, location: { kind: "constant", value: 4294967295 } },
        { size: 1, signed: false, location: { kind: "memory", base: "rsp", offset: -3 } }
      ]
    }])
  })

  it("shows what is not understood as it is, and why", () => {
    const probes = listed({ ...fine, arguments: "8@%xmm0" }, { address: 0x9000n, provider: "app", name: "nowhere" })
    const lines = text(probes)
    assert.include(lines[1] ?? "", "8@%xmm0 (not understood)")
    assert.match(lines[2] ?? "", /nowhere +0x9000 +none/)
    assert.include(
      lines.join("\n"),
      "app:begin: argument 0, \"8@%xmm0\": xmm0 is no register that BPF programs can read"
    )
    assert.include(lines.join("\n"), "its address 0x9000 is in no segment of the file")
    const [first, second] = document(probes) as ReadonlyArray<Record<string, unknown>>
    assert.deepInclude(first, { arguments: null, file_offset: 0x1010 })
    assert.deepInclude(second, { arguments: [], file_offset: null })
    assert.lengthOf(first?.["problems"] as ReadonlyArray<string>, 1)
    assert.lengthOf(second?.["problems"] as ReadonlyArray<string>, 1)
  })

  it("shows no control characters of names", () => {
    assert.notInclude(text(listed({ ...fine, name: "\u001b[31mred" })).join("\n"), "\u001b[31m")
  })

  it.live("says that there are none, in text and as a document", () =>
    Effect.gen(function*() {
      const path = Path.join(temporaryFolder(), "app")
      Fs.writeFileSync(path, binaryWith(undefined))
      assert.deepInclude(yield* command("usdt", "list", path), { status: 0, stdout: "no probes" })
      assert.deepInclude(yield* command("usdt", "list", path, "--json"), { status: 0, stdout: "[]" })
      assert.deepStrictEqual(text([]), ["no probes"])
    }))

  it.live("explains its argument in words", () =>
    Effect.gen(function*() {
      const { stdout } = yield* command("usdt", "list", "--help")
      assert.match(stdout, /a name that is searched for; or the number of a process/)
    }))

  it.live("fails for what is no program, with the file's name", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const path = Path.join(folder, "some text")
      Fs.writeFileSync(path, "text")
      const cases: ReadonlyArray<readonly [string, RegExp]> = [
        [path, /some text: not an ELF file/],
        [Path.join(folder, "none"), /none: no such file/],
        [folder, /not a regular file/],
        ["no-such-library.so.7", /no-such-library.so.7: not found in .*give its path/],
        ["2147483646", /process 2147483646: there is none/],
        [`${path}!/member`, /./]
      ]
      for (const [target, message] of cases) {
        const ended = yield* command("usdt", "list", target)
        assert.strictEqual(ended.status, 1, target)
        assert.match(ended.stderr, message)
      }
    }))
})
