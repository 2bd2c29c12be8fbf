/** Kernels for tests of `Compatibility`, of types by hand, and what objects come to on them. */
import * as Result from "effect/Result"
import type * as Btf from "../../src/btf/Btf.ts"
import * as Compatibility from "../../src/diagnostics/Compatibility.ts"
import * as KernelProfile from "../../src/services/Kernel/KernelProfile.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as B from "./arbitrary/BtfBlob.ts"

/** A module's types, or why they cannot be read. */
export type ModuleSpec = readonly [name: string, types: Btf.Btf | string]

/** A kernel of these types, with these modules where they are known, and with what else its profile knows. */
export const kernelOf = (
  types: Btf.Btf,
  modules?: ReadonlyArray<ModuleSpec>,
  more: Partial<KernelProfile.KernelProfile> = {}
): Compatibility.Target => {
  const profile: KernelProfile.KernelProfile = {
    ...KernelProfile.fromTypesAlone(types),
    modules: modules?.map(([name, types]) => ({
      name,
      types: () => typeof types === "string" ? Result.fail(types) : Result.succeed(types)
    })),
    ...more
  }
  const target = Compatibility.target("test", profile)
  if (target === undefined) throw new Error("a kernel has types")
  return target
}

/** A kernel of types by hand. */
export const kernel = (
  types: ReadonlyArray<B.Rec>,
  modules?: ReadonlyArray<ModuleSpec>,
  more: Partial<KernelProfile.KernelProfile> = {}
): Compatibility.Target => kernelOf(B.btfOf(types), modules, more)

/** Types of a module, split over those of a kernel. */
export const split = (base: Btf.Btf, types: ReadonlyArray<B.Rec>): Btf.Btf =>
  B.btfOf(types, { base, stringsStart: base.stringsLength })

/** An object of these bytes. */
export const prepared = (bytes: Uint8Array, path = "test.bpf.o"): Compatibility.Prepared =>
  Compatibility.prepare(Result.getOrThrow(Open.fromBytes(bytes, { path })))

/** What an opened object comes to. */
export const check = (object: BpfObject, target: Compatibility.Target): Compatibility.Cell =>
  Compatibility.check(Compatibility.prepare(object), target)

/** Findings in a few words: verdict, rule and subject. */
export const brief = ({ findings }: Compatibility.Cell): ReadonlyArray<string> =>
  findings.map(({ rule, subject, verdict }) => `${verdict} ${rule} ${subject}`)
