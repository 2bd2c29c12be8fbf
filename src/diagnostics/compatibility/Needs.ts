/**
 * What an object needs of BPF itself, held against a kernel: helpers, types of programs and maps, flags, instructions.
 *
 * What a profile has tried is believed first, then the kernel's types, which have the numbers of helpers and types; then the
 * release. Where a profile has none, types tell about it: what the kernel has and lacks came with releases.
 */
import * as Btf from "../../btf/Btf.ts"
import { hasIt } from "../../services/Kernel/Feature.ts"
import { helperReleases } from "../requirements/HelperReleases.ts"
import { compare, isIn, newer, numbersOf } from "../requirements/Release.ts"
import { type Kind, labelOf, oldestOf, type Requirement } from "../requirements/Requirement.ts"
import * as Types from "../requirements/TypeReleases.ts"
import { type Finding, make } from "./Finding.ts"
import type { Target } from "./Target.ts"

/** What a kernel's types say of BPF. */
export interface Numbers {
  /** The enumerators of each of the kernel's enums of BPF that its types have. */
  readonly names: ReadonlyMap<string, ReadonlySet<string>>
  /** The oldest release that has all of them that are known, and the oldest that has one that is not among them. */
  readonly from: string | undefined
  readonly before: string | undefined
}

const enums: Readonly<Partial<Record<Kind, string>>> = {
  "helper": "bpf_func_id",
  "program-type": "bpf_prog_type",
  "map-type": "bpf_map_type",
  "attach-type": "bpf_attach_type",
  "link": "bpf_link_type"
}

const numbersIn = (btf: Btf.Btf, name: string): ReadonlySet<string> | undefined => {
  const id = Btf.findOne(btf, name, Btf.BTF_KIND_ENUM)
  const type = id === undefined ? undefined : Btf.typeOf(btf, id)
  return type?._tag === "Enum" && type.values.length > 0 ? new Set(type.values.map((value) => value.name)) : undefined
}

const enumeratorOf = (helper: string): string => helper.replace(/^bpf_/, "BPF_FUNC_")

/** What is known to have come when, by the kernel's names. */
const known: ReadonlyMap<string, string> = new Map([
  ...[...helperReleases].map(([helper, release]) => [enumeratorOf(helper), release] as const),
  ...Types.releases
])

/** Reads what a kernel's types say of BPF. Types that were cut down say nothing of what they lack. */
export const numbersOfTypes = (btf: Btf.Btf): Numbers => {
  const names = new Map<string, ReadonlySet<string>>()
  let from: string | undefined
  for (const name of new Set(Object.values(enums))) {
    const found = numbersIn(btf, name)
    if (found === undefined) continue
    names.set(name, found)
    for (const each of found) {
      const release = known.get(each)
      if (release !== undefined) from = newer(from, release)
    }
  }
  let before: string | undefined
  const lacks = (name: string): boolean => {
    const all = names.get(name)
    return all !== undefined && all.size > 0
  }
  if (lacks("bpf_func_id") && lacks("bpf_attach_type")) {
    const all = new Set([...names.values()].flatMap((each) => [...each]))
    for (const [each, release] of known) {
      const isOfEnum = each.startsWith("BPF_FUNC_") || Types.isAttachType(each)
      if (isOfEnum && !all.has(each) && (before === undefined || compare(release, before) < 0)) before = release
    }
  }
  // A distribution's kernel may have what is newer and lack what is older: then neither says anything.
  return before !== undefined && from !== undefined && compare(from, before) >= 0
    ? { names, from: undefined, before: undefined }
    : { names, from, before }
}

/** What becomes of a requirement on a kernel, and what says so. */
type Presence = { readonly has: boolean | undefined; readonly because: string }

const notKnown: Presence = { has: undefined, because: "" }

const byTypes = ({ kind, name }: Requirement, { names }: Numbers): boolean | undefined => {
  const all = names.get(enums[kind] ?? "")
  // Some links are made by a command of their own.
  if (all === undefined || (kind === "link" && !name.startsWith("BPF_LINK_TYPE_"))) return undefined
  return all.has(kind === "helper" ? enumeratorOf(name) : name)
}

