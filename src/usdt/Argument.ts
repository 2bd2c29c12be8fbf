/**
 * The arguments of a probe, as the text of its note tells where they are: `8@%rdi -4@-20(%rbp) 4@$7`.
 *
 * Each is a size in bytes, negative where the value is signed, and a location in the assembler's syntax of the architecture.
 * The text is divided into arguments first, at blanks outside of brackets, so that no argument can swallow its neighbour.
 *
 * Source: reference page `usdt`, section 7.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import * as C from "../services/Elf/ElfConstants.ts"
import { arm } from "./dialects/Arm.ts"
import { arm64 } from "./dialects/Arm64.ts"
import type { Dialect, Location } from "./dialects/Dialect.ts"
import { riscv64 } from "./dialects/Riscv.ts"
import { s390x } from "./dialects/S390x.ts"
import { i386, x86_64 } from "./dialects/X86.ts"
import { isUsdtError, refuse, type UsdtError } from "./UsdtError.ts"

export type { Location } from "./dialects/Dialect.ts"

/** The machines whose arguments are understood. */
export type Architecture = "x86-64" | "i386" | "arm64" | "arm" | "s390x" | "riscv64"

const dialects: Readonly<Record<Architecture, Dialect>> = { "x86-64": x86_64, i386, arm64, arm, s390x, riscv64 }

/** All of them. */
export const architectures: ReadonlyArray<Architecture> = ["x86-64", "i386", "arm64", "arm", "s390x", "riscv64"]

/** The architecture of an ELF file by its machine (`e_machine`) and class; `undefined` where its arguments are not understood. */
export const architectureOf = (machine: number, is64: boolean): Architecture | undefined => {
  switch (machine) {
    case C.EM_X86_64:
      return is64 ? "x86-64" : undefined
    case C.EM_386:
      return is64 ? undefined : "i386"
    case C.EM_AARCH64:
      return is64 ? "arm64" : undefined
    case C.EM_ARM:
      return is64 ? undefined : "arm"
    case C.EM_S390:
      return is64 ? "s390x" : undefined
    case C.EM_RISCV:
      return is64 ? "riscv64" : undefined
    default:
      return undefined
  }
}

/** One argument. */
export interface Argument {
  /** Bytes. */
  readonly size: 1 | 2 | 4 | 8
  readonly signed: boolean
  readonly location: Location
}

/** The arguments with variables by their places relative to a probe at `address`; refuses those that are not known. */
export const relativeTo = (
  address: bigint,
  parts: ReadonlyArray<Argument>,
  symbols: ReadonlyMap<string, bigint | "ambiguous">
): Result.Result<ReadonlyArray<Argument>, UsdtError> =>
  attempt(isUsdtError, () =>
    parts.map((part, argument) => {
      if (part.location._tag !== "Symbol") return part
      const { offset, symbol } = part.location
      const found = symbols.get(symbol)
      if (typeof found !== "bigint") {
        return refuse("Argument", found === undefined ? `no symbol ${symbol}` : `several symbols ${symbol}`, {
          argument,
          hint: found === undefined ? "the file has been stripped of its symbols" : "static variables of one name"
        })
      }
      return { ...part, location: { _tag: "Memory", base: "rip", offset: BigInt.asIntN(64, found + offset - address) } }
    }))

/** More than any map of a BPF object holds; a text with more of them is refused unread. */
const ARGUMENT_LIMIT = 64

/**
 * The texts of the single arguments. Blanks within brackets, and around `@`, divide nothing. A text that is empty or begins with
 * `:` has none.
 */
export const split = (text: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  if (text.startsWith(":")) return found
  let open = 0
  let start = -1
  for (let at = 0; at <= text.length; at++) {
    const letter = text[at]
    const blank = letter === undefined || letter === " " || (letter >= "\t" && letter <= "\r")
    if (letter === "(" || letter === "[") open++
    else if ((letter === ")" || letter === "]") && open > 0) open--
    if (!blank) {
      if (start < 0) start = at
      continue
    }
    if (start < 0 || (open > 0 && letter !== undefined)) continue
    if (letter !== undefined && (text[at - 1] === "@" || nextLetter(text, at) === "@")) {
      // Go on behind the blanks, of which each is looked at once.
      while (isBlank(text[at + 1])) at++
      continue
    }
    found.push(text.slice(start, at))
    start = -1
  }
  return found
}

const isBlank = (letter: string | undefined): boolean =>
  letter !== undefined && (letter === " " || (letter >= "\t" && letter <= "\r"))

/** The first letter that is no blank, from `at` on, if it is near: nobody writes more than a few blanks. */
const nextLetter = (text: string, at: number): string | undefined => {
  const end = Math.min(text.length, at + 8)
  for (let next = at; next < end; next++) if (!isBlank(text[next])) return text[next]
  return undefined
}

