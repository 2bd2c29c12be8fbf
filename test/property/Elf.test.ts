/**
 * Law 1: `parse(write(x)) = x`, and for arbitrary and mutated bytes parse returns a value or a tagged error. Beside
 * each law stands a fault that its check must find.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { isDeepStrictEqual } from "node:util"
import * as Elf from "../../src/services/Elf/Elf.ts"
import { repository, runs, runsToMeet } from "../support/Require.ts"
import { image, u32, u64 } from "../support/arbitrary/ElfImage.ts"

// ---- parse(write(x)) = x ----

/** The law for one image and one writer. */
const survives = (write: typeof Elf.write) => (x: Elf.ElfImage): boolean => {
  const bytes = Result.getOrThrow(write(x))
  const back = Result.getOrThrow(Elf.toImage(Result.getOrThrow(Elf.parse(bytes))))
  return isDeepStrictEqual(back, x) && isDeepStrictEqual(Result.getOrThrow(write(back)), bytes)
}

const editSymbols = (x: Elf.ElfImage, edit: (symbol: Elf.ImageSymbol) => Elf.ImageSymbol): Elf.ElfImage => ({
  ...x,
  sections: x.sections.map((section) =>
    section.content._tag === "Symbols"
      ? { ...section, content: { _tag: "Symbols", symbols: section.content.symbols.map(edit) } }
      : section
  )
})

/** What a writer could get wrong, each a writer of its own. */
const writerFaults: Readonly<Record<string, typeof Elf.write>> = {
  "cuts symbol values to 32 bits": (x) =>
    Elf.write(editSymbols(x, (symbol) => ({ ...symbol, value: BigInt.asUintN(32, symbol.value) }))),
  "always writes little-endian": (x) => Elf.write({ ...x, byteOrder: "little" }),
  "takes reserved section indices for sections": (x) =>
    Elf.write(
      editSymbols(x, (symbol) => symbol.isReserved ? { ...symbol, sectionIndex: 0, isReserved: false } : symbol)
    ),
  "drops the order of relocations": (x) =>
    Elf.write({
      ...x,
      sections: x.sections.map((section) =>
        section.content._tag === "Relocations"
          ? { ...section, content: { _tag: "Relocations", entries: section.content.entries.toReversed() } }
          : section
      )
    })
}

describe("parse(write(x)) = x", () => {
  it("for generated images, and write gives the same bytes again", () => {
    fc.assert(fc.property(image, survives(Elf.write)), { numRuns: runs(500) })
  })

  for (const [fault, write] of Object.entries(writerFaults)) {
    it(`would fail for a writer that ${fault}`, () => {
      assert.isTrue(fc.check(fc.property(image, survives(write)), { numRuns: 2000 }).failed)
    })
  }

  it("but for the order of symbols if globals stand among locals", () => {
    // Relocations must follow their symbols, which the pair (name, value) identifies here.
    const target = (file: Elf.ElfFile, section: number): ReadonlyArray<string> => {
      const found = file.sections[section]
      if (found === undefined || (found.type !== Elf.SHT_REL && found.type !== Elf.SHT_RELA)) return []
      const table = Result.getOrThrow(Elf.relocations(file, found))
      const symbols = Result.getOrThrow(Elf.symbolTable(file, table.symbols))
      return Array.from({ length: table.count }, (_, index) => {
        const { index: _place, ...symbol } = Elf.symbolAt(symbols, Elf.relocationSymbol(table, index))
        return Object.values(symbol).join(" ")
      })
    }
    fc.assert(fc.property(image, fc.infiniteStream(fc.nat()), (x, random) => {
      const shuffled: Elf.ElfImage = {
        ...x,
        sections: x.sections.map((section): Elf.ImageSection => {
          if (section.content._tag !== "Symbols") return section
          const [first, ...others] = section.content.symbols
          const symbols = others.map((symbol) => ({ symbol, at: random.next().value ?? 0 }))
            .sort((left, right) => left.at - right.at).map(({ symbol }) => symbol)
          return { ...section, content: { _tag: "Symbols", symbols: [first ?? Elf.nullSymbol, ...symbols] } }
        })
      }
      const file = Result.getOrThrow(Elf.parse(Result.getOrThrow(Elf.write(shuffled))))
      for (const [index, section] of shuffled.sections.entries()) {
        const { content } = section
        if (content._tag === "Relocations") {
          const table = shuffled.sections[section.link]?.content
          const symbols = table?._tag === "Symbols" ? table.symbols : []
          const wanted = content.entries.map(({ symbol }) => {
            const { binding, isReserved, name, other, sectionIndex, size, type, value, visibility } = symbols[symbol] ??
              Elf.nullSymbol
            return [name, value, size, binding, type, visibility, other, sectionIndex, isReserved].join(" ")
          })
          assert.deepEqual(target(file, index), wanted)
        }
        if (content._tag === "Symbols") {
          const table = Result.getOrThrow(Elf.symbolTable(file, index))
          const bindings = Array.from({ length: table.count }, (_, place) => Elf.symbolBinding(table, place))
          const locals = file.sections[index]?.info ?? 0
          assert.isTrue(bindings.every((binding, place) => (binding === Elf.STB_LOCAL) === place < locals))
        }
      }
    }))
  })
})

