/**
 * Symbols of the kernel that an object refers to: its functions, variables and addresses, found before anything is loaded.
 *
 * A typed symbol is looked for in the types of vmlinux and then among each module's own, and what is found must be of a type
 * that the object's declaration goes with. A symbol without a type is an address of kallsyms. What the plan names is then
 * settled; a kernel that nobody knows yet (a loader's) leaves all of it open, and the loader looks.
 *
 * Only symbols that a loaded program refers to are looked for: libbpf wants all of an object's.
 *
 * Source: reference page `load`, section 4.
 */
import * as Btf from "../../btf/Btf.ts"
import type { KernelSymbol } from "../../services/Kernel/KernelCall.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import type { BpfObject, KsymExtern } from "../open/BpfObject.ts"
import { budgetFor } from "./core/Budget.ts"
import { compatible } from "./core/Compare.ts"
import { CoreFailure } from "./core/CoreError.ts"
import { isRelocateError, RelocateError } from "./RelocateError.ts"

/** Finds the symbols of one object, each once. */
export interface Symbols {
  /** The symbol of an extern; not settled while something must be asked. Throws a `RelocateError`, reason `Ksym`. */
  readonly of: (extern: KsymExtern) => KernelSymbol
  /** What must be known of the kernel before all symbols that were asked for are settled. */
  readonly needs: () => ReadonlyArray<KernelInfo.Requirement>
}

/** What a symbol turns out to be: a decision, something to ask first, or nothing that can be said before the load. */
type Finding =
  | { readonly _tag: "Settled"; readonly resolved: NonNullable<KernelSymbol["resolved"]> }
  | { readonly _tag: "Ask"; readonly requirement: KernelInfo.Requirement }
  | { readonly _tag: "Open" }

const open: Finding = { _tag: "Open" }
const absent: Finding = { _tag: "Settled", resolved: { absent: true } }

/** Vmlinux as the owner of a symbol. */
const vmlinux = "vmlinux"

/** The extern as C declares it, which is what a person looks for. */
const declaration = ({ btf }: BpfObject, { isFunction, name, typeId }: KsymExtern): string => {
  if (btf === undefined) return name
  // Variables of the section lose their types when the object is opened, for the kernel's sake; the extern has kept its own.
  if (!isFunction) return `${Btf.typeName(btf, typeId)} ${name}`
  const id = Btf.findOne(btf, name, Btf.BTF_KIND_FUNC)
  return id === undefined ? name : Btf.typeName(btf, id)
}

const refuse = (extern: KsymExtern, detail: string, hint?: string): RelocateError =>
  new RelocateError({ reason: "Ksym", name: extern.name, detail, ...(hint === undefined ? {} : { hint }) })

const addressOf = (object: BpfObject, info: KernelInfo.KernelInfo, extern: KsymExtern): Finding => {
  const requirement: KernelInfo.Requirement = { _tag: "Symbol", name: extern.kernelName }
  const fact = info.symbols.get(extern.kernelName) ?? KernelInfo.unasked
  if (fact._tag === "Unasked") return { _tag: "Ask", requirement }
  if (fact._tag === "Deferred") return open
  if (fact.value === "ambiguous") {
    throw refuse(extern, "the kernel has several symbols of this name: a program cannot name one of them")
  }
  if (fact.value === undefined) {
    if (extern.weak) return absent
    throw refuse(
      extern,
      `the kernel has no symbol of this name, declared as \`${declaration(object, extern)}\``,
      "declare it __weak if it may be missing"
    )
  }
  // The kernel hides addresses from those who may not see them; whether that matters shows when the program is loaded.
  return fact.value === 0n ? open : { _tag: "Settled", resolved: { address: fact.value } }
}

/** The blob's own types of this name and kind, in order of ids. */
const ownOf = (btf: Btf.Btf, name: string, kind: number): ReadonlyArray<number> => {
  // An index that CO-RE or others have built already is quicker than one of its own.
  if (btf.internal.cache.essentials?.has(kind) === true) return Btf.ownNamed(btf, name, kind)
  const found = Btf.find(btf, name, kind)
  const ids = found._tag === "None" ? [] : found._tag === "One" ? [found.id] : found.ids
  return ids.filter((id) => id >= btf.firstId)
}

/** Whether the kernel's symbol is of a type that the declaration goes with. */
const agrees = (object: BpfObject, extern: KsymExtern, kernel: Btf.Btf, id: number): boolean => {
  if (object.btf === undefined) return true
  // The prototype of a function; what is behind a variable's qualifiers, which the extern's type is without, too.
  const type = Btf.skipModifiersAndTypedefs(kernel, Btf.sizeOrTypeOf(kernel, id))
  try {
    return compatible(object.btf, extern.typeId, kernel, type, budgetFor(1))
  } catch (thrown) {
    if (!(thrown instanceof CoreFailure)) throw thrown
    throw refuse(extern, `its type cannot be compared with the kernel's: ${thrown.detail}`, thrown.hint)
  }
}

/**
 * What to do about a struct that is declared and not defined, which differs from the kernel's definition though both are written
 * alike; `undefined` where a function's declaration has none. A definition without members goes with any.
 */
const definitionWanted = ({ btf }: BpfObject, { isFunction, kernelName, name }: KsymExtern): string | undefined => {
  const id = btf === undefined || !isFunction ? undefined : Btf.findOne(btf, name, Btf.BTF_KIND_FUNC)
  if (btf === undefined || id === undefined) return undefined
  const proto = Btf.typeOf(btf, Btf.sizeOrTypeOf(btf, id))
  if (proto._tag !== "FuncProto") return undefined
  for (const typeId of [proto.returnType, ...proto.params.map(({ type }) => type)]) {
    const pointer = Btf.skipModifiersAndTypedefs(btf, typeId)
    if (Btf.kindOf(btf, pointer) !== Btf.BTF_KIND_PTR) continue
    const target = Btf.skipModifiersAndTypedefs(btf, Btf.sizeOrTypeOf(btf, pointer))
    if (Btf.kindOf(btf, target) !== Btf.BTF_KIND_FWD) continue
    const struct = Btf.typeName(btf, target)
    return `${struct} is declared and not defined: put \`${struct} {};\`, or the whole of it, in front of ${kernelName}`
  }
  return undefined
}

