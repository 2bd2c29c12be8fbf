import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Esbuild from "esbuild"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Kernel from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as LoadPlan from "../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../src/stages/Stage.ts"
import { allFixtures, corpus, repository } from "../../test/support/Require.ts"
import type { Case, Measured } from "../Harness.ts"
import { libbpfPeer } from "../Peers.ts"

const OBJECTS = 50
const REPETITIONS = 20

/** Our side as it is shipped: one bundle, no TypeScript to be read. */
const bundle = (): string => {
  const outfile = Path.join(repository, ".cache/bench/liveLoads.mjs")
  Esbuild.buildSync({
    entryPoints: [Path.join(import.meta.dirname, "../peers/liveLoads.ts")],
    bundle: true,
    platform: "node",
    format: "esm",
    external: ["koffi"],
    outfile
  })
  return outfile
}

/**
 * Objects that do CO-RE, that the running kernel takes as they are, and that leave nothing behind: of the corpus, or else
 * fixtures, again and again.
 */
const objectPaths = async (kernel: Kernel.KernelShape): Promise<ReadonlyArray<string>> => {
  const fixtures = allFixtures().filter((name) => name.endsWith(".bpf.o"))
    .map((name) => Path.join(repository, "test/fixtures", name))
  const chosen: Array<string> = []
  for (const path of [...corpus().filter((path) => path.endsWith(".o")), ...fixtures]) {
    if (chosen.length === OBJECTS) break
    const bytes = new Uint8Array(Fs.readFileSync(path))
    const load = Stage.pipeline(Open.open({ path }), Relocate.relocate, Plan.plan, Execute.execute()).run(bytes)
    const loaded = await Effect.runPromiseExit(
      Effect.scoped(load).pipe(Effect.provideService(Kernel.Kernel, kernel))
    )
    if (Exit.isFailure(loaded)) continue
    const { object: { btfExt, maps }, plan } = loaded.value
    const doesCore = (btfExt?.coreRelocations?.sections.length ?? 0) > 0
    const hasPrograms = LoadPlan.mainCalls(plan).some((call) => call._tag === "ProgLoad")
    if (doesCore && hasPrograms && maps.every((map) => map.pinPath === undefined)) chosen.push(path)
  }
  return chosen.length === 0 ? [] : Array.from({ length: OBJECTS }, (_, index) => chosen[index % chosen.length] ?? "")
}

/**
 * Loading much, beside libbpf: 50 CO-RE objects in one process, without the time in which the kernel verifies programs, which
 * stands apart; and one object of 70 programs, which ours gives to the kernel on several threads. Both
 * sides repeat the work in a process of their own, whose peak of memory is printed. Ours keeps what it learned of the kernel
 * between objects, libbpf opens each afresh.
 *
 * What stands apart for ours begins before the call is handed to another thread and ends when this one has the answer.
 */
export default async function(): Promise<ReadonlyArray<Case>> {
  const kernel = await Effect.runPromise(Effect.provide(Effect.service(Kernel.Kernel), KernelLive.layer))
  const availability = await Effect.runPromise(KernelLive.availability)
  if (!availability.available) {
    process.stderr.write(`no loads: ${availability.reason}\n`)
    return []
  }
  const script = bundle()
  const ours = (mode: "rest" | "load", paths: ReadonlyArray<string>): Measured => ({
    boundary: "in process",
    command: process.execPath,
    args: [script, mode, String(REPETITIONS), ...paths],
    repetitions: REPETITIONS
  })
  const beside = (name: string, mode: "rest" | "load", paths: ReadonlyArray<string>): ReadonlyArray<Case> => {
    const inputBytes = paths.reduce((sum, path) => sum + Fs.statSync(path).size, 0)
    const work = { inputBytes, ours: ours(mode, paths) }
    return [
      { ...work, name, ...libbpfPeer(mode, paths, REPETITIONS) },
      { ...work, name: `${name}, beside 1.5`, ...libbpfPeer(mode, paths, REPETITIONS, { version: "1.5" }) }
    ]
  }
  const objects = await objectPaths(kernel)
  const many = Path.join(repository, "test/fixtures/many_programs.bpf.o")
  return [
    ...beside(`load many: ${objects.length} CO-RE objects, verification apart`, "rest", objects),
    ...beside("load many: one object of 70 programs", "load", [many])
  ]
}
