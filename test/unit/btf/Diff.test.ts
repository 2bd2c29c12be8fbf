import { assert, describe, it } from "@effect/vitest"
import * as BtfDiff from "../../../src/btf/BtfDiff.ts"
import { matches } from "../../../src/internal/Glob.ts"
import { withoutQualifiers } from "../../../src/btf/diff/Members.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import type { MemberRec, Rec } from "../../support/arbitrary/BtfBlob.ts"
import { assertQuick, cpuTime } from "../../support/CpuTime.ts"

const int = B.int("int", 4, 1)
const long = B.int("long", 8, 1)

const diff = (
  before: ReadonlyArray<Rec>,
  after: ReadonlyArray<Rec>,
  options?: BtfDiff.DiffOptions
): BtfDiff.Difference => BtfDiff.diff(B.btfOf(before), B.btfOf(after), options)

/** The difference of one struct `s` of members, beside `int` (1), `long` (2) and a pointer to `int` (3). */
const members = (
  before: ReadonlyArray<MemberRec>,
  after: ReadonlyArray<MemberRec>,
  size = 64,
  more: ReadonlyArray<Rec> = []
): BtfDiff.Difference => {
  const types = (list: ReadonlyArray<MemberRec>) => [int, long, B.ptr(1), ...more, B.struct("s", size, list)]
  return diff(types(before), types(after))
}

/** The changes of the only type that has some. */
const changes = (difference: BtfDiff.Difference): ReadonlyArray<BtfDiff.Change> => {
  assert.lengthOf(difference.changed, 1)
  return difference.changed[0]?.changes ?? []
}

const breaks = (difference: BtfDiff.Difference): ReadonlyArray<string> =>
  difference.changed.flatMap((change) =>
    change.breaks.map(({ now, path, why }) => now === undefined ? `${path} ${why}` : `${path} ${why} ${now}`)
  )

/** Paths of changed members with what has changed. */
const changed = (difference: BtfDiff.Difference): ReadonlyArray<string> =>
  changes(difference).map((change) =>
    change._tag === "MemberChanged"
      ? `${change.path} ${change.what.join(" ")}${change.path === change.newPath ? "" : ` ${change.newPath}`}`
      : change._tag === "MemberAdded"
      ? `+${change.path}`
      : change._tag === "MemberRemoved"
      ? `-${change.path}`
      : change._tag
  )

