import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as C from "../../../../src/services/Elf/ElfConstants.ts"
import * as Names from "../../../../src/services/Elf/FunctionName.ts"
import type { FunctionOffset } from "../../../../src/services/Elf/FunctionOffset.ts"
import * as FunctionOffsets from "../../../../src/services/Elf/FunctionOffset.ts"
import type { Image } from "../../../support/BinaryImage.ts"
import { codeOffset, writeBinary } from "../../../support/BinaryImage.ts"
import { assertQuick, cpuTime } from "../../../support/CpuTime.ts"

const base: Image = { bits: 64, byteOrder: "little", address: 0x1000n, codeSize: 64 }

const offsetIn = (made: Image, at: number): bigint => BigInt(codeOffset(made) + at)

const found = (made: Image, name: string, options?: FunctionOffsets.Options): FunctionOffset =>
  Result.getOrThrow(FunctionOffsets.find(writeBinary(made), name, options))

const failureOf = (made: Image, name: string, options?: FunctionOffsets.Options) => {
  const answer = FunctionOffsets.find(writeBinary(made), name, options)
  assert.isTrue(Result.isFailure(answer), name)
  if (!Result.isFailure(answer) || answer.failure._tag !== "FunctionOffsetError") throw new Error("no such failure")
  return answer.failure
}

describe("names of functions", () => {
  it("are taken apart: version, offset in each of C's bases", () => {
    const parts = (text: string) => {
      const { delta, name, version } = Names.parse(text) ?? {}
      return [name, version, delta]
    }
    assert.deepStrictEqual(parts("f"), ["f", undefined, 0n])
    assert.deepStrictEqual(parts("f@V1"), ["f", "V1", 0n])
    assert.deepStrictEqual(parts("f@@V1+0x10"), ["f", "V1", 16n])
    assert.deepStrictEqual(parts("f+010"), ["f", undefined, 8n])
    assert.deepStrictEqual(parts("f+10"), ["f", undefined, 10n])
    assert.deepStrictEqual(parts("f+0"), ["f", undefined, 0n])
    assert.deepStrictEqual(parts("a+b+0xFFFFFFFFFFFFFFFF"), ["a+b", undefined, 2n ** 64n - 1n])
  })

  it("keep a + that no number follows", () => {
    for (const text of ["f+", "f+x", "f+0x", "f+09", "operator+", "f+0x1g", "f+-1"]) {
      assert.strictEqual(Names.parse(text)?.name, text)
    }
  })

  it("are none without a name or with an @ and no version", () => {
    for (const text of ["", "@V1", "f@", "f@@", "+0x10", "f@+1"]) assert.isUndefined(Names.parse(text), text)
  })
})

