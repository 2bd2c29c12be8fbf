/**
 * The verifier's log as data: the instructions that it looked at, what it knew of registers and the stack, its branches,
 * lines of C, its complaint, and what it counted.
 *
 * A log is text without a grammar that changes from kernel to kernel, and may begin or end anywhere, for the kernel keeps
 * only its end where the buffer was too small. So nothing here fails: what is not recognised is kept as a note, and the log
 * itself stays in the answer. Both formats are read: the lines that kernels have always written, and the report that
 * Linux 7.3 and later append (`VerifierLogReport`).
 *
 * Source: `kernel/bpf/verifier.c`, `kernel/bpf/log.c`; reference page `load`, section 10.
 */
import * as VerifierLogReport from "./VerifierLogReport.ts"
import * as VerifierLogState from "./VerifierLogState.ts"

/** A line of a log. Instructions are counted in slots of the whole program. */
export type Entry =
  /** An instruction that the verifier looks at; `state` is what changed by it, or what was known before it. */
  | {
    readonly _tag: "Instruction"
    readonly at: number
    /** `r1 = *(u64 *)(r1 +8)` */
    readonly text: string
    readonly state?: VerifierLogState.State
    /** Whether `state` is all that is known, and not what changed alone. */
    readonly isWhole?: true
  }
  /** What is known before instruction `at`, or of a function that calls or is called. */
  | { readonly _tag: "State"; readonly at?: number; readonly state: VerifierLogState.State }
  /** The verifier takes up another path: everything that is known then is told anew. */
  | {
    readonly _tag: "Branch"
    readonly from: number
    readonly to: number
    readonly state?: VerifierLogState.State
    /** Whether the path is one that was seen to be safe. */
    readonly safe: boolean
  }
  /** The line of C of the instructions below. */
  | { readonly _tag: "Source"; readonly text: string; readonly file?: string; readonly line?: number }
  /** A function is verified by itself. */
  | { readonly _tag: "Function"; readonly name: string; readonly index: number }
  /** How the verifier traces back which values have to be exact. */
  | { readonly _tag: "Precision"; readonly text: string }
  /** A complaint, or whatever else is not known here. */
  | { readonly _tag: "Note"; readonly text: string }

/** What the verifier counted. What a kernel does not say is absent. */
export interface Statistics {
  /** Instructions that were looked at, those of all paths together. */
  readonly instructions: number
  readonly limit?: number
  readonly maxStatesPerInstruction?: number
  readonly totalStates?: number
  readonly peakStates?: number
  readonly markRead?: number
  readonly microseconds?: number
  /** Bytes of the stack, of the program and of each function that is verified with it. */
  readonly stackDepths: ReadonlyArray<number>
}

/** A log, read. */
export interface ParsedLog {
  /** The log as it came. */
  readonly raw: string
  /** Its lines in order; the last ones where there are more than were asked for. */
  readonly entries: ReadonlyArray<Entry>
  /** How many lines in front of `entries` were read and not kept. */
  readonly dropped: number
  /** What the verifier says is wrong, line by line; empty where it says nothing. */
  readonly complaint: ReadonlyArray<string>
  /** The instruction that the complaint is about: the last that the verifier looked at. */
  readonly instruction?: { readonly at: number; readonly text: string }
  /** The line of C of that instruction. */
  readonly source?: { readonly text: string; readonly file?: string; readonly line?: number }
  /** What the verifier knew there, of the function that it was in. */
  readonly registers: ReadonlyArray<VerifierLogState.Register>
  /** What registers held that are numbers now because of a call: it released what they pointed to, or moved the packet. */
  readonly lost: ReadonlyMap<string, VerifierLogState.Register>
  /** The function in which it was: 0 for the program's own. */
  readonly frame: number
  readonly statistics?: Statistics
  /** The report of newer kernels. */
  readonly report?: VerifierLogReport.Report
  /** Whether its beginning is missing: the first line is cut, or the first instruction is not the program's first. */
  readonly isCut: boolean
}

/** How a log is read. */
export interface ParseOptions {
  /** How many entries are kept, the last ones; default 10,000. All lines are read. */
  readonly keep?: number
}

