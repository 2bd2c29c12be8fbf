import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { Kernel } from "../../../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as Clone from "../../../../src/stages/load/Clone.ts"
import * as Execute from "../../../../src/stages/load/Execute.ts"
import { LifecycleError } from "../../../../src/stages/load/LifecycleError.ts"
import * as LoadPlan from "../../../../src/stages/load/LoadPlan.ts"
import * as Parts from "../../../../src/stages/load/Parts.ts"
import * as Pins from "../../../../src/stages/load/Pins.ts"
import type { PlannedObject } from "../../../../src/stages/load/Plan.ts"
import * as Prepare from "../../../../src/stages/load/Prepare.ts"
import * as Reopen from "../../../../src/stages/load/Reopen.ts"
import * as Select from "../../../../src/stages/load/Select.ts"
import type { BpfObject } from "../../../../src/stages/open/BpfObject.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"
import { opened, planned, plannedFixtures } from "../Pipeline.ts"

/** The fields of an error, to compare some of them. */
const fields = (error: object): Readonly<Record<string, unknown>> => Object.fromEntries(Object.entries(error))

const kept = (object: BpfObject) => ({
  programs: object.programs.filter(({ autoload, entry }) => entry && autoload).map(({ name }) => name),
  maps: object.maps.filter(({ autocreate }) => autocreate).map(({ name }) => name)
})

const only = (name: string, ...programs: ReadonlyArray<string>) =>
  kept(Result.getOrThrow(Select.only(opened(name), programs)))

/** The calls that the kernel was entered for, without what only looks. */
const entered = (calls: ReadonlyArray<KernelCall>): ReadonlyArray<string> =>
  calls.flatMap((call) => {
    switch (call._tag) {
      case "ProgLoad":
        return [`load ${call.attr.name}`]
      case "MapUpdate":
        return call.value.refs.length > 0 ? [`slot of ${Ref.key(call.map)}`] : []
      case "MapDelete":
        return [`empty slot of ${Ref.key(call.map)}`]
      default:
        return []
    }
  })

/** Handles that were never given back, or twice; pins that are kept are not the session's to take back. */
const leaks = (ledger: LedgerKernel.Ledger): ReadonlyArray<string> =>
  LedgerKernel.faults(ledger, true).filter((text) => text.startsWith("handle"))

interface World {
  readonly ledger: LedgerKernel.Ledger
  readonly calls: Array<KernelCall>
}

/** A ledger that also tells which calls reached it. */
const world = (options: LedgerKernel.LedgerOptions = {}): World => {
  const calls: Array<KernelCall> = []
  return { calls, ledger: LedgerKernel.make({ ...options, onEnter: (call) => void calls.push(call) }) }
}

const within = <A, E>({ ledger }: World, body: Effect.Effect<A, E, Kernel | Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.scoped(body).pipe(Effect.provideService(Kernel, ledger.kernel)))

const reason = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<string, A> =>
  Effect.map(
    Effect.flip(effect),
    (error) => error instanceof LifecycleError ? `${error.reason} ${error.name}` : String(error)
  )

const array = (): PlannedObject => planned(opened("prog_array.bpf.o"))

