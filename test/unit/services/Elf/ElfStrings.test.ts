import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { encodeString, hasLongString, readString, StringTableBuilder } from "../../../../src/services/Elf/ElfStrings.ts"

const table = (bytes: Uint8Array): Uint8Array => Uint8Array.of(0, ...bytes, 0)

describe("readString and encodeString", () => {
  it("agree with TextDecoder on all well-formed text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
      fc.pre(!text.includes("\0"))
      const bytes = new TextEncoder().encode(text)
      assert.strictEqual(readString(table(bytes), 1), text)
      assert.deepEqual(encodeString(text), bytes)
    }))
  })

  it("agree with TextDecoder on which bytes are text, and keep all others", () => {
    const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
    const byte = fc.oneof(fc.integer({ min: 1, max: 255 }), fc.constantFrom(0x80, 0xbf, 0xc2, 0xe0, 0xed, 0xf0, 0xf4))
    const isText = (bytes: Uint8Array): boolean => {
      try {
        strict.decode(bytes)
        return true
      } catch {
        return false
      }
    }
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 6 }), (values) => {
        const bytes = Uint8Array.from(values)
        const text = readString(table(bytes), 1)
        assert.strictEqual(text.isWellFormed(), isText(bytes))
        assert.deepEqual(encodeString(text), bytes)
      }),
      { numRuns: 2000 }
    )
  })
})

describe("hasLongString", () => {
  it("says what counting says", () => {
    const byte = fc.oneof({ weight: 5, arbitrary: fc.constant(65) }, { weight: 1, arbitrary: fc.constant(0) })
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 60 }), fc.integer({ min: 1, max: 12 }), (values, limit) => {
        const bytes = Uint8Array.from([...values, 0])
        const longest = Math.max(...Buffer.from(bytes).toString("latin1").split("\0").map((part) => part.length))
        assert.strictEqual(hasLongString(bytes, limit), longest > limit)
      }),
      { numRuns: 2000 }
    )
  })

  it("is quick on hostile tables", () => {
    const bytes = new Uint8Array(1 << 22).fill(65)
    for (let at = 512; at < bytes.length; at += 513) bytes[at] = 0
    bytes[bytes.length - 1] = 0
    assert.isFalse(hasLongString(bytes, 512))
  })
})

describe("StringTableBuilder", () => {
  it("keeps the order of first use", () => {
    const builder = new StringTableBuilder()
    for (const name of ["b", "", "a", "b", "ä"]) assert.isTrue(builder.add(name))
    assert.isFalse(builder.add("\0"))
    const bytes = new Uint8Array(builder.length + 1)
    builder.writeTo(bytes, 1)
    assert.strictEqual(new TextDecoder().decode(bytes), "\0\0b\0a\0ä\0")
    assert.deepEqual(["", "b", "a", "ä"].map((name) => builder.offsetOf(name)), [0, 1, 3, 5])
  })
})
