/**
 * Programs that are attached to functions of the kernel by trampolines and probes, loaded through all stages. Some kernels
 * have no such ways, some refuse them to everybody; what is expected follows from what is known of the running one.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { AttachType, type AttachTypeSymbol } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { Support } from "../../src/services/Kernel/Feature.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import { KernelError, VerifierError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { describeWith, fixture } from "../support/Require.ts"

const name = "section_kinds.bpf.o"

/** Programs of the fixture, and what the kernel must be able to do for each. */
const kinds: ReadonlyArray<readonly [program: string, way: AttachTypeSymbol]> = [
  ["kind_tp_btf", "BPF_TRACE_RAW_TP"],
  ["kind_fentry", "BPF_TRACE_FENTRY"],
  ["kind_fexit", "BPF_TRACE_FEXIT"],
  ["kind_iter", "BPF_TRACE_ITER"],
  ["kind_iter_s", "BPF_TRACE_ITER"],
  ["kind_lsm", "BPF_LSM_MAC"],
  ["kind_lsm_s", "BPF_LSM_MAC"],
  ["kind_lsm_cgroup", "BPF_LSM_CGROUP"],
  ["kind_kprobe_multi", "BPF_TRACE_KPROBE_MULTI"],
  ["kind_kretprobe_multi", "BPF_TRACE_KPROBE_MULTI"],
  ["kind_kprobe_session", "BPF_TRACE_KPROBE_SESSION"],
  ["kind_netfilter", "BPF_NETFILTER"],
  ["kind_tcx_ingress", "BPF_TCX_INGRESS"],
  ["kind_uprobe_multi", "BPF_TRACE_UPROBE_MULTI"],
  ["kind_uprobe_session", "BPF_TRACE_UPROBE_SESSION"]
]

/** Ways that a kernel checks when a program is attached, not when it is loaded: those load on kernels without them. */
const checkedLater: ReadonlySet<AttachTypeSymbol> = new Set([
  "BPF_TRACE_KPROBE_MULTI",
  "BPF_TRACE_KPROBE_SESSION",
  "BPF_TCX_INGRESS",
  "BPF_TRACE_UPROBE_MULTI",
  "BPF_TRACE_UPROBE_SESSION"
])

/** Ways of tracing programs that need no trampoline. */
const withoutTrampoline: ReadonlySet<AttachTypeSymbol> = new Set(["BPF_TRACE_RAW_TP", "BPF_TRACE_ITER"])

/** Loads one program of the fixture, and tells what the kernel says of it. */
const load = (program: string) =>
  Effect.scoped(Effect.gen(function*() {
    const opened = yield* Effect.fromResult(Open.fromBytes(fixture(name), { path: name }))
    const object = yield* Effect.fromResult(Edit.loadOnly(opened, [program]))
    const planned = yield* Plan.plan.run(yield* Relocate.relocate.run(object))
    const { session } = yield* Execute.toLoaded(planned)
    const at = planned.object.programs.findIndex((each) => each.name === program)
    return yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(at) })
  })).pipe(Effect.provideServiceEffect(Kernel, KernelLive.make), Effect.result)

/** What the kernel can do, asked once. */
let ways: Promise<ReadonlyMap<AttachTypeSymbol, Support>> | undefined
const waysOnce = () =>
  ways ??= Effect.runPromise(Effect.map(KernelLive.features({ helpers: false }), ({ attachTypes }) => attachTypes))

/** What the kernel says, as a phrase for those who read a failing test. */
const said = (support: Support | undefined): string =>
  support === undefined ? "unknown" : "errno" in support ? `refused ${support.errno}` : support._tag

describeWith({ kind: "live" }, "programs attached to the kernel's functions", () => {
  for (const [program, way] of kinds) {
    it.live(
      `${program} loads where the kernel has ${way}, and else is refused with a reason`,
      () =>
        Effect.gen(function*() {
          const attachTypes = yield* Effect.promise(waysOnce)
          const support = attachTypes.get(way)
          const before = openDescriptors().length
          const loaded = yield* load(program)
          assert.strictEqual(openDescriptors().length, before)
          if (support?._tag === "Supported" || (support?._tag === "Unsupported" && checkedLater.has(way))) {
            if (Result.isFailure(loaded)) return assert.fail(`${way} is ${said(support)}: ${loaded.failure.message}`)
            if (program.includes("fentry") || program.includes("fexit") || program.includes("lsm")) {
              assert.isAbove(loaded.success.attachBtfId, 0)
            }
            return
          }
          // Answers are given by a type's hardest way: where trampolines are refused, these are not.
          if (support?._tag === "Refused" && withoutTrampoline.has(way) && Result.isSuccess(loaded)) return
          if (Result.isSuccess(loaded)) return assert.fail(`${way} is ${said(support)}, and it loads`)
          const error = loaded.failure
          if (!(error instanceof KernelError || error instanceof VerifierError)) return assert.fail(error.message)
          if (support?._tag === "Refused") assert.strictEqual(error.errno, support.errno, error.message)
        })
    )
  }

  it.live("fmod_ret loads for a function that may be modified, and else the verifier says that it may not", () =>
    Effect.gen(function*() {
      const attachTypes = yield* Effect.promise(waysOnce)
      const loaded = yield* load("kind_fmod_ret")
      if (Result.isSuccess(loaded)) {
        assert.strictEqual(attachTypes.get("BPF_MODIFY_RETURN")?._tag, "Supported")
        assert.isAbove(loaded.success.attachBtfId, 0)
        return
      }
      const { failure } = loaded
      if (attachTypes.get("BPF_MODIFY_RETURN")?._tag === "Refused") assert.match(failure.message, /EPERM/)
      else assert.match(failure.message, /bpf_modify_return_test/)
    }))

  it("names ways that there are", () => {
    for (const [, way] of kinds) assert.isAbove(AttachType[way], 0, way)
  })
})
