/**
 * Random instructions, each with what three judges know of it: the bytes that our constructor made, the fields that the
 * instruction set's document gives it (numbers written out here, not taken from the module under test), and its text in
 * LLVM's assembler notation where that has one.
 */
import * as fc from "fast-check"
import * as Encode from "../../../src/insn/Encode.ts"

/** The fields of one instruction; `nextImm` where it takes two slots. */
export interface Fields {
  readonly opcode: number
  readonly dst: number
  readonly src: number
  readonly offset: number
  readonly imm: number
  readonly nextImm?: number
}

/** An instruction and what is known of it. */
export interface Sample {
  readonly code: Uint8Array
  readonly fields: Fields
  /** LLVM's notation; undefined where clang 19 has none. */
  readonly llvm: string | undefined
}

const registers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] as const
const register: fc.Arbitrary<Encode.Register> = fc.constantFrom(...registers)
/** Offsets, with the ends of their range often among them. */
const offset: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(-32768, -1, 0, 1, 32767),
  fc.integer({ min: -32768, max: 32767 })
)
/** Immediates, with the ends of their range often among them. */
const imm: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(-2147483648, -1, 0, 1, 2147483647),
  fc.integer({ min: -2147483648, max: 2147483647 })
)

const aluOperations = [
  [0x00, "+="],
  [0x10, "-="],
  [0x20, "*="],
  [0x30, "/="],
  [0x40, "|="],
  [0x50, "&="],
  [0x60, "<<="],
  [0x70, ">>="],
  [0x90, "%="],
  [0xa0, "^="],
  [0xb0, "="],
  [0xc0, "s>>="]
] as const

const comparisons = [
  [0x10, "=="],
  [0x20, ">"],
  [0x30, ">="],
  [0x40, "&"],
  [0x50, "!="],
  [0x60, "s>"],
  [0x70, "s>="],
  [0xa0, "<"],
  [0xb0, "<="],
  [0xc0, "s<"],
  [0xd0, "s<="]
] as const

const sizes = [[0x00, 32], [0x08, 16], [0x10, 8], [0x18, 64]] as const
const shortSizes = [[0x00, 32], [0x08, 16], [0x10, 8]] as const
const atomicSizes = [[0x00, 32], [0x18, 64]] as const

const signed = (value: number): string => (value < 0 ? `- ${-value}` : `+ ${value}`)
const distance = (value: number): string => (value < 0 ? `${value}` : `+${value}`)

const sample = (code: Uint8Array, fields: Partial<Fields>, llvm: string | undefined): Sample => ({
  code,
  fields: { opcode: 0, dst: 0, src: 0, offset: 0, imm: 0, ...fields },
  llvm
})

const alu: fc.Arbitrary<Sample> = fc.tuple(fc.constantFrom(...aluOperations), register, register, imm, fc.nat(3)).map(
  ([[op, text], dst, src, imm, form]) => {
    switch (form) {
      case 0:
        return sample(Encode.alu64Reg(op, dst, src), { opcode: 0x0f + op, dst, src }, `r${dst} ${text} r${src}`)
      case 1:
        return sample(Encode.alu64Imm(op, dst, imm), { opcode: 0x07 + op, dst, imm }, `r${dst} ${text} ${imm}`)
      case 2:
        return sample(Encode.alu32Reg(op, dst, src), { opcode: 0x0c + op, dst, src }, `w${dst} ${text} w${src}`)
      default:
        return sample(Encode.alu32Imm(op, dst, imm), { opcode: 0x04 + op, dst, imm }, `w${dst} ${text} ${imm}`)
    }
  }
)

const signedAlu: fc.Arbitrary<Sample> = fc
  .tuple(fc.constantFrom([0x30, "s/="] as const, [0x90, "s%="] as const), register, register, imm, fc.nat(3))
  .map(([[op, text], dst, src, imm, form]) => {
    const offset = 1
    switch (form) {
      case 0:
        return sample(
          Encode.signed64Reg(op, dst, src),
          { opcode: 0x0f + op, dst, src, offset },
          `r${dst} ${text} r${src}`
        )
      case 1:
        return sample(
          Encode.signed64Imm(op, dst, imm),
          { opcode: 0x07 + op, dst, offset, imm },
          `r${dst} ${text} ${imm}`
        )
      case 2:
        return sample(
          Encode.signed32Reg(op, dst, src),
          { opcode: 0x0c + op, dst, src, offset },
          `w${dst} ${text} w${src}`
        )
      default:
        return sample(
          Encode.signed32Imm(op, dst, imm),
          { opcode: 0x04 + op, dst, offset, imm },
          `w${dst} ${text} ${imm}`
        )
    }
  })

