/**
 * Plans that are carried out several steps at a time: steps that depend on each other keep their order, all others need
 * not, and neither what is loaded nor what is reported depends on which was faster.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as fc from "fast-check"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import { footprint, type KernelCall } from "../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import { type LoadPlan, required, type Step } from "../../src/stages/load/LoadPlan.ts"
import type { PlannedObject } from "../../src/stages/load/Plan.ts"
import * as Schedule from "../../src/stages/load/Schedule.ts"
import * as LedgerKernel from "../support/LedgerKernel.ts"
import { runs } from "../support/Require.ts"
import * as Pipeline from "../unit/stages/Pipeline.ts"
import { assertQuick, cpuTime } from "../support/CpuTime.ts"

const attr = { name: "p", type: 1, expectedAttachType: 0, license: "GPL", kernelVersion: 0, flags: 0, ifindex: 0 }

const createMap = (index: number): KernelCall => ({
  _tag: "MapCreate",
  as: Ref.map(index),
  attr: { ...LedgerKernel.plainMap, name: `map${index}` }
})
const loadProgram = (index: number, maps: ReadonlyArray<number>): KernelCall => ({
  _tag: "ProgLoad",
  as: Ref.prog(index),
  attr: { ...attr, name: `prog${index}` },
  code: { insns: new Uint8Array(8), refs: maps.map((map, at) => ({ _tag: "MapRef", at, map: Ref.map(map) })) },
  log: { level: 0 }
})
const update = (map: number, key: number, value: number, to?: Ref.ProgRef | Ref.MapRef): KernelCall => ({
  _tag: "MapUpdate",
  map: Ref.map(map),
  key: Uint8Array.of(key, 0, 0, 0),
  // The last byte tells a plain value from what a ref becomes.
  value: {
    bytes: Uint8Array.of(value, 0, 0, to === undefined ? 255 : 0),
    refs: to === undefined ? [] : [{ at: 0, size: 4, to }]
  },
  flags: 0n
})

/** Steps over a few maps and programs, in any order: what `levels` must be able to sort. */
const anySteps: fc.Arbitrary<LoadPlan> = fc.array(
  fc.oneof(
    fc.nat(4).map(createMap),
    fc.tuple(fc.nat(4), fc.array(fc.nat(4), { maxLength: 3 })).map(([index, maps]) => loadProgram(index, maps)),
    fc.tuple(fc.nat(4), fc.nat(4)).map(([map, prog]) => update(map, 0, 0, Ref.prog(prog))),
    fc.nat(4).map((map): KernelCall => ({ _tag: "MapFreeze", map: Ref.map(map) })),
    fc.tuple(fc.nat(4), fc.nat(4)).map(([map, prog]): KernelCall => ({
      _tag: "ProgBindMap",
      prog: Ref.prog(prog),
      map: Ref.map(map)
    })),
    fc.nat(4).map((map): KernelCall => ({ _tag: "Close", ref: Ref.map(map) }))
  ),
  { maxLength: 20 }
).chain((calls) =>
  fc.array(fc.nat(3), { minLength: calls.length, maxLength: calls.length }).map((shapes) =>
    calls.map((call, index): Step => {
      // Some have a branch that touches another map, some are the making of a pinned map.
      if (shapes[index] === 0) {
        return required(call, "", { otherwise: [{ on: "any", steps: [required(update(index % 5, 1, 1), "")] }] })
      }
      return shapes[index] === 1
        ? {
          _tag: "Ensure",
          map: Ref.map(index % 5),
          pinnedAt: "/p",
          mustEqual: LedgerKernel.plainMap,
          why: "",
          notes: [],
          otherwise: [required(call, "")]
        }
        : required(call, "")
    })
  )
)

interface Touches {
  readonly reads: ReadonlySet<string>
  readonly writes: ReadonlySet<string>
}

