import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import {
  allFixtures,
  corpus,
  corpusFolder,
  kernelsFolder,
  newBpftool,
  decide,
  fixture,
  linkFixtures,
  missing,
  repository,
  requiredKinds,
  run,
  runs,
  runsMultiplier,
  temporaryFolder,
  toolPath
} from "../../support/Require.ts"
import type { Kind } from "../../support/Require.ts"

const works = { available: true, reason: "bpf(2) loads programs" }
const refused = { available: false, reason: "bpf(2) answers EPERM; run as root" }
const nothing = {
  live: refused,
  hasTool: () => false,
  hasFile: () => false,
  release: "6.1.0-47-cloud-amd64",
  uid: 1000
}
const everything = { live: works, hasTool: () => true, hasFile: () => true, release: "6.18.44", uid: 0 }

describe("missing", () => {
  it("is empty where all is there", () => {
    assert.deepStrictEqual(missing({ kind: "live", tools: ["clang"], files: ["a"] }, everything), [])
  })

  it("names each absent thing and what to do about it", () => {
    assert.deepStrictEqual(missing({ kind: "live", tools: ["clang", "llvm-nm", "jq"], files: ["a/b"] }, nothing), [
      "bpf(2) answers EPERM; run as root",
      "clang is not on PATH; apt-get install clang-19",
      "llvm-nm is not on PATH; apt-get install llvm-19",
      "jq is not on PATH; apt-get install jq",
      "a/b is absent"
    ])
  })

  it("knows which kernels are older, and who is root", () => {
    assert.deepStrictEqual(missing({ kind: "live", linux: "6.18", root: true }, everything), [])
    assert.deepStrictEqual(missing({ kind: "oracle", linux: "6.18", root: true }, nothing), [
      "Linux is 6.1.0-47-cloud-amd64, and this is of 6.18 and later",
      "the user is not root"
    ])
    assert.deepStrictEqual(missing({ kind: "oracle", linux: "6.1" }, nothing), [])
    assert.deepStrictEqual(missing({ kind: "oracle", linux: "5.19" }, nothing), [])
    assert.deepStrictEqual(missing({ kind: "oracle", linux: "6.18" }, { ...nothing, release: "7.0-rc1" }), [])
  })

  it("says how the corpus is made", () => {
    assert.match(missing({ kind: "oracle", files: [corpusFolder] }, nothing).join(), /corpus\.sh .* makes it$/)
    for (const path of corpus()) assert.isTrue(Fs.existsSync(path), path)
  })

  it("says how the judges and the kernels are made", () => {
    assert.match(missing({ kind: "oracle", files: [newBpftool] }, nothing).join(), /judges\.sh .* makes it$/)
    assert.match(missing({ kind: "oracle", files: [kernelsFolder] }, nothing).join(), /kernels\.sh .* makes it$/)
  })

  it("does not ask an oracle group for bpf(2)", () => {
    assert.deepStrictEqual(missing({ kind: "oracle" }, nothing), [])
  })
})

describe("decide", () => {
  const kind = fc.constantFrom<Kind>("live", "oracle")
  const kinds = fc.uniqueArray(kind).map((list) => new Set(list))

  it("runs exactly when nothing is missing, and never skips a required kind", () => {
    fc.assert(
      fc.property(kind, fc.array(fc.string()), kinds, (kind, absent, required) => {
        const { _tag } = decide("X", kind, absent, required)
        return _tag === (absent.length === 0 ? "Run" : required.has(kind) ? "Fail" : "Skip")
      })
    )
  })

  it("says which group and why", () => {
    assert.deepStrictEqual(decide("attach", "live", [refused.reason], new Set()), {
      _tag: "Skip",
      message: "skipped: live tests of attach: bpf(2) answers EPERM; run as root"
    })
  })
})

describe("requiredKinds", () => {
  it("reads a comma list", () => {
    assert.deepStrictEqual([...requiredKinds("live, oracle")], ["live", "oracle"])
    assert.deepStrictEqual([...requiredKinds(undefined)], [])
    assert.deepStrictEqual([...requiredKinds("")], [])
  })

  it("refuses an unknown kind", () => {
    assert.throws(() => requiredKinds("live,orakle"), /orakle/)
  })
})

