/** What virtual machines are given and what they say: archives beside cpio, reports of guests that end too early. */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { describeWith, run, temporaryFolder } from "../../support/Require.ts"
import { archive, type Entry } from "../../vm/Cpio.ts"
import * as Report from "../../vm/Report.ts"

const entries: ReadonlyArray<Entry> = [
  { _tag: "File", path: "init", bytes: new TextEncoder().encode("#!/bin/sh\n"), executable: true },
  { _tag: "File", path: "a/b/c.txt", bytes: Uint8Array.from([1, 2, 3]), executable: false },
  { _tag: "File", path: "a/b/empty", bytes: new Uint8Array(0), executable: false },
  { _tag: "Folder", path: "a/d" },
  { _tag: "Link", path: "a/link", target: "b/c.txt" }
]

describeWith({ kind: "oracle", tools: ["cpio"] }, "archives", () => {
  it("are unpacked by cpio, two after one another as well", () => {
    const parts = [
      ...archive(entries),
      ...archive([{ _tag: "File", path: "z", bytes: new Uint8Array(5), executable: false }])
    ]
    const input = Buffer.concat(parts)
    assert.strictEqual(input.length % 4, 0)
    const folder = temporaryFolder()
    const first = Buffer.concat([...archive(entries)])
    const { status, stderr } = run("cpio", ["--extract", "--quiet", "--no-preserve-owner"], {
      cwd: folder,
      input: first
    })
    assert.strictEqual(status, 0, stderr)
    assert.strictEqual(Fs.readFileSync(Path.join(folder, "init"), "utf8"), "#!/bin/sh\n")
    assert.strictEqual(Fs.statSync(Path.join(folder, "init")).mode & 0o777, 0o755)
    assert.deepStrictEqual([...Fs.readFileSync(Path.join(folder, "a/link"))], [1, 2, 3])
    assert.strictEqual(Fs.statSync(Path.join(folder, "a/b/empty")).size, 0)
    assert.isTrue(Fs.statSync(Path.join(folder, "a/d")).isDirectory())
    const second = input.subarray(first.length)
    assert.strictEqual(run("cpio", ["--list", "--quiet"], { input: second }).stdout, "z\n")
  })
})

const line = (value: Report.Line): string => `${JSON.stringify(value)}\n`

const passed = line({ _tag: "Test", test: "a > b", state: "passed", milliseconds: 5 })
const good = line({ _tag: "File", file: "A.test.ts" }) + passed + line({ _tag: "Done" }) +
  line({ _tag: "Exit", status: 0, seconds: 2 })
const end = line({ _tag: "End" })

describe("reports of guests", () => {
  it("count tests, and keep what else was said", () => {
    const skipped = line({
      _tag: "Test",
      test: "c > skipped: live tests of c: jq is absent",
      state: "skipped",
      milliseconds: 0
    })
    const report = Report.parse(good.replace(passed, `${passed}a warning\r\n${skipped}`) + end, ["A.test.ts"])
    assert.deepStrictEqual(
      (["passed", "failed", "skipped"] as const).map((state) => Report.count(report, state)),
      [1, 0, 1]
    )
    assert.deepStrictEqual(report.other, ["a warning"])
    assert.deepStrictEqual(Report.skips(report), ["A.test.ts: live tests of c: jq is absent"])
    assert.strictEqual(report.seconds.get("A.test.ts"), 2)
  })

  it.each(
    [
      [
        "a process that crashed",
        good.replace(line({ _tag: "Done" }), "").replace("\"status\":0", "\"status\":139") + end
      ],
      ["a process that ended before its tests did", good.replace(line({ _tag: "Done" }), "") + end],
      ["a machine that ended within a file", good.slice(0, good.indexOf(passed) + passed.length)],
      ["a machine that did not say that it is done", good],
      ["a file that was not begun", end],
      ["nothing at all", ""]
    ] as const
  )("fail for %s", (_, text) => {
    assert.isAbove(Report.count(Report.parse(text, ["A.test.ts"]), "failed"), 0)
  })

  it("named fault: the whole report of a good guest has no failure", () => {
    assert.strictEqual(Report.count(Report.parse(good + end, ["A.test.ts"]), "failed"), 0)
  })
})
