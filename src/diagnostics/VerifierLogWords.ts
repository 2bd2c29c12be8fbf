/**
 * Registers and stack slots in words: what the verifier knew of a value, as its user would say it.
 *
 * Kernels of other years use other words for the same; what is not known here stays as the kernel wrote it.
 *
 * Source: `kernel/bpf/log.c`, `print_reg_state()` and `reg_type_str()`.
 */
import type { Register } from "./VerifierLogState.ts"

/** What a log calls things may be as long as it likes; here it is at most this long. */
const longestName = 100

const cut = (text: string): string => text.length <= longestName ? text : `${text.slice(0, longestName)}…`

const integer = /^-?(\d{1,20}|0x[0-9a-f]{1,16})$/

const valueOf = (text: string | undefined): bigint | undefined => {
  if (text === undefined || !integer.test(text)) return undefined
  return text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text)
}

/** From here on a number is easier to read in hexadecimal. */
const large = 0x1_0000_0000n

const numberText = (value: bigint): string =>
  value >= large || value <= -large
    ? `${value < 0n ? "-" : ""}0x${(value < 0n ? -value : value).toString(16)}`
    : value.toString()

/** Bounds that say nothing: those of all numbers of 64 bits. */
const greatest = 0xffff_ffff_ffff_ffffn
const greatestSigned = 0x7fff_ffff_ffff_ffffn

/** A bound by the names that kernels of different years have for it; `undefined` where it is that of all numbers. */
const bound = (known: Register["known"], name: "umin" | "umax" | "smin" | "smax"): bigint | undefined => {
  const written = valueOf(known.get(name) ?? known.get(`${name}_value`))
  if (written === undefined) return undefined
  // Large ones are written as their bits, negative ones included: `smin=0xffffffff80000000`.
  const value = name.startsWith("s") ? BigInt.asIntN(64, written) : written
  const isTrivial = { umin: 0n, umax: greatest, smin: -greatestSigned - 1n, smax: greatestSigned }[name] === value
  return isTrivial ? undefined : value
}

/** Which numbers are possible, where not all are: `between 0 and 255`. */
const range = (known: Register["known"]): string | undefined => {
  const umin = bound(known, "umin")
  const umax = bound(known, "umax")
  const smin = bound(known, "smin")
  const smax = bound(known, "smax")
  if (umax !== undefined && umax <= greatestSigned) return `between ${numberText(umin ?? 0n)} and ${numberText(umax)}`
  if (smin !== undefined && smax !== undefined) return `between ${numberText(smin)} and ${numberText(smax)}`
  if (umin !== undefined) return `of at least ${numberText(umin)}`
  if (smax !== undefined) return `of at most ${numberText(smax)}, which may be negative`
  if (smin !== undefined) return `of at least ${numberText(smin)}`
  const half = valueOf(known.get("umax32") ?? known.get("u32_max_value"))
  return half === undefined || half >= large - 1n ? undefined : `whose lower 32 bits are at most ${numberText(half)}`
}

const scalar = ({ constant, known }: Register): string => {
  if (constant !== undefined) return `the number ${numberText(constant)}`
  const possible = range(known)
  if (possible === `between 0 and ${large - 1n}`) return "any number of 32 bits"
  return possible === undefined ? "any number" : `a number ${possible}`
}

const bytes = (count: bigint | string): string => `${count} ${String(count) === "1" ? "byte" : "bytes"}`

/** Where a pointer points to behind its beginning: `, 8 bytes behind its start`. */
const moved = (known: Register["known"]): string => {
  const off = valueOf(known.get("off")) ?? 0n
  const imm = valueOf(known.get("imm")) ?? 0n
  const fixed = off + imm
  const possible = range(known)
  const parts = [
    ...(fixed > 0n ? [`${bytes(fixed)} behind its start`] : []),
    ...(fixed < 0n ? [`${bytes(-fixed)} in front of its start`] : []),
    ...(possible === undefined ? [] : [`moved by a number ${possible}`])
  ]
  return parts.map((part) => `, ${part}`).join("")
}

/** What the pointer points to has so many bytes. */
const sized = (size: string | undefined): string => {
  const value = valueOf(size)
  return value === undefined ? "" : ` of ${bytes(value)}`
}

const map = (known: Register["known"]): string => {
  const name = known.get("map")
  return name === undefined || name === "" ? "a map" : `map ${cut(name)}`
}

const sockets: ReadonlyMap<string, string> = new Map([
  ["sock", "a socket"],
  ["sock_common", "a socket, of which the common part is known"],
  ["tcp_sock", "a TCP socket"],
  ["xdp_sock", "an XDP socket"]
])

