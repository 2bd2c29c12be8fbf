/**
 * Maps as they were defined before BTF: records of plain numbers in a section `maps`.
 *
 * A record starts with type, key size, value size, maximum of entries and flags, 32 bits each. Loaders had fields of
 * their own behind them; only records whose further fields are zero mean the same everywhere.
 */
import * as Elf from "../../services/Elf/Elf.ts"
import type { MapDefinition } from "./BpfObject.ts"
import { OpenError } from "./OpenError.ts"
import { maxNameLength, type OpenOptions } from "./OpenOptions.ts"
import type { Sections } from "./Sections.ts"

const smallestRecord = 20

/** Reads the definitions of every `maps` section, by section and offset. Throws `OpenError`. */
export const collect = (
  sections: Sections,
  byteOrder: Elf.ByteOrder,
  options: OpenOptions
): ReadonlyArray<MapDefinition> => {
  const [first] = sections.legacyMaps
  if (first === undefined) return []
  if (options.legacyMaps === "refuse") {
    throw new OpenError({
      reason: "LegacyMaps",
      section: first.name,
      detail: "map definitions from before BTF are refused, as the options ask",
      hint: "define the maps in SEC(\".maps\")"
    })
  }
  const symbolsOf = new Map<number, Array<number>>(sections.legacyMaps.map((section) => [section.index, []]))
  for (let index = 1; index < sections.symbols.count; index++) {
    const type = Elf.symbolType(sections.symbols, index)
    // The section's own symbol and labels of the compiler are no definitions.
    if (type !== Elf.STT_OBJECT && type !== Elf.STT_NOTYPE) continue
    if (Elf.symbolName(sections.symbols, index) === "") continue
    symbolsOf.get(Elf.symbolSection(sections.symbols, index))?.push(index)
  }
  return sections.legacyMaps.flatMap((section) => {
    const symbols = (symbolsOf.get(section.index) ?? []).map((index) => Elf.symbolAt(sections.symbols, index))
    symbols.sort((a, b) => a.value < b.value ? -1 : a.value > b.value ? 1 : 0)
    const size = section.data.length / Math.max(1, symbols.length)
    if (symbols.length === 0 || !Number.isInteger(size) || size < smallestRecord) {
      throw new OpenError({
        reason: "LegacyMaps",
        section: section.name,
        detail: `${section.data.length} bytes are not ${symbols.length} definitions of one size, of 20 bytes or more`
      })
    }
    const view = new DataView(section.data.buffer, section.data.byteOffset, section.data.byteLength)
    return symbols.map((symbol, position): MapDefinition => {
      const offset = position * size
      const refuse = (detail: string): OpenError =>
        new OpenError({ reason: "LegacyMaps", section: section.name, offset, name: symbol.name, detail })
      if (symbol.value !== BigInt(offset)) throw refuse(`the definition stands at byte ${symbol.value}`)
      for (let at = offset + smallestRecord; at < offset + size; at++) {
        if (section.data[at] !== 0) throw refuse("the definition has fields that only its own loader knows")
      }
      const word = (index: number): number => view.getUint32(offset + index * 4, byteOrder === "little")
      return {
        name: symbol.name,
        origin: "Legacy",
        sectionName: section.name,
        sectionIndex: section.index,
        sectionOffset: offset,
        attr: {
          name: symbol.name.slice(0, maxNameLength),
          type: word(0),
          keySize: word(1),
          valueSize: word(2),
          maxEntries: word(3),
          flags: word(4),
          numaNode: 0,
          ifindex: 0,
          extra: 0n
        },
        keyType: 0,
        valueType: 0,
        inner: undefined,
        slots: [],
        pinPath: undefined,
        initialValue: undefined,
        autocreate: true,
        structOps: undefined
      }
    })
  })
}
