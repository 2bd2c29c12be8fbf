/** Maps of the user's in place of an object's own: edits, plans, and loads on the simulated kernel. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { planDocument } from "../../../../src/cli/json/PlanDocument.ts"
import { planText } from "../../../../src/cli/text/PlanText.ts"
import { plain, render } from "../../../../src/cli/text/Text.ts"
import { Kernel, type KernelShape, type Session } from "../../../../src/services/Kernel/Kernel.ts"
import { UnsupportedCall } from "../../../../src/services/Kernel/KernelError.ts"
import * as KernelFaulty from "../../../../src/services/Kernel/KernelFaulty.ts"
import * as KernelRecording from "../../../../src/services/Kernel/KernelRecording.ts"
import * as KernelSimulated from "../../../../src/services/Kernel/KernelSimulated.ts"
import * as KernelTraced from "../../../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as Execute from "../../../../src/stages/load/Execute.ts"
import { mainCalls } from "../../../../src/stages/load/LoadPlan.ts"
import { ReplacedMapError } from "../../../../src/stages/load/PinnedMap.ts"
import type { PlannedObject } from "../../../../src/stages/load/Plan.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as Given from "../../../../src/stages/open/Given.ts"
import { outline } from "./outline.ts"
import { opened, planned } from "../Pipeline.ts"

const path = "/sys/fs/bpf/mine"
const object = opened("xdp_firewall.bpf.o")
const stats = object.maps.find(({ name }) => name === "stats") ?? assert.fail()

const edited = (name: string, changes: Edit.MapChanges, base = object) =>
  Result.getOrThrow(Edit.setMap(base, name, changes))

const refused = (name: string, changes: Edit.MapChanges, base = object): Edit.EditError => {
  const result = Edit.setMap(base, name, changes)
  return Result.isFailure(result) ? result.failure : assert.fail("it was accepted")
}

/** A kernel on which the user has a map, pinned at `path`. */
const withMap = Effect.fnUntraced(function*(maxEntries = stats.attr.maxEntries) {
  const { kernel } = yield* KernelSimulated.make()
  yield* Effect.scoped(Effect.gen(function*() {
    const session = yield* kernel.session()
    yield* session.call({ _tag: "MapCreate", as: Ref.map(0), attr: { ...stats.attr, maxEntries, name: "mine" } })
    yield* session.call({ _tag: "ObjPin", object: Ref.map(0), path })
    yield* session.commit
  }))
  return kernel
})

const load = (kernel: KernelShape, plan: PlannedObject) =>
  Execute.toLoaded(plan).pipe(Effect.provideService(Kernel, kernel))

/** The identifiers of the maps that a kernel has. */
const mapIds = Effect.fnUntraced(function*(session: Session) {
  const ids: Array<number> = []
  let id = yield* session.call({ _tag: "IdNext", kind: "Map", after: 0 })
  while (id !== undefined) {
    ids.push(id)
    id = yield* session.call({ _tag: "IdNext", kind: "Map", after: id })
  }
  return ids
})

const allMaps = (kernel: KernelShape) => Effect.scoped(Effect.flatMap(kernel.session(), mapIds))

