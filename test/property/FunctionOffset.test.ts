/**
 * Functions of binaries by laws: what is written is found, by sections and by segments, in both classes and byte orders; lists
 * are what single names are; and whatever the bytes, there is an answer or a tagged error.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import type { ByteSource } from "../../src/services/Elf/ByteSource.ts"
import * as Bytes from "../../src/services/Elf/ByteSource.ts"
import * as Elf from "../../src/services/Elf/Elf.ts"
import * as C from "../../src/services/Elf/ElfConstants.ts"
import type { FunctionOffset } from "../../src/services/Elf/FunctionOffset.ts"
import * as FunctionOffsets from "../../src/services/Elf/FunctionOffset.ts"
import type { Image, ImageFunction } from "../support/BinaryImage.ts"
import { codeOffset, writeBinary } from "../support/BinaryImage.ts"
import { runs } from "../support/Require.ts"

const names = fc.oneof(
  fc.constantFrom("f", "g", "main", "_start", "ff", "f1", "größe", "operator", "main.(*T).Go"),
  fc.stringMatching(/^[a-z_][a-z0-9_.$]{0,12}$/)
)

const symbol = (versions: boolean): fc.Arbitrary<ImageFunction> =>
  fc.record({
    name: names,
    at: fc.option(fc.integer({ min: 0, max: 63 }), { nil: undefined, freq: 5 }),
    size: fc.integer({ min: 0, max: 8 }),
    binding: fc.constantFrom(C.STB_GLOBAL, C.STB_GLOBAL, C.STB_WEAK, C.STB_LOCAL, C.STB_GNU_UNIQUE),
    type: fc.constantFrom(C.STT_FUNC, C.STT_FUNC, C.STT_FUNC, C.STT_GNU_IFUNC, C.STT_OBJECT, C.STT_NOTYPE),
    ...(versions
      ? {
        version: fc.constantFrom("V1", "V2", "V_3.1"),
        isHidden: fc.boolean()
      }
      : {})
  })

const symbols = fc.boolean().chain((versions) => fc.array(symbol(versions), { maxLength: 12 }))

const image: fc.Arbitrary<Image> = fc.record({
  bits: fc.constantFrom(32 as const, 64 as const),
  byteOrder: fc.constantFrom("little" as const, "big" as const),
  address: fc.constantFrom(0x1000n, 0x40_0000n, 0xc000_0000n),
  codeSize: fc.constant(64),
  dynamic: symbols,
  static: symbols,
  hash: fc.constantFrom("gnu" as const, "sysv" as const)
})

const high: fc.Arbitrary<Image> = image.map((each) => ({ ...each, bits: 64, address: 0xffff_ffff_8100_0000n }))

const isFunction = ({ type }: ImageFunction): boolean => type === C.STT_FUNC || type === C.STT_GNU_IFUNC

const boundOf = ({ binding }: ImageFunction): string =>
  binding === C.STB_LOCAL ? "local" : binding === C.STB_WEAK ? "weak" : "global"

const modelled = (made: Image, table: "dynsym" | "symtab"): ReadonlyArray<string> => {
  const all = (table === "dynsym" ? made.dynamic : made.static) ?? []
  return all.filter((each) => each.at !== undefined && isFunction(each)).map((each) =>
    [
      table,
      each.name,
      each.version ?? "",
      each.version !== undefined && each.isHidden !== true,
      codeOffset(made) + (each.at ?? 0),
      each.size,
      boundOf(each),
      each.type === C.STT_GNU_IFUNC
    ].join(" ")
  )
}

const shown = (found: FunctionOffset): string =>
  [
    found.table,
    found.name,
    found.version ?? "",
    found.isDefault,
    found.offset,
    found.size,
    found.binding,
    found.isIndirect
  ].join(" ")

const definitionsOf = (bytes: Uint8Array): ReadonlyArray<string> =>
  Result.getOrThrow(FunctionOffsets.definitions(bytes)).map(shown).sort()

/** The stated precedence, over the symbols that were written. */
const expected = (made: Image, name: string, version: string | undefined): string => {
  for (const type of [C.STT_FUNC, C.STT_GNU_IFUNC]) {
    for (const table of [made.dynamic, made.static]) {
      const usable = (table ?? []).filter((each) =>
        each.name === name && (each.type ?? C.STT_FUNC) === type && each.at !== undefined &&
        (version === undefined || each.version === version)
      )
      const strong = usable.filter((each) => boundOf(each) !== "weak")
      if (new Set(strong.map(({ at }) => at)).size > 1) return "Ambiguous"
      const [first] = strong.length > 0 ? strong : usable
      if (first?.at !== undefined) return String(codeOffset(made) + first.at)
    }
  }
  return "none"
}

const none = new Set(["NotFound", "Undefined", "Version", "NotAFunction", "NoSymbols"])

