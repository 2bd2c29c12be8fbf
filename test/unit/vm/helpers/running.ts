/** Programs that call helpers, and what became of them: for the tests of helpers and contexts. */
import { assert } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Encode from "../../../../src/insn/Encode.ts"
import { helperId } from "../../../../src/insn/Helpers.ts"
import { MapType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as Contexts from "../../../../src/vm/contexts/Contexts.ts"
import * as BoundMap from "../../../../src/vm/helpers/BoundMap.ts"
import * as Environment from "../../../../src/vm/helpers/Environment.ts"
import * as Helpers from "../../../../src/vm/helpers/Helpers.ts"
import * as Maps from "../../../../src/vm/maps/SimulatedMap.ts"
import * as Vm from "../../../../src/vm/Vm.ts"

/** Fails where there is nothing. */
export const given = <A>(value: A | undefined, what = "it"): A => {
  if (value === undefined) return assert.fail(`${what} is missing`)
  return value
}

/** An environment in a memory of its own. */
export const environmentOf = (options: Environment.EnvironmentOptions = {}): Environment.Environment =>
  Environment.make(Vm.Memory.make(), options)

/** A map of an environment. */
export const mapIn = (
  environment: Environment.Environment,
  type: number,
  more: Partial<Maps.SimulatedMap["shape"]["attr"]> = {}
): BoundMap.BoundMap => {
  const attr = {
    name: "m",
    type,
    keySize: 4,
    valueSize: 8,
    maxEntries: 4,
    flags: 0,
    numaNode: 0,
    ifindex: 0,
    extra: 0n,
    ...more
  }
  const map = Result.getOrThrow(Maps.create(attr, { possibleCpus: 1, pageSize: 4096 }))
  return given(BoundMap.bind(environment, map))
}

/** A map's address, as a program takes it. */
export const addressOf = (bound: BoundMap.BoundMap): bigint => Vm.Memory.address(bound.handle)

/** Memory of an environment with these bytes. */
export const bytesIn = (environment: Environment.Environment, bytes: Uint8Array, name = "bytes"): Vm.Memory.Region =>
  given(Vm.Memory.add(environment.memory, { name, bytes }))

const id = (name: string): number => given(helperId(`bpf_${name}`), name)

/** Calls a helper with these numbers in r1 to r5; the low 64 bits of each. */
export const call = (
  environment: Environment.Environment,
  name: string | number,
  ...args: ReadonlyArray<bigint | number>
): Vm.Outcome => {
  const insns = Encode.program(
    ...args.map((value, at) => Encode.ldImm64((at + 1) as 1 | 2 | 3 | 4 | 5, BigInt.asUintN(64, BigInt(value)))),
    Encode.callHelper(typeof name === "number" ? name : id(name)),
    Encode.exit()
  )
  return runIn(environment, insns)
}

/** Runs instructions; kernel functions by the names of their numbers. */
export const runIn = (
  environment: Environment.Environment,
  insns: Uint8Array,
  kfuncs: ReadonlyMap<number, string> = new Map(),
  context = 0n
): Vm.Outcome => {
  const machine = given(Vm.make({ memory: environment.memory, host: Helpers.host(environment, kfuncs) }))
  Vm.start(machine, Result.getOrThrow(Vm.decode(insns)), [context])
  const outcome = Vm.run(machine, 100_000)
  Vm.release(machine)
  return outcome
}

/** What a run returned, signed. */
export const returned = (outcome: Vm.Outcome): bigint => {
  if (outcome._tag === "Done") return BigInt.asIntN(64, outcome.r0)
  return assert.fail(outcome._tag === "Fault" ? outcome.error.message : outcome._tag)
}

/** The fault of a run. */
export const faultOf = (outcome: Vm.Outcome): Vm.VmError =>
  outcome._tag === "Fault" ? outcome.error : assert.fail(`no fault but ${outcome._tag}`)

/** A context that is open on a packet, and its address. */
export const packetIn = (
  environment: Environment.Environment,
  type: number,
  input: Contexts.TestRunInput
): { readonly opened: Contexts.Opened; readonly address: bigint } => {
  const opened = Result.getOrThrow(Contexts.open(environment, { type }, input))
  return { opened, address: Vm.Memory.bigintOf(opened.low, opened.high) }
}

/** The types of maps, for short. */
export const { BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_DEVMAP } = MapType
