/**
 * Laws of types that are made for a kernel that lacks features: whatever it lacks, the result is a blob that parses, with the
 * same ids, records of the same sizes, names where they are kept, and nothing that the kernel does not know.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfEncode from "../../src/btf/BtfEncode.ts"
import { type Feature, features as allFeatures } from "../../src/services/Kernel/Feature.ts"
import type { Features } from "../../src/stages/Features.ts"
import * as Instructions from "../../src/stages/load/sanitise/Instructions.ts"
import * as Types from "../../src/stages/load/sanitise/Types.ts"
import * as Insn from "../../src/insn/Insn.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { runs } from "../support/Require.ts"

const btfFeatures = allFeatures.filter((feature) => feature.startsWith("Btf") && feature !== "Btf")

const lacking = (missing: ReadonlyArray<Feature>): Features => ({
  has: (feature) => !missing.includes(feature),
  because: (feature) => feature
})

/** The kinds and forms of types that a kernel without a feature does not know. */
const unknownWithout: Readonly<Partial<Record<Feature, (btf: Btf.Btf, id: number) => boolean>>> = {
  BtfDatasec: (btf, id) => [Btf.BTF_KIND_VAR, Btf.BTF_KIND_DATASEC].includes(Btf.kindOf(btf, id)),
  BtfFunc: (btf, id) => [Btf.BTF_KIND_FUNC, Btf.BTF_KIND_FUNC_PROTO].includes(Btf.kindOf(btf, id)),
  BtfGlobalFunc: (btf, id) => Btf.kindOf(btf, id) === Btf.BTF_KIND_FUNC && Btf.vlenOf(btf, id) !== 0,
  BtfFloat: (btf, id) => Btf.kindOf(btf, id) === Btf.BTF_KIND_FLOAT,
  BtfDeclTag: (btf, id) => Btf.kindOf(btf, id) === Btf.BTF_KIND_DECL_TAG,
  BtfTypeTag: (btf, id) => Btf.kindOf(btf, id) === Btf.BTF_KIND_TYPE_TAG,
  BtfEnum64: (btf, id) =>
    Btf.kindOf(btf, id) === Btf.BTF_KIND_ENUM64 || (Btf.kindOf(btf, id) === Btf.BTF_KIND_ENUM && Btf.kflagOf(btf, id)),
  BtfQmarkDatasec: (btf, id) => Btf.kindOf(btf, id) === Btf.BTF_KIND_DATASEC && Btf.nameOf(btf, id).startsWith("?")
}

/** Kinds whose name is not that of the type any more. */
const anonymous: ReadonlySet<number> = new Set([Btf.BTF_KIND_FLOAT, Btf.BTF_KIND_TYPE_TAG])

const sizeOfRecord = (btf: Btf.Btf, id: number): number =>
  (btf.offsets[id - btf.firstId + 1] ?? btf.typesOffset + btf.typesLength) - (btf.offsets[id - btf.firstId] ?? 0)

const single: fc.Arbitrary<Btf.Btf> = fc.oneof(Arbitrary.wellFormed(), Arbitrary.nearlyWellFormed()).map(({ bytes }) =>
  Result.getOrThrow(Btf.parse(bytes))
)

const missing = fc.subarray([...btfFeatures])

type Sanitise = (btf: Btf.Btf, features: Features) => Uint8Array

const sanitise: Sanitise = (btf, features) => Result.getOrThrow(Types.sanitise(btf, features)).bytes

const reparsed = (bytes: Uint8Array): Btf.Btf => Result.getOrThrow(Btf.parse(bytes))

/** A law must fail on its named fault: a counterexample must be found. */
const refuted = <T>(property: fc.IProperty<T>): void => {
  assert.isTrue(fc.check(property, { numRuns: 3000 }).failed, "the named fault went unnoticed")
}

