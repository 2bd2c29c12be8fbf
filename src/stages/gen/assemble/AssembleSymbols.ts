/**
 * The part of a loader that looks names of the kernel up: functions and variables that a program's instructions mention, and
 * what the program attaches to. They are found when the loader runs, on the kernel that it runs on.
 *
 * Instructions lie in the data as they are where the symbol is missing; what is found is written into them. Types of a module
 * come with a descriptor of its BTF, which is open from the lookup to the end of the load: it lies where the instruction
 * counts on it, and is closed there, whether or not the load succeeds.
 *
 * Source: reference page `gen-loader`, sections 6 and 7. Differences from libbpf: a strong symbol without a type that the
 * kernel does not have fails the load, where libbpf's loaders go on with address 0; a weak symbol is missing only when the
 * kernel says that it is (`ENOENT`), and every other failure of the lookup fails the load; descriptors are closed when a
 * later lookup fails, too; all instructions that mention a symbol share one lookup; `module:function` is looked up without
 * the module. Which module the kernel found it in cannot be asked: it is refused in vmlinux, and taken from any module.
 */
import * as Btf from "../../../btf/Btf.ts"
import * as Encode from "../../../insn/Encode.ts"
import * as Insn from "../../../insn/Insn.ts"
import {
  BPF_B,
  BPF_DW,
  BPF_H,
  BPF_JEQ,
  BPF_JNE,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_RSH,
  BPF_W
} from "../../../insn/InsnConstants.ts"
import * as Attr from "../../../services/Kernel/abi/Attr.ts"
import * as Errno from "../../../services/Kernel/abi/Errno.ts"
import {
  type CodeRef,
  isProgFunction,
  type KernelSymbol,
  type MapCreate,
  type ProgLoad
} from "../../../services/Kernel/KernelCall.ts"
import { KFUNC_POISON } from "../../../services/Kernel/ProgramDigest.ts"
import { AssembleError } from "../AssembleError.ts"
import { add, addText, type Assembly, printable, trace } from "./Assembly.ts"
import * as LoaderCode from "./LoaderCode.ts"
import * as Layout from "../LoaderLayout.ts"

type SymbolRef = Extract<CodeRef, { readonly _tag: "SymbolRef" }>

/** A symbol that is looked up for a program, with the instructions that mention it. */
export interface Lookup {
  readonly symbol: KernelSymbol
  /** Whether the program can do without it: it is weak wherever it is mentioned. */
  weak: boolean
  /** Whether an instruction lies there as for a missing symbol, and has to be told that it is not. */
  settled: boolean
  readonly loads: Array<number>
  readonly calls: Array<number>
}

/** The owner that a symbol of the kernel itself has. */
const vmlinux = "vmlinux"

const kinds = {
  Func: Btf.BTF_KIND_FUNC,
  Var: Btf.BTF_KIND_VAR,
  Typedef: Btf.BTF_KIND_TYPEDEF,
  Struct: Btf.BTF_KIND_STRUCT
} as const

/** Names of the kernel's symbols are shorter than this, bytes: `KSYM_NAME_LEN`. */
const MAX_NAME = 512

/** `off` of a call counts slots of `fd_array` in 16 bits, with their sign. */
const MAX_CALL_OFFSET = 0x7fff

const refuse = (
  call: MapCreate | ProgLoad,
  reason: AssembleError["reason"],
  detail: string,
  hint?: string
): AssembleError =>
  new AssembleError({ reason, call: call._tag, name: call.attr.name, detail, ...(hint === undefined ? {} : { hint }) })

/** Adds a symbol's name to the data. Throws `AssembleError` where the kernel would cut it or refuse it. */
const addName = (
  assembly: Assembly,
  call: MapCreate | ProgLoad,
  { name }: KernelSymbol
): { readonly at: number; readonly size: number } => {
  const size = new TextEncoder().encode(name).length + 1
  if (name === "" || name.includes("\0")) throw refuse(call, "BadValue", `"${printable(name)}" is no name of a symbol`)
  if (size > MAX_NAME) {
    throw refuse(call, "TooLarge", `the name of a symbol has ${size - 1} bytes, the kernel's at most ${MAX_NAME - 1}`)
  }
  return { at: addText(assembly, call, call.attr.name, name), size }
}

