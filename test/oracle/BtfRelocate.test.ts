/** Distilling and relocating beside libbpf 1.5: generated split BTF, byte for byte, and what it does differently. */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import { distill } from "../../src/btf/BtfDistill.ts"
import { relocate } from "../../src/btf/BtfRelocate.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import type { Order, Rec } from "../support/arbitrary/BtfBlob.ts"
import * as BtfPeer from "../support/BtfPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { describeWith, runs } from "../support/Require.ts"

/** A base, split BTF over it, and another base that is much like the first. */
interface Case {
  readonly base: Uint8Array
  readonly split: Uint8Array
  readonly target: Uint8Array
}

/** Kinds whose third word is a size. */
const sized: ReadonlySet<number> = new Set([1, 4, 5, 6, 16, 19])

interface Change {
  readonly at: number
  readonly what: "size" | "kind" | "rename" | "double" | "empty" | "declare"
}

/** What another build of a kernel may have instead of these types, and some of what it cannot have. */
const altered = (types: ReadonlyArray<Rec>, changes: ReadonlyArray<Change>): ReadonlyArray<Rec> => {
  const result = [...types]
  for (const { at, what } of changes) {
    const named = result.flatMap((type, index) => sized.has(type.kind) && (type.name ?? "") !== "" ? [index] : [])
    const index = named[at % Math.max(1, named.length)]
    const type = index === undefined ? undefined : result[index]
    if (index === undefined || type === undefined) break
    const { name = "" } = type
    if (what === "size" && (type.kind === 4 || type.kind === 5)) result[index] = { ...type, word: (type.word ?? 0) + 8 }
    if (what === "kind" && (type.kind === 4 || type.kind === 5)) result[index] = { ...type, kind: 9 - type.kind }
    if (what === "rename") result[index] = { ...type, name: `${name}_old` }
    if (what === "double") result.push(type)
    if (what === "empty" && (type.kind === 4 || type.kind === 5)) {
      result[index] = { ...type, kflag: false, vlen: 0, rest: [] }
    }
    if (what === "declare" && (type.kind === 4 || type.kind === 5)) result[index] = B.fwd(name, type.kind === 5)
  }
  return result
}

const cases: fc.Arbitrary<Case> = fc.tuple(
  Arbitrary.programs({ maxLength: 25 }),
  fc.double({ min: 0.4, max: 0.9, noNaN: true }),
  fc.constantFrom<Order>("little", "big"),
  fc.array(
    fc.record({
      at: fc.nat(99),
      what: fc.constantFrom<Change["what"]>("size", "kind", "rename", "double", "empty", "declare")
    }),
    { maxLength: 2 }
  )
).map(([program, share, order, changes]) => {
  const { base, split } = Arbitrary.splitOf(program, share, { order })
  return { base: base.bytes, split: split.bytes, target: B.blob(altered(base.types, changes), { order }) }
})

const parse = (bytes: Uint8Array, base?: Btf.Btf): Btf.Btf => B.expectSuccess(Btf.parse(bytes, { base }))

/** Whether types of different kinds, declarations among them, share the name of a type that could be meant. */
const namesSeveralKinds = (distilled: Btf.Btf, target: Btf.Btf): boolean => {
  const kinds = new Map<string, number>()
  for (let id = 1; id < distilled.endId; id++) kinds.set(Btf.nameOf(distilled, id), Btf.kindOf(distilled, id))
  for (let id = 1; id < target.endId; id++) {
    const kind = Btf.kindOf(target, id)
    const known = sized.has(kind) || kind === Btf.BTF_KIND_FWD ? kinds.get(Btf.nameOf(target, id)) : undefined
    const isEnum = known === Btf.BTF_KIND_ENUM && kind === Btf.BTF_KIND_ENUM64
    if (known !== undefined && known !== kind && !isEnum) return true
  }
  return false
}

/**
 * A distilled base without types. libbpf then takes the split BTF, whose first id is 1 too, for the base, and leaves the
 * types out that had to move to it: "does not have libbpf's faults" shows it.
 */
const isEmpty = (distilled: Btf.Btf): boolean => distilled.endId === 1

const needs = Libbpf.needs("1.5")