const shownAnswer = (answer: Result.Result<FunctionOffset, { readonly _tag: string }>): string => {
  if (Result.isSuccess(answer)) return String(answer.success.offset)
  const reason: unknown = Reflect.get(answer.failure, "reason")
  return typeof reason === "string" && !none.has(reason) ? reason : "none"
}

const asked = fc.tuple(names, fc.option(fc.constantFrom("V1", "V2", "V_3.1"), { nil: undefined }), fc.boolean())

const written = ([name, version, isDouble]: readonly [string, string | undefined, boolean]): string =>
  version === undefined ? name : `${name}${isDouble ? "@@" : "@"}${version}`

describe("functions of binaries", () => {
  it("are those that were written, in both tables", () => {
    fc.assert(
      fc.property(fc.oneof(image, high), (made) => {
        const all = [...modelled(made, "dynsym"), ...modelled(made, "symtab")].sort()
        assert.deepStrictEqual(definitionsOf(writeBinary(made)), all)
      }),
      { numRuns: runs(300) }
    )
  })

  it("are the dynamic ones where section headers were stripped", () => {
    fc.assert(
      fc.property(image, (made) => {
        const bytes = writeBinary({ ...made, isStripped: true })
        assert.deepStrictEqual(definitionsOf(bytes), modelled(made, "dynsym").toSorted())
      }),
      { numRuns: runs(300) }
    )
  })

  it("are chosen by precedence", () => {
    fc.assert(
      fc.property(image, fc.array(asked, { minLength: 1, maxLength: 6 }), (made, all) => {
        const bytes = writeBinary(made)
        const answers = Result.getOrThrow(FunctionOffsets.findEach(bytes, all.map(written), { indirect: "accept" }))
        assert.deepStrictEqual(answers.map(shownAnswer), all.map(([name, version]) => expected(made, name, version)))
      }),
      { numRuns: runs(500) }
    )
  })

  it("are in a list what they are by themselves, and repeat", () => {
    fc.assert(
      fc.property(image, fc.array(asked, { maxLength: 8 }), (made, all) => {
        const bytes = writeBinary(made)
        const list = all.flatMap((each) => [written(each), written(each)])
        const together = Result.getOrThrow(FunctionOffsets.findEach(bytes, list))
        assert.deepStrictEqual(
          together.map(shownAnswer),
          list.map((each) => shownAnswer(FunctionOffsets.find(bytes, each)))
        )
      }),
      { numRuns: runs(200) }
    )
  })

  it("match patterns as they match as texts, those of the symbol table first", () => {
    fc.assert(
      fc.property(image, fc.stringMatching(/^[a-g*?_1]{1,4}$/), (made, pattern) => {
        const expression = new RegExp(`^${pattern.replaceAll("*", ".*").replaceAll("?", ".")}$`, "su")
        const matching = (table: "dynsym" | "symtab") =>
          modelled(made, table).filter((line) => expression.test(line.split(" ")[1] ?? "")).filter((line) =>
            line.endsWith("false")
          )
        const wanted = matching("symtab").length > 0 ? matching("symtab") : matching("dynsym")
        const found = FunctionOffsets.matching(writeBinary(made), pattern)
        assert.deepStrictEqual(Result.isSuccess(found) ? found.success.map(shown).sort() : [], wanted.toSorted())
      }),
      { numRuns: runs(300) }
    )
  })

  it("named fault: a model that takes the first of two strong ones is told apart", () => {
    const made: Image = {
      bits: 64,
      byteOrder: "little",
      address: 0x1000n,
      codeSize: 64,
      dynamic: [{ name: "f", at: 0 }, { name: "f", at: 8 }],
      static: []
    }
    assert.strictEqual(shownAnswer(FunctionOffsets.find(writeBinary(made), "f")), "Ambiguous")
    assert.strictEqual(expected({ ...made, dynamic: made.dynamic?.slice(0, 1) ?? [] }, "f", undefined), "176")
  })

  it("are found alike in bytes and in a part of a larger source, and nothing outside of it is read", () => {
    fc.assert(
      fc.property(image, names, fc.integer({ min: 1, max: 99 }), (made, name, before) => {
        const bytes = writeBinary(made)
        const larger = new Uint8Array(before + bytes.length + 7).fill(0xee)
        larger.set(bytes, before)
        const part = Result.getOrThrow(Bytes.slice(Bytes.fromBytes(larger), before, bytes.length))
        assert.strictEqual(
          shownAnswer(FunctionOffsets.find(part, name)),
          shownAnswer(FunctionOffsets.find(bytes, name))
        )
      }),
      { numRuns: runs(100) }
    )
  })
})

/** A source whose reads fail from the `n`th on. */
const failing = (bytes: Uint8Array, reads: number): ByteSource => {
  let left = reads
  const source = Bytes.fromBytes(bytes)
  return {
    size: bytes.length,
    read: (offset, length) =>
      left-- > 0
        ? source.read(offset, length)
        : Result.fail(new Bytes.ByteSourceError({ reason: "Io", offset, length, size: bytes.length, detail: "EIO" }))
  }
}

