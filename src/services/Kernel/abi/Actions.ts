/**
 * What test runs take and give: which program types run on a packet, and what their return values are called.
 *
 * Source: `include/uapi/linux/bpf.h` and `include/uapi/linux/pkt_cls.h`.
 */
import { ProgType } from "./BpfConstants.ts"

/** Program types that are run on a packet. All others take a context, or nothing. */
const packetTypes: ReadonlySet<number> = new Set([
  ProgType.BPF_PROG_TYPE_SOCKET_FILTER,
  ProgType.BPF_PROG_TYPE_SCHED_CLS,
  ProgType.BPF_PROG_TYPE_SCHED_ACT,
  ProgType.BPF_PROG_TYPE_XDP,
  ProgType.BPF_PROG_TYPE_CGROUP_SKB,
  ProgType.BPF_PROG_TYPE_LWT_IN,
  ProgType.BPF_PROG_TYPE_LWT_OUT,
  ProgType.BPF_PROG_TYPE_LWT_XMIT,
  ProgType.BPF_PROG_TYPE_LWT_SEG6LOCAL,
  ProgType.BPF_PROG_TYPE_FLOW_DISSECTOR,
  ProgType.BPF_PROG_TYPE_NETFILTER
])

/** Whether programs of this type are run on a packet. */
export const takesPackets = (type: number): boolean => packetTypes.has(type)

const xdpActions: ReadonlyArray<string> = ["XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"]

const tcActions: ReadonlyArray<string> = [
  "TC_ACT_OK",
  "TC_ACT_RECLASSIFY",
  "TC_ACT_SHOT",
  "TC_ACT_PIPE",
  "TC_ACT_STOLEN",
  "TC_ACT_QUEUED",
  "TC_ACT_REPEAT",
  "TC_ACT_REDIRECT",
  "TC_ACT_TRAP"
]

/** What a return value means to the hook of a program's type; `undefined` where it has no name. */
export const actionName = (type: number, retval: number): string | undefined => {
  switch (type) {
    case ProgType.BPF_PROG_TYPE_XDP:
      return xdpActions[retval]
    case ProgType.BPF_PROG_TYPE_SCHED_CLS:
    case ProgType.BPF_PROG_TYPE_SCHED_ACT:
      return retval === 0xffff_ffff ? "TC_ACT_UNSPEC" : tcActions[retval]
    default:
      return undefined
  }
}
