/**
 * The edges of CO-RE's rules, one small object and kernel each: what becomes of the instructions by our engine, and by
 * libbpf where that is something else on purpose. Source: reference page `core-relo`, by its sections.
 */
import * as Encode from "../../src/insn/Encode.ts"
import { BPF_ADD, BPF_B, BPF_DW, BPF_H, BPF_LSH, BPF_RSH, BPF_W } from "../../src/insn/InsnConstants.ts"
import type * as Core from "../../src/stages/relocate/core/Core.ts"
import { type RecordSpec, show } from "../unit/stages/relocate/core/Records.ts"
import * as B from "./arbitrary/BtfBlob.ts"

/** Instructions in hexadecimal, or why there are none. */
type Answer = { readonly insns: string } | { readonly error: Core.CoreErrorReason }

/** One object, one kernel, and what becomes of the object's instructions. */
export interface Edge {
  readonly name: string
  readonly local: ReadonlyArray<B.Rec>
  readonly specs: ReadonlyArray<RecordSpec>
  readonly kernel: ReadonlyArray<B.Rec>
  readonly ours: Answer
  /** What libbpf makes of it where that is not the same: instructions, or that it refuses the object. */
  readonly libbpf?: { readonly insns: string } | "refused" | "crashes"
}

const POISON = Encode.raw(0x85, 0, 0, 0, 0xbad2310)

const answer = (...insns: ReadonlyArray<Uint8Array>): { readonly insns: string } => ({
  insns: show(Encode.program(...insns))
})

const mov = (value: number): Uint8Array => Encode.mov64Imm(1, value)
const ask = (insn: Uint8Array, kind: Core.CoreKind, type: number, access = "0:0"): RecordSpec => ({
  insn,
  type,
  access,
  kind
})

const int = B.int("int", 4, 1)
const u32 = B.int("unsigned int", 4)
const long = B.int("long", 8, 1)

/** `int` and a struct `s` of these members, which may be of type 1 and of those in `more`, from 2 on. */
const s = (members: ReadonlyArray<B.MemberRec>, ...more: ReadonlyArray<B.Rec>): ReadonlyArray<B.Rec> => [
  int,
  ...more,
  B.struct("s", 64, members)
]

const edge = (
  name: string,
  local: ReadonlyArray<B.Rec>,
  specs: RecordSpec | ReadonlyArray<RecordSpec>,
  kernel: ReadonlyArray<B.Rec>,
  ours: Answer,
  libbpf?: Edge["libbpf"]
): Edge => ({
  name,
  local,
  specs: "insn" in specs ? [specs] : specs,
  kernel,
  ours,
  ...(libbpf === undefined ? {} : { libbpf })
})

const x = (bit = 0): ReadonlyArray<B.Rec> => s([["x", 1, bit]])

