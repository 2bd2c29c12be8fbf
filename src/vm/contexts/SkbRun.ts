/**
 * Test runs on a socket buffer: the packet as a device would have received it, and what comes back.
 *
 * Rules: `bpf_prog_test_run_skb` in `net/bpf/test_run.c`.
 */
import * as Result from "effect/Result"
import { TestRunFlag } from "../../services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import { type Device, type Environment, loopback } from "../helpers/Environment.ts"
import * as Memory from "../Memory.ts"
import type { Left, Opened, TestRunInput } from "./Contexts.ts"
import * as Skb from "./Skb.ts"
import { refusal, type TestRunError, UnsupportedTestRun } from "./TestRunError.ts"
import { inputContext } from "./InputContext.ts"

const { BPF_F_TEST_SKB_CHECKSUM_COMPLETE } = TestRunFlag
const { ETH_HLEN, Field, SK_BUFF_SIZE } = Skb

/** Room before the packet, and the longest packet: a page without the room on both sides. */
const headroom = 64
const maximumLength = 4096 - headroom - 320

const ETH_P_802_3 = 0x0001
const ETH_P_802_2 = 0x0004
const ETH_P_IP = 0x0800
const ETH_P_IPV6 = 0x86dd
/** Ethernet types begin here; numbers below are lengths. */
const ETH_P_802_3_MIN = 0x0600

const AF_INET = 2
const AF_INET6 = 10

/** What `wire_len` and `gso_segs` may be at most. */
const maximumWireLength = 65536
const maximumSegments = 65535

/** The parts of a context that may be given; all others must be zero. End offsets are exclusive. */
const given: ReadonlyArray<readonly [number, number]> = [
  [Field.mark, Field.mark + 4],
  [Field.priority, Field.ifindex + 4],
  [Field.cb, Field.cb + Skb.CB_SIZE],
  [Field.tstamp, Field.gso_segs + 4],
  [Field.gso_size, Field.gso_size + 4],
  [Field.hwtstamp, SK_BUFF_SIZE]
]

const isGiven = (offset: number): boolean => given.some(([from, to]) => offset >= from && offset < to)

const hasOthers = (context: Uint8Array): boolean => context.some((byte, offset) => byte !== 0 && !isGiven(offset))

const equal = (left: Uint8Array, right: Uint8Array): boolean => left.every((byte, at) => byte === right[at])

const packetType = (destination: Uint8Array, device: Device): number => {
  if (equal(destination, device.address)) return 0
  if (((destination[0] ?? 0) & 1) === 0) return 3
  return equal(destination, device.broadcast) ? 1 : 2
}

/** The Ethernet type of a frame, in host order; frames with a length instead are told apart by what follows it. */
const protocolOf = (frame: Uint8Array): number => {
  const type = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0)
  if (type >= ETH_P_802_3_MIN) return type
  return frame.length >= ETH_HLEN + 2 && frame[14] === 0xff && frame[15] === 0xff ? ETH_P_802_3 : ETH_P_802_2
}

