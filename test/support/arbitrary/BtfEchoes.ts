/**
 * Arbitrary BTF with many copies of few types: the input that dedup is for, without the order that compilers give it.
 *
 * A graph of types is made first, with few names, so that types look alike. Then each type is written several times, in
 * any order, and whoever refers to a type refers to any of its copies. All copies of a type are equal by structure; types
 * that were made apart may be equal as well.
 */
import * as fc from "fast-check"
import type { Btf } from "../../../src/btf/Btf.ts"
import * as B from "./BtfBlob.ts"

/** What the graphs have in them beside types that are defined. */
export interface EchoOptions {
  /** Structs, unions and enums that are declared only. */
  readonly declarations?: boolean
  /** Variables and sections. */
  readonly variables?: boolean
  /** More functions and prototypes than anything else, of few types. */
  readonly functions?: boolean
}

const referring = ["ptr", "const", "volatile", "restrict", "typeTag", "array", "proto", "func", "declTag"] as const
const composite = ["struct", "struct", "struct", "union", "typedef", "typedef"] as const
const plain = ["int", "float", "enum", "enum64"] as const

type Shape =
  | typeof referring[number]
  | typeof composite[number]
  | typeof plain[number]
  | "fwd"
  | "enumFwd"
  | "var"
  | "datasec"

/** A type before it has an id: what it refers to are numbers of other nodes, taken modulo how many there are. */
interface Node {
  readonly shape: Shape
  readonly name: number
  readonly number: number
  readonly flag: boolean
  readonly references: ReadonlyArray<readonly [name: number, to: number]>
}

const node = (options: EchoOptions): fc.Arbitrary<Node> =>
  fc.record({
    shape: fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom<Shape>(...composite) },
      { weight: 4, arbitrary: fc.constantFrom<Shape>(...referring) },
      { weight: 2, arbitrary: fc.constantFrom<Shape>("ptr", "ptr", "array", "proto") },
      { weight: 2, arbitrary: fc.constantFrom<Shape>(...plain) },
      ...(options.functions === true
        ? [{ weight: 20, arbitrary: fc.constantFrom<Shape>("proto", "proto", "proto", "func") }]
        : []),
      ...(options.declarations === true
        ? [{ weight: 3, arbitrary: fc.constantFrom<Shape>("fwd", "fwd", "enumFwd") }]
        : []),
      ...(options.variables === true ? [{ weight: 1, arbitrary: fc.constantFrom<Shape>("var", "datasec") }] : [])
    ),
    name: fc.nat(2),
    number: fc.nat(1),
    flag: fc.nat(4).map((value) => value === 0),
    references: fc.array(fc.tuple(fc.nat(2), fc.nat(options.functions === true ? 3 : 99)), { maxLength: 3 })
  })

/** Whether a node is of those whose rings mean nothing. */
const isReferring = (shape: Shape | undefined): boolean => referring.some((other) => other === shape)

/** The record of node `index`; `idOf` answers the id of some copy of a node, and 0 for none. */
const record = (nodes: ReadonlyArray<Node>, index: number, idOf: (node: number) => number): B.Rec => {
  const it = nodes[index]
  if (it === undefined) throw new Error(`no node ${index}`)
  const { flag, name, number, references, shape } = it
  /** A referring type refers to others of the sort only if they come before it. */
  const reference = (to: number): number => {
    const target = to % (nodes.length + 1)
    const isRing = isReferring(shape) && target >= index && isReferring(nodes[target]?.shape)
    return target === nodes.length || isRing ? 0 : idOf(target)
  }
  const first = reference(references[0]?.[1] ?? 99)
  const tag = ["", "s", "t"][name] ?? ""
  const members = references.map(([member, to], at): B.MemberRec => [
    ["", "m", "n"][member] ?? "",
    reference(to),
    at * 64,
    flag ? 3 : 0
  ])
  switch (shape) {
    case "int":
      return B.int(["int", "char", "u8"][name] ?? "", 4 << number, name)
    case "float":
      return B.float("float", 4 << number)
    case "enum":
      return B.enumeration(tag, 4, flag, [["A", number], ["B", 2]])
    case "enum64":
      return B.enum64(tag, 8, flag, [["A", BigInt(number)], ["B", 2n]])
    case "ptr":
      return B.ptr(first)
    case "const":
      return B.constant(first)
    case "volatile":
      return B.volatile(first)
    case "restrict":
      return B.restrict(first)
    case "typeTag":
      return B.typeTag(["rcu", "user", "user"][name] ?? "", first, flag)
    case "array":
      return B.array(first, reference(references[1]?.[1] ?? 99), 2 + number)
    case "proto":
      return B.funcProto(first, references.slice(1).map(([param, to]) => [["", "p", "q"][param] ?? "", reference(to)]))
    case "func": {
      const proto = nodes.slice(0, index).findLastIndex((other) => other.shape === "proto")
      return proto < 0 ? B.ptr(first) : B.func(["f", "g", "g"][name] ?? "", idOf(proto), number)
    }
    case "declTag":
      return B.declTag("tag", first, number - 1, flag)
    case "struct":
      return B.struct(tag, 8 * members.length, members)
    case "union":
      return B.union(tag, 8, members)
    case "typedef":
      return B.typedef(["u", "v", "v"][name] ?? "", first)
    case "fwd":
      return B.fwd(["s", "s", "t"][name] ?? "", flag)
    case "enumFwd":
      return flag
        ? B.enum64(["s", "t", "t"][name] ?? "", 8, false, [])
        : B.enumeration(["s", "t", "t"][name] ?? "", 4, false, [])
    case "var":
      return B.variable(["x", "y", "y"][name] ?? "", first, number)
    case "datasec":
      return B.datasec(".bss", 8, references.map(([, to], at) => [reference(to), at * 8, 8]))
  }
}

