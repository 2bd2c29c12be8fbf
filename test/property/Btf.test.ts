import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import { edit } from "../../src/btf/BtfEdit.ts"
import * as BtfEncode from "../../src/btf/BtfEncode.ts"
import * as BtfExt from "../../src/btf/BtfExt.ts"
import { forEachString, forEachTypeId } from "../../src/btf/BtfFields.ts"
import * as BtfValue from "../../src/btf/BtfValue.ts"
import { fixture, runs } from "../support/Require.ts"
import { damage, damages, order, validTypes } from "../support/arbitrary/BtfOdd.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import type { Order, Rec } from "../support/arbitrary/BtfBlob.ts"
import { assertQuick, cpuTime } from "../support/CpuTime.ts"

/** A law must fail on its named fault: a counterexample must be found. */
const refuted = <T>(property: fc.IProperty<T>): void => {
  assert.isTrue(fc.check(property, { numRuns: 3000 }).failed, "the named fault went unnoticed")
}

const other = (byteOrder: Order): Order => byteOrder === "little" ? "big" : "little"

/** Blobs that the encoder of the tests can write: types, with or without a layout area and room in the header. */
const described = fc.record({
  types: validTypes(),
  order,
  headerLength: fc.constantFrom(24, 32, 36),
  layout: fc.boolean()
})

const write = (given: { types: ReadonlyArray<Rec>; headerLength: number; layout: boolean }, byteOrder: Order) =>
  B.blob(given.types, {
    order: byteOrder,
    headerLength: given.headerLength,
    layout: given.layout && given.headerLength >= 32 ? B.canonicalLayout : []
  })

const parsed = (bytes: Uint8Array, base?: Btf.Btf): Btf.Btf => B.expectSuccess(Btf.parse(bytes, { base }))

const toByteOrder = (btf: Btf.Btf, byteOrder: Order): Uint8Array =>
  B.expectSuccess(BtfEncode.toByteOrder(btf, byteOrder))

describe("byte order", () => {
  type Convert = (btf: Btf.Btf, byteOrder: Order) => Uint8Array

  /** Canonical blobs come back as they were, and in the other order as an independent encoder writes them. */
  const law = (convert: Convert) =>
    fc.property(described, (given) => {
      const bytes = write(given, given.order)
      const btf = parsed(bytes)
      assert.deepEqual(convert(btf, given.order), bytes)
      const swapped = convert(btf, other(given.order))
      assert.deepEqual(swapped, write(given, other(given.order)))
      assert.deepEqual(convert(parsed(swapped), given.order), bytes)
      for (let id = 0; id < btf.endId; id++) assert.deepEqual(Btf.typeOf(parsed(swapped), id), Btf.typeOf(btf, id))
    })

  it("is all that toByteOrder changes", () => {
    fc.assert(law(toByteOrder), { numRuns: runs(300) })
  })

  it("named fault: the halves of a 64-bit value change places", () => {
    refuted(law((btf, byteOrder) => {
      const bytes = toByteOrder(btf, byteOrder)
      if (byteOrder === btf.byteOrder) return bytes
      for (let id = 1; id < btf.endId; id++) {
        if (Btf.kindOf(btf, id) !== Btf.BTF_KIND_ENUM64 || Btf.vlenOf(btf, id) === 0) continue
        const at = btf.headerLength + (btf.offsets[id - 1] ?? 0) - btf.typesOffset + 16
        bytes.set(bytes.slice(at, at + 8).reverse(), at)
      }
      return bytes
    }))
  })

  it("named fault: what follows a record is left in the other order", () => {
    refuted(law((btf, byteOrder) => {
      const bytes = toByteOrder(btf, byteOrder)
      for (let id = 1; id < btf.endId; id++) {
        if (Btf.kindOf(btf, id) !== Btf.BTF_KIND_VAR) continue
        const at = btf.headerLength + (btf.offsets[id - 1] ?? 0) - btf.typesOffset + 12
        bytes.set(btf.bytes.subarray((btf.offsets[id - 1] ?? 0) + 12, (btf.offsets[id - 1] ?? 0) + 16), at)
      }
      return bytes
    }))
  })

  it("and gaps are all that is lost of any blob", () => {
    fc.assert(
      fc.property(described, order, fc.tuple(fc.nat(2), fc.nat(9), fc.nat(9)), (given, byteOrder, [first, ...gaps]) => {
        const bytes = B.blob(given.types, { order: given.order, gaps: [first * 4, ...gaps] })
        const btf = parsed(bytes)
        const again = parsed(toByteOrder(btf, byteOrder))
        assert.strictEqual(again.bytes.length, bytes.length - first * 4 - gaps[0] - gaps[1])
        for (let id = 0; id < btf.endId; id++) assert.deepEqual(Btf.typeOf(again, id), Btf.typeOf(btf, id))
      }),
      { numRuns: runs(100) }
    )
  })
})

