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
import { mapCreate, progLoad, returning } from "./LiveKernel.ts"

const printk = {
  insns: Encode.program(Encode.mov64Imm(1, 0), Encode.callHelper(6), Encode.mov64Imm(0, 0), Encode.exit()),
  refs: []
}

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
  const said: Array<unknown> = []
  for (const type of Object.values(ProgType)) {
    const answer = yield* Effect.result(
      Effect.scoped(Effect.flatMap(kernel.session(), (session) => session.call(progLoad(0, returning(0), { type }))))
    )
    said.push(["prog", type, ...outcomeOf(answer)])
  }
  for (const type of Object.values(MapType)) {
    const answer = yield* Effect.result(
      Effect.scoped(Effect.flatMap(kernel.session(), (session) =>
        session.call(
          mapCreate(0, {
            type,
            valueSize: 4,
            ...(type === MapType.BPF_MAP_TYPE_LPM_TRIE ? { flags: MapFlag.BPF_F_NO_PREALLOC } : {})
          })
        )))
    )
    said.push(["map", type, ...outcomeOf(answer)])
  }
  // A helper that not everybody's programs may call.
  const answer = yield* Effect.result(
    Effect.scoped(
      Effect.flatMap(
        kernel.session(),
        (session) => session.call(progLoad(0, printk, { type: ProgType.BPF_PROG_TYPE_SOCKET_FILTER }))
      )
    )
  )
  said.push(["helper", 6, ...outcomeOf(answer)])
  return said
})

process.stdout.write(JSON.stringify(await Effect.runPromise(main)))
