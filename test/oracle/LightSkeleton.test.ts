/** C light skeletons beside bpftool's: see the full run for all fixtures. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { describeWith, newBpftool } from "../support/Require.ts"
import * as SkeletonBeside from "../support/SkeletonBeside.ts"

describeWith({ kind: "oracle", tools: ["clang"], files: [newBpftool], root: true }, "a C light skeleton", () => {
  it.live.each(["xdp_firewall.bpf.o", "externs.bpf.o"])(
    "%s prints what one with bpftool's header prints",
    (file) =>
      Effect.gen(function*() {
        const skeleton = yield* SkeletonBeside.ours(file)
        const header = SkeletonBeside.bpftools(file, newBpftool)
        if (header === undefined) return assert.fail("bpftool makes none")
        const printed = SkeletonBeside.compiled(skeleton, skeleton.header)
        assert.match(printed, /left open 0\n$/)
        assert.strictEqual(printed, SkeletonBeside.compiled(skeleton, header))
      }).pipe(Effect.provide(KernelLive.layer))
  )

  it.live("named fault: a size that is not the variable's is no program", () =>
    Effect.gen(function*() {
      const skeleton = yield* SkeletonBeside.ours("xdp_firewall.bpf.o")
      const bent = skeleton.header.replace(/(sizeof\(s->rodata->sample_every\) == )4/, "$13")
      assert.notStrictEqual(bent, skeleton.header)
      assert.throws(() => SkeletonBeside.compiled(skeleton, bent), /unexpected size of 'sample_every'/)
    }).pipe(Effect.provide(KernelLive.layer)))
})
