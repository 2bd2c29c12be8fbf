/** Arguments on 64-bit RISC-V: `8@a0`, `-4@-20(s0)`, `4@5`. */
import type { Dialect } from "./Dialect.ts"
import { plain } from "./Plain.ts"

/** The members of `struct user_regs_struct` behind its first, `pc`; eight bytes each. */
const order = (
  "ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 " +
  "s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6"
).split(" ")

const registerOffset = (name: string): number | undefined => {
  const position = order.indexOf(name === "fp" ? "s0" : name)
  return position < 0 ? undefined : (position + 1) * 8
}

const inMemory = /^(?<offset>[+-]?\d{1,20})\(\s*(?<base>[a-z][a-z0-9]{0,7})\s*\)$/

/** Arguments of 64-bit RISC-V programs. */
export const riscv64: Dialect = plain(inMemory, (base, offset) => `${offset}(${base})`, registerOffset)
