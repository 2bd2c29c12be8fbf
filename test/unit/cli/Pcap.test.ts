import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Pcap from "../../../src/cli/Pcap.ts"
import { fixture } from "../../support/Require.ts"

const word = fc.integer({ min: 0, max: 0xffff_ffff })

const capture: fc.Arbitrary<Pcap.Capture> = fc.record({
  littleEndian: fc.boolean(),
  unit: fc.constantFrom("microseconds" as const, "nanoseconds" as const),
  linkType: fc.integer({ min: 0, max: 0xffff }),
  snapLength: word,
  packets: fc.array(
    fc.record({ seconds: word, fraction: word, bytes: fc.uint8Array({ maxLength: 80 }), originalLength: word }),
    { maxLength: 8 }
  )
})

const plainOf = (read: Pcap.Capture) => ({
  ...read,
  packets: read.packets.map((packet) => ({ ...packet, bytes: [...packet.bytes] }))
})

const roundTrips = (write: typeof Pcap.write, original: Pcap.Capture): boolean => {
  const read = Pcap.parse(write(original))
  return Result.isSuccess(read) && JSON.stringify(plainOf(read.success)) === JSON.stringify(plainOf(original))
}

const reasonOf = (bytes: Uint8Array): string => {
  const read = Pcap.parse(bytes)
  return Result.isFailure(read) ? `${read.failure.reason} at ${read.failure.offset}` : "read"
}

describe("Pcap", () => {
  it("reads what it writes, in both byte orders and units", () => {
    fc.assert(fc.property(capture, (original) => roundTrips(Pcap.write, original)))
  })

  it("named fault: a writer that forgets the captured length", () => {
    const faulty: typeof Pcap.write = (original) => {
      const bytes = Pcap.write(original)
      if (bytes.length >= 36) bytes.fill(0, 32, 36)
      return bytes
    }
    assert.isTrue(
      fc.check(fc.property(capture, (original) => roundTrips(faulty, original)), { endOnFailure: true }).failed
    )
  })

  it("reads the packets of the firewall's capture", () => {
    const read = Pcap.parse(fixture("packets.pcap"))
    if (Result.isFailure(read)) throw read.failure
    const { linkType, littleEndian, packets, unit } = read.success
    assert.deepStrictEqual({ linkType, littleEndian, unit }, { linkType: 1, littleEndian: true, unit: "microseconds" })
    assert.deepStrictEqual(packets.map(({ bytes }) => bytes.length), [42, 54, 72, 51, 58, 74, 78, 59, 54, 54, 64, 40])
    assert.strictEqual(packets.at(-1)?.originalLength, 54)
    assert.strictEqual(packets[3]?.fraction, 3000)
  })

  it("tells captures from packets", () => {
    assert.isTrue(Pcap.isCapture(fixture("packets.pcap")))
    assert.isTrue(Pcap.isCapture(Uint8Array.of(0x0a, 0x0d, 0x0d, 0x0a)))
    assert.isFalse(Pcap.isCapture(Uint8Array.of(0xa1, 0xb2)))
    assert.isFalse(Pcap.isCapture(new Uint8Array(64)))
  })

  it("says what is wrong and where", () => {
    const whole = fixture("packets.pcap")
    assert.strictEqual(reasonOf(new Uint8Array(64)), "NotPcap at 0")
    assert.strictEqual(reasonOf(Uint8Array.of(0x0a, 0x0d, 0x0d, 0x0a)), "Pcapng at 0")
    assert.strictEqual(reasonOf(whole.subarray(0, 20)), "Truncated at 20")
    assert.strictEqual(reasonOf(whole.subarray(0, 24)), "read")
    assert.strictEqual(reasonOf(whole.subarray(0, 30)), "Truncated at 24")
    assert.strictEqual(reasonOf(whole.subarray(0, 50)), "Truncated at 40")
    const version = whole.slice()
    version[4] = 3
    assert.strictEqual(reasonOf(version), "Version at 4")
    const long = whole.slice()
    long.fill(0xff, 32, 36)
    assert.strictEqual(reasonOf(long), "TooLong at 32")
  })

  it("never throws, whatever the bytes", () => {
    const whole = fixture("packets.pcap")
    fc.assert(fc.property(
      fc.array(fc.tuple(fc.nat({ max: whole.length - 1 }), fc.integer({ min: 0, max: 255 })), { maxLength: 20 }),
      fc.nat({ max: whole.length }),
      (changes, length) => {
        const bytes = whole.slice(0, length)
        for (const [at, value] of changes) if (at < length) bytes[at] = value
        Pcap.parse(bytes)
      }
    ))
  })
})
