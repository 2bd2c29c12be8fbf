/**
 * Runs programs of loaded objects on packets and contexts given (`BPF_PROG_TEST_RUN`), with what comes out as values.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as BtfValue from "../btf/BtfValue.ts"
import { actionName, takesPackets } from "../services/Kernel/abi/Actions.ts"
import { ProgType } from "../services/Kernel/abi/BpfConstants.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import type { LoadedObject } from "../stages/load/Execute.ts"
import { argumentType } from "../stages/open/Arguments.ts"
import { type BpfObject, entryPrograms, findProgram } from "../stages/open/BpfObject.ts"
import { oneOf, TestingError } from "./TestingError.ts"

/** What a program is run on. All of it may be left out. */
export interface Input {
  /** The packet, from its Ethernet header on. */
  readonly packet?: Uint8Array
  /**
   * The context: bytes, an array of 64-bit numbers (arguments of a raw tracepoint), or an object that is encoded as the
   * type of the program's argument (`struct __sk_buff`, or a struct of one's own for syscall programs).
   */
  readonly context?: unknown
  /** Times to run; default once. */
  readonly repeat?: number
  /** `BPF_F_TEST_*`; default 0. */
  readonly flags?: number
  /** With `BPF_F_TEST_RUN_ON_CPU`: where; default 0. */
  readonly cpu?: number
}

/** What a run came to. */
export interface Run {
  /** Unsigned 32 bits. */
  readonly retval: number
  /** The name of the return value, where the program's type gives it one: `XDP_DROP`, `TC_ACT_OK`. */
  readonly action: string | undefined
  /** The packet as the program left it; empty without one. */
  readonly packet: Uint8Array
  /** The context as the program left it; empty without one. */
  readonly contextBytes: Uint8Array
  /** The same, decoded as the type of the program's argument; `undefined` where there is no type, or nothing came back. */
  readonly context: BtfValue.BtfValue | undefined
  /** Mean nanoseconds of a run. */
  readonly duration: number
}

/** Room for a packet that comes back: programs may make it longer. */
const roomFor = (packet: Uint8Array): number => Math.max(32 * 1024, packet.length + 4096)

/** Room for a context that comes back: more than any type has. */
const contextRoom = 4096

const words = (
  object: BpfObject,
  values: ReadonlyArray<unknown>,
  program: string
): Result.Result<Uint8Array, TestingError> => {
  const bytes = new Uint8Array(values.length * 8)
  const view = new DataView(bytes.buffer)
  for (const [at, value] of values.entries()) {
    const isNumber = typeof value === "bigint" || (typeof value === "number" && Number.isSafeInteger(value))
    if (!isNumber) {
      const detail = `argument ${at} is no whole number`
      return Result.fail(new TestingError({ reason: "Value", subject: `context of ${program}`, detail }))
    }
    view.setBigUint64(at * 8, BigInt.asUintN(64, BigInt(value)), object.byteOrder === "little")
  }
  return Result.succeed(bytes)
}

const contextBytes = (
  object: BpfObject,
  program: string,
  context: unknown
): Result.Result<Uint8Array, TestingError> => {
  if (context instanceof Uint8Array) return Result.succeed(context)
  if (Array.isArray(context)) return words(object, context, program)
  const type = argumentType(object, program)
  const subject = `context of ${program}`
  if (object.btf === undefined || type === undefined) {
    const detail = "the object says no type for it"
    return Result.fail(new TestingError({ reason: "NoType", subject, detail, hint: "give its bytes, as a Uint8Array" }))
  }
  return Result.mapError(
    BtfValue.encode(object.btf, type, context, object.byteOrder),
    (error) => new TestingError({ reason: "Value", subject, detail: error.message })
  )
}

/** Runs programs of a loaded object, by their names. */
export const run = (
  loaded: Pick<LoadedObject, "object" | "program" | "session">
): (name: string, input?: Input) => Effect.Effect<Run, CallError | TestingError> => {
  // A program that was there and is gone is no program that the load left out.
  const there = new Set(entryPrograms(loaded.object).filter(({ name }) => loaded.program(name) !== undefined))
  return Effect.fnUntraced(function*(name: string, input: Input = {}): Effect.fn.Return<Run, CallError | TestingError> {
    const { object, session } = loaded
    const prog = loaded.program(name)
    const definition = findProgram(object, name)
    if (prog === undefined && definition !== undefined && there.has(definition)) {
      const detail = "it is loaded no more: its scope is over, or it was unloaded"
      return yield* new TestingError({ reason: "NoProgram", subject: name, detail })
    }
    if (prog === undefined || definition === undefined) {
      const names = entryPrograms(object).map((program) => program.name)
      const detail = definition === undefined ? "the object has no such program" : "it was not loaded"
      return yield* new TestingError({ reason: "NoProgram", subject: name, detail, ...oneOf("programs", names) })
    }
    const context = input.context === undefined
      ? undefined
      : yield* Effect.fromResult(contextBytes(object, name, input.context))
    const isPacketType = takesPackets(definition.type)
    const takesContextBack = isPacketType || definition.type === ProgType.BPF_PROG_TYPE_SYSCALL
    const result = yield* session.call({
      _tag: "ProgTestRun",
      prog,
      ...(input.packet === undefined ? {} : { dataIn: input.packet }),
      dataOutSize: input.packet === undefined ? 0 : roomFor(input.packet),
      ...(context === undefined ? {} : { contextIn: context }),
      contextOutSize: context === undefined || !takesContextBack ? 0 : isPacketType ? contextRoom : context.length,
      repeat: input.repeat ?? (isPacketType ? 1 : 0),
      flags: input.flags ?? 0,
      cpu: input.cpu ?? 0,
      batchSize: 0
    })
    const type = argumentType(object, name)
    const decoded = object.btf === undefined || type === undefined || result.contextOut.length === 0
      ? undefined
      : BtfValue.decode(object.btf, type, result.contextOut, object.byteOrder)
    return {
      retval: result.retval,
      action: actionName(definition.type, result.retval),
      packet: result.dataOut,
      contextBytes: result.contextOut,
      context: decoded !== undefined && Result.isSuccess(decoded) ? decoded.success : undefined,
      duration: result.duration
    }
  })
}
