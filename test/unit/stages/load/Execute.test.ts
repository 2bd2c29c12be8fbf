import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { Kernel } from "../../../../src/services/Kernel/Kernel.ts"
import type { KernelCall, MapAttributes } from "../../../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as Execute from "../../../../src/stages/load/Execute.ts"
import { type LoadPlan, optional, required } from "../../../../src/stages/load/LoadPlan.ts"
import { differences, PinnedMapError } from "../../../../src/stages/load/PinnedMap.ts"
import type { PlannedObject } from "../../../../src/stages/load/Plan.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"
import { opened, planned } from "../Pipeline.ts"

/** Executes, looks at what was loaded, and closes; answers the exit and the books. */
const execute = <A>(
  plan: PlannedObject,
  ledger: LedgerKernel.Ledger,
  look: (loaded: Execute.LoadedObject) => Effect.Effect<A, unknown>
): Exit.Exit<A, unknown> =>
  Effect.runSync(Effect.gen(function*() {
    const scope = yield* Scope.make()
    const exit = yield* Effect.exit(
      Effect.flatMap(Execute.toLoaded(plan), look).pipe(
        Effect.provideService(Kernel, ledger.kernel),
        Scope.provide(scope)
      )
    )
    ledger.mark("end")
    yield* Scope.close(scope, exit)
    assert.deepStrictEqual(LedgerKernel.faults(ledger, Exit.isSuccess(exit)), [])
    return exit
  }))

const failureOf = (exit: Exit.Exit<unknown, unknown>): unknown => {
  if (Exit.isSuccess(exit)) return assert.fail("it succeeded")
  const [reason] = exit.cause.reasons
  return reason?._tag === "Fail" ? reason.error : assert.fail("no failure")
}

const nothing = () => Effect.void

/** A plan of our own, for an object that does not matter. */
const plan = (steps: LoadPlan): PlannedObject => ({ ...planned(opened("static_entry.bpf.o")), plan: steps })

const create = (index: number, attr: Partial<MapAttributes> = {}): KernelCall => ({
  _tag: "MapCreate",
  as: Ref.map(index),
  attr: { ...LedgerKernel.plainMap, ...attr }
})

describe("a loaded object", () => {
  it("has its maps and programs by name, and their contents", () => {
    const object = opened("xdp_firewall.bpf.o")
    const ledger = LedgerKernel.make()
    const exit = execute(planned(object), ledger, (loaded) =>
      Effect.gen(function*() {
        assert.isDefined(loaded.program("xdp_firewall"))
        assert.isUndefined(loaded.program("parse_packet"))
        assert.isDefined(loaded.map("stats"))
        assert.isUndefined(loaded.map("no_such_map"))
        const rodata = loaded.map(".rodata") ?? assert.fail()
        const map = object.maps[rodata.index] ?? assert.fail()
        const value = yield* loaded.session.call({
          _tag: "MapLookup",
          map: rodata,
          key: new Uint8Array(4),
          valueSize: map.attr.valueSize,
          flags: 0n
        })
        assert.deepStrictEqual([...value ?? []], [...map.initialValue ?? []])
        const write = yield* Effect.result(loaded.session.call({
          _tag: "MapUpdate",
          map: rodata,
          key: new Uint8Array(4),
          value: { bytes: value ?? assert.fail(), refs: [] },
          flags: 0n
        }))
        assert.isTrue(
          Result.isFailure(write) && write.failure._tag === "KernelError" && write.failure.errno === "EPERM"
        )
      }))
    assert.isTrue(Exit.isSuccess(exit))
    const rodata = ledger.maps.find((map) => map.attr.name === "xdp_fire.rodata")
    assert.isTrue(rodata?.frozen)
    assert.deepStrictEqual(ledger.programs[0]?.bound, [rodata?.id])
  })

  it("has no ref for what was not created", () => {
    const object = Result.getOrThrow(Edit.setMap(opened("xdp_firewall.bpf.o"), "events", { autocreate: false }))
    execute(planned(object), LedgerKernel.make(), (loaded) =>
      Effect.sync(() => {
        assert.isUndefined(loaded.map("events"))
        assert.isDefined(loaded.map("stats"))
      }))
    execute(planned(opened("tracepoint.bpf.o")), LedgerKernel.make(), (loaded) =>
      Effect.sync(() => {
        assert.isUndefined(loaded.program("count_getppid"))
        assert.isDefined(loaded.program("count_getpid"))
      }))
  })

  it("has filled slots", () => {
    const ledger = LedgerKernel.make()
    execute(planned(opened("map_in_map.bpf.o")), ledger, nothing)
    const byName = (name: string) => ledger.maps.find((map) => map.attr.name === name) ?? assert.fail()
    const array = byName("array_of_maps")
    const held = [...array.elements].map(([key, value]) => [key, new DataView(value.buffer).getUint32(0, true)])
    assert.deepStrictEqual(held, [["00000000", byName("first_inner").id], ["02000000", byName("second_inner").id]])
  })
})

