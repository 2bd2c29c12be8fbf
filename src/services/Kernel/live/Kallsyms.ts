/**
 * The kernel's symbol table, `/proc/kallsyms`: lines of an address in hexadecimal, a type letter and a name, and in
 * brackets after a tab the module that has the symbol.
 *
 * The table has five to fifteen megabytes, so it is gone through as bytes: no text is made of a line that nobody asked
 * for, and of most lines a few bytes are looked at.
 *
 * Source: reference page `load`, section 4.
 */
import type { SymbolAddress } from "../KernelInfo.ts"

/** What a pass over the table has found. */
export interface Found {
  /** The address of each name that was asked for: `undefined` where there is none, `"ambiguous"` where there are several. */
  readonly of: ReadonlyMap<string, SymbolAddress>
  /** The table has symbols, and the address of every one is 0: this process may not see them (`kptr_restrict`). */
  readonly hidden: boolean
}

const TAB = 0x09
const NEWLINE = 0x0a
const SPACE = 0x20
const ZERO = 0x30
const DOT = 0x2e
const CLOSING_BRACKET = 0x5d
const DATA = 0x64

const utf8 = new TextDecoder()

/** What the compiler puts between the own name of local data and a number, so that it can be told from others of its name. */
const renamed = ".llvm."

/** A line of the table. */
interface Line {
  /** Digits in hexadecimal, without zeros in front. */
  readonly address: string
  /** Without what the compiler put behind it. That is only taken off data: what functions are renamed to is their name. */
  readonly name: string
  /** The module, or whoever else has the symbol; `undefined` for vmlinux. */
  readonly owner: string | undefined
}

const linePattern = /^(?=[0-9a-fA-F]{1,16} )0*([0-9a-fA-F]+) (\S) ([^\t]+)(?:\t\[(.*)\])?$/

const parseLine = (table: Uint8Array, start: number, end: number): Line | undefined => {
  const match = linePattern.exec(utf8.decode(table.subarray(start, end)))
  const [, address, type, symbol, owner] = match ?? []
  if (address === undefined || symbol === undefined) return undefined
  const suffix = type === "d" ? symbol.indexOf(renamed) : -1
  return suffix === 0 ? undefined : { address, name: suffix < 0 ? symbol : symbol.slice(0, suffix), owner }
}

/** Where a line ends: at its newline, or at the table's end. */
const endOfLine = (table: Uint8Array, start: number): number => {
  const end = table.indexOf(NEWLINE, start)
  return end < 0 ? table.length : end
}

/** A number of 16 bits that equal names have in common, from four of their bytes and their length. */
const signature = (bytes: Uint8Array, start: number, end: number): number => {
  const length = end - start
  const first = bytes[start] ?? 0
  const middle = bytes[start + (length >> 1)] ?? 0
  const third = bytes[start + ((3 * length) >> 2)] ?? 0
  const last = bytes[end - 1] ?? 0
  return (length ^ (first << 3) ^ (middle << 5) ^ (third << 7) ^ (last << 9)) & 0xffff
}

/** Where the name ends in a line that may name an owner. */
const beforeOwner = (table: Uint8Array, nameStart: number, end: number): number => {
  if (table[end - 1] !== CLOSING_BRACKET) return end
  let tab = end - 1
  while (tab > nameStart && table[tab] !== TAB) tab--
  return tab > nameStart ? tab : end
}

/** Where the name of data ends that may have been renamed. */
const beforeSuffix = (table: Uint8Array, nameStart: number, end: number): number => {
  for (let at = nameStart; at < end; at++) {
    if (table[at] === DOT && utf8.decode(table.subarray(at, Math.min(at + renamed.length, end))) === renamed) return at
  }
  return end
}

/** Whether all digits of an address are 0. */
const isZero = (table: Uint8Array, start: number, end: number): boolean => {
  for (let at = start; at < end; at++) if (table[at] !== ZERO) return false
  return true
}

/**
 * The addresses of these names in one pass over the table. A name that is not there answers `undefined`, one with two
 * different addresses `"ambiguous"`. The address is 0 for all where the kernel hides addresses (`kptr_restrict`).
 * Local data that the compiler renamed (`name.llvm.123`) counts under its own name. Lines of another form are skipped.
 */
export const find = (table: Uint8Array, names: Iterable<string>): Found => {
  const of = new Map<string, SymbolAddress>()
  const wanted = new Uint8Array(0x1_0000)
  for (const name of names) {
    of.set(name, undefined)
    const bytes = new TextEncoder().encode(name)
    wanted[signature(bytes, 0, bytes.length)] = 1
  }
  let lines = 0
  let hidden = true
  for (let start = 0, end = 0; start < table.length; start = end + 1) {
    end = endOfLine(table, start)
    // Addresses of 64-bit kernels have 16 digits.
    let addressEnd = start + 16
    if (addressEnd >= end || table[addressEnd] !== SPACE) {
      addressEnd = start
      while (addressEnd < end && table[addressEnd] !== SPACE) addressEnd++
    }
    const nameStart = addressEnd + 3
    if (nameStart >= end) continue
    lines++
    if (hidden && !isZero(table, start, addressEnd)) hidden = false
    let nameEnd = beforeOwner(table, nameStart, end)
    if (table[addressEnd + 1] === DATA) nameEnd = beforeSuffix(table, nameStart, nameEnd)
    if (wanted[signature(table, nameStart, nameEnd)] === 0) continue
    const line = parseLine(table, start, end)
    if (line === undefined || !of.has(line.name)) continue
    const address = BigInt(`0x${line.address}`)
    const before = of.get(line.name)
    of.set(line.name, before === undefined || before === address ? address : "ambiguous")
  }
  return { of, hidden: hidden && lines > 0 }
}

/** Owners of symbols that are made and removed while the kernel runs, modules apart. */
const isTransient = (owner: string): boolean => owner === "bpf" || owner.startsWith("__builtin")

/** Names of the table, and whether each stands for one symbol or for several. */
export type Names = ReadonlyMap<string, "one" | "several">

/**
 * All names of the table but those of programs and trampolines, which come and go. A name that stands for symbols of two
 * addresses is marked; where the kernel hides addresses none is.
 */
export const names = (table: Uint8Array): Names => {
  const found = new Map<string, "one" | "several">()
  const addresses = new Map<string, string>()
  for (let start = 0, end = 0; start < table.length; start = end + 1) {
    end = endOfLine(table, start)
    const line = parseLine(table, start, end)
    if (line === undefined || (line.owner !== undefined && isTransient(line.owner))) continue
    const before = addresses.get(line.name)
    if (before === undefined) {
      addresses.set(line.name, line.address)
      found.set(line.name, "one")
    } else if (before !== line.address) found.set(line.name, "several")
  }
  return found
}
