// Networks as people write them and as the firewall has them: IPv4 is the last 32 of its 128 bits (::ffff:a.b.c.d).
import { isIPv4, isIPv6 } from "node:net"
import type { network } from "./firewall.skel.ts"

/** The eight 16-bit groups of an IPv6 address; `::` stands for as many zeros as are missing. */
const groups = (text: string): ReadonlyArray<number> => {
  const [head = "", tail] = text.split("::")
  const parse = (part: string) => part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16))
  const [first, last] = [parse(head), parse(tail ?? "")]
  return [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last]
}

/** The network that a text names, an address alone being one of itself; `undefined` for what names none. */
export const parseNetwork = (text: string): network | undefined => {
  const [address = "", length, ...more] = text.split("/")
  const isFour = isIPv4(address)
  if (more.length > 0 || (!isFour && (!isIPv6(address) || /[.%]/.test(address)))) return undefined
  const most = isFour ? 32 : 128
  const bits = length === undefined ? most : /^\d{1,3}$/.test(length) ? Number(length) : -1
  if (bits < 0 || bits > most) return undefined
  const bytes = isFour
    ? [...Array<number>(10).fill(0), 0xff, 0xff, ...address.split(".").map(Number)]
    : groups(address).flatMap((group) => [group >> 8, group & 0xff])
  return { prefix: isFour ? bits + 96 : bits, address: Uint8Array.from(bytes) }
}

const isMapped = (address: Uint8Array): boolean =>
  address.subarray(0, 10).every((byte) => byte === 0) && address[10] === 0xff && address[11] === 0xff

/** A network as it is written, IPv6 in full. */
export const networkText = ({ address, prefix }: network): string => {
  if (prefix >= 96 && isMapped(address)) return `${address.subarray(12).join(".")}/${prefix - 96}`
  const view = new DataView(address.buffer, address.byteOffset, address.length)
  return `${Array.from({ length: 8 }, (_, at) => view.getUint16(2 * at).toString(16)).join(":")}/${prefix}`
}
