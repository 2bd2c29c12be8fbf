/** A kernel that is said to lack features: the counterpart of what the C peer pretends to libbpf. */
import * as Effect from "effect/Effect"
import { descriptions } from "../../src/services/Kernel/Feature.ts"
import type { KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as KernelInfo from "../../src/services/Kernel/KernelInfo.ts"

/** The kernel, which answers that it has none of these features when it is asked for them. */
export const lacking = (kernel: KernelShape, features: ReadonlyArray<KernelInfo.Feature>): KernelShape =>
  features.length === 0 ? kernel : {
    ...kernel,
    ask: (requirements) =>
      Effect.map(kernel.ask(requirements), (answers) =>
        answers.features === undefined ? answers : {
          ...answers,
          features: new Map(
            [...answers.features].map(([feature, fact]) => [
              feature,
              features.includes(feature) ? KernelInfo.known(KernelInfo.unsupported()) : fact
            ])
          )
        })
  }

/** The environment in which libbpf finds that its kernel lacks these features: see bench/peers/pretend.h. */
export const pretended = (features: ReadonlyArray<KernelInfo.Feature>): Readonly<Record<string, string>> => ({
  LIBBPF_PEER_WITHOUT: features.map((feature) => descriptions[feature].name).join(",")
})
