import { assert, describe, it } from "@effect/vitest"
import { BtfError } from "../../../src/btf/BtfError.ts"
import * as BtfStrings from "../../../src/btf/BtfStrings.ts"
import { btfOf, everyKind, int } from "../../support/arbitrary/BtfBlob.ts"

const text = (table: BtfStrings.StringTable): string => Buffer.from(table.content()).toString("latin1")

describe("string table", () => {
  it("begins with the empty string, or with nothing over a base", () => {
    assert.strictEqual(text(BtfStrings.make()), "\0")
    assert.strictEqual(text(BtfStrings.make({ base: btfOf(everyKind) })), "")
    assert.strictEqual(BtfStrings.make().addText(""), 0)
  })

  it("never changes the bytes that it began with", () => {
    const initial = Uint8Array.of(0, 0x61, 0)
    const table = BtfStrings.make({ initial })
    assert.strictEqual(table.addText("b"), 3)
    assert.strictEqual(table.addText("a"), 1)
    assert.strictEqual(text(table), "\0a\0b\0")
    assert.deepEqual(initial, Uint8Array.of(0, 0x61, 0))
  })

  it("takes the first of equal strings that were there", () => {
    assert.strictEqual(BtfStrings.make({ initial: Uint8Array.of(0, 0x61, 0, 0x61, 0) }).addText("a"), 1)
  })

  it("finds all of many strings, whatever its size", () => {
    const table = BtfStrings.make()
    const offsets = Array.from({ length: 20_000 }, (_, index) => table.addText(`name${index}`))
    for (const [index, offset] of offsets.entries()) assert.strictEqual(table.addText(`name${index}`), offset)
    assert.strictEqual(new Set(offsets).size, offsets.length)
  })

  it("forgets what was appended after a length", () => {
    const table = BtfStrings.make()
    table.addText("kept")
    const { length } = table
    table.addText("dropped")
    table.truncate(length)
    assert.strictEqual(text(table), "\0kept\0")
    const bytes = new TextEncoder().encode("dropped")
    assert.isUndefined(table.find(bytes, 0, bytes.length))
    assert.strictEqual(table.addText("other"), length)
    assert.strictEqual(table.addText("kept"), 1)
    // A length that it does not have yet changes nothing.
    table.truncate(100)
    assert.strictEqual(text(table), "\0kept\0other\0")
  })

  it("takes strings of another BTF, of its base too, by their offset", () => {
    const base = btfOf(everyKind)
    const split = btfOf([int("own", 4)], { base })
    const table = BtfStrings.make()
    assert.strictEqual(table.addFrom(split, base.stringsLength), 1)
    assert.strictEqual(table.addFrom(split, 1), 5)
    assert.strictEqual(table.addFrom(split, 2), 9)
    assert.strictEqual(table.addFrom(split, 0), 0)
    assert.strictEqual(text(table), "\0own\0int\0nt\0")
    assert.strictEqual(BtfStrings.make({ base }).addFrom(split, 1), 1)
    assert.throws(() => table.addFrom(split, base.stringsLength + 4), BtfError)
  })

  it("takes strings out of its own bytes", () => {
    const table = BtfStrings.make()
    table.addText("abc")
    assert.strictEqual(table.add(table.content(), 2, 4), 5)
    assert.strictEqual(text(table), "\0abc\0bc\0")
  })
})
