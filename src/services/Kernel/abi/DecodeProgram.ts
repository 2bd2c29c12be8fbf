/**
 * `BPF_PROG_LOAD` out of memory: instructions whose maps, kernel symbols and kernel functions become names again.
 */
import * as Insn from "../../../insn/Insn.ts"
import {
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_MAP_VALUE
} from "../../../insn/InsnConstants.ts"
import type { Code, CodeRef, InfoRecords, KernelCall, KernelSymbol, ProgAttributes, ProgLoad } from "../KernelCall.ts"
import type { MapRef } from "../Ref.ts"
import * as Arena from "./Arena.ts"
import * as Attr from "./Attr.ts"
import { btfOf, bytesAt, mapOf, type Reading, refuse, structOf, textAt } from "./DecodeReading.ts"

/** The map of a load instruction: its immediate is a descriptor, or the number of one in `fd_array`. */
const mapOfInsn = (reading: Reading, insns: Uint8Array, at: number, fdArray: bigint): MapRef => {
  const immediate = Insn.imm(insns, at)
  const src = Insn.src(insns, at)
  if (src === BPF_PSEUDO_MAP_FD || src === BPF_PSEUDO_MAP_VALUE) return mapOf(reading, "insns", immediate).ref
  if (immediate < 0 || fdArray === 0n) throw refuse(reading, "Fault", "fd_array", immediate)
  const slot = bytesAt(reading, "fd_array", fdArray + 4n * BigInt(immediate), 4)
  return mapOf(reading, "fd_array", Arena.readNumber(slot, Arena.s32(0), reading.little)).ref
}

/** A symbol of the kernel by what the kernel has instead of its name: the type of this id in the BTF object of this descriptor. */
export const symbolOf = (
  reading: Reading,
  field: string,
  kind: "Func" | "Var" | "Struct",
  id: number,
  fd: number
): KernelSymbol => {
  const found = reading.descriptors.symbol(id, fd)
  if (found !== undefined) return found
  // An id that was not looked up is one that was decided before, for one kernel.
  if (fd === 0) return { name: `type ${id}`, kind, weak: false, resolved: { owner: "vmlinux", id } }
  throw refuse(reading, "Descriptor", field, fd)
}

/** The kernel function that an instruction calls; modules are known by their descriptors in `fd_array`. */
const calleeOf = (reading: Reading, insns: Uint8Array, at: number, fdArray: bigint): KernelSymbol => {
  const id = Insn.imm(insns, at)
  const index = Insn.offset(insns, at)
  if (id === 0 && index === 0) return reading.descriptors.missing()
  if (index === 0) return symbolOf(reading, "insns", "Func", id, 0)
  if (index < 0 || fdArray === 0n) throw refuse(reading, "Fault", "fd_array", index)
  const slot = bytesAt(reading, "fd_array", fdArray + 4n * BigInt(index), 4)
  return symbolOf(reading, "fd_array", "Func", id, Arena.readNumber(slot, Arena.s32(0), reading.little))
}

/** Instructions with their maps and symbols as refs, as a plan has them. */
const codeOf = (reading: Reading, stored: Uint8Array, fdArray: bigint): Pick<Code, "insns" | "refs"> => {
  const insns = Insn.fromByteOrder(stored, reading.little ? "little" : "big")
  const refs: Array<CodeRef> = []
  const count = Insn.count(insns)
  for (let at = 0; at < count; at = Insn.nextSlot(insns, at)) {
    if (Insn.isKfuncCall(insns, at)) {
      refs.push({ _tag: "SymbolRef", at, symbol: calleeOf(reading, insns, at, fdArray) })
      Insn.setOffset(insns, at, 0)
      Insn.setImm(insns, at, 0)
      continue
    }
    if (!Insn.isLdImm64(insns, at) || at + 1 >= count) continue
    const src = Insn.src(insns, at)
    if (src === 0 || src === BPF_PSEUDO_BTF_ID) {
      const symbol = src === 0
        ? reading.descriptors.address(Insn.imm64(insns, at))
        : symbolOf(reading, "insns", "Var", Insn.imm(insns, at), Insn.nextImm(insns, at))
      if (symbol === undefined) continue
      refs.push({ _tag: "SymbolRef", at, symbol })
      Insn.setSrc(insns, at, 0)
      Insn.setImm64(insns, at, 0n)
      continue
    }
    if (!Insn.isMapReference(insns, at)) continue
    const map = mapOfInsn(reading, insns, at, fdArray)
    const offset = Insn.nextImm(insns, at) >>> 0
    const isValue = src === BPF_PSEUDO_MAP_VALUE || src === BPF_PSEUDO_MAP_IDX_VALUE
    refs.push(isValue ? { _tag: "MapValueRef", at, map, offset } : { _tag: "MapRef", at, map })
    if (src === BPF_PSEUDO_MAP_IDX) Insn.setSrc(insns, at, BPF_PSEUDO_MAP_FD)
    if (src === BPF_PSEUDO_MAP_IDX_VALUE) Insn.setSrc(insns, at, BPF_PSEUDO_MAP_VALUE)
    Insn.setImm(insns, at, 0)
    if (isValue) Insn.setNextImm(insns, at, 0)
  }
  return { insns, refs }
}

