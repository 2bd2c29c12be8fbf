/**
 * What programs need: by what they are, and by their instructions.
 */
import * as Insn from "../../insn/Insn.ts"
import { helperName } from "../../insn/Helpers.ts"
import { AttachType, ProgType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { BpfObject, Program } from "../../stages/open/BpfObject.ts"
import { poisonedMap } from "../../stages/relocate/Relocate.ts"
import type { RelocatedProgram } from "../../stages/relocate/RelocatedObject.ts"
import type * as SourceLines from "../../stages/relocate/SourceLines.ts"
import type * as Guards from "./Guards.ts"
import * as Helpers from "./HelperReleases.ts"
import * as Instructions from "./Instructions.ts"
import * as Kfuncs from "./KfuncReleases.ts"
import { type Availability, compare } from "./Release.ts"
import { add, type Found, type Of, type Use } from "./Requirement.ts"
import * as Types from "./TypeReleases.ts"

const guardedCode = "guarded by the program's own checks"

/** Types of programs whose expected attach type the kernel checks when it loads them. */
const checkedAtLoad: ReadonlySet<number> = new Set([
  ProgType.BPF_PROG_TYPE_CGROUP_SKB,
  ProgType.BPF_PROG_TYPE_CGROUP_SOCK,
  ProgType.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
  ProgType.BPF_PROG_TYPE_CGROUP_SOCKOPT,
  ProgType.BPF_PROG_TYPE_SK_REUSEPORT,
  ProgType.BPF_PROG_TYPE_TRACING,
  ProgType.BPF_PROG_TYPE_LSM,
  ProgType.BPF_PROG_TYPE_SK_LOOKUP,
  ProgType.BPF_PROG_TYPE_NETFILTER
])

/** Adds what a program's type, attach type and flags need. */
export const addAttributes = (of: Of, program: Program): void => {
  const { definition, expectedAttachType, flags, name, type } = program
  const use = (): Use => ({ program: name })
  if (type === ProgType.BPF_PROG_TYPE_UNSPEC) return
  add(of, { kind: "program-type", name: Types.programTypeSymbol(type), ...Types.ofProgramType(type), use })
  if (type !== ProgType.BPF_PROG_TYPE_STRUCT_OPS && hasAttachType(program)) {
    const optional = definition?.flags.optionalAttachType === true
    add(of, {
      kind: "attach-type",
      name: Types.attachTypeSymbol(expectedAttachType),
      ...Types.ofAttachType(expectedAttachType),
      when: checkedAtLoad.has(type) && !optional ? "load" : "attach",
      ...(optional
        ? { required: false, replaced: true as const, otherwise: "kernels that check no attach type do without it" }
        : {}),
      use
    })
  }
  for (const { flag, ...availability } of Types.ofProgramFlags(flags)) {
    const sleeping = flag === "BPF_F_SLEEPABLE" ? Types.ofSleepable(type, expectedAttachType) : undefined
    add(of, {
      kind: "program-flag",
      name: flag,
      ...(sleeping === undefined ? availability : { ...sleeping, description: `of ${Types.programTypeSymbol(type)}` }),
      use
    })
  }
  if (program.expectedAttachType === AttachType.BPF_TRACE_ITER && program.attachTarget !== undefined) {
    const iterator = Types.ofIterator(program.attachTarget)
    if (iterator.since !== undefined) add(of, { kind: "iterator", name: program.attachTarget, ...iterator, use })
  }
}

/** Attach type 0 is that of ingress, and of programs that have none. */
const hasAttachType = ({ definition, expectedAttachType, type }: Program): boolean =>
  expectedAttachType !== 0 ||
  (type === ProgType.BPF_PROG_TYPE_CGROUP_SKB && definition?.flags.optionalAttachType === true)

/** Something at an instruction, before it is known whether older kernels come to it. */
interface AtSlot {
  readonly slot: number
  readonly availability: Availability
  readonly found: Omit<Found, "use" | "when" | "required" | keyof Availability> & Partial<Pick<Found, "required">>
}

/** Helpers that a load replaces on older kernels, with what takes their place. */
const replaced: ReadonlyMap<number, string> = new Map([
  [112, "bpf_probe_read"],
  [113, "bpf_probe_read"],
  [114, "bpf_probe_read_str"],
  [115, "bpf_probe_read_str"]
])

const helperAt = (id: number, type: number, slot: number): AtSlot => {
  const name = helperName(id) ?? `helper ${id}`
  const older = replaced.get(id)
  return {
    slot,
    availability: Helpers.ofHelperIn(id, type),
    found: {
      kind: "helper",
      name,
      ...(Helpers.isLate(id, type) ? { description: `called by ${Types.programTypeSymbol(type)}` } : {}),
      ...(older === undefined
        ? {}
        : {
          required: false,
          replaced: true as const,
          otherwise: `a load puts ${older}() in its place`,
          feature: "ProbeReadKernel" as const
        })
    }
  }
}

const featureAt = (feature: Instructions.InstructionFeature, slot: number): AtSlot => {
  const { description, ...availability } = Instructions.features[feature]
  return {
    slot,
    availability,
    found: {
      kind: "instruction",
      name: feature,
      description,
      ...(feature === "globalData" ? { feature: "GlobalData" as const } : {})
    }
  }
}

/** Everything in a program's instructions that has a release. */
const inCode = ({ code }: RelocatedProgram, type: number): ReadonlyArray<AtSlot> => {
  const found: Array<AtSlot> = []
  Instructions.visit(code.insns, {
    helper: (id, slot) => {
      // Such numbers stand for maps that a load does not create.
      if (id < poisonedMap) found.push(helperAt(id, type, slot))
    },
    // Functions of the kernel are told of by name.
    feature: (feature, slot) => {
      if (feature !== "kernelFunctions") found.push(featureAt(feature, slot))
    }
  })
  for (const ref of code.refs) {
    if (ref._tag !== "SymbolRef" || ref.symbol.kind === "Address") continue
    const { name, weak } = ref.symbol
    const weakly = weak ? { required: false, otherwise: "it is weak: the program is told that it is not there" } : {}
    if (!Insn.isCall(code.insns, ref.at)) {
      // Whether a weak function is there: nothing is asked of the kernel.
      if (weak && ref.symbol.kind === "Func") continue
      const { description, ...availability } = Instructions.features.typedVariables
      found.push({ slot: ref.at, availability, found: { kind: "variable", name, description, ...weakly } })
      continue
    }
    const module = Kfuncs.moduleOfKfunc(name)
    found.push({
      slot: ref.at,
      availability: Kfuncs.ofKfuncIn(name, type),
      found: { kind: "kfunc", name, ...(module === undefined ? {} : { module }), ...weakly }
    })
  }
  return found
}

/** Before this release nothing is asked of checks: no kernel in use is older, and no compiler writes for it. */
const CHECKED_FROM = "4.15"

const isWorthChecking = ({ availability: { since }, found }: AtSlot): boolean =>
  found.required !== false && (since === undefined || compare(since, CHECKED_FROM) >= 0)

/** Adds what a program's instructions need, and what of it older kernels do not come to. */
export const addCode = (
  of: Of,
  object: BpfObject,
  guards: Guards.Guards,
  program: RelocatedProgram,
  lines: SourceLines.Find
): void => {
  const entry = object.programs[program.program]
  if (entry === undefined) return
  const needs = inCode(program, entry.type)
  const guarded = guards.guarded(program, needs.filter(isWorthChecking))
  for (const { availability, found, slot } of needs) {
    add(of, {
      ...found,
      ...availability,
      ...(guarded.has(slot) && found.required !== false ? { required: false, otherwise: guardedCode } : {}),
      use: () => {
        const placement = program.layout.findLast((each) => each.slot <= slot)
        if (placement === undefined || found.name === "largePrograms") return { program: entry.name }
        const functionSlot = slot - placement.slot
        const source = lines(placement.program, functionSlot, found.kind === "instruction" ? [] : [found.name])
        return {
          program: entry.name,
          function: object.programs[placement.program]?.name ?? entry.name,
          slot: functionSlot,
          ...(source === undefined ? {} : { source })
        }
      }
    })
  }
}