describe("members", () => {
  it("are added, removed and moved", () => {
    const difference = members([["a", 1, 0], ["b", 1, 32], ["c", 1, 64]], [["a", 1, 0], ["c", 1, 32], ["d", 2, 64]])
    assert.deepStrictEqual(changed(difference), ["-b", "c moved", "+d"])
    assert.deepStrictEqual(breaks(difference), ["s.b removed"])
  })

  it("are renamed where the same type stands at the same place", () => {
    const difference = members([["a", 1, 0], ["b", 1, 32], ["c", 1, 64]], [["a", 1, 0], ["x", 1, 32], ["c", 1, 64]])
    assert.deepStrictEqual(changed(difference), ["b renamed x"])
    assert.deepStrictEqual(breaks(difference), ["s.b renamed s.x"])
  })

  it("as task_struct.state became __state, of another type", () => {
    const difference = members([["info", 2, 0], ["state", 2, 64], ["stack", 3, 128]], [
      ["info", 2, 0],
      ["__state", 1, 64],
      ["stack", 3, 128]
    ])
    assert.deepStrictEqual(changed(difference), ["state renamed retyped resized __state"])
    assert.deepStrictEqual(breaks(difference), ["s.state renamed s.__state"])
  })

  it("are not renamed into something that has nothing to do with them", () => {
    const difference = members([["a", 1, 0], ["b", 1, 32]], [["a", 1, 0], ["other", 3, 64]])
    assert.deepStrictEqual(changed(difference), ["-b", "+other"])
  })

  it("are retyped, requalified and resized", () => {
    const more = [B.constant(1), B.typeTag("rcu", 1), B.ptr(5)]
    const difference = members(
      [["a", 1, 0], ["b", 1, 64], ["c", 3, 128], ["d", 1, 192, 3]],
      [["a", 2, 0], ["b", 4, 64], ["c", 6, 128], ["d", 1, 192, 4]],
      64,
      more
    )
    assert.deepStrictEqual(changed(difference), ["a retyped resized", "b requalified", "c requalified", "d resized"])
    assert.deepStrictEqual(breaks(difference), ["s.a retyped long"])
  })

  it("that go into an anonymous union are still reached as before", () => {
    const before = [int, B.struct("s", 8, [["a", 1, 0], ["b", 1, 32]])]
    const after = [int, B.union("", 4, [["a", 1, 0], ["z", 1, 0]]), B.struct("s", 8, [["", 2, 0], ["b", 1, 32]])]
    const difference = diff(before, after)
    assert.deepStrictEqual(changed(difference), ["a regrouped", "+z"])
    assert.deepStrictEqual(breaks(difference), [])
  })

  it("of types without a name are compared one by one, arrays of them too", () => {
    const types = (inner: string, bit: number) => [
      int,
      B.struct("", 8, [[inner, 1, bit], ["kept", 1, 32 - bit]]),
      B.array(2, 1, 4),
      B.struct("s", 40, [["one", 2, 0], ["list", 3, 64]])
    ]
    const difference = diff(types("x", 0), types("y", 0))
    assert.deepStrictEqual(changed(difference), ["one.x renamed one.y", "list[].x renamed list[].y"])
    assert.deepStrictEqual(breaks(difference), ["s.one.x renamed s.one.y", "s.list[].x renamed s.list[].y"])
    assert.deepStrictEqual(changed(diff(types("x", 0), types("x", 32))), [
      "one.x moved",
      "one.kept moved",
      "list[].x moved",
      "list[].kept moved"
    ])
  })

  it("of what has moved as a whole have not moved", () => {
    const types = (bit: number) => [int, B.struct("", 4, [["x", 1, 0]]), B.struct("s", 16, [["one", 2, bit]])]
    assert.deepStrictEqual(changed(diff(types(0), types(32))), ["one moved"])
  })

  it("of a typedef's struct are compared like a struct's", () => {
    const types = (name: string) => [int, B.struct("", 4, [[name, 1, 0]]), B.typedef("t", 2)]
    assert.deepStrictEqual(breaks(diff(types("counter"), types("value"))), ["t.counter renamed t.value"])
  })

  it("break the types around them, as far as there are paths", () => {
    const types = (name: string) => [
      int,
      B.struct("inner", 4, [[name, 1, 0]]),
      B.typedef("inner_t", 2),
      B.array(3, 1, 2),
      B.struct("outer", 8, [["list", 4, 0]]),
      B.union("", 8, [["o", 5, 0]]),
      B.struct("outermost", 8, [["", 6, 0]]),
      B.struct("apart", 8, [["p", 9, 0]]),
      B.ptr(2)
    ]
    const difference = diff(types("x"), types("y"))
    assert.deepStrictEqual(difference.changed.map((change) => change.embeddedIn), [[
      "outer.list[]",
      "outermost.o.list[]"
    ]])
  })

  it("of a struct are the same whichever form their offsets have", () => {
    const plain = B.struct("s", 8, [["a", 1, 0], ["b", 1, 32]])
    assert.deepStrictEqual(diff([int, plain], [int, { ...plain, kflag: true }]).changed, [])
  })
})

