/**
 * The document of `feature probe`: sections, keys and values of `bpftool -j feature probe`, and more of them.
 *
 * What the kernel would not say is `false`, as with bpftool, and stands in `refused` besides, with the error; what is not
 * known of a kernel that cannot be tried is `null`.
 */
import { helperName } from "../../insn/Helpers.ts"
import {
  AttachType,
  attachTypeName,
  type AttachTypeSymbol,
  MapType,
  mapTypeName,
  ProgType,
  progTypeName
} from "../../services/Kernel/abi/BpfConstants.ts"
import { descriptions, features, type Support } from "../../services/Kernel/Feature.ts"
import { type FeatureReport, kconfigKeys, misc, miscs } from "../../services/Kernel/FeatureReport.ts"
import type * as Documents from "../schemas/Feature.ts"
import type { Json, Keys } from "./Json.ts"

type Section = Readonly<Record<string, Json>>

/** One thing that was asked for: its key, and what is known of it. */
interface Item {
  readonly key: string
  readonly support: Support | undefined
}

const types = (table: Readonly<Record<string, number>>): ReadonlyArray<number> =>
  Object.values(table).filter((type) => type !== 0)

const isAttachType = (symbol: string): symbol is AttachTypeSymbol => Object.hasOwn(AttachType, symbol)

/** The sections that hold answers, each with its items. */
const sectionsOf = (report: FeatureReport): ReadonlyArray<readonly [name: string, items: ReadonlyArray<Item>]> => [
  ["syscall_config", [{ key: "have_bpf_syscall", support: report.syscall }]],
  [
    "program_types",
    types(ProgType).map((type) => ({
      key: `have_${progTypeName(type)}_prog_type`,
      support: report.programTypes.get(type)
    }))
  ],
  [
    "map_types",
    types(MapType).map((type) => ({ key: `have_${mapTypeName(type)}_map_type`, support: report.mapTypes.get(type) }))
  ],
  [
    "attach_types",
    Object.keys(AttachType).filter(isAttachType).map((symbol) => ({
      key: `have_${attachTypeName(AttachType[symbol])}_attach_type`,
      support: report.attachTypes.get(symbol)
    }))
  ],
  [
    "kernel_features",
    features.map((feature) => ({
      key: `have_${descriptions[feature].name.toLowerCase()}`,
      support: report.features.get(feature)
    }))
  ],
  ["misc", miscs.map((each) => ({ key: `have_${misc[each].name}`, support: report.misc.get(each) }))]
]

const answerJson = (support: Support | undefined): Json => support === undefined ? null : support._tag === "Supported"

const answersJson = (items: ReadonlyArray<Item>): Section =>
  Object.fromEntries(items.map(({ key, support }) => [key, answerJson(support)]))

/**
 * Numbers of settings, and options of the configuration by their text. A setting that could not be read is -1, as with
 * bpftool; what is not set, or was not asked for, is `null`.
 */
const systemJson = ({ kconfig, settings }: FeatureReport): Section => ({
  ...Object.fromEntries(settings.map(({ errno, name, value }) => [name, value ?? (errno === undefined ? null : -1)])),
  ...Object.fromEntries(kconfigKeys.map((key) => [key, kconfig?.get(key) ?? null]))
})

const helpersJson = ({ helpers }: FeatureReport): Section =>
  Object.fromEntries(
    [...helpers].map(([type, answers]) => [
      `${progTypeName(type)}_available_helpers`,
      answers._tag === "Probed"
        ? [...answers.answers].flatMap(([id, support]) => support._tag === "Supported" ? helperName(id) ?? [] : [])
        : []
    ])
  )

/** What the kernel would not say, by section and key; each with the error and what would help. */
const refusedJson = (report: FeatureReport): Section => {
  const refused: Record<string, Json> = {}
  for (const { errno, name } of report.settings) {
    if (errno !== undefined) refused[`system_config.${name}`] = { errno, hint: null }
  }
  for (const [name, items] of sectionsOf(report)) {
    for (const { key, support } of items) {
      if (support?._tag === "Refused") refused[`${name}.${key}`] = { errno: support.errno, hint: support.why }
    }
  }
  for (const [type, answers] of report.helpers) {
    if (answers._tag === "NoPrograms" && answers.because._tag === "Refused") {
      const { errno, why } = answers.because
      refused[`helpers.${progTypeName(type)}_available_helpers`] = { errno, hint: why }
    }
    for (const [id, support] of answers._tag === "Probed" ? answers.answers : []) {
      if (support._tag !== "Refused") continue
      const { errno, why } = support
      refused[`helpers.${progTypeName(type)}_available_helpers.${helperName(id)}`] = { errno, hint: why }
    }
  }
  return refused
}

/** What cannot be found out, and why: helpers of types of programs, or the configuration. */
const undeterminedJson = ({ helpers, kconfig, kconfigProblem }: FeatureReport): Section => ({
  ...(kconfig === undefined ? { system_config: kconfigProblem ?? null } : {}),
  ...Object.fromEntries(
    [...helpers].flatMap(([type, answers]) =>
      answers._tag === "Undetermined" ? [[`helpers.${progTypeName(type)}_available_helpers`, answers.why]] : []
    )
  )
})

/** The document. `kernel` is the name of the kernel that was asked. */
export const featureDocument = (
  report: FeatureReport,
  kernel: string
): Partial<Keys<typeof Documents.Features.Type>> => ({
  kernel: {
    name: kernel,
    release: report.release === "" ? null : report.release,
    architecture: report.architecture === "" ? null : report.architecture
  },
  system_config: systemJson(report),
  ...Object.fromEntries(sectionsOf(report).map(([name, items]) => [name, answersJson(items)])),
  helpers: helpersJson(report),
  refused: refusedJson(report),
  undetermined: undeterminedJson(report)
})
