import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfDistill from "../../../src/btf/BtfDistill.ts"
import * as BtfFile from "../../../src/btf/BtfFile.ts"
import * as Elf from "../../../src/services/Elf/Elf.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import { elf32, elf64 } from "../../support/BtfElf.ts"
import { fixture } from "../../support/Require.ts"

const orders = ["little", "big"] as const

const blob = B.blob(B.everyKind)

const succeeds = (bytes: Uint8Array, options?: BtfFile.BtfFileOptions): BtfFile.BtfFile =>
  B.expectSuccess(BtfFile.parse(bytes, options))

/** The `BtfError` with which a file is refused. */
const refused = (bytes: Uint8Array, reason: Btf.BtfErrorReason, options?: BtfFile.BtfFileOptions): Btf.BtfError => {
  const error = B.expectFailure(BtfFile.parse(bytes, options))
  if (error._tag !== "BtfError") return assert.fail(`${error._tag}: ${error.message}`)
  assert.strictEqual(error.reason, reason, error.message)
  return error
}

describe("a raw file", () => {
  for (const order of orders) {
    it(`is BTF by its first two bytes, ${order}`, () => {
      const file = succeeds(B.blob(B.everyKind, { order }))
      assert.strictEqual(file.format, "raw")
      assert.strictEqual(file.btf.byteOrder, order)
      assert.strictEqual(file.btf.internal.pointerSize, undefined)
      assert.isUndefined(file.distilled)
    })
  }

  it("is split over the base given", () => {
    const base = B.btfOf(B.everyKind)
    const split = B.blob([B.ptr(4)], { strings: new Uint8Array(0) })
    assert.strictEqual(Btf.typeName(succeeds(split, { base }).btf, 20), "struct event *")
  })

  it("has errors of its own, which are final", () => {
    refused(blob.subarray(0, 20), "Truncated")
    refused(blob.subarray(0, 2), "Truncated")
    assert.isUndefined(refused(B.blob([B.ptr(9)]), "BadTypeId").section)
  })

  it("that is neither BTF nor ELF is said to be neither", () => {
    for (const bytes of [[], [0x9f], [0, 0], [0x7f, 0x45, 0x4c], [1, 2, 3, 4, 5, 6, 7, 8]]) {
      assert.include(refused(Uint8Array.from(bytes), "NotBtf").message, "neither")
    }
  })
})

describe("an ELF file", () => {
  for (const order of orders) {
    for (const [bits, write] of [[64, elf64], [32, elf32]] as const) {
      it(`of ${bits} bits has its BTF in .BTF, and its class says how long a pointer is, ${order}`, () => {
        const bytes = B.blob(B.everyKind, { order })
        const file = succeeds(write([{ name: ".text", bytes: new Uint8Array(3) }, { name: ".BTF", bytes }], order))
        assert.strictEqual(file.format, "elf")
        assert.deepEqual([...file.btf.bytes], [...bytes])
        assert.strictEqual(B.expectSuccess(Btf.resolveSize(file.btf, 2)), bits / 8)
        const other = succeeds(write([{ name: ".BTF", bytes }], order), { pointerSize: 4 })
        assert.strictEqual(B.expectSuccess(Btf.resolveSize(other.btf, 2)), 4)
      })

      it(`of ${bits} bits without it, with data that is none, or packed, is refused, ${order}`, () => {
        assert.isDefined(refused(write([{ name: ".BTF.base", bytes: blob }], order), "NoBtf").hint)
        for (const name of [".BTF", ".BTF.base", ".BTF.ext"]) {
          const others = name === ".BTF" ? [] : [{ name: ".BTF", bytes: blob }]
          const strange = { name, bytes: blob, type: Elf.SHT_NOBITS }
          assert.strictEqual(refused(write([...others, strange], order), "BadElfSection").section, name)
          const packed = { name, bytes: blob, flags: Number(Elf.SHF_COMPRESSED) }
          assert.strictEqual(refused(write([...others, packed], order), "BadElfSection").section, name)
        }
      })
    }
  }

  it("of 32 bits may have its number of sections in section 0", () => {
    for (const order of orders) {
      assert.strictEqual(succeeds(elf32([{ name: ".BTF", bytes: blob }], order, { extended: true })).btf.endId, 20)
    }
  })

  it("of 32 bits is refused for each field that leads outside", () => {
    const file = elf32([{ name: ".BTF", bytes: blob }])
    const table = new DataView(file.buffer).getUint32(32, true)
    const change = (at: number, bytes: 2 | 4, value: number): string => {
      const copy = file.slice()
      const view = new DataView(copy.buffer)
      if (bytes === 2) view.setUint16(at, value, true)
      else view.setUint32(at, value, true)
      const error = B.expectFailure(BtfFile.parse(copy))
      return error._tag === "ElfError" || error._tag === "BtfError" ? error.reason : error._tag
    }
    assert.strictEqual(change(5, 2, 9), "ByteOrder")
    assert.strictEqual(change(32, 4, 0), "NoBtf")
    assert.strictEqual(change(32, 4, 0xffff_ffff), "OutOfBounds")
    assert.strictEqual(change(32, 4, file.length - 39), "OutOfBounds")
    assert.strictEqual(change(46, 2, 64), "HeaderSize")
    assert.strictEqual(change(48, 2, 60_000), "OutOfBounds")
    assert.strictEqual(change(48, 2, 0), "Link")
    assert.strictEqual(change(50, 2, 3), "Link")
    assert.strictEqual(change(table + 80, 4, 0x7fff_ffff), "Name")
    assert.strictEqual(change(table + 80 + 16, 4, 0xffff_fff0), "OutOfBounds")
    assert.strictEqual(change(table + 80 + 20, 4, 0xffff_ffff), "OutOfBounds")
    assert.strictEqual(B.expectFailure(BtfFile.parse(file.subarray(0, 51)))._tag, "ElfError")
  })

  it("names the section in the errors of its contents", () => {
    const bad = B.blob([B.ptr(9)])
    const error = refused(elf64([{ name: ".BTF", bytes: bad }]), "BadTypeId")
    assert.strictEqual(error.section, ".BTF")
    assert.strictEqual(error.typeId, 1)
    assert.strictEqual(error.message.slice(0, 14), ".BTF: type 1: ")
    const both = [{ name: ".BTF.base", bytes: bad }, { name: ".BTF", bytes: blob }]
    assert.strictEqual(refused(elf64(both), "BadTypeId").section, ".BTF.base")
  })

  it("gives .BTF.ext to who asks for it, and only then looks at it", () => {
    const object = fixture("core_reads.bpf.o")
    assert.isUndefined(succeeds(object).ext)
    const { btf, ext } = succeeds(object, { ext: true })
    assert.strictEqual(ext?.btf, btf)
    assert.isAbove(ext?.coreRelocations?.sections.length ?? 0, 0)
    const broken = elf64([{ name: ".BTF", bytes: blob }, { name: ".BTF.ext", bytes: new Uint8Array(30) }])
    assert.isUndefined(succeeds(broken).ext)
    assert.strictEqual(refused(broken, "BadMagic", { ext: true }).section, ".BTF.ext")
    assert.isUndefined(succeeds(elf64([{ name: ".BTF", bytes: blob }]), { ext: true }).ext)
  })

  it("that is cut off, or no ELF file further on, is refused by the ELF reader", () => {
    const file = elf64([{ name: ".BTF", bytes: blob }])
    for (
      const bytes of [file.subarray(0, 40), file.subarray(0, file.length - 1), Uint8Array.of(0x7f, 0x45, 0x4c, 0x46)]
    ) {
      assert.strictEqual(B.expectFailure(BtfFile.parse(bytes))._tag, "ElfError")
    }
  })
})

