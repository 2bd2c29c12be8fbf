/**
 * Where instructions and words of an input lead: what a linker must know of instructions, and no more.
 *
 * Source: the kernel's `Documentation/bpf/standardization/instruction-set.rst`; reference page `linker`, section 9.
 */
import * as Elf from "../services/Elf/Elf.ts"
import type { InputSection } from "./Input.ts"

/** The opcode of calls. */
export const CALL = 0x85
/** The opcode of the load of 64 bits, which has two slots. */
export const LOAD_64 = 0x18
/** Source register of a call that is one of a subprogram. */
const PSEUDO_CALL = 1
/** Source register of a load of 64 bits that is one of a subprogram's address. */
const PSEUDO_FUNC = 4

const viewOf = ({ data }: InputSection): DataView => new DataView(data.buffer, data.byteOffset, data.byteLength)

/** The register fields share a byte, whose halves change places with the byte order. */
const sourceOf = (section: InputSection, offset: number): number => {
  const registers = section.data[offset + 1] ?? 0
  return section.input.littleEndian ? registers >>> 4 : registers & 0xf
}

/** The immediate value of the instruction at `offset`. */
const immediateAt = (section: InputSection, offset: number): number =>
  viewOf(section).getInt32(offset + 4, section.input.littleEndian)

/** Where a call of a subprogram, or the load of its address, leads in its own section; without a relocation. */
export const callTarget = (section: InputSection, offset: number): number | undefined => {
  const opcode = section.data[offset]
  const source = sourceOf(section, offset)
  const isCall = (opcode === CALL && source === PSEUDO_CALL) || (opcode === LOAD_64 && source === PSEUDO_FUNC)
  return isCall ? offset + 8 + immediateAt(section, offset) * 8 : undefined
}

/** Where a jump leads in its own section. */
export const jumpTarget = (section: InputSection, offset: number): number | undefined => {
  const opcode = section.data[offset] ?? 0
  const group = opcode & 0x07
  const operation = opcode >>> 4
  if (group !== 0x05 && group !== 0x06) return undefined
  // Calls, and exits; the jump by register has its places in a table.
  if (operation === 0x8 || operation === 0x9 || opcode === 0x0d) return undefined
  const slots = opcode === 0x06
    ? immediateAt(section, offset)
    : viewOf(section).getInt16(offset + 2, section.input.littleEndian)
  return offset + 8 + slots * 8
}

/**
 * Where a relocation at `offset` of `section` against the symbol of another section leads in that one; `undefined` where
 * the relocated place is none that can be read.
 */
export const referredOffset = (section: InputSection, offset: number, type: number): number | undefined => {
  if (section.isCode) {
    const opcode = section.data[offset]
    if (opcode === CALL) return (immediateAt(section, offset) + 1) * 8
    return opcode === LOAD_64 ? immediateAt(section, offset) >>> 0 : undefined
  }
  if (section.type !== Elf.SHT_PROGBITS) return undefined
  const view = viewOf(section)
  if (type === Elf.R_BPF_64_ABS32) return view.getUint32(offset, section.input.littleEndian)
  const value = view.getBigUint64(offset, section.input.littleEndian)
  return value > 0xffff_ffffn ? undefined : Number(value)
}
