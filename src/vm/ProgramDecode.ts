/**
 * Instructions to programs.
 *
 * Decoding checks everything about the code that execution would otherwise have to: registers, reserved fields, jump
 * targets, that execution cannot run off the end unseen. It does not check what the verifier proves about data (pointer
 * types, initialised registers, termination): the machine's memory and budget bound those when they happen.
 */
import * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import * as Decode from "../insn/Decode.ts"
import * as Insn from "../insn/Insn.ts"
import * as C from "../insn/InsnConstants.ts"
import { CODE_REGION, highOf, lowOf } from "./Memory.ts"
import { FIRST_CONSTANT, Operation, type Program, WORDS } from "./Program.ts"
import { isVmError, VmError, type VmErrorFields } from "./VmError.ts"

/** What a 64-bit immediate load refers to: who gives the machine a value for it? */
export interface Reference {
  /**
   * - `MapFd`, `MapIdx`: the map itself, by descriptor or by index in the load's `fd_array`
   * - `MapValue`, `MapIdxValue`: byte `nextImm` of the map's first value
   * - `BtfId`: the kernel variable of type id `imm`, in the BTF of descriptor `nextImm`
   */
  readonly kind: "MapFd" | "MapValue" | "BtfId" | "MapIdx" | "MapIdxValue"
  readonly slot: number
  /** Signed, as the instruction has it. */
  readonly imm: number
  readonly nextImm: number
}

/** How a program is decoded. */
export interface DecodeOptions {
  /** For errors; default `program`. */
  readonly name?: string
  /**
   * The 64-bit value of a reference: the address of a region, or whatever the helpers take for a map. Undefined refuses the
   * program. It is asked once per load, in the order of slots; that of any load may be taken from a table by slot.
   * Plain numbers and addresses of functions are not asked for.
   */
  readonly resolve?: (reference: Reference) => bigint | undefined
  /**
   * The number under which the machine's host knows the kernel function that the call at `slot` names by BTF type id `id`
   * and index `fdIndex` of the `fd_array`, as int32; undefined refuses the program. Default: `id`.
   */
  readonly resolveKfunc?: (
    call: { readonly slot: number; readonly id: number; readonly fdIndex: number }
  ) => number | undefined
  /** The source line of a slot, for errors: see `Lines.ts`. */
  readonly lineAt?: (slot: number) => string | undefined
}

/**
 * Decodes instructions, or fails with the first `VmError` (`Form`, `Register`, `Reserved`, `Target`, `Reference`,
 * `Unsupported`). Linear in the code's length.
 */
export const decode = (insns: Uint8Array, options: DecodeOptions = {}): Result.Result<Program, VmError> =>
  attempt(isVmError, () => decodeAll(insns, options))

interface Decoder {
  readonly insns: Uint8Array
  readonly slots: number
  readonly options: DecodeOptions
  readonly code: Int32Array
  readonly starts: Uint8Array
  readonly low: Array<number>
  readonly high: Array<number>
  readonly constants: Map<number, Map<number, number>>
}

const decodeAll = (insns: Uint8Array, options: DecodeOptions): Program => {
  const name = options.name ?? "program"
  const checked = Decode.check(insns)
  if (Result.isFailure(checked)) {
    const { slot } = checked.failure
    throw new VmError({
      reason: "Form",
      program: name,
      ...(slot === undefined ? {} : { slot }),
      value: checked.failure.message
    })
  }
  const slots = Insn.count(insns)
  if (slots === 0) throw new VmError({ reason: "Form", program: name, value: "there are no instructions" })
  const decoder: Decoder = {
    insns,
    slots,
    options,
    code: new Int32Array((slots + 2) * WORDS),
    starts: new Uint8Array(slots),
    low: [],
    high: [],
    constants: new Map()
  }
  for (let slot = 0; slot < slots; slot = Insn.nextSlot(insns, slot)) decoder.starts[slot] = 1
  decoder.starts[0] = 3
  for (let slot = 0; slot < slots; slot = Insn.nextSlot(insns, slot)) {
    decodeInsn(decoder, slot)
    if (Insn.isLdImm64(insns, slot)) decoder.code[(slot + 1) * WORDS] = Operation.END
  }
  decoder.code[slots * WORDS] = Operation.END
  decoder.code[(slots + 1) * WORDS] = Insn.EXIT
  return {
    name,
    slots,
    code: decoder.code,
    constantsLow: Int32Array.from(decoder.low),
    constantsHigh: Int32Array.from(decoder.high),
    starts: decoder.starts,
    lineAt: options.lineAt
  }
}

