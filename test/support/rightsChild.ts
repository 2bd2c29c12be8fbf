/**
 * Loads a program of each type and creates a map of each type with the rights that this process has, and prints what became of
 * each as JSON: `[kind, type, errno or "", reason, capabilities]`.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { MapFlag, MapType, ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { CallError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Encode from "../../src/insn/Encode.ts"
import type { MapCreate, ProgLoad } from "../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"

const program = (type: number, ...insns: ReadonlyArray<Uint8Array>): ProgLoad => ({
  _tag: "ProgLoad",
  as: Ref.prog(0),
  attr: {
    name: "rights",
    type,
    expectedAttachType: 0,
    flags: 0,
    license: "GPL",
    kernelVersion: 0,
    ifindex: 0
  },
  code: { insns: Encode.program(...insns), refs: [] },
  log: { level: 0 }
})

const map = (type: number): MapCreate => ({
  _tag: "MapCreate",
  as: Ref.map(0),
  attr: {
    name: "rights",
    type,
    keySize: type === MapType.BPF_MAP_TYPE_LPM_TRIE ? 8 : 4,
    valueSize: 4,
    maxEntries: 4,
    flags: type === MapType.BPF_MAP_TYPE_LPM_TRIE ? MapFlag.BPF_F_NO_PREALLOC : 0,
    numaNode: 0,
    ifindex: 0,
    extra: 0n
  }
})

const returning = [Encode.mov64Imm(0, 0), Encode.exit()]

/** The error number, the reason and the capabilities that a failure tells of. */
const outcomeOf = <A>(answer: Result.Result<A, CallError>): readonly [string, string, ReadonlyArray<string>] => {
  if (Result.isSuccess(answer)) return ["", "", []]
  const error = answer.failure
  return error._tag === "KernelError" || error._tag === "VerifierError"
    ? [error.errno, error.reason ?? "", error.capabilities ?? []]
    : [error._tag, "", []]
}

const main = Effect.gen(function*() {
  const kernel = yield* KernelLive.make
  const outcome = (call: MapCreate | ProgLoad) =>
    Effect.map(
      Effect.result(
        Effect.scoped(Effect.flatMap(kernel.session(), (session) => session.call<MapCreate | ProgLoad>(call)))
      ),
      outcomeOf
    )
  const said: Array<unknown> = []
  for (const type of Object.values(ProgType)) said.push(["prog", type, ...yield* outcome(program(type, ...returning))])
  for (const type of Object.values(MapType)) said.push(["map", type, ...yield* outcome(map(type))])
  // A helper that not everybody's programs may call: bpf_trace_printk().
  const calling = [Encode.mov64Imm(1, 0), Encode.callHelper(6), ...returning]
  said.push(["helper", 6, ...yield* outcome(program(ProgType.BPF_PROG_TYPE_SOCKET_FILTER, ...calling))])
  return said
})

process.stdout.write(JSON.stringify(await Effect.runPromise(main)))
