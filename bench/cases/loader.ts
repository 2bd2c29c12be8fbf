/**
 * Loader programs: recording beside libbpf opening the object and generating one, from a plan and from the bytes of the
 * object; replaying; and the command as a whole beside a Node that does nothing.
 */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { repository } from "../../test/support/Require.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import { runLoader } from "../../src/stages/gen/RunLoader.ts"
import type { Case, Measured } from "../Harness.ts"
import { libbpfPeer } from "../Peers.ts"

const folder = Path.join(repository, ".cache/bench/loader")

/** The command as it is shipped. */
const command = (): string => {
  const tool = Path.join(repository, "tools/bundle.mjs")
  const out = Path.join(folder, "command")
  const done = ChildProcess.spawnSync(process.execPath, [tool, Path.join(repository, "src/bin.ts"), out], {
    encoding: "utf8"
  })
  if (done.status !== 0) throw new Error(`${tool}: ${done.stderr}`)
  return Path.join(out, "effect-bpf.js")
}

/** From the bytes of an object to its plan. */
const plan = (bytes: Uint8Array, path: string) =>
  Effect.gen(function*() {
    const object = yield* Effect.fromResult(Open.fromBytes(bytes, { path }))
    const { kernel } = yield* KernelRecording.make
    return yield* Effect.flatMap(Relocate.relocate.run(object), (relocated) => Plan.plan.run(relocated)).pipe(
      Effect.provideService(Kernel, kernel)
    )
  })

const repetitions = 10

/** Starts of the command, and of a Node that does nothing: what is above 60 ms is the command's own. */
const whole = (program: string, name: string, path: string, args: ReadonlyArray<string>): Case => {
  const ours: Measured = {
    boundary: "whole process",
    command: process.execPath,
    args: [program, ...args, path],
    repetitions
  }
  return {
    name,
    inputBytes: Fs.statSync(path).size,
    ours,
    peer: {
      name: `bare Node ${process.versions.node}`,
      boundary: "whole process",
      command: process.execPath,
      args: ["-e", "0"],
      repetitions
    }
  }
}

export default async function(): Promise<ReadonlyArray<Case>> {
  const names = ["many_programs", "usdt_wide", "xdp_firewall", "global_data"]
  const inProcess = await Promise.all(names.map(async (name): Promise<ReadonlyArray<Case>> => {
    const path = Path.join(repository, `test/fixtures/${name}.bpf.o`)
    const bytes = new Uint8Array(Fs.readFileSync(path))
    const planned = await Effect.runPromise(plan(bytes, path))
    const loader = await Effect.runPromise(KernelRecording.record(planned))
    const { kernel } = await Effect.runPromise(KernelSimulated.make())
    return [
      {
        // libbpf has no plan: it relocates while it generates, and opens the object before.
        name: `record the loader of ${name}, planned`,
        inputBytes: bytes.length,
        ours: () => Effect.runSync(KernelRecording.record(planned)),
        ...libbpfPeer("gen", path, 300)
      },
      {
        name: `record the loader of ${name}, from its bytes`,
        inputBytes: bytes.length,
        ours: () => Effect.runSync(Effect.flatMap(plan(bytes, path), (planned) => KernelRecording.record(planned))),
        ...libbpfPeer("gen", path, 300)
      },
      {
        name: `replay the loader of ${name}`,
        inputBytes: loader.data.length,
        ours: () => Effect.runSync(Effect.scoped(runLoader(loader)).pipe(Effect.provideService(Kernel, kernel)))
      }
    ]
  }))
  const program = command()
  const largest = Path.join(repository, "test/fixtures/many_programs.bpf.o")
  return [
    ...inProcess.flat(),
    whole(program, "gen loader, the command", largest, ["gen", "loader"]),
    whole(program, "gen skeleton -L, the command", largest, ["gen", "skeleton", "-L"])
  ]
}
