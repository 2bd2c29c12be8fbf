/**
 * The live tests and the command as a guest runs them: JavaScript in few files, for a guest would take minutes to read
 * the sources one by one.
 */
import * as Esbuild from "esbuild"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { repository } from "../support/Require.ts"

/** Where the repository lies in a guest. */
export const guestRepository = "/repo"

/** The names of the files with live tests, sorted, without those of the full run. */
export const liveTests = (): ReadonlyArray<string> =>
  Fs.readdirSync(Path.join(repository, "test/live"))
    .filter((name) => name.endsWith(".test.ts") && !name.endsWith(".full.test.ts"))
    .sort()

const targets = { bundle: true, format: "esm", platform: "node", target: "node24", logLevel: "warning" } as const

/** Sources ask where they lie, to find fixtures and scripts: the answer is the place that they have in the guest. */
const places: Esbuild.Plugin = {
  name: "places in the guest",
  setup: (build) => {
    build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const inside = Path.relative(repository, path)
      if (inside.startsWith("..") || inside.startsWith("node_modules")) return undefined
      const guest = Path.join(guestRepository, inside)
      const contents = Fs.readFileSync(path, "utf8")
        .replaceAll("import.meta.dirname", JSON.stringify(Path.dirname(guest)))
        .replaceAll("import.meta.filename", JSON.stringify(guest))
        .replaceAll("import.meta.url", JSON.stringify(`file://${guest}`))
      return { contents, loader: "ts" }
    })
  }
}

/** Modules that are written here and now: `virtual:NAME`. */
const virtual = (modules: ReadonlyMap<string, string>): Esbuild.Plugin => ({
  name: "virtual",
  setup: (build) => {
    build.onResolve({ filter: /^virtual:/ }, ({ path }) => ({ path: path.slice(8), namespace: "virtual" }))
    // The package says of its modules that importing them does nothing; tests register themselves.
    build.onResolve(
      { filter: /^\.\/test\// },
      ({ importer, path }) =>
        modules.has(importer) ? { path: Path.join(repository, path), sideEffects: true } : undefined
    )
    build.onLoad({ filter: /.*/, namespace: "virtual" }, ({ path }) => ({
      contents: modules.get(path) ?? "",
      loader: "ts",
      resolveDir: repository
    }))
  }
})

/**
 * Bundles test files (names in test/live) into `folder`, one script each beside the parts that they share. A script runs
 * the tests of its file and prints what came out.
 */
export const tests = async (names: ReadonlyArray<string>, folder: string): Promise<void> => {
  const entries = new Map(names.map((name) => [
    name,
    `import "./test/support/setup.ts"
import ${JSON.stringify(`./test/live/${name}`)}
import { runRegistered } from "vitest"
await runRegistered()
`
  ]))
  await Esbuild.build({
    ...targets,
    entryPoints: names.map((name) => ({ in: `virtual:${name}`, out: name.replace(/\.ts$/, "") })),
    outdir: folder,
    chunkNames: "parts/[name]-[hash]",
    splitting: true,
    absWorkingDir: repository,
    external: ["koffi"],
    alias: { vitest: Path.join(repository, "test/vm/guest/vitest.ts") },
    plugins: [virtual(entries), places],
    minifySyntax: true,
    minifyWhitespace: true
  })
}

/** Bundles a script of the repository that tests start by its path, into the same path below `folder`. */
export const scripts = async (paths: ReadonlyArray<string>, folder: string): Promise<void> => {
  await Esbuild.build({
    ...targets,
    entryPoints: paths.map((path) => ({ in: Path.join(repository, path), out: path.replace(/\.ts$/, "") })),
    outdir: folder,
    chunkNames: "parts/[name]-[hash]",
    splitting: true,
    absWorkingDir: repository,
    external: ["koffi"],
    alias: {
      "effect-bpf": Path.join(repository, "src/index.ts"),
      "effect-bpf/node": Path.join(repository, "src/node.ts")
    },
    plugins: [places]
  })
}

/** Bundles the command into `folder`, as the package has it in dist. */
export const command = (folder: string): void => {
  const script = Path.join(repository, "tools/bundle.mjs")
  const { status, stderr } = ChildProcess.spawnSync(
    process.execPath,
    [script, Path.join(repository, "src/bin.ts"), folder],
    { encoding: "utf8", cwd: repository }
  )
  if (status !== 0) throw new Error(`bundling the command: ${stderr}`)
}
