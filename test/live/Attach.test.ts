/**
 * Programs attached to what happens on this kernel: each test sees events, and that nothing is attached afterwards.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Exit from "effect/Exit"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Attach from "../../src/attach/Attach.ts"
import * as Iter from "../../src/attach/Iter.ts"
import * as Link from "../../src/attach/Link.ts"
import * as PerfEvent from "../../src/attach/PerfEvent.ts"
import * as RawTracepoint from "../../src/attach/RawTracepoint.ts"
import * as Tracepoint from "../../src/attach/Tracepoint.ts"
import * as Tracing from "../../src/attach/Tracing.ts"
import * as Uprobe from "../../src/attach/Uprobe.ts"
import * as UprobeMulti from "../../src/attach/UprobeMulti.ts"
import { LinkType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { attaching, compiled, load, opened, run, traceEvents } from "../support/Attaching.ts"
import { bpffs, describeWith } from "../support/Require.ts"
import { cpuTime } from "../support/CpuTime.ts"

const events = "attach/events.bpf.o"

/** Makes a system call that is one of this process alone. */
const getuid = (): void => {
  process.getuid?.()
}

const getuidEvent = { category: "syscalls", name: "sys_enter_getuid" }

/** Keeps the processor busy, by its own time: what others take of the machine meanwhile does not count. */
const burn = (): void => {
  for (const end = cpuTime() + 80; cpuTime() < end;);
}

