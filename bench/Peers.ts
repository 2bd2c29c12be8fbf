/**
 * The peers that can be measured on this machine. A peer that is not there is reported once and left out, so that the
 * benchmarks of ours run everywhere.
 */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as BtfPeer from "../test/support/BtfPeer.ts"
import { newLibbpf } from "../test/support/Require.ts"
import type { Peer } from "./Harness.ts"

const folder = Path.join(import.meta.dirname, "peers")

const capture = (command: string, args: ReadonlyArray<string>): string | undefined => {
  const done = ChildProcess.spawnSync(command, args, { encoding: "utf8" })
  return done.status === 0 ? done.stdout.trim() : undefined
}

let built: { readonly version: string } | string | undefined

const build = (): { readonly version: string } | string => {
  const version = capture("pkg-config", ["--modversion", "libbpf"])
  if (version === undefined) return "libbpf's headers are absent; apt-get install gcc pkg-config libbpf-dev"
  const done = ChildProcess.spawnSync("sh", [Path.join(folder, "build.sh")], { encoding: "utf8" })
  return done.status === 0 ? { version } : `the C peer does not build: ${done.stderr.trim()}`
}

/** Builds the C peer on the first use. A string says why there is none. */
const libbpf = (): { readonly version: string } | string => {
  if (built === undefined) {
    built = build()
    if (typeof built === "string") process.stderr.write(`no peer libbpf: ${built}\n`)
  }
  return built
}

/**
 * libbpf opening the object at `path` from memory, or opening and loading it, or both without the time inside bpf(2)
 * ("own"), or all but the time in which the kernel loads programs, which stands apart ("rest"), or opening it and generating
 * a loader ("gen"), `repetitions` times in its process; of several objects one after another. The machine's, or the newer 1.5 of
 * `test/support/judges.sh`. `btf` is what it relocates against in place of the kernel's own types; of several, each object
 * is opened for each.
 */
export const libbpfPeer = (
  what: "open" | "load" | "own" | "rest" | "gen",
  path: string | ReadonlyArray<string>,
  repetitions: number,
  options: { readonly version?: BtfPeer.Version; readonly btf?: string | ReadonlyArray<string> } = {}
): { readonly peer?: Peer } => {
  const { btf = [], version = "system" } = options
  const next = version === "system" ? Path.join(folder, "build/btf_peer") : newer()
  const there = version === "system" ? libbpf() : { version }
  if (typeof there === "string" || next === undefined) return {}
  const paths = typeof path === "string" ? [path] : path
  return {
    peer: {
      name: `libbpf ${there.version}`,
      boundary: "in process",
      command: Path.join(Path.dirname(next), "libbpf_peer"),
      args: [
        "bench",
        what,
        ...paths,
        String(repetitions),
        ...(typeof btf === "string" ? [btf] : btf).flatMap((each) => ["--btf", each])
      ],
      repetitions
    }
  }
}

/** The peer that is built against libbpf 1.5, if that was built. */
const newer = (): string | undefined => {
  if (Fs.existsSync(newLibbpf)) return BtfPeer.peer("1.5")
  process.stderr.write(`no peer libbpf 1.5: ${newLibbpf} is absent; test/support/judges.sh builds it\n`)
  return undefined
}

/** libbpf's linker, reading these files and writing `out`, `repetitions` times in its process. */
export const linkPeer = (
  files: ReadonlyArray<string>,
  out: string,
  repetitions: number,
  version: BtfPeer.Version = "system"
): { readonly peer?: Peer } => {
  const command = version === "system" ? Path.join(folder, "build/btf_peer") : newer()
  const there = version === "system" ? libbpf() : { version }
  if (typeof there === "string" || command === undefined) return {}
  return {
    peer: {
      name: `libbpf ${there.version}`,
      boundary: "in process",
      command: Path.join(Path.dirname(command), "link_peer"),
      args: [String(repetitions), out, ...files],
      repetitions
    }
  }
}

