/**
 * Contexts of programs, laid out and filled by the rules of `BPF_PROG_TEST_RUN`, and what a run leaves in them.
 *
 * ```ts
 * const opened = Contexts.open(environment, { type }, call)          // or the error number that the kernel answers
 * Vm.startAt(machine, program, opened.low, opened.high)               // as often as `repeat` says: runs see each other's traces
 * const answer = Contexts.finish(opened, r0, duration)                // data and context as they come back, or ENOSPC
 * Contexts.close(opened)
 * ```
 *
 * Kinds with a test run here: XDP, traffic control (`SCHED_CLS`, `SCHED_ACT`), socket filter, control group packets,
 * lightweight tunnels, raw tracepoints, syscall programs. Kinds that the kernel cannot test-run answer its `ENOTSUPP`;
 * `openBytes` lends such a program a context of plain bytes all the same. Kinds that only the kernel can test-run
 * (flow dissectors, socket look-up, netfilter, struct_ops, tracing) are an `UnsupportedTestRun`.
 *
 * Rules: `net/bpf/test_run.c` of Linux 6.18, on a machine with pages of 4 KiB. The caller counts as privileged.
 */
import * as Result from "effect/Result"
import { ProgType, progTypeName, TestRunFlag } from "../../services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import type { ProgTestRun, TestRunResult } from "../../services/Kernel/KernelCall.ts"
import type { Environment } from "../helpers/Environment.ts"
import type { Machine } from "../Vm.ts"
import * as Memory from "../Memory.ts"
import type { Context } from "./Context.ts"
import * as Skb from "./Skb.ts"
import * as SkbRun from "./SkbRun.ts"
import { refusal, type TestRunError, UnsupportedTestRun } from "./TestRunError.ts"
import * as XdpRun from "./XdpRun.ts"

export { TestRunError, UnsupportedTestRun } from "./TestRunError.ts"

/** What a test run asks for: the fields of the call, without the program. Empty bytes count as absent. */
export type TestRunInput = Partial<Omit<ProgTestRun, "_tag" | "prog">>

/** What must be known of a program. */
export interface Runnable {
  /** `BPF_PROG_TYPE_*` */
  readonly type: number
  /** `BPF_*` attach type, default 0. */
  readonly expectedAttachType?: number
  /**
   * Bytes of the context that the program accesses at most, as the verifier finds it: shorter contexts of raw tracepoints and
   * syscall programs are refused with `EINVAL`. Default 0: then they fault when they are accessed.
   */
  readonly contextBytes?: number
  /** Whether it may sleep; it then runs on no other CPU. */
  readonly sleepable?: boolean
}

/** A context that is open: r1 of the program, and what is needed to answer. */
export interface Opened {
  /** Halves of the context's address; 0 where the program gets no context. */
  readonly low: number
  readonly high: number
  readonly environment: Environment
  readonly context: Context
  readonly regions: ReadonlyArray<Memory.Region>
  /** What comes back, given what the program returned. */
  readonly answer: () => Left
}

/** What a run left: whole, whatever room the caller gave. */
export interface Left {
  readonly data: Uint8Array
  /** Undefined where the kernel answers none: nobody asked for it. */
  readonly context: Uint8Array | undefined
}

const { BPF_F_TEST_RUN_ON_CPU } = TestRunFlag

const skbKinds: ReadonlyMap<number, Skb.SkbKind> = new Map<number, Skb.SkbKind>([
  [ProgType.BPF_PROG_TYPE_SCHED_CLS, "Tc"],
  [ProgType.BPF_PROG_TYPE_SCHED_ACT, "Tc"],
  [ProgType.BPF_PROG_TYPE_SOCKET_FILTER, "Socket"],
  [ProgType.BPF_PROG_TYPE_CGROUP_SKB, "Cgroup"],
  [ProgType.BPF_PROG_TYPE_LWT_IN, "Lwt"],
  [ProgType.BPF_PROG_TYPE_LWT_OUT, "Lwt"],
  [ProgType.BPF_PROG_TYPE_LWT_XMIT, "Lwt"]
])

/** Kinds whose test runs exist, and not here. */
const onlyInTheKernel: ReadonlySet<number> = new Set([
  ProgType.BPF_PROG_TYPE_FLOW_DISSECTOR,
  ProgType.BPF_PROG_TYPE_SK_LOOKUP,
  ProgType.BPF_PROG_TYPE_NETFILTER,
  ProgType.BPF_PROG_TYPE_STRUCT_OPS,
  ProgType.BPF_PROG_TYPE_TRACING
])

/** Opens the context of a test run, or answers why there is none. Close it when the answer was taken. */
export const open = (
  environment: Environment,
  program: Runnable,
  input: TestRunInput
): Result.Result<Opened, TestRunError | UnsupportedTestRun> => {
  const kind = skbKinds.get(program.type)
  if (kind !== undefined) return SkbRun.open(environment, kind, input)
  switch (program.type) {
    case ProgType.BPF_PROG_TYPE_XDP:
      return XdpRun.open(environment, program, input)
    case ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT:
      return openRawTracepoint(environment, program, input)
    case ProgType.BPF_PROG_TYPE_SYSCALL:
      return openSyscall(environment, program, input)
  }
  return Result.fail(
    onlyInTheKernel.has(program.type)
      ? new UnsupportedTestRun({ what: `programs of type ${progTypeName(program.type)}` })
      : refusal(numbers.ENOTSUPP, `programs of type ${progTypeName(program.type)} have no test run`)
  )
}

