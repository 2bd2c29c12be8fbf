/**
 * Helpers on text: comparing, reading numbers, formatting, the trace log.
 *
 * Semantics: `kernel/bpf/helpers.c`, `kernel/trace/bpf_trace.c`, `lib/kstrtox.c`.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import * as Memory from "../Memory.ts"
import {
  FAULTED,
  type Handled,
  type Helper,
  type Machine,
  readable,
  refuse,
  register,
  returnNumber,
  writable
} from "../Vm.ts"
import type { Environment } from "./Environment.ts"
import * as Format from "./Format.ts"
import { u32, u64 } from "./Registers.ts"

const bytesFrom = (machine: Machine, number: number): Uint8Array | undefined =>
  Memory.bytesFrom(machine.memory, machine.low[number] as number, machine.high[number] as number)

const compare: Helper = (machine) => {
  const size = u32(machine, 2)
  const left = readable(machine, 1, size)
  if (left === undefined) return FAULTED
  const right = bytesFrom(machine, 3)
  if (right === undefined) return refuse(machine, "r3 of the call is no string")
  for (let at = 0; at < size; at++) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0)
    if (difference !== 0) return returnNumber(machine, Math.sign(difference))
    if (left[at] === 0) break
  }
  return returnNumber(machine, 0)
}

// Numbers from text

const isSpace = (code: number): boolean => (code >= 9 && code <= 13) || code === 32 || code === 0xa0

/** The value of a digit, 36 where it is none. */
const digitOf = (code: number): number => {
  if (code >= 48 && code <= 57) return code - 48
  const lower = code | 0x20
  return lower >= 97 && lower <= 102 ? lower - 87 : 36
}

interface Parsed {
  readonly isNegative: boolean
  readonly magnitude: bigint
  readonly consumed: number
}

/** What is looked at of the text after spaces and sign. */
const longestNumber = 63
const maximum = (1n << 64n) - 1n

/** Reads a number; a negative error number where there is none, or one that is too long. */
const parse = (text: Uint8Array, base: number): Parsed | number => {
  const at = (index: number): number => text[index] ?? 0
  let index = 0
  while (index < text.length && isSpace(at(index))) index++
  const isNegative = index < text.length && at(index) === 45
  if (isNegative) index++
  const end = Math.min(text.length, index + longestNumber)
  if (index === text.length) return -numbers.EINVAL
  const within = (place: number): number => place < end ? at(place) : 0
  const isHex = within(index) === 48 && (within(index + 1) | 0x20) === 120
  const radix = base !== 0 ? base : within(index) !== 48 ? 10 : isHex && digitOf(within(index + 2)) < 16 ? 16 : 8
  if (radix === 16 && isHex) index += 2
  const first = index
  let magnitude = 0n
  for (; digitOf(within(index)) < radix; index++) magnitude = magnitude * BigInt(radix) + BigInt(digitOf(within(index)))
  if (magnitude > maximum) return -numbers.ERANGE
  return index === first ? -numbers.EINVAL : { isNegative, magnitude, consumed: index }
}

const toNumber = (limits: (parsed: Parsed) => bigint | number): Helper => (machine) => {
  const size = u64(machine, 2)
  const text = readable(machine, 1, size)
  const into = text === undefined ? undefined : writable(machine, 4, 8)
  if (text === undefined || into === undefined) return FAULTED
  const result = new DataView(into.buffer, into.byteOffset, 8)
  result.setBigUint64(0, 0n, true)
  const flags = u64(machine, 3)
  if (size === 0 || (flags !== 0 && flags !== 8 && flags !== 10 && flags !== 16)) {
    return returnNumber(machine, -numbers.EINVAL)
  }
  const parsed = parse(text, flags)
  if (typeof parsed === "number") return returnNumber(machine, parsed)
  const value = limits(parsed)
  if (typeof value === "number") return returnNumber(machine, value)
  result.setBigUint64(0, BigInt.asUintN(64, value), true)
  return returnNumber(machine, parsed.consumed)
}

