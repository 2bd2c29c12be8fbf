/** `cgroup`: programs attached, shown and detached beside bpftool, which says the same of the same cgroups. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Cgroup from "../../src/attach/Cgroup.ts"
import { command } from "../support/InProcess.ts"
import * as Fixture from "../support/NetworkFixture.ts"
import { judges, list, ours, same, those } from "../support/OperatorsBeside.ts"
import { describeWith } from "../support/Require.ts"

/** A folder below a cgroup, for as long as the scope. */
const below = (folder: string, name: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const path = Path.join(folder, name)
      Fs.mkdirSync(path)
      return path
    }),
    (path) => Effect.sync(() => Fs.rmdirSync(path))
  )

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "effect-bpf cgroup", () => {
  it.live("attaches, shows and detaches like bpftool", () =>
    Fixture.live(Effect.gen(function*() {
      const loaded = yield* Fixture.load(["cgroup_out", "cgroup_socket", "cgroup_out_too"])
      const [first, second, socket] = [
        yield* Fixture.idOf(loaded, "cgroup_out"),
        yield* Fixture.idOf(loaded, "cgroup_out_too"),
        yield* Fixture.idOf(loaded, "cgroup_socket")
      ]
      const folder = yield* Fixture.cgroup
      const inner = yield* below(folder, "a b")
      const quiet = yield* below(folder, "quiet")
      const attach = (path: string, type: string, id: number, ...flags: ReadonlyArray<string>) =>
        ours("cgroup", "attach", path, type, "id", String(id), ...flags)
      assert.deepStrictEqual(yield* ours("cgroup", "show", folder), [])
      assert.isNull(yield* attach(folder, "cgroup_inet_egress", first, "multi"))
      yield* attach(folder, "egress", second, "multi")
      yield* attach(inner, "cgroup_inet_egress", first, "multi")
      yield* attach(folder, "cgroup_inet_sock_create", socket, "override")
      // By a link, which the kernel tells the flags of by itself.
      yield* Cgroup.attach(loaded, "cgroup_socket", inner, { means: "link" }).pipe(Effect.ignore)

      const shown = yield* ours("cgroup", "show", folder)
      assert.deepStrictEqual(
        list(shown).map(({ attach_flags, attach_type, id }) => [id, attach_type, attach_flags]),
        [
          [first, "cgroup_inet_egress", "multi"],
          [second, "cgroup_inet_egress", "multi"],
          [socket, "cgroup_inet_sock_create", "override"]
        ]
      )
      const of = (all: unknown) =>
        list(all).filter(({ cgroup }) => String(cgroup).startsWith(folder)).sort((a, b) =>
          String(a["cgroup"]).localeCompare(String(b["cgroup"]))
        )
      const effective = yield* ours("cgroup", "show", inner, "effective")
      const tree = of(yield* ours("cgroup", "tree", folder))
      const everything = of(yield* ours("cgroup", "tree"))
      assert.deepStrictEqual(tree.map(({ cgroup }) => cgroup), [folder, inner])
      for (const judge of judges) {
        same(shown, judge.ask("cgroup", "show", folder), judge.name)
        same(yield* ours("cgroup", "list", inner), judge.ask("cgroup", "list", inner), judge.name)
        same(effective, judge.ask("cgroup", "show", inner, "effective"), judge.name)
        same(tree, of(judge.ask("cgroup", "tree", folder)), judge.name)
        same(everything, of(judge.ask("cgroup", "tree")), judge.name)
      }
      assert.isAtLeast(list(effective).length, 2)
      assert.deepStrictEqual(yield* ours("cgroup", "show", quiet), [])

      // Only now: bpftool writes such names as they are, which is no JSON.
      yield* attach(yield* below(folder, "\u001b[2J"), "egress", first)
      const text = yield* command("cgroup", "tree", folder)
      assert.include(text.stdout, "/\\x1b[2J")
      assert.match(text.stdout, /cgroup_inet_egress +multi +cgroup_out/)
      assert.match((yield* command("cgroup", "show", quiet)).stdout, /^no programs$/)

      assert.isNull(yield* ours("cgroup", "detach", folder, "cgroup_inet_egress", "id", String(first)))
      assert.deepStrictEqual(those(yield* ours("cgroup", "show", folder), "id", [first]), [])
      const again = yield* command("cgroup", "detach", folder, "cgroup_inet_egress", "id", String(first))
      assert.deepStrictEqual([again.status, /ENOENT/.test(again.stderr)], [1, true])
      yield* ours("cgroup", "detach", folder, "egress", "id", String(second))
      yield* ours("cgroup", "detach", folder, "sock_create", "id", String(socket))
      yield* ours("cgroup", "detach", inner, "egress", "id", String(first))
      assert.deepStrictEqual(list(yield* ours("cgroup", "tree", folder)).map(({ cgroup }) => cgroup).slice(0, 1), [
        `${folder}/\u001b[2J`
      ])
    })))

  it.live("says what is no cgroup, no attach type and no flag", () =>
    Effect.gen(function*() {
      const failures: ReadonlyArray<readonly [ReadonlyArray<string>, number, RegExp]> = [
        [["show"], 2, /none is named/],
        [["show", "/"], 2, /this is no cgroup of version 2/],
        [["show", "/", "all"], 2, /nothing is expected here but effective/],
        [["show", "/no/such"], 1, /ENOENT/],
        [["tree", "/no/such"], 1, /ENOENT/],
        [["attach", "/"], 2, /what the program is for is not said/],
        [
          ["attach", "/", "cgroup_inet_egres", "id", "1"],
          2,
          /no such attach type\nhint: did you mean .*cgroup_inet_egress/
        ],
        [["attach", "/", "tcx_ingress", "id", "1"], 2, /no such attach type/],
        [["attach", "/", "egress", "id", "1", "exclusive"], 2, /hint: multi or override/],
        [["detach", "/", "egress", "id", "1", "multi"], 2, /nothing of this name/]
      ]
      for (const [words, status, message] of failures) {
        const ended = yield* command("cgroup", ...words)
        assert.strictEqual(ended.status, status, words.join(" "))
        assert.match(ended.stderr, message, words.join(" "))
      }
    }))
})
