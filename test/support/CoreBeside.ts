/**
 * CO-RE records of one object applied by us and by libbpf: the instructions that it sends to the kernel, slot by slot.
 *
 * libbpf sends a program after it has relocated it, whether the kernel then takes it or not, so every program that it
 * comes to is compared. Slots that other relocations fill (maps, externs) are left out.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Insn from "../../src/insn/Insn.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import * as ExceptionCallback from "../../src/stages/relocate/ExceptionCallback.ts"
import * as Info from "../../src/stages/relocate/Info.ts"
import * as Layout from "../../src/stages/relocate/Layout.ts"
import type * as Libbpf from "./Libbpf.ts"
import * as Peer from "./Peer.ts"

/** An entry program, laid out and relocated by us. */
export interface OurProgram {
  readonly name: string
  readonly result: Result.Result<Core.Relocated, Core.CoreError>
  /** Slots that other relocations fill. */
  readonly others: ReadonlySet<number>
}

/** The entry programs of an object that has CO-RE records, relocated for a target. */
export const relocateObject = (object: BpfObject, target: Core.CoreTarget): ReadonlyArray<OurProgram> => {
  const core = Info.index(object.btfExt?.coreRelocations, object.byteOrder)
  const callbacks = ExceptionCallback.find(object)
  return object.programs.flatMap((program, position) => {
    if (!program.entry || !program.autoload || object.btf === undefined) return []
    const { insns, layout } = Layout.layOut(object, position, callbacks.get(program.name))
    const records = Info.pick(object, core, layout, "bytes").records ?? { recordSize: 16, records: new Uint8Array() }
    const others = new Set<number>()
    for (const placement of layout) {
      for (const { at } of object.programs[placement.program]?.relocations ?? []) {
        others.add(placement.slot + at)
        if (Insn.isLdImm64(insns, placement.slot + at)) others.add(placement.slot + at + 1)
      }
    }
    return [{ name: program.name, result: Core.relocate(insns, records, object.btf, target), others }]
  })
}

/** What was compared, and what differs. */
export interface CoreComparison {
  /** Programs that libbpf sent, and instructions of them with a record. */
  readonly programs: number
  readonly records: number
  /** Programs that both refuse to relocate. */
  readonly refused: number
  readonly differences: ReadonlyArray<string>
}

const hex = (bytes: Uint8Array, slot: number): string => Peer.toHex(bytes.subarray(slot * 8, slot * 8 + 8))

/** libbpf's words for a record that it cannot apply. */
const isRelocationFailure = (log: string): boolean =>
  /relo #\d+|CO-RE|failed to (perform|relocate)/.test(log) && !/failed to load: /.test(log)

/** Compares one program; the differences as lines. */
const compare = (name: string, ours: OurProgram, sent: Uint8Array): ReadonlyArray<string> => {
  if (Result.isFailure(ours.result)) return [`${name}: we refuse it: ${ours.result.failure.message}`]
  const { insns, outcomes } = ours.result.success
  if (insns.length !== sent.length) return [`${name}: ${insns.length / 8} slots, libbpf sends ${sent.length / 8}`]
  const lines: Array<string> = []
  for (let slot = 0; slot < Insn.count(insns); slot++) {
    if (ours.others.has(slot) || hex(insns, slot) === hex(sent, slot)) continue
    const record = outcomes.find((outcome) => outcome.slot === slot || outcome.slot === slot - 1)
    const what = record === undefined ? "no record" : `${record.kind} ${record.path}`
    lines.push(`${name} at ${slot} (${what}): ${hex(insns, slot)}, libbpf ${hex(sent, slot)}`)
  }
  return lines
}

/** Relocates the object at `path` for `target` and compares it with what libbpf does; `args` are options of the peer. */
export const coreBeside = (
  path: string,
  target: Core.CoreTarget,
  args: ReadonlyArray<string>,
  version: Libbpf.Version = "system"
): CoreComparison => {
  const object = Result.getOrThrow(Open.fromBytes(new Uint8Array(Fs.readFileSync(path)), { path }))
  return compareObject(relocateObject(object, target), Peer.load(path, args, version))
}

/** Compares programs of ours with a load of libbpf's. */
export const compareObject = (programs: ReadonlyArray<OurProgram>, loaded: Peer.Loaded): CoreComparison => {
  const error = loaded.error
  const refusals = programs.filter(({ result }) => Result.isFailure(result))
  if (error !== undefined && isRelocationFailure(error.log)) {
    const agreed = refusals.length > 0
    return {
      programs: 0,
      records: 0,
      refused: agreed ? 1 : 0,
      differences: agreed ? [] : [`we relocate it; libbpf: ${error.log.trimEnd()}`]
    }
  }
  const seen = new Set<string>()
  let records = 0
  const differences: Array<string> = []
  for (const call of loaded.calls ?? []) {
    if (call.command !== "PROG_LOAD" || call.probe) continue
    const sent = Peer.fromHex(call.insns)
    const same = programs.filter(({ name }) => name.slice(0, 15) === call.name)
    const found = same.map((ours) => ({ ours, lines: compare(ours.name, ours, sent) }))
      .sort((a, b) => a.lines.length - b.lines.length)[0]
    // A program that libbpf makes by itself, to ask the kernel something.
    if (found === undefined) continue
    differences.push(...found.lines)
    if (seen.has(found.ours.name)) continue
    seen.add(found.ours.name)
    records += Result.isSuccess(found.ours.result) ? found.ours.result.success.outcomes.length : 0
  }
  return { programs: seen.size, records, refused: 0, differences }
}