/** Section 2: access strings, and where they lead in the object's own types. */
const accessStrings: ReadonlyArray<Edge> = [
  edge("of 64 numbers", nested(63), ask(mov(1), "field_exists", 65, zeros(64)), nested(63), answer(mov(1))),
  edge("of 65 numbers", nested(64), ask(mov(1), "field_exists", 66, zeros(65)), nested(64), { error: "TooDeep" }),
  ...["", ":", ":0", "0:", "0::0", "x", "0:x"].map((access) =>
    edge(`"${access}"`, x(), ask(mov(1), "field_exists", 2, access), x(), { error: "BadAccess" })
  ),
  ...[" 0:0", "0 0", "+0:0", "0: 0"].map((access) =>
    // scanf takes blanks and signs. No compiler writes them.
    edge(`"${access}"`, x(), ask(mov(1), "field_exists", 2, access), x(), { error: "BadAccess" }, answer(mov(1)))
  ),
  edge(`"-1:0"`, x(), ask(mov(1), "field_exists", 2, "-1:0"), x(), { error: "BadAccess" }, answer(mov(1))),
  edge(`"0:-1"`, x(), ask(mov(1), "field_exists", 2, "0:-1"), x(), { error: "BadAccess" }, "crashes"),
  ...["1", "0:0"].map((access) =>
    edge(`"${access}" of a type`, x(), ask(mov(1), "type_exists", 2, access), x(), { error: "BadAccess" })
  ),
  edge("of a member that is not there", x(), ask(mov(1), "field_exists", 2, "0:1"), x(), { error: "BadAccess" }),
  edge("into a number", x(), ask(mov(1), "field_exists", 2, "0:0:0"), x(), { error: "BadAccess" }),
  edge(
    "of a later element, by the size of each side",
    [int, B.struct("s", 12, [["x", 1, 32]])],
    ask(mov(28), "byte_off", 2, "2:0"),
    [int, B.struct("s", 20, [["x", 1, 64]])],
    answer(mov(48))
  ),
  edge(
    "through typedefs and qualifiers at every step",
    [int, B.constant(1), B.typedef("i", 2), B.struct("", 4, [["x", 3, 0]]), B.volatile(4), B.typedef("t", 5)],
    ask(mov(0), "byte_off", 6),
    [int, B.struct("inner", 8, [["x", 1, 32]]), B.typeTag("rcu", 2), B.constant(3), B.typedef("t", 4)],
    answer(mov(4))
  ),
  edge(
    "of an enumerator behind a typedef",
    [B.enumeration("", 4, false, [["A", 1], ["B", 2]]), B.typedef("e_t", 1)],
    ask(Encode.ldImm64(1, 2n), "enumval_value", 2, "1"),
    [B.enumeration("other", 4, false, [["B", 7]]), B.typedef("e_t", 1)],
    answer(Encode.ldImm64(1, 7n))
  ),
  ...["2", "0:0"].map((access) =>
    edge(
      `"${access}" of an enum of two`,
      [B.enumeration("e", 4, false, [["A", 1], ["B", 2]])],
      ask(mov(1), "enumval_exists", 1, access),
      [],
      { error: "BadAccess" }
    )
  ),
  edge("of an enumerator of a struct", x(), ask(mov(1), "enumval_exists", 2, "0"), x(), { error: "BadType" }),
  edge(
    "into a struct that is only declared",
    [B.fwd("s", false)],
    ask(mov(1), "field_exists", 1, "0"),
    [],
    { error: "NoSize" }
  ),
  edge(
    "of a dimension each, within its bounds",
    s([["a", 3, 0]], B.array(1, 1, 3), B.array(2, 1, 2)),
    ask(mov(20), "byte_off", 4, "0:0:1:2"),
    s([["a", 3, 64]], B.array(1, 1, 4), B.array(2, 1, 2)),
    answer(mov(32))
  ),
  edge(
    "past the inner dimension",
    s([["a", 3, 0]], B.array(1, 1, 3), B.array(2, 1, 2)),
    ask(mov(1), "field_exists", 4, "0:0:0:3"),
    [],
    { error: "BadAccess" }
  ),
  edge(
    "of any element of an array of none at the end",
    s([["x", 1, 0], ["a", 2, 32]], B.array(1, 1, 0)),
    ask(mov(40), "byte_off", 3, "0:1:9"),
    s([["x", 1, 0], ["y", 1, 32], ["a", 2, 64]], B.array(1, 1, 0)),
    answer(mov(44))
  ),
  edge(
    "of an array of none at the end of a struct without a name that others follow",
    s([["", 3, 0], ["y", 1, 64]], B.array(1, 1, 0), B.struct("", 4, [["a", 2, 0]])),
    ask(mov(1), "field_exists", 4, "0:0:0:5"),
    s([["a", 2, 0]], B.array(1, 1, 8)),
    answer(mov(1))
  ),
  edge(
    "of an array of none that is an element itself",
    s([["a", 3, 0]], B.array(1, 1, 0), B.array(2, 1, 2)),
    ask(mov(1), "field_exists", 4, "0:0:0:1"),
    [],
    { error: "BadAccess" }
  )
]

function zeros(count: number): string {
  return Array(count).fill("0").join(":")
}

/** `int` and so many structs named `s`, each the only member of the next. */
function nested(count: number): ReadonlyArray<B.Rec> {
  return [int, ...Array.from({ length: count + 1 }, (_, index) => B.struct("s", 4, [["a", index + 1, 0]]))]
}

/** Section 3: which types of the kernel are looked at. */
const candidates: ReadonlyArray<Edge> = [
  ...([
    ["a___b", "a", true],
    ["a___b___c", "a___b", false],
    ["a___b___c", "a___b___d", true],
    ["a____b", "a", false],
    ["a_____b", "a_", false],
    ["a___b_", "a", true],
    ["a___", "a", false],
    ["_a___b", "_a", true],
    ["____b", "_", false],
    ["x___y", "x___z", true]
  ] as const).map(([mine, theirs, found]) =>
    edge(
      `${mine} and ${theirs}`,
      [int, B.struct(mine, 4, [])],
      ask(mov(1), "type_exists", 2, "0"),
      [int, B.struct(theirs, 4, [])],
      answer(mov(found ? 1 : 0))
    )
  ),
  edge(
    "a typedef finds typedefs alone",
    [B.struct("s", 4, []), B.typedef("s", 1)],
    ask(mov(1), "type_exists", 2, "0"),
    [B.struct("s", 4, [])],
    answer(mov(0))
  ),
  edge(
    "a union finds no struct",
    [B.union("s", 4, [])],
    ask(mov(1), "type_exists", 1, "0"),
    [B.struct("s", 4, [])],
    answer(mov(0))
  ),
  edge(
    "an integer is found by its name",
    [B.int("word", 4)],
    ask(mov(4), "type_size", 1, "0"),
    [B.int("word", 8, 1)],
    answer(mov(8))
  ),
  edge(
    "a declaration finds a declaration",
    [B.fwd("f", false)],
    ask(mov(1), "type_exists", 1, "0"),
    [B.fwd("f", true)],
    answer(mov(1))
  ),
  edge(
    "a type without a name",
    [int, B.struct("", 4, [["x", 1, 0]])],
    ask(mov(1), "field_exists", 2),
    x(),
    { error: "BadType" }
  ),
  edge(
    "a type without a name has an id of its own",
    [int, B.struct("", 4, [["x", 1, 0]])],
    ask(Encode.ldImm64(1, 77n), "local_type_id", 2, "0"),
    [],
    answer(Encode.ldImm64(1, 2n))
  )
]

