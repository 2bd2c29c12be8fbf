/**
 * Types and records made to take time or memory: minimal BTF is there soon, or what is too much is told. The limit in
 * milliseconds is generous; what it tells apart is seconds from hours.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as MinCoreBtf from "../../../../src/stages/gen/MinCoreBtf.ts"
import * as Core from "../../../../src/stages/relocate/core/Core.ts"
import * as B from "../../../support/arbitrary/BtfBlob.ts"
import * as MinCore from "../../../support/MinCore.ts"
import { recorded, type RecordSpec } from "../relocate/core/Records.ts"

const LIMIT = 60_000
const int = B.int("int", 4, 1)
const mov = Encode.mov64Imm(1, 1)

const ask = (kind: Core.CoreKind, type: number, access = "0"): RecordSpec => ({ insn: mov, type, access, kind })

const made = (
  local: ReadonlyArray<B.Rec>,
  specs: ReadonlyArray<RecordSpec>,
  kernel: ReadonlyArray<B.Rec>
): { readonly types: number; readonly problems: ReadonlyArray<string> } => {
  const target = Core.target(B.btfOf(kernel))
  const { btf, objects } = B.expectSuccess(MinCoreBtf.make(target, [MinCore.objectOf(recorded(local, specs))]))
  const problems = objects.flatMap((object) => object.problems.map(({ error }) => error.reason))
  return { types: btf.offsets.length, problems: [...new Set(problems)] }
}

const range = <A>(count: number, make: (index: number) => A): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, index) => make(index))

describe("types and records that", { timeout: LIMIT }, () => {
  it("ask for each of many members, one by one", () => {
    const count = 20_000
    const wide = B.struct("s", count * 4, range(count, (index): B.MemberRec => [`m${index}`, 1, index * 32]))
    const specs = range(count, (index) => ask("field_exists", 2, `0:${index}`))
    assert.deepStrictEqual(made([int, wide], specs, [int, wide]), { types: 2, problems: [] })
  })
  it("have many structs without a name, of which each has to be looked at for each name", () => {
    const count = 4000
    const inner = range(count, (index) => B.struct("", 4, [[`m${index}`, 1, 0]]))
    const outer = B.union("s", 4, range(count, (index): B.MemberRec => ["", index + 2, 0]))
    const local = [int, B.union("s", 4, range(count, (index): B.MemberRec => [`m${index}`, 1, 0]))]
    const specs = range(count, (index) => ask("field_exists", 2, `0:${index}`))
    assert.deepStrictEqual(made(local, specs, [int, ...inner, outer]).problems, ["TooComplex"])
  })
  it("are compared member by member, each without a name with each", () => {
    const many = (name: string) => [
      int,
      ...range(5000, (index) => B.struct("", 4, [[`${name}${index}`, 1, 0]])),
      B.union("s", 4, range(5000, (index): B.MemberRec => ["", index + 2, 0]))
    ]
    for (const kernel of [many("a"), many("b")]) {
      assert.deepStrictEqual(made(many("a"), [ask("type_matches", 5002)], kernel).problems, ["TooComplex"])
    }
  })
  it("are many of one name, and looked at by many records", () => {
    const specs = range(5000, (index) => ask("field_exists", 2, `0:${index}`))
    const local = B.struct("s", 4, range(5000, (index): B.MemberRec => [`m${index}`, 1, 0]))
    const kernel = [int, ...range(1000, () => B.struct("s", 4, [["x", 1, 0]]))]
    assert.deepStrictEqual(made([int, local], specs, kernel).problems, ["TooComplex"])
    const many = [int, ...range(2000, () => B.struct("s", 4, [["x", 1, 0]]))]
    assert.deepStrictEqual(made([int, local], specs.slice(0, 1), many), { types: 0, problems: ["TooManyCandidates"] })
  })
  it("are one long chain, or a ring", () => {
    const chain = [int, ...range(100_000, (index) => B.typedef(`t${index}`, index + 1))]
    const one = [B.typedef("t99999", 0)]
    assert.deepStrictEqual(made(one, [ask("type_exists", 1)], chain).problems, ["TooDeep"])
    const ring = range(100_000, (index) => B.ptr(index === 0 ? 100_000 : index))
    const pointers = [...ring, B.typedef("t", 1)]
    assert.deepStrictEqual(made(pointers, [ask("type_exists", 100_001)], pointers).problems, ["TooDeep"])
  })
  it("hold each other by value, all of them", () => {
    const count = 2000
    const everything = range(200, (index): B.MemberRec => [`m${index}`, 1 + (index * 37) % count, 0])
    const all = range(count, () => B.struct("s", 4, everything))
    const kernel = all.with(0, B.struct("root", 4, everything))
    assert.deepStrictEqual(made(kernel, [ask("type_matches", 1)], kernel).problems, ["TooDeep"])
  })
  it("have long names, and tags by the thousand", () => {
    const name = "x".repeat(5000)
    const struct = B.struct(`s${name}`, 4, range(100, (): B.MemberRec => [name, 1, 0]))
    const tags = range(50_000, (index) => B.declTag("tag", 2, index % 100))
    const answer = made([int, struct], range(2000, () => ask("field_exists", 2, "0:0")), [int, struct, ...tags])
    assert.deepStrictEqual(answer, { types: 502, problems: [] })
  })
})
