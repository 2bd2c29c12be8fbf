/**
 * Instructions as text, in the form of the kernel's verifier log and of `bpftool prog dump xlated`: the opcode in
 * parentheses, then the instruction in the C-like notation that both share.
 *
 * The text is that of Linux 6.19. An instruction that the kernel would call a bug prints as the kernel prints it
 * (`BUG_ldx_99`), so any bytes have a text. What an instruction refers to (a map, a variable, a function) is not in the
 * code but beside it; `annotate` supplies it.
 */
import { helperName } from "./Helpers.ts"
import {
  bytes,
  count,
  dst,
  EXIT,
  imm,
  imm64,
  insnClass,
  JA,
  JA32,
  JA_INDIRECT,
  JCOND,
  LD_IMM64,
  mode,
  nextImm,
  nextSlot,
  offset,
  op,
  opcode,
  size,
  source,
  src
} from "./Insn.ts"
import {
  BPF_ABS,
  BPF_ADD,
  BPF_ADDR_PERCPU,
  BPF_ADDR_SPACE_CAST,
  BPF_ALU,
  BPF_ALU64,
  BPF_AND,
  BPF_ATOMIC,
  BPF_CALL,
  BPF_CMPXCHG,
  BPF_DIV,
  BPF_DW,
  BPF_END,
  BPF_FETCH,
  BPF_IND,
  BPF_JMP32,
  BPF_LD,
  BPF_LDX,
  BPF_LOAD_ACQ,
  BPF_MAY_GOTO,
  BPF_MEM,
  BPF_MEMSX,
  BPF_MOD,
  BPF_MOV,
  BPF_NEG,
  BPF_NOSPEC,
  BPF_OR,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_MAP_VALUE,
  BPF_ST,
  BPF_STORE_REL,
  BPF_STX,
  BPF_TO_BE,
  BPF_X,
  BPF_XCHG,
  BPF_XOR
} from "./InsnConstants.ts"

/** One instruction as text. */
export interface DisassembledInsn {
  /** The instruction's first slot. */
  readonly slot: number
  /** A view of its bytes: 16 for a complete 64-bit immediate load, else 8. */
  readonly bytes: Uint8Array
  /** The text, such as `(b7) r0 = 0`; one line without its end. */
  readonly text: string
}

/** What the text shows beside the code's own numbers. */
export interface DisassembleOptions {
  /**
   * What the instruction at this slot refers to, asked for 64-bit immediate loads and calls. It becomes the loaded
   * operand (`map[stats]`, `map[.data][0]+4`, `subprog[+5] name`), the name of a helper or kernel function
   * (`call NAME#1`), or follows a subprogram's distance (`call pc+5#NAME`). Where it is undefined the numbers are shown.
   */
  readonly annotate?: ((slot: number) => string | undefined) | undefined
  /** The name of a slot that a jump leads to, shown in the place of `pc+3`; it may lie outside the code. */
  readonly labels?: ((target: number) => string | undefined) | undefined
  /**
   * Whose code it is. `"verifier"` (the default): code as it goes into the kernel; the immediate of a 64-bit load that
   * `annotate` does not explain is a plain number. `"xlated"`: code that was read back from the kernel, as bpftool shows
   * it. There a map's descriptor has become its id, so such a load names its kind (`map[id:3]`, `map[id:3][0]+4`,
   * `map[idx:0]+4`, `subprog[+5]`), and a subprogram's distance is in the offset of the call.
   */
  readonly style?: "verifier" | "xlated" | undefined
}

// Indexed by the upper four bits of the opcode. What has no text prints as C prints the string that is not there.
const absent = "(null)"

const aluText: ReadonlyArray<string> = [
  "+=",
  "-=",
  "*=",
  "/=",
  "|=",
  "&=",
  "<<=",
  ">>=",
  "neg",
  "%=",
  "^=",
  "=",
  "s>>=",
  "endian",
  absent,
  absent
]

const jumpText: ReadonlyArray<string> = [
  "jmp",
  "==",
  ">",
  ">=",
  "&",
  "!=",
  "s>",
  "s>=",
  "call",
  "exit",
  "<",
  "<=",
  "s<",
  "s<=",
  absent,
  absent
]

// Indexed by the size bits of the opcode: W, H, B, DW.
const bits: ReadonlyArray<number> = [32, 16, 8, 64]

const fetchText = (operation: number): string | undefined => {
  switch (operation) {
    case BPF_ADD | BPF_FETCH:
      return "add"
    case BPF_OR | BPF_FETCH:
      return "or"
    case BPF_AND | BPF_FETCH:
      return "and"
    case BPF_XOR | BPF_FETCH:
      return "xor"
  }
  return undefined
}