/** `R7 = the id of a type, and above its 32 bits the descriptor of its module's BTF`. Throws `AssembleError`. */
export const findType = (assembly: Assembly, call: MapCreate | ProgLoad, symbol: KernelSymbol): void => {
  if (symbol.kind === "Address") throw refuse(call, "BadValue", `${symbol.name} is an address, where a type is needed`)
  const { code } = assembly
  const name = addName(assembly, call, symbol)
  const kind = kinds[symbol.kind]
  LoaderCode.emit(
    code,
    LoaderCode.address(1, name.at),
    Encode.mov64Imm(2, name.size),
    Encode.mov64Imm(3, kind),
    Encode.mov64Imm(4, 0),
    Encode.callHelper(Layout.Helper.BTF_FIND_BY_NAME_KIND),
    Encode.mov64Reg(7, 0)
  )
  trace(assembly, call, `find_by_name_kind(${printable(symbol.name)},${kind}) r=%d`, 7)
}

/** The module that a symbol must be in: any that has it, where the loader looks. */
const isOfModule = ({ module, resolved }: KernelSymbol): boolean => {
  const owner = resolved !== undefined && "owner" in resolved ? resolved.owner : module
  return owner !== undefined && owner !== vmlinux
}

/** `R9 = R7 >> 32`: the descriptor of the module's BTF. Where it must be a module's and is not, `R7 = -ENOENT`. */
export const splitType = ({ code }: Assembly, symbol: KernelSymbol): void => {
  LoaderCode.emit(code, Encode.mov64Reg(9, 7), Encode.alu64Imm(BPF_RSH, 9, 32))
  if (!isOfModule(symbol)) return
  LoaderCode.emit(code, Encode.jmpImm(BPF_JNE, 9, 0, 1), Encode.mov64Imm(7, -Errno.numbers.ENOENT))
}

/**
 * Goes to `failed` when R7 is negative; where the symbol is weak and missing, goes on behind `found`, which emits what is to
 * be done with a symbol that is there.
 */
const whereFound = ({ code }: Assembly, weak: boolean, failed: LoaderCode.Label, found: () => void): void => {
  const missing = LoaderCode.label()
  if (weak) LoaderCode.goTo(code, missing, Encode.jmpImm(BPF_JEQ, 7, -Errno.numbers.ENOENT, 0))
  LoaderCode.failTo(code, failed)
  found()
  LoaderCode.land(code, missing)
}

/** Where the parts of an instruction are that a lookup completes, from its beginning. */
const At = { REGISTERS: 1, OFFSET: 2, IMM: 4, NEXT_IMM: 12 } as const

/** The byte that names an instruction's registers, in the order of the machine. */
const registers = ({ little }: Assembly, dst: number, src: number): number =>
  little ? (src << 4) | dst : (dst << 4) | src

/** The attach target's id, where the plan says it. Throws `AssembleError`. */
export const knownTarget = ({ attachTo }: ProgLoad): number | undefined =>
  attachTo !== undefined && !isProgFunction(attachTo) && isOwnedByKernel(attachTo) ? attachTo.resolved.id : undefined

export const isOwnedByKernel = (
  symbol: KernelSymbol
): symbol is KernelSymbol & { readonly resolved: { readonly owner: string; readonly id: number } } =>
  symbol.resolved !== undefined && "owner" in symbol.resolved && symbol.resolved.owner === vmlinux

/**
 * Finds what a program attaches to and completes its `bpf_attr`, which is at `attr`. Answers with the places of descriptors
 * to close. Throws `AssembleError`.
 */
export const findTarget = (
  assembly: Assembly,
  call: ProgLoad,
  attr: number,
  failed: LoaderCode.Label
): ReadonlyArray<LoaderCode.Place> => {
  const { attachTo } = call
  if (attachTo === undefined || isProgFunction(attachTo) || isOwnedByKernel(attachTo)) return []
  if (attachTo.resolved !== undefined && "absent" in attachTo.resolved) return []
  const { fields } = Attr.ProgLoad
  findType(assembly, call, attachTo)
  splitType(assembly, attachTo)
  whereFound(assembly, attachTo.weak, failed, () =>
    LoaderCode.emit(
      assembly.code,
      LoaderCode.address(8, attr),
      Encode.stx(BPF_W, 8, 7, fields.attach_btf_id.offset),
      Encode.stx(BPF_W, 8, 9, fields.attach_prog_fd.offset)
    ))
  return [{ _tag: "Data", offset: attr + fields.attach_prog_fd.offset }]
}

