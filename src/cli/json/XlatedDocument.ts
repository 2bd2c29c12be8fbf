/**
 * The listing of a loaded program as data, with the keys of `bpftool prog dump xlated`.
 */
import * as Insn from "../../insn/Insn.ts"
import type { XlatedInsn } from "../prog/Xlated.ts"
import { clip } from "../text/Clip.ts"
import type { Json } from "./Json.ts"
import { hexList } from "./ObjectsDocument.ts"

/** What a listing shows beside instructions and lines. */
export interface XlatedOptions {
  /** The bytes of each instruction. */
  readonly opcodes: boolean
  /** File, line and column of each line. */
  readonly linum: boolean
}

const opcodesJson = (bytes: Uint8Array): Json => ({
  code: `0x${Insn.opcode(bytes, 0).toString(16).padStart(2, "0")}`,
  src_reg: `0x${Insn.src(bytes, 0).toString(16)}`,
  dst_reg: `0x${Insn.dst(bytes, 0).toString(16)}`,
  off: hexList(bytes.subarray(2, 4)),
  // Both halves of a 64-bit immediate are one number.
  imm: hexList(bytes.length === 16 ? bytes.subarray(4, 16) : bytes.subarray(4, 8))
})

/** The C line that begins at an instruction. */
export const lineJson = ({ source }: Pick<XlatedInsn, "source">, linum: boolean): { readonly [key: string]: Json } =>
  source === undefined ? {} : {
    src: clip(source.text),
    ...(linum && source.file !== "" ? { file: clip(source.file) } : {}),
    ...(linum && source.line !== 0 ? { line_num: source.line } : {}),
    ...(linum && source.column !== 0 ? { line_col: source.column } : {})
  }

/** The document. */
export const xlatedJson = (listing: ReadonlyArray<XlatedInsn>, options: XlatedOptions): Json =>
  listing.map((each) => ({
    ...(each.proto === undefined ? {} : { proto: each.proto }),
    ...lineJson(each, options.linum),
    disasm: each.text,
    ...(options.opcodes ? { opcodes: opcodesJson(each.bytes) } : {})
  }))
