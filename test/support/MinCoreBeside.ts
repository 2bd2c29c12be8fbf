/** Minimal BTF beside bpftool's, and in libbpf's hands. */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { isDeepStrictEqual } from "node:util"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfFile from "../../src/btf/BtfFile.ts"
import type * as MinCoreBtf from "../../src/stages/gen/MinCoreBtf.ts"
import * as Open from "../../src/stages/open/Open.ts"
import type * as Core from "../../src/stages/relocate/core/Core.ts"
import { type OurProgram, relocateObject } from "./CoreBeside.ts"
import * as Peer from "./Peer.ts"
import { run } from "./Require.ts"

const bytesOf = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

/** The BTF of a file. */
export const readBtf = (path: string): Btf.Btf => Result.getOrThrow(BtfFile.parse(bytesOf(path))).btf

/** An object file with CO-RE records, of a little-endian machine; `undefined` for others. */
export const readObject = (path: string): MinCoreBtf.MinCoreObject | undefined => {
  const file = BtfFile.parse(bytesOf(path), { ext: true })
  if (Result.isFailure(file) || file.success.btf.byteOrder !== "little") return undefined
  const { btf, ext } = file.success
  return ext?.coreRelocations === undefined ? undefined : { name: Path.basename(path), btf, ext }
}

/** What bpftool makes of a kernel for some objects, or what it says. */
export const bpftoolMakes = (
  bpftool: string,
  kernel: string,
  objects: ReadonlyArray<string>,
  output: string
): Btf.Btf | string => {
  const { status, stderr } = run(bpftool, ["gen", "min_core_btf", kernel, output, ...objects])
  if (status !== 0) return stderr
  return Result.getOrThrow(Btf.parse(bytesOf(output)))
}

/** Whether a type has all that another one has, which is of another blob. Pairs that are being compared count as such. */
const includes = (ours: Btf.Btf, id: number, theirs: Btf.Btf, other: number, seen: Set<string>): boolean => {
  const key = `${id} ${other}`
  // What bpftool leaves out it makes void.
  if (other === 0 || seen.has(key)) return true
  seen.add(key)
  const [one, two] = [Btf.typeOf(ours, id), Btf.typeOf(theirs, other)]
  if (Btf.nameOf(ours, id) !== Btf.nameOf(theirs, other)) return false
  const inner = (type: number, otherType: number): boolean => includes(ours, type, theirs, otherType, seen)
  switch (two._tag) {
    case "Struct":
    case "Union":
      return one._tag === two._tag && one.size === two.size &&
        two.members.every((member) =>
          one.members.some(({ bitOffset, bitfieldSize, name, type }) =>
            name === member.name && bitOffset === member.bitOffset && bitfieldSize === member.bitfieldSize &&
            inner(type, member.type)
          )
        )
    case "Array":
      return one._tag === two._tag && one.length === two.length && inner(one.type, two.type)
    case "FuncProto":
      return one._tag === two._tag && one.params.length === two.params.length &&
        inner(one.returnType, two.returnType) &&
        two.params.every(({ type }, index) => inner(one.params[index]?.type ?? 0, type))
    case "Ptr":
    case "Const":
    case "Volatile":
    case "Restrict":
    case "Typedef":
      return one._tag === two._tag && inner(one.type, two.type)
    default:
      return isDeepStrictEqual({ ...one, id: 0 }, { ...two, id: 0 })
  }
}

/** The types of bpftool's BTF that ours lacks, or of which it lacks something, as C names them. */
export const lacking = (ours: Btf.Btf, theirs: Btf.Btf): ReadonlyArray<string> => {
  const byName = new Map<string, Array<number>>()
  const key = (btf: Btf.Btf, id: number): string => `${Btf.kindOf(btf, id)} ${Btf.nameOf(btf, id)}`
  for (let id = 1; id < ours.endId; id++) {
    const same = byName.get(key(ours, id))
    if (same === undefined) byName.set(key(ours, id), [id])
    else same.push(id)
  }
  const lines: Array<string> = []
  for (let other = 1; other < theirs.endId; other++) {
    const found = (byName.get(key(theirs, other)) ?? []).some((id) => includes(ours, id, theirs, other, new Set()))
    if (!found) lines.push(`${Btf.typeName(theirs, other)} [${other}]`)
  }
  return lines
}