/** What a step reads and writes, with its branches. */
const touches = (step: Step): Touches => {
  const reads = new Set<string>()
  const writes = new Set<string>()
  const visit = (each: Step): void => {
    if (each._tag === "Ensure") {
      writes.add(Ref.key(each.map))
      each.otherwise.forEach(visit)
      return
    }
    const { changes, defines, reads: read } = footprint(each.call)
    for (const ref of [...changes, ...(defines === undefined ? [] : [defines])]) writes.add(Ref.key(ref))
    for (const ref of read) reads.add(Ref.key(ref))
    each.otherwise.forEach((branch) => branch.steps.forEach(visit))
  }
  visit(step)
  return { reads, writes }
}

const conflict = (one: Touches, other: Touches): boolean =>
  [...one.writes].some((each) => other.reads.has(each) || other.writes.has(each)) ||
  [...other.writes].some((each) => one.reads.has(each))

/** For each step all steps that it waits for, directly or through others. */
const waitsFor = ({ dependents }: Schedule.Dependencies): ReadonlyArray<ReadonlySet<number>> => {
  const all = dependents.map(() => new Set<number>())
  dependents.forEach((later, step) => {
    for (const each of later) for (const known of [step, ...all[step] ?? []]) all[each]?.add(known)
  })
  return all
}

/** What is wrong with the dependencies of a plan: steps that conflict and do not wait, steps that wait and do not conflict. */
const mistakes = (plan: LoadPlan, found: Schedule.Dependencies): ReadonlyArray<string> => {
  const touched = plan.map(touches)
  const waiting = waitsFor(found)
  const wrong: Array<string> = []
  touched.forEach((one, earlier) => {
    touched.forEach((other, later) => {
      if (earlier >= later) return
      const mustWait = conflict(one, other)
      if (mustWait && waiting[later]?.has(earlier) !== true) wrong.push(`${later} does not wait for ${earlier}`)
      if (!mustWait && found.dependents[earlier]?.includes(later) === true) {
        wrong.push(`${later} waits for ${earlier} for no reason`)
      }
    })
    const count = found.dependents.flat().filter((each) => each === earlier).length
    if (count !== found.waitsFor[earlier]) {
      wrong.push(`${earlier} waits for ${found.waitsFor[earlier]} instead of ${count}`)
    }
  })
  return wrong
}

describe("dependencies", () => {
  it("are between any two steps that touch the same thing, unless both only read it, and no others", () => {
    fc.assert(
      fc.property(anySteps, (plan) => {
        assert.deepStrictEqual(mistakes(plan, Schedule.dependencies(plan)), [])
      }),
      { numRuns: runs(2000) }
    )
  })

  it("named fault: a plan whose steps wait for nothing breaks the order", () => {
    const free = (plan: LoadPlan): Schedule.Dependencies => ({
      waitsFor: plan.map(() => 0),
      dependents: plan.map(() => [])
    })
    const failed =
      fc.check(fc.property(anySteps, (plan) => mistakes(plan, free(plan)).length === 0), { numRuns: 500 }).failed
    assert.isTrue(failed)
  })

  it("of fixtures are so, too, and program loads never wait for each other", () => {
    for (const { name, planned: { plan } } of Pipeline.plannedFixtures()) {
      const found = Schedule.dependencies(plan)
      assert.deepStrictEqual(mistakes(plan, found), [], name)
      const waiting = waitsFor(found)
      const isLoad = (step: Step | undefined) => step?._tag === "Call" && step.call._tag === "ProgLoad"
      plan.forEach((step, position) => {
        if (!isLoad(step)) return
        for (const other of waiting[position] ?? []) assert.isFalse(isLoad(plan[other]), name)
      })
    }
  })

  it("of a long plan cost no time out of proportion", () => {
    const plan: LoadPlan = [
      required(createMap(0), ""),
      ...Array.from({ length: 20_000 }, (_, index) => required(loadProgram(index, [0]), "")),
      ...Array.from({ length: 20_000 }, (_, index) => required(update(0, index, 0), ""))
    ]
    const start = cpuTime()
    const agenda = Schedule.agenda(plan)
    let taken = 0
    for (let step = agenda.take(); step !== undefined; step = agenda.take()) {
      taken++
      agenda.finish(step)
    }
    assert.strictEqual(taken, plan.length)
    assertQuick(cpuTime() - start, 4000)
  })
})