/** What decides how often, where and by whom nodes are written: numbers that are used round and round. */
const choices: fc.Arbitrary<ReadonlyArray<number>> = fc.array(fc.nat(999), { minLength: 1, maxLength: 60 })

interface Placed {
  /** The node of each record, in order. */
  readonly order: ReadonlyArray<number>
}

const place = (nodes: ReadonlyArray<number>, numbers: ReadonlyArray<number>): Placed => {
  const copies = nodes.flatMap((node, at) =>
    Array.from({ length: 1 + (numbers[at % numbers.length] ?? 0) % 3 }, () => node)
  )
  const keys = copies.map((node, at) => ({ node, key: numbers[(at * 7 + 3) % numbers.length] ?? 0, at }))
  return { order: keys.sort((one, other) => one.key - other.key || one.at - other.at).map(({ node }) => node) }
}

/** Writes the records of `placed`, whose first id is `firstId`; `more` has ids that nodes have besides. */
const write = (
  nodes: ReadonlyArray<Node>,
  { order }: Placed,
  numbers: ReadonlyArray<number>,
  firstId: number,
  more: ReadonlyMap<number, ReadonlyArray<number>>
): ReadonlyArray<B.Rec> => {
  const ids = new Map([...more].map(([node, known]) => [node, [...known]]))
  order.forEach((node, at) => ids.set(node, [...(ids.get(node) ?? []), firstId + at]))
  let used = 0
  return order.map((node) =>
    record(nodes, node, (to) => {
      const known = ids.get(to) ?? []
      return known.length === 0 ? 0 : known[(numbers[used++ % numbers.length] ?? 0) % known.length] ?? 0
    })
  )
}

/** A blob of copies. */
export const echoes = (options: EchoOptions): fc.Arbitrary<{ readonly blob: Uint8Array }> =>
  fc.tuple(fc.array(node(options), { minLength: 1, maxLength: 14, size: "max" }), choices).map(([nodes, numbers]) => {
    const placed = place(nodes.map((_, at) => at), numbers)
    return { blob: B.blob(write(nodes, placed, numbers, 1, new Map())) }
  })

/**
 * A base of some of the nodes, written once each, and a blob over it with copies of all nodes, which refers to types of
 * the base and of its own. `split` may be given another base for the first, with the id that each type has there.
 */
export interface Over {
  readonly base: Uint8Array
  readonly split: (base: Btf, idOf: (id: number) => number) => Uint8Array
}

/** Copies over a base. Nodes of the base refer to nodes of the base alone. */
export const echoesOver = (options: EchoOptions): fc.Arbitrary<Over> =>
  fc.tuple(fc.array(node(options), { minLength: 2, maxLength: 14, size: "max" }), fc.nat(99), choices).map(
    ([nodes, share, numbers]): Over => {
      const count = 1 + share % (nodes.length - 1)
      const first = nodes.slice(0, count)
      const placed: Placed = { order: first.map((_, at) => at) }
      const base = B.blob(write(first, placed, numbers, 1, new Map()))
      return {
        base,
        split: (over, idOf) => {
          // The types of the base refer to what a smaller graph has: as nodes of the whole graph they are others.
          const known = new Map(first.map((_, at) => [at, [idOf(at + 1)]] as const))
          const whole = [...nodes.slice(count), ...first]
          const shifted = new Map([...known].map(([at, ids]) => [at + nodes.length - count, ids] as const))
          const order = place(whole.map((_, at) => at), numbers)
          return B.blob(write(whole, order, numbers, over.endId, shifted), {
            stringsStart: over.stringsStart + over.stringsLength,
            ...(over.byteOrder === "big" ? { order: "big" as const } : {})
          })
        }
      }
    }
  )