const hex2 = (value: number): string => value.toString(16).padStart(2, "0")
const signed = (value: number): string => (value < 0 ? String(value) : `+${value}`)

/** The memory operand `*(u32 *)(r1 +4)`, without the star in front. */
const memory = (code: Uint8Array, slot: number, register: number, sign: "u" | "s"): string =>
  `(${sign}${bits[size(code, slot) >> 3]} *)(r${register} ${signed(offset(code, slot))})`

const alu = (code: Uint8Array, slot: number): string => {
  const narrow = insnClass(code, slot) === BPF_ALU
  const operation = op(code, slot)
  const fromRegister = source(code, slot) === BPF_X
  const off = offset(code, slot)
  const to = dst(code, slot)
  const letter = narrow ? "w" : "r"
  if (operation === BPF_END) {
    const swap = !narrow ? "bswap" : source(code, slot) === BPF_TO_BE ? "be" : "le"
    return `r${to} = ${swap}${imm(code, slot)} r${to}`
  }
  if (operation === BPF_NEG) return `${letter}${to} = -${letter}${to}`
  if (!narrow && operation === BPF_MOV && fromRegister) {
    if (off === BPF_ADDR_SPACE_CAST) {
      const spaces = imm(code, slot) >>> 0
      return `r${to} = addr_space_cast(r${src(code, slot)}, ${spaces >>> 16}, ${spaces & 0xffff})`
    }
    if (off === BPF_ADDR_PERCPU) return `r${to} = &(void __percpu *)(r${src(code, slot)})`
  }
  const sign = off === 1 && (operation === BPF_DIV || operation === BPF_MOD) ? "s" : ""
  const head = `${letter}${to} ${sign}${aluText[operation >> 4]} `
  if (!fromRegister) return head + imm(code, slot)
  const extend = operation === BPF_MOV && (off === 8 || off === 16 || off === 32) ? `(s${off})` : ""
  return `${head}${extend}${letter}${src(code, slot)}`
}

/** The text of an atomic operation, or undefined where `imm` names none. */
const atomic = (code: Uint8Array, slot: number): string | undefined => {
  const operation = imm(code, slot)
  const from = src(code, slot)
  const target = memory(code, slot, dst(code, slot), "u")
  const wide = size(code, slot) === BPF_DW ? "64" : ""
  switch (operation) {
    case BPF_ADD:
    case BPF_OR:
    case BPF_AND:
    case BPF_XOR:
      return `lock *${target} ${aluText[operation >> 4]} r${from}`
    case BPF_CMPXCHG:
      return `r0 = atomic${wide}_cmpxchg(${target}, r0, r${from})`
    case BPF_XCHG:
      return `r${from} = atomic${wide}_xchg(${target}, r${from})`
    case BPF_LOAD_ACQ:
      return `r${dst(code, slot)} = load_acquire(${memory(code, slot, from, "u")})`
    case BPF_STORE_REL:
      return `store_release(${target}, r${from})`
  }
  const fetch = fetchText(operation)
  return fetch === undefined ? undefined : `r${from} = atomic${wide}_fetch_${fetch}(${target}, r${from})`
}

const immediate = (code: Uint8Array, slot: number, options: DisassembleOptions): string => {
  const annotation = options.annotate?.(slot)
  if (annotation !== undefined) return annotation
  if (options.style === "xlated") {
    const low = imm(code, slot) >>> 0
    switch (src(code, slot)) {
      case BPF_PSEUDO_MAP_FD:
        return `map[id:${low}]`
      case BPF_PSEUDO_MAP_VALUE:
        return `map[id:${low}][0]+${nextImm(code, slot) >>> 0}`
      case BPF_PSEUDO_MAP_IDX:
        return `map[idx:${low}]`
      case BPF_PSEUDO_MAP_IDX_VALUE:
        return `map[idx:${low}]+${nextImm(code, slot) >>> 0}`
      case BPF_PSEUDO_FUNC:
        return `subprog[${signed(imm(code, slot))}]`
    }
  }
  return `0x${imm64(code, slot).toString(16)}`
}

const call = (code: Uint8Array, slot: number, options: DisassembleOptions): string => {
  const annotation = options.annotate?.(slot)
  const value = imm(code, slot)
  switch (src(code, slot)) {
    case 0:
      return `call ${annotation ?? helperName(value) ?? "unknown"}#${value}`
    case BPF_PSEUDO_CALL: {
      const distance = options.style === "xlated" ? offset(code, slot) : value
      return `call pc${signed(distance)}${annotation === undefined ? "" : `#${annotation}`}`
    }
    case BPF_PSEUDO_KFUNC_CALL:
      return `call ${annotation ?? "kernel-function"}#${value}`
  }
  return `call ${annotation ?? "unknown"}#${value}`
}

