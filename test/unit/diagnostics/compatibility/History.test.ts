/** What became of fields and other things over kernels made by hand. */
import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as BtfDiff from "../../../../src/btf/BtfDiff.ts"
import * as Compatibility from "../../../../src/diagnostics/Compatibility.ts"
import * as Encode from "../../../../src/insn/Encode.ts"
import { BPF_W } from "../../../../src/insn/InsnConstants.ts"
import * as B from "../../../support/arbitrary/BtfBlob.ts"
import { kernel, kernelOf, prepared, split } from "../../../support/CheckKernels.ts"
import { objectFile, type RecordSpec } from "../../stages/relocate/core/Records.ts"
import { opened } from "../../stages/Pipeline.ts"

/** The object's types: a struct in a struct, an enum, a flavor. */
const types: ReadonlyArray<B.Rec> = [
  B.int("int", 4, 1), // 1
  B.struct("inner", 8, [["one", 1, 0], ["two", 1, 32]]), // 2
  B.struct("outer", 16, [["field", 1, 0], ["part", 2, 64]]), // 3
  B.enumeration("color", 4, false, [["RED", 0], ["GREEN", 1]]), // 4
  B.struct("outer___old", 4, [["field", 1, 0]]) // 5
]

const record = (type: number, access: string, kind: RecordSpec["kind"] = "field_exists"): RecordSpec => ({
  insn: kind === "enumval_value" ? Encode.ldImm64(0, 1n) : Encode.mov64Imm(0, kind === "type_size" ? 16 : 1),
  type,
  access,
  kind
})

/** The histories of one object over kernels, with other names looked for; and the columns. */
const over = (
  records: ReadonlyArray<RecordSpec>,
  kernels: ReadonlyArray<Compatibility.Target | undefined>
): ReadonlyArray<Compatibility.History> => {
  const object = prepared(objectFile(types, records))
  const columns = kernels.map((target) => {
    if (target === undefined) return undefined
    const places: Compatibility.Places = new Map()
    Compatibility.check(object, target, places)
    return places
  })
  const names = new Map(
    Compatibility.questions(columns).flatMap(({ having, references, without }) =>
      references.flatMap((reference) => {
        const [one, other] = [kernels[having], kernels[without]]
        const name = one === undefined || other === undefined
          ? undefined
          : Compatibility.nameIn(one.types, other.types, reference)
        return name === undefined ? [] : [[Compatibility.questionKey(having, without, reference), name] as const]
      })
    )
  )
  return Compatibility.histories(columns, names)
}

const showPlace = (place: Compatibility.Place): string =>
  place._tag === "Present"
    ? [place.type, place.bitOffset, place.size, place.value, place.module].filter((part) => part !== undefined).join(
      " "
    )
    : place._tag === "Absent"
    ? `-${place.reason}`
    : `?${place.reason}`

/** A history in one line per run and per change. */
const show = ({ changes, reference, runs }: Compatibility.History): ReadonlyArray<string> => [
  `${reference.what} ${reference.path}`,
  ...runs.map(({ from, place, to }) => `${from}-${to}: ${showPlace(place)}`),
  ...changes.map(({ after, before, kinds, name }) =>
    `${before}>${after}: ${kinds.join(" ")}${name === undefined ? "" : ` ${name}`}`
  )
]

const int = B.int("int", 4, 1)

/** A kernel with `struct outer` of these members; type 1 is `int`, 2 `unsigned int`, 3 `struct inner`. */
const outer = (members: ReadonlyArray<readonly [string, number, number, number?]>, more: ReadonlyArray<B.Rec> = []) =>
  kernel([
    int,
    B.int("unsigned int", 4),
    B.struct("inner", 8, [["one", 1, 0], ["two", 1, 32]]),
    B.struct("outer", 32, members),
    ...more
  ], [])

