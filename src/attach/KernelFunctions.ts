/**
 * The functions of the kernel that match a pattern, by the lists that the kernel writes: pure, over their text.
 *
 * Source: reference page `attach`, section 3.
 */
import { matches } from "../internal/Glob.ts"

/** What the kernel lists. */
export interface FunctionLists {
  /** `available_filter_functions_addrs`: an address and a name a line. */
  readonly withAddresses?: Uint8Array | undefined
  /** `available_filter_functions`: a name a line. */
  readonly names?: Uint8Array | undefined
  /** `kallsyms`: an address, a letter and a name a line. */
  readonly symbols?: Uint8Array | undefined
}

/** A function that can be attached to. */
export interface KernelFunction {
  readonly name: string
  readonly address: bigint
}

/** A pattern is a name where it has no wildcards. */
export const isPattern = (text: string): boolean => /[*?]/.test(text)

const utf8 = new TextDecoder()

/** Calls back for each line; the text of a list of all functions has some megabytes. */
const eachLine = (bytes: Uint8Array, body: (line: string) => void): void => {
  const text = utf8.decode(bytes)
  for (let start = 0; start < text.length;) {
    const found = text.indexOf("\n", start)
    const end = found < 0 ? text.length : found
    if (end > start) body(text.slice(start, end))
    start = end + 1
  }
}

const hexadecimal = /^[0-9a-f]{1,16}$/i

/** What the compiler appends to the names of functions that are optimised across files. */
const suffix = ".llvm."

const listed = (bytes: Uint8Array, pattern: string): ReadonlyArray<KernelFunction> => {
  const found: Array<KernelFunction> = []
  eachLine(bytes, (line) => {
    const [address = "", name = ""] = line.split(/[ \t]/, 2)
    if (hexadecimal.test(address) && name !== "" && matches(pattern, name)) {
      found.push({ name, address: BigInt(`0x${address}`) })
    }
  })
  return found
}

const intersected = (names: Uint8Array, symbols: Uint8Array, pattern: string): ReadonlyArray<KernelFunction> => {
  const wanted = new Set<string>()
  eachLine(names, (line) => {
    const name = line.split(/[ \t]/, 1)[0] ?? ""
    if (name !== "" && matches(pattern, name)) wanted.add(name)
  })
  const found: Array<KernelFunction> = []
  eachLine(symbols, (line) => {
    const [address = "", , name = ""] = line.split(/[ \t]+/, 3)
    if (!hexadecimal.test(address)) return
    const cut = name.indexOf(suffix)
    const short = cut > 0 ? name.slice(0, cut) : name
    if (wanted.has(name) || wanted.has(short)) found.push({ name, address: BigInt(`0x${address}`) })
  })
  return found
}

/** The functions that match, in the order of the lists; `undefined` where the kernel lists none. */
export const matching = (lists: FunctionLists, pattern: string): ReadonlyArray<KernelFunction> | undefined => {
  if (lists.withAddresses !== undefined) return listed(lists.withAddresses, pattern)
  return lists.names === undefined || lists.symbols === undefined
    ? undefined
    : intersected(lists.names, lists.symbols, pattern)
}
