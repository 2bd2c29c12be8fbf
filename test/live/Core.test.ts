/**
 * CO-RE before the running kernel, which has a relocator of its own: a program whose records we apply has the tag, a hash
 * of its instructions, that it has when the kernel applies them.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Btf from "../../src/btf/Btf.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import type { RelocatedObject } from "../../src/stages/relocate/RelocatedObject.ts"
import { allFixtures, describeWith, fixture } from "../support/Require.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

describeWith({ kind: "live", files: [vmlinux] }, "CO-RE beside the kernel's own relocator", () => {
  const target = Core.target(Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(vmlinux)))))

  /** Applies all records, so that the kernel has none to apply. */
  const applied = (relocated: RelocatedObject): RelocatedObject => ({
    ...relocated,
    programs: relocated.programs.map((program) => {
      const { coreRelocations, insns, refs } = program.code
      const { btf } = relocated.object
      if (coreRelocations === undefined || btf === undefined) return program
      const done = Result.getOrThrow(Core.relocate(insns, coreRelocations, btf, target))
      return { ...program, code: { insns: done.insns, refs } }
    })
  })

  /** The tags of the programs of a fixture, or why it does not load. */
  const tags = (name: string, change: (relocated: RelocatedObject) => RelocatedObject) =>
    Effect.scoped(Effect.gen(function*() {
      const object = yield* Effect.fromResult(Open.fromBytes(fixture(name), { path: name }))
      const planned = yield* Plan.plan.run(change(yield* Relocate.relocate.run(object)))
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
        const theirs = yield* tags(name, (relocated) => relocated)
        const ours = yield* tags(name, applied)
        assert.notMatch(theirs, /^fails/)
        assert.strictEqual(ours, theirs)
      }))
  }

  it.live("named fault: records that are dropped give another tag", () =>
    Effect.gen(function*() {
      const dropped = (relocated: RelocatedObject): RelocatedObject => ({
        ...relocated,
        programs: relocated.programs.map((program) => {
          const { insns, refs } = program.code
          return { ...program, code: { insns, refs } }
        })
      })
      const name = "core_reads.bpf.o"
      assert.notStrictEqual(yield* tags(name, dropped), yield* tags(name, (relocated) => relocated))
    }))

  it.live("types that are nested deeper than the kernel compares load when we compare them", () =>
    Effect.gen(function*() {
      const name = "core_matches.bpf.o"
      assert.match(yield* tags(name, (relocated) => relocated), /^fails/)
      assert.match(yield* tags(name, applied), /^[0-9a-f]{16}$/)
    }))
})