const instruction = /^(\d{1,9}): (\([0-9a-f]{2}\) |<invalid )/
const stateLine = /^(\d{1,9}): (?=(?:frame\d{1,2}: )?(?:R(?:\d|10)|fp-\d{1,4}|refs)[_=])/
const branchLine = /^from (\d{1,9}) to (\d{1,9})(?: \([a-z ]{1,30}\))?: ?(.*)$/
const validating = /^Validating (\S{1,200})\(\) func#(\d{1,4})\.\.\.$/
const precision =
  /^(mark_precise: |last_idx \d|regs=|parent (already had|didn't have) |propagating |\s+(\d+: [.\d]|regs=|stack=)|cur state:|old state:|frame \d+: )/
const progress =
  /^(\d+: safe|func#\d+ @\d+|Live regs before|(caller|callee|returning from callee|to caller at \d+):?$|Func#\d+ \('.*'\) is (safe|global)|from \d+ to \d+.*: safe|arg#\d+ is |Global function .* doesn't return)/
const statistic = /^(processed \d+ insns|verification time \d+|stack depth \d|insns processed |max_states_per_insn )/

/** A jump, and what is said behind it in the same line: the verifier ends the line when it has looked at the jump. */
const jump = /^(.*\bgoto pc[+-]\d+) (?=\S)(.*)$/

/** A line of more characters than this is read up to there: no kernel writes such. */
const longestLine = 16_384

/** The words of an instruction, and the state behind it. */
const instructionOf = (line: string, at: number): Entry => {
  const start = line.indexOf(": ") + 2
  // `; R0=…` behind it, or `11: R0=…` of the next instruction where the verifier did not end the line.
  const behind = / +; (?=(?:frame\d+: )?(?:R\d|fp-|refs))| (?=\d{1,9}: (?:frame\d+: )?(?:R\d|fp-))/.exec(line)
  const whole = line.slice(start, behind?.index).replace(/^\([0-9a-f]{2}\) /, "").trimEnd()
  const words = jump.exec(whole)?.[1] ?? whole
  const state = behind === null
    ? undefined
    : VerifierLogState.parse(line.slice(behind.index + behind[0].length).replace(/^\d+: /, ""))
  const isWhole = behind !== null && state !== undefined && !behind[0].includes(";")
  return {
    _tag: "Instruction",
    at,
    text: words,
    ...(state === undefined ? {} : { state }),
    ...(isWhole ? { isWhole } : {})
  }
}

/** One line of a log. */
const entryOf = (line: string): Entry => {
  const found = instruction.exec(line)
  if (found !== null) return instructionOf(line, Number(found[1]))
  const known = stateLine.exec(line)
  if (known !== null) {
    const state = VerifierLogState.parse(line.slice(known[0].length))
    if (state !== undefined) return { _tag: "State", at: Number(known[1]), state }
  }
  const branch = branchLine.exec(line)
  if (branch !== null) {
    const state = VerifierLogState.parse(branch[3] ?? "")
    return {
      _tag: "Branch",
      from: Number(branch[1]),
      to: Number(branch[2]),
      safe: branch[3] === "safe",
      ...(state === undefined ? {} : { state })
    }
  }
  if (line.startsWith("; ")) {
    const where = / @ (\S{1,300}):(\d{1,9})$/.exec(line)
    const text = line.slice(2, where?.index).trim()
    return {
      _tag: "Source",
      text,
      ...(where === null ? {} : { file: where[1] ?? "", line: Number(where[2]) })
    }
  }
  const alone = validating.exec(line)
  if (alone !== null) return { _tag: "Function", name: alone[1] ?? "", index: Number(alone[2]) }
  if (precision.test(line)) return { _tag: "Precision", text: line }
  if (/^ *(frame\d+: )?R\d/.test(line)) {
    const state = VerifierLogState.parse(line)
    if (state !== undefined && / *(frame\d+: )?R(\d|10)(_[a-zA-Z]+)?=/.test(line)) return { _tag: "State", state }
  }
  return { _tag: "Note", text: line }
}

/** Adds what a line of counts says. */
const count = (statistics: { -readonly [K in keyof Statistics]: Statistics[K] }, line: string): void => {
  const number = (pattern: RegExp): number | undefined => {
    const found = pattern.exec(line)?.[1]
    return found === undefined ? undefined : Number(found)
  }
  const set = <K extends Exclude<keyof Statistics, "stackDepths">>(name: K, value: Statistics[K] | undefined): void => {
    if (value !== undefined) statistics[name] = value
  }
  set("instructions", number(/^(?:insns )?processed (\d+)/))
  set("limit", number(/\(limit (\d+)\)/))
  set("maxStatesPerInstruction", number(/max_states_per_insn (\d+)/))
  set("totalStates", number(/total_states (\d+)/))
  set("peakStates", number(/peak_states (\d+)/))
  set("markRead", number(/mark_read (\d+)/))
  set("microseconds", number(/^verification time (\d+)/))
  const depths = /^stack depth ([\d+]{1,4000})/.exec(line)?.[1]
  if (depths !== undefined) {
    statistics.stackDepths = depths.split("+").filter((depth) => depth !== "").map(Number)
  }
}

/** The registers of one function. */
interface Frame {
  readonly registers: Map<string, VerifierLogState.Register>
  /** What was a pointer before a call, by the names of registers that are numbers since, and not by an instruction. */
  readonly lost: Map<string, VerifierLogState.Register>
}

/** Whether a register that was a pointer is any number now. */
const isLost = (
  register: VerifierLogState.Register,
  old: VerifierLogState.Register | undefined
): old is VerifierLogState.Register =>
  register.type === "scalar" && register.constant === undefined && old !== undefined && old.type !== "scalar"

/** The registers that no call leaves as they were. */
const clobbered: ReadonlyArray<string> = ["R1", "R2", "R3", "R4", "R5"]

/** What is known of registers while the lines are followed, for each function that is active. */
class Known {
  private readonly frames = new Map<number, Frame>()
  frame = 0

  private of(frame: number): Frame {
    const found = this.frames.get(frame) ?? { registers: new Map(), lost: new Map() }
    this.frames.set(frame, found)
    return found
  }

  /** What an instruction changed. */
  change(state: VerifierLogState.State): void {
    const { lost, registers } = this.of(state.frame)
    for (const register of state.registers) {
      registers.set(register.name, register)
      lost.delete(register.name)
    }
    this.frame = state.frame
  }

  /** What is told of registers that no instruction has changed. */
  learn(state: VerifierLogState.State): void {
    const { lost, registers } = this.of(state.frame)
    for (const register of state.registers) {
      const old = registers.get(register.name)
      if (isLost(register, old)) lost.set(register.name, old)
      registers.set(register.name, register)
    }
    this.frame = state.frame
  }

  /** All that is known, told anew: on the same path, or on another one. */
  replace(state: VerifierLogState.State, isSamePath: boolean): void {
    const before = this.of(state.frame)
    const registers = new Map(state.registers.map((register) => [register.name, register] as const))
    const lost = new Map<string, VerifierLogState.Register>()
    for (const [name, register] of isSamePath ? registers : []) {
      const old = before.lost.get(name) ?? before.registers.get(name)
      if (isLost(register, old)) lost.set(name, old)
    }
    this.frames.set(state.frame, { registers, lost })
    this.frame = state.frame
  }

  registers(): ReadonlyArray<VerifierLogState.Register> {
    return [...this.of(this.frame).registers.values()]
  }

  /** Forgets what a call takes and returns: a log does not say that these are gone. */
  called(): void {
    const { lost, registers } = this.of(this.frame)
    for (const name of clobbered) {
      registers.delete(name)
      lost.delete(name)
    }
  }

  lost(): ReadonlyMap<string, VerifierLogState.Register> {
    return this.of(this.frame).lost
  }
}

/** Some complaints do not end their line, and the counts go on in it: `…map for tail callprocessed 3 insns (limit 1000000) …`. */
const counted = /\S(?=processed \d+ insns \(limit \d+\) )/

/** The lines of a log, one after another, none longer than `longestLine`. */
function* linesOf(log: string): Generator<string> {
  for (let start = 0; start < log.length;) {
    const end = log.indexOf("\n", start)
    const stop = end < 0 ? log.length : end
    const line = log.slice(start, Math.min(stop, start + longestLine)).trimEnd()
    start = stop + 1
    const cut = counted.exec(line)
    if (cut === null) yield line
    else yield* [line.slice(0, cut.index + 1), line.slice(cut.index + 1)]
  }
}

/** How many of the last lines of a complaint are kept; the verifier writes a few. */
const complaintLines = 1000

/** How many of the last lines are searched for a report; one is shorter. */
const reportLines = 20_000

/**
 * Reads a log. Time is proportional to its length; memory to its length and to what is kept. What follows the last
 * instruction, and is neither a state nor a count, is the complaint.
 */
export const parse = (raw: string, { keep = 10_000 }: ParseOptions = {}): ParsedLog => {
  const entries: Array<Entry> = []
  let dropped = 0
  let complaint: Array<string> = []
  let last: { readonly at: number; readonly text: string } | undefined
  let first: number | undefined
  let source: ParsedLog["source"]
  /** The line of C that stands above the next instruction. */
  let above: ParsedLog["source"]
  const known = new Known()
  const statistics: { -readonly [K in keyof Statistics]: Statistics[K] } = { instructions: 0, stackDepths: [] }
  let isCounted = false
  const tail: Array<string> = []
  let inReport = false
  for (const line of linesOf(raw)) {
    if (line === "" && !inReport) continue
    if (line.startsWith("Verification failed: ")) {
      inReport = true
      tail.length = 0
    }
    if (inReport) {
      if (tail.length < reportLines) tail.push(line)
      if (!statistic.test(line)) continue
    }
    if (statistic.test(line)) {
      isCounted = true
      count(statistics, line)
      continue
    }
    const entry = entryOf(line)
    entries.push(entry)
    // Twice as many as are kept, so that moving them is rare.
    if (entries.length >= 2 * keep + 2) dropped += entries.splice(0, entries.length - keep).length
    switch (entry._tag) {
      case "Instruction": {
        first ??= entry.at
        if (last?.text.startsWith("call ") === true && entry.at === last.at + 1) known.called()
        last = { at: entry.at, text: entry.text }
        if (above !== undefined) source = above
        complaint = []
        const said = entry.state === undefined ? jump.exec(line)?.[2] : undefined
        if (said !== undefined) complaint.push(said)
        if (entry.state !== undefined) {
          // A jump changes what is known, and makes no number of a pointer: a call in front of it did.
          if (!/\bgoto pc/.test(entry.text)) known.change(entry.state)
          else if (entry.isWhole === true) known.replace(entry.state, true)
          else known.learn(entry.state)
        }
        break
      }
      case "State":
        known.replace(entry.state, true)
        break
      case "Branch":
        if (entry.state !== undefined) known.replace(entry.state, false)
        if (!entry.safe) complaint = []
        break
      case "Source":
        above = entry
        break
      case "Function":
        complaint = []
        break
      case "Precision":
        break
      case "Note":
        if (!progress.test(line)) complaint.push(line.trim())
        if (complaint.length > 2 * complaintLines) complaint.splice(0, complaint.length - complaintLines)
        break
    }
  }
  if (entries.length > keep) dropped += entries.splice(0, entries.length - keep).length
  const report = inReport ? VerifierLogReport.parse(tail, 0) : undefined
  return {
    raw,
    entries,
    dropped,
    complaint,
    ...(last === undefined ? {} : { instruction: last }),
    ...(source === undefined ? {} : { source: placeOf(source) }),
    registers: known.registers(),
    lost: known.lost(),
    frame: known.frame,
    ...(isCounted ? { statistics } : {}),
    ...(report === undefined ? {} : { report }),
    isCut: first !== undefined && first !== 0
  }
}

const placeOf = ({ file, line, text }: NonNullable<ParsedLog["source"]>): NonNullable<ParsedLog["source"]> => ({
  text,
  ...(file === undefined ? {} : { file }),
  ...(line === undefined ? {} : { line })
})
