import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDistill from "../../src/btf/BtfDistill.ts"
import * as BtfFile from "../../src/btf/BtfFile.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import type { FileSection } from "../support/BtfElf.ts"
import { elf32, elf64 } from "../support/BtfElf.ts"
import { fixture, runs } from "../support/Require.ts"

/** A law must fail on its named fault: a counterexample must be found. */
const refuted = <T>(property: fc.IProperty<T>): void => {
  assert.isTrue(fc.check(property, { numRuns: 3000 }).failed, "the named fault went unnoticed")
}

const parsed = (bytes: Uint8Array, base?: Btf.Btf): Btf.Btf => B.expectSuccess(Btf.parse(bytes, { base }))

/** A module's file with a distilled base, the kernel that it was distilled from, and its types over that. */
const module = fc.tuple(Arbitrary.split(), fc.constantFrom(elf64, elf32), Arbitrary.order).map(
  ([{ base, split }, write, order]) => {
    const kernel = parsed(base.bytes)
    const over = parsed(split.bytes, kernel)
    const distilled = BtfDistill.distill(over)
    const sections: ReadonlyArray<FileSection> = Result.isFailure(distilled)
      ? [{ name: ".BTF", bytes: over.bytes }]
      : [{ name: ".BTF", bytes: distilled.success.split.bytes }, {
        name: ".BTF.base",
        bytes: distilled.success.base.bytes
      }]
    return { file: write(sections, order), kernel, over, isDistilled: Result.isSuccess(distilled) }
  }
)

describe("files", () => {
  type Parse = typeof BtfFile.parse

  /** The types over the kernel come back by name and kind, wherever the file has them. */
  const law = (parse: Parse) =>
    fc.property(module, ({ file, isDistilled, kernel, over }) => {
      const result = parse(file, { base: kernel })
      if (Result.isFailure(result)) {
        // Two types of one name, or one that a distilled base cannot name.
        assert.isTrue(isDistilled)
        return assert.strictEqual(result.failure._tag, "BtfRelocateError")
      }
      const { btf } = result.success
      assert.strictEqual(btf.base, kernel)
      for (let id = over.firstId; id < over.endId; id++) {
        assert.strictEqual(Btf.kindOf(btf, id), Btf.kindOf(over, id))
        assert.strictEqual(Btf.nameOf(btf, id), Btf.nameOf(over, id))
      }
    })

  it("of modules give the types over the kernel, with a distilled base or without", () => {
    fc.assert(law(BtfFile.parse), { numRuns: runs(60) })
  })

  it("named fault: a distilled base is kept where the kernel's is given", () => {
    refuted(law((bytes) => BtfFile.parse(bytes)))
  })

  it("named fault: a distilled base is passed over", () => {
    refuted(law((bytes, options) => {
      const bad = new TextEncoder().encode(".BTF.base\0")
      const copy = bytes.slice()
      const at = copy.findIndex((_, place) => bad.every((byte, index) => copy[place + index] === byte))
      if (at >= 0) copy[at + 1] = 0x58
      return BtfFile.parse(copy, options)
    }))
  })

  const objects = ["core_reads.bpf.o", "externs.eb.o", "global_data.bpf.o"].map(fixture)
  const damaged = fc.tuple(
    fc.oneof(module.map(({ file }) => file), fc.constantFrom(...objects), Arbitrary.hostile),
    Arbitrary.damages
  ).map(([bytes, changes]) => Arbitrary.damage(bytes, changes))
  const kernel = parsed(B.blob(B.everyKind))

  const safe = (parse: Parse) =>
    fc.property(damaged, fc.boolean(), (bytes, withBase) => {
      const result = parse(bytes, { ext: true, ...(withBase ? { base: kernel } : {}) })
      if (Result.isSuccess(result)) {
        const { btf } = result.success
        for (let id = 0; id <= btf.endId; id++) Btf.typeOf(btf, id)
        return
      }
      assert.include(["BtfError", "ElfError", "BtfRelocateError"], result.failure._tag)
      assert.isAbove(result.failure.message.length, 5)
    })

  it("that are damaged give a value or a tagged error", () => {
    fc.assert(safe(BtfFile.parse), { numRuns: runs(800) })
  })

  it("named fault: a reader that believes the section headers", () => {
    refuted(safe((bytes, options) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      if (bytes[0] === 0x7f) view.getUint32(bytes[4] === 1 ? view.getUint32(32, true) : view.getUint32(40, true))
      return BtfFile.parse(bytes, options)
    }))
  })
})
