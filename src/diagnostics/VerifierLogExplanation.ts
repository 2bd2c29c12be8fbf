/**
 * A refused program explained: the line of C with the place in it, the instruction, what the verifier knew there, the
 * branches by which it came there, and what to change. As data; `prog load` shows it as text.
 *
 * Everything in it comes from a log or an object, which may hold anything: texts are cut to lengths that people read, but
 * control characters stay in them. Whoever prints them on a terminal escapes them.
 */
import * as VerifierLogCause from "./VerifierLogCause.ts"
import type { CauseId } from "./VerifierLogCauses.ts"
import * as VerifierLogParse from "./VerifierLogParse.ts"
import * as VerifierLogPath from "./VerifierLogPath.ts"
import type { Register } from "./VerifierLogState.ts"
import * as VerifierLogWords from "./VerifierLogWords.ts"

/** What is known of a refusal: a `VerifierError`, or a log alone. */
export interface Refusal {
  readonly program: string
  readonly log: string
  /** The instruction that the complaint is about, in slots of the whole program, and its line of C, where the object tells. */
  readonly instruction?: number
  readonly file?: string
  /** Counted from 1, as is `column`, which counts bytes of the line as it was before the blanks around it were removed. */
  readonly line?: number
  readonly column?: number
  /** How many bytes of blanks were removed in front of `source`. */
  readonly indent?: number
  readonly source?: string
  readonly hint?: string
}

/** A line of C, and the part of it that is meant. */
export interface Place {
  readonly file?: string
  readonly line?: number
  readonly column?: number
  /** The line, without the blanks around it. */
  readonly text: string
  /** The part that is meant, as positions in `text`; absent where only the line is known. */
  readonly caret?: { readonly start: number; readonly end: number }
}

/** What the verifier knew of a register or a stack slot that the instruction uses. */
export interface Known {
  /** `r0`, `fp-8` */
  readonly name: string
  /** `NULL or a value of map flows of 16 bytes` */
  readonly words: string
  /** As the kernel wrote it; empty for what it did not know at all. */
  readonly text: string
}

/** Another place that the complaint speaks of. */
export interface Related {
  /** What it has to do with it: `the reference was acquired here`. */
  readonly what: string
  readonly at: number
  readonly place?: Place
}

/** A refusal, explained. What is not known is absent or empty. */
export interface Explanation {
  readonly program: string
  readonly cause?: { readonly id: CauseId; readonly title: string; readonly subject?: string }
  /** The verifier's own words, in one line. */
  readonly complaint: string
  /** Why, in the sentence of newer kernels. */
  readonly reason?: string
  readonly place?: Place
  /** The instruction that the verifier looked at last, in slots of the whole program. */
  readonly instruction?: { readonly at: number; readonly text?: string }
  /** What was known of what the instruction uses; what the complaint names comes first. */
  readonly known: ReadonlyArray<Known>
  readonly related: ReadonlyArray<Related>
  /** The last branches on the way there, the first one first. */
  readonly path: ReadonlyArray<VerifierLogPath.Branch>
  /** How many branches in front of them are left out. */
  readonly pathBefore: number
  /** What to change. */
  readonly advice?: string
}

/** Of longer logs only the end is looked at, in characters: it says why, and the beginning is the way there. */
export const maximumLog = 0x4_0000

/** Texts of the explanation are at most this long. */
const longestText = 1000

/** How many branches are told. */
const shownBranches = 5

/** How many registers and stack slots are told. */
const shownKnown = 8

const cut = (text: string): string => text.length <= longestText ? text : `${text.slice(0, longestText)}…`

/** The position in a text of one of its bytes in UTF-8. */
const positionOf = (text: string, byte: number): number => {
  let bytes = 0
  for (let at = 0; at < text.length;) {
    if (bytes >= byte) return at
    const point = text.codePointAt(at) ?? 0
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x1_0000 ? 3 : 4
    at += point < 0x1_0000 ? 1 : 2
  }
  return text.length
}

/** Where the parenthesis that opens at `at` is closed; `undefined` where it is not within the line. */
const closing = (text: string, at: number): number | undefined => {
  let depth = 0
  for (let end = at; end < text.length; end++) {
    if (text[end] === "(") depth++
    else if (text[end] === ")" && --depth === 0) return end + 1
  }
  return undefined
}

