import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Kernel from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../src/stages/Stage.ts"
import type { Case } from "../Harness.ts"
import { libbpfPeer } from "../Peers.ts"

/** Opening and loading an object on the live kernel; both ends let go of it again. */
export default async function(): Promise<ReadonlyArray<Case>> {
  const kernel = await Effect.runPromise(Effect.provide(Effect.service(Kernel.Kernel), KernelLive.layer))
  return ["tracepoint", "global_data", "map_in_map", "subprograms", "xdp_firewall"].map((name) => {
    const path = Path.join(import.meta.dirname, "../../test/fixtures", `${name}.bpf.o`)
    const bytes = new Uint8Array(Fs.readFileSync(path))
    const load = Stage.pipeline(Open.open({ path }), Relocate.relocate, Plan.plan, Execute.execute())
    const once = Effect.scoped(load.run(bytes)).pipe(Effect.provideService(Kernel.Kernel, kernel))
    const ours = () => Effect.runPromise(once)
    return { name: `open+load ${name}`, inputBytes: bytes.length, ours, ...libbpfPeer("load", path, 30) }
  })
}