describe("Select.only", () => {
  it("keeps the named programs, the maps of their code, and what stands in the slots of those", () => {
    assert.deepStrictEqual(only("map_in_map.bpf.o", "count_in_inner"), {
      programs: ["count_in_inner"],
      maps: ["first_inner", "second_inner", "array_of_maps", "hash_of_maps"]
    })
  })

  it("keeps no program for standing in a slot; slots of others are empty then", () => {
    const object = Result.getOrThrow(Select.only(opened("prog_array.bpf.o"), ["start", "add_ten"]))
    assert.deepStrictEqual(kept(object).programs.sort(), ["add_ten", "start"])
    const steps = object.maps.find(({ name }) => name === "steps")
    assert.deepStrictEqual(steps?.slots.map(({ slot }) => slot), [1])
    const calls = LoadPlan.mainCalls(planned(object).plan)
    assert.deepStrictEqual(entered(calls), ["load add_ten", "load start", "slot of map#0"])
  })

  it("keeps what functions use that are called, and the configuration", () => {
    const object = opened("test_run.bpf.o")
    assert.deepStrictEqual(only("test_run.bpf.o", "trim_packet"), { programs: ["trim_packet"], maps: [] })
    assert.deepStrictEqual(only("test_run.bpf.o", "mark_packet").maps, [
      object.maps.find(({ origin }) => origin === "Bss")?.name ?? ""
    ])
    const externs = opened("externs.bpf.o")
    const all = externs.programs.filter(({ entry }) => entry).map(({ name }) => name)
    const config = externs.maps.find(({ origin }) => origin === "Kconfig")?.name ?? ""
    assert.include(only("externs.bpf.o", ...all).maps, config)
  })

  it("keeps a struct_ops variable whole", () => {
    const object = opened("struct_ops.bpf.o")
    const variable = object.maps.find(({ structOps }) => (structOps?.members.length ?? 0) > 1)
    const members = variable?.structOps?.members.map(({ program }) => object.programs[program]?.name ?? "") ?? []
    const selected = only("struct_ops.bpf.o", members[0] ?? "")
    assert.include(selected.maps, variable?.name)
    assert.includeMembers(selected.programs, members)
  })

  it("turns on what was off, and leaves off what the user has turned off", () => {
    const object = Result.getOrThrow(Edit.setMap(opened("prog_array.bpf.o"), "steps", { autocreate: false }))
    const off = Result.getOrThrow(Edit.setAutoload(object, "start", false))
    const selected = kept(Result.getOrThrow(Select.only(off, ["start"])))
    assert.deepStrictEqual(selected.programs, ["start"])
    assert.notInclude(selected.maps, "steps")
  })

  it("names programs that are not there, and those that are", () => {
    const failure = Result.getOrThrow(Result.flip(Select.only(opened("prog_array.bpf.o"), ["start", "stop"])))
    assert.deepInclude(fields(failure), { _tag: "LifecycleError", reason: "NoSuchProgram", name: "stop" })
    assert.match(failure.message, /add_ten/)
  })

  it("does of a plan what it does of an object, for every program of every fixture", () => {
    let compared = 0
    for (const { name, planned: whole } of plannedFixtures()) {
      for (const { program } of whole.relocated.programs) {
        const chosen = whole.object.programs[program]?.name ?? ""
        const ofPlan = Result.getOrThrow(Select.onlyPlanned(whole, [chosen]))
        const object = Result.getOrThrow(Select.only(whole.object, [chosen]))
        const expected = planned(object)
        assert.deepStrictEqual(kept(ofPlan.object), kept(object), `${name}: ${chosen}`)
        const outline = (plan: LoadPlan.LoadPlan) =>
          LoadPlan.mainCalls(plan).map((call) =>
            // The kernel's version is only asked for where a probe needs it.
            call._tag === "BtfLoad" ?
              call._tag :
              JSON.stringify(call, (field, value: unknown) =>
                field === "kernelVersion"
                  ? undefined
                  : typeof value === "bigint"
                  ? String(value)
                  : value instanceof Uint8Array
                  ? [...value].join()
                  : value)
          )
        assert.deepStrictEqual(outline(ofPlan.plan), outline(expected.plan), `${name}: ${chosen}`)
        compared++
      }
    }
    assert.isAbove(compared, 40)
  })

  it("of a plan says which programs the plan has left out", () => {
    const without = planned(Result.getOrThrow(Select.only(opened("prog_array.bpf.o"), ["start"])))
    const failure = Result.getOrThrow(Result.flip(Select.onlyPlanned(without, ["add_ten"])))
    assert.deepInclude(fields(failure), { reason: "NotPlanned", name: "add_ten" })
  })
})

