/**
 * Something that an object needs of the kernel, and the gathering of such things.
 */
import type { Feature } from "../../services/Kernel/Feature.ts"
import type { SourceLine } from "../../stages/relocate/SourceLines.ts"
import { type Availability, isIn, newer } from "./Release.ts"

/** What a requirement is about, with what that means for people. */
export const kinds = {
  "program-type": "programs of a type",
  "attach-type": "a way to attach programs",
  "program-flag": "a flag of programs",
  "helper": "a helper that programs call",
  "kfunc": "a function of the kernel that programs call",
  "variable": "a variable of the kernel",
  "instruction": "a part of the instruction set, or of what the verifier takes",
  "map-type": "maps of a type",
  "map-flag": "a flag of maps",
  "map-attribute": "an attribute of maps",
  "map-field": "a member of map values that the kernel knows",
  "types": "kinds of BTF in the object's types",
  "core": "what CO-RE relocations are applied with",
  "iterator": "what an iterator goes over",
  "struct-ops": "a struct of the kernel that programs implement",
  "command": "a command of bpf(2)",
  "link": "a kind of links"
} as const satisfies Readonly<Record<string, string>>

/** The name of a kind. */
export type Kind = keyof typeof kinds

/** Something of the object that needs it. */
export interface Use {
  /** The entry program. */
  readonly program?: string
  readonly map?: string
  /** The function that has the instruction, and its slot there. */
  readonly function?: string
  readonly slot?: number
  readonly source?: SourceLine
}

/** Something that an object needs of the kernel. */
export interface Requirement extends Availability {
  readonly kind: Kind
  /** As the kernel spells it: `bpf_ringbuf_output`, `BPF_MAP_TYPE_RINGBUF`. */
  readonly name: string
  /** More words for people, where the name alone does not tell. */
  readonly description?: string
  /** The module that has it, where it is none of the kernel itself. */
  readonly module?: string
  /** The feature that trying a kernel for it shows. */
  readonly feature?: Feature
  /** When it is needed: to load the object, or to attach what it says is attached by itself. */
  readonly when: "load" | "attach"
  /** Whether a kernel without it does not do. */
  readonly required: boolean
  /** What makes a kernel without it do, as a clause. */
  readonly otherwise?: string
  /** Whether a load, or attaching, does something else in its place: the object knows nothing of it. */
  readonly replaced?: boolean
  /** Whether only what a load leaves out unless told otherwise needs it. */
  readonly leftOut?: true
  /** The first of what needs it; those for which it is required before others. */
  readonly uses: ReadonlyArray<Use>
  /** How many there are of them. */
  readonly count: number
}

/** What a person calls it: parts of the instruction set have no name in the kernel. */
export const labelOf = ({ description, kind, name }: Pick<Requirement, "description" | "kind" | "name">): string =>
  kind === "instruction" ? description ?? name : name

/** The most uses that are kept. */
export const maximumUses = 4

/** A requirement as it is found, with one use. */
export type Found = Omit<Requirement, "uses" | "count"> & {
  /** Made only if it is kept: a line of C takes time to find. */
  readonly use: () => Use
}

interface Growing {
  requirement: Omit<Requirement, "uses" | "count">
  uses: Array<Use>
  count: number
}

/** Requirements under construction: each once, however often it is found. */
export class Gathering {
  readonly #known = new Map<string, Growing>()

  add({ use, ...requirement }: Found): void {
    const { after, by, description, kind, name, since, when } = requirement
    const key = `${when} ${kind} ${name} ${description ?? ""} ${since ?? ""} ${after ?? ""} ${by ?? ""}`
    const known = this.#known.get(key)
    if (known === undefined) {
      this.#known.set(key, { requirement, uses: [use()], count: 1 })
      return
    }
    // Once required, always: what is said of uses that do without it is no longer of interest.
    if (requirement.required && !known.requirement.required) {
      known.requirement = requirement
      known.uses = [use()]
      known.count = 1
      return
    }
    if (known.requirement.required && !requirement.required) return
    known.count++
    if (known.uses.length < maximumUses) known.uses.push(use())
  }

  all(): ReadonlyArray<Requirement> {
    return [...this.#known.values()].map(({ count, requirement, uses }) => ({ ...requirement, uses, count }))
  }
}

/** What is common to the requirements of one program or map. */
export interface Of {
  readonly into: Gathering
  /** Whether a load takes it, or why it does without. */
  readonly required: boolean
  readonly otherwise: string | undefined
}

/** Adds what one program or map needs. */
export const add = (
  { into, otherwise, required }: Of,
  found: Pick<Found, "kind" | "name" | "use"> & Partial<Found> & Availability
): void => {
  const without = otherwise ?? found.otherwise
  into.add({
    when: "load",
    ...found,
    required: required && found.required !== false,
    ...(required ? {} : { leftOut: true as const }),
    ...(without === undefined ? {} : { otherwise: without })
  })
}

/** The oldest release that does, and what says so. */
export interface Oldest {
  /** `undefined` where nothing is needed whose release is known. */
  readonly release: string | undefined
  /** Those of what is required that came with that release. */
  readonly because: ReadonlyArray<Requirement>
  /** What is required and came with a release that is not known: the oldest may be newer than is said. */
  readonly open: ReadonlyArray<Requirement>
}

/** The oldest release that has all that is required of these. */
export const oldestOf = (requirements: ReadonlyArray<Requirement>): Oldest => {
  const required = requirements.filter((each) => each.required)
  let release: string | undefined
  for (const { since } of required) if (since !== undefined) release = newer(release, since)
  return {
    release,
    because: required.filter(({ since }) => since !== undefined && since === release),
    open: required.filter(({ since }) => since === undefined)
  }
}

/** What is required of these and a release does not have. */
export const lackingIn = (requirements: ReadonlyArray<Requirement>, release: string): ReadonlyArray<Requirement> =>
  requirements.filter((each) => each.required && isIn(each, release) === false)

/** Whether a release has all that is required of these; `undefined` where that is not known. */
export const isEnough = (requirements: ReadonlyArray<Requirement>, release: string): boolean | undefined => {
  let known = true
  for (const requirement of requirements) {
    if (!requirement.required) continue
    const has = isIn(requirement, release)
    if (has === false) return false
    if (has === undefined) known = false
  }
  return known ? true : undefined
}
