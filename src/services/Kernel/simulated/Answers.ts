/**
 * What a simulated kernel says of itself: all of it is known, from the options.
 */
import * as Effect from "effect/Effect"
import * as Errno from "../abi/Errno.ts"
import { fromErrno, type KernelError } from "../KernelError.ts"
import {
  type Answers,
  type Fact,
  type Feature,
  type KconfigValue,
  known,
  type Requirement,
  type SymbolAddress
} from "../KernelInfo.ts"
import type { World } from "./Options.ts"

const noTypes = (): KernelError =>
  fromErrno("VmlinuxTypes", "the simulated kernel", Errno.numbers.ENOENT, {
    hint:
      "give the simulated kernel the types of one, as `types` of its options: those of a profile, or of this machine"
  })

/** Own properties only: a name may come from an object file. */
const own = <A>(record: Readonly<Record<string, A>>, name: string): A | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined

/** Answers each requirement as a known fact; types that were not given cannot be known, which is the one failure. */
export const ask = (world: World, requirements: ReadonlyArray<Requirement>): Effect.Effect<Answers, KernelError> =>
  Effect.suspend(() => {
    const kconfig = new Map<string, Fact<KconfigValue>>()
    const features = new Map<Feature, Fact<boolean>>()
    const symbols = new Map<string, Fact<SymbolAddress>>()
    const single: { -readonly [K in keyof Answers]: Answers[K] } = {}
    for (const requirement of requirements) {
      switch (requirement._tag) {
        case "PageSize":
          single.pageSize = known(world.pageSize)
          break
        case "PossibleCpus":
          single.possibleCpus = known(world.possibleCpus)
          break
        case "KernelVersion":
          single.kernelVersion = known(world.kernelVersion)
          break
        case "Kconfig":
          kconfig.set(requirement.key, known(own(world.kconfig, requirement.key)))
          break
        case "Feature":
          features.set(requirement.feature, known(world.features[requirement.feature] ?? false))
          break
        case "Symbol":
          symbols.set(requirement.name, known(own(world.symbols, requirement.name)))
          break
        case "VmlinuxTypes":
          if (world.types === undefined) return Effect.fail(noTypes())
          single.vmlinuxTypes = known(world.types)
          break
      }
    }
    return Effect.succeed({
      ...single,
      ...(kconfig.size === 0 ? {} : { kconfig }),
      ...(features.size === 0 ? {} : { features }),
      ...(symbols.size === 0 ? {} : { symbols })
    })
  })
