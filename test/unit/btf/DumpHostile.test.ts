/** Dumps of blobs that no compiler makes: cycles, nesting, repetition. */
import { assert, describe, it } from "@effect/vitest"
import type { Btf } from "../../../src/btf/Btf.ts"
import * as BtfDump from "../../../src/btf/BtfDump.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import { assertQuick, cpuTime } from "../../support/CpuTime.ts"

const dump = (types: ReadonlyArray<B.Rec>, options: BtfDump.COptions = {}): BtfDump.Dumped =>
  dumpOf(B.btfOf(types), options)

const dumpOf = (btf: Btf, options: BtfDump.COptions = {}): BtfDump.Dumped =>
  BtfDump.collect(BtfDump.toC(btf, { sorted: false, header: false, ...options }))

const reasons = (dumped: BtfDump.Dumped): ReadonlyArray<string> => dumped.problems.map((problem) => problem.reason)

const int = B.int("int", 4, 1)

/** `count` records, each made of its own id and the next one's. */
const many = (first: number, count: number, make: (id: number, next: number) => B.Rec): ReadonlyArray<B.Rec> =>
  Array.from({ length: count }, (_, index) => make(first + index, first + index + 1))

describe("cycles", () => {
  it("of structs that embed each other are reported with their ids, and the rest is dumped", () => {
    const dumped = dump([
      int,
      B.struct("A", 4, [["b", 3, 0]]),
      B.struct("B", 4, [["a", 2, 0]]),
      B.struct("user", 4, [["a", 2, 0]]),
      B.ptr(2),
      B.struct("fine", 8, [["a", 5, 0]])
    ])
    assert.strictEqual(dumped.text, "struct A;\n\nstruct fine {\n\tstruct A *a;\n};\n\n")
    assert.deepStrictEqual(dumped.problems.map(({ message }) => message), [
      "BTF: type 2: C cannot express a cycle of types: 2 → 3 → 2",
      "BTF: type 3: it needs type 3, which cannot be defined",
      "BTF: type 4: it needs type 2, which cannot be defined"
    ])
  })

  it("do not take what was ready with them", () => {
    const dumped = dump([int, B.struct("A", 8, [["good", 3, 0], ["self", 2, 32]]), B.struct("good", 4, [["n", 1, 0]])])
    assert.strictEqual(dumped.text, "struct good {\n\tint n;\n};\n\n")
    assert.deepStrictEqual(reasons(dumped), ["Cycle"])
  })

  it("of every other kind end", () => {
    // What has a name can still be declared, by it.
    const cycles: ReadonlyArray<readonly [name: string, declared: string | undefined, ...types: ReadonlyArray<B.Rec>]> =
      [
        ["pointer", undefined, B.ptr(1)],
        ["pointers", undefined, B.ptr(2), B.ptr(1)],
        ["typedef", "t x", B.typedef("t", 1)],
        ["qualifiers", undefined, B.constant(2), B.volatile(3), B.restrict(4), B.typeTag("x", 1)],
        ["array", undefined, B.array(1, 1, 2)],
        ["prototype", undefined, B.funcProto(1, [])],
        ["parameter", undefined, B.funcProto(0, [["f", 1]])],
        ["pointer to a typedef of it", "t *x", B.ptr(2), B.typedef("t", 1)],
        ["anonymous struct", undefined, B.struct("", 8, [["next", 2, 0]]), B.ptr(1)],
        ["typedef of an anonymous struct", "t x", B.typedef("t", 2), B.struct("", 8, [["next", 3, 0]]), B.ptr(1)],
        ["typedef of a prototype", "t x", B.typedef("t", 2), B.ptr(3), B.funcProto(0, [["f", 1]])],
        [
          "anonymous union in a struct",
          "struct s x",
          B.struct("s", 8, [["u", 2, 0]]),
          B.union("", 8, [["s", 3, 0]]),
          B.array(1, 1, 1)
        ]
      ]
    for (const [name, declared, ...types] of cycles) {
      const btf = B.btfOf([...types, B.struct("user", 8, [["m", 1, 0]])])
      for (const sorted of [false, true]) {
        const dumped = dumpOf(btf, { sorted })
        assert.isAbove(dumped.problems.length, 0, name)
        assert.isTrue(reasons(dumped).every((reason) => reason === "Cycle"), `${name}: ${dumped.problems.join(", ")}`)
        assert.strictEqual(dumped.text, "", name)
      }
      const declaration = BtfDump.typeDeclaration(btf, 1, "x")
      if (declared === undefined) assert.strictEqual(B.expectFailure(declaration).reason, "Cycle", name)
      else assert.strictEqual(B.expectSuccess(declaration), declared)
    }
  })

  it("through a named struct behind a pointer are none", () => {
    const dumped = dump([
      B.typedef("t", 2),
      B.struct("s", 16, [["next", 3, 0], ["call", 4, 64]]),
      B.ptr(1),
      B.ptr(5),
      B.funcProto(3, [["t", 1], ["s", 3]])
    ])
    assert.deepStrictEqual(dumped.problems, [])
    assert.strictEqual(
      dumped.text,
      "struct s;\n\ntypedef struct s t;\n\nstruct s {\n\tt *next;\n\tt * (*call)(t t, t *s);\n};\n\n"
    )
  })
})

