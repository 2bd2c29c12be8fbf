/**
 * Law 4: `link([a]) ≅ a`; associative where unresolved externs and hidden symbols are kept for a later link; programs of a
 * linked object relocate to the same instructions, up to map identity, as before; strong beats weak, whatever the order; an
 * unresolved extern is reported by name. Beside each stands a fault that its check must find.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { isDeepStrictEqual } from "node:util"
import * as Linker from "../../src/linker/Linker.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as ArbitraryElf from "../support/arbitrary/Elf.ts"
import * as Group from "../support/arbitrary/Link.ts"
import { meaning, meaningOf, open, references, typeDifferences } from "../support/LinkMeaning.ts"
import { allFixtures, fixture, linkFixtures, runs, runsToMeet } from "../support/Require.ts"

type Link = (inputs: ReadonlyArray<Linker.LinkInput>, options?: Linker.LinkOptions) => Uint8Array

const link: Link = (inputs, options) => Result.getOrThrow(Linker.link(inputs, options)).bytes

const partial: Linker.LinkOptions = { relocatable: true }

/** Runs a law that throws or answers false where it does not hold. */
const holds = (law: () => boolean): boolean => {
  try {
    return law()
  } catch {
    return false
  }
}

const groupAndOrder = Group.groups({ min: 2, max: 4 }).chain((group) =>
  fc.record({
    group: fc.constant(group),
    order: fc.shuffledSubarray(group.files.map((_, index) => index), {
      minLength: group.files.length,
      maxLength: group.files.length
    })
  })
)

// ---- Linkers with a fault each, made of ours --------------------------------------------------------------------------

/** What a linker could get wrong of roles: as if the files had been others. */
const withRoles = (
  group: Group.Group,
  change: (role: Group.Role, file: number, symbol: number) => Group.Role
): Group.Group => ({
  ...group,
  files: group.files.map((file, at) => ({
    ...file,
    roles: file.roles.map((role, symbol) => change(role, at, symbol))
  }))
})

const linkGroup = (group: Group.Group, order: ReadonlyArray<number>): Uint8Array => link(Group.filesOf(group, order))

type LinkGroup = typeof linkGroup

const groupFaults: Readonly<Record<string, LinkGroup>> = {
  "takes the first definition, weak or not": (group, order) => {
    const first = group.symbols.map((_, symbol) =>
      order.find((file) => ["strong", "weak"].includes(group.files[file]?.roles[symbol] ?? "none"))
    )
    return linkGroup(
      withRoles(
        group,
        (role, file, symbol) =>
          role === "strong" || role === "weak" ? (file === first[symbol] ? "strong" : "weak") : role
      ),
      order
    )
  },
  "takes the last of weak definitions": (group, order) => linkGroup(group, order.toReversed()),
  "joins statics of one name": (group, order) =>
    linkGroup(withRoles(group, (role) => role === "static" ? "weak" : role), order),
  "loses a file": (group, order) => link(Group.filesOf(group, order).slice(1), partial)
}

// ---- link([a]) ≅ a ----------------------------------------------------------------------------------------------------

/** An object that no part of is lost or moved when it is linked alone. */
const survives = (link: Link) => (bytes: Uint8Array): boolean =>
  holds(() => {
    const before = open(bytes)
    const linked = link([{ name: "a.o", bytes }], partial)
    const after = open(linked)
    assert.deepStrictEqual(meaningOf(after), meaningOf(before))
    assert.deepStrictEqual(typeDifferences(before, after), [])
    // And once more it stays what it is.
    assert.deepStrictEqual(meaning(link([{ name: "b.o", bytes: linked }], partial)), meaningOf(after))
    return true
  })

/** Linkers that lose something of a single object. */
const singleFaults: Readonly<Record<string, Link>> = {
  "gives out an earlier result": (() => {
    let first: Uint8Array | undefined
    return (inputs, options) => (first ??= link(inputs, options))
  })(),
  "bends an instruction": (inputs, options) => {
    const linked = link(inputs, options).slice()
    const program = Open.entryPrograms(open(linked))[0]
    const at = program === undefined ? -1 : Buffer.from(linked).indexOf(program.insns)
    if (at >= 0) linked[at + 4] = (linked[at + 4] ?? 0) ^ 1
    return linked
  }
}