/** Whether a decision of the plan fits an instruction. */
const fits = (resolved: NonNullable<KernelSymbol["resolved"]>): boolean => {
  if ("address" in resolved) return BigInt.asUintN(64, resolved.address) === resolved.address
  return "absent" in resolved || (Insn.fitsImm(resolved.id) && resolved.id >= 0)
}

/** What one reference becomes when the symbol is missing, or when the plan has decided already. */
const settleOne = (call: ProgLoad, insns: Uint8Array, { at, extern, symbol }: SymbolRef): "load" | "call" => {
  const bad = (detail: string): AssembleError => refuse(call, "BadRef", `instruction ${at}: ${symbol.name}: ${detail}`)
  const { kind, resolved } = symbol
  if (resolved !== undefined && !fits(resolved)) throw bad("what it was found to be does not fit the instruction")
  if (!Insn.fitsImm(KFUNC_POISON + (extern ?? 0))) throw bad(`${extern} is no position of an extern`)
  const isThere = Number.isInteger(at) && at >= 0 && at < Insn.count(insns)
  if (isThere && Insn.isLdImm64(insns, at) && at + 1 < Insn.count(insns)) {
    const typed = kind !== "Address" && (resolved === undefined ? !symbol.weak : "owner" in resolved)
    Insn.setSrc(insns, at, typed ? BPF_PSEUDO_BTF_ID : 0)
    const value = resolved !== undefined && "address" in resolved
      ? resolved.address
      : isOwnedByKernel(symbol)
      ? BigInt(symbol.resolved.id)
      : 0n
    Insn.setImm64(insns, at, value)
    return "load"
  }
  if (!isThere || !Insn.isCall(insns, at)) throw bad("neither a 64-bit immediate load nor a call")
  if (kind === "Address" || (resolved !== undefined && "address" in resolved)) throw bad("an address cannot be called")
  const absent = resolved === undefined ? symbol.weak : "absent" in resolved
  if (absent) Insn.setSlot(insns, at, Insn.CALL, 0, 0, 0, KFUNC_POISON + (extern ?? 0))
  else Insn.setSlot(insns, at, Insn.CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, isOwnedByKernel(symbol) ? symbol.resolved.id : 0)
  return "call"
}

/**
 * Puts into the instructions what is known now, and answers with what has to be looked up, in the order of the first mention.
 * Throws `AssembleError` where an instruction takes no symbol.
 */
export const settle = (call: ProgLoad, insns: Uint8Array): ReadonlyArray<Lookup> => {
  const lookups = new Map<string, Lookup>()
  for (const ref of call.code.refs) {
    if (ref._tag !== "SymbolRef") continue
    const use = settleOne(call, insns, ref)
    const { kind, module, name, resolved, weak } = ref.symbol
    if (resolved !== undefined && (!("owner" in resolved) || resolved.owner === vmlinux)) continue
    const key = JSON.stringify([kind, module, resolved?.owner, name])
    const lookup = lookups.get(key) ?? {
      symbol: ref.symbol,
      weak: true,
      settled: false,
      loads: [],
      calls: []
    }
    lookups.set(key, lookup)
    lookup.weak = lookup.weak && weak && resolved === undefined
    lookup.settled = lookup.settled || (weak && resolved === undefined)
    lookup[use === "load" ? "loads" : "calls"].push(ref.at)
  }
  return [...lookups.values()]
}

/** A place for the descriptor of a module's BTF that calls count in, and its number. Throws `AssembleError`. */
const moduleCell = (
  assembly: Assembly,
  call: ProgLoad,
  number: number
): { readonly offset: number; readonly index: number } => {
  const offset = number < Layout.MODULE_SLOTS
    ? Layout.moduleSlot(number)
    // Slots of the array are numbered on behind its end, to wherever there is room.
    : add(assembly, call, call.attr.name, new Uint8Array(4))
  const index = offset / 4
  if (index <= MAX_CALL_OFFSET) return { offset, index }
  throw refuse(
    call,
    "TooMany",
    `it calls more than ${number} functions of the kernel, and slot ${index} of fd_array, for the next one's module, is ` +
      `beyond the ${MAX_CALL_OFFSET} that a call can name`,
    "call fewer kernel functions from one program, or put the program into an object of its own"
  )
}