/** Section 4: the search in a candidate. */
const searches: ReadonlyArray<Edge> = [
  edge(
    "members are called exactly so, flavors included",
    s([["x___v2", 1, 0]]),
    ask(mov(1), "field_exists", 2),
    s([["x", 1, 0]]),
    answer(mov(0))
  ),
  edge(
    "enumerators are called so but for their flavor; the first counts",
    [B.enumeration("e", 4, false, [["A___mine", 1]])],
    ask(Encode.ldImm64(1, 1n), "enumval_value", 1, "0"),
    [B.enumeration("e", 4, false, [["B", 4], ["A___one", 5], ["A___two", 6]])],
    answer(Encode.ldImm64(1, 5n))
  ),
  edge(
    "a typedef of no enum has no enumerators",
    [B.enumeration("e", 4, false, [["A", 1]]), B.typedef("t", 1)],
    ask(mov(1), "enumval_exists", 2, "0"),
    [int, B.typedef("t", 1)],
    answer(mov(0))
  ),
  edge(
    "a typedef of no struct has no members",
    [int, B.struct("", 4, [["x", 1, 0]]), B.typedef("t", 2)],
    ask(mov(1), "field_exists", 3),
    [int, B.typedef("t", 1)],
    answer(mov(0))
  ),
  edge(
    "a typedef of no array has no elements",
    [int, B.array(1, 1, 4), B.typedef("t", 2)],
    ask(mov(1), "field_exists", 3, "0:2"),
    [int, B.typedef("t", 1)],
    answer(mov(0))
  ),
  edge(
    "structs and unions stand for each other inside",
    s([["in", 2, 0]], B.struct("a", 4, [["x", 1, 0]])),
    ask(mov(0), "byte_off", 3, "0:0:0"),
    s([["in", 2, 64]], B.union("b", 8, [["x", 1, 0]])),
    answer(mov(8))
  ),
  edge(
    "a member that does not fit ends the search in its struct",
    x(),
    ask(mov(0), "byte_off", 2),
    s([["x", 2, 0], ["", 3, 64]], B.ptr(1), B.struct("", 4, [["x", 1, 0]])),
    answer(POISON)
  ),
  edge(
    "and the one around goes on, from where it was",
    x(),
    ask(mov(0), "byte_off", 2),
    s([["", 3, 0], ["", 4, 128]], B.ptr(1), B.struct("", 16, [["", 6, 64]]), B.struct("", 4, [["x", 1, 32]])).concat(
      B.struct("", 8, [["x", 2, 0]])
    ),
    answer(mov(20))
  ),
  edge(
    "members without a name that are no structs are passed over",
    x(),
    ask(mov(0), "byte_off", 2),
    s([["", 1, 0], ["", 2, 32], ["x", 1, 128]], B.ptr(0)),
    answer(mov(16))
  ),
  edge(
    "two numbers of bytes in the way of the old bit fields do not fit",
    x(),
    ask(mov(1), "field_exists", 2),
    s([["x", 2, 0]], B.int("old", 4, 0, 3, 5)),
    answer(mov(0))
  ),
  edge(
    "arrays fit by their elements, whatever their length",
    s([["a", 2, 0]], B.array(1, 1, 2)),
    ask(mov(8), "byte_sz", 3),
    s([["a", 3, 0]], B.int("char", 1, 1), B.array(2, 1, 32)),
    answer(mov(32))
  ),
  edge(
    "an array of arrays is no longer array",
    s([["a", 2, 0]], B.array(1, 1, 6)),
    ask(mov(1), "field_exists", 3),
    s([["a", 3, 0]], B.array(1, 1, 3), B.array(2, 1, 2)),
    answer(mov(0))
  ),
  edge(
    "a prototype fits nothing",
    s([["f", 2, 0]], B.funcProto(1, [])),
    ask(mov(1), "field_exists", 3),
    s([["f", 2, 0]], B.funcProto(1, [])),
    answer(mov(0))
  ),
  edge(
    "an enum without a name fits any",
    s([["e", 2, 0]], B.enumeration("", 4, false, [["A", 1]])),
    ask(mov(1), "field_exists", 3),
    s([["e", 2, 0]], B.enum64("other", 8, false, [["Z", 1n]])),
    answer(mov(1))
  ),
  edge(
    "an enum of another name does not",
    s([["e", 2, 0]], B.enumeration("one", 4, false, [["A", 1]])),
    ask(mov(1), "field_exists", 3),
    s([["e", 2, 0]], B.enumeration("other", 4, false, [["A", 1]])),
    answer(mov(0))
  )
]

/** `levels` pointers to `int`, and a typedef of them: type `levels + 2`. */
const pointers = (levels: number): ReadonlyArray<B.Rec> => [
  int,
  ...Array.from({ length: levels }, (_, index) => B.ptr(index + 1)),
  B.typedef("t", levels + 1)
]

/** `levels` prototypes, each with the one before as its parameter, and a typedef of the last: type `levels + 2`. */
const prototypes = (levels: number): ReadonlyArray<B.Rec> => [
  int,
  ...Array.from({ length: levels }, (_, index) => B.funcProto(1, [["", index + 1]])),
  B.typedef("t", levels + 1)
]

/** `levels` structs, each the member of the next, and one named `s` around: type `levels + 2`. */
const structs = (levels: number): ReadonlyArray<B.Rec> => [
  int,
  ...Array.from({ length: levels }, (_, index) => B.struct(`l${index}`, 4, [["m", index + 1, 0]])),
  B.struct("s", 4, [["m", levels + 1, 0]])
]

