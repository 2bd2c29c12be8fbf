/**
 * The documents say what is true: every example of README.md and docs/ is type-checked and run as it stands there.
 * How a block is treated, and the words that change it, is told in ../support/Blocks.ts.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Esbuild from "esbuild"
import * as Fs from "node:fs"
import * as Path from "node:path"
import {
  type Block,
  blocksOf,
  type Example,
  examplesOf,
  infoProblem,
  matchesOutput,
  scriptsNamed,
  shellScript,
  toolsOf
} from "../support/Blocks.ts"
import * as Command from "../support/Command.ts"
import { describeWith, repository, run, temporaryFolder } from "../support/Require.ts"

const documents: ReadonlyArray<string> = [
  ...(Fs.existsSync(Path.join(repository, "README.md")) ? ["README.md"] : []),
  ...(Fs.existsSync(Path.join(repository, "docs"))
    ? Fs.readdirSync(Path.join(repository, "docs"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md")).map((name) => Path.join("docs", name)).sort()
    : [])
]

const blocks = documents.flatMap((name) => blocksOf(name, Fs.readFileSync(Path.join(repository, name), "utf8")))

/** What is wrong with JSON text; undefined where nothing is. */
const parseFault = (text: string): string | undefined => {
  try {
    JSON.parse(text)
    return undefined
  } catch (fault) {
    return String(fault)
  }
}

/** The entries of the package, and the sources from which they are built: `./node` is src/node.ts. */
const entries: ReadonlyMap<string, string> = new Map(
  Object.entries<unknown>(JSON.parse(Fs.readFileSync(Path.join(repository, "package.json"), "utf8")).exports)
    .flatMap(([entry, target]) => {
      const built = /"default":"[.]\/dist\/([\w/]+)[.]js"/.exec(JSON.stringify(target))
      return built === null ? [] : [[entry, `src/${built[1]}.ts`] as const]
    })
)

/** What of the repository the examples may use; the rest is not copied. */
const parts = ["package.json", "tsconfig.json", "README.md", "docs", "src", "examples", "test/fixtures"]

/**
 * A copy of the repository in which the package is called by its name and consists of its sources: an example imports
 * "effect-bpf" and gets src/index.ts, and calls `effect-bpf` and gets the command, bundled.
 */
const workingCopy = (): string => {
  const copy = temporaryFolder()
  for (const part of parts) {
    const from = Path.join(repository, part)
    if (Fs.existsSync(from)) Fs.cpSync(from, Path.join(copy, part), { recursive: true })
  }
  Fs.symlinkSync(Path.join(repository, "node_modules"), Path.join(copy, "node_modules"))
  const manifest: { exports: Readonly<Record<string, unknown>> } = JSON.parse(
    Fs.readFileSync(Path.join(copy, "package.json"), "utf8")
  )
  manifest.exports = {
    ...manifest.exports,
    ...Object.fromEntries([...entries].map(([entry, source]) => [entry, `./${source}`]))
  }
  Fs.writeFileSync(Path.join(copy, "package.json"), JSON.stringify(manifest))
  const tools = Path.join(copy, ".bin")
  Fs.mkdirSync(tools)
  const tool = (name: string, line: string) =>
    Fs.writeFileSync(Path.join(tools, name), `#!/bin/sh\n${line}\n`, { mode: 0o755 })
  tool("effect-bpf", `exec "${process.execPath}" "${Command.command()}" "$@"`)
  tool(
    "npx",
    `[ "$1" = effect-bpf ] || { echo "npx $1 is not run by the tests" >&2; exit 127; }; shift; exec effect-bpf "$@"`
  )
  if (process.getuid?.() === 0) tool("sudo", "exec \"$@\"")
  return copy
}

const environment = (copy: string) => ({
  PATH: [Path.join(copy, ".bin"), Path.dirname(process.execPath), process.env["PATH"] ?? ""].join(":"),
  NO_COLOR: "1"
})

const fileOf = (block: Block): string => `${block.document.replaceAll(/[^\w.]/g, "_")}.${block.line}.ts`

/** The blocks as modules of the copy; blank lines before the code keep the document's line numbers. */
const writeModules = (copy: string, modules: ReadonlyArray<Block>): string => {
  const folder = Path.join(copy, "blocks")
  Fs.mkdirSync(folder, { recursive: true })
  for (const block of modules) {
    const text = "\n".repeat(block.line - 1) + block.code + "\nexport {}\n"
    Fs.writeFileSync(Path.join(folder, fileOf(block)), text)
  }
  return folder
}

