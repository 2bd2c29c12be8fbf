/**
 * The text of `feature probe`: a section for each kind of thing, what is there, what is not and why, what was refused.
 */
import { helperName } from "../../insn/Helpers.ts"
import { AttachType, attachTypeName, mapTypeName, progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import { descriptions, type Support } from "../../services/Kernel/Feature.ts"
import { type FeatureReport, type HelperAnswers, misc } from "../../services/Kernel/FeatureReport.ts"
import { blank, type Cell, counted, heading, type Line, line, span, table, wrapped } from "./Text.ts"

/** Something that was asked for. */
interface Item {
  readonly name: string
  readonly support: Support
  readonly description?: string
}

const word = (support: Support): Cell => {
  switch (support._tag) {
    case "Supported":
      return span("good", "yes")
    case "Unsupported":
      return span("dim", "no")
    case "Refused":
      return span("warning", `refused (${support.errno})`)
  }
}

const remark = ({ description, support }: Item): Cell => {
  const why = support._tag === "Unsupported" ? support.why : undefined
  const about = description ?? ""
  return why === undefined ? about : [about, span("dim", about === "" ? why : ` (${why})`)]
}

const section = (title: string, items: ReadonlyArray<Item>): ReadonlyArray<Line> =>
  items.length === 0 ? [] : [
    heading(title),
    ...table(["name", "", ""], items.map((item) => [item.name, word(item.support), remark(item)])).slice(1),
    blank
  ]

const settingsText = ({ settings }: FeatureReport): ReadonlyArray<Line> =>
  settings.length === 0 ? [] : [
    heading("Settings"),
    ...table(
      ["name", "value"],
      settings.map(({ errno, name, value }) => [
        name,
        value === undefined ? span("warning", `cannot be read (${errno ?? "EIO"})`) : meaning(name, value)
      ])
    ).slice(1),
    blank
  ]

/** What the numbers mean that are choices. */
const meanings: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  unprivileged_bpf_disabled: {
    0: "everybody may load programs, within limits",
    1: "for privileged users alone, until the next boot",
    2: "for privileged users alone; an administrator can change it"
  },
  bpf_jit_enable: { 0: "programs are interpreted", 1: "programs are compiled", 2: "compiled, and shown in the log" },
  bpf_jit_harden: { 0: "compiled code is not hardened", 1: "hardened for unprivileged users", 2: "hardened for all" },
  bpf_jit_kallsyms: { 0: "compiled code has no symbols", 1: "compiled code has symbols for root" },
  bpf_jit_limit: {}
}

const meaning = (name: string, value: number): Cell => {
  const text = meanings[name]?.[value]
  if (text !== undefined) return [String(value), span("dim", `: ${text}`)]
  return name === "bpf_jit_limit" ? `${value.toLocaleString("en")} bytes for compiled code` : String(value)
}

const kconfigText = ({ kconfig, kconfigProblem }: FeatureReport): ReadonlyArray<Line> => {
  if (kconfig === undefined) {
    return [heading("Configuration"), wrapped(4, "  not known: ", kconfigProblem ?? "it cannot be read"), blank]
  }
  const list = (has: boolean, title: string): ReadonlyArray<Line> => {
    const keys = [...kconfig].filter(([, value]) => (value !== undefined) === has)
      .map(([key, value]) => value === undefined || value === "y" ? key : `${key}=${value}`)
    return keys.length === 0 ? [] : [wrapped(4, `  ${title}: `, keys.join(", "))]
  }
  return [heading("Configuration"), ...list(true, "set"), ...list(false, "not set"), blank]
}

/** The helpers that programs of a type may call, or why that is not known. */
const helperLine = (type: number, answers: HelperAnswers): Line => {
  const name = span("name", progTypeName(type))
  switch (answers._tag) {
    case "NoPrograms":
      return wrapped(
        4,
        "  ",
        name,
        answers.because._tag === "Refused" ? `: refused (${answers.because.errno})` : ": no programs of this type"
      )
    case "Undetermined":
      return wrapped(4, "  ", name, `: ${answers.why}`)
    case "Probed": {
      const all = [...answers.answers]
      const named = all.flatMap(([id, support]) => support._tag === "Supported" ? helperName(id) ?? [] : [])
      const refused = all.filter(([, support]) => support._tag === "Refused").length
      return wrapped(
        4,
        "  ",
        name,
        `, ${counted(named.length, "helper")}${refused === 0 ? "" : `, ${refused} refused`}: `,
        named.join(", ")
      )
    }
  }
}

const helpersText = ({ helpers }: FeatureReport): ReadonlyArray<Line> =>
  helpers.size === 0 ? [] : [
    heading("Helpers by types of programs"),
    ...[...helpers].map(([type, answers]) => helperLine(type, answers)),
    blank
  ]

/** What would help against what was refused: each hint once, with how much it is about. */
const refusalText = (report: FeatureReport): ReadonlyArray<Line> => {
  const answers: ReadonlyArray<Support> = [
    ...report.programTypes.values(),
    ...report.mapTypes.values(),
    ...report.attachTypes.values(),
    ...report.features.values(),
    ...report.misc.values()
  ]
  const hints = new Map<string, number>()
  for (const answer of answers) {
    if (answer._tag === "Refused") hints.set(answer.why, (hints.get(answer.why) ?? 0) + 1)
  }
  return [...hints].map(([hint, count]) =>
    wrapped(2, span("warning", `${counted(count, "question")} refused`), `, so not known: ${hint}`)
  )
}

/** The text. `kernel` is the name of the kernel that was asked. */
export const featureText = (report: FeatureReport, kernel: string): ReadonlyArray<Line> => {
  const { architecture, attachTypes, features, mapTypes, programTypes, release, syscall } = report
  const lines = [
    heading(
      [kernel, ...(release === "" ? [] : [`Linux ${release}`]), ...(architecture === "" ? [] : [architecture])].join(
        ", "
      )
    ),
    blank,
    ...settingsText(report),
    ...kconfigText(report),
    ...section("System calls", syscall === undefined ? [] : [{ name: "bpf(2)", support: syscall }]),
    ...section(
      "Features",
      [...features].map(([feature, support]) => ({
        name: descriptions[feature].name.toLowerCase(),
        support,
        description: descriptions[feature].description
      }))
    ),
    ...section(
      "Verifier and instruction set",
      [...report.misc].map(([each, support]) => ({
        name: misc[each].name,
        support,
        description: misc[each].description
      }))
    ),
    ...section(
      "Types of programs",
      [...programTypes].map(([type, support]) => ({ name: progTypeName(type), support }))
    ),
    ...section("Types of maps", [...mapTypes].map(([type, support]) => ({ name: mapTypeName(type), support }))),
    ...section(
      "Ways to attach",
      [...attachTypes].map(([symbol, support]) => ({ name: attachTypeName(AttachType[symbol]), support }))
    ),
    ...helpersText(report),
    ...refusalText(report)
  ]
  return lines.at(-1) === blank ? lines.slice(0, -1) : lines
}

/** What is said of a kernel that was not tried. */
export const untriedText: ReadonlyArray<Line> = [
  blank,
  line(span("dim", "Nobody has tried this kernel: what is not listed may be there."))
]