const compared = (
  kind: "type_exists" | "type_matches",
  name: string,
  local: ReadonlyArray<B.Rec>,
  kernel: ReadonlyArray<B.Rec>,
  found: boolean | Core.CoreErrorReason,
  libbpf?: Edge["libbpf"]
): Edge =>
  edge(
    name,
    local,
    ask(mov(1), kind, local.length, "0"),
    kernel,
    typeof found === "string" ? { error: found } : answer(mov(found ? 1 : 0)),
    libbpf
  )

const exists = (
  name: string,
  local: ReadonlyArray<B.Rec>,
  kernel: ReadonlyArray<B.Rec>,
  found: boolean | Core.CoreErrorReason,
  libbpf?: Edge["libbpf"]
): Edge => compared("type_exists", name, local, kernel, found, libbpf)

const matches = (
  name: string,
  local: ReadonlyArray<B.Rec>,
  kernel: ReadonlyArray<B.Rec>,
  found: boolean | Core.CoreErrorReason,
  libbpf?: Edge["libbpf"]
): Edge => compared("type_matches", name, local, kernel, found, libbpf)

const typedef = (
  ...types: ReadonlyArray<B.Rec>
): ReadonlyArray<B.Rec> => [int, ...types, B.typedef("t", types.length + 1)]

const member = (...types: ReadonlyArray<B.Rec>): ReadonlyArray<B.Rec> => [
  int,
  ...types,
  B.struct("s", 64, [["m", types.length + 1, 0]])
]

/** Section 5.1: types that may stand for each other. */
const compatible: ReadonlyArray<Edge> = [
  exists("31 pointers", pointers(31), pointers(31), true),
  exists("32 pointers", pointers(32), pointers(32), "TooDeep"),
  exists("32 prototypes", prototypes(32), prototypes(32), true),
  exists("33 prototypes", prototypes(33), prototypes(33), "TooDeep"),
  exists(
    "pointers to types of any name",
    typedef(B.struct("a", 4, []), B.ptr(2)),
    typedef(B.struct("b", 8, []), B.ptr(2)),
    true
  ),
  exists(
    "pointers to a struct and to a union",
    typedef(B.struct("a", 4, []), B.ptr(2)),
    typedef(B.union("a", 4, []), B.ptr(2)),
    false
  ),
  exists(
    "pointers to a struct and to a declaration",
    typedef(B.struct("a", 4, []), B.ptr(2)),
    typedef(B.fwd("a", false), B.ptr(2)),
    false
  ),
  exists("pointers to void", typedef(B.ptr(0)), typedef(B.ptr(0)), true),
  exists(
    "an enum of each width",
    typedef(B.enumeration("e", 4, false, [])),
    typedef(B.enum64("f", 8, false, [])),
    true
  ),
  exists("arrays of any length", typedef(B.array(1, 1, 2)), typedef(B.array(1, 1, 9)), true),
  exists("integers of any size and sign", typedef(), [B.int("word", 8), B.typedef("t", 1)], true),
  exists("integers, one an old bit field", typedef(), [B.int("word", 4, 0, 3, 5), B.typedef("t", 1)], false),
  exists(
    "prototypes with more parameters",
    typedef(B.funcProto(1, [["", 1]])),
    typedef(B.funcProto(1, [["", 1], ["", 1]])),
    false
  ),
  exists("prototypes with other results", typedef(B.funcProto(0, [])), typedef(B.funcProto(1, [])), false),
  exists(
    "floating-point types, which libbpf has no rule for",
    typedef(B.float("double", 8)),
    typedef(B.float("double", 8)),
    true,
    answer(mov(0))
  )
]

