/**
 * A group of objects linked by us and by bpftool, laid side by side: what the results mean, and what libbpf sends to the
 * kernel for them.
 */
import { assert } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Linker from "../../src/linker/Linker.ts"
import type * as Libbpf from "./Libbpf.ts"
import { type Meaning, meaningOf, open, typeDifferences } from "./LinkMeaning.ts"
import { type CallDifference, callDifferences, comparable } from "./Normalise.ts"
import * as Peer from "./Peer.ts"
import { newBpftool, run, temporaryFolder, toolPath } from "./Require.ts"

/** bpftool's versions that judge. */
export const bpftools: Readonly<Record<Libbpf.Version, string>> = { system: "bpftool", "1.5": newBpftool }

/** A linked group: our file and bpftool's, of one base name, since names of maps are made of it. */
export interface Linked {
  readonly ours: string
  readonly theirs: string
}

/** Links these files with our linker into a file. */
export const linkOurs = (paths: ReadonlyArray<string>, options: Linker.LinkOptions = {}): string => {
  const inputs = paths.map((path) => ({ name: path, bytes: new Uint8Array(Fs.readFileSync(path)) }))
  const path = Path.join(temporaryFolder(), "linked.o")
  Fs.writeFileSync(path, Result.getOrThrow(Linker.link(inputs, options)).bytes)
  return path
}

/** What bpftool says of linking these files into `out`; empty where it does. */
export const bpftoolRefusal = (version: Libbpf.Version, out: string, paths: ReadonlyArray<string>): string => {
  const done = run(bpftools[version], ["gen", "object", out, ...paths])
  return done.status === 0 ? "" : done.stderr || `status ${done.status}`
}

/**
 * Links these files with both. `mended`: bpftool links its result once more, alone, which puts the offsets in BTF right that
 * it forgot to move of variables that were extern or weak before they were defined.
 */
export const linkBoth = (version: Libbpf.Version, paths: ReadonlyArray<string>, mended = false): Linked => {
  const theirs = Path.join(temporaryFolder(), "linked.o")
  assert.strictEqual(bpftoolRefusal(version, theirs, paths), "")
  if (mended) {
    const first = `${theirs}.first`
    Fs.renameSync(theirs, first)
    assert.strictEqual(bpftoolRefusal(version, theirs, [first]), "")
  }
  return { ours: linkOurs(paths), theirs }
}

const bytesOf = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

/** What both results mean, by our open, and how their types differ. */
export const meanings = (
  { ours, theirs }: Linked
): { readonly ours: Meaning; readonly theirs: Meaning; readonly types: ReadonlyArray<string> } => {
  const [one, other] = [open(bytesOf(ours)), open(bytesOf(theirs))]
  return { ours: meaningOf(one), theirs: meaningOf(other), types: typeDifferences(other, one) }
}

/** What has numbers of types in it, which the order of types decides. */
const numbered: ReadonlySet<string> = new Set([
  "btf",
  "btf_key_type_id",
  "btf_value_type_id",
  "func_info",
  "key_type_id",
  "line_info",
  "value_type_id"
])

/** How libbpf's load of our result differs from its load of bpftool's, but for numbers of types. */
export const loadDifferences = (
  version: Libbpf.Version,
  { ours, theirs }: Linked
): { readonly error: string; readonly differences: ReadonlyArray<CallDifference>; readonly programs: number } => {
  const [one, other] = [Peer.load(ours, [], version), Peer.load(theirs, [], version)]
  const error = [one, other].map((load) => load.error === undefined ? "" : `${load.error.name}: ${load.error.log}`)
  const calls = callDifferences(comparable(one.calls ?? []), comparable(other.calls ?? []), false)
  return {
    error: error.filter((text) => text !== "").join("; theirs: "),
    differences: calls.filter(({ field }) => !numbered.has(field)),
    programs: (one.programs ?? []).length
  }
}

/** What llvm-readelf finds wrong with a file; empty where nothing. */
export const readelfComplaints = (path: string): string => {
  const tool = ["llvm-readelf-19", "llvm-readelf"].find((name) => toolPath(name) !== undefined) ?? "llvm-readelf-19"
  const done = run(tool, ["--all", path])
  return done.status === 0 && done.stderr === "" ? "" : `status ${done.status}: ${done.stderr}`
}
