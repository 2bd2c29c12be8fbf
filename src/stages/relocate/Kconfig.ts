/**
 * The values of kernel configuration externs: the bytes of the `.kconfig` map.
 */
import type { ByteOrder } from "../../services/Elf/Elf.ts"
import * as KernelConfig from "../../services/Kernel/KernelConfig.ts"
import type { Variable } from "../../services/Kernel/KernelConfig.ts"
import { isSupport } from "../../services/Kernel/Feature.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import { kconfigSize } from "../open/Externs.ts"
import { RelocateError } from "./RelocateError.ts"

/** What must be known of the kernel to give an extern its value; `undefined` where nothing can be asked. */
export const requirementOf = (extern: Variable): KernelInfo.Requirement | undefined => {
  switch (extern.name) {
    case "LINUX_KERNEL_VERSION":
      return { _tag: "KernelVersion" }
    case "LINUX_HAS_BPF_COOKIE":
      return { _tag: "Feature", feature: "BpfCookie" }
    case "LINUX_HAS_SYSCALL_WRAPPER":
      return { _tag: "Feature", feature: "SyscallWrapper" }
    default:
      return extern.name.startsWith("CONFIG_") ? { _tag: "Kconfig", key: extern.name } : undefined
  }
}

const refuse = (extern: Variable, detail: string, hint?: string): RelocateError =>
  new RelocateError({ reason: "Kconfig", name: extern.name, detail, ...(hint === undefined ? {} : { hint }) })

/** Stores a number in a variable of 1, 2, 4 or 8 bytes. */
const storeNumber = (extern: Variable, value: bigint, into: DataView, littleEndian: boolean): void => {
  const bits = BigInt(extern.size * 8)
  if (extern.kind === "bool" && value > 1n) throw refuse(extern, `${value} is neither true nor false`)
  const fits = extern.size === 8 ||
    (extern.signed
      ? BigInt.asIntN(64, value) >= -(1n << (bits - 1n)) && BigInt.asIntN(64, value) < 1n << (bits - 1n)
      : BigInt.asUintN(64, value) < 1n << bits)
  if (!fits) throw refuse(extern, `${value} does not fit in ${extern.size} bytes`)
  const at = extern.dataOffset
  const low = Number(BigInt.asUintN(32, value))
  if (extern.size === 1) into.setUint8(at, low)
  else if (extern.size === 2) into.setUint16(at, low, littleEndian)
  else if (extern.size === 4) into.setUint32(at, low, littleEndian)
  else into.setBigUint64(at, BigInt.asUintN(64, value), littleEndian)
}

/** Stores what the kernel knows as a number, not as text. */
const storeFact = (extern: Variable, value: bigint, into: DataView, littleEndian: boolean): void => {
  if (extern.kind === "string" || extern.kind === "tristate") throw refuse(extern, `a number is no ${extern.kind}`)
  storeNumber(extern, value, into, littleEndian)
}

const tristates: Readonly<Record<string, bigint>> = { n: 0n, y: 1n, m: 2n }

/**
 * An integer as C reads it: decimal, `0x` hexadecimal, `0` octal, with a sign; `undefined` for anything else, and for
 * what does not fit 64 bits.
 */
const parseInteger = (text: string): bigint | undefined => {
  // At most 64 bits: 22 octal digits. Longer text is not worth the work of turning it into a number.
  const match = /^([+-]?)(0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9][0-9]{0,19})$/.exec(text)
  const digits = match?.[2]
  if (match === null || digits === undefined) return undefined
  const magnitude = BigInt(/^0[0-9]+$/.test(digits) ? `0o${digits.slice(1)}` : digits)
  if (magnitude > 0xffff_ffff_ffff_ffffn) return undefined
  return match[1] === "-" ? -magnitude : magnitude
}

/** Stores the text that a `.config` line has after its `=`. */
const storeText = (extern: Variable, text: string, into: DataView, littleEndian: boolean): void => {
  const first = text[0]
  if (first === undefined) throw refuse(extern, "the kernel's configuration has no value after its =")
  if (text === "y" || text === "n" || text === "m") {
    if (extern.kind === "char") into.setUint8(extern.dataOffset, text.charCodeAt(0))
    else if (extern.kind === "tristate") storeNumber(extern, tristates[text] ?? 0n, into, littleEndian)
    else if (extern.kind === "bool" && text !== "m") storeNumber(extern, text === "y" ? 1n : 0n, into, littleEndian)
    else throw refuse(extern, `the value is ${text}, which is no ${extern.kind}`)
    return
  }
  if (first === "\"") {
    if (extern.kind !== "string") throw refuse(extern, `the value ${text} is a string, not a ${extern.kind}`)
    if (text.length < 2 || !text.endsWith("\"")) throw refuse(extern, `the string ${text} does not end`)
    const bytes = new TextEncoder().encode(text.slice(1, -1)).subarray(0, extern.size - 1)
    new Uint8Array(into.buffer, extern.dataOffset, extern.size).set(bytes)
    return
  }
  const value = parseInteger(text)
  if (value === undefined || (extern.kind !== "int" && extern.kind !== "char")) {
    throw refuse(extern, `the value ${text} is no ${extern.kind}`)
  }
  storeNumber(extern, value, into, littleEndian)
}

