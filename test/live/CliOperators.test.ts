/** What operators ask of the objects of the kernel: who holds them, and which types there are; beside bpftool. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Iter from "../../src/attach/Iter.ts"
import { attaching, load, opened } from "../support/Attaching.ts"
import { command } from "../support/InProcess.ts"
import { describeWith, run } from "../support/Require.ts"

type Document = Readonly<Record<string, unknown>>

/** The document of a command of ours. */
const ours = (...args: ReadonlyArray<string>): Effect.Effect<unknown> =>
  Effect.map(command(...args, "--json"), ({ status, stderr, stdout }): unknown => {
    assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
    return JSON.parse(stdout)
  })

/** The document of one of bpftool's; which processes hold objects it tells only where it was built for that. */
const theirs = (...args: ReadonlyArray<string>): unknown =>
  JSON.parse(run("bpftool", ["-j", ...args]).stdout, (key, value: unknown) =>
    key === "pids"
      ? undefined
      // In the order of its table.
      : key === "map_ids" && Array.isArray(value)
      ? value.map(Number).sort((a, b) => a - b)
      : value)

const without = (document: unknown, ...keys: ReadonlyArray<string>): Document =>
  Object.fromEntries(Object.entries(document ?? {}).filter(([key]) => !keys.includes(key)))

const self = { pid: process.pid, comm: Fs.readFileSync("/proc/self/comm", "utf8").trimEnd() }

describeWith({ kind: "live", root: true, linux: "5.15", tools: ["bpftool"] }, "who holds objects, and types", () => {
  it.live("are told of programs, maps, links and types", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened("attach/events.bpf.o", "each_task"))
      const attached = yield* Iter.attach(loaded, "each_task")
      const { session } = loaded
      const program = loaded.program("each_task") ?? assert.fail("not loaded")
      const prog = yield* session.call({ _tag: "ProgGetInfo", prog: program })
      const map = yield* session.call({ _tag: "MapGetInfo", map: loaded.map("elements") ?? assert.fail("no map") })
      const link = (yield* attached.info) ?? assert.fail("no link")
      for (const [noun, id] of [["prog", prog.id], ["map", map.id], ["link", link.id], ["btf", prog.btfId]] as const) {
        const document = yield* ours(noun, "show", "id", String(id))
        assert.deepInclude(without(document), { id, pids: [self] }, noun)
        const all = yield* ours(noun, "list")
        assert.deepEqual(Array.isArray(all) ? all.find((each) => without(each)["id"] === id) : all, document, noun)
        if (noun === "btf") {
          assert.deepStrictEqual(without(document, "pids"), without(theirs("btf", "show", "id", String(id))))
          assert.deepInclude(without(document), { prog_ids: [prog.id], kernel: false })
        }
        const text = yield* command(noun, "show", "id", String(id))
        assert.include(text.stdout, `${self.comm}(${self.pid})`)
      }
    })))

  it.live("the kernel's own types have a name", () =>
    Effect.gen(function*() {
      const kernels = (document: unknown): unknown =>
        Array.isArray(document) ? document.filter((each) => without(each)["kernel"] === true) : []
      assert.deepStrictEqual(kernels(yield* ours("btf", "list")), kernels(theirs("btf", "list")))
      const { stderr, status } = yield* command("btf", "show", "name", "x")
      assert.deepStrictEqual([status, stderr.split("\n")[1]], [2, "hint: it is id N"])
      const missing = yield* command("btf", "show", "id", "4294967295", "--json")
      assert.strictEqual(missing.status, 1)
    }))
})
