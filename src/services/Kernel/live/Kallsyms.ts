/**
 * The kernel's symbol table, `/proc/kallsyms`: lines of an address in hexadecimal, a type letter and a name, and in
 * brackets after a tab the module that has the symbol.
 *
 * Source: reference page `load`, section 4.
 */
import type { SymbolAddress } from "../KernelInfo.ts"

const linePattern = /^[0-9a-fA-F]{1,16} \S ./

/**
 * The addresses of these names in one pass over the table. A name that is not there answers `undefined`, one with two
 * different addresses `"ambiguous"`. The address is 0 for all where the kernel hides addresses (`kptr_restrict`).
 * Local data that the compiler renamed (`name.llvm.123`) counts under its own name. Lines of another form are skipped.
 */
export const addresses = (table: string, names: Iterable<string>): ReadonlyMap<string, SymbolAddress> => {
  const found = new Map<string, SymbolAddress>()
  for (const name of names) found.set(name, undefined)
  if (found.size === 0) return found
  for (const line of table.split("\n")) {
    // Before the name are the address, a space, a letter and a space. The rest is checked on the lines that matter.
    const nameAt = line.indexOf(" ") + 3
    const tab = line.indexOf("\t", nameAt)
    const symbol = line.slice(nameAt, tab < 0 ? line.length : tab)
    const renamed = line[nameAt - 2] === "d" ? symbol.indexOf(".llvm.") : -1
    const name = renamed < 0 ? symbol : symbol.slice(0, renamed)
    if (!found.has(name) || !linePattern.test(line)) continue
    const before = found.get(name)
    const address = BigInt(`0x${line.slice(0, nameAt - 3)}`)
    if (before !== "ambiguous") found.set(name, before === undefined || before === address ? address : "ambiguous")
  }
  return found
}
