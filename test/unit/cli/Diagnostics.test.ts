/** Diagnostics as tools take them: SARIF by OASIS' schema, annotations by what GitHub's runner makes of a line. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { sarifDocument } from "../../../src/cli/json/Sarif.ts"
import { annotation, annotations } from "../../../src/cli/text/Annotations.ts"
import { relativeTo } from "../../../src/cli/text/SourceRoot.ts"
import { line, partsWithoutCommands, plain, render, withoutCommands } from "../../../src/cli/text/Text.ts"
import * as Diagnostic from "../../../src/diagnostics/Diagnostic.ts"
import { commandIn, commandsIn } from "../../support/GithubRunner.ts"
import { command } from "../../support/InProcess.ts"
import { fixture, repository, runs, temporaryFolder } from "../../support/Require.ts"
import * as Sarif from "../../support/Sarif.ts"

// ---- Anything that can be told ----------------------------------------------------------------------------------------

/** Texts as objects, logs and file systems have them. */
const hostile = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string(),
  fc.constantFrom(
    "::error::forged",
    "x\n::set-env name=PATH::/evil",
    "x\r::stop-commands::y",
    "##[error]forged",
    "a%0A::warning::b",
    "%25%0D,:=",
    "\u001b[2J\u202e\u2028::debug::x",
    "file.c,line=1,title=forged",
    "\ud800",
    "\u0000",
    "\n\u0085 \t::error::forged",
    "../../etc/passwd",
    "/abs/a b.c",
    "https://example.org/x?y#z",
    "C:\\x.c",
    "x".repeat(2000)
  )
)

const number = fc.oneof(fc.integer(), fc.constantFrom(0, 1, -1, NaN, Infinity, 2 ** 53, 1.5))

const place = fc.record({ file: hostile, line: number, column: number, text: hostile }, { requiredKeys: ["file"] })

const diagnostic: fc.Arbitrary<Diagnostic.Diagnostic> = fc.record({
  level: fc.constantFrom(...Diagnostic.levels),
  rule: fc.oneof(fc.constantFrom(...Diagnostic.rules.keys()), hostile),
  message: hostile,
  details: fc.array(hostile, { maxLength: 4 }),
  hint: hostile,
  path: hostile,
  subject: hostile,
  function: hostile,
  instruction: fc.nat(),
  place,
  related: fc.array(fc.record({ message: hostile, place }), { maxLength: 3 }),
  key: hostile,
  properties: fc.constant({})
}, { requiredKeys: ["rule", "message"] }).map(Diagnostic.make)

const same = (path: string): string => path

const log = (diagnostics: ReadonlyArray<Diagnostic.Diagnostic>, relative = same): unknown =>
  JSON.parse(JSON.stringify(sarifDocument(diagnostics, { version: "1.2.3", relative, successful: true })))

/** How many of some diagnostics a form of an annotation gets wrong. */
const wrongAnnotations = (form: (each: Diagnostic.Diagnostic) => string): number => {
  let wrong = 0
  fc.assert(
    fc.property(diagnostic, (each) => {
      const said = form(each)
      const [found, ...more] = commandsIn(said)
      const known: Readonly<Record<Diagnostic.Level, string>> = { error: "error", warning: "warning", note: "notice" }
      const isOne = /^[^\r\n]*$/.test(said) && more.length === 0 && found?.name === known[each.level] &&
        [...found.properties.keys()].every((key) => ["file", "line", "col", "title"].includes(key)) &&
        found.properties.get("title")?.startsWith(each.rule) === true
      if (!isOne) wrong++
    }),
    { numRuns: runs(400) }
  )
  return wrong
}

