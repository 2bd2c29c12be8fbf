import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as InProcess from "../../support/InProcess.ts"
import { repository, temporaryFolder } from "../../support/Require.ts"

/** Runs `gen object` in this process: its exit status, and what it prints. */
const command = (...args: ReadonlyArray<string>) => InProcess.command("gen", "object", ...args)

const fixture = (name: string): string => Path.join(repository, "test/fixtures", name)
const main = fixture("link_main.bpf.o")
const library = fixture("link_library.bpf.o")

describe("gen object", () => {
  it.live("writes the object and its map, and says which definition counts", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const output = Path.join(folder, "app.bpf.o")
      const map = Path.join(folder, "app.map")
      const { status, stderr, stdout } = yield* command(output, main, library, "--map", map)
      assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
      assert.include(stdout, `choose of ${main} counts, not that of ${library}`)
      assert.deepStrictEqual(Fs.readdirSync(folder).sort(), ["app.bpf.o", "app.map"])
      assert.include(Fs.readFileSync(map, "utf8"), "strong, beats weak ones")
      const before = Fs.readFileSync(output)
      yield* command(output, main, library)
      assert.deepStrictEqual(Fs.readFileSync(output), before)
    }))

  it.live("prints the map as JSON", () =>
    Effect.gen(function*() {
      const output = Path.join(temporaryFolder(), "app.bpf.o")
      const { stdout } = yield* command(output, main, library, "--json")
      const document = JSON.parse(stdout)
      assert.deepStrictEqual(document.output, { path: output, bytes: Fs.statSync(output).size })
      assert.deepStrictEqual(document.license, { text: "GPL", files: [main, library] })
      const choose = document.symbols.find(({ name }: { readonly name: string }) => name === "choose")
      assert.deepInclude(choose, { section: ".text", why: "strong" })
    }))

  it.live("leaves what was there when the link fails", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const output = Path.join(folder, "app.bpf.o")
      Fs.writeFileSync(output, "before")
      const { status, stderr } = yield* command(output, main)
      assert.strictEqual(status, 1)
      assert.match(stderr, /error: .*declared extern.*\n[^]*library_map/)
      assert.strictEqual(Fs.readFileSync(output, "utf8"), "before")
      assert.deepStrictEqual(Fs.readdirSync(folder), ["app.bpf.o"])
    }))

  it.live("keeps externs for a later link", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const partial = Path.join(folder, "partial.o")
      assert.strictEqual((yield* command(partial, main, "--relocatable")).status, 0)
      assert.strictEqual((yield* command(Path.join(folder, "app.bpf.o"), partial, library)).status, 0)
    }))

  it.live("refuses to write over an input, under whatever name", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const copy = Path.join(folder, "main.o")
      const link = Path.join(folder, "link.o")
      Fs.copyFileSync(main, copy)
      Fs.symlinkSync(copy, link)
      for (const args of [[copy, copy], [link, copy], [Path.join(folder, "out.o"), library, copy, "--map", link]]) {
        const { status, stderr } = yield* command(...args)
        assert.strictEqual(status, 2)
        assert.include(stderr, `is one of the inputs, ${copy}, and would be lost`)
      }
      const same = Path.join(folder, "same")
      assert.strictEqual((yield* command(same, main, library, "--map", same)).status, 2)
      assert.deepStrictEqual(Fs.readFileSync(copy), Fs.readFileSync(main))
      assert.deepStrictEqual(Fs.readdirSync(folder).sort(), ["link.o", "main.o"])
    }))

  it.live("names the file that is no object", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const text = Path.join(folder, "main.c")
      Fs.writeFileSync(text, "int main;")
      const { status, stderr } = yield* command(Path.join(folder, "out.o"), library, text)
      assert.strictEqual(status, 1)
      assert.include(stderr, `error: ${text}: not an ELF file`)
    }))
})