describe("a field", () => {
  const field = [record(3, "0:0")]

  it("that stays is one run over all kernels", () => {
    const same = outer([["field", 1, 0]])
    assert.deepStrictEqual(over(field, [same, same, same]).map(show), [["field struct outer.field", "0-2: int 0"]])
  })

  it("moves, changes its type, goes and comes", () => {
    const gone = outer([["other", 3, 64]])
    const histories = over(field, [
      outer([["field", 1, 0]]),
      outer([["field", 1, 32]]),
      outer([["field", 2, 32]]),
      gone,
      gone,
      outer([["field", 2, 32]])
    ])
    assert.deepStrictEqual(histories.map(show), [[
      "field struct outer.field",
      "0-0: int 0",
      "1-1: int 32",
      "2-2: unsigned int 32",
      "3-4: -NoMember",
      "5-5: unsigned int 32",
      "0>1: moved",
      "1>2: retyped",
      "2>3: gone",
      "4>5: appeared"
    ]])
    assert.isTrue(histories.every(Compatibility.isLacking))
  })

  it("gets another name, in either direction", () => {
    const before = outer([["first", 2, 0], ["field", 1, 32], ["last", 3, 64]])
    const after = outer([["first", 2, 0], ["__field", 1, 32], ["last", 3, 64]])
    assert.deepStrictEqual(over(field, [before, after, before]).map(show), [[
      "field struct outer.field",
      "0-0: int 32",
      "1-1: -NoMember",
      "2-2: int 32",
      "0>1: renamed struct outer.__field",
      "1>2: renamed struct outer.__field"
    ]])
  })

  it("gets another name inside of another struct, and takes what is behind it along", () => {
    const within = (name: string) =>
      kernel([
        int,
        B.struct("inner", 8, [["one", 1, 0], [name, 1, 32]]),
        B.struct("outer", 16, [["field", 1, 0], ["part", 2, 64]])
      ], [])
    assert.deepStrictEqual(
      over([record(3, "0:1:1")], [within("two"), within("_two")]).map(show)[0]?.at(-1),
      "0>1: renamed struct outer.part._two"
    )
    const part = (name: string) => outer([["field", 1, 0], [name, 3, 64]])
    assert.deepStrictEqual(
      over([record(3, "0:1:1")], [part("part"), part("part_")]).map(show)[0]?.at(-1),
      "0>1: renamed struct outer.part_.two"
    )
  })

  it("is of another kind of type: changed, not gone", () => {
    const histories = over(field, [outer([["field", 1, 0]]), outer([["field", 3, 0]])])
    assert.deepStrictEqual(histories.map(show), [[
      "field struct outer.field",
      "0-0: int 0",
      "1-1: -IncompatibleMember",
      "0>1: retyped"
    ]])
  })

  it("of a flavor and of the type itself is one field", () => {
    const histories = over([record(3, "0:0"), record(5, "0:0")], [outer([["field", 1, 0]])])
    assert.deepStrictEqual(histories.map(show), [["field struct outer.field", "0-0: int 0"]])
  })

  it("is skipped where a kernel cannot be read, and compared with the next that can", () => {
    const histories = over(field, [outer([["field", 1, 0]]), undefined, outer([["field", 1, 32]])])
    assert.deepStrictEqual(histories.map(show), [[
      "field struct outer.field",
      "0-0: int 0",
      "2-2: int 32",
      "0>2: moved"
    ]])
  })

  it("moves to a module", () => {
    const empty = B.btfOf([int])
    const module = split(empty, [B.struct("outer", 4, [["field", 1, 0]])])
    const histories = over(field, [outer([["field", 1, 0]]), kernelOf(empty, [["m", module]])])
    assert.deepStrictEqual(histories.map(show)[0]?.slice(1), ["0-0: int 0", "1-1: int 0 m", "0>1: elsewhere"])
  })

  it("that two types of a name contradict each other about is unclear", () => {
    const two = kernel([int, B.struct("outer", 8, [["field", 1, 0]]), B.struct("outer", 8, [["field", 1, 32]])], [])
    assert.deepStrictEqual(over(field, [two]).map(show), [["field struct outer.field", "0-0: ?Ambiguous"]])
  })
})

