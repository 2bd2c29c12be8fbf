/**
 * libbpf as a judge: its versions here, and the C programs of `bench/peers` that are built against each.
 *
 * @example
 * describeWith({ kind: "oracle", ...Libbpf.needs("1.5") }, "offsets", () => {
 *   it("are libbpf's", () => run(Libbpf.program("offsets_peer", "1.5"), ["find", binary, names]))
 * })
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { judgesFolder, newLibbpf, repository, run } from "./Require.ts"

/** Debian's libbpf (1.1 on Debian 12), or libbpf 1.5 out of `judgesFolder`. */
export type Version = "system" | "1.5"

/** Both versions, for tests that ask each. */
export const versions: ReadonlyArray<Version> = ["system", "1.5"]

/** What its programs need of the machine, for `describeWith`. */
export const needs = (
  ...asked: ReadonlyArray<Version>
): { readonly tools: ReadonlyArray<string>; readonly files: ReadonlyArray<string> } => ({
  tools: ["cc", "pkg-config"],
  files: asked.includes("1.5") ? [newLibbpf] : []
})

const sources = Path.join(repository, "bench/peers")

const folders: Readonly<Record<Version, string>> = {
  system: Path.join(sources, "build"),
  "1.5": Path.join(judgesFolder, "peers")
}

const isStale = (built: string): boolean =>
  !Fs.existsSync(built) ||
  Fs.readdirSync(sources).some((name) =>
    /\.(c|h|sh)$/.test(name) && Fs.statSync(Path.join(sources, name)).mtimeMs > Fs.statSync(built).mtimeMs
  )

const known = new Set<string>()

/** The executable of one of the programs, built when it is older than any source of them. Throws where it does not build. */
export const program = (name: string, version: Version): string => {
  const path = Path.join(folders[version], name)
  if (!known.has(path) && isStale(path)) {
    const env = version === "system" ? {} : { LIBBPF: newLibbpf, OUT: folders[version] }
    const made = run("sh", [Path.join(sources, "build.sh")], { env })
    if (made.status !== 0) throw new Error(`bench/peers/build.sh: ${made.stderr.trim()}`)
  }
  known.add(path)
  return path
}