describe("a function's offset", () => {
  it("is looked for among dynamic symbols first: those of the symbol table do not count then", () => {
    const made: Image = {
      ...base,
      dynamic: [{ name: "f", at: 4, binding: C.STB_WEAK }],
      static: [{ name: "f", at: 8 }, { name: "g", at: 12, binding: C.STB_LOCAL }]
    }
    assert.strictEqual(found(made, "f").offset, offsetIn(made, 4))
    assert.strictEqual(found(made, "g").offset, offsetIn(made, 12))
    assert.strictEqual(found(made, "g").table, "symtab")
  })

  it("is of the strong one, else of the first weak one", () => {
    const weak = { name: "f", binding: C.STB_WEAK }
    for (
      const [symbols, at] of [
        [[{ ...weak, at: 4 }, { name: "f", at: 8 }], 8],
        [[{ name: "f", at: 8 }, { ...weak, at: 4 }], 8],
        [[{ ...weak, at: 12 }, { ...weak, at: 4 }], 12],
        [[{ name: "f", at: 8 }, { name: "f", at: 8, binding: C.STB_LOCAL }], 8]
      ] as const
    ) {
      const made = { ...base, static: symbols }
      assert.strictEqual(found(made, "f").offset, offsetIn(made, at))
    }
  })

  it("is ambiguous between two strong ones, and the error says which", () => {
    const made: Image = {
      ...base,
      dynamic: [
        { name: "f", at: 4, version: "V1", isHidden: true },
        { name: "f", at: 8, version: "V2" }
      ]
    }
    const failure = failureOf(made, "f")
    assert.strictEqual(failure.reason, "Ambiguous")
    assert.deepStrictEqual(failure.candidates, [
      { symbol: "f@V1", offset: offsetIn(made, 4), binding: "global" },
      { symbol: "f@@V2", offset: offsetIn(made, 8), binding: "global" }
    ])
    assert.include(failure.message, "name a version")
    for (const [name, at] of [["f@V1", 4], ["f@@V1", 4], ["f@V2", 8], ["f@@V2", 8]] as const) {
      assert.strictEqual(found(made, name).offset, offsetIn(made, at), name)
    }
    assert.strictEqual(failureOf(made, "f@V3").reason, "Version")
    assert.lengthOf(failureOf(made, "f@V3").candidates ?? [], 2)
  })

  it("is of the same version in the symbol table, behind one @ or two", () => {
    const made: Image = { ...base, static: [{ name: "f", at: 4, version: "V1", isHidden: true }, { name: "g", at: 8 }] }
    for (const name of ["f", "f@V1", "f@@V1"]) assert.strictEqual(found(made, name).offset, offsetIn(made, 4))
    assert.strictEqual(failureOf(made, "g@V1").reason, "Version")
  })

  it("is none of an undefined symbol", () => {
    const made: Image = {
      ...base,
      dynamic: [{ name: "f", at: undefined, type: C.STT_NOTYPE }, { name: "g", at: undefined }]
    }
    assert.strictEqual(failureOf(made, "f").reason, "Undefined")
    assert.strictEqual(failureOf(made, "g").reason, "Undefined")
    const both: Image = { ...made, static: [{ name: "g", at: 8 }] }
    assert.strictEqual(found(both, "g").offset, offsetIn(both, 8))
  })

  it("is none of data, unless data is asked for", () => {
    const made: Image = { ...base, static: [{ name: "d", at: 4, type: C.STT_OBJECT }] }
    assert.strictEqual(failureOf(made, "d").reason, "NotAFunction")
    assert.strictEqual(found(made, "d", { type: "object" }).offset, offsetIn(made, 4))
  })

  it("is of an indirect function only if that is accepted, and behind all others", () => {
    const indirect = { name: "f", at: 4, type: C.STT_GNU_IFUNC }
    const made: Image = { ...base, dynamic: [indirect] }
    assert.strictEqual(failureOf(made, "f").reason, "Indirect")
    const accepted = found(made, "f", { indirect: "accept" })
    assert.isTrue(accepted.isIndirect)
    assert.strictEqual(accepted.offset, offsetIn(made, 4))
    const both: Image = { ...made, static: [{ name: "f", at: 8 }] }
    assert.strictEqual(found(both, "f", { indirect: "accept" }).offset, offsetIn(both, 8))
  })

  it("moves by an offset inside the function", () => {
    const made: Image = { ...base, static: [{ name: "f", at: 4, size: 8 }, { name: "label", at: 20 }] }
    assert.strictEqual(found(made, "f+0x7").offset, offsetIn(made, 11))
    assert.strictEqual(found(made, "f+7").address, 0x1000n + 11n)
    assert.strictEqual(failureOf(made, "f+8").reason, "BeyondFunction")
    // Of unknown size.
    assert.strictEqual(found(made, "label+8").offset, offsetIn(made, 28))
    assert.strictEqual(failureOf(made, "label+0x100000").reason, "BeyondFunction")
  })

  it("of Thumb code has not the mark of such code", () => {
    for (const machine of [C.EM_ARM, C.EM_386]) {
      const made: Image = { ...base, bits: 32, machine, static: [{ name: "f", at: 5 }] }
      assert.strictEqual(found(made, "f").offset, offsetIn(made, machine === C.EM_ARM ? 4 : 5))
    }
  })

  it("is exact at the top of the address space", () => {
    const made: Image = { ...base, address: 0xffff_ffff_8100_0001n, static: [{ name: "f", at: 3 }] }
    assert.strictEqual(found(made, "f").offset, offsetIn(made, 3))
    assert.strictEqual(found(made, "f").address, 0xffff_ffff_8100_0004n)
  })

  it("is found by segments where section headers are gone, although the header still says where they were", () => {
    const made: Image = { ...base, dynamic: [{ name: "f", at: 4 }] }
    const bytes = writeBinary(made)
    const place = new DataView(bytes.buffer).getBigUint64(40, true)
    // Zeroed, overwritten, or cut off; with no number of them.
    for (
      const change of [
        (copy: Uint8Array) => copy.fill(0, Number(place)),
        (copy: Uint8Array) => copy.fill(0x41, Number(place)),
        (copy: Uint8Array) => copy.slice(0, Number(place))
      ]
    ) {
      const copy = change(bytes.slice())
      copy.fill(0, 58, 64)
      assert.strictEqual(Result.getOrThrow(FunctionOffsets.find(copy, "f")).offset, offsetIn(made, 4))
    }
  })

  it("is not there in files without symbols", () => {
    assert.strictEqual(failureOf(base, "f").reason, "NoSymbols")
    assert.strictEqual(
      failureOf({ ...base, static: [{ name: "f", at: 4 }], isStripped: true }, "f").reason,
      "NoSymbols"
    )
  })

  it("is suggested for names that are near, and for parts of names", () => {
    const made: Image = {
      ...base,
      static: [{ name: "malloc", at: 4 }, { name: "calloc", at: 8 }, { name: "_Z6mallocv", at: 12 }, {
        name: "zz",
        at: 16
      }]
    }
    assert.deepStrictEqual(failureOf(made, "maloc").near, ["malloc", "calloc"])
    assert.deepStrictEqual(failureOf(made, "allocv").near, ["calloc", "malloc", "_Z6mallocv"])
    assert.deepStrictEqual(failureOf(made, "completely_different").near, [])
  })

  it("of a list fails with the first name at fault, and names the others", () => {
    const made: Image = { ...base, static: [{ name: "f", at: 4 }] }
    const answer = FunctionOffsets.findAll(writeBinary(made), ["f", "x1", "f", "y1"])
    assert.isTrue(Result.isFailure(answer))
    if (!Result.isFailure(answer) || answer.failure._tag !== "FunctionOffsetError") return
    assert.strictEqual(answer.failure.symbol, "x1")
    assert.deepStrictEqual(answer.failure.others, ["y1"])
    assert.deepStrictEqual(Result.getOrThrow(FunctionOffsets.findAll(writeBinary(made), [])), [])
  })
})

