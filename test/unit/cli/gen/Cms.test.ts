import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Cms from "../../../../src/cli/gen/Cms.ts"
import { SigningError } from "../../../../src/cli/gen/SigningError.ts"
import { runs } from "../../../support/Require.ts"

const signatures: fc.Arbitrary<Cms.Signature> = fc.record({
  keyIdentifier: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  kind: fc.constantFrom("rsa", "ec"),
  value: fc.uint8Array({ minLength: 1, maxLength: 600 })
})

/** What reading comes to: the signature, or the reason why there is none. */
const decoded = (bytes: Uint8Array): Cms.Signature | string => {
  try {
    return Cms.decode(bytes)
  } catch (thrown) {
    return thrown instanceof SigningError ? thrown.reason : assert.fail(`${String(thrown)} is no error of ours`)
  }
}

/** A value of ASN.1 with its tag and length. */
const der = (tag: number, content: Uint8Array): Uint8Array => {
  const { length } = content
  const head = length < 128
    ? [tag, length]
    : length < 256
    ? [tag, 0x81, length]
    : [tag, 0x82, length >> 8, length & 255]
  return Uint8Array.from([...head, ...content])
}

describe("signatures as CMS", () => {
  it("come back as they were", () => {
    fc.assert(
      fc.property(signatures, (signature) => assert.deepStrictEqual(decoded(Cms.encode(signature)), signature)),
      { numRuns: runs(100) }
    )
  })

  it("of any bytes, and of changed ones, are read or refused as no such form", () => {
    const changed = fc.tuple(signatures, fc.nat(), fc.integer({ min: 1, max: 255 })).map(([signature, at, flip]) => {
      const bytes = Cms.encode(signature)
      const place = at % bytes.length
      return bytes.with(place, (bytes[place] ?? 0) ^ flip)
    })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), changed), (bytes) => {
        const found = decoded(bytes)
        if (typeof found === "string") assert.strictEqual(found, "Form")
        // What is read is written in one way alone: so two signatures of the same bytes do not differ in wrapping.
        else assert.deepStrictEqual(Cms.encode(found), bytes)
      }),
      { numRuns: runs(500) }
    )
  })

  it("in other lengths, behind each other, or in a thousand boxes are refused", () => {
    const good = Cms.encode({ keyIdentifier: Uint8Array.of(1, 2), kind: "ec", value: Uint8Array.of(3) })
    assert.strictEqual(decoded(Uint8Array.from([...good, 0])), "Form")
    assert.strictEqual(decoded(Uint8Array.from([...good, ...good])), "Form")
    // The same with a length of two bytes where one is enough: BER, but not DER.
    const long = Uint8Array.from([0x30, 0x81, good[1] ?? 0, ...good.subarray(2)])
    assert.strictEqual(decoded(long), "Form")
    let boxes = Uint8Array.of(5, 0)
    for (let depth = 0; depth < 1000; depth++) boxes = new Uint8Array(der(0x30, boxes))
    assert.strictEqual(decoded(boxes.subarray(0, 4096)), "Form")
    assert.strictEqual(decoded(Uint8Array.from({ length: 4096 }, (_, at) => at % 2 === 0 ? 0x30 : 0x80)), "Form")
  })
})
