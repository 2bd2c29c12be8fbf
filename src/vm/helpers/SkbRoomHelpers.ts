/**
 * Helpers that change a packet's length or its headers: head, tail, room between headers, protocol, VLAN tags.
 *
 * Semantics: `net/core/filter.c`, `net/core/skbuff.c`, in the setting of a test run: the packet leaves by a device, has no
 * checksum of one, and is not shared.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as Skb from "../contexts/Skb.ts"
import { FAULTED, type Helper, returnNumber } from "../Vm.ts"
import type { Environment } from "./Environment.ts"
import { skbOf } from "./PacketArgument.ts"
import { s32, u32, u64 } from "./Registers.ts"

/** The longest packet that a program can make. */
const maximumLength = 4 * 4096 - 320

/** The largest piece of memory that the kernel gives. */
const maximumBuffer = 4 * 1024 * 1024

const ETH_P_IP = 0x0800
const ETH_P_IPV6 = 0x86dd
const ETH_P_8021Q = 0x8100
const ETH_P_8021AD = 0x88a8
const ETH_P_802_3_MIN = 0x0600
const VLAN_HLEN = 4
const { ETH_HLEN } = Skb

const isSegmented = (skb: Skb.Skb): boolean => skb.gsoSize !== 0

const macLength = (skb: Skb.Skb): number => skb.network - skb.mac

const resized = (skb: Skb.Skb, answer: number): number => {
  Skb.refresh(skb)
  return answer
}

const u16 = (skb: Skb.Skb, at: number): number => ((skb.buffer[at] ?? 0) << 8) | (skb.buffer[at + 1] ?? 0)

const changeTail = (skb: Skb.Skb, length: number, flags: number): number => {
  const header = Math.max(0, skb.network - skb.data)
  const transport = skb.transport < 0 ? 0 : skb.transport - skb.data
  const minimum = transport > 0 ? transport : header
  if (flags !== 0 || length > maximumLength || length < minimum) return -numbers.EINVAL
  if (skb.encapsulated) return -numbers.ENOTSUPP
  const more = length - Skb.lengthOf(skb)
  if (more > 0) {
    Skb.reserveTail(skb, more)
    skb.buffer.fill(0, skb.tail, skb.tail + more)
  }
  skb.tail += more
  // What a packet was to be cut into does not hold any more.
  if (isSegmented(skb)) skb.gsoSize = skb.gsoSegments = 0
  return resized(skb, 0)
}

const changeHead = (skb: Skb.Skb, room: number, flags: number): number => {
  const length = Skb.lengthOf(skb) + room
  if (flags !== 0 || room > 0x7fff_ffff || (!isSegmented(skb) && length > maximumLength)) return -numbers.EINVAL
  if (skb.buffer.length + room > maximumBuffer) return -numbers.ENOMEM
  Skb.reserveHead(skb, room)
  skb.data -= room
  skb.buffer.fill(0, skb.data, skb.data + room)
  skb.mac = skb.data
  return resized(skb, 0)
}

/** Puts `size` zeroed bytes into the packet at `offset`; headers before them move to the front. */
const pushHeader = (skb: Skb.Skb, offset: number, size: number): void => {
  Skb.reserveHead(skb, size)
  const same = skb.transport === skb.network
  skb.data -= size
  skb.buffer.copyWithin(skb.data, skb.data + size, skb.data + size + offset)
  skb.buffer.fill(0, skb.data + offset, skb.data + offset + size)
  skb.mac -= size
  skb.network -= size
  if (same) skb.transport = skb.network
}

/** Takes `size` bytes out of the packet at `offset`; false where it has not that many. */
const popHeader = (skb: Skb.Skb, offset: number, size: number): boolean => {
  if (offset + size > Skb.lengthOf(skb)) return false
  const same = skb.transport === skb.network
  skb.buffer.copyWithin(skb.data + size, skb.data, skb.data + offset)
  skb.data += size
  skb.mac += size
  skb.network += size
  if (same) skb.transport = skb.network
  return true
}

/** Changes between IPv4 and IPv6: the headers' sizes only, the program writes what is in them. */
const changeProtocol = (skb: Skb.Skb, to: number, flags: number): number => {
  if (flags !== 0) return -numbers.EINVAL
  const protocol = ((to & 0xff) << 8) | ((to >>> 8) & 0xff)
  const difference = 20
  if (skb.protocol === ETH_P_IP && protocol === ETH_P_IPV6) pushHeader(skb, macLength(skb), difference)
  else if (skb.protocol === ETH_P_IPV6 && protocol === ETH_P_IP) {
    if (!popHeader(skb, macLength(skb), difference)) return -numbers.ENOMEM
  } else return -numbers.ENOTSUPP
  skb.protocol = protocol
  skb.hash = 0
  skb.hashed = false
  return resized(skb, 0)
}

