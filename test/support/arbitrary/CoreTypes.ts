/**
 * Types of objects and kernels made to get in each other's way: few names, so that there are several of each; members
 * without a name, arrays without elements, pointers, prototypes and typedefs that lead anywhere, itself included; and
 * records about them. What a kernel has are variants of what the object has, one after another.
 */
import * as fc from "fast-check"
import * as Encode from "../../../src/insn/Encode.ts"
import type { RecordSpec } from "../../unit/stages/relocate/core/Records.ts"
import * as B from "./BtfBlob.ts"

/** A type whose references are positions in its list, to be taken modulo its length. */
type Make = (id: (to: number) => number) => B.Rec

const rootName = fc.constantFrom("s", "s", "t", "s___1", "")
const memberName = fc.constantFrom("x", "x", "y", "z", "", "", "x___1")
const enumerator = fc.constantFrom("A", "B", "A___1", "C")
const bytes = fc.constantFrom(1, 2, 4, 8)
const to = fc.nat(99)

const members = fc.array(fc.tuple(memberName, to, fc.nat(40), fc.constantFrom(0, 0, 0, 0, 3)), { maxLength: 4 })

const composite = fc.tuple(rootName, fc.nat(64), members, fc.boolean()).map(([name, size, list, union]): Make => (id) =>
  (union ? B.union : B.struct)(name, size, list.map(([name, type, at, bits]) => [name, id(type), at * 8, bits]))
)

const scalar: fc.Arbitrary<Make> = fc.oneof(
  fc.tuple(fc.constantFrom("int", "long", "s"), bytes, fc.constantFrom(0, 1, 3)).map(
    ([name, size, encoding]): Make => () => B.int(name, size, encoding)
  ),
  fc.tuple(rootName, bytes, fc.boolean(), fc.array(fc.tuple(enumerator, fc.nat(9)), { maxLength: 3 })).map(
    ([name, size, signed, values]): Make => () => B.enumeration(name, size, signed, values)
  ),
  fc.tuple(rootName, fc.array(fc.tuple(enumerator, fc.bigInt(0n, 9n)), { maxLength: 3 })).map(
    ([name, values]): Make => () => B.enum64(name, 8, false, values)
  ),
  fc.tuple(rootName, fc.boolean()).map(([name, union]): Make => () => B.fwd(name, union)),
  rootName.map((name): Make => () => B.float(name, 8))
)

const reference: fc.Arbitrary<Make> = fc.oneof(
  to.map((type): Make => (id) => B.ptr(id(type))),
  fc.tuple(to, to, fc.constantFrom(0, 1, 3)).map(([type, index, length]): Make => (id) =>
    B.array(id(type), id(index), length)
  ),
  fc.tuple(fc.constantFrom("s", "t"), to).map(([name, type]): Make => (id) => B.typedef(name, id(type))),
  fc.tuple(fc.constantFrom(B.constant, B.volatile, B.restrict), to).map(([make, type]): Make => (id) => make(id(type))),
  to.map((type): Make => (id) => B.typeTag("rcu", id(type))),
  fc.tuple(to, fc.constantFrom(-1, 0, 1)).map(([type, component]): Make => (id) =>
    B.declTag("kept", id(type), component)
  ),
  fc.tuple(to, fc.array(to, { maxLength: 2 })).map(([result, params]): Make => (id) =>
    B.funcProto(id(result), params.map((type) => ["", id(type)] as const))
  )
)

const type: fc.Arbitrary<Make> = fc.oneof(
  { weight: 4, arbitrary: composite },
  { weight: 2, arbitrary: scalar },
  { weight: 3, arbitrary: reference }
)

/** A change of one type in a list. */
type Change = { readonly at: number; readonly type: Make }

const changes: fc.Arbitrary<ReadonlyArray<Change>> = fc.array(fc.record({ at: to, type }), { maxLength: 3 })

const none: fc.Arbitrary<Array<ReadonlyArray<Change>>> = fc.constant([])

