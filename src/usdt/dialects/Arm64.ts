/** Arguments on arm64: `8@x0`, `-4@[sp, 12]`, `8@[x20]`, `4@5`. */
import type { Dialect } from "./Dialect.ts"
import { plain } from "./Plain.ts"

/**
 * `x0` to `x30` and `sp` of `struct user_pt_regs`; `w0` to `w30` are their lower halves, which only arguments of up to four
 * bytes are in. `fp` and `lr` are other names of `x29` and `x30`.
 */
const registerOffset = (name: string, size: number): number | undefined => {
  if (name === "sp") return 248
  if (name === "fp") return 29 * 8
  if (name === "lr") return 30 * 8
  const [, width, number] = /^([xw])(0|[1-9]\d?)$/.exec(name) ?? []
  if (number === undefined || Number(number) > 30 || (width === "w" && size > 4)) return undefined
  return Number(number) * 8
}

const inMemory = /^\[\s*(?<base>[a-z][a-z0-9]{0,7})\s*(?:,\s*#?(?<offset>[+-]?\d{1,20})\s*)?\]$/

/** Arguments of 64-bit ARM programs. */
export const arm64: Dialect = plain(
  inMemory,
  (base, offset) => offset === 0n ? `[${base}]` : `[${base}, ${offset}]`,
  registerOffset
)
