import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { attempt } from "../../../../src/internal/attempt.ts"
import { isElfError } from "../../../../src/services/Elf/ElfError.ts"
import { readVersions } from "../../../../src/services/Elf/SymbolVersions.ts"
import { runs } from "../../../support/Require.ts"

const strings = new TextEncoder().encode("\0libc.so.6\0V1\0V2\0libm.so.6\0M1\0")

const at = (text: string): number => new TextDecoder().decode(strings).indexOf(`\0${text}\0`) + 1

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** `.gnu.version_r` of files and the versions that are needed of them, numbered from 2 on. */
const needsOf = (
  files: ReadonlyArray<readonly [string, ReadonlyArray<string>]>,
  little: boolean,
  change: (table: DataView) => void = () => {}
): DataView => {
  const size = files.reduce((sum, [, versions]) => sum + 16 + versions.length * 16, 0)
  const table = view(new Uint8Array(size))
  let place = 0
  let number = 2
  files.forEach(([file, versions], index) => {
    const length = 16 + versions.length * 16
    table.setUint16(place, 1, little)
    table.setUint16(place + 2, versions.length, little)
    table.setUint32(place + 4, at(file), little)
    table.setUint32(place + 8, 16, little)
    table.setUint32(place + 12, index === files.length - 1 ? 0 : length, little)
    versions.forEach((version, each) => {
      const entry = place + 16 + each * 16
      table.setUint16(entry + 6, number++, little)
      table.setUint32(entry + 8, at(version), little)
      table.setUint32(entry + 12, each === versions.length - 1 ? 0 : 16, little)
    })
    place += length
  })
  change(table)
  return table
}

const read = (needs: DataView | undefined, definitions: DataView | undefined, count = 4, little = true) =>
  attempt(isElfError, () =>
    readVersions(
      {
        indices: view(new Uint8Array(8)),
        definitions,
        definitionStrings: strings,
        needs,
        needStrings: strings
      },
      count,
      little
    ))

const files: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [["libc.so.6", ["V1", "V2"]], ["libm.so.6", [
  "M1"
]]]

describe("versions that are needed of other files", () => {
  it("are read with the file that has to have them, in both byte orders", () => {
    for (const little of [true, false]) {
      const { needed } = Result.getOrThrow(read(needsOf(files, little), undefined, 4, little))
      assert.deepStrictEqual([...needed], [
        [2, { version: "V1", library: "libc.so.6" }],
        [3, { version: "V2", library: "libc.so.6" }],
        [4, { version: "M1", library: "libm.so.6" }]
      ])
    }
  })

  it("are refused where lists go in circles, leave their table or share records", () => {
    const reasonWith = (change: (table: DataView) => void) => {
      const answer = read(needsOf(files, true, change), undefined)
      return Result.isSuccess(answer) ? "read" : answer.failure.reason
    }
    assert.strictEqual(reasonWith(() => {}), "read")
    // Another revision; the list of files.
    assert.strictEqual(reasonWith((table) => table.setUint16(0, 2, true)), "SymbolVersions")
    for (const next of [1, 15, 0xffff_fff0]) {
      assert.strictEqual(reasonWith((table) => table.setUint32(12, next, true)), "SymbolVersions")
      assert.strictEqual(reasonWith((table) => table.setUint32(16 + 12, next, true)), "SymbolVersions")
    }
    assert.strictEqual(reasonWith((table) => table.setUint32(8, 0xffff_fff0, true)), "SymbolVersions")
    assert.strictEqual(reasonWith((table) => table.setUint32(4, 0xffff, true)), "SymbolVersions")
    assert.strictEqual(reasonWith((table) => table.setUint32(16 + 8, 0xffff, true)), "SymbolVersions")
  })

  it("are refused where many files share one long list, which would take the product of both", () => {
    const count = 2000
    const table = view(new Uint8Array(count * 32))
    for (let index = 0; index < count; index++) {
      table.setUint16(index * 16, 1, true)
      table.setUint16(index * 16 + 2, 1, true)
      table.setUint32(index * 16 + 8, (count - index) * 16, true)
      table.setUint32(index * 16 + 12, index === count - 1 ? 0 : 16, true)
      table.setUint32((count + index) * 16 + 12, index === count - 1 ? 0 : 16, true)
    }
    const answer = read(table, undefined)
    assert.isTrue(Result.isFailure(answer) && answer.failure.field === "vna_next")
  })

  it("have names of a bounded length", () => {
    const long = new Uint8Array(2000).fill(0x61)
    long[1999] = 0
    const definitions = view(new Uint8Array(28))
    definitions.setUint16(0, 1, true)
    definitions.setUint32(12, 20, true)
    const answer = attempt(isElfError, () =>
      readVersions(
        {
          indices: view(new Uint8Array(8)),
          definitions,
          definitionStrings: long,
          needs: undefined,
          needStrings: long
        },
        4,
        true
      ))
    assert.isTrue(Result.isFailure(answer) && answer.failure.reason === "SymbolVersions")
  })

  it("and those that are defined are read from any bytes, or refused", () => {
    const bytes = fc.uint8Array({ maxLength: 120 })
    fc.assert(
      fc.property(bytes, bytes, fc.boolean(), (needs, definitions, little) => {
        const answer = read(view(needs), view(definitions), 4, little)
        if (Result.isFailure(answer)) assert.isNotEmpty(answer.failure.message)
      }),
      { numRuns: runs(1000) }
    )
  })

  it("are not there where there are fewer indices than symbols", () => {
    const answer = read(undefined, undefined, 5)
    assert.isTrue(Result.isFailure(answer) && answer.failure.reason === "SymbolVersions")
  })
})