describe("Parts.of", () => {
  it("divides every plan: nothing is lost, order is kept, no program in the first part, no map made in the second", () => {
    for (const { name, planned: { object, plan } } of plannedFixtures()) {
      const { before, programs } = Parts.of(object, plan)
      const order = new Map(plan.map((step, position) => [step, position]))
      const positions = (steps: LoadPlan.LoadPlan) => steps.map((step) => order.get(step) ?? -1)
      const second = programs.map(({ step }) => step)
      for (const part of [positions(before), positions(second)]) {
        assert.deepStrictEqual(part, [...part].sort((one, other) => one - other), name)
      }
      assert.strictEqual(before.length + second.length, plan.length, name)
      assert.notInclude(LoadPlan.calls(before).map(({ _tag }) => _tag), "ProgLoad", name)
      assert.notInclude(LoadPlan.calls(second).map(({ _tag }) => _tag), "MapCreate", name)
    }
  })
})

describe("Prepare", () => {
  it("makes maps first, then the programs that are named, each with what belongs to it", async () => {
    const { calls, ledger } = world()
    await within(
      { calls, ledger },
      Effect.gen(function*() {
        const prepared = yield* Prepare.toPrepared(array())
        assert.isDefined(prepared.map("steps"))
        assert.deepStrictEqual(entered(calls), [])
        const one = yield* Prepare.load(prepared, { only: ["start"] })
        assert.deepStrictEqual(entered(calls), ["load start"])
        assert.isDefined(one.program("start"))
        assert.isUndefined(one.program("add_ten"))
        const two = yield* Prepare.load(one, { only: ["add_ten", "add_ten"] })
        assert.deepStrictEqual(entered(calls).slice(1), ["load add_ten", "slot of map#0"])
        yield* Prepare.load(two)
        assert.deepStrictEqual(entered(calls).slice(3), ["load add_twenty", "slot of map#0"])
      })
    )
    assert.deepStrictEqual(leaks(ledger), [])
  })

  it("ends as a load at once does, whatever the order of the programs", async () => {
    // What stands in a slot is a program's identifier, which tells the order.
    const contents = (ledger: LedgerKernel.Ledger) =>
      ledger.maps.map(({ attr, elements }) => ({
        name: attr.name,
        elements: [...elements].map(([key, value]) => `${key} ${attr.type === 3 ? "" : [...value].join()}`).sort()
      }))
    const whole = world()
    await within(whole, Execute.toLoaded(array()))
    const halves = world()
    await within(
      halves,
      Effect.gen(function*() {
        const prepared = yield* Prepare.toPrepared(array())
        for (const name of ["start", "add_twenty", "add_ten"]) yield* Prepare.load(prepared, { only: [name] })
      })
    )
    assert.deepStrictEqual(contents(halves.ledger), contents(whole.ledger))
    assert.strictEqual(contents(whole.ledger).find(({ name }) => name === "steps")?.elements.length, 2)
  })

  it("refuses by name what is loaded, what there is not, and what was left out", async () => {
    const w = world()
    const object = Result.getOrThrow(Edit.setAutoload(opened("prog_array.bpf.o"), "start", false))
    await within(
      w,
      Effect.gen(function*() {
        const prepared = yield* Prepare.toPrepared(planned(object))
        assert.strictEqual(yield* reason(Prepare.load(prepared, { only: ["start"] })), "NotPlanned start")
        assert.strictEqual(yield* reason(Prepare.load(prepared, { only: ["stop"] })), "NoSuchProgram stop")
        const loaded = yield* Prepare.load(prepared)
        assert.deepStrictEqual(entered(w.calls).filter((each) => each.startsWith("load")), [
          "load add_ten",
          "load add_twenty"
        ])
        assert.strictEqual(yield* reason(Prepare.load(prepared, { only: ["add_ten"] })), "AlreadyLoaded add_ten")
        assert.strictEqual(yield* reason(Prepare.load(loaded)), `AlreadyLoaded ${object.name}`)
        assert.strictEqual(yield* reason(Prepare.unload(loaded, { only: ["start"] })), "NotLoaded start")
        assert.strictEqual(yield* reason(Clone.clone(loaded, "start")), "NotPlanned start")
      })
    )
  })

  it("takes autoload that is turned after preparing, where the plan has the program", async () => {
    const w = world()
    const object = Result.getOrThrow(Edit.setAutoload(opened("prog_array.bpf.o"), "start", false))
    await within(
      w,
      Effect.gen(function*() {
        const prepared = yield* Prepare.toPrepared(planned(object))
        const impossible = Result.getOrThrow(Result.flip(Prepare.setAutoload(prepared, "start", true)))
        assert.strictEqual(impossible.reason, "NotPlanned")
        const fewer = Result.getOrThrow(Prepare.setAutoload(prepared, "add_ten", false))
        const loaded = yield* Prepare.load(fewer)
        assert.deepStrictEqual(entered(w.calls), ["load add_twenty", "slot of map#0"])
        const all = Result.getOrThrow(Prepare.setAutoload(loaded, "add_ten", true))
        yield* Prepare.load(all)
        assert.deepStrictEqual(entered(w.calls).slice(2), ["load add_ten", "slot of map#0"])
      })
    )
  })

  it("takes back what a failed load has done, and can be asked again", async () => {
    let refuses = true
    const w = world({
      refuse: (call) => refuses && call._tag === "ProgLoad" && call.attr.name === "start" ? "EPERM" : undefined
    })
    await within(
      w,
      Effect.gen(function*() {
        const prepared = yield* Prepare.toPrepared(array())
        const error = yield* Effect.flip(Prepare.load(prepared))
        assert.deepInclude(fields(error), { call: "ProgLoad", errno: "EPERM" })
        for (const position of [0, 1, 2]) assert.isFalse(prepared.session.exists(Ref.prog(position)))
        assert.isDefined(prepared.map("steps"))
        refuses = false
        const loaded = yield* Prepare.load(prepared)
        assert.isDefined(loaded.program("start"))
      })
    )
    assert.deepStrictEqual(leaks(w.ledger), [])
  })

  it("lets two loads at once follow each other", async () => {
    const w = world({ finishNext: () => 0 })
    await within(
      w,
      Effect.gen(function*() {
        const prepared = yield* Prepare.toPrepared(array())
        const answers = yield* Effect.all(
          [Prepare.load(prepared), Prepare.load(prepared)].map((load) => Effect.result(load)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(answers.map(({ _tag }) => _tag), ["Success", "Failure"])
      })
    )
    assert.strictEqual(entered(w.calls).filter((each) => each.startsWith("load")).length, 3)
  })

  it("unloads programs, out of the slots where they still stand, and loads them again", async () => {
    const w = world()
    await within(
      w,
      Effect.gen(function*() {
        const loaded = yield* Prepare.load(yield* Prepare.toPrepared(array()))
        const names = loaded.object.programs.map(({ name }) => name)
        const before = entered(w.calls).length
        const fewer = yield* Prepare.unload(loaded, { only: ["add_ten"] })
        assert.deepStrictEqual(entered(w.calls).slice(before), ["empty slot of map#0"])
        assert.isUndefined(loaded.program("add_ten"))
        assert.isDefined(fewer.program("start"))
        // A slot that the user has filled is the user's.
        const slot = LoadPlan.mainCalls(loaded.plan).find((call) =>
          call._tag === "MapUpdate" && call.value.refs.some(({ to }) => to.index === names.indexOf("add_twenty"))
        )
        if (slot?._tag !== "MapUpdate") return assert.fail("no slot")
        yield* loaded.session.call({
          ...slot,
          value: { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to: Ref.prog(names.indexOf("start")) }] }
        })
        const rest = entered(w.calls).length
        const prepared = yield* Prepare.unload(fewer)
        assert.notProperty(prepared, "program")
        assert.notInclude(entered(w.calls).slice(rest), "empty slot of map#0")
        assert.isDefined(prepared.map("steps"))
        const again = yield* Prepare.load(prepared)
        assert.isDefined(again.program("add_ten"))
      })
    )
    assert.deepStrictEqual(leaks(w.ledger), [])
  })
})