const typedOf = (object: BpfObject, info: KernelInfo.KernelInfo, extern: KsymExtern): Finding => {
  const { moduleTypes, vmlinuxTypes } = info
  if (vmlinuxTypes._tag === "Unasked") return { _tag: "Ask", requirement: { _tag: "VmlinuxTypes" } }
  if (vmlinuxTypes._tag === "Deferred" || info.supplied?.has(extern.kernelName) === true) return open
  const kind = extern.isFunction ? Btf.BTF_KIND_FUNC : Btf.BTF_KIND_VAR
  /** What of this name there is, but of another type. */
  const others: Array<string> = []
  const look = (owner: string, btf: Btf.Btf): Finding | undefined => {
    for (const id of ownOf(btf, extern.kernelName, kind)) {
      if (agrees(object, extern, btf, id)) return { _tag: "Settled", resolved: { owner, id } }
      others.push(`\`${Btf.typeName(btf, id)}\`${owner === vmlinux ? "" : ` in module ${owner}`}`)
    }
    return undefined
  }
  const found = look(vmlinux, vmlinuxTypes.value)
  if (found !== undefined) return found
  const broken: Array<string> = []
  // A symbol of vmlinux hides those of modules, whatever its type is.
  if (others.length === 0) {
    if (moduleTypes._tag === "Unasked") return { _tag: "Ask", requirement: { _tag: "ModuleTypes" } }
    // Modules that nobody knows yet may have it.
    if (moduleTypes._tag === "Deferred") return open
    for (const { btf, name, problem } of moduleTypes._tag === "Known" ? moduleTypes.value : []) {
      const found = btf === undefined ? undefined : look(name, btf)
      if (found !== undefined) return found
      if (btf === undefined) broken.push(`${name} (${problem ?? "unreadable"})`)
    }
  }
  const what = extern.isFunction ? "function" : "variable"
  if (others.length > 0) {
    if (extern.weak && extern.isFunction) return absent
    throw refuse(
      extern,
      `it is declared as \`${declaration(object, extern)}\`, and the kernel has ${others.slice(0, 8).join(" and ")}`,
      definitionWanted(object, extern) ??
        "declare it as the kernel does, or give it a ___flavor for each declaration that kernels have"
    )
  }
  if (extern.weak) return absent
  throw refuse(
    extern,
    `the kernel has no ${what} of this name, declared as \`${declaration(object, extern)}\``,
    broken.length === 0
      ? "declare it __weak if it may be missing"
      : `types of these modules could not be looked at: ${broken.join(", ")}`
  )
}

const isAddress = ({ isFunction, typeId }: KsymExtern): boolean => !isFunction && typeId === 0

const kindOf = (extern: KsymExtern): KernelSymbol["kind"] =>
  extern.isFunction ? "Func" : isAddress(extern) ? "Address" : "Var"

/** Finds the kernel symbols of an object with what is known of the kernel. */
export const make = (object: BpfObject, info: KernelInfo.KernelInfo): Symbols => {
  const known = new Map<KsymExtern, KernelSymbol>()
  const needs = new Map<string, KernelInfo.Requirement>()
  const settle = (extern: KsymExtern): KernelSymbol => {
    const symbol: KernelSymbol = {
      name: extern.kernelName,
      kind: kindOf(extern),
      weak: extern.weak,
      ...(object.btf === undefined || isAddress(extern)
        ? {}
        : { expected: { btf: object.btf, typeId: extern.typeId } })
    }
    const finding = isAddress(extern) ? addressOf(object, info, extern) : typedOf(object, info, extern)
    if (finding._tag === "Settled") return { ...symbol, resolved: finding.resolved }
    if (finding._tag === "Ask") needs.set(KernelInfo.describe(finding.requirement), finding.requirement)
    return symbol
  }
  return {
    of: (extern) => {
      const symbol = known.get(extern) ?? settle(extern)
      known.set(extern, symbol)
      return symbol
    },
    needs: () => [...needs.values()]
  }
}

/** Symbols whose errors wait. */
export interface Collecting extends Symbols {
  /** Throws the error of the symbol that comes first: those with types by name, then addresses by name, as in libbpf. */
  readonly check: () => void
}

/**
 * The same symbols, but one that the kernel does not have is named only when all were asked for. So which one an error
 * names does not depend on the order of programs and instructions.
 */
export const collecting = (symbols: Symbols): Collecting => {
  const refused = new Map<KsymExtern, RelocateError>()
  const before = (a: KsymExtern, b: KsymExtern): boolean =>
    isAddress(a) === isAddress(b) ? a.name < b.name : isAddress(b)
  return {
    needs: symbols.needs,
    of: (extern) => {
      try {
        return symbols.of(extern)
      } catch (thrown) {
        if (!isRelocateError(thrown)) throw thrown
        refused.set(extern, thrown)
        return { name: extern.kernelName, kind: kindOf(extern), weak: extern.weak }
      }
    },
    check: () => {
      let first: KsymExtern | undefined
      for (const extern of refused.keys()) if (first === undefined || before(extern, first)) first = extern
      const error = first === undefined ? undefined : refused.get(first)
      if (error !== undefined) throw error
    }
  }
}
