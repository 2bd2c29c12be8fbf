/** Arguments on s390x: `8@%r2`, `-4@164(%r15)`, `4@5`. */
import { constant, type Dialect, type Location, memory } from "./Dialect.ts"

/** The general registers of `user_pt_regs`, behind its arguments and the program status word. */
const registerOffset = (name: string): number | undefined => {
  const number = /^r(0|[1-9]\d?)$/.exec(name)?.[1]
  return number === undefined || Number(number) > 15 ? undefined : 24 + Number(number) * 8
}

const inRegister = /^%([a-z][a-z0-9]{0,7})$/
const inMemory = /^([+-]?\d{1,20})\(\s*%([a-z][a-z0-9]{0,7})\s*\)$/

const read = (text: string): Location | undefined => {
  const register = inRegister.exec(text)?.[1]
  if (register !== undefined) return { _tag: "Register", register }
  const place = inMemory.exec(text)
  return place === null ? constant(text) : memory(place[2], place[1])
}

const write = (location: Location): string | undefined => {
  switch (location._tag) {
    case "Constant":
      return `${location.value}`
    case "Register":
      return `%${location.register}`
    case "Memory":
      return `${location.offset}(%${location.base})`
    case "Indexed":
    case "Symbol":
      return undefined
  }
}

/** Arguments of 64-bit s390 programs. */
export const s390x: Dialect = { read, write, registerOffset }
