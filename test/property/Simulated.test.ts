/**
 * The simulated kernel under arbitrary programs, arbitrary calls and faults: every answer is a value or a tagged error,
 * equal kernels answer equally, and law 7 holds on it as on every kernel.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../src/insn/Encode.ts"
import { ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Simulated from "../../src/services/Kernel/simulated/Context.ts"
import { contextBytes } from "../../src/services/Kernel/simulated/ContextAccess.ts"
import * as Testing from "../../src/testing/Testing.ts"
import { progLoad, testRun } from "../support/LiveKernel.ts"
import { fixture, runs } from "../support/Require.ts"

/** Instructions of which most exist, some with registers and targets that do not. */
const instruction: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.record({
    opcode: fc.constantFrom(
      0x07,
      0x0f,
      0xbf,
      0xb7,
      0x85,
      0x05,
      0x15,
      0x1d,
      0x61,
      0x79,
      0x7b,
      0x63,
      0x72,
      0xdb,
      0x95,
      0x37
    ),
    registers: fc.nat(0xaa),
    offset: fc.integer({ min: -16, max: 16 }),
    imm: fc.oneof(fc.integer({ min: -4, max: 220 }), fc.integer())
  }).map(({ imm, offset, opcode, registers }) => Encode.raw(opcode, registers & 15, registers >> 4, offset, imm)),
  fc.uint8Array({ minLength: 8, maxLength: 8 })
)

const programs = fc.array(instruction, { minLength: 0, maxLength: 24 }).map((insns) =>
  Encode.program(...insns, Encode.exit())
)

const types = fc.constantFrom(
  ProgType.BPF_PROG_TYPE_XDP,
  ProgType.BPF_PROG_TYPE_SCHED_CLS,
  ProgType.BPF_PROG_TYPE_SOCKET_FILTER,
  ProgType.BPF_PROG_TYPE_SYSCALL,
  ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
  ProgType.BPF_PROG_TYPE_KPROBE
)

/** What loading and running a program comes to, as text. */
const fateOf = (insns: Uint8Array, type: number, dataIn: Uint8Array) =>
  Effect.scoped(Effect.gen(function*() {
    const { kernel } = yield* KernelSimulated.make({ budget: 20_000 })
    const session = yield* kernel.session()
    yield* session.call(progLoad(0, { insns, refs: [] }, { type }))
    const isPacket = type !== ProgType.BPF_PROG_TYPE_SYSCALL && type !== ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT
    const { dataIn: _, ...run } = testRun(0, isPacket ? { dataOutSize: 4096 } : { contextIn: dataIn, repeat: 0 })
    const { contextOut, dataOut, retval } = yield* session.call(isPacket ? { ...run, dataIn } : run)
    return JSON.stringify([retval, [...dataOut], [...contextOut]])
  })).pipe(Effect.catch((error) => Effect.succeed(`${error._tag}: ${error.message}`)))

describe("the simulated kernel", () => {
  it("answers any program with a value or a tagged error, and twice the same", async () => {
    await fc.assert(
      fc.asyncProperty(programs, types, fc.uint8Array({ maxLength: 80 }), async (insns, type, data) => {
        const once = await Effect.runPromise(fateOf(insns, type, data))
        assert.strictEqual(await Effect.runPromise(fateOf(insns, type, data)), once)
      }),
      { numRuns: runs(1500) }
    )
  })

  it("looks at a bounded part of any code", () => {
    fc.assert(
      fc.property(fc.array(instruction, { maxLength: 300 }), (insns) => {
        const code = Encode.program(...insns)
        assert.isAtLeast(contextBytes(code), 0)
      }),
      { numRuns: runs(300) }
    )
  })

  it("releases everything, whatever attempt of a load fails or is interrupted (law 7)", async () => {
    for (const name of ["xdp_firewall.bpf.o", "prog_array.bpf.o", "map_in_map.bpf.o", "pinned_map.bpf.o"]) {
      const fresh = () => Result.getOrThrow(Simulated.make({}))
      const load = Testing.load(fixture(name))
      const traced = await Effect.runPromise(
        Effect.scoped(Effect.gen(function*() {
          const { attempts, kernel } = yield* KernelTraced.make(KernelSimulated.fromContext(fresh()).kernel)
          yield* Effect.provideService(load, Kernel, kernel)
          return yield* attempts
        }))
      )
      const faults = [{ _tag: "Answer", errno: "EIO" }, { _tag: "InterruptBefore" }, {
        _tag: "InterruptAfter"
      }] as const
      for (const position of traced.keys()) {
        for (const fault of faults) {
          const context = fresh()
          const before = context.memory.next - context.memory.free.length
          const exit = await Effect.runPromiseExit(Effect.scoped(Effect.gen(function*() {
            const kernel = yield* KernelFaulty.make(KernelSimulated.fromContext(context).kernel, position, fault)
            yield* Effect.provideService(load, Kernel, kernel)
          })))
          const where = `${name}, attempt ${position}, ${fault._tag}`
          if (Exit.isFailure(exit)) assert.strictEqual(context.pins.size, 0, where)
          // Where the step was optional the load went on, and what it pinned stays.
          assert.strictEqual(context.memory.next - context.memory.free.length, before + context.pins.size, where)
        }
      }
    }
  })

  it("named fault: a kernel with a clock of its own is not the same twice", async () => {
    let now = 0n
    const value = () =>
      Effect.runPromise(Effect.scoped(Effect.gen(function*() {
        const { kernel } = yield* KernelSimulated.make({ time: () => now++ })
        const session = yield* kernel.session()
        yield* session.call(progLoad(0, { insns: Encode.program(Encode.callHelper(5), Encode.exit()), refs: [] }))
        return (yield* session.call(testRun(0))).retval
      })))
    assert.notStrictEqual(await value(), await value())
  })
})