describe("others", () => {
  it("enumerators get another value, another name", () => {
    const colors = (...values: ReadonlyArray<readonly [string, number]>) =>
      kernel([B.enumeration("color", 4, false, values)], [])
    const histories = over([record(4, "1", "enumval_value"), record(4, "1", "enumval_exists")], [
      colors(["RED", 0], ["GREEN", 1]),
      colors(["RED", 0], ["BLUE", 1], ["GREEN", 2]),
      colors(["RED", 0], ["BLUE", 1], ["COLOR_GREEN", 2])
    ])
    assert.deepStrictEqual(histories.map(show), [[
      "enumerator enum color::GREEN",
      "0-0: 1",
      "1-1: 2",
      "2-2: -NoEnumerator",
      "0>1: renumbered",
      "1>2: renamed enum color::COLOR_GREEN"
    ]])
  })

  it("types get another size, and shapes differ", () => {
    const histories = over([record(3, "0", "type_size"), record(3, "0", "type_matches")], [
      kernel(types.slice(0, 4), []),
      outer([["field", 1, 0]]),
      kernel([int], [])
    ])
    assert.deepStrictEqual(histories.map(show), [
      ["type struct outer", "0-0: 16", "1-1: 32", "2-2: -NoType", "0>1: resized", "1>2: gone"],
      ["shape struct outer", "0-0: 16", "1-1: -DifferentType", "2-2: -NoType", "0>1: gone"]
    ])
  })

  it("functions get another prototype", () => {
    const columns = [
      [B.funcProto(0, []), B.func("bpf_rcu_read_lock", 1, 0)],
      [int, B.funcProto(0, [["flags", 1]]), B.func("bpf_rcu_read_lock", 2, 0)]
    ].map((each) => {
      const places: Compatibility.Places = new Map()
      Compatibility.check(Compatibility.prepare(opened("ksyms.bpf.o")), kernel(each, []), places)
      return places
    })
    const lock = Compatibility.histories(columns).find(({ reference }) => reference.path === "bpf_rcu_read_lock")
    assert.deepStrictEqual(lock?.runs.map(({ place }) => showPlace(place)), [
      "void bpf_rcu_read_lock(void)",
      "void bpf_rcu_read_lock(int flags)"
    ])
    assert.deepStrictEqual(lock?.changes.map(({ kinds }) => kinds), [["retyped"]])
  })
})

describe("nameIn", () => {
  const field = (path: string): Compatibility.Reference => ({ what: "field", path })
  const one = B.btfOf([int, B.struct("s", 8, [["a", 1, 0], ["b", 1, 32]]), B.fwd("t", false)])
  const other = B.btfOf([int, B.struct("s", 8, [["a", 1, 0], ["_b", 1, 32]])])

  it("has no answer where there is nothing to compare", () => {
    assert.strictEqual(Compatibility.nameIn(one, other, field("struct s.b")), "struct s._b")
    for (
      const path of [
        "struct s.a",
        "struct s.c",
        "struct t.x",
        "struct u.x",
        "s_t.b",
        "struct s",
        "",
        "struct s.b[1]",
        "struct s.a.b",
        ".b",
        "struct .b"
      ]
    ) {
      assert.isUndefined(Compatibility.nameIn(one, other, field(path)), path)
    }
    assert.isUndefined(Compatibility.nameIn(one, other, { what: "function", path: "f" }))
    assert.isUndefined(Compatibility.nameIn(one, other, { what: "enumerator", path: "enum e::X" }))
  })

  it("ends on types that contain themselves", () => {
    // struct s { struct { …itself… }; int b; }
    const ring = (name: string) => B.btfOf([int, B.struct("s", 8, [["", 2, 0], [name, 1, 32]])])
    const found = Compatibility.nameIn(ring("b"), ring("_b"), field("struct s.b"))
    assert.isTrue(found === undefined || found === "struct s._b")
  })
})

describe("BtfDiff.changes", () => {
  it("compares two types by their ids, whatever they are called", () => {
    const one = B.btfOf([int, B.struct("s", 8, [["a", 1, 0]])])
    const other = B.btfOf([int, B.struct("renamed", 8, [["a", 1, 32]])])
    assert.deepStrictEqual(BtfDiff.changes(one, 2, other, 2).map((change) => change._tag), ["MemberChanged"])
    assert.deepStrictEqual(BtfDiff.changes(one, 2, other, 1), [])
    assert.strictEqual(Btf.kindOf(one, 2), Btf.BTF_KIND_STRUCT)
  })
})

describe("named fault", () => {
  it("a history without the answers of kernels does not know other names", () => {
    const before = outer([["field", 1, 32], ["last", 3, 64]])
    const after = outer([["__field", 1, 32], ["last", 3, 64]])
    const object = prepared(
      objectFile(types, [{ insn: Encode.ldx(BPF_W, 0, 1, 0), type: 3, access: "0:0", kind: "byte_off" }])
    )
    const columns = [before, after].map((target) => {
      const places: Compatibility.Places = new Map()
      Compatibility.check(object, target, places)
      return places
    })
    assert.deepStrictEqual(Compatibility.histories(columns)[0]?.changes.map(({ kinds }) => kinds), [["gone"]])
  })
})
