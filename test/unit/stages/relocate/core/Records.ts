/** Programs with CO-RE records, made for one test each: types by hand, one instruction or two slots per record. */
import type * as Result from "effect/Result"
import * as Btf from "../../../../../src/btf/Btf.ts"
import * as Encode from "../../../../../src/insn/Encode.ts"
import type { InfoRecords } from "../../../../../src/services/Kernel/KernelCall.ts"
import * as Core from "../../../../../src/stages/relocate/core/Core.ts"
import * as B from "../../../../support/arbitrary/BtfBlob.ts"
import { build, program } from "../../ObjectBuilder.ts"

/** A record, and the instruction that it stands at. */
export interface RecordSpec {
  readonly insn: Uint8Array
  readonly type: number
  readonly access: string
  readonly kind: Core.CoreKind | number
}

/** Instructions with records for them. */
export interface Recorded {
  readonly insns: Uint8Array
  readonly records: InfoRecords
  readonly local: Btf.Btf
}

/** The string offsets of all texts of a blob. */
const stringOffsets = (btf: Btf.Btf): ReadonlyMap<string, number> => {
  const area = btf.bytes.subarray(btf.stringsOffset, btf.stringsOffset + btf.stringsLength)
  const offsets = new Map<string, number>()
  for (let at = 0; at < area.length;) {
    const end = area.indexOf(0, at)
    offsets.set(new TextDecoder().decode(area.subarray(at, end)), btf.stringsStart + at)
    at = end + 1
  }
  return offsets
}

const offsetOf = (offsets: ReadonlyMap<string, number>, text: string): number => {
  const offset = offsets.get(text)
  if (offset === undefined) throw new Error(`no string ${text}`)
  return offset
}

const kindNumber = (kind: Core.CoreKind | number): number =>
  typeof kind === "number" ? kind : Core.kindNames.indexOf(kind)

/** The instructions one after another, their records, and the object's types. */
export const recorded = (
  types: ReadonlyArray<B.Rec>,
  specs: ReadonlyArray<RecordSpec>,
  order: B.Order = "little",
  moreStrings: ReadonlyArray<string> = []
): Recorded => {
  const local = B.btfOf(types, { order, moreStrings: [...specs.map(({ access }) => access), ...moreStrings] })
  const records = new Uint8Array(specs.length * 16)
  const view = new DataView(records.buffer)
  const offsets = stringOffsets(local)
  let at = 0
  for (const [index, { access, insn, kind, type }] of specs.entries()) {
    const words = [at, type, offsetOf(offsets, access), kindNumber(kind)]
    words.forEach((word, field) => view.setUint32(index * 16 + field * 4, word, order === "little"))
    at += insn.length
  }
  return { insns: Encode.program(...specs.map(({ insn }) => insn)), records: { recordSize: 16, records }, local }
}

/** An object file of one program, a socket filter that also ends. */
export const objectFile = (types: ReadonlyArray<B.Rec>, specs: ReadonlyArray<RecordSpec>): Uint8Array => {
  const section = "socket"
  const { insns, local, records } = recorded(types, specs, "little", [section])
  const ext = new Uint8Array(32 + 12 + records.records.length)
  const view = new DataView(ext.buffer)
  view.setUint16(0, Btf.BTF_MAGIC, true)
  view.setUint8(2, 1)
  view.setUint32(4, 32, true)
  view.setUint32(28, 12 + records.records.length, true)
  view.setUint32(32, 16, true)
  view.setUint32(36, offsetOf(stringOffsets(local), section), true)
  view.setUint32(40, specs.length, true)
  ext.set(records.records, 44)
  const made = program(section, Encode.program(insns, Encode.mov64Imm(0, 0), Encode.exit()))
  return build({ sections: [made.section], symbols: [made.symbol], btf: local.bytes, btfExt: ext })
}

/** The bytes of instructions from hexadecimal digits; blanks and bars between them do not count. */
export const hex = (digits: string): Uint8Array => new Uint8Array(Buffer.from(digits.replaceAll(/[ |]/g, ""), "hex"))

/** Instructions as hexadecimal digits, eight bytes a group. */
export const show = (insns: Uint8Array): string => (Buffer.from(insns).toString("hex").match(/.{16}/g) ?? []).join(" ")

/** Relocates against these types of a kernel. */
export const relocate = (
  types: ReadonlyArray<B.Rec>,
  specs: ReadonlyArray<RecordSpec>,
  kernel: ReadonlyArray<B.Rec>,
  order: B.Order = "little"
): Result.Result<Core.Relocated, Core.CoreError> => {
  const { insns, local, records } = recorded(types, specs, order)
  return Core.relocate(insns, records, local, Core.target(B.btfOf(kernel, { order })))
}

/** The error of one record, which must be one. */
export const refused = (
  types: ReadonlyArray<B.Rec>,
  spec: RecordSpec,
  kernel: ReadonlyArray<B.Rec>,
  order: B.Order = "little"
): Core.CoreError => B.expectFailure(relocate(types, [spec], kernel, order))

/** What became of one record. */
export const outcome = (
  types: ReadonlyArray<B.Rec>,
  spec: RecordSpec,
  kernel: ReadonlyArray<B.Rec>,
  order: B.Order = "little"
): { readonly insns: string; readonly outcome: Core.CoreOutcome } => {
  const { insns, outcomes } = B.expectSuccess(relocate(types, [spec], kernel, order))
  const [only] = outcomes
  if (only === undefined) throw new Error("no outcome")
  return { insns: show(insns), outcome: only }
}
