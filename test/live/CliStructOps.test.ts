/** `struct_ops`: registered, shown, dumped and taken away beside bpftool, which says the same of the same maps. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { command } from "../support/InProcess.ts"
import { inSession } from "../support/LiveKernel.ts"
import { judges, object, ours, same, those } from "../support/OperatorsBeside.ts"
import { bpffs, describeWith, repository } from "../support/Require.ts"

const fixture = (name: string): string => Path.join(repository, "test/fixtures", name)

interface Registered {
  readonly id: number
  readonly name: string
  readonly link_id: number | null
  readonly pinned: string | null
}

const isRegistered = (value: unknown): value is ReadonlyArray<Registered> => Array.isArray(value)

const registered = (document: unknown): ReadonlyArray<Registered> =>
  isRegistered(document) ? document : assert.fail("no list")

const controls = (): ReadonlyArray<string> =>
  Fs.readFileSync("/proc/sys/net/ipv4/tcp_available_congestion_control", "utf8").trim().split(/\s+/)

describeWith({ kind: "live", root: true, linux: "6.0", tools: ["bpftool"] }, "struct_ops beside bpftool", () => {
  it.live("registers by maps, shows and dumps, and unregisters", () =>
    Effect.gen(function*() {
      const before = controls()
      const all = registered(yield* ours("struct_ops", "register", fixture("struct_ops.bpf.o")))
      const made = controls().filter((name) => !before.includes(name))
      try {
        assert.isNotEmpty(all)
        assert.lengthOf(made, all.length, "each has a name of its own that the kernel knows")
        const again = yield* command("struct_ops", "register", fixture("struct_ops.bpf.o"))
        assert.strictEqual(again.status, 1)
        assert.match(again.stderr, /EEXIST.*\nhint: the kernel has a struct of this name already/)
        for (const { id, link_id, name, pinned } of all) {
          assert.deepStrictEqual([link_id, pinned], [null, null])
          const listed = those(yield* ours("struct_ops", "list"), "id", [id])
          const shown = yield* ours("struct_ops", "show", "id", String(id))
          const dumped = yield* ours("struct_ops", "dump", "id", String(id))
          for (const judge of judges) {
            const known = those(judge.ask("struct_ops", "list"), "id", [id])
            same(listed, known, judge.name)
            same(shown, known, judge.name)
            // By name: of a single identifier bpftool 7.1 makes two documents without a list.
            same(dumped, judge.ask("struct_ops", "dump", "name", name.slice(0, 15)), judge.name)
          }
          assert.match(JSON.stringify(dumped), /"BPF_STRUCT_OPS_STATE_INUSE"/)
          assert.match(JSON.stringify(dumped), /"void \(struct sock \*.*?\) \w+\/prog_id:\d+"/)
          const text = yield* command("struct_ops", "dump", "id", String(id))
          assert.match(text.stdout, /prog_id:\d+/)
          assert.include((yield* command("struct_ops", "show", "id", String(id))).stdout, name.slice(0, 15))
        }
      } finally {
        for (const { id } of all) assert.isNull(yield* ours("struct_ops", "unregister", "id", String(id)))
      }
      assert.deepStrictEqual(controls(), before)
    }))
})

describeWith({ kind: "live", root: true }, "effect-bpf struct_ops", () => {
  it.live("says what is missing, and takes no other map for a struct", () =>
    Effect.gen(function*() {
      const pin = Path.join(bpffs(), "no_struct")
      yield* command("map", "create", pin, "type", "array", "key", "4", "value", "4", "entries", "1", "name", "none")
      const shown = yield* ours("map", "show", "pinned", pin)
      const id = String(object(shown)["id"])
      const failures: ReadonlyArray<readonly [ReadonlyArray<string>, number, RegExp]> = [
        [["show", "id", id], 2, /this map holds no struct of the kernel/],
        [["dump", "name", "nobody_is_called_so"], 2, /no struct_ops map is called so/],
        [["unregister"], 2, /no struct_ops map is named/],
        [["unregister", "pinned", pin], 2, /this begins no struct_ops map/],
        [["show", "id", "4294967295"], 1, /ENOENT/],
        [["register", fixture("xdp_firewall.bpf.o")], 2, /it has no struct of the kernel's/]
      ]
      for (const [words, status, message] of failures) {
        const ended = yield* command("struct_ops", ...words)
        assert.strictEqual(ended.status, status, words.join(" "))
        assert.match(ended.stderr, message)
      }
      Fs.rmSync(pin)
    }))
})

describeWith({ kind: "live", root: true, linux: "6.4" }, "effect-bpf struct_ops with links", () => {
  it.live("pins the links that register structs", () =>
    Effect.gen(function*() {
      const folder = Path.join(bpffs(), "links")
      Fs.mkdirSync(folder)
      const before = controls()
      const file = fixture("struct_ops_link.bpf.o")
      const without = yield* command("struct_ops", "register", file)
      assert.strictEqual(without.status, 2)
      assert.match(without.stderr, /ends with the command unless it is pinned/)
      assert.deepStrictEqual(controls(), before)
      const all = registered(yield* ours("struct_ops", "register", file, folder))
      try {
        assert.isNotEmpty(all)
        assert.notDeepEqual(controls(), before)
        for (const { id, link_id, pinned } of all) {
          const link = yield* ours("link", "show", "pinned", pinned ?? assert.fail("not pinned"))
          assert.deepInclude(object(link), { id: link_id, type: "struct_ops", map_id: id })
          const refused = yield* command("struct_ops", "unregister", "id", String(id))
          assert.strictEqual(refused.status, 2)
          assert.match(refused.stderr, /a link registers .*\nhint: effect-bpf link show/)
        }
        // What is registered already is refused, and nothing of the second attempt stays.
        const again = yield* command("struct_ops", "register", file, Path.join(bpffs(), "links"))
        assert.strictEqual(again.status, 1)
      } finally {
        // A link whose last pin goes ends a moment later, one whose last descriptor is closed at once.
        yield* inSession((session) =>
          Effect.gen(function*() {
            for (const { pinned } of all) {
              yield* session.call({ _tag: "ObjGet", as: session.fresh("Link"), path: pinned ?? assert.fail() })
            }
            Fs.rmSync(folder, { recursive: true })
          })
        )
      }
      assert.deepStrictEqual(controls(), before)
    }))
})
