/**
 * What `BPF_OBJ_GET_INFO_BY_FD` says of links, by the type of link, and the attributes of perf events.
 *
 * Source: `include/uapi/linux/bpf.h`, `include/uapi/linux/perf_event.h`.
 */
import { pointer, s32, u32, u64 } from "./Arena.ts"

const common = { type: u32(0), id: u32(4), prog_id: u32(8) } as const

/** `raw_tracepoint` */
export const RawTracepoint = {
  size: 64,
  fields: { ...common, tp_name: pointer(16), tp_name_len: u32(24), cookie: u64(32) }
} as const

/** `tracing` */
export const Tracing = {
  size: 64,
  fields: { ...common, attach_type: u32(16), target_obj_id: u32(20), target_btf_id: u32(24), cookie: u64(32) }
} as const

/** `cgroup` */
export const Cgroup = { size: 64, fields: { ...common, cgroup_id: u64(16), attach_type: u32(24) } } as const

/** `iter` */
export const Iter = {
  size: 64,
  fields: {
    ...common,
    target_name: pointer(16),
    target_name_len: u32(24),
    map_id: u32(28),
    cgroup_id: u64(32),
    cgroup_order: u32(40),
    tid: u32(32),
    pid: u32(36)
  }
} as const

/** `netns` */
export const Netns = { size: 64, fields: { ...common, netns_ino: u32(16), attach_type: u32(20) } } as const

/** `xdp`, `tcx` and `netkit`; the first has no attach type. */
export const Device = { size: 64, fields: { ...common, ifindex: u32(16), attach_type: u32(20) } } as const

/** `struct_ops` and `sockmap`; the first has no attach type. */
export const OfMap = { size: 64, fields: { ...common, map_id: u32(16), attach_type: u32(20) } } as const

/** `netfilter` */
export const Netfilter = {
  size: 64,
  fields: { ...common, pf: u32(16), hooknum: u32(20), priority: s32(24), flags: u32(28) }
} as const

/** `kprobe_multi` */
export const KprobeMulti = {
  size: 64,
  fields: { ...common, addrs: pointer(16), count: u32(24), flags: u32(28), missed: u64(32), cookies: pointer(40) }
} as const

/** `uprobe_multi` */
export const UprobeMulti = {
  size: 64,
  fields: {
    ...common,
    path: pointer(16),
    offsets: pointer(24),
    ref_ctr_offsets: pointer(32),
    cookies: pointer(40),
    path_size: u32(48),
    count: u32(52),
    flags: u32(56),
    pid: u32(60)
  }
} as const

/** `perf_event` before its kind is known. */
export const PerfEvent = { size: 64, fields: { ...common, perf_type: u32(16) } } as const

/** `perf_event.uprobe` */
export const PerfUprobe = {
  size: 64,
  fields: {
    ...PerfEvent.fields,
    file_name: pointer(24),
    name_len: u32(32),
    offset: u32(36),
    cookie: u64(40),
    ref_ctr_offset: u64(48)
  }
} as const

/** `perf_event.kprobe` */
export const PerfKprobe = {
  size: 64,
  fields: {
    ...PerfEvent.fields,
    func_name: pointer(24),
    name_len: u32(32),
    offset: u32(36),
    addr: u64(40),
    missed: u64(48),
    cookie: u64(56)
  }
} as const

/** `perf_event.tracepoint` */
export const PerfTracepoint = {
  size: 64,
  fields: { ...PerfEvent.fields, tp_name: pointer(24), name_len: u32(32), cookie: u64(40) }
} as const

/** `perf_event.event` */
export const PerfCounter = {
  size: 64,
  fields: { ...PerfEvent.fields, config: u64(24), event_type: u32(32), cookie: u64(40) }
} as const

/** `enum bpf_perf_event_type`: what kind of perf event a link is on. */
export const PerfEventType = {
  BPF_PERF_EVENT_UPROBE: 1,
  BPF_PERF_EVENT_URETPROBE: 2,
  BPF_PERF_EVENT_KPROBE: 3,
  BPF_PERF_EVENT_KRETPROBE: 4,
  BPF_PERF_EVENT_TRACEPOINT: 5,
  BPF_PERF_EVENT_EVENT: 6
} as const

/** Fields of `struct perf_event_attr` that all events have. */
const attr = {
  type: u32(0),
  size: u32(4),
  config: u64(8),
  /** Also `sample_freq`. */
  sample_period: u64(16),
  sample_type: u64(24),
  read_format: u64(32),
  /** Bits; `freq` is the eleventh, `watermark` the fifteenth. */
  bits: u64(40),
  /** Also `wakeup_watermark`. */
  wakeup_events: u32(48)
} as const

/** `struct perf_event_attr` of a tracepoint, a clock or a counter. */
export const PerfAttr = { size: 112, fields: attr } as const

/** `struct perf_event_attr` of a probe by name: the function or file, and the place in it. */
export const PerfAttrNamed = { size: 112, fields: { ...attr, config1: pointer(56), config2: u64(64) } } as const
