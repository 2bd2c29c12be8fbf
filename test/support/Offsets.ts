/**
 * What the judges say of functions in binaries: readelf of symbols and sections, and libbpf 1.5 of offsets.
 */
import { assert } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { FunctionOffset } from "../../src/services/Elf/FunctionOffset.ts"
import * as FunctionOffsets from "../../src/services/Elf/FunctionOffset.ts"
import * as Libbpf from "./Libbpf.ts"
import { run, temporaryFolder } from "./Require.ts"

/** A function as readelf shows it. */
export interface Judged {
  readonly table: "dynsym" | "symtab"
  readonly name: string
  readonly version: string | undefined
  readonly isDefault: boolean
  readonly binding: "local" | "global" | "weak"
  readonly isIndirect: boolean
  /** Bytes from the start of the file, undefined for what is not defined in a section that has bytes there. */
  readonly offset: bigint | undefined
}

const readelf = (path: string, flags: ReadonlyArray<string>): string => {
  const { status, stderr, stdout } = run("readelf", ["-W", ...flags, path])
  assert.strictEqual(status, 0, stderr)
  return stdout
}

/** `[ 1] .text PROGBITS 0000 0000 0000 ...`: type, address and offset by index. */
const sectionsOf = (path: string) => {
  const found = new Map<number, { readonly hasBytes: boolean; readonly address: bigint; readonly offset: bigint }>()
  const line = /^ +\[ *(\d+)\] .*?\b([A-Z][A-Z0-9_]+) +([0-9a-f]{8,16}) ([0-9a-f]{6,}) ([0-9a-f]{6,}) /
  for (const text of readelf(path, ["-S"]).split("\n")) {
    const [, index = "", type = "", address = "", offset = ""] = line.exec(text) ?? []
    if (index !== "") {
      found.set(Number(index), {
        hasBytes: type !== "NOBITS",
        address: BigInt(`0x${address}`),
        offset: BigInt(`0x${offset}`)
      })
    }
  }
  return found
}

/** Every function of a file, as readelf lists its symbols; offsets are from its sections. */
export const judgedFunctions = (path: string): ReadonlyArray<Judged> => {
  const sections = sectionsOf(path)
  const found: Array<Judged> = []
  let table: "dynsym" | "symtab" = "dynsym"
  const line = /^ *\d+: ([0-9a-f]+) +\S+ (FUNC|IFUNC) +(\S+) +\S+ +(?:\[[^\]]*\] +)?(\S+) ([^ ]+)/
  for (const text of readelf(path, ["--syms", "--dyn-syms"]).split("\n")) {
    if (text.startsWith("Symbol table '")) table = text.includes(".dynsym'") ? "dynsym" : "symtab"
    const [, value = "", type = "", bound = "", index = "", symbol = ""] = line.exec(text) ?? []
    if (symbol === "") continue
    const at = symbol.indexOf("@", 1)
    const isDefault = at > 0 && symbol[at + 1] === "@"
    const section = sections.get(Number(index))
    found.push({
      table,
      name: at < 0 ? symbol : symbol.slice(0, at),
      version: at < 0 ? undefined : symbol.slice(at + (isDefault ? 2 : 1)),
      isDefault,
      binding: bound === "LOCAL" ? "local" : bound === "WEAK" ? "weak" : "global",
      isIndirect: type === "IFUNC",
      offset: section?.hasBytes === true && Number(index) > 0
        ? BigInt(`0x${value}`) - section.address + section.offset
        : undefined
    })
  }
  return found
}

/** A function in one line: what is compared. */
export const lineOf = ({ binding, isDefault, isIndirect, name, offset, table, version }: Judged): string =>
  `${table} ${name}${
    version === undefined ? "" : `${isDefault ? "@@" : "@"}${version}`
  } ${offset} ${binding} ${isIndirect}`

const ours = (each: FunctionOffset): string => lineOf(each)

