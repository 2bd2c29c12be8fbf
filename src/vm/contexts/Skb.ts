/**
 * A socket buffer: the packet and its attributes that programs of the kinds with a `struct __sk_buff` see.
 *
 * All of a packet is linear, which is what a test run of Linux 6.18 makes. Headers are offsets from the start of `buffer`;
 * the packet is `buffer` from `data` to `tail`, and what lies around it is room that moves grow into.
 *
 * Layout of `struct __sk_buff`: `include/uapi/linux/bpf.h`; what its fields read and write: `bpf_convert_ctx_access` and the
 * `*_is_valid_access` functions of `net/core/filter.c`.
 */
import * as Memory from "../Memory.ts"

/** Bytes of `struct __sk_buff`. */
export const SK_BUFF_SIZE = 192

/** Bytes of an Ethernet header. */
export const ETH_HLEN = 14

/** Where fields are in `struct __sk_buff`. */
export const Field = {
  len: 0,
  pkt_type: 4,
  mark: 8,
  queue_mapping: 12,
  protocol: 16,
  vlan_present: 20,
  vlan_tci: 24,
  vlan_proto: 28,
  priority: 32,
  ingress_ifindex: 36,
  ifindex: 40,
  tc_index: 44,
  cb: 48,
  hash: 68,
  tc_classid: 72,
  data: 76,
  data_end: 80,
  napi_id: 84,
  family: 88,
  remote_ip4: 92,
  local_ip4: 96,
  remote_ip6: 100,
  local_ip6: 116,
  remote_port: 132,
  local_port: 136,
  data_meta: 140,
  flow_keys: 144,
  tstamp: 152,
  wire_len: 160,
  gso_segs: 164,
  sk: 168,
  gso_size: 176,
  tstamp_type: 180,
  hwtstamp: 184
} as const

/** Bytes of `cb`. */
export const CB_SIZE = 20

/** Which fields programs see: those of the traffic control hooks, of sockets, of control groups, of tunnels. */
export type SkbKind = "Tc" | "Socket" | "Cgroup" | "Lwt"

/** A socket buffer. Numbers are unsigned unless said otherwise. */
export interface Skb {
  readonly _tag: "Skb"
  readonly kind: SkbKind
  /** The region of the packet, from `data` to `tail`. */
  readonly packet: Memory.Region
  buffer: Uint8Array
  data: number
  tail: number
  mac: number
  network: number
  /** -1 where nothing has set it. */
  transport: number
  /** 0 this host, 1 broadcast, 2 multicast, 3 another host. */
  packetType: number
  /** Ethernet type, 16 bits in host order. */
  protocol: number
  mark: number
  priority: number
  queueMapping: number
  /** 16 bits in host order. */
  vlanProtocol: number
  vlanTag: number
  vlanPresent: boolean
  ingressIfindex: number
  ifindex: number
  tcIndex: number
  tcClassId: number
  readonly cb: Uint8Array
  readonly cbView: DataView
  hash: number
  /** Whether `hash` is known: it is computed or set when it is asked for. */
  hashed: boolean
  timestamp: bigint
  timestampType: number
  hardwareTimestamp: bigint
  wireLength: number
  gsoSegments: number
  gsoSize: number
  /** Whether room was made for an outer header. */
  encapsulated: boolean
  /** Of the socket: `AF_*`, and addresses as they stand in the packet, 4 or 16 bytes. */
  family: number
  source: Uint8Array
  destination: Uint8Array
}

/** The length of a packet. */
export const lengthOf = (skb: Skb): number => skb.tail - skb.data

/** The bytes of a packet, as a view. */
export const bytesOf = (skb: Skb): Uint8Array => skb.buffer.subarray(skb.data, skb.tail)

/** Lets the region of the packet show what the packet is now: after every move of `data` or `tail`. */
export const refresh = (skb: Skb): void => Memory.rebind(skb.packet, bytesOf(skb))