/** Section 5.2: types that match member by member. */
const matching: ReadonlyArray<Edge> = [
  matches("30 structs in another", structs(30), structs(30), true),
  matches("31 structs in another", structs(31), structs(31), "TooDeep"),
  matches("31 pointers", pointers(31), pointers(31), true),
  matches("32 pointers", pointers(32), pointers(32), "TooDeep"),
  matches("names of what is in between", member(B.typedef("a", 1)), member(B.typedef("b", 1)), true),
  matches("integers of other names", member(B.int("a", 8)), member(B.int("b", 8)), false),
  matches("integers of other signs", member(B.int("a", 4, 1)), member(B.int("a", 4, 0)), false),
  matches("integers that are called characters or not", member(B.int("a", 1, 1)), member(B.int("a", 1, 3)), true),
  matches("integers of other sizes", member(B.int("a", 4)), member(B.int("a", 8)), false),
  matches("pointers to void", member(B.ptr(0)), member(B.ptr(0)), true),
  matches("a pointer to void and one to a struct", member(B.ptr(0)), member(B.struct("a", 4, []), B.ptr(2)), false),
  matches(
    "pointers to structs of other members",
    member(B.struct("a", 4, [["x", 1, 0]]), B.ptr(2)),
    member(B.struct("a", 4, [["y", 1, 0]]), B.ptr(2)),
    true
  ),
  matches(
    "pointers to pointers to structs of other members",
    member(B.struct("a", 4, [["x", 1, 0]]), B.ptr(2), B.ptr(3)),
    member(B.struct("a", 4, []), B.ptr(2), B.ptr(3)),
    true
  ),
  matches(
    "pointers to arrays of structs of other members",
    member(B.struct("a", 4, [["x", 1, 0]]), B.array(2, 1, 2), B.ptr(3)),
    member(B.struct("a", 4, []), B.array(2, 1, 2), B.ptr(3)),
    true
  ),
  matches(
    "callbacks that take structs of other members",
    member(B.struct("a", 4, [["x", 1, 0]]), B.funcProto(0, [["", 2]]), B.ptr(3)),
    member(B.struct("a", 4, []), B.funcProto(0, [["", 2]]), B.ptr(3)),
    true
  ),
  matches(
    "arrays of structs of other members",
    member(B.struct("a", 4, [["x", 1, 0]]), B.array(2, 1, 2)),
    member(B.struct("a", 4, [["y", 1, 0]]), B.array(2, 1, 2)),
    false
  ),
  matches(
    "a pointer to a struct and one to its declaration",
    member(B.struct("a", 4, [["x", 1, 0]]), B.ptr(2)),
    member(B.fwd("a", false), B.ptr(2)),
    true
  ),
  matches(
    "a pointer to a union and one to a struct's declaration",
    member(B.union("a", 4, []), B.ptr(2)),
    member(B.fwd("a", false), B.ptr(2)),
    false
  ),
  matches(
    "a pointer to a declaration and one to its struct",
    member(B.fwd("a", false), B.ptr(2)),
    member(B.struct("a", 4, []), B.ptr(2)),
    true
  ),
  matches(
    "a pointer to a declaration and one to a union",
    member(B.fwd("a", false), B.ptr(2)),
    member(B.union("a", 4, []), B.ptr(2)),
    false
  ),
  matches("pointers to declarations", member(B.fwd("a", true), B.ptr(2)), member(B.fwd("a", true), B.ptr(2)), true),
  matches("arrays of other lengths", member(B.array(1, 1, 2)), member(B.array(1, 1, 3)), false),
  matches(
    "enums, one with more values",
    member(B.enumeration("e", 4, false, [["A", 1]])),
    member(B.enumeration("e", 4, false, [["B", 1], ["A", 9]])),
    true
  ),
  matches(
    "enums, one with less",
    member(B.enumeration("e", 4, false, [["A", 1], ["B", 2]])),
    member(B.enumeration("e", 4, false, [["A", 1]])),
    false
  ),
  matches(
    "enums of other sizes",
    member(B.enumeration("e", 4, false, [["A", 1]])),
    member(B.enumeration("e", 1, false, [["A", 1]])),
    false
  ),
  matches(
    "enums of other widths and equal sizes",
    member(B.enumeration("e", 8, false, [["A", 1]])),
    member(B.enum64("e", 8, false, [["A", 5n]])),
    true
  ),
  matches("a member more", s([["x", 1, 0]]), s([["y", 1, 0], ["x", 1, 32]]), true),
  matches("a member less", s([["x", 1, 0], ["y", 1, 32]]), s([["x", 1, 0]]), false),
  matches("members of other flavors", s([["x___a", 1, 0]]), s([["x___b", 1, 0]]), true),
  matches(
    "two members that are the same but for their flavor, of one",
    s([["x", 1, 0], ["x___2", 1, 0]]),
    s([["x", 1, 0], ["y", 1, 0]]),
    true
  ),
  matches("a struct and one without a name", member(B.struct("a", 4, [])), member(B.struct("", 4, [])), false),
  matches(
    "prototypes with parameters of other types",
    typedef(B.funcProto(0, [["", 1]])),
    typedef(B.ptr(0), B.funcProto(0, [["", 2]])),
    false
  ),
  matches(
    "floating-point types, which libbpf has no rule for",
    member(B.float("double", 8)),
    member(B.float("double", 8)),
    true,
    answer(mov(0))
  )
]

/** Members and loads of them: type 2 is the member's. */
const field = (
  name: string,
  insn: Uint8Array,
  mine: B.Rec | ReadonlyArray<B.Rec>,
  theirs: B.Rec | ReadonlyArray<B.Rec>,
  ours: Answer,
  options: {
    readonly kind?: Core.CoreKind
    readonly access?: string
    readonly at?: number
    readonly libbpf?: Edge["libbpf"]
  } = {}
): Edge => {
  const one = "kind" in mine ? [mine] : mine
  const two = "kind" in theirs ? [theirs] : theirs
  return edge(
    name,
    s([["m", one.length + 1, 0]], ...one),
    ask(insn, options.kind ?? "byte_off", one.length + 2, options.access ?? "0:0"),
    s([["m", two.length + 1, options.at ?? 64]], ...two),
    ours,
    options.libbpf
  )
}

const load = (size: 0 | 8 | 16 | 24, offset: number): Uint8Array => Encode.ldx(size, 1, 2, offset)
const signedLoad = (size: 0 | 8 | 16, offset: number): Uint8Array => Encode.ldxSigned(size, 1, 2, offset)

