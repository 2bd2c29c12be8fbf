/**
 * Verdicts over the corpus, with the verifier of the running kernel as the judge: a program that it takes has nothing that
 * we call reachable; where it comes to an instruction that needs what the kernel does not have, we have not called that
 * guarded.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Insn from "../../src/insn/Insn.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import * as CoreReport from "../../src/stages/relocate/CoreReport.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import type { RelocatedObject } from "../../src/stages/relocate/RelocatedObject.ts"
import { bpffs, corpus, corpusFolder, describeWith } from "../support/Require.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

/** The object with one program, and with its pins where they hurt nobody. */
const only = (object: BpfObject, name: string): BpfObject => {
  const entries = object.programs.filter((program) => program.entry)
  const alone = entries.reduce(
    (edited, program) => Result.getOrThrow(Edit.setProgram(edited, program.name, { autoload: program.name === name })),
    object
  )
  const folder = bpffs()
  return {
    ...alone,
    maps: alone.maps.map((map) =>
      map.pinPath === undefined ? map : { ...map, pinPath: Path.join(folder, Path.basename(map.pinPath)) }
    )
  }
}

/** As if the kernel did not have what `isGone` says of a path: checks come to 0, everything else is poisoned. */
const without = (relocated: RelocatedObject, isGone: (path: string) => boolean): RelocatedObject => ({
  ...relocated,
  programs: relocated.programs.map((program) => {
    const insns = new Uint8Array(program.code.insns)
    const core = program.core?.map((outcome): Core.CoreOutcome => {
      const { kind, path, slot } = outcome
      if (!isGone(path) || /type_id/.test(kind)) return outcome
      const gone = { ...outcome, candidates: [], found: false }
      if (/exists|matches|type_size/.test(kind)) {
        Insn.setImm(insns, slot, 0)
        return { ...gone, result: { _tag: "Value", value: 0n, size: undefined } }
      }
      const slots = Insn.isLdImm64(insns, slot) ? [slot, slot + 1] : [slot]
      for (const each of slots) Insn.setSlot(insns, each, Insn.CALL, 0, 0, 0, Core.POISON)
      return { ...gone, result: { _tag: "Poisoned", why: "Missing" } }
    })
    return { ...program, code: { ...program.code, insns }, core }
  })
})

/** What our report says of a program, and what the kernel says. */
const judge = (object: BpfObject, name: string, isGone: (path: string) => boolean = () => false) =>
  Effect.gen(function*() {
    const relocated = without(yield* Relocate.relocate.run(only(object, name)), isGone)
    const entries = CoreReport.of(relocated).flatMap(({ entries }) => entries)
    const poisoned = entries.flatMap(({ outcome, path, slot }) =>
      outcome._tag === "Poisoned" ? [{ path, slot, verdict: outcome.verdict }] : []
    )
    if (poisoned.length === 0) return { poisoned, said: "nothing is missing", at: undefined }
    const planned = yield* Plan.plan.run(relocated)
    const said = yield* Effect.scoped(Effect.result(Execute.toLoaded(planned)))
    if (Result.isSuccess(said)) return { poisoned, said: "loads", at: undefined }
    const error = said.failure
    return error._tag === "VerifierError"
      ? { poisoned, said: error.relocation === undefined ? "is refused" : "needs it", at: error.instruction }
      : { poisoned, said: error._tag, at: undefined }
  }).pipe(
    Effect.catch((error) => Effect.succeed({ poisoned: [], said: error._tag, at: undefined })),
    Effect.provide(KernelLive.layer)
  )

/** A number that depends on a text and a seed. */
const hash = (text: string, seed: number): number => {
  let sum = seed
  for (const character of text) sum = Math.imul(sum ^ (character.codePointAt(0) ?? 0), 0x01000193)
  return (sum ^ (sum >>> 15)) >>> 0
}

describeWith({ kind: "live", files: [vmlinux, corpusFolder] }, "verdicts over the corpus", () => {
  const compare = Effect.fnUntraced(function*(title: string, isGone: (path: string) => boolean) {
    const counts = new Map<string, number>()
    const wrong: Array<string> = []
    for (const path of corpus()) {
      const opened = Open.fromBytes(new Uint8Array(Fs.readFileSync(path)), { path })
      if (Result.isFailure(opened) || opened.success.byteOrder !== "little") continue
      const object = opened.success
      if (object.btfExt?.coreRelocations === undefined) continue
      for (const { entry, name } of object.programs) {
        if (!entry) continue
        const { at, poisoned, said } = yield* judge(object, name, isGone)
        const worst = ["reachable", "unknown", "guarded"].find((each) => poisoned.some((one) => one.verdict === each))
        const what = `${said}${worst === undefined ? "" : `, at worst ${worst}`}`
        counts.set(what, (counts.get(what) ?? 0) + 1)
        const where = `${Path.basename(path)} ${name}`
        if (said === "loads") {
          for (const { path, verdict } of poisoned) if (verdict === "reachable") wrong.push(`${where}: ${path}`)
        }
        const found = poisoned.find(({ slot }) => slot === at)
        if (said === "needs it" && found?.verdict !== "reachable" && found?.verdict !== "unknown") {
          wrong.push(`${where}: instruction ${at} is ${found?.verdict}`)
        }
      }
    }
    Fs.writeSync(
      2,
      `\n${title}: ${JSON.stringify(Object.fromEntries([...counts].sort(([a], [b]) => a < b ? -1 : 1)))}\n`
    )
    return { counts, wrong }
  })

  it.live("are the verifier's", () =>
    Effect.gen(function*() {
      const { counts, wrong } = yield* compare("verdicts on the running kernel", () => false)
      assert.deepStrictEqual(wrong, [])
      assert.isAbove(counts.get("loads, at worst guarded") ?? 0, 0)
      assert.isAbove(counts.get("needs it, at worst reachable") ?? 0, 10)
    }), 600_000)

  it.live("are the verifier's where the kernel lacks some of what programs access", () =>
    Effect.gen(function*() {
      for (const seed of [1, 2, 3, 4]) {
        const { counts, wrong } = yield* compare(
          `verdicts where something is gone (${seed})`,
          (path) => hash(path, seed) % 4 === 0
        )
        assert.deepStrictEqual(wrong, [])
        assert.isAbove(counts.get("needs it, at worst reachable") ?? 0, 30)
      }
    }), 600_000)
})
