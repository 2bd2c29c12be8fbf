/**
 * What the verifier's log says of registers and stack slots: `R1_w=scalar(umax=255,var_off=(0x0; 0xff)) fp-8=mmmmmmmm`.
 *
 * The wording changes from kernel to kernel (`inv`, later `scalar`; live marks `_rw`; precise values with a `P`), so a
 * value is kept as the kernel wrote it beside what was understood of it.
 *
 * Source: `kernel/bpf/log.c`, `print_verifier_state()`; before Linux 6.4 `kernel/bpf/verifier.c`.
 */

/** A register or a stack slot at one point of a program. */
export interface Register {
  /** `R0` to `R10`, or a stack slot by its distance from the frame pointer: `fp-8`. */
  readonly name: string
  /** The value as the kernel wrote it. */
  readonly text: string
  /**
   * What kind of value it is, in the kernel's words: `scalar`, `ctx`, `map_value_or_null`, `fp`, `pkt`, … Constants are
   * `scalar`; a stack slot of plain bytes is `bytes`.
   */
  readonly type: string
  /** The number, where only one is possible. */
  readonly constant?: bigint
  /** What is known of it by name: `id`, `off`, `ks`, `vs`, `umin`, `umax`, `var_off`, … */
  readonly known: ReadonlyMap<string, string>
}

/** Registers and stack slots that a line tells of. */
export interface State {
  /** Which function's: 0 is the program's own, 1 that of a function that it calls, and so on. */
  readonly frame: number
  readonly registers: ReadonlyArray<Register>
  /** Numbers of acquired references that are not released yet. */
  readonly references: ReadonlyArray<number>
}

const place = /^(R(?:\d|10)|fp-?\d{1,5})(?:_[a-zA-Z]{1,4})?=/

/** A longer word of a state is no value but rubbish. */
const longestWord = 4096

/** The words of a line: at spaces, but not at those within parentheses. */
const wordsOf = (text: string): ReadonlyArray<string> => {
  const words: Array<string> = []
  let start = 0
  let depth = 0
  for (let at = 0; at <= text.length; at++) {
    const code = at === text.length ? 0x20 : text.charCodeAt(at)
    if (code === 0x28) depth++
    else if (code === 0x29 && depth > 0) depth--
    else if (code === 0x20 && (depth === 0 || at === text.length)) {
      if (at > start) words.push(text.slice(start, at))
      start = at + 1
    }
  }
  return words
}

/** `umin=1,smax=umax=0xff,var_off=(0x0; 0xff)`: what is known, by name. A chain of names shares its value. */
const attributesOf = (text: string): ReadonlyMap<string, string> => {
  const known = new Map<string, string>()
  let start = 0
  let depth = 0
  for (let at = 0; at <= text.length; at++) {
    const code = at === text.length ? 0x2c : text.charCodeAt(at)
    if (code === 0x28) depth++
    else if (code === 0x29 && depth > 0) depth--
    else if (code === 0x2c && (depth === 0 || at === text.length)) {
      const parts = text.slice(start, at).split("=")
      const value = parts.pop() ?? ""
      for (const name of parts) known.set(name, value)
      start = at + 1
    }
  }
  return known
}

const integer = /^(-?\d{1,20}|-?0x[0-9a-f]{1,16})$/

const constantOf = (text: string): bigint | undefined => {
  if (!integer.test(text)) return undefined
  return text.startsWith("-0x") ? -BigInt(text.slice(1)) : BigInt(text)
}

/** A value as the kernel writes it; `name` says whether it may be bytes of the stack. */
export const register = (name: string, text: string): Register => {
  // Values that have to be exact for the outcome are marked.
  // Bytes of a slot that were never written stand in front of what a smaller write left.
  const written = name.startsWith("fp") && /^\?{1,7}[^?]/.test(text) ? text.replace(/^\?+/, "") : text
  const plain = written.startsWith("P") ? written.slice(1) : written
  const old = /^inv(P?)(-?\d+)?/.exec(plain)
  const constant = old?.[2] === undefined ? constantOf(plain) : constantOf(old[2])
  if (constant !== undefined) return { name, text, type: "scalar", constant, known: new Map() }
  const open = plain.indexOf("(")
  const head = open < 0 ? plain : plain.slice(0, open)
  const inside = open < 0 ? "" : plain.slice(open + 1, plain.endsWith(")") ? -1 : undefined)
  // Eight bytes of a slot: misc, zero, invalid, spilled, dynptr, iterator, …
  if (open < 0 && name.startsWith("fp") && /^[?0mrdifS]{8}$/.test(head)) {
    return { name, text, type: "bytes", known: new Map() }
  }
  // Of a caller's stack, too: `fp[0]-8`.
  const offset = /^fp(?:\[\d{1,2}\])?(-?\d{1,20}|0x[0-9a-f]{1,16})?$/.exec(head)
  const known = new Map(attributesOf(inside))
  if (offset?.[1] !== undefined) {
    known.set("off", offset[1].startsWith("0x") ? String(BigInt.asIntN(64, BigInt(offset[1]))) : offset[1])
  }
  const type = old !== null ? "scalar" : offset !== null ? "fp" : head
  const imm = known.get("imm")
  const fixed = type === "scalar" && imm !== undefined && known.size === 1 ? constantOf(imm) : undefined
  return { name, text, type, ...(fixed === undefined ? {} : { constant: fixed }), known }
}

/** The registers and stack slots of a text; `undefined` where it tells of none. */
export const parse = (text: string): State | undefined => {
  const registers: Array<Register> = []
  const references: Array<number> = []
  let frame = 0
  for (const word of wordsOf(text)) {
    const inFrame = /^frame(\d{1,2}):$/.exec(word)
    if (inFrame !== null) {
      frame = Number(inFrame[1])
      continue
    }
    const found = place.exec(word)
    if (found !== null && word.length <= longestWord) {
      registers.push(register(found[1] ?? "", word.slice(found[0].length)))
      continue
    }
    const held = /^refs=([\d,]{1,200})$/.exec(word)
    if (held !== null) references.push(...(held[1] ?? "").split(",").filter((id) => id !== "").map(Number))
  }
  return registers.length === 0 && references.length === 0 ? undefined : { frame, registers, references }
}
