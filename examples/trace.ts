// Every call that a load makes, as it is made: node examples/trace.ts [OBJECT]
//
// A kernel is a service, so what watches it is a kernel too, around any other: here around the one of this machine.
// In a project of your own, import from "effect-bpf" and "effect-bpf/node".
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Execute, KernelTraced, Open, Plan, Relocate, Stage } from "../src/index.ts"
import { KernelLive } from "../src/node.ts"

const path = process.argv[2] ?? fileURLToPath(new URL("../test/fixtures/xdp_firewall.bpf.o", import.meta.url))

const load = Stage.pipeline(Open.open({ path }), Relocate.relocate, Plan.plan, Execute.execute())

const traced = KernelTraced.layer(KernelLive.layer, ({ answer, because, call }) =>
  Effect.sync(() => {
    const name = "attr" in call ? ` ${call.attr.name}` : ""
    const again = because === undefined ? "" : `, again because of ${because}`
    const said = answer._tag === "Success" ? "ok" : answer.failure.message
    console.log(`${call._tag}${name}${again}: ${said}`)
  }))

const availability = await Effect.runPromise(KernelLive.availability)
if (availability.available) {
  await Effect.runPromise(load.run(readFileSync(path)).pipe(Effect.scoped, Effect.provide(traced)))
} else console.log(`Nothing is loaded here: ${availability.reason}.\nTo see it, ${availability.hint}.`)
