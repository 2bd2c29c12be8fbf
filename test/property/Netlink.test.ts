/** The codec of netlink: what is encoded reads back the same, and hostile answers end in a value or a tagged error. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Result from "effect/Result"
import * as Device from "../../src/services/Kernel/abi/netlink/Device.ts"
import * as Exchange from "../../src/services/Kernel/abi/netlink/Exchange.ts"
import * as Filter from "../../src/services/Kernel/abi/netlink/Filter.ts"
import * as Message from "../../src/services/Kernel/abi/netlink/Message.ts"

const word = fc.integer({ min: 0, max: 0xffff_ffff })
const short = fc.integer({ min: 0, max: 0xffff })
const bytes = fc.uint8Array({ maxLength: 40 })

const message: fc.Arbitrary<Message.Message> = fc.record({
  type: short,
  flags: short,
  sequence: word,
  port: word,
  payload: bytes
})

const padded = (parts: ReadonlyArray<Uint8Array>, pad = 4): Uint8Array => {
  const size = parts.reduce((sum, part) => sum + Math.ceil(part.length / pad) * pad, 0)
  const whole = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += Math.ceil(part.length / pad) * pad
  }
  return whole
}

const plain = (messages: ReadonlyArray<Message.Message>) =>
  messages.map((each) => ({ ...each, payload: [...each.payload] }))

/** A law about encoding, for an encoder that may be broken. */
const roundTrips = (encode: typeof Message.encode): void =>
  fc.assert(fc.property(fc.array(message, { maxLength: 6 }), fc.boolean(), (messages, little) => {
    const datagram = padded(messages.map((each) => encode(each, little)))
    const decoded = Result.getOrThrow(Message.decode(datagram, little))
    assert.deepStrictEqual(plain(decoded), plain(messages))
  }))

interface Tree {
  readonly type: number
  readonly value: Uint8Array | ReadonlyArray<Tree>
}

const { tree } = fc.letrec<{ readonly tree: Tree }>((tie) => ({
  tree: fc.record({
    type: fc.integer({ min: 0, max: 0x3fff }),
    value: fc.oneof({ maxDepth: 3, withCrossShrink: true }, bytes, fc.array(tie("tree"), { maxLength: 4 }))
  })
}))

const attributeOf = ({ type, value }: Tree): Message.Attribute =>
  value instanceof Uint8Array
    ? { type, value: { _tag: "Bytes", bytes: value } }
    : Message.nested(type, value.map(attributeOf))

const readsAs = (encoded: Uint8Array, trees: ReadonlyArray<Tree>, little: boolean): void => {
  const found = Result.getOrThrow(Message.decodeAttributes(encoded, little))
  const last = new Map(trees.map((each) => [each.type, each]))
  assert.deepStrictEqual(new Set(found.keys()), new Set(last.keys()))
  for (const [type, { value }] of last) {
    const content = found.get(type) ?? assert.fail("an attribute is gone")
    if (value instanceof Uint8Array) assert.deepStrictEqual([...content], [...value])
    else readsAs(content, value, little)
  }
}

/** What a kernel would answer: a list of messages, then the end. */
const answers = (sequence: number, parts: ReadonlyArray<Uint8Array>): Uint8Array =>
  padded([
    ...parts.map((payload) => Message.encode({ type: 16, flags: 2, sequence, port: 7, payload })),
    Message.encode({ type: Message.Control.DONE, flags: 2, sequence, port: 7, payload: new Uint8Array(4) })
  ])

