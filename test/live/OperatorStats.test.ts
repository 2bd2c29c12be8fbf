/** `prog stats`: programs watched while they run, with bpftool as the judge of the counts. */
import { assert, it } from "@effect/vitest"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestConsole from "effect/testing/TestConsole"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { run as commandLine } from "../../src/cli/Main.ts"
import * as Objects from "../../src/cli/objects/Objects.ts"
import * as Stats from "../../src/cli/prog/Stats.ts"
import { ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { command } from "../support/InProcess.ts"
import { progLoad, returning, testRun } from "../support/LiveKernel.ts"
import { bpffs, describeWith, repository, run } from "../support/Require.ts"

const onLive = <A, E>(body: Effect.Effect<A, E, Kernel>) =>
  Effect.flatMap(KernelLive.make, (kernel) => Effect.provideService(body, Kernel, kernel))

describeWith({ kind: "live", root: true, tools: ["bpftool"] }, "prog stats", () => {
  it.live("counts each run between its first and its last look, as bpftool shows it", () =>
    onLive(Effect.scoped(Effect.gen(function*() {
      const objects = yield* Objects.open
      const { session } = objects
      const index = 0x1000
      yield* session.call(progLoad(index, returning(2), { type: ProgType.BPF_PROG_TYPE_XDP, name: "watched" }))
      const { id } = yield* session.call({ _tag: "ProgGetInfo", prog: testRun(index).prog })
      const context = yield* Effect.context<Kernel>()
      const seen: Array<Stats.Measured> = []
      const begun = Effect.orDie(Effect.asVoid(session.call(testRun(index, { repeat: 1234 }))))
      const wanted = yield* Effect.fromResult(Stats.watchOf(["id", String(id), "duration", "0.05", "interval", "0.02"]))
      const measured = yield* Stats.watch(objects, wanted, begun, (each) => Effect.sync(() => void seen.push(each)))
      assert.strictEqual(seen.at(-1), measured)
      assert.isTrue(measured.watched >= 50_000_000n)
      assert.deepInclude(measured.programs, {
        id,
        type: ProgType.BPF_PROG_TYPE_XDP,
        name: "watched",
        tag: measured.programs[0]?.tag ?? "",
        runs: 1234n,
        time: measured.programs[0]?.time ?? 0n,
        misses: 0n,
        gone: false
      })
      const judged: unknown = JSON.parse(run("bpftool", ["-j", "prog", "show", "id", String(id)]).stdout)
      if (Stats.isAlwaysOn() === false) {
        assert.deepInclude(judged, { run_cnt: 1234, run_time_ns: Number(measured.programs[0]?.time) })
      }
      // All programs: one that has gone meanwhile is told with what it did before.
      const other = index + 1
      yield* session.call(progLoad(other, returning(2), { type: ProgType.BPF_PROG_TYPE_XDP, name: "leaving" }))
      const begin = Effect.orDie(Effect.asVoid(session.call(testRun(other, { repeat: 7 }))))
      const leave = Effect.asVoid(session.call({ _tag: "Close", ref: testRun(other).prog }))
      let looks = 0
      const seenTwice = yield* Deferred.make<Stats.Measured>()
      const all = yield* Effect.provideContext(
        Effect.raceFirst(
          Deferred.await(seenTwice),
          Effect.flatMap(
            Stats.watch(
              objects,
              { reference: undefined, duration: undefined, interval: 0.01 },
              begin,
              (measured) => looks++ === 0 ? leave : Deferred.succeed(seenTwice, measured)
            ),
            () => Effect.never
          )
        ),
        context
      )
      const left = all.programs.find(({ name }) => name === "leaving")
      assert.deepInclude(left, { runs: 7n, gone: true })
      assert.deepInclude(all.programs.find((each) => each.id === id), { runs: 0n, gone: false })
    }))))

  it.live("prints a text, and one document", () =>
    Effect.gen(function*() {
      const pin = Path.join(bpffs(), "watched")
      const object = Path.join(repository, "test/fixtures/xdp_firewall.bpf.o")
      assert.strictEqual((yield* command("prog", "load", object, pin)).status, 0)
      const watch = (...more: ReadonlyArray<string>) =>
        command("prog", "stats", "pinned", pin, "duration", "0.05", ...more)
      const text = yield* watch()
      assert.deepStrictEqual({ status: text.status, stderr: text.stderr.replace(/^kernel.bpf_stats.*$/m, "") }, {
        status: 0,
        stderr: ""
      })
      assert.match(text.stdout, /^0 programs ran in [\d.]+ m?s, 1 did not$/)
      const { status, stderr, stdout } = yield* watch("interval", "0.02", "--json")
      assert.strictEqual(status, 0, stderr)
      const { programs }: { readonly programs: ReadonlyArray<object> } = JSON.parse(stdout)
      assert.deepInclude(programs[0], { name: "xdp_firewall", type: "xdp", run_cnt: 0, average_ns: null, gone: false })
      Fs.rmSync(pin)
    }))

  it.live("says what is wrong", () =>
    Effect.gen(function*() {
      for (
        const [line, expected] of [
          ["duration 0", /duration 0: a number of seconds from 0.001/],
          ["duration x", /duration x: a number/],
          ["duration", /a number of seconds is expected behind it/],
          ["duration 1 duration 1", /given twice/],
          ["name no_such_program duration 1", /no program is called so/],
          ["forever", /forever: nothing of this name/]
        ] as const
      ) {
        const { status, stderr } = yield* command("prog", "stats", ...line.split(" "))
        assert.strictEqual(status, 2)
        assert.match(stderr, expected)
      }
    }))
})

describeWith({ kind: "live", root: true, files: ["/sys/kernel/tracing/trace_pipe"] }, "commands that watch", () => {
  /** Runs a command until it says that it does, interrupts it, and answers what it has printed. */
  const interrupted = (...args: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(commandLine("1.2.3")(args))
      const begun = Effect.repeat(
        Effect.andThen(Effect.sleep("2 millis"), TestConsole.errorLines),
        { until: (lines) => lines.length > 0 }
      )
      assert.match((yield* begun).join("\n"), /until interrupted: Ctrl-C/)
      yield* Fiber.interrupt(fiber)
      return (yield* TestConsole.logLines).join("\n")
    }).pipe(
      Effect.provideService(TerminalCapabilities, { canColor: false, canAnimate: false, canPrompt: false }),
      Effect.provide([NodeServices.layer, TestConsole.layer])
    )

  it.live("tell what they have seen when they are interrupted", () =>
    Effect.gen(function*() {
      assert.match(yield* interrupted("prog", "stats", "interval", "0.005"), /^\d+ programs? ran in [\d.]+ \S+/m)
      yield* interrupted("prog", "tracelog")
    }))
})
