/**
 * A kernel profile as data: the document of `kernel show`, and with `path` and `files` of `kernel snapshot`.
 *
 * What is not known is `null`, and `missing` says why, by the fact's key or by the file that would hold it.
 */
import * as Result from "effect/Result"
import * as KernelConfig from "../../services/Kernel/KernelConfig.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import { hasFeature, type KernelProfile } from "../../services/Kernel/KernelProfile.ts"
import type * as Documents from "../schemas/Kernel.ts"

const textOrNull = (text: string): string | null => text === "" ? null : text

/** The document. Features are what trying has shown or the types tell. */
export const profileDocument = (profile: KernelProfile): typeof Documents.Profile.Type => ({
  release: textOrNull(profile.release),
  architecture: textOrNull(profile.architecture),
  byte_order: profile.byteOrder,
  page_size: profile.pageSize ?? null,
  possible_cpus: profile.possibleCpus ?? null,
  kernel_version: profile.kernelVersion ?? null,
  features: Object.fromEntries(
    KernelInfo.features.map((feature) => [feature, hasFeature(profile, feature) ?? null])
  ),
  btf: profile.vmlinux === undefined
    ? null
    : { types: profile.vmlinux.endId - 1, bytes: profile.vmlinux.bytes.length },
  modules: profile.modules?.map(({ name, types }) =>
    Result.match(types(), {
      onSuccess: (btf): typeof Documents.Module.Type => ({
        name,
        types: btf.endId - btf.firstId,
        bytes: btf.bytes.length,
        problem: null
      }),
      onFailure: (problem): typeof Documents.Module.Type => ({ name, types: null, bytes: null, problem })
    })
  ) ?? null,
  config: profile.configuration === undefined ? null : { options: KernelConfig.parse(profile.configuration).size },
  symbols: profile.symbols?.size ?? null,
  missing: { ...profile.missing }
})

/** The document of a profile that was written. */
export const snapshotDocument = (
  path: string,
  profile: KernelProfile,
  files: ReadonlyMap<string, Uint8Array>
): typeof Documents.Snapshot.Type => ({
  path,
  files: [...files].map(([name, bytes]) => ({ name, bytes: bytes.length })),
  ...profileDocument(profile)
})