describe("an agenda", () => {
  it("hands out every step once, the first listed of those that are ready, until a limit", () => {
    fc.assert(
      fc.property(anySteps, fc.array(fc.nat(5), { minLength: 1, maxLength: 20 }), fc.nat(25), (plan, order, limit) => {
        const agenda = Schedule.agenda(plan)
        const waiting = waitsFor(Schedule.dependencies(plan))
        agenda.limitTo(limit)
        const taken: Array<number> = []
        const finished = new Set<number>()
        for (let turn = 0;; turn++) {
          for (let step = agenda.take(); step !== undefined; step = agenda.take()) {
            assert.isTrue([...waiting[step] ?? []].every((each) => finished.has(each)))
            taken.push(step)
          }
          const underWay = taken.filter((step) => !finished.has(step))
          const next = underWay[(order[turn % order.length] ?? 0) % Math.max(1, underWay.length)]
          if (next === undefined) break
          finished.add(next)
          agenda.finish(next)
        }
        assert.sameMembers(taken, plan.map((_, step) => step).filter((step) => step < limit))
      }),
      { numRuns: runs(1000) }
    )
  })
})

/** Maps, then programs that use some of them, then values that name programs: a plan that works when it is kept in order. */
const workingPlans: fc.Arbitrary<LoadPlan> = fc.tuple(
  fc.integer({ min: 1, max: 5 }),
  fc.array(fc.array(fc.nat(4), { maxLength: 3 }), { minLength: 1, maxLength: 8 }),
  fc.array(fc.tuple(fc.nat(4), fc.nat(3), fc.nat(7)), { maxLength: 10 }),
  fc.array(fc.tuple(fc.nat(4), fc.nat(3), fc.nat(255)), { maxLength: 6 })
).map(([maps, programs, slots, values]) => [
  ...Array.from({ length: maps }, (_, index) => required(createMap(index), `map ${index}`)),
  ...values.map(([map, key, value]) => required(update(map % maps, key, value), "a value")),
  ...programs.map((used, index) => required(loadProgram(index, used.map((map) => map % maps)), `program ${index}`)),
  ...slots.map(([map, key, prog]) => required(update(map % maps, key, 0, Ref.prog(prog % programs.length)), "a slot"))
])

const base = Pipeline.planned(Pipeline.opened("static_entry.bpf.o"))
const planned = (plan: LoadPlan): PlannedObject => ({ ...base, plan })

const execute = async (plan: LoadPlan, ledger: LedgerKernel.Ledger): Promise<Exit.Exit<unknown, unknown>> => {
  const scope = Scope.makeUnsafe()
  const exit = await Effect.runPromise(Effect.exit(
    Execute.toLoaded(planned(plan)).pipe(Effect.provideService(Kernel, ledger.kernel), Scope.provide(scope))
  ))
  await Effect.runPromise(Scope.close(scope, exit))
  assert.deepStrictEqual(LedgerKernel.faults(ledger, Exit.isSuccess(exit)), [])
  return exit
}

/** What a load failed with, and `undefined` where it did not. */
const failure = (exit: Exit.Exit<unknown, unknown>): string | undefined =>
  Exit.isFailure(exit) ? String(exit.cause) : undefined

/** What is in the maps, with programs by their names: their ids depend on who was first. */
const contents = (ledger: LedgerKernel.Ledger) => {
  const names = new Map(ledger.programs.map((program) => [program.id, program.attr.name]))
  return ledger.maps.map((map) => ({
    name: map.attr.name,
    elements: [...map.elements].map(([key, value]) => {
      const number = new DataView(value.buffer).getUint32(0, true)
      return `${key} ${names.get(number) ?? number}`
    }).sort()
  })).sort((a, b) => a.name < b.name ? -1 : 1)
}

const choices = fc.array(fc.nat(7), { minLength: 1, maxLength: 12 })
const chooser = (order: ReadonlyArray<number>) => {
  let turn = 0
  return (underWay: ReadonlyArray<string>) => (order[turn++ % order.length] ?? 0) % underWay.length
}

