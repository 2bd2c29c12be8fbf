/** What the kernel refuses, and what costs too much, as tools take it: at the line of C, and nothing forged. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { commandsIn } from "../support/GithubRunner.ts"
import { command } from "../support/InProcess.ts"
import { bpffs, describeWith, repository, run, temporaryFolder } from "../support/Require.ts"
import * as Sarif from "../support/Sarif.ts"

const logOf = (file: string) => Sarif.logOf(JSON.parse(Fs.readFileSync(file, "utf8"))).runs[0]

const compile = (source: string): string => {
  const object = Path.join(temporaryFolder(), "made.bpf.o")
  const compiled = run("clang", ["-target", "bpf", "-g", "-O2", "-c", "-xc", "-", "-o", object], { input: source })
  assert.strictEqual(compiled.status, 0, compiled.stderr)
  return object
}

describeWith({ kind: "live", root: true, tools: ["clang"] }, "a refused program", () => {
  it.live("is told at its line of C, with its cause", () =>
    Effect.gen(function*() {
      const object = compile(`
#define SEC(name) __attribute__((section(name), used))
struct xdp_md { unsigned int data, data_end; };
#line 7 "src/far.bpf.c"
SEC("xdp") int reads_too_far(struct xdp_md *ctx) {
  return ((char *)(long)ctx->data)[3];
}
char LICENSE[] SEC("license") = "GPL";
`)
      const file = Path.join(temporaryFolder(), "log.sarif")
      const pin = Path.join(bpffs(), "far")
      const { status, stderr } = yield* command("prog", "load", object, pin, "--sarif", file, "--github")
      assert.strictEqual(status, 1)
      assert.isFalse(Fs.existsSync(pin))
      const [result, ...more] = logOf(file).results
      assert.lengthOf(more, 0)
      assert.strictEqual(result?.ruleId, "verifier-packet-bounds")
      assert.match(result?.locations[0].physicalLocation.artifactLocation.uri ?? "", /src\/far\.bpf\.c$/)
      assert.deepInclude(result?.locations[0].physicalLocation.region, { startLine: 8 })
      assert.strictEqual(result?.properties["errno"], "EACCES")
      const [annotation, ...others] = commandsIn(stderr)
      assert.lengthOf(others, 0)
      assert.strictEqual(annotation?.name, "error")
      assert.strictEqual(annotation?.properties.get("line"), "8")
      assert.match(annotation?.data ?? "", /^program reads_too_far was refused \(EACCES\): .*\nhint: /s)
    }))

  it.live("forges no command, whatever its names and lines are", () =>
    Effect.gen(function*() {
      // A runner reads commands at the beginning of lines, also where they are indented, and an old form anywhere.
      const object = compile(`
#define SEC(name) __attribute__((section(name), used))
struct xdp_md { unsigned int data, data_end; };
#line 7 "::error::##[error]%0A::warning::file,line=1.c"
SEC("xdp") int prog(struct xdp_md *ctx) {
/* ::error::forged ##[error]forged */ return ((char *)(long)ctx->data)[3];
}
`)
      for (const more of [[], ["--log"], ["--json"], ["--pretty"]]) {
        const { status, stderr, stdout } = yield* command(
          "prog",
          "load",
          object,
          Path.join(bpffs(), "forged"),
          "--github",
          ...more
        )
        assert.strictEqual(status, 1)
        assert.lengthOf(commandsIn(stderr), 1)
        assert.lengthOf(commandsIn(stdout), 0)
        assert.notInclude(commandsIn(stderr)[0]?.data, "\u001b")
      }
    }))
})

describeWith({ kind: "live", root: true }, "a budget that is exceeded", () => {
  it.live("is told at the first line of each program that has grown", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const [budget, file] = [Path.join(folder, "budget.json"), Path.join(folder, "log.sarif")]
      const object = Path.join(repository, "test/fixtures/subprograms.bpf.o")
      yield* command("prog", "budget", object, "--budget", budget, "--budget-write")
      const stored = JSON.parse(Fs.readFileSync(budget, "utf8"))
      const none = { percent: 0, absolute: 0 }
      Object.assign(stored.programs.no_calls, { instructions: 1, thresholds: { instructions: none } })
      delete stored.programs.shared_calls
      Fs.writeFileSync(budget, JSON.stringify(stored))
      const pin = Path.join(bpffs(), "grown")
      for (const args of [["prog", "budget", object], ["prog", "load", object, pin]]) {
        const { status, stderr } = yield* command(...args, "--budget", budget, "--sarif", file, "--github")
        assert.strictEqual(status, 1)
        const results = logOf(file).results
        assert.deepStrictEqual(results.map(({ level, ruleId }) => [level, ruleId]), [
          ["error", "budget-exceeded"],
          ["note", "budget-new"]
        ])
        const place = results[0]?.locations[0].physicalLocation
        assert.match(place?.artifactLocation.uri ?? "", /test\/fixtures\/subprograms\.bpf\.c$/)
        assert.isAbove(place?.region?.startLine ?? 0, 1)
        assert.match(results[0]?.message.text ?? "", /^program no_calls has 2 instructions, were 1; 1 are allowed/)
        assert.deepStrictEqual(commandsIn(stderr).map(({ name }) => name), ["error", "notice"])
      }
      assert.isFalse(Fs.existsSync(pin))
      // What is written anew is allowed: nothing is told.
      yield* command("prog", "budget", object, "--budget", budget, "--budget-write", "--sarif", file)
      assert.deepStrictEqual(logOf(file).results, [])
    }))
})
