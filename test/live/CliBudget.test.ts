/** `prog budget`, and loads that keep to one: what the kernel counts, and that nothing stays of what costs too much. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { command } from "../support/InProcess.ts"
import { bpffs, describeWith, repository, run, temporaryFolder } from "../support/Require.ts"

const object = (name: string) => Path.join(repository, "test/fixtures", name)
const firewall = object("xdp_firewall.bpf.o")
const subprograms = object("subprograms.bpf.o")

interface Row {
  readonly metric: string
  readonly before: number | null
  readonly now: number | null
  readonly status: string
}

interface Document {
  readonly exceeded: boolean
  readonly written: boolean
  readonly programs: ReadonlyArray<
    {
      readonly name: string
      readonly status: string
      readonly stack_depths: ReadonlyArray<number>
      readonly metrics: ReadonlyArray<Row>
    }
  >
}

const documentOf = (stdout: string): Document => JSON.parse(stdout)

const now = (document: Document, program: string, metric: string): number | null | undefined =>
  document.programs.find(({ name }) => name === program)?.metrics.find((row) => row.metric === metric)?.now

/** A budget in which one number of a program is another one. */
const change = (path: string, program: string, values: object): void => {
  const budget = JSON.parse(Fs.readFileSync(path, "utf8"))
  Object.assign(budget.programs[program], values)
  Fs.writeFileSync(path, JSON.stringify(budget))
}

