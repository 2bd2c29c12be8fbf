/** What tests of attachments share: loading, counting, and seeing that nothing stays attached. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Globals from "../../src/stages/load/Globals.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { fixture } from "./Require.ts"

/** A loaded fixture with its variables. */
export interface Loaded extends Execute.LoadedObject {
  /** A counter by its variable's name. */
  readonly count: (name: string) => Effect.Effect<number, unknown>
}

/** Opens a fixture; of its programs only those that are named are loaded, if any are. */
export const opened = (name: string, ...only: ReadonlyArray<string>): BpfObject => {
  const object = Result.getOrThrow(Open.fromBytes(fixture(name), { path: name }))
  return only.length === 0 ? object : Result.getOrThrow(Edit.loadOnly(object, only))
}

/** Loads an object; what it counts, it counts of this process. */
export const load = (object: BpfObject): Effect.Effect<Loaded, unknown, Kernel | Scope.Scope> =>
  Effect.gen(function*() {
    const planned = yield* Plan.plan.run(yield* Relocate.relocate.run(object))
    const loaded = yield* Execute.toLoaded(planned)
    const globals = yield* Globals.open(loaded)
    if (Result.isSuccess(globals.variable("only_process"))) yield* globals.set("only_process", process.pid)
    return { ...loaded, count: (name) => Effect.map(globals.get(name), (value) => Number(value)) }
  })

/** Descriptors of BPF objects and of perf events that this process has open, as the kernel names them. */
const descriptors = (): ReadonlyArray<string> =>
  Fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const name = Fs.readlinkSync(`/proc/self/fd/${fd}`)
      return /^anon_inode:(\[perf_event\]|bpf|btf)/.test(name) ? [`${fd} ${name}`] : []
    } catch {
      return []
    }
  })

const root = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"].find((path) => Fs.existsSync(`${path}/events`))

/** The events of this process that are in tracefs. */
export const traceEvents = (): ReadonlyArray<string> =>
  ["kprobe_events", "uprobe_events"].flatMap((list) => {
    const path = `${root ?? ""}/${list}`
    return Fs.existsSync(path)
      ? Fs.readFileSync(path, "utf8").split("\n").filter((line) => line.includes(`effect_bpf_${process.pid}_`))
      : []
  })

/** Everything that attaching may leave behind in this process and in the kernel. */
export const leftovers = (): ReadonlyArray<string> => [...descriptors(), ...traceEvents()]

/** Runs a body on a kernel, and sees that nothing is left when it is over. */
export const attaching = <A, E>(
  body: Effect.Effect<A, E, Kernel | Scope.Scope>,
  kernel: Effect.Effect<KernelShape> = KernelLive.make
): Effect.Effect<A, E> =>
  Effect.gen(function*() {
    const before = leftovers()
    const exit = yield* Effect.exit(Effect.provideServiceEffect(Effect.scoped(body), Kernel, kernel))
    assert.deepStrictEqual(leftovers(), before)
    return yield* exit
  })

/** A program of ours to probe, compiled for the length of a scope. */
export const compiled = (
  source: string,
  ...options: ReadonlyArray<string>
): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect bpf "))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true }))
    ),
    (folder) => {
      Fs.writeFileSync(Path.join(folder, "main.c"), source)
      const path = Path.join(folder, "main")
      ChildProcess.execFileSync("clang-19", ["-O0", "-o", path, Path.join(folder, "main.c"), ...options])
      return path
    }
  )

/** Runs a program to its end. */
export const run = (path: string, ...args: ReadonlyArray<string>): string =>
  ChildProcess.execFileSync(path, args, { encoding: "utf8" })
