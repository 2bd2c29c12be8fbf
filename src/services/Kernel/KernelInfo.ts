/**
 * What is known of the kernel that a plan is made for.
 *
 * The stages before `execute` are pure, so they cannot look at a kernel. They are handed a `KernelInfo`, and where it
 * lacks something they answer with the requirements that they have; one driver asks the Kernel service, adds the
 * answers and calls again. A fact may also be *deferred*: left for the time when a loader program runs.
 */
import type { Btf } from "../../btf/Btf.ts"
import type { ByteOrder } from "../Elf/Elf.ts"
import type { Feature, Support } from "./Feature.ts"

export { type Feature, features, type Support, supported, supportOf, unsupported } from "./Feature.ts"

/** A fact about a kernel: not asked for yet, known, or left undecided until the plan runs. */
export type Fact<A> =
  | { readonly _tag: "Unasked" }
  | { readonly _tag: "Known"; readonly value: A }
  | { readonly _tag: "Deferred" }

/** Something that a stage must know of the kernel before it can go on. */
export type Requirement =
  | { readonly _tag: "PageSize" }
  | { readonly _tag: "PossibleCpus" }
  | { readonly _tag: "KernelVersion" }
  /** A `CONFIG_*` option. */
  | { readonly _tag: "Kconfig"; readonly key: string }
  /** Whether the kernel has a feature; that it would not say is an answer, too. */
  | { readonly _tag: "Feature"; readonly feature: Feature }
  /** The address of a symbol in kallsyms. */
  | { readonly _tag: "Symbol"; readonly name: string }
  /** The BTF of vmlinux. */
  | { readonly _tag: "VmlinuxTypes" }
  /** The BTF of every module that is loaded. */
  | { readonly _tag: "ModuleTypes" }

/** A `CONFIG_*` option's text as `.config` has it after the `=`, or `undefined` where it is not set. */
export type KconfigValue = string | undefined

/** Where a symbol is: its address (0 where the kernel hides addresses), `undefined` where kallsyms has none of the name. */
export type SymbolAddress = bigint | "ambiguous" | undefined

/** The types of one kernel module. */
export interface ModuleTypes {
  readonly name: string
  /** Split over the types of vmlinux; `undefined` where they cannot be read, which concerns only who needs them. */
  readonly btf: Btf | undefined
  /** Why they cannot be read, as a phrase. */
  readonly problem?: string
}

/** What is known of one kernel. */
export interface KernelInfo {
  /** `uname -r`, as far as there is one. */
  readonly release: string
  /** As Node names it: `x64`, `arm64`, `s390x`, … */
  readonly architecture: string
  readonly byteOrder: ByteOrder
  readonly pageSize: Fact<number>
  readonly possibleCpus: Fact<number>
  /** `LINUX_VERSION_CODE` */
  readonly kernelVersion: Fact<number>
  readonly kconfig: ReadonlyMap<string, Fact<KconfigValue>>
  readonly features: ReadonlyMap<Feature, Fact<Support>>
  readonly symbols: ReadonlyMap<string, Fact<SymbolAddress>>
  readonly vmlinuxTypes: Fact<Btf>
  readonly moduleTypes: Fact<ReadonlyArray<ModuleTypes>>
  /** Functions and variables that the kernel offers beside those of its types: what a simulated one was given. */
  readonly supplied?: ReadonlySet<string>
}

/** Answers to requirements; only the fields that were asked for. */
export type Answers = Partial<Omit<KernelInfo, "release" | "architecture" | "byteOrder" | "supplied">>

/** A fact that nobody has asked for. */
export const unasked: Fact<never> = { _tag: "Unasked" }

/** A fact that is left for the time when the plan runs. */
export const deferred: Fact<never> = { _tag: "Deferred" }

/** A known fact. */
export const known = <A>(value: A): Fact<A> => ({ _tag: "Known", value })

/** A kernel of which only the given identity is known. */
export const make = (
  identity: {
    readonly release: string
    readonly architecture: string
    readonly byteOrder: ByteOrder
    readonly supplied?: ReadonlySet<string>
  }
): KernelInfo => ({
  ...identity,
  pageSize: unasked,
  possibleCpus: unasked,
  kernelVersion: unasked,
  kconfig: new Map(),
  features: new Map(),
  symbols: new Map(),
  vmlinuxTypes: unasked,
  moduleTypes: unasked
})

/** The info with these answers added; what it knew before stays. */
export const add = (info: KernelInfo, answers: Answers): KernelInfo => ({
  ...info,
  ...answers,
  kconfig: new Map([...info.kconfig, ...(answers.kconfig ?? [])]),
  features: new Map([...info.features, ...(answers.features ?? [])]),
  symbols: new Map([...info.symbols, ...(answers.symbols ?? [])])
})

/** Answers to different requirements as one; of two to the same one, the later. */
export const together = (all: ReadonlyArray<Answers>): Answers => {
  const single: Answers = {}
  const kconfig = new Map<string, Fact<KconfigValue>>()
  const byFeature = new Map<Feature, Fact<Support>>()
  const symbols = new Map<string, Fact<SymbolAddress>>()
  for (const answers of all) {
    Object.assign(single, answers)
    for (const [key, fact] of answers.kconfig ?? []) kconfig.set(key, fact)
    for (const [feature, fact] of answers.features ?? []) byFeature.set(feature, fact)
    for (const [name, fact] of answers.symbols ?? []) symbols.set(name, fact)
  }
  return {
    ...single,
    ...(kconfig.size === 0 ? {} : { kconfig }),
    ...(byFeature.size === 0 ? {} : { features: byFeature }),
    ...(symbols.size === 0 ? {} : { symbols })
  }
}

/** The fact that a requirement asks for. */
export const factOf = (info: KernelInfo, requirement: Requirement): Fact<unknown> => {
  switch (requirement._tag) {
    case "PageSize":
      return info.pageSize
    case "PossibleCpus":
      return info.possibleCpus
    case "KernelVersion":
      return info.kernelVersion
    case "Kconfig":
      return info.kconfig.get(requirement.key) ?? unasked
    case "Feature":
      return info.features.get(requirement.feature) ?? unasked
    case "Symbol":
      return info.symbols.get(requirement.name) ?? unasked
    case "VmlinuxTypes":
      return info.vmlinuxTypes
    case "ModuleTypes":
      return info.moduleTypes
  }
}

/** A requirement as a person would name it. */
export const describe = (requirement: Requirement): string => {
  switch (requirement._tag) {
    case "PageSize":
      return "the page size"
    case "PossibleCpus":
      return "the number of possible CPUs"
    case "KernelVersion":
      return "the kernel version"
    case "Kconfig":
      return `kernel option ${requirement.key}`
    case "Feature":
      return `feature ${requirement.feature}`
    case "Symbol":
      return `kernel symbol ${requirement.name}`
    case "VmlinuxTypes":
      return "the BTF of vmlinux"
    case "ModuleTypes":
      return "the BTF of the modules"
  }
}
