/**
 * What a program is for: a kernel function, tracepoint or hook, by its name in the kernel's BTF, or a function of another
 * program.
 */
import { AttachType, ProgType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { KernelCall, KernelSymbol, ProgFunction } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { BpfObject, Program } from "../open/BpfObject.ts"
import * as Given from "../open/Given.ts"
import { type LoadPlan, required } from "./LoadPlan.ts"
import { PlanError } from "./PlanError.ts"

/** How the kernel's BTF spells targets of an attach type. */
const spelling = (attachType: number): { readonly prefix: string; readonly kind: KernelSymbol["kind"] } => {
  switch (attachType) {
    case AttachType.BPF_TRACE_RAW_TP:
      return { prefix: "btf_trace_", kind: "Typedef" }
    case AttachType.BPF_LSM_MAC:
    case AttachType.BPF_LSM_CGROUP:
      return { prefix: "bpf_lsm_", kind: "Func" }
    case AttachType.BPF_TRACE_ITER:
      return { prefix: "bpf_iter_", kind: "Func" }
    default:
      return { prefix: "", kind: "Func" }
  }
}

/** Attach types of tracing programs that are for many functions, named when they are attached. */
const forMany: ReadonlySet<number> = new Set([
  AttachType.BPF_TRACE_FENTRY_MULTI,
  AttachType.BPF_TRACE_FEXIT_MULTI,
  AttachType.BPF_TRACE_FSESSION_MULTI
])

/** Whether a program is for one thing in the kernel: its definition says so, and its type where it has no definition. */
const needsTarget = (program: Program): boolean => {
  if (program.definition !== undefined) return program.definition.flags.attachBtf
  switch (program.type) {
    case ProgType.BPF_PROG_TYPE_TRACING:
      return !forMany.has(program.expectedAttachType)
    case ProgType.BPF_PROG_TYPE_LSM:
    case ProgType.BPF_PROG_TYPE_EXT:
      return true
    default:
      return false
  }
}

/** The symbol that a program must name when it is loaded; `undefined` for types that need none. Throws `PlanError`. */
export const of = (program: Program): KernelSymbol | undefined => {
  if (!needsTarget(program)) return undefined
  if (program.attachTarget === undefined || program.attachTarget === "") {
    throw new PlanError({
      reason: "AttachTarget",
      name: program.name,
      detail: `SEC("${program.section}") does not say what the program is for`,
      hint: program.definition === undefined
        ? "give the program an attach target, the name of a kernel function"
        : `write it behind a slash, as in SEC("${program.definition.pattern?.replace(/[+/]$/, "") ?? ""}/name")`
    })
  }
  if (program.type === ProgType.BPF_PROG_TYPE_EXT) {
    throw new PlanError({
      reason: "AttachTarget",
      name: program.name,
      detail:
        `it replaces the function ${program.attachTarget} of another program, and nothing says which program that is`,
      hint: "say so with Edit.attachTo, or turn the program's autoload off to load the rest of the object"
    })
  }
  const { kind, prefix } = spelling(program.expectedAttachType)
  const colon = program.attachTarget.indexOf(":")
  const module = colon < 0 ? undefined : program.attachTarget.slice(0, colon)
  const name = `${prefix}${program.attachTarget.slice(colon + 1)}`
  return { name, kind, weak: false, ...(module === undefined ? {} : { module }) }
}

/**
 * The module whose functions a program for many functions is for (`fentry.multi/module:pattern`): the kernel is told of it
 * when it loads the program, and of the functions when it attaches it. `undefined` for functions of vmlinux.
 */
export const ofModule = (program: Program): KernelSymbol | undefined => {
  if (program.type !== ProgType.BPF_PROG_TYPE_TRACING || !forMany.has(program.expectedAttachType)) return undefined
  const [module, pattern] = program.attachTarget?.split(":", 2) ?? []
  if (module === undefined || pattern === undefined || module === "" || module === "vmlinux") return undefined
  return { name: pattern, kind: "Func", weak: false, module, resolved: { owner: module, id: 0 } }
}

/** What an `Adopt` has of something that is only given when a loader runs; for a kernel it is no descriptor. */
export const NO_DESCRIPTOR = -1

/** How something of the user's is taken into a session under this name. */
export const take = (as: Ref.MapRef | Ref.ProgRef, given: Given.Given): KernelCall => {
  switch (given._tag) {
    case "Descriptor":
      return { _tag: "Adopt", as, fd: given.fd }
    case "Pin":
      return { _tag: "ObjGet", as, path: given.path }
    case "Id":
      return { _tag: "GetById", as, id: given.id }
    case "Later":
      return { _tag: "Adopt", as, fd: NO_DESCRIPTOR }
  }
}

/** A program's target, with the steps around its load that fetch and let go of the program whose function it is. */
export interface OfProgram {
  readonly attachTo: ProgFunction
  readonly before: LoadPlan
  readonly after: LoadPlan
}

/**
 * The function of another program that a program is for; `undefined` where it is for none. A program of the user's is
 * numbered behind the object's own. Throws `PlanError` where the load does not load the target.
 */
export const ofProgram = (object: BpfObject, position: number): OfProgram | undefined => {
  const program = object.programs[position]
  const { attachProgram, attachTarget: wanted } = program ?? {}
  if (program === undefined || attachProgram === undefined) return undefined
  const refuse = (detail: string, hint: string): PlanError =>
    new PlanError({ reason: "AttachTarget", name: program.name, detail, hint })
  if (wanted === undefined || wanted === "") {
    throw refuse("nothing says which function of the other program it is for", "name it with Edit.attachTo")
  }
  if (typeof attachProgram !== "string") {
    const as = Ref.prog(object.programs.length + position)
    const why = `the program that ${program.name} is for: ${Given.describe(attachProgram)}`
    const isOurs = attachProgram._tag === "Pin" || attachProgram._tag === "Id"
    return {
      attachTo: { program: as, function: wanted },
      before: [required(take(as, attachProgram), why)],
      after: isOurs ? [required({ _tag: "Close", ref: as }, `${program.name} keeps the program that it is for`)] : []
    }
  }
  const target = targetOf(object, attachProgram)
  if (object.programs[target]?.autoload !== true) {
    throw refuse(`it is for a function of ${attachProgram}, which is not loaded`, `load ${attachProgram} too`)
  }
  return { attachTo: { program: Ref.prog(target), function: wanted }, before: [], after: [] }
}

const targetOf = (object: BpfObject, name: string): number =>
  object.programs.findIndex((program) => program.entry && program.name === name)

/**
 * Programs in an order in which each comes behind the one that it is for, and else as they are given. Throws `PlanError`
 * where programs are for each other in a ring.
 */
export const inOrder = <A extends { readonly program: number }>(
  object: BpfObject,
  programs: ReadonlyArray<A>
): ReadonlyArray<A> => {
  if (programs.every(({ program }) => typeof object.programs[program]?.attachProgram !== "string")) return programs
  const byPosition = new Map(programs.map((each) => [each.program, each]))
  const ordered = new Set<A>()
  for (const first of programs) {
    // A program is for one other at most, so what must come before it is a chain.
    const chain = new Set<A>()
    let next: A | undefined = first
    while (next !== undefined && !ordered.has(next)) {
      const definition: Program | undefined = object.programs[next.program]
      if (chain.has(next)) {
        throw new PlanError({
          reason: "AttachTarget",
          name: definition?.name ?? "",
          detail: "it is for a program that is for this one, so neither can be loaded first",
          hint: "load one of them on its own"
        })
      }
      chain.add(next)
      const target: string | Given.Given | undefined = definition?.attachProgram
      next = typeof target === "string" ? byPosition.get(targetOf(object, target)) : undefined
    }
    for (const each of [...chain].reverse()) ordered.add(each)
  }
  return [...ordered]
}
