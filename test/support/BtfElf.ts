/** ELF files of either class and byte order with sections of the caller's, for tests of BTF in files. */
import * as Result from "effect/Result"
import * as Elf from "../../src/services/Elf/Elf.ts"

/** A section to be written. */
export interface FileSection {
  readonly name: string
  readonly bytes: Uint8Array
  /** `sh_type`; `SHT_PROGBITS` without it. */
  readonly type?: number
  /** `sh_flags`. */
  readonly flags?: number
}

type Order = "little" | "big"

/** An ELF64 file of these sections, in order. */
export const elf64 = (sections: ReadonlyArray<FileSection>, byteOrder: Order = "little"): Uint8Array =>
  Result.getOrThrow(Elf.write({
    byteOrder,
    osAbi: 0,
    abiVersion: 0,
    type: Elf.ET_REL,
    machine: 62,
    entry: 0n,
    flags: 0,
    sections: [
      Elf.nullSection,
      Elf.makeSection({ name: ".shstrtab", type: Elf.SHT_STRTAB, content: { _tag: "Strings" } }),
      ...sections.map(({ bytes, flags, name, type }) =>
        Elf.makeSection({
          name,
          type: type ?? Elf.SHT_PROGBITS,
          flags: BigInt(flags ?? 0),
          content: type === Elf.SHT_NOBITS ? { _tag: "NoBits", size: bytes.length } : { _tag: "Bytes", bytes }
        })
      )
    ],
    sectionNames: 1
  }))

/** An ELF32 file of these sections, in order. `extended` puts their number and the index of their names into section 0. */
export const elf32 = (
  sections: ReadonlyArray<FileSection>,
  byteOrder: Order = "little",
  options: { readonly extended?: boolean } = {}
): Uint8Array => {
  const little = byteOrder === "little"
  const names = ["", ".shstrtab", ...sections.map(({ name }) => name)]
  const text = new TextEncoder().encode(names.map((name) => `${name}\0`).join(""))
  const nameOffset = (index: number): number => names.slice(0, index).reduce((sum, name) => sum + name.length + 1, 0)
  const all: ReadonlyArray<FileSection> = [{ name: ".shstrtab", bytes: text, type: Elf.SHT_STRTAB }, ...sections]
  const places: Array<number> = []
  let size = 52
  for (const { bytes } of all) {
    places.push(size)
    size = Math.ceil((size + bytes.length) / 4) * 4
  }
  const table = size
  const file = new Uint8Array(table + (all.length + 1) * 40)
  const view = new DataView(file.buffer)
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, little ? 1 : 2, 1])
  view.setUint16(16, Elf.ET_REL, little)
  view.setUint16(18, little ? 3 : 8, little)
  view.setUint32(20, 1, little)
  view.setUint32(32, table, little)
  view.setUint16(40, 52, little)
  view.setUint16(46, 40, little)
  view.setUint16(48, options.extended === true ? 0 : all.length + 1, little)
  view.setUint16(50, options.extended === true ? 0xffff : 1, little)
  if (options.extended === true) {
    view.setUint32(table + 20, all.length + 1, little)
    view.setUint32(table + 24, 1, little)
  }
  for (const [index, section] of all.entries()) {
    const at = table + (index + 1) * 40
    file.set(section.bytes, places[index])
    view.setUint32(at, nameOffset(index + 1), little)
    view.setUint32(at + 4, section.type ?? Elf.SHT_PROGBITS, little)
    view.setUint32(at + 8, section.flags ?? 0, little)
    view.setUint32(at + 16, places[index] ?? 0, little)
    view.setUint32(at + 20, section.bytes.length, little)
    view.setUint32(at + 32, 1, little)
  }
  return file
}
