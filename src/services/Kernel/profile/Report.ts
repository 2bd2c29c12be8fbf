/**
 * What a profile tells of what its kernel supports.
 *
 * Nobody has tried that kernel, but for the features in the profile. Its types tell what it has never heard of; of what it
 * knows they do not tell whether it was built with it, so that stays unknown.
 */
import * as Btf from "../../../btf/Btf.ts"
import { AttachType, type AttachTypeSymbol, MapType, ProgType } from "../abi/BpfConstants.ts"
import { type Feature, features, type Support, supportOf, unsupported } from "../Feature.ts"
import { type FeatureReport, kconfigOf } from "../FeatureReport.ts"
import * as KernelConfig from "../KernelConfig.ts"
import { hasFeature, type KernelProfile, whyMissing } from "../KernelProfile.ts"

/** The names of an enumeration; `undefined` where the types have none of that name. */
const namesOf = (types: Btf.Btf | undefined, name: string): ReadonlySet<string> | undefined => {
  const id = types === undefined ? undefined : Btf.findOne(types, name, Btf.BTF_KIND_ENUM)
  const type = types === undefined || id === undefined ? undefined : Btf.typeOf(types, id)
  return type?._tag === "Enum" && type.values.length > 0 ? new Set(type.values.map((value) => value.name)) : undefined
}

/** Those of the entries of a table that the kernel's own enumeration has not. */
const absent = <K extends string>(
  types: Btf.Btf | undefined,
  name: string,
  symbols: ReadonlyArray<K>
): ReadonlyMap<K, Support> => {
  const known = namesOf(types, name)
  if (known === undefined) return new Map()
  return new Map(
    symbols.filter((symbol) => !known.has(symbol)).map((
      symbol
    ) => [symbol, unsupported(`enum ${name} has no ${symbol}`)])
  )
}

const byNumber = (
  table: Readonly<Record<string, number>>,
  answers: ReadonlyMap<string, Support>
): ReadonlyMap<number, Support> => {
  const found = new Map<number, Support>()
  for (const [symbol, support] of answers) {
    const number = table[symbol]
    if (number !== undefined) found.set(number, support)
  }
  return found
}

const isAttachType = (symbol: string): symbol is AttachTypeSymbol => Object.hasOwn(AttachType, symbol)

const keysOf = (table: Readonly<Record<string, number>>): ReadonlyArray<string> =>
  Object.keys(table).filter((symbol) => table[symbol] !== 0)

/** The report of a profile. */
export const reportOf = (profile: KernelProfile): FeatureReport => {
  const { architecture, configuration, release, vmlinux } = profile
  const known = new Map<Feature, Support>()
  for (const feature of features) {
    const has = hasFeature(profile, feature)
    if (has !== undefined) known.set(feature, supportOf(has))
  }
  const kconfigProblem = whyMissing(profile, "config") ?? "the profile does not have it"
  return {
    release,
    architecture,
    settings: [],
    ...(configuration === undefined
      ? { kconfig: undefined, kconfigProblem }
      : { kconfig: kconfigOf(KernelConfig.parse(configuration)) }),
    syscall: undefined,
    programTypes: byNumber(ProgType, absent(vmlinux, "bpf_prog_type", keysOf(ProgType))),
    mapTypes: byNumber(MapType, absent(vmlinux, "bpf_map_type", keysOf(MapType))),
    attachTypes: absent(vmlinux, "bpf_attach_type", Object.keys(AttachType).filter(isAttachType)),
    helpers: new Map(),
    features: known,
    misc: new Map()
  }
}
