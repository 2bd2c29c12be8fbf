/** The arbitraries say what they make: well-formed is accepted, nearly well-formed parses, hostile never throws. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../../src/btf/Btf.ts"
import { check } from "../../../src/insn/Decode.ts"
import * as Encode from "../../../src/insn/Encode.ts"
import * as Elf from "../../../src/services/Elf/Elf.ts"
import * as Arbitrary from "../../support/arbitrary/Btf.ts"
import { expectSuccess } from "../../support/arbitrary/BtfBlob.ts"
import * as ArbitraryElf from "../../support/arbitrary/Elf.ts"
import * as ArbitraryInsn from "../../support/arbitrary/Insn.ts"
import { runs, runsToMeet } from "../../support/Require.ts"
import { judge } from "../stages/BadInput.ts"

const parsed = (blob: Arbitrary.Blob, base?: Btf.Btf): Btf.Btf => expectSuccess(Btf.parse(blob.bytes, { base }))

const count = (kinds: Map<number, number>, btf: Btf.Btf): void => {
  for (let id = btf.firstId; id < btf.endId; id++) {
    const kind = Btf.kindOf(btf, id)
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
}

/** What a compiler would never make of a struct: members out of order, or outside of it. */
const wrongMember = (btf: Btf.Btf): string | undefined => {
  for (let id = btf.firstId; id < btf.endId; id++) {
    const type = Btf.typeOf(btf, id)
    if (type._tag !== "Struct" && type._tag !== "Union") continue
    let last = 0
    for (const member of type.members) {
      const size = member.bitfieldSize === 0
        ? expectSuccess(Btf.resolveSize(btf, member.type)) * 8
        : member.bitfieldSize
      if (member.bitOffset < last || member.bitOffset + size > type.size * 8) return `${type.name}.${member.name}`
      last = type._tag === "Union" ? 0 : member.bitOffset + size
    }
  }
  return undefined
}

describe("arbitrary BTF", () => {
  it("well-formed: parses, and members lie in order within their structs", () => {
    const kinds = new Map<number, number>()
    fc.assert(
      fc.property(Arbitrary.wellFormed(), (blob) => {
        const btf = parsed(blob)
        count(kinds, btf)
        assert.strictEqual(btf.endId, blob.types.length + 1)
        assert.strictEqual(wrongMember(btf), undefined)
      }),
      { numRuns: runsToMeet(300) }
    )
    assert.strictEqual(kinds.size, Btf.NR_BTF_KINDS - 1, "every kind but void")
  })

  it("split: the base and the split hold the types of the whole", () => {
    fc.assert(
      fc.property(Arbitrary.split(), ({ base, split, whole }) => {
        const first = parsed(base)
        const second = parsed(split, first)
        const all = parsed(whole)
        assert.strictEqual(second.endId, all.endId)
        for (let id = 1; id < all.endId; id++) assert.deepEqual(Btf.typeOf(second, id), Btf.typeOf(all, id))
      }),
      { numRuns: runs(200) }
    )
  })

  it("units: both parse, and each name of the units is one of the merged types'", () => {
    let forwards = 0
    fc.assert(
      fc.property(Arbitrary.units(), ({ concatenated, merged }) => {
        const both = parsed(concatenated)
        const one = parsed(merged)
        for (let id = 1; id < both.endId; id++) {
          const name = Btf.nameOf(both, id)
          if (name !== "") assert.notStrictEqual(Btf.find(one, name)._tag, "None", name)
          if (Btf.kindOf(both, id) === Btf.BTF_KIND_FWD && Btf.findOne(one, name, Btf.BTF_KIND_FWD) === undefined) {
            forwards += 1
          }
        }
      }),
      { numRuns: runsToMeet(1000) }
    )
    assert.isAbove(forwards, 10, "declared in one unit, defined in the other")
  })

  it("nearly well-formed: parses", () => {
    let odd = 0
    fc.assert(
      fc.property(Arbitrary.nearlyWellFormed(), Arbitrary.nearlyWellFormedSplit(), (blob, { base, split }) => {
        const btf = parsed(blob)
        for (let id = 1; id < btf.endId; id++) if (Result.isFailure(Btf.resolveSize(btf, id))) odd += 1
        parsed(split, parsed(base))
      }),
      { numRuns: runsToMeet(200) }
    )
    assert.isAbove(odd, 100)
  })

  it("hostile: a value or a tagged error", () => {
    let accepted = 0
    const reasons = new Set<string>()
    fc.assert(
      fc.property(Arbitrary.hostile, (bytes) => {
        const result = Btf.parse(bytes)
        if (Result.isSuccess(result)) accepted += 1
        else reasons.add(result.failure.reason)
      }),
      { numRuns: runsToMeet(1000) }
    )
    assert.isAbove(accepted, 50)
    assert.isAbove(reasons.size, 6, [...reasons].join(" "))
  })
})

describe("arbitrary objects", () => {
  it("well-formed: are as far as a plan", () => {
    let maps = 0
    let relocated = 0
    fc.assert(
      fc.property(ArbitraryElf.wellFormed, ({ bytes, parts }) => {
        maps += parts.maps.length
        relocated += parts.subprograms.length
        const verdict = judge(bytes)
        assert.strictEqual(verdict.reached, "planned", verdict.error)
      }),
      { numRuns: runsToMeet(100) }
    )
    assert.isAbove(maps, 20)
    assert.isAbove(relocated, 20)
  })

  it("nearly well-formed: ELF parses, and the way ends in a value or a tagged error", () => {
    const ends = new Set<string>()
    fc.assert(
      fc.property(ArbitraryElf.nearlyWellFormed, ({ bytes }) => {
        assert.isTrue(Result.isSuccess(Elf.parse(bytes)))
        const verdict = judge(bytes)
        ends.add(verdict.error?.replaceAll(/[0-9]+/g, "#") ?? verdict.reached)
      }),
      { numRuns: runsToMeet(150) }
    )
    assert.isAbove(ends.size, 5, [...ends].join("\n"))
  })

  it("hostile: a value or a tagged error", () => {
    const ends = new Set<string>()
    fc.assert(
      fc.property(ArbitraryElf.hostile, (bytes) => {
        const verdict = judge(bytes)
        ends.add(verdict.error?.replaceAll(/[0-9]+/g, "#") ?? verdict.reached)
      }),
      { numRuns: runsToMeet(200) }
    )
    assert.isAbove(ends.size, 8, [...ends].join("\n"))
  })
})

describe("arbitrary instructions", () => {
  it("well-formed and nearly: the decoder takes them, in either case as many as there are", () => {
    fc.assert(
      fc.property(ArbitraryInsn.stream(), ArbitraryInsn.nearlyWellFormed, (samples, code) => {
        const whole = Encode.program(...samples.map((sample) => sample.code))
        assert.isTrue(Result.isSuccess(check(whole)))
        assert.isTrue(Result.isSuccess(check(code)))
      }),
      { numRuns: runs(200) }
    )
  })

  it("hostile: a value or a tagged error", () => {
    let refused = 0
    fc.assert(
      fc.property(ArbitraryInsn.anyCode, (code) => {
        if (Result.isFailure(check(code))) refused += 1
      }),
      { numRuns: runsToMeet(200) }
    )
    assert.isAbove(refused, 20)
  })
})