describe("link([a]) ≅ a", () => {
  it("for generated objects", () => {
    fc.assert(
      fc.property(ArbitraryElf.wellFormed, ({ bytes }) => {
        const before = open(bytes)
        const after = open(link([{ name: "a.o", bytes }], partial))
        assert.deepStrictEqual(meaningOf(after), meaningOf(before))
        assert.deepStrictEqual(typeDifferences(before, after), [])
      }),
      { numRuns: runs(300) }
    )
  })

  for (const [fault, bent] of Object.entries(singleFaults)) {
    it(`would fail for a linker that ${fault}`, () => {
      const little = ArbitraryElf.wellFormed.filter(({ parts }) => parts.byteOrder === "little")
      assert.isTrue(fc.check(fc.property(little, ({ bytes }) => survives(bent)(bytes)), { numRuns: 2000 }).failed)
    })
  }

  for (const name of allFixtures()) {
    it(name, () => {
      const bytes = fixture(name)
      const opened = Open.fromBytes(bytes, { path: "object.o" })
      const linked = link([{ name, bytes }], partial)
      // What does not open by itself does not open afterwards, but it stays the same when it is linked once more.
      if (Result.isFailure(opened)) {
        const again = link([{ name, bytes: linked }], partial)
        assert.deepStrictEqual(link([{ name, bytes: again }], partial), again)
        return
      }
      assert.deepStrictEqual(meaning(linked), meaningOf(opened.success))
      assert.deepStrictEqual(typeDifferences(opened.success, open(linked)), [])
      assert.deepStrictEqual(meaning(link([{ name, bytes: linked }], partial)), meaning(linked))
    })
  }
})

// ---- associative ------------------------------------------------------------------------------------------------------

/** Files linked in one go, and in parts that are linked with the rest, mean the same. */
const associates = (files: ReadonlyArray<Linker.LinkInput>, parts: Link): boolean =>
  holds(() => {
    const whole = open(link(files))
    for (let split = 1; split < files.length; split++) {
      const left = parts(files.slice(0, split), partial)
      const right = parts(files.slice(split), partial)
      for (
        const inputs of [
          [{ name: "left.o", bytes: left }, ...files.slice(split)],
          [...files.slice(0, split), { name: "right.o", bytes: right }],
          [{ name: "left.o", bytes: left }, { name: "right.o", bytes: right }]
        ]
      ) {
        const parted = open(link(inputs))
        assert.deepStrictEqual(meaningOf(parted), meaningOf(whole))
        assert.deepStrictEqual(typeDifferences(whole, parted), [])
      }
    }
    return true
  })

describe("linking in parts", () => {
  it("is linking at once, for generated groups", () => {
    fc.assert(
      fc.property(groupAndOrder, ({ group, order }) => associates(Group.filesOf(group, order), link)),
      { numRuns: runs(150) }
    )
  })

  it("would fail for a linker that resolves all in a part", () => {
    const eager: Link = (inputs) => link(inputs)
    const property = fc.property(groupAndOrder, ({ group, order }) => associates(Group.filesOf(group, order), eager))
    assert.isTrue(fc.check(property, { numRuns: 2000 }).failed)
  })

  it("would fail for a linker that loses a file", () => {
    const lossy: Link = (inputs, options) => link(inputs.length > 1 ? inputs.slice(1) : inputs, options)
    const property = fc.property(groupAndOrder, ({ group, order }) => associates(Group.filesOf(group, order), lossy))
    assert.isTrue(fc.check(property, { numRuns: 2000 }).failed)
  })

  for (const order of ["bpf", "eb"]) {
    for (
      const parts of [
        ["weak_a", "weak_b", "weak_c"],
        ["chain_a", "chain_b", "chain_c"],
        ["chain_c", "chain_a", "chain_b"],
        ["statics_a", "core_a", "statics_b"],
        ["funcs_a", "vars_b", "funcs_b", "vars_a"],
        ["licence_a", "licence_b", "statics_a"]
      ]
    ) {
      it(`is linking at once, for ${parts.join()} (${order})`, () => {
        const files = parts.map((part) => ({ name: `${part}.o`, bytes: fixture(`link/${part}.${order}.o`) }))
        const whole = open(link(files))
        for (let split = 1; split < files.length; split++) {
          const left = { name: "left.o", bytes: link(files.slice(0, split), partial) }
          const right = { name: "right.o", bytes: link(files.slice(split), partial) }
          for (const inputs of [[left, ...files.slice(split)], [...files.slice(0, split), right], [left, right]]) {
            const parted = open(link(inputs))
            assert.deepStrictEqual(meaningOf(parted), meaningOf(whole))
            assert.deepStrictEqual(typeDifferences(whole, parted), [])
          }
        }
      })
    }
  }
})

