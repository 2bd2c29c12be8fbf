/** Laws of values and of typed data dumps, on generated BTF: well-formed, nearly so, and hostile. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDataDump from "../../src/btf/BtfDataDump.ts"
import * as BtfSchema from "../../src/btf/BtfSchema.ts"
import * as BtfValue from "../../src/btf/BtfValue.ts"
import { hostile, nearlyWellFormed, order, wellFormed } from "../support/arbitrary/Btf.ts"
import type { Blob } from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { runs } from "../support/Require.ts"

/** A law must fail on its named fault: a counterexample must be found. */
const refuted = <T>(property: fc.IProperty<T>): void => {
  assert.isTrue(fc.check(property, { numRuns: 3000 }).failed, "the named fault went unnoticed")
}

const SIZE_LIMIT = 4096

/** The types of a blob that have values of a moderate size. */
const sized = (btf: Btf.Btf): ReadonlyArray<readonly [id: number, size: number]> => {
  const found: Array<readonly [number, number]> = []
  for (let id = 1; id < btf.endId; id++) {
    const size = Btf.resolveSize(btf, id)
    if (Result.isSuccess(size) && size.success <= SIZE_LIMIT && Btf.kindOf(btf, id) !== Btf.BTF_KIND_DECL_TAG) {
      found.push([id, size.success])
    }
  }
  return found
}

const parse = (blob: Blob): Btf.Btf => B.expectSuccess(Btf.parse(blob.bytes))

/** Bytes as long as is asked, out of fewer. */
const stretch = (seed: Uint8Array, length: number): Uint8Array =>
  Uint8Array.from(
    { length },
    (_, at) => seed.length === 0 ? 0 : ((seed[at % seed.length] ?? 0) * (1 + Math.floor(at / seed.length) * 7))
  )

/** Whether something holds for a type or one in it. */
const some = (btf: Btf.Btf, id: number, holds: (type: Btf.BtfType) => boolean): boolean => {
  const type = Btf.typeOf(btf, Btf.resolveType(btf, id))
  if (holds(type)) return true
  switch (type._tag) {
    case "Array":
      return some(btf, type.type, holds)
    case "Struct":
    case "Union":
      return type.members.some((member) => some(btf, member.type, holds))
    case "Datasec":
      return type.entries.some((entry) => some(btf, entry.type, holds))
    default:
      return false
  }
}

/** Booleans, floats and text stand for more bytes than they are: in a union they would overwrite the others' bytes. */
const isLossy = (type: Btf.BtfType): boolean =>
  type._tag === "Float" || (type._tag === "Int" && (type.encoding & Btf.BTF_INT_BOOL) !== 0)

