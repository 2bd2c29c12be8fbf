/** Functions of users in the place of helpers and kernel functions. */
import * as Memory from "../Memory.ts"
import { FAULTED, type Helper, type Machine, refuse, register, returnBigint } from "../Vm.ts"
import type { ArgumentType, Call, Override } from "./Environment.ts"

const widths: Readonly<Record<ArgumentType, (value: bigint) => bigint>> = {
  u8: (value) => BigInt.asUintN(8, value),
  u16: (value) => BigInt.asUintN(16, value),
  u32: (value) => BigInt.asUintN(32, value),
  u64: (value) => value,
  s8: (value) => BigInt.asIntN(8, value),
  s16: (value) => BigInt.asIntN(16, value),
  s32: (value) => BigInt.asIntN(32, value),
  s64: (value) => BigInt.asIntN(64, value),
  bool: (value) => BigInt((value & 0xffn) !== 0n),
  pointer: (value) => value
}

const defaultParams: ReadonlyArray<ArgumentType> = ["u64", "u64", "u64", "u64", "u64"]

const callOf = (machine: Machine, name: string): Call => ({
  machine,
  name,
  bytes: (number, size) =>
    Memory.bytesAt(machine.memory, machine.low[number] ?? 0, machine.high[number] ?? 0, size, false),
  string: (number) => {
    const bytes = Memory.bytesFrom(machine.memory, machine.low[number] ?? 0, machine.high[number] ?? 0)
    const end = bytes?.indexOf(0) ?? -1
    return bytes === undefined || end < 0 ? undefined : new TextDecoder().decode(bytes.slice(0, end))
  }
})

/** An override as a helper. What it throws, and an answer that is no integer, is a fault that names it. */
export const overridden = (override: Override, name: string): Helper => {
  const params = typeof override === "function" ? defaultParams : override.params.slice(0, 5)
  const body = typeof override === "function" ? override : override.call
  return (machine) => {
    try {
      const args = params.map((type, at) => widths[type](register(machine, at + 1)))
      return returnBigint(machine, BigInt(body(args, callOf(machine, name))))
    } catch (thrown) {
      refuse(machine, `the override of ${name} failed: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
      return FAULTED
    }
  }
}