describe("any diagnostic", () => {
  it("makes a log that OASIS' schema takes, with a result or a notification for each", () => {
    fc.assert(
      fc.property(fc.array(diagnostic, { maxLength: 6 }), (diagnostics) => {
        const [run] = Sarif.logOf(log(diagnostics)).runs
        const [{ toolExecutionNotifications }] = run.invocations
        assert.strictEqual(run.results.length + toolExecutionNotifications.length, diagnostics.length)
        const ranks = run.results.map(({ level }) => Diagnostic.levels.indexOf(level))
        assert.deepStrictEqual(ranks, [...ranks].sort((one, other) => one - other))
      }),
      { numRuns: runs(60) }
    )
  })

  it("is left out of a log of more than GitHub takes, where it is none of the worst", () => {
    const of = (level: Diagnostic.Level) => Diagnostic.make({ rule: "failure", level, message: level, path: "a.o" })
    const options = { version: "1.2.3", relative: same, successful: true, maximum: 2 }
    const document = sarifDocument([of("note"), of("note"), of("error")], options)
    const [run] = Sarif.logOf(JSON.parse(JSON.stringify(document))).runs
    assert.lengthOf(run.results, 2)
    assert.strictEqual(run.results[0]?.level, "error")
    assert.deepStrictEqual(run.invocations[0].toolExecutionNotifications.map(({ message }) => message.text), [
      "1 more, none of them worse than these, are left out"
    ])
  })

  it("makes one annotation, and forges nothing", () => {
    assert.strictEqual(wrongAnnotations((each) => annotation(each, same)), 0)
  })

  it("named fault: what is not escaped forges others", () => {
    assert.isAbove(wrongAnnotations(({ level, message, rule }) => `::${level} title=${rule}::${message}`), 0)
    assert.isAbove(wrongAnnotations(({ path, rule }) => `::error file=${path ?? ""},title=${rule}::x`), 0)
  })

  it("says in an annotation what it says, where it has no signs of its own", () => {
    const told = annotation(
      Diagnostic.make({
        level: "warning",
        rule: "map-refused",
        message: "100 % of map \"a,b\": it is, no",
        hint: "try: again",
        subject: "a:b",
        place: { file: "src/a,b.c", line: 7, column: 3 }
      }),
      same
    )
    assert.strictEqual(
      told,
      "::warning file=src/a%2Cb.c,line=7,col=3,title=map-refused%3A a%3Ab::100 %25 of map \"a,b\": it is, no%0Ahint: try: again"
    )
    const read = commandIn(told)
    assert.strictEqual(read?.properties.get("file"), "src/a,b.c")
    assert.strictEqual(read?.data, "100 % of map \"a,b\": it is, no\nhint: try: again")
  })

  it("is told worst first, since GitHub shows ten of each kind", () => {
    const of = (level: Diagnostic.Level, message: string) => Diagnostic.make({ rule: "failure", level, message })
    const told = annotations([of("note", "n"), of("error", "e1"), of("warning", "w"), of("error", "e2")], same)
    assert.deepStrictEqual(told.map((each) => commandIn(each)?.data), ["e1", "e2", "w", "n"])
  })
})

describe("what is printed beside annotations", () => {
  it("is no command, whatever is in it", () => {
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 5 }), (texts) => {
        const printed = withoutCommands(render(texts.map((text) => line("  ", text)), plain))
        assert.deepStrictEqual(commandsIn(printed), [])
      }),
      { numRuns: runs(300) }
    )
  })

  it("is what it was where it is JSON", () => {
    fc.assert(
      fc.property(fc.json(), hostile, (text, more) => {
        const document: unknown = [JSON.parse(text), more, { [more]: more }]
        for (const indent of [0, 2]) {
          const printed = withoutCommands(JSON.stringify(document, undefined, indent))
          assert.deepStrictEqual(JSON.parse(printed), document)
          assert.deepStrictEqual(commandsIn(printed), [])
        }
      }),
      { numRuns: runs(200) }
    )
  })

  it("is guarded in parts, too, wherever they end", () => {
    fc.assert(
      fc.property(fc.array(hostile), fc.array(fc.nat(40)), (texts, sizes) => {
        const whole = texts.join("\n").toWellFormed()
        const bytes = new TextEncoder().encode(whole)
        const parts: Array<Uint8Array> = []
        let at = 0
        for (const size of sizes) parts.push(bytes.subarray(at, at += size))
        parts.push(bytes.subarray(at))
        const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
        const printed = [...partsWithoutCommands(parts)].map((part) => decoder.decode(part, { stream: true })).join("")
        assert.strictEqual(printed, withoutCommands(whole))
        assert.deepStrictEqual(commandsIn(printed), [])
      }),
      { numRuns: runs(200) }
    )
  })

  it("named fault: as it is, it forges", () => {
    assert.isNotEmpty(commandsIn(render([line("  ", "::error::forged")], plain)))
    assert.isNotEmpty(commandsIn(render([line("a ##[error]forged")], plain)))
  })
})

