/** Requests of netlink byte for byte, and what the kernel answers. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Device from "../../../../src/services/Kernel/abi/netlink/Device.ts"
import * as Exchange from "../../../../src/services/Kernel/abi/netlink/Exchange.ts"
import * as Filter from "../../../../src/services/Kernel/abi/netlink/Filter.ts"
import * as Message from "../../../../src/services/Kernel/abi/netlink/Message.ts"
import * as Qdisc from "../../../../src/services/Kernel/abi/netlink/Qdisc.ts"

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex").replaceAll(/(.{8})(?=.)/g, "$1 ")

const sent = (request: Exchange.Request): string => hex(Exchange.make(request, 1, true).bytes)

const error = (payload: Uint8Array, flags = 0): Message.Message => ({
  type: Message.Control.ERROR,
  flags,
  sequence: 1,
  port: 0,
  payload
})

/** An answer with an error number, the head of the request, and the kernel's words. */
const refusal = (errno: number, words: string, at: number): Message.Message => {
  const attributes = Message.encodeAttributes([Message.text(1, words), Message.u32(2, at)], true)
  const payload = new Uint8Array(20 + attributes.length)
  const view = new DataView(payload.buffer)
  view.setInt32(0, -errno, true)
  view.setUint32(4, 16, true)
  payload.set(attributes, 20)
  return error(payload, Message.Flag.CAPPED | Message.Flag.ACK_ATTRIBUTES)
}

describe("requests", () => {
  it("for a device by its name", () => {
    assert.strictEqual(
      sent(Device.get("lo", true)),
      "28000000 12000500 01000000 00000000 " + // length, RTM_GETLINK, REQUEST | ACK, sequence, port
        "00000000 00000000 00000000 00000000 " + // struct ifinfomsg
        "07000300 6c6f0000" // IFLA_IFNAME
    )
  })

  it("take a name that is too long for one as an alternative name", () => {
    const { payload } = Device.get("a-very-long-name-of-it", true)
    assert.isTrue(Result.getOrThrow(Message.decodeAttributes(payload.subarray(16), true)).has(53))
  })

  it("to attach an XDP program in the place of another", () => {
    assert.strictEqual(
      sent(Device.setXdp({ index: 7, programFd: 5, flags: 18, expectedFd: 6 }, true)),
      "3c000000 13000500 01000000 00000000 00000000 07000000 00000000 00000000 " +
        "1c002b80 08000100 05000000 08000300 12000000 08000800 06000000"
    )
  })

  it("for clsact and for a filter in it", () => {
    assert.strictEqual(
      sent(Filter.createClsact(3, true)),
      "30000000 24000506 01000000 00000000 00000000 03000000 0000ffff f1ffffff 00000000 0b000100 636c7361 63740000"
    )
    const place = { index: 3, parent: Filter.Parent.ingress, handle: 1, priority: 2 }
    assert.strictEqual(
      sent(Filter.attach(place, { fd: 9, name: "p" }, false, true)),
      "48000000 2c000d06 01000000 00000000 00000000 03000000 01000000 f2ffffff 00030200 " +
        "08000100 62706600 1c000280 08000600 09000000 06000700 70000000 08000800 01000000"
    )
  })

  it("to take all filters away name none of them", () => {
    const { payload } = Filter.detach({ index: 3, parent: Filter.Parent.egress, handle: 0, priority: 0 }, true)
    assert.strictEqual(hex(payload), "00000000 03000000 00000000 f3ffffff 00000000")
  })
})

/** A message about traffic control, of a device. */
const tcMessage = (type: number, attributes: ReadonlyArray<Message.Attribute>): Message.Message => ({
  type,
  flags: 0,
  sequence: 1,
  port: 0,
  payload: Filter.payload({ index: 3, handle: 1, parent: Filter.Parent.ingress, info: 0x0001_0300 }, attributes, true)
})