describeWith({ kind: "live" }, "prog budget", () => {
  it.live("tells what programs cost, stores it, and finds it again", () =>
    Effect.gen(function*() {
      const file = Path.join(temporaryFolder(), "budget.json")
      const written = yield* command("prog", "budget", subprograms, "--budget", file, "--budget-write", "--json")
      assert.strictEqual(written.stderr, "")
      assert.strictEqual(written.status, 0)
      const document = documentOf(written.stdout)
      assert.deepStrictEqual(document.programs.map(({ name }) => name).sort(), [
        "global_callback",
        "nested_calls",
        "no_calls",
        "shared_calls",
        "static_callback"
      ])
      assert.strictEqual(now(document, "no_calls", "instructions"), 2)
      assert.strictEqual(now(document, "no_calls", "verified_instructions"), 2)
      assert.isAbove(now(document, "static_callback", "total_states") ?? 0, 0)
      // Its own stack and the callback's, which has none.
      const callback = document.programs.find(({ name }) => name === "static_callback")
      assert.strictEqual(now(document, "static_callback", "stack"), callback?.stack_depths[0])
      assert.isAbove(callback?.stack_depths[0] ?? 0, 0)

      const text = Fs.readFileSync(file, "utf8")
      const again = yield* command("prog", "budget", subprograms, "--budget", file, "--json")
      assert.strictEqual(again.status, 0)
      assert.deepStrictEqual([...new Set(documentOf(again.stdout).programs.map(({ status }) => status))], ["within"])
      assert.strictEqual(Fs.readFileSync(file, "utf8"), text)
      // Written again, it is the same: only times have changed.
      yield* command("prog", "budget", subprograms, "--budget", file, "--budget-write")
      assert.strictEqual(Fs.readFileSync(file, "utf8"), text)
    }))

  it.live("fails on growth, as text and as a document, and says what has grown", () =>
    Effect.gen(function*() {
      const file = Path.join(temporaryFolder(), "budget.json")
      yield* command("prog", "budget", subprograms, "--budget", file, "--budget-write")
      change(file, "no_calls", { instructions: 1, thresholds: { instructions: { percent: 50, absolute: 0 } } })
      const failed = yield* command("prog", "budget", subprograms, "--budget", file)
      assert.strictEqual(failed.status, 1)
      assert.match(failed.stdout, /^no_calls: exceeds the budget$/m)
      assert.match(failed.stdout, /^ {2}instructions +1 +2 +\+100 % +1 +exceeded$/m)
      const { exceeded, programs } = documentOf(
        (yield* command("prog", "budget", subprograms, "--budget", file, "--json")).stdout
      )
      assert.isTrue(exceeded)
      assert.deepStrictEqual(programs.filter(({ status }) => status === "exceeded").map(({ name }) => name), [
        "no_calls"
      ])
      // The half of it was allowed, and more than that is: --budget-write takes it as it is.
      const written = yield* command("prog", "budget", subprograms, "--budget", file, "--budget-write")
      assert.strictEqual(written.status, 0)
      assert.include(Fs.readFileSync(file, "utf8"), "\"percent\": 50")
      assert.strictEqual((yield* command("prog", "budget", subprograms, "--budget", file)).status, 0)
    }))

  it.live("says what is wrong with a budget", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const file = Path.join(folder, "budget.json")
      const absent = yield* command("prog", "budget", subprograms, "--budget", file)
      assert.strictEqual(absent.status, 2)
      assert.match(absent.stderr, /there is no such file\nhint: add --budget-write to make it/)
      assert.strictEqual((yield* command("prog", "budget", subprograms, "--budget-write")).status, 2)
      for (
        const [text, words] of [
          [
            "{\"version\":1,\"programs\":{\"p\":{\"stack\":\"NaN\"}}}",
            /programs\.p\.stack: a whole number is expected/
          ],
          ["{", /it is no JSON/],
          ["{\"version\":9}", /only version 1 is known/],
          [" ".repeat(5_000_000), /a budget has at most \d+ bytes/]
        ] as const
      ) {
        Fs.writeFileSync(file, text)
        const { status, stderr } = yield* command("prog", "budget", subprograms, "--budget", file)
        assert.strictEqual(status, 1)
        assert.match(stderr, words)
      }
      for (const path of [folder, "/dev/zero"]) {
        const { status, stderr } = yield* command("prog", "budget", subprograms, "--budget", path)
        assert.strictEqual(status, 1)
        assert.match(stderr, /a budget is a regular file/)
      }
    }))
})

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "prog load --budget", () => {
  it.live("pins what keeps to its budget, and nothing of what does not, the object's own pins included", () =>
    Effect.gen(function*() {
      const [file, folder] = [Path.join(temporaryFolder(), "budget.json"), bpffs()]
      const [pin, maps] = [Path.join(folder, "fw"), Path.join(folder, "maps")]
      const load = (...more: ReadonlyArray<string>) =>
        command("prog", "load", firewall, pin, "--pinmaps", maps, "--budget", file, ...more)
      const first = yield* load("--budget-write", "--json")
      assert.deepStrictEqual({ status: first.status, stderr: first.stderr }, { status: 0, stderr: "" })
      const { budget }: { budget: Document } = JSON.parse(first.stdout)
      assert.isTrue(budget.written)
      // bpftool judges what became of the program.
      const shown = JSON.parse(run("bpftool", ["-j", "prog", "show", "pinned", pin]).stdout)
      assert.strictEqual((now(budget, "xdp_firewall", "xlated_instructions") ?? 0) * 8, shown.bytes_xlated)
      assert.strictEqual(now(budget, "xdp_firewall", "jited_bytes") ?? undefined, shown.bytes_jited)
      Fs.rmSync(pin)
      Fs.rmSync(maps, { recursive: true })

      const within = yield* load()
      assert.strictEqual(within.status, 0)
      assert.match(within.stdout, /^the programs cost what the budget says$/m)
      Fs.rmSync(pin)
      Fs.rmSync(maps, { recursive: true })

      change(file, "xdp_firewall", { verified_instructions: 10 })
      const before = Fs.readdirSync(folder)
      const text = Fs.readFileSync(file, "utf8")
      const exceeded = yield* load()
      assert.strictEqual(exceeded.status, 1)
      assert.match(exceeded.stderr, /xdp_firewall: \d+ verified instructions, were 10; 110 are allowed/)
      assert.deepStrictEqual(Fs.readdirSync(folder), before)
      assert.strictEqual(Fs.readFileSync(file, "utf8"), text)
      const all = yield* command("prog", "loadall", firewall, Path.join(folder, "all"), "--budget", file)
      assert.strictEqual(all.status, 1)
      assert.deepStrictEqual(Fs.readdirSync(folder), before)
    }))

  it.live("leaves nothing of what an object pins by names of its own", () =>
    Effect.gen(function*() {
      const file = Path.join(temporaryFolder(), "budget.json")
      const [pinned, folder] = [object("pinned_map.bpf.o"), bpffs()]
      const own = ["--map", `shared_counters.pinned=${Path.join(folder, "shared")}`, "--budget", file]
      const measured = yield* command("prog", "budget", pinned, ...own, "--budget-write")
      assert.deepStrictEqual({ status: measured.status, stderr: measured.stderr }, { status: 0, stderr: "" })
      assert.deepStrictEqual(Fs.readdirSync(folder), [])
      change(file, "count", { instructions: 0, thresholds: { instructions: { absolute: 0, percent: 0 } } })
      const { status, stderr } = yield* command("prog", "load", pinned, Path.join(folder, "p"), ...own)
      assert.strictEqual(status, 1)
      assert.match(stderr, /the budget is exceeded/)
      assert.deepStrictEqual(Fs.readdirSync(folder), [])
      // What keeps to its budget is pinned, by both names.
      yield* command("prog", "load", pinned, Path.join(folder, "p"), ...own, "--budget-write")
      assert.deepStrictEqual(Fs.readdirSync(folder).sort(), ["p", "shared"])
    }))
})

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "prog budget beside bpftool", () => {
  it.live("counts what the verifier's log says to bpftool", () =>
    Effect.gen(function*() {
      const pin = Path.join(bpffs(), "fw")
      const said = run("bpftool", ["-d", "prog", "load", firewall, pin])
      Fs.rmSync(pin, { force: true })
      const log = said.stdout + said.stderr
      const found = /processed (\d+) insns \(limit \d+\) max_states_per_insn (\d+) total_states (\d+) peak_states (\d+)/
        .exec(
          log.slice(log.indexOf("xdp_firewall"))
        )
      assert.isNotNull(found, log)
      const document = documentOf((yield* command("prog", "budget", firewall, "--json")).stdout)
      assert.deepStrictEqual(
        ["verified_instructions", "max_states_per_instruction", "total_states", "peak_states"].map((metric) =>
          now(document, "xdp_firewall", metric)
        ),
        found?.slice(1).map(Number)
      )
    }))
})
