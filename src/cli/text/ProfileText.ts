/**
 * The text of `kernel show` and `kernel snapshot`: what is known of a kernel, and what is not.
 */
import * as Result from "effect/Result"
import * as KernelConfig from "../../services/Kernel/KernelConfig.ts"
import * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import {
  type FactName,
  factOf,
  hasFeature,
  type KernelProfile,
  whyMissing
} from "../../services/Kernel/KernelProfile.ts"
import { versionText } from "../../services/Kernel/profile/Description.ts"
import { blank, counted, heading, type Line, span, wrapped } from "./Text.ts"

const plain = (value: number): string => value.toLocaleString("en")

const modulesText = ({ modules }: KernelProfile): string | undefined => {
  if (modules === undefined) return undefined
  const withTypes = modules.filter(({ types }) => Result.isSuccess(types())).length
  const what = counted(modules.length, "module")
  return modules.length === 0 ? "none that has types" : `${what}, with the types of ${plain(withTypes)}`
}

/** What is known of the features, by what is known. */
const featureRows = (profile: KernelProfile): ReadonlyArray<Row> => {
  const named = (has: boolean | undefined) => KernelInfo.features.filter((each) => hasFeature(profile, each) === has)
  const unknown = named(undefined)
  const reasons = new Set(unknown.map((feature) => whyMissing(profile, factOf(feature)) ?? "nobody has tried"))
  return [
    ["has", named(true).join(", "), undefined],
    ["has not", named(false).join(", "), undefined],
    ["may have", unknown.join(", "), [...reasons].join("; ")]
  ].flatMap(([name = "", value, why]): ReadonlyArray<Row> => value === "" ? [] : [{ name, value, why }])
}

/** A line: what it is about, what is known of it, and what stands in the way of more. */
interface Row {
  readonly name: string
  readonly value: string | undefined
  readonly why: string | undefined
}

const rows = (profile: KernelProfile): ReadonlyArray<Row> => {
  const { configuration, kernelVersion, pageSize, possibleCpus, symbols, vmlinux } = profile
  const row = <A>(name: string, fact: FactName, known: A | undefined, text: (known: A) => string): Row => ({
    name,
    value: known === undefined ? undefined : text(known),
    why: whyMissing(profile, fact)
  })
  return [
    row("page size", "page_size", pageSize, (bytes) => `${plain(bytes)} bytes`),
    row("possible CPUs", "possible_cpus", possibleCpus, plain),
    row("kernel version", "kernel_version", kernelVersion, versionText),
    ...featureRows(profile),
    row("types", "btf", vmlinux, (btf) => `${plain(btf.endId - 1)} in vmlinux`),
    row("modules", "modules", modulesText(profile), String),
    row("configuration", "config", configuration, (text) => `${plain(KernelConfig.parse(text).size)} options`),
    row("symbols", "symbols", symbols, (names) => `${plain(names.size)} names`)
  ]
}

/** What is known of a kernel, a line for each fact; of what is not known, why. */
const profileText = (profile: KernelProfile): ReadonlyArray<Line> => {
  const all = rows(profile)
  const width = Math.max(...all.map(({ name }) => name.length))
  return all.map(({ name, value, why }) =>
    wrapped(
      width + 4,
      `  ${name.padEnd(width)}  `,
      value ?? span("warning", "not known"),
      span("dim", why === undefined ? "" : value === undefined ? `: ${why}` : ` (${why})`)
    )
  )
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
