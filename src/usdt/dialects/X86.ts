/**
 * Arguments on x86-64 and i386, in AT&T syntax: `-4@%eax`, `8@-24(%rbp)`, `4@8(%rax,%rcx,4)`, `4@$1`.
 *
 * A 32-bit program under a 64-bit kernel has its registers saved as the 64-bit ones that they are the lower halves of, so
 * both grammars are one, and only the kernel tells the places.
 */
import { constant, type Dialect, integer, type Location, memory } from "./Dialect.ts"

/** Bytes from the start of `struct pt_regs`, by the name without a size. Source: arch/x86/include/asm/ptrace.h. */
const offsets64: Readonly<Record<string, number>> = {
  r15: 0,
  r14: 8,
  r13: 16,
  r12: 24,
  bp: 32,
  bx: 40,
  r11: 48,
  r10: 56,
  r9: 64,
  r8: 72,
  ax: 80,
  cx: 88,
  dx: 96,
  si: 104,
  di: 112,
  ip: 128,
  sp: 152
}

const offsets32: Readonly<Record<string, number>> = {
  bx: 0,
  cx: 4,
  dx: 8,
  si: 12,
  di: 16,
  bp: 20,
  ax: 24,
  ip: 48,
  sp: 60
}

/** The name of a register without its size: `ax` of `rax`, `eax`, `ax` and `al`; `r8` of `r8`, `r8d`, `r8w` and `r8b`. */
const family = (name: string): string | undefined => {
  const numbered = /^(r(?:8|9|1[0-5]))[dwb]?$/.exec(name)?.[1]
  if (numbered !== undefined) return numbered
  const lowByte = /^([abcd])l$/.exec(name)?.[1]
  if (lowByte !== undefined) return `${lowByte}x`
  const lowByteOfOther = /^(si|di|bp|sp)l$/.exec(name)?.[1]
  if (lowByteOfOther !== undefined) return lowByteOfOther
  if (name === "ip") return undefined
  return /^[re]?([abcd]x|si|di|bp|sp|ip)$/.exec(name)?.[1]
}

const registerOffset = (offsets: Readonly<Record<string, number>>) => (name: string, size: number) => {
  // The second byte of a register, which only arguments of one byte can be in.
  const highByte = /^([abcd])h$/.exec(name)?.[1]
  if (highByte !== undefined) {
    const low = offsets[`${highByte}x`]
    return size === 1 && low !== undefined ? low + 1 : undefined
  }
  const found = family(name)
  return found === undefined || (offsets === offsets32 && name.startsWith("r")) ? undefined : offsets[found]
}

const inRegister = /^%([a-z0-9]{1,8})$/
const inMemory = /^([+-]?\d{1,20})?\(\s*%([a-z0-9]{1,8})\s*\)$/
const indexed = /^([+-]?\d{1,20})?\(\s*%([a-z0-9]{1,8})\s*,\s*%([a-z0-9]{1,8})\s*(?:,\s*(\d{1,3})\s*)?\)$/

/** `counter(%rip)`, `counter+4(%rip)`, `4+counter(%rip)`. Names with `@` are of the linker's tables, not of variables. */
const bySymbol = /^(?:([+-]?\d{1,20})\+)?([A-Za-z_.$][\w.$]{0,254})([+-]\d{1,20})?\(\s*%rip\s*\)$/

const symbolOf = (text: string): Location | undefined => {
  const [, before = "0", symbol, behind = "0"] = bySymbol.exec(text) ?? []
  const [first, second] = [integer(before), integer(behind)]
  return symbol === undefined || first === undefined || second === undefined
    ? undefined
    : { _tag: "Symbol", symbol, offset: BigInt.asIntN(64, first + second) }
}

const scaleOf = (text: string | undefined): 1 | 2 | 4 | 8 | undefined => {
  const scale = text === undefined ? 1 : Number(text)
  return scale === 1 || scale === 2 || scale === 4 || scale === 8 ? scale : undefined
}

const read = (text: string): Location | undefined => {
  if (text.startsWith("$")) return constant(text.slice(1))
  const register = inRegister.exec(text)?.[1]
  if (register !== undefined) return { _tag: "Register", register }
  const plain = inMemory.exec(text)
  if (plain !== null) return memory(plain[2], plain[1])
  const found = indexed.exec(text)
  if (found === null) return symbolOf(text)
  const [, bytes, base, index, factor] = found
  const offset = bytes === undefined ? 0n : integer(bytes)
  const scale = scaleOf(factor)
  if (base === undefined || index === undefined || offset === undefined || scale === undefined) return undefined
  return { _tag: "Indexed", base, index, scale, offset }
}

const write = (location: Location): string => {
  switch (location._tag) {
    case "Constant":
      return `$${location.value}`
    case "Register":
      return `%${location.register}`
    case "Memory":
      return `${location.offset === 0n ? "" : location.offset}(%${location.base})`
    case "Indexed": {
      const { base, index, offset, scale } = location
      return `${offset === 0n ? "" : offset}(%${base},%${index},${scale})`
    }
    case "Symbol": {
      const { offset, symbol } = location
      return `${symbol}${offset === 0n ? "" : offset < 0n ? offset : `+${offset}`}(%rip)`
    }
  }
}

/** Arguments as a 64-bit kernel sees them. */
export const x86_64: Dialect = { read, write, registerOffset: registerOffset(offsets64) }

const without = (location: Location | undefined): Location | undefined =>
  location?._tag === "Symbol" ? undefined : location

/** Arguments as a 32-bit kernel sees them; there are no places relative to the instruction. */
export const i386: Dialect = {
  read: (text) => without(read(text)),
  write: (location) => location._tag === "Symbol" ? undefined : write(location),
  registerOffset: registerOffset(offsets32)
}