// What tracefs lists is for root alone.
describeWith({ kind: "live", root: true }, "events of the kernel", () => {
  it.live("a tracepoint: the program runs while it is attached, and gets its cookie", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(events, "on_tracepoint"))
      getuid()
      assert.strictEqual(yield* loaded.count("tracepoint_hits"), 0)
      const seen = yield* Effect.scoped(Effect.gen(function*() {
        const link = yield* Tracepoint.attach(loaded, "on_tracepoint", { ...getuidEvent, cookie: 77n })
        assert.strictEqual(link.means, "a link")
        const info = yield* link.info
        // Kernels before 6.6 tell nothing of links to perf events.
        if (info?.detail._tag !== "Other") {
          assert.deepStrictEqual(info?.detail, { _tag: "PerfTracepoint", name: "sys_enter_getuid", cookie: 77n })
        }
        getuid()
        getuid()
        assert.strictEqual(yield* loaded.count("tracepoint_cookie"), 77)
        return yield* loaded.count("tracepoint_hits")
      }))
      assert.isAtLeast(seen, 2)
      getuid()
      assert.strictEqual(yield* loaded.count("tracepoint_hits"), seen)
    })))

  it.live("a tracepoint without a link, as older kernels attach it", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(events, "on_tracepoint"))
      const link = yield* Tracepoint.attach(loaded, "on_tracepoint", { ...getuidEvent, withoutLink: true })
      assert.deepStrictEqual([link.means, link.ref], ["a perf event", undefined])
      getuid()
      assert.isAtLeast(yield* loaded.count("tracepoint_hits"), 1)
      assert.strictEqual(yield* link.info, undefined)
      const refused = yield* Effect.flip(link.pin("/sys/fs/bpf/no"))
      assert.deepInclude(refused, { _tag: "AttachError", reason: "Unsupported", kind: "tracepoint" })
      yield* link.detach
      const seen = yield* loaded.count("tracepoint_hits")
      getuid()
      assert.strictEqual(yield* loaded.count("tracepoint_hits"), seen)
      // Once is enough.
      yield* link.detach
      const cookie = { ...getuidEvent, withoutLink: true, cookie: 1n }
      const error = yield* Effect.flip(Tracepoint.attach(loaded, "on_tracepoint", cookie))
      assert.match(error.message, /a cookie needs a link/)
    })))

  it.live("a tracepoint that is none is named", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(events, "on_tracepoint"))
      const error = yield* Effect.flip(
        Tracepoint.attach(loaded, "on_tracepoint", { category: "syscalls", name: "no_such" })
      )
      assert.deepInclude(error, {
        _tag: "AttachError",
        reason: "NotFound",
        kind: "tracepoint",
        target: "syscalls/no_such",
        program: "on_tracepoint"
      })
      const outside = yield* Effect.flip(
        Tracepoint.attach(loaded, "on_tracepoint", { category: "..", name: "sys_enter" })
      )
      assert.deepInclude(outside, { _tag: "AttachError", reason: "NotFound" })
    })))

  it.live("a raw tracepoint, and one by its types", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(events, "on_raw_tracepoint", "on_typed_tracepoint"))
      const raw = yield* RawTracepoint.attach(loaded, "on_raw_tracepoint", { name: "sys_enter" })
      const typed = yield* Tracing.attach(loaded, "on_typed_tracepoint")
      assert.strictEqual((yield* raw.info)?.detail._tag, "RawTracepoint")
      // The kernel's links of both are of one type.
      assert.deepInclude((yield* typed.info)?.detail, { _tag: "RawTracepoint", name: "sys_enter" })
      getuid()
      const [rawHits, typedHits] = [yield* loaded.count("raw_hits"), yield* loaded.count("typed_hits")]
      assert.isAtLeast(rawHits, 1)
      assert.isAtLeast(typedHits, 1)
      yield* raw.detach
      yield* typed.detach
      const after = [yield* loaded.count("raw_hits"), yield* loaded.count("typed_hits")]
      getuid()
      assert.deepStrictEqual([yield* loaded.count("raw_hits"), yield* loaded.count("typed_hits")], after)
      const error = yield* Effect.flip(RawTracepoint.attach(loaded, "on_raw_tracepoint", { name: "no_such" }))
      assert.deepInclude(error, { _tag: "AttachError", reason: "NotFound", kind: "raw_tracepoint" })
    })))

  it.live("a software clock of this process, by a link and without", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(events, "on_clock"))
      const clock = { type: PerfEvent.PerfType.SOFTWARE, config: PerfEvent.SoftwareCounter.TASK_CLOCK, pid: 0 }
      const link = yield* PerfEvent.attach(loaded, "on_clock", { ...clock, period: 100_000n, cookie: 5n })
      const detail = (yield* link.info)?.detail
      if (detail?._tag !== "Other") assert.strictEqual(detail?._tag, "PerfEvent")
      burn()
      const first = yield* loaded.count("clock_hits")
      assert.isAtLeast(first, 10)
      assert.strictEqual(yield* loaded.count("clock_cookie"), 5)
      yield* link.detach
      const stopped = yield* loaded.count("clock_hits")
      burn()
      assert.strictEqual(yield* loaded.count("clock_hits"), stopped)
      yield* PerfEvent.attach(loaded, "on_clock", { ...clock, frequency: 2000n, withoutLink: true })
      burn()
      assert.isAbove(yield* loaded.count("clock_hits"), stopped)
      const error = yield* Effect.flip(PerfEvent.attach(loaded, "on_clock", clock))
      assert.deepInclude(error, { _tag: "AttachError", reason: "BadTarget", kind: "perf_event" })
    })))

  it.live("iterators: over tasks, and over the elements of a map", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(events, "each_task", "each_element"))
      const tasks = yield* Iter.attach(loaded, "each_task")
      assert.deepInclude((yield* tasks.info)?.detail, { _tag: "Iter", target: "task" })
      const lines = (yield* Iter.text(loaded.session, tasks)).trim().split("\n")
      assert.include(lines, `${process.pid} ${process.pid}`)
      // Each reading is a run of its own.
      assert.include(yield* Iter.text(loaded.session, tasks), `${process.pid} ${process.pid}\n`)
      const ours = yield* Iter.attach(loaded, "each_task", { over: { _tag: "Task", tid: 0, pid: process.pid } })
      const own = (yield* Iter.text(loaded.session, ours)).trim().split("\n")
      assert.isTrue(own.every((line) => line.startsWith(`${process.pid} `)), own.join("; "))
      const map = loaded.map("elements")
      if (map === undefined) return assert.fail()
      const missing = yield* Effect.flip(Iter.attach(loaded, "each_element"))
      assert.deepInclude(missing, { _tag: "AttachError", reason: "Refused", kind: "iter" })
      const elements = yield* Iter.attach(loaded, "each_element", { over: { _tag: "Map", map } })
      const values = new BigUint64Array([3n, 5n, 7n, 11n])
      for (let key = 0; key < 4; key++) {
        const bytes = new Uint8Array(values.slice(key, key + 1).buffer)
        const value = { bytes, refs: [] }
        yield* loaded.session.call({
          _tag: "MapUpdate",
          map,
          key: new Uint8Array(Uint32Array.of(key).buffer),
          value,
          flags: 0n
        })
      }
      const written = new BigUint64Array((yield* Iter.bytes(loaded.session, elements)).slice().buffer)
      assert.deepStrictEqual([...written], [3n, 5n, 7n, 11n])
    })))

  it.live("a link outlives its scope where it is pinned, and is opened again", () =>
    attaching(Effect.gen(function*() {
      const path = Path.join(bpffs(), "tracepoint")
      yield* Effect.addFinalizer(() => Effect.sync(() => Fs.rmSync(path, { force: true })))
      const loaded = yield* load(opened(events, "on_tracepoint"))
      yield* Effect.scoped(Effect.gen(function*() {
        const link = yield* Tracepoint.attach(loaded, "on_tracepoint", getuidEvent)
        yield* link.pin(path)
      }))
      const before = yield* loaded.count("tracepoint_hits")
      getuid()
      assert.isAbove(yield* loaded.count("tracepoint_hits"), before)
      const link = yield* Link.open(loaded.session, path)
      assert.strictEqual((yield* link.info)?.type, LinkType.BPF_LINK_TYPE_PERF_EVENT)
      yield* link.unpin
      assert.isFalse(Fs.existsSync(path))
      yield* link.detach
      const after = yield* loaded.count("tracepoint_hits")
      getuid()
      assert.strictEqual(yield* loaded.count("tracepoint_hits"), after)
    })))

  it.live("a pinned clock goes on when its scope has closed", () =>
    attaching(Effect.gen(function*() {
      const path = Path.join(bpffs(), "clock")
      const loaded = yield* load(opened(events, "on_clock"))
      const clock = { type: PerfEvent.PerfType.SOFTWARE, config: PerfEvent.SoftwareCounter.TASK_CLOCK, pid: 0 }
      yield* Effect.scoped(Effect.gen(function*() {
        const link = yield* PerfEvent.attach(loaded, "on_clock", { ...clock, period: 100_000n })
        yield* link.pin(path)
      }))
      yield* Effect.addFinalizer(() => Effect.sync(() => Fs.rmSync(path, { force: true })))
      const before = yield* loaded.count("clock_hits")
      burn()
      assert.isAbove(yield* loaded.count("clock_hits"), before)
      const link = yield* Link.open(loaded.session, path)
      yield* link.unpin
    })))

  it.live("attachAll attaches what sections say, tells what it skips, and detaches with the scope", () =>
    attaching(Effect.gen(function*() {
      const object = opened(
        events,
        "on_tracepoint",
        "on_raw_tracepoint",
        "on_typed_tracepoint",
        "on_uprobe",
        "each_task"
      )
      const loaded = yield* load(object)
      const scope = yield* Scope.make()
      const { links, skipped } = yield* Scope.provide(
        Attach.attachAll(loaded, { except: ["on_raw_tracepoint"] }),
        scope
      )
      assert.deepStrictEqual([...links.keys()], ["on_tracepoint", "on_typed_tracepoint", "each_task"])
      const because = new Map(skipped.map((each) => [each.name, each.because]))
      assert.match(because.get("on_uprobe") ?? "", /does not say to what/)
      assert.match(because.get("on_raw_tracepoint") ?? "", /left alone/)
      assert.match(because.get("on_clock") ?? "", /autoload is off/)
      getuid()
      const seen = yield* loaded.count("tracepoint_hits")
      assert.isAtLeast(seen, 1)
      yield* Scope.close(scope, Exit.void)
      getuid()
      assert.strictEqual(yield* loaded.count("tracepoint_hits"), seen)
    })))
})