describe("patterns", () => {
  const made: Image = {
    ...base,
    dynamic: [
      { name: "f1", at: 4, version: "V1" },
      { name: "f2", at: 8, version: "V2" },
      { name: "f3", at: undefined },
      { name: "f4", at: 12, type: C.STT_GNU_IFUNC }
    ],
    static: [{ name: "g", at: 16, version: "V1" }, { name: "main.(*T).Go", at: 20 }]
  }
  const matching = (pattern: string, options?: FunctionOffsets.MatchOptions) =>
    Result.match(FunctionOffsets.matching(writeBinary(made), pattern, options), {
      onFailure: (failure) => failure._tag === "FunctionOffsetError" ? failure.reason : failure._tag,
      onSuccess: (all) => all.map(({ name }) => name)
    })

  it("see the symbol table, and the dynamic symbols if nothing matches there", () => {
    assert.deepStrictEqual(matching("*"), ["g", "main.(*T).Go"])
    assert.deepStrictEqual(matching("f*"), ["f1", "f2"])
    assert.deepStrictEqual(matching("f?", { indirect: "accept" }), ["f1", "f2", "f4"])
    assert.deepStrictEqual(matching("*", { tables: "all" }), ["g", "main.(*T).Go", "f1", "f2"])
    assert.strictEqual(matching("nothing*"), "NoMatch")
  })

  it("are for names without their version, or for the version, too", () => {
    assert.deepStrictEqual(matching("g"), ["g"])
    assert.deepStrictEqual(matching("?@V1"), ["g"])
    assert.deepStrictEqual(matching("f*@@V?"), ["f1", "f2"])
    assert.deepStrictEqual(matching("f*@V2"), ["f2"])
  })

  it("are names where a function has exactly that name", () => {
    const names = (texts: ReadonlyArray<string>) =>
      Result.getOrThrow(FunctionOffsets.resolve(writeBinary(made), texts)).map(({ name }) => name)
    assert.deepStrictEqual(names(["main.(*T).Go", "f*", "g"]), ["main.(*T).Go", "f1", "f2", "g"])
    assert.isTrue(Result.isFailure(FunctionOffsets.resolve(writeBinary(made), ["g", "h*"])))
  })
})

