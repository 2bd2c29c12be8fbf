/** Programs that are for functions of other programs: edits, plans, and loads on a simulated kernel. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { Kernel } from "../../../../src/services/Kernel/Kernel.ts"
import * as KernelRecording from "../../../../src/services/Kernel/KernelRecording.ts"
import * as KernelSimulated from "../../../../src/services/Kernel/KernelSimulated.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as Execute from "../../../../src/stages/load/Execute.ts"
import * as LoadPlan from "../../../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../../../src/stages/open/BpfObject.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as Given from "../../../../src/stages/open/Given.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import { opened, planned } from "../Pipeline.ts"

const object = opened("program_targets.bpf.o")
const position = (name: string): number => object.programs.findIndex((program) => program.name === name)

/** Takes a program for what the edit says, and loads it. */
const attached = (base: BpfObject, name: string, target: Edit.AttachTo): BpfObject =>
  Result.getOrThrow(Result.flatMap(Edit.attachTo(base, name, target), (edited) => Edit.setAutoload(edited, name, true)))

/** The calls that load a program, or fetch and let go of one. */
const progCalls = (object: BpfObject): ReadonlyArray<string> =>
  LoadPlan.mainCalls(planned(object).plan).flatMap((call) => {
    if (call._tag === "ProgLoad") return [`load ${call.attr.name}`]
    if (call._tag === "Close" && call.ref._tag === "Prog") return [`close ${Ref.key(call.ref)}`]
    if (call._tag === "ObjGet" || call._tag === "GetById" || call._tag === "Adopt") {
      return [`${call._tag} ${Ref.key(call.as)}`]
    }
    return []
  })

const refusedEdit = (name: string, target: Edit.AttachTo): string => {
  const edited = Edit.attachTo(object, name, target)
  return Result.isFailure(edited) ? `${edited.failure.reason}: ${edited.failure.message}` : assert.fail("not refused")
}

describe("a program for a function of another", () => {
  it("is planned behind it, and that one behind its own", () => {
    const both = attached(
      attached(object, "watch_entry", { program: "replacement", function: "replacement" }),
      "replacement",
      { program: "target" }
    )
    assert.deepStrictEqual(progCalls(both), ["load target", "load replacement", "load watch_entry"])
    const load = LoadPlan.mainCalls(planned(both).plan).find((call) =>
      call._tag === "ProgLoad" && call.attr.name === "replacement"
    )
    assert.deepStrictEqual(load?._tag === "ProgLoad" ? load.attachTo : undefined, {
      program: Ref.prog(position("target")),
      function: "choose"
    })
  })

  it("waits for it when its function is in a section that comes later", () => {
    // `watch_entry` stands before nothing; an xdp program for a program behind it must wait.
    const ring = Result.getOrThrow(Edit.setSection(object, "target", "fentry/watch_exit"))
    const late = attached(
      attached(ring, "target", { program: "watch_exit", function: "watch_exit" }),
      "watch_exit",
      { program: Given.id(7), function: "choose" }
    )
    const far = `prog#${object.programs.length + position("watch_exit")}`
    assert.deepStrictEqual(progCalls(late), [`GetById ${far}`, "load watch_exit", `close ${far}`, "load target"])
  })

  it("cannot be for one that is for it", () => {
    const ring = attached(
      attached(object, "watch_entry", { program: "watch_exit", function: "watch_exit" }),
      "watch_exit",
      { program: "watch_entry", function: "watch_entry" }
    )
    assert.throws(() => planned(ring), /for a program that is for this one/)
  })

  it("is refused where the other is not loaded, or is not named", () => {
    const alone = Result.getOrThrow(
      Edit.setAutoload(attached(object, "replacement", { program: "target" }), "target", false)
    )
    assert.throws(() => planned(alone), /a function of target, which is not loaded\nhint: load target too/)
    const nameless = Result.getOrThrow(Edit.setAutoload(object, "replacement", true))
    assert.throws(() => planned(nameless), /function choose of another program.*Edit\.attachTo/s)
  })

  it("takes programs of the user's by descriptor, pin and id, and keeps only the user's own descriptor", () => {
    const name = `prog#${object.programs.length + position("replacement")}`
    const calls = (given: Given.Given) => progCalls(attached(object, "replacement", { program: given }))
    assert.deepStrictEqual(calls(Given.descriptor(9)), ["load target", `Adopt ${name}`, "load replacement"])
    assert.deepStrictEqual(calls(Given.pin("/sys/fs/bpf/p")), [
      "load target",
      `ObjGet ${name}`,
      "load replacement",
      `close ${name}`
    ])
    assert.deepStrictEqual(calls(Given.id(3)), [
      "load target",
      `GetById ${name}`,
      "load replacement",
      `close ${name}`
    ])
  })

  it("is edited with names that exist", () => {
    assert.match(
      refusedEdit("target", { program: "replacement" }),
      /^AttachTarget: .*xdp are not for functions of other/i
    )
    assert.match(refusedEdit("replacement", { program: "replacement" }), /a function of its own/)
    assert.match(refusedEdit("replacement", { program: "tarjet" }), /no program tarjet: the object has target,/)
    assert.match(refusedEdit("replacement", { program: "target", function: "chose" }), /no function chose: .*choose/)
    assert.match(refusedEdit("replacement", { program: Given.id(0) }), /0 is no identifier/)
    assert.match(refusedEdit("replacement", { program: Given.pin("") }), /neither empty/)
    assert.match(refusedEdit("replacement", { program: Given.descriptor(-1) }), /-1 is no descriptor/)
    assert.match(refusedEdit("nobody", { program: "target" }), /^NoSuchProgram/)
  })

  it("is for the kernel again when its section is another", () => {
    const away = Result.getOrThrow(
      Edit.setSection(attached(object, "replacement", { program: "target" }), "replacement", "xdp")
    )
    assert.isUndefined(away.programs[position("replacement")]?.attachProgram)
  })
})

