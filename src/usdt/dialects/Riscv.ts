/** Arguments on 64-bit RISC-V: `8@a0`, `-4@-20(s0)`, `4@5`. */
import { constant, type Dialect, type Location, memory } from "./Dialect.ts"

/** The members of `struct user_regs_struct` behind its first, `pc`; eight bytes each. */
const order = (
  "ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 " +
  "s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6"
).split(" ")

const registerOffset = (name: string): number | undefined => {
  const position = order.indexOf(name === "fp" ? "s0" : name)
  return position < 0 ? undefined : (position + 1) * 8
}

const inRegister = /^[a-z][a-z0-9]{0,7}$/
const inMemory = /^([+-]?\d{1,20})\(\s*([a-z][a-z0-9]{0,7})\s*\)$/

const read = (text: string): Location | undefined => {
  const place = inMemory.exec(text)
  if (place !== null) return memory(place[2], place[1])
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
      return `${location.offset}(${location.base})`
    case "Indexed":
    case "Symbol":
      return undefined
  }
}

/** Arguments of 64-bit RISC-V programs. */
export const riscv64: Dialect = { read, write, registerOffset }
