/**
 * What calls of helpers and kernel functions do, as far as it matters for what is known behind them: which of them write to
 * the stack, and what they answer.
 *
 * Source: the prototypes of helpers (`bpf_func_proto`) in the kernel, `kernel/bpf/helpers.c` and others; for the range of
 * results `do_refine_retval_range` of `kernel/bpf/verifier.c`.
 */
import { helperId } from "../../../insn/Helpers.ts"
import { mixed, unknown, type Value } from "./Value.ts"

/** The ids of helpers, by their names without `bpf_`. */
const ids = (...names: ReadonlyArray<string>): ReadonlySet<number> =>
  new Set(names.map((name) => helperId(`bpf_${name}`) ?? -1))

/** Helpers that write only the memory that r1 points at, of as many bytes as r2 says (or any, where r2 is not known). */
const writesFirst = ids(
  "probe_read",
  "probe_read_str",
  "probe_read_user",
  "probe_read_kernel",
  "probe_read_user_str",
  "probe_read_kernel_str",
  "get_current_comm"
)

/** Helpers that write to no memory that an argument points at. */
const writesNothing = ids(
  "map_lookup_elem",
  "map_update_elem",
  "map_delete_elem",
  "ktime_get_ns",
  "ktime_get_boot_ns",
  "trace_printk",
  "trace_vprintk",
  "get_prandom_u32",
  "get_smp_processor_id",
  "tail_call",
  "get_current_pid_tgid",
  "get_current_uid_gid",
  "get_current_cgroup_id",
  "get_current_task",
  "get_current_task_btf",
  "get_stackid",
  "perf_event_output",
  "ringbuf_output",
  "ringbuf_reserve",
  "ringbuf_submit",
  "ringbuf_discard"
)

/** Helpers that run a callback, which may be handed a place in the stack. */
const runsCallback = ids("for_each_map_elem", "timer_set_callback", "find_vma", "loop", "user_ringbuf_drain")

/** Helpers whose answer may be an address that verifiers know not to be NULL: a lookup in an array that has the key, too. */
const neverNull = ids("map_lookup_elem", "get_local_storage", "this_cpu_ptr", "get_current_task_btf")

/** Helpers that answer with a length or an error: 32 bits with a sign. */
const lengths = ids("probe_read_str", "probe_read_user_str", "probe_read_kernel_str", "get_stack", "get_task_stack")

/** Helpers that answer with a number of a range that verifiers know. */
const bounded = ids("get_smp_processor_id")

/** The loop, which may have no turn. */
export const BPF_LOOP: number = helperId("bpf_loop") ?? -1

/** What a call may write to. */
export type Writes =
  | { readonly _tag: "Nothing" }
  /** Memory from where an argument points on, upwards. */
  | { readonly _tag: "Upwards" }
  /** The memory that r1 points at, r2 bytes of it. */
  | { readonly _tag: "First" }
  /** All of the stack, where an argument points into it. */
  | { readonly _tag: "All" }

/** What a helper may write to. */
export const writesOf = (helper: number): Writes => {
  if (writesNothing.has(helper)) return { _tag: "Nothing" }
  if (writesFirst.has(helper)) return { _tag: "First" }
  return { _tag: runsCallback.has(helper) ? "All" : "Upwards" }
}

/** What a helper, called at a slot, answers. */
export const answerOf = (helper: number, slot: number): Value => {
  if (bounded.has(helper)) return mixed
  if (lengths.has(helper)) return unknown(slot, 4, { signed: true })
  return unknown(slot, 8, { nullable: !neverNull.has(helper) })
}

/** What a kernel function of this name, called at a slot, answers. */
export const kfuncAnswerOf = (name: string | undefined, slot: number): Value =>
  unknown(slot, 8, { nullable: name !== undefined && /^bpf_iter_\w+_next$/.test(name) })

/** Whether nothing comes back from a kernel function: it throws. */
export const throws = (name: string | undefined): boolean => name === "bpf_throw"
