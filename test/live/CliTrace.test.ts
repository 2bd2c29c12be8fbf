/** `trace` as a process: the records that it prints, what it says of losses, and how it ends. */
import { assert, it } from "@effect/vitest"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Command from "../support/Command.ts"
import { faultOf } from "../support/Documents.ts"
import { describeWith, repository, run } from "../support/Require.ts"

const fixturePath = (name: string): string => Path.join(repository, "test/fixtures", name)

const bin = Command.command()
const events = fixturePath("trace_events.bpf.o")
const environment = { FORCE_COLOR: "0", NODE_NO_WARNINGS: "1" }

/** A document of the command's. */
interface Document {
  readonly attached?: ReadonlyArray<unknown>
  readonly map?: string
  readonly cpu?: number | null
  readonly type?: string | null
  readonly value?: Readonly<Record<string, unknown>> | null
  readonly bytes?: string | null
  readonly records?: number
  readonly maps?: ReadonlyArray<Readonly<Record<string, unknown>>>
}

/** The command in the background; `begun` is there when it has attached, `ended` when it is over. */
const tracing = (...args: ReadonlyArray<string>) => {
  const child = ChildProcess.spawn(
    process.execPath,
    [bin, "trace", events, "--set", `only_process=${process.pid}`, ...args],
    { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] }
  )
  let stdout = ""
  let stderr = ""
  const waiting: Array<() => void> = []
  child.stdout.on("data", (chunk) => {
    stdout += String(chunk)
    for (const look of waiting) look()
  })
  child.stderr.on("data", (chunk) => stderr += String(chunk))
  const ended = new Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }>(
    (resolve, reject) =>
      child.on("close", (status) => {
        const wrong = faultOf(["trace", ...args], { status, stdout })
        if (wrong === undefined) resolve({ status, stdout, stderr })
        else reject(new Error(wrong))
      })
  )
  /** Waits until standard output has this. */
  const printed = (what: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const look = () => what.test(stdout) ? resolve() : undefined
      waiting.push(look)
      look()
      child.on("close", () => reject(new Error(`it ended: ${stderr}`)))
    })
  return { child, ended, printed }
}

/** Gives this process names, one after another, and its own again. */
const rename = (...names: ReadonlyArray<string>): void => {
  const own = Fs.readFileSync("/proc/self/comm", "utf8").trim()
  for (const name of names) Fs.writeFileSync("/proc/self/comm", name)
  Fs.writeFileSync("/proc/self/comm", own)
}

describeWith({ kind: "live", root: true }, "effect-bpf trace of records", () => {
  it("prints each as a document, and at last what was lost, when it is interrupted", async () => {
    const { child, ended, printed } = tracing("--json", "--set", "floods=1000")
    await printed(/"attached"/)
    rename("short", "a-longer-name")
    await printed(/"map":"copies".*\n.*"map":"copies".*\n(.*\n)*.*"map":"copies"/)
    child.kill("SIGINT")
    const { status, stdout } = await ended
    assert.strictEqual(status, 130)
    const documents: ReadonlyArray<Document> = stdout.trim().split("\n").map((line) => JSON.parse(line))
    assert.strictEqual(documents[0]?.attached?.length, 1)
    const last = documents.at(-1)
    const of = (map: string) => documents.filter((document) => document.map === map)
    assert.strictEqual(last?.records, documents.length - 2)
    // The kernel cuts names off at 15 bytes; what is no longer than 8 with its NUL is sent in short.
    const [short, long] = of("renames")
    assert.deepInclude(short ?? {}, { cpu: null, type: "struct short_event", bytes: null })
    assert.deepStrictEqual(short?.value, { sequence: 0, letters: [0x73, 0x68, 0x6f] })
    assert.deepStrictEqual(long?.value, {
      sequence: "1",
      process: process.pid,
      kind: "LENGTH_LONG",
      name: "a-longer-name"
    })
    assert.deepInclude(of("copies")[1] ?? {}, { type: "struct rename_event", value: long?.value ?? null })
    assert.isTrue(of("copies").every(({ cpu }) => typeof cpu === "number"))
    const [, untyped] = last?.maps ?? []
    assert.deepInclude(untyped ?? {}, { map: "untyped", type: "ringbuf" })
    assert.deepInclude(of("untyped")[0] ?? {}, { type: null, value: null, bytes: "AQIDBAA=" })
    // A thousand for each of three names; some may lie unread when it ends.
    const lost = Number(untyped?.["lost"])
    assert.isAbove(lost, 1000)
    assert.isAtMost(of("untyped").length + lost, 3000)
  })

  it("ends after as many records as were wanted, each on a line for people", async () => {
    const { ended, printed } = tracing("--count", "2", "--events", "renames")
    await printed(/on_rename/)
    rename("\u001b[2Jname", "a-longer-name", "third")
    const { status, stderr, stdout } = await ended
    assert.strictEqual(status, 0, stderr)
    const lines = stdout.split("\n").filter((line) => / renames /.test(line))
    assert.strictEqual(lines.length, 2)
    assert.match(
      lines[1] ?? "",
      /^\d\d:\d\d:\d\d\.\d{3} renames struct rename_event \{sequence = 1, .*"a-longer-name"\}$/
    )
    assert.notInclude(stdout, "\u001b")
    assert.match(stderr, /2 records\nwhat map renames could not take is not known/)
  })

  it("says what is wrong with its flags", () => {
    const command = (...args: ReadonlyArray<string>) =>
      run(process.execPath, [bin, "trace", ...args], { env: environment })
    for (
      const [args, says] of [
        [[events, "--events", "nobody"], /no ring buffer or perf buffer of this name\n.*it has /],
        [[events, "--no-events", "--count", "1"], /no records are printed/],
        [[fixturePath("tracepoint.bpf.o"), "--count", "1"], /the object has no ring buffer or perf buffer/],
        [[events, "--count", "0"], /Expected a number of at least 1/],
        [[events, "--duration", "99999999999"], /a number of seconds from 0 to 1000000000 is expected/]
      ] as const
    ) {
      const { status, stderr } = command(...args)
      assert.strictEqual(status, 2, stderr)
      assert.match(stderr, says)
    }
  })
})