const program = `
#include <stdio.h>
#include <stdlib.h>
__attribute__((noinline)) int first_call(int x) { return x + 1; }
__attribute__((noinline)) int second_call(int x) { return x * 2; }
__attribute__((noinline)) static int hidden_call(int x) { return x - 1; }
int main(int argc, char **argv) {
  int times = argc > 1 ? atoi(argv[1]) : 1, sum = 0;
  for (int i = 0; i < times; i++) sum += first_call(i) + second_call(i) + hidden_call(i);
  printf("%d\\n", sum);
  return 0;
}
`

describeWith({ kind: "live", root: true, tools: ["clang-19"] }, "functions of programs", () => {
  for (const mode of ["default", "link", "perf", "tracefs"] as const) {
    it.live(`a uprobe and a uretprobe by mode ${mode}, in a folder whose name has a blank`, () =>
      attaching(Effect.gen(function*() {
        const path = yield* compiled(program)
        const loaded = yield* load(opened(events, "on_uprobe", "on_uretprobe"))
        const begin = Uprobe.attach(loaded, "on_uprobe", {
          path,
          symbol: "first_call",
          mode,
          ...(mode === "default" || mode === "link" ? { cookie: 9n } : {})
        })
        if (mode === "tracefs") {
          const refused = yield* Effect.flip(begin)
          assert.match(refused.message, /no names with blanks/)
          return
        }
        const link = yield* begin
        const end = yield* Uprobe.attach(loaded, "on_uretprobe", { path, symbol: "hidden_call", isReturn: true, mode })
        run(path, "3")
        assert.strictEqual(yield* loaded.count("uprobe_hits"), 3)
        assert.strictEqual(yield* loaded.count("uretprobe_hits"), 3)
        if (mode !== "perf") {
          assert.strictEqual(yield* loaded.count("uprobe_cookie"), 9)
          const detail = (yield* link.info)?.detail
          if (detail?._tag !== "Other") assert.deepInclude(detail, { _tag: "PerfUprobe", isReturn: false, path })
        }
        yield* link.detach
        yield* end.detach
        run(path, "3")
        assert.strictEqual(yield* loaded.count("uprobe_hits"), 3)
        assert.strictEqual(yield* loaded.count("uretprobe_hits"), 3)
      })))
  }

  it.live("a uprobe by an event of tracefs, which is removed with it", () =>
    attaching(Effect.gen(function*() {
      const path = yield* compiled(program)
      const plain = `/tmp/effect_bpf_uprobe_${process.pid}`
      yield* Effect.acquireRelease(
        Effect.sync(() => Fs.copyFileSync(path, plain)),
        () => Effect.sync(() => Fs.rmSync(plain, { force: true }))
      )
      const loaded = yield* load(opened(events, "on_uprobe", "on_uretprobe"))
      const link = yield* Uprobe.attach(loaded, "on_uprobe", { path: plain, symbol: "second_call", mode: "tracefs" })
      yield* Uprobe.attach(loaded, "on_uretprobe", {
        path: plain,
        symbol: "second_call",
        isReturn: true,
        mode: "tracefs"
      })
      assert.deepStrictEqual([link.means, traceEvents().length], ["an event of tracefs", 2])
      run(plain, "4")
      assert.strictEqual(yield* loaded.count("uprobe_hits"), 4)
      assert.strictEqual(yield* loaded.count("uretprobe_hits"), 4)
      yield* link.detach
      assert.strictEqual(traceEvents().length, 1)
      run(plain, "4")
      assert.strictEqual(yield* loaded.count("uprobe_hits"), 4)
    })))

  it.live("a uprobe in one process alone, by an offset of the file", () =>
    attaching(Effect.gen(function*() {
      const loaded = yield* load(opened(events, "on_uprobe"))
      yield* Uprobe.attach(loaded, "on_uprobe", { path: "libc.so.6", symbol: "getuid", pid: 0 })
      getuid()
      getuid()
      run("/bin/sh", "-c", "id -u")
      assert.strictEqual(yield* loaded.count("uprobe_hits"), 2)
    })))

  it.live("what is not there is named: file, function, process", () =>
    attaching(Effect.gen(function*() {
      const path = yield* compiled(program)
      const loaded = yield* load(opened(events, "on_uprobe"))
      const fails = (options: Uprobe.UprobeOptions) => Effect.flip(Uprobe.attach(loaded, "on_uprobe", options))
      assert.deepInclude(yield* fails({ path, symbol: "first_cal" }), { _tag: "AttachError", reason: "NotFound" })
      assert.match((yield* fails({ path, symbol: "first_cal" })).message, /first_call/)
      assert.deepInclude(yield* fails({ path: "/no/such/file", symbol: "main" }), { reason: "NotFound" })
      assert.deepInclude(yield* fails({ path: "no_such_library.so.9", symbol: "f" }), { reason: "NotFound" })
      assert.deepInclude(yield* fails({ path, symbol: "main", pid: 0x3fff_fffe }), {
        reason: "Refused",
        errno: "ESRCH"
      })
      assert.deepInclude(yield* fails({ path, symbol: "main", offset: 1n, isReturn: true }), { reason: "BadTarget" })
      const unknown = yield* Effect.flip(Uprobe.attach(loaded, "nobody", { path, symbol: "main" }))
      assert.deepInclude(unknown, { _tag: "AttachError", reason: "NoSuchProgram" })
      const notLoaded = yield* Effect.flip(Uprobe.attach(loaded, "on_uretprobe", { path, symbol: "main" }))
      assert.deepInclude(notLoaded, { _tag: "AttachError", reason: "NotLoaded" })
    })))
})

