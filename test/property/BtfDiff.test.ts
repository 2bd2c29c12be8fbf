/**
 * What is known of differences before they are computed: none between a blob and itself however it is written, what one
 * side gained the other lost, and exactly what one known change of a program's source makes. Beside each law stands a
 * comparison with a fault that the law's check must find.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDiff from "../../src/btf/BtfDiff.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import type { CComposite, CDeclaration, CMember, CProgram } from "../support/arbitrary/BtfC.ts"
import { runs } from "../support/Require.ts"
import { assertQuick, cpuTime } from "../support/CpuTime.ts"

type Diff = typeof BtfDiff.diff

const parsed = (blob: Arbitrary.Blob): Btf.Btf => B.expectSuccess(Btf.parse(blob.bytes))

const isEmpty = ({ added, ambiguous, changed, removed }: BtfDiff.Difference): boolean =>
  added.length + ambiguous.length + changed.length + removed.length === 0

// ---- No difference ----

const other = (order: B.Order | undefined): B.Order => order === "big" ? "little" : "big"

/** The same declarations in another byte order. */
const rewritten = fc.tuple(Arbitrary.programs(), Arbitrary.forms).map(([program, form]) => ({
  one: Arbitrary.writeProgram(program, form),
  two: Arbitrary.writeProgram(program, { ...form, order: other(form.order), repeatStrings: true })
}))

/** The same declarations in another order, and so under other ids; sections would be other ones. */
const reordered = Arbitrary.programs({ withoutVariables: true }).chain((program) =>
  fc.shuffledSubarray([...program.declarations], { minLength: program.declarations.length }).map((declarations) => ({
    one: Arbitrary.writeProgram(program),
    two: Arbitrary.writeProgram({ declarations })
  }))
)

const saysNone = (diff: Diff) => ({ one, two }: { readonly one: Arbitrary.Blob; readonly two: Arbitrary.Blob }) =>
  isEmpty(diff(parsed(one), parsed(two)))

describe("there is no difference", () => {
  it("between a blob and itself, and between two that were parsed from it", () => {
    fc.assert(
      fc.property(fc.oneof(Arbitrary.wellFormed(), Arbitrary.nearlyWellFormed()), (blob) => {
        const btf = parsed(blob)
        assert.isTrue(isEmpty(BtfDiff.diff(btf, btf)))
        assert.isTrue(isEmpty(BtfDiff.diff(btf, parsed(blob))))
      }),
      { numRuns: runs(300) }
    )
  })

  it("between programs that are written in different ways", () => {
    fc.assert(fc.property(rewritten, saysNone(BtfDiff.diff)), { numRuns: runs(200) })
    fc.assert(fc.property(reordered, saysNone(BtfDiff.diff)), { numRuns: runs(200) })
  })

  it("would be one for a comparison that looks at ids", () => {
    const byId: Diff = (before, after, options) => {
      const difference = BtfDiff.diff(before, after, options)
      const moved = Array.from({ length: before.endId }, (_, id) => id).filter((id) =>
        Btf.nameOf(before, id) !== Btf.nameOf(after, id)
      )
      return { ...difference, added: moved.map((id) => ({ kind: "int", name: "", id })) }
    }
    assert.isTrue(fc.check(fc.property(reordered, saysNone(byId)), { numRuns: 3000 }).failed)
  })
})

// ---- Both ways ----

const bothWays = (diff: Diff) => (one: Arbitrary.Blob, two: Arbitrary.Blob): boolean => {
  const [before, after] = [parsed(one), parsed(two)]
  const forth = diff(before, after)
  const back = diff(after, before)
  const names = (types: ReadonlyArray<BtfDiff.TypeAt>) => types.map(({ id, kind, name }) => `${kind} ${name} ${id}`)
  const pairs = (difference: BtfDiff.Difference, swap: boolean) =>
    difference.changed.map(({ after, before }) => swap ? `${after.id} ${before.id}` : `${before.id} ${after.id}`).sort()
  return JSON.stringify(names(forth.added)) === JSON.stringify(names(back.removed))
    && JSON.stringify(names(forth.removed)) === JSON.stringify(names(back.added))
    && JSON.stringify(pairs(forth, false)) === JSON.stringify(pairs(back, true))
    && forth.compared.same === back.compared.same
}