/** Sections 6 and 8: values, and loads of other sizes. */
const values: ReadonlyArray<Edge> = [
  field("unsigned, larger", load(BPF_W, 0), u32, B.int("u", 8), answer(load(BPF_DW, 8))),
  field("unsigned, smaller", load(BPF_DW, 0), B.int("u", 8), B.int("u", 2), answer(load(BPF_H, 8))),
  field("signed here, larger", load(BPF_W, 0), int, B.int("u", 8), answer(POISON)),
  field("signed there, larger", load(BPF_W, 0), u32, long, answer(POISON)),
  field(
    "signed characters count as unsigned",
    load(BPF_B, 0),
    B.int("char", 1, 3),
    B.int("c", 4, 3),
    answer(load(BPF_W, 8))
  ),
  field("bool, larger", load(BPF_B, 0), B.int("_Bool", 1, 4), B.int("b", 4, 4), answer(load(BPF_W, 8))),
  field("of a size that no load has", load(BPF_W, 0), u32, B.int("u", 16), { error: "Instruction" }),
  field(
    "enums of other sizes",
    load(BPF_W, 0),
    B.enumeration("e", 4, false, []),
    B.enum64("e", 8, false, []),
    answer(POISON)
  ),
  field("floating-point, larger", load(BPF_W, 0), B.float("f", 4), B.float("f", 8), answer(POISON)),
  field("structs of other sizes", load(BPF_W, 0), B.struct("a", 4, []), B.struct("a", 8, []), answer(POISON)),
  field("a store of the register", Encode.stx(BPF_W, 1, 2, 0), u32, B.int("u", 8), answer(Encode.stx(BPF_DW, 1, 2, 8))),
  field(
    "a store of a number",
    Encode.st(BPF_H, 1, 0, 7),
    B.int("u", 2),
    B.int("u", 4),
    answer(Encode.st(BPF_W, 1, 8, 7))
  ),
  field(
    "an atomic addition",
    Encode.atomicAdd(BPF_W, 1, 2, 0),
    u32,
    B.int("u", 8),
    answer(Encode.atomicAdd(BPF_DW, 1, 2, 8))
  ),
  field(
    "a sign-extending load, larger",
    signedLoad(BPF_B, 0),
    B.int("c", 1, 3),
    B.int("c", 2, 3),
    answer(signedLoad(BPF_H, 8))
  ),
  field(
    "a sign-extending load of 8 bytes, which there is not",
    signedLoad(BPF_W, 0),
    B.int("c", 4, 3),
    B.int("c", 8, 3),
    answer(load(BPF_DW, 8)),
    {
      libbpf: answer(Encode.raw(0x99, 1, 2, 8, 0))
    }
  ),
  field(
    "a sign-extending load of what is signed",
    signedLoad(BPF_B, 0),
    B.int("c", 1, 1),
    B.int("c", 2, 1),
    answer(POISON)
  ),
  field("another size than the field's, of a field that grew", load(BPF_H, 0), u32, B.int("u", 8), {
    error: "Instruction"
  }),
  field("another size than the field's, of one that did not", load(BPF_H, 0), u32, u32, answer(load(BPF_H, 8))),
  field(
    "a whole array of larger elements",
    load(BPF_W, 0),
    [u32, B.array(2, 1, 4)],
    [B.int("u", 8), B.array(2, 1, 4)],
    answer(POISON)
  ),
  field(
    "an element of larger ones",
    load(BPF_W, 8),
    [u32, B.array(2, 1, 4)],
    [B.int("u", 8), B.array(2, 1, 4)],
    answer(load(BPF_DW, 24)),
    { access: "0:0:2" }
  ),
  field(
    "a row of larger elements",
    load(BPF_W, 16),
    [u32, B.array(2, 1, 4), B.array(3, 1, 2)],
    [B.int("u", 8), B.array(2, 1, 4), B.array(3, 1, 2)],
    answer(POISON),
    { access: "0:0:1" }
  ),
  field(
    "a longer array of the same elements, which libbpf up to 1.5 takes for a field of another size",
    load(BPF_W, 0),
    [u32, B.array(2, 1, 4)],
    [u32, B.array(2, 1, 9)],
    answer(load(BPF_W, 8)),
    { libbpf: answer(POISON) }
  ),
  field("the last offset that there is room for", load(BPF_W, 0), u32, u32, answer(load(BPF_W, 32767)), {
    at: 32767 * 8
  }),
  field("an offset too many", load(BPF_W, 0), u32, u32, { error: "OutOfRange" }, { at: 32768 * 8 }),
  field("an offset too many, of what would be poisoned", load(BPF_W, 0), int, long, { error: "OutOfRange" }, {
    at: 32768 * 8
  }),
  field("as a number it has room", mov(0), u32, u32, answer(mov(32768)), { at: 32768 * 8 }),
  field("added to a register", Encode.alu64Imm(BPF_ADD, 1, 0), u32, u32, answer(Encode.alu64Imm(BPF_ADD, 1, 8))),
  field("in 32 bits", Encode.mov32Imm(1, 0), u32, u32, answer(Encode.mov32Imm(1, 8))),
  field("in a 64-bit immediate", Encode.ldImm64(1, 0n), u32, u32, answer(Encode.ldImm64(1, 8n))),
  field("in arithmetic with a register", Encode.mov64Reg(1, 2), u32, u32, { error: "Instruction" }),
  field("in a call", Encode.callHelper(1), u32, u32, { error: "Instruction" }),
  field("in a map's descriptor", Encode.ldMapFd(1, 0), u32, u32, { error: "Instruction" }),
  field("another value than the object's", mov(4), u32, u32, { error: "Mismatch" }),
  field("another offset than the object's", load(BPF_W, 4), u32, u32, { error: "Mismatch" }),
  field("another value than the object's, of what is gone", mov(4), u32, B.ptr(1), answer(POISON)),
  field("a call that is gone", Encode.callHelper(1), u32, B.ptr(1), answer(POISON)),
  field("the size of an array", mov(16), [u32, B.array(2, 1, 4)], [u32, B.array(2, 1, 9)], answer(mov(36)), {
    kind: "byte_sz"
  }),
  field("the size of an element", mov(4), [u32, B.array(2, 1, 4)], [B.int("u", 8), B.array(2, 1, 4)], answer(mov(8)), {
    kind: "byte_sz",
    access: "0:0:1"
  }),
  ...(["signed", "lshift_u64", "rshift_u64"] as const).map((kind) =>
    field(`${kind} of an element`, mov(0), [u32, B.array(2, 1, 4)], [u32, B.array(2, 1, 4)], { error: "BadAccess" }, {
      kind,
      access: "0:0:1"
    })
  ),
  field("the sign of a pointer", mov(0), B.ptr(1), B.ptr(1), answer(mov(0)), { kind: "signed" }),
  field(
    "the sign of an enum",
    mov(0),
    B.enumeration("e", 4, false, []),
    B.enumeration("e", 4, true, []),
    answer(mov(1)),
    { kind: "signed" }
  ),
  field("another sign than the object's", mov(1), u32, u32, { error: "Mismatch" }, { kind: "signed" }),
  field(
    "shifts of an integer",
    Encode.alu64Imm(BPF_LSH, 1, 32),
    u32,
    B.int("u", 2),
    answer(Encode.alu64Imm(BPF_LSH, 1, 48)),
    { kind: "lshift_u64" }
  ),
  field("and back", Encode.alu64Imm(BPF_RSH, 1, 32), u32, B.int("u", 2), answer(Encode.alu64Imm(BPF_RSH, 1, 48)), {
    kind: "rshift_u64"
  })
]