const refuse = (decoder: Decoder, slot: number, fields: VmErrorFields): never => {
  const line = decoder.options.lineAt?.(slot)
  throw new VmError({
    program: decoder.options.name ?? "program",
    slot,
    ...(line === undefined ? {} : { line }),
    ...fields
  })
}

/** The index in the register file of a constant. */
const constant = (decoder: Decoder, low: number, high: number): number => {
  let ofHigh = decoder.constants.get(high)
  if (ofHigh === undefined) decoder.constants.set(high, ofHigh = new Map<number, number>())
  let index = ofHigh.get(low)
  if (index === undefined) {
    index = FIRST_CONSTANT + decoder.low.length
    ofHigh.set(low, index)
    decoder.low.push(low)
    decoder.high.push(high)
  }
  return index
}

/** The immediate as the kernel takes it for 64-bit operations: sign-extended. */
const immediate = (decoder: Decoder, slot: number): number => {
  const imm = Insn.imm(decoder.insns, slot)
  return constant(decoder, imm, imm >> 31)
}

const put = (
  decoder: Decoder,
  slot: number,
  operation: number,
  dst: number,
  src: number,
  offset = 0,
  imm = 0
): void => {
  const at = slot * WORDS
  decoder.code[at] = operation | (dst << 16)
  decoder.code[at + 1] = src
  decoder.code[at + 2] = offset
  decoder.code[at + 3] = imm
}

/** A register that the instruction reads. */
const reading = (decoder: Decoder, slot: number, register: number): number =>
  register < C.MAX_BPF_REG ? register : refuse(decoder, slot, { reason: "Register", value: String(register) })

/** A register that the instruction writes: not the frame pointer. */
const writing = (decoder: Decoder, slot: number, register: number): number =>
  register < C.BPF_REG_10 ? register : refuse(decoder, slot, {
    reason: "Register",
    value: String(register),
    ...(register === C.BPF_REG_10 ? { hint: "the frame pointer is read-only" } : {})
  })

const zero = (decoder: Decoder, slot: number, ...fields: ReadonlyArray<"dst" | "src" | "off" | "imm">): void => {
  const { insns } = decoder
  for (const field of fields) {
    const value = field === "dst" ?
      Insn.dst(insns, slot) :
      field === "src" ?
      Insn.src(insns, slot) :
      field === "off" ?
      Insn.offset(insns, slot) :
      Insn.imm(insns, slot)
    if (value !== 0) refuse(decoder, slot, { reason: "Reserved", value: field })
  }
}

/** The word index of a slot that control may go to. */
const target = (decoder: Decoder, slot: number, to: number): number => {
  if (to < 0 || to >= decoder.slots || decoder.starts[to] === 0) {
    refuse(decoder, slot, { reason: "Target", value: String(to) })
  }
  return to * WORDS
}

const decodeInsn = (decoder: Decoder, slot: number): void => {
  switch (Insn.insnClass(decoder.insns, slot)) {
    case C.BPF_ALU:
    case C.BPF_ALU64:
      return decodeAlu(decoder, slot)
    case C.BPF_JMP:
    case C.BPF_JMP32:
      return decodeJump(decoder, slot)
    case C.BPF_LD:
      return decodeLoad(decoder, slot)
    default:
      return decodeAccess(decoder, slot)
  }
}

