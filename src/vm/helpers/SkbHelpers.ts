/**
 * Helpers on a socket buffer that leave its length alone: bytes, hash, type, VLAN tags in the buffer's attributes, tunnels.
 *
 * Semantics: `net/core/filter.c`, in the setting of a test run.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as Skb from "../contexts/Skb.ts"
import { FAULTED, type Helper, readable, returnNumber, writable } from "../Vm.ts"
import type { Environment } from "./Environment.ts"
import { skbOf } from "./PacketArgument.ts"
import { u32, u64 } from "./Registers.ts"

/** A helper on a buffer that answers a number. */
const onBuffer = (
  environment: Environment,
  body: (skb: Skb.Skb, first: number, second: number) => number
): Helper =>
(machine) => {
  const skb = skbOf(environment, machine)
  return skb === undefined ? FAULTED : returnNumber(machine, body(skb, u32(machine, 2), u64(machine, 3)))
}

const BPF_F_RECOMPUTE_CSUM = 1
const BPF_F_INVALIDATE_HASH = 2

const storeBytes = (environment: Environment): Helper => (machine) => {
  const skb = skbOf(environment, machine)
  if (skb === undefined) return FAULTED
  const offset = u32(machine, 2)
  const size = u32(machine, 4)
  const flags = u64(machine, 5)
  const bytes = readable(machine, 3, size)
  if (bytes === undefined) return FAULTED
  if (flags > (BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH)) return returnNumber(machine, -numbers.EINVAL)
  if (offset + size > Skb.lengthOf(skb)) return returnNumber(machine, -numbers.EFAULT)
  skb.buffer.set(bytes, skb.data + offset)
  if ((flags & BPF_F_INVALIDATE_HASH) !== 0) clearHash(skb)
  return returnNumber(machine, 0)
}

const clearHash = (skb: Skb.Skb): number => {
  skb.hash = 0
  skb.hashed = false
  return 0
}

/** Copies what `start` says from the buffer; all of the destination becomes zero where that is not there. */
const loadBytes = (
  environment: Environment,
  start: (skb: Skb.Skb, offset: number, header: number) => number | undefined
): Helper =>
(machine) => {
  const skb = skbOf(environment, machine)
  if (skb === undefined) return FAULTED
  const size = u32(machine, 4)
  const into = writable(machine, 3, size)
  if (into === undefined) return FAULTED
  const at = start(skb, u32(machine, 2), u32(machine, 5))
  if (at === undefined || at + size > skb.tail) {
    into.fill(0)
    return returnNumber(machine, -numbers.EFAULT)
  }
  into.set(skb.buffer.subarray(at, at + size))
  return returnNumber(machine, 0)
}

const relativeTo = (skb: Skb.Skb, offset: number, header: number): number | undefined =>
  offset > 0xffff || header > 1 ? undefined : (header === 0 ? skb.mac : skb.network) + offset

/** Linear as the packet is, there is nothing to pull; more than it has cannot be pulled. */
const pullData = (skb: Skb.Skb, length: number): number => length > Skb.lengthOf(skb) ? -numbers.ENOMEM : 0

const changeType = (skb: Skb.Skb, type: number): number => {
  if (skb.packetType > 3 || type > 3) return -numbers.EINVAL
  skb.packetType = type
  return 0
}

/**
 * The hash of a packet that has none. The kernel's depends on a secret; this one is the sum of what it is made of there:
 * addresses, protocol and ports (FNV-1a of the bytes of an IP header's addresses and of what follows it).
 */
const recalculate = (skb: Skb.Skb): number => {
  if (!skb.hashed) {
    let hash = 0x811c9dc5
    const header = skb.network
    const end = Math.min(skb.tail, header + 44)
    for (let at = header + 8; at < end; at++) hash = Math.imul(hash ^ (skb.buffer[at] ?? 0), 0x01000193)
    skb.hash = hash >>> 0 || 1
    skb.hashed = true
  }
  return skb.hash
}

const setHash = (skb: Skb.Skb, hash: number): number => {
  skb.hash = hash
  skb.hashed = true
  return 0
}

const BPF_SKB_CLOCK_REALTIME = 0
const BPF_SKB_CLOCK_TAI = 2

const setTimestamp = (environment: Environment): Helper => (machine) => {
  const skb = skbOf(environment, machine)
  if (skb === undefined) return FAULTED
  if (skb.protocol !== 0x0800 && skb.protocol !== 0x86dd) return returnNumber(machine, -numbers.EOPNOTSUPP)
  const type = u32(machine, 3)
  const time = BigInt.asUintN(64, (BigInt(machine.high[2] ?? 0) << 32n) | BigInt(u32(machine, 2)))
  if (type > BPF_SKB_CLOCK_TAI) return returnNumber(machine, -numbers.EINVAL)
  // Only the real clock may have no time.
  if (type !== BPF_SKB_CLOCK_REALTIME && time === 0n) return returnNumber(machine, -numbers.EINVAL)
  skb.timestamp = time
  skb.timestampType = type
  return returnNumber(machine, 0)
}

/** Packets of a test run came through no tunnel. */
const noTunnel = (environment: Environment, answer: number): Helper => (machine) => {
  if (skbOf(environment, machine) === undefined) return FAULTED
  const into = writable(machine, 2, u32(machine, 3))
  if (into === undefined) return FAULTED
  into.fill(0)
  return returnNumber(machine, answer)
}

/** The helpers by their name without prefix. */
export const helpers = (environment: Environment): Readonly<Record<string, Helper>> => ({
  skb_store_bytes: storeBytes(environment),
  skb_load_bytes: loadBytes(environment, (skb, offset) => skb.data + offset),
  skb_load_bytes_relative: loadBytes(environment, relativeTo),
  skb_pull_data: onBuffer(environment, pullData),
  skb_change_type: onBuffer(environment, changeType),
  skb_set_tstamp: setTimestamp(environment),
  skb_get_tunnel_key: noTunnel(environment, -numbers.EINVAL),
  skb_get_tunnel_opt: noTunnel(environment, -numbers.ENOENT),
  get_hash_recalc: onBuffer(environment, recalculate),
  set_hash: onBuffer(environment, setHash),
  set_hash_invalid: onBuffer(environment, clearHash),
  // A packet of a test run has no route.
  get_route_realm: onBuffer(environment, () => 0)
})
