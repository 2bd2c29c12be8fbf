/**
 * The programs that measure another one: one runs when it begins, the other when it has ended. Each reads the counters of the CPU
 * that it runs on; what they have grown by is added up in a map with a value for each CPU, so that nobody waits for anybody.
 * Pure.
 *
 * A program stays on its CPU while it runs: the kernel sees to that. A run that another run of the same program interrupts on that
 * CPU is not counted, the other is.
 */
import * as Encode from "../../insn/Encode.ts"
import { BPF_ADD, BPF_DW, BPF_JEQ, BPF_JNE, BPF_SUB, BPF_W } from "../../insn/InsnConstants.ts"
import type { Code, CodeRef } from "../../services/Kernel/KernelCall.ts"
import type { MapRef } from "../../services/Kernel/Ref.ts"

/** Bytes that the kernel tells of a counter: what it counted, for how long it was to, and for how long it did. */
const reading = 24

/** The 64-bit words of that. */
const words = [0, 8, 16] as const

/** Where in a CPU's value a counter's reading at the beginning is, and the sum of what it has grown by. */
const startAt = (metric: number): number => metric * 2 * reading
const totalAt = (metric: number): number => startAt(metric) + reading

/** Where the number of runs is, and whether a run has begun that has not ended. */
const runsAt = (metrics: number): number => metrics * 2 * reading
const begunAt = (metrics: number): number => runsAt(metrics) + 8

/** Bytes of a CPU's value. */
export const valueSize = (metrics: number): number => begunAt(metrics) + 8

/** Counters that a program measures at most: readings at the end are on its stack of 512 bytes. */
export const mostMetrics = 20

/** What has been counted on a CPU. */
export interface Counted {
  readonly runs: bigint
  readonly readings: ReadonlyArray<Readonly<Record<"counter" | "enabled" | "running", bigint>>>
}

/** Reads the value of a CPU, in the byte order of this machine. */
export const counted = (value: Uint8Array, metrics: number, little: boolean): Counted => {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  const word = (at: number): bigint => view.getBigUint64(at, little)
  return {
    runs: word(runsAt(metrics)),
    readings: Array.from({ length: metrics }, (_, metric) => ({
      counter: word(totalAt(metric)),
      enabled: word(totalAt(metric) + 8),
      running: word(totalAt(metric) + 16)
    }))
  }
}

/** A part of a program: instructions, with the map that the first refers to; a jump to an end, or that end. */
type Part =
  | { readonly insns: Uint8Array; readonly map?: MapRef }
  | { readonly when: "zero" | "other"; readonly to: End }
  | { readonly end: End }

type End = "out"

const insns = (...parts: ReadonlyArray<Uint8Array>): Part => ({ insns: Encode.program(...parts) })

/** `BPF_FUNC_map_lookup_elem`, `BPF_FUNC_perf_event_read_value` */
const mapLookup = Encode.callHelper(1)
const readValue = Encode.callHelper(55)

/** Slots that a part takes. */
const slotsOf = (part: Part): number => "insns" in part ? part.insns.length / 8 : "end" in part ? 0 : 1

/** Puts the parts together: jumps go forward, to their ends. */
const assembled = (parts: ReadonlyArray<Part>): Code => {
  const starts: Array<number> = []
  let slots = 0
  for (const part of parts) {
    starts.push(slots)
    slots += slotsOf(part)
  }
  const ends = new Map(parts.flatMap((part, index) => "end" in part ? [[part.end, starts[index] ?? 0] as const] : []))
  const refs: Array<CodeRef> = []
  const pieces = parts.flatMap((part, index): ReadonlyArray<Uint8Array> => {
    const at = starts[index] ?? 0
    if ("end" in part) return []
    if ("insns" in part) {
      if (part.map !== undefined) refs.push({ _tag: "MapRef", at, map: part.map })
      return [part.insns]
    }
    return [Encode.jmpImm(part.when === "zero" ? BPF_JEQ : BPF_JNE, 0, 0, (ends.get(part.to) ?? 0) - at - 1)]
  })
  return { insns: Encode.program(...pieces), refs }
}

