/** What refusals are for, decided from facts of machines that are none of ours. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { ProgType } from "../../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../../../../src/services/Kernel/abi/Errno.ts"
import type { KernelCall } from "../../../../../src/services/Kernel/KernelCall.ts"
import { fromErrno, VerifierError } from "../../../../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../../../../src/services/Kernel/KernelLive.ts"
import * as Facts from "../../../../../src/services/Kernel/live/Facts.ts"
import * as Decision from "../../../../../src/services/Kernel/live/Decision.ts"
import * as Surroundings from "../../../../../src/services/Kernel/live/Surroundings.ts"
import { refusalCause, refusalCauses, reasons } from "../../../../../src/services/Kernel/RefusalCause.ts"
import { mapCreate, progLoad, returning } from "../../../../support/LiveKernel.ts"
import * as ScriptedMachine from "../../../../support/ScriptedMachine.ts"

const status = (mask: string, seccomp = "0"): string => `Name:\tnode\nCapEff:\t${mask}\nSeccomp:\t${seccomp}\n`
const [all, none, bpf] = ["000001ffffffffff", "0000000000000000", "0000008000000000"]

const factsOf = (mask: string, more: Partial<Decision.Facts> = {}, seccomp?: string): Decision.Facts => ({
  surroundings: () => ({ status: status(mask, seccomp), lockdown: "", uidMap: "0 0 4294967295\n" }),
  hasProgramType: () => true,
  hasTypes: () => true,
  ...more
})

const program = (type: number): KernelCall => progLoad(0, returning(0), { type })

const refused = (errno: Errno.Errno, log = "") =>
  new VerifierError({ program: "p", errno, errnoNumber: Errno.numbers[errno], log, summary: "" })

const kernelError = (errno: Errno.Errno) => fromErrno("MapCreate", "m", Errno.numbers[errno])

describe("Decision.of", () => {
  const { BPF_PROG_TYPE_CGROUP_SKB, BPF_PROG_TYPE_TRACING, BPF_PROG_TYPE_UNSPEC, BPF_PROG_TYPE_XDP } = ProgType

  it("tells kernels without types, without the type, and other refusals of attributes apart", () => {
    const reason = (type: number, more: Partial<Decision.Facts>) =>
      Decision.of(program(type), refused("EINVAL"), factsOf(all, more))?.reason
    assert.strictEqual(reason(BPF_PROG_TYPE_TRACING, { hasTypes: () => false }), "MissingKernelTypes")
    assert.strictEqual(reason(BPF_PROG_TYPE_XDP, { hasTypes: () => false }), undefined)
    assert.strictEqual(reason(BPF_PROG_TYPE_TRACING, { hasTypes: () => undefined }), undefined)
    assert.strictEqual(reason(BPF_PROG_TYPE_XDP, { hasProgramType: () => false }), "UnknownType")
    assert.strictEqual(reason(BPF_PROG_TYPE_XDP, { hasProgramType: () => undefined }), undefined)
    assert.strictEqual(reason(BPF_PROG_TYPE_UNSPEC, { hasProgramType: () => false }), undefined)
  })

  it("knows what the kernel has not, and does not ask the machine about what it does not need", () => {
    const silent: Decision.Facts = {
      surroundings: () => assert.fail("asked"),
      hasProgramType: () => assert.fail("asked"),
      hasTypes: () => assert.fail("asked")
    }
    assert.strictEqual(Decision.of(mapCreate(0), kernelError("ENOMEM"), silent)?.reason, "NoMemory")
    for (const errno of ["EINVAL", "E2BIG", "EEXIST", "EBADF"] as const) {
      assert.isUndefined(Decision.of(mapCreate(0), kernelError(errno), silent))
    }
    assert.strictEqual(Decision.of(mapCreate(0), kernelError("ENOSYS"), factsOf(all))?.reason, "NoSyscall")
    assert.strictEqual(Decision.of(mapCreate(0), kernelError("ENOSYS"), factsOf(all, {}, "2"))?.reason, "Seccomp")
  })

  it("finds rights behind the verifier's words, where the process has them not", () => {
    const said = (log: string, mask: string) =>
      Decision.of(program(BPF_PROG_TYPE_CGROUP_SKB), refused("EINVAL", log), factsOf(mask))?.capabilities
    const at = "0: R1=ctx() R10=fp0\n3: (85) call bpf_trace_printk#6\n"
    const helper = `${at}program of this type cannot use helper bpf_trace_printk#6\n`
    assert.deepStrictEqual(said(helper, bpf), ["CAP_PERFMON"])
    assert.isUndefined(said(helper, all))
    assert.deepStrictEqual(said("3: (85) call bpf_spin_lock#93\nunknown func bpf_spin_lock#93\n", none), ["CAP_BPF"])
    assert.isUndefined(said("3: (85) call bpf_spin_lock#93\nunknown func bpf_spin_lock#93\n", bpf))
    assert.deepStrictEqual(said("0: (95) exit\nR0 leaks addr as return value\n", bpf), ["CAP_PERFMON"])
    // A helper of another type of program is nobody's here.
    assert.isUndefined(said("3: (85) call bpf_skb_store_bytes#9\nunknown func bpf_skb_store_bytes#9\n", none))
    const calls = "loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN\n"
    assert.deepStrictEqual(said(calls, none), ["CAP_BPF"])
    assert.deepStrictEqual(said("back-edge from insn 3 to 1\n", none), ["CAP_BPF"])
    // What nobody may do is no matter of rights.
    assert.isUndefined(said("0: (79) r0 = *(u64 *)(r1 +0)\nR1 invalid mem access 'scalar'\n", none))
    assert.isUndefined(said(helper, "unknown"))
  })

  it("takes any log and any status", () => {
    for (let length = 0; length <= 80; length++) {
      const facts: Decision.Facts = {
        ...factsOf(all),
        surroundings: () => ({ status: status(bpf).slice(0, length), lockdown: "[integrity".slice(0, length) })
      }
      for (const log of ["", "\0".repeat(length), "R0 leaks addr".slice(0, length)]) {
        Decision.of(program(BPF_PROG_TYPE_XDP), refused("EPERM", log), facts)
      }
    }
  })
})

describe("a machine without types", () => {
  const machineOf = (files: ReadonlyArray<string>) => {
    const machine = ScriptedMachine.make()
    for (const file of files) machine.files.set(file, "")
    return machine.sources.files
  }

  it("is known by sysfs", () => {
    assert.strictEqual(Surroundings.showsTypes(machineOf(["/sys/kernel/btf", "/sys/kernel/btf/vmlinux"])), true)
    assert.strictEqual(Surroundings.showsTypes(machineOf(["/sys/kernel/uevent_seqnum"])), false)
    assert.strictEqual(Surroundings.showsTypes(machineOf([])), undefined)
  })

  it.live("says so to programs that are for a place in the kernel, and to whoever asks for the types", () =>
    Effect.gen(function*() {
      const machine = ScriptedMachine.make()
      machine.files.set("/sys/kernel/uevent_seqnum", "1")
      machine.files.set("/proc/self/status", status(all))
      machine.refusal = Errno.numbers.EINVAL
      const kernel = KernelLive.fromParts({
        sys: () => Result.succeed(machine.sys),
        facts: Facts.fromSources(machine.sources),
        files: machine.sources.files,
        architecture: "x64"
      })
      const error = yield* Effect.flip(Effect.scoped(
        Effect.flatMap(
          kernel.session(),
          (session) => session.call(progLoad(0, returning(0), { type: ProgType.BPF_PROG_TYPE_LSM }))
        )
      ))
      assert.deepInclude(error, { _tag: "VerifierError", errno: "EINVAL", reason: "MissingKernelTypes" })
      const types = yield* Effect.flip(kernel.ask([{ _tag: "VmlinuxTypes" }]))
      assert.deepInclude(types, { errno: "ENOENT", reason: "MissingKernelTypes" })
      assert.strictEqual(machine.open.size, 0)
    }))
})

describe("the table of causes", () => {
  it("has each name once, with what it is and what to do", () => {
    assert.strictEqual(new Set(reasons).size, refusalCauses.length)
    for (const { advice, id, title } of refusalCauses) {
      assert.match(title, /^[a-z].*[^.]$/, id)
      assert.match(advice, /^[a-z].*[^.]$/, id)
      assert.strictEqual(refusalCause(id).id, id)
    }
  })
})