describe("values", () => {
  type Decode = typeof BtfValue.decode

  const how: fc.Arbitrary<BtfValue.ValueOptions> = fc.record({ byteOrder: order, octets: fc.boolean() })

  /** Encoding what was decoded gives back the bits that members cover, and no others. */
  const bytesLaw = (decode: Decode) =>
    fc.property(wellFormed(), fc.uint8Array({ minLength: 1, maxLength: 64 }), how, (blob, seed, options) => {
      const btf = parse(blob)
      for (const [id, size] of sized(btf)) {
        if (some(btf, id, isLossy)) continue
        const again = (bytes: Uint8Array): Uint8Array => {
          const value = B.expectSuccess(decode(btf, id, bytes, { ...options, text: false }))
          return B.expectSuccess(BtfValue.encode(btf, id, value, options))
        }
        const bytes = stretch(seed, size)
        // All ones come back where a member is.
        const covered = again(new Uint8Array(size).fill(0xff))
        assert.deepEqual(again(bytes), bytes.map((byte, at) => byte & (covered[at] ?? 0)))
      }
    })

  it("encode to the bytes that they were decoded from, padding apart", () => {
    fc.assert(bytesLaw(BtfValue.decode), { numRuns: runs(150) })
  })

  it("named fault: the other byte order", () => {
    refuted(bytesLaw((btf, id, bytes, options) =>
      BtfValue.decode(btf, id, bytes, {
        ...(typeof options === "object" ? options : {}),
        byteOrder: typeof options === "object" && options.byteOrder === "big" ? "little" : "big"
      })
    ))
  })

  /** What a decoded value encodes to decodes to the same. */
  const valuesLaw = (encode: typeof BtfValue.encode) =>
    fc.property(
      wellFormed(),
      fc.uint8Array({ minLength: 1, maxLength: 64 }),
      how,
      fc.boolean(),
      (blob, seed, options, text) => {
        const btf = parse(blob)
        for (const [id, size] of sized(btf)) {
          const union = some(btf, id, (type) => type._tag === "Union")
          if (union && some(btf, id, isLossy)) continue
          // Text in a union hides what follows its NUL.
          const all = { ...options, text: text && !union }
          const value = B.expectSuccess(BtfValue.decode(btf, id, stretch(seed, size), all))
          assert.deepEqual(
            B.expectSuccess(BtfValue.decode(btf, id, B.expectSuccess(encode(btf, id, value, all)), all)),
            value
          )
        }
      }
    )

  it("decode to the values that they were encoded from", () => {
    fc.assert(valuesLaw(BtfValue.encode), { numRuns: runs(150) })
  })

  it("named fault: a byte of the encoding is another", () => {
    refuted(
      valuesLaw((btf, id, value, options) =>
        Result.map(
          BtfValue.encode(btf, id, value, options),
          (bytes) => bytes.map((byte, at) => at === 0 ? byte ^ 1 : byte)
        )
      )
    )
  })

  const codecLaw = (codecOf: typeof BtfValue.codec) =>
    fc.property(wellFormed(), fc.uint8Array({ minLength: 1, maxLength: 64 }), how, (blob, seed, options) => {
      const btf = parse(blob)
      for (const [id, size] of sized(btf)) {
        const codec = B.expectSuccess(codecOf(btf, id, options))
        assert.strictEqual(codec.size, size)
        const bytes = stretch(seed, size)
        const value = B.expectSuccess(codec.decode(bytes))
        assert.deepEqual(value, B.expectSuccess(BtfValue.decode(btf, id, bytes, options)))
        assert.deepEqual(codec.encode(value), BtfValue.encode(btf, id, value, options))
      }
    })

  it("of a codec are those of the module", () => {
    fc.assert(codecLaw(BtfValue.codec), { numRuns: runs(60) })
  })

  it("named fault: a codec that does not mind its options", () => {
    refuted(codecLaw((btf, id) => BtfValue.codec(btf, id)))
  })

  interface PerCpu {
    readonly decode: typeof BtfValue.decodePerCpu
    readonly encode: typeof BtfValue.encodePerCpu
  }

  const perCpuLaw = ({ decode, encode }: PerCpu) =>
    fc.property(
      wellFormed({ maxLength: 4 }),
      fc.uint8Array({ minLength: 1, maxLength: 64 }),
      fc.nat(4),
      how,
      (blob, seed, cpus, options) => {
        const btf = parse(blob)
        for (const [id, size] of sized(btf)) {
          const stride = BtfValue.perCpuStride(size)
          if (stride === 0) continue
          const bytes = stretch(seed, stride * cpus)
          const values = B.expectSuccess(decode(btf, id, bytes, options))
          const slots = Array.from({ length: cpus }, (_, cpu) => bytes.subarray(cpu * stride))
          assert.deepEqual(values, slots.map((slot) => B.expectSuccess(BtfValue.decode(btf, id, slot, options))))
          const encoded = B.expectSuccess(encode(btf, id, values, options))
          assert.strictEqual(encoded.length, bytes.length)
          for (const [cpu, value] of values.entries()) {
            const own = B.expectSuccess(BtfValue.encode(btf, id, value, options))
            assert.deepEqual(encoded.subarray(cpu * stride, cpu * stride + size), own)
          }
          if (cpus > 0) assert.isTrue(Result.isFailure(decode(btf, id, bytes.subarray(1), options)))
        }
      }
    )

  const perCpu: PerCpu = { decode: BtfValue.decodePerCpu, encode: BtfValue.encodePerCpu }

  it("of CPUs are each at a multiple of eight bytes", () => {
    fc.assert(perCpuLaw(perCpu), { numRuns: runs(60) })
  })

  it("named fault: the CPUs are in the other order", () => {
    const backwards: typeof BtfValue.decodePerCpu = (...args) =>
      Result.map(BtfValue.decodePerCpu(...args), (values) => values.toReversed())
    refuted(perCpuLaw({ ...perCpu, decode: backwards }))
  })

  it("named fault: values follow each other without padding", () => {
    const dense: typeof BtfValue.encodePerCpu = (btf, id, values, options) => {
      const parts = values.map((value) => B.expectSuccess(BtfValue.encode(btf, id, value, options)))
      const padded = BtfValue.encodePerCpu(btf, id, values, options)
      return Result.map(padded, ({ length }) => {
        const bytes = new Uint8Array(length)
        bytes.set(parts.flatMap((part) => [...part]))
        return bytes
      })
    }
    refuted(perCpuLaw({ ...perCpu, encode: dense }))
  })
})

