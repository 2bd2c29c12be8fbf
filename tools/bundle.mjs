/**
 * Bundles the command into dist/: `effect-bpf.js`, a few lines that check Node's version and switch the compile cache
 * on, and the folder `command/`, the whole command with effect and @effect/platform-node inside and koffi outside.
 *
 * Two steps, because an old Node must be able to read the check although it cannot read the rest, and because the
 * compile cache serves only modules that are loaded after it was switched on. The command is in parts, `main.js` and what
 * it imports when a command is chosen, so that what is not needed is not read; `effect-bpf-worker.js` is what threads
 * of it run.
 *
 * Usage: node tools/bundle.mjs [ENTRY [FOLDER]], by default src/bin.ts and dist.
 */
import * as Esbuild from "esbuild"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

const repository = Path.resolve(Path.dirname(fileURLToPath(import.meta.url)), "..")
const entry = Path.resolve(process.argv[2] ?? Path.join(repository, "src/bin.ts"))
const folder = Path.resolve(process.argv[3] ?? Path.join(repository, "dist"))
const worker = Path.join(repository, "src/cli/core/Worker.ts")

const fail = (message) => {
  console.error(`bundle: ${message}`)
  process.exit(1)
}

if (!Fs.existsSync(entry)) fail(`${entry} does not exist`)

const { dependencies, engines } = JSON.parse(Fs.readFileSync(Path.join(repository, "package.json"), "utf8"))
const needed = /^>=(\d+)\.(\d+)$/.exec(engines.node)
if (needed === null) fail(`engines.node is ${engines.node}, where >=MAJOR.MINOR is expected`)

// Written by hand in syntax that any Node with ES modules reads. The cache is code that is run as it is, so it is kept
// where nobody else can write: Node's own default is a folder that all users share, and this command is run by root.
const wrapper = `#!/usr/bin/env node
import * as module from "node:module"

var version = process.versions.node.split(".").map(Number)
if (version[0] < ${needed[1]} || (version[0] === ${needed[1]} && version[1] < ${needed[2]})) {
  process.stderr.write(
    "effect-bpf needs Node ${needed[1]}.${
  needed[2]
} or newer, this is " + process.versions.node + " (" + process.execPath + ")\\n"
  )
  process.exit(1)
}
// A folder for cached code in what belongs to this user alone, or nothing.
function cacheFolder(fs, base, name) {
  try {
    if (!base || base[0] !== "/") return undefined
    var owner = fs.statSync(base)
    if (owner.uid !== process.geteuid() || (owner.mode & 18) !== 0) return undefined
    var folder = base + name
    fs.mkdirSync(folder, { recursive: true, mode: 448 })
    var status = fs.lstatSync(folder)
    return status.isDirectory() && status.uid === process.geteuid() && (status.mode & 18) === 0 ? folder : undefined
  } catch (error) {
    // Without a cache the command takes longer to start, and that is all.
    return undefined
  }
}

if (module.enableCompileCache && process.geteuid) {
  var fs = process.getBuiltinModule("node:fs")
  var folder = cacheFolder(fs, process.env.XDG_CACHE_HOME, "/effect-bpf") ||
    cacheFolder(fs, process.env.HOME, "/.cache/effect-bpf")
  if (folder) module.enableCompileCache(folder)
} else if (module.enableCompileCache) {
  module.enableCompileCache()
}
await import("./command/main.js")
`

/**
 * Node's modules without the facade that it makes for ES modules, which runs every getter of them: those of node:fs alone
 * load streams, promises, watchers and readline.
 */
const withoutFacades = {
  name: "without facades",
  setup: (build) => {
    // Imported at run time, they are what Node gives: there the facade's names are known to nobody else.
    build.onResolve(
      { filter: /^node:/ },
      ({ kind, path }) => kind === "import-statement" ? { path, namespace: "builtin" } : { path, external: true }
    )
    build.onLoad({ filter: /^node:/, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`,
      loader: "js"
    }))
  }
}

Fs.rmSync(Path.join(folder, "command"), { recursive: true, force: true })
const result = await Esbuild.build({
  entryPoints: [
    { in: entry, out: "main" },
    ...(Fs.existsSync(worker) ? [{ in: worker, out: "effect-bpf-worker" }] : [])
  ],
  outdir: Path.join(folder, "command"),
  chunkNames: "[name]-[hash]",
  splitting: true,
  bundle: true,
  format: "esm",
  platform: "node",
  target: `node${needed[1]}.${needed[2]}`,
  // What the package depends on at run time is installed beside it.
  external: Object.keys(dependencies),
  plugins: [withoutFacades],
  minifySyntax: true,
  minifyWhitespace: true,
  // Identifiers stay: names of classes and functions are shown to people, in stack traces and spans.
  legalComments: "none",
  metafile: true,
  logLevel: "warning"
}).catch(() => fail("esbuild failed, see above"))

Fs.writeFileSync(Path.join(folder, "effect-bpf.js"), wrapper)
Fs.chmodSync(Path.join(folder, "effect-bpf.js"), 0o755)

/** The folder of the package that a bundled file comes from, or undefined for files of ours. */
const packageFolder = (input) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^@./][^/]*/.exec(input)?.[0]

// Licences that require their text in copies: one file with those of all bundled packages.
const folders = [...new Set(Object.keys(result.metafile.inputs).map(packageFolder))].filter((name) =>
  name !== undefined
).sort()
const notices = folders.map((name) => {
  const path = Path.resolve(name)
  const { license, version } = JSON.parse(Fs.readFileSync(Path.join(path, "package.json"), "utf8"))
  const file = Fs.readdirSync(path).find((entry) => /^licen[cs]e/i.test(entry))
  const text = file === undefined ? "" : Fs.readFileSync(Path.join(path, file), "utf8").trim()
  return `${name.replace(/^.*node_modules\//, "")} ${version} (${license})\n\n${text}\n`
})
Fs.writeFileSync(Path.join(folder, "THIRD-PARTY-LICENSES.txt"), notices.join(`\n${"-".repeat(80)}\n\n`))

const outputs = Object.values(result.metafile.outputs)
const bytes = outputs.reduce((sum, output) => sum + output.bytes, 0)
const place = Path.relative(process.cwd(), folder)
console.log(`bundle: ${place}/command, ${outputs.length} files, ${Math.round(bytes / 1024)} KiB`)
console.log(`bundle: holds ${folders.map((name) => name.replace(/^.*node_modules\//, "")).join(", ") || "no packages"}`)
