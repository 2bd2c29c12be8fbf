/**
 * ELF64 files of either byte order as readonly data: `parse` reads one without copying, `write` makes one from an
 * image.
 *
 * Pure functions over bytes; the service that opens a file by path is in `ElfService.ts`, so that this module brings
 * nothing of the Effect runtime with it. BPF's own rules about its object files are not here but in `stages/open`.
 */
import * as C from "./ElfConstants.ts"
import { programHeaderSize } from "./ElfParse.ts"
import type { ElfFile, ElfProgramHeader, ElfSection } from "./ElfModel.ts"

export * from "./ElfConstants.ts"
export { ElfError } from "./ElfError.ts"
export {
  type ElfImage,
  type ImageRelocation,
  type ImageSection,
  type ImageSymbol,
  makeSection,
  makeSymbol,
  nullSection,
  nullSymbol,
  type SectionContent,
  toImage
} from "./ElfImage.ts"
export {
  type ByteOrder,
  type ElfFile,
  type ElfHeader,
  ElfLimits,
  type ElfProgramHeader,
  type ElfSection,
  type ElfSymbol,
  type SymbolTable
} from "./ElfModel.ts"
export { parse } from "./ElfParse.ts"
export {
  type ElfRelocation,
  relocationAddend,
  relocationAddress,
  relocationAt,
  relocationOffset,
  relocations,
  relocationSymbol,
  type RelocationTable,
  relocationType
} from "./ElfRelocations.ts"
export {
  symbolAt,
  symbolBinding,
  symbolIsReserved,
  symbolLength,
  symbolName,
  symbolNameOffset,
  symbolOffset,
  symbolSection,
  symbolSize,
  symbolStoredSection,
  symbolTable,
  symbolType,
  symbolValue,
  symbolVisibility
} from "./ElfSymbols.ts"
export { write } from "./ElfWrite.ts"

/**
 * The first section of that name, or undefined. Names are not unique in ELF, and section 0 and unnamed ones have "".
 */
export const sectionByName = (file: ElfFile, name: string): ElfSection | undefined => {
  for (const section of file.sections) {
    if (section.name === name) return section
  }
  return undefined
}

/**
 * Whether a section's data is compressed (`SHF_COMPRESSED`) and begins with an `Elf64_Chdr`; this library inflates
 * none.
 */
export const isCompressed = (section: ElfSection): boolean => (section.flags & C.SHF_COMPRESSED) !== 0n

/**
 * The program header at `index`, which must be below `header.programHeaderCount`; any other is a defect of the caller
 * and throws a RangeError. `parse` has checked the bounds of the table, not those of the segments.
 */
export const programHeaderAt = (file: ElfFile, index: number): ElfProgramHeader => {
  if (index >= file.header.programHeaderCount) throw new RangeError(`no program header ${index}`)
  const start = file.bytes.byteOffset + Number(file.header.programHeaderOffset) + index * programHeaderSize
  const view = new DataView(file.bytes.buffer, start, programHeaderSize)
  const littleEndian = file.header.byteOrder === "little"
  return {
    index,
    type: view.getUint32(0, littleEndian),
    flags: view.getUint32(4, littleEndian),
    offset: view.getBigUint64(8, littleEndian),
    virtualAddress: view.getBigUint64(16, littleEndian),
    physicalAddress: view.getBigUint64(24, littleEndian),
    fileSize: view.getBigUint64(32, littleEndian),
    memorySize: view.getBigUint64(40, littleEndian),
    alignment: view.getBigUint64(48, littleEndian)
  }
}