const unary: fc.Arbitrary<Sample> = fc.tuple(
  register,
  fc.constantFrom(16 as const, 32 as const, 64 as const),
  fc.nat(4)
)
  .map(([dst, bits, form]) => {
    switch (form) {
      case 0:
        return sample(Encode.neg64(dst), { opcode: 0x87, dst }, `r${dst} = -r${dst}`)
      case 1:
        return sample(Encode.neg32(dst), { opcode: 0x84, dst }, `w${dst} = -w${dst}`)
      case 2:
        return sample(Encode.le(bits, dst), { opcode: 0xd4, dst, imm: bits }, `r${dst} = le${bits} r${dst}`)
      case 3:
        return sample(Encode.be(bits, dst), { opcode: 0xdc, dst, imm: bits }, `r${dst} = be${bits} r${dst}`)
      default:
        return sample(Encode.bswap(bits, dst), { opcode: 0xd7, dst, imm: bits }, `r${dst} = bswap${bits} r${dst}`)
    }
  })

const moves: fc.Arbitrary<Sample> = fc.tuple(register, register, imm, fc.nat(8), fc.nat(0xffff), fc.nat(0xffff)).map(
  ([dst, src, imm, form, to, from]) => {
    const pair = { dst, src }
    switch (form) {
      case 0:
        return sample(Encode.mov64Reg(dst, src), { opcode: 0xbf, ...pair }, `r${dst} = r${src}`)
      case 1:
        return sample(Encode.mov64Imm(dst, imm), { opcode: 0xb7, dst, imm }, `r${dst} = ${imm}`)
      case 2:
        return sample(Encode.mov32Reg(dst, src), { opcode: 0xbc, ...pair }, `w${dst} = w${src}`)
      case 3:
        return sample(Encode.mov32Imm(dst, imm), { opcode: 0xb4, dst, imm }, `w${dst} = ${imm}`)
      case 4:
        return sample(Encode.movsx64(8, dst, src), { opcode: 0xbf, ...pair, offset: 8 }, `r${dst} = (s8)r${src}`)
      case 5:
        return sample(Encode.movsx64(16, dst, src), { opcode: 0xbf, ...pair, offset: 16 }, `r${dst} = (s16)r${src}`)
      case 6:
        return sample(Encode.movsx64(32, dst, src), { opcode: 0xbf, ...pair, offset: 32 }, `r${dst} = (s32)r${src}`)
      case 7:
        return to % 2 === 0
          ? sample(Encode.movsx32(8, dst, src), { opcode: 0xbc, ...pair, offset: 8 }, `w${dst} = (s8)w${src}`)
          : sample(Encode.movsx32(16, dst, src), { opcode: 0xbc, ...pair, offset: 16 }, `w${dst} = (s16)w${src}`)
      default:
        return sample(
          Encode.addrSpaceCast(dst, src, to, from),
          { opcode: 0xbf, ...pair, offset: 1, imm: (to << 16) | from },
          `r${dst} = addr_space_cast(r${src}, ${to}, ${from})`
        )
    }
  }
)

const memory: fc.Arbitrary<Sample> = fc
  .tuple(fc.constantFrom(...sizes), fc.constantFrom(...shortSizes), register, register, offset, imm, fc.nat(5))
  .map(([[size, bits], [short, shortBits], dst, src, offset, imm, form]) => {
    const at = (register: number): string => `(r${register} ${signed(offset)})`
    switch (form) {
      case 0:
        return sample(
          Encode.ldx(size, dst, src, offset),
          { opcode: 0x61 + size, dst, src, offset },
          `r${dst} = *(u${bits} *)${at(src)}`
        )
      case 1:
        return sample(
          Encode.ldxSigned(short, dst, src, offset),
          { opcode: 0x81 + short, dst, src, offset },
          `r${dst} = *(s${shortBits} *)${at(src)}`
        )
      case 2:
        return sample(
          Encode.st(size, dst, offset, imm),
          { opcode: 0x62 + size, dst, offset, imm },
          `*(u${bits} *)${at(dst)} = ${imm}`
        )
      case 3:
        return sample(
          Encode.stx(size, dst, src, offset),
          { opcode: 0x63 + size, dst, src, offset },
          `*(u${bits} *)${at(dst)} = r${src}`
        )
      case 4:
        return sample(
          Encode.ldAbs(short, imm),
          { opcode: 0x20 + short, imm },
          `r0 = *(u${shortBits} *)skb[${imm}]`
        )
      default:
        return sample(
          Encode.ldInd(short, src, imm),
          { opcode: 0x40 + short, src, imm },
          // The assembler has the form without an immediate only.
          imm === 0 ? `r0 = *(u${shortBits} *)skb[r${src}]` : undefined
        )
    }
  })

