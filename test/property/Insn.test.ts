import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { check, isKnownOpcode } from "../../src/insn/Decode.ts"
import { disassemble } from "../../src/insn/Disassemble.ts"
import * as Encode from "../../src/insn/Encode.ts"
import * as Insn from "../../src/insn/Insn.ts"
import { runs } from "../support/Require.ts"
import { anyCode, insn } from "../support/arbitrary/Insn.ts"
import type { Fields, Sample } from "../support/arbitrary/Insn.ts"

/** A law must fail on its named fault: `fc.check` must find a counterexample. */
const refuted = <T>(property: fc.IProperty<T>): void => {
  const details = fc.check(property, { numRuns: 2000 })
  assert.isTrue(details.failed, "the named fault went unnoticed")
}

const fieldsOf = (code: Uint8Array, slot: number): Fields => {
  const fields = {
    opcode: Insn.opcode(code, slot),
    dst: Insn.dst(code, slot),
    src: Insn.src(code, slot),
    offset: Insn.offset(code, slot),
    imm: Insn.imm(code, slot)
  }
  return Insn.width(code, slot) === 2 ? { ...fields, nextImm: Insn.nextImm(code, slot) } : fields
}

describe("byte order", () => {
  type Conversion = (code: Uint8Array, order: Insn.ByteOrder) => Uint8Array
  const inverse = (from: Conversion, to: Conversion) =>
    fc.property(anyCode, fc.constantFrom("little" as const, "big" as const), (code, order) => {
      const before = code.slice()
      assert.deepEqual(to(from(code, order), order), code)
      assert.deepEqual(from(to(code, order), order), code)
      assert.deepEqual(code, before, "the input was changed")
    })

  it("from and to a byte order are inverse, and leave their input alone", () => {
    fc.assert(inverse(Insn.fromByteOrder, Insn.toByteOrder), { numRuns: runs(1000) })
  })
  it("named fault: a conversion that forgets the register halves on the way back", () => {
    refuted(inverse(Insn.fromByteOrder, (code, order) => {
      const result = Insn.toByteOrder(code, order).slice()
      if (order === "big" && code.length >= 8) result[1] = code[1] ?? 0
      return result
    }))
  })
  it("named fault: a conversion in place", () => {
    refuted(inverse((code, order) => {
      code.set(Insn.fromByteOrder(code, order))
      return code
    }, Insn.toByteOrder))
  })

  it("a big-endian slot holds its fields in reverse bytes", () => {
    fc.assert(
      fc.property(insn, ({ code, fields }) => {
        const big = Insn.toByteOrder(code, "big")
        const view = new DataView(big.buffer, big.byteOffset, big.byteLength)
        assert.strictEqual(view.getUint8(0), fields.opcode)
        assert.strictEqual(view.getUint8(1), (fields.dst << 4) | fields.src)
        assert.strictEqual(view.getInt16(2, false), fields.offset)
        assert.strictEqual(view.getInt32(4, false), fields.imm)
        if (fields.nextImm !== undefined) assert.strictEqual(view.getInt32(12, false), fields.nextImm)
      }),
      { numRuns: runs(1000) }
    )
  })
})

describe("encode, then read", () => {
  const law = (encoded: (sample: Sample) => Uint8Array) =>
    fc.property(insn, (sample) => {
      const code = encoded(sample)
      assert.strictEqual(Insn.count(code), sample.fields.nextImm === undefined ? 1 : 2)
      assert.deepEqual(fieldsOf(code, 0), sample.fields)
    })

  it("gives back the fields of the instruction set's document", () => {
    fc.assert(law((sample) => sample.code), { numRuns: runs(5000) })
  })
  it("reaches every known opcode, and no other", () => {
    const made = new Set(fc.sample(insn, { numRuns: 20_000, seed: 1 }).map(({ fields }) => fields.opcode))
    const known = Array.from({ length: 256 }, (_, opcode) => opcode).filter(isKnownOpcode)
    assert.deepEqual([...made].sort((a, b) => a - b), known)
    assert.strictEqual(known.length, 129)
  })
  it("named fault: an offset cut to a byte", () => {
    refuted(law(({ code }) => {
      const result = code.slice()
      result[3] = 0
      return result
    }))
  })

  it("a program is well formed and walks to the instructions that it was made of", () => {
    fc.assert(
      fc.property(fc.array(insn, { maxLength: 50 }), (samples) => {
        const code = Encode.program(...samples.map((sample) => sample.code))
        assert.isTrue(Result.isSuccess(check(code)))
        const seen: Array<Fields> = []
        for (let slot = 0; slot < Insn.count(code); slot = Insn.nextSlot(code, slot)) {
          seen.push(fieldsOf(code, slot))
          assert.deepEqual(Insn.bytes(code, slot), samples[seen.length - 1]?.code)
        }
        assert.deepEqual(seen, samples.map((sample) => sample.fields))
        assert.strictEqual(disassemble(code).length, samples.length)
      }),
      { numRuns: runs(300) }
    )
  })
})

