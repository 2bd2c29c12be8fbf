/**
 * Dialects in which a register is its name, and a constant has no mark: those that tell constants from registers by the digits.
 */
import { constant, type Dialect, type Location, memory } from "./Dialect.ts"

const inRegister = /^[a-z][a-z0-9]{0,7}$/

/** A dialect, by how it writes memory: `inMemory` finds the groups `base` and, if there is one, `offset`. */
export const plain = (
  inMemory: RegExp,
  writeMemory: (base: string, offset: bigint) => string,
  registerOffset: Dialect["registerOffset"]
): Dialect => ({
  read: (text): Location | undefined => {
    const place = inMemory.exec(text)?.groups
    if (place !== undefined) return memory(place["base"], place["offset"])
    // A constant has no sign of its own, so it is tried before a register.
    return constant(text) ?? (inRegister.test(text) ? { _tag: "Register", register: text } : undefined)
  },
  write: (location) => {
    switch (location._tag) {
      case "Constant":
        return `${location.value}`
      case "Register":
        return location.register
      case "Memory":
        return writeMemory(location.base, location.offset)
      case "Indexed":
      case "Symbol":
        return undefined
    }
  },
  registerOffset
})
