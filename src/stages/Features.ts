/**
 * The features of a kernel as a load takes them: yes or no, with the reason for people.
 *
 * One that the kernel would not tell of, for lack of rights, is missing, as it is for libbpf; one that is decided when a
 * loader program runs is there, since the loader cannot leave anything out any more.
 */
import { descriptions } from "../services/Kernel/Feature.ts"
import type { Feature, KernelInfo, Requirement } from "../services/Kernel/KernelInfo.ts"

/** What is known of a kernel's features. */
export interface Features {
  readonly has: (feature: Feature) => boolean
  /** Why a load goes without a feature: `the kernel lacks BTF_FLOAT, which Linux has since 5.13`. */
  readonly because: (feature: Feature) => string
}

/** The features that a kernel has told of. One that was not asked for counts as there. */
export const of = ({ features }: KernelInfo): Features => ({
  has: (feature) => {
    const fact = features.get(feature)
    return fact?._tag !== "Known" || fact.value._tag === "Supported"
  },
  because: (feature) => {
    const fact = features.get(feature)
    const { name, since } = descriptions[feature]
    return fact?._tag === "Known" && fact.value._tag === "Refused"
      ? `the kernel would not say whether it has ${name} (${fact.value.errno})`
      : `the kernel lacks ${name}${since === undefined ? "" : `, which Linux has since ${since}`}`
  }
})

/** The requirement that asks for a feature. */
export const requirement = (feature: Feature): Requirement => ({ _tag: "Feature", feature })
