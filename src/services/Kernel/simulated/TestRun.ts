/**
 * Running programs on demand: `BPF_PROG_TEST_RUN` in the virtual machine.
 *
 * The context, its checks and what comes back of it are the business of the contexts of the virtual machine; here the
 * machine is run, in slices so that the process stays responsive, and its faults become errors.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Contexts from "../../../vm/contexts/Contexts.ts"
import * as Helpers from "../../../vm/helpers/Helpers.ts"
import * as Lines from "../../../vm/Lines.ts"
import * as Vm from "../../../vm/Vm.ts"
import { FieldError } from "../abi/Arena.ts"
import { ProgFlag, TestRunFlag } from "../abi/BpfConstants.ts"
import * as Hints from "../abi/Hints.ts"
import type { ProgTestRun, TestRunResult } from "../KernelCall.ts"
import { type CallError, fromErrno, ProgramFault } from "../KernelError.ts"
import type { Context } from "./Context.ts"
import type { ProgObject } from "./Objects.ts"
import { CORE_POISON, KFUNC_POISON, MAP_POISON, POISON_END } from "./Poison.ts"
import * as Refuse from "./Refuse.ts"

/** Instructions after which others get a turn: some tens of milliseconds. */
const slice = 2_000_000

/** Runs between two looks at the clock. */
const batch = 64

/** Milliseconds after which others get a turn. */
const patience = 25

const refusal = (
  call: ProgTestRun,
  prog: ProgObject,
  error: Contexts.TestRunError | Contexts.UnsupportedTestRun
): CallError => {
  if (error._tag === "UnsupportedTestRun") {
    return Refuse.unsupported("ProgTestRun", `does not run ${prog.name}: ${error.message}`, error.hint)
  }
  const hint = error.hint ?? Hints.testRun(call)(error.errno)
  return fromErrno("ProgTestRun", prog.name, error.errnoNumber, hint === undefined ? {} : { hint })
}

/** What is missing where a poisoned instruction is reached: what stands for something that the kernel does not have. */
const missingAt = (error: Vm.VmError): string | undefined => {
  if (error.reason !== "UnknownHelper") return undefined
  const helper = Number(/^helper (\d+)$/.exec(error.value ?? "")?.[1])
  return helper === CORE_POISON
    ? "reads a field, type or enumerator that this kernel does not have (CO-RE)"
    : helper >= MAP_POISON && helper < KFUNC_POISON
    ? `uses map ${helper - MAP_POISON} of the object, which was not created`
    : helper >= KFUNC_POISON && helper < POISON_END
    ? "calls a weak kernel function that this kernel does not have"
    : undefined
}

/** A fault of the machine as the call's error: with the line that was being executed. */
const faultOf = (prog: ProgObject, machine: Vm.Machine, error: Vm.VmError): ProgramFault => {
  const lines = machine.program === prog.program ? prog.lines : undefined
  const missing = missingAt(error)
  const source = lines === undefined || error.slot === undefined ? undefined : Lines.sourceLine(lines, error.slot)
  return new ProgramFault({
    call: "ProgTestRun",
    program: prog.name,
    reason: missing === undefined ? error.reason : "Missing",
    detail: missing === undefined
      ? sentenceOf(error)
      : `instruction ${error.slot ?? 0}${error.line === undefined ? "" : `, ${error.line}`}: the program ${missing}`,
    ...(error.slot === undefined ? {} : { instruction: error.slot }),
    ...(machine.program === prog.program ? {} : { running: machine.program.name }),
    ...(error.line === undefined ? {} : { line: error.line }),
    ...(source === undefined ? {} : { source: source.text }),
    ...(error.hint === undefined ? {} : { hint: error.hint })
  })
}

/** The error's message without its hint, which stands by itself. */
const sentenceOf = (error: Vm.VmError): string =>
  error.hint === undefined ? error.message : error.message.replace(` (${error.hint})`, "")

const budgetFault = (prog: ProgObject, machine: Vm.Machine, budget: number): ProgramFault => {
  const slot = machine.pc >> 2
  const line = machine.program.lineAt?.(slot)
  return faultOf(
    prog,
    machine,
    new Vm.VmError({
      reason: "Budget",
      program: machine.program.name,
      slot,
      ...(line === undefined ? {} : { line }),
      hint:
        `a run may take ${budget} instructions: raise \`budget\` of the simulated kernel's options if this one must take more`
    })
  )
}