describe("Pins", () => {
  it("are FOLDER/NAME, with dots of the name alone turned into _", () => {
    assert.strictEqual(Result.getOrThrow(Pins.path("/run/bpf.d//", "obj.rodata")), "/run/bpf.d/obj_rodata")
    assert.strictEqual(Result.getOrThrow(Pins.path("/", "..")), "/__")
    for (const [folder, name] of [["/f", ""], ["/f", "a/b"], ["/f", "a\0"], ["", "a"]] as const) {
      assert.strictEqual(Result.getOrThrow(Result.flip(Pins.path(folder, name))).reason, "PinName")
    }
  })

  it("cannot be two of one path", () => {
    const object = opened("prog_array.bpf.o")
    const [map] = object.maps
    const maps = [...object.maps, ...(map === undefined ? [] : [{ ...map, name: "a.b" }, { ...map, name: "a_b" }])]
    const failure = Result.getOrThrow(Result.flip(Pins.ofMaps({ ...object, maps }, "/f")))
    assert.match(failure.message, /map a\.b and map a_b would both be pinned at \/f\/a_b/)
  })

  it("are given and taken away together, and one that is another's by now stops all", async () => {
    const w = world()
    await within(
      w,
      Effect.gen(function*() {
        const loaded = yield* Prepare.load(yield* Prepare.toPrepared(array()))
        const pins = yield* Pins.pin(loaded, "/f")
        assert.sameMembers([...w.ledger.pins.keys()], pins.map(({ path }) => path))
        assert.sameMembers(pins.map(({ name }) => name), [
          "add_ten",
          "add_twenty",
          "start",
          ...loaded.object.maps.map((m) => m.name)
        ])
        w.ledger.pinMap("/f/steps", {})
        assert.strictEqual(yield* reason(Pins.unpin(loaded, "/f")), "AnotherObject steps")
        assert.strictEqual(w.ledger.pins.size, pins.length)
        w.ledger.pins.delete("/f/steps")
        assert.strictEqual((yield* Pins.unpin(loaded, "/f")).length, pins.length - 1)
        assert.strictEqual(w.ledger.pins.size, 0)
        assert.deepStrictEqual(yield* Pins.unpin(loaded, "/f"), [])
      })
    )
  })

  it("are taken back at once when one of them cannot be given", async () => {
    const w = world()
    await within(
      w,
      Effect.gen(function*() {
        const loaded = yield* Prepare.load(yield* Prepare.toPrepared(array()))
        w.ledger.pinMap("/f/start", {})
        const error = yield* Effect.flip(Pins.pin(loaded, "/f"))
        assert.deepInclude(fields(error), { call: "ObjPin", errno: "EEXIST" })
        assert.deepStrictEqual([...w.ledger.pins.keys()], ["/f/start"])
      })
    )
  })

  it("of one map or program are at the path that is given", async () => {
    const w = world()
    await within(
      w,
      Effect.gen(function*() {
        const loaded = yield* Prepare.load(yield* Prepare.toPrepared(array()))
        const map = yield* Effect.fromResult(Pins.ofMap(loaded.object, ".bss", "/a.b/variables"))
        const program = yield* Effect.fromResult(Pins.ofProgram(loaded.object, "start", "/a.b/start"))
        yield* Pins.pinAll(loaded, [map, program])
        assert.deepStrictEqual([...w.ledger.pins.keys()], ["/a.b/variables", "/a.b/start"])
        assert.strictEqual(yield* reason(Pins.pinAll(loaded, [map, map])), `PinName ${map.name}`)
        assert.deepStrictEqual(yield* Pins.unpinAll(loaded, [map, program]), [map, program])
        assert.strictEqual(w.ledger.pins.size, 0)
        const unknown = [Pins.ofMap(loaded.object, "none", "/x"), Pins.ofProgram(loaded.object, "none", "/x")]
        assert.deepStrictEqual(unknown.map((each) => Result.getOrThrow(Result.flip(each)).reason), [
          "NoSuchMap",
          "NoSuchProgram"
        ])
      })
    )
  })

  it("by which maps are shared are left where they are, until they are taken away", async () => {
    const w = world()
    await within(
      w,
      Effect.gen(function*() {
        const loaded = yield* Execute.toLoaded(planned(opened("pinned_map.bpf.o")))
        const path = loaded.object.maps.find(({ name }) => name === "shared_counters")?.pinPath ?? ""
        yield* Pins.pinMaps(loaded, "/f")
        assert.isFalse(w.ledger.pins.has("/f/shared_counters"))
        assert.isTrue(w.ledger.pins.has("/f/own_counters"))
        assert.isTrue(w.ledger.pins.has(path))
        assert.deepStrictEqual((yield* Pins.unpinShared(loaded)).map((pin) => pin.path), [path])
        assert.isFalse(w.ledger.pins.has(path))
        assert.isTrue(w.ledger.pins.has("/f/own_counters"))
      })
    )
  })
})