/** The options of a text of the user's, which must be well formed: what it says takes the place of the kernel's own. */
const optionsOf = (text: string): ReadonlyMap<string, string> => {
  const options = KernelConfig.parse(text)
  for (const [index, line] of text.split("\n").entries()) {
    const option = /^CONFIG_[^=]*/.exec(line)?.[0]
    if (option === undefined || line.slice(option.length).trimEnd().length > 1) continue
    const problem = line.length === option.length ? "has no =" : "has no value after its ="
    throw new RelocateError({
      reason: "Kconfig",
      name: option.trimEnd(),
      detail: `line ${index + 1} of the given configuration ${problem}`
    })
  }
  return options
}

/**
 * What the kernel has for an extern, stored where the extern is; a missing weak one stays zero. What the info does not know
 * counts as missing. Throws `RelocateError`.
 */
export const store = (
  extern: Variable,
  info: KernelInfo.KernelInfo,
  requirement: KernelInfo.Requirement | undefined,
  into: DataView,
  littleEndian: boolean
): void => {
  if (requirement === undefined) {
    // Such a name may mean something to later loaders. Whatever it means is a number, so other types are mistakes.
    if (extern.weak && extern.name.startsWith("LINUX_")) return storeFact(extern, 0n, into, littleEndian)
    throw refuse(extern, "there is no kernel value of this name", "use CONFIG_* or LINUX_KERNEL_VERSION")
  }
  const fact = KernelInfo.factOf(info, requirement)
  const value = fact._tag === "Known" ? fact.value : undefined
  if (isSupport(value)) {
    if (value._tag !== "Refused") return storeFact(extern, value._tag === "Supported" ? 1n : 0n, into, littleEndian)
    throw refuse(extern, `the kernel does not say whether it has it (${value.errno})`, value.why)
  }
  if (typeof value === "number") {
    if (value === 0) throw refuse(extern, "the kernel's version is not known")
    return storeFact(extern, BigInt(value), into, littleEndian)
  }
  if (typeof value === "string") return storeText(extern, value, into, littleEndian)
  if (!extern.weak) {
    throw refuse(extern, "the kernel does not set this option", "declare it __weak if it may be missing")
  }
}

/** The values of an object's configuration externs. */
export interface Values {
  /** What must be asked of the kernel first. */
  readonly needs: ReadonlyArray<KernelInfo.Requirement>
  /** The value of the `.kconfig` map. */
  readonly bytes: Uint8Array | undefined
  /** Those that are left for the time when the plan runs: they are zero in the bytes. */
  readonly pending: ReadonlyArray<Variable>
}

/**
 * The values, or what must be asked of the kernel first. `text` is configuration of the user's, in the format of `.config`:
 * an option that it sets is not asked of the kernel. Throws `RelocateError`.
 */
export const values = (object: BpfObject, info: KernelInfo.KernelInfo, text?: string): Values => {
  const externs = object.externs.filter((extern) => extern._tag === "Kconfig")
  if (externs.length === 0) return { needs: [], bytes: undefined, pending: [] }
  const given: ReadonlyMap<string, string> = text === undefined ? new Map() : optionsOf(text)
  const requirements = externs.map((extern) => given.has(extern.name) ? undefined : requirementOf(extern))
  const needs = requirements.filter((each) => each !== undefined)
    .filter((each) => KernelInfo.factOf(info, each)._tag === "Unasked")
  if (needs.length > 0) return { needs, bytes: undefined, pending: [] }
  const view = new DataView(new ArrayBuffer(kconfigSize(object.externs)))
  const littleEndian: boolean = object.byteOrder === ("little" satisfies ByteOrder)
  const pending: Array<Variable> = []
  externs.forEach((extern, position) => {
    const own = given.get(extern.name)
    const requirement = requirements[position]
    if (own !== undefined) storeText(extern, own, view, littleEndian)
    else if (requirement !== undefined && KernelInfo.factOf(info, requirement)._tag === "Deferred") {
      const { dataOffset, kind, name, signed, size, weak } = extern
      pending.push({ name, weak, size, dataOffset, kind, signed })
    } else store(extern, info, requirement, view, littleEndian)
  })
  return { needs: [], bytes: new Uint8Array(view.buffer), pending }
}
