/**
 * Kernel profiles: what is known of a kernel that is not the one at hand.
 *
 * A profile is a folder that `effect-bpf kernel snapshot` writes: the types of the kernel and of its modules, its
 * configuration, and what can be said of it in a few lines. With it, plans are made for that kernel on any machine, with
 * no privileges; and as a simulated kernel (`KernelProfiled`) it takes loads, in a browser too. A bare BTF file is a
 * profile that knows types alone.
 *
 * What a profile does not know is never made up: it is an error to ask for it (`ENODATA`, with the reason), which plans
 * turn into an assumption that they tell of. Of symbols a profile has names, or nothing: then look-ups are left to the
 * time of the load.
 *
 * ```ts
 * const profile = Result.getOrThrow(KernelProfile.decode(KernelProfile.inMemory(files)))
 * const kernel = yield* KernelProfiled.make(profile)
 * ```
 */
import * as Result from "effect/Result"
import type { Btf } from "../../btf/Btf.ts"
import type { ByteOrder } from "../Elf/Elf.ts"
import * as Errno from "./abi/Errno.ts"
import * as KernelConfig from "./KernelConfig.ts"
import { fromErrno, type KernelError } from "./KernelError.ts"
import * as KernelInfo from "./KernelInfo.ts"
import { fromTypes } from "./profile/FeatureTypes.ts"

export { decode, encode, inMemory, type ReadFile } from "./profile/Files.ts"
export { ProfileError } from "./profile/ProfileError.ts"

/** Names of symbols, and whether each stands for one symbol or for several. */
export type SymbolNames = ReadonlyMap<string, "one" | "several">

/** A module of a profile. */
export interface ProfileModule {
  readonly name: string
  /** Its types, split over those of vmlinux; or why they are not to be had, as a phrase. */
  readonly types: () => Result.Result<Btf, string>
}

/** A fact that a profile may lack: its key in `profile.json`, or the file that would hold it. */
export type FactName =
  | "page_size"
  | "possible_cpus"
  | "kernel_version"
  | "config"
  | "btf"
  | "modules"
  | "symbols"
  | `features.${KernelInfo.Feature}`

/** What is known of a kernel. A field is `undefined` where it is not known. */
export interface KernelProfile {
  /** `uname -r`; empty where it is not known. */
  readonly release: string
  /** As Node names it: `x64`, `arm64`, `s390x`, …; empty where it is not known. */
  readonly architecture: string
  readonly byteOrder: ByteOrder
  /** Bytes. */
  readonly pageSize: number | undefined
  readonly possibleCpus: number | undefined
  /** `LINUX_VERSION_CODE` */
  readonly kernelVersion: number | undefined
  /** What trying has shown. */
  readonly features: Readonly<Partial<Record<KernelInfo.Feature, boolean>>>
  /** The text of its `.config`. */
  readonly configuration: string | undefined
  readonly vmlinux: Btf | undefined
  /** The modules that were loaded and have types. */
  readonly modules: ReadonlyArray<ProfileModule> | undefined
  /** Names of all its symbols. Where they are is another matter at each boot. */
  readonly symbols: SymbolNames | undefined
  /** Why facts are not known, by `FactName`. */
  readonly missing: Readonly<Record<string, string>>
}

/** The fact that a feature is. */
export const factOf = (feature: KernelInfo.Feature): FactName => `features.${feature}`

/** Why a fact is not known; `undefined` where nobody has said. */
export const whyMissing = ({ missing }: KernelProfile, fact: FactName): string | undefined =>
  Object.hasOwn(missing, fact) ? missing[fact] : undefined

/** Why a bare BTF file does not know something. */
const typesAlone = "a BTF file holds types, and nothing else of a kernel"