// ---- the same instructions, strong beats weak -------------------------------------------------------------------------

/** Every reference of every program leads to the definition that wins. */
const leadsRight = (link: LinkGroup) => (group: Group.Group, order: ReadonlyArray<number>): boolean => {
  const object = open(link(group, order))
  for (const file of order) {
    for (const [index, { refersTo }] of (group.files[file]?.programs ?? []).entries()) {
      const found = references(object, Group.programName(file, index))
      if (!isDeepStrictEqual(found, Group.expectedReferences(group, order, file, refersTo))) return false
    }
  }
  return true
}

describe("programs of a linked object", () => {
  it("refer to the definitions that win: a strong one, whatever the order, else the first weak one", () => {
    fc.assert(
      fc.property(groupAndOrder, ({ group, order }) => leadsRight(linkGroup)(group, order)),
      { numRuns: runs(500) }
    )
  })

  for (const [fault, bent] of Object.entries(groupFaults)) {
    it(`would not for a linker that ${fault}`, () => {
      const property = fc.property(groupAndOrder, ({ group, order }) => holds(() => leadsRight(bent)(group, order)))
      assert.isTrue(fc.check(property, { numRuns: 2000 }).failed)
    })
  }

  it("are those of the files alone, where nothing is overridden", () => {
    for (const order of ["bpf", "eb"]) {
      const names = ["statics_a", "core_a", "kconfig_b", "statics_b", "core_b"]
      const files = names.map((name) => ({ name, bytes: fixture(`link/${name}.${order}.o`) }))
      const alone = files.flatMap(({ bytes }) => meaning(bytes).programs)
      assert.deepStrictEqual(meaning(link(files)).programs, alone.sort())
      const back = files.toReversed()
      assert.deepStrictEqual(meaning(link(back)).programs, alone)
    }
  })

  it("do not depend on the order of files without weak definitions", () => {
    const strong = groupAndOrder.map(({ group, order }) => ({
      order,
      group: withRoles(group, (role) => role === "weak" ? "extern" : role)
    })).filter(({ group, order }) => Group.unresolved(group, order).length === 0)
    fc.assert(
      fc.property(strong, ({ group, order }) => {
        assert.deepStrictEqual(meaning(linkGroup(group, order)), meaning(link(Group.filesOf(group))))
      }),
      { numRuns: runs(150) }
    )
  })
})

// ---- unresolved externs -----------------------------------------------------------------------------------------------

describe("an unresolved extern", () => {
  const missing = groupAndOrder.map(({ group, order }) => ({ group, order: order.slice(1) }))

  it("is reported by name, and only in a final link", () => {
    let reported = 0
    fc.assert(
      fc.property(missing, ({ group, order }) => {
        const names = Group.unresolved(group, order)
        const files = Group.filesOf(group, order)
        const result = Linker.link(files)
        assert.isTrue(Result.isSuccess(Linker.link(files, partial)))
        if (names.length === 0) {
          assert.isTrue(Result.isSuccess(result))
          return
        }
        if (Result.isSuccess(result)) throw new Error(`links without ${names.join()}`)
        assert.strictEqual(result.failure.reason, "Unresolved")
        assert.include(names, result.failure.symbol)
        assert.include(result.failure.message, result.failure.symbol ?? "no name")
        reported++
      }),
      { numRuns: runsToMeet(200) }
    )
    assert.isAbove(reported, 10)
  })
})

// ---- the same bytes ---------------------------------------------------------------------------------------------------

describe("the result", () => {
  it("is the same at each link, in its bytes and in its map", () => {
    fc.assert(
      fc.property(groupAndOrder, ({ group, order }) => {
        const files = Group.filesOf(group, order)
        const copies = files.map(({ bytes, name }) => ({ name, bytes: bytes.slice() }))
        assert.deepStrictEqual(
          Result.getOrThrow(Linker.link(copies)),
          Result.getOrThrow(Linker.link(files))
        )
      }),
      { numRuns: runs(100) }
    )
  })

  it("leaves the inputs as they were", () => {
    for (const order of ["bpf", "eb"]) {
      const files = linkFixtures().filter((name) =>
        /(vars|statics|core|weak)_[ab]\./.test(name) && name.includes(order)
      )
        .map((name) => ({ name, bytes: fixture(name) }))
      link(files)
      for (const { bytes, name } of files) assert.deepStrictEqual(bytes, fixture(name))
    }
  })
})