/** The programs that a load sends, by name, with the slots of ids of types left out. */
const sentBy = (loaded: Peer.Loaded, ids: ReadonlyMap<string, ReadonlySet<number>>): ReadonlyMap<string, string> => {
  const sent = new Map<string, string>()
  for (const { command, insns, name = "", probe } of loaded.calls ?? []) {
    if (command !== "PROG_LOAD" || probe) continue
    const bytes = Peer.fromHex(insns)
    for (const slot of ids.get(name) ?? []) bytes.fill(0, slot * 8, slot * 8 + 8)
    sent.set(`${name} ${bytes.length}`, Peer.toHex(bytes))
  }
  return sent
}

/** What libbpf complains of: without ids of types, which differ, and numbers of the process. */
const complaint = ({ error }: Peer.Loaded): string =>
  error === undefined || !/relo #\d+|CO-RE|failed to (perform|relocate)/.test(error.log)
    ? ""
    : error.log.replaceAll(/\[\d+\]/g, "[]").split("\n").filter((line) =>
      /failed to (perform|relocate|patch)/.test(line)
    )
      .join("\n")

/** The entry programs of an object, relocated; none of an object that cannot be opened by itself. */
export const programsOf = (path: string, target: Core.CoreTarget): ReadonlyArray<OurProgram> => {
  const object = Open.fromBytes(bytesOf(path), { path })
  return Result.isFailure(object) ? [] : relocateObject(object.success, target)
}

const idSlots = ({ result }: OurProgram): ReadonlyArray<number> =>
  Result.isFailure(result)
    ? []
    : result.success.outcomes.flatMap(({ kind, slot }) => kind === "target_type_id" ? [slot, slot + 1] : [])

/** How the programs of an object differ that were relocated against minimal BTF and against the whole. */
export const relocatedDifferently = (
  path: string,
  whole: Core.CoreTarget,
  minimal: Core.CoreTarget
): { readonly programs: number; readonly lines: ReadonlyArray<string> } => {
  const others = programsOf(path, minimal)
  const programs = programsOf(path, whole)
  const shown = (program: OurProgram | undefined, ids: ReadonlyArray<number>): string => {
    if (program === undefined) return "no program"
    if (Result.isFailure(program.result)) return `${program.result.failure.reason} ${program.result.failure.record}`
    const insns = program.result.success.insns.slice()
    for (const slot of ids) insns.fill(0, slot * 8, slot * 8 + 8)
    return Peer.toHex(insns)
  }
  const lines = programs.flatMap((program, index) => {
    const ids = idSlots(program)
    const [one, other] = [shown(program, ids), shown(others[index], ids)]
    return one === other ? [] : [`${program.name}: ${one} by the whole, ${other}`]
  })
  return { programs: programs.length, lines }
}

/** What libbpf sends with one BTF and not with another, as lines. */
export const sentDifferently = (
  path: string,
  whole: string,
  minimal: string,
  target: Core.CoreTarget,
  options: ReadonlyArray<string> = []
): { readonly programs: number; readonly lines: ReadonlyArray<string> } => {
  const ids = new Map<string, Set<number>>()
  for (const program of programsOf(path, target)) {
    const name = program.name.slice(0, 15)
    ids.set(name, new Set([...ids.get(name) ?? [], ...idSlots(program)]))
  }
  const [one, other] = [Peer.load(path, ["--btf", whole, ...options]), Peer.load(path, ["--btf", minimal, ...options])]
  const lines: Array<string> = []
  if (complaint(one) !== complaint(other)) lines.push(`${complaint(one)} with the whole, ${complaint(other)}`)
  const [sent, minimalSent] = [sentBy(one, ids), sentBy(other, ids)]
  for (const [name, insns] of sent) {
    if (minimalSent.get(name) !== insns) lines.push(`${name}: ${insns} with the whole, ${minimalSent.get(name)}`)
  }
  if (sent.size !== minimalSent.size) lines.push(`${sent.size} programs with the whole, ${minimalSent.size}`)
  return { programs: sent.size, lines }
}