/** Two programs of which one was made from the other by leaving declarations out on both sides. */
const relatives = Arbitrary.programs().chain((program) => {
  const keys = program.declarations.map(({ key }) => key)
  const part = fc.subarray(keys).map((roots) => Arbitrary.writeProgram(program, {}, { roots: new Set(roots) }))
  return fc.tuple(part, part)
})

describe("what one side gained, the other lost", () => {
  it("for parts of one program", () => {
    fc.assert(fc.property(relatives, ([one, two]) => bothWays(BtfDiff.diff)(one, two)), { numRuns: runs(200) })
  })

  it("would not hold for a comparison that takes types that are gone for changed ones", () => {
    const faulty: Diff = (before, after, options) => {
      const difference = BtfDiff.diff(before, after, options)
      return { ...difference, removed: difference.removed.slice(1) }
    }
    assert.isTrue(
      fc.check(fc.property(relatives, ([one, two]) => bothWays(faulty)(one, two)), { numRuns: 3000 }).failed
    )
  })
})

// ---- One known change ----

/** A change of a program's source, and what the difference must say of it. */
interface Mutation {
  readonly what: "rename" | "remove" | "add" | "retype"
  readonly program: CProgram
  readonly mutated: CProgram
  /** The struct or union that was changed, and its member. */
  readonly name: string
  readonly path: string
}

type Tagged = CDeclaration & { readonly _tag: "Tagged"; readonly type: CComposite }

const isMutable = (declaration: CDeclaration): declaration is Tagged =>
  declaration._tag === "Tagged" && declaration.type._tag === "Composite"
  && declaration.type.members.some((member) => member.name !== "")

const fourInts = Array.from({ length: 4 }, () => ({ name: "", type: { _tag: "Int" as const, index: 0 } }))

const changedMembers = (
  what: Mutation["what"],
  members: ReadonlyArray<CMember>,
  at: number
): { readonly members: ReadonlyArray<CMember>; readonly path: string } => {
  const named = members.flatMap((member, index) => member.name === "" ? [] : [index])
  const index = named[at % named.length] ?? 0
  const member = members[index]
  if (member === undefined) return { members, path: "" }
  switch (what) {
    case "rename":
      return { members: members.with(index, { ...member, name: "other" }), path: member.name }
    case "remove":
      return { members: members.toSpliced(index, 1), path: member.name }
    case "add":
      return { members: members.toSpliced(index, 0, { ...member, name: "other" }), path: "other" }
    case "retype": {
      // A function pointer of a shape that no program has.
      const type: CMember["type"] = {
        _tag: "Pointer",
        tags: [],
        restrict: false,
        to: { _tag: "Function", returns: { _tag: "Void" }, params: fourInts, variadic: false }
      }
      return { members: members.with(index, { ...member, type, bits: 0 }), path: member.name }
    }
  }
}

const mutations: fc.Arbitrary<Mutation> = fc.tuple(
  Arbitrary.programs().filter(({ declarations }) => declarations.some(isMutable)),
  fc.nat(99),
  fc.nat(99),
  fc.constantFrom<Mutation["what"]>("rename", "remove", "add", "retype")
).map(([program, which, at, what]) => {
  const candidates = program.declarations.filter(isMutable)
  const chosen = candidates[which % candidates.length]
  if (chosen === undefined) throw new Error("nothing to change")
  const { members, path } = changedMembers(what, chosen.type.members, at)
  const changed: CDeclaration = { ...chosen, type: { ...chosen.type, members }, tags: [] }
  // Tags say components by index, and are another matter.
  const untagged: CDeclaration = { ...chosen, tags: [] }
  const replaced = (by: CDeclaration): CProgram => ({
    declarations: program.declarations.map((each) => each.key === chosen.key ? by : each)
  })
  return { what, program: replaced(untagged), mutated: replaced(changed), name: chosen.name, path }
})