describe("types", () => {
  it("are added, removed, declared and defined", () => {
    const difference = diff(
      [int, B.fwd("a", false), B.struct("b", 4, []), B.struct("c", 4, []), B.typedef("c", 1)],
      [int, B.struct("a", 4, []), B.fwd("b", false), B.union("c", 4, []), B.typedef("c", 1)]
    )
    assert.deepStrictEqual(difference.changed.map(({ before, changes }) => [before.name, changes[0]?._tag]), [
      ["a", "Defined"],
      ["b", "Undefined"]
    ])
    assert.deepStrictEqual(difference.removed, [{ kind: "struct", name: "c", id: 4 }])
    assert.deepStrictEqual(difference.added, [{ kind: "union", name: "c", id: 4 }])
    assert.deepStrictEqual(difference.compared, { before: 5, after: 5, same: 2 })
  })

  it("that a struct points to do not change it", () => {
    const types = (size: number) => [int, B.struct("a", size, []), B.ptr(2), B.struct("b", 8, [["p", 3, 0]])]
    assert.deepStrictEqual(changed(diff(types(4), types(8))), ["Resized"])
  })

  it("of one name belong together by structure, or are ambiguous", () => {
    const one = B.struct("s", 4, [["a", 1, 0]])
    const two = B.struct("s", 8, [["b", 1, 0], ["c", 1, 32]])
    const three = B.struct("s", 8, [["b", 1, 0], ["d", 1, 32]])
    assert.deepStrictEqual(diff([int, one, two], [int, two, one]).changed, [])
    const last = diff([int, one, two], [int, three, one])
    assert.deepStrictEqual(changed(last), ["c renamed d"])
    assert.deepStrictEqual(last.changed.map(({ after, before }) => [before.id, after.id]), [[3, 2]])
    const [x, y] = [B.struct("s", 4, [["b", 1, 0]]), B.struct("s", 12, [["b", 1, 0]])]
    const unclear = diff([int, two, three], [int, x, y])
    assert.deepStrictEqual(unclear.ambiguous, [{ kind: "struct", name: "s", before: [2, 3], after: [2, 3] }])
    assert.deepStrictEqual([unclear.added, unclear.removed, unclear.changed], [[], [], []])
  })

  it("of integers, floats, typedefs, variables and sections say what changed", () => {
    const difference = diff(
      [int, B.int("u", 4), B.float("f", 4), B.typedef("t", 1), B.variable("v", 1, 0), B.datasec(".d", 4, [[5, 0, 4]])],
      [
        int,
        B.int("u", 8, 2),
        B.float("f", 8),
        B.typedef("t", 2),
        B.variable("v", 2, 1),
        B.datasec(".d", 8, [[5, 0, 8]])
      ]
    )
    assert.deepStrictEqual(
      difference.changed.map(({ before, changes }) => `${before.kind} ${changes.map(({ _tag }) => _tag).join(" ")}`),
      ["typedef Retyped", "var Retyped Resized Linkage", "int Resized Encoding", "float Resized", "datasec Resized"]
    )
  })

  it("take part where their name and kind are asked for", () => {
    const before = [int, B.struct("task_a", 4, []), B.typedef("task_b", 1), B.struct("file", 4, [])]
    const names = (options: BtfDiff.DiffOptions) => diff(before, [int], options).removed.map(({ name }) => name)
    assert.deepStrictEqual(names({}), ["file", "task_a", "task_b"])
    assert.deepStrictEqual(names({ filter: "task_?" }), ["task_a", "task_b"])
    assert.deepStrictEqual(names({ filter: "task_a" }), ["task_a"])
    assert.deepStrictEqual(names({ filter: "task*", kinds: ["typedef"] }), ["task_b"])
    assert.deepStrictEqual(names({ filter: "" }), [])
  })

  it("of a split blob are those that it holds itself", () => {
    const base = B.btfOf([int, B.struct("a", 4, [["x", 1, 0]])])
    const before = B.btfOf([B.struct("b", 4, [["x", 2, 0]])], { base })
    const after = B.btfOf([B.struct("b", 8, [["x", 2, 0]])], { base })
    assert.deepStrictEqual(changed(BtfDiff.diff(before, after)), ["Resized"])
    assert.deepStrictEqual(BtfDiff.diff(before, after).compared, { before: 1, after: 1, same: 0 })
  })
})

describe("enums", () => {
  const enumeration = (name: string, values: ReadonlyArray<readonly [string, number]>, signed = false) => [
    B.enumeration(name, 4, signed, values)
  ]

  it("are renumbered, renamed, and get and lose values", () => {
    const difference = diff(
      enumeration("e", [["A", 0], ["B", 1], ["C", 2], ["D", 3]]),
      enumeration("e", [["A", 0], ["C", 1], ["D_NEW", 3], ["E", 4]])
    )
    assert.deepStrictEqual(changes(difference), [
      { _tag: "ValueRemoved", name: "B", before: 1n },
      { _tag: "ValueChanged", name: "C", before: 2n, after: 1n },
      { _tag: "ValueRenamed", name: "D", newName: "D_NEW", value: 3n },
      { _tag: "ValueAdded", name: "E", after: 4n }
    ])
    assert.deepStrictEqual(breaks(difference), ["e.B removed", "e.D renamed e.D_NEW"])
  })

  it("are compared by value where one has become one of 64 bits", () => {
    const wide = [B.enum64("e", 8, true, [["A", -1n]])]
    assert.deepStrictEqual(changes(diff(enumeration("e", [["A", 0xffff_ffff]]), wide)), [
      { _tag: "Resized", before: 4, after: 8 },
      { _tag: "Signedness", before: false, after: true },
      { _tag: "ValueChanged", name: "A", before: 4294967295n, after: -1n }
    ])
  })

  it("without a name belong together by an enumerator, and a value may go to another enum", () => {
    const before = [...enumeration("", [["A", 0], ["B", 1]]), ...enumeration("", [["X", 0]])]
    const after = [...enumeration("", [["Z", 7]]), ...enumeration("named", [["B", 1]]), ...enumeration("", [["A", 5]])]
    const difference = diff(before, after)
    assert.deepStrictEqual(difference.changed.map(({ after, before }) => [before.first, before.id, after.id]), [
      ["A", 1, 3]
    ])
    assert.deepStrictEqual(breaks(difference), [])
    assert.deepStrictEqual(difference.removed.map(({ first }) => first), ["X"])
    assert.deepStrictEqual(difference.added.map(({ first, name }) => `${name} ${first ?? ""}`), [" Z", "named "])
  })
})