describe("hostile tables", () => {
  /** A file of many functions whose names are the ends of one string. */
  const sharing = (count: number): Uint8Array => {
    const strings = count + 2
    const symbols = 64
    const names = symbols + count * 24
    const headers = names + strings
    const bytes = new Uint8Array(headers + 4 * 64)
    const view = new DataView(bytes.buffer)
    bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
    const u16 = (at: number, value: number) => view.setUint16(at, value, true)
    const u32 = (at: number, value: number) => view.setUint32(at, value, true)
    const u64 = (at: number, value: number) => view.setBigUint64(at, BigInt(value), true)
    u16(16, C.ET_DYN)
    u32(20, 1)
    u64(40, headers)
    u16(52, 64)
    u16(58, 64)
    u16(60, 4)
    bytes.fill(0x61, names + 1, headers - 1)
    for (let index = 1, at = symbols + 24; index < count; index++, at += 24) {
      u32(at, index)
      bytes[at + 4] = (C.STB_GLOBAL << 4) | C.STT_FUNC
      u16(at + 6, 1)
      u64(at + 8, index & 63)
    }
    const section = (index: number, type: number, offset: number, size: number, link: number, entry: number) => {
      const at = headers + index * 64
      u32(at + 4, type)
      u64(at + 24, offset)
      u64(at + 32, size)
      u32(at + 40, link)
      u64(at + 56, entry)
    }
    section(1, C.SHT_PROGBITS, 0, 64, 0, 0)
    section(2, C.SHT_SYMTAB, symbols, count * 24, 3, 24)
    section(3, C.SHT_STRTAB, names, strings, 0, 0)
    return bytes
  }

  it("of a million symbols are searched for a thousand names at once, however long their names are", () => {
    const bytes = sharing(1_000_000)
    const start = cpuTime()
    const names = Array.from({ length: 1000 }, (_, place) => `${"a".repeat(place % 64)}${place}`)
    const answers = Result.getOrThrow(FunctionOffsets.findEach(bytes, names))
    assert.lengthOf(answers, 1000)
    assert.isTrue(answers.every(Result.isFailure))
    // Names looked at to their ends would be half a trillion bytes.
    assertQuick(cpuTime() - start, 20_000)
  }, 60_000)

  it("of names that are together larger than the file by far are refused where all names are wanted", () => {
    const all = FunctionOffsets.matching(sharing(100_000), "*")
    assert.strictEqual(Result.isFailure(all) && Reflect.get(all.failure, "reason"), "TooLarge")
  })

  it("whose lists of versions go in circles, overlap or have no end are refused", () => {
    const image: Image = {
      ...base,
      dynamic: [{ name: "f", at: 4, version: "V1" }, { name: "g", at: 8, version: "V2" }]
    }
    const bytes = writeBinary(image)
    const view = new DataView(bytes.buffer)
    const headers = Number(view.getBigUint64(40, true))
    const section = Array.from({ length: view.getUint16(60, true) }, (_, index) => headers + index * 64).find((at) =>
      view.getUint32(at + 4, true) === C.SHT_GNU_verdef
    )
    assert.isDefined(section)
    const list = Number(view.getBigUint64((section ?? 0) + 24, true))
    const reasonWith = (change: (view: DataView) => void) => {
      const changed = bytes.slice()
      change(new DataView(changed.buffer))
      const answer = FunctionOffsets.find(changed, "f@V1")
      return Result.isFailure(answer) ? Reflect.get(answer.failure, "reason") : "found"
    }
    assert.strictEqual(reasonWith(() => {}), "found")
    for (const next of [1, 4, 19, 0xffff_fff0, 0x7fff_ffff]) {
      assert.strictEqual(reasonWith((changed) => changed.setUint32(list + 16, next, true)), "SymbolVersions", `${next}`)
    }
    assert.strictEqual(reasonWith((changed) => changed.setUint16(list, 2, true)), "SymbolVersions")
    assert.strictEqual(reasonWith((changed) => changed.setUint32(list + 12, 0xffff_fff0, true)), "SymbolVersions")
    assert.strictEqual(reasonWith((changed) => changed.setUint32(list + 20, 0x7fff_fff0, true)), "SymbolVersions")
  })
})