/** Changes of other members that come with one: they move, and what contains the struct grows. */
const isConsequence = (change: BtfDiff.Change): boolean =>
  change._tag === "Resized"
  || (change._tag === "MemberChanged" && change.what.every((kind) => kind === "moved" || kind === "resized"))

const saysExactly = (diff: Diff) => ({ mutated, name, path, program, what }: Mutation): boolean => {
  const difference = diff(parsed(Arbitrary.writeProgram(program)), parsed(Arbitrary.writeProgram(mutated)))
  if (difference.ambiguous.length > 0) return false
  const own = difference.changed.filter(({ before }) => before.name === name && before.kind !== "typedef")
  const others = difference.changed.filter((change) => !own.includes(change))
  if (own.length !== 1 || !others.every(({ changes }) => changes.every(isConsequence))) return false
  const said = (own[0]?.changes ?? []).filter((change) => !isConsequence(change))
  const broken = (own[0]?.breaks ?? []).map(({ now, path, why }) => `${path} ${why} ${now ?? ""}`)
  const [change] = said
  if (said.length !== 1 || change === undefined) return false
  switch (what) {
    case "rename":
      return change._tag === "MemberChanged" && change.what.join() === "renamed" && change.path === path
        && change.newPath === "other" && broken.join() === `${name}.${path} renamed ${name}.other`
    case "remove":
      return change._tag === "MemberRemoved" && change.path === path && broken.join() === `${name}.${path} removed `
    case "add":
      return change._tag === "MemberAdded" && change.path === path && broken.length === 0
    case "retype":
      return change._tag === "MemberChanged" && change.what.includes("retyped") && change.path === path
        && broken.join() === `${name}.${path} retyped void (*)(int, int, int, int)`
  }
}

const withChanges =
  (change: (changes: ReadonlyArray<BtfDiff.Change>) => ReadonlyArray<BtfDiff.Change>): Diff =>
  (before, after, options) => {
    const difference = BtfDiff.diff(before, after, options)
    return { ...difference, changed: difference.changed.map((each) => ({ ...each, changes: change(each.changes) })) }
  }

/** What a comparison could get wrong, each a comparison of its own. */
const faults: Readonly<Record<string, Diff>> = {
  "knows no renames": withChanges((changes) =>
    changes.flatMap((change): ReadonlyArray<BtfDiff.Change> =>
      change._tag === "MemberChanged" && change.what.includes("renamed")
        ? [
          { _tag: "MemberRemoved", path: change.path, before: change.before },
          { _tag: "MemberAdded", path: change.newPath, after: change.after }
        ]
        : [change]
    )
  ),
  "overlooks what is gone": withChanges((changes) => changes.filter(({ _tag }) => _tag !== "MemberRemoved")),
  "does not compare types": withChanges((changes) =>
    changes.filter((change) => change._tag !== "MemberChanged" || !change.what.includes("retyped"))
  ),
  "takes a move for a break": (before, after, options) => {
    const difference = BtfDiff.diff(before, after, options)
    return {
      ...difference,
      changed: difference.changed.map((each) => ({
        ...each,
        breaks: each.changes.flatMap((change) =>
          change._tag === "MemberChanged" ? [{ path: change.path, why: "removed" as const }] : []
        )
      }))
    }
  }
}

describe("one change of one member", () => {
  it("is said, with the access that it breaks, and nothing else but what it entails", () => {
    fc.assert(fc.property(mutations, saysExactly(BtfDiff.diff)), { numRuns: runs(500) })
  })

  for (const [fault, diff] of Object.entries(faults)) {
    it(`would not be said right by a comparison that ${fault}`, () => {
      assert.isTrue(fc.check(fc.property(mutations, saysExactly(diff)), { numRuns: 1000 }).failed)
    })
  }
})