describe("functions", () => {
  const func = (
    returns: number,
    params: ReadonlyArray<readonly [string, number]>,
    linkage = 0,
    tags: ReadonlyArray<Rec> = []
  ) => [int, long, B.funcProto(returns, params), B.func("f", 3, linkage), ...tags]

  it("get, lose, move and change parameters", () => {
    const difference = diff(
      func(1, [["a", 1], ["b", 1], ["c", 1]]),
      func(2, [["b", 2], ["n", 1], ["c", 1], ["", 0]], 1)
    )
    assert.deepStrictEqual(
      changes(difference).map((change) => {
        switch (change._tag) {
          case "ParamAdded":
            return `+${change.after.index} ${change.after.type}`
          case "ParamRemoved":
            return `-${change.before.index}`
          case "ParamChanged":
            return `${change.before.index} ${change.what.join(" ")} ${change.after.index}`
          default:
            return change._tag
        }
      }),
      ["Linkage", "ReturnRetyped", "-0", "1 moved retyped 0", "+1 int", "+3 ..."]
    )
  })

  it("have parameters renamed in their place", () => {
    assert.deepStrictEqual(changes(diff(func(0, [["a", 1]]), func(0, [["b", 1]]))), [{
      _tag: "ParamChanged",
      what: ["renamed"],
      before: { index: 0, name: "a", type: "int" },
      after: { index: 0, name: "b", type: "int" }
    }])
  })

  it("get and lose tags", () => {
    const difference = diff(
      func(0, [["a", 1]], 0, [B.declTag("old", 4, 0)]),
      func(0, [["a", 1]], 0, [B.declTag("bpf_kfunc", 4, -1)])
    )
    assert.deepStrictEqual(changes(difference), [
      { _tag: "TagRemoved", tag: "old", component: 0 },
      { _tag: "TagAdded", tag: "bpf_kfunc", component: -1 }
    ])
  })
})

describe("text", () => {
  it("has a line for each change, and one for members that moved together", () => {
    const difference = diff(
      [int, B.struct("s", 16, [["a", 1, 0], ["b", 1, 32], ["c", 1, 64], ["d", 1, 96]]), B.typedef("gone", 1)],
      [
        int,
        B.struct("s", 20, [["a", 1, 0], ["n", 1, 32], ["b", 1, 64], ["c", 1, 96], ["e", 1, 128]]),
        B.enumeration("", 4, false, [["A", 1]])
      ]
    )
    assert.strictEqual(
      BtfDiff.render(difference, { names: ["6.1", "6.12"] }),
      [
        "--- 6.1: 3 types",
        "+++ 6.12: 3 types",
        "1 same, 1 changed, 1 removed, 1 added",
        "- typedef gone",
        "+ enum { A, … }",
        "! struct s",
        "    size 16 → 20",
        "    ! d → e renamed, moved: int at 12, 4 bytes → int at 16, 4 bytes",
        "    + n: int at 4, 4 bytes",
        "    > 2 members moved by +4: b, c",
        "    breaks s.d: now s.e",
        ""
      ].join("\n")
    )
  })

  it("is empty of types where there is no difference", () => {
    assert.strictEqual(
      BtfDiff.render(diff([int], [int])),
      "--- before: 1 types\n+++ after: 1 types\n1 same, 0 changed, 0 removed, 0 added\n"
    )
  })
})

describe("patterns", () => {
  it("match whole names, and a star any text", () => {
    const cases: ReadonlyArray<readonly [string, string, boolean]> = [
      ["task_struct", "task_struct", true],
      ["task_struct", "task_struct_x", false],
      ["*", "", true],
      ["*", "a", true],
      ["", "", true],
      ["", "a", false],
      ["a*c", "abc", true],
      ["a*c", "ac", true],
      ["a*c", "abcd", false],
      ["a*b*c", "a__b__b_c", true],
      ["?", "", false],
      ["a?", "ab", true],
      ["**a", "bba", true],
      ["[ab]", "a", false],
      ["[ab]", "[ab]", true]
    ]
    for (const [pattern, text, expected] of cases) assert.strictEqual(matches(pattern, text), expected, pattern)
  })

  it("of many stars take no exponential time", () => {
    const start = cpuTime()
    assert.isFalse(matches("*a".repeat(50) + "b", "a".repeat(5000)))
    assertQuick(cpuTime() - start, 2000)
  })
})

describe("qualifiers", () => {
  it("are what may differ without a break", () => {
    assert.strictEqual(withoutQualifiers("const struct x *const"), "struct x *")
    assert.strictEqual(withoutQualifiers("struct __attribute__((btf_type_tag(\"rcu\"))) x *"), "struct x *")
    assert.strictEqual(withoutQualifiers("const_t"), "const_t")
    assert.strictEqual(withoutQualifiers("volatile int[4]"), "int[4]")
  })
})