describe("steps", () => {
  it("that are optional may fail; what they should have made is absent", () => {
    const ledger = LedgerKernel.make({
      refuse: (call) => call._tag === "BtfLoad" || call._tag === "ProgBindMap" ? "EINVAL" : undefined
    })
    const exit = execute(planned(opened("xdp_firewall.bpf.o")), ledger, nothing)
    assert.isTrue(Exit.isSuccess(exit))
    assert.isTrue(ledger.maps.every((map) => map.types === undefined))
    assert.deepStrictEqual(ledger.programs[0]?.bound, [])
  })

  it("that are required fail the load with the kernel's answer", () => {
    const ledger = LedgerKernel.make({ refuse: (call) => call._tag === "ProgLoad" ? "E2BIG" : undefined })
    const error = failureOf(execute(planned(opened("xdp_firewall.bpf.o")), ledger, nothing))
    assert.deepInclude({ ...(error as object) }, {
      _tag: "KernelError",
      call: "ProgLoad",
      errno: "E2BIG",
      subject: "xdp_firewall"
    })
  })

  it("with something to do instead do it: maps without types", () => {
    const typed = LedgerKernel.make({
      refuse: (call) => call._tag === "MapCreate" && (call.types?.value ?? 0) !== 0 ? "EINVAL" : undefined
    })
    assert.isTrue(Exit.isSuccess(execute(planned(opened("global_data.bpf.o")), typed, nothing)))
    assert.isTrue(typed.maps.every((map) => (map.types?.value ?? 0) === 0))
    // A map that names no types has nothing to leave out.
    const ledger = LedgerKernel.make({
      refuse: (call) => call._tag === "MapCreate" && call.types !== undefined ? "EINVAL" : undefined
    })
    assert.isTrue(Exit.isFailure(execute(planned(opened("global_data.bpf.o")), ledger, nothing)))
  })

  it("do only what is meant for the error", () => {
    const steps = (on: "any" | ReadonlyArray<"EINVAL" | "EPERM">): LoadPlan => [
      required(create(0, { name: "refused" }), "a map", {
        otherwise: [{ on, steps: [required(create(0, { name: "other" }), "another")] }]
      })
    ]
    const refuse = (call: KernelCall) =>
      call._tag === "MapCreate" && call.attr.name === "refused" ? "EPERM" as const : undefined
    const run = (plan_: LoadPlan) => {
      const ledger = LedgerKernel.make({ refuse })
      const exit = execute(plan(plan_), ledger, nothing)
      return Exit.isSuccess(exit) ? ledger.maps.map((map) => map.attr.name) : "failed"
    }
    assert.deepStrictEqual(run(steps("any")), ["other"])
    assert.deepStrictEqual(run(steps(["EINVAL", "EPERM"])), ["other"])
    assert.strictEqual(run(steps(["EINVAL"])), "failed")
    assert.deepStrictEqual(run([optional(create(0, { name: "refused" }), "a map"), required(create(1), "a map")]), [
      "plain"
    ])
  })

  it("that are wrong fail even where they are optional", () => {
    const ledger = LedgerKernel.make()
    const wrong = optional({ _tag: "MapFreeze", map: Ref.map(5) }, "nothing")
    assert.deepInclude({ ...(failureOf(execute(plan([wrong]), ledger, nothing)) as object) }, {
      _tag: "RefError",
      reason: "Unknown"
    })
  })
})

