/**
 * What the running kernel supports, found out when it is asked for, and each thing once: what the kernel has said for
 * certain is kept, what it would not say is asked again.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { AttachType, type AttachTypeSymbol, MapType, ProgType } from "../abi/BpfConstants.ts"
import { type Feature, features, type Support } from "../Feature.ts"
import { type FeatureReport, type HelperAnswers, kconfigOf, type Misc, miscs } from "../FeatureReport.ts"
import type { KernelError } from "../KernelError.ts"
import type { Sys } from "../sys/Sys.ts"
import type { Facts } from "./Facts.ts"
import * as KernelFeatures from "./features/KernelFeatures.ts"
import type { Host } from "./features/Host.ts"
import * as ProbeAttach from "./features/ProbeAttach.ts"
import * as ProbeHelpers from "./features/ProbeHelpers.ts"
import * as ProbeMaps from "./features/ProbeMaps.ts"
import * as ProbeMisc from "./features/ProbeMisc.ts"
import * as ProbePrograms from "./features/ProbePrograms.ts"
import * as Settings from "./features/Settings.ts"
import type { Files } from "./Files.ts"

/** What a report is to hold. */
export interface ReportOptions {
  /** The helpers that programs of each type may call: thousands of loads. Default: yes. */
  readonly helpers?: boolean
  /** Also the helpers whose use the kernel warns of in its log (`bpf_probe_write_user`). Default: no. */
  readonly full?: boolean
  /** Is told what is being found out, before it is. */
  readonly progress?: (what: string) => Effect.Effect<void>
}

/** What the running kernel supports. A failure is that bpf(2) cannot be called here at all, whatever the kernel. */
export interface Features {
  readonly feature: (feature: Feature) => Result.Result<Support, KernelError>
  readonly programType: (type: number) => Result.Result<Support, KernelError>
  readonly mapType: (type: number) => Result.Result<Support, KernelError>
  readonly attachType: (symbol: AttachTypeSymbol) => Result.Result<Support, KernelError>
  readonly report: (options?: ReportOptions) => Effect.Effect<FeatureReport, KernelError>
}

/** What is probed. */
export interface FeatureSources {
  readonly sys: () => Result.Result<Sys, KernelError>
  readonly facts: Facts
  readonly files: Files
  /** As Node names it. */
  readonly architecture: string
}

/** Remembers what is certain. */
const remembering = <K>(work: (host: Host, key: K) => Support): (host: Host, key: K) => Support => {
  const certain = new Map<K, Support>()
  return (host, key) => {
    const known = certain.get(key)
    if (known !== undefined) return known
    const support = work(host, key)
    if (support._tag !== "Refused") certain.set(key, support)
    return support
  }
}

/** What follows a list of types whose first is none. */
const typesOf = (table: Readonly<Record<string, number>>): ReadonlyArray<number> =>
  Object.values(table).filter((type) => type !== 0)

const isAttachType = (symbol: string): symbol is AttachTypeSymbol => Object.hasOwn(AttachType, symbol)

const attachTypes: ReadonlyArray<AttachTypeSymbol> = Object.keys(AttachType).filter(isAttachType)

/** The features of the kernel behind these sources; nothing is asked of it yet. */
export const make = ({ architecture, facts, files, sys }: FeatureSources): Features => {
  const host = (): Result.Result<Host, KernelError> =>
    Result.map(sys(), (opened) => ({ sys: opened, facts, files, architecture }))
  const feature = remembering<Feature>(KernelFeatures.probe)
  const programType = remembering<number>(ProbePrograms.probe)
  const mapType = remembering<number>(ProbeMaps.probe)
  const miscOf = remembering<Misc>(ProbeMisc.probe)
  const attachType = remembering<AttachTypeSymbol>((on, symbol) =>
    ProbeAttach.probe(on, symbol, (type) => programType(on, type))
  )
  const asked = <K>(probe: (host: Host, key: K) => Support) => (key: K): Result.Result<Support, KernelError> =>
    Result.map(host(), (opened) => probe(opened, key))

  const report = Effect.fnUntraced(function*(options: ReportOptions = {}) {
    const { full = false, helpers: withHelpers = true, progress = () => Effect.void } = options
    const opened = yield* Effect.fromResult(host())
    // Between two probes others may run, and whoever waits for this may give up.
    const each = <K>(what: string, keys: ReadonlyArray<K>, probe: (host: Host, key: K) => Support) =>
      Effect.gen(function*() {
        yield* progress(what)
        yield* Effect.yieldNow
        const answers = new Map<K, Support>()
        for (const key of keys) answers.set(key, probe(opened, key))
        return answers
      })
    const programTypes = yield* each("types of programs", typesOf(ProgType), programType)
    const mapTypes = yield* each("types of maps", typesOf(MapType), mapType)
    const attach = yield* each("ways to attach", attachTypes, attachType)
    const known = yield* each("features", features, feature)
    const misc = yield* each("limits", miscs, miscOf)
    const helpers = new Map<number, HelperAnswers>()
    for (const [type, support] of withHelpers ? programTypes : []) {
      yield* progress(`helpers, ${helpers.size + 1} of ${programTypes.size} types of programs`)
      yield* Effect.yieldNow
      helpers.set(type, ProbeHelpers.probe(opened, type, support, full))
    }
    const kconfig = facts.kconfig()
    return {
      release: facts.release,
      architecture,
      settings: Settings.read(files),
      kconfig: Result.isSuccess(kconfig) ? kconfigOf(kconfig.success) : undefined,
      ...(Result.isSuccess(kconfig) ? {} : { kconfigProblem: kconfig.failure.message }),
      syscall: ProbeMisc.probeSyscall(opened),
      programTypes,
      mapTypes,
      attachTypes: attach,
      helpers,
      features: known,
      misc
    } satisfies FeatureReport
  })

  return {
    feature: asked(feature),
    programType: asked(programType),
    mapType: asked(mapType),
    attachType: asked(attachType),
    report
  }
}
