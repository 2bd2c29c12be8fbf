/** What is known of a kernel that has every feature. */
import * as KernelInfo from "../../src/services/Kernel/KernelInfo.ts"

/** Every feature is known to be there, but for those that are listed. */
export const allFeatures = (without: ReadonlyArray<KernelInfo.Feature> = []): KernelInfo.KernelInfo["features"] =>
  new Map(
    KernelInfo.features.map((feature) => [feature, KernelInfo.known(KernelInfo.supportOf(!without.includes(feature)))])
  )