describe("a concurrent load", () => {
  it("makes what a listed one makes", () =>
    fc.assert(
      fc.asyncProperty(workingPlans, fc.integer({ min: 2, max: 6 }), choices, async (plan, concurrency, order) => {
        const listed = LedgerKernel.make()
        const concurrent = LedgerKernel.make({ concurrency, finishNext: chooser(order) })
        assert.isTrue(Exit.isSuccess(await execute(plan, listed)))
        assert.isTrue(Exit.isSuccess(await execute(plan, concurrent)))
        assert.deepStrictEqual(contents(concurrent), contents(listed))
        assert.sameMembers(
          concurrent.programs.map((each) => each.attr.name),
          listed.programs.map((each) => each.attr.name)
        )
      }),
      { numRuns: runs(200) }
    ))

  it("reports the failure that is listed first, whichever comes first", () =>
    fc.assert(
      fc.asyncProperty(
        workingPlans,
        fc.array(fc.nat(7), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 2, max: 6 }),
        choices,
        async (plan, failing, concurrency, order) => {
          const refuse = (call: KernelCall) =>
            call._tag === "ProgLoad" && failing.includes(call.as.index) ? "EINVAL" as const : undefined
          const one = await execute(plan, LedgerKernel.make({ refuse }))
          const other = await execute(plan, LedgerKernel.make({ refuse, concurrency, finishNext: chooser(order) }))
          assert.deepStrictEqual(failure(other), failure(one))
        }
      ),
      { numRuns: runs(200) }
    ))

  it("finishes loads that are under way when one fails, and begins no other", async () => {
    const plan = Array.from({ length: 6 }, (_, index) => required(loadProgram(index, []), `program ${index}`))
    const begun: Array<string> = []
    const ledger = LedgerKernel.make({
      concurrency: 3,
      // The second fails first, then the third ends, then the first.
      finishNext: (underWay) => underWay.includes("prog1") ? underWay.indexOf("prog1") : underWay.length - 1,
      refuse: (call) => call._tag === "ProgLoad" && call.as.index === 1 ? "EACCES" : undefined,
      onEnter: (call) => {
        if (call._tag === "ProgLoad") begun.push(call.attr.name)
      }
    })
    const exit = await execute(plan, ledger)
    assert.isTrue(Exit.isFailure(exit))
    assert.sameMembers(begun, ["prog0", "prog1", "prog2"])
    assert.deepStrictEqual(ledger.entries.filter((entry) => entry._tag === "Release").length, 2)
  })

  it("reports a step that could only begin after another had failed, when it is listed first", async () => {
    const plan = [
      required(loadProgram(0, []), "a program"),
      required(createMap(0), "a map"),
      required(update(0, 0, 0, Ref.prog(0)), "a slot that is refused"),
      required(loadProgram(1, []), "a program that is refused")
    ]
    const refused: Array<string> = []
    const ledger = LedgerKernel.make({
      concurrency: 2,
      finishNext: (underWay) => Math.max(0, underWay.indexOf("prog1")),
      refuse: (call) => {
        const isRefused = call._tag === "MapUpdate" || (call._tag === "ProgLoad" && call.as.index === 1)
        if (isRefused) refused.push(call._tag)
        return isRefused ? "EINVAL" : undefined
      }
    })
    const exit = await execute(plan, ledger)
    assert.deepStrictEqual(refused, ["ProgLoad", "MapUpdate"])
    assert.match(failure(exit) ?? "", /MapUpdate/)
  })

  it("takes as many at once as the kernel allows, and no more", async () => {
    const plan = Array.from({ length: 9 }, (_, index) => required(loadProgram(index, []), `program ${index}`))
    let most = 0
    const ledger = LedgerKernel.make({
      concurrency: 4,
      finishNext: (underWay) => {
        most = Math.max(most, underWay.length)
        return underWay.length - 1
      }
    })
    assert.isTrue(Exit.isSuccess(await execute(plan, ledger)))
    assert.strictEqual(most, 4)
  })
})