describe("a map of the user's", () => {
  it("is named by an edit, which can be taken back", () => {
    const one = edited("stats", { replacedBy: Given.pin(path) })
    assert.deepStrictEqual(one.maps.find(({ name }) => name === "stats")?.replacedBy, Given.pin(path))
    assert.deepStrictEqual(Edit.replaceMap(object, "stats", Given.pin(path)), Result.succeed(one))
    assert.deepStrictEqual(edited("stats", { replacedBy: null }, one), object)
    // Another edit leaves it.
    assert.isDefined(edited("stats", { maxEntries: 3 }, one).maps.find(({ name }) => name === "stats")?.replacedBy)
  })

  it("is refused where it is none, or cannot be", () => {
    for (const given of [Given.descriptor(-1), Given.pin(""), Given.pin("a\0b"), Given.id(0), Given.id(1.5)]) {
      assert.strictEqual(refused("stats", { replacedBy: given }).reason, "Handle", JSON.stringify(given))
      assert.strictEqual(refused("stats", { innerLike: given }).reason, "Handle")
    }
    assert.match(refused("stats", { innerLike: Given.id(1) }).message, /only maps of maps/)
    const ops = opened("struct_ops.bpf.o")
    const struct = ops.maps.find(({ origin }) => origin === "StructOps")?.name ?? ""
    assert.match(refused(struct, { replacedBy: Given.id(1) }, ops).message, /struct_ops variable cannot be another map/)
    assert.strictEqual(refused("stats", { exclusiveTo: "nobody" }).reason, "NoSuchProgram")
  })

  it("is taken by one call in the plan, and is neither filled nor sealed nor pinned", () => {
    const { object: of, plan } = planned(
      edited(".rodata", { replacedBy: Given.descriptor(7), pinPath: "/sys/fs/bpf/r" })
    )
    const lines = outline(of, plan)
    assert.isFalse(lines.some((line) => /(create|fill|freeze|ensure|pin).*rodata/.test(line)), lines.join("\n"))
    const adopt = plan.find((step) => step._tag === "Call" && step.call._tag === "Adopt")
    if (adopt?._tag !== "Call") return assert.fail("no step takes it")
    assert.deepInclude(adopt.call, { fd: 7 })
    assert.strictEqual(adopt.mustEqual?.flags, object.maps.find(({ origin }) => origin === "Rodata")?.attr.flags)
    assert.deepStrictEqual(adopt.notes, ["the pin /sys/fs/bpf/r is left alone", "what is in it stays"])
    assert.isTrue(adopt.required)
    // Programs keep it alive all the same.
    assert.isTrue(mainCalls(plan).some((call) => call._tag === "ProgBindMap"))
  })

  it("keeps what is in its slots", () => {
    const array = opened("prog_array.bpf.o")
    const slots = (of: typeof array) => outline(of, planned(of).plan).filter((line) => line.startsWith("steps[")).length
    assert.isAbove(slots(array), 0)
    assert.strictEqual(slots(edited("steps", { replacedBy: Given.id(4) }, array)), 0)
    const nested = opened("map_in_map.bpf.o")
    const inner = planned(edited("array_of_maps", { replacedBy: Given.id(4) }, nested))
    assert.isFalse(outline(inner.object, inner.plan).some((line) => line.startsWith("array_of_maps[")))
  })

  it("is shown by the plan's text and document", () => {
    const plan = planned(edited("stats", { replacedBy: Given.pin(path) }))
    const text = render(planText(plan, "live", "x.o"), plain)
    assert.match(text, /BPF_OBJ_GET +map stats, in whose place there is \/sys\/fs\/bpf\/mine: \/sys\/fs\/bpf\/mine/)
    assert.match(text, /it must be: hash, key 4 B, value 16 B, max_entries 16/)
    const document = JSON.stringify(planDocument(plan, "live", "x.o"))
    assert.match(document, /"must_equal":\{"type":1,"key_size":4,"value_size":16,"max_entries":16/)
    const shape = planned(
      edited("only_template", { innerLike: Given.id(12) }, opened("map_in_map.bpf.o"))
    )
    assert.match(render(planText(shape, "live", "x.o"), plain), /holding maps like id 12/)
  })

  it.effect("is loaded by its pin and its identifier, and lives on", () =>
    Effect.gen(function*() {
      const kernel = yield* withMap()
      const [id] = yield* allMaps(kernel)
      for (const given of [Given.pin(path), Given.id(id ?? 0)]) {
        yield* Effect.scoped(Effect.gen(function*() {
          const loaded = yield* load(kernel, planned(edited("stats", { replacedBy: given })))
          const map = loaded.map("stats") ?? assert.fail()
          assert.strictEqual((yield* loaded.session.call({ _tag: "MapGetInfo", map })).id, id)
        }))
        assert.deepStrictEqual(yield* allMaps(kernel), [id])
      }
    }))

  it.effect("of another shape is refused, by each field", () =>
    Effect.gen(function*() {
      const kernel = yield* withMap(3)
      const error = yield* Effect.flip(
        Effect.scoped(load(kernel, planned(edited("stats", { replacedBy: Given.pin(path) }))))
      )
      if (!(error instanceof ReplacedMapError)) return assert.fail(String(error))
      assert.deepStrictEqual(error.differences, ["max_entries is 3, the object wants 16"])
      assert.strictEqual(error.handle, path)
      assert.strictEqual((yield* allMaps(kernel)).length, 1)
    }))

  it.effect("is left as it was, whichever attempt of the load fails or is interrupted", () =>
    Effect.gen(function*() {
      const plan = planned(edited("stats", { replacedBy: Given.pin(path) }))
      const traced = yield* KernelTraced.make(yield* withMap())
      yield* Effect.scoped(load(traced.kernel, plan))
      const attempts = (yield* traced.attempts).length
      assert.isAbove(attempts, mainCalls(plan.plan).length - 1)
      for (const tag of ["Answer", "InterruptBefore", "InterruptAfter"] as const) {
        for (let at = 0; at < attempts; at++) {
          const kernel = yield* withMap()
          const faulty = yield* KernelFaulty.make(
            kernel,
            at,
            tag === "Answer" ? { _tag: tag, errno: "EPERM" } : { _tag: tag }
          )
          const fiber = yield* Effect.forkChild(Effect.scoped(load(faulty, plan)))
          yield* Fiber.await(fiber)
          assert.strictEqual((yield* allMaps(kernel)).length, 1, `${tag} ${at}`)
        }
      }
    }))

  it.effect("cannot be recorded: a loader runs later, elsewhere", () =>
    Effect.gen(function*() {
      const plan = planned(edited("stats", { replacedBy: Given.descriptor(7) }))
      const error = yield* Effect.flip(KernelRecording.record(plan))
      assert.isTrue(error instanceof UnsupportedCall && error.call === "adopt", String(error))
    }))
})