// ---- any bytes ----

/**
 * Reads all that can be reached from a file; a failure anywhere must be an `ElfError`. Returns what became of the file.
 */
const readAll = (parse: typeof Elf.parse) => (bytes: Uint8Array): "read" | Elf.ElfError["reason"] => {
  const result = parse(bytes)
  if (Result.isFailure(result)) return reasonOf(result.failure)
  const file = result.success
  for (let index = 0; index < Math.min(file.header.programHeaderCount, 1000); index++) Elf.programHeaderAt(file, index)
  for (const section of file.sections) {
    if (section.data.length > bytes.length) throw new Error("a view beyond the file")
    const symbols = Elf.symbolTable(file, section.index)
    if (Result.isSuccess(symbols)) {
      for (let index = 0; index < symbols.success.count; index++) {
        const { isReserved, sectionIndex } = Elf.symbolAt(symbols.success, index)
        if (!isReserved && file.sections[sectionIndex] === undefined) throw new Error("a symbol of no section")
      }
    } else reasonOf(symbols.failure)
    const relocations = Elf.relocations(file, section)
    if (Result.isSuccess(relocations)) {
      const table = relocations.success
      for (let index = 0; index < table.count; index++) Elf.relocationAt(table, index)
    } else reasonOf(relocations.failure)
  }
  const image = Elf.toImage(file)
  if (Result.isFailure(image)) reasonOf(image.failure)
  else {
    const written = Elf.write(image.success)
    if (Result.isFailure(written)) reasonOf(written.failure)
    else Result.getOrThrow(Elf.parse(written.success))
  }
  return "read"
}

/** The reason of an error, having made sure that it is one of ours and has a text. */
const reasonOf = (error: Elf.ElfError): Elf.ElfError["reason"] => {
  if (!(error instanceof Elf.ElfError) || error.message === "") throw new Error("not a tagged error")
  return error.reason
}

const fixtures = Path.join(repository, "test/fixtures")
const objects = Fs.readdirSync(fixtures).filter((file) => file.endsWith(".o")).sort()
  .map((file) => new Uint8Array(Fs.readFileSync(Path.join(fixtures, file))))

const original = fc.oneof(
  image.map((x) => Result.getOrThrow(Elf.write(x))),
  objects.length === 0 ? fc.constant(new Uint8Array(64)) : fc.constantFrom(...objects)
)

/** One overwritten field. */
interface Edit {
  readonly region: "header" | "sections" | "anywhere"
  readonly pick: number
  readonly width: number
  readonly value: bigint
}

const edit: fc.Arbitrary<Edit> = fc.record({
  region: fc.constantFrom("header" as const, "sections" as const, "anywhere" as const),
  pick: u32,
  width: fc.constantFrom(1, 2, 4, 8),
  value: fc.oneof(
    u64,
    fc.constantFrom(0n, 1n, 2n, 3n, 4n, 8n, 9n, 18n, 0xffn, 0xff00n, 0xffffn, 2n ** 31n, 2n ** 32n - 1n)
  )
})

