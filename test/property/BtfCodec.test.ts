/** Laws of codecs by BTF: they read what an independent model of bytes reads, and reading never fails. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfCodec from "../../src/btf/BtfCodec.ts"
import * as BtfValue from "../../src/btf/BtfValue.ts"
import * as Codec from "../../src/btf/Codec.ts"
import { hostile, nearlyWellFormed, wellFormed } from "../support/arbitrary/Btf.ts"
import { runs } from "../support/Require.ts"
import * as ValueModel from "../support/ValueModel.ts"

/** The largest type that is tried, bytes. */
const limit = 4096

const noise = (seed: number, length: number): Uint8Array => {
  let state = (seed | 1) >>> 0
  return Uint8Array.from({ length }, () => {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0
    const byte = state >>> 24
    return seed % 3 === 0 ? byte : seed % 3 === 1 ? 0x20 + byte % 0x5f : byte < 200 ? 0 : byte
  })
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

describe("codecs by BTF", () => {
  const law = (make: typeof BtfCodec.make) =>
    fc.property(
      wellFormed({ maxLength: 8 }),
      fc.constantFrom("little" as const, "big" as const),
      fc.nat(),
      fc.nat(24),
      (blob, byteOrder, seed, tail) => {
        const btf = Result.getOrThrow(Btf.parse(blob.bytes))
        for (let id = 1; id < btf.endId; id++) {
          const options = { octets: true, flexible: true, byteOrder }
          const made = make(btf, id, options)
          if (Result.isFailure(made) || made.success.size > limit) continue
          const codec = made.success
          const { flexible = false, size } = codec
          assert.strictEqual(size, ValueModel.sizeOf(blob.types, id))
          const bytes = noise(seed, size + (flexible ? tail : 0))
          const within = new Uint8Array(bytes.length + 3)
          within.set(bytes, 3)
          const value = codec.read(viewOf(within), 3)
          if (blob.types[id - 1]?.kind !== 15) {
            assert.deepStrictEqual(value, ValueModel.valueOf(blob.types, id, bytes, byteOrder))
          }
          assert.deepStrictEqual(value, Result.getOrThrow(Codec.decode(codec, bytes)))
          assert.deepStrictEqual(
            Result.getOrThrow(codec.encode(value)),
            Result.getOrThrow(BtfValue.encode(btf, id, value, options))
          )
          // Bytes of another number are an error that says so.
          for (const wrong of flexible ? [size - 1] : [size - 1, size + 1]) {
            if (wrong < 0) continue
            const refused = Codec.decode(codec, new Uint8Array(wrong))
            assert.isTrue(Result.isFailure(refused) && refused.failure.reason === "Size")
          }
        }
      }
    )

  it("read what a model of bytes reads, wherever the bytes lie", () => {
    fc.assert(law(BtfCodec.make), { numRuns: runs(100) })
  })

  it("named fault: a codec of the other byte order", () => {
    const other: typeof BtfCodec.make = (btf, id, options) =>
      BtfCodec.make(btf, id, { ...options, byteOrder: options?.byteOrder === "big" ? "little" : "big" })
    assert.isTrue(fc.check(law(other), { numRuns: 4000 }).failed)
  })

  it("never fail to read, whatever types they are made of: all that could fail is refused when they are made", () => {
    const how = fc.record({ octets: fc.boolean(), text: fc.boolean(), flexible: fc.boolean() })
    fc.assert(
      fc.property(
        fc.oneof(nearlyWellFormed().map(({ bytes }) => bytes), hostile),
        how,
        fc.nat(),
        fc.nat(600),
        (blob, options, seed, tail) => {
          const btf = Btf.parse(blob)
          if (Result.isFailure(btf)) return
          for (let id = 1; id < Math.min(btf.success.endId, 200); id++) {
            const made = BtfCodec.make(btf.success, id, options)
            if (Result.isFailure(made) || made.success.size > limit) continue
            const { flexible = false, read, size } = made.success
            for (const style of [0, 1, 2]) {
              const bytes = noise(seed - seed % 3 + style, size + (flexible ? tail : 0))
              read(viewOf(bytes), 0)
            }
          }
        }
      ),
      { numRuns: runs(100) }
    )
  })

  it("are refused for the types that have no values, and only for those", () => {
    fc.assert(
      fc.property(wellFormed(), (blob) => {
        const btf = Result.getOrThrow(Btf.parse(blob.bytes))
        for (let id = 1; id < btf.endId; id++) {
          const size = Btf.resolveSize(btf, id)
          const bytes = new Uint8Array(Result.isSuccess(size) && size.success <= limit ? size.success : 0)
          const decoded = BtfValue.decode(btf, id, bytes)
          const made = BtfCodec.make(btf, id)
          if (Result.isFailure(decoded) && decoded.failure.reason === "TooShort") continue
          assert.strictEqual(Result.isSuccess(made), Result.isSuccess(decoded), `type ${id}`)
        }
      }),
      { numRuns: runs(100) }
    )
  })
})
