/** What the linker makes of input that is none: damaged, empty, foreign, twice the same, or after its end. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Linker from "../../../src/linker/Linker.ts"
import * as Elf from "../../../src/services/Elf/Elf.ts"
import * as ArbitraryElf from "../../support/arbitrary/Elf.ts"
import { image } from "../../support/arbitrary/ElfImage.ts"
import * as Group from "../../support/arbitrary/Link.ts"
import { elf64 } from "../../support/BtfElf.ts"
import { type Ends, judge, linkMutants, subjects } from "../../support/LinkMutants.ts"
import { fixture, runs, runsToMeet } from "../../support/Require.ts"

const part = (name: string): Linker.LinkInput => ({ name: `${name}.o`, bytes: fixture(`link/${name}.bpf.o`) })

/** The error of a link that must fail. */
const refusal = (inputs: ReadonlyArray<Linker.LinkInput>, options?: Linker.LinkOptions): Linker.LinkError => {
  const linked = Linker.link(inputs, options)
  if (Result.isSuccess(linked)) throw new Error("it links")
  return linked.failure
}

describe("damaged objects", () => {
  it("of every fixture link, or give a tagged error", () => {
    const all = subjects()
    const ends: Ends = { counts: new Map(), slowest: 0 }
    for (const subject of all) linkMutants(subject, all, runsToMeet(20), ends)
    for (const reason of ["linked", "Elf", "Section", "Symbol", "Btf"]) {
      assert.isAbove(ends.counts.get(reason) ?? 0, 0, reason)
    }
  })

  it("that are generated do, too, beside whole ones", () => {
    const files = Group.groups({ min: 1, max: 2 }).map((group) => Group.filesOf(group))
    fc.assert(
      fc.property(ArbitraryElf.hostile, files, (bytes, others) => {
        judge([{ name: "hostile.o", bytes }, ...others])
        judge([...others, { name: "hostile.o", bytes }], { relocatable: true })
      }),
      { numRuns: runs(300) }
    )
  })

  it("that fit nearly do, too", () => {
    fc.assert(
      fc.property(ArbitraryElf.nearlyWellFormed, ({ bytes }) => {
        judge([{ name: "nearly.o", bytes }])
      }),
      { numRuns: runs(300) }
    )
  })

  it("are told by the check from a linker that throws", () => {
    assert.throws(() => {
      fc.assert(fc.property(fc.uint8Array(), (bytes) => {
        if (Result.isFailure(Linker.link([{ name: "a.o", bytes }]))) throw new Error("thrown")
      }))
    }, /Property failed/)
  })
})

describe("what is no object", () => {
  it("is refused: any bytes, any ELF file", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.strictEqual(refusal([{ name: "noise.o", bytes }]).reason, "Elf")
    }))
    fc.assert(fc.property(image, (x) => {
      judge([{ name: "image.o", bytes: Result.getOrThrow(Elf.write(x)) }])
    }))
  })

  it("is named: nothing at all, an archive, an ELF file of another machine, text", () => {
    const archive = new TextEncoder().encode(
      "!<arch>\nx.o/            0           0     0     644     4         `\nELF\n"
    )
    const cases: ReadonlyArray<readonly [string, Uint8Array, Linker.LinkError["reason"]]> = [
      ["empty.o", new Uint8Array(), "Elf"],
      ["library.a", archive, "Elf"],
      ["x86.o", elf64([{ name: ".text", bytes: new Uint8Array(16) }]), "NotBpf"],
      ["source.c", new TextEncoder().encode("int main(void) { return 0; }\n"), "Elf"]
    ]
    for (const [name, bytes, reason] of cases) {
      for (
        const inputs of [[{ name, bytes }], [part("funcs_a"), { name, bytes }], [{ name, bytes }, part("funcs_a")]]
      ) {
        const error = refusal(inputs)
        assert.strictEqual(error.reason, reason, name)
        assert.strictEqual(error.file, name)
        assert.include(error.message, name)
      }
    }
    assert.strictEqual(refusal([]).reason, "NoInput")
  })

  it("the same file twice: its strong definitions are there twice", () => {
    const error = refusal([part("vars_b"), part("vars_b")])
    assert.strictEqual(error.reason, "Duplicate")
    assert.strictEqual(error.sides?.length, 2)
  })

  it("objects of both byte orders", () => {
    const big = { name: "big.o", bytes: fixture("link/vars_b.eb.o") }
    for (const inputs of [[part("vars_a"), big], [big, part("vars_a")]]) {
      const error = refusal(inputs)
      assert.strictEqual(error.reason, "ByteOrder")
      assert.strictEqual(error.file, inputs[1]?.name)
    }
  })
})

