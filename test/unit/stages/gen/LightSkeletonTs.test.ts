/** Light skeletons in TypeScript: they are well typed, and bring neither ELF nor BTF along. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Esbuild from "esbuild"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../../src/btf/BtfEdit.ts"
import * as Light from "../../../../src/light.ts"
import * as LightSkeletonTs from "../../../../src/stages/gen/LightSkeletonTs.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import * as LightModule from "../../../support/LightModule.ts"
import { recordObject } from "../../../support/LoadersBeside.ts"
import { allFixtures, fixture, repository, run } from "../../../support/Require.ts"

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
        paths: {
          "effect-bpf/light": [LightModule.runtime],
          "effect-bpf/light/attach": [LightModule.runtime.replace("light.ts", "light/Attach.ts")],
          "effect-bpf/light/maps": [LightModule.runtime.replace("light.ts", "light/Maps.ts")]
        }
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
  opened.rodata.blocked_ports = [23, 0, 0, 0]
  const loaded = yield* Firewall.load(opened, { maxEntries: { blocklist: 77 } })
  const { blocklist, stats } = loaded.maps
  yield* loaded.session.call({ _tag: "MapGetInfo", map: blocklist.ref })
  yield* loaded.session.call({ _tag: "ProgGetInfo", prog: loaded.programs.xdp_firewall.ref })
  yield* blocklist.set({ prefix_length: 24, address: Uint8Array.of(10, 0, 0, 0) }, 1n)
  const counted: Firewall.protocol_stats | undefined = yield* stats.get("PROTOCOL_TCP")
  yield* loaded.programs.xdp_firewall.attach({ device: 1 })
  const totals: bigint = loaded.bss.totals.packets

  // Named faults: mistakes that the types must see, each of which the compiler complains about if it is none.
  // @ts-expect-error there is no such map
  const blocklists: unknown = loaded.maps.blocklists
  // @ts-expect-error it is a number of 32 bits
  opened.rodata.sample_every = 10n
  // @ts-expect-error constants of a loaded object stay as they are
  loaded.rodata.sample_every = 3
  // @ts-expect-error it has four ports
  opened.rodata.blocked_ports = [23]
  // @ts-expect-error no protocol is called so
  yield* stats.get("PROTOCOL_TPC")
  // @ts-expect-error the values are numbers of 64 bits
  yield* blocklist.set({ prefix_length: 24, address: Uint8Array.of(10, 0, 0, 0) }, 1)
  // @ts-expect-error a device is needed
  yield* loaded.programs.xdp_firewall.attach({})
  // @ts-expect-error there is no such map to change
  yield* Firewall.load(opened, { maxEntries: { stranger: 77 } })
  // @ts-expect-error there is no such program
  yield* loaded.session.call({ _tag: "ProgGetInfo", prog: loaded.programs.firewall, instructions: blocklists === counted })
  return totals
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
        assert.notMatch(code, /[:<|]\s*(any|unknown)\b|[^*] as (?!const\b)/, name)
      }
    }), 60_000)

  /** The files of this library of which a bundle of a skeleton has a line. */
  const bundledFiles = Effect.fnUntraced(function*(file: string) {
    const folder = LightModule.folder()
    const text = yield* LightModule.textOf(file, LightModule.runtime)
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
        logLevel: "silent",
        outfile: "main.js"
      })
    )
    const inputs = Object.values(bundled.metafile.outputs)[0]?.inputs ?? {}
    return Object.entries(inputs)
      .filter(([path, { bytesInOutput }]) => path.startsWith("src/") && bytesInOutput > 0)
      .map(([path]) => path)
      .sort()
  })

  it.effect("bundled, a skeleton has no line of ELF, BTF, linker, virtual machine or stages but those of loaders", () =>
    Effect.gen(function*() {
      const ours = yield* bundledFiles("xdp_firewall.bpf.o")
      assert.include(ours, "src/light.ts")
      assert.deepStrictEqual(
        ours.filter((path) => /^src\/(btf|vm|linker|usdt|cli|attach|events|services\/Elf|stages)/.test(path)),
        [
          // Attaching XDP programs, by what the object said: nothing of other kinds, and no reader of sections' names but for one.
          "src/attach/AttachError.ts",
          "src/attach/Link.ts",
          "src/attach/Loaded.ts",
          "src/attach/Network.ts",
          "src/attach/Xdp.ts",
          // What codecs in the text call.
          "src/btf/BtfBits.ts",
          "src/btf/CharacterText.ts",
          "src/btf/Codec.ts",
          "src/btf/LayoutCodec.ts",
          "src/btf/LayoutWriter.ts",
          "src/btf/ValueLimits.ts",
          ...["LoaderError", "LoaderInput", "LoaderLayout", "LoaderProgram", "LoaderRunner"].map((name) =>
            `src/stages/gen/${name}.ts`
          ),
          "src/stages/open/BpfObject.ts"
        ]
      )
    }))

  it.effect("programs with probes of USDT are not attached, so nothing that looks for probes comes along", () =>
    Effect.gen(function*() {
      const ours = yield* bundledFiles("usdt.bpf.o")
      assert.deepStrictEqual(
        ours.filter((path) => /^src\/(btf\/Btf[A-Z]|vm|linker|cli|usdt|attach|services\/Elf)/.test(path)),
        [
          "src/btf/BtfBits.ts"
        ]
      )
    }))

  it.effect("a wrong annotation is told, by the map", () =>
    Effect.gen(function*() {
      const object = yield* Effect.fromResult(Open.fromBytes(fixture("typed_events.bpf.o")))
      const { btf } = object
      if (btf === undefined) return assert.fail("the fixture has BTF")
      const loader = yield* recordObject(object)
      const editor = BtfEdit.edit(btf)
      editor.addDeclTag("event:struct absent", Btf.findOne(btf, "execs", Btf.BTF_KIND_VAR) ?? 0, -1)
      const wrong = { ...object, btf: yield* Effect.fromResult(editor.finish()) }
      const made = LightSkeletonTs.make(wrong, loader, { name: "wrong" })
      if (Result.isSuccess(made)) return assert.fail("it was passed over")
      assert.deepStrictEqual([made.failure.reason, made.failure.name], ["Type", "execs"])
      assert.include(made.failure.message, "no type \"struct absent\"")
    }))

  it("numbers that do not fit are refused, and what was there stays", () => {
    const view = new DataView(new ArrayBuffer(8))
    const refuses = <A>({ get, set }: Light.Field<A>, fitting: A, ...others: ReadonlyArray<A>): void => {
      set?.(view, fitting)
      assert.strictEqual(get(view), fitting)
      for (const other of others) {
        assert.throws(() => set?.(view, other), Light.CodecError, `${String(other)} does not fit`)
      }
      assert.strictEqual(get(view), fitting)
    }
    refuses(Light.number(0, 1, true), -128, -129, 128, 0.5)
    refuses(Light.number(0, 2, false), 65535, 65536, -1)
    refuses(Light.number(0, 4, false), 2 ** 32 - 1, 2 ** 32, -1, NaN)
    refuses(Light.bigint(0, true), -(2n ** 63n), 2n ** 63n)
    refuses(Light.bigint(0, false), 2n ** 64n - 1n, 2n ** 64n, -1n)
    refuses(Light.float(0, 4), 1.5, 1e300)
    refuses(Light.float(0, 4), Infinity, -1e300)
  })

  it.effect("images are copies, fields are where the compiler put them", () =>
    Effect.gen(function*() {
      const folder = LightModule.folder()
      const path = Path.join(folder, "global_data.ts")
      Fs.writeFileSync(path, yield* LightModule.textOf("global_data.bpf.o", LightModule.runtime))
      const module: {
        readonly open: () => {
          readonly data: Record<string, unknown>
          readonly rodata: { readonly greeting: string; limit: number }
        }
      } = yield* Effect.promise(() => import(path))
      const opened = module.open()
      assert.strictEqual(opened.rodata.greeting, "hello")
      const before = opened.data["answer"]
      opened.data["answer"] = -5
      assert.strictEqual(opened.data["answer"], -5)
      assert.strictEqual(module.open().data["answer"], before)
      assert.throws(() => {
        opened.data["nothing"] = 1
      })
    }))
})
