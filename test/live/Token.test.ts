/** BPF tokens on the running kernel: a process without any right but a delegated bpf file system loads objects. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { describeWith, repository, requiredKinds, run } from "../support/Require.ts"

interface Answers {
  readonly without: { readonly map: string; readonly program: string; readonly features: string }
  readonly session: { readonly map: string; readonly program: string }
  readonly layer: { readonly map: string; readonly program: string; readonly features: string }
  readonly types: number
  readonly elsewhere: string
  readonly missing: string
  readonly optional: string
}

describeWith({ kind: "live", tools: ["gcc"] }, "tokens", () => {
  it("let a process in a user namespace load what it may not load without", (context) => {
    const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-bpf-token-"))
    try {
      const delegate = Path.join(folder, "delegate")
      const compiled = run("gcc", ["-O1", "-Wall", "-o", delegate, Path.join(repository, "test/support/delegate.c")])
      assert.strictEqual(compiled.status, 0, compiled.stderr)
      const { status, stderr, stdout } = run(delegate, [
        process.execPath,
        Path.join(repository, "test/support/tokenChild.ts")
      ])
      if (status === 77 && !requiredKinds(process.env["EFFECT_BPF_REQUIRE"]).has("live")) {
        return context.skip(`no delegation here: ${stderr.trim()}`)
      }
      assert.strictEqual(status, 0, stderr)
      const answers: Answers = JSON.parse(stdout)
      assert.match(answers.without.map, /EPERM\nhint: this process is in a user namespace.*token/)
      assert.match(answers.without.program, /EPERM.*\nhint: this process is in a user namespace.*token/)
      assert.notStrictEqual(answers.without.features, "ok")
      assert.deepStrictEqual(answers.session, { map: "ok", program: "ok" })
      assert.deepStrictEqual(answers.layer, { map: "ok", program: "ok", features: "ok" })
      assert.isAbove(answers.types, 0, "the object's BTF was loaded, too")
      assert.match(answers.elsewhere, /TokenCreate of \/tmp: .*EINVAL\nhint: this folder is not in a bpf file system/)
      assert.match(answers.missing, /TokenCreate of \/no\/such: .*ENOENT\nhint: the folder/)
      assert.match(answers.optional, /EPERM/)
    } finally {
      Fs.rmSync(folder, { recursive: true })
    }
  })

  it.effect("are refused to processes of the first user namespace, and to those who mean another file system", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const error = yield* Effect.flip(Effect.scoped(kernel.session({ token: "/sys/fs/bpf" })))
      assert.strictEqual(error.call, "TokenCreate")
      assert.include(["EOPNOTSUPP", "EINVAL", "ENOENT"], error.errno)
      assert.isDefined(error.hint)
    }))
})