/**
 * The examples in TypeScript as scripts for Node, by their place. All are bundled at once, with what they import: to read the
 * sources for each of them anew takes ten times as long as to run it.
 */
const scripts = (): ReadonlyMap<Block, string> => {
  if (bundled !== undefined) return bundled
  const copy = workingCopy()
  const examples = examplesOf(blocks).map(({ block }) => block).filter(({ language }) => language === "ts")
  const folder = writeModules(copy, examples)
  const file = (block: Block) => Path.join(folder, fileOf(block))
  Esbuild.buildSync({
    entryPoints: examples.map(file),
    outdir: folder,
    absWorkingDir: copy,
    alias: Object.fromEntries(
      [...entries].map(([entry, source]) => [Path.posix.join("effect-bpf", entry), Path.join(copy, source)])
    ),
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    external: ["koffi"],
    logLevel: "error"
  })
  return bundled = new Map(examples.map((block) => [block, file(block).replace(/[.]ts$/, ".js")]))
}
let bundled: ReadonlyMap<Block, string> | undefined

describe("documents", () => {
  it("begin with README.md", () => {
    assert.strictEqual(documents[0], "README.md", "README.md does not exist")
  })

  it("mark each block with words that a check knows", () => {
    assert.deepStrictEqual(blocks.map(infoProblem).filter((problem) => problem !== undefined), [])
  })

  it("name scripts that exist", () => {
    const { scripts } = JSON.parse(Fs.readFileSync(Path.join(repository, "package.json"), "utf8"))
    const named = blocks.filter((block) => block.language === "sh").flatMap((block) =>
      scriptsNamed(block.code).map((script) => ({ where: `${block.document}:${block.line}`, script }))
    )
    assert.deepStrictEqual(named.filter(({ script }) => !(script in scripts)), [])
  })

  it("show JSON that parses", () => {
    for (const { code, document, language, line } of blocks) {
      if (language !== "json" || code.includes("…")) continue
      // Not assert.doesNotThrow: its second argument is a pattern for the error, not a message.
      assert.strictEqual(parseFault(code), undefined, `${document}:${line}`)
    }
  })

  it("show TypeScript that compiles", () => {
    const modules = blocks.filter((block) => block.language === "ts")
    const copy = workingCopy()
    writeModules(copy, modules)
    const config = { extends: "./tsconfig.json", compilerOptions: { noUnusedLocals: false }, include: ["blocks"] }
    Fs.writeFileSync(Path.join(copy, "tsconfig.blocks.json"), JSON.stringify(config))
    if (modules.length === 0) return
    const tsc = run(process.execPath, [
      "node_modules/typescript/bin/tsc",
      "--pretty",
      "false",
      "-p",
      "tsconfig.blocks.json"
    ], {
      cwd: copy
    })
    const errors = tsc.stdout.split("\n").filter((line) => line.startsWith("blocks/"))
    assert.deepStrictEqual(errors, [])
    assert.strictEqual(tsc.status, 0, tsc.stdout)
  })
})

const execute = ({ block, output }: Example, copy: string): void => {
  const options = { cwd: copy, env: environment(copy), input: "" }
  const done = block.language === "ts"
    ? run(process.execPath, [scripts().get(block) ?? ""], options)
    : run("sh", ["-eu", "-c", shellScript(block.code)], options)
  assert.strictEqual(done.status, 0, `exits ${done.status}\n${done.stdout}${done.stderr}`)
  if (output !== undefined && !matchesOutput(output.code, done.stdout)) {
    assert.strictEqual(done.stdout, output.code, `${output.document}:${output.line} shows another output`)
  }
}

for (const name of documents) {
  const examples = examplesOf(blocks.filter((block) => block.document === name))
  if (examples.length === 0) continue
  describe(name, () => {
    let copy = ""
    // One copy per document: what one example writes the next one may read.
    beforeAll(() => {
      copy = workingCopy()
    })
    for (const example of examples) {
      const { block } = example
      const title = `${name}:${block.line} ${block.code.trim().split("\n")[0]}`
      describeWith({ kind: block.words.includes("live") ? "live" : "oracle", tools: toolsOf(block) }, title, () => {
        it("runs", () => execute(example, copy))
      })
    }
  })
}
