/** C light skeletons beside bpftool's: see the full run for all fixtures. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { command } from "../support/InProcess.ts"
import { describeWith, newBpftool, repository, run, temporaryFolder, toolPath } from "../support/Require.ts"
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

  it.live("is all that a program has to include; in the kernel it includes no header of the C library", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const object = Path.join(repository, "test/fixtures/externs.bpf.o")
      const header = Path.join(folder, "externs.lskel.h")
      assert.strictEqual((yield* command("gen", "skeleton", "-L", "--types", object, "-o", header)).status, 0)
      const source = Path.join(folder, "alone.c")
      Fs.writeFileSync(source, "#include \"externs.lskel.h\"\nint main(void) { return externs_bpf__open() == 0; }\n")
      const clang = toolPath("clang") ?? "clang"
      const alone = run(clang, ["-fsyntax-only", "-Wall", "-Werror", "-Wno-unused-function", source])
      assert.strictEqual(alone.status, 0, alone.stderr)
      // Stands for what the kernel's build has: libbpf's header, and none of the C library.
      Fs.mkdirSync(Path.join(folder, "bpf"))
      Fs.writeFileSync(Path.join(folder, "bpf/skel_internal.h"), "")
      const inKernel = run(clang, ["-E", "-D__KERNEL__", "-nostdinc", "-I", folder, source])
      assert.strictEqual(inKernel.status, 0, inKernel.stderr)
    }))
})
