/**
 * Codecs that are generated from BTF, beside the values that BTF itself gives and beside an independent model of bytes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfValue from "../../src/btf/BtfValue.ts"
import * as TsCodecs from "../../src/stages/gen/skeleton/TsCodecs.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { runs, runsToMeet } from "../support/Require.ts"
import { type Exports, runCodecs } from "../support/TsModule.ts"
import * as ValueModel from "../support/ValueModel.ts"

const flags = { octets: true, flexible: true } as const

/** The types of a blob that have codecs, in a module. */
const generate = (btf: Btf.Btf, byteOrder: Btf.ByteOrder, change: (text: string) => string) => {
  const codecs = TsCodecs.make(btf, { runtime: "LayoutCodec", byteOrder })
  const types: Array<TsCodecs.TsType & { readonly id: number }> = []
  const refused: Array<number> = []
  for (let id = 1; id < btf.endId; id++) {
    const codec = TsCodecs.codecOf(codecs, id)
    if (Result.isSuccess(codec)) types.push({ ...codec.success, id })
    else refused.push(id)
  }
  return { types, refused, module: runCodecs(change(TsCodecs.text(codecs))) }
}

/** Bytes of all sorts: what they are is drawn out of a seed, so that they can be as many as a type asks for. */
const bytesFrom = (seed: number, length: number): Uint8Array => {
  let state = (seed | 1) >>> 0
  const style = seed % 4
  return Uint8Array.from({ length }, () => {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0
    const byte = state >>> 24
    // Noise, text, zeros with something in between, small numbers and -1.
    return style === 0
      ? byte
      : style === 1
      ? 0x20 + byte % 0x5f
      : style === 2
      ? (byte < 200 ? 0 : byte)
      : byte < 128
      ? byte % 4
      : 0xff
  })
}