/** Which words of a record are type ids and which are strings, by kind, as the format's text says. */
const naiveWords = (type: Rec): { readonly types: ReadonlyArray<number>; readonly strings: ReadonlyArray<number> } => {
  const elements = Array.from({ length: type.vlen ?? 0 }, (_, index) => index)
  switch (type.kind) {
    case 1:
    case 16:
      return { types: [], strings: [0] }
    case 3:
      return { types: [3, 4], strings: [0] }
    case 4:
    case 5:
      return { types: elements.map((at) => 4 + at * 3), strings: [0, ...elements.map((at) => 3 + at * 3)] }
    case 6:
      return { types: [], strings: [0, ...elements.map((at) => 3 + at * 2)] }
    case 13:
      return { types: [2, ...elements.map((at) => 4 + at * 2)], strings: [0, ...elements.map((at) => 3 + at * 2)] }
    case 15:
      return { types: elements.map((at) => 3 + at * 3), strings: [0] }
    case 19:
      return { types: [], strings: [0, ...elements.map((at) => 3 + at * 3)] }
    default:
      return { types: [2], strings: [0] }
  }
}

describe("fields", () => {
  type Visit = (btf: Btf.Btf, visit: (offset: number, value: number) => void) => boolean

  const law = (visitTypes: Visit, visitStrings: Visit) =>
    fc.property(described, ({ order: byteOrder, types }) => {
      const bytes = B.blob(types, { order: byteOrder })
      const view = new DataView(bytes.buffer)
      const expected = { types: Array<[number, number]>(), strings: Array<[number, number]>() }
      let at = 24
      for (const type of types) {
        const words = naiveWords(type)
        for (const key of ["types", "strings"] as const) {
          for (const word of words[key]) {
            expected[key].push([at + word * 4, view.getUint32(at + word * 4, byteOrder === "little")])
          }
        }
        at += 12 + (type.rest?.length ?? 0) * 4
      }
      const visited = { types: Array<[number, number]>(), strings: Array<[number, number]>() }
      assert.isTrue(visitTypes(parsed(bytes), (offset, value) => visited.types.push([offset, value])))
      assert.isTrue(visitStrings(parsed(bytes), (offset, value) => visited.strings.push([offset, value])))
      assert.deepEqual(visited, expected)
    })

  it("are visited once each, in order", () => {
    fc.assert(law(forEachTypeId, forEachString), { numRuns: runs(300) })
  })

  it("named fault: the type that a prototype returns is left out", () => {
    refuted(law((btf, visit) =>
      forEachTypeId(btf, (offset, value) => {
        const owner = btf.offsets.findLast((at) => at <= offset) ?? 0
        const isProto = (btf.internal.view.getUint32(owner + 4, btf.internal.littleEndian) >>> 24 & 0x7f) === 13
        if (!(isProto && offset === owner + 8)) visit(offset, value)
      }), forEachString))
  })

  it("named fault: a name is visited twice", () => {
    refuted(law(forEachTypeId, (btf, visit) => {
      const [first] = btf.offsets
      if (first !== undefined) visit(first, Btf.nameOffsetOf(btf, 1))
      return forEachString(btf, visit)
    }))
  })

  it("of an unknown kind are not guessed", () => {
    const layout = [...B.canonicalLayout, [4, 8] as const]
    const btf = B.btfOf([{ name: "odd", kind: 20, vlen: 1, word: 1, rest: [1, 1, 1] }], { layout })
    const seen: Array<number> = []
    assert.isFalse(forEachTypeId(btf, (offset) => seen.push(offset)))
    assert.deepEqual(seen, [])
    assert.isFalse(forEachString(btf, (offset) => seen.push(offset)))
    assert.deepEqual(seen, [btf.typesOffset])
  })
})

