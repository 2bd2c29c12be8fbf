/**
 * Bundles the command into dist/: `effect-bpf.js`, a few lines that check Node's version and switch the compile cache
 * on, and `effect-bpf-main.js`, the whole command with effect and @effect/platform-node inside and koffi outside.
 *
 * Two files, because an old Node must be able to read the check although it cannot read the rest, and because the
 * compile cache serves only modules that are loaded after it was switched on.
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

const fail = (message) => {
  console.error(`bundle: ${message}`)
  process.exit(1)
}

if (!Fs.existsSync(entry)) fail(`${entry} does not exist`)

const { dependencies, engines } = JSON.parse(Fs.readFileSync(Path.join(repository, "package.json"), "utf8"))
const needed = /^>=(\d+)\.(\d+)$/.exec(engines.node)
if (needed === null) fail(`engines.node is ${engines.node}, where >=MAJOR.MINOR is expected`)

// Written by hand in syntax that any Node with ES modules reads.
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
if (module.enableCompileCache) module.enableCompileCache()
await import("./effect-bpf-main.js")
`

const result = await Esbuild.build({
  entryPoints: [entry],
  outfile: Path.join(folder, "effect-bpf-main.js"),
  bundle: true,
  format: "esm",
  platform: "node",
  target: `node${needed[1]}.${needed[2]}`,
  // What the package depends on at run time is installed beside it.
  external: Object.keys(dependencies),
  minifySyntax: true,
  minifyWhitespace: true,
  // Identifiers stay: names of classes and functions are shown to people, in stack traces and spans.
  legalComments: "none",
  // CommonJS packages inside an ES module find their `require` here.
  banner: {
    js: "import{createRequire as __createRequire}from\"node:module\";const require=__createRequire(import.meta.url);"
  },
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

const bytes = Fs.statSync(Path.join(folder, "effect-bpf-main.js")).size
console.log(`bundle: ${Path.relative(process.cwd(), folder)}/effect-bpf-main.js, ${Math.round(bytes / 1024)} KiB`)
console.log(`bundle: holds ${folders.map((name) => name.replace(/^.*node_modules\//, "")).join(", ") || "no packages"}`)