/** Looks this CPU's value up and keeps where it is in r6. */
const lookUp = (readings: MapRef): ReadonlyArray<Part> => [
  insns(Encode.st(BPF_W, 10, -4, 0), Encode.mov64Reg(2, 10), Encode.alu64Imm(BPF_ADD, 2, -4)),
  { insns: Encode.ldMapFd(1, 0), map: readings },
  insns(mapLookup),
  { when: "zero", to: "out" },
  insns(Encode.mov64Reg(6, 0))
]

/** Reads the counter of this CPU to what r3 points to. */
const read = (events: MapRef): ReadonlyArray<Part> => [
  { insns: Encode.ldMapFd(1, 0), map: events },
  // BPF_F_CURRENT_CPU
  insns(Encode.mov32Imm(2, -1), Encode.mov64Imm(4, reading), readValue)
]

/** The maps that both programs use. */
export interface Maps {
  /** A per-CPU array with one value of `valueSize` bytes. */
  readonly readings: MapRef
  /** For each metric an array of perf events, by CPU. */
  readonly events: ReadonlyArray<MapRef>
}

/** What runs when a program begins: keeps the counters. */
export const entry = ({ events, readings }: Maps): Code => {
  const begun = begunAt(events.length)
  return assembled([
    ...lookUp(readings),
    insns(Encode.st(BPF_DW, 6, begun, 0)),
    ...events.flatMap((each, metric): ReadonlyArray<Part> => [
      insns(Encode.mov64Reg(3, 6), Encode.alu64Imm(BPF_ADD, 3, startAt(metric))),
      ...read(each),
      { when: "other", to: "out" }
    ]),
    insns(Encode.st(BPF_DW, 6, begun, 1)),
    { end: "out" },
    insns(Encode.mov64Imm(0, 0), Encode.exit())
  ])
}

/** Where on the stack a counter's reading at the end is. */
const stackAt = (metric: number): number => -8 - reading * (metric + 1)

/** What runs when a program has ended: adds up what the counters have grown by, where all could be read at both times. */
export const exit = ({ events, readings }: Maps): Code => {
  const [begun, runs] = [begunAt(events.length), runsAt(events.length)]
  return assembled([
    ...lookUp(readings),
    insns(Encode.ldx(BPF_DW, 0, 6, begun)),
    { when: "zero", to: "out" },
    insns(Encode.st(BPF_DW, 6, begun, 0)),
    // The last that was read before is the first that is read after.
    ...events.map((each, metric) => ({ each, metric })).reverse().flatMap(({ each, metric }): ReadonlyArray<Part> => [
      insns(Encode.mov64Reg(3, 10), Encode.alu64Imm(BPF_ADD, 3, stackAt(metric))),
      ...read(each),
      { when: "other", to: "out" }
    ]),
    ...events.flatMap((_, metric) =>
      words.map((word) =>
        insns(
          Encode.ldx(BPF_DW, 1, 10, stackAt(metric) + word),
          Encode.ldx(BPF_DW, 2, 6, startAt(metric) + word),
          Encode.alu64Reg(BPF_SUB, 1, 2),
          Encode.ldx(BPF_DW, 2, 6, totalAt(metric) + word),
          Encode.alu64Reg(BPF_ADD, 2, 1),
          Encode.stx(BPF_DW, 6, 2, totalAt(metric) + word)
        )
      )
    ),
    insns(
      Encode.ldx(BPF_DW, 1, 6, runs),
      Encode.alu64Imm(BPF_ADD, 1, 1),
      Encode.stx(BPF_DW, 6, 1, runs)
    ),
    { end: "out" },
    insns(Encode.mov64Imm(0, 0), Encode.exit())
  ])
}