describe("what does not go together", () => {
  const conflicts: ReadonlyArray<readonly [string, string, Linker.LinkError["reason"], string]> = [
    ["conflict_a", "conflict_b", "Duplicate", "conflict_strong"],
    ["vars_b", "mismatch_var", "Incompatible", "vars_data_b"],
    ["funcs_b", "mismatch_func", "Incompatible", "funcs_open"],
    ["maps_b", "mismatch_map", "Incompatible", "maps_array"]
  ]
  for (const [one, other, reason, symbol] of conflicts) {
    it(`${one} and ${other}: both definitions, side by side, in either order`, () => {
      for (const inputs of [[part(one), part(other)], [part(other), part(one)]]) {
        const error = refusal(inputs, { relocatable: true })
        assert.strictEqual(error.reason, reason)
        assert.strictEqual(error.symbol, symbol)
        assert.deepStrictEqual(error.sides?.map(({ file }) => file).sort(), [`${one}.o`, `${other}.o`].sort())
        for (const text of [symbol, one, other]) assert.include(error.message, text)
      }
    })
  }

  it("licenses, under the strict rule; joined they are the one that allows less", () => {
    const parts = [part("licence_a"), part("licence_b")]
    const error = refusal(parts, { licenses: "strict" })
    assert.strictEqual(error.reason, "License")
    for (const text of ["GPL", "Dual BSD/GPL"]) assert.include(error.message, text)
    const joined = [parts, parts.toReversed()].map((inputs) => Result.getOrThrow(Linker.link(inputs)).map.license?.text)
    assert.strictEqual(joined[0], joined[1])
    // Equal licenses are what the strict rule is about.
    assert.isTrue(Result.isSuccess(Linker.link([part("statics_a"), part("statics_b")], { licenses: "strict" })))
  })
})

const reasonOf = <A>(result: Result.Result<A, Linker.LinkError>): string =>
  Result.match(result, { onFailure: ({ reason }) => reason, onSuccess: () => "no error" })

describe("a linker", () => {
  it("is done after its result, and after a file that it could not add", () => {
    const done = Linker.make()
    Result.getOrThrow(Linker.add(done, part("statics_a")))
    const { bytes } = Result.getOrThrow(Linker.finalize(done))
    assert.strictEqual(reasonOf(Linker.add(done, part("statics_b"))), "Finished")
    assert.strictEqual(reasonOf(Linker.finalize(done)), "Finished")
    assert.deepStrictEqual(bytes, Result.getOrThrow(Linker.link([part("statics_a")])).bytes)

    const failed = Linker.make()
    Result.getOrThrow(Linker.add(failed, part("statics_a")))
    assert.isTrue(Result.isFailure(Linker.add(failed, { name: "empty.o", bytes: new Uint8Array() })))
    assert.strictEqual(reasonOf(Linker.add(failed, part("statics_b"))), "Failed")
    assert.strictEqual(reasonOf(Linker.finalize(failed)), "Failed")
  })

  it("adds files one by one as the function does at once", () => {
    const parts = ["weak_a", "weak_b", "weak_c", "vars_a", "vars_b"].map(part)
    const linker = Linker.make()
    for (const [index, input] of parts.entries()) {
      assert.strictEqual(linker.count, index)
      Result.getOrThrow(Linker.add(linker, input))
    }
    assert.deepStrictEqual(Result.getOrThrow(Linker.finalize(linker)), Result.getOrThrow(Linker.link(parts)))
    assert.strictEqual(reasonOf(Linker.finalize(Linker.make())), "NoInput")
  })
})