describeWith({ kind: "oracle", tools: needs.tools, files: needs.files }, "distilled base and relocation", () => {
  const sample = fc.sample(cases, { numRuns: runs(500), seed: Number(process.env["FC_SEED"] ?? 1) })

  it("distils generated split BTF to the bytes that libbpf makes", () => {
    const answers = BtfPeer.batch(
      "1.5",
      sample.map(({ base, split }) => ["distill", BtfPeer.inline(split), BtfPeer.inline(base), "-", "-"])
    )
    let distilled = 0
    for (const [index, { base, split }] of sample.entries()) {
      const answer = answers[index] ?? assert.fail()
      const ours = distill(parse(split, parse(base)))
      if (Result.isFailure(ours)) {
        assert.strictEqual(answer.error?.name, "EINVAL", ours.failure.message)
        continue
      }
      assert.deepEqual(ours.success.base.bytes, BtfPeer.bytesOf(answer.base), `${index}: base`)
      if (isEmpty(ours.success.base)) continue
      assert.deepEqual(ours.success.split.bytes, BtfPeer.bytesOf(answer.split), `${index}: split`)
      distilled++
    }
    assert.isAbove(distilled, sample.length / 2)
  })

  it("relocates generated split BTF to the bytes that libbpf makes, and differs only where names are of several kinds", () => {
    const answers = BtfPeer.batch(
      "1.5",
      sample.map(({ base, split, target }) => [
        "redistill",
        BtfPeer.inline(split),
        BtfPeer.inline(base),
        BtfPeer.inline(target),
        "-"
      ]),
      // Over an empty base a type can come to refer to itself, and then libbpf goes round in it forever.
      { seconds: 1 }
    )
    const counts = { moved: 0, refused: 0, differs: 0 }
    for (const [index, { base, split, target }] of sample.entries()) {
      const answer = answers[index] ?? assert.fail()
      const distilled = distill(parse(split, parse(base)))
      if (Result.isFailure(distilled) || isEmpty(distilled.success.base)) continue
      const onto = parse(target)
      const ours = relocate(distilled.success.split, onto)
      const theirs = answer.error === undefined ? BtfPeer.bytesOf(answer.result) : undefined
      const equal = Result.isSuccess(ours)
        ? theirs !== undefined && Buffer.compare(ours.success.btf.bytes, theirs) === 0
        : theirs === undefined
      if (equal) counts[theirs === undefined ? "refused" : "moved"]++
      else {
        assert.isTrue(
          namesSeveralKinds(distilled.success.base, onto),
          `${index}: ${Result.isSuccess(ours) ? "moved" : ours.failure.message}; libbpf: ${
            answer.error?.log ?? "moved"
          }`
        )
        counts.differs++
      }
    }
    assert.isAbove(counts.moved, sample.length / 4)
    assert.isAbove(counts.refused, sample.length / 50)
    assert.isBelow(counts.differs, sample.length / 4)
  })

  /** Relocates a pointer to the one type of a distilled base, or a struct that contains it; libbpf's answer and ours. */
  const both = (distilled: Rec, target: ReadonlyArray<Rec>): readonly [theirs: string, ours: string] => {
    const base = B.btfOf([distilled])
    const split = B.btfOf([B.ptr(1)], { base })
    const onto = B.btfOf(target)
    const { error, result } = BtfPeer.ask(
      "1.5",
      "relocate",
      BtfPeer.inline(split.bytes),
      BtfPeer.inline(base.bytes),
      BtfPeer.inline(onto.bytes),
      "-"
    )
    const pointee = (btf: Btf.Btf): string => `to ${Btf.sizeOrTypeOf(btf, btf.firstId)}`
    const ours = relocate(split, onto)
    return [
      error === undefined ? pointee(parse(BtfPeer.bytesOf(result), onto)) : error.name ?? "",
      Result.isSuccess(ours) ? pointee(ours.success.btf) : ours.failure._tag
    ]
  }

  const pair = (size: number, ...members: ReadonlyArray<B.MemberRec>) => B.struct("pair", size, members)
  const int = B.int("int", 4)

  it("answers as libbpf does for pointers to what is there, missing, or there several times", () => {
    const one = (distilled: Rec, target: ReadonlyArray<Rec>, answer: string): void => {
      const [theirs, ours] = both(distilled, target)
      assert.deepEqual([theirs, ours], answer === "" ? ["EINVAL", "BtfRelocateError"] : [answer, answer])
    }
    one(pair(8), [pair(16)], "to 1")
    one(pair(8), [pair(16), pair(8)], "to 2")
    one(pair(8), [pair(16), pair(24)], "")
    one(pair(8), [pair(8), pair(8)], "")
    one(pair(8), [B.fwd("pair", false)], "to 1")
    one(pair(8), [B.typedef("pair", 0)], "")
    one(B.fwd("pair", false), [B.fwd("pair", true)], "")
    one(B.fwd("pair", false), [pair(8)], "to 1")
    one(B.int("int", 4, 1), [B.int("int", 4, 1, 3, 2)], "to 1")
    one(B.int("int", 4, 1), [B.int("int", 4)], "")
    one(B.enumeration("e", 8, false, []), [B.enum64("e", 8, true, [["A", 1n]])], "to 1")
    one(B.enumeration("e", 8, false, []), [B.enum64("e", 8, true, []), B.enumeration("e", 8, true, [])], "")
    one(B.enumeration("e", 4, false, []), [B.enum64("e", 8, true, [])], "")
  })

  it("does not have libbpf's faults", () => {
    // The sort of a declaration, read from the flag of the definition, which says whether it has bit fields.
    assert.deepEqual(both(B.fwd("pair", false), [int, pair(8, ["b", 1, 0, 3])]), ["EINVAL", "to 2"])
    assert.deepEqual(both(B.fwd("pair", true), [B.union("pair", 8, [])]), ["EINVAL", "to 1"])
    const odd = B.union("pair", 8, [["b", 1, 0, 3]])
    assert.deepEqual(both(B.fwd("pair", false), [int, odd]), ["to 2", "BtfRelocateError"])
    // A struct becomes anything of its name.
    assert.deepEqual(both(pair(8), [B.union("pair", 8, [])]), ["to 1", "BtfRelocateError"])
    assert.deepEqual(both(pair(8), [B.int("pair", 8)]), ["to 1", "BtfRelocateError"])
    // A struct and its declaration are two candidates.
    assert.deepEqual(both(pair(8), [B.fwd("pair", false), pair(8)]), ["EINVAL", "to 2"])
    assert.deepEqual(both(B.fwd("pair", false), [pair(8), B.fwd("pair", false)]), ["EINVAL", "to 2"])
    // A string of the distilled base that is no type's name.
    const base = B.btfOf([pair(8)], { moreStrings: ["field"] })
    const field = new TextDecoder().decode(base.bytes.subarray(base.stringsOffset)).indexOf("field")
    const split = B.btfOf([{ kind: 4, vlen: 1, word: 8, rest: [field, 0, 0] }], { base })
    const onto = B.btfOf([pair(8)])
    const args = [split, base, onto].map(({ bytes }) => BtfPeer.inline(bytes))
    assert.strictEqual(BtfPeer.ask("1.5", "relocate", ...args, "-").error?.name, "ENOENT")
    const { btf } = B.expectSuccess(relocate(split, onto))
    assert.deepInclude(Btf.typeOf(btf, 2), { members: [{ name: "field", type: 0, bitOffset: 0, bitfieldSize: 0 }] })
    // A typedef that has to move to the split BTF is lost if no type stays in the base: what referred to it, a pointer,
    // refers to itself.
    const untyped = B.btfOf([B.typedef("t", 0)])
    const pointer = B.btfOf([B.ptr(1)], { base: untyped })
    const files = [pointer, untyped].map(({ bytes }) => BtfPeer.inline(bytes))
    const lost = parse(BtfPeer.bytesOf(BtfPeer.ask("1.5", "distill", ...files, "-", "-").split), B.btfOf([]))
    assert.deepEqual([lost.endId, Btf.sizeOrTypeOf(lost, 1)], [2, 1])
    const kept = B.expectSuccess(distill(pointer)).split
    assert.deepEqual([kept.endId, Btf.sizeOrTypeOf(kept, 1), Btf.nameOf(kept, 2)], [3, 2, "t"])
    // A base that is itself split: its strings are counted without their own base's.
    const second = B.btfOf([B.int("long", 8), pair(8)], { base: B.btfOf([int]) })
    const named = B.btfOf([B.struct("mine", 8, [["pair", 1, 0]])], { base: B.btfOf([pair(8)]) })
    const moved = B.expectSuccess(relocate(named, second)).btf
    assert.deepInclude(Btf.typeOf(moved, 4), { name: "mine" })
  })
})