const decodeAlu = (decoder: Decoder, slot: number): void => {
  const { insns } = decoder
  const opcode = Insn.opcode(insns, slot)
  const operation = Insn.op(insns, slot)
  const wide = Insn.insnClass(insns, slot) === C.BPF_ALU64
  const dst = writing(decoder, slot, Insn.dst(insns, slot))
  if (operation === C.BPF_END) return decodeSwap(decoder, slot, dst, wide)
  if (operation === C.BPF_NEG) {
    zero(decoder, slot, "src", "off", "imm")
    return put(decoder, slot, opcode, dst, dst)
  }
  const offset = Insn.offset(insns, slot)
  const fromRegister = Insn.source(insns, slot) === C.BPF_X
  const src = fromRegister ? reading(decoder, slot, Insn.src(insns, slot)) : immediate(decoder, slot)
  if (!fromRegister) zero(decoder, slot, "src")
  let code = opcode | C.BPF_X
  if (operation === C.BPF_MOV && fromRegister && offset !== 0) code = moveOf(decoder, slot, wide)
  else if (operation === C.BPF_DIV && offset === 1) code = wide ? Operation.SDIV64 : Operation.SDIV32
  else if (operation === C.BPF_MOD && offset === 1) code = wide ? Operation.SMOD64 : Operation.SMOD32
  else zero(decoder, slot, "off")
  if (fromRegister && code !== Operation.CAST_KERNEL && code !== Operation.CAST_USER) zero(decoder, slot, "imm")
  put(decoder, slot, code, dst, src)
}

/** The operation of a register move whose offset says that it is more than that. */
const moveOf = (decoder: Decoder, slot: number, wide: boolean): number => {
  switch (Insn.offset(decoder.insns, slot)) {
    case 8:
      return wide ? Operation.MOVSX8_64 : Operation.MOVSX8_32
    case 16:
      return wide ? Operation.MOVSX16_64 : Operation.MOVSX16_32
    case 32:
      if (wide) return Operation.MOVSX32_64
      break
    case C.BPF_ADDR_SPACE_CAST: {
      if (!wide) break
      // The spaces: to in the high half, from in the low one; 1 is the arena's, 0 the kernel's.
      const spaces = Insn.imm(decoder.insns, slot)
      if (spaces === 1) return Operation.CAST_KERNEL
      if (spaces === 0x10000) return Operation.CAST_USER
      return refuse(decoder, slot, { reason: "Unsupported", value: "a cast between these address spaces" })
    }
  }
  return refuse(decoder, slot, { reason: "Reserved", value: "off" })
}

const decodeSwap = (decoder: Decoder, slot: number, dst: number, wide: boolean): void => {
  zero(decoder, slot, "src", "off")
  const bits = Insn.imm(decoder.insns, slot)
  if (bits !== 16 && bits !== 32 && bits !== 64) refuse(decoder, slot, { reason: "Reserved", value: "imm" })
  // The machine is little-endian: conversion to that order only cuts, conversion to the other one swaps.
  const swaps = wide || Insn.source(decoder.insns, slot) === C.BPF_TO_BE
  const operation = bits === 16
    ? (swaps ? Operation.SWAP16 : Operation.ZERO_EXTEND16)
    : bits === 32
    ? (swaps ? Operation.SWAP32 : C.BPF_ALU | C.BPF_MOV | C.BPF_X)
    : (swaps ? Operation.SWAP64 : C.BPF_ALU64 | C.BPF_MOV | C.BPF_X)
  put(decoder, slot, operation, dst, dst)
}