const plainAtomics = [
  [0x00, "+=", Encode.atomicAdd],
  [0x40, "|=", Encode.atomicOr],
  [0x50, "&=", Encode.atomicAnd],
  [0xa0, "^=", Encode.atomicXor]
] as const
const fetchingAtomics = [
  [0x01, "add", Encode.atomicFetchAdd],
  [0x41, "or", Encode.atomicFetchOr],
  [0x51, "and", Encode.atomicFetchAnd],
  [0xa1, "xor", Encode.atomicFetchXor]
] as const

const atomics: fc.Arbitrary<Sample> = fc
  .tuple(
    fc.constantFrom(...plainAtomics),
    fc.constantFrom(...fetchingAtomics),
    fc.constantFrom(...atomicSizes),
    fc.constantFrom(...sizes),
    register,
    register,
    offset,
    fc.nat(5)
  )
  .map(([[plain, text, encodePlain], [fetch, name, encodeFetch], [size, bits], [any], dst, src, offset, form]) => {
    const fields = { opcode: 0xc3 + size, dst, src, offset }
    const wide = size === 0x18
    const letter = wide ? "r" : "w"
    const pointer = `(u${bits} *)(r${dst} ${signed(offset)})`
    const place = `r${dst} ${signed(offset)}`
    switch (form) {
      case 0:
        return sample(
          encodePlain(size, dst, src, offset),
          { ...fields, imm: plain },
          `lock *${pointer} ${text} ${letter}${src}`
        )
      case 1:
        return sample(
          encodeFetch(size, dst, src, offset),
          { ...fields, imm: fetch },
          `${letter}${src} = atomic_fetch_${name}(${pointer}, ${letter}${src})`
        )
      case 2:
        return sample(
          Encode.atomicXchg(size, dst, src, offset),
          { ...fields, imm: 0xe1 },
          `${letter}${src} = ${wide ? "xchg_64" : "xchg32_32"}(${place}, ${letter}${src})`
        )
      case 3:
        return sample(
          Encode.atomicCmpxchg(size, dst, src, offset),
          { ...fields, imm: 0xf1 },
          `${letter}0 = ${wide ? "cmpxchg_64" : "cmpxchg32_32"}(${place}, ${letter}0, ${letter}${src})`
        )
      case 4:
        // Newer than clang 19.
        return sample(
          Encode.loadAcquire(any, dst, src, offset),
          { ...fields, opcode: 0xc3 + any, imm: 0x100 },
          undefined
        )
      default:
        return sample(
          Encode.storeRelease(any, dst, src, offset),
          { ...fields, opcode: 0xc3 + any, imm: 0x110 },
          undefined
        )
    }
  })

const wide: fc.Arbitrary<Sample> = fc.tuple(register, imm, imm, fc.nat(7)).map(([dst, low, high, form]) => {
  const both = (src: number) => ({ opcode: 0x18, dst, src, imm: low, nextImm: high })
  const first = (src: number) => ({ opcode: 0x18, dst, src, imm: low, nextImm: 0 })
  const value = BigInt.asUintN(64, (BigInt(high) << 32n) + BigInt.asUintN(32, BigInt(low)))
  // The assembler's pseudo form sets no second immediate, and takes the first unsigned.
  const pseudo = (src: number) => (high === 0 ? `ld_pseudo r${dst}, ${src}, ${low >>> 0}` : undefined)
  const pseudoFirst = (src: number) => `ld_pseudo r${dst}, ${src}, ${low >>> 0}`
  switch (form) {
    case 0:
      return sample(Encode.ldImm64(dst, value), both(0), `r${dst} = ${BigInt.asIntN(64, value)} ll`)
    case 1:
      return sample(Encode.ldImm64(dst, BigInt.asIntN(64, value)), both(0), `r${dst} = ${BigInt.asIntN(64, value)} ll`)
    case 2:
      return sample(Encode.ldMapFd(dst, low), first(1), pseudoFirst(1))
    case 3:
      return sample(Encode.ldMapValue(dst, low, high), both(2), pseudo(2))
    case 4:
      return sample(Encode.ldBtfId(dst, low, high), both(3), pseudo(3))
    case 5:
      return sample(Encode.ldFunc(dst, low), first(4), pseudoFirst(4))
    case 6:
      return sample(Encode.ldMapIdx(dst, low), first(5), pseudoFirst(5))
    default:
      return sample(Encode.ldMapIdxValue(dst, low, high), both(6), pseudo(6))
  }
})

