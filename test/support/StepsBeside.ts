/**
 * Scripts of helper calls on the running kernel and on the simulated one: programs of ours, compiled here, that read from a map
 * what to call and write to another what was answered. For the judges of helpers and contexts.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import type { ProgTestRun } from "../../src/services/Kernel/KernelCall.ts"
import type { SimulatedOptions } from "../../src/services/Kernel/KernelSimulated.ts"
import type * as Execute from "../../src/stages/load/Execute.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Beside from "./KernelsBeside.ts"
import { repository, run, temporaryFolder } from "./Require.ts"

const folder = Path.join(repository, "test/live/programs")

/** Where Debian keeps `<asm/types.h>`, whatever the machine. */
const includes = (): ReadonlyArray<string> => {
  const name = Os.machine()
  return ["-idirafter", `/usr/include/${name === "arm64" ? "aarch64" : name}-linux-gnu`]
}

/** Compiles and opens `test/live/programs/NAME.bpf.c`. */
export const compiled = (name: string): BpfObject => {
  const output = Path.join(temporaryFolder(), `${name}.bpf.o`)
  const source = Path.join(folder, `${name}.bpf.c`)
  run("clang-19", ["-target", "bpfel", "-mcpu=v3", "-O2", "-g", "-Wall", ...includes(), "-c", source, "-o", output])
  return Result.getOrThrow(Open.fromBytes(Fs.readFileSync(output), { path: output }))
}

/** The object of a program, loaded on both kernels. */
export const load = (name: string, options: SimulatedOptions = {}) =>
  Effect.suspend(() => Beside.load(compiled(name), options))

/** Steps of a script, and bytes that a step may carry. */
export const STEPS = 4
const BYTES = 64
const stepSize = 8 + 4 * 8 + BYTES

/** A helper call of a script. Numbers are taken modulo 2^64. */
export interface Step {
  readonly op: number
  readonly size?: number
  readonly a?: bigint | number
  readonly b?: bigint | number
  readonly c?: bigint | number
  readonly d?: bigint | number
  readonly bytes?: Uint8Array
}

const encoded = (step: Step): Uint8Array => {
  const bytes = new Uint8Array(stepSize)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, step.op, true)
  view.setUint32(4, step.size ?? 0, true)
  for (const [at, value] of [step.a, step.b, step.c, step.d].entries()) {
    view.setBigUint64(8 + at * 8, BigInt.asUintN(64, BigInt(value ?? 0)), true)
  }
  bytes.set((step.bytes ?? new Uint8Array(0)).subarray(0, BYTES), 40)
  return bytes
}

/** The step that does nothing. */
const idle: Step = { op: 1000 }

/** Sets an element of an array. */
export const setElement = (loaded: Execute.LoadedObject, name: string, index: number, bytes: Uint8Array) => {
  const map = loaded.map(name)
  if (map === undefined) return Effect.die(new Error(`there is no map ${name}`))
  const key = new Uint8Array(Uint32Array.of(index).buffer)
  return loaded.session.call({ _tag: "MapUpdate", map, key, value: { bytes, refs: [] }, flags: 0n })
}

/** Sizes of elements, of the answers to be cleared. */
const answerSize = 8 + 24 * 4 + 16 + BYTES

/** What a test run is called with, for those that matter here. */
export type Input = Partial<Omit<ProgTestRun, "_tag" | "prog">>

const full = (input: Input): Omit<ProgTestRun, "_tag" | "prog"> => ({
  dataOutSize: 80_000,
  contextOutSize: 0,
  repeat: 1,
  flags: 0,
  cpu: 0,
  batchSize: 0,
  ...input
})

const performOn = Effect.fnUntraced(function*(
  loaded: Execute.LoadedObject,
  program: string,
  steps: ReadonlyArray<Step>,
  input: Input
) {
  for (let index = 0; index < STEPS; index++) {
    yield* setElement(loaded, "steps", index, encoded(steps[index] ?? idle))
    yield* setElement(loaded, "answers", index, new Uint8Array(answerSize))
  }
  return yield* Beside.runOf(loaded, program, full(input))
})

/** Writes samples of these lengths, filled with a byte each, into a user ring buffer, as user space does. */
export const produce = Effect.fnUntraced(function*(
  loaded: Execute.LoadedObject,
  name: string,
  samples: ReadonlyArray<readonly [length: number, fill: number]>
) {
  const map = loaded.map(name)
  if (map === undefined) return yield* Effect.die(new Error(`there is no map ${name}`))
  const page = 4096
  const as = Ref.view(0)
  // The consumer's page is the kernel's; the producer's and the data are user space's.
  const view = yield* loaded.session.call({ _tag: "MapMmap", map, as, offset: page, length: 2 * page, writable: true })
  let position = 0
  for (const [length, fill] of samples) {
    view.bytes.fill(fill, page + position + 8, page + position + 8 + length)
    new DataView(view.bytes.buffer, view.bytes.byteOffset).setUint32(page + position, length, true)
    position += Math.ceil((8 + length) / 8) * 8
  }
  view.storeRelease64(0, BigInt(position))
  yield* loaded.session.call({ _tag: "Close", ref: as })
})

/** Runs a script on both: what each answered, contents of all maps included. */
export const perform = Effect.fnUntraced(function*(
  beside: Beside.Beside,
  program: string,
  steps: ReadonlyArray<Step>,
  input: Input
) {
  const live = yield* performOn(beside.live, program, steps, input)
  const simulated = yield* performOn(beside.simulated, program, steps, input)
  return {
    live: { run: live, maps: yield* Beside.dump(beside.kernels.live, beside.live) },
    simulated: { run: simulated, maps: yield* Beside.dump(beside.kernels.simulated, beside.simulated) }
  }
})
