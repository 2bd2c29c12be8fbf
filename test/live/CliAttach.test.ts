/**
 * `trace` and `link` as processes: what is attached while one runs, that a signal detaches it, and what scripts are told.
 */
import { assert, it } from "@effect/vitest"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Command from "../support/Command.ts"
import { faultOf } from "../support/Documents.ts"
import { bpffs, describeWith, repository } from "../support/Require.ts"

const bin = Command.command()
const events = Path.join(repository, "test/fixtures/attach/events.bpf.o")
const environment = { FORCE_COLOR: "0", NODE_NO_WARNINGS: "1" }
const command = (...args: ReadonlyArray<string>) => Command.run(args, { env: environment })

interface Document {
  readonly attached: ReadonlyArray<{ readonly program: string; readonly link_id: number | null }>
  readonly skipped: ReadonlyArray<{ readonly program: string; readonly because: string }>
}

/** The command running in the background; `said` answers its document when it is there. */
const tracing = (...args: ReadonlyArray<string>) => {
  const child = ChildProcess.spawn(process.execPath, [bin, "trace", events, "--json", ...args], {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"]
  })
  const said = new Promise<Document>((resolve, reject) => {
    let text = ""
    let errors = ""
    child.stderr.on("data", (chunk) => errors += String(chunk))
    child.stdout.on("data", (chunk) => {
      text += String(chunk)
      if (!text.endsWith("\n")) return
      const wrong = faultOf(["trace", "--json"], { status: 0, stdout: text })
      if (wrong === undefined) resolve(JSON.parse(text))
      else reject(new Error(wrong))
    })
    child.on("exit", () => reject(new Error(errors)))
  })
  const ended = new Promise<number | null>((resolve) => child.on("exit", (code) => resolve(code)))
  return { child, said, ended }
}

const linkIds = (): ReadonlyArray<number> => {
  const links: ReadonlyArray<{ readonly id: number }> = JSON.parse(command("link", "show", "--json").stdout)
  return links.map(({ id }) => id)
}

describeWith({ kind: "live", root: true, linux: "5.15" }, "effect-bpf trace and link", () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it(`traces until ${signal}, then detaches`, async () => {
      const { child, ended, said } = tracing("--no-autoattach", "on_raw_tracepoint")
      const { attached, skipped } = await said
      assert.deepStrictEqual(attached.map(({ program }) => program), [
        "on_tracepoint",
        "on_typed_tracepoint",
        "each_task"
      ])
      assert.match(
        skipped.find(({ program }) => program === "on_raw_tracepoint")?.because ?? "",
        /it was to be left alone/
      )
      const ids = attached.map(({ link_id }) => link_id ?? 0)
      assert.includeMembers([...linkIds()], ids)
      child.kill(signal)
      assert.notStrictEqual(await ended, 0)
      const left = linkIds()
      assert.deepStrictEqual(ids.filter((id) => left.includes(id)), [])
    })
  }

  it("a link is shown, pinned, shown by its pin and its path, and says that it cannot be detached by force", async () => {
    const path = Path.join(bpffs(), "traced_link")
    const { child, ended, said } = tracing()
    const { attached } = await said
    try {
      const id = String(attached.find(({ program }) => program === "on_tracepoint")?.link_id)
      assert.strictEqual(command("link", "pin", "id", id, path, "--json").status, 0)
      const one = command("link", "show", "pinned", path, "--json", "--bpffs")
      assert.deepInclude(JSON.parse(one.stdout), { id: Number(id), type: "perf_event", pinned: [path] })
      // Kernels before 6.6 do not tell of which event.
      assert.match(command("link", "show", "id", id).stdout, /perf_event/)
      const refused = command("link", "detach", "id", id, "--json")
      assert.strictEqual(refused.status, 1)
      assert.include(refused.stderr, `LinkDetach of link ${id}: the kernel answers EOPNOTSUPP`)
      assert.match(refused.stderr, /links of this type cannot be detached by force/)
      child.kill("SIGINT")
      await ended
      assert.include(linkIds(), Number(id))
      Fs.unlinkSync(path)
      const gone = command("link", "show", "id", id)
      assert.strictEqual(gone.status, 1)
    } finally {
      child.kill("SIGKILL")
      Fs.rmSync(path, { force: true })
    }
  })

  it("prog loadall autoattach pins links, and programs that have none", () => {
    const folder = Path.join(bpffs(), "autoattached")
    const only = ["on_tracepoint", "each_task", "on_uprobe"].flatMap((name) => ["--only", name])
    try {
      const { status, stderr, stdout } = command("prog", "loadall", events, folder, "autoattach", "--json", ...only)
      assert.strictEqual(status, 0, stderr)
      const pinned = (...names: ReadonlyArray<string>) =>
        names.map((name) => ({ name, pinned: [Path.join(folder, name)] }))
      assert.deepStrictEqual(JSON.parse(stdout), {
        programs: pinned("on_uprobe"),
        maps: [],
        links: pinned("on_tracepoint", "each_task")
      })
      const link = JSON.parse(command("link", "show", "pinned", Path.join(folder, "each_task"), "--json").stdout)
      assert.deepInclude(link, { type: "iter", target_name: "task" })
      const prog = JSON.parse(command("prog", "show", "pinned", Path.join(folder, "on_uprobe"), "--json").stdout)
      assert.deepInclude(prog, { type: "kprobe", name: "on_uprobe" })
      const taken = command("prog", "load", events, Path.join(folder, "each_task"), "autoattach", "--prog", "each_task")
      assert.strictEqual(taken.status, 1)
      assert.match(taken.stderr, /EEXIST/)
    } finally {
      Fs.rmSync(folder, { recursive: true, force: true })
    }
  })

  it("wrong usage", () => {
    for (
      const [args, expected] of [
        [["trace", events, "--no-autoattach", "nobody"], /the object has no program or struct of this name/],
        [["link", "show", "name", "x"], /a link is id N or pinned FILE/],
        [["link", "detach"], /none is named/],
        [["link", "pin", "id", "1"], /ENOENT|the path of the pin is expected/]
      ] as const
    ) {
      const { status, stderr } = command(...args)
      assert.include([1, 2], status)
      assert.match(stderr, expected)
    }
  })
})