/** What room before the packet grows by a multiple of. */
const PAD = 64

/**
 * Makes room for `size` more bytes before the packet, as much as the kernel makes. Moving the headers along it also moves the
 * transport header that nothing has set: that counts as set from then on, somewhere.
 */
export const reserveHead = (skb: Skb, size: number): void => {
  if (size <= skb.data) return
  const more = Math.ceil((size - skb.data) / PAD) * PAD
  const bytes = new Uint8Array(more + skb.buffer.length)
  bytes.set(skb.buffer, more)
  skb.buffer = bytes
  skb.data += more
  skb.tail += more
  skb.mac += more
  skb.network += more
  skb.transport += more
}

/** Makes room for `size` more bytes behind the packet. */
export const reserveTail = (skb: Skb, size: number): void => {
  if (skb.tail + size <= skb.buffer.length) return
  const bytes = new Uint8Array(skb.tail + size)
  bytes.set(skb.buffer)
  skb.buffer = bytes
}

/** Halves of the pointer that a 4-byte field stands for. */
const point = (region: Memory.Region, offset: number, out: Int32Array): true => {
  out[0] = offset
  out[1] = region.id
  return true
}

const swap16 = (value: number): number => ((value & 0xff) << 8) | (value >>> 8)

const word = (bytes: Uint8Array, at: number): number =>
  (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)

const AF_INET = 2
const AF_INET6 = 10

/** The value of the 4-byte field at a multiple of 4, as int32 or uint32; undefined where there is none that is a number. */
const numberAt = (skb: Skb, field: number): number | undefined => {
  switch (field) {
    case Field.len:
      return lengthOf(skb)
    case Field.pkt_type:
      return skb.packetType
    case Field.mark:
      return skb.mark
    case Field.queue_mapping:
      return skb.queueMapping
    case Field.protocol:
      return swap16(skb.protocol)
    case Field.vlan_present:
      return skb.vlanPresent ? 1 : 0
    case Field.vlan_tci:
      return skb.vlanTag
    case Field.vlan_proto:
      return swap16(skb.vlanProtocol)
    case Field.priority:
      return skb.priority
    case Field.ingress_ifindex:
      return skb.ingressIfindex
    case Field.ifindex:
      return skb.ifindex
    case Field.tc_index:
      return skb.tcIndex
    case Field.hash:
      return skb.hash
    case Field.tc_classid:
      return skb.kind === "Socket" || skb.kind === "Cgroup" ? undefined : skb.tcClassId
    case Field.napi_id:
      return 0
    case Field.tstamp:
      return Memory.lowOf(skb.timestamp)
    case Field.tstamp + 4:
      return Memory.highOf(skb.timestamp)
    case Field.hwtstamp:
      return Memory.lowOf(skb.hardwareTimestamp)
    case Field.hwtstamp + 4:
      return Memory.highOf(skb.hardwareTimestamp)
    case Field.wire_len:
      return skb.kind === "Tc" ? skb.wireLength : undefined
    case Field.gso_segs:
      return skb.gsoSegments
    case Field.gso_size:
      return skb.gsoSize
    case Field.tstamp_type:
      return skb.timestampType
  }
  if (field >= Field.cb && field < Field.cb + CB_SIZE) return skb.cbView.getInt32(field - Field.cb, true)
  return field >= Field.family && field <= Field.local_port && skb.kind === "Cgroup" ? socketAt(skb, field) : undefined
}

/** What the socket of a test run says of itself. */
const socketAt = (skb: Skb, field: number): number => {
  const isIpv4 = skb.family === AF_INET
  const isIpv6 = skb.family === AF_INET6
  if (field === Field.family) return skb.family
  if (field === Field.remote_ip4) return isIpv4 ? word(skb.destination, 0) : 0
  if (field === Field.local_ip4) return isIpv4 ? word(skb.source, 0) : 0
  if (field >= Field.remote_ip6 && field < Field.local_ip6) {
    return isIpv6
      ? word(skb.destination, field - Field.remote_ip6)
      : 0
  }
  if (field >= Field.local_ip6 && field < Field.remote_port) {
    return isIpv6
      ? word(skb.source, field - Field.local_ip6)
      : 0
  }
  return 0
}

