/**
 * The format strings of `bpf_trace_printk`, `bpf_trace_vprintk` and `bpf_snprintf`.
 *
 * Directives: `%d %i %u %x %X` with `l` or `ll`, `%c`, `%s`, `%pks`, `%pus` (strings in memory), `%p %pK %px` (pointers),
 * `%ps %pS %pB` (symbols: their address, since there are none), `%pi4 %pI4 %pi6 %pI6` (internet addresses in memory), `%%`;
 * flags `0 + - space` and a width. `%p` shows the virtual machine's address, the kernel a hash of its own.
 *
 * Rules: `bpf_bprintf_prepare` in `kernel/bpf/helpers.c`, `bstr_printf` in `lib/vsprintf.c`.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"

/** What formatting needs of the memory that arguments point to. */
export interface Reader {
  /** The bytes at an address, or undefined. */
  readonly bytes: (address: bigint, size: number) => Uint8Array | undefined
  /** The bytes before the NUL of the string at an address, `limit` at most; undefined where the memory ends before. */
  readonly string: (address: bigint, limit: number) => Uint8Array | undefined
}

/** Bytes that all arguments together may take, strings included. */
const argumentRoom = 512

// Bytes are told apart as the kernel does it, which takes those from 0x80 on for Latin-1.
const isSpace = (code: number): boolean => (code >= 9 && code <= 13) || code === 32 || code === 0xa0
const isDigit = (code: number): boolean => code >= 48 && code <= 57
const isLetter = (code: number): boolean =>
  (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || (code >= 0xc0 && code !== 0xd7 && code !== 0xf7)
const isAlnum = (code: number): boolean => isDigit(code) || isLetter(code)
const isPunct = (code: number): boolean =>
  (code > 32 && code < 127 && !isAlnum(code)) || (code > 0xa0 && code < 0xc0) || code === 0xd7 || code === 0xf7
/** Whether a format may hold this byte: all but control characters of ASCII. */
const isText = (code: number): boolean => code >= 128 || isSpace(code) || (code >= 32 && code < 127)
const codeOf = (character: string): number => character.charCodeAt(0)

/** Whether a directive may end before this byte. */
const isEnd = (code: number): boolean => code === 0 || isSpace(code) || isPunct(code)

const MINUS = codeOf("-")
const PLUS = codeOf("+")
const SPACE = codeOf(" ")
const ZERO = codeOf("0")

interface Directive {
  readonly kind: "number" | "char" | "string" | "pointer" | "symbol" | "address"
  /** Of a number: `d i u x X`; of an address: `i4 I4 i6 I6`. */
  readonly type: string
  /** Of a number: 4 or 8 bytes. */
  readonly size: number
  readonly minus: boolean
  readonly plus: boolean
  readonly space: boolean
  readonly zero: boolean
  readonly width: number
  /** Where the format goes on. */
  readonly next: number
}

/** A piece of text that grows up to a limit, and remembers how long it would have become. */
interface Text {
  readonly bytes: Uint8Array
  /** What the buffer has with its NUL. */
  readonly size: number
  length: number
}

const put = (text: Text, code: number): void => {
  if (text.length < text.bytes.length) text.bytes[text.length] = code
  text.length++
}

const putAll = (text: Text, bytes: Uint8Array): void => {
  for (const code of bytes) put(text, code)
}

/** Text that was made before the rest: what lies behind the buffer is not even counted. */
const putMade = (text: Text, bytes: Uint8Array): void => {
  if (text.length < text.size) putAll(text, bytes)
}

const pad = (text: Text, code: number, count: number): void => {
  if (count <= 0) return
  if (text.length < text.bytes.length) {
    text.bytes.fill(code, text.length, Math.min(text.bytes.length, text.length + count))
  }
  text.length += count
}

/** The widest field. */
const maximumWidth = 0x7f_ffff

/** Reads the directive after the `%` at `at - 1`; undefined where it is none that is allowed. */
const directiveAt = (format: Uint8Array, at: number): Directive | undefined => {
  const code = (index: number): number => format[index] ?? 0
  let minus = false
  let plus = false
  let space = false
  let zero = false
  let index = at
  for (;; index++) {
    if (code(index) === MINUS) minus = true
    else if (code(index) === PLUS) plus = true
    else if (code(index) === SPACE) space = true
    else if (code(index) === ZERO) zero = true
    else break
  }
  let width = 0
  for (; isDigit(code(index)); index++) width = Math.min(maximumWidth, width * 10 + code(index) - ZERO)
  const common = { minus, plus, space, zero, width }
  const character = String.fromCharCode(code(index))
  if (character === "p") return pointerAt(format, index + 1, common)
  if (character === "s") {
    return isEnd(code(index + 1)) ? { ...common, kind: "string", type: "s", size: 0, next: index + 1 } : undefined
  }
  if (character === "c") return { ...common, kind: "char", type: "c", size: 1, next: index + 1 }
  const longs = code(index) !== codeOf("l") ? 0 : code(index + 1) === codeOf("l") ? 2 : 1
  const size = longs === 0 ? 4 : 8
  index += longs
  const type = String.fromCharCode(code(index))
  return "diuxX".includes(type) ? { ...common, kind: "number", type, size, next: index + 1 } : undefined
}

type Common = Pick<Directive, "minus" | "plus" | "space" | "zero" | "width">

/** Reads what follows `%p`. */
const pointerAt = (format: Uint8Array, at: number, common: Common): Directive | undefined => {
  const code = (index: number): number => format[index] ?? 0
  // Letters and digits behind a pointer belong to it, whatever they are.
  const after = (index: number): number => {
    let end = index
    while (isAlnum(code(end))) end++
    return end
  }
  const first = String.fromCharCode(code(at))
  const second = String.fromCharCode(code(at + 1))
  if (isEnd(code(at))) return { ...common, kind: "pointer", type: "p", size: 8, next: at }
  if ((first === "k" || first === "u") && second === "s") {
    return isEnd(code(at + 2)) ? { ...common, kind: "string", type: "ks", size: 0, next: at + 2 } : undefined
  }
  if (first === "K" || first === "x") return { ...common, kind: "pointer", type: first, size: 8, next: after(at) }
  if (first === "s" || first === "S" || first === "B") {
    return { ...common, kind: "symbol", type: first, size: 8, next: after(at) }
  }
  if ((first === "i" || first === "I") && (second === "4" || second === "6")) {
    return { ...common, kind: "address", type: first + second, size: 0, next: after(at) }
  }
  return undefined
}

/** What a format makes of its arguments. */
export interface Formatted {
  /** The text, cut to what fits in before the NUL. */
  readonly bytes: Uint8Array
  /** How long it would be without the cut; pieces that were made beforehand (addresses, `%pks`, `%pB`) do not count behind it. */
  readonly length: number
}

/**
 * Formats arguments for a buffer of `size` bytes, the NUL included. Answers `-EINVAL` for a format that is not allowed, or that wants
 * more arguments than there are, `-ENOSPC` where the arguments take too much room. `format` ends before its NUL.
 */
export const format = (
  format: Uint8Array,
  args: ReadonlyArray<bigint>,
  size: number,
  reader: Reader
): Formatted | number => {
  const text: Text = { bytes: new Uint8Array(Math.max(0, size - 1)), size, length: 0 }
  let used = 0
  let argument = 0
  for (let at = 0; at < format.length;) {
    const code = format[at] ?? 0
    if (!isText(code)) return -numbers.EINVAL
    at++
    if (code !== codeOf("%")) {
      put(text, code)
      continue
    }
    if (format[at] === codeOf("%")) {
      put(text, code)
      at++
      continue
    }
    if (argument >= args.length) return -numbers.EINVAL
    const directive = directiveAt(format, at)
    if (directive === undefined) return -numbers.EINVAL
    const room = argumentRoom - used
    const value = args[argument++] ?? 0n
    const taken = write(text, directive, value, room, reader)
    if (taken < 0) return -numbers.ENOSPC
    // Numbers are 4-byte aligned.
    used = directive.kind === "number" || directive.kind === "pointer" || directive.kind === "symbol"
      ? Math.ceil(used / 4) * 4 + taken
      : used + taken
    if (used > argumentRoom) return -numbers.ENOSPC
    at = directive.next
  }
  return { bytes: text.bytes.subarray(0, Math.min(text.bytes.length, text.length)), length: text.length }
}

/** Writes one argument and answers the room that it takes, -1 where there is none. */
const write = (text: Text, directive: Directive, value: bigint, room: number, reader: Reader): number => {
  switch (directive.kind) {
    case "number":
      writeNumber(text, directive, value)
      return directive.size
    case "char":
      if (room < 1) return -1
      padded(text, directive, Uint8Array.of(Number(value & 0xffn)))
      return 1
    case "string": {
      if (room < 1) return -1
      const bytes = reader.string(value, room - 1)
      const own = bytes ?? new Uint8Array(0)
      if (directive.type === "s") padded(text, directive, own)
      // Strings of pointers were made before the width is looked at.
      else putMade(text, own)
      return own.length + 1
    }
    case "pointer":
      // Without a width all digits are shown.
      if (directive.width === 0) writeNumber(text, { ...directive, ...wholePointer, zero: !directive.minus }, value)
      else writeNumber(text, { ...directive, ...plainPointer }, value)
      return 8
    case "symbol": {
      const name = ascii(`0x${value.toString(16)}`)
      if (directive.type === "B") {
        putMade(text, name)
        return name.length + 1
      }
      padded(text, directive, name)
      return 8
    }
    case "address": {
      const size = directive.type.endsWith("4") ? 4 : 16
      if (room < size) return -1
      const shown = ascii(addressText(directive.type, reader.bytes(value, size) ?? new Uint8Array(size)))
      putMade(text, shown)
      return shown.length + 1
    }
  }
}

const plainPointer = { type: "x", size: 8 } as const
const wholePointer = { ...plainPointer, width: 16 } as const

const ascii = (text: string): Uint8Array => Uint8Array.from(text, codeOf)

const padded = (text: Text, { minus, width }: Directive, bytes: Uint8Array): void => {
  if (!minus) pad(text, SPACE, width - bytes.length)
  putAll(text, bytes)
  if (minus) pad(text, SPACE, width - bytes.length)
}

const writeNumber = (text: Text, { minus, plus, size, space, type, width, zero }: Directive, value: bigint): void => {
  const bits = size * 8
  const isSigned = type === "d" || type === "i"
  const number = isSigned ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value)
  const magnitude = number < 0n ? -number : number
  const hex = type === "x" || type === "X"
  const digits = magnitude.toString(hex ? 16 : 10)
  const sign = !isSigned ? "" : number < 0n ? "-" : plus ? "+" : space ? " " : ""
  const missing = width - sign.length - digits.length
  if (!minus && !zero) pad(text, SPACE, missing)
  putAll(text, ascii(sign))
  if (!minus && zero) pad(text, ZERO, missing)
  putAll(text, ascii(type === "X" ? digits.toUpperCase() : digits))
  if (minus) pad(text, SPACE, missing)
}

/** An internet address: `i4` and `i6` with leading zeros and no separators of their own, as the kernel's `%pi4`, `%pI6`. */
const addressText = (type: string, bytes: Uint8Array): string => {
  switch (type) {
    case "I4":
      return Array.from(bytes, String).join(".")
    case "i4":
      return Array.from(bytes, (byte) => String(byte).padStart(3, "0")).join(".")
    default: {
      const words = Array.from({ length: 8 }, (_, at) => ((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0))
      return words.map((word) => word.toString(16).padStart(4, "0")).join(type === "I6" ? ":" : "")
    }
  }
}