const bits = (
  size: number,
  bit: number,
  count: number
): ReadonlyArray<B.Rec> => [B.int("int", 4, 1), B.int("word", size), B.struct("s", 64, [["m", 2, bit, count]])]

/** Bit fields, of which compilers may choose the load. */
const bitFields: ReadonlyArray<Edge> = [
  ...([
    ["of a byte", 1, 11, 3, [1, 1, 0, 58, 61]],
    ["across two bytes, of a byte's type", 1, 14, 4, [0, 4, 0, 46, 60]],
    ["across two words", 4, 60, 8, [0, 16, 0, 0, 0]],
    ["across four bytes and one, of a word's type", 4, 30, 5, [0, 8, 0, 29, 59]]
  ] as const).flatMap(([name, size, bit, count]) => bitField(name, size, bit, count)),
  edge("that is wider than any load", bits(4, 0, 3), ask(mov(0), "byte_off", 3), bits(8, 60, 9), { error: "TooWide" }),
  edge(
    "that is wider than any load exists",
    bits(4, 0, 3),
    ask(mov(1), "field_exists", 3),
    bits(8, 60, 9),
    answer(mov(1))
  ),
  edge(
    "with another left shift than ours",
    bits(4, 0, 3),
    ask(mov(12), "lshift_u64", 3),
    bits(4, 0, 3),
    answer(mov(61))
  ),
  edge("with another right shift than ours", bits(4, 0, 3), ask(mov(12), "rshift_u64", 3), bits(4, 0, 3), {
    error: "Mismatch"
  }),
  edge(
    "that is an integer there, as a number",
    bits(4, 3, 3),
    ask(mov(0), "byte_off", 3),
    s([["m", 2, 64]], u32),
    answer(mov(8))
  ),
  edge(
    "that is an integer there, loaded",
    bits(4, 3, 3),
    ask(load(BPF_W, 0), "byte_off", 3),
    s([["m", 2, 64]], u32),
    answer(POISON)
  ),
  edge(
    "that was an integer here, loaded",
    s([["m", 2, 64]], u32),
    ask(load(BPF_W, 8), "byte_off", 3),
    bits(4, 3, 3),
    answer(POISON)
  ),
  edge(
    "loaded, where both are",
    bits(4, 3, 3),
    ask(load(BPF_W, 0), "byte_off", 3),
    bits(4, 67, 3),
    answer(load(BPF_W, 8))
  )
]

/** What little-endian code needs of a bit field, by hand: the smallest aligned load of its type's size or larger. */
function bitField(name: string, size: number, bit: number, count: number): ReadonlyArray<Edge> {
  let bytes = size
  let offset = Math.floor(bit / 8 / bytes) * bytes
  while (bit + count > (offset + bytes) * 8 && bytes < 8) {
    bytes *= 2
    offset = Math.floor(bit / 8 / bytes) * bytes
  }
  const fits = bit + count <= (offset + bytes) * 8
  const own = bits(4, 0, 3)
  const kinds = [
    ["byte_off", 0, offset],
    ["byte_sz", 4, bytes],
    ["lshift_u64", 61, 64 - (bit + count - offset * 8)],
    ["rshift_u64", 61, 64 - count]
  ] as const
  return kinds.map(([kind, before, after]) =>
    edge(
      `${name}: ${kind}`,
      own,
      ask(mov(before), kind, 3),
      bits(size, bit, count),
      fits ? answer(mov(after)) : { error: "TooWide" }
    )
  )
}

