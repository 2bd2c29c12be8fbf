import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Path from "node:path"
import * as Encode from "../../src/insn/Encode.ts"
import * as C from "../../src/insn/InsnConstants.ts"
import { MapType, ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import type { CallError, KernelError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { probeBpf } from "../../test/support/bpfProbe.ts"
import type { Case } from "../Harness.ts"

/** Look-ups, each followed by an addition to the value, that one run makes: divide by the time. The verifier takes no more than about 8,000. */
const LOOKUPS = 8_000
const KEYS = 64
const REPETITIONS = 30

/** Counts in the values of a map, key by key and over again: nearly nothing but look-ups. */
const code = Encode.program(
  Encode.mov64Imm(6, 0),
  // The loop begins here, at slot 1.
  Encode.mov64Reg(7, 6),
  Encode.alu64Imm(C.BPF_AND, 7, KEYS - 1),
  Encode.stx(C.BPF_W, 10, 7, -4),
  Encode.ldMapFd(1, 0),
  Encode.mov64Reg(2, 10),
  Encode.alu64Imm(C.BPF_ADD, 2, -4),
  Encode.callHelper(1),
  Encode.jmpImm(C.BPF_JEQ, 0, 0, 5),
  Encode.ldx(C.BPF_DW, 1, 0, 0),
  Encode.alu64Imm(C.BPF_ADD, 1, 1),
  Encode.stx(C.BPF_DW, 0, 1, 0),
  Encode.alu64Imm(C.BPF_ADD, 6, 1),
  Encode.jmpImm(C.BPF_JLT, 6, LOOKUPS, -14),
  Encode.mov64Imm(0, 0),
  Encode.exit()
)
const mapSlot = 4

/** Loads the loop with a map of this type on the kernel that is provided; `once` is one run. */
export const mapLoop = (
  type: number
): Effect.Effect<{ readonly once: Effect.Effect<void, CallError> }, CallError | KernelError, Kernel | Scope.Scope> =>
  Effect.gen(function*() {
    const session = yield* (yield* Kernel).session()
    const map = Ref.map(0)
    const prog = Ref.prog(0)
    const sizes = { keySize: 4, valueSize: 8, maxEntries: KEYS, flags: 0, numaNode: 0, ifindex: 0, extra: 0n }
    yield* session.call({ _tag: "MapCreate", as: map, attr: { name: "counters", type, ...sizes } })
    for (let key = 0; key < KEYS; key++) {
      const value = { bytes: new Uint8Array(8), refs: [] }
      yield* session.call({ _tag: "MapUpdate", map, key: Uint8Array.of(key, 0, 0, 0), value, flags: 0n })
    }
    yield* session.call({
      _tag: "ProgLoad",
      as: prog,
      attr: {
        name: "map_loop",
        type: ProgType.BPF_PROG_TYPE_SCHED_CLS,
        expectedAttachType: 0,
        license: "GPL",
        kernelVersion: 0,
        flags: 0,
        ifindex: 0
      },
      code: { insns: code, refs: [{ _tag: "MapRef", at: mapSlot, map }] },
      log: { level: 0 }
    })
    const dataIn = new Uint8Array(64)
    const sizesOut = { dataOutSize: 0, contextOutSize: 0 }
    const once = session.call({
      _tag: "ProgTestRun",
      prog,
      dataIn,
      ...sizesOut,
      repeat: 1,
      flags: 0,
      cpu: 0,
      batchSize: 0
    })
    const { retval } = yield* once
    const first = yield* session.call({
      _tag: "MapLookup",
      map,
      key: new Uint8Array(4),
      valueSize: 8,
      flags: 0n
    })
    const counted = first === undefined ? 0n : new DataView(first.buffer, first.byteOffset).getBigUint64(0, true)
    // A run that ended early would look fast.
    if (retval !== 0 || counted !== BigInt(Math.ceil(LOOKUPS / KEYS))) {
      return yield* Effect.die(new Error(`the loop ended with ${retval} and counted ${counted}`))
    }
    return { once: Effect.asVoid(once) }
  })

/** The maps of the cases, by the names of their types. */
export const mapTypes: Readonly<Record<string, number>> = {
  array: MapType.BPF_MAP_TYPE_ARRAY,
  hash: MapType.BPF_MAP_TYPE_HASH
}

/** Programs that do nearly nothing but look things up in a map, on the simulated kernel and on the running one. */
export default async (): Promise<ReadonlyArray<Case>> => {
  // Lives as long as the process.
  const scope = Effect.runSync(Scope.make())
  process.on("exit", () => Effect.runSync(Scope.close(scope, Exit.void)))
  const cases: Array<Case> = []
  for (const [name, type] of Object.entries(mapTypes)) {
    const { once } = await Effect.runPromise(
      mapLoop(type).pipe(Scope.provide(scope), Effect.provide(KernelSimulated.layer()))
    )
    cases.push({
      name: `simulated: ${LOOKUPS} look-ups in ${name === "array" ? "an array" : "a hash"}`,
      inputBytes: code.length,
      ours: () => Effect.runPromise(once),
      ...(probeBpf().available
        ? {
          peer: {
            name: "PROG_TEST_RUN of the running kernel",
            boundary: "in process",
            repetitions: REPETITIONS,
            command: process.execPath,
            args: [Path.join(import.meta.dirname, "../peers/liveMapLoop.ts"), String(REPETITIONS), name]
          }
        }
        : {})
    })
  }
  return cases
}
