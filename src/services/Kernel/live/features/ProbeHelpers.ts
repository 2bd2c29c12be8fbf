/**
 * Which helpers programs of a type may call: one load for each, thousands in all.
 *
 * A load is laid out once for each type; for each helper its number is put into a copy. What the kernel does not mind is
 * answered by what it then minds, for no helper is given the arguments that it takes.
 *
 * Source: reference page `features`, section 4.
 */
import * as Result from "effect/Result"
import * as Encode from "../../../../insn/Encode.ts"
import { helperCount, helperId } from "../../../../insn/Helpers.ts"
import { setImm } from "../../../../insn/Insn.ts"
import * as Arena from "../../abi/Arena.ts"
import * as Attr from "../../abi/Attr.ts"
import { Command, ProgType } from "../../abi/BpfConstants.ts"
import * as Errno from "../../abi/Errno.ts"
import { type Support, supported, unsupported } from "../../Feature.ts"
import type { HelperAnswers } from "../../FeatureReport.ts"
import { again, denied, type Host, isDisturbed, isInconclusive, logOf, progValues } from "./Host.ts"
import { fieldsOf } from "./ProbePrograms.ts"

/** What the verifier says of a helper that a program may not call: the words of kernels before 4.11, before 6.13, since. */
const verdict = /^.*(?:invalid func |unknown func |program of this type cannot use helper ).*$/m

/** Types of programs that are verified only with a target, which decides what they may call. */
const withTarget: ReadonlySet<number> = new Set([
  ProgType.BPF_PROG_TYPE_TRACING,
  ProgType.BPF_PROG_TYPE_EXT,
  ProgType.BPF_PROG_TYPE_LSM,
  ProgType.BPF_PROG_TYPE_STRUCT_OPS
])

/** Helpers of which the kernel warns in its own log when a program is loaded that calls them. */
const noisy: ReadonlySet<number> = new Set(
  ["bpf_trace_printk", "bpf_trace_vprintk", "bpf_probe_write_user"].flatMap((name) => helperId(name) ?? [])
)

const logSize = 4096

/** Puts the question for one helper after another; a number that the kernel does not know answers that. */
const asking = (host: Host, type: number): (id: number) => Support => {
  const insns = Encode.program(Encode.callHelper(0), Encode.exit())
  const fields = { ...fieldsOf(host, type), log_level: 1, log_size: logSize }
  const made = Arena.make(Attr.ProgLoad, progValues(insns, fields))
  if (Result.isFailure(made)) return () => denied(Errno.numbers.EINVAL)
  const template = made.success
  const code = Arena.region(template, "insns")
  const { sys } = host
  return (id) => {
    setImm(code, 0, id)
    let log = ""
    const result = again(() => {
      // A copy, since pointers become addresses in it when it is handed over.
      const arena = { ...template, buffer: template.buffer.slice(0) }
      const loaded = sys.bpfDescriptor(Command.BPF_PROG_LOAD, arena)
      if (loaded >= 0) sys.close(loaded)
      else log = logOf(arena)
      return loaded
    })
    // A signal stops the verifier at any place: what it has written by then is no verdict.
    if (result >= 0) return supported
    if (isDisturbed(result)) return denied(-result)
    const no = verdict.exec(log)
    if (no !== null) return unsupported(no[0])
    // Whatever else the verifier minds, it has passed the helper.
    return log === "" && isInconclusive(-result) ? denied(-result) : supported
  }
}

/**
 * Which helpers programs of a type may call; `typeSupport` is what the kernel says of the type itself. The helpers that make
 * the kernel warn are left out unless `full`.
 */
export const probe = (host: Host, type: number, typeSupport: Support, full: boolean): HelperAnswers => {
  if (typeSupport._tag !== "Supported") return { _tag: "NoPrograms", because: typeSupport }
  if (withTarget.has(type)) {
    return { _tag: "Undetermined", why: "what such programs are attached to decides which helpers they may call" }
  }
  const ask = asking(host, type)
  const answers = new Map<number, Support>()
  for (let id = 1; id < helperCount; id++) {
    if (full || !noisy.has(id)) answers.set(id, ask(id))
  }
  return { _tag: "Probed", answers }
}
