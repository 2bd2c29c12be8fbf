/** A small relocatable file for the examples, and edits of its header fields by gABI name. */
import * as Result from "effect/Result"
import * as Elf from "../../../../src/services/Elf/Elf.ts"

/** Indices of the sample's sections. */
export const at = { strtab: 1, text: 2, relText: 3, bss: 4, symtab: 5 }

/** The sample as an image; symbols are in the order in which they are written. */
export const sampleImage = (byteOrder: Elf.ByteOrder = "little"): Elf.ElfImage => ({
  byteOrder,
  osAbi: 0,
  abiVersion: 0,
  type: Elf.ET_REL,
  machine: Elf.EM_BPF,
  entry: 0n,
  flags: 0,
  sectionNames: at.strtab,
  sections: [
    Elf.nullSection,
    Elf.makeSection({ name: ".strtab", type: Elf.SHT_STRTAB, content: { _tag: "Strings" } }),
    Elf.makeSection({
      name: ".text",
      type: Elf.SHT_PROGBITS,
      flags: Elf.SHF_ALLOC | Elf.SHF_EXECINSTR,
      alignment: 8n,
      content: { _tag: "Bytes", bytes: Uint8Array.from({ length: 24 }, (_, index) => index) }
    }),
    Elf.makeSection({
      name: ".rel.text",
      type: Elf.SHT_REL,
      flags: Elf.SHF_INFO_LINK,
      link: at.symtab,
      info: at.text,
      content: {
        _tag: "Relocations",
        entries: [
          { offset: 0n, type: Elf.R_BPF_64_64, symbol: 3, addend: 0n },
          { offset: 16n, type: Elf.R_BPF_64_32, symbol: 2, addend: 0n }
        ]
      }
    }),
    Elf.makeSection({
      name: ".bss",
      type: Elf.SHT_NOBITS,
      flags: Elf.SHF_ALLOC | Elf.SHF_WRITE,
      content: { _tag: "NoBits", size: 4096 }
    }),
    Elf.makeSection({
      name: ".symtab",
      type: Elf.SHT_SYMTAB,
      link: at.strtab,
      info: 2,
      content: {
        _tag: "Symbols",
        symbols: [
          Elf.nullSymbol,
          Elf.makeSymbol({ type: Elf.STT_SECTION, sectionIndex: at.text }),
          Elf.makeSymbol({
            name: "main",
            binding: Elf.STB_GLOBAL,
            type: Elf.STT_FUNC,
            size: 24n,
            sectionIndex: at.text
          }),
          Elf.makeSymbol({
            name: "counter",
            binding: Elf.STB_WEAK,
            type: Elf.STT_OBJECT,
            visibility: Elf.STV_HIDDEN,
            value: 8n,
            size: 8n,
            sectionIndex: at.bss
          }),
          Elf.makeSymbol({
            name: "VERSION",
            binding: Elf.STB_GLOBAL,
            value: 7n,
            sectionIndex: Elf.SHN_ABS,
            isReserved: true
          }),
          Elf.makeSymbol({ name: "missing", binding: Elf.STB_GLOBAL })
        ]
      }
    })
  ]
})

/** The sample as bytes. */
export const sampleBytes = (byteOrder: Elf.ByteOrder = "little"): Uint8Array =>
  Result.getOrThrow(Elf.write(sampleImage(byteOrder)))

/** Fields that an error must have. */
export type ExpectedError = Partial<ConstructorParameters<typeof Elf.ElfError>[0]>

/** A parsed file; a refusal fails the test. */
export const parsed = (bytes: Uint8Array): Elf.ElfFile => Result.getOrThrow(Elf.parse(bytes))

/** The error of a refusal; a success fails the test. */
export const refused = <A>(result: Result.Result<A, Elf.ElfError>): Elf.ElfError => {
  if (Result.isSuccess(result)) throw new Error("was expected to be refused")
  return result.failure
}

/** Place and width in bytes of the fields that the tests edit. */
const headerFields = {
  e_version: [20, 4],
  e_phoff: [32, 8],
  e_shoff: [40, 8],
  e_ehsize: [52, 2],
  e_phentsize: [54, 2],
  e_phnum: [56, 2],
  e_shentsize: [58, 2],
  e_shnum: [60, 2],
  e_shstrndx: [62, 2]
} as const

const sectionFields = {
  sh_name: [0, 4],
  sh_type: [4, 4],
  sh_flags: [8, 8],
  sh_offset: [24, 8],
  sh_size: [32, 8],
  sh_link: [40, 4],
  sh_info: [44, 4],
  sh_addralign: [48, 8],
  sh_entsize: [56, 8]
} as const

const store = (bytes: Uint8Array, place: number, width: number, value: bigint): void => {
  const littleEndian = bytes[Elf.EI_DATA] === Elf.ELFDATA2LSB
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (width === 8) view.setBigUint64(place, value, littleEndian)
  else if (width === 4) view.setUint32(place, Number(value), littleEndian)
  else view.setUint16(place, Number(value), littleEndian)
}

/** Sets a field of the ELF header. */
export const setHeader = (bytes: Uint8Array, field: keyof typeof headerFields, value: bigint): void => {
  const [place, width] = headerFields[field]
  store(bytes, place, width, value)
}

/** Sets a field of a section header; the table must be where the header says. */
export const setSection = (
  bytes: Uint8Array,
  index: number,
  field: keyof typeof sectionFields,
  value: bigint
): void => {
  const littleEndian = bytes[Elf.EI_DATA] === Elf.ELFDATA2LSB
  const table = Number(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(40, littleEndian))
  const [place, width] = sectionFields[field]
  store(bytes, table + index * 64 + place, width, value)
}

/** Sets bytes inside a section's data. */
export const setData = (bytes: Uint8Array, index: number, place: number, width: 2 | 4 | 8, value: bigint): void => {
  store(bytes, (parsed(bytes).sections[index]?.offset ?? 0) + place, width, value)
}