/** The profile of which only the types of vmlinux are known. */
export const fromTypesAlone = (vmlinux: Btf): KernelProfile => ({
  release: "",
  architecture: "",
  byteOrder: vmlinux.byteOrder,
  pageSize: undefined,
  possibleCpus: undefined,
  kernelVersion: undefined,
  features: {},
  configuration: undefined,
  vmlinux,
  modules: undefined,
  symbols: undefined,
  missing: {
    page_size: typesAlone,
    possible_cpus: typesAlone,
    kernel_version: typesAlone,
    ...Object.fromEntries(KernelInfo.features.map((feature) => [factOf(feature), "the types do not tell"])),
    config: typesAlone,
    modules: "a BTF file holds the types of one kernel, without those of its modules",
    symbols: typesAlone
  }
})

/** Whether the kernel has a feature, by what trying has shown, else by its types; `undefined` where neither tells. */
export const hasFeature = ({ features, vmlinux }: KernelProfile, feature: KernelInfo.Feature): boolean | undefined =>
  features[feature] ?? (vmlinux === undefined ? undefined : fromTypes(vmlinux, feature))

/** The modules as pure stages are told of them; `undefined` where they are not known. Reads the types of all. */
export const moduleTypes = ({ modules }: KernelProfile): ReadonlyArray<KernelInfo.ModuleTypes> | undefined =>
  modules?.map(({ name, types }) =>
    Result.match(types(), {
      onFailure: (problem): KernelInfo.ModuleTypes => ({ name, btf: undefined, problem }),
      onSuccess: (btf) => ({ name, btf })
    })
  )

const known = KernelInfo.known

/** What is not known, as the error that asking for it is. */
const unknown = (
  profile: KernelProfile,
  requirement: KernelInfo.Requirement,
  fact: FactName
): Result.Result<never, KernelError> =>
  Result.fail(fromErrno(requirement._tag, KernelInfo.describe(requirement), Errno.numbers.ENODATA, {
    hint: whyMissing(profile, fact) ?? "the profile does not have it"
  }))

/** Answers requirements, each with a fact, or fails with the first that is not known. */
export type Answering = (
  requirements: ReadonlyArray<KernelInfo.Requirement>
) => Result.Result<KernelInfo.Answers, KernelError>

/**
 * Answers requirements from a profile; what it works out it works out once. Symbols of a profile without names are
 * deferred; those of one with names are at address 0, as on a kernel that hides addresses.
 */
export const answers = (profile: KernelProfile): Answering => {
  let options: ReadonlyMap<string, string> | undefined
  const answer = (requirement: KernelInfo.Requirement): Result.Result<KernelInfo.Answers, KernelError> => {
    const orUnknown = <A>(
      value: A | undefined,
      fact: FactName,
      answers: (value: A) => KernelInfo.Answers
    ): Result.Result<KernelInfo.Answers, KernelError> =>
      value === undefined ? unknown(profile, requirement, fact) : Result.succeed(answers(value))
    switch (requirement._tag) {
      case "PageSize":
        return orUnknown(profile.pageSize, "page_size", (value) => ({ pageSize: known(value) }))
      case "PossibleCpus":
        return orUnknown(profile.possibleCpus, "possible_cpus", (value) => ({ possibleCpus: known(value) }))
      case "KernelVersion":
        return orUnknown(profile.kernelVersion, "kernel_version", (value) => ({ kernelVersion: known(value) }))
      case "VmlinuxTypes":
        return orUnknown(profile.vmlinux, "btf", (value) => ({ vmlinuxTypes: known(value) }))
      case "ModuleTypes":
        return orUnknown(moduleTypes(profile), "modules", (value) => ({ moduleTypes: known(value) }))
      case "Kconfig": {
        const { key } = requirement
        options ??= profile.configuration === undefined ? undefined : KernelConfig.parse(profile.configuration)
        return orUnknown(options, "config", (all) => ({ kconfig: new Map([[key, known(all.get(key))]]) }))
      }
      case "Feature": {
        const { feature } = requirement
        return orUnknown(
          hasFeature(profile, feature),
          factOf(feature),
          (value) => ({ features: new Map([[feature, known(KernelInfo.supportOf(value))]]) })
        )
      }
      case "Symbol":
        return Result.succeed({ symbols: new Map([[requirement.name, symbolOf(profile, requirement.name)]]) })
    }
  }
  return (requirements) => Result.map(Result.all(requirements.map(answer)), KernelInfo.together)
}

