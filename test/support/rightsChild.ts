/**
 * Loads a program of each type and creates a map of each type with the rights that this process has, and prints what became of
 * each as JSON: `[kind, type, errno or "", reason, capabilities]`.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { MapFlag, MapType, ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Encode from "../../src/insn/Encode.ts"
import { mapCreate, progLoad, returning } from "./LiveKernel.ts"

const printk = {
  insns: Encode.program(Encode.mov64Imm(1, 0), Encode.callHelper(6), Encode.mov64Imm(0, 0), Encode.exit()),
  refs: []
}

const main = Effect.gen(function*() {
  const kernel = yield* KernelLive.make
  const said: Array<unknown> = []
  for (const type of Object.values(ProgType)) {
    const answer = yield* Effect.result(
      Effect.scoped(Effect.flatMap(kernel.session(), (session) => session.call(progLoad(0, returning(0), { type }))))
    )
    const error = Result.isFailure(answer) ? answer.failure : undefined
    const { capabilities, errno, reason } = { errno: "", reason: "", capabilities: [], ...error }
    said.push(["prog", type, errno, reason, capabilities])
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
    const error = Result.isFailure(answer) ? answer.failure : undefined
    const { capabilities, errno, reason } = { errno: "", reason: "", capabilities: [], ...error }
    said.push(["map", type, errno, reason, capabilities])
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
  const error = Result.isFailure(answer) ? answer.failure : undefined
  const { capabilities, errno, reason } = { errno: "", reason: "", capabilities: [], ...error }
  said.push(["helper", 6, errno, reason, capabilities])
  return said
})

process.stdout.write(JSON.stringify(await Effect.runPromise(main)))