const isDirect = (skb: Skb): boolean => skb.kind !== "Socket"

const load = (skb: Skb, offset: number, size: Memory.AccessSize, out: Int32Array): boolean => {
  const field = offset & ~3
  out[1] = 0
  if (size === 8) {
    // 64-bit fields, and pairs of words of the control buffer.
    const wide = field === Field.tstamp || field === Field.hwtstamp ||
      (field >= Field.cb && field + 8 <= Field.cb + CB_SIZE && field % 8 === 0)
    if (!wide || field !== offset) return false
    out[0] = numberAt(skb, field) ?? 0
    out[1] = numberAt(skb, field + 4) ?? 0
    return true
  }
  if (size === 4 && field === offset && isDirect(skb)) {
    if (field === Field.data) return point(skb.packet, 0, out)
    if (field === Field.data_end) return point(skb.packet, lengthOf(skb), out)
    if (field === Field.data_meta && skb.kind === "Tc") return point(skb.packet, 0, out)
  }
  const value = numberAt(skb, field)
  const within = offset - field
  if (value === undefined || within + size > 4) return false
  if (size === 4) out[0] = value
  else out[0] = (value >>> (within * 8)) & (size === 1 ? 0xff : 0xffff)
  return true
}

const store = (skb: Skb, offset: number, size: Memory.AccessSize, low: number, high: number): boolean => {
  if (offset >= Field.cb && offset + size <= Field.cb + CB_SIZE) {
    const at = offset - Field.cb
    if (size === 1) skb.cbView.setInt8(at, low)
    else if (size === 2) skb.cbView.setInt16(at, low, true)
    else skb.cbView.setInt32(at, low, true)
    if (size === 8) skb.cbView.setInt32(at + 4, high, true)
    return true
  }
  if (skb.kind === "Socket") return false
  if (size === 8 && offset === Field.tstamp) {
    skb.timestamp = Memory.bigintOf(low, high)
    return true
  }
  if (size !== 4) return false
  if (offset === Field.mark) skb.mark = low >>> 0
  else if (offset === Field.priority) skb.priority = low >>> 0
  else if (skb.kind !== "Tc") return false
  else if (offset === Field.tc_index) skb.tcIndex = low & 0xffff
  else if (offset === Field.tc_classid) skb.tcClassId = low & 0xffff
  else if (offset === Field.queue_mapping) {
    // 0xffff stands for no queue, and such a write does nothing.
    if (low >>> 0 < 0xffff) skb.queueMapping = low
  } else return false
  return true
}

/** Loads and stores of `struct __sk_buff`. */
export const accessor = (skb: Skb): Memory.Accessor => ({
  load: (offset, size, out) => load(skb, offset, size, out),
  store: (offset, size, low, high) => store(skb, offset, size, low, high)
})

/**
 * The legacy packet load: `size` bytes at `offset` from the packet's start, or of its network or link header where `offset`
 * is negative; undefined where they are not within the packet.
 */
export const packetLoad = (skb: Skb, offset: number, size: number): number | undefined => {
  const at = offset >= 0
    ? skb.data + offset
    : offset >= SKF_NET_OFF
    ? skb.network + offset - SKF_NET_OFF
    : offset >= SKF_LL_OFF
    ? skb.mac + offset - SKF_LL_OFF
    : -1
  if (at < 0 || at + size > skb.tail) return undefined
  let value = 0
  for (let i = 0; i < size; i++) value = value * 256 + (skb.buffer[at + i] ?? 0)
  return value
}

/** Offsets from here on count from the network header. */
const SKF_NET_OFF = -0x10_0000
/** Offsets from here on count from the link header. */
const SKF_LL_OFF = -0x20_0000