// ---- Bad input ----

describe("types that make no sense", () => {
  it("are compared, in bounded time, and the text is in proportion", () => {
    const blobs = fc.oneof(
      Arbitrary.nearlyWellFormed(60).map(({ bytes }) => bytes),
      Arbitrary.hostile
    )
    fc.assert(
      fc.property(blobs, blobs, (one, two) => {
        const [before, after] = [Btf.parse(one), Btf.parse(two)]
        if (Result.isFailure(before) || Result.isFailure(after)) return
        const start = cpuTime()
        const difference = BtfDiff.diff(before.success, after.success)
        const text = BtfDiff.render(difference)
        assertQuick(cpuTime() - start, 4000)
        assert.isBelow(text.length, 200 * (one.length + two.length))
      }),
      { numRuns: runs(300) }
    )
  })

  it("and contain each other in exponentially many ways are said to be too many", () => {
    // Each anonymous struct has two members of the next one: 2^40 members in all.
    const types = (name: string): ReadonlyArray<B.Rec> => [
      B.struct("s", 8, [["x", 2, 0], ["y", 2, 0]]),
      ...Array.from({ length: 40 }, (_, index) => B.struct("", 8, [["a", index + 3, 0], ["b", index + 3, 0]])),
      B.struct("", 8, [[name, 43, 0]]),
      B.int("int", 4)
    ]
    const start = cpuTime()
    const difference = BtfDiff.diff(B.btfOf(types("one")), B.btfOf(types("two")))
    assert.deepStrictEqual(difference.changed.map(({ incomplete }) => incomplete), [true])
    assertQuick(cpuTime() - start, 4000)
  })

  it("and are nested thousands of levels deep, or in cycles, are compared", () => {
    const depth = 20_000
    const nested = (last: string): ReadonlyArray<B.Rec> => [
      B.struct("s", 8, [["x", 2, 0]]),
      ...Array.from({ length: depth }, (_, index) => B.struct("", 8, [["a", index + 3, 0]])),
      B.int(last, 4)
    ]
    const start = cpuTime()
    const difference = BtfDiff.diff(B.btfOf(nested("one")), B.btfOf(nested("two")))
    assert.deepStrictEqual(difference.changed.map(({ incomplete }) => incomplete), [true])
    const cycle = [
      B.struct("s", 8, [["x", 2, 0]]),
      B.struct("", 8, [["y", 3, 0]]),
      B.ptr(2),
      B.typedef("t", 5),
      B.ptr(4)
    ]
    assert.isTrue(isEmpty(BtfDiff.diff(B.btfOf(cycle), B.btfOf(cycle))))
    const loop = [B.typedef("t", 2), B.constant(3), B.volatile(2), B.array(4, 4, 2)]
    assert.isTrue(isEmpty(BtfDiff.diff(B.btfOf(loop), B.btfOf(loop))))
    assertQuick(cpuTime() - start, 8000)
  })

  it("and have one name thousands of times are compared in near-linear time", () => {
    const types = (name: string) => [
      B.int("int", 4),
      ...Array.from({ length: 10_000 }, (_, index) => B.struct("s", 4, [[`${name}${index}`, 1, 0]]))
    ]
    const start = cpuTime()
    const difference = BtfDiff.diff(B.btfOf(types("a")), B.btfOf(types("b")))
    assert.deepStrictEqual(difference.ambiguous.map(({ before }) => before.length), [10_000])
    assert.isTrue(
      isEmpty(BtfDiff.diff(B.btfOf(types("a")), B.btfOf(types("a").toReversed().toSorted((x, y) => x.kind - y.kind))))
    )
    assertQuick(cpuTime() - start, 8000)
  })
})
