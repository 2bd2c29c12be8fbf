/**
 * What a replay has handed to its loader: descriptors, ids of types, addresses of symbols. All of them are the replay's own,
 * and stand for refs of the session and for symbols by their names.
 */
import type { KernelSymbol, MapAttributes, ProgFunction } from "../../../services/Kernel/KernelCall.ts"
import type * as Ref from "../../../services/Kernel/Ref.ts"

/** What a loader looks up in the kernel. */
export interface Lookup {
  readonly name: string
  /** As `KernelSymbol` has it; `Address` is a line of kallsyms. Kinds of BTF that no symbol has are numbers. */
  readonly kind: KernelSymbol["kind"] | number
}

/** Where the kernel has what was looked up: in itself, or in a module. */
export interface Found {
  readonly module?: string
}

/** A look-up and what it was told. */
export interface LookedUp extends Lookup {
  readonly found: Found | undefined
}

/** What a descriptor of a replay stands for. */
export type Open =
  | { readonly _tag: "Map"; readonly ref: Ref.MapRef; readonly attr: MapAttributes }
  | { readonly _tag: "Btf"; readonly ref: Ref.BtfRef }
  | { readonly _tag: "Prog"; readonly ref: Ref.ProgRef }
  /** Types of a module, which looking a symbol up has opened. */
  | { readonly _tag: "Module"; readonly name: string }

/** What was handed out. */
export interface Table {
  /** By descriptor. */
  readonly open: Map<number, Open>
  /** Programs that were lent to the loader, by descriptor: it may name them, and has not to close them. */
  readonly lent: Map<number, ProgFunction>
  /** By the id that stands for it. */
  readonly types: Map<number, LookedUp>
  readonly typeIds: Map<string, number>
  /** By address. */
  readonly addresses: Map<bigint, LookedUp>
  readonly addressOf: Map<string, bigint>
  /** Names of functions that were looked up and are not there. */
  readonly missing: Set<string>
  /** In order. */
  readonly lookedUp: Array<LookedUp>
  nextDescriptor: number
}

/** A replay's descriptors count from here, so that they are not mistaken for small numbers. */
const FIRST_DESCRIPTOR = 100

/** Ids that stand for types, above all that a kernel has. */
const FIRST_TYPE = 0x1000_0000

/** Addresses that stand for symbols, where no kernel has code or data. */
const FIRST_ADDRESS = 0xffff_feed_0000_0000n

/** A table with nothing in it. */
export const make = (): Table => ({
  open: new Map(),
  lent: new Map(),
  types: new Map(),
  typeIds: new Map(),
  addresses: new Map(),
  addressOf: new Map(),
  missing: new Set(),
  lookedUp: [],
  nextDescriptor: FIRST_DESCRIPTOR
})

/** A new descriptor. */
export const add = (table: Table, open: Open): number => {
  const fd = table.nextDescriptor++
  table.open.set(fd, open)
  return fd
}

/** Lends a program for one of its functions: a descriptor. */
export const lend = (table: Table, target: ProgFunction): number => {
  const fd = table.nextDescriptor++
  table.lent.set(fd, target)
  return fd
}

/** The program that a descriptor stands for, the loader's or one that was lent to it. */
export const programOf = ({ lent, open }: Table, fd: number): Ref.ProgRef | undefined => {
  const found = open.get(fd)
  return found?._tag === "Prog" ? found.ref : lent.get(fd)?.program
}

/** The answer to a look-up of a type: its id, and above that the descriptor of the module's types that it is of. */
export const typeOf = (table: Table, looked: LookedUp): bigint | undefined => {
  table.lookedUp.push(looked)
  const { found, kind, name } = looked
  if (found === undefined) {
    if (kind === "Func") table.missing.add(name)
    return undefined
  }
  const key = `${kind} ${found.module ?? ""} ${name}`
  const id = table.typeIds.get(key) ?? FIRST_TYPE + table.typeIds.size
  table.typeIds.set(key, id)
  table.types.set(id, looked)
  const fd = found.module === undefined ? 0 : add(table, { _tag: "Module", name: found.module })
  return (BigInt(fd) << 32n) | BigInt(id)
}

/** The answer to a look-up of an address. */
export const addressOf = (table: Table, looked: LookedUp): bigint | undefined => {
  table.lookedUp.push(looked)
  if (looked.found === undefined) return undefined
  const known = table.addressOf.get(looked.name)
  if (known !== undefined) return known
  const address = FIRST_ADDRESS + 16n * BigInt(table.addresses.size)
  table.addressOf.set(looked.name, address)
  table.addresses.set(address, looked)
  return address
}

/** The symbol that has this id in the types that the descriptor stands for; `undefined` where none was told so. */
export const typed = (table: Table, id: number, fd: number): LookedUp | undefined => {
  const looked = table.types.get(id)
  if (looked === undefined) return undefined
  const owner = table.open.get(fd)
  const module = fd === 0 ? undefined : owner?._tag === "Module" ? owner.name : ""
  return looked.found?.module === module ? looked : undefined
}
