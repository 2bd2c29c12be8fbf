/**
 * The branches by which the verifier came to where a program was refused.
 *
 * The verifier goes straight on at a jump and keeps the other side for later; `from 3 to 7` says that it has come back for
 * it. So the way to the last instruction is what is left when each return takes the jump that it returns to, and all that was
 * seen behind it, off the way.
 */
import type { Entry } from "./VerifierLogParse.ts"

/** A jump on the way to the refused instruction. */
export interface Branch {
  /** The instruction, in slots of the whole program. */
  readonly at: number
  /** What held there for the program to go this way: `r0 != 0x0`. */
  readonly condition: string
  readonly taken: boolean
  /** The line of C. */
  readonly source?: { readonly text: string; readonly file?: string; readonly line?: number }
}

/** A longer way is one through a loop: its beginning is forgotten. */
const longestWay = 1000

const jump = /^(if .{1,200}?) goto pc([+-]\d{1,6})$/

const opposites: ReadonlyMap<string, string> = new Map([
  ["==", "!="],
  ["!=", "=="],
  [">", "<="],
  ["<=", ">"],
  ["<", ">="],
  [">=", "<"],
  ["s>", "s<="],
  ["s<=", "s>"],
  ["s<", "s>="],
  ["s>=", "s<"]
])

/** What holds behind a jump, by the words of its instruction. */
const conditionOf = (words: string, taken: boolean): string => {
  const found = /^if (\S+) (==|!=|s?[<>]=?|&) (\S+)$/.exec(words)
  if (found === null) return taken ? words.replace(/^if /, "") : `not ${words.replace(/^if /, "")}`
  const [, left = "", operator = "", right = ""] = found
  if (operator === "&") return `(${left} & ${right}) ${taken ? "!=" : "=="} 0x0`
  return `${left} ${taken ? operator : opposites.get(operator) ?? operator} ${right}`
}

interface Step {
  readonly at: number
  readonly words: string
  readonly target: number
  taken: boolean | undefined
  source: Branch["source"]
}

/** The jumps on the way to the last instruction of a log, the first one first. Time is that of the entries. */
export const of = (entries: ReadonlyArray<Entry>): ReadonlyArray<Branch> => {
  let way: Array<Step> = []
  let source: Branch["source"]
  for (const entry of entries) {
    switch (entry._tag) {
      case "Source": {
        const { file, line, text } = entry
        source = { text, ...(file === undefined ? {} : { file }), ...(line === undefined ? {} : { line }) }
        break
      }
      case "Instruction": {
        const last = way.at(-1)
        if (last !== undefined && last.taken === undefined) last.taken = entry.at === last.target
        const found = jump.exec(entry.text)
        if (found === null) break
        const target = entry.at + 1 + Number(found[2])
        // Twice as many as are kept, so that moving them is rare.
        if (way.length >= 2 * longestWay) way = way.slice(-longestWay)
        way.push({ at: entry.at, words: found[1] ?? "", target, taken: undefined, source })
        break
      }
      case "Branch": {
        let last = way.length - 1
        while (last >= 0 && way[last]?.at !== entry.from) last--
        const step = way[last]
        // Where the log's beginning is missing, or after a call of a function, the jump is not among those that are known.
        if (step === undefined) break
        way.length = last + 1
        step.taken = entry.to === step.target
        break
      }
      case "Function":
        way = []
        break
      default:
        break
    }
  }
  return way.flatMap(({ at, source, taken, words }, position) =>
    // A loop that goes round by one jump is told once.
    taken === undefined || (way[position - 1]?.at === at && way[position - 1]?.taken === taken)
      ? []
      : [{ at, taken, condition: conditionOf(words, taken), ...(source === undefined ? {} : { source }) }]
  )
}
