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

const HEX: ReadonlyArray<string> = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/**
 * Bytes as the inside of a string literal, in lines that a backslash continues. Zeros are `\0`: what follows is always an
 * escape, so that no digit can be taken for a part of one.
 */
export const escaped = (bytes: Uint8Array): string => {
  const lines: Array<string> = []
  let line = ""
  for (const byte of bytes) {
    const escape = byte === 0 ? "\\0" : `\\x${HEX[byte] ?? "00"}`
    if (line.length + escape.length > WIDTH) {
      lines.push(line)
      line = ""
    }
    line += escape
  }
  lines.push(line)
  return lines.join("\\\n")
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