describe("a distilled base", () => {
  const kernel = B.btfOf([B.int("int", 4, 1), B.struct("task", 8, [["id", 1, 0], ["on", 1, 32]]), B.ptr(2)])
  const module = B.btfOf([B.struct("own", 16, [["task", 3, 0], ["n", 1, 64]])], {
    base: kernel
  })
  const distilled = B.expectSuccess(BtfDistill.distill(module))
  const sections = [
    { name: ".BTF", bytes: distilled.split.bytes },
    { name: ".BTF.base", bytes: distilled.base.bytes }
  ]

  it("is what the file's types are split over", () => {
    const file = succeeds(elf64(sections))
    assert.strictEqual(file.btf.base, file.distilled)
    assert.strictEqual(file.distilled?.base, undefined)
    assert.strictEqual(file.distilled?.endId, distilled.base.endId)
    assert.strictEqual(file.btf.endId, distilled.split.endId)
  })

  it("makes way for the base that the caller gives", () => {
    const other = B.btfOf([B.float("double", 8), B.struct("task", 16, [["on", 3, 0]]), B.int("int", 4, 1)])
    const file = succeeds(elf64(sections), { base: other })
    assert.strictEqual(file.btf.base, other)
    assert.strictEqual(file.btf.firstId, 4)
    assert.strictEqual(file.distilled?.endId, distilled.base.endId)
    const own = Btf.findOne(file.btf, "own") ?? 0
    const type = Btf.typeOf(file.btf, own)
    if (type._tag !== "Struct") return assert.fail(type._tag)
    assert.deepEqual(type.members.map((member) => Btf.typeName(file.btf, member.type)), ["struct task *", "int"])
    assert.strictEqual(type.members[1]?.type, 3)
  })

  it("that does not fit the base given is a mismatch", () => {
    const error = B.expectFailure(BtfFile.parse(elf64(sections), { base: B.btfOf([B.int("int", 4, 1)]) }))
    assert.strictEqual(error._tag, "BtfRelocateError")
    assert.include(error.message, "task")
  })

  it("stands alone: one that is itself split is refused", () => {
    const split = { name: ".BTF.base", bytes: module.bytes }
    const error = refused(elf64([{ name: ".BTF", bytes: blob }, split]), "BadStrings", { base: kernel })
    assert.strictEqual(error.section, ".BTF.base")
  })

  // libbpf adds the length of one string area alone, and so gives the types names out of the middle of others.
  it("makes way for a base that is itself split", () => {
    const middle = B.btfOf([B.typedef("task_t", 2), B.struct("task", 8, [["id", 1, 0]])], { base: kernel })
    const short = B.btfOf([B.int("int", 4, 1)])
    const onTop = B.btfOf([B.typedef("long_name_of_a_type", 1), B.struct("task", 8, [])], { base: short })
    const file = succeeds(elf64(sections), { base: onTop })
    assert.strictEqual(file.btf.firstId, 4)
    assert.deepEqual([4, 5].map((id) => Btf.nameOf(file.btf, id)), ["own", ""])
    assert.strictEqual(Btf.typeName(file.btf, 5), "struct task *")
    assert.strictEqual(B.expectFailure(BtfFile.parse(elf64(sections), { base: middle }))._tag, "BtfRelocateError")
  })

  it("that is not there leaves the types split over the base given", () => {
    const file = succeeds(elf64([{ name: ".BTF", bytes: module.bytes }]), { base: kernel })
    assert.strictEqual(file.btf.base, kernel)
    assert.isUndefined(file.distilled)
  })
})
