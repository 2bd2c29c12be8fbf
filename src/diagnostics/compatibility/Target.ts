/**
 * A kernel that objects are checked against, with what was looked up in it so far.
 */
import * as Result from "effect/Result"
import * as Btf from "../../btf/Btf.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import * as KernelProfile from "../../services/Kernel/KernelProfile.ts"
import * as Core from "../../stages/relocate/core/Core.ts"
import * as Needs from "./Needs.ts"

/** A kernel that is ready to be checked against. */
export interface Target {
  /** What reports call it. */
  readonly name: string
  /** The types of vmlinux. */
  readonly types: Btf.Btf
  /** Whether the profile has modules. Without them, what vmlinux does not have counts as missing. */
  readonly knowsModules: boolean
  /** The modules. Their types are read at the first call. */
  readonly modules: () => ReadonlyArray<KernelInfo.ModuleTypes>
  /** Whose types CO-RE relocations are resolved against: vmlinux alone, or with the modules that can be read. */
  readonly core: (withModules: boolean) => Core.CoreTarget
  /** The types of vmlinux, or those of a module. */
  readonly typesOf: (module: string | undefined) => Btf.Btf | undefined
  /** What is known; of modules only once somebody has asked for them. */
  readonly info: () => KernelInfo.KernelInfo
  /** The types of vmlinux or of a module (`undefined` stands for vmlinux) of exactly this name and kind. */
  readonly named: (module: string | undefined, name: string, kind: number) => ReadonlyArray<number>
  /** What its types say of BPF itself. */
  readonly numbers: () => Needs.Numbers
  /** What is known, with answers to these requirements, as far as the profile has them. */
  readonly ask: (requirements: ReadonlyArray<KernelInfo.Requirement>) => KernelInfo.KernelInfo
}

/** Steps of all searches for names in a kernel: types made to have names of one hash take no longer than this. */
const STEPS = 0x400_0000

/** Makes the kernel of a profile ready; `undefined` where the profile has no types. */
export const make = (name: string, profile: KernelProfile.KernelProfile): Target | undefined => {
  const { vmlinux } = profile
  if (vmlinux === undefined) return undefined
  const answers = KernelProfile.answers(profile)
  const { architecture, byteOrder, release } = profile
  const known = { ...KernelInfo.make({ release, architecture, byteOrder }), vmlinuxTypes: KernelInfo.known(vmlinux) }
  const knowsModules = profile.modules !== undefined
  let modules: ReadonlyArray<KernelInfo.ModuleTypes> | undefined = knowsModules ? undefined : []
  let alone: Core.CoreTarget | undefined
  let together: Core.CoreTarget | undefined
  const all = (): ReadonlyArray<KernelInfo.ModuleTypes> => modules ??= KernelProfile.moduleTypes(profile) ?? []
  const readable = (): ReadonlyArray<Core.CoreModule> =>
    all().flatMap(({ btf, name }) => btf === undefined ? [] : [{ name, btf }])
  const typesOf = (module: string | undefined): Btf.Btf | undefined =>
    module === undefined ? vmlinux : all().find(({ name }) => name === module)?.btf
  const steps = { left: STEPS }
  const found = new Map<string, ReadonlyArray<number>>()
  const named = (module: string | undefined, name: string, kind: number): ReadonlyArray<number> => {
    const key = `${kind} ${module ?? ""} ${name}`
    const known = found.get(key)
    if (known !== undefined) return known
    const btf = typesOf(module)
    const ids = btf === undefined ? [] : Btf.ownNamed(btf, name, kind, steps)
    found.set(key, ids)
    return ids
  }
  let numbers: Needs.Numbers | undefined
  const answered = new Map<string, KernelInfo.Answers | undefined>()
  /** The profile's answer, looked for once. */
  const answerTo = (requirement: KernelInfo.Requirement): KernelInfo.Answers | undefined => {
    const key = KernelInfo.describe(requirement)
    if (answered.has(key)) return answered.get(key)
    const answer = answers([requirement])
    const given = Result.isSuccess(answer) ? answer.success : undefined
    answered.set(key, given)
    return given
  }
  const info = (): KernelInfo.KernelInfo => ({
    ...known,
    moduleTypes: modules === undefined ? KernelInfo.unasked : KernelInfo.known(modules)
  })
  return {
    name,
    types: vmlinux,
    knowsModules,
    modules: all,
    core: (withModules) => withModules ? together ??= Core.target(vmlinux, readable()) : alone ??= Core.target(vmlinux),
    typesOf,
    named,
    info,
    numbers: () => numbers ??= Needs.numbersOfTypes(vmlinux),
    ask: (requirements) => {
      // One by one: a fact that the profile does not have must not keep others from being known.
      const found = requirements.flatMap((requirement) => {
        if (requirement._tag !== "ModuleTypes") return answerTo(requirement) ?? []
        all()
        return []
      })
      return KernelInfo.add(info(), KernelInfo.together(found))
    }
  }
}
