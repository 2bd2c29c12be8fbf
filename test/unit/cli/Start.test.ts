import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Esbuild from "esbuild"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { btf } from "../../../src/cli/Btf.ts"
import { gen } from "../../../src/cli/Gen.ts"
import { subcommands } from "../../../src/cli/Main.ts"
import { structOps } from "../../../src/cli/StructOps.ts"
import { repository, temporaryFolder } from "../../support/Require.ts"

/** What entries import before anything of them runs: sources, and packages from outside. */
const startsWith = async (...entries: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const { metafile } = await Esbuild.build({
    entryPoints: [...entries],
    absWorkingDir: repository,
    outdir: "out",
    bundle: true,
    splitting: true,
    write: false,
    metafile: true,
    format: "esm",
    platform: "node",
    external: ["koffi"],
    logLevel: "silent"
  })
  const { outputs } = metafile
  const found = new Set<string>()
  const waiting = Object.keys(outputs).filter((path) => entries.includes(outputs[path]?.entryPoint ?? ""))
  assert.lengthOf(waiting, entries.length)
  const seen = new Set(waiting)
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const output = outputs[path]
    for (const [input, { bytesInOutput }] of Object.entries(output?.inputs ?? {})) {
      if (bytesInOutput > 0) found.add(input)
    }
    for (const { external, kind, path: to } of output?.imports ?? []) {
      if (kind === "dynamic-import") continue
      if (external === true) found.add(to)
      else if (!seen.has(to)) {
        seen.add(to)
        waiting.push(to)
      }
    }
  }
  return [...found].sort()
}

/** What a command that only looks at files has no use for, and what costs most. */
const heavy = [
  /^src\/(vm|testing|events)\//,
  /^src\/services\/Kernel\//,
  /^src\/stages\//,
  /koffi/,
  /NodeFileSystem|NodeChildProcess|NodeTerminal/,
  /^node:(?!fs|path|url|v8)/
]

const heavyOf = (paths: ReadonlyArray<string>) => paths.filter((path) => heavy.some((each) => each.test(path)))

describe("the start of the command", () => {
  it("loads neither commands nor kernels, VM, koffi and Node's larger modules", async () => {
    const found = await startsWith("src/bin.ts")
    assert.deepStrictEqual(heavyOf(found), [])
    assert.deepStrictEqual(found.filter((path) => path.startsWith("src/btf/")), [])
    assert.include(found, "src/cli/Main.ts")
  })

  it("loads nothing of them for a dump of types either", async () => {
    const found = await startsWith("src/bin.ts", "src/cli/Btf.ts", "src/cli/btf/Dump.ts")
    assert.deepStrictEqual(heavyOf(found), [])
    assert.include(found, "src/btf/BtfDump.ts")
    assert.notInclude(found, "src/btf/BtfDedup.ts")
  })

  it("named fault: a command that is imported at once brings what it works with", async () => {
    assert.include(heavyOf(await startsWith("src/cli/Run.ts")), "src/stages/relocate/Relocate.ts")
  })

  it("says of commands that are not loaded what they say of themselves", () =>
    Effect.runPromise(Effect.gen(function*() {
      const about = (all: ReadonlyArray<{ readonly name: string; readonly shortDescription: string | undefined }>) =>
        all.map(({ name, shortDescription }) => ({ name, shortDescription }))
      const names = about(yield* subcommands([])).map(({ name }) => name)
      assert.deepStrictEqual(about(yield* subcommands([])), about(yield* subcommands(names)))
      assert.deepStrictEqual(about(yield* subcommands(["--completions=bash"])), about(yield* subcommands(names)))
      type Described = { readonly name: string; readonly shortDescription: string | undefined }
      const verbsOfBtf = (args: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Described>> =>
        Effect.map(btf(args), ({ subcommands }) => about(subcommands.flatMap(({ commands }) => commands)))
      const verbsOfGen = (args: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Described>> =>
        Effect.map(gen(args), ({ subcommands }) => about(subcommands.flatMap(({ commands }) => commands)))
      const verbsOfStructOps = (args: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Described>> =>
        Effect.map(structOps(args), ({ subcommands }) => about(subcommands.flatMap(({ commands }) => commands)))
      for (const verbsOf of [verbsOfBtf, verbsOfGen, verbsOfStructOps]) {
        const verbs = yield* verbsOf([])
        assert.deepStrictEqual(verbs, yield* verbsOf(verbs.map(({ name }) => name)))
      }
    })))

  it("completes the flags of all commands", () => {
    const done = ChildProcess.spawnSync(process.execPath, [
      Path.join(repository, "src/bin.ts"),
      "--completions",
      "bash"
    ], {
      encoding: "utf8"
    })
    assert.strictEqual(done.status, 0, done.stderr)
    for (const flag of ["--data-in", "--base-btf", "--pinmaps", "--unsorted"]) assert.include(done.stdout, flag)
  })
})

describe("the bundled command", () => {
  const folder = temporaryFolder()
  const home = Path.join(folder, "home")
  Fs.mkdirSync(home)
  ChildProcess.execFileSync(process.execPath, [
    Path.join(repository, "tools/bundle.mjs"),
    Path.join(repository, "src/bin.ts"),
    folder
  ])
  Fs.writeFileSync(Path.join(folder, "package.json"), "{ \"type\": \"module\" }")
  const list = Path.join(folder, "list.mjs")
  Fs.writeFileSync(
    list,
    "process.on(\"exit\", () => process.getBuiltinModule(\"node:fs\").writeSync(2, process.moduleLoadList.join(\"\\n\")))"
  )
  const start = (environment: Readonly<Record<string, string>>, ...nodeOptions: ReadonlyArray<string>) =>
    ChildProcess.spawnSync(process.execPath, [...nodeOptions, Path.join(folder, "effect-bpf.js"), "--version"], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"] ?? "", ...environment }
    })

  it("starts without sockets, streams of files, ciphers and processes", () => {
    const { status, stderr, stdout } = start({ HOME: home }, "--import", list)
    assert.strictEqual(status, 0)
    assert.match(stdout, /^effect-bpf \d/)
    const loaded = stderr.split("\n")
    assert.include(loaded, "NativeModule fs")
    for (const name of ["net", "stream", "crypto", "child_process", "readline", "worker_threads"]) {
      assert.notInclude(loaded, `NativeModule ${name}`)
    }
  })

  it("keeps its compiled code at home, where nobody else can write, or nowhere", () => {
    start({ HOME: home })
    assert.isNotEmpty(Fs.readdirSync(Path.join(home, ".cache/effect-bpf")))
    const shared = Path.join(folder, "shared")
    Fs.mkdirSync(shared)
    Fs.chmodSync(shared, 0o777)
    for (const environment of [{ HOME: shared }, { HOME: Path.join(folder, "nowhere") }, { HOME: "relative" }, {}]) {
      const { status, stderr } = start(environment)
      assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
    }
    assert.isEmpty(Fs.readdirSync(shared))
    const other = Path.join(folder, "other")
    Fs.mkdirSync(other)
    start({ HOME: home, XDG_CACHE_HOME: other })
    assert.isNotEmpty(Fs.readdirSync(Path.join(other, "effect-bpf")))
  })
})