/** The end of what begins at `start`: a word, with its arguments where it is called; an operator; else one character. */
const endOf = (text: string, start: number): number => {
  const rest = text.slice(start)
  const word = /^[\p{L}\p{N}_]+/u.exec(rest)?.[0]
  if (word === undefined) return start + (/^[-+*/%&|^<>=!~]+/.exec(rest)?.[0].length ?? 1)
  const end = start + word.length
  const open = /^\s*\(/.exec(text.slice(end))
  return open === null ? end : closing(text, end + open[0].length - 1) ?? end
}

/** A line and the part of it at this byte. */
const placeOf = (
  { column, file, indent, line, source }: Pick<Refusal, "column" | "file" | "indent" | "line" | "source">
): Place | undefined => {
  if (source === undefined && file === undefined) return undefined
  const text = cut(source ?? "")
  const byte = column === undefined || column < 1 || indent === undefined ? -1 : column - 1 - indent
  const start = byte < 0 ? -1 : positionOf(text, byte)
  return {
    ...(file === undefined || file === "" ? {} : { file: cut(file) }),
    ...(line === undefined || line < 1 ? {} : { line }),
    ...(column === undefined || column < 1 ? {} : { column }),
    text,
    ...(start < 0 || start >= text.length ? {} : { caret: { start, end: Math.min(text.length, endOf(text, start)) } })
  }
}

const registerName = (name: string): string => `R${name}`

/** The registers that an instruction reads, as the log names them. */
const usedBy = (text: string): ReadonlyArray<string> => {
  // What a call takes and a return gives back matters where the complaint names it.
  if (text.startsWith("call ") || text.startsWith("exit")) return []
  const read = text.replace(/^[rw]\d{1,2} = /, "")
  return [...read.slice(0, longestText).matchAll(/\b[rw](10|\d)\b/g)].map(([, name]) => registerName(name ?? ""))
}

/** The stack slots that an instruction uses through these registers, as the log names them. */
const slotsOf = (text: string, registers: ReadonlyMap<string, Register>, used: ReadonlyArray<string>) => {
  const slot = (register: Register | undefined, offset: number): ReadonlyArray<string> => {
    if (register?.type !== "fp") return []
    const off = Number(register.known.get("off") ?? 0) + offset
    return Number.isSafeInteger(off) && off < 0 ? [`fp${Math.floor(off / 8) * 8}`] : []
  }
  const isCall = text.startsWith("call ")
  const access = /\*\(u\d{1,2} \*\)\(r(10|\d) ([+-]\d{1,6})\)/.exec(text)
  // A store does not care for what was there.
  if (access !== null && !text.startsWith("*(")) {
    return slot(registers.get(registerName(access[1] ?? "")), Number(access[2]))
  }
  return isCall ? used.flatMap((name) => slot(registers.get(name), 0)) : []
}

/**
 * What a complaint itself says of a packet pointer, `R1(id=0,off=23,r=14)`: a check of one pointer tells of its copies, too, and
 * the log does not say so.
 */
const withChecked = (register: Register, complaint: string): Register => {
  if (register.type !== "pkt") return register
  for (const [, name, checked] of complaint.matchAll(/\b(R\d)\(id=\d{1,9},off=-?\d{1,9},r=(\d{1,9})\)/g)) {
    if (name === register.name) return { ...register, known: new Map(register.known).set("r", checked ?? "") }
  }
  return register
}

const knownAt = (log: VerifierLogParse.ParsedLog, cause: VerifierLogCause.Cause | undefined): ReadonlyArray<Known> => {
  const text = log.instruction?.text ?? ""
  const registers = new Map(log.registers.map((register) => [register.name, register] as const))
  const complaint = log.complaint.join("; ").slice(0, longestText)
  const named = [...complaint.matchAll(/\bR(10|\d)\b|\barg#([0-4])\b/g)].map(([name, , argument]) =>
    argument === undefined ? name : registerName(String(Number(argument) + 1))
  )
  const used = usedBy(text).filter((name) => name !== "R10")
  const names = [...new Set([...named, ...used, ...slotsOf(text, registers, [...named, ...used])])]
  const isLost = cause?.id === "InvalidatedPointer"
  return names.slice(0, shownKnown).flatMap((name): ReadonlyArray<Known> => {
    const lost = isLost && cause.register?.name === name ? cause.register : undefined
    const register = lost ?? registers.get(name)
    const shown = register === undefined ? name.replace("R", "r") : VerifierLogWords.nameOf(register)
    if (register === undefined) {
      return named.includes(name) && cause?.id === "UninitialisedRead"
        ? [{ name: shown, words: "never written on this path", text: "" }]
        : []
    }
    const words = VerifierLogWords.describe(withChecked(register, complaint))
    return [{ name: shown, words: lost === undefined ? words : `no longer ${words}`, text: cut(register.text) }]
  })
}

/** The instruction of a number, and its line of C, by the last time that the log tells of it. */
const relatedAt = (log: VerifierLogParse.ParsedLog, at: number, what: string): Related => {
  let source: Parameters<typeof placeOf>[0] | undefined
  let found: typeof source
  for (const entry of log.entries) {
    if (entry._tag === "Source") {
      const { file, line, text } = entry
      source = { source: text, ...(file === undefined ? {} : { file }), ...(line === undefined ? {} : { line }) }
    } else if (entry._tag === "Instruction" && entry.at === at) found = source
  }
  const place = found === undefined ? undefined : placeOf(found)
  return { what, at, ...(place === undefined ? {} : { place }) }
}

/** What else a complaint speaks of. */
const relatedOf = (log: VerifierLogParse.ParsedLog): ReadonlyArray<Related> => {
  const complaint = log.complaint.join("; ").slice(0, longestText)
  const acquired = /\balloc_insn=(\d{1,9})/.exec(complaint)?.[1]
  const loop = /back-edge from insn (\d{1,9}) to|infinite loop detected at insn (\d{1,9})/.exec(complaint)
  return [
    ...(acquired === undefined ? [] : [relatedAt(log, Number(acquired), "the reference was acquired here")]),
    ...(loop === null ? [] : [relatedAt(log, Number(loop[1] ?? loop[2]), "the loop is here")])
  ]
}

const branchOf = ({ source, ...branch }: VerifierLogPath.Branch): VerifierLogPath.Branch => ({
  ...branch,
  condition: cut(branch.condition),
  ...(source === undefined ? {} : { source: { ...source, text: cut(source.text) } })
})

/** The place that a log names: the line above the instruction, or that of the report of newer kernels, which has a column. */
const inLog = ({ report, source }: VerifierLogParse.ParsedLog): Parameters<typeof placeOf>[0] => {
  if (source === undefined) return report?.at ?? {}
  const { file, line, text } = source
  return { source: text, ...(file === undefined ? {} : { file }), ...(line === undefined ? {} : { line }) }
}

/** Explains a refusal. Of a log of more than `maximumLog` characters the end is read; the rest is not looked at. */
export const of = (refusal: Refusal): Explanation => {
  const log = VerifierLogParse.parse(refusal.log.slice(-maximumLog), { keep: 100_000 })
  const cause = VerifierLogCause.causeOf(log)
  const place = placeOf(refusal) ?? placeOf(inLog(log))
  const last = log.instruction
  const instruction = refusal.instruction ?? last?.at
  const path = VerifierLogPath.of(log.entries)
  const advice = refusal.hint ?? cause?.advice
  return {
    program: cut(refusal.program),
    ...(cause === undefined ? {} : {
      cause: {
        id: cause.id,
        title: cause.title,
        ...(cause.subject === undefined ? {} : { subject: cut(cause.subject) })
      }
    }),
    complaint: cut(cause?.complaint ?? log.complaint.join("; ")),
    ...(log.report?.reason === undefined ? {} : { reason: cut(log.report.reason) }),
    ...(place === undefined ? {} : { place }),
    ...(instruction === undefined ? {} : {
      instruction: {
        at: instruction,
        ...(last === undefined || last.at !== instruction ? {} : { text: cut(last.text) })
      }
    }),
    known: knownAt(log, cause),
    related: relatedOf(log),
    path: path.slice(-shownBranches).map(branchOf),
    pathBefore: Math.max(0, path.length - shownBranches),
    ...(advice === undefined ? {} : { advice: cut(advice) })
  }
}
