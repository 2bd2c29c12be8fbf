/**
 * Programs of control groups as data, with bpftool's keys in bpftool's order.
 */
import { AttachFlag, AttachType, attachTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Cgroup, CgroupProg } from "../cgroup/Verbs.ts"
import type { Json } from "./Json.ts"

const attachTypes: ReadonlySet<number> = new Set(Object.values(AttachType))

/** How a program shares the cgroup with others, in bpftool's words. */
export const attachFlagsText = (flags: number): string => {
  switch (flags) {
    case 0:
      return ""
    case AttachFlag.BPF_F_ALLOW_MULTI:
      return "multi"
    case AttachFlag.BPF_F_ALLOW_OVERRIDE:
      return "override"
    default:
      return `unknown(${flags.toString(16)})`
  }
}

/** One program of a cgroup. */
export const cgroupProgJson = (
  { attachType, flags, info, name, target }: CgroupProg
): { readonly [key: string]: Json } => ({
  id: info.id,
  attach_type: attachTypes.has(attachType) ? attachTypeName(attachType) : attachType,
  ...(flags === undefined ? {} : { attach_flags: attachFlagsText(flags) }),
  name,
  ...(target === undefined ? {} : { attach_btf_name: target }),
  attach_btf_obj_id: info.attachBtfObjectId,
  attach_btf_id: info.attachBtfId
})

/** Cgroups with their programs. */
export const cgroupsJson = (found: ReadonlyArray<Cgroup>): ReadonlyArray<Json> =>
  found.map(({ path, programs }) => ({ cgroup: path, programs: programs.map(cgroupProgJson) }))