/** Opens the context of a run on a packet of these bytes, an Ethernet frame. */
export const open = (
  environment: Environment,
  kind: Skb.SkbKind,
  input: TestRunInput
): Result.Result<Opened, TestRunError | UnsupportedTestRun> => {
  const flags = input.flags ?? 0
  if ((flags & ~BPF_F_TEST_SKB_CHECKSUM_COMPLETE) !== 0 || input.cpu || input.batchSize) {
    return Result.fail(refusal(numbers.EINVAL, "packets are run without CPU, batch size and flags of other kinds"))
  }
  const frame = input.dataIn ?? new Uint8Array(0)
  if (frame.length < ETH_HLEN || frame.length > maximumLength) {
    return Result.fail(
      refusal(numbers.EINVAL, `a packet has ${ETH_HLEN} to ${maximumLength} bytes, not ${frame.length}`)
    )
  }
  if (flags !== 0) return Result.fail(new UnsupportedTestRun({ what: "packets with BPF_F_TEST_SKB_CHECKSUM_COMPLETE" }))
  const context = inputContext(input, SK_BUFF_SIZE)
  if (typeof context === "number") return Result.fail(refusal(context, "the context has bytes beyond struct __sk_buff"))
  const view = context === undefined ? undefined : new DataView(context.buffer)
  const read = (offset: number): number => view?.getUint32(offset, true) ?? 0
  const ifindex = read(Field.ifindex)
  const device = ifindex > 1 ? environment.devices.get(ifindex) : environment.devices.get(1) ?? loopback
  if (device === undefined) return Result.fail(refusal(numbers.ENODEV, `there is no interface ${ifindex}`))
  const protocol = protocolOf(frame)
  const ipHeader = protocol === ETH_P_IP ? 20 : protocol === ETH_P_IPV6 ? 40 : 0
  if (frame.length - ETH_HLEN < ipHeader) {
    return Result.fail(refusal(numbers.EINVAL, "the Ethernet type names IP, and the packet is shorter than its header"))
  }
  const refused = context === undefined ? undefined : checkContext(context, read, kind === "Tc", frame.length)
  if (refused !== undefined) return Result.fail(refusal(numbers.EINVAL, refused))

  const packet = Memory.add(environment.memory, { name: "packet", writable: kind === "Tc" || kind === "Lwt" })
  if (packet === undefined) return Result.fail(refusal(numbers.ENOMEM, "no room for the packet's region"))
  const cb = new Uint8Array(Skb.CB_SIZE)
  if (context !== undefined) cb.set(context.subarray(Field.cb, Field.cb + Skb.CB_SIZE))
  const buffer = new Uint8Array(headroom + frame.length + headroom)
  buffer.set(frame, headroom)
  const network = headroom + ETH_HLEN
  const address = (offset: number, size: number) => frame.slice(ETH_HLEN + offset, ETH_HLEN + offset + size)
  const isL2 = kind === "Tc"
  const skb: Skb.Skb = {
    _tag: "Skb",
    kind,
    packet,
    buffer,
    data: isL2 ? headroom : network,
    tail: headroom + frame.length,
    mac: headroom,
    network,
    transport: -1,
    packetType: packetType(frame.subarray(0, 6), device),
    protocol,
    mark: read(Field.mark),
    priority: read(Field.priority),
    queueMapping: 0,
    vlanProtocol: 0,
    vlanTag: 0,
    vlanPresent: false,
    ingressIfindex: read(Field.ingress_ifindex),
    ifindex: device.ifindex,
    tcIndex: 0,
    tcClassId: 0,
    cb,
    cbView: new DataView(cb.buffer),
    hash: 0,
    hashed: false,
    timestamp: view?.getBigUint64(Field.tstamp, true) ?? 0n,
    timestampType: 0,
    hardwareTimestamp: view?.getBigUint64(Field.hwtstamp, true) ?? 0n,
    // Without a context nobody says how long the packet was on the wire.
    wireLength: context === undefined ? 0 : read(Field.wire_len) || frame.length - (isL2 ? 0 : ETH_HLEN),
    gsoSegments: read(Field.gso_segs),
    gsoSize: read(Field.gso_size) & 0xffff,
    encapsulated: false,
    family: protocol === ETH_P_IP ? AF_INET : protocol === ETH_P_IPV6 ? AF_INET6 : 0,
    source: protocol === ETH_P_IP ? address(12, 4) : protocol === ETH_P_IPV6 ? address(8, 16) : new Uint8Array(0),
    destination: protocol === ETH_P_IP ? address(16, 4) : protocol === ETH_P_IPV6 ? address(24, 16) : new Uint8Array(0)
  }
  Skb.refresh(skb)
  const region = Memory.add(environment.memory, { name: "struct __sk_buff", accessor: Skb.accessor(skb) })
  if (region === undefined) {
    Memory.remove(environment.memory, packet)
    return Result.fail(refusal(numbers.ENOMEM, "no room for the context's region"))
  }
  environment.contexts.set(region.id, skb)
  return Result.succeed({
    low: 0,
    high: region.id,
    environment,
    context: skb,
    regions: [region, packet],
    answer: () => left(skb, isL2, context)
  })
}

const checkContext = (
  context: Uint8Array,
  read: (offset: number) => number,
  isL2: boolean,
  frameLength: number
): string | undefined => {
  if (hasOthers(context)) {
    return "of struct __sk_buff only mark, priority, ingress_ifindex, ifindex, cb, tstamp, wire_len, gso_segs, gso_size and " +
      "hwtstamp may be given"
  }
  const length = frameLength - (isL2 ? 0 : ETH_HLEN)
  const wireLength = read(Field.wire_len)
  if (wireLength !== 0 && (wireLength < length || wireLength > maximumWireLength)) {
    return `wire_len is less than the packet's ${length} bytes, or more than ${maximumWireLength}`
  }
  return read(Field.gso_segs) > maximumSegments ? `gso_segs is more than ${maximumSegments}` : undefined
}

/** The frame and the context after a run; programs that do not see the link header leave it zeroed. */
const left = (skb: Skb.Skb, isL2: boolean, context: Uint8Array | undefined): Left => {
  const bytes = Skb.bytesOf(skb)
  let data = bytes
  if (!isL2) {
    data = new Uint8Array(ETH_HLEN + bytes.length)
    data.set(bytes, ETH_HLEN)
  }
  if (context === undefined) return { data, context }
  // The fields that were given stay as they were where the kernel writes none back.
  const out = context.slice()
  const view = new DataView(out.buffer)
  view.setUint32(Field.mark, skb.mark, true)
  view.setUint32(Field.priority, skb.priority, true)
  view.setUint32(Field.ingress_ifindex, skb.ingressIfindex, true)
  view.setUint32(Field.ifindex, skb.ifindex, true)
  view.setBigUint64(Field.tstamp, skb.timestamp, true)
  out.set(skb.cb, Field.cb)
  view.setUint32(Field.wire_len, skb.wireLength, true)
  view.setUint32(Field.gso_segs, skb.gsoSegments, true)
  view.setBigUint64(Field.hwtstamp, skb.hardwareTimestamp, true)
  return { data, context: out }
}
