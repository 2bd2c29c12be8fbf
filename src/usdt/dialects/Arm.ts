/** Arguments on 32-bit ARM: `4@r0`, `-4@[fp, #-8]`, `4@[r3]`, `4@#5`. */
import { constant, type Dialect, type Location, memory } from "./Dialect.ts"

const names: Readonly<Record<string, number>> = { fp: 11, ip: 12, sp: 13, lr: 14, pc: 15 }

/** `uregs` of `struct pt_regs`, four bytes each. */
const registerOffset = (name: string): number | undefined => {
  if (Object.hasOwn(names, name)) return (names[name] ?? 0) * 4
  const number = /^r(0|[1-9]\d?)$/.exec(name)?.[1]
  return number === undefined || Number(number) > 15 ? undefined : Number(number) * 4
}

const inRegister = /^[a-z][a-z0-9]{0,7}$/
const inMemory = /^\[\s*([a-z][a-z0-9]{0,7})\s*(?:,\s*#([+-]?\d{1,20})\s*)?\]$/

const read = (text: string): Location | undefined => {
  if (text.startsWith("#")) return constant(text.slice(1))
  const place = inMemory.exec(text)
  if (place !== null) return memory(place[1], place[2])
  return inRegister.test(text) ? { _tag: "Register", register: text } : undefined
}

const write = (location: Location): string | undefined => {
  switch (location._tag) {
    case "Constant":
      return `#${location.value}`
    case "Register":
      return location.register
    case "Memory":
      return location.offset === 0n ? `[${location.base}]` : `[${location.base}, #${location.offset}]`
    case "Indexed":
    case "Symbol":
      return undefined
  }
}

/** Arguments of 32-bit ARM programs. */
export const arm: Dialect = { read, write, registerOffset }
