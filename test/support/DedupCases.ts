/**
 * Small blobs on which dedup differs from libbpf's on purpose: what each shows, and what libbpf makes of it. The unit tests
 * say what we make of them; the oracle's, that libbpf still does as it is said here.
 *
 * The first two are faults that came into libbpf after 1.5, the newest that we judge by: its check of types that are there
 * twice looks at one of two arrays only, and follows pointers and typedefs without end.
 */
import * as B from "./arbitrary/BtfBlob.ts"

/** A deliberate difference. */
export interface Difference {
  readonly name: string
  readonly types: ReadonlyArray<B.Rec>
  /** Types that are left, `void` counted, by us and by libbpf 1.1 and 1.5; or how libbpf ends. */
  readonly ours: number
  readonly libbpf: number | "ELOOP" | "EINVAL"
}

const int = B.int("int", 4, 1)
const float = B.float("float", 4)

export const differences: ReadonlyArray<Difference> = [
  {
    name: "arrays that differ in their elements alone, where one stands beside two",
    types: [
      int,
      B.array(1, 1, 2),
      B.struct("S", 16, [["a", 2, 0], ["b", 2, 64]]),
      float,
      B.array(1, 1, 2),
      B.array(4, 1, 2),
      B.struct("S", 16, [["a", 5, 0], ["b", 6, 64]])
    ],
    // int, int[2], S, float, float[2], S
    ours: 7,
    // Later the second S is gone, and nothing refers to float[2].
    libbpf: 7
  },
  {
    name: "cycles of pointers and typedefs",
    types: [
      B.struct("S", 16, [["a", 2, 0], ["b", 2, 64]]),
      B.ptr(3),
      B.typedef("T", 2),
      B.struct("S", 16, [["a", 5, 0], ["b", 7, 64]]),
      B.ptr(6),
      B.typedef("T", 5),
      B.ptr(8),
      B.typedef("T", 7)
    ],
    ours: 4,
    // Later it does not end.
    libbpf: "ELOOP"
  },
  {
    name: "a struct that contains itself, twice in one unit",
    types: [
      B.struct("node", 8, [["next", 2, 0]]),
      B.ptr(1),
      B.struct("pair", 16, [["a", 2, 0], ["b", 2, 64]]),
      // The other unit.
      B.struct("pair", 16, [["a", 6, 0], ["b", 8, 64]]),
      B.struct("node", 8, [["next", 6, 0]]),
      B.ptr(5),
      B.struct("node", 8, [["next", 8, 0]]),
      B.ptr(7)
    ],
    ours: 4,
    libbpf: 5
  },
  {
    name: "a declaration that was resolved to a struct which was not compared yet",
    types: [
      int,
      B.fwd("a", false),
      B.ptr(2),
      B.struct("p", 8, [["x", 3, 0]]),
      B.struct("a", 4, [["m", 1, 0]]),
      B.ptr(5),
      B.struct("q", 8, [["x", 6, 0]]),
      // The other unit has another struct a, and declares it as well.
      B.struct("p", 8, [["x", 12, 0]]),
      B.struct("q", 8, [["x", 11, 0]]),
      B.fwd("a", false),
      B.ptr(10),
      B.ptr(13),
      B.struct("a", 4, [["n", 1, 0]])
    ],
    // int, p, a, a *, q, a *, a
    ours: 8,
    // The struct a with the member n has become the one with m.
    libbpf: 6
  },
  {
    name: "types that become the same after others have",
    types: [
      int,
      B.fwd("a", false),
      B.ptr(2),
      B.struct("p", 16, [["x", 3, 0], ["y", 3, 64]]),
      // The other unit has struct a twice, once with a declaration of struct b and once with its definition.
      B.struct("p", 16, [["x", 6, 0], ["y", 8, 64]]),
      B.ptr(7),
      B.struct("a", 8, [["b", 10, 0]]),
      B.ptr(9),
      B.struct("a", 8, [["b", 12, 0]]),
      B.ptr(11),
      B.fwd("b", false),
      B.ptr(13),
      B.struct("b", 4, [["k", 1, 0]])
    ],
    // int, a *, p, a, b *, b
    ours: 7,
    // p is there twice, until one dedups again.
    libbpf: 8
  },
  {
    name: "an anonymous enum without values",
    types: [B.enumeration("", 4, false, [["A", 1]]), B.enumeration("", 4, false, []), B.ptr(2)],
    ours: 4,
    libbpf: 3
  },
  {
    name: "an anonymous declaration of a struct",
    types: [int, B.struct("", 4, [["m", 1, 0]]), B.fwd("", false), B.ptr(3)],
    ours: 5,
    libbpf: 4
  },
  {
    name: "a full enum where a declaration was resolved to another",
    types: [
      B.enumeration("e", 4, false, []),
      B.struct("s", 4, [["m", 1, 0]]),
      B.enumeration("e", 4, false, [["A", 1]]),
      B.struct("s", 4, [["m", 3, 0]]),
      B.enumeration("e", 4, false, [["B", 2]])
    ],
    // s with the last e, the first e, s with it, the last e
    ours: 5,
    libbpf: 4
  },
  {
    name: "a member whose type is a variable",
    types: [
      int,
      B.variable("v", 1, 1),
      B.struct("s", 4, [["m", 2, 0]]),
      B.variable("v", 1, 1),
      B.struct("s", 4, [["m", 4, 0]])
    ],
    ours: 6,
    libbpf: "EINVAL"
  }
]
