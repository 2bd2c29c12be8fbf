/**
 * What an object's programs refer to by name outside of CO-RE: functions and variables of the kernel, and what programs are
 * attached to.
 */
import * as Result from "effect/Result"
import * as Btf from "../../btf/Btf.ts"
import { attempt } from "../../internal/attempt.ts"
import type { KernelSymbol } from "../../services/Kernel/KernelCall.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import type { BpfObject, Extern, KsymExtern, Program } from "../../stages/open/BpfObject.ts"
import * as AttachTarget from "../../stages/load/AttachTarget.ts"
import { isPlanError } from "../../stages/load/PlanError.ts"
import * as Kconfig from "../../stages/relocate/Kconfig.ts"
import * as Ksyms from "../../stages/relocate/Ksyms.ts"
import { isRelocateError } from "../../stages/relocate/RelocateError.ts"
import { type Finding, make } from "./Finding.ts"
import * as Place from "./Place.ts"
import type { Target } from "./Target.ts"

/** The kinds of BTF that a symbol of the kernel is found under. */
const btfKind = (kind: KernelSymbol["kind"]): number =>
  kind === "Typedef" ? Btf.BTF_KIND_TYPEDEF : kind === "Var" ? Btf.BTF_KIND_VAR : Btf.BTF_KIND_FUNC

interface Owned {
  readonly module: string | undefined
  readonly btf: Btf.Btf
  readonly id: number
}

/** Finds a symbol in the kernel, then in its modules, or in the one module that is named. */
const find = (target: Target, name: string, kind: number, module?: string): Owned | undefined => {
  const [own] = module === undefined || module === "vmlinux" ? target.named(undefined, name, kind) : []
  if (own !== undefined) return { module: undefined, btf: target.types, id: own }
  if (module === "vmlinux") return undefined
  for (const { btf, name: owner } of target.modules()) {
    if (btf === undefined || (module !== undefined && owner !== module)) continue
    const [id] = target.named(owner, name, kind)
    if (id !== undefined) return { module: owner, btf, id }
  }
  return undefined
}

const described: Readonly<Record<KernelSymbol["kind"], string>> = {
  Func: "function",
  Var: "variable",
  Typedef: "tracepoint",
  Struct: "struct",
  Address: "symbol"
}

/** The symbol that a program is for; `undefined` where it needs none, or names it only when it is loaded. */
export const targetOf = (program: Program): KernelSymbol | undefined => {
  const found = attempt(isPlanError, () => AttachTarget.of(program))
  return Result.isSuccess(found) ? found.success : undefined
}

/** Whether what a program is for is named only when it is loaded. */
export const isForSomethingElse = (program: Program): boolean =>
  Result.isFailure(attempt(isPlanError, () => AttachTarget.of(program)))

/** Whether a program can be attached to what it is for. */
export const attachment = (target: Target, program: Program, places: Place.Places): Finding | undefined => {
  const symbol = targetOf(program)
  if (symbol === undefined) return undefined
  const { kind, module, name } = symbol
  const found = find(target, name, btfKind(kind), module)
  const place = found === undefined ? Place.missing : Place.ofSymbol(found.btf, found.module, found.id)
  Place.add(places, { what: "function", path: module === undefined ? name : `${module}:${name}` }, place)
  if (found !== undefined) return undefined
  const unseen = module !== undefined && module !== "vmlinux" && !target.knowsModules
  const where = module === undefined || module === "vmlinux" ? "the kernel" : `module ${module}`
  return make({
    rule: "attach-target",
    verdict: unseen ? "unknown" : "fatal",
    subject: name,
    detail: unseen
      ? `SEC("${program.section}") is for a function of module ${module}, whose types are not given`
      : `${where} has no ${described[kind]} ${name}, which SEC("${program.section}") is for${unseenModules(target)}`,
    hint: "make the program optional with SEC(\"?...\"), and load it where what it is for is there",
    programs: [program.name],
    function: program.name
  })
}

const unseenModules = (target: Target): string => target.knowsModules ? "" : "; the types of its modules are not given"