const codecOf = (module: Exports, name: string) => {
  const codec = module.get(name)
  if (codec === undefined) throw new Error(`the module has no ${name}`)
  return codec
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

describe("generated codecs", () => {
  const law = (change: (text: string) => string, model = ValueModel.valueOf) =>
    fc.property(
      Arbitrary.wellFormed({ maxLength: 8 }),
      fc.constantFrom("little" as const, "big" as const),
      fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
      fc.nat(24),
      (blob, byteOrder, seeds, tail) => {
        const btf = Result.getOrThrow(Btf.parse(blob.bytes))
        const { module, refused, types } = generate(btf, byteOrder, change)
        for (const { codec: name, flexible, id, size } of types) {
          const codec = codecOf(module, name)
          assert.strictEqual(codec.size, size)
          assert.strictEqual(codec.flexible ?? false, flexible)
          assert.strictEqual(size, ValueModel.sizeOf(blob.types, id))
          for (const seed of seeds) {
            const bytes = bytesFrom(seed, size + (flexible ? tail : 0))
            // Wherever the bytes lie.
            const within = new Uint8Array(bytes.length + 5)
            within.set(bytes, 5)
            const value = codec.read(viewOf(within), 5)
            const options = { ...flags, byteOrder }
            assert.deepStrictEqual(value, B.expectSuccess(BtfValue.decode(btf, id, bytes, options)))
            if (blob.types[id - 1]?.kind !== 15) assert.deepStrictEqual(value, model(blob.types, id, bytes, byteOrder))
            const encoded = B.expectSuccess(codec.encode(value))
            assert.deepStrictEqual(encoded, B.expectSuccess(BtfValue.encode(btf, id, value, options)))
            // Where members overlap, as several flexible ones do, a boolean that was neither 0 nor 1 is 1 for all of them.
            if (flexible || blob.types.some((rec) => rec.kind === 5)) continue
            assert.deepStrictEqual(codec.read(viewOf(encoded), 0), value)
          }
        }
        // What has no codec has no value by BTF either.
        for (const id of refused) {
          const size = Btf.resolveSize(btf, id)
          const zeros = new Uint8Array(Result.isSuccess(size) ? size.success : 0)
          assert.isTrue(Result.isFailure(BtfValue.decode(btf, id, zeros)), `type ${id} has values`)
        }
      }
    )

  const same = (text: string): string => text

  it("have the values that BTF gives, and a model of bytes", () => {
    fc.assert(law(same), { numRuns: runs(100) })
  })

  const refuted = (property: ReturnType<typeof law>): void => {
    assert.isTrue(fc.check(property, { numRuns: 4000 }).failed, "the fault went unseen")
  }

  it("named fault: one offset is off by one", () => {
    refuted(law((text) => text.replace(/(view\.get\w+\(at)( \+ \d+)/, "$1 + 1")))
  })

  it("named fault: bit fields lose their lowest bit", () => {
    refuted(law((text) => text.replaceAll(">>>", ">> 1 >>>")))
  })

  it("named fault: one size is written too narrow", () => {
    refuted(law((text) => text.replaceAll(/to\.int\((at[ +\d]*), 4,/g, "to.int($1, 2,")))
  })

  it("named fault: a model with the other byte order", () => {
    refuted(
      law(
        same,
        (types, id, bytes, order) => ValueModel.valueOf(types, id, bytes, order === "little" ? "big" : "little")
      )
    )
  })

  /** What may be put in the place of a part. */
  const oddities: ReadonlyArray<unknown> = [
    70_000,
    -1,
    2 ** 53,
    1.5,
    NaN,
    -(2 ** 31),
    1n << 63n,
    -1n,
    1n << 70n,
    1e39,
    "",
    "x",
    "é".repeat(40),
    "a\0b",
    true,
    null,
    [],
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    {},
    new Uint8Array(3),
    new Uint8Array(300),
    undefined
  ]

  /** A value with one of its parts changed: which is counted in the order of a walk. */
  const withOddity = (value: unknown, at: number, oddity: unknown): unknown => {
    let left = at
    const walk = (part: unknown): unknown => {
      if (left-- === 0) return oddity
      if (Array.isArray(part)) return part.map(walk)
      if (part instanceof Uint8Array || typeof part !== "object" || part === null) return part
      return Object.fromEntries(Object.entries(part).map(([name, each]) => [name, walk(each)]))
    }
    return walk(value)
  }

  it("encode odd values to what BTF gives, or fail with a tagged error", () => {
    let succeeded = 0
    let failed = 0
    fc.assert(
      fc.property(
        Arbitrary.wellFormed({ maxLength: 6 }),
        fc.array(fc.tuple(fc.nat(12), fc.nat(oddities.length - 1)), { minLength: 4, maxLength: 8 }),
        fc.nat(),
        (blob, changes, seed) => {
          const btf = Result.getOrThrow(Btf.parse(blob.bytes))
          const { module, types } = generate(btf, btf.byteOrder, same)
          for (const { codec: name, id, size } of types) {
            if (blob.types[id - 1]?.kind === 15) continue
            const codec = codecOf(module, name)
            const value = codec.read(viewOf(bytesFrom(seed, size)), 0)
            for (const [at, which] of changes) {
              const odd = withOddity(value, at, oddities[which])
              // The types of the module would not let it come to this; people without types do.
              const encoded = codec.encode(odd as BtfValue.BtfValue)
              if (Result.isFailure(encoded)) {
                failed++
                assert.strictEqual(encoded.failure._tag, "CodecError")
                assert.strictEqual(encoded.failure.reason, "Value")
                continue
              }
              succeeded++
              if (odd === undefined) continue
              assert.deepStrictEqual(encoded.success, B.expectSuccess(BtfValue.encode(btf, id, odd, flags)))
            }
          }
        }
      ),
      { numRuns: runsToMeet(60) }
    )
    assert.isAbove(succeeded, 100)
    assert.isAbove(failed, 100)
  })

  it("are written the same twice", () => {
    fc.assert(
      fc.property(Arbitrary.wellFormed(), (blob) => {
        const text = (): string => {
          const btf = Result.getOrThrow(Btf.parse(blob.bytes))
          const codecs = TsCodecs.make(btf, { runtime: "LayoutCodec" })
          for (let id = 1; id < btf.endId; id++) TsCodecs.codecOf(codecs, id)
          return TsCodecs.text(codecs)
        }
        assert.strictEqual(text(), text())
      }),
      { numRuns: runs(50) }
    )
  })

  it("of nearly well-formed types are refused with a tagged error, or run", () => {
    fc.assert(
      fc.property(Arbitrary.nearlyWellFormed(), fc.nat(), (blob, seed) => {
        const btf = Btf.parse(blob.bytes)
        if (Result.isFailure(btf)) return
        const { module, types } = generate(btf.success, btf.success.byteOrder, same)
        for (const { codec: name, id, size } of types) {
          if (size > 1 << 16) continue
          const bytes = bytesFrom(seed, size)
          const codec = codecOf(module, name)
          const value = codec.read(viewOf(bytes), 0)
          assert.deepStrictEqual(value, B.expectSuccess(BtfValue.decode(btf.success, id, bytes, flags)))
          const encoded = B.expectSuccess(codec.encode(value))
          assert.deepStrictEqual(encoded, B.expectSuccess(BtfValue.encode(btf.success, id, value, flags)))
        }
      }),
      { numRuns: runs(150) }
    )
  })
})