describe("lookup", () => {
  type FindOne = (btf: Btf.Btf, name: string, kind?: number) => number | undefined

  const split = fc.nat(12).chain((count) =>
    fc.tuple(validTypes(1, count), order).chain(([types, byteOrder]) =>
      fc.record({ base: fc.constant(types), order: fc.constant(byteOrder), own: validTypes(types.length + 1) })
    )
  )

  /** Every name is found as a walk over all types finds it, with and without a kind. */
  const law = (findOne: FindOne) =>
    fc.property(split, (given) => {
      const base = B.btfOf(given.base, { order: given.order })
      const btf = B.btfOf(given.own, { order: given.order, base })
      const ids = Array.from({ length: btf.endId - 1 }, (_, index) => index + 1)
      const names = new Set([...ids.map((id) => Btf.nameOf(btf, id)), "absent", ""])
      names.delete("void")
      for (const name of names) {
        for (const kind of [undefined, 4, 8, 12]) {
          const expected = ids.filter((id) =>
            Btf.nameOf(btf, id) === name && (kind === undefined || Btf.kindOf(btf, id) === kind)
          )
          assert.strictEqual(findOne(btf, name, kind), expected[0])
          const found = Btf.find(btf, name, kind)
          assert.deepEqual(found._tag === "Ambiguous" ? found.ids : found._tag === "One" ? [found.id] : [], expected)
        }
      }
    })

  it("agrees with a walk over all types", () => {
    fc.assert(law(Btf.findOne), { numRuns: runs(150) })
  })

  it("named fault: the last of several is taken", () => {
    refuted(law((btf, name, kind) => {
      const found = Btf.find(btf, name, kind)
      return found._tag === "Ambiguous" ? found.ids.at(-1) : found._tag === "One" ? found.id : undefined
    }))
  })

  it("named fault: the base is forgotten", () => {
    refuted(law((btf, name, kind) => {
      const id = Btf.findOne(btf, name, kind)
      return id !== undefined && id < btf.firstId ? undefined : id
    }))
  })
})

describe("edit", () => {
  it("keeps every type, whatever is added", () => {
    fc.assert(
      fc.property(described, fc.array(fc.string({ maxLength: 8 })), (given, texts) => {
        const btf = parsed(write(given, given.order))
        const editor = edit(btf)
        const names = texts.map((text) => `v${text.replaceAll("\0", "").toWellFormed()}`)
        const ids = names.map((name) => editor.addVar(name, 0, 1))
        const edited = B.expectSuccess(editor.finish())
        for (let id = 0; id < btf.endId; id++) assert.deepEqual(Btf.typeOf(edited, id), Btf.typeOf(btf, id))
        for (const [index, name] of names.entries()) assert.strictEqual(Btf.nameOf(edited, ids[index] ?? 0), name)
        assert.deepEqual(toByteOrder(edited, edited.byteOrder), edited.bytes)
      }),
      { numRuns: runs(150) }
    )
  })
})