describe("schemas", () => {
  const options = fc.record({ text: fc.boolean(), octets: fc.boolean(), flexible: fc.boolean() })

  /** What is decoded is what the schema says, and goes through the schema's codec to the same bytes. */
  const law = (decode: typeof BtfValue.decode) =>
    fc.property(
      wellFormed({ maxLength: 8 }),
      fc.uint8Array({ minLength: 1, maxLength: 64 }),
      options,
      (blob, seed, how) => {
        const btf = parse(blob)
        for (const [id, size] of sized(btf)) {
          const schema = B.expectSuccess(BtfSchema.make(btf, id, how))
          const bytes = stretch(seed, size + 5)
          const value = B.expectSuccess(decode(btf, id, bytes, how))
          const failed = Schema.decodeUnknownResult(schema)(value)
          if (Result.isFailure(failed)) assert.fail(failed.failure.message)
          const codec = B.expectSuccess(BtfSchema.codec(btf, id, how))
          assert.deepEqual(Schema.decodeUnknownSync(codec)(bytes), value)
          // A union's members are written in the schema's order.
          if (some(btf, id, (type) => type._tag === "Union")) continue
          assert.deepEqual(Schema.encodeSync(codec)(value), B.expectSuccess(BtfValue.encode(btf, id, value, how)))
        }
      }
    )

  it("hold for what is decoded", () => {
    fc.assert(law(BtfValue.decode), { numRuns: runs(60) })
  })

  it("named fault: integers are texts", () => {
    const texts = (value: BtfValue.BtfValue): BtfValue.BtfValue => {
      if (typeof value === "number") return String(value)
      if (Array.isArray(value)) return value.map((item: BtfValue.BtfValue) => texts(item))
      if (typeof value !== "object" || value instanceof Uint8Array) return value
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, texts(item)]))
    }
    refuted(law((btf, id, bytes, how) => Result.map(BtfValue.decode(btf, id, bytes, how), texts)))
  })

  it("accept what can be encoded, and nothing else", () => {
    const leaf = fc.oneof(
      fc.integer({ min: -300, max: 70_000 }),
      fc.bigInt({ min: -(1n << 65n), max: 1n << 65n }),
      fc.string()
    )
    /** The value with its leaves of the type of `other` replaced by it, each by chance. */
    const replaced = (value: BtfValue.BtfValue, other: BtfValue.BtfValue, random: () => boolean): BtfValue.BtfValue => {
      if (Array.isArray(value)) return value.map((item: BtfValue.BtfValue) => replaced(item, other, random))
      if (typeof value !== "object" || value instanceof Uint8Array) {
        return typeof value === typeof other && random() ? other : value
      }
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, replaced(item, other, random)]))
    }
    let accepted = 0
    let rejected = 0
    const holds = (schemaOf: typeof BtfSchema.make) =>
      fc.property(
        wellFormed({ maxLength: 6 }),
        fc.uint8Array({ maxLength: 16 }),
        leaf,
        fc.nat(),
        (blob, seed, other, chance) => {
          const btf = parse(blob)
          let state = chance
          const random = () => ((state = Math.imul(state, 1103515245) + 12345) & 0x10000) === 0
          for (const [id, size] of sized(btf)) {
            const value = replaced(B.expectSuccess(BtfValue.decode(btf, id, stretch(seed, size))), other, random)
            const valid = Schema.is(B.expectSuccess(schemaOf(btf, id)))(value)
            const encoded = BtfValue.encode(btf, id, value)
            assert.strictEqual(valid, Result.isSuccess(encoded), String(encoded))
            if (valid) accepted++
            else rejected++
          }
        }
      )
    fc.assert(holds(BtfSchema.make), { numRuns: runs(100) })
    assert.isAbove(accepted, 0)
    assert.isAbove(rejected, 0)
    // Named fault: a schema that takes anything.
    refuted(holds(() => Result.succeed(Schema.Any)))
  })
})

