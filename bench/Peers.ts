/**
 * The peers that can be measured on this machine. A peer that is not there is reported once and left out, so that the
 * benchmarks of ours run everywhere.
 */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Libbpf from "../test/support/Libbpf.ts"
import { newLibbpf } from "../test/support/Require.ts"
import type { Peer } from "./Harness.ts"

const capture = (command: string, args: ReadonlyArray<string>): string | undefined => {
  const done = ChildProcess.spawnSync(command, args, { encoding: "utf8" })
  return done.status === 0 ? done.stdout.trim() : undefined
}

/** A peer, or nothing where it cannot be measured here. */
export interface Maybe {
  readonly peer?: Peer
}

const missing = new Set<string>()

/** Says once that a peer is not there. */
const absent = (name: string, reason: string): void => {
  if (!missing.has(name)) process.stderr.write(`no peer ${name}: ${reason}\n`)
  missing.add(name)
}

/** The version of libbpf that peers are built against. */
const installed = (version: Libbpf.Version): string | undefined => {
  if (version === "system") {
    const found = capture("pkg-config", ["--modversion", "libbpf"])
    if (found === undefined) absent("libbpf", "its headers are absent; apt-get install gcc pkg-config libbpf-dev")
    return found
  }
  if (Fs.existsSync(newLibbpf)) return version
  absent(`libbpf ${version}`, `${newLibbpf} is absent; test/support/judges.sh builds it`)
  return undefined
}

/** A program of `bench/peers` that measures itself, so many repetitions in its process. Built on the first use. */
const inProcess = (
  program: string,
  args: ReadonlyArray<string>,
  repetitions: number,
  options: { readonly version?: Libbpf.Version; readonly name?: string } = {}
): Maybe => {
  const { version = "system" } = options
  const found = installed(version)
  if (found === undefined) return {}
  const name = options.name ?? `libbpf ${found}`
  try {
    const command = Libbpf.program(program, version)
    return { peer: { name, boundary: "in process", command, args, repetitions } }
  } catch (error) {
    absent(name, String(error))
    return {}
  }
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
  options: { readonly version?: Libbpf.Version; readonly btf?: string | ReadonlyArray<string> } = {}
): Maybe => {
  const { btf = [], version = "system" } = options
  const bases = (typeof btf === "string" ? [btf] : btf).flatMap((each) => ["--btf", each])
  const paths = typeof path === "string" ? [path] : path
  return inProcess("libbpf_peer", ["bench", what, ...paths, String(repetitions), ...bases], repetitions, { version })
}

/** libbpf's linker, reading these files and writing `out`, `repetitions` times in its process. */
export const linkPeer = (
  files: ReadonlyArray<string>,
  out: string,
  repetitions: number,
  version: Libbpf.Version = "system"
): Maybe => inProcess("link_peer", [String(repetitions), out, ...files], repetitions, { version })

/** libbpf 1.5 opening the binary at `path` and finding the functions that the file `names` lists, in its process. */
export const offsetsPeer = (path: string, names: string, repetitions: number): Maybe =>
  inProcess("offsets_peer", ["bench", path, names, String(repetitions)], repetitions, { version: "1.5" })

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
  version: Libbpf.Version = "system"
): Maybe => {
  const args = typeof work === "string" ? [work, path] : ["find", path, work[1], String(work[2])]
  return inProcess("btf_peer", ["bench", ...args, String(repetitions)], repetitions, { version })
}

/** libbpf's consumer taking so many records that lie ready in a perf buffer of `test/fixtures/perf_events`, in its process. */
export const perfPeer = (path: string, records: number, repetitions: number): Maybe =>
  inProcess("perf_peer", ["full", path, String(records), String(repetitions)], repetitions)

/** libbpf's consumer of a ring buffer, on records that lie ready (`full`) or while a program sends them (`live`). */
export const ringPeer = (way: "full" | "live", object: string, records: number, repetitions: number): Maybe =>
  inProcess("ring_peer", [way, object, String(records), String(repetitions)], repetitions)

/** libbpf's typed dump of `size` bytes (1, 8, 15, ...) as the struct `name` of the BTF at `path`, in its process. */
export const dataPeer = (path: string, name: string, size: number, repetitions: number): Maybe =>
  inProcess("btf_data", ["bench", path, name, String(size), String(repetitions)], repetitions)

/** libbpf on the elements of a hash, `elements` of them: one call for each (`get`, `set`), or in batches. */
export const mapPeer = (
  work: "get" | "set" | "setall" | "entries",
  elements: number,
  repetitions: number
): Maybe => inProcess("map_peer", ["bench", work, String(elements), String(repetitions)], repetitions)

/** Frames from one AF_XDP socket to another by system calls alone; `args` are those of `xsk_peer bench`. */
export const xskPeer = (args: ReadonlyArray<string>, repetitions: number): Maybe =>
  inProcess("xsk_peer", ["bench", ...args], repetitions, { name: "C over system calls" })

/** bpftool as a whole process; nothing where it is not installed. */
export const bpftoolPeer = (args: ReadonlyArray<string>, repetitions: number): Maybe => {
  const command = ["/usr/sbin/bpftool", "/usr/local/sbin/bpftool", "/usr/bin/bpftool"].find((path) =>
    Fs.existsSync(path)
  )
  const version = command === undefined ? undefined : capture(command, ["version"])?.split("\n")[0]
  if (command === undefined || version === undefined) return {}
  return { peer: { name: version, boundary: "whole process", command, args, repetitions } }
}