describe("setters", () => {
  const numbers = { min: -0x80000000, max: 0xffffffff }
  interface Setter {
    readonly set: (code: Uint8Array, slot: number, value: number) => void
    readonly get: (code: Uint8Array, slot: number) => number
    readonly stored: (value: number) => number
  }
  const setters: Readonly<Record<string, Setter>> = {
    opcode: { set: Insn.setOpcode, get: Insn.opcode, stored: (value) => value & 0xff },
    dst: { set: Insn.setDst, get: Insn.dst, stored: (value) => value & 0xf },
    src: { set: Insn.setSrc, get: Insn.src, stored: (value) => value & 0xf },
    offset: { set: Insn.setOffset, get: Insn.offset, stored: (value) => (value << 16) >> 16 },
    imm: { set: Insn.setImm, get: Insn.imm, stored: (value) => value | 0 },
    nextImm: { set: Insn.setNextImm, get: Insn.nextImm, stored: (value) => value | 0 },
    size: { set: Insn.setSize, get: Insn.size, stored: (value) => value & 0x18 }
  }
  const readers: ReadonlyArray<(code: Uint8Array, slot: number) => number> = [
    Insn.opcode,
    Insn.dst,
    Insn.src,
    Insn.offset,
    Insn.imm
  ]
  /** All fields of the two slots, less the one that the setter is for. */
  const others = (code: Uint8Array, name: string): ReadonlyArray<number> =>
    [0, 1].flatMap((slot) =>
      readers.map((read) => {
        if (name === "nextImm") return slot === 1 && read === Insn.imm ? 0 : read(code, slot)
        if (slot === 1) return read(code, slot)
        if (name === "size") return read === Insn.opcode ? read(code, slot) & ~0x18 : read(code, slot)
        return read === setters[name]?.get ? 0 : read(code, slot)
      })
    )
  const law = (name: string, setter: Setter) =>
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.integer(numbers), (bytes, value) => {
      const code = bytes.slice()
      setter.set(code, 0, value)
      assert.strictEqual(setter.get(code, 0), setter.stored(value))
      assert.deepEqual(others(code, name), others(bytes, name), "another field changed")
    })

  for (const [name, setter] of Object.entries(setters)) {
    it(`${name}: reads back, changes no other field`, () => {
      fc.assert(law(name, setter), { numRuns: runs(500) })
    })
  }
  it("named fault: a register setter that clears its neighbour", () => {
    refuted(law("src", {
      set: (code, slot, value) => {
        code[slot * 8 + 1] = (value & 0xf) << 4
      },
      get: Insn.src,
      stored: (value) => value & 0xf
    }))
  })

  it("imm64 reads back as an unsigned number", () => {
    fc.assert(fc.property(fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n }), (value) => {
      const code = Encode.ldImm64(3, 0)
      Insn.setImm64(code, 0, value)
      assert.strictEqual(Insn.imm64(code, 0), BigInt.asUintN(64, value))
      assert.deepEqual(code, Encode.ldImm64(3, value))
    }))
  })

  it("outside the code nothing is read or stored", () => {
    fc.assert(fc.property(anyCode, fc.constantFrom(-5, -2, 25, 1000), (bytes, slot) => {
      const code = bytes.slice()
      for (const { set } of Object.values(setters)) set(code, slot, -1)
      assert.deepEqual(code, bytes)
      for (const read of readers) assert.strictEqual(read(code, slot), 0)
      assert.strictEqual(Insn.imm64(code, slot), 0n)
    }))
  })
})

