/**
 * BTF that is split over split BTF. Kernels have one level, modules over vmlinux; libbpf takes any number of levels
 * where it parses, looks up, distills and deduplicates, refuses to append any split BTF, and relocates onto split BTF
 * with wrong string offsets (observed with libbpf 1.5 on the types below). Here everything works that has a meaning.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfDedup from "../../../src/btf/BtfDedup.ts"
import * as BtfDistill from "../../../src/btf/BtfDistill.ts"
import * as BtfEdit from "../../../src/btf/BtfEdit.ts"
import { toByteOrder } from "../../../src/btf/BtfEncode.ts"
import * as BtfPermute from "../../../src/btf/BtfPermute.ts"
import { relocate } from "../../../src/btf/BtfRelocate.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"

const orders = ["little", "big"] as const

for (const order of orders) {
  describe(`three levels, ${order}`, () => {
    const bottom = B.btfOf([B.int("int", 4, 1), B.struct("bs", 4, [["x", 1, 0]])], { order })
    const middle = B.btfOf([B.typedef("mid_t", 1), B.struct("ms", 4, [["mx", 3, 0]])], { order, base: bottom })
    const top = B.btfOf([B.ptr(3), B.struct("ts", 16, [["p", 5, 0], ["q", 2, 64], ["r", 4, 96]])], {
      order,
      base: middle
    })

    it("have the ids and strings of all", () => {
      assert.strictEqual(top.firstId, 5)
      assert.deepEqual([1, 2, 3, 4, 5, 6].map((id) => Btf.nameOf(top, id)), ["int", "bs", "mid_t", "ms", "", "ts"])
      assert.strictEqual(Btf.typeName(top, 5), "mid_t *")
      assert.strictEqual(Btf.resolveType(top, 3), 1)
      assert.strictEqual(B.expectSuccess(Btf.resolveSize(top, 4)), 4)
    })

    it("are searched from the bottom", () => {
      assert.deepEqual(["int", "bs", "mid_t", "ts"].map((name) => Btf.findOne(top, name)), [1, 2, 3, 6])
      assert.strictEqual(Btf.findOne(top, "bs", Btf.BTF_KIND_STRUCT), 2)
      assert.isUndefined(Btf.findOne(top, "absent"))
      assert.isUndefined(Btf.findOwn(top, "mid_t"))
      assert.strictEqual(Btf.findOwn(middle, "mid_t"), 3)
    })

    it("take an unknown kind's size from the immediate base alone", () => {
      const layout = [...B.canonicalLayout, [4, 8] as const]
      const described = B.btfOf([{ kind: 20, rest: [1] }], { order, layout })
      const over = B.btfOf([{ kind: 20, rest: [1] }], { order, base: described })
      assert.strictEqual(Btf.kindOf(over, 2), 20)
      B.refuses(B.blob([{ kind: 20, rest: [1] }], { order }), "UnknownKind", over)
    })

    it("are written and read again, alone and in another order", () => {
      const other = order === "little" ? "big" : "little"
      assert.deepEqual(B.expectSuccess(toByteOrder(top, order)), top.bytes)
      const swapped = B.expectSuccess(Btf.parse(B.expectSuccess(toByteOrder(top, other)), { base: middle }))
      for (let id = 0; id < top.endId; id++) assert.deepEqual(Btf.typeOf(swapped, id), Btf.typeOf(top, id))
      const { btf } = B.expectSuccess(BtfPermute.permute(top, Uint32Array.of(0, 1, 2, 3, 4, 6, 5)))
      assert.deepEqual([5, 6].map((id) => Btf.nameOf(btf, id)), ["ts", ""])
    })

    it("are distilled into one base with what is needed of each", () => {
      const { base, split } = B.expectSuccess(BtfDistill.distill(top))
      assert.isUndefined(base.base)
      assert.deepEqual([1, 2, 3].map((id) => Btf.nameOf(base, id)), ["int", "bs", "ms"])
      assert.strictEqual(base.endId, 4)
      const onto = B.expectSuccess(relocate(split, middle)).btf
      assert.strictEqual(onto.base, middle)
      // libbpf 1.5 answers struct d_t with members "", s and mx here.
      assert.deepEqual([5, 6, 7].map((id) => Btf.nameOf(onto, id)), ["", "ts", "mid_t"])
      const type = Btf.typeOf(onto, 6)
      if (type._tag !== "Struct") return assert.fail(type._tag)
      assert.deepEqual(
        type.members.map(({ name, type }) => `${name} ${Btf.typeName(onto, type)}`),
        ["p mid_t *", "q struct bs", "r struct ms"]
      )
    })

    it("are appended where the bases are the same, and nowhere else", () => {
      const beside = BtfEdit.edit(B.btfOf([B.ptr(4)], { order, base: middle }))
      assert.strictEqual(B.expectSuccess(beside.append(top)), 6)
      assert.strictEqual(Btf.typeName(B.expectSuccess(beside.finish()), 6), "mid_t *")
      assert.strictEqual(B.expectFailure(BtfEdit.edit(bottom).append(top)).reason, "BadArgument")
    })

    it("are deduplicated against all that is below them", () => {
      const doubled = B.btfOf(
        [
          B.typedef("mid_t", 6),
          B.int("int", 4, 1),
          B.ptr(3),
          B.ptr(5),
          B.struct("bs", 4, [["x", 6, 0]]),
          B.struct("ms", 4, [["mx", 5, 0]]),
          B.struct("mine", 16, [["p", 8, 0], ["q", 9, 64], ["r", 10, 96]])
        ],
        { order, base: middle }
      )
      const { btf, map } = B.expectSuccess(BtfDedup.dedup(doubled))
      assert.deepEqual([...map], [0, 1, 2, 3, 4, 3, 1, 5, 5, 2, 4, 6])
      assert.strictEqual(btf.base, middle)
      assert.strictEqual(btf.byteOrder, order)
      assert.deepInclude(Btf.typeOf(btf, 5), { _tag: "Ptr", type: 3 })
      assert.deepInclude(Btf.typeOf(btf, 6), {
        name: "mine",
        members: [
          { name: "p", type: 5, bitOffset: 0, bitfieldSize: 0 },
          { name: "q", type: 2, bitOffset: 64, bitfieldSize: 0 },
          { name: "r", type: 4, bitOffset: 96, bitfieldSize: 0 }
        ]
      })
      // Names that a lower level has are not written again.
      assert.strictEqual(new TextDecoder().decode(btf.bytes.slice(btf.stringsOffset)), "mine\0p\0q\0r\0")
    })

    it("are not moved onto another base before they are distilled, as for libbpf", () => {
      assert.strictEqual(B.expectFailure(relocate(top, bottom))._tag, "BtfRelocateError")
    })
  })
}
