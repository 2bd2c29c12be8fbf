/** Programs that replace or watch functions of other programs, on the running kernel. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import type { ExecuteError } from "../../src/stages/load/Execute.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Given from "../../src/stages/open/Given.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { describeWith, fixture } from "../support/Require.ts"

const object = Result.getOrThrow(Open.fromBytes(fixture("program_targets.bpf.o"), { path: "program_targets.bpf.o" }))

const attached = (base: BpfObject, name: string, target: Edit.AttachTo): BpfObject =>
  Result.getOrThrow(Result.flatMap(Edit.attachTo(base, name, target), (edited) => Edit.setAutoload(edited, name, true)))

/** The object without its target, which is loaded already. */
const withoutTarget = Result.getOrThrow(Edit.setAutoload(object, "target", false))

const load = Effect.fnUntraced(function*(object: BpfObject) {
  const plan = yield* Plan.plan.run(yield* Relocate.relocate.run(object))
  return yield* Execute.toLoaded(plan)
}, Effect.provide(KernelLive.layer))

/** Whether this kernel refuses programs with trampolines before it looks at them; it then says no word. */
const isPolicy = (error: ExecuteError): boolean =>
  error._tag === "VerifierError" && error.errno === "EPERM" && error.log === ""

/** Loads; where a policy of the kernel forbids trampolines, that must be its only complaint. */
const loads = (object: BpfObject) =>
  Effect.map(Effect.result(load(object)), (result): "loaded" | "forbidden" => {
    if (Result.isSuccess(result)) return "loaded"
    const error = result.failure
    if (error._tag !== "VerifierError" || !isPolicy(error)) return assert.fail(error.message)
    return "forbidden"
  })

const refusal = (object: BpfObject) => Effect.map(Effect.flip(load(object)), (error) => error.message)

// The types of the other program are read by their identifier, which only root may.
describeWith({ kind: "live", root: true }, "programs for programs", () => {
  it.live("replace and watch functions of a program of the same object", () =>
    Effect.scoped(Effect.gen(function*() {
      const answers = new Set<string>()
      answers.add(yield* loads(attached(object, "replacement", { program: "target" })))
      answers.add(yield* loads(attached(object, "watch_entry", { program: "target" })))
      answers.add(yield* loads(attached(object, "watch_exit", { program: "target" })))
      // A policy is one for all of them.
      assert.strictEqual(answers.size, 1)
    })))

  it.live("take a program of the user's by its descriptor, identifier and pin", () =>
    Effect.scoped(Effect.gen(function*() {
      const before = openDescriptors()
      const target = yield* load(object)
      const program = target.program("target") ?? assert.fail("not loaded")
      const { id } = yield* target.session.call({ _tag: "ProgGetInfo", prog: program })
      const descriptor = openDescriptors().find((fd) =>
        !before.includes(fd) && Fs.readFileSync(`/proc/self/fdinfo/${fd}`, "utf8").includes(`prog_id:\t${id}\n`)
      ) ?? assert.fail("no descriptor")
      const path = `/sys/fs/bpf/effect-bpf-target-${process.pid}`
      yield* target.session.call({ _tag: "ObjPin", object: program, path })
      const open = openDescriptors()
      for (const given of [Given.descriptor(descriptor), Given.id(id), Given.pin(path)]) {
        yield* Effect.scoped(loads(attached(withoutTarget, "replacement", { program: given })))
        // The target is still the user's, and nothing else is left open.
        assert.deepStrictEqual(openDescriptors(), open)
        const missing = attached(withoutTarget, "replacement", { program: given, function: "watch_exit" })
        assert.match(yield* Effect.scoped(refusal(missing)), /no function watch_exit; it has target, choose$/)
        assert.deepStrictEqual(openDescriptors(), open)
      }
      const gone = attached(withoutTarget, "replacement", { program: Given.id(0x7fff_ffff) })
      assert.match(yield* Effect.scoped(refusal(gone)), /ENOENT/)
    })))

  it.live("say when the target has no types, or is none", () =>
    Effect.scoped(Effect.gen(function*() {
      const bare = { ...object, btf: undefined }
      assert.match(
        yield* refusal(attached(bare, "replacement", { program: "target" })),
        /EINVAL\nhint: the target program target was loaded without BTF/
      )
      const before = openDescriptors()
      const loaded = yield* load(object)
      const map = loaded.map(".bss") ?? assert.fail("no map")
      const { id } = yield* loaded.session.call({ _tag: "MapGetInfo", map })
      const fd = openDescriptors().find((fd) =>
        !before.includes(fd) && Fs.readFileSync(`/proc/self/fdinfo/${fd}`, "utf8").includes(`map_id:\t${id}\n`)
      ) ?? assert.fail("no descriptor")
      const wrong = attached(withoutTarget, "replacement", { program: Given.descriptor(fd) })
      assert.match(yield* refusal(wrong), /another kind of object/)
    })))
})
