/**
 * C literals and identifiers.
 */

/** Words that no identifier of C or C++ may be, and names that a light skeleton uses itself. */
export const reserved: ReadonlySet<string> = new Set(
  (
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl const constexpr const_cast " +
    "continue decltype default delete do double dynamic_cast else enum explicit export extern false float for friend " +
    "goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected " +
    "public register reinterpret_cast restrict return short signed sizeof static static_assert static_cast struct " +
    "switch template this thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned " +
    "using virtual void volatile wchar_t while xor xor_eq linux unix ctx maps progs links inputs keyring_id"
  ).split(" ")
)

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