describe("hostile input", () => {
  /** Asks everything of a blob; whatever is wrong with it must come back as a value or a tagged error. */
  const exercise = (btf: Btf.Btf): void => {
    const zeros = new Uint8Array(256)
    for (let id = 0; id <= btf.endId; id++) {
      const type = Btf.typeOf(btf, id)
      assert.isAtMost(Btf.typeName(btf, id).length, 1 << 20)
      assert.isBelow(Btf.resolveType(btf, id), btf.endId + 1)
      const size = Btf.resolveSize(btf, id)
      if (Result.isFailure(size)) assert.instanceOf(size.failure, Btf.BtfError)
      const alignment = Btf.alignOf(btf, id)
      if (Result.isFailure(alignment)) assert.instanceOf(alignment.failure, Btf.BtfError)
      if (type._tag !== "Void") Btf.find(btf, Btf.nameOf(btf, id))
      const value = BtfValue.decode(btf, id, zeros)
      if (Result.isFailure(value)) assert.instanceOf(value.failure, BtfValue.BtfValueError)
      else B.expectSuccess(BtfValue.encode(btf, id, value.success))
    }
    const swapped = BtfEncode.toByteOrder(btf, other(btf.byteOrder))
    if (Result.isFailure(swapped)) assert.strictEqual(swapped.failure.reason, "UnknownKind")
    else assert.strictEqual(B.expectSuccess(Btf.parse(swapped.success, { base: btf.base })).endId, btf.endId)
    const edited = edit(btf).finish()
    if (Result.isFailure(edited)) assert.strictEqual(edited.failure.reason, "ReadOnly")
  }

  const safe = (parse: typeof Btf.parse, bytes: Uint8Array): void => {
    const result = parse(bytes)
    if (Result.isSuccess(result)) exercise(result.success)
    else {
      assert.instanceOf(result.failure, Btf.BtfError)
      assert.isAbove(result.failure.message.length, 5)
    }
  }

  it("arbitrary bytes behind a header give a value or a tagged error", () => {
    const header = fc.tuple(order, fc.uint8Array({ maxLength: 200 }), fc.nat(60), fc.nat(60))
    fc.assert(
      fc.property(header, ([byteOrder, body, types, strings]) => {
        const little = byteOrder === "little"
        const bytes = new Uint8Array(24 + body.length)
        bytes.set(body, 24)
        const view = new DataView(bytes.buffer)
        view.setUint16(0, 0xeb9f, little)
        view.setUint8(2, 1)
        view.setUint32(4, 24, little)
        view.setUint32(12, types * 4, little)
        view.setUint32(16, types * 4, little)
        view.setUint32(20, strings, little)
        safe(Btf.parse, bytes)
        safe(Btf.parse, body)
      }),
      { numRuns: runs(500) }
    )
  })

  const damagedBlob = fc.tuple(described, damages).map(([given, changes]) => damage(write(given, given.order), changes))

  it("damaged blobs of all kinds give a value or a tagged error", () => {
    fc.assert(fc.property(damagedBlob, (bytes) => safe(Btf.parse, bytes)), { numRuns: runs(1000) })
  })

  const objects = ["core_reads.bpf.o", "core_reads.eb.o", "externs.bpf.o", "global_data.eb.o"].map(fixture)
  const compiled = objects.map((object) => B.elfSection(object, ".BTF"))

  it("damaged blobs of a compiler give a value or a tagged error", () => {
    fc.assert(
      fc.property(fc.constantFrom(...compiled), damages, (bytes, changes) => safe(Btf.parse, damage(bytes, changes))),
      { numRuns: runs(150) }
    )
  })

  it("named fault: a parser that does not look at what it indexes", () => {
    refuted(fc.property(described, damages, (given, changes) => {
      const bytes = write(given, given.order)
      const damaged = damage(bytes, changes)
      safe((input) => {
        const sound = parsed(bytes)
        if (input.length !== bytes.length) return Btf.parse(input)
        const view = new DataView(input.buffer)
        return Result.succeed({ ...sound, bytes: input, internal: { ...sound.internal, view } })
      }, damaged)
    }))
  })

  it("well-formed types that refer to each other anyhow answer every question", () => {
    fc.assert(fc.property(described, (given) => exercise(parsed(write(given, given.order)))), { numRuns: runs(500) })
  })

  it("damaged .BTF.ext gives a value or a tagged error", () => {
    const sections = objects.map((object) => B.elfSection(object, ".BTF.ext"))
    const pairs = compiled.map((bytes, index) => [parsed(bytes), sections[index] ?? new Uint8Array(0)] as const)
    fc.assert(
      fc.property(fc.constantFrom(...pairs), damages, ([btf, bytes], changes) => {
        const result = BtfExt.parse(damage(bytes, changes), btf)
        if (Result.isFailure(result)) return assert.instanceOf(result.failure, Btf.BtfError)
        const ext = result.success
        for (const section of ext.funcInfo?.sections ?? []) {
          for (let index = 0; index < section.count; index++) BtfExt.funcInfoAt(ext, section, index)
        }
        for (const section of ext.lineInfo?.sections ?? []) {
          for (let index = 0; index < section.count; index++) BtfExt.lineInfoAt(ext, section, index)
        }
        for (const section of ext.coreRelocations?.sections ?? []) {
          for (let index = 0; index < section.count; index++) BtfExt.coreRelocationAt(ext, section, index)
        }
      }),
      { numRuns: runs(300) }
    )
  })

  it("a blob inside other bytes gives what it gives alone", () => {
    fc.assert(
      fc.property(damagedBlob, fc.nat(9), (bytes, before) => {
        const larger = new Uint8Array(before + bytes.length + 64).fill(0x41)
        larger.set(bytes, before)
        const alone = Btf.parse(bytes)
        const inside = Btf.parse(larger.subarray(before, before + bytes.length))
        assert.strictEqual(Result.isSuccess(inside), Result.isSuccess(alone))
        if (Result.isFailure(alone) || Result.isFailure(inside)) return
        for (let id = 0; id < alone.success.endId; id++) {
          assert.deepEqual(Btf.typeOf(inside.success, id), Btf.typeOf(alone.success, id))
        }
      }),
      { numRuns: runs(200) }
    )
  })

  it("large blobs of cycles and chains take no time out of proportion", () => {
    const count = 100_000
    const chain = B.btfOf([B.int("int", 4), ...Array.from({ length: count }, (_, index) => B.constant(index + 1))])
    const cycle = B.btfOf(Array.from({ length: count }, (_, index) => B.typedef("t", (index + 1) % count + 1)))
    const tree = B.btfOf([
      B.int("int", 4),
      ...Array.from({ length: count }, (_, index) => B.struct("s", 4, [["a", index + 1, 0], ["b", index + 1, 0]]))
    ])
    for (const btf of [chain, cycle, tree]) {
      const started = cpuTime()
      for (let id = 0; id < btf.endId; id++) {
        Btf.resolveType(btf, id)
        Btf.typeOf(btf, id)
      }
      for (let id = btf.endId - 1; id > 0; id -= 97) {
        Btf.typeName(btf, id)
        Btf.alignOf(btf, id)
        Btf.resolveSize(btf, id)
        BtfValue.decode(btf, id, new Uint8Array(4))
      }
      Btf.find(btf, "t")
      Btf.findOne(btf, "s")
      // Far above what it takes, far below what anything quadratic would.
      assertQuick(cpuTime() - started, 20_000)
    }
  })
})