/** What a program is for: a symbol of the kernel, or a function of a program. */
const attachTargetOf = (reading: Reading, id: number, fd: number): Pick<ProgLoad, "attachTo"> => {
  if (id === 0 && fd === 0) return {}
  if (fd !== 0 && reading.descriptors.prog(fd) !== undefined) {
    const target = reading.descriptors.programFunction(fd, id)
    if (target === undefined) throw refuse(reading, "Field", "attach_btf_id", id)
    return { attachTo: target }
  }
  return { attachTo: symbolOf(reading, "attach_btf_obj_fd", "Func", id, fd) }
}

const recordsAt = (
  reading: Reading,
  field: string,
  address: bigint,
  count: number,
  recordSize: number
): InfoRecords | undefined =>
  count === 0 ? undefined : { recordSize, records: bytesAt(reading, field, address, count * recordSize) }

/** `BPF_PROG_LOAD` */
export const progLoad = (reading: Reading, address: bigint, size: number): KernelCall => {
  const attr = structOf(reading, Attr.ProgLoad, address, size, [
    "prog_type",
    "insn_cnt",
    "insns",
    "license",
    "log_level",
    "log_size",
    "log_buf",
    "kern_version",
    "prog_flags",
    "prog_name",
    "prog_ifindex",
    "expected_attach_type",
    "prog_btf_fd",
    "func_info_rec_size",
    "func_info",
    "func_info_cnt",
    "line_info_rec_size",
    "line_info",
    "line_info_cnt",
    "attach_btf_id",
    "attach_prog_fd",
    "core_relo_cnt",
    "fd_array",
    "core_relos",
    "core_relo_rec_size",
    "log_true_size"
  ])
  const insns = bytesAt(reading, "insns", attr.wide("insns"), attr.number("insn_cnt") * 8)
  const code = codeOf(reading, insns, attr.wide("fd_array"))
  const core = recordsAt(
    reading,
    "core_relos",
    attr.wide("core_relos"),
    attr.number("core_relo_cnt"),
    attr.number("core_relo_rec_size")
  )
  const funcInfo = recordsAt(
    reading,
    "func_info",
    attr.wide("func_info"),
    attr.number("func_info_cnt"),
    attr.number("func_info_rec_size")
  )
  const lineInfo = recordsAt(
    reading,
    "line_info",
    attr.wide("line_info"),
    attr.number("line_info_cnt"),
    attr.number("line_info_rec_size")
  )
  const btf = attr.number("prog_btf_fd")
  const attributes: ProgAttributes = {
    name: Arena.readName(attr.bytes, Attr.ProgLoad.fields.prog_name),
    type: attr.number("prog_type"),
    expectedAttachType: attr.number("expected_attach_type"),
    license: textAt(reading, "license", attr.wide("license")),
    kernelVersion: attr.number("kern_version"),
    flags: attr.number("prog_flags"),
    ifindex: attr.number("prog_ifindex")
  }
  return {
    _tag: "ProgLoad",
    as: reading.descriptors.nextProg(attributes),
    attr: attributes,
    code: { ...code, ...(core === undefined ? {} : { coreRelocations: core }) },
    ...(btf === 0 ? {} : { btf: btfOf(reading, "prog_btf_fd", btf) }),
    ...(funcInfo === undefined ? {} : { funcInfo }),
    ...(lineInfo === undefined ? {} : { lineInfo }),
    ...attachTargetOf(reading, attr.number("attach_btf_id"), attr.number("attach_prog_fd")),
    log: { level: attr.number("log_level") }
  }
}
