/**
 * C literals and identifiers.
 */

const words = (text: string): ReadonlySet<string> => new Set(text.split(" "))

/** Keywords of C. */
export const keywordsOfC: ReadonlySet<string> = words(
  "asm auto break case char const continue default do double else enum extern float for goto if inline int long register " +
    "restrict return short signed sizeof static struct switch typedef typeof union unsigned void volatile while _Bool"
)

/** Words that no identifier of C may be: keywords, and macros that compilers and the C library's headers define. */
export const reservedInC: ReadonlySet<string> = new Set([
  ...keywordsOfC,
  ..."bool true false NULL errno linux unix offsetof".split(" ")
])

/** Words that are identifiers in C and none in C++. */
export const reservedInCxx: ReadonlySet<string> = words(
  "alignas alignof and and_eq bitand bitor catch class compl const_cast constexpr decltype delete dynamic_cast explicit " +
    "export friend mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public " +
    "reinterpret_cast static_assert static_cast template this thread_local throw try typeid typename using virtual wchar_t " +
    "xor xor_eq"
)

/** Words that no identifier of C or C++ may be, and names that a light skeleton uses itself. */
export const reserved: ReadonlySet<string> = new Set([
  ...reservedInC,
  ...reservedInCxx,
  ..."typeof_unqual ctx maps progs links inputs keyring_id".split(" ")
])

/** Columns of a line of a literal. */
const WIDTH = 78

const HEX = new TextEncoder().encode("0123456789abcdef")

const ZERO = 0x30
const X = 0x78
const BACKSLASH = 0x5c
const NEWLINE = 0x0a

/**
 * Bytes as the inside of a string literal, in lines that a backslash continues. Zeros are `\0`: what follows is always an
 * escape, so that no digit can be taken for a part of one.
 */
export const escaped = (bytes: Uint8Array): string => {
  // Escapes have four characters at most, so that a line has at least this many.
  const fewest = Math.floor(WIDTH / 4)
  const text = new Uint8Array(4 * bytes.length + 2 * Math.ceil(bytes.length / fewest))
  let at = 0
  let column = 0
  for (const byte of bytes) {
    const size = byte === 0 ? 2 : 4
    if (column + size > WIDTH) {
      text[at++] = BACKSLASH
      text[at++] = NEWLINE
      column = 0
    }
    text[at++] = BACKSLASH
    if (byte === 0) text[at++] = ZERO
    else {
      text[at++] = X
      text[at++] = HEX[byte >> 4] ?? 0
      text[at++] = HEX[byte & 15] ?? 0
    }
    column += size
  }
  return new TextDecoder().decode(text.subarray(0, at))
}

/** Text as a string literal. */
export const literal = (text: string): string => {
  const inside = [...new TextEncoder().encode(text)].map((byte) => {
    const char = String.fromCharCode(byte)
    return byte >= 0x20 && byte < 0x7f && !/["\\?]/.test(char) ? char : `\\${byte.toString(8).padStart(3, "0")}`
  })
  return `"${inside.join("")}"`
}

/** Text inside a comment. */
export const comment = (text: string): string =>
  text.replaceAll(/[^\x20-\x7e]/g, "?").replaceAll("*/", "* /").replaceAll("/*", "/ *")
