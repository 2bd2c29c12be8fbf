/**
 * Calls of two loaders made comparable: what is the loader's own business goes (probes, tries with a log, numbers of
 * descriptors), what the kernel is asked for stays.
 */
import * as Insn from "../../src/insn/Insn.ts"
import { fromHex, toHex } from "./Peer.ts"
import type { Sent } from "./SentCalls.ts"

/** A call by what it does to what, and everything that it says. */
export interface Comparable {
  /** `MAP_CREATE counters` */
  readonly what: string
  readonly fields: Readonly<Record<string, string>>
  readonly insns: Uint8Array
  /** CO-RE records that go along with the instructions. */
  readonly core: { readonly records: Uint8Array; readonly recordSize: number }
}

/**
 * Looking for modules' types, for which each loader has a time and a way of its own, and asking whether there is a token.
 */
const lookups: ReadonlySet<string> = new Set([
  "BTF_GET_NEXT_ID",
  "BTF_GET_FD_BY_ID",
  "command 23",
  "command 19",
  "TOKEN_CREATE"
])

/** Instructions with nothing of descriptors in them. */
const withoutDescriptors = (call: Sent): Uint8Array => {
  const insns = fromHex(call.insns)
  for (const { at } of call.map_references ?? []) Insn.setImm(insns, at, 0)
  return insns
}

/** Fields that are compared in a form of their own, or not at all. */
const asideFields: ReadonlySet<string> = new Set([
  "command",
  "core_relo_rec_size",
  "core_relos",
  "insns",
  "map_references",
  "probe",
  "result"
])

const comparableCall = (call: Sent): Comparable => {
  const { command, core_relo_rec_size, core_relos, map_references } = call
  const subject = call.name ?? call.map ?? call.pinned ?? call.path ?? call.of ?? ""
  const fields: Record<string, string> = {}
  for (const [field, value] of Object.entries(call)) {
    // A map or program in a value is a descriptor: its name is in refers_to.
    if (asideFields.has(field) || (field === "value" && call.refers_to !== undefined)) continue
    fields[field] = value === null ? "" : String(value)
  }
  const references = (map_references ?? []).map(({ at, map }) => `${at}=${map}`).join(" ")
  if (references !== "") fields["map_references"] = references
  return {
    what: `${command} ${subject}`.trim(),
    fields,
    insns: withoutDescriptors(call),
    core: { records: fromHex(core_relos), recordSize: core_relo_rec_size ?? 0 }
  }
}

/** The calls that load an object, in order. A call is told once, however often it is tried. */
export const comparable = (calls: ReadonlyArray<Sent>): ReadonlyArray<Comparable> =>
  calls.filter((call) => !call.probe && !lookups.has(call.command) && (call.log_level ?? 0) === 0).map(comparableCall)

/** One field in which a call of ours is not what libbpf's is. */
export interface CallDifference {
  /** The call, or `calls` for their sequence. */
  readonly at: string
  readonly field: string
  readonly ours: string
  readonly libbpf: string
}

/** The slots that CO-RE records may change: both of a 64-bit immediate load. */
const coreSlots = ({ core, insns }: Comparable): ReadonlySet<number> => {
  const slots = new Set<number>()
  const view = new DataView(core.records.buffer)
  for (let at = 0; core.recordSize > 0 && at < core.records.length; at += core.recordSize) {
    const slot = view.getUint32(at, true) / 8
    slots.add(slot)
    if (Insn.isLdImm64(insns, slot)) slots.add(slot + 1)
  }
  return slots
}

/** Slots in which instructions differ, by whether a CO-RE record of ours accounts for it. */
const insnDifferences = (ours: Comparable, libbpf: Comparable): ReadonlyArray<CallDifference> => {
  const at = ours.what
  if (ours.insns.length !== libbpf.insns.length) {
    return [{ at, field: "insn_cnt", ours: String(ours.insns.length / 8), libbpf: String(libbpf.insns.length / 8) }]
  }
  const core = coreSlots(ours)
  const slots = Array.from({ length: ours.insns.length / 8 }, (_, slot) => slot)
  const text = (call: Comparable, slot: number): string => toHex(call.insns.subarray(slot * 8, slot * 8 + 8))
  return slots.filter((slot) => text(ours, slot) !== text(libbpf, slot)).map((slot) => ({
    at,
    field: core.has(slot) ? "insn with CO-RE record" : "insn",
    ours: `${slot}: ${text(ours, slot)}`,
    libbpf: `${slot}: ${text(libbpf, slot)}`
  }))
}

/**
 * The differences between two sequences of calls, those of the sequence itself first. Where one of the loads failed
 * (`partial`), the calls count up to its end.
 */
export const callDifferences = (
  ours: ReadonlyArray<Comparable>,
  libbpf: ReadonlyArray<Comparable>,
  partial: boolean
): ReadonlyArray<CallDifference> => {
  const length = partial ? Math.min(ours.length, libbpf.length) : Infinity
  const sequence = (calls: ReadonlyArray<Comparable>): string =>
    calls.slice(0, length).map(({ what }) => what).join("\n")
  if (sequence(ours) !== sequence(libbpf)) {
    return [{ at: "calls", field: "sequence", ours: sequence(ours), libbpf: sequence(libbpf) }]
  }
  return ours.slice(0, length).flatMap((call, index) => {
    const other = libbpf[index]
    if (other === undefined) return []
    const fields = [...new Set([...Object.keys(call.fields), ...Object.keys(other.fields)])]
    return [
      ...fields.filter((field) => (call.fields[field] ?? "") !== (other.fields[field] ?? "")).map((field) => ({
        at: call.what,
        field,
        ours: call.fields[field] ?? "",
        libbpf: other.fields[field] ?? ""
      })),
      ...insnDifferences(call, other)
    ]
  })
}
