/**
 * Links of a kernel as data, with bpftool's keys in bpftool's order. What does not apply is left out, as there.
 */
import {
  AttachType,
  attachTypeName,
  LinkType,
  linkTypeName,
  progTypeName
} from "../../services/Kernel/abi/BpfConstants.ts"
import type { LinkDetail } from "../../services/Kernel/calls/LinkCalls.ts"
import type { OpenLink } from "../link/Links.ts"
import type { Holder } from "../objects/Holders.ts"
import type * as Documents from "../schemas/Link.ts"
import { exact } from "./Exact.ts"
import { pidsJson } from "./HoldersDocument.ts"
import type { Json, Keys } from "./Json.ts"

type LinkDocument = Keys<typeof Documents.Link.Type>
type Fields = Partial<LinkDocument>

const linkTypes: ReadonlySet<number> = new Set(Object.values(LinkType))
const attachTypes: ReadonlySet<number> = new Set(Object.values(AttachType))

const attachType = (type: number): Fields => ({ attach_type: attachTypes.has(type) ? attachTypeName(type) : type })

/** `PERF_TYPE_*` by bpftool's names. */
const perfTypes = ["hardware", "software", "tracepoint", "hw-cache", "raw", "breakpoint"]

const softwareCounters = [
  "cpu-clock",
  "task-clock",
  "page-faults",
  "context-switches",
  "cpu-migrations",
  "minor-faults",
  "major-faults",
  "alignment-faults",
  "emulation-faults",
  "dummy",
  "bpf-output",
  "cgroup-switches"
]

const hardwareCounters = [
  "cpu-cycles",
  "instructions",
  "cache-references",
  "cache-misses",
  "branch-instructions",
  "branch-misses",
  "bus-cycles",
  "stalled-cycles-frontend",
  "stalled-cycles-backend",
  "ref-cycles"
]

const counterName = (type: number, config: bigint): Json => {
  const names = type === 0 ? hardwareCounters : type === 1 ? softwareCounters : []
  return names[Number(config)] ?? exact(config)
}

const isReturn = (flags: number): boolean => (flags & 1) !== 0

const device = (ifindex: number, names: ReadonlyMap<number, string>): Fields => ({
  devname: ifindex === 0 ? "(detached)" : names.get(ifindex) ?? `(unknown)`,
  ifindex
})

/** What a link has by its type. */
const detailJson = ({ detail, devices, functions, info, progType }: OpenLink): Fields => {
  const fields: Fields = ofDetail(detail, devices, functions)
  return detail._tag === "Tracing"
    ? { ...(progType === undefined ? {} : { prog_type: progTypeName(progType) }), ...fields }
    : info.type === LinkType.BPF_LINK_TYPE_XDP
    ? { ...fields }
    : fields
}

const ofDetail = (
  detail: LinkDetail,
  devices: OpenLink["devices"],
  functions: OpenLink["functions"]
): Fields => {
  switch (detail._tag) {
    case "RawTracepoint":
      return { tp_name: detail.name }
    case "Tracing":
      return {
        ...attachType(detail.attachType),
        target_obj_id: detail.targetObjectId,
        target_btf_id: detail.targetBtfId
      }
    case "Cgroup":
      return { cgroup_id: exact(detail.cgroupId), ...attachType(detail.attachType) }
    case "Iter":
      return {
        target_name: detail.target,
        ...(detail.mapId === undefined ? {} : { map_id: detail.mapId }),
        ...(detail.task === undefined || detail.task.tid === 0 ? {} : { tid: detail.task.tid }),
        ...(detail.task === undefined || detail.task.pid === 0 ? {} : { pid: detail.task.pid }),
        ...(detail.cgroup === undefined
          ? {}
          : { cgroup_id: exact(detail.cgroup.id), order: cgroupOrders[detail.cgroup.order] ?? detail.cgroup.order })
      }
    case "Netns":
      return { netns_ino: detail.inode, ...attachType(detail.attachType) }
    case "Xdp":
      return device(detail.ifindex, devices)
    case "Tcx":
    case "Netkit":
      return { ...device(detail.ifindex, devices), ...attachType(detail.attachType) }
    case "StructOps":
      return { map_id: detail.mapId }
    case "Sockmap":
      return { map_id: detail.mapId, ...attachType(detail.attachType) }
    case "Netfilter":
      return { pf: detail.protocolFamily, hook: detail.hook, prio: detail.priority, flags: detail.flags }
    case "KprobeMulti":
      return {
        retprobe: isReturn(detail.flags),
        func_cnt: detail.probes.length,
        missed: exact(detail.missed),
        funcs: detail.probes.map(({ address, cookie }) => ({
          addr: exact(address),
          func: functions.get(address) ?? null,
          module: null,
          cookie: exact(cookie)
        }))
      }
    case "UprobeMulti":
      return {
        retprobe: isReturn(detail.flags),
        path: detail.path,
        func_cnt: detail.probes.length,
        pid: detail.pid,
        funcs: detail.probes.map(({ cookie, counterOffset, offset }) => ({
          offset: exact(offset),
          ref_ctr_offset: exact(counterOffset),
          cookie: exact(cookie)
        }))
      }
    case "PerfUprobe":
      return {
        retprobe: detail.isReturn,
        file: detail.path,
        offset: detail.offset,
        cookie: exact(detail.cookie),
        ...(detail.counterOffset === 0n ? {} : { ref_ctr_offset: exact(detail.counterOffset) })
      }
    case "PerfKprobe":
      return {
        retprobe: detail.isReturn,
        addr: exact(detail.address),
        func: detail.name,
        offset: detail.offset,
        missed: exact(detail.missed),
        cookie: exact(detail.cookie)
      }
    case "PerfTracepoint":
      return { tracepoint: detail.name, cookie: exact(detail.cookie) }
    case "PerfEvent":
      return {
        event_type: perfTypes[detail.type] ?? detail.type,
        event_config: counterName(detail.type, detail.config),
        cookie: exact(detail.cookie)
      }
    case "Other":
      return {}
  }
}

/** `enum bpf_cgroup_iter_order`. */
const cgroupOrders: Readonly<Record<number, string>> = {
  1: "self_only",
  2: "descendants_pre",
  3: "descendants_post",
  4: "ancestors_up"
}

/** One link. */
export const linkJson = (
  link: OpenLink,
  pins: ReadonlyArray<string> = [],
  holders: ReadonlyArray<Holder> = []
): LinkDocument => ({
  id: link.info.id,
  type: linkTypes.has(link.info.type) ? linkTypeName(link.info.type) : link.info.type,
  prog_id: link.info.progId,
  ...detailJson(link),
  ...(pins.length === 0 ? {} : { pinned: [...pins] }),
  ...pidsJson(holders)
})