describe("nesting", () => {
  const deep = 20_000

  it("of anonymous structs is written, with thirteen tabs at most", () => {
    const types = [
      B.struct("top", 4, [["m", 2, 0]]),
      ...many(2, deep, (_, next) => B.struct("", 4, [["m", next, 0]])),
      int
    ]
    const dumped = dump(types)
    assert.deepStrictEqual(dumped.problems, [])
    assert.strictEqual(dumped.text.split("struct {").length - 1, deep)
    assert.include(dumped.text, `\n${"\t".repeat(13)}int m;\n`)
    assert.notInclude(dumped.text, "\t".repeat(14))
  })

  it("of pointers, arrays, prototypes and qualifiers is written", () => {
    const chains: Readonly<Record<string, (id: number, next: number) => B.Rec>> = {
      pointer: (_, next) => B.ptr(next),
      array: (_, next) => B.array(next, next, 1),
      prototype: (_, next) => B.funcProto(next, []),
      parameter: (_, next) => B.funcProto(0, [["p", next]]),
      constant: (_, next) => B.constant(next)
    }
    for (const [name, make] of Object.entries(chains)) {
      const types = [B.struct("top", 8, [["m", 2, 0]]), ...many(2, deep, make), int]
      const dumped = dump(types)
      assert.deepStrictEqual(dumped.problems.map(String), [], name)
      assert.match(dumped.text, /^struct top \{\n\t/, name)
      const declared = B.expectSuccess(BtfDump.typeDeclaration(B.btfOf(types), 2, "m"))
      assert.isTrue(dumped.text.includes(`\t${declared};\n`), name)
    }
  })

  it("of typedefs and of embedded structs is written", () => {
    const typedefs = dump([...many(1, deep, (id, next) => B.typedef(`t${id}`, next)), int])
    assert.match(typedefs.text, new RegExp(`^typedef int t${deep};\n\ntypedef t${deep} t${deep - 1};\n`))
    const structs = dump([...many(1, deep, (id, next) => B.struct(`s${id}`, 4, [["m", next, 0]])), int])
    assert.match(structs.text, new RegExp(`^struct s${deep} \\{\n\tint m;\n\\};\n\nstruct s${deep - 1} `))
    assert.deepStrictEqual([...typedefs.problems, ...structs.problems], [])
  })
})

describe("repetition", () => {
  it("of anonymous structs that are in one another twice ends with an error", () => {
    const types = [
      B.struct("top", 4, [["a", 2, 0], ["b", 2, 0]]),
      ...many(2, 60, (_, next) => B.union("", 4, [["a", next, 0], ["b", next, 0]])),
      int
    ]
    const dumped = dump(types)
    assert.deepStrictEqual(reasons(dumped), ["TooComplex"])
  })

  it("of prototypes that take each other twice ends with an error", () => {
    const types = [
      B.struct("top", 8, [["m", 2, 0]]),
      ...many(2, 120, (id, next) => id % 2 === 0 ? B.ptr(next) : B.funcProto(0, [["a", next], ["b", next]])),
      int
    ]
    assert.deepStrictEqual(reasons(dump(types)), ["TooComplex"])
    assert.strictEqual(B.expectFailure(BtfDump.typeDeclaration(B.btfOf(types), 2, "m")).reason, "TooComplex")
  })

  it("passes the limit that is given, and no other", () => {
    const btf = B.btfOf([
      int,
      B.struct("s", 400, Array.from({ length: 100 }, (_, at) => [`m${at}`, 1, at * 32] as const))
    ])
    const whole = dumpOf(btf)
    const size = new TextEncoder().encode(whole.text).length
    assert.deepStrictEqual(dumpOf(btf, { limit: size }), whole)
    assert.deepStrictEqual(dumpOf(btf, { limit: size - 1 }).problems.map(({ reason }) => reason), ["TooComplex"])
    const raw = BtfDump.collect(BtfDump.toRaw(btf, { limit: 100 }))
    assert.deepStrictEqual(raw.problems.map(({ reason }) => reason), ["TooComplex"])
  })

  it("of a dump that is at its limit stays refused", () => {
    const dumper = BtfDump.makeDumper(B.btfOf([B.struct("s", 0, []), B.struct("t", 0, [])]), { limit: 4 })
    for (const id of [1, 2, 1]) assert.strictEqual(B.expectFailure(BtfDump.dumpType(dumper, id)).reason, "TooComplex")
  })
})

describe("size", () => {
  it("of a hole that would take millions of lines is refused, and the rest is dumped", () => {
    const dumped = dump([int, B.struct("huge", 0xffff_fff0, []), B.struct("s", 4, [["n", 1, 0]])])
    assert.strictEqual(dumped.text, "struct s {\n\tint n;\n};\n\n")
    assert.deepStrictEqual(dumped.problems.map(({ reason, typeId }) => ({ reason, typeId })), [
      { reason: "TooLarge", typeId: 2 }
    ])
  })

  it("of a large struct is no trouble", () => {
    const members = Array.from({ length: 100_000 }, (_, at) => [`m${at}`, 1, at * 32] as const)
    const dumped = dump([int, B.struct("s", 400_000, members)])
    assert.strictEqual(dumped.text.split("\n").length, 100_004)
  })

  it("does not make the work grow with its square", () => {
    // Long chains that many types end in: each must be walked once, not once per type.
    const count = 50_000
    const types = [
      ...many(1, count, (_, next) => B.constant(next)),
      B.struct("end", 4, [["n", count + 2, 0]]),
      int,
      ...many(count + 3, count, () => B.ptr(1))
    ]
    const start = cpuTime()
    const dumped = dump(types)
    assert.deepStrictEqual(dumped.problems, [])
    assertQuick(cpuTime() - start, 10_000)
  })
})

describe("what C cannot say", () => {
  it("is reported once per type, and the rest is dumped", () => {
    const layout = [...B.canonicalLayout, [4, 0] as const]
    const types = [
      int,
      { name: "new", kind: 20, word: 7, rest: [1] },
      B.struct("s", 4, [["m", 2, 0]]),
      B.struct("v", 4, [["m", 5, 0]]),
      B.variable("v", 1, 1),
      B.typedef("t", 1)
    ]
    const dumped = dumpOf(B.btfOf(types, { layout }))
    assert.strictEqual(dumped.text, "typedef int t;\n\n")
    assert.deepStrictEqual(dumped.problems.map(({ reason, typeId }) => ({ reason, typeId })), [
      { reason: "UnknownKind", typeId: 2 },
      { reason: "UnknownKind", typeId: 3 },
      { reason: "WrongKind", typeId: 4 }
    ])
  })

  it("leaves no half of a definition", () => {
    const dumped = dump([int, B.struct("s", 8, [["a", 1, 0], ["v", 3, 32]]), B.variable("v", 1, 1)])
    assert.strictEqual(dumped.text, "")
    assert.deepStrictEqual(reasons(dumped), ["WrongKind"])
  })
})