describe("types for a kernel that lacks features", () => {
  const known = (with_: Sanitise) =>
    fc.property(single, missing, (btf, without) => {
      const made = reparsed(with_(btf, lacking(without)))
      for (let id = 1; id < made.endId; id++) {
        for (const feature of without) {
          assert.notStrictEqual(unknownWithout[feature]?.(made, id), true, `${feature} ${id}`)
        }
      }
      if (without.includes("BtfLayout")) {
        assert.strictEqual(made.layoutLength, 0)
      }
      assert.deepStrictEqual(without.filter((feature) => Types.featuresOf(made).has(feature)), [])
    })

  it("are of kinds that it knows", () => {
    fc.assert(known(sanitise), { numRuns: runs(300) })
  })

  it("named fault: FLOATs that stay are seen", () => {
    refuted(
      known((btf, features) => sanitise(btf, { ...features, has: (each) => each === "BtfFloat" || features.has(each) }))
    )
  })

  const places = (with_: Sanitise) =>
    fc.property(single, missing, (btf, without) => {
      const made = reparsed(with_(btf, lacking(without)))
      // The members of unions that were enums have a type of their own.
      const more = made.endId - btf.endId
      assert.isTrue(more === 0 || (more === 1 && without.includes("BtfEnum64")), `${more} more types`)
      for (let id = 1; id < btf.endId; id++) {
        assert.strictEqual(sizeOfRecord(made, id), sizeOfRecord(btf, id), `record of ${id}`)
        const kind = Btf.kindOf(btf, id)
        if (!anonymous.has(kind) || Btf.kindOf(made, id) === kind) {
          const name = Btf.nameOf(made, id)
          const renamed = Btf.nameOf(btf, id).replaceAll(/[.?]/g, "_")
          assert.isTrue(name === Btf.nameOf(btf, id) || name.replaceAll(/[.?]/g, "_") === renamed, `${name} of ${id}`)
        }
      }
    })

  it("have the same ids and names, and records of the same sizes", () => {
    fc.assert(places(sanitise), { numRuns: runs(300) })
  })

  it("named fault: names that were lost are seen", () => {
    refuted(places((btf, features) => {
      const bytes = sanitise(btf, features)
      const made = reparsed(bytes)
      return bytes.map((byte, at) => at > made.stringsOffset && byte >= 0x61 ? 0x61 : byte)
    }))
  })

  it("are made once: of what was made nothing is changed", () => {
    fc.assert(
      fc.property(single, missing, (btf, without) => {
        const once = sanitise(btf, lacking(without))
        const twice = Result.getOrThrow(Types.sanitise(reparsed(once), lacking(without)))
        assert.deepEqual(twice.bytes, once)
        assert.deepStrictEqual(twice.notes, [])
      }),
      { numRuns: runs(300) }
    )
  })

  it("are the canonical blob where nothing is missing that they use", () => {
    fc.assert(
      fc.property(single, missing, (btf, without) => {
        const used = Types.featuresOf(btf)
        const { bytes, notes } = Result.getOrThrow(
          Types.sanitise(btf, lacking(without.filter((feature) => !used.has(feature))))
        )
        assert.deepEqual(bytes, BtfEncode.encode(btf))
        assert.deepStrictEqual(notes, [])
      }),
      { numRuns: runs(300) }
    )
  })

  it("leave the types that they are made of as they were", () => {
    fc.assert(
      fc.property(single, missing, (btf, without) => {
        const before = btf.bytes.slice()
        sanitise(btf, lacking(without))
        assert.deepEqual(btf.bytes, before)
      }),
      { numRuns: runs(100) }
    )
  })

  it("have notes for each feature that they were changed for, and no others", () => {
    fc.assert(
      fc.property(single, missing, (btf, without) => {
        const { bytes, notes } = Result.getOrThrow(Types.sanitise(btf, lacking(without)))
        const named = new Set(notes.map((note) => note.slice(note.lastIndexOf(" ") + 1)))
        for (const feature of named) assert.include(without, feature)
        assert.strictEqual(notes.length === 0, Buffer.compare(bytes, BtfEncode.encode(btf)) === 0)
      }),
      { numRuns: runs(200) }
    )
  })
})

describe("each change", () => {
  const made = (types: ReadonlyArray<B.Rec>, ...without: ReadonlyArray<Feature>): ReadonlyArray<Btf.BtfType> => {
    const btf = reparsed(sanitise(reparsed(B.blob(types)), lacking(without)))
    return Array.from({ length: btf.endId - 1 }, (_, index) => Btf.typeOf(btf, index + 1))
  }

  it("turns variables into bytes, and their section into a struct of them", () => {
    const variables = [B.int("int", 4), B.variable("counter", 1, 1)]
    const [, variable, section] = made([...variables, B.datasec(".data.x", 8, [[2, 4, 4]])], "BtfDatasec")
    assert.deepInclude(variable, { _tag: "Int", name: "counter", size: 1, bits: 8 })
    assert.deepInclude(section, {
      _tag: "Struct",
      name: "_data_x",
      size: 8,
      members: [{ name: "counter", type: 2, bitOffset: 32, bitfieldSize: 0 }]
    })
    assert.deepInclude(made([...variables, B.datasec("?.data", 8, [])], "BtfQmarkDatasec")[2], {
      _tag: "Datasec",
      name: "_.data"
    })
  })
})

describe("instructions for a kernel without probe_read_kernel()", () => {
  const call = (helper: number, src = 0): Uint8Array => {
    const insn = new Uint8Array(8)
    Insn.setOpcode(insn, 0, Insn.CALL)
    Insn.setSrc(insn, 0, src)
    Insn.setImm(insn, 0, helper)
    return insn
  }
  const code = (...insns: ReadonlyArray<Uint8Array>): Uint8Array => {
    const all = new Uint8Array(insns.length * 8)
    insns.forEach((insn, index) => all.set(insn, index * 8))
    return all
  }

  it("call the helpers that it has", () => {
    const insns = code(call(112), call(113), call(114), call(115), call(1), call(113, 1), call(113, 2))
    const { insns: changed, notes } = Instructions.sanitise(insns, lacking(["ProbeReadKernel"]))
    assert.deepEqual(changed, code(call(4), call(4), call(45), call(45), call(1), call(113, 1), call(113, 2)))
    assert.strictEqual(notes.length, 1)
    assert.match(notes[0] ?? "", /^4 calls of bpf_probe_read_kernel\(\)/)
    assert.strictEqual(Instructions.sanitise(insns, lacking([])).insns, insns)
    assert.strictEqual(Instructions.sanitise(code(call(1)), lacking(["ProbeReadKernel"])).notes.length, 0)
  })
})