describe("typed data dumps", () => {
  type Dump = typeof BtfDataDump.dump

  const anyDump = fc.record({
    emitZeroes: fc.boolean(),
    emitStrings: fc.boolean(),
    skipNames: fc.boolean(),
    byteOrder: order
  })

  /** On one line or on many, the text is the same. */
  const compactLaw = (dump: Dump) =>
    fc.property(wellFormed(), fc.uint8Array({ maxLength: 64 }), anyDump, fc.nat(3), (blob, seed, options, level) => {
      const btf = parse(blob)
      for (const [id, size] of sized(btf)) {
        const bytes = stretch(seed, size)
        const long = B.expectSuccess(dump(btf, id, bytes, { ...options, level }))
        const short = B.expectSuccess(BtfDataDump.dump(btf, id, bytes, { ...options, compact: true }))
        assert.isUndefined(long.error)
        assert.strictEqual(long.text.replaceAll(/[\n\t]/g, ""), short.text)
      }
    })

  it("are the same on one line and on many", () => {
    fc.assert(compactLaw(BtfDataDump.dump), { numRuns: runs(100) })
  })

  it("named fault: names are left out", () => {
    refuted(compactLaw((btf, id, bytes, options) => BtfDataDump.dump(btf, id, bytes, { ...options, skipNames: true })))
  })

  /** Leaving out zeroes leaves out lines, and adds none. */
  const zeroLaw = (dump: Dump) =>
    fc.property(wellFormed(), fc.uint8Array({ maxLength: 64 }), anyDump, (blob, seed, options) => {
      const btf = parse(blob)
      for (const [id, size] of sized(btf)) {
        const bytes = stretch(seed, size)
        const all = B.expectSuccess(BtfDataDump.dump(btf, id, bytes, { ...options, emitZeroes: true })).text.split("\n")
        let at = 0
        for (const line of B.expectSuccess(dump(btf, id, bytes, { ...options, emitZeroes: false })).text.split("\n")) {
          at = all.indexOf(line, at) + 1
          assert.isAbove(at, 0, line)
        }
      }
    })

  it("without zeroes are parts of those with zeroes", () => {
    fc.assert(zeroLaw(BtfDataDump.dump), { numRuns: runs(100) })
  })

  it("named fault: a line says something else", () => {
    refuted(
      zeroLaw((btf, id, bytes, options) =>
        BtfDataDump.dump(btf, id, bytes.map((byte, at) => at === 3 ? byte + 1 : byte), options)
      )
    )
  })

  /** A value of zeroes shows nothing but its brackets. */
  const emptyLaw = (dump: typeof BtfDataDump.dump) =>
    fc.property(wellFormed(), (blob) => {
      const btf = parse(blob)
      for (const [id, size] of sized(btf)) {
        if (Btf.kindOf(btf, Btf.resolveType(btf, id)) !== Btf.BTF_KIND_STRUCT) continue
        if (Btf.kindOf(btf, id) === Btf.BTF_KIND_VAR) continue
        const dumped = B.expectSuccess(dump(btf, id, new Uint8Array(size), { compact: true, skipNames: true }))
        assert.strictEqual(dumped.text, "{}")
      }
    })

  it("of zeroes are empty", () => {
    fc.assert(emptyLaw(BtfDataDump.dump), { numRuns: runs(60) })
  })

  it("named fault: zeroes are shown", () => {
    refuted(emptyLaw((btf, id, bytes, options) => BtfDataDump.dump(btf, id, bytes, { ...options, emitZeroes: true })))
  })
})

