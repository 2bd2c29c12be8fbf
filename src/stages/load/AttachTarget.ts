/**
 * The kernel function, tracepoint or hook that a program is for: what it is called in the kernel's BTF.
 */
import { AttachType, ProgType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { KernelSymbol } from "../../services/Kernel/KernelCall.ts"
import type { Program } from "../open/BpfObject.ts"
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
      reason: "Unsupported",
      name: program.name,
      detail: "replacing functions of a loaded program (freplace) needs that program, which a plan cannot name yet",
      hint: "turn the program's autoload off to load the rest of the object"
    })
  }
  const { kind, prefix } = spelling(program.expectedAttachType)
  const colon = program.attachTarget.indexOf(":")
  const module = colon < 0 ? undefined : program.attachTarget.slice(0, colon)
  const name = `${prefix}${program.attachTarget.slice(colon + 1)}`
  return { name, kind, weak: false, ...(module === undefined ? {} : { module }) }
}
