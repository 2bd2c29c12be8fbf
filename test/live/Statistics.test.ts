/** Run-time statistics and machine code of programs, as the live kernel tells them. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { inSession, kernelError, progLoad, returning, testRun } from "../support/LiveKernel.ts"
import { describeWith } from "../support/Require.ts"
import * as Rights from "../support/Rights.ts"

const isAlwaysOn = (): boolean => Fs.readFileSync("/proc/sys/kernel/bpf_stats_enabled", "utf8").trim() !== "0"

describeWith({ kind: "live", root: true }, "run-time statistics", () => {
  it.live("count runs while they are held, and no others", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const prog = Ref.prog(0)
      yield* session.call(progLoad(0, returning(1), { type: ProgType.BPF_PROG_TYPE_XDP }))
      const run = (repeat: number) => session.call(testRun(0, { repeat }))
      const runs = Effect.map(session.call({ _tag: "ProgGetInfo", prog }), ({ runCount }) => runCount)
      yield* run(3)
      const before = yield* runs
      assert.strictEqual(before, isAlwaysOn() ? 3n : 0n)
      const stats = session.fresh("Stats")
      yield* session.call({ _tag: "StatsEnable", as: stats, what: "RunTime" })
      yield* run(1000)
      assert.strictEqual((yield* runs) - before, 1000n)
      yield* session.call({ _tag: "Close", ref: stats })
      if (!isAlwaysOn()) {
        yield* run(5)
        assert.strictEqual((yield* runs) - before, 1000n)
      }
    })))
})

describeWith({ kind: "live" }, "run-time statistics of anybody", () => {
  it.live("are root's to switch on, and that is said to others", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const enable = session.call({ _tag: "StatsEnable", as: session.fresh("Stats"), what: "RunTime" })
      if (Rights.has("CAP_SYS_ADMIN")) return yield* enable
      const error = yield* kernelError(enable)
      assert.deepInclude(error, { errno: "EPERM", call: "StatsEnable" })
      assert.match(error.message, /CAP_SYS_ADMIN/)
    })))
})

describeWith({ kind: "live", root: true }, "machine code", () => {
  it.live("is told where it is asked for: as many bytes as the kernel counts, function by function", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const prog = Ref.prog(0)
      yield* session.call(progLoad(0, returning(1), { type: ProgType.BPF_PROG_TYPE_XDP }))
      const without = yield* session.call({ _tag: "ProgGetInfo", prog })
      assert.notProperty(without, "machineCode")
      assert.notProperty(without, "jitedSymbols")
      const { jitedLength, jitedSymbols, machineCode } = yield* session.call({
        _tag: "ProgGetInfo",
        prog,
        machineCode: true
      })
      if (jitedLength === 0) return
      assert.strictEqual(machineCode?.bytes.length, jitedLength)
      assert.isTrue(machineCode?.bytes.some((byte) => byte !== 0))
      assert.deepStrictEqual(machineCode?.functionLengths, [jitedLength])
      assert.deepStrictEqual(machineCode?.lineAddresses, [])
      assert.lengthOf(jitedSymbols ?? [], 1)
    })))
})
