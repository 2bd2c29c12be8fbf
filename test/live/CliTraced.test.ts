/** `perf`, `iter` and `token`: what processes trace beside bpftool, iterators as files, what file systems delegate. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Attach from "../../src/attach/Attach.ts"
import * as Uprobe from "../../src/attach/Uprobe.ts"
import { attaching, load, opened } from "../support/Attaching.ts"
import { command } from "../support/InProcess.ts"
import { judges, object, ours, same, those } from "../support/OperatorsBeside.ts"
import { bpffs, describeWith, repository, run, temporaryFolder } from "../support/Require.ts"

const events = Path.join(repository, "test/fixtures/attach/events.bpf.o")

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "effect-bpf perf", () => {
  it.live("shows what processes trace like bpftool", () =>
    attaching(Effect.gen(function*() {
      const names = ["on_tracepoint", "on_raw_tracepoint", "on_uprobe", "on_uretprobe"]
      const loaded = yield* load(opened("attach/events.bpf.o", ...names))
      yield* Attach.attachAll(loaded, { except: ["on_uprobe", "on_uretprobe"] })
      yield* Uprobe.attach(loaded, "on_uprobe", { path: "libc.so.6", symbol: "getuid" })
      yield* Uprobe.attach(loaded, "on_uretprobe", { path: "libc.so.6", symbol: "getuid", isReturn: true })
      const here = (document: unknown) => those(document, "pid", [process.pid])
      const shown = here(yield* ours("perf", "show"))
      for (const judge of judges) same(shown, here(judge.ask("perf", "show")), judge.name)
      assert.includeMembers(shown.map(({ fd_type }) => fd_type), [
        "tracepoint",
        "raw_tracepoint",
        "uprobe",
        "uretprobe"
      ])
      assert.sameDeepMembers([...here(yield* ours("perf", "list"))], [...shown])
      const text = yield* command("perf", "show")
      assert.match(text.stdout, new RegExp(`\\(${process.pid}\\) +\\d+ +\\d+ +uprobe +\\S*libc\\.so\\.6:0x[0-9a-f]+`))
    })))
})

describeWith({ kind: "live", root: true, linux: "5.15" }, "effect-bpf iter", () => {
  it.live("makes iterators files, which are read as often as one likes", () =>
    Effect.gen(function*() {
      const [tasks, ports, over] = ["tasks", "ports", "over"].map((name) => Path.join(bpffs(), name))
      if (tasks === undefined || ports === undefined || over === undefined) return assert.fail()
      assert.isNull(yield* ours("iter", "pin", events, tasks))
      for (let time = 0; time < 2; time++) assert.isNotEmpty(Fs.readFileSync(tasks, "utf8"))
      const link = object(yield* ours("link", "show", "pinned", tasks))
      assert.deepStrictEqual([link["type"], link["target_name"]], ["iter", "task"])

      yield* ours("map", "create", ports, "type", "array", "key", "4", "value", "8", "entries", "3", "name", "ports")
      const id = object(yield* ours("map", "show", "pinned", ports))["id"]
      yield* ours("iter", "pin", events, over, "map", "pinned", ports, "--prog", "each_element")
      assert.deepInclude(object(yield* ours("link", "show", "pinned", over)), {
        target_name: "bpf_map_elem",
        map_id: id
      })
      assert.isString(Fs.readFileSync(over, "utf8"))

      const failures: ReadonlyArray<readonly [ReadonlyArray<string>, number, RegExp]> = [
        [["pin", events, tasks], 1, /EEXIST/],
        [["pin", events, `${tasks}2`, "task", "1"], 2, /nothing is expected here but map MAP/],
        [["pin", events, `${tasks}2`, "map", "name", "nobody_has_this"], 2, /no map is called so/],
        [["pin", events, `${tasks}2`, "--prog", "on_tracepoint"], 2, /it is no iterator that a load takes/],
        [["pin", events, `${tasks}2`, "--prog", "each_tsk"], 2, /did you mean each_task/],
        [["pin", Path.join(repository, "test/fixtures/xdp_firewall.bpf.o"), `${tasks}2`], 2, /it has no iterator/]
      ]
      for (const [words, status, message] of failures) {
        const ended = yield* command("iter", ...words)
        assert.strictEqual(ended.status, status, words.join(" "))
        assert.match(ended.stderr, message, words.join(" "))
      }
      assert.isFalse(Fs.existsSync(`${tasks}2`))
      for (const path of [tasks, ports, over]) Fs.rmSync(path)
    }))
})

describeWith({ kind: "live", root: true, linux: "6.9", tools: ["mount", "umount"] }, "effect-bpf token", () => {
  it.live("tells what file systems delegate", () =>
    Effect.gen(function*() {
      const folder = Path.join(temporaryFolder(), "with space")
      Fs.mkdirSync(folder)
      const options = "delegate_cmds=map_create:prog_load,delegate_progs=xdp:sched_cls,delegate_maps=any"
      const mounted = run("mount", ["-t", "bpf", "-o", options, "bpf", folder])
      assert.strictEqual(mounted.status, 0, mounted.stderr)
      try {
        assert.deepStrictEqual(those(yield* ours("token", "list"), "token_info", [folder]), [{
          token_info: folder,
          allowed_cmds: ["map_create", "prog_load"],
          allowed_maps: ["any"],
          // In the order of the kernel's numbers.
          allowed_progs: ["sched_cls", "xdp"],
          allowed_attachs: []
        }])
        const text = yield* command("token", "show")
        assert.include(text.stdout, `${folder}\n  commands: map_create prog_load\n  maps: any\n`)
      } finally {
        run("umount", ["-l", folder])
      }
      assert.deepStrictEqual(those(yield* ours("token", "show"), "token_info", [folder]), [])
    }))
})
