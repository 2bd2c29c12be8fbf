/** Programs that the verifier of the running kernel refuses: its whole log, and the C line of its last message. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Insn from "../../src/insn/Insn.ts"
import { ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { describeWith, fixture } from "../support/Require.ts"

describeWith({ kind: "live" }, "a refused program", () => {
  for (const level of [0, 2]) {
    it.live(`is told with its log and C line, with a log of level ${level}`, () =>
      Effect.gen(function*() {
        const opened = yield* Effect.fromResult(
          Open.fromBytes(fixture("xdp_firewall.bpf.o"), { path: "xdp_firewall.bpf.o" })
        )
        // The context of a socket filter is another one than that of XDP.
        const object = Result.getOrThrow(Edit.setProgram(opened, "xdp_firewall", {
          type: ProgType.BPF_PROG_TYPE_SOCKET_FILTER,
          expectedAttachType: 0,
          logLevel: level
        }))
        const planned = yield* Plan.plan.run(yield* Relocate.relocate.run(object))
        const error = yield* Effect.flip(Execute.toLoaded(planned))
        if (error._tag !== "VerifierError") return assert.fail(error.message)
        assert.strictEqual(error.errno, "EACCES")
        assert.match(error.log, /invalid mem access 'scalar'/)
        assert.match(error.log, /^processed \d+ insns/m)
        assert.match(error.summary, /invalid mem access 'scalar'/)
        assert.strictEqual(error.file, "./xdp_firewall.bpf.c")
        // It is in a function that the program calls, as the kernel's own note of the line says.
        const noted = /; ([^\n]*) @ xdp_firewall\.bpf\.c:(\d+)\n(?![^]*; [^\n]* @ )/.exec(error.log)
        if (noted !== null) assert.deepStrictEqual([error.source, error.line], [noted[1], Number(noted[2])])
        assert.isAbove(error.line ?? 0, 0)
        assert.isAbove(
          error.instruction ?? 0,
          Insn.count(object.programs.find(({ entry }) => entry)?.insns ?? new Uint8Array(0))
        )
      }).pipe(Effect.scoped, Effect.provide(KernelLive.layer)))
  }
})
