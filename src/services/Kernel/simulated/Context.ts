/**
 * One simulated kernel: its memory, what is loaded in it, and what it is like. The sessions of a layer share it.
 */
import * as Result from "effect/Result"
import * as Core from "../../../stages/relocate/core/Core.ts"
import * as Environment from "../../../vm/helpers/Environment.ts"
import * as Helpers from "../../../vm/helpers/Helpers.ts"
import * as Memory from "../../../vm/Memory.ts"
import type { Program } from "../../../vm/Program.ts"
import type { KernelError } from "../KernelError.ts"
import type { KernelObject, ProgObject, Registry } from "./Objects.ts"
import { type SimulatedOptions, type World, worldOf } from "./Options.ts"

/** A simulated kernel. */
export interface Context {
  readonly world: World
  readonly memory: Memory.Memory
  readonly environment: Environment.Environment
  /** What is pinned, by path. */
  readonly pins: Map<string, KernelObject>
  /** Folders of bpf file systems. */
  readonly folders: Set<string>
  /** Kernel functions that programs call, by the number that their calls carry. */
  readonly kfuncs: Map<number, string>
  /** Kernel variables that programs refer to, by name. */
  readonly variables: Map<string, Memory.Region>
  /** What CO-RE records are resolved against, where the kernel's types are known. */
  readonly target: () => Core.CoreTarget | undefined
  /** Names of the helpers that are simulated or replaced. */
  readonly helpers: ReadonlySet<string>
  /** How often each instruction ran, by the program that was loaded, where coverage is on. It outlives the programs. */
  readonly coverage: Map<Program, Uint32Array>
  /** The programs that were loaded while coverage was on, in that order. */
  readonly covered: Array<ProgObject>
  /** Who waits for ring buffers: each looks whether what it waits for is there, and leaves if so. */
  readonly sleepers: Set<() => void>
  /** Lines that programs printed. */
  readonly printk: Array<string>
  /** What there is, by identifier. */
  readonly objects: Registry
  /** The next id of each kind of object. */
  readonly ids: { Btf: number; Map: number; Prog: number }
}

/** Most lines of output that are kept: older ones go first. */
const maximumLines = 10_000

/** Whether a slot's handle is one of ours, which all are. */
const isObject = (handle: unknown): handle is KernelObject =>
  typeof handle === "object" && handle !== null && "_tag" in handle

/** A kernel in which nothing is loaded, or what is wrong with the options. */
export const make = (options: SimulatedOptions): Result.Result<Context, KernelError> => {
  const printk: Array<string> = []
  const print = (line: string): void => {
    if (printk.length >= maximumLines) printk.splice(0, maximumLines / 2)
    printk.push(line)
    options.onPrintk?.(line)
  }
  return Result.map(worldOf(options, print), (world) => {
    const memory = Memory.make()
    const programOf = (handle: unknown): Program | undefined =>
      isObject(handle) && handle._tag === "Prog" ? handle.program : undefined
    const sleepers = new Set<() => void>()
    const wake = (): void => {
      for (const look of sleepers) look()
    }
    const environment = Environment.make(memory, { ...world.environment, programOf, wake })
    let target: Core.CoreTarget | undefined
    return {
      world,
      memory,
      environment,
      target: () => {
        if (world.types === undefined) return undefined
        return target ??= Core.target(
          world.types,
          world.modules().flatMap(({ btf, name }) => btf === undefined ? [] : [{ name, btf }])
        )
      },
      helpers: new Set([...Helpers.names(environment), ...Object.keys(options.helpers ?? {})]),
      pins: new Map(),
      folders: new Set(world.bpffs),
      kfuncs: new Map(),
      variables: new Map(),
      coverage: new Map(),
      covered: [],
      sleepers,
      printk,
      objects: { Btf: new Map(), Map: new Map(), Prog: new Map() },
      ids: { Btf: 1, Map: 1, Prog: 1 }
    }
  })
}
