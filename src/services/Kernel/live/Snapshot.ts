/**
 * The profile of the running kernel.
 *
 * Everything that this process may read is in it, and of the rest the reason why it is not. Without privileges that is all
 * but the features that only a program load tells, where the kernel shows its types to everybody, as it does by default.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { hostIsLittle } from "../abi/Arena.ts"
import * as Errno from "../abi/Errno.ts"
import { fromErrno, type KernelError } from "../KernelError.ts"
import * as KernelInfo from "../KernelInfo.ts"
import { type FactName, factOf, type KernelProfile, type SymbolNames } from "../KernelProfile.ts"
import * as Sys from "../sys/Sys.ts"
import type { Unavailable } from "../sys/Platform.ts"
import * as Facts from "./Facts.ts"
import * as Features from "./Features.ts"
import { type Files, machine } from "./Files.ts"

/** What a profile is to hold beyond what is in every one. */
export interface SnapshotOptions {
  /** The types of the modules that are loaded. Without it their names are in the profile. */
  readonly modules?: boolean
  /** The names of all symbols. Addresses are never in a profile: they are secrets of one boot, and useless after it. */
  readonly symbols?: boolean
}

/** What a snapshot is taken of. */
export interface SnapshotSources {
  readonly sys: () => Result.Result<Sys.Sys, KernelError | Unavailable>
  readonly facts: Facts.Facts
  /** Default: those of this machine. */
  readonly files?: Files
  readonly architecture: string
}

const asKernelError = (error: KernelError | Unavailable): KernelError =>
  error._tag === "KernelError"
    ? error
    : fromErrno("Feature", "the live kernel", Errno.numbers.ENOSYS, { hint: `${error.detail}; ${error.hint}` })

/** A failure as a phrase, with what to do about it left out: whoever reads it is not where it happened. */
const phraseOf = (error: KernelError | Unavailable): string =>
  error._tag === "KernelError" ? `${error.subject}: ${error.errno}` : error.message

const leftOut = "the profile was made without the types of modules (--modules)"

/** The profile of the kernel behind these sources. */
export const fromSources = (
  { architecture, facts, files = machine, sys }: SnapshotSources,
  options: SnapshotOptions = {}
): KernelProfile => {
  const missing: Partial<Record<FactName, string>> = {}
  const orMissing = <A>(fact: FactName, answer: Result.Result<A, KernelError | Unavailable>): A | undefined => {
    if (Result.isSuccess(answer)) return answer.success
    missing[fact] = phraseOf(answer.failure)
    return undefined
  }
  const features: Partial<Record<KernelInfo.Feature, boolean>> = {}
  const probed = Features.make({ sys: () => Result.mapError(sys(), asKernelError), facts, files, architecture })
  for (const feature of KernelInfo.features) {
    const support = orMissing(factOf(feature), probed.feature(feature))
    if (support?._tag === "Refused") missing[factOf(feature)] = `a probe: ${support.errno}`
    else if (support !== undefined) features[feature] = support._tag === "Supported"
  }
  const modules = facts.modules().map(({ name, types }) => ({
    name,
    types: options.modules === true ? () => Result.mapError(types(), phraseOf) : () => Result.fail(leftOut)
  }))
  let symbols: SymbolNames | undefined
  if (options.symbols === true) {
    const found = orMissing("symbols", facts.symbolNames())
    symbols = found?.names
    if (found?.hidden === true) missing.symbols = "addresses are hidden: which names several symbols have is not marked"
  } else missing.symbols = "the profile was made without the names of symbols (--symbols)"
  return {
    release: facts.release,
    architecture,
    byteOrder: hostIsLittle ? "little" : "big",
    pageSize: orMissing("page_size", Result.map(sys(), ({ pageSize }) => pageSize)),
    possibleCpus: orMissing("possible_cpus", facts.possibleCpus()),
    kernelVersion: orMissing("kernel_version", facts.kernelVersion()),
    features,
    configuration: orMissing("config", facts.configuration()),
    vmlinux: orMissing("btf", facts.vmlinux()),
    modules,
    symbols,
    missing
  }
}

/** Takes the profile of the kernel that this process runs on. */
export const take = (options: SnapshotOptions = {}): Effect.Effect<KernelProfile> =>
  Effect.sync(() => {
    const bound = Sys.make()
    return fromSources({ sys: () => bound, facts: Facts.make(() => bound), architecture: process.arch }, options)
  })