describe("any bytes", () => {
  const instructions = (code: Uint8Array): number => {
    let total = 0
    for (let slot = 0; slot < Insn.count(code); slot = Insn.nextSlot(code, slot)) total += 1
    return total
  }

  const law = (lines: (code: Uint8Array) => ReadonlyArray<string>) =>
    fc.property(anyCode, (code) => {
      const texts = lines(code)
      assert.strictEqual(texts.length, instructions(code))
      for (const text of texts) assert.match(text, /^(\([0-9a-f]{2}\) [^\n]+|BUG(_[a-z]+)?_[0-9a-f]{2})$/)
    })

  it("disassemble to one line per instruction", () => {
    fc.assert(law((code) => disassemble(code).map(({ text }) => text)), { numRuns: runs(3000) })
    fc.assert(law((code) => disassemble(code, { style: "xlated" }).map(({ text }) => text)), { numRuns: runs(1000) })
  })
  it("named fault: a line for each slot", () => {
    refuted(law((code) => Array.from({ length: Insn.count(code) }, () => "(95) exit")))
  })
  it("named fault: an operation without a name", () => {
    refuted(law((code) => disassemble(code).map(({ text }) => text.replace("(null)", "\n"))))
  })

  it("check to a value or an error whose slot is at fault", () => {
    fc.assert(
      fc.property(anyCode, (code) => {
        const result = check(code)
        if (Result.isSuccess(result)) {
          assert.strictEqual(code.length % 8, 0)
          for (let slot = 0; slot < Insn.count(code); slot = Insn.nextSlot(code, slot)) {
            assert.isTrue(isKnownOpcode(Insn.opcode(code, slot)))
            assert.isAtMost(Insn.nextSlot(code, slot), Insn.count(code))
            if (Insn.isLdImm64(code, slot)) {
              assert.deepEqual([...code.subarray(slot * 8 + 8, slot * 8 + 12)], [0, 0, 0, 0])
            }
          }
          return
        }
        const { reason, slot, message } = result.failure
        assert.match(message, /^instruction \d+: /)
        const at = slot ?? -1
        switch (reason) {
          case "Length":
            assert.strictEqual(at, Insn.count(code))
            assert.notStrictEqual(code.length % 8, 0)
            break
          case "UnknownOpcode":
            assert.isFalse(isKnownOpcode(Insn.opcode(code, at)))
            break
          case "MissingSecondSlot":
            assert.isTrue(Insn.isLdImm64(code, at))
            assert.strictEqual(at, Insn.count(code) - 1)
            break
          case "SecondSlot":
            assert.isTrue(Insn.isLdImm64(code, at - 1))
            assert.notStrictEqual([...code.subarray(at * 8, at * 8 + 4)].join(), "0,0,0,0")
            break
          case "Operand":
            assert.fail("check encodes nothing")
        }
      }),
      { numRuns: runs(5000) }
    )
  })

  it("jumps and calls lead where the instruction set says", () => {
    fc.assert(
      fc.property(insn, fc.nat(100), ({ code: one, fields }, before) => {
        const code = Encode.program(new Uint8Array(before * 8), one)
        const { opcode } = fields
        const next = before + 1
        const comparison = ((opcode & 7) === 5 || (opcode & 7) === 6) &&
          ![0x00, 0x80, 0x90, 0xe0].includes(opcode & 0xf0)
        const expected = opcode === 0x06 ?
          next + fields.imm :
          opcode === 0x05 || opcode === 0xe5 || comparison ?
          next + fields.offset :
          undefined
        assert.strictEqual(Insn.jumpTarget(code, before), expected)
        assert.strictEqual(Insn.isJump(code, before), expected !== undefined || opcode === 0x0d)
        assert.strictEqual(Insn.isConditionalJump(code, before), comparison || opcode === 0xe5)
        assert.strictEqual(
          Insn.subprogramTarget(code, before),
          (opcode === 0x85 && fields.src === 1) || (opcode === 0x18 && fields.src === 4) ? next + fields.imm : undefined
        )
      }),
      { numRuns: runs(3000) }
    )
  })
})