const decodeJump = (decoder: Decoder, slot: number): void => {
  const { insns } = decoder
  const opcode = Insn.opcode(insns, slot)
  switch (opcode) {
    case Insn.CALL:
      return decodeCall(decoder, slot)
    case Insn.EXIT:
      zero(decoder, slot, "dst", "src", "imm")
      return put(decoder, slot, opcode, 0, 0)
    case Insn.JA:
      zero(decoder, slot, "dst", "src", "imm")
      return put(decoder, slot, Insn.JA, 0, 0, target(decoder, slot, slot + 1 + Insn.offset(insns, slot)))
    case Insn.JA32:
      zero(decoder, slot, "dst", "src", "off")
      return put(decoder, slot, Insn.JA, 0, 0, target(decoder, slot, slot + 1 + Insn.imm(insns, slot)))
    case Insn.JA_INDIRECT:
      return refuse(decoder, slot, { reason: "Unsupported", value: "a jump through a register" })
    case Insn.JCOND:
      if (Insn.src(insns, slot) !== C.BPF_MAY_GOTO) refuse(decoder, slot, { reason: "Reserved", value: "src" })
      zero(decoder, slot, "dst", "imm")
      return put(decoder, slot, opcode, 0, 0, target(decoder, slot, slot + 1 + Insn.offset(insns, slot)))
  }
  const dst = reading(decoder, slot, Insn.dst(insns, slot))
  const fromRegister = Insn.source(insns, slot) === C.BPF_X
  zero(decoder, slot, fromRegister ? "imm" : "src")
  const src = fromRegister ? reading(decoder, slot, Insn.src(insns, slot)) : immediate(decoder, slot)
  put(decoder, slot, opcode | C.BPF_X, dst, src, target(decoder, slot, slot + 1 + Insn.offset(insns, slot)))
}

const decodeCall = (decoder: Decoder, slot: number): void => {
  const { insns, options } = decoder
  zero(decoder, slot, "dst")
  const imm = Insn.imm(insns, slot)
  switch (Insn.src(insns, slot)) {
    case 0:
      zero(decoder, slot, "off")
      return put(decoder, slot, Insn.CALL, 0, 0, 0, imm)
    case C.BPF_PSEUDO_CALL: {
      zero(decoder, slot, "off")
      const to = target(decoder, slot, slot + 1 + imm)
      decoder.starts[to / WORDS] = 3
      return put(decoder, slot, Operation.CALL_LOCAL, 0, 0, to)
    }
    case C.BPF_PSEUDO_KFUNC_CALL: {
      const fdIndex = Insn.offset(insns, slot)
      const known = options.resolveKfunc === undefined ? imm : options.resolveKfunc({ slot, id: imm, fdIndex })
      if (known === undefined) return refuse(decoder, slot, { reason: "UnknownKfunc", value: `kernel function ${imm}` })
      return put(decoder, slot, Operation.CALL_KFUNC, 0, 0, 0, known)
    }
  }
  refuse(decoder, slot, { reason: "Reserved", value: "src" })
}

const kinds: ReadonlyArray<Reference["kind"] | undefined> = [
  undefined,
  "MapFd",
  "MapValue",
  "BtfId",
  undefined,
  "MapIdx",
  "MapIdxValue"
]

const decodeLoad = (decoder: Decoder, slot: number): void => {
  const { insns, options } = decoder
  if (!Insn.isLdImm64(insns, slot)) {
    // The packet load: r0 is the result, r6 the context.
    zero(decoder, slot, "dst", "off")
    const indirect = Insn.mode(insns, slot) === C.BPF_IND
    if (!indirect) zero(decoder, slot, "src")
    const src = indirect ? reading(decoder, slot, Insn.src(insns, slot)) : constant(decoder, 0, 0)
    return put(decoder, slot, Operation.LD_PACKET, Insn.sizeInBytes(insns, slot), src, 0, Insn.imm(insns, slot))
  }
  zero(decoder, slot, "off")
  const dst = writing(decoder, slot, Insn.dst(insns, slot))
  const pseudo = Insn.src(insns, slot)
  let low = Insn.imm(insns, slot)
  let high = Insn.nextImm(insns, slot)
  if (pseudo === C.BPF_PSEUDO_FUNC) {
    // An address in the region of code; only callbacks take it.
    const to = target(decoder, slot, slot + 1 + low)
    decoder.starts[to / WORDS] = 3
    low = to / WORDS
    high = CODE_REGION
  } else if (pseudo !== 0) {
    const kind = kinds[pseudo]
    if (kind === undefined) return refuse(decoder, slot, { reason: "Reserved", value: "src" })
    const value = options.resolve?.({ kind, slot, imm: low, nextImm: high })
    if (value === undefined) return refuse(decoder, slot, { reason: "Reference", value: nameOf(kind, low, high) })
    low = lowOf(value)
    high = highOf(value)
  }
  put(decoder, slot, Insn.LD_IMM64, dst, constant(decoder, low, high))
}

