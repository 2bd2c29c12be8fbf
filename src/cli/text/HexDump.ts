/**
 * Bytes for people: offset, hexadecimal, printable characters, as `hexdump -C` has them.
 */
import { type Line, line, span } from "./Text.ts"

const perLine = 16

const hex = (byte: number): string => byte.toString(16).padStart(2, "0")

const printable = (byte: number): string => byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "."

const halves = (bytes: Uint8Array): string =>
  [bytes.subarray(0, 8), bytes.subarray(8)].map((half) => Array.from(half, hex).join(" ")).join("  ")

const columns = halves(new Uint8Array(perLine)).length

/** Sixteen bytes a line; at most `limit` bytes, then how many more there are. */
export const hexDump = (bytes: Uint8Array, limit = 4096): ReadonlyArray<Line> => {
  const shown = bytes.subarray(0, limit)
  const lines: Array<Line> = []
  for (let at = 0; at < shown.length; at += perLine) {
    const row = shown.subarray(at, at + perLine)
    const text = Array.from(row, printable).join("")
    lines.push(
      line("  ", span("dim", at.toString(16).padStart(8, "0")), `  ${halves(row).padEnd(columns)}  `, `|${text}|`)
    )
  }
  if (shown.length < bytes.length) lines.push(line(span("dim", `  … ${bytes.length - shown.length} more bytes`)))
  return lines
}

/** Bytes in one line, such as `17 00 00 00`; at most `limit` of them, then an ellipsis. */
export const hexBytes = (bytes: Uint8Array, limit = 16): string =>
  Array.from(bytes.subarray(0, limit), hex).join(" ") + (bytes.length > limit ? " …" : "")
