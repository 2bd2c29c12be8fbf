/**
 * Binds the names in a program's instructions: maps become addresses of the simulated machine's memory, symbols what the options
 * and the types of the simulated kernel say.
 */
import * as Insn from "../../../insn/Insn.ts"
import * as C from "../../../insn/InsnConstants.ts"
import * as BoundMap from "../../../vm/helpers/BoundMap.ts"
import { refusal } from "../../../vm/maps/SimulatedMap.ts"
import * as Memory from "../../../vm/Memory.ts"
import * as Errno from "../abi/Errno.ts"
import type { CodeRef, KernelSymbol, ProgLoad } from "../KernelCall.ts"
import { type CallError, fromErrno, type KernelError } from "../KernelError.ts"
import type { Bound } from "../Session.ts"
import type { Context } from "./Context.ts"
import type { Handle, MapObject } from "./Objects.ts"
import { KFUNC_POISON, MAP_POISON } from "./Poison.ts"
import * as Refuse from "./Refuse.ts"
import { kfuncNumber, symbolAddress, typeOf } from "./Symbols.ts"

/** A program while its names are bound. */
export interface Binding {
  readonly context: Context
  readonly call: ProgLoad
  readonly bound: Bound<Handle>
  readonly insns: Uint8Array
  /** The instructions as the kernel's digest takes them. */
  readonly digested: Uint8Array
  readonly maps: Set<MapObject>
  /** Functions that nothing implements. */
  readonly missing: Set<string>
}

const missing = (call: ProgLoad, symbol: KernelSymbol, hint: string): KernelError =>
  fromErrno("ProgLoad", call.attr.name, Errno.numbers.ESRCH, {
    hint: `the simulated kernel has no ${symbol.name}: ${hint}, or declare it __weak to do without it`
  })

const isWhole = (insns: Uint8Array, at: number): boolean =>
  Number.isInteger(at) && at >= 0 && at + 1 < Insn.count(insns) && Insn.isLdImm64(insns, at)

const setAddress = (insns: Uint8Array, at: number, address: bigint): void => {
  Insn.setSrc(insns, at, 0)
  Insn.setImm64(insns, at, address)
}

/** Puts the address of a map, or of a byte of its value, into an instruction. */
export const bindMap = (
  binding: Binding,
  ref: Exclude<CodeRef, { readonly _tag: "SymbolRef" }>
): CallError | undefined => {
  const { bound, call, context, digested, insns, maps } = binding
  const { at } = ref
  const refuse = (why: string) =>
    Refuse.invalid("ProgLoad", call.attr.name, `instruction ${at}: map ${ref.map.index} ${why}`)
  if (!isWhole(insns, at)) return refuse("is referenced where the instruction takes no such reference")
  const map = Refuse.optionalHandleOf(bound, ref.map)
  if (map === undefined) {
    for (const slot of [at, at + 1]) Insn.setSlot(insns, slot, Insn.CALL, 0, 0, 0, MAP_POISON + ref.map.index)
    return undefined
  }
  const unusable = refusal(map.map, "ProgLoad")
  if (unusable !== undefined) binding.missing.add(`map ${map.name} (${unusable.message})`)
  maps.add(map)
  const address = ref._tag === "MapRef"
    ? Memory.address(map.bound.handle)
    : BoundMap.valueAddress(context.environment, map.bound, ref.offset)
  if (address === undefined) {
    return refuse(`has no value with a byte ${ref._tag === "MapRef" ? 0 : ref.offset} at a fixed place`)
  }
  setAddress(insns, at, address)
  Insn.setSrc(digested, at, ref._tag === "MapRef" ? C.BPF_PSEUDO_MAP_FD : C.BPF_PSEUDO_MAP_VALUE)
  Insn.setImm64(digested, at, 0n)
  return undefined
}

/** Puts the address of a symbol of the kernel, or the number of a function, into an instruction. */
export const bindSymbol = (
  binding: Binding,
  ref: Extract<CodeRef, { readonly _tag: "SymbolRef" }>
): CallError | undefined => {
  const { call, context, insns } = binding
  const { at, symbol } = ref
  if (isWhole(insns, at)) {
    const address = symbolAddress(context, symbol)
    if (address === undefined && !symbol.weak) {
      return missing(call, symbol, "give it in `symbols`, `variables` or `kfuncs` of its options, or give its `types`")
    }
    setAddress(insns, at, address ?? 0n)
    return undefined
  }
  if (!Number.isInteger(at) || at < 0 || at >= Insn.count(insns) || !Insn.isCall(insns, at)) {
    return Refuse.invalid(
      "ProgLoad",
      call.attr.name,
      `instruction ${at}: ${symbol.name} is referenced where the instruction takes no such reference`
    )
  }
  const isSupplied = Object.hasOwn(context.world.kfuncs, symbol.name)
  if (!isSupplied && typeOf(context, symbol) === undefined) {
    if (!symbol.weak) return missing(call, symbol, "supply it in `kfuncs` of its options")
    Insn.setSlot(insns, at, Insn.CALL, 0, 0, 0, KFUNC_POISON + (ref.extern ?? 0))
    return undefined
  }
  if (!isSupplied) binding.missing.add(symbol.name)
  Insn.setSlot(insns, at, Insn.CALL, 0, C.BPF_PSEUDO_KFUNC_CALL, 0, kfuncNumber(context, symbol.name))
  return undefined
}