describe("values", () => {
  /** A type whose every bit counts: no padding, so that bytes and values correspond one to one. */
  type Shape =
    | { readonly tag: "int"; readonly size: number; readonly signed: boolean }
    | { readonly tag: "enum"; readonly size: number; readonly signed: boolean }
    | { readonly tag: "ptr" }
    | { readonly tag: "bits"; readonly widths: ReadonlyArray<number>; readonly signed: boolean }
    | { readonly tag: "array"; readonly element: Shape; readonly length: number }
    | { readonly tag: "struct"; readonly members: ReadonlyArray<Shape>; readonly anonymous: boolean }

  const leaf: fc.Arbitrary<Shape> = fc.oneof(
    fc.record({ tag: fc.constant("int" as const), size: fc.constantFrom(1, 2, 4, 8, 16), signed: fc.boolean() }),
    fc.record({ tag: fc.constant("enum" as const), size: fc.constantFrom(1, 2, 4, 8), signed: fc.boolean() }),
    fc.constant({ tag: "ptr" as const })
  )
  const { shape } = fc.letrec<{ shape: Shape }>((tie) => ({
    shape: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.record({ tag: fc.constant("array" as const), element: tie("shape"), length: fc.nat(3) }),
      fc.record({
        tag: fc.constant("struct" as const),
        anonymous: fc.boolean(),
        members: fc.array(
          fc.oneof(
            tie("shape"),
            fc.record({
              tag: fc.constant("bits" as const),
              signed: fc.boolean(),
              // Fields of a group fill whole bytes.
              widths: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 4 }).map((widths) => {
                const rest = 8 - widths.reduce((sum, width) => sum + width, 0) % 8
                return [...widths, rest]
              })
            })
          ),
          { maxLength: 4 }
        )
      })
    )
  }))

  /** The records of a shape; the last is the shape itself. */
  const build = (root: Shape): { readonly types: ReadonlyArray<Rec>; readonly size: number } => {
    const types: Array<Rec> = []
    const add = (type: Rec): number => types.push(type)
    let names = 0
    const visit = (node: Shape): { readonly id: number; readonly size: number } => {
      switch (node.tag) {
        case "int":
          return { id: add(B.int("i", node.size, node.signed ? 1 : 0)), size: node.size }
        case "enum": {
          const values = [["ZERO", 0], ["ONE", 1], ["TOP", node.signed ? -1 : 2]] as const
          return { id: add(B.enumeration("e", node.size, node.signed, values)), size: node.size }
        }
        case "ptr":
          return { id: add(B.ptr(0)), size: 8 }
        case "array": {
          const element = visit(node.element)
          return { id: add(B.array(element.id, element.id, node.length)), size: element.size * node.length }
        }
        case "bits":
          throw new Error("bits occur in structs only")
        case "struct": {
          const members: Array<B.MemberRec> = []
          let bits = 0
          for (const member of node.members) {
            if (member.tag === "bits") {
              const id = add(B.int("long", 8, member.signed ? 1 : 0))
              for (const width of member.widths) {
                members.push([`m${names++}`, id, bits, width])
                bits += width
              }
            } else {
              const { id, size } = visit(member)
              const hidden = member.tag === "struct" && member.anonymous
              members.push([hidden ? "" : `m${names++}`, id, bits])
              bits += size * 8
            }
          }
          return { id: add(B.struct("s", bits / 8, members)), size: bits / 8 }
        }
      }
    }
    return { size: visit(root).size, types }
  }

  type Decode = (btf: Btf.Btf, id: number, bytes: Uint8Array, byteOrder: Order) => ReturnType<typeof BtfValue.decode>

  const law = (decode: Decode) =>
    fc.property(
      shape.map(build).chain(({ size, types }) =>
        fc.record({
          types: fc.constant(types),
          bytes: fc.uint8Array({ minLength: size, maxLength: size }),
          order,
          blobOrder: order
        })
      ),
      ({ blobOrder, bytes, order: byteOrder, types }) => {
        const btf = B.btfOf(types, { order: blobOrder })
        const id = types.length
        const value = B.expectSuccess(decode(btf, id, bytes, byteOrder))
        assert.deepEqual(B.expectSuccess(BtfValue.encode(btf, id, value, byteOrder)), bytes)
      }
    )

  it("encode to the bytes that they were decoded from", () => {
    fc.assert(law(BtfValue.decode), { numRuns: runs(500) })
  })

  it("named fault: the other byte order", () => {
    refuted(law((btf, id, bytes, byteOrder) => BtfValue.decode(btf, id, bytes, other(byteOrder))))
  })

  it("named fault: the last member is left out", () => {
    refuted(law((btf, id, bytes, byteOrder) =>
      Result.map(BtfValue.decode(btf, id, bytes, byteOrder), (value) => {
        if (typeof value !== "object" || Array.isArray(value) || value instanceof Uint8Array) return value
        return Object.fromEntries(Object.entries(value).slice(0, -1))
      })
    ))
  })

  it("fit an integer exactly when they are in its range", () => {
    const btf = B.btfOf([1, 2, 4, 8, 16].flatMap((size) => [B.int("u", size, 0), B.int("s", size, 1)]))
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10 }),
        fc.bigInt({ min: -(1n << 130n), max: 1n << 130n }),
        fc.nat(130),
        order,
        (
          id,
          value,
          shift,
          byteOrder
        ) => {
          const bits = BigInt(8 * 2 ** Math.floor((id - 1) / 2))
          const signed = id % 2 === 0
          const given = value >> BigInt(shift)
          const least = signed ? -(1n << (bits - 1n)) : 0n
          const fits = given >= least && given < least + (1n << bits)
          const encoded = BtfValue.encode(btf, id, given, byteOrder)
          assert.strictEqual(Result.isSuccess(encoded), fits)
          if (Result.isFailure(encoded)) return
          assert.strictEqual(BigInt(Number(bits) / 8), BigInt(encoded.success.length))
          const decoded = B.expectSuccess(BtfValue.decode(btf, id, encoded.success, byteOrder))
          assert.strictEqual(
            typeof decoded === "bigint" || typeof decoded === "number" ? BigInt(decoded) : undefined,
            given
          )
        }
      ),
      { numRuns: runs(500) }
    )
  })
})