const signedLimits = ({ isNegative, magnitude }: Parsed): bigint | number => {
  const value = isNegative ? -magnitude : magnitude
  return BigInt.asIntN(64, value) === value ? value : -numbers.ERANGE
}

const unsignedLimits = ({ isNegative, magnitude }: Parsed): bigint | number => isNegative ? -numbers.EINVAL : magnitude

// Formatting

const readerOf = (machine: Machine): Format.Reader => {
  const halves = (address: bigint) => [Memory.lowOf(address), Memory.highOf(address)] as const
  return {
    bytes: (address, size) => Memory.bytesAt(machine.memory, ...halves(address), size, false),
    string: (address, limit) => {
      const bytes = Memory.bytesFrom(machine.memory, ...halves(address))
      if (bytes === undefined) return undefined
      const end = bytes.indexOf(0)
      // Without a NUL in reach the copy runs out of memory, or out of room.
      if (end < 0 && bytes.length <= limit) return undefined
      return bytes.subarray(0, end < 0 ? limit : Math.min(end, limit))
    }
  }
}

/** Longest line of the log. */
const logLine = 1024
/** Most arguments of a format with an array of them. */
const maximumArguments = 12

/** The 64-bit words of an array, or a negative error number. */
const wordsOf = (machine: Machine, number: number, size: number): ReadonlyArray<bigint> | number | undefined => {
  const isNull = machine.low[number] === 0 && machine.high[number] === 0
  if (size % 8 !== 0 || size > maximumArguments * 8 || (size > 0 && isNull)) return -numbers.EINVAL
  if (size === 0) return []
  const bytes = readable(machine, number, size)
  if (bytes === undefined) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, size)
  return Array.from({ length: size / 8 }, (_, at) => view.getBigUint64(at * 8, true))
}

const toText = (bytes: Uint8Array): string => {
  // As a C string: what follows a NUL of %c is not shown.
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.slice(0, end))
}

const log = (
  environment: Environment,
  machine: Machine,
  args: ReadonlyArray<bigint>
): Handled => {
  const size = u32(machine, 2)
  const bytes = readable(machine, 1, size)
  if (bytes === undefined) return FAULTED
  const end = bytes.indexOf(0)
  if (end < 0) return returnNumber(machine, -numbers.EINVAL)
  const formatted = Format.format(bytes.subarray(0, end), args, logLine, readerOf(machine))
  if (typeof formatted === "number") return returnNumber(machine, formatted)
  environment.printk(toText(formatted.bytes))
  return returnNumber(machine, formatted.length)
}

const tracePrintk = (environment: Environment): Helper => (machine) =>
  log(environment, machine, [register(machine, 3), register(machine, 4), register(machine, 5)])

const traceVprintk = (environment: Environment): Helper => (machine) => {
  const args = wordsOf(machine, 3, u32(machine, 4))
  if (args === undefined) return FAULTED
  return typeof args === "number" ? returnNumber(machine, args) : log(environment, machine, args)
}

const snprintf: Helper = (machine) => {
  const size = u32(machine, 2)
  const args = wordsOf(machine, 4, u32(machine, 5))
  if (args === undefined) return FAULTED
  if (typeof args === "number") return returnNumber(machine, args)
  const into = size === 0 ? new Uint8Array(0) : writable(machine, 1, size)
  if (into === undefined) return FAULTED
  const text = bytesFrom(machine, 3)
  const end = text?.indexOf(0) ?? -1
  if (text === undefined || end < 0) return refuse(machine, "r3 of the call is no string")
  const formatted = Format.format(text.subarray(0, end), args, size, readerOf(machine))
  if (typeof formatted === "number") return returnNumber(machine, formatted)
  if (size > 0) {
    into.set(formatted.bytes)
    into[formatted.bytes.length] = 0
  }
  return returnNumber(machine, formatted.length + 1)
}

/** The helpers by their name without prefix. */
export const helpers = (environment: Environment): Readonly<Record<string, Helper>> => ({
  strncmp: compare,
  strtol: toNumber(signedLimits),
  strtoul: toNumber(unsignedLimits),
  snprintf,
  trace_printk: tracePrintk(environment),
  trace_vprintk: traceVprintk(environment)
})
