/**
 * The C functions of this process, called through koffi.
 *
 * koffi is loaded when the first foreign call is wanted, not when this module is: on machines without its binary, and
 * where only pure stages run, importing costs nothing and fails never.
 */
import * as Result from "effect/Result"
import { createRequire } from "node:module"
import { Unavailable } from "./Platform.ts"

type Koffi = typeof import("koffi")

/** A C function by its name and types; the arguments are as koffi takes them. */
export interface ForeignFunction {
  (...args: ReadonlyArray<unknown>): unknown
  /** Calls on a thread of libuv's pool; `done` gets the result on the main thread, where `errno()` is the call's. */
  readonly async: (...args: ReadonlyArray<unknown>) => void
}

/** The foreign function interface. */
export interface Foreign {
  /** A function of the C library. Types are koffi's: `"int"`, `"long"`, `"size_t"`, `"void *"`. */
  readonly function: (name: string, result: string, parameters: ReadonlyArray<string>) => ForeignFunction
  /** The error number of the last call; to be read before anything else is called. */
  readonly errno: () => number
  /** Where a buffer's memory is. Holding the address does not keep the memory alive. */
  readonly address: (buffer: ArrayBuffer) => bigint
  /** A buffer over foreign memory, not a copy. It must be detached before the memory goes. */
  readonly view: (address: bigint, length: number) => ArrayBuffer
}

const isKoffi = (value: unknown): value is Koffi =>
  typeof value === "object" && value !== null && "load" in value && "address" in value && "view" in value

const unavailable = (detail: string): Unavailable =>
  new Unavailable({
    reason: "NoForeignCalls",
    detail,
    hint:
      "install with optional dependencies (npm install --include=optional), so that koffi's binary for this platform comes along"
  })

const require = (): Result.Result<Koffi, Unavailable> => {
  try {
    const loaded: unknown = createRequire(import.meta.url)("koffi")
    return isKoffi(loaded)
      ? Result.succeed(loaded)
      : Result.fail(unavailable("koffi has not the shape that is expected"))
  } catch (thrown) {
    return Result.fail(unavailable(`koffi does not load: ${thrown instanceof Error ? thrown.message : String(thrown)}`))
  }
}

/** Loads koffi and opens the C library of this process. */
export const load = (): Result.Result<Foreign, Unavailable> =>
  Result.flatMap(require(), (koffi) => {
    try {
      const library = koffi.load(null)
      return Result.succeed({
        function: (name, result, parameters) => library.func(name, result, [...parameters]),
        errno: () => koffi.errno(),
        address: (buffer) => koffi.address(buffer),
        view: (address, length) => koffi.view(address, length)
      })
    } catch (thrown) {
      return Result.fail(
        unavailable(`koffi cannot open the C library: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
      )
    }
  })
