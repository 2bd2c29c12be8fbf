/**
 * Arithmetic and comparisons as the virtual machine does them, on what is known of their operands.
 *
 * Source: RFC 9669. Which operations verifiers work out: `adjust_scalar_min_max_vals` of `kernel/bpf/verifier.c`.
 */
import * as C from "../../../insn/InsnConstants.ts"
import { constant, mayBeStack, mixed, mixedStack, type Unknown, unsigned, type Value } from "./Value.ts"

const low32 = 0xffff_ffffn

const signed = (value: bigint, wide: boolean): bigint => BigInt.asIntN(wide ? 64 : 32, value)

/** The result of an operation on two numbers; `signedDivision` for `s/` and `s%`. */
const compute = (op: number, a: bigint, b: bigint, wide: boolean, signedDivision: boolean): bigint => {
  const shift = b & (wide ? 63n : 31n)
  switch (op) {
    case C.BPF_ADD:
      return a + b
    case C.BPF_SUB:
      return a - b
    case C.BPF_MUL:
      return a * b
    case C.BPF_OR:
      return a | b
    case C.BPF_AND:
      return a & b
    case C.BPF_XOR:
      return a ^ b
    case C.BPF_LSH:
      return a << shift
    case C.BPF_RSH:
      return a >> shift
    case C.BPF_ARSH:
      return signed(a, wide) >> shift
    case C.BPF_NEG:
      return -a
    case C.BPF_DIV:
      if (b === 0n) return 0n
      return signedDivision ? signed(a, wide) / signed(b, wide) : a / b
    case C.BPF_MOD:
      if (b === 0n) return a
      return signedDivision ? signed(a, wide) % signed(b, wide) : a % b
    default:
      return b
  }
}

/** Operations whose result verifiers do not all work out. */
const isSoft = (op: number): boolean => op === C.BPF_NEG || op === C.BPF_DIV || op === C.BPF_MOD

/** `dst op= src` in 64 bits, or in 32 with the upper half cleared. */
export const operate = (
  op: number,
  dst: Value | undefined,
  src: Value | undefined,
  wide: boolean,
  signedDivision: boolean
): Value => {
  if (dst?._tag === "Const" && src?._tag === "Const") {
    const width = wide ? 64 : 32
    const a = BigInt.asUintN(width, dst.value)
    const b = BigInt.asUintN(width, src.value)
    const isShift = op === C.BPF_LSH || op === C.BPF_RSH || op === C.BPF_ARSH
    const soft = dst.soft || src.soft || isSoft(op) || (isShift && b >= BigInt(width))
    return constant(BigInt.asUintN(width, compute(op, a, b, wide, signedDivision)), soft)
  }
  const moved = wide && src?._tag === "Const" && !src.soft ? offset(op, dst, src.value) : undefined
  if (moved !== undefined) return moved
  if (op === C.BPF_ADD && wide && dst?._tag === "Const" && !dst.soft) {
    const turned = offset(op, src, dst.value)
    if (turned !== undefined) return turned
  }
  if (dst?._tag === "Unknown" && src?._tag === "Const" && !src.soft) {
    const cut = wide ? dst : lowHalf(dst)
    const changed = cut === undefined ? undefined : reshape(op, cut, src.value, wide)
    if (changed !== undefined) return changed
  }
  return mayBeStack(dst) || mayBeStack(src) ? mixedStack : mixed
}

/** A pointer, or an unknown number, with a number added or taken off. */
const offset = (op: number, value: Value | undefined, by: bigint): Value | undefined => {
  if (value === undefined || (op !== C.BPF_ADD && op !== C.BPF_SUB)) return undefined
  const delta = op === C.BPF_ADD ? by : unsigned(-by)
  const small = Number(BigInt.asIntN(64, delta))
  switch (value._tag) {
    case "Unknown":
      return { ...value, add: unsigned(value.add + delta) }
    case "Stack": {
      const moved = value.offset + small
      return Math.abs(moved) <= 0x1_0000 ? { ...value, offset: moved } : undefined
    }
    case "MapValue": {
      const moved = value.offset + small
      return Math.abs(moved) <= 0x7fff_ffff ? { ...value, offset: moved } : undefined
    }
    default:
      return undefined
  }
}

/** The low 32 bits of an unknown number. */
const lowHalf = (value: Unknown): Unknown | undefined => {
  if (value.add !== 0n || (value.extend !== 0 && value.extend !== 32)) return undefined
  return { ...value, mask: value.mask & low32, extend: 0, nullable: true }
}

/** An unknown number under an operation that leaves any of some bits possible. */
const reshape = (op: number, value: Unknown, by: bigint, wide: boolean): Value | undefined => {
  if (value.add !== 0n) return undefined
  const width = wide ? 64n : 32n
  const changed = (mask: bigint, extend = 0): Value => ({ ...value, mask, extend, nullable: true })
  if (op === C.BPF_AND) {
    const kept = wide ? by : by & low32
    if (value.extend === 0) return changed(value.mask & kept)
    return kept >> BigInt(value.extend) === 0n ? changed(value.mask & kept) : undefined
  }
  if (by >= width) return undefined
  switch (op) {
    case C.BPF_LSH: {
      // Of a number that was extended with its sign, what stays when the extension is shifted out.
      const shifted = value.extend === 0 || BigInt(value.extend) + by >= width ? value.mask << by : undefined
      return shifted === undefined ? undefined : changed(BigInt.asUintN(Number(width), shifted))
    }
    case C.BPF_RSH:
      return value.extend === 0 ? changed(value.mask >> by) : undefined
    case C.BPF_ARSH: {
      if (value.extend !== 0) return undefined
      const top = 1n << (width - 1n)
      if ((value.mask & top) === 0n) return changed(value.mask >> by)
      const left = width - by
      return wide && (left === 32n || left === 16n || left === 8n)
        ? changed(value.mask >> by, Number(left))
        : undefined
    }
    default:
      return undefined
  }
}

