/**
 * The readonly model of an ELF64 file: plain data whose byte arrays are views of the file's own bytes.
 *
 * Fields keep the meaning they have in the file (System V gABI, chapter 4); what the format spreads over several places
 * (extended section numbering, names in string tables) is resolved here.
 */

/** Byte order of a file: `little` is `ELFDATA2LSB`, `big` is `ELFDATA2MSB`. */
export type ByteOrder = "little" | "big"

/** Limits beyond which a file is refused with `TooLarge`; no real file comes near them. */
export const ElfLimits: {
  /** Bytes of a file that is opened by path or written: 1 GiB. */
  readonly fileBytes: number
  /** Entries of the section header table. */
  readonly sections: number
  /**
   * Bytes of name per section or symbol, on average. A table of short records can point into one huge string at many
   * offsets; the names together would then be larger than the file by orders of magnitude.
   */
  readonly averageNameBytes: number
} = { fileBytes: 2 ** 30, sections: 2 ** 20, averageNameBytes: 512 }

/** The ELF header. */
export interface ElfHeader {
  readonly byteOrder: ByteOrder
  /** `EI_OSABI`. */
  readonly osAbi: number
  /** `EI_ABIVERSION`. */
  readonly abiVersion: number
  /** `e_type`, one of `ET_*`. */
  readonly type: number
  /** `e_machine`, one of `EM_*`. */
  readonly machine: number
  /** `e_version`, always `EV_CURRENT`. */
  readonly version: number
  /** `e_entry`, a virtual address. */
  readonly entry: bigint
  /** `e_flags`, meaning by machine. */
  readonly flags: number
  /** `e_phoff`, bytes from the start of the file. */
  readonly programHeaderOffset: bigint
  /** Number of program headers; `PN_XNUM` is resolved. */
  readonly programHeaderCount: number
  /** `e_shoff`, bytes from the start of the file. */
  readonly sectionHeaderOffset: bigint
  /** Number of section headers, that of index 0 included; extended numbering is resolved. */
  readonly sectionHeaderCount: number
  /** Index of the section that holds the sections' names, 0 if there is none; extended numbering is resolved. */
  readonly sectionNamesIndex: number
}

/**
 * A section. A header of type `SHT_NULL` is inactive: all its fields are 0 and empty here, whatever the file holds
 * (section 0 carries the overflow of three header fields there, which `ElfHeader` has).
 */
export interface ElfSection {
  readonly index: number
  /** Decoded as UTF-8; a byte that is not well-formed UTF-8 becomes the lone surrogate U+DC00 + byte. */
  readonly name: string
  /** `sh_type`, one of `SHT_*`. */
  readonly type: number
  /** `sh_flags`, bits of `SHF_*`. */
  readonly flags: bigint
  /** `sh_addr`, a virtual address; 0 in relocatable files. */
  readonly address: bigint
  /** `sh_offset`, bytes from the start of the file. */
  readonly offset: number
  /** `sh_size` in bytes; of a `SHT_NOBITS` section the size in memory. */
  readonly size: number
  /** `sh_link`, an existing section index. */
  readonly link: number
  /** `sh_info`, meaning by type; an existing section index for `SHT_REL`, `SHT_RELA` and `SHF_INFO_LINK`. */
  readonly info: number
  /** `sh_addralign` in bytes, as stored: 0 or 1 mean none, and it need not be a power of two. */
  readonly alignment: bigint
  /** `sh_entsize` in bytes, 0 if the section is no table. */
  readonly entrySize: number
  /** The section's bytes, a view of the file's; empty for `SHT_NOBITS` and `SHT_NULL`. */
  readonly data: Uint8Array
}

/** A program header, decoded on demand by `programHeaderAt`. Addresses and sizes in bytes. */
export interface ElfProgramHeader {
  readonly index: number
  /** `p_type`, one of `PT_*`. */
  readonly type: number
  /** `p_flags`, bits of `PF_*`. */
  readonly flags: number
  readonly offset: bigint
  readonly virtualAddress: bigint
  readonly physicalAddress: bigint
  readonly fileSize: bigint
  readonly memorySize: bigint
  readonly alignment: bigint
}

/**
 * A symbol table over the file's own bytes, whose every entry was checked: names lie inside the string table, section
 * indices exist. Read it with the `symbol*` functions.
 */
export interface SymbolTable {
  /** Index of the table's section (`SHT_SYMTAB` or `SHT_DYNSYM`). */
  readonly section: number
  /** Number of symbols, the null symbol at index 0 included. */
  readonly count: number
  readonly littleEndian: boolean
  /** The entries, 24 bytes each. */
  readonly entries: DataView
  /** The string table of the names; ends with a NUL byte unless empty. */
  readonly strings: Uint8Array
  /** The words of the table's `SHT_SYMTAB_SHNDX` section, if it has one. */
  readonly extendedIndices: DataView | undefined
}

/** A symbol, decoded on demand by `symbolAt`. */
export interface ElfSymbol {
  readonly index: number
  /** Decoded like section names; empty if the symbol has none. */
  readonly name: string
  /** `st_value`: in relocatable files bytes from the start of the section (alignment for `SHN_COMMON`). */
  readonly value: bigint
  /** `st_size` in bytes, 0 if unknown. */
  readonly size: bigint
  /** One of `STB_*`. */
  readonly binding: number
  /** One of `STT_*`. */
  readonly type: number
  /** One of `STV_*`. */
  readonly visibility: number
  /** The upper six bits of `st_other` in their place, meaning by machine; 0 for BPF. */
  readonly other: number
  /** The section's index, `SHN_XINDEX` resolved; or a reserved value such as `SHN_ABS` if `isReserved`. */
  readonly sectionIndex: number
  /** Whether `sectionIndex` is a reserved value (0xff00 to 0xfffe) and names no section. */
  readonly isReserved: boolean
}

/** A parsed file. */
export interface ElfFile {
  /** The whole file. All other byte arrays of the model are views of it. */
  readonly bytes: Uint8Array
  readonly header: ElfHeader
  /** By index: the null section is at 0. Empty if the file has no section headers. */
  readonly sections: ReadonlyArray<ElfSection>
  /** Indices of all `SHT_SYMTAB` sections; the format allows one, but a file with more parses. */
  readonly symbolTables: ReadonlyArray<number>
  /** From the index of a symbol table to that of its `SHT_SYMTAB_SHNDX` section, for tables that have one. */
  readonly symbolIndexSections: ReadonlyMap<number, number>
  /** The first `SHT_SYMTAB`, if there is one. Others: `symbolTable`. */
  readonly symbols: SymbolTable | undefined
}
