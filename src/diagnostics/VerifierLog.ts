/**
 * The verifier's log, read for its user: the lines that name the cause, what they mean, and poisoned instructions
 * translated back to what they stand for.
 *
 * A log is text without a grammar that changes from kernel to kernel, so nothing here fails: what is not recognised is
 * handed on as it is.
 *
 * Source: `kernel/bpf/verifier.c`, `kernel/bpf/log.c`; reference page `load`, section 10.
 */
import * as VerifierLogCause from "./VerifierLogCause.ts"
import * as VerifierLogParse from "./VerifierLogParse.ts"
import * as VerifierLogReport from "./VerifierLogReport.ts"

/** `0: (79) r1 = *(u64 *)(r1 +8)`, as the verifier prints each instruction that it looks at. */
const instruction = /^(\d+): (\([0-9a-f]{2}\)|<invalid )/

/** Register states and jumps between them, and the notes of precision tracking: the path to the cause, not the cause. */
const noise =
  /^(\d+: R|R\d+_?w?=|from \d+ to \d+|cur state:|old state:|mark_precise:|func#\d+ @\d+|Live regs before|Validating |propagating |\s+(\d+: [.\d]|regs=|stack=)|(caller|callee):$| R\d|frame\d+:)/

/** What the verifier counts when it is done. */
const statistics = /^(processed \d+ insns|verification time \d+|stack depth |insns processed |max_states_per_insn )/

/** The same in the line of a complaint that does not end its own. */
const statisticsBehind = /(?<=\S)processed \d+ insns \(limit \d+\) .*$/

/** `; return ctx->len; @ prog.c:12`, the source line of the instructions below it. */
const source = /^; /

/** A cause of more lines than this is cut. */
const maximumCauseLines = 4

/** A summary of more characters than this is cut. */
const maximumSummary = 1000

/** The cause stands at the end of a log; of longer ones the beginning is not looked at. */
const maximumTail = 0x10_0000

const cut = (text: string): string => text.length <= maximumSummary ? text : `${text.slice(0, maximumSummary)}…`

/**
 * The one or two lines of a failed load's log that say why: the verifier's complaint, and the instruction that it is
 * about with its source line; of newer kernels, the reason that they report. Empty for an empty log.
 */
export const summarise = (log: string): string => {
  const all = log.slice(-maximumTail).split("\n").map((line) => line.trimEnd())
  const beginning = VerifierLogReport.beginning(all)
  const report = beginning === undefined ? undefined : VerifierLogReport.parse(all, beginning)
  if (report !== undefined) return reported(report)
  const lines = all.filter((line) => line !== "")
  const cause: Array<string> = []
  let at = lines.length - 1
  for (; at >= 0 && cause.length < maximumCauseLines; at--) {
    const line = lines[at] ?? ""
    if (instruction.test(line)) break
    // A source line above the complaint belongs to the instruction, which stands below it.
    if (cause.length > 0 && source.test(line)) break
    if (!noise.test(line) && !statistics.test(line) && !source.test(line)) {
      cause.unshift(line.replace(statisticsBehind, "").trim())
    }
  }
  const complaint = cause.join("; ")
  const place = placeOf(lines, at)
  if (complaint === "") return cut(place ?? lines.at(-1) ?? "")
  return cut(place === undefined ? complaint : `${complaint}\n${place}`)
}

/** The one or two lines of a report of newer kernels. */
const reported = ({ at, category, problem, reason }: VerifierLogReport.Report): string => {
  const what = reason ?? problem ?? category
  const place = at?.instruction === undefined ? undefined : `at ${at.instruction}: ${at.disassembly ?? ""}`.trimEnd()
  return cut([what, place, at?.source === undefined ? undefined : `in ${at.source}`].filter(Boolean).join("\n"))
}

/** The last instruction of `lines` up to `end`, and the source line that it was compiled from. */
const placeOf = (lines: ReadonlyArray<string>, end: number): string | undefined => {
  let found: string | undefined
  for (let at = end; at >= 0; at--) {
    const line = lines[at] ?? ""
    if (found === undefined) {
      if (instruction.test(line)) found = withoutState(line)
    } else if (source.test(line)) {
      return `at ${found}\nin ${line.slice(2)}`
    }
  }
  return found === undefined ? undefined : `at ${found}`
}

/** An instruction without the register states that the verifier appends. */
const withoutState = (line: string): string => {
  const state = / ; (R\d|frame\d|refs=|fp-)/.exec(line)
  return (state === null ? line : line.slice(0, state.index)).trimEnd()
}

const instructionLine = /^(\d{1,9}): \([0-9a-f]{2}\) /

/** How many lines of a log's end are searched. */
const searchedLines = 64

/**
 * The instruction that the verifier looked at last, in slots of the whole program: what its last message is about. `undefined`
 * where it looked at none.
 */
export const lastInstruction = (log: string): number | undefined => {
  let end = log.length
  for (let line = 0; line < searchedLines && end > 0; line++) {
    const start = log.lastIndexOf("\n", end - 1) + 1
    const found = instructionLine.exec(log.slice(start, Math.min(end, start + 32)))
    if (found?.[1] !== undefined) return Number(found[1])
    end = start - 1
  }
  return undefined
}

/** What a failed load's log means to the author of the program, in one sentence; `undefined` for what is not known here. */
export const meaning = (log: string): string | undefined =>
  VerifierLogCause.causeOf(VerifierLogParse.parse(log.slice(-maximumTail), { keep: 0 }))?.advice

/** An instruction that was made invalid on purpose, because what it refers to does not exist. */
export interface Poison {
  readonly kind: "Map" | "KernelFunction" | "CoreRelocation"
  /** Which map, or which extern, of the object; 0 for CO-RE relocations. */
  readonly index: number
  /** The slot of the instruction. */
  readonly at: number
}

/** Poisoned calls: the numbers of helpers that no kernel has. The first number of each kind, and how many there are. */
const poisons: ReadonlyArray<{ readonly kind: Poison["kind"]; readonly first: number; readonly count: number }> = [
  { kind: "CoreRelocation", first: 0x0bad_2310, count: 1 },
  { kind: "Map", first: 2_001_000_000, count: 1_000_000 },
  { kind: "KernelFunction", first: 2_002_000_000, count: 1_000_000 }
]

const poisonOf = (helper: number, at: number): Poison | undefined => {
  const found = poisons.find(({ count, first }) => helper >= first && helper < first + count)
  return found === undefined ? undefined : { kind: found.kind, index: helper - found.first, at }
}

/** How many lines from the end the verifier's complaint is looked for. */
const tail = 10

/** A complaint about a poisoned instruction: its line, which the one of the instruction is above. */
interface Complaint {
  readonly poison: Poison
  /** What is in front of the lines that were looked at. */
  readonly before: string
  readonly lines: ReadonlyArray<string>
  readonly at: number
}

const complaintIn = (log: string): Complaint | undefined => {
  let start = log.length
  for (let line = 0; line <= tail && start > 0; line++) start = log.lastIndexOf("\n", start - 1)
  const before = log.slice(0, Math.max(0, start))
  const lines = log.slice(before.length).split("\n")
  for (let at = lines.length - 1; at >= 1; at--) {
    const complaint = /^invalid func unknown#(\d{1,10})\s*$/.exec(lines[at] ?? "")
    if (complaint === null) continue
    const call = /^(\d{1,10}): \(85\) call unknown#(\d{1,10})/.exec(lines[at - 1] ?? "")
    if (call === null || call[2] !== complaint[1]) continue
    const poison = poisonOf(Number(complaint[1]), Number(call[1]))
    if (poison !== undefined) return { poison, before, lines, at }
  }
  return undefined
}

/** The poisoned instruction that a log ends with a complaint about; `undefined` where it is about something else. */
export const poisonIn = (log: string): Poison | undefined => complaintIn(log)?.poison

/**
 * The log with the complaint about a poisoned instruction translated: the call of a helper that no kernel has becomes
 * the map, kernel function or CO-RE relocation that is missing. `name` names it; without an answer, as any other log, the
 * log comes back unchanged.
 */
export const explain = (log: string, name: (poison: Poison) => string | undefined): string => {
  const complaint = complaintIn(log)
  const named = complaint === undefined ? undefined : name(complaint.poison)
  if (complaint === undefined || named === undefined) return log
  const { at, before, lines, poison } = complaint
  return before + [...lines.slice(0, at - 1), ...translate(poison, named), ...lines.slice(at + 1)].join("\n")
}

const translate = ({ at, kind }: Poison, name: string): readonly [string, string] => {
  switch (kind) {
    case "Map":
      return [`${at}: <invalid BPF map reference>`, `BPF map '${name}' is referenced but wasn't created`]
    case "KernelFunction":
      return [`${at}: <invalid kfunc call>`, `kfunc '${name}' is referenced but wasn't resolved`]
    case "CoreRelocation":
      return [`${at}: <invalid CO-RE relocation>`, `failed to resolve CO-RE relocation ${name}`]
  }
}