describe("paths", () => {
  const files = new Set(["/repo/src/a.bpf.c", "/repo/out/b.bpf.c"])
  const relative = relativeTo({
    root: "/repo",
    folder: "/repo/tool",
    beside: ["/repo/out"],
    exists: (path) => files.has(path)
  })

  it("are the repository's where they are in there", () => {
    assert.strictEqual(relative("/repo/src/a.bpf.c"), "src/a.bpf.c")
    assert.strictEqual(relative("/repo/src/../src/./x.c"), "src/x.c")
    assert.strictEqual(relative("../src/a.bpf.c"), "src/a.bpf.c")
    assert.strictEqual(relative("src/a.bpf.c"), "src/a.bpf.c")
    assert.strictEqual(relative("b.bpf.c"), "out/b.bpf.c")
    assert.strictEqual(relative("./none.c"), "none.c")
    assert.strictEqual(relative("/repository/x.c"), "/repository/x.c")
    assert.strictEqual(relative("/usr/include/x.h"), "/usr/include/x.h")
  })

  it("never lead out of it by a relative name that is there", () => {
    fc.assert(fc.property(hostile, (path) => {
      const told = relativeTo({ root: "/repo", folder: "/repo/tool", beside: [], exists: () => true })(path)
      assert.isFalse(told.startsWith("../"))
    }))
  })
})

// ---- Commands ---------------------------------------------------------------------------------------------------------

const object = (name: string) => Path.join(repository, "test/fixtures", name)

/** The log that a command writes with `--sarif`. */
const logged = (...args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const file = Path.join(temporaryFolder(), "log.sarif")
    const ended = yield* command(...args, "--sarif", file, "--github")
    return {
      ...ended,
      run: Sarif.logOf(JSON.parse(Fs.readFileSync(file, "utf8"))).runs[0],
      commands: commandsIn(ended.stderr)
    }
  })