/** The functions that we find are those that readelf shows with a place in the file. How many there are is given back. */
export const assertSameFunctions = (path: string): number => {
  const bytes = new Uint8Array(Fs.readFileSync(path))
  const found = Result.getOrThrow(FunctionOffsets.definitions(bytes)).map(ours)
  const judged = judgedFunctions(path).filter(({ offset }) => offset !== undefined).map(lineOf)
  assert.deepStrictEqual(found.sort(), judged.sort())
  return found.length
}

/** The answer for a name by the stated precedence, from what readelf shows; in words where there is none. */
export const expectedOf = (
  all: ReadonlyMap<string, ReadonlyArray<Judged>>,
  name: string,
  version: string | undefined
): string => {
  const named = (all.get(name) ?? []).filter((each) =>
    each.offset !== undefined && (version === undefined || each.version === version)
  )
  for (const isIndirect of [false, true]) {
    for (const table of ["dynsym", "symtab"]) {
      const usable = named.filter((each) => each.table === table && each.isIndirect === isIndirect)
      const strong = new Set(usable.filter(({ binding }) => binding !== "weak").map(({ offset }) => offset))
      const [first] = strong.size > 0 ? strong : usable.map(({ offset }) => offset)
      if (strong.size > 1) return "Ambiguous"
      if (first !== undefined) return isIndirect ? "Indirect" : String(first)
    }
  }
  return "none"
}

/** Functions by name. */
export const byName = (all: ReadonlyArray<Judged>): ReadonlyMap<string, ReadonlyArray<Judged>> => {
  const found = new Map<string, Array<Judged>>()
  for (const each of all) {
    const held = found.get(each.name)
    if (held === undefined) found.set(each.name, [each])
    else held.push(each)
  }
  return found
}

/**
 * Every name, with and without each of its versions, has the offset that precedence gives it, all asked in one pass. Gives the
 * names and the answers.
 */
export const assertPrecedence = (path: string): ReadonlyMap<string, string> => {
  const all = byName(judgedFunctions(path))
  const asked = new Map<string, string>()
  for (const [name, each] of all) {
    asked.set(name, expectedOf(all, name, undefined))
    for (const { version } of each) {
      if (version !== undefined) asked.set(`${name}@${version}`, expectedOf(all, name, version))
    }
  }
  const names = [...asked.keys()]
  const bytes = new Uint8Array(Fs.readFileSync(path))
  const answers = Result.getOrThrow(FunctionOffsets.findEach(bytes, names)).map((answer) =>
    Result.isSuccess(answer)
      ? String(answer.success.offset)
      : answer.failure.reason === "Undefined" || answer.failure.reason === "Elsewhere" ||
          answer.failure.reason === "Version"
      ? "none"
      : answer.failure.reason
  )
  assert.deepStrictEqual(
    answers.map((answer, at) => `${names[at]} ${answer}`),
    [...asked].map((pair) => pair.join(" "))
  )
  return new Map(names.map((name, at) => [name, answers[at] ?? ""]))
}

/** The peer of bench/peers/offsets_peer.c, which is built against libbpf 1.5 beside the others. */
export const offsetsPeer = (): string => Libbpf.program("offsets_peer", "1.5")

/** What libbpf 1.5 answers for each name: an offset, or a negative error. */
export const libbpfFinds = (path: string, names: ReadonlyArray<string>): ReadonlyArray<bigint> => {
  const file = Path.join(temporaryFolder(), "names")
  Fs.writeFileSync(file, names.map((name) => `${name}\n`).join(""))
  const { status, stderr, stdout } = run(offsetsPeer(), ["find", path, file])
  assert.strictEqual(status, 0, stderr)
  const answers = stdout.trimEnd().split("\n").map(BigInt)
  assert.lengthOf(answers, names.length)
  return answers
}

/** What libbpf 1.5 finds for a pattern. */
export const libbpfMatches = (path: string, pattern: string): ReadonlyArray<bigint> => {
  const { status, stderr, stdout } = run(offsetsPeer(), ["match", path, pattern])
  assert.strictEqual(status, 0, stderr)
  return stdout.split("\n").filter((line) => line !== "").map(BigInt)
}
