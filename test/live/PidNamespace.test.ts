/** Processes of another pid namespace, found by the numbers that they have there. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as PidNamespace from "../../src/attach/PidNamespace.ts"
import { describeWith } from "../support/Require.ts"

/** A shell that is number 1 of a namespace, and a child of its that is another there; both wait. */
const container = Effect.acquireRelease(
  Effect.callback<{ readonly child: ChildProcess.ChildProcess; readonly inner: number }>((resume) => {
    const child = ChildProcess.spawn("unshare", ["--pid", "--fork", "sh", "-c", "sleep 600 & echo $!; wait"], {
      stdio: ["ignore", "pipe", "ignore"],
      detached: true
    })
    child.stdout.once("data", (line: Buffer) => resume(Effect.succeed({ child, inner: Number(line.toString()) })))
  }),
  ({ child }) =>
    Effect.sync(() => {
      // unshare, the shell and its child are one process group.
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL")
    })
)

const childOf = (pid: number): number =>
  Number(Fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0])

describeWith({ kind: "live", root: true, tools: ["unshare", "sh"] }, "processes of other pid namespaces", () => {
  it.live("are found by their numbers there", () =>
    Effect.scoped(Effect.gen(function*() {
      const { child, inner } = yield* container
      const first = childOf(child.pid ?? assert.fail("no process"))
      assert.deepStrictEqual(yield* PidNamespace.numbersOf(first), [first, 1])
      assert.strictEqual(yield* PidNamespace.find(first, 1), first)
      const sleeper = childOf(first)
      assert.deepStrictEqual(yield* PidNamespace.numbersOf(sleeper), [sleeper, inner])
      assert.strictEqual(yield* PidNamespace.find(first, inner), sleeper)
      const absent = yield* Effect.flip(PidNamespace.find(first, 4711))
      assert.deepInclude(absent, { _tag: "ProcessError", reason: "NoSuchProcess", pid: 4711 })
    })))

  it.live("this process's own, and processes that there are none of", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* PidNamespace.find(process.pid, (yield* PidNamespace.numbersOf(process.pid)).at(-1) ?? 0),
        process.pid
      )
      for (const pid of [0, -1, 1.5, 2 ** 31, 2 ** 31 - 1]) {
        assert.deepInclude(yield* Effect.flip(PidNamespace.numbersOf(pid)), { reason: "NoSuchProcess", pid })
        assert.deepInclude(yield* Effect.flip(PidNamespace.find(pid, 1)), { reason: "NoSuchProcess" })
      }
    }))
})
