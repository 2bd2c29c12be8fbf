/**
 * The text of `prog dump jited`.
 */
import type { XlatedOptions } from "../json/XlatedDocument.ts"
import type { JitedFunction } from "../prog/Jited.ts"
import { clip } from "./Clip.ts"
import { hexBytes, hexDump } from "./HexDump.ts"
import { sourceText } from "./ProgsText.ts"
import { blank, type Line, line, span } from "./Text.ts"

const listing = ({ bytes, insns = [] }: JitedFunction, { linum, opcodes }: XlatedOptions): ReadonlyArray<Line> =>
  insns.flatMap(({ length, operands, operation, pc, source, target }) => [
    ...(source === undefined ? [] : [line(span("dim", `; ${sourceText(source, linum)}`))]),
    line(
      `${pc.toString(16).padStart(4)}: ${`${operation} ${operands.join(", ")}`.trimEnd()}`,
      ...(target === undefined ? [] : [" ", span("name", `<${clip(target)}>`)])
    ),
    ...(opcodes ? [line(span("dim", `      ${hexBytes(bytes.subarray(pc, pc + length))}`))] : [])
  ])

/** The lines of a listing; bytes where nothing took them apart. */
export const jitedText = (functions: ReadonlyArray<JitedFunction>, options: XlatedOptions): ReadonlyArray<Line> =>
  functions.flatMap((each, index) => [
    ...(index === 0 ? [] : [blank]),
    ...(each.proto === undefined ? [] : [line(span("heading", `${clip(each.proto)}:`))]),
    line(span("name", `${clip(each.name)}:`)),
    ...(each.insns === undefined ? hexDump(each.bytes) : listing(each, options))
  ])