const symbolOf = ({ symbols }: KernelProfile, name: string): KernelInfo.Fact<KernelInfo.SymbolAddress> => {
  if (symbols === undefined) return KernelInfo.deferred
  const found = symbols.get(name)
  return known(found === undefined ? undefined : found === "one" ? 0n : "ambiguous")
}

/**
 * What is known of the kernel, for pure use of stages: all that a profile knows and that is not asked for by name. Where a
 * stage needs more, `answers` has it.
 */
export const toInfo = (profile: KernelProfile): KernelInfo.KernelInfo => {
  const { architecture, byteOrder, kernelVersion, pageSize, possibleCpus, release, vmlinux } = profile
  const features = new Map<KernelInfo.Feature, KernelInfo.Fact<KernelInfo.Support>>()
  for (const feature of KernelInfo.features) {
    const has = hasFeature(profile, feature)
    if (has !== undefined) features.set(feature, known(KernelInfo.supportOf(has)))
  }
  return KernelInfo.add(KernelInfo.make({ release, architecture, byteOrder }), {
    ...(pageSize === undefined ? {} : { pageSize: known(pageSize) }),
    ...(possibleCpus === undefined ? {} : { possibleCpus: known(possibleCpus) }),
    ...(kernelVersion === undefined ? {} : { kernelVersion: known(kernelVersion) }),
    ...(vmlinux === undefined ? {} : { vmlinuxTypes: known(vmlinux) }),
    features
  })
}

/** What of the options of a simulated kernel a profile decides: a `SimulatedOptions`. */
export interface ProfileOptions {
  readonly release?: string
  readonly architecture?: string
  readonly kernelVersion?: number
  readonly pageSize?: number
  readonly possibleCpus?: number
  readonly kconfig?: Readonly<Record<string, string>>
  readonly features: Readonly<Partial<Record<KernelInfo.Feature, boolean>>>
  readonly symbols: ReadonlyMap<string, KernelInfo.SymbolAddress>
  readonly types?: Btf
  readonly modules: () => ReadonlyArray<KernelInfo.ModuleTypes>
}

/**
 * The options of a simulated kernel that is like the one of the profile. What the profile does not know is as the
 * simulated machine has it by itself, for a machine has to have a page size; use `KernelProfiled`, which tells the two
 * apart when it is asked.
 */
export const toSimulatedOptions = (profile: KernelProfile): ProfileOptions => {
  const { architecture, configuration, kernelVersion, pageSize, possibleCpus, release, symbols, vmlinux } = profile
  const features: Partial<Record<KernelInfo.Feature, boolean>> = {}
  for (const feature of KernelInfo.features) {
    const has = hasFeature(profile, feature)
    if (has !== undefined) features[feature] = has
  }
  return {
    ...(release === "" ? {} : { release }),
    ...(architecture === "" ? {} : { architecture }),
    ...(kernelVersion === undefined ? {} : { kernelVersion }),
    ...(pageSize === undefined ? {} : { pageSize }),
    ...(possibleCpus === undefined ? {} : { possibleCpus }),
    ...(configuration === undefined ? {} : { kconfig: Object.fromEntries(KernelConfig.parse(configuration)) }),
    features,
    symbols: new Map([...symbols ?? []].map(([name, count]) => [name, count === "one" ? 0n : "ambiguous"])),
    ...(vmlinux === undefined ? {} : { types: vmlinux }),
    modules: () => moduleTypes(profile) ?? []
  }
}
