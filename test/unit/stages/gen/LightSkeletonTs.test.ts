/** Light skeletons in TypeScript: they are well typed, and bring neither ELF nor BTF along. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Esbuild from "esbuild"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as LightModule from "../../../support/LightModule.ts"
import { allFixtures, repository, run } from "../../../support/Require.ts"

const fixtures = allFixtures().filter((name) => /^[^/]*[.]bpf[.]o$/.test(name))

/** What tsc says of these files; the runtime is the source here. */
const compiled = (files: Readonly<Record<string, string>>): string => {
  const folder = LightModule.folder()
  for (const [name, text] of Object.entries(files)) Fs.writeFileSync(Path.join(folder, name), text)
  Fs.writeFileSync(
    Path.join(folder, "tsconfig.json"),
    JSON.stringify({
      extends: Path.join(repository, "tsconfig.json"),
      compilerOptions: {
        noEmit: true,
        rootDir: "/",
        types: ["node"],
        typeRoots: [Path.join(repository, "node_modules/@types")],
        paths: { "effect-bpf/light": [LightModule.runtime] }
      },
      include: [],
      files: Object.keys(files)
    })
  )
  const { status, stderr, stdout } = run(
    process.execPath,
    [Path.join(repository, "node_modules/typescript/bin/tsc"), "-p", folder],
    { cwd: folder }
  )
  return status === 0 ? "" : `${stdout}${stderr}`
}

const user = `
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Firewall from "./xdp_firewall.ts"

export const program: Effect.Effect<bigint, Error, Scope.Scope> = Effect.gen(function*() {
  const opened = Firewall.open()
  opened.rodata.sample_every = 10
  opened.rodata.drop_malformed = true
  opened.rodata.blocked_ports[0] = 23
  const loaded = yield* Firewall.load(opened, { maxEntries: { blocklist: 77 } })
  const map: Firewall.Maps["blocklist"] = loaded.maps.blocklist
  yield* loaded.session.call({ _tag: "MapGetInfo", map })
  yield* loaded.session.call({ _tag: "ProgGetInfo", prog: loaded.programs.xdp_firewall })
  const totals: Uint8Array = loaded.bss.totals

  // Named faults: mistakes that the types must see, each of which the compiler complains about if it is none.
  // @ts-expect-error there is no such map
  const blocklists: unknown = loaded.maps.blocklists
  // @ts-expect-error it is a number of 32 bits
  opened.rodata.sample_every = 10n
  // @ts-expect-error constants of a loaded object stay as they are
  loaded.rodata.sample_every = 3
  // @ts-expect-error there is no such map to change
  yield* Firewall.load(opened, { maxEntries: { stranger: 77 } })
  // @ts-expect-error there is no such program
  yield* loaded.session.call({ _tag: "ProgGetInfo", prog: loaded.programs.firewall, instructions: blocklists === 1 })
  return BigInt(totals.length)
})
`

describe("TypeScript light skeletons", () => {
  it.effect("those of all fixtures are well typed, and mistakes in their use are seen", () =>
    Effect.gen(function*() {
      const files: Record<string, string> = { "user.ts": user }
      for (const name of fixtures) {
        const text = yield* Effect.result(LightModule.textOf(name))
        if (Result.isSuccess(text)) files[name.replace(".bpf.o", ".ts")] = text.success
      }
      assert.isAbove(Object.keys(files).length, 20)
      assert.strictEqual(compiled(files), "")
      for (const [name, text] of Object.entries(files)) {
        if (name === "user.ts") continue
        const code = text.replaceAll(/"[^"\n]*"|`[^`\n]*`/g, "").replaceAll(/\/\*[^]*?\*\//g, "")
        assert.notMatch(code, /[:<|]\s*(any|unknown)\b|[^*] as /, name)
      }
    }), 60_000)

  it.effect("bundled, a skeleton has no line of ELF, BTF, linker, virtual machine or stages but those of loaders", () =>
    Effect.gen(function*() {
      const folder = LightModule.folder()
      const text = yield* LightModule.textOf("xdp_firewall.bpf.o", LightModule.runtime)
      Fs.writeFileSync(Path.join(folder, "main.ts"), `${text}\nconsole.log(load, open)\n`)
      const bundled = yield* Effect.promise(() =>
        Esbuild.build({
          entryPoints: [Path.join(folder, "main.ts")],
          absWorkingDir: repository,
          bundle: true,
          write: false,
          format: "esm",
          platform: "node",
          packages: "external",
          metafile: true,
          logLevel: "silent"
        })
      )
      const ours = Object.keys(bundled.metafile.inputs).filter((path) => path.startsWith("src/"))
      assert.include(ours, "src/light.ts")
      const rooms = [...new Set(ours.map((path) => path.replace(/\/[^/]*$/, "")))].sort()
      assert.deepStrictEqual(
        ours.filter((path) =>
          /^src\/(btf|vm|linker|usdt|cli|attach|events|services\/Elf|stages\/(?!gen\/))/.test(path)
        ),
        [],
        rooms.join("\n")
      )
      assert.deepStrictEqual(
        ours.filter((path) => path.startsWith("src/stages/")).sort(),
        ["LoaderError", "LoaderInput", "LoaderLayout", "LoaderProgram", "LoaderRunner"].map((name) =>
          `src/stages/gen/${name}.ts`
        )
      )
    }))

  it.effect("images are copies, fields are where the compiler put them", () =>
    Effect.gen(function*() {
      const folder = LightModule.folder()
      const path = Path.join(folder, "global_data.ts")
      Fs.writeFileSync(path, yield* LightModule.textOf("global_data.bpf.o", LightModule.runtime))
      const module: {
        readonly open: () => {
          readonly data: Record<string, number | bigint | boolean | Uint8Array>
          readonly rodata: { readonly greeting: Uint8Array; limit: number }
        }
      } = yield* Effect.promise(() => import(path))
      const opened = module.open()
      assert.strictEqual(new TextDecoder().decode(opened.rodata.greeting).split("\0")[0], "hello")
      const before = opened.data["answer"]
      opened.data["answer"] = -5
      assert.strictEqual(opened.data["answer"], -5)
      assert.strictEqual(module.open().data["answer"], before)
      assert.throws(() => {
        opened.data["nothing"] = 1
      })
    }))
})
