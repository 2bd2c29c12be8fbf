/**
 * Jump tables: where `gotox` leads, by a number that the program computes.
 *
 * clang puts each table into the section `.jumptables`: 64-bit byte offsets from the start of the section that holds the
 * code. The instruction that loads a table's address has a relocation with the table's symbol.
 *
 * Source: reference pages `open` and `load` (section 7.8).
 */
import * as Elf from "../../services/Elf/Elf.ts"
import type { OpenError } from "./OpenError.ts"
import type { Sections } from "./Sections.ts"

/** How an object refuses a table. */
export type Refuse = (detail: string) => OpenError

/** Reads a table once, whatever refers to it. */
export type Reader = (symbol: number, start: number, refuse: Refuse) => ReadonlyArray<number>

/**
 * The reader of an object's tables, by their symbols and the bytes where those say that they start (-1: nowhere). Answers
 * instruction slots in the section of the code. Throws `OpenError`.
 */
export const reader = (file: Elf.ElfFile, { jumpTables: section, symbols }: Sections): Reader => {
  const known = new Map<number, ReadonlyArray<number>>()
  let left = section?.size ?? 0
  return (symbol, start, refuse) => {
    const before = known.get(symbol)
    if (before !== undefined) return before
    const size = Number(Elf.symbolSize(symbols, symbol))
    const bytes = section?.data ?? new Uint8Array(0)
    if (start < 0 || start % 8 !== 0 || size === 0 || size % 8 !== 0) {
      throw refuse(`a jump table of ${size} bytes at byte ${start} has no whole entries`)
    }
    if (start + size > bytes.length) throw refuse("the jump table ends behind its section")
    // Tables lie side by side. Symbols that make more of the section than it has would make work without end.
    left -= size
    if (left < 0) throw refuse("the jump tables of the object lie over each other")
    const view = new DataView(bytes.buffer, bytes.byteOffset + start, size)
    const targets: Array<number> = []
    for (let at = 0; at < size; at += 8) {
      const target = view.getBigUint64(at, file.header.byteOrder === "little")
      if (target % 8n !== 0n || target > 0xffff_ffffn) {
        throw refuse(`entry ${at / 8} of the jump table, ${target}, is no place of an instruction`)
      }
      targets.push(Number(target) / 8)
    }
    known.set(symbol, targets)
    return targets
  }
}