describe("messages of netlink", () => {
  it("read back as they were encoded, in both byte orders", () => roundTrips(Message.encode))

  it("the law sees an encoder that forgets the port", () => {
    assert.throws(() => roundTrips((each, little) => Message.encode({ ...each, port: 0 }, little)))
  })

  it("attributes read back with what is nested in them", () => {
    fc.assert(fc.property(fc.array(tree, { maxLength: 5 }), fc.boolean(), (trees, little) => {
      readsAs(Message.encodeAttributes(trees.map(attributeOf), little), trees, little)
    }))
  })

  it("of whatever bytes are messages within them, or an error that says where", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (datagram) => {
      for (const little of [true, false]) {
        const decoded = Message.decode(datagram, little)
        if (Result.isFailure(decoded)) {
          assert.strictEqual(decoded.failure._tag, "NetlinkError")
          assert.isBelow(decoded.failure.offset, datagram.length)
          continue
        }
        const total = decoded.success.reduce((sum, { payload }) => sum + 16 + payload.length, 0)
        assert.isAtMost(total, datagram.length)
        for (const each of decoded.success) {
          Message.acknowledgement(each, little)
          Message.decodeAttributes(each.payload, little)
          Device.decode(each, little)
          Filter.decode(each, little)
        }
      }
    }))
  })

  it("with any one byte changed are read, or refused, and never out of their bounds", () => {
    const device = padded([
      new Uint8Array(16),
      Message.encodeAttributes([
        Message.text(3, "eth0"),
        Message.nested(43, [{ type: 2, value: { _tag: "Bytes", bytes: Uint8Array.of(2) } }, Message.u32(4, 9)])
      ])
    ])
    const filter = padded([
      new Uint8Array(20).fill(1),
      Message.encodeAttributes([
        Message.text(1, "bpf"),
        Message.nested(2, [Message.u32(11, 9), Message.text(7, "name"), Message.u32(8, 1)])
      ])
    ])
    for (const [type, payload, decode] of [[16, device, Device.decode], [44, filter, Filter.decode]] as const) {
      const whole = Message.encode({ type, flags: 0, sequence: 1, port: 1, payload })
      for (let at = 0; at < whole.length; at++) {
        for (const value of [0, 1, 3, 4, 0x7f, 0xff]) {
          const mutant = whole.slice()
          mutant[at] = value
          const decoded = Message.decode(mutant)
          if (Result.isFailure(decoded)) continue
          for (const each of decoded.success) decode(each)
        }
      }
    }
  })
})

describe("exchanges", () => {
  it("end with the same answers however the kernel divides them into datagrams", () => {
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 8 }), fc.array(fc.nat(8), { maxLength: 4 }), word, (parts, cuts, id) => {
        const exchange = Exchange.make({ type: 18, flags: 0x300, payload: new Uint8Array(16) }, id)
        const messages = parts.map((payload) => Message.encode({ type: 16, flags: 2, sequence: id, port: 7, payload }))
        const bounds = [
          ...new Set([0, ...cuts.filter((cut) => cut < messages.length).sort((a, b) => a - b), messages.length])
        ]
        for (let at = 0; at + 1 < bounds.length; at++) {
          const taken = Result.getOrThrow(exchange.take(padded(messages.slice(bounds[at], bounds[at + 1]))))
          assert.strictEqual(taken._tag, "Waiting")
        }
        const ended = Result.getOrThrow(exchange.take(answers(id, [])))
        if (ended._tag !== "Ended") return assert.fail("the exchange has not ended")
        assert.deepStrictEqual(ended.answers.map(({ payload }) => [...payload]), parts.map((payload) => [...payload]))
        assert.deepStrictEqual(ended.acknowledgement, { errno: 0, words: undefined, at: undefined })
      })
    )
  })

  it("leave messages of other requests out, and tell of a list that changed", () => {
    const exchange = Exchange.make({ type: 18, flags: 0x300, payload: new Uint8Array(16) }, 5)
    Result.getOrThrow(exchange.take(answers(4, [Uint8Array.of(1)])))
    const changed = Message.encode({
      type: 3,
      flags: 2 | Message.Flag.DUMP_INTERRUPTED,
      sequence: 5,
      port: 0,
      payload: new Uint8Array(4)
    })
    const ended = Result.getOrThrow(exchange.take(changed))
    assert.isTrue(ended._tag === "Ended" && ended.interrupted && ended.answers.length === 0)
  })
})