const ROOM_NET = 0
const ROOM_MAC = 1
const FIXED_GSO = 1
const ENCAP_L3_IPV4 = 2
const ENCAP_L3_IPV6 = 4
const ENCAP_L4_GRE = 8
const ENCAP_L4_UDP = 0x10
const NO_CSUM_RESET = 0x20
const ENCAP_L2_ETH = 0x40
const DECAP_L3_IPV4 = 0x80
const DECAP_L3_IPV6 = 0x100
/** The length of an inner link header, in the highest 8 bits of 64. */
const innerLinkBits = 0xff00_0000
const encapL3 = ENCAP_L3_IPV4 | ENCAP_L3_IPV6
const decapL3 = DECAP_L3_IPV4 | DECAP_L3_IPV6
const knownRoomFlags = FIXED_GSO | encapL3 | ENCAP_L4_GRE | ENCAP_L4_UDP | NO_CSUM_RESET | ENCAP_L2_ETH | decapL3

const headerOf = (protocol: number): number => protocol === ETH_P_IP ? 20 : 40

const adjustRoom = (
  skb: Skb.Skb,
  difference: number,
  mode: number,
  flags: number,
  flagsHigh: number
): number => {
  if ((flags & ~knownRoomFlags) !== 0 || (flagsHigh & ~innerLinkBits) !== 0) return -numbers.EINVAL
  const size = Math.abs(difference)
  if (size > 0xfff) return -numbers.EFAULT
  if (skb.protocol !== ETH_P_IP && skb.protocol !== ETH_P_IPV6) return -numbers.ENOTSUPP
  if (mode !== ROOM_NET && mode !== ROOM_MAC) return -numbers.ENOTSUPP
  const offset = macLength(skb) + (mode === ROOM_NET ? headerOf(skb.protocol) : 0)
  const shrinks = difference < 0
  let minimum = headerOf(skb.protocol)
  if ((flags & decapL3) !== 0) {
    if (!shrinks || (flags & decapL3) === decapL3) return -numbers.EINVAL
    minimum = (flags & DECAP_L3_IPV4) !== 0 ? 20 : 40
  }
  const current = skb.tail - skb.network
  if (
    shrinks
      ? size >= current || current - size < minimum
      : Skb.lengthOf(skb) + size > maximumLength && !isSegmented(skb)
  ) {
    return -numbers.ENOTSUPP
  }
  return resized(skb, shrinks ? shrinkRoom(skb, offset, size, flags) : growRoom(skb, offset, size, flags, flagsHigh))
}

const growRoom = (skb: Skb.Skb, offset: number, size: number, flags: number, flagsHigh: number): number => {
  // Segments of a test run are of no protocol, and only those of TCP and UDP can be moved.
  if (isSegmented(skb)) return -numbers.ENOTSUPP
  const encap = flags & encapL3
  const innerLink = flagsHigh >>> 24
  if (encap !== 0) {
    if (skb.protocol !== ETH_P_IP && skb.protocol !== ETH_P_IPV6) return -numbers.ENOTSUPP
    if (encap === encapL3 || ((flags & ENCAP_L4_GRE) !== 0 && (flags & ENCAP_L4_UDP) !== 0)) return -numbers.EINVAL
    if ((flags & ENCAP_L2_ETH) !== 0 && innerLink < ETH_HLEN) return -numbers.EINVAL
    if (skb.encapsulated) return -numbers.EALREADY
    if (innerLink > size) return -numbers.EINVAL
  }
  const link = macLength(skb)
  pushHeader(skb, offset, size)
  if (encap !== 0) {
    skb.encapsulated = true
    skb.network = skb.data + link
    if ((flags & (ENCAP_L4_GRE | ENCAP_L4_UDP)) !== 0 || innerLink === 0) {
      skb.transport = skb.network + (encap === ENCAP_L3_IPV4 ? 20 : 40)
    }
    skb.protocol = encap === ENCAP_L3_IPV4 ? ETH_P_IP : ETH_P_IPV6
  }
  return 0
}

const shrinkRoom = (skb: Skb.Skb, offset: number, size: number, flags: number): number => {
  if ((flags & ~(FIXED_GSO | decapL3 | NO_CSUM_RESET)) !== 0) return -numbers.EINVAL
  if (isSegmented(skb)) return -numbers.ENOTSUPP
  if (!popHeader(skb, offset, size)) return -numbers.ENOMEM
  if ((flags & DECAP_L3_IPV6) !== 0) skb.protocol = ETH_P_IPV6
  if ((flags & DECAP_L3_IPV4) !== 0) skb.protocol = ETH_P_IP
  return 0
}