const byRelease = (requirement: Requirement, release: string, { before, from }: Numbers): Presence => {
  if (numbersOf(release) !== undefined) {
    return { has: isIn(requirement, release), because: `the kernel is ${release}` }
  }
  if (from !== undefined && isIn(requirement, from) === true) return { has: true, because: "" }
  const { since } = requirement
  if (before !== undefined && since !== undefined && compare(since, before) >= 0) {
    return { has: false, because: `by its types the kernel is older than ${before}` }
  }
  return notKnown
}

const presence = (target: Target, requirement: Requirement, numbers: Numbers): Presence => {
  const { feature } = requirement
  if (feature !== undefined) {
    const fact = target.ask([{ _tag: "Feature", feature }]).features.get(feature)
    const has = fact?._tag === "Known" ? hasIt(fact.value) : undefined
    if (has !== undefined) return { has, because: "the kernel does not have it" }
  }
  const types = byTypes(requirement, numbers)
  if (types === false) return { has: false, because: "the kernel's types do not have it" }
  const { release } = target.info()
  const told = byRelease(requirement, release, numbers)
  // Some came to types of programs later than to the kernel: that its types do not tell.
  return types === true && (told.has === undefined || requirement.description === undefined)
    ? { has: true, because: "" }
    : told
}

/** Functions and variables of the kernel, structs and targets are looked for by their names, and CO-RE by itself. */
const elsewhere: ReadonlySet<Kind> = new Set([
  "kfunc",
  "variable",
  "struct-ops",
  "iterator",
  "core",
  "types",
  "command"
])

/** What a kernel lacks of what an object needs, and what of it nothing is known. */
export interface Examined {
  readonly findings: ReadonlyArray<Finding>
  /** Things whose release is newer than what is known of the kernel, as a person would name them. */
  readonly unchecked: ReadonlyArray<string>
}

const detailOf = ({ after, otherwise, required, since, uses, when }: Requirement, { because }: Presence): string => {
  const came = since === undefined ? `later than Linux ${after ?? "is known"}` : `with Linux ${since}`
  const [use] = uses
  const map = use?.map === undefined ? "" : `map ${use.map} needs it; `
  const how = required
    ? when === "attach" ? "; the object can be loaded, and what needs it not attached" : ""
    : otherwise === undefined
    ? ""
    : `; ${otherwise}`
  return `${map}it came ${came}, and ${because}${how}`
}

/** What to do about it. */
const hintOf = ({ kind }: Requirement): string => {
  switch (kind) {
    case "map-type":
    case "map-flag":
    case "map-attribute":
    case "map-field":
      return "turn the map's autocreate off where the kernel does not have it"
    case "program-type":
    case "program-flag":
    case "attach-type":
      return "make the program optional with SEC(\"?...\"), and load it where the kernel has it"
    case "helper":
      return "call it only where bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_...) says that it is there"
    default:
      return "compile it for an older kernel, or load it on a newer one"
  }
}

/** What is not known to be there, in one phrase: who has that release has it all. */
const uncheckedOf = (unknown: ReadonlyArray<Requirement>): ReadonlyArray<string> => {
  const { open, release } = oldestOf(unknown)
  return [
    ...(release === undefined ? [] : [`whether the kernel has what Linux ${release} has`]),
    ...open.map((requirement) => `whether the kernel has ${labelOf(requirement)}`)
  ]
}

/** Whether a kernel has what an object needs of BPF itself. */
export const examine = (target: Target, requirements: ReadonlyArray<Requirement>): Examined => {
  const numbers = target.numbers()
  const findings: Array<Finding> = []
  const unknown: Array<Requirement> = []
  for (const requirement of requirements) {
    const { kind, leftOut, replaced, required, uses, when } = requirement
    if (replaced === true || elsewhere.has(kind)) continue
    const found = presence(target, requirement, numbers)
    if (found.has === true) continue
    if (found.has === undefined) {
      if (required && when === "load") unknown.push(requirement)
      continue
    }
    const [use] = uses
    findings.push(make({
      rule: "kernel-feature",
      verdict: required && when === "load" ? "fatal" : "guarded",
      subject: labelOf(requirement),
      detail: detailOf(requirement, found),
      hint: required && when === "load" ? hintOf(requirement) : undefined,
      programs: [...new Set(uses.flatMap((each) => each.program ?? []))],
      function: use?.function,
      slot: use?.slot,
      source: use?.source,
      optional: leftOut === true
    }))
  }
  return { findings, unchecked: uncheckedOf(unknown) }
}
