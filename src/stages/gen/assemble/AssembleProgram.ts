/**
 * The part of a loader that loads programs.
 */
import * as Insn from "../../../insn/Insn.ts"
import { BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE } from "../../../insn/InsnConstants.ts"
import * as Attr from "../../../services/Kernel/abi/Attr.ts"
import { Command } from "../../../services/Kernel/abi/BpfConstants.ts"
import { kernelName } from "../../../services/Kernel/abi/Name.ts"
import type { Code, InfoRecords, ProgLoad } from "../../../services/Kernel/KernelCall.ts"
import * as Ref from "../../../services/Kernel/Ref.ts"
import { AssembleError } from "../AssembleError.ts"
import {
  add,
  addAttr,
  addText,
  type Assembly,
  descriptorToData,
  type Draft,
  isTraced,
  mapIndex,
  printable,
  slotOf,
  through,
  trace
} from "./Assembly.ts"
import { knownFunction, takeProgram } from "./AssembleReplaced.ts"
import { takeMember } from "./AssembleStructOps.ts"
import { findSymbols, findTarget, knownTarget, settle } from "./AssembleSymbols.ts"
import * as LoaderCode from "./LoaderCode.ts"
import * as LoaderCopies from "./LoaderCopies.ts"
import * as Layout from "../LoaderLayout.ts"

/** The part of the structure that libbpf's loaders pass: kernels differ in what follows. */
const attrSize = through(Attr.ProgLoad.fields.core_relo_rec_size)

/** The instructions with every map as an index into `fd_array`, little-endian. Throws `AssembleError`. */
const bind = (assembly: Assembly, call: ProgLoad, { insns, refs }: Code): Uint8Array => {
  // Not `slice`: of a Buffer it would be a view, and the plan's code would change.
  const bound = new Uint8Array(insns)
  for (const ref of refs) {
    const bad = (detail: string): AssembleError =>
      new AssembleError({
        reason: "BadRef",
        call: call._tag,
        name: call.attr.name,
        detail: `instruction ${ref.at}: ${detail}`
      })
    if (ref._tag === "SymbolRef") continue
    const isPlace = Number.isInteger(ref.at) && ref.at >= 0 && ref.at + 1 < Insn.count(bound) &&
      Insn.isLdImm64(bound, ref.at)
    if (!isPlace) throw bad("only a 64-bit immediate load can refer to a map")
    const offset = ref._tag === "MapValueRef" ? ref.offset : 0
    if (!Number.isInteger(offset) || offset < 0 || offset > 0xffff_ffff) {
      throw bad(`${offset} is no offset into a value`)
    }
    Insn.setSrc(bound, ref.at, ref._tag === "MapRef" ? BPF_PSEUDO_MAP_IDX : BPF_PSEUDO_MAP_IDX_VALUE)
    Insn.setImm(bound, ref.at, mapIndex(assembly, call, ref.map))
    Insn.setNextImm(bound, ref.at, offset | 0)
  }
  return bound
}

/** Records in the data: where they are, how many, how long each. */
interface Placed {
  readonly at: number
  readonly count: number
  readonly size: number
}

const addRecords = (assembly: Assembly, call: ProgLoad, info: InfoRecords | undefined): Placed | undefined => {
  if (info === undefined || info.records.length === 0) return undefined
  const at = add(assembly, call, call.attr.name, info.records)
  return { at, count: info.records.length / info.recordSize, size: info.recordSize }
}

/** Where the descriptor of the program is kept that is loaded after so many; `programsAt` is where the data has those. */
export const programPlace = (number: number, programsAt: number): LoaderCode.Place =>
  number < Layout.STACK_PROGRAMS
    ? { _tag: "Stack", offset: Layout.stackProgFd(number) }
    : { _tag: "Data", offset: programsAt + 4 * (number - Layout.STACK_PROGRAMS) }

/** Loads a program. Throws `AssembleError`. */
export const progLoad = (assembly: Assembly, call: ProgLoad): void => {
  const { attr } = call
  const { code, little } = assembly
  const { fields } = Attr.ProgLoad
  const place = programPlace(assembly.programs.length, assembly.programsAt)
  if (call.btf !== undefined) slotOf(assembly, call, call.btf)
  const bound = bind(assembly, call, call.code)
  const lookups = settle(call, bound)
  const license = addText(assembly, call, attr.name, attr.license)
  const insns = add(assembly, call, attr.name, Insn.toByteOrder(bound, little ? "little" : "big"))
  // Function and line records name types of the object's BTF: without it they mean nothing.
  const funcs = call.btf && addRecords(assembly, call, call.funcInfo)
  const lines = call.btf && addRecords(assembly, call, call.lineInfo)
  const core = addRecords(assembly, call, call.code.coreRelocations)
  const at = addAttr(assembly, call, attr.name, Attr.ProgLoad, attrSize, {
    prog_type: attr.type,
    insn_cnt: Insn.count(bound),
    kern_version: attr.kernelVersion,
    prog_flags: attr.flags,
    prog_name: kernelName(attr.name),
    prog_ifindex: attr.ifindex,
    expected_attach_type: attr.expectedAttachType,
    attach_btf_id: knownTarget(call) ?? knownFunction(assembly, call),
    func_info_rec_size: funcs?.size,
    func_info_cnt: funcs?.count,
    line_info_rec_size: lines?.size,
    line_info_cnt: lines?.count,
    core_relo_cnt: core?.count,
    core_relo_rec_size: core?.size
  })
  LoaderCopies.storeAddress(code, at + fields.license.offset, license)
  LoaderCopies.storeAddress(code, at + fields.insns.offset, insns)
  if (funcs !== undefined) LoaderCopies.storeAddress(code, at + fields.func_info.offset, funcs.at)
  if (lines !== undefined) LoaderCopies.storeAddress(code, at + fields.line_info.offset, lines.at)
  if (core !== undefined) LoaderCopies.storeAddress(code, at + fields.core_relos.offset, core.at)
  LoaderCopies.storeAddress(code, at + fields.fd_array.offset, 0)
  LoaderCopies.contextToData(code, at + fields.log_level.offset, 4, Layout.Context.LOG_LEVEL)
  LoaderCopies.contextToData(code, at + fields.log_size.offset, 4, Layout.Context.LOG_SIZE)
  LoaderCopies.contextToData(code, at + fields.log_buf.offset, 8, Layout.Context.LOG_BUF)
  if (call.btf !== undefined) descriptorToData(assembly, call, call.btf, at + fields.prog_btf_fd.offset)
  takeMember(assembly, call, at)
  takeProgram(assembly, call, at)
  const failed = LoaderCode.label()
  const modules = [
    ...findTarget(assembly, call, at, failed),
    ...findSymbols(assembly, call, lookups, { bound, insns }, failed)
  ]
  LoaderCode.sysBpf(code, Command.BPF_PROG_LOAD, at, attrSize)
  if (isTraced(assembly.options)) {
    trace(assembly, call, `PROG_LOAD of ${printable(attr.name)} with ${Insn.count(bound)} instructions r=%d`, 7)
  }
  LoaderCode.land(code, failed)
  // Whatever has become of it, the load does not need the types of modules any more.
  for (const module of modules) LoaderCode.closePlace(code, module)
  LoaderCode.checkError(code)
  LoaderCode.keep(code, place)
  const number = assembly.numbers.programs.get(call.as.index)
  const draft: Draft<ProgLoad["attr"]> = {
    attr,
    ref: call.as.index,
    number,
    place,
    published: number !== undefined
  }
  assembly.programs.push(draft)
  assembly.slots.set(Ref.key(call.as), { _tag: "Prog", place, draft })
}
