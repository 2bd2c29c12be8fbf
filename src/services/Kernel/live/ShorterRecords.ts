/**
 * Function and line records for kernels that know shorter ones than the object has.
 *
 * Such a kernel takes longer records when what it does not know in them is zero. Where it is not, it answers `E2BIG` and
 * writes the length that it knows into the attribute.
 *
 * Source: reference page `load`, section 9.5.
 */
import * as Arena from "../abi/Arena.ts"
import type * as Attr from "../abi/Attr.ts"
import * as Errno from "../abi/Errno.ts"
import type { InfoRecords, ProgLoad } from "../KernelCall.ts"

/** Records of the same length in which everything behind the first `known` bytes of each is zero. */
const withoutTails = ({ recordSize, records }: InfoRecords, known: number): InfoRecords => {
  const shortened = new Uint8Array(records)
  for (let at = 0; at < shortened.length; at += recordSize) shortened.fill(0, at + known, at + recordSize)
  return { recordSize, records: shortened }
}

/** The records of one kind, and whether they were shortened already: once is enough, or it is about something else. */
interface Sent {
  readonly records: InfoRecords | undefined
  readonly shortened: boolean
}

/** What of a program's records is sent. */
export interface SentRecords {
  readonly funcInfo: Sent
  readonly lineInfo: Sent
}

/** The records as the object has them. */
export const whole = ({ funcInfo, lineInfo }: ProgLoad): SentRecords => ({
  funcInfo: { records: funcInfo, shortened: false },
  lineInfo: { records: lineInfo, shortened: false }
})

const shorter = (sent: Sent, known: number): Sent | undefined =>
  sent.records === undefined || sent.shortened || known === 0 || known >= sent.records.recordSize
    ? undefined
    : { records: withoutTails(sent.records, known), shortened: true }

/** What to send after this answer instead, and why; `undefined` where the answer is not about records. */
export const after = (
  sent: SentRecords,
  result: number,
  arena: Arena.Arena<typeof Attr.ProgLoad>
): { readonly sent: SentRecords; readonly because: string } | undefined => {
  if (result !== -Errno.numbers.E2BIG) return undefined
  const known = { func: Arena.field(arena, "func_info_rec_size"), line: Arena.field(arena, "line_info_rec_size") }
  const funcInfo = shorter(sent.funcInfo, known.func)
  if (funcInfo !== undefined) {
    return { sent: { ...sent, funcInfo }, because: `function records of ${known.func} bytes` }
  }
  const lineInfo = shorter(sent.lineInfo, known.line)
  return lineInfo === undefined
    ? undefined
    : { sent: { ...sent, lineInfo }, because: `line records of ${known.line} bytes` }
}