const isSize = (size: number): size is Argument["size"] => size === 1 || size === 2 || size === 4 || size === 8

const registersOf = (location: Location): ReadonlyArray<string> => {
  switch (location._tag) {
    case "Constant":
    case "Symbol":
      return []
    case "Register":
      return [location.register]
    case "Memory":
      return [location.base]
    case "Indexed":
      return [location.base, location.index]
  }
}

const readOne = (architecture: Architecture, text: string, argument: number): Argument => {
  const dialect = dialects[architecture]
  const sign = text.indexOf("@")
  const sizeText = sign < 0 ? "" : text.slice(0, sign).trimEnd()
  const number = /^([+-]?)(\d{1,3})$/.exec(sizeText)
  if (number === null) {
    const float = /^[+-]?\d{1,3}f$/.test(sizeText)
    return refuse("Argument", float ? "a floating-point number" : "not of the form SIZE@PLACE", {
      argument,
      text,
      ...(float ? { hint: "BPF programs cannot read floating-point registers" } : {})
    })
  }
  const size = Number(number[2])
  if (!isSize(size)) {
    return refuse("Argument", `${size} bytes`, { argument, text, hint: "arguments are of 1, 2, 4 or 8 bytes" })
  }
  const place = text.slice(sign + 1).trim()
  const location = dialect.read(place)
  if (location === undefined) {
    return refuse("Argument", `no place of an argument on ${architecture}`, { argument, text })
  }
  for (const register of registersOf(location)) {
    // What holds an address is a whole register.
    const bytes = location._tag === "Register" ? size : 8
    if (dialect.registerOffset(register, bytes) === undefined) {
      refuse("Register", `${register} is no register that BPF programs can read on ${architecture}`, { argument, text })
    }
  }
  return { size, signed: number[1] === "-", location }
}

/** The arguments that a note's text tells of. */
export const parse = (
  architecture: Architecture,
  text: string
): Result.Result<ReadonlyArray<Argument>, UsdtError> =>
  attempt(isUsdtError, () => {
    const texts = split(text)
    if (texts.length > ARGUMENT_LIMIT) {
      refuse("TooManyArguments", `${texts.length} arguments, the limit is ${ARGUMENT_LIMIT}`)
    }
    return texts.map((each, index) => readOne(architecture, each, index))
  })

/** The text of arguments: `parse` gives them back. Refuses locations that the architecture does not have. */
export const format = (
  architecture: Architecture,
  parts: ReadonlyArray<Argument>
): Result.Result<string, UsdtError> =>
  attempt(isUsdtError, () =>
    parts.map(({ location, signed, size }, argument) => {
      const place = dialects[architecture].write(location)
      return `${signed ? "-" : ""}${size}@${
        place ?? refuse("Argument", `${architecture} has no such place: ${location._tag}`, { argument })
      }`
    }).join(" "))

/** Where a register is in the `struct pt_regs` of BPF programs under a kernel of this architecture, in bytes. */
export const registerOffset = (kernel: Architecture, register: string, size: number): number | undefined =>
  dialects[kernel].registerOffset(register, size)

/** The arguments on an architecture that may not be understood; `what` names it then. */
export const parseFor = (
  architecture: Architecture | undefined,
  text: string,
  what: string
): Result.Result<ReadonlyArray<Argument>, UsdtError> =>
  architecture === undefined
    ? attempt(isUsdtError, () => refuse("Architecture", `arguments of ${what} are not understood`))
    : parse(architecture, text)

/** The value of a constant as a program gets it, cut to the argument's size. */
export const constantOf = ({ signed, size }: Pick<Argument, "signed" | "size">, value: bigint): bigint =>
  signed ? BigInt.asIntN(size * 8, value) : BigInt.asUintN(size * 8, value)

/** An argument for people, with its type: `s32 eax`, `u64 [rbp - 24]`, `u32 [rax + rcx * 4 + 8]`, `s32 7`. */
export const describe = ({ location, signed, size }: Argument): string => {
  const width = `${signed ? "s" : "u"}${size * 8}`
  const plus = (offset: bigint): string => offset === 0n ? "" : offset < 0n ? ` - ${-offset}` : ` + ${offset}`
  switch (location._tag) {
    case "Constant":
      return `${width} ${constantOf({ signed, size }, location.value)}`
    case "Register":
      return `${width} ${location.register}`
    case "Memory":
      return `${width} [${location.base}${plus(location.offset)}]`
    case "Indexed":
      return `${width} [${location.base} + ${location.index} * ${location.scale}${plus(location.offset)}]`
    case "Symbol":
      return `${width} [${location.symbol}${plus(location.offset)}]`
  }
}
