/** What the properties about bad input share: the pure pipeline on arbitrary bytes, watched. */
import * as Result from "effect/Result"
import * as KernelInfo from "../../../src/services/Kernel/KernelInfo.ts"
import type * as Asked from "../../../src/stages/Asked.ts"
import * as Plan from "../../../src/stages/load/Plan.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import * as Relocate from "../../../src/stages/relocate/Relocate.ts"
import { allFixtures, fixture } from "../../support/Require.ts"
import * as Mutate from "../../support/Mutate.ts"
import { cpuTime } from "../../support/CpuTime.ts"

/** How far bytes came, and why no further. */
export interface Verdict {
  readonly reached: "nothing" | "opened" | "relocated" | "planned"
  readonly error: string | undefined
  readonly milliseconds: number
}

const answered = (
  info: KernelInfo.KernelInfo,
  requirements: ReadonlyArray<KernelInfo.Requirement>
): KernelInfo.KernelInfo => {
  const kconfig = new Map<string, KernelInfo.Fact<KernelInfo.KconfigValue>>()
  const features = new Map<KernelInfo.Feature, KernelInfo.Fact<KernelInfo.Support>>()
  const symbols = new Map<string, KernelInfo.Fact<KernelInfo.SymbolAddress>>()
  for (const requirement of requirements) {
    if (requirement._tag === "Kconfig") kconfig.set(requirement.key, KernelInfo.known(kconfigOf(requirement.key)))
    if (requirement._tag === "Feature") features.set(requirement.feature, KernelInfo.known(KernelInfo.supported))
    if (requirement._tag === "Symbol") symbols.set(requirement.name, KernelInfo.known(0xffff_ffff_8100_0000n))
  }
  return KernelInfo.add(info, {
    pageSize: KernelInfo.known(4096),
    possibleCpus: KernelInfo.known(2),
    kernelVersion: KernelInfo.known(0x06_12_05),
    vmlinuxTypes: KernelInfo.deferred,
    moduleTypes: KernelInfo.deferred,
    kconfig,
    features,
    symbols
  })
}

const kconfigOf = (key: string): string | undefined => {
  const values = ["250", "y", "\"gcc (Debian 14.2.0)\"", "m", undefined, "0x10"]
  return key === "CONFIG_HZ"
    ? "250"
    : key.includes("TEXT")
    ? values[2]
    : key.includes("NO_SUCH")
    ? undefined
    : values[key.length % 2]
}

type Errors = { readonly _tag: string; readonly message: string }

const drive = <A, E extends Errors>(
  stage: (info: KernelInfo.KernelInfo) => Result.Result<Asked.Asked<A>, E>,
  start: KernelInfo.KernelInfo
): { readonly value: A } | { readonly error: string } => {
  let info = start
  for (let round = 0; round < 10; round++) {
    const asked = stage(info)
    if (Result.isFailure(asked)) return { error: describe(asked.failure) }
    if (asked.success._tag === "Done") return { value: asked.success.value }
    info = answered(info, asked.success.requirements)
  }
  throw new Error("a stage asks for ever")
}

/** An error's text, which must be one. */
const describe = (error: Errors): string => {
  if (typeof error._tag !== "string" || typeof error.message !== "string" || error.message.length < 10) {
    throw new Error(`no tagged error with a message: ${JSON.stringify(error)}`)
  }
  if (error.message.length > 4000) throw new Error(`a message of ${error.message.length} characters`)
  return `${error._tag}: ${error.message}`
}

/** Opens, relocates and plans bytes; anything but a value or a tagged error with a message is thrown. */
export const judge = (bytes: Uint8Array): Verdict => {
  const start = cpuTime()
  const verdict = (reached: Verdict["reached"], error: string | undefined): Verdict => ({
    reached,
    error,
    milliseconds: cpuTime() - start
  })
  const object = Open.fromBytes(bytes, { path: "mutated.bpf.o" })
  if (Result.isFailure(object)) return verdict("nothing", describe(object.failure))
  const identity = { release: "6.18.5", architecture: "x64", byteOrder: object.success.byteOrder }
  const relocated = drive((info) => Relocate.toObject(object.success, info), KernelInfo.make(identity))
  if ("error" in relocated) return verdict("opened", relocated.error)
  const planned = drive((info) => Plan.toPlan(relocated.value, info), KernelInfo.make(identity))
  return "error" in planned ? verdict("relocated", planned.error) : verdict("planned", undefined)
}

/** Every fixture, with its parts. */
export const subjects = (): ReadonlyArray<Mutate.Subject> =>
  allFixtures().map((name) => Mutate.subject(name, fixture(name)))