describe("functions of objects", () => {
  it("are those that ElfWrite wrote, at their place in their section", () => {
    const functions = fc.array(
      fc.record({
        name: fc.stringMatching(/^[a-z]{1,6}$/),
        value: fc.integer({ min: 0, max: 31 }),
        section: fc.constantFrom(1, 2),
        binding: fc.constantFrom(C.STB_LOCAL, C.STB_GLOBAL, C.STB_WEAK)
      }),
      { maxLength: 20 }
    )
    fc.assert(
      fc.property(functions, fc.constantFrom("little" as const, "big" as const), (all, byteOrder) => {
        const code = (name: string, address: bigint) =>
          Elf.makeSection({
            name,
            type: C.SHT_PROGBITS,
            address,
            content: { _tag: "Bytes", bytes: new Uint8Array(32).fill(address === 0n ? 1 : 2) }
          })
        const symbols = all.map(({ binding, name, section, value }) =>
          Elf.makeSymbol({
            name,
            value: BigInt(value) + (section === 1 ? 0n : 0x4000n),
            binding,
            type: C.STT_FUNC,
            sectionIndex: section
          })
        )
        const bytes = Result.getOrThrow(Elf.write({
          byteOrder,
          osAbi: 0,
          abiVersion: 0,
          type: C.ET_DYN,
          machine: C.EM_X86_64,
          entry: 0n,
          flags: 0,
          sectionNames: 4,
          sections: [
            Elf.nullSection,
            code(".text", 0n),
            code(".text.hot", 0x4000n),
            Elf.makeSection({
              name: ".symtab",
              type: C.SHT_SYMTAB,
              link: 4,
              content: { _tag: "Symbols", symbols: [Elf.nullSymbol, ...symbols] }
            }),
            Elf.makeSection({ name: ".strtab", type: C.SHT_STRTAB, content: { _tag: "Strings" } })
          ]
        }))
        const file = Result.getOrThrow(Elf.parse(bytes))
        const expected = all.map(({ name, section, value }) =>
          `${name} ${(file.sections[section]?.offset ?? 0) + value}`
        )
        const found = Result.getOrThrow(FunctionOffsets.definitions(bytes))
        assert.deepStrictEqual(found.map(({ name, offset }) => `${name} ${offset}`).sort(), expected.sort())
        for (const { offset } of found) assert.include([1, 2], bytes[Number(offset)])
      }),
      { numRuns: runs(200) }
    )
  })
})

describe("damaged binaries", () => {
  const mutation = fc.record({
    at: fc.nat(),
    value: fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 255 }))
  })

  it("give an answer or a tagged error, never a throw", () => {
    let refused = 0
    fc.assert(
      fc.property(image, fc.boolean(), fc.array(mutation, { minLength: 1, maxLength: 6 }), (made, isStripped, all) => {
        const bytes = writeBinary({ ...made, isStripped })
        for (const { at, value } of all) bytes[at % bytes.length] = value
        const failures = [
          Result.getFailure(FunctionOffsets.find(bytes, "f")),
          Result.getFailure(FunctionOffsets.findAll(bytes, ["g@V1", "nowhere"])),
          Result.getFailure(FunctionOffsets.matching(bytes, "*")),
          Result.getFailure(FunctionOffsets.definitions(bytes))
        ].flatMap((failure) => Option.toArray(failure))
        for (const failure of failures) {
          refused += 1
          assert.include(["ElfError", "ByteSourceError", "FunctionOffsetError"], failure._tag)
          assert.isNotEmpty(failure.message)
        }
      }),
      { numRuns: runs(2000) }
    )
    assert.isAbove(refused, 0)
  })

  it("are refused at any length they were cut to", () => {
    const made: Image = {
      bits: 64,
      byteOrder: "little",
      address: 0x1000n,
      codeSize: 64,
      dynamic: [{ name: "f", at: 4, version: "V1" }],
      static: [{ name: "g", at: 8 }]
    }
    const bytes = writeBinary(made)
    for (let length = 0; length < bytes.length; length++) {
      const answer = FunctionOffsets.find(bytes.slice(0, length), "g")
      if (length < bytes.length - 64) assert.isTrue(Result.isFailure(answer), String(length))
    }
  })

  it("say when they cannot be read, at whichever read", () => {
    const bytes = writeBinary({
      bits: 32,
      byteOrder: "big",
      address: 0x1000n,
      codeSize: 64,
      dynamic: [{ name: "f", at: 4, version: "V1" }],
      static: [{ name: "g", at: 8 }]
    })
    let reads = 0
    for (;; reads++) {
      const answer = FunctionOffsets.find(failing(bytes, reads), "g")
      if (Result.isSuccess(answer)) break
      assert.strictEqual(answer.failure._tag, "ByteSourceError")
    }
    assert.isAbove(reads, 5)
  })
})