const e = (values: ReadonlyArray<readonly [string, number]>, signed = false, name = "e"): B.Rec =>
  B.enumeration(name, 4, signed, values)

/** Enumerators, sizes and ids. */
const others: ReadonlyArray<Edge> = [
  edge("a negative enumerator", [e([["A", 5]])], ask(Encode.ldImm64(1, 5n), "enumval_value", 1, "0"), [
    e([["A", -2]], true)
  ], answer(Encode.ldImm64(1, -2n))),
  edge(
    "a large one without a sign, which libbpf gives one",
    [e([["A", 5]])],
    ask(Encode.ldImm64(1, 5n), "enumval_value", 1, "0"),
    [e([["A", 0x8000_0001]])],
    answer(Encode.ldImm64(1, 0x8000_0001n)),
    answer(Encode.ldImm64(1, 0xffff_ffff_8000_0001n))
  ),
  edge("one of 64 bits", [e([["A", 5]])], ask(Encode.ldImm64(1, 5n), "enumval_value", 1, "0"), [
    B.enum64("e", 8, false, [["A", 0x1234_5678_9abc_def0n]])
  ], answer(Encode.ldImm64(1, 0x1234_5678_9abc_def0n))),
  edge(
    "one in an instruction of 32 bits",
    [e([["A", 5]])],
    ask(mov(5), "enumval_value", 1, "0"),
    [e([["A", 9]])],
    answer(mov(9))
  ),
  edge(
    "one that is not there",
    [e([["A", 5]])],
    ask(Encode.ldImm64(1, 5n), "enumval_value", 1, "0"),
    [e([["B", 5]])],
    answer(POISON, POISON)
  ),
  edge("one of an enum that is not there", [e([["A", 5]])], ask(mov(1), "enumval_exists", 1, "0"), [], answer(mov(0))),
  edge("the size of a type that is not there", x(), ask(mov(64), "type_size", 2, "0"), [int], answer(mov(0))),
  edge(
    "the id of a type that is not there",
    x(),
    ask(Encode.ldImm64(1, 9n), "target_type_id", 2, "0"),
    [int],
    answer(Encode.ldImm64(1, 0n))
  ),
  edge("the size of a declaration", [B.fwd("f", false)], ask(mov(0), "type_size", 1, "0"), [B.fwd("f", false)], {
    error: "NoSize"
  })
]

/** Section 7: candidates that do not agree. */
const ambiguity: ReadonlyArray<Edge> = [
  edge("at other places", x(), ask(mov(1), "field_exists", 2), [...x(), B.struct("s___2", 8, [["x", 1, 32]])], {
    error: "Ambiguous"
  }),
  edge(
    "at one place",
    x(),
    ask(mov(0), "byte_off", 2),
    [...x(64), B.struct("s___2", 16, [["x", 1, 64]])],
    answer(mov(8))
  ),
  edge(
    "of other sizes",
    x(),
    ask(mov(4), "byte_sz", 2),
    [...x(), B.int("s2", 8), B.struct("s___2", 8, [["x", 3, 0]])],
    { error: "Ambiguous" }
  ),
  edge("of other sizes as a whole", x(), ask(mov(64), "type_size", 2, "0"), [...x(), B.struct("s", 8, [])], {
    error: "Ambiguous"
  }),
  edge("of which one does not have it", x(), ask(mov(0), "byte_off", 2), [
    ...x(64),
    B.struct("s___2", 8, [["y", 1, 32]])
  ], answer(mov(8))),
  edge("of which the first does not have it", x(), ask(mov(0), "byte_off", 2), [
    int,
    B.struct("s", 4, [["y", 1, 0]]),
    B.struct("s___2", 8, [["x", 1, 32]])
  ], answer(mov(4))),
  edge("two of one name have two ids", x(), ask(Encode.ldImm64(1, 9n), "target_type_id", 2, "0"), [
    ...x(),
    B.struct("s", 64, [["x", 1, 0]])
  ], { error: "Ambiguous" }),
  edge("two enums of other values", [e([["A", 1]])], ask(Encode.ldImm64(1, 1n), "enumval_value", 1, "0"), [
    e([["A", 1]]),
    e([["A", 2]], false, "e___2")
  ], { error: "Ambiguous" }),
  edge(
    "a load of a field that has other sizes, of which libbpf takes the first",
    s([["m", 2, 0]], u32),
    ask(load(BPF_W, 0), "byte_off", 3),
    [...s([["m", 2, 64]], u32), B.int("u", 8), B.struct("s___2", 16, [["m", 4, 64]])],
    { error: "Ambiguous" },
    answer(load(BPF_W, 8))
  ),
  edge(
    "the place alone of such a field",
    s([["m", 2, 0]], u32),
    ask(mov(0), "byte_off", 3),
    [...s([["m", 2, 64]], u32), B.int("u", 8), B.struct("s___2", 16, [["m", 4, 64]])],
    answer(mov(8))
  )
]

/** All of them, by section of the reference. */
export const edges: Readonly<Record<string, ReadonlyArray<Edge>>> = {
  "access strings": accessStrings,
  candidates,
  "searches in candidates": searches,
  "types that may stand for each other": compatible,
  "types that match": matching,
  "values and instructions": values,
  "bit fields": bitFields,
  "enumerators, sizes and ids": others,
  "candidates that do not agree": ambiguity
}