/** A run that was not over when the machine first stopped: what it returned in the end. Others get turns between slices. */
const goOn = Effect.fnUntraced(function*(context: Context, prog: ProgObject, machine: Vm.Machine, first: Vm.Outcome) {
  const { budget } = context.world
  for (let outcome = first;;) {
    // Whatever is to be answered from outside is not answered here.
    if (outcome._tag === "Calls") outcome = Vm.refuseCall(machine)
    if (outcome._tag === "Done") return outcome.r0
    if (outcome._tag === "Fault") return yield* faultOf(prog, machine, outcome.error)
    if (machine.executed >= budget) return yield* budgetFault(prog, machine, budget)
    yield* Effect.yieldNow
    outcome = Vm.run(machine, Math.min(slice, budget - machine.executed))
  }
})

/** All runs of a call: what the last one returned, and how long they took together, in milliseconds. */
const allRuns = Effect.fnUntraced(function*(
  context: Context,
  prog: ProgObject,
  machine: Vm.Machine,
  opened: Contexts.Opened,
  repeat: number
) {
  const begun = performance.now()
  const first = Math.min(slice, context.world.budget)
  let turn = begun
  let r0 = 0n
  for (let left = repeat; left > 0;) {
    if (performance.now() - turn > patience) {
      yield* Effect.yieldNow
      turn = performance.now()
    }
    for (let many = Math.min(left, batch); many > 0; many--, left--) {
      Vm.startAt(machine, prog.program, opened.low, opened.high)
      const outcome = Vm.run(machine, first)
      r0 = outcome._tag === "Done" ? outcome.r0 : yield* goOn(context, prog, machine, outcome)
    }
  }
  return { r0, milliseconds: performance.now() - begun }
})

const runnableOf = ({ attr, contextBytes }: ProgObject): Contexts.Runnable => ({
  type: attr.type,
  expectedAttachType: attr.expectedAttachType,
  contextBytes,
  sleepable: (attr.flags & ProgFlag.BPF_F_SLEEPABLE) !== 0
})

/** The number that has no place in the call's attributes, in the words of the live kernel's handler. */
const misfit = ({ batchSize, contextOutSize, cpu, dataOutSize, flags, repeat }: ProgTestRun): string | undefined => {
  const numbers = {
    data_size_out: dataOutSize,
    ctx_size_out: contextOutSize,
    repeat,
    flags,
    cpu,
    batch_size: batchSize
  }
  for (const [field, value] of Object.entries(numbers)) {
    if (value !== value >>> 0) {
      return new FieldError({ field, reason: "OutOfRange", value: JSON.stringify(String(value)) }).message
    }
  }
  return undefined
}

/** Runs a program as often as the call says, on one context: what a run leaves in it, the next one finds. */
export const testRun = Effect.fnUntraced(function*(
  context: Context,
  call: ProgTestRun,
  prog: ProgObject
): Effect.fn.Return<TestRunResult, CallError> {
  const { environment, memory, world } = context
  const wrong = misfit(call)
  if (wrong !== undefined) return yield* Refuse.invalid("ProgTestRun", prog.name, wrong)
  const opened = yield* Effect.fromResult(
    Result.mapError(Contexts.open(environment, runnableOf(prog), call), (error) => refusal(call, prog, error))
  )
  const usual = environment.cpu
  // The context and the machine are in the kernel's memory until they are given back, whatever happens.
  const run = Effect.gen(function*() {
    const host = prog.host ??= Helpers.host(environment, context.kfuncs)
    const machine = Vm.make({ memory, host, ...(world.coverage ? { coverage: context.coverage } : {}) })
    if (machine === undefined) return yield* Refuse.refused("ProgTestRun", prog.name, "ENOMEM")
    if ((call.flags & TestRunFlag.BPF_F_TEST_RUN_ON_CPU) !== 0) environment.cpu = call.cpu
    const { milliseconds, r0 } = yield* Effect.ensuring(
      allRuns(context, prog, machine, opened, Math.max(1, call.repeat)),
      Effect.sync(() => Vm.release(machine))
    )
    // Programs that run on plain memory are not timed, as in the kernel.
    const isTimed = opened.context._tag !== "Bytes"
    const duration = isTimed ? Math.min(0xffff_ffff, Math.round(milliseconds * 1e6 / Math.max(1, call.repeat))) : 0
    return yield* Effect.fromResult(
      Result.mapError(Contexts.finish(opened, call, r0, duration), (error) => refusal(call, prog, error))
    )
  })
  return yield* Effect.ensuring(
    // A program that did not return may hold records of ring buffers, which would block all records behind them.
    Effect.onError(run, () => Effect.sync(() => Helpers.abandon(environment))),
    Effect.sync(() => {
      environment.cpu = usual
      Contexts.close(opened)
    })
  )
})