describe("a map that is shared by its pin", () => {
  const path = "/sys/fs/bpf/shared_counters"
  const object = opened("pinned_map.bpf.o")
  const shape = { type: 1, keySize: 4, valueSize: 8, maxEntries: 8 }
  const madeBySession = (ledger: LedgerKernel.Ledger) =>
    ledger.maps.filter((map) => map.attr.name === "shared_counters")

  it("is created and pinned where there is none", () => {
    const ledger = LedgerKernel.make()
    assert.isTrue(Exit.isSuccess(execute(planned(object), ledger, nothing)))
    assert.strictEqual(ledger.pins.get(path), madeBySession(ledger)[0])
  })

  it("is used where there is one of the same shape", () => {
    const ledger = LedgerKernel.make()
    const there = ledger.pinMap(path, shape)
    const exit = execute(planned(object), ledger, (loaded) =>
      Effect.gen(function*() {
        const map = loaded.map("shared_counters") ?? assert.fail()
        const info = yield* loaded.session.call({ _tag: "MapGetInfo", map })
        assert.strictEqual(info.id, there.id)
      }))
    assert.isTrue(Exit.isSuccess(exit))
    assert.deepStrictEqual(madeBySession(ledger), [])
    assert.strictEqual(ledger.pins.get(path), there)
  })

  it("is not filled when it was there before", () => {
    const data = Result.getOrThrow(Edit.setMap(opened("xdp_firewall.bpf.o"), ".rodata", { pinPath: "/rodata" }))
    const map = data.maps.find((each) => each.sectionName === ".rodata") ?? assert.fail()
    const ledger = LedgerKernel.make()
    const there = ledger.pinMap("/rodata", map.attr)
    assert.isTrue(Exit.isSuccess(execute(planned(data), ledger, nothing)))
    assert.strictEqual(there.elements.size, 0)
    assert.isFalse(there.frozen)
    const fresh = LedgerKernel.make()
    assert.isTrue(Exit.isSuccess(execute(planned(data), fresh, nothing)))
    const made = fresh.pins.get("/rodata")
    assert.isTrue(made?._tag === "Map" && made.frozen && made.elements.size === 1)
  })

  it("of another shape is an error that lists every difference", () => {
    const ledger = LedgerKernel.make()
    const there = ledger.pinMap(path, { type: 2, keySize: 8, valueSize: 16, maxEntries: 9, flags: 1, extra: 5n })
    const error = failureOf(execute(planned(object), ledger, nothing))
    if (!(error instanceof PinnedMapError)) assert.fail(String(error))
    assert.deepStrictEqual(error.differences, [
      "type is array, the object wants hash",
      "key_size is 8, the object wants 4",
      "value_size is 16, the object wants 8",
      "max_entries is 9, the object wants 8",
      "map_flags is 1, the object wants 0",
      "map_extra is 5, the object wants 0"
    ])
    assert.strictEqual(error.map, "shared_counters")
    assert.strictEqual(error.path, path)
    assert.match(error.message, /pinned at \/sys\/fs\/bpf\/shared_counters is another one: type is array.*\nhint: /)
    assert.strictEqual(ledger.pins.get(path), there)
  })

  it("is compared in the size that this kernel gives it", () => {
    const ring = Result.getOrThrow(Edit.setMap(opened("map_kinds.bpf.o"), "ringbuf_rounded", { pinPath: "/ring" }))
    const ledger = LedgerKernel.make()
    ledger.pinMap("/ring", { type: 27, keySize: 0, valueSize: 0, maxEntries: 8192 })
    assert.isTrue(Exit.isSuccess(execute(planned(ring), ledger, nothing)))
  })

  /** Another process pins a map between our look and our pin, `times` times; it may take its pin away again. */
  const race = (times: number, attr: Partial<MapAttributes>, vanishes = false) => {
    let left = times
    const ledger: LedgerKernel.Ledger = LedgerKernel.make({
      onEnter: (call) => {
        if (call._tag === "ObjGet" && vanishes) ledger.pins.delete(path)
        if (call._tag === "ObjPin" && left-- > 0) ledger.pinMap(path, attr)
      }
    })
    return ledger
  }

  it("that another process pins first is used after all", () => {
    const ledger = race(1, shape)
    const exit = execute(planned(object), ledger, (loaded) =>
      Effect.gen(function*() {
        const map = loaded.map("shared_counters") ?? assert.fail()
        const pinned = ledger.pins.get(path)
        assert.strictEqual((yield* loaded.session.call({ _tag: "MapGetInfo", map })).id, pinned?.id)
      }))
    assert.isTrue(Exit.isSuccess(exit))
    // Ours was made, and released when it was too late.
    assert.strictEqual(madeBySession(ledger).length, 1)
    assert.isFalse(ledger.entries.some((entry) => entry._tag === "Pin" || entry._tag === "Unpin"))
  })

  it("that another process pins first with another shape is an error", () => {
    const error = failureOf(execute(planned(object), race(1, { ...shape, maxEntries: 9 }), nothing))
    assert.deepStrictEqual((error as PinnedMapError).differences, ["max_entries is 9, the object wants 8"])
  })

  it("is created again when the other pin has vanished; losing twice is an error", () => {
    const vanished = race(1, shape, true)
    assert.isTrue(Exit.isSuccess(execute(planned(object), vanished, nothing)))
    assert.strictEqual(madeBySession(vanished).length, 2)
    const lost = failureOf(execute(planned(object), race(2, shape, true), nothing))
    assert.deepInclude({ ...(lost as object) }, { _tag: "KernelError", call: "ObjPin", errno: "EEXIST" })
  })

  it("that cannot be looked at is an error", () => {
    const ledger = LedgerKernel.make({ refuse: (call) => call._tag === "ObjGet" ? "EPERM" : undefined })
    const error = failureOf(execute(planned(object), ledger, nothing))
    assert.deepInclude({ ...(error as object) }, { call: "ObjGet", errno: "EPERM" })
    assert.deepStrictEqual(madeBySession(ledger), [])
  })
})

describe("differences", () => {
  const info = { ...LedgerKernel.plainMap, id: 1, btfId: 0, btfKeyTypeId: 0, btfValueTypeId: 0 }

  it("do not count the flag that the kernel adds to maps of devices", () => {
    for (const type of [14, 25]) {
      const wanted = { ...LedgerKernel.plainMap, type }
      assert.deepStrictEqual(differences(wanted, { ...info, type, flags: 0x80 }), [])
      assert.deepStrictEqual(differences(wanted, { ...info, type, flags: 0x81 }), [
        "map_flags is 1, the object wants 0"
      ])
    }
    assert.deepStrictEqual(differences(LedgerKernel.plainMap, { ...info, flags: 0x80 }), [
      "map_flags is 128, the object wants 0"
    ])
  })

  it("do not count names, NUMA nodes and devices", () => {
    assert.deepStrictEqual(differences(LedgerKernel.plainMap, { ...info, name: "other", numaNode: 1, ifindex: 2 }), [])
  })
})
