// Every call that a load makes, as it is made: node examples/trace.ts [OBJECT] [--kernel live|simulated]
//
// A kernel is a service, so what watches it is a kernel too, around any other.
// In a project of your own, import from "effect-bpf" and "effect-bpf/node".
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Execute, Kernel, KernelTraced, Open, Plan, Relocate, Stage } from "../src/index.ts"
import { args, onKernel } from "./kernel.ts"

const path = args[0] ?? fileURLToPath(new URL("../test/fixtures/xdp_firewall.bpf.o", import.meta.url))

const load = Stage.pipeline(Open.open({ path }), Relocate.relocate, Plan.plan, Execute.execute())

const traced = Effect.gen(function*() {
  const kernel = KernelTraced.observe(yield* Kernel.Kernel, {
    before: () => Effect.void,
    after: ({ because, call }, answer) =>
      Effect.sync(() => {
        const name = "attr" in call ? ` ${call.attr.name}` : ""
        const again = because === undefined ? "" : `, again because of ${because}`
        console.log(`${call._tag}${name}${again}: ${Result.isSuccess(answer) ? "ok" : answer.failure.message}`)
      })
  }, { listedOrder: true })
  yield* load.run(readFileSync(path)).pipe(Effect.provideService(Kernel.Kernel, kernel))
})

await Effect.runPromise(onKernel(traced))
