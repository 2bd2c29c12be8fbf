/**
 * `prog profile`: what it counts, of programs that run once and again. Whole on kernels that take programs for functions of
 * programs; what is assembled is run on every kernel, as programs of another type.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import * as Fs from "node:fs"
import * as Objects from "../../src/cli/objects/Objects.ts"
import * as Profile from "../../src/cli/prog/Profile.ts"
import * as ProfileCode from "../../src/cli/prog/ProfileCode.ts"
import { ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { command } from "../support/InProcess.ts"
import { inSession, progLoad, testRun } from "../support/LiveKernel.ts"
import { loadFixture } from "../support/LoadFixture.ts"
import { bpffs, describeWith, repository } from "../support/Require.ts"

const metricsOf = (...names: ReadonlyArray<string>): ReadonlyArray<Profile.Metric> =>
  names.map((name) => Profile.metrics.find((each) => each.name === name) ?? assert.fail(`${name} is no metric`))

/** `BPF_F_TEST_RUN_ON_CPU` */
const onCpu = 1

describeWith({ kind: "live", root: true }, "programs that measure", () => {
  it.live("add up what counters have grown by between a beginning and an end", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const wanted = metricsOf("task_clock", "page_faults", "cpu_clock", "context_switches")
      const made = yield* Profile.maps(session, wanted)
      const raw = { type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT }
      yield* session.call(progLoad(1, ProfileCode.entry(made), raw))
      yield* session.call(progLoad(2, ProfileCode.exit(made), raw))
      const { online } = yield* session.call({ _tag: "CpusGet" })
      const run = (index: number, cpu: number) => {
        const { dataIn: _, ...rest } = testRun(index, { repeat: 0, flags: onCpu, cpu })
        return session.call({ ...rest, contextIn: new Uint8Array(8) })
      }
      for (const cpu of online) {
        // An end without a beginning counts nothing.
        yield* run(2, cpu)
        for (let time = 0; time < 3; time++) {
          yield* run(1, cpu)
          yield* run(2, cpu)
        }
        yield* run(2, cpu)
      }
      const { readings, runs } = yield* Profile.counted(session, wanted, made)
      assert.strictEqual(runs, BigInt(3 * online.length))
      const [task, faults, clock] = readings
      for (const clockOf of [task, clock]) {
        assert.isAbove(Number(clockOf?.counter), 0)
        assert.isBelow(Number(clockOf?.counter), 10e9 * online.length)
        assert.strictEqual(clockOf?.enabled, clockOf?.running)
      }
      assert.isAtLeast(Number(faults?.counter), 0)
    })))

  it.live("are taken by the verifier with one metric, and with all", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const all = Profile.metrics.filter(({ type }) => type === 1)
      assert.isAtMost(Profile.metrics.length, ProfileCode.mostMetrics)
      for (const [index, wanted] of [all.slice(0, 1), all].entries()) {
        const { events, readings } = yield* Profile.maps(session, wanted)
        const raw = { type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT }
        yield* session.call(progLoad(10 + 2 * index, ProfileCode.entry({ events, readings }), raw))
        yield* session.call(progLoad(11 + 2 * index, ProfileCode.exit({ events, readings }), raw))
      }
    })))
})

const firewall = Path.join(repository, "test/fixtures/xdp_firewall.bpf.o")

describeWith({ kind: "live", root: true }, "prog profile", () => {
  it.live("counts each run of a program, or says that the kernel refuses it", () =>
    Effect.scoped(Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const loaded = yield* loadFixture("xdp_firewall.bpf.o")
      const prog = loaded.program("xdp_firewall") ?? assert.fail("not loaded")
      const { id } = yield* loaded.session.call({ _tag: "ProgGetInfo", prog })
      const run = (repeat: number) => loaded.session.call({ ...testRun(0, { repeat }), prog })
      yield* run(5)
      let seen: Profile.Profile | undefined
      const measured = Effect.scoped(Effect.gen(function*() {
        const objects = yield* Objects.open
        const wanted = yield* Effect.fromResult(
          Profile.profileOf(["id", String(id), "duration", "0.01", "task_clock", "page-faults"])
        )
        const begun = Effect.orDie(Effect.asVoid(run(100)))
        yield* Profile.profile(objects, wanted, begun, (profile) => Effect.sync(() => void (seen = profile)))
      })).pipe(Effect.provideService(Kernel, kernel))
      const exit = yield* Effect.exit(measured)
      if (exit._tag === "Failure") {
        // Not the verifier's refusal, and no other: by policy alone.
        const error = yield* Effect.flip(measured)
        assert.deepInclude(error, { _tag: "ProfileError", subject: "xdp_firewall" })
        assert.match(
          String(Reflect.get(Object(error), "message")),
          /refuses programs that watch it \(fentry and fexit: EPERM\)/
        )
        console.error("not compared: this kernel refuses programs for functions of programs")
        return
      }
      assert.strictEqual(seen?.runs, 100n)
      const [task, faults] = seen?.readings ?? []
      assert.deepStrictEqual([task?.metric.name, faults?.metric.name], ["task_clock", "page_faults"])
      assert.isAbove(Number(task?.counter), 0)
      assert.strictEqual(task?.enabled, task?.running)
      assert.strictEqual(faults?.counter, 0n)
      // It is watched no longer.
      yield* run(7)
      assert.strictEqual(seen?.runs, 100n)
    })))

  it.live("prints a table, and bpftool's document", () =>
    Effect.gen(function*() {
      const pin = Path.join(bpffs(), "profiled")
      assert.strictEqual((yield* command("prog", "load", firewall, pin)).status, 0)
      const words = ["prog", "profile", "pinned", pin, "duration", "0.05", "task_clock", "context_switches"]
      const json = yield* command(...words, "--json")
      const text = yield* command(...words)
      Fs.rmSync(pin)
      assert.strictEqual(json.status, text.status)
      if (json.status !== 0) {
        assert.match(json.stdout, /"type":"ProfileError"/)
        assert.match(text.stderr, /^hint: they need root/m)
        return
      }
      const document: ReadonlyArray<object> = JSON.parse(json.stdout)
      assert.deepStrictEqual(document.map((each) => Object.keys(each)), [
        ["metric", "run_cnt", "value", "enabled", "running"],
        ["metric", "run_cnt", "value", "enabled", "running"]
      ])
      assert.match(text.stdout, /^xdp_firewall ran 0 times\n +METRIC +VALUE\n +task_clock +0\n +context_switches +0$/)
    }))

  it.live("says what is wrong", () =>
    Effect.gen(function*() {
      for (
        const [line, expected] of [
          ["id 1", /metric: what is to be counted is expected\nhint: one or several of cycles, instructions/],
          ["id 1 duration 1", /metric: what is to be counted/],
          ["id 1 cycles cycles", /cycles: it is given twice/],
          ["id 1 task_clock task-clock", /task-clock: it is given twice/],
          ["id 1 temperature", /temperature: nothing of this name is counted/]
        ] as const
      ) {
        const { status, stderr } = yield* command("prog", "profile", ...line.split(" "))
        assert.strictEqual(status, 2)
        assert.match(stderr, expected)
      }
    }))
})
