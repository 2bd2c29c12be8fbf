/**
 * A kernel that objects are checked against, with what was looked up in it so far.
 */
import * as Result from "effect/Result"
import type { Btf } from "../../btf/Btf.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import * as KernelProfile from "../../services/Kernel/KernelProfile.ts"
import * as Core from "../../stages/relocate/core/Core.ts"

/** A kernel that is ready to be checked against. */
export interface Target {
  /** What reports call it. */
  readonly name: string
  /** The types of vmlinux. */
  readonly types: Btf
  /** Whether the profile has modules. Without them, what vmlinux does not have counts as missing. */
  readonly knowsModules: boolean
  /** The modules. Their types are read at the first call. */
  readonly modules: () => ReadonlyArray<KernelInfo.ModuleTypes>
  /** Whose types CO-RE relocations are resolved against: vmlinux alone, or with the modules that can be read. */
  readonly core: (withModules: boolean) => Core.CoreTarget
  /** The types of vmlinux, or those of a module. */
  readonly typesOf: (module: string | undefined) => Btf | undefined
  /** What is known; of modules only once somebody has asked for them. */
  readonly info: () => KernelInfo.KernelInfo
  /** What is known, with answers to these requirements, as far as the profile has them. */
  readonly ask: (requirements: ReadonlyArray<KernelInfo.Requirement>) => KernelInfo.KernelInfo
}

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
    typesOf: (module) => module === undefined ? vmlinux : all().find(({ name }) => name === module)?.btf,
    info,
    ask: (requirements) => {
      // One by one: a fact that the profile does not have must not keep others from being known.
      const found = requirements.flatMap((requirement) => {
        if (requirement._tag === "ModuleTypes") all()
        const answer = requirement._tag === "ModuleTypes" ? undefined : answers([requirement])
        return answer !== undefined && Result.isSuccess(answer) ? [answer.success] : []
      })
      return KernelInfo.add(info(), KernelInfo.together(found))
    }
  }
}
