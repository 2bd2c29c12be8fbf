/**
 * What a simulated kernel says of itself, from the options.
 */
import * as Effect from "effect/Effect"
import type { KernelError } from "../KernelError.ts"
import {
  type Answers,
  deferred,
  type Fact,
  type Feature,
  type KconfigValue,
  known,
  type Requirement,
  type Support,
  type SymbolAddress
} from "../KernelInfo.ts"
import type { World } from "./Options.ts"

/** Own properties only: a name may come from an object file. */
const own = <A>(record: Readonly<Record<string, A>>, name: string): A | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined

/**
 * Answers each requirement as a known fact, types that were not given excepted: what depends on them is left for the time
 * when a program is loaded, and comes out there as the compiler has it.
 */
export const ask = (world: World, requirements: ReadonlyArray<Requirement>): Effect.Effect<Answers, KernelError> =>
  Effect.suspend(() => {
    const kconfig = new Map<string, Fact<KconfigValue>>()
    const features = new Map<Feature, Fact<Support>>()
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
          features.set(requirement.feature, known(world.features[requirement.feature]))
          break
        case "Symbol":
          symbols.set(requirement.name, known(world.symbols.get(requirement.name)))
          break
        case "VmlinuxTypes":
          single.vmlinuxTypes = world.types === undefined ? deferred : known(world.types)
          break
        case "ModuleTypes":
          single.moduleTypes = world.types === undefined ? deferred : known(world.modules())
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