describe("--sarif and --github", () => {
  it.live("tell of files that are no objects", () =>
    Effect.gen(function*() {
      const { commands, run, status } = yield* logged("inspect", object("xdp_firewall.bpf.c"))
      assert.strictEqual(status, 1)
      assert.deepStrictEqual(run.results.map(({ ruleId }) => ruleId), ["elf-malformed"])
      assert.isFalse(run.invocations[0].executionSuccessful)
      assert.deepStrictEqual(run.results[0]?.locations[0].physicalLocation.artifactLocation, {
        uri: "test/fixtures/xdp_firewall.bpf.c",
        uriBaseId: "%SRCROOT%"
      })
      assert.deepStrictEqual(commands.map(({ name, properties }) => [name, properties.get("file")]), [
        ["error", "test/fixtures/xdp_firewall.bpf.c"]
      ])
    }))

  it.live("tell of objects that cannot be opened, relocated or planned", () =>
    Effect.gen(function*() {
      const bytes = fixture("xdp_firewall.bpf.o")
      const cut = Path.join(temporaryFolder(), "cut.bpf.o")
      Fs.writeFileSync(cut, bytes.subarray(0, bytes.length >> 1))
      const opened = yield* logged("plan", cut, "--kernel", "simulated")
      assert.strictEqual(opened.status, 1)
      assert.deepStrictEqual(opened.run.results.map(({ level }) => level), ["error"])
      // A simulated kernel has no functions of that name.
      const relocated = yield* logged("plan", object("ksyms.bpf.o"), "--kernel", "simulated")
      assert.strictEqual(relocated.status, 1)
      assert.strictEqual(relocated.run.results[0]?.ruleId, "relocate-ksym")
      const planned = yield* logged("plan", object("xdp_firewall.eb.o"), "--kernel", "simulated")
      assert.strictEqual(planned.status, 1)
      assert.strictEqual(planned.run.results[0]?.ruleId, "plan-byte-order")
      // The program has a place of its own: where it begins.
      const place = planned.run.results[0]?.locations[0].physicalLocation
      assert.strictEqual(place?.artifactLocation.uri, "test/fixtures/xdp_firewall.bpf.c")
      assert.isAbove(place?.region?.startLine ?? 0, 0)
      assert.strictEqual(planned.commands[0]?.properties.get("line"), String(place?.region?.startLine))
    }))

  it.live("tell of what an object needs, and warn of what the kernel is too old for", () =>
    Effect.gen(function*() {
      const old = yield* logged("plan", object("xdp_firewall.bpf.o"), "--kernel", "simulated:5.4")
      assert.strictEqual(old.status, 0)
      const warning = old.run.results.find(({ level }) => level === "warning")
      assert.strictEqual(warning?.ruleId, "requires-newer-kernel")
      assert.match(warning?.message.text ?? "", /came with Linux 5\.\d+, and this is 5\.4/)
      assert.deepStrictEqual(old.run.results.filter(({ level }) => level === "note").map(({ ruleId }) => ruleId), [
        "requires-kernel"
      ])
      assert.strictEqual(old.commands[0]?.name, "warning")
      const recent = yield* logged("plan", object("xdp_firewall.bpf.o"), "--kernel", "simulated")
      assert.deepStrictEqual(recent.run.results.map(({ ruleId }) => ruleId), ["requires-kernel"])
    }))

  it.live("tell of what cannot be linked", () =>
    Effect.gen(function*() {
      const out = Path.join(temporaryFolder(), "out.o")
      const main = object("link_main.bpf.o")
      const { run, status } = yield* logged("gen", "object", out, main, main)
      assert.strictEqual(status, 1)
      assert.match(
        run.results[0]?.ruleId ?? run.invocations[0].toolExecutionNotifications[0]?.descriptor?.id ?? "",
        /^linker-/
      )
    }))

  it.live("tell that there is nothing to tell", () =>
    Effect.gen(function*() {
      const { commands, run, status, stdout } = yield* logged("inspect", object("xdp_firewall.bpf.o"))
      assert.strictEqual(status, 0)
      assert.match(stdout, /xdp_firewall/)
      assert.deepStrictEqual([...run.results, ...commands], [])
      assert.isTrue(run.invocations[0].executionSuccessful)
    }))

  it.live("go with --json, and print the log in place of the result where that is asked for", () =>
    Effect.gen(function*() {
      const both = yield* logged("inspect", object("xdp_firewall.bpf.o"), "--json")
      assert.isArray(JSON.parse(both.stdout).programs)
      const printed = yield* command("inspect", object("xdp_firewall.bpf.o"), "--sarif", "-")
      assert.lengthOf(Sarif.logOf(JSON.parse(printed.stdout)).runs[0].results, 0)
      const wrong = yield* command("inspect", object("xdp_firewall.bpf.o"), "--sarif", "-", "--json")
      assert.strictEqual(wrong.status, 2)
      const nowhere = yield* command("inspect", object("xdp_firewall.bpf.o"), "--sarif", "/absent/log.sarif")
      assert.strictEqual(nowhere.status, 1)
      assert.match(nowhere.stderr, /\/absent\/log\.sarif: cannot be written: there is no such folder/)
    }))

  it.live("tell of the commands of a batch, and guard what they print", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const forged = Path.join(folder, "::error::forged")
      Fs.writeFileSync(forged, "##[error]no object")
      const file = Path.join(folder, "batch")
      Fs.writeFileSync(file, `inspect ${object("xdp_firewall.bpf.o")}\ninspect "${forged}"\n`)
      const { commands, run, status, stderr } = yield* logged("batch", "file", file)
      assert.strictEqual(status, 1)
      assert.deepStrictEqual(run.results.map(({ ruleId }) => ruleId), ["elf-malformed"])
      assert.lengthOf(commands, 1, stderr)
    }))

  it.live("of wrong usage are about no file", () =>
    Effect.gen(function*() {
      const { run, status } = yield* logged("prog", "budget", object("xdp_firewall.bpf.o"), "--budget-write")
      assert.strictEqual(status, 2)
      assert.deepStrictEqual(run.results, [])
      assert.deepStrictEqual(run.invocations[0].toolExecutionNotifications.map(({ descriptor }) => descriptor?.id), [
        "usage"
      ])
    }))
})

describe("SARIF's judge", () => {
  it("named fault: OASIS' schema finds what is wrong", () => {
    const of = () => JSON.parse(JSON.stringify(log([Diagnostic.make({ rule: "failure", message: "m", path: "a.o" })])))
    assert.isUndefined(Sarif.oasisProblem(of()))
    const spoilers: ReadonlyArray<(log: ReturnType<typeof JSON.parse>) => void> = [
      (log) => (log.version = "2.0.0"),
      (log) => (log.runs[0].more = 1),
      (log) => (log.runs[0].results[0].level = "fatal"),
      (log) => delete log.runs[0].tool.driver.name,
      (log) => delete log.runs[0].results[0].message,
      (log) => (log.runs[0].results[0].locations[0].physicalLocation.artifactLocation.uri = "a b"),
      (log) => (log.runs[0].results[0].locations[0].physicalLocation.region = { startLine: 0 }),
      (log) => delete log.runs[0].invocations[0].executionSuccessful
    ]
    for (const [position, spoil] of spoilers.entries()) {
      const spoiled = of()
      spoil(spoiled)
      assert.isDefined(Sarif.oasisProblem(spoiled), String(position))
    }
  })
})
