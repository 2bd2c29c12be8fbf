/**
 * What a refused call was refused for, decided from facts of the machine where the error number alone does not say it.
 *
 * Sources: `kernel/bpf/syscall.c`, `bpf_base_func_proto()` of `kernel/bpf/helpers.c`; `Permission` for rights.
 */
import * as VerifierLogCause from "../../../diagnostics/VerifierLogCause.ts"
import * as VerifierLogParse from "../../../diagnostics/VerifierLogParse.ts"
import { ProgType, progTypeName } from "../abi/BpfConstants.ts"
import type { KernelCall, ProgLoad } from "../KernelCall.ts"
import type { KernelError, VerifierError } from "../KernelError.ts"
import * as Permission from "./Permission.ts"
import * as Surroundings from "./Surroundings.ts"

/** What is asked of the machine only where a refusal needs it. */
export interface Facts {
  readonly surroundings: () => Surroundings.Surroundings
  /** Whether the kernel has programs of a type; `undefined` where it does not say. */
  readonly hasProgramType: (type: number) => boolean | undefined
  /** Whether the kernel shows its types; `undefined` where that cannot be seen. */
  readonly hasTypes: () => boolean | undefined
}

/** Programs that are for a place which the kernel's own types describe. */
const ofKernelTypes: ReadonlySet<number> = new Set([
  ProgType.BPF_PROG_TYPE_TRACING,
  ProgType.BPF_PROG_TYPE_LSM,
  ProgType.BPF_PROG_TYPE_STRUCT_OPS
])

const unknownType = (type: number): Permission.Decision => {
  const name = progTypeName(type)
  return {
    reason: "UnknownType",
    hint: `this kernel has no ${name} programs: use a newer one, or one that was built with what they belong to ` +
      "(see `feature probe`)"
  }
}

const missingTypes = (type: number): Permission.Decision => {
  const name = progTypeName(type)
  return {
    reason: "MissingKernelTypes",
    hint:
      `${name} programs are for places in the kernel that its types describe, and this kernel shows none: use one that ` +
      "was built with CONFIG_DEBUG_INFO_BTF"
  }
}

/** A program that the kernel refused before it verified it, and without a word. */
const ofAttributes = ({ attr }: ProgLoad, facts: Facts): Permission.Decision | undefined => {
  if (attr.type === ProgType.BPF_PROG_TYPE_UNSPEC) return undefined
  if (ofKernelTypes.has(attr.type) && facts.hasTypes() === false) return missingTypes(attr.type)
  return facts.hasProgramType(attr.type) === false ? unknownType(attr.type) : undefined
}

/** Helpers that programs have only where their loader may look into the kernel's memory. */
const helpersOfPerfmon: ReadonlySet<string> = new Set([
  "bpf_trace_printk",
  "bpf_trace_vprintk",
  "bpf_get_current_task",
  "bpf_get_current_task_btf",
  "bpf_probe_read_user",
  "bpf_probe_read_kernel",
  "bpf_probe_read_user_str",
  "bpf_probe_read_kernel_str",
  "bpf_snprintf",
  "bpf_snprintf_btf",
  "bpf_task_pt_regs"
])

/** Helpers of all types of programs that are for privileged loaders alone. */
const helpersOfBpf: ReadonlySet<string> = new Set([
  "bpf_spin_lock",
  "bpf_spin_unlock",
  "bpf_jiffies64",
  "bpf_per_cpu_ptr",
  "bpf_this_cpu_ptr",
  "bpf_timer_init",
  "bpf_timer_set_callback",
  "bpf_timer_start",
  "bpf_timer_cancel",
  "bpf_kptr_xchg",
  "bpf_for_each_map_elem",
  "bpf_loop",
  "bpf_user_ringbuf_drain",
  "bpf_ringbuf_reserve_dynptr",
  "bpf_ringbuf_submit_dynptr",
  "bpf_ringbuf_discard_dynptr",
  "bpf_dynptr_from_mem",
  "bpf_dynptr_read",
  "bpf_dynptr_write",
  "bpf_dynptr_data"
])

/** Complaints of the verifier that whoever has this capability does not get. */
const rightsOf = (log: string): { readonly capability: "BPF" | "PERFMON"; readonly what: string } | undefined => {
  const cause = VerifierLogCause.causeOf(VerifierLogParse.parse(log.slice(-longestLog), { keep: 0 }))
  switch (cause?.id) {
    case "HelperUnavailable": {
      const helper = cause.subject ?? ""
      // The others are not for this type of program, whoever loads it.
      return helpersOfPerfmon.has(helper)
        ? { capability: "PERFMON", what: `calling ${helper}()` }
        : helpersOfBpf.has(helper)
        ? { capability: "BPF", what: `calling ${helper}()` }
        : undefined
    }
    case "PointerLeak":
      return { capability: "PERFMON", what: "doing this with addresses of the kernel" }
    case "UnboundedLoop":
      return { capability: "BPF", what: "loading a program with loops" }
    default:
      return /are allowed for (?:root only|CAP_BPF and CAP_SYS_ADMIN)/.test(log.slice(-longestLog))
        ? { capability: "BPF", what: "loading a program that calls functions of its own or of the kernel" }
        : undefined
  }
}

/** The cause stands at the end of a log. */
const longestLog = 65_536

/** A program that the verifier refused although others of more rights may load it. */
const ofVerifier = ({ log }: VerifierError, facts: Facts): Permission.Decision | undefined => {
  const surroundings = facts.surroundings()
  if (
    Surroundings.effective(surroundings.status) === undefined || Surroundings.has(surroundings, "SYS_ADMIN") ||
    (Surroundings.has(surroundings, "BPF") && Surroundings.has(surroundings, "PERFMON"))
  ) return undefined
  const rights = rightsOf(log)
  if (rights === undefined || Surroundings.has(surroundings, rights.capability)) return undefined
  return {
    reason: "MissingCapability",
    capabilities: [`CAP_${rights.capability}`],
    hint:
      `${rights.what} needs CAP_${rights.capability}, which this process does not have: run it as root, or give it the ` +
      "capability"
  }
}

/** What a call was refused for; `undefined` where nothing but the error number and the verifier's log is known. */
export const of = (
  call: KernelCall,
  error: KernelError | VerifierError,
  facts: Facts
): Permission.Decision | undefined => {
  const log = error._tag === "VerifierError" ? error.log : ""
  if (log !== "") return error._tag === "VerifierError" ? ofVerifier(error, facts) : undefined
  switch (error.errno) {
    case "EPERM":
      return Permission.decide(call, facts.surroundings())
    case "ENOSYS":
      return Surroundings.isFiltered(facts.surroundings())
        ? { reason: "Seccomp", hint: "a seccomp filter hides bpf(2): run outside of the container's seccomp profile" }
        : {
          reason: "NoSyscall",
          hint: "this kernel was built without CONFIG_BPF_SYSCALL: those of distributions have it"
        }
    case "ENOMEM":
      return { reason: "NoMemory" }
    case "EINVAL":
    case "EOPNOTSUPP":
    case "ENOTSUPP":
      // What was found wrong before the kernel was entered is no `VerifierError`.
      return call._tag === "ProgLoad" && error._tag === "VerifierError" ? ofAttributes(call, facts) : undefined
    default:
      return undefined
  }
}