const lengthOf = (bytes: Uint8Array | undefined): number => bytes?.length ?? 0

/** A raw tracepoint's arguments: up to 12 numbers of 64 bits, to be read. */
const openRawTracepoint = (
  environment: Environment,
  program: Runnable,
  input: TestRunInput
): Result.Result<Opened, TestRunError> => {
  const size = lengthOf(input.contextIn)
  const flags = input.flags ?? 0
  const onCpu = (flags & BPF_F_TEST_RUN_ON_CPU) !== 0
  if (lengthOf(input.dataIn) > 0 || input.dataOutSize || input.contextOutSize || input.repeat || input.batchSize) {
    return Result.fail(
      refusal(numbers.EINVAL, "raw tracepoints take a context, and no data, room, repeat or batch size")
    )
  }
  if (size < (program.contextBytes ?? 0) || size > 96) {
    return Result.fail(
      refusal(numbers.EINVAL, "the context has not the arguments that the program reads, or more than 12")
    )
  }
  if (!onCpu && input.cpu) return Result.fail(refusal(numbers.EINVAL, "a CPU needs BPF_F_TEST_RUN_ON_CPU"))
  if (onCpu && program.sleepable === true) {
    return Result.fail(refusal(numbers.EINVAL, "a program that may sleep cannot be sent to a CPU"))
  }
  if (onCpu && (input.cpu ?? 0) >= environment.cpus) {
    return Result.fail(refusal(numbers.ENXIO, `there are ${environment.cpus} CPUs`))
  }
  return openBytes(environment, "arguments of the raw tracepoint", input.contextIn ?? new Uint8Array(0), false)
}

/** A syscall program's context: memory that it may change. */
const openSyscall = (
  environment: Environment,
  program: Runnable,
  input: TestRunInput
): Result.Result<Opened, TestRunError> => {
  const size = lengthOf(input.contextIn)
  if (lengthOf(input.dataIn) > 0 || input.dataOutSize || input.repeat || input.flags || input.batchSize) {
    return Result.fail(
      refusal(numbers.EINVAL, "syscall programs take a context, and no data, repeat, flags or batch size")
    )
  }
  if (size < (program.contextBytes ?? 0) || size > 0xffff) {
    return Result.fail(refusal(numbers.EINVAL, "the context is shorter than what the program accesses, or has 64 KiB"))
  }
  return openBytes(environment, "context", input.contextIn ?? new Uint8Array(0), true)
}

/**
 * A context of plain bytes, copied: for kinds that have no test run (kprobes, tracepoints, perf events), and for those
 * whose context is memory. The program gets NULL where there are none. `finish` answers them as they are then.
 */
export const openBytes = (
  environment: Environment,
  name: string,
  bytes: Uint8Array,
  writable: boolean
): Result.Result<Opened, TestRunError> => {
  const context: Context = { _tag: "Bytes" }
  const own = bytes.slice()
  const answer = (): Left => ({ data: new Uint8Array(0), context: own })
  if (own.length === 0) return Result.succeed({ low: 0, high: 0, environment, context, regions: [], answer })
  const region = Memory.add(environment.memory, { name, bytes: own, writable })
  if (region === undefined) return Result.fail(refusal(numbers.ENOMEM, "no room for the context's region"))
  environment.contexts.set(region.id, context)
  return Result.succeed({ low: 0, high: region.id, environment, context, regions: [region], answer })
}

/** What comes back of a run whose program returned `r0`, cut to the room that the caller gave as the kernel does it. */
export const finish = (
  opened: Opened,
  input: TestRunInput,
  r0: bigint,
  duration = 0
): Result.Result<TestRunResult, TestRunError> => {
  const { context, data } = opened.answer()
  const dataRoom = input.dataOutSize ?? 0
  const contextRoom = input.contextOutSize ?? 0
  if (dataRoom > 0 && data.length > dataRoom) {
    return Result.fail(
      refusal(
        numbers.ENOSPC,
        `the data has ${data.length} bytes, and there was room for ${dataRoom}. The program has run`
      )
    )
  }
  const isMemory = opened.context._tag === "Bytes"
  if (context !== undefined && !isMemory && contextRoom > 0 && context.length > contextRoom) {
    return Result.fail(
      refusal(
        numbers.ENOSPC,
        `the context has ${context.length} bytes, and there was room for ${contextRoom}. The program has run`
      )
    )
  }
  return Result.succeed({
    retval: Number(BigInt.asUintN(32, r0)),
    duration,
    dataOut: dataRoom === 0 ? new Uint8Array(0) : data.slice(),
    contextOut: contextRoom === 0 || context === undefined ? new Uint8Array(0) : context.slice(0, contextRoom)
  })
}

/** Takes a context away: pointers to it and its packet fault from now on. A second time it does nothing. */
export const close = (opened: Opened): void => {
  opened.environment.contexts.delete(opened.high)
  for (const region of opened.regions) Memory.remove(opened.environment.memory, region)
}

/** The legacy packet load for a machine's host: of the packet whose context is in r6. */
export const packetLoad =
  (environment: Environment) => (machine: Machine, offset: number, size: number): number | undefined => {
    const context = machine.low[6] === 0 ? environment.contexts.get(machine.high[6] as number) : undefined
    return context?._tag === "Skb" ? Skb.packetLoad(context, offset, size) : undefined
  }
