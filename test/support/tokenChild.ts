/** What a process in a user namespace may do with a BPF token and without: one line of JSON. Started by `delegate.c`. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { MapType, ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { KernelShape, SessionOptions } from "../../src/services/Kernel/Kernel.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { mapCreate, progLoad, returning } from "./LiveKernel.ts"
import { fixture } from "./Require.ts"

const path = process.env["BPFFS"] ?? ""

/** `ok`, or the error's message. */
const told = <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.result(effect), (result) => Result.isSuccess(result) ? "ok" : result.failure.message)

const calls = (kernel: KernelShape, options: SessionOptions) =>
  Effect.scoped(Effect.gen(function*() {
    const session = yield* kernel.session(options)
    return {
      map: yield* told(session.call(mapCreate(0, { type: MapType.BPF_MAP_TYPE_LRU_HASH }))),
      program: yield* told(session.call(progLoad(0, returning(2), { type: ProgType.BPF_PROG_TYPE_XDP })))
    }
  }))

const fixtureLoaded = (kernel: KernelShape, options: SessionOptions) =>
  Effect.gen(function*() {
    const object = yield* Effect.fromResult(
      Open.fromBytes(fixture("xdp_firewall.bpf.o"), { path: "xdp_firewall.bpf.o" })
    )
    const planned = yield* Plan.plan.run(yield* Relocate.relocate.run(object))
    const loaded = yield* Execute.toLoaded(planned, options)
    const prog = loaded.program("xdp_firewall")
    return prog === undefined ? 0 : (yield* loaded.session.call({ _tag: "ProgGetInfo", prog })).btfId
  }).pipe(Effect.provideService(Kernel, kernel), Effect.scoped)

const feature = (kernel: KernelShape) =>
  Effect.map(
    told(
      kernel.ask([{ _tag: "Feature", feature: "MemcgAccount" }, { _tag: "Feature", feature: "Btf" }]).pipe(
        Effect.flatMap(({ features }) => {
          const tags = [...features?.values() ?? []].map((fact) => fact._tag === "Known" ? fact.value._tag : fact._tag)
          return tags.every((tag) => tag === "Supported") ? Effect.void : Effect.fail({ message: tags.join(", ") })
        })
      )
    ),
    (answer) => answer
  )

const answers = Effect.gen(function*() {
  const plain = yield* KernelLive.make
  const withToken = yield* KernelLive.makeWith({ token: path })
  return {
    without: { ...yield* calls(plain, {}), features: yield* feature(plain) },
    session: yield* calls(plain, { token: path }),
    layer: { ...yield* calls(withToken, {}), features: yield* feature(withToken) },
    types: yield* fixtureLoaded(withToken, {}),
    elsewhere: yield* told(Effect.scoped(plain.session({ token: "/tmp" }))),
    missing: yield* told(Effect.scoped(plain.session({ token: "/no/such" }))),
    optional: (yield* calls(plain, { token: "default" })).map
  }
})

process.stdout.write(`${JSON.stringify(await Effect.runPromise(Effect.scoped(answers)))}\n`)