const nameOf = (kind: Reference["kind"], imm: number, nextImm: number): string => {
  switch (kind) {
    case "MapFd":
      return `the map of descriptor ${imm}`
    case "MapIdx":
      return `map ${imm} of the descriptor array`
    case "MapValue":
      return `byte ${nextImm >>> 0} of the map of descriptor ${imm}`
    case "MapIdxValue":
      return `byte ${nextImm >>> 0} of map ${imm} of the descriptor array`
    case "BtfId":
      return `the kernel variable of type ${imm}`
  }
}

const decodeAccess = (decoder: Decoder, slot: number): void => {
  const { insns } = decoder
  const opcode = Insn.opcode(insns, slot)
  const offset = Insn.offset(insns, slot)
  switch (Insn.insnClass(insns, slot)) {
    case C.BPF_LDX: {
      zero(decoder, slot, "imm")
      const dst = writing(decoder, slot, Insn.dst(insns, slot))
      return put(decoder, slot, opcode, dst, reading(decoder, slot, Insn.src(insns, slot)), offset)
    }
    case C.BPF_ST: {
      zero(decoder, slot, "src")
      const dst = reading(decoder, slot, Insn.dst(insns, slot))
      return put(decoder, slot, C.BPF_STX | C.BPF_MEM | Insn.size(insns, slot), dst, immediate(decoder, slot), offset)
    }
  }
  if (Insn.mode(insns, slot) === C.BPF_ATOMIC) return decodeAtomic(decoder, slot)
  zero(decoder, slot, "imm")
  const dst = reading(decoder, slot, Insn.dst(insns, slot))
  put(decoder, slot, opcode, dst, reading(decoder, slot, Insn.src(insns, slot)), offset)
}

const decodeAtomic = (decoder: Decoder, slot: number): void => {
  const { insns } = decoder
  const size = Insn.size(insns, slot)
  const offset = Insn.offset(insns, slot)
  const imm = Insn.imm(insns, slot)
  // Instructions of one machine do not run at the same time as another's: order and atomicity come by themselves.
  if (imm === C.BPF_LOAD_ACQ) {
    const dst = writing(decoder, slot, Insn.dst(insns, slot))
    return put(decoder, slot, C.BPF_LDX | C.BPF_MEM | size, dst, reading(decoder, slot, Insn.src(insns, slot)), offset)
  }
  const dst = reading(decoder, slot, Insn.dst(insns, slot))
  if (imm === C.BPF_STORE_REL) {
    return put(decoder, slot, C.BPF_STX | C.BPF_MEM | size, dst, reading(decoder, slot, Insn.src(insns, slot)), offset)
  }
  const operation = imm & ~C.BPF_FETCH
  const plain = operation === C.BPF_ADD || operation === C.BPF_OR || operation === C.BPF_AND || operation === C.BPF_XOR
  if (!plain && imm !== C.BPF_XCHG && imm !== C.BPF_CMPXCHG) {
    refuse(decoder, slot, { reason: "Reserved", value: "imm" })
  }
  if (size !== C.BPF_W && size !== C.BPF_DW) {
    refuse(decoder, slot, { reason: "Unsupported", value: "an atomic operation of less than 4 bytes" })
  }
  const fetches = imm !== C.BPF_CMPXCHG && (imm & C.BPF_FETCH) !== 0
  const src = (fetches ? writing : reading)(decoder, slot, Insn.src(insns, slot))
  const opcode = C.BPF_STX | C.BPF_ATOMIC | size
  const code = imm === C.BPF_ADD ? (size === C.BPF_DW ? Operation.ATOMIC_ADD64 : Operation.ATOMIC_ADD32) : opcode
  put(decoder, slot, code, dst, src, offset, imm)
}
