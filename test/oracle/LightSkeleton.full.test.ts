/**
 * C light skeletons of all fixtures: they compile as C and as C++ without a warning, load, attach and leave nothing open; and
 * where bpftool makes one of the object, a program with its header prints the same.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { allFixtures, describeWith, newBpftool } from "../support/Require.ts"
import * as SkeletonBeside from "../support/SkeletonBeside.ts"

/** What is meant to differ, by fixture: these texts stand for nothing. */
const deliberate: ReadonlyMap<string, RegExp> = new Map([
  // bpf_rcu_read_lock___second_spelling is bpf_rcu_read_lock, as in newer libbpf's loads; its generator asks for the flavour.
  ["ksyms.bpf.o", /(?<=name call_kernel )bytes \d+/],
  // bpftool's attaches descriptor 0 for programs that are not loaded.
  ["program_targets.bpf.o", /attached -?\d+/]
])

/** Fixtures whose loaders this kernel refuses, by what the program prints. */
const refusals = /^cannot load/

describeWith({ kind: "oracle", tools: ["clang"], files: [newBpftool], root: true }, "C light skeletons", () => {
  it.live("compile, run, and print what those with bpftool's header print", () =>
    Effect.gen(function*() {
      const compared: Array<string> = []
      const alone: Array<string> = []
      const refused: Array<string> = []
      for (const file of allFixtures().filter((each) => /^[^/]*[.]bpf[.]o$/.test(each))) {
        const made = yield* Effect.result(SkeletonBeside.ours(file))
        if (Result.isFailure(made)) continue
        const skeleton = made.success
        const printed = SkeletonBeside.compiled(skeleton, skeleton.header)
        const inCpp = SkeletonBeside.compiled(skeleton, skeleton.header, "c++")
        assert.strictEqual(inCpp, printed, file)
        if (refusals.test(printed)) {
          refused.push(`${file}: ${printed.trim()}`)
          continue
        }
        assert.match(printed, /left open 0\n$/, file)
        const header = SkeletonBeside.bpftools(file, newBpftool)
        const theirs = header === undefined ? undefined : SkeletonBeside.compiled(skeleton, header)
        // Its loaders of more than 32 programs are refused by the verifier.
        if (theirs === undefined || refusals.test(theirs)) {
          alone.push(file)
          continue
        }
        const comparable = (text: string): string => text.replace(deliberate.get(file) ?? /$^/, "")
        assert.strictEqual(comparable(printed), comparable(theirs), file)
        compared.push(file)
      }
      console.log(
        `${compared.length} skeletons as bpftool's, ${alone.length} that bpftool does not make, or whose the kernel refuses (${
          alone.join(", ")
        })\n` +
          refused.join("\n")
      )
      assert.isAtLeast(compared.length, 15)
      assert.isAtMost(refused.length, 3)
    }).pipe(Effect.provide(KernelLive.layer)))
})