const comparisonJumps: fc.Arbitrary<Sample> = fc
  .tuple(fc.constantFrom(...comparisons), register, register, imm, offset, fc.nat(3))
  .map(([[op, text], dst, src, imm, offset, form]) => {
    const to = `goto ${distance(offset)}`
    switch (form) {
      case 0:
        return sample(
          Encode.jmpReg(op, dst, src, offset),
          { opcode: 0x0d + op, dst, src, offset },
          `if r${dst} ${text} r${src} ${to}`
        )
      case 1:
        return sample(
          Encode.jmpImm(op, dst, imm, offset),
          { opcode: 0x05 + op, dst, offset, imm },
          `if r${dst} ${text} ${imm} ${to}`
        )
      case 2:
        return sample(
          Encode.jmp32Reg(op, dst, src, offset),
          { opcode: 0x0e + op, dst, src, offset },
          `if w${dst} ${text} w${src} ${to}`
        )
      default:
        return sample(
          Encode.jmp32Imm(op, dst, imm, offset),
          { opcode: 0x06 + op, dst, offset, imm },
          `if w${dst} ${text} ${imm} ${to}`
        )
    }
  })

const otherJumps: fc.Arbitrary<Sample> = fc.tuple(register, imm, offset, fc.nat(3)).map(([dst, imm, offset, form]) => {
  switch (form) {
    case 0:
      return sample(Encode.ja(offset), { opcode: 0x05, offset }, `goto ${distance(offset)}`)
    case 1:
      return sample(
        Encode.gotol(imm),
        { opcode: 0x06, imm },
        // The assembler takes a 32-bit distance from a label only.
        imm >= -32768 && imm <= 32767 ? `gotol ${distance(imm)}` : undefined
      )
    case 2:
      return sample(Encode.mayGoto(offset), { opcode: 0xe5, offset }, `may_goto ${distance(offset)}`)
    default:
      // Newer than clang 19.
      return sample(Encode.gotox(dst), { opcode: 0x0d, dst }, undefined)
  }
})

const calls: fc.Arbitrary<Sample> = fc.tuple(imm, offset, fc.nat(3)).map(([imm, offset, form]) => {
  switch (form) {
    case 0:
      return sample(Encode.callHelper(imm), { opcode: 0x85, imm }, `call ${imm}`)
    case 1:
      return sample(Encode.callSubprogram(imm), { opcode: 0x85, src: 1, imm }, undefined)
    case 2:
      return sample(Encode.callKfunc(imm, offset), { opcode: 0x85, src: 2, offset, imm }, undefined)
    default:
      return sample(Encode.exit(), { opcode: 0x95 }, "exit")
  }
})

/** Instructions that only compute: no jump, call, exit, and no reference. */
export const computing: fc.Arbitrary<Sample> = fc.oneof(alu, signedAlu, unary, moves, memory, atomics)

/** Any instruction that a constructor makes. */
export const insn: fc.Arbitrary<Sample> = fc.oneof(computing, wide, comparisonJumps, otherJumps, calls)

/** Well-formed streams: up to `maxLength` instructions that only compute, each whole. */
export const stream = (maxLength = 24): fc.Arbitrary<ReadonlyArray<Sample>> => fc.array(computing, { maxLength })

/** Nearly well-formed streams: any instructions, whole, with jumps and calls to anywhere. */
export const nearlyWellFormed: fc.Arbitrary<Uint8Array> = fc.array(insn, { maxLength: 24 }).map((samples) =>
  Encode.program(...samples.map(({ code }) => code))
)

/** Hostile streams: any bytes, mostly whole slots, with the opcodes that shape a stream often among them. */
export const anyCode: fc.Arbitrary<Uint8Array> = fc
  .tuple(
    fc.array(
      fc.tuple(
        fc.oneof(fc.constantFrom(0x00, 0x05, 0x06, 0x18, 0x18, 0x85, 0x95, 0xc3, 0xdb), fc.nat(255)),
        fc.oneof(fc.constant(new Uint8Array(7)), fc.uint8Array({ minLength: 7, maxLength: 7 }))
      ),
      { maxLength: 24 }
    ),
    fc.oneof({ weight: 4, arbitrary: fc.constant(new Uint8Array(0)) }, {
      weight: 1,
      arbitrary: fc.uint8Array({ maxLength: 7 })
    })
  )
  .map(([slots, tail]) => {
    const code = new Uint8Array(slots.length * 8 + tail.length)
    slots.forEach(([opcode, rest], index) => {
      code[index * 8] = opcode
      code.set(rest, index * 8 + 1)
    })
    code.set(tail, slots.length * 8)
    return code
  })