/** Finds a symbol without a type, and writes its address into the instructions. */
const findAddress = (
  assembly: Assembly,
  call: ProgLoad,
  { loads, symbol, weak }: Lookup,
  insns: number,
  failed: LoaderCode.Label
): void => {
  const { code } = assembly
  const name = addName(assembly, call, symbol)
  const answer = add(assembly, call, call.attr.name, new Uint8Array(8))
  LoaderCode.emit(
    code,
    LoaderCode.address(1, name.at),
    Encode.mov64Imm(2, name.size),
    Encode.mov64Imm(3, 0),
    LoaderCode.address(4, answer),
    Encode.callHelper(Layout.Helper.KALLSYMS_LOOKUP_NAME),
    Encode.mov64Reg(7, 0)
  )
  trace(assembly, call, `kallsyms_lookup_name(${printable(symbol.name)},0) r=%d`, 7)
  whereFound(assembly, weak, failed, () => {
    LoaderCode.emit(
      code,
      LoaderCode.address(0, answer),
      Encode.ldx(BPF_DW, 7, 0, 0),
      Encode.mov64Reg(9, 7),
      Encode.alu64Imm(BPF_RSH, 9, 32)
    )
    for (const at of loads) {
      LoaderCode.emit(
        code,
        LoaderCode.address(8, insns + 8 * at),
        Encode.stx(BPF_W, 8, 7, At.IMM),
        Encode.stx(BPF_W, 8, 9, At.NEXT_IMM)
      )
    }
  })
}

/** Finds a symbol by its type, and writes its id and its module into the instructions. */
const findTyped = (
  assembly: Assembly,
  call: ProgLoad,
  { calls, loads, settled, symbol, weak }: Lookup,
  { bound, insns }: { readonly bound: Uint8Array; readonly insns: number },
  cell: { readonly offset: number; readonly index: number } | undefined,
  failed: LoaderCode.Label
): void => {
  const { code } = assembly
  findType(assembly, call, symbol)
  splitType(assembly, symbol)
  whereFound(assembly, weak, failed, () => {
    if (cell !== undefined) LoaderCode.emit(code, LoaderCode.address(0, cell.offset), Encode.stx(BPF_W, 0, 9, 0))
    for (const at of loads) {
      LoaderCode.emit(
        code,
        LoaderCode.address(8, insns + 8 * at),
        Encode.stx(BPF_W, 8, 7, At.IMM),
        Encode.stx(BPF_W, 8, 9, At.NEXT_IMM)
      )
      const byte = registers(assembly, Insn.dst(bound, at), BPF_PSEUDO_BTF_ID)
      if (settled) LoaderCode.emit(code, Encode.st(BPF_B, 8, At.REGISTERS, byte))
    }
    for (const at of calls) {
      LoaderCode.emit(code, LoaderCode.address(8, insns + 8 * at), Encode.stx(BPF_W, 8, 7, At.IMM))
      const byte = registers(assembly, 0, BPF_PSEUDO_KFUNC_CALL)
      if (settled) LoaderCode.emit(code, Encode.st(BPF_B, 8, At.REGISTERS, byte))
      // Offset 0 is vmlinux.
      LoaderCode.emit(code, Encode.jmpImm(BPF_JEQ, 9, 0, 1), Encode.st(BPF_H, 8, At.OFFSET, cell?.index ?? 0))
    }
  })
}

/**
 * Finds the symbols that a program's instructions mention, which are at `insns` of the data, and completes these. `bound` are
 * the instructions as they lie there, little-endian. Answers with the places of descriptors to close. Throws
 * `AssembleError`.
 */
export const findSymbols = (
  assembly: Assembly,
  call: ProgLoad,
  lookups: ReadonlyArray<Lookup>,
  code: { readonly bound: Uint8Array; readonly insns: number },
  failed: LoaderCode.Label
): ReadonlyArray<LoaderCode.Place> => {
  const modules: Array<LoaderCode.Place> = []
  let cells = 0
  for (const lookup of lookups) {
    if (lookup.symbol.kind === "Address") {
      findAddress(assembly, call, lookup, code.insns, failed)
      continue
    }
    const cell = lookup.calls.length > 0 ? moduleCell(assembly, call, cells++) : undefined
    findTyped(assembly, call, lookup, code, cell, failed)
    const offset = cell?.offset ?? code.insns + 8 * (lookup.loads[0] ?? 0) + At.NEXT_IMM
    modules.push({ _tag: "Data", offset })
  }
  return modules
}
