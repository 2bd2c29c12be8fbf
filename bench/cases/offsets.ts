/**
 * Finding functions in binaries beside libbpf 1.5: a thousand functions of libc in one pass, and one function of a binary of
 * more than a hundred megabytes, whose memory is to be that of its symbol tables. Each side is a process of its own that opens
 * the file and looks, again and again.
 */
import * as Esbuild from "esbuild"
import * as Result from "effect/Result"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as FunctionOffset from "../../src/services/Elf/FunctionOffset.ts"
import { repository } from "../../test/support/Require.ts"
import type { Case } from "../Harness.ts"
import { offsetsPeer } from "../Peers.ts"

const folder = Path.join(repository, ".cache/bench/offsets")
const system = "/lib/x86_64-linux-gnu/libc.so.6"

/** Our side as it is shipped: one bundle, no TypeScript to be read. */
const bundle = (): string => {
  const outfile = Path.join(folder, "findMany.mjs")
  Esbuild.buildSync({
    entryPoints: [Path.join(import.meta.dirname, "../peers/findMany.ts")],
    bundle: true,
    platform: "node",
    format: "esm",
    external: ["koffi"],
    outfile
  })
  return outfile
}

/** libc with a symbol table of one symbol: libbpf 1.5 finds no list of names in a library that has none. */
const makeLibc = (): string | undefined => {
  const path = Path.join(folder, "libc.so.6")
  const args = ["--add-symbol", "effect_bpf_bench=.text:0,function,global", system, path]
  const done = ChildProcess.spawnSync("objcopy", args, { encoding: "utf8" })
  if (done.status === 0) return path
  process.stderr.write(`no benchmark of offsets in libc: objcopy ${args.join(" ")}: ${done.stderr}\n`)
  return undefined
}

/** The first thousand functions of a file that have one offset each. */
const thousand = (path: string): ReadonlyArray<string> => {
  const bytes = new Uint8Array(Fs.readFileSync(path))
  const all = [...new Set(Result.getOrThrow(FunctionOffset.definitions(bytes)).map(({ name }) => name))]
  const answers = Result.getOrThrow(FunctionOffset.findEach(bytes, all))
  return all.filter((_, place) => {
    const answer = answers[place]
    return answer !== undefined && Result.isSuccess(answer)
  }).slice(0, 1000)
}

export default (): ReadonlyArray<Case> => {
  Fs.mkdirSync(folder, { recursive: true })
  const ours = bundle()
  const caseOf = (name: string, path: string, symbols: ReadonlyArray<string>, repetitions: number): Case => {
    const list = Path.join(folder, `${name.replaceAll(/\W+/g, "-")}.names`)
    Fs.writeFileSync(list, symbols.map((symbol) => `${symbol}\n`).join(""))
    return {
      name,
      inputBytes: Fs.statSync(path).size,
      ours: {
        boundary: "in process",
        command: process.execPath,
        args: [ours, path, list, String(repetitions)],
        repetitions
      },
      ...offsetsPeer(path, list, repetitions)
    }
  }
  const libc = Fs.existsSync(system) ? makeLibc() : undefined
  return [
    ...(libc === undefined ? [] : [caseOf("offsets of 1000 functions of libc", libc, thousand(libc), 300)]),
    caseOf("offset of main of node", process.execPath, ["main"], 100)
  ]
}