/** What a pointer points to, without what its name says of NULL and trust; `undefined` for names that are not known here. */
const pointer = (type: string, known: Register["known"]): string | undefined => {
  switch (type) {
    case "ctx":
      return `the context${moved(known)}`
    case "map_ptr":
      return map(known)
    case "map_value":
      return `a value of ${map(known)}${sized(known.get("vs"))}${moved(known)}`
    case "map_key":
      return `a key of ${map(known)}${sized(known.get("ks"))}${moved(known)}`
    case "pkt": {
      const checked = valueOf(known.get("r")) ?? 0n
      const start = `the packet${moved(known)}`
      return checked === 0n
        ? `${start}, of which no byte is known to be there`
        : `${start}, of which ${bytes(checked)} ${checked === 1n ? "is" : "are"} known to be there`
    }
    case "pkt_meta":
      return `the packet's metadata${moved(known)}`
    case "pkt_end":
      return "the end of the packet"
    case "mem":
    case "alloc_mem":
    case "ringbuf_mem":
      return `memory${sized(known.get("sz") ?? known.get("mem_size"))}${moved(known)}`
    case "buf":
      return `a buffer${moved(known)}`
    case "flow_keys":
      return `the flow's keys${moved(known)}`
    case "dynptr_ptr":
    case "dynptr":
      return "a dynptr"
    case "func":
      return "the address of a function"
    case "arena":
      return "a pointer into the arena"
    default:
      break
  }
  const socket = sockets.get(type)
  if (socket !== undefined) return `${socket}${moved(known)}`
  const struct = /^(?:ptr_|percpu_ptr_)(\w+)$/.exec(type)?.[1]
  return struct === undefined || struct === "" ? undefined : `a struct ${cut(struct)} of the kernel${moved(known)}`
}

/** Notes in front of a type, and what they mean to the reader. */
const notes: ReadonlyArray<readonly [prefix: string, meaning: string]> = [
  ["trusted_", ""],
  ["rcu_", " under RCU"],
  ["untrusted_", ", which may be gone by now"],
  ["rdonly_", ", read-only"],
  ["user_", " in user space"],
  ["percpu_", ", one for each CPU"],
  ["non_own_ref_", ", which others own"]
]

const pointerWords = (type: string, known: Register["known"]): string | undefined => {
  // `ptr_or_null_task_struct`, `map_value_or_null`, once `map_value_or_null_`.
  const maybeNull = /_or_null(_|$)/.test(type)
  let plain = type.replace(/_or_null_?$/, "").replace("_or_null_", "_")
  let noted = ""
  for (const [prefix, meaning] of notes) {
    // Not the kind of pointer that has the word in its own name.
    if (!plain.startsWith(prefix) || plain.startsWith("percpu_ptr_")) continue
    plain = plain.slice(prefix.length)
    noted += meaning
  }
  const words = pointer(plain, known)
  if (words === undefined) return undefined
  return `${maybeNull ? "NULL or " : ""}${words}${noted}`
}

/** Bytes of a stack slot as the kernel shows them, a character for each. */
const slotWords = (text: string): string => {
  const unwritten = text.split("?").length - 1
  if (unwritten > 0) return `a slot of which ${unwritten} of 8 bytes were never written`
  if (/^0+$/.test(text)) return "zeros"
  if (/d/.test(text)) return "a dynptr"
  if (/i/.test(text)) return "an iterator"
  return "bytes of which nothing is known"
}

/** What the verifier knew of a register or a stack slot: `NULL or a value of map flows of 16 bytes`. */
export const describe = (register: Register): string => {
  const { known, name, text, type } = register
  const unwritten = name.startsWith("fp") ? /^\?{1,7}/.exec(text)?.[0].length : undefined
  if (name.startsWith("fp") && /^[?0mrdifS]{8}$/.test(text)) return slotWords(text)
  if (type === "fp") {
    const off = valueOf(known.get("off"))
    const possible = range(known)
    const by = possible === undefined ? "" : `, moved by a number ${possible}`
    return off === undefined || off === 0n
      ? `the frame pointer${by}`
      : off < 0n
      ? `the address of the stack, ${bytes(-off)} below its top${by}`
      : `an address ${bytes(off)} above the top of the stack${by}`
  }
  const words = type === "scalar" ? scalar(register) : pointerWords(type, known)
  const described = words ?? `what the kernel calls ${cut(text)}`
  return unwritten === undefined ? described : `${described}; ${unwritten} of its 8 bytes were never written`
}

/** A register as the disassembly writes it, a stack slot by its distance from the frame pointer. */
export const nameOf = ({ name }: Register): string => name.startsWith("R") ? `r${name.slice(1)}` : name
