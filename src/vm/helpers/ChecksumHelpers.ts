/**
 * Helpers on internet checksums: differences, and replacing what a checksum covers. Packets of a test run come without a
 * checksum of the device, so nothing but the packet changes.
 *
 * Sums are of 32-bit words as they lie in memory, with the carry added back in (RFC 1071); a sum is 0 only of zeros, as on
 * x86-64. Semantics: `net/core/filter.c`, `net/core/utils.c`, `include/net/checksum.h`.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as Skb from "../contexts/Skb.ts"
import { FAULTED, type Helper, readable, returnNumber } from "../Vm.ts"
import type { Environment } from "./Environment.ts"
import { skbOf } from "./PacketArgument.ts"
import { u32, u64 } from "./Registers.ts"

/** The sum of two 32-bit words with the carry added back in. */
const add = (left: number, right: number): number => {
  const sum = (left >>> 0) + (right >>> 0)
  return (sum % 0x1_0000_0000 + Math.floor(sum / 0x1_0000_0000)) >>> 0
}

const subtract = (left: number, right: number): number => add(left, ~right)

/** The sum of bytes from a seed on; a last word that is not whole ends with zeros. */
const sumOf = (bytes: Uint8Array, seed: number): number => {
  let sum = seed >>> 0
  for (let at = 0; at < bytes.length; at += 4) {
    const word = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24)
    sum = add(sum, word)
  }
  return sum
}

/** A sum of 16 bits. */
const to16 = (sum: number): number => {
  const folded = (sum & 0xffff) + (sum >>> 16)
  return (folded & 0xffff) + (folded >>> 16)
}

/** The checksum that a sum makes. */
const fold = (sum: number): number => ~to16(sum) & 0xffff

const difference: Helper = (machine) => {
  const fromSize = u32(machine, 2)
  const toSize = u32(machine, 4)
  const seed = u32(machine, 5)
  const from = fromSize === 0 ? undefined : readable(machine, 1, fromSize)
  const to = toSize === 0 ? undefined : readable(machine, 3, toSize)
  if ((fromSize > 0 && from === undefined) || (toSize > 0 && to === undefined)) return FAULTED
  const sum = from !== undefined && to !== undefined
    ? subtract(sumOf(to, seed), sumOf(from, 0))
    : to !== undefined
    ? sumOf(to, seed)
    : from !== undefined
    ? ~sumOf(from, ~seed) >>> 0
    : seed
  return returnNumber(machine, to16(sum))
}

const BPF_F_HDR_FIELD_MASK = 0xf
const BPF_F_PSEUDO_HDR = 0x10
const BPF_F_MARK_MANGLED_0 = 0x20
const BPF_F_MARK_ENFORCE = 0x40
const BPF_F_IPV6 = 0x80

/** The checksum after a field of 4 bytes that it covers changed. */
const replaced4 = (checksum: number, from: number, to: number): number => fold(add(subtract(~checksum, from), to))

/** The checksum after a field of 2 bytes that it covers changed: 16 bits at a time may give the other one of two zeros. */
const replaced2 = (checksum: number, from: number, to: number): number =>
  ~add16(add16(~checksum & 0xffff, ~from & 0xffff), to & 0xffff) & 0xffff

/** The checksum after a difference. */
const replacedBy = (checksum: number, difference: number): number => fold(add(difference, ~checksum))

const add16 = (left: number, right: number): number => {
  const sum = left + right
  return (sum + (sum >>> 16)) & 0xffff
}

const replace = (
  environment: Environment,
  knownFlags: number,
  of2: (checksum: number, from: number, to: number) => number
): Helper =>
(machine) => {
  const skb = skbOf(environment, machine)
  if (skb === undefined) return FAULTED
  const offset = u32(machine, 2)
  const flags = u64(machine, 5)
  if (flags > 0xffff || (flags & ~knownFlags) !== 0) return returnNumber(machine, -numbers.EINVAL)
  if (offset > 0xffff || offset % 2 !== 0 || offset + 2 > Skb.lengthOf(skb)) {
    return returnNumber(machine, -numbers.EFAULT)
  }
  const at = skb.data + offset
  const checksum = (skb.buffer[at] ?? 0) | ((skb.buffer[at + 1] ?? 0) << 8)
  const mangled = (flags & BPF_F_MARK_MANGLED_0) !== 0
  // 0 says that there is no checksum, and stays so.
  if (mangled && (flags & BPF_F_MARK_ENFORCE) === 0 && checksum === 0) return returnNumber(machine, 0)
  const size = flags & BPF_F_HDR_FIELD_MASK
  // Of a difference there is no old value.
  if ((size !== 0 && size !== 2 && size !== 4) || (size === 0 && u64(machine, 3) !== 0)) {
    return returnNumber(machine, -numbers.EINVAL)
  }
  const from = u32(machine, 3)
  const to = u32(machine, 4)
  let after = size === 0
    ? replacedBy(checksum, to)
    : size === 2
    ? of2(checksum, from & 0xffff, to & 0xffff)
    : replaced4(checksum, from, to)
  if (mangled && after === 0) after = 0xffff
  skb.buffer[at] = after
  skb.buffer[at + 1] = after >>> 8
  return returnNumber(machine, 0)
}

/** The helpers by their name without prefix. */
export const helpers = (environment: Environment): Readonly<Record<string, Helper>> => ({
  csum_diff: difference,
  l3_csum_replace: replace(environment, BPF_F_HDR_FIELD_MASK, replaced2),
  l4_csum_replace: replace(
    environment,
    BPF_F_HDR_FIELD_MASK | BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE | BPF_F_IPV6,
    replaced4
  ),
  // Both are about the device's checksum, and there is none.
  csum_update: (machine) =>
    skbOf(environment, machine) === undefined ? FAULTED : returnNumber(machine, -numbers.ENOTSUPP),
  csum_level: (machine) => {
    if (skbOf(environment, machine) === undefined) return FAULTED
    const level = u64(machine, 2)
    return returnNumber(machine, level === 0 ? -numbers.EACCES : level > 3 ? -numbers.EINVAL : 0)
  }
})