describeWith(
  { kind: "live", root: true, tools: ["clang-19"], linux: "6.6" },
  "many functions of programs by one link",
  () => {
    it.live("by names with cookies, by a pattern, by offsets", () =>
      attaching(Effect.gen(function*() {
        const path = yield* compiled(program)
        const loaded = yield* load(opened(events, "on_many"))
        const named = yield* UprobeMulti.attach(loaded, "on_many", {
          path,
          symbols: ["second_call", "first_call"],
          cookies: [100n, 1n]
        })
        run(path, "2")
        assert.strictEqual(yield* loaded.count("multi_hits"), 4)
        assert.strictEqual(yield* loaded.count("multi_cookies"), 202)
        const detail = (yield* named.info)?.detail
        if (detail?._tag === "UprobeMulti") {
          assert.strictEqual(detail.path, path)
          assert.deepStrictEqual(detail.probes.map(({ cookie }) => cookie), [100n, 1n])
        } else assert.strictEqual(detail?._tag, "Other")
        yield* named.detach
        const all = yield* UprobeMulti.attach(loaded, "on_many", { path, pattern: "*_call" })
        run(path, "1")
        assert.strictEqual(yield* loaded.count("multi_hits"), 7)
        yield* all.detach
        run(path, "1")
        assert.strictEqual(yield* loaded.count("multi_hits"), 7)
        const error = yield* Effect.flip(UprobeMulti.attach(loaded, "on_many", { path, pattern: "nothing*" }))
        assert.deepInclude(error, { _tag: "AttachError", reason: "NotFound" })
        const bad = yield* Effect.flip(
          UprobeMulti.attach(loaded, "on_many", { path, pattern: "*_call", cookies: [1n] })
        )
        assert.deepInclude(bad, { _tag: "AttachError", reason: "BadTarget" })
      })))
  }
)

describeWith({ kind: "live", root: true, tools: ["clang-19"], linux: "6.13" }, "sessions of uprobes", () => {
  it.live("run at the beginning and at the return", () =>
    attaching(Effect.gen(function*() {
      const path = yield* compiled(program)
      const loaded = yield* load(opened(events, "on_session"))
      yield* UprobeMulti.attach(loaded, "on_session", { path, symbols: ["first_call"], isSession: true })
      run(path, "5")
      assert.strictEqual(yield* loaded.count("session_hits"), 10)
    })))
})