describe("Reopen.reopen", () => {
  const pinned = (w: World) => within(w, Effect.flatMap(Execute.toLoaded(array()), (loaded) => Pins.pin(loaded, "/f")))

  it("finds what was pinned, and can unpin it", async () => {
    const w = world()
    await pinned(w)
    await within(
      w,
      Effect.gen(function*() {
        const found = yield* Reopen.reopen(opened("prog_array.bpf.o"), "/f")
        assert.isDefined(found.map("steps"))
        assert.isDefined(found.program("start"))
        assert.strictEqual(yield* reason(Prepare.load(found, { only: ["start"] })), "AlreadyLoaded start")
        assert.strictEqual(yield* reason(Clone.clone(found, "start")), "NotPlanned start")
        yield* Pins.unpin(found, "/f")
        assert.strictEqual(w.ledger.pins.size, 0)
      })
    )
    assert.deepStrictEqual(leaks(w.ledger), [])
  })

  it("names all that is missing, or leaves it absent", async () => {
    const w = world()
    await pinned(w)
    w.ledger.pins.delete("/f/start")
    w.ledger.pins.delete("/f/steps")
    await within(
      w,
      Effect.gen(function*() {
        const object = opened("prog_array.bpf.o")
        const error = yield* Effect.flip(Reopen.reopen(object, "/f"))
        assert.deepInclude(fields(error), { reason: "Missing" })
        assert.match(error.message, /map steps \(\/f\/steps\), program start \(\/f\/start\)/)
        const some = yield* Reopen.reopen(object, "/f", { missing: "absent" })
        assert.isUndefined(some.program("start"))
        assert.isDefined(some.program("add_ten"))
      })
    )
  })

  it("says in what a pin is not the object's: shape, kind, type, name, tag", async () => {
    const w = world()
    await pinned(w)
    const object = opened("prog_array.bpf.o")
    await within(
      w,
      Effect.gen(function*() {
        const wrong = (edited: BpfObject, options?: Reopen.ReopenOptions) =>
          Effect.map(Effect.flip(Reopen.reopen(edited, "/f", options)), ({ message }) => message)
        const larger = Result.getOrThrow(Edit.setMap(object, "steps", { maxEntries: 9 }))
        assert.match(yield* wrong(larger), /map steps at \/f\/steps: max_entries is 6, the object wants 9/)
        const xdp = Result.getOrThrow(Edit.setSection(object, "start", "xdp"))
        assert.match(yield* wrong(xdp), /program start at \/f\/start: type is socket_filter, not xdp/)
        assert.match(yield* wrong(object, { tags: { start: "0123456789abcdef" } }), /tag is .*, not 0123456789abcdef/)
        w.ledger.pins.set("/f/start", w.ledger.pins.get("/f/add_ten") ?? assert.fail("no pin"))
        assert.match(yield* wrong(object), /name is add_ten, not start/)
        w.ledger.pinMap("/f/start", {})
      })
    )
  })
})

