/**
 * CO-RE before the running kernel, which has a relocator of its own: a program whose records we apply has the tag, a hash
 * of its instructions, that it has when the kernel applies them.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelInfo from "../../src/services/Kernel/KernelInfo.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Asked from "../../src/stages/Asked.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import type { RelocatedObject } from "../../src/stages/relocate/RelocatedObject.ts"
import { allFixtures, describeWith, fixture } from "../support/Require.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

describeWith({ kind: "live", files: [vmlinux] }, "CO-RE beside the kernel's own relocator", () => {
  /** Relocates as for a kernel that nobody knows yet: the records go along. */
  const byKernel = (object: BpfObject) =>
    Effect.map(
      Asked.drive((info) => Relocate.toObject(object, KernelInfo.add(info, { vmlinuxTypes: KernelInfo.deferred }))),
      ({ value }) => value
    )

  const byUs = Relocate.relocate.run

  /** The tags of the programs of a fixture, or why it does not load. */
  const tags = (
    name: string,
    relocate: (object: BpfObject) => Effect.Effect<RelocatedObject, Effect.Error<ReturnType<typeof byUs>>, Kernel>
  ) =>
    Effect.scoped(Effect.gen(function*() {
      const object = yield* Effect.fromResult(Open.fromBytes(fixture(name), { path: name }))
      const planned = yield* Plan.plan.run(yield* relocate(object))
      const loaded = yield* Execute.toLoaded(planned)
      const tags: Array<string> = []
      for (const [position] of loaded.object.programs.entries()) {
        if (!loaded.session.exists(Ref.prog(position))) continue
        const { tag } = yield* loaded.session.call({ _tag: "ProgGetInfo", prog: Ref.prog(position) })
        tags.push(tag)
      }
      return tags.join(" ")
    })).pipe(
      Effect.catch((error) => Effect.succeed(`fails: ${error.message}`)),
      Effect.provide(KernelLive.layer)
    )

  const withRecords = allFixtures().filter((name) => {
    if (!name.endsWith(".bpf.o")) return false
    const opened = Open.fromBytes(fixture(name), { path: name })
    return Result.isSuccess(opened) && opened.success.btfExt?.coreRelocations !== undefined
  })

  for (const name of withRecords.filter((name) => name !== "core_matches.bpf.o")) {
    it.live(name, () =>
      Effect.gen(function*() {
        const theirs = yield* tags(name, byKernel)
        const ours = yield* tags(name, byUs)
        assert.notMatch(theirs, /^fails/)
        assert.strictEqual(ours, theirs)
      }))
  }

  it.live("named fault: records that are dropped give another tag", () =>
    Effect.gen(function*() {
      const dropped = (object: BpfObject) =>
        Effect.map(byKernel(object), (relocated) => ({
          ...relocated,
          programs: relocated.programs.map((program) => {
            const { insns, refs } = program.code
            return { ...program, code: { insns, refs } }
          })
        }))
      const name = "core_reads.bpf.o"
      assert.notStrictEqual(yield* tags(name, dropped), yield* tags(name, byUs))
    }))

  it.live("types that are nested deeper than the kernel compares load when we compare them", () =>
    Effect.gen(function*() {
      const name = "core_matches.bpf.o"
      assert.match(yield* tags(name, byKernel), /^fails/)
      assert.match(yield* tags(name, byUs), /^[0-9a-f]{16}$/)
    }))
})
