/** Programs of fixtures that fill ring buffers, run on demand. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Codec } from "../../src/btf/Codec.ts"
import { hostIsLittle } from "../../src/services/Kernel/abi/Arena.ts"
import type { TestRunResult } from "../../src/services/Kernel/KernelCall.ts"
import type { CallError } from "../../src/services/Kernel/KernelError.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"

/** The map of this name. */
export const mapNamed = ({ object }: LoadedObject, name: string): Ref.MapRef => {
  const index = object.maps.findIndex((map) => map.name === name)
  if (index < 0) throw new Error(`the object has no map ${name}`)
  return Ref.map(index)
}

/** The program of this name. */
export const programNamed = ({ object }: LoadedObject, name: string): Ref.ProgRef => {
  const index = object.programs.findIndex((program) => program.name === name)
  if (index < 0) throw new Error(`the object has no program ${name}`)
  return Ref.prog(index)
}

/** `struct run_context` of the fixtures: how many events, a number for them, flags of the helpers. */
export const runContext = (
  { events = 1, value = 0, flags = 0 }: { readonly events?: number; readonly value?: number; readonly flags?: number }
): Uint8Array =>
  new Uint8Array(BigUint64Array.of(BigInt(events), BigInt.asUintN(64, BigInt(value)), BigInt(flags)).buffer)

/** Runs a program of type `syscall` once. */
export const runNamed = (
  loaded: LoadedObject,
  name: string,
  context: Uint8Array
): Effect.Effect<TestRunResult, CallError> =>
  loaded.session.call({
    _tag: "ProgTestRun",
    prog: programNamed(loaded, name),
    contextIn: context,
    dataOutSize: 0,
    contextOutSize: 0,
    repeat: 0,
    flags: 0,
    cpu: 0,
    batchSize: 0
  })

/** Records of 8 bytes: numbers. */
export const numbers: Codec<bigint> = {
  name: "__u64",
  size: 8,
  read: (view, at) => view.getBigUint64(at, hostIsLittle),
  encode: (value) => Result.succeed(new Uint8Array(BigUint64Array.of(value).buffer))
}

/** Runs a socket filter so many times on another thread. */
export const runOften = (
  loaded: LoadedObject,
  name: string,
  repeat: number
): Effect.Effect<TestRunResult, CallError> =>
  loaded.session.call({
    _tag: "ProgTestRun",
    prog: programNamed(loaded, name),
    dataIn: new Uint8Array(64),
    dataOutSize: 0,
    contextOutSize: 0,
    repeat,
    flags: 0,
    cpu: 0,
    batchSize: 0
  })

/**
 * What a reading comes to, or the last of 200 readings: procfs lists a thread for a moment after it has been joined, since the
 * kernel tells of its end before it takes it off the list.
 */
export const settled = <A>(read: () => A, expected: A): Effect.Effect<A> =>
  Effect.gen(function*() {
    let found = read()
    for (let tries = 0; tries < 200 && JSON.stringify(found) !== JSON.stringify(expected); tries++) {
      yield* Effect.sleep(5)
      found = read()
    }
    return found
  })