const isVlan = (protocol: number): boolean => protocol === ETH_P_8021Q || protocol === ETH_P_8021AD

/** Sets the tag beside the packet; one that is there already goes into it. */
const pushVlan = (skb: Skb.Skb, protocolIn: number, tag: number): number => {
  const swapped = ((protocolIn & 0xff) << 8) | ((protocolIn >>> 8) & 0xff)
  const protocol = isVlan(swapped) ? swapped : ETH_P_8021Q
  if (skb.vlanPresent) {
    if (Skb.lengthOf(skb) < ETH_HLEN) return -numbers.ENOMEM
    Skb.reserveHead(skb, VLAN_HLEN)
    skb.data -= VLAN_HLEN
    skb.buffer.copyWithin(skb.data, skb.data + VLAN_HLEN, skb.data + VLAN_HLEN + 12)
    const at = skb.data + 12
    skb.buffer.set(
      [skb.vlanProtocol >>> 8, skb.vlanProtocol & 0xff, skb.vlanTag >>> 8, skb.vlanTag & 0xff],
      at
    )
    skb.mac -= VLAN_HLEN
    skb.protocol = skb.vlanProtocol
  }
  skb.vlanProtocol = protocol
  skb.vlanTag = tag & 0xffff
  skb.vlanPresent = true
  return resized(skb, 0)
}

/** Takes the tag out of the packet and answers it, or a negative error number. */
const takeTag = (skb: Skb.Skb): number => {
  if (Skb.lengthOf(skb) < ETH_HLEN + VLAN_HLEN) return -numbers.ENOMEM
  const at = skb.data + ETH_HLEN
  const tag = u16(skb, at)
  const inner = u16(skb, at + 2)
  // Without a type the frame has a length, and 0xffff behind it says which kind it is.
  const length = skb.tail > at + 5 && u16(skb, at + 4) === 0xffff ? 1 : 4
  skb.protocol = inner >= ETH_P_802_3_MIN ? inner : length
  skb.buffer.copyWithin(skb.data + VLAN_HLEN, skb.data, skb.data + 12)
  skb.data += VLAN_HLEN
  skb.mac = skb.data
  if (skb.network - skb.data < ETH_HLEN) skb.network = skb.data + ETH_HLEN
  return tag
}

const popVlan = (skb: Skb.Skb): number => {
  if (skb.vlanPresent) {
    skb.vlanPresent = false
    skb.vlanTag = 0
    skb.vlanProtocol = 0
  } else {
    if (!isVlan(skb.protocol)) return 0
    const outer = takeTag(skb)
    if (outer < 0) return outer
  }
  // The next tag takes the place of the one that went.
  if (isVlan(skb.protocol)) {
    const protocol = skb.protocol
    const tag = takeTag(skb)
    if (tag < 0) return resized(skb, tag)
    skb.vlanProtocol = protocol
    skb.vlanTag = tag
    skb.vlanPresent = true
  }
  return resized(skb, 0)
}

/** A helper on a buffer that answers a number. */
const onBuffer = (
  environment: Environment,
  body: (skb: Skb.Skb, first: number, second: number) => number,
  flags: (machine: Parameters<Helper>[0]) => number = (machine) => u64(machine, 3)
): Helper =>
(machine) => {
  const skb = skbOf(environment, machine)
  return skb === undefined ? FAULTED : returnNumber(machine, body(skb, u32(machine, 2), flags(machine)))
}

/** The helpers by their name without prefix. */
export const helpers = (environment: Environment): Readonly<Record<string, Helper>> => ({
  skb_change_tail: onBuffer(environment, changeTail),
  skb_change_head: onBuffer(environment, changeHead),
  skb_change_proto: onBuffer(environment, (skb, to, flags) => changeProtocol(skb, to & 0xffff, flags)),
  skb_vlan_push: onBuffer(environment, pushVlan, (machine) => u32(machine, 3)),
  skb_vlan_pop: onBuffer(environment, popVlan),
  skb_adjust_room: (machine) => {
    const skb = skbOf(environment, machine)
    if (skb === undefined) return FAULTED
    const flags = u32(machine, 4)
    const answer = adjustRoom(skb, s32(machine, 2), u32(machine, 3), flags, machine.high[4] as number)
    return returnNumber(machine, answer)
  }
})
