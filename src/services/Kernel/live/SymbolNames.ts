/**
 * Names of addresses of the running kernel: what translated calls and compiled functions are called.
 *
 * Nothing is found where the kernel hides addresses (`kptr_restrict`): then all of them are 0.
 */
import * as Result from "effect/Result"
import { machine } from "./Files.ts"

/** Far more than any kernel's table has, bytes. */
const limit = 256 * 1024 * 1024

/** What distances of translated calls count from. */
const callBase = "__bpf_call_base"

/** Digits of an address on a 64-bit machine. */
const digits = 16

/** Names by address, of those that were asked for; and the address that calls of helpers count from. */
export interface SymbolNames {
  readonly callBase: bigint | undefined
  readonly names: ReadonlyMap<bigint, string>
}

/** An address in the form that the table has it. */
const written = (address: bigint): string => BigInt.asUintN(64, address).toString(16).padStart(digits, "0")

/** Goes through the lines of a table: the first name at each wanted address, and the address of the call base. */
export const search = (
  table: Uint8Array,
  distances: Iterable<number>,
  addresses: Iterable<bigint>
): SymbolNames => {
  const text = Buffer.from(table.buffer, table.byteOffset, table.byteLength)
  const marker = text.indexOf(` ${callBase}\n`)
  const before = marker < 0 ? -1 : text.lastIndexOf("\n", marker)
  const base = marker < 0
    ? undefined
    : BigInt(`0x${text.toString("latin1", before + 1, before + 1 + digits).split(" ")[0]}`)
  const known = base === undefined || base === 0n ? undefined : base
  const wanted = new Map<string, bigint>()
  for (const address of addresses) wanted.set(written(address), address)
  for (const distance of distances) {
    const address = BigInt.asUintN(64, (known ?? 0n) + BigInt(distance))
    wanted.set(written(address), address)
  }
  const names = new Map<bigint, string>()
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf(10, start)
    const end = newline < 0 ? text.length : newline
    const address = wanted.get(text.toString("latin1", start, start + digits))
    if (address !== undefined && address !== 0n && !names.has(address)) {
      // An address, a letter, a name, and perhaps whose it is.
      const name = text.toString("utf8", start + digits + 3, end).split(/[\t ]/)[0]
      if (name !== undefined && name !== "") names.set(address, name)
    }
    start = end + 1
  }
  return { callBase: known, names }
}

/** Names of the kernel of this machine; none where its table cannot be read. */
export const read = (distances: Iterable<number>, addresses: Iterable<bigint>): SymbolNames => {
  const table = machine.read("/proc/kallsyms", limit)
  return Result.isFailure(table)
    ? { callBase: undefined, names: new Map() }
    : search(table.success, distances, addresses)
}