describe("Clone.clone", () => {
  it("loads a program once more, with what was given, and leaves the original alone", async () => {
    const w = world()
    const whole = planned(opened("test_run.bpf.o"))
    await within(
      w,
      Effect.gen(function*() {
        const prepared = yield* Prepare.toPrepared(whole)
        const { program } = yield* Clone.clone(prepared, "trim_packet", {
          name: "other",
          flags: 0,
          ifindex: 3,
          kernelVersion: 7,
          expectedAttachType: 0,
          logLevel: 1
        })
        assert.isTrue(prepared.session.exists(program))
        const load = w.calls.find((call) => call._tag === "ProgLoad")
        const original = LoadPlan.calls(whole.plan).find((call) =>
          call._tag === "ProgLoad" && call.attr.name === "trim_packet"
        )
        if (load?._tag !== "ProgLoad" || original?._tag !== "ProgLoad") return assert.fail("no load")
        assert.deepStrictEqual(load, {
          ...original,
          as: { _tag: "Prog", index: program.index },
          attr: { ...original.attr, name: "other", flags: 0, ifindex: 3, kernelVersion: 7, expectedAttachType: 0 },
          log: { level: 1 }
        })
        const second = yield* Clone.clone(yield* Prepare.load(prepared), "trim_packet")
        assert.notStrictEqual(second.program.index, program.index)
        yield* prepared.session.call({ _tag: "Close", ref: program })
        assert.isFalse(prepared.session.exists(program))
      })
    )
    assert.deepStrictEqual(leaks(w.ledger), [])
  })

  it("looks the attach target up by the attach type that it is given", async () => {
    const w = world()
    const object = Result.getOrThrow(Edit.setSection(opened("test_run.bpf.o"), "trim_packet", "fentry/one"))
    await within(
      w,
      Effect.gen(function*() {
        const prepared = yield* Prepare.toPrepared(planned(Result.getOrThrow(Select.only(object, ["trim_packet"]))))
        const target = Effect.fnUntraced(function*(options: Clone.CloneOptions) {
          yield* Clone.clone(prepared, "trim_packet", options)
          const call = w.calls.findLast((each) => each._tag === "ProgLoad")
          return call?._tag === "ProgLoad" ? call.attachTo : undefined
        })
        assert.deepInclude(yield* target({}), { name: "one", kind: "Func" })
        assert.deepInclude(yield* target({ attachTarget: "module:two" }), { name: "two", module: "module" })
        assert.deepInclude(yield* target({ attachTarget: "three", expectedAttachType: 23 }), {
          name: "btf_trace_three",
          kind: "Typedef"
        })
        assert.strictEqual(yield* reason(target({ attachTarget: "" })), "AttachTarget trim_packet")
        const { program } = yield* Clone.clone(prepared, "trim_packet")
        assert.deepInclude(yield* target({ attachTarget: "f", attachProgram: program }), { function: "f", program })
      })
    )
  })

  it("binds constants to the clone, and is nothing when it is refused", async () => {
    let refuses = false
    const w = world({ refuse: (call) => refuses && call._tag === "ProgLoad" ? "EINVAL" : undefined })
    const whole = planned(opened("global_data.bpf.o"))
    await within(
      w,
      Effect.gen(function*() {
        const prepared = yield* Prepare.toPrepared(whole)
        const name = whole.object.programs.find(({ entry }) => entry)?.name ?? ""
        const { program } = yield* Clone.clone(prepared, name)
        assert.isAbove(
          w.calls.filter((call) => call._tag === "ProgBindMap" && call.prog.index === program.index).length,
          0
        )
        refuses = true
        assert.deepInclude(fields(yield* Effect.flip(Clone.clone(prepared, name))), {
          call: "ProgLoad",
          errno: "EINVAL"
        })
        assert.isTrue(prepared.session.exists(program))
      })
    )
    assert.deepStrictEqual(leaks(w.ledger), [])
  })
})