/** Overwrites fields of a copy, most of them in the two headers, and cuts some bytes off its end. */
const mutate = (bytes: Uint8Array, edits: ReadonlyArray<Edit>, cut: number): Uint8Array => {
  const copy = Uint8Array.from(bytes)
  const view = new DataView(copy.buffer)
  const littleEndian = copy[Elf.EI_DATA] === Elf.ELFDATA2LSB
  const table = Math.min(Number(view.getBigUint64(40, littleEndian)), copy.length - 8)
  for (const { pick, region, value, width } of edits) {
    const start = region === "sections" ? table : 0
    const end = region === "header" ? 64 : copy.length - 8
    const at = start + pick % Math.max(end - start, 1)
    const place = region === "anywhere" ? at : at - at % width
    if (width === 8) view.setBigUint64(place, value, littleEndian)
    else if (width === 4) view.setUint32(place, Number(BigInt.asUintN(32, value)), littleEndian)
    else if (width === 2) view.setUint16(place, Number(BigInt.asUintN(16, value)), littleEndian)
    else view.setUint8(place, Number(BigInt.asUintN(8, value)))
  }
  return copy.subarray(0, copy.length - cut)
}

const mutated = fc.tuple(
  original,
  fc.array(edit, { minLength: 1, maxLength: 4 }),
  fc.oneof(fc.constant(0), fc.nat({ max: 63 }))
)
  .map(([bytes, edits, cut]) => mutate(bytes, edits, cut))

/** A parser as one writes it at first: it trusts the section header table to be where the header says. */
const carelessParse: typeof Elf.parse = (bytes) => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const result = Elf.parse(bytes)
  if (Result.isFailure(result) && result.failure.reason === "OutOfBounds") {
    view.getUint32(
      Number(view.getBigUint64(40, bytes[Elf.EI_DATA] === Elf.ELFDATA2LSB)) + 64 * view.getUint16(60, true)
    )
  }
  return result
}

describe("parse returns a value or a tagged error", () => {
  it("for arbitrary bytes, with and without a true header", () => {
    const bytes = fc.uint8Array({ maxLength: 400 })
    const headed = fc.tuple(bytes, fc.constantFrom(1, 2)).map(([rest, data]) =>
      Uint8Array.from([0x7f, 0x45, 0x4c, 0x46, 2, data, 1, ...rest])
    )
    fc.assert(fc.property(fc.oneof(bytes, headed), (value) => {
      readAll(Elf.parse)(value)
    }))
  })

  it("for mutated files, of which it refuses some and reads some", () => {
    const seen = new Map<string, number>()
    fc.assert(
      fc.property(mutated, (bytes) => {
        const outcome = readAll(Elf.parse)(bytes)
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1)
      }),
      { numRuns: runsToMeet(1500) }
    )
    assert.isAbove(seen.get("read") ?? 0, 50, "mutations that keep the file readable")
    assert.isAbove(seen.size, 8, `reasons seen: ${[...seen.keys()].join(", ")}`)
  })

  it("which a parser that trusts the section table would not", () => {
    const careless = fc.property(mutated, (bytes) => {
      readAll(carelessParse)(bytes)
    })
    assert.isTrue(fc.check(careless, { numRuns: 1500 }).failed)
  })
})

describe("real objects", () => {
  for (const file of Fs.readdirSync(fixtures).filter((name) => name.endsWith(".o")).sort()) {
    it(`${file}: parse, write, parse gives the same`, () => {
      const bytes = new Uint8Array(Fs.readFileSync(Path.join(fixtures, file)))
      const x = Result.getOrThrow(Elf.toImage(Result.getOrThrow(Elf.parse(bytes))))
      const again = Result.getOrThrow(Elf.toImage(Result.getOrThrow(Elf.parse(Result.getOrThrow(Elf.write(x))))))
      assert.isTrue(isDeepStrictEqual(again, x))
      assert.isAbove(x.sections.length, 4)
    })
  }
})
