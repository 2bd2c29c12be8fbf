/** Arguments on arm64: `8@x0`, `-4@[sp, 12]`, `8@[x20]`, `4@5`. */
import { constant, type Dialect, type Location, memory } from "./Dialect.ts"

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

const inRegister = /^[a-z][a-z0-9]{0,7}$/
const inMemory = /^\[\s*([a-z][a-z0-9]{0,7})\s*(?:,\s*#?([+-]?\d{1,20})\s*)?\]$/

const read = (text: string): Location | undefined => {
  const place = inMemory.exec(text)
  if (place !== null) return memory(place[1], place[2])
  // A constant has no sign of its own, so it is tried before a register.
  return constant(text) ?? (inRegister.test(text) ? { _tag: "Register", register: text } : undefined)
}

const write = (location: Location): string | undefined => {
  switch (location._tag) {
    case "Constant":
      return `${location.value}`
    case "Register":
      return location.register
    case "Memory":
      return location.offset === 0n ? `[${location.base}]` : `[${location.base}, ${location.offset}]`
    case "Indexed":
    case "Symbol":
      return undefined
  }
}

/** Arguments of 64-bit ARM programs. */
export const arm64: Dialect = { read, write, registerOffset }