describe("what is in traffic control", () => {
  const action = (kind: string, name: string, id: number) => [
    Message.text(1, kind),
    Message.nested(2, [Message.text(6, name), ...(id === 0 ? [] : [Message.u32(9, id)])])
  ]

  it("programs among the actions of a filter, in the order of their numbers", () => {
    const options = [
      Message.nested(1, [
        Message.nested(2, action("bpf", "second", 0)),
        Message.nested(1, action("bpf", "first", 5)),
        Message.nested(3, action("gact", "", 6))
      ]),
      Message.text(7, "own"),
      Message.u32(11, 4)
    ]
    const message = tcMessage(44, [Message.text(1, "bpf"), Message.nested(2, options)])
    assert.deepInclude(Result.getOrThrow(Filter.decode(message, true)), {
      name: "own",
      programId: 4,
      actions: [{ name: "first", programId: 5 }, { name: "second", programId: 0 }]
    })
    const without = tcMessage(44, [Message.text(1, "bpf"), Message.nested(2, options.slice(1))])
    assert.notProperty(Result.getOrThrow(Filter.decode(without, true)), "actions")
    const cut = tcMessage(44, [
      Message.text(1, "bpf"),
      Message.nested(2, [{ type: 1, value: { _tag: "Bytes", bytes: Uint8Array.of(9, 0, 1, 0) } }])
    ])
    assert.isTrue(Result.isFailure(Filter.decode(cut, true)))
  })

  it("disciplines and classes; what is something else is none", () => {
    const kind = [Message.text(1, "htb")]
    const of = (type: number) => Result.getOrThrow(Qdisc.decode(tcMessage(type, kind), true))
    const each = { index: 3, handle: 1, parent: Filter.Parent.ingress, kind: "htb" }
    assert.deepStrictEqual(of(36), { ...each, isClass: false })
    assert.deepStrictEqual(of(40), { ...each, isClass: true })
    assert.isUndefined(of(44))
    const short: Message.Message = { ...tcMessage(36, kind), payload: new Uint8Array(19) }
    assert.isTrue(Result.isFailure(Qdisc.decode(short, true)))
    assert.strictEqual(
      sent(Qdisc.listQdiscs(3, true)),
      "24000000 26000503 01000000 00000000 00000000 03000000 00000000 00000000 00000000"
    )
    assert.strictEqual(
      sent(Qdisc.listClasses(3, true)),
      "24000000 2a000503 01000000 00000000 00000000 03000000 00000000 00000000 00000000"
    )
  })
})

describe("answers", () => {
  it("tell why in the kernel's words", () => {
    const read = Result.getOrThrow(Message.acknowledgement(refusal(17, "XDP program already attached", 36), true))
    assert.deepStrictEqual(read, { errno: 17, words: "XDP program already attached", at: 36 })
  })

  it("without words, or with words that cannot be read, keep their error number", () => {
    const payload = new Uint8Array(8)
    new DataView(payload.buffer).setInt32(0, -1, true)
    assert.strictEqual(Result.getOrThrow(Message.acknowledgement(error(payload), true)).errno, 1)
    const { payload: whole } = refusal(22, "no", 0)
    for (let length = 4; length < whole.length; length++) {
      const cut = error(whole.subarray(0, length), Message.Flag.CAPPED | Message.Flag.ACK_ATTRIBUTES)
      const read = Result.getOrThrow(Message.acknowledgement(cut, true))
      assert.strictEqual(read.errno, 22, `${length} bytes`)
    }
  })

  it("that are no error numbers are refused", () => {
    for (const number of [1, 22, -4096, -0x8000_0000]) {
      const payload = new Uint8Array(4)
      new DataView(payload.buffer).setInt32(0, number, true)
      const read = Message.acknowledgement(error(payload), true)
      assert.strictEqual(Result.isFailure(read) && read.failure.reason, "Unexpected")
    }
    assert.isTrue(Result.isFailure(Message.acknowledgement(error(new Uint8Array(3)), true)))
  })

  it("with lengths that lead out or nowhere are refused", () => {
    for (const length of [0, 15, 33, 0xffff_ffff]) {
      const datagram = new Uint8Array(32)
      new DataView(datagram.buffer).setUint32(0, length, true)
      const read = Message.decode(datagram, true)
      assert.strictEqual(Result.isFailure(read) && read.failure.reason, "BadLength", String(length))
    }
    for (const length of [0, 3, 9]) {
      const read = Message.decodeAttributes(Uint8Array.of(length, 0, 1, 0, 0, 0, 0, 0), true)
      assert.strictEqual(Result.isFailure(read) && read.failure.reason, "BadLength", String(length))
    }
  })

  it("that never end, end", () => {
    const exchange = Exchange.make({ type: 18, flags: 0, payload: new Uint8Array(16) }, 1, true)
    const datagram = new Uint8Array(0x100_0000)
    new DataView(datagram.buffer).setUint32(0, datagram.length, true)
    for (let taken = 0; taken <= Exchange.largestAnswer / datagram.length; taken++) {
      const progress = exchange.take(datagram)
      if (Result.isFailure(progress)) return assert.strictEqual(progress.failure.reason, "TooLarge")
    }
    assert.fail("everything was taken")
  })

  it("of a device tell its programs", () => {
    const attributes = Message.encodeAttributes([
      Message.text(3, "veth0"),
      Message.nested(43, [
        { type: 2, value: { _tag: "Bytes", bytes: Uint8Array.of(4) } },
        Message.u32(5, 11),
        Message.u32(6, 12)
      ])
    ], true)
    const payload = new Uint8Array(16 + attributes.length)
    new DataView(payload.buffer).setInt32(4, 3, true)
    payload.set(attributes, 16)
    assert.deepStrictEqual(
      Result.getOrThrow(Device.decode({ type: 16, flags: 0, sequence: 0, port: 0, payload }, true)),
      {
        index: 3,
        name: "veth0",
        xdp: { mode: "several", programId: 0, driverProgramId: 11, genericProgramId: 12, hardwareProgramId: 0 }
      }
    )
  })
})