/** `dst = src`, whole, cut to 32 bits, or extended with the sign of the low `extend` bits (0: not). */
export const move = (src: Value | undefined, wide: boolean, extend: number): Value => {
  if (src === undefined) return mixed
  if (wide && extend === 0) return src
  if (src._tag === "Const") {
    const narrow = extend === 0 ? src.value : BigInt.asIntN(extend, src.value)
    return constant(BigInt.asUintN(wide ? 64 : 32, narrow), src.soft || extend !== 0)
  }
  const cut = src._tag === "Unknown" ? lowHalf(src) : undefined
  if (cut !== undefined) {
    if (extend === 0) return cut
    const mask = cut.mask & ((1n << BigInt(extend)) - 1n)
    const isSigned = (mask >> BigInt(extend - 1)) === 1n
    if (!isSigned) return { ...cut, mask }
    if (wide) return { ...cut, mask, extend }
  }
  return mayBeStack(src) ? mixedStack : mixed
}

/** The bytes of the low `bits` bits in reverse, or cut to them where they are in that order already. */
export const swap = (value: Value | undefined, bits: number, reverse: boolean): Value => {
  if (value?._tag !== "Const") return mixed
  let from = BigInt.asUintN(bits, value.value)
  if (!reverse) return constant(from, true)
  let to = 0n
  for (let done = 0; done < bits; done += 8) {
    to = (to << 8n) | (from & 0xffn)
    from >>= 8n
  }
  return constant(to, true)
}

/** Whether a jump is taken. */
const holds = (op: number, one: bigint, other: bigint, wide: boolean): boolean => {
  const width = wide ? 64 : 32
  const a = BigInt.asUintN(width, one)
  const b = BigInt.asUintN(width, other)
  switch (op) {
    case C.BPF_JEQ:
      return a === b
    case C.BPF_JNE:
      return a !== b
    case C.BPF_JGT:
      return a > b
    case C.BPF_JGE:
      return a >= b
    case C.BPF_JLT:
      return a < b
    case C.BPF_JLE:
      return a <= b
    case C.BPF_JSET:
      return (a & b) !== 0n
    case C.BPF_JSGT:
      return signed(a, wide) > signed(b, wide)
    case C.BPF_JSGE:
      return signed(a, wide) >= signed(b, wide)
    case C.BPF_JSLT:
      return signed(a, wide) < signed(b, wide)
    default:
      return signed(a, wide) <= signed(b, wide)
  }
}

/** What becomes of one way out of a branch: no verifier goes it, some may, every one does. */
export type Way = "No" | "Maybe" | "Yes"

/** Both ways out of a branch. */
export interface Ways {
  readonly taken: Way
  readonly passed: Way
}

const decided = (taken: boolean, soft: boolean): Ways => {
  const other = soft ? "Maybe" : "No"
  return taken ? { taken: "Yes", passed: other } : { taken: other, passed: "Yes" }
}

const uncertain: Ways = { taken: "Maybe", passed: "Maybe" }

/** Whether a value is an address, of which only that is known that it is not NULL. */
const isAddress = (value: Value | undefined): boolean =>
  value?._tag === "Address" || value?._tag === "Context" || value?._tag === "Stack" || value?._tag === "MapValue" ||
  value?._tag === "Function"

/** The ways out of the comparison `dst op src`. */
export const compare = (op: number, dst: Value | undefined, src: Value | undefined, wide: boolean): Ways => {
  if (dst?._tag === "Const" && src?._tag === "Const") {
    return decided(holds(op, dst.value, src.value, wide), dst.soft || src.soft)
  }
  if (dst?._tag === "Unknown") {
    if (src?._tag === "Const" && !src.soft) return sampled(dst, (value) => holds(op, value, src.value, wide), src.value)
    // Neither is known at all, nor how one relates to the other.
    if (src?._tag === "Unknown" && src.origin !== dst.origin && op !== C.BPF_JSET) {
      return { taken: "Yes", passed: "Yes" }
    }
  }
  if (src?._tag === "Unknown" && dst?._tag === "Const" && !dst.soft) {
    return sampled(src, (value) => holds(op, dst.value, value, wide), dst.value)
  }
  const isNull = src?._tag === "Const" && src.value === 0n && !src.soft
  if (wide && isNull && isAddress(dst) && (op === C.BPF_JEQ || op === C.BPF_JNE)) {
    return decided(op === C.BPF_JNE, true)
  }
  return uncertain
}

/** The ways that some numbers lead which an unknown one can be: a verifier that misses none of them goes both. */
const sampled = (value: Unknown, leads: (number: bigint) => boolean, near: bigint): Ways => {
  let taken = false
  let passed = false
  const wanted = unsigned(near - value.add)
  const samples = [0n, value.mask, wanted & value.mask, (wanted + 1n) & value.mask, (wanted - 1n) & value.mask]
  for (const sample of samples) {
    const extended = value.extend === 0 ? sample : unsigned(BigInt.asIntN(value.extend, sample))
    const number = unsigned(extended + value.add)
    if (number === 0n && !value.nullable) continue
    if (leads(number)) taken = true
    else passed = true
  }
  return { taken: taken ? "Yes" : "Maybe", passed: passed ? "Yes" : "Maybe" }
}
