/**
 * The text of `kernel show` and `kernel snapshot`: what is known of a kernel, and what is not.
 */
import * as Result from "effect/Result"
import * as KernelConfig from "../../services/Kernel/KernelConfig.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import { type FactName, hasFeature, type KernelProfile } from "../../services/Kernel/KernelProfile.ts"
import { versionText } from "../../services/Kernel/profile/Description.ts"
import { blank, counted, heading, type Line, span, wrapped } from "./Text.ts"

const plain = (value: number): string => value.toLocaleString("en")

const yesOrNo = (value: boolean | undefined): string | undefined =>
  value === undefined ? undefined : value ? "yes" : "no"

const modulesText = ({ modules }: KernelProfile): string | undefined => {
  if (modules === undefined) return undefined
  const withTypes = modules.filter(({ types }) => Result.isSuccess(types())).length
  const what = counted(modules.length, "module")
  return modules.length === 0 ? "none that has types" : `${what}, with the types of ${plain(withTypes)}`
}

const rows = (profile: KernelProfile): ReadonlyArray<readonly [string, FactName | undefined, string | undefined]> => {
  const { configuration, kernelVersion, pageSize, possibleCpus, symbols, vmlinux } = profile
  return [
    ["page size", "page_size", pageSize === undefined ? undefined : `${plain(pageSize)} bytes`],
    ["possible CPUs", "possible_cpus", possibleCpus === undefined ? undefined : plain(possibleCpus)],
    ["kernel version", "kernel_version", kernelVersion === undefined ? undefined : versionText(kernelVersion)],
    ...KernelInfo.features.map((feature) =>
      [feature, `features.${feature}`, yesOrNo(hasFeature(profile, feature))] as const
    ),
    ["types", "btf", vmlinux === undefined ? undefined : `${plain(vmlinux.endId - 1)} in vmlinux`],
    ["modules", "modules", modulesText(profile)],
    [
      "configuration",
      "config",
      configuration === undefined ? undefined : `${plain(KernelConfig.parse(configuration).size)} options`
    ],
    ["symbols", "symbols", symbols === undefined ? undefined : `${plain(symbols.size)} names`]
  ]
}

/** What is known of a kernel, a line for each fact; of what is not known, why. */
export const profileText = (profile: KernelProfile): ReadonlyArray<Line> => {
  const all = rows(profile)
  const width = Math.max(...all.map(([name]) => name.length))
  return all.map(([name, fact, value]) => {
    const why = fact === undefined ? undefined : profile.missing[fact]
    const note = why === undefined ? "" : value === undefined ? `: ${why}` : ` (${why})`
    return wrapped(
      width + 4,
      `  ${name.padEnd(width)}  `,
      value === undefined ? span("warning", "not known") : value,
      span("dim", value === undefined || fact?.startsWith("features.") !== true ? note : "")
    )
  })
}

const kernelName = ({ architecture, byteOrder, release }: KernelProfile): string =>
  [
    release === "" ? "A kernel of a release that is not known" : `Linux ${release}`,
    ...(architecture === "" ? [] : [architecture]),
    `${byteOrder}-endian`
  ].join(", ")

/** The text of `kernel show`. */
export const showText = (profile: KernelProfile): ReadonlyArray<Line> => [
  heading(kernelName(profile)),
  ...profileText(profile)
]

/** The text of `kernel snapshot`. */
export const snapshotText = (
  path: string,
  profile: KernelProfile,
  files: ReadonlyMap<string, Uint8Array>
): ReadonlyArray<Line> => {
  const bytes = [...files.values()].reduce((sum, file) => sum + file.length, 0)
  return [
    wrapped(2, "Wrote ", span("name", path), `: ${counted(files.size, "file")}, ${plain(bytes)} bytes`),
    blank,
    ...showText(profile)
  ]
}
