/**
 * What a simulated kernel supports, by what it is made of.
 */
import { helperCount, helperName } from "../../../insn/Helpers.ts"
import { AttachType, type AttachTypeSymbol, MapType, ProgType } from "../abi/BpfConstants.ts"
import { type Feature, features, type Support, supported, unsupported } from "../Feature.ts"
import { type FeatureReport, type HelperAnswers, kconfigOf, type Misc, miscs } from "../FeatureReport.ts"
import type { Context } from "./Context.ts"

/** Types of maps that are newer than the kernel that is simulated; and one whose values are of types that calls cannot name. */
const withoutMaps: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_STRUCT_OPS,
  MapType.BPF_MAP_TYPE_INSN_ARRAY,
  MapType.BPF_MAP_TYPE_RHASH
])

const typesOf = (table: Readonly<Record<string, number>>): ReadonlyArray<number> =>
  Object.values(table).filter((type) => type !== 0)

const each = <K>(keys: ReadonlyArray<K>, answer: (key: K) => Support): ReadonlyMap<K, Support> =>
  new Map(keys.map((key) => [key, answer(key)]))

const isAttachType = (symbol: string): symbol is AttachTypeSymbol => Object.hasOwn(AttachType, symbol)

/** Helpers are the same for all types of programs: there is no verifier that would keep them apart. */
const helpersOf = (context: Context): HelperAnswers => {
  const answers = new Map<number, Support>()
  for (let id = 1; id < helperCount; id++) {
    answers.set(
      id,
      context.helpers.has(helperName(id) ?? "") ? supported : unsupported("what it acts on is not simulated")
    )
  }
  return { _tag: "Probed", answers }
}

/** The report of a simulated kernel. */
export const report = (context: Context): FeatureReport => {
  const { architecture, kconfig, release } = context.world
  const programTypes = each(typesOf(ProgType), () => supported)
  const helpers = helpersOf(context)
  return {
    release,
    architecture,
    settings: [],
    kconfig: kconfigOf(new Map(Object.entries(kconfig))),
    syscall: supported,
    programTypes,
    mapTypes: each(
      typesOf(MapType),
      (type) => withoutMaps.has(type) ? unsupported("maps of this type are not simulated") : supported
    ),
    attachTypes: each(
      Object.keys(AttachType).filter(isAttachType),
      () => unsupported("programs of a simulated kernel are run, not attached")
    ),
    helpers: new Map([...programTypes.keys()].map((type) => [type, helpers])),
    features: each<Feature>(features, (feature) => context.world.features[feature]),
    misc: each<Misc>(miscs, () => supported)
  }
}