const jump = (code: Uint8Array, slot: number, options: DisassembleOptions): string => {
  const place = (distance: number): string => options.labels?.(slot + 1 + distance) ?? `pc${signed(distance)}`
  switch (opcode(code, slot)) {
    case JA:
      return `goto ${place(offset(code, slot))}`
    case JA32:
      return `gotol ${place(imm(code, slot))}`
    case JA_INDIRECT:
      return `gotox r${dst(code, slot)}`
    case EXIT:
      return "exit"
    case JCOND:
      if (src(code, slot) === BPF_MAY_GOTO) return `may_goto ${place(offset(code, slot))}`
  }
  const letter = insnClass(code, slot) === BPF_JMP32 ? "w" : "r"
  const operand = source(code, slot) === BPF_X ?
    `${letter}${src(code, slot)}` :
    `0x${(imm(code, slot) >>> 0).toString(16)}`
  const comparison = jumpText[op(code, slot) >> 4]
  return `if ${letter}${dst(code, slot)} ${comparison} ${operand} goto ${place(offset(code, slot))}`
}

/** The text after the opcode, or the name of the bug that the kernel would call the instruction. */
const body = (code: Uint8Array, slot: number, options: DisassembleOptions): { text: string } | { bug: string } => {
  switch (insnClass(code, slot)) {
    case BPF_ALU:
    case BPF_ALU64:
      return { text: alu(code, slot) }
    case BPF_STX: {
      if (mode(code, slot) === BPF_MEM) {
        return { text: `*${memory(code, slot, dst(code, slot), "u")} = r${src(code, slot)}` }
      }
      const text = mode(code, slot) === BPF_ATOMIC ? atomic(code, slot) : undefined
      return text === undefined ? { bug: "BUG" } : { text }
    }
    case BPF_ST:
      if (mode(code, slot) === BPF_MEM) {
        return { text: `*${memory(code, slot, dst(code, slot), "u")} = ${imm(code, slot)}` }
      }
      return mode(code, slot) === BPF_NOSPEC ? { text: "nospec" } : { bug: "BUG_st" }
    case BPF_LDX: {
      const signs = mode(code, slot) === BPF_MEMSX && size(code, slot) !== BPF_DW
      if (mode(code, slot) !== BPF_MEM && !signs) return { bug: "BUG_ldx" }
      return { text: `r${dst(code, slot)} = *${memory(code, slot, src(code, slot), signs ? "s" : "u")}` }
    }
    case BPF_LD: {
      const packet = `r0 = *(u${bits[size(code, slot) >> 3]} *)skb`
      if (mode(code, slot) === BPF_ABS) return { text: `${packet}[${imm(code, slot)}]` }
      if (mode(code, slot) === BPF_IND) return { text: `${packet}[r${src(code, slot)} + ${imm(code, slot)}]` }
      // The kernel never comes to print a load whose second slot is missing.
      if (opcode(code, slot) !== LD_IMM64 || slot + 1 >= count(code)) return { bug: "BUG_ld" }
      return { text: `r${dst(code, slot)} = ${immediate(code, slot, options)}` }
    }
  }
  return { text: op(code, slot) === BPF_CALL ? call(code, slot, options) : jump(code, slot, options) }
}

/** The text of the instruction at `slot`, such as `(b7) r0 = 0`. Any bytes have one; it is a single line. */
export const disassembleInsn = (code: Uint8Array, slot: number, options: DisassembleOptions = {}): string => {
  const result = body(code, slot, options)
  const number = hex2(opcode(code, slot))
  return "bug" in result ? `${result.bug}_${number}` : `(${number}) ${result.text}`
}

/**
 * All instructions as text, in the order of their slots; a 64-bit immediate load is one of them. Bytes after the last
 * whole slot have no text: `check` reports them. Never fails, whatever the bytes.
 */
export const disassemble = (code: Uint8Array, options: DisassembleOptions = {}): ReadonlyArray<DisassembledInsn> => {
  const lines: Array<DisassembledInsn> = []
  for (let slot = 0; slot < count(code); slot = nextSlot(code, slot)) {
    lines.push({ slot, bytes: bytes(code, slot), text: disassembleInsn(code, slot, options) })
  }
  return lines
}