describe("hostile types", () => {
  /** Everything that takes a type and bytes answers, or says what is wrong. */
  const answers = (btf: Btf.Btf, seed: Uint8Array, decode: typeof BtfValue.decode = BtfValue.decode): void => {
    for (let id = 0; id < Math.min(btf.endId + 1, 60); id++) {
      const size = Btf.resolveSize(btf, id)
      const bytes = stretch(seed, Result.isSuccess(size) ? Math.min(size.success, 512) : 8)
      for (const options of [{}, { emitZeroes: true, emitStrings: true }, { compact: true, skipNames: true }]) {
        const dumped = BtfDataDump.dump(btf, id, bytes, options)
        if (Result.isFailure(dumped)) assert.instanceOf(dumped.failure, BtfValue.BtfValueError)
        else if (dumped.success.error !== undefined) assert.instanceOf(dumped.success.error, BtfValue.BtfValueError)
      }
      const value = decode(btf, id, bytes, { flexible: true, octets: true })
      if (Result.isFailure(value)) assert.instanceOf(value.failure, BtfValue.BtfValueError)
      else {
        const encoded = BtfValue.encode(btf, id, value.success, { flexible: true })
        if (Result.isFailure(encoded)) assert.instanceOf(encoded.failure, BtfValue.BtfValueError)
      }
      const schema = BtfSchema.codec(btf, id)
      if (Result.isFailure(schema)) assert.instanceOf(schema.failure, BtfValue.BtfValueError)
      else Schema.decodeUnknownResult(schema.success)(bytes)
    }
  }

  it("that parse have values, or an error", () => {
    fc.assert(
      fc.property(nearlyWellFormed(), fc.uint8Array({ maxLength: 32 }), (blob, seed) => answers(parse(blob), seed)),
      { numRuns: runs(200) }
    )
  })

  it("named fault: a reader that believes what types say of themselves", () => {
    const believing: typeof BtfValue.decode = (btf, id, bytes, options) => {
      if (bytes.length < Btf.sizeOrTypeOf(btf, id)) throw new RangeError("offset is outside the bounds")
      return BtfValue.decode(btf, id, bytes, options)
    }
    refuted(
      fc.property(
        nearlyWellFormed(),
        fc.uint8Array({ maxLength: 32 }),
        (blob, seed) => answers(parse(blob), seed, believing)
      )
    )
  })

  it("that were damaged have values, or an error", () => {
    fc.assert(
      fc.property(hostile, fc.uint8Array({ maxLength: 32 }), (bytes, seed) => {
        const btf = Btf.parse(bytes)
        if (Result.isSuccess(btf)) answers(btf.success, seed)
      }),
      { numRuns: runs(300) }
    )
  })
})
