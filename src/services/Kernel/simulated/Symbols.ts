/**
 * What names of kernel symbols mean on the simulated kernel: types, variables, functions and addresses.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as Memory from "../../../vm/Memory.ts"
import type { KernelSymbol } from "../KernelCall.ts"
import type { Context } from "./Context.ts"

/** Own properties only: names come from object files. */
const own = <A>(record: Readonly<Record<string, A>>, name: string): A | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined

/** The type of a symbol among the kernel's, where those are known. */
export const typeOf = (
  context: Context,
  { kind, module, name, resolved }: KernelSymbol
): { readonly btf: Btf.Btf; readonly id: number } | undefined => {
  const { modules, types } = context.world
  if (types === undefined || kind === "Address") return undefined
  const kinds = {
    Func: Btf.BTF_KIND_FUNC,
    Var: Btf.BTF_KIND_VAR,
    Typedef: Btf.BTF_KIND_TYPEDEF,
    Struct: Btf.BTF_KIND_STRUCT
  }
  const vmlinux = "vmlinux"
  if (resolved !== undefined) {
    if (!("owner" in resolved)) return undefined
    const btf = resolved.owner === vmlinux ? types : modules().find((each) => each.name === resolved.owner)?.btf
    return btf === undefined ? undefined : { btf, id: resolved.id }
  }
  const id = module === undefined || module === vmlinux ? Btf.findOne(types, name, kinds[kind]) : undefined
  if (id !== undefined) return { btf: types, id }
  for (const owner of module === vmlinux ? [] : modules()) {
    if (owner.btf === undefined || (module !== undefined && module !== owner.name)) continue
    const id = Btf.findOwn(owner.btf, name, kinds[kind])
    if (id !== undefined) return { btf: owner.btf, id }
  }
  return undefined
}

/** The memory of a kernel variable: what the options say, or zeros of its type's size. */
const variable = (context: Context, symbol: KernelSymbol): Memory.Region | undefined => {
  const known = context.variables.get(symbol.name)
  if (known !== undefined) return known
  const { variables } = context.world
  let bytes = own(variables, symbol.name)?.slice()
  const type = typeOf(context, symbol)
  if (bytes === undefined && type !== undefined) {
    const size = Btf.resolveSize(type.btf, type.id)
    if (Result.isSuccess(size)) bytes = new Uint8Array(size.success)
  }
  if (bytes === undefined) return undefined
  const region = Memory.add(context.memory, { name: `kernel variable ${symbol.name}`, bytes, writable: false })
  if (region !== undefined) context.variables.set(symbol.name, region)
  return region
}

/** The number that calls of a kernel function carry. */
export const kfuncNumber = (context: Context, name: string): number => {
  for (const [number, known] of context.kfuncs) if (known === name) return number
  const number = context.kfuncs.size + 1
  context.kfuncs.set(number, name)
  return number
}

/** The address that stands for a symbol of the kernel; undefined where there is none. */
export const symbolAddress = (context: Context, symbol: KernelSymbol): bigint | undefined => {
  if (symbol.kind === "Address") {
    if (symbol.resolved !== undefined && "address" in symbol.resolved) return symbol.resolved.address
    const address = context.world.symbols.get(symbol.name)
    // One of several is as good as any here: nothing is at any of them.
    return address === "ambiguous" ? 0n : address
  }
  if (symbol.kind === "Func") {
    const isThere = Object.hasOwn(context.world.kfuncs, symbol.name) || typeOf(context, symbol) !== undefined
    // Functions have addresses that compare as they must, and lead nowhere.
    return isThere ? 0xffff_ffff_8000_0000n + BigInt(kfuncNumber(context, symbol.name) * 16) : undefined
  }
  const region = variable(context, symbol)
  return region === undefined ? undefined : Memory.address(region)
}
