/** What operators ask of the objects of the kernel: who holds them, and which types there are; beside bpftool. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Iter from "../../src/attach/Iter.ts"
import { attaching, load, opened } from "../support/Attaching.ts"
import { command } from "../support/InProcess.ts"
import { list, object, older, ours, those, without } from "../support/OperatorsBeside.ts"
import { describeWith } from "../support/Require.ts"

/** bpftool's lists of maps are in the order of its table. */
const sorted = (document: unknown): Readonly<Record<string, unknown>> => {
  const ids = object(document)["map_ids"]
  return { ...object(document), map_ids: Array.isArray(ids) ? ids.map(Number).sort((a, b) => a - b) : [] }
}

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
        assert.strictEqual(object(document)["id"], id)
        // Whoever lists objects holds each for a moment, so there may be others.
        assert.deepInclude(list(object(document)["pids"]), self, noun)
        const [listed] = those(yield* ours(noun, "list"), "id", [id])
        assert.deepInclude(list(listed?.["pids"]), self, noun)
        assert.deepStrictEqual(without(listed, "pids"), without(document, "pids"), noun)
        if (noun === "btf") {
          assert.deepStrictEqual(without(document, "pids"), sorted(older.ask("btf", "show", "id", String(id))))
          assert.deepInclude(object(document), { prog_ids: [prog.id], kernel: false })
        }
        const text = yield* command(noun, "show", "id", String(id))
        assert.include(text.stdout, `${self.comm}(${self.pid})`)
      }
    })))

  it.live("the kernel's own types have a name", () =>
    Effect.gen(function*() {
      const kernels = (document: unknown) =>
        list(document).filter(({ kernel }) => kernel === true).map((each) => without(each, "pids"))
      assert.deepStrictEqual(kernels(yield* ours("btf", "list")), kernels(older.ask("btf", "list")))
      const { stderr, status } = yield* command("btf", "show", "name", "x")
      assert.deepStrictEqual([status, stderr.split("\n")[1]], [2, "hint: it is id N"])
      const missing = yield* command("btf", "show", "id", "4294967295", "--json")
      assert.strictEqual(missing.status, 1)
    }))
})