const varied = (types: ReadonlyArray<Make>, changes: ReadonlyArray<Change>): ReadonlyArray<Make> => {
  const list = [...types]
  for (const { at, type } of changes) list[at % list.length] = type
  return list
}

/** The types as records, of which the first gets `firstId`. Every tenth reference is to `void`. */
const write = (types: ReadonlyArray<Make>, firstId: number): ReadonlyArray<B.Rec> =>
  types.map((make) => make((to) => to % 10 === 9 ? 0 : firstId + to % types.length))

/** Steps of a path, chosen among those that there are. */
const steps = fc.array(fc.nat(5), { maxLength: 4 })

/** An access string that leads through these types as far as it can. */
const accessOf = (types: ReadonlyArray<B.Rec>, root: number, steps: ReadonlyArray<number>): string => {
  const indices = [steps.length > 3 ? 1 : 0]
  let current = root
  for (const step of steps) {
    for (let hops = 0; hops < 20 && [8, 9, 10, 11, 18].includes(types[current - 1]?.kind ?? 0); hops++) {
      current = types[current - 1]?.word ?? 0
    }
    const { kind, rest = [], vlen = 0 } = types[current - 1] ?? { kind: 0 }
    if ((kind === 4 || kind === 5) && vlen > 0) {
      indices.push(step % vlen)
      current = Number(rest[(step % vlen) * 3 + 1])
    } else if (kind === 3) {
      const length = Number(rest[2])
      indices.push(length === 0 ? step : step % length)
      current = Number(rest[0])
    } else {
      break
    }
  }
  return indices.join(":")
}

/** An object's types with records about them, and a kernel's, some of them in modules. */
export interface CoreCase {
  readonly types: ReadonlyArray<B.Rec>
  readonly records: ReadonlyArray<RecordSpec>
  readonly kernel: ReadonlyArray<B.Rec>
  /** The types of each module, which follow those of the kernel. */
  readonly modules: ReadonlyArray<ReadonlyArray<B.Rec>>
  readonly order: B.Order
}

const insns = [Encode.mov64Imm(1, 1), Encode.ldImm64(1, 1n)]

/** Objects and kernels. */
export const cases: fc.Arbitrary<CoreCase> = fc.record({
  types: fc.array(type, { minLength: 2, maxLength: 9 }),
  mine: changes,
  kernels: fc.array(changes, { minLength: 1, maxLength: 3 }),
  modules: fc.oneof({ weight: 3, arbitrary: none }, { weight: 1, arbitrary: fc.array(changes, { maxLength: 2 }) }),
  asks: fc.array(fc.tuple(to, steps, fc.constantFrom(0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 12)), {
    minLength: 1,
    maxLength: 10
  }),
  order: fc.constantFrom<B.Order>("little", "big")
}).map(({ asks, kernels, mine, modules, order, types }) => {
  const local = write(varied(types, mine), 1)
  const kernel: Array<B.Rec> = [B.int("long unsigned int", 8)]
  for (const changes of kernels) kernel.push(...write(varied(types, changes), kernel.length + 1))
  return {
    types: local,
    records: asks.map(([root, steps, kind]): RecordSpec => {
      const isEnum = kind === 10 || kind === 11
      const isType = kind >= 6 && !isEnum
      // Mostly what has a name, and is of a kind that the record goes with.
      const fit = local.flatMap(({ kind: of, name = "" }, index) =>
        name !== "" && (isEnum ? of === 6 || of === 19 : isType || of === 4 || of === 5 || of === 8) ? [index + 1] : []
      )
      const type = fit[root % (fit.length + 1)] ?? 1 + root % local.length
      const values = local[type - 1]?.vlen ?? 0
      return {
        insn: insns[kind === 6 || kind === 7 || kind === 11 ? 1 : 0] ?? new Uint8Array(),
        type,
        access: isType ? "0" : isEnum ? String(steps.length % Math.max(1, values)) : accessOf(local, type, steps),
        kind
      }
    }),
    kernel,
    modules: modules.map((changes) => write(varied(types, changes), kernel.length + 1)),
    order
  }
})