/** libbpf 1.5 opening the binary at `path` and finding the functions that the file `names` lists, in its process. */
export const offsetsPeer = (path: string, names: string, repetitions: number): { readonly peer?: Peer } => {
  const beside = newer()
  if (beside === undefined) return {}
  return {
    peer: {
      name: "libbpf 1.5",
      boundary: "in process",
      command: Path.join(Path.dirname(beside), "offsets_peer"),
      args: ["bench", path, names, String(repetitions)],
      repetitions
    }
  }
}

/** What libbpf can be measured doing with BTF, as `btf_peer bench` names it; `find` also needs a name and a kind. */
export type BtfWork = "parse" | "load" | "dedup" | "append" | "dump" | readonly ["find", name: string, kind: number]

/**
 * libbpf working on the BTF at `path`, from memory, `repetitions` times in its process: the machine's, or the newer 1.5
 * of `test/support/judges.sh`.
 */
export const btfPeer = (
  work: BtfWork,
  path: string,
  repetitions: number,
  version: BtfPeer.Version = "system"
): { readonly peer?: Peer } => {
  const command = version === "system" ? Path.join(folder, "build/btf_peer") : newer()
  const there = version === "system" ? libbpf() : { version }
  if (typeof there === "string" || command === undefined) return {}
  const args = typeof work === "string" ? [work, path] : ["find", path, work[1], String(work[2])]
  return {
    peer: {
      name: `libbpf ${there.version}`,
      boundary: "in process",
      command,
      args: ["bench", ...args, String(repetitions)],
      repetitions
    }
  }
}

/** libbpf's consumer taking so many records that lie ready in a perf buffer of `test/fixtures/perf_events`, in its process. */
export const perfPeer = (path: string, records: number, repetitions: number): { readonly peer?: Peer } => {
  const there = libbpf()
  if (typeof there === "string") return {}
  return {
    peer: {
      name: `libbpf ${there.version}`,
      boundary: "in process",
      command: Path.join(folder, "build/perf_peer"),
      args: ["full", path, String(records), String(repetitions)],
      repetitions
    }
  }
}

/** libbpf's typed dump of `size` bytes (1, 8, 15, ...) as the struct `name` of the BTF at `path`, in its process. */
export const dataPeer = (path: string, name: string, size: number, repetitions: number): { readonly peer?: Peer } => {
  const there = libbpf()
  if (typeof there === "string") return {}
  return {
    peer: {
      name: `libbpf ${there.version}`,
      boundary: "in process",
      command: Path.join(folder, "build/btf_data"),
      args: ["bench", path, name, String(size), String(repetitions)],
      repetitions
    }
  }
}

/** libbpf on the elements of a hash, `elements` of them: one call for each (`get`, `set`), or in batches. */
export const mapPeer = (
  work: "get" | "set" | "setall" | "entries",
  elements: number,
  repetitions: number
): { readonly peer?: Peer } => {
  const there = libbpf()
  if (typeof there === "string") return {}
  return {
    peer: {
      name: `libbpf ${there.version}`,
      boundary: "in process",
      command: Path.join(folder, "build/map_peer"),
      args: ["bench", work, String(elements), String(repetitions)],
      repetitions
    }
  }
}

/** bpftool as a whole process; nothing where it is not installed. */
export const bpftoolPeer = (args: ReadonlyArray<string>, repetitions: number): { readonly peer?: Peer } => {
  const command = ["/usr/sbin/bpftool", "/usr/local/sbin/bpftool", "/usr/bin/bpftool"].find((path) =>
    Fs.existsSync(path)
  )
  const version = command === undefined ? undefined : capture(command, ["version"])?.split("\n")[0]
  if (command === undefined || version === undefined) return {}
  return { peer: { name: version, boundary: "whole process", command, args, repetitions } }
}

/** libbpf's consumer of a ring buffer, on records that lie ready (`full`) or while a program sends them (`live`). */
export const ringPeer = (
  way: "full" | "live",
  object: string,
  records: number,
  repetitions: number
): { readonly peer?: Peer } => {
  const there = libbpf()
  if (typeof there === "string") return {}
  return {
    peer: {
      name: `libbpf ${there.version}`,
      boundary: "in process",
      command: Path.join(folder, "build/ring_peer"),
      args: [way, object, String(records), String(repetitions)],
      repetitions
    }
  }
}