/** Whether a symbol of kallsyms is looked up by its address alone, which types say nothing about. */
export const isAddress = (extern: Extern): extern is KsymExtern =>
  extern._tag === "Ksym" && !extern.isFunction && extern.typeId === 0

/** The functions and variables of the kernel that programs use: whether they are there, with fitting types. */
export const externs = (
  target: Target,
  object: BpfObject,
  used: ReadonlyMap<KsymExtern, ReadonlyArray<string>>,
  places: Place.Places
): ReadonlyArray<Finding> => {
  const findings: Array<Finding> = []
  if (used.size === 0) return findings
  const addresses = [...used.keys()].filter(isAddress)
    .map(({ kernelName }): KernelInfo.Requirement => ({ _tag: "Symbol", name: kernelName }))
  let symbols = Ksyms.make(object, target.ask(addresses))
  const settle = (extern: KsymExtern) => {
    const found = attempt(isRelocateError, () => symbols.of(extern))
    if (!symbols.needs().some(({ _tag }) => _tag === "ModuleTypes")) return found
    // What the kernel itself does not have may be a module's.
    symbols = Ksyms.make(object, target.ask([...addresses, { _tag: "ModuleTypes" }]))
    return attempt(isRelocateError, () => symbols.of(extern))
  }
  for (const [extern, programs] of used) {
    const { isFunction, kernelName, name, weak } = extern
    const rule = isFunction ? "kernel-function" : "kernel-variable"
    const owned = isAddress(extern)
      ? undefined
      : find(target, kernelName, isFunction ? Btf.BTF_KIND_FUNC : Btf.BTF_KIND_VAR)
    if (!isAddress(extern)) {
      const place = owned === undefined ? Place.missing : Place.ofSymbol(owned.btf, owned.module, owned.id)
      Place.add(places, { what: isFunction ? "function" : "variable", path: kernelName }, place)
    }
    const unseen = owned === undefined && !isAddress(extern) ? unseenModules(target) : ""
    const found = settle(extern)
    if (Result.isFailure(found)) {
      const { detail, hint } = found.failure
      findings.push(make({ rule, verdict: "fatal", subject: name, detail: detail + unseen, hint, programs }))
    } else if (weak && found.success.resolved !== undefined && "absent" in found.success.resolved) {
      const lack = owned === undefined ? "the kernel does not have it" : "the kernel has it with another type"
      const detail = `${lack}, and the program is told so, since it is weak${unseen}`
      findings.push(make({ rule, verdict: "guarded", subject: name, detail, programs }))
    }
  }
  return findings
}

/** The value of the `.kconfig` map, where the kernel's configuration is known, and what is wrong with it. */
export const options = (
  target: Target,
  object: BpfObject
): { readonly bytes: Uint8Array | undefined; readonly findings: ReadonlyArray<Finding> } => {
  const values = (info: KernelInfo.KernelInfo) => attempt(isRelocateError, () => Kconfig.values(object, info))
  const first = values(target.info())
  const found = Result.isSuccess(first) && first.success.needs.length > 0
    ? values(target.ask(first.success.needs))
    : first
  if (Result.isSuccess(found)) return { bytes: found.success.bytes, findings: [] }
  const { detail, hint, name } = found.failure
  return {
    bytes: undefined,
    findings: [make({ rule: "kernel-option", verdict: "fatal", subject: name, detail, hint })]
  }
}

/** What of an object a kernel's profile says nothing about, as a person would name it. */
export const unchecked = (target: Target, object: BpfObject): ReadonlyArray<string> => {
  const values = attempt(isRelocateError, () => Kconfig.values(object, target.info()))
  const needs = Result.isSuccess(values) ? values.success.needs : []
  const addresses = object.externs.filter(isAddress)
    .map(({ kernelName }): KernelInfo.Requirement => ({ _tag: "Symbol", name: kernelName }))
  const asked = [...needs, ...addresses]
  const info = target.ask(asked)
  const names = asked.filter((each) => KernelInfo.factOf(info, each)._tag !== "Known").map(KernelInfo.describe)
  return [...new Set(names)]
}
