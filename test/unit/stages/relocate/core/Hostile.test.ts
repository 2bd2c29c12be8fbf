/**
 * Types and records made to take time or memory: each ends soon, in an answer or a tagged error. The limit in
 * milliseconds is generous; what it tells apart is seconds from years.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Encode from "../../../../../src/insn/Encode.ts"
import * as Core from "../../../../../src/stages/relocate/core/Core.ts"
import * as B from "../../../../support/arbitrary/BtfBlob.ts"
import { recorded, type RecordSpec, relocate } from "./Records.ts"

const int = B.int("int", 4, 1)
const mov = Encode.mov64Imm(1, 1)
const LIMIT = 60_000

/** The reason of the first error, or what became of the first record. */
const answer = (
  local: ReadonlyArray<B.Rec>,
  specs: ReadonlyArray<RecordSpec>,
  kernel: ReadonlyArray<B.Rec>
): string => {
  const done = relocate(local, specs, kernel)
  if (done._tag === "Failure") return done.failure.reason
  const [first] = done.success.outcomes
  return first === undefined ? "none" : first.found ? "found" : "missing"
}

const ask = (kind: Core.CoreKind, type: number, access = "0"): RecordSpec => ({ insn: mov, type, access, kind })
const one = (kind: Core.CoreKind, local: ReadonlyArray<B.Rec>, kernel: ReadonlyArray<B.Rec>, access = "0"): string =>
  answer(local, [ask(kind, local.length, access)], kernel)

/** Types 2 to `depth + 1`, each made of the one after it; type 1 is `int`, which the last is made of. */
const tower = (depth: number, level: (next: number) => B.Rec): ReadonlyArray<B.Rec> => [
  int,
  ...Array.from({ length: depth }, (_, index) => level(index + 1 < depth ? index + 3 : 1))
]

describe("types that", { timeout: LIMIT }, () => {
  it("double at each level of anonymous structs are searched once each", () => {
    const twice = (depth: number) => [
      ...tower(depth, (next) => B.struct("", 8, [["", next, 0], ["", next, 32]])),
      B.struct("s", 8, [["", 2, 0]])
    ]
    const local = [int, B.struct("s", 4, [["x", 1, 0]])]
    assert.strictEqual(one("field_exists", local, twice(60), "0:0"), "missing")
    assert.strictEqual(one("field_exists", local, twice(100), "0:0"), "TooDeep")
  })
  it("contain themselves end", () => {
    const local = [int, B.struct("s", 4, [["x", 1, 0]])]
    assert.strictEqual(one("field_exists", local, [int, B.struct("s", 4, [["", 2, 0]])], "0:0"), "missing")
    const itself = [int, B.struct("s", 4, [["x", 2, 0]])]
    assert.strictEqual(one("type_matches", itself, itself), "TooDeep")
    assert.strictEqual(one("field_exists", itself, itself, "0:0:0:0:0"), "found")
  })
  it("are nothing but names for each other are refused", () => {
    const local = [int, B.typedef("t", 3), B.typedef("t", 2)]
    for (const kind of ["type_exists", "type_matches"] as const) assert.strictEqual(one(kind, local, local), "TooDeep")
    assert.strictEqual(one("type_size", local, local), "NoSize")
    assert.strictEqual(one("byte_off", local, local), "TooDeep")
    const arrays = [int, B.array(2, 1, 1), B.struct("s", 8, [["a", 2, 0]])]
    assert.strictEqual(one("field_exists", arrays, arrays, "0:0"), "TooDeep")
    assert.strictEqual(one("type_exists", [B.ptr(1), B.typedef("t", 1)], [B.ptr(1), B.typedef("t", 1)]), "TooDeep")
  })
  it("are prototypes of prototypes are compared once each", () => {
    const protos = (depth: number) => [
      ...tower(depth, (next) => B.funcProto(1, [["", next], ["", next], ["", next]])),
      B.typedef("t", 2)
    ]
    for (const kind of ["type_exists", "type_matches"] as const) {
      assert.strictEqual(one(kind, protos(28), protos(28)), "found")
      assert.strictEqual(one(kind, protos(60), protos(60)), "TooDeep")
    }
  })
  it("are structs of structs are compared once each", () => {
    const structs = (depth: number) => [
      ...tower(depth, (next) => B.struct("s", 8, [["a", next, 0], ["b", next, 32]])),
      B.struct("top", 8, [["a", 2, 0]])
    ]
    assert.strictEqual(one("type_matches", structs(28), structs(28)), "found")
    assert.strictEqual(one("type_matches", structs(60), structs(60)), "TooDeep")
  })
  it("have thousands of members without a name are not compared each with each", () => {
    const many = (name: string) => {
      const inner = Array.from({ length: 5000 }, (_, index) => B.struct("", 4, [[`${name}${index}`, 1, 0]]))
      const members = inner.map((_, index): B.MemberRec => ["", index + 2, 0])
      return [int, ...inner, B.union("s", 4, members)]
    }
    assert.strictEqual(one("type_matches", many("a"), many("a")), "TooComplex")
    assert.strictEqual(one("type_matches", many("a"), many("b")), "missing")
  })
})

describe("records that", { timeout: LIMIT }, () => {
  const wide = (count: number, name: string): B.Rec =>
    B.struct(
      "s",
      count * 4,
      Array.from({ length: count }, (_, index): B.MemberRec => [`${name}${index}`, 1, index * 32])
    )

  it("ask for each of many members do not search all of them each time", () => {
    const count = 30_000
    const specs = Array.from({ length: count }, (_, index) => ask("field_exists", 2, `0:${index}`))
    assert.strictEqual(answer([int, wide(count, "m")], specs, [int, wide(count, "m")]), "found")
    assert.strictEqual(answer([int, wide(count, "m")], specs, [int, wide(count, "other")]), "missing")
  })
  it("each have a thousand candidates are too many", () => {
    const specs = Array.from({ length: 5000 }, (_, index) => ask("field_exists", 2, `0:${index}`))
    const kernel = [int, ...Array.from({ length: 1000 }, () => B.struct("s", 4, [["x", 1, 0]]))]
    assert.strictEqual(answer([int, wide(5000, "m")], specs, kernel), "TooComplex")
  })
  it("all fail are all told of", () => {
    const { insns, local, records } = recorded([int, wide(3, "m")], [ask("byte_off", 2, "0:9:9:9")])
    const count = 20_000
    const all = new Uint8Array(count * 16)
    for (let index = 0; index < count; index++) all.set(records.records, index * 16)
    const { outcomes } = B.expectSuccess(
      Core.examine(insns, { recordSize: 16, records: all }, local, Core.target(local))
    )
    assert.strictEqual(outcomes.length, count)
    assert.isTrue(outcomes.every((each) => each._tag === "Failure" && each.failure.reason === "BadAccess"))
  })
  it("are nested as deep as they may be are answered", () => {
    const local = tower(62, (next) => B.struct("s", 4, [["a", next, 0]]))
    const access = (count: number): string => Array(count).fill("0").join(":")
    assert.strictEqual(answer(local, [ask("field_exists", 2, access(63))], local), "found")
    assert.strictEqual(answer(local, [ask("field_exists", 2, access(64))], local), "BadAccess")
    assert.strictEqual(answer(local, [ask("field_exists", 2, access(65))], local), "TooDeep")
  })
})
