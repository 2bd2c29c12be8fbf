/**
 * What `link show --json` says of links beside bpftool: of every kind that this kernel can make without a network of its own.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Attach from "../../src/attach/Attach.ts"
import * as Iter from "../../src/attach/Iter.ts"
import * as PerfEvent from "../../src/attach/PerfEvent.ts"
import * as StructOps from "../../src/attach/StructOps.ts"
import * as Uprobe from "../../src/attach/Uprobe.ts"
import * as UprobeMulti from "../../src/attach/UprobeMulti.ts"
import { linkJson } from "../../src/cli/json/LinksDocument.ts"
import * as Links from "../../src/cli/link/Links.ts"
import * as Objects from "../../src/cli/objects/Objects.ts"
import { attaching, load, opened } from "../support/Attaching.ts"
import { faultOf } from "../support/Documents.ts"
import { describeWith, newBpftool } from "../support/Require.ts"

const programs = [
  "on_tracepoint",
  "on_raw_tracepoint",
  "on_typed_tracepoint",
  "on_uprobe",
  "on_uretprobe",
  "on_many",
  "on_clock",
  "each_task",
  "each_element"
]

/** What bpftool says of links, by identifier; which processes hold them it tells alone. */
const theirs = (): ReadonlyMap<number, object> => {
  const text = ChildProcess.execFileSync(newBpftool, ["link", "show", "--json"], { encoding: "utf8" })
  const links: ReadonlyArray<{ readonly id: number }> = JSON.parse(
    text,
    (key, value: unknown) => key === "pids" ? undefined : value
  )
  return new Map(links.map((link) => [link.id, link]))
}

describeWith({ kind: "oracle", files: [newBpftool], linux: "6.13", root: true }, "links beside bpftool", () => {
  it.live("of every kind have the same keys and values in the same order", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened("attach/events.bpf.o", ...programs))
      const { links } = yield* Attach.attachAll(loaded)
      const libc = "libc.so.6"
      const map = loaded.map("elements") ?? assert.fail("no map")
      const congestion = yield* load(opened("struct_ops_link.bpf.o"))
      const struct = congestion.object.maps.find(({ structOps }) => structOps !== undefined)
      const made = [
        ...links.values(),
        yield* Uprobe.attach(loaded, "on_uprobe", { path: libc, symbol: "getuid", cookie: 5n }),
        yield* Uprobe.attach(loaded, "on_uretprobe", { path: libc, symbol: "getuid", isReturn: true, pid: 0 }),
        yield* UprobeMulti.attach(loaded, "on_many", { path: libc, symbols: ["getuid", "getgid"], cookies: [1n, 2n] }),
        yield* UprobeMulti.attach(loaded, "on_many", { path: libc, pattern: "getui?", pid: 0 }),
        yield* PerfEvent.attach(loaded, "on_clock", { type: 1, config: 0n, period: 1_000_000_000n }),
        yield* PerfEvent.attach(loaded, "on_clock", {
          type: 1,
          config: 3n,
          period: 1_000_000_000n,
          pid: 0,
          cookie: 8n
        }),
        yield* Iter.attach(loaded, "each_element", { over: { _tag: "Map", map } }),
        yield* Iter.attach(loaded, "each_task", { over: { _tag: "Task", tid: 0, pid: process.pid } }),
        yield* Iter.attach(loaded, "each_task", { over: { _tag: "Task", tid: process.pid, pid: 0 } }),
        ...(struct === undefined ? [] : [yield* StructOps.attach(congestion, struct.name)])
      ]
      const expected = theirs()
      const objects = yield* Objects.open
      const ours = new Map((yield* Links.all(objects)).map((link) => [link.info.id, linkJson(link)]))
      assert.isAtLeast(made.length, 13)
      const ids = yield* Effect.forEach(made, (link) => Effect.map(link.info, (info) => info?.id ?? 0))
      for (const said of [ours, expected]) {
        const stdout = JSON.stringify(ids.map((id) => said.get(id)))
        assert.isUndefined(faultOf(["link", "show", "--json"], { status: 0, stdout }))
      }
      for (const link of made) {
        const id = (yield* link.info)?.id ?? 0
        assert.strictEqual(
          JSON.stringify(ours.get(id)),
          JSON.stringify(expected.get(id)),
          `${link.kind} ${link.target}`
        )
      }
    })))
})