describe("describeWith", () => {
  // A whole vitest run in a child process: the only way to see what a skip or a failure becomes.
  const outcome = (require: string) => {
    const cache = Path.join(repository, "node_modules/.cache")
    Fs.mkdirSync(cache, { recursive: true })
    const folder = Fs.mkdtempSync(Path.join(cache, "require-"))
    try {
      const source = `import { describeWith } from ${JSON.stringify(Path.join(repository, "test/support/Require.ts"))}
import { it } from "vitest"
describeWith({ kind: "oracle", tools: ["no-such-tool"] }, "X", () => { throw new Error("the body must not be called") })
it("something else", () => {})
`
      Fs.writeFileSync(Path.join(folder, "Tiny.test.ts"), source)
      Fs.writeFileSync(Path.join(folder, "vitest.config.mjs"), "export default { test: { exclude: [] } }\n")
      const vitest = Path.join(repository, "node_modules/vitest/vitest.mjs")
      const done = run(process.execPath, [vitest, "run", "--reporter", "json", "--outputFile", "report.json"], {
        cwd: folder,
        env: { EFFECT_BPF_REQUIRE: require, NO_COLOR: "1", VITEST: "", VITEST_POOL_ID: "", VITEST_WORKER_ID: "" }
      })
      const report = Fs.readFileSync(Path.join(folder, "report.json"), "utf8")
      const { numFailedTests, numPassedTests, numPendingTests } = JSON.parse(report)
      return { ...done, report, passedSkippedFailed: [numPassedTests, numPendingTests, numFailedTests] }
    } finally {
      Fs.rmSync(folder, { recursive: true, force: true })
    }
  }

  it("skips with one line on standard error", () => {
    const { passedSkippedFailed, status, stderr } = outcome("")
    assert.deepStrictEqual(
      stderr.split("\n").filter((line) => line.includes("skipped")),
      ["skipped: oracle tests of X: no-such-tool is not on PATH; apt-get install no-such-tool"]
    )
    assert.strictEqual(status, 0)
    assert.deepStrictEqual(passedSkippedFailed, [1, 1, 0])
  })

  it("fails where its kind is required", () => {
    const { passedSkippedFailed, report, status } = outcome("live,oracle")
    assert.strictEqual(status, 1)
    assert.deepStrictEqual(passedSkippedFailed, [1, 0, 1])
    assert.include(report, "no-such-tool is not on PATH")
  })

  it("still skips where only another kind is required", () => {
    assert.strictEqual(outcome("live").status, 0)
  })
})

describe("run", () => {
  it("gives status and output, and passes input and arguments untouched", () => {
    const script = "process.stdin.on('data', (d) => process.stdout.write(d)).on('end', () => " +
      "{ process.stderr.write(process.argv[1]); process.exitCode = 3 })"
    assert.deepStrictEqual(run("node", ["-e", script, "$HOME; *"], { input: "hello" }), {
      status: 3,
      stdout: "hello",
      stderr: "$HOME; *"
    })
  })

  it("counts a signal as 128 + its number", () => {
    assert.strictEqual(
      run("node", ["-e", "process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 9)"]).status,
      137
    )
  })

  it("throws for a tool that is absent", () => {
    assert.throws(() => run("no-such-tool", []), /no-such-tool is not on PATH/)
    assert.strictEqual(toolPath("no-such-tool"), undefined)
  })
})

describe("temporaryFolder", () => {
  it("is new, empty and removed when its process ends", () => {
    const source = `import * as R from ${JSON.stringify(Path.join(repository, "test/support/Require.ts"))}
import { writeFileSync } from "node:fs"
const folder = R.temporaryFolder()
writeFileSync(folder + "/file", "x")
console.log(folder)`
    // Require.ts imports vitest, which refuses to be loaded outside a run, so the child replaces it.
    const stub = "data:text/javascript,export const describe=()=>{},it=()=>{}"
    const hooks = `import { registerHooks } from "node:module"
registerHooks({ resolve: (s, c, n) => s === "vitest" ? { url: ${JSON.stringify(stub)}, shortCircuit: true } : n(s, c) })
`
    const folder = temporaryFolder()
    assert.deepStrictEqual(Fs.readdirSync(folder), [])
    Fs.writeFileSync(Path.join(folder, "hooks.mjs"), hooks)
    Fs.writeFileSync(Path.join(folder, "main.mts"), source)
    const { status, stderr, stdout } = run("node", ["--import", "./hooks.mjs", "main.mts"], { cwd: folder })
    assert.strictEqual(status, 0, stderr)
    assert.match(stdout.trim(), /effect-bpf-test-/)
    assert.isFalse(Fs.existsSync(stdout.trim()))
  })
})

describe("fixtures", () => {
  it("are read by the name under which they are listed", () => {
    for (const name of [...allFixtures(), ...linkFixtures()]) {
      // Every listed file is an ELF object.
      assert.deepStrictEqual([...fixture(name).subarray(0, 4)], [0x7f, 0x45, 0x4c, 0x46], name)
    }
  })

  it("that do not exist say how they are made", () => {
    assert.throws(() => fixture("no-such.bpf.o"), /npm run fixtures/)
  })
})

describe("runs", () => {
  it("reads FC_RUNS", () => {
    assert.deepStrictEqual([undefined, "", "10", "0.1"].map(runsMultiplier), [1, 1, 10, 0.1])
    for (const bad of ["0", "-1", "many", "Infinity", "NaN"]) assert.throws(() => runsMultiplier(bad), /FC_RUNS/)
  })

  it("never answers 0", () => {
    assert.isAtLeast(runs(0), 1)
  })
})

describe("seed", () => {
  it("is the one that was printed", () => {
    assert.strictEqual(String(fc.readConfigureGlobal().seed), process.env["FC_SEED"])
  })
})
