/**
 * Which types of programs the kernel loads.
 *
 * Source: reference page `features`, section 2.
 */
import * as Result from "effect/Result"
import { AttachType, ProgFlag, ProgType } from "../../abi/BpfConstants.ts"
import * as Errno from "../../abi/Errno.ts"
import { type Support, supported, unsupported } from "../../Feature.ts"
import {
  type Answer,
  denied,
  type Host,
  judged,
  judgedBy,
  loadProgram,
  loadWithLog,
  type ProgFields,
  trivial,
  within
} from "./Host.ts"

/** A type of the kernel that is no function: programs for it are refused with a word on that, by kernels that know them. */
const someType = 1

/** What a load of each type must say beside the type. */
const extras: ReadonlyMap<number, ProgFields> = new Map<number, ProgFields>([
  [ProgType.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, { expected_attach_type: AttachType.BPF_CGROUP_INET4_CONNECT }],
  [ProgType.BPF_PROG_TYPE_CGROUP_SOCKOPT, { expected_attach_type: AttachType.BPF_CGROUP_GETSOCKOPT }],
  [ProgType.BPF_PROG_TYPE_SK_LOOKUP, { expected_attach_type: AttachType.BPF_SK_LOOKUP }],
  [ProgType.BPF_PROG_TYPE_LIRC_MODE2, { expected_attach_type: AttachType.BPF_LIRC_MODE2 }],
  [ProgType.BPF_PROG_TYPE_NETFILTER, { expected_attach_type: AttachType.BPF_NETFILTER }],
  [ProgType.BPF_PROG_TYPE_SYSCALL, { prog_flags: ProgFlag.BPF_F_SLEEPABLE }],
  [
    ProgType.BPF_PROG_TYPE_TRACING,
    { expected_attach_type: AttachType.BPF_TRACE_FENTRY, attach_btf_id: someType }
  ],
  [ProgType.BPF_PROG_TYPE_LSM, { expected_attach_type: AttachType.BPF_MODIFY_RETURN, attach_btf_id: someType }],
  [ProgType.BPF_PROG_TYPE_EXT, { attach_btf_id: someType }]
])

/** What a program of a type needs to be told at its load, for a kernel of this version. */
export const fieldsOf = ({ facts }: Host, type: number): ProgFields => {
  const fields = { ...extras.get(type), prog_type: type }
  if (type !== ProgType.BPF_PROG_TYPE_KPROBE) return fields
  const version = facts.kernelVersion()
  return Result.isSuccess(version) ? { ...fields, kern_version: version.success } : fields
}

/** What the verifier says of a target that is a type but no function; kernels that know nothing of targets say nothing. */
const wordOnTarget: ReadonlyMap<number, string> = new Map([
  [ProgType.BPF_PROG_TYPE_TRACING, "attach_btf_id 1 is not a function"],
  [ProgType.BPF_PROG_TYPE_LSM, "attach_btf_id 1 is not a function"],
  [ProgType.BPF_PROG_TYPE_EXT, "Cannot replace kernel functions"]
])

/** What a refusal means that comes with the verifier's word where the kernel has what was asked for. */
const judgedByLog = ({ log, result }: Answer, word: string): Support => {
  if (result >= 0 || (result === -Errno.numbers.EINVAL && log.includes(word))) return supported
  return denied(-result)
}

/** Whether the kernel loads programs of a type. */
export const probe = (host: Host, type: number): Support =>
  within(host.sys, (keep) => {
    const fields = fieldsOf(host, type)
    const word = wordOnTarget.get(type)
    if (word !== undefined) {
      const answer = loadWithLog(host.sys, trivial, fields)
      keep(answer.result)
      return judgedByLog(answer, word)
    }
    const result = keep(loadProgram(host.sys, trivial, fields))
    // Without the type of its operations such a program is refused, with a number that nothing else is refused with.
    return type === ProgType.BPF_PROG_TYPE_STRUCT_OPS && result < 0 ? judgedBy(result, "ENOTSUPP") : judged(result)
  })

/** Whether the kernel knows that programs of a type with a target in its types may be attached in this way. */
export const probeTarget = (host: Host, type: number, attachType: number): Support =>
  within(host.sys, (keep) => {
    const answer = loadWithLog(host.sys, trivial, {
      prog_type: type,
      expected_attach_type: attachType,
      attach_btf_id: someType
    })
    keep(answer.result)
    const support = judgedByLog(answer, "attach_btf_id 1 is not a ")
    return support._tag === "Unsupported" && answer.log !== "" ? unsupported(answer.log.split("\n", 1)[0]) : support
  })