describe("a simulated kernel", () => {
  /** Loads through one simulated kernel; what it answers to each object in turn. */
  const load = (...objects: ReadonlyArray<BpfObject>): ReadonlyArray<string> =>
    Effect.runSync(Effect.scoped(Effect.gen(function*() {
      const { kernel } = yield* KernelSimulated.make()
      const answers: Array<string> = []
      for (const each of objects) {
        const loading = Effect.gen(function*() {
          const plan = yield* Plan.plan.run(yield* Relocate.relocate.run(each))
          return yield* Execute.toLoaded(plan)
        }).pipe(Effect.provideService(Kernel, kernel), Effect.result)
        const result = yield* loading
        answers.push(Result.isSuccess(result) ? "loaded" : result.failure.message)
      }
      return answers
    })))

  it("loads it, and looks its function up by name", () => {
    assert.deepStrictEqual(load(attached(object, "replacement", { program: "target" })), ["loaded"])
    // `watch_exit` is a function of the object, and not of the program: only the program's own count.
    const [answer] = load(attached(object, "replacement", { program: "target", function: "watch_exit" }))
    assert.match(answer ?? "", /ESRCH\nhint: .*target has no function watch_exit; it has target, choose$/)
  })

  it("says when the other has no types", () => {
    const bare = { ...object, btf: undefined }
    const [answer] = load(attached(bare, "replacement", { program: "target" }))
    assert.match(answer ?? "", /EINVAL\nhint: .*target was loaded without BTF/)
  })

  it("takes one by its identifier", () => {
    assert.deepStrictEqual(load(object, attached(object, "replacement", { program: Given.id(1) })), [
      "loaded",
      "loaded"
    ])
    const [answer] = load(attached(object, "replacement", { program: Given.id(77) }))
    assert.match(answer ?? "", /ENOENT/)
  })
})

describe("a recorder", () => {
  it("finds the function in the types of the object itself", () => {
    const loader = Effect.runSync(
      KernelRecording.record(planned(attached(object, "replacement", { program: "target" })))
    )
    const handedOut = loader.programs.filter(({ published }) => published).map(({ name }) => name)
    assert.deepStrictEqual(handedOut, ["target", "replacement"])
    assert.deepStrictEqual(loader.inputs, [])
  })
})
