/**
 * What the kernel says of links, by their types.
 *
 * It is asked twice: for the type, and then with room for the names and lists that links of the type have.
 */
import * as Effect from "effect/Effect"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command, LinkType } from "../abi/BpfConstants.ts"
import * as Layouts from "../abi/LinkLayouts.ts"
import type { LinkDetail, LinkInfo } from "../calls/LinkCalls.ts"
import type { CallError } from "../KernelError.ts"
import type { Sys } from "../sys/Sys.ts"
import { type Attempts, enter } from "./Enter.ts"

/** Room for the name of a function, a tracepoint or a kind of iterator, bytes. */
const nameRoom = 512

/** Room for a path, bytes: `PATH_MAX`. */
const pathRoom = 4096

/** Probes of one link that room is made for: the kernel takes no more in a link. */
const maximumProbes = 1 << 20

/** A second question: with which layout and room, and what its answer says. */
interface Further {
  readonly layout: Arena.Layout
  readonly values: Readonly<Record<string, Arena.FieldValue>>
  readonly decode: (info: Uint8Array, region: (name: string) => Uint8Array) => LinkDetail
}

const number = Arena.readNumber
const big = Arena.readBigInt
const text = Arena.cString

/** The 64-bit numbers of an array. */
const list = (bytes: Uint8Array, count: number): ReadonlyArray<bigint> =>
  Array.from({ length: count }, (_, i) => big(bytes, Arena.u64(i * 8)))

const simple = (layout: Arena.Layout, decode: (info: Uint8Array) => LinkDetail): Further => ({
  layout,
  values: {},
  decode
})

const ofPerfEvent = (first: Uint8Array): Further | undefined => {
  const kind = number(first, Layouts.PerfEvent.fields.perf_type)
  const { PerfEventType } = Layouts
  switch (kind) {
    case PerfEventType.BPF_PERF_EVENT_UPROBE:
    case PerfEventType.BPF_PERF_EVENT_URETPROBE: {
      const { fields } = Layouts.PerfUprobe
      return {
        layout: Layouts.PerfUprobe,
        values: { file_name: Arena.room(pathRoom), name_len: pathRoom },
        decode: (info, region) => ({
          _tag: "PerfUprobe",
          isReturn: kind === PerfEventType.BPF_PERF_EVENT_URETPROBE,
          path: text(region("file_name")),
          offset: number(info, fields.offset),
          cookie: big(info, fields.cookie),
          counterOffset: big(info, fields.ref_ctr_offset)
        })
      }
    }
    case PerfEventType.BPF_PERF_EVENT_KPROBE:
    case PerfEventType.BPF_PERF_EVENT_KRETPROBE: {
      const { fields } = Layouts.PerfKprobe
      return {
        layout: Layouts.PerfKprobe,
        values: { func_name: Arena.room(nameRoom), name_len: nameRoom },
        decode: (info, region) => ({
          _tag: "PerfKprobe",
          isReturn: kind === PerfEventType.BPF_PERF_EVENT_KRETPROBE,
          name: text(region("func_name")),
          offset: number(info, fields.offset),
          address: big(info, fields.addr),
          missed: big(info, fields.missed),
          cookie: big(info, fields.cookie)
        })
      }
    }
    case PerfEventType.BPF_PERF_EVENT_TRACEPOINT: {
      const { fields } = Layouts.PerfTracepoint
      return {
        layout: Layouts.PerfTracepoint,
        values: { tp_name: Arena.room(nameRoom), name_len: nameRoom },
        decode: (info, region) => ({
          _tag: "PerfTracepoint",
          name: text(region("tp_name")),
          cookie: big(info, fields.cookie)
        })
      }
    }
    case PerfEventType.BPF_PERF_EVENT_EVENT: {
      const { fields } = Layouts.PerfCounter
      return simple(Layouts.PerfCounter, (info) => ({
        _tag: "PerfEvent",
        type: number(info, fields.event_type),
        config: big(info, fields.config),
        cookie: big(info, fields.cookie)
      }))
    }
    default:
      return undefined
  }
}

const ofIter = (): Further => {
  const { fields } = Layouts.Iter
  return {
    layout: Layouts.Iter,
    values: { target_name: Arena.room(nameRoom), target_name_len: nameRoom },
    decode: (info, region) => {
      const target = text(region("target_name"))
      const mapId = number(info, fields.map_id)
      return {
        _tag: "Iter",
        target,
        ...(mapId === 0 ? {} : { mapId }),
        ...(target === "cgroup"
          ? { cgroup: { id: big(info, fields.cgroup_id), order: number(info, fields.cgroup_order) } }
          : {}),
        ...(target.startsWith("task")
          ? { task: { tid: number(info, fields.tid), pid: number(info, fields.pid) } }
          : {})
      }
    }
  }
}

const ofKprobeMulti = (first: Uint8Array): Further => {
  const { fields } = Layouts.KprobeMulti
  const count = Math.min(number(first, fields.count), maximumProbes)
  const room = Arena.room(count * 8)
  return {
    layout: Layouts.KprobeMulti,
    values: { count, addrs: room, cookies: room },
    decode: (info, region) => {
      const addresses = list(region("addrs"), count)
      const cookies = list(region("cookies"), count)
      return {
        _tag: "KprobeMulti",
        probes: addresses.map((address, i) => ({ address, cookie: cookies[i] ?? 0n })),
        flags: number(info, fields.flags),
        missed: big(info, fields.missed)
      }
    }
  }
}

const ofUprobeMulti = (first: Uint8Array): Further => {
  const { fields } = Layouts.UprobeMulti
  const count = Math.min(number(first, fields.count), maximumProbes)
  const room = Arena.room(count * 8)
  return {
    layout: Layouts.UprobeMulti,
    values: {
      count,
      offsets: room,
      ref_ctr_offsets: room,
      cookies: room,
      path: Arena.room(pathRoom),
      path_size: pathRoom
    },
    decode: (info, region) => {
      const counters = list(region("ref_ctr_offsets"), count)
      const cookies = list(region("cookies"), count)
      return {
        _tag: "UprobeMulti",
        path: text(region("path")),
        probes: list(region("offsets"), count).map((offset, i) => ({
          offset,
          counterOffset: counters[i] ?? 0n,
          cookie: cookies[i] ?? 0n
        })),
        flags: number(info, fields.flags),
        pid: number(info, fields.pid)
      }
    }
  }
}

/** What there is to ask further of a link whose common part is known. */
const further = (type: number, first: Uint8Array): Further | undefined => {
  switch (type) {
    case LinkType.BPF_LINK_TYPE_RAW_TRACEPOINT:
      return {
        layout: Layouts.RawTracepoint,
        values: { tp_name: Arena.room(nameRoom), tp_name_len: nameRoom },
        decode: (info, region) => ({
          _tag: "RawTracepoint",
          name: text(region("tp_name")),
          cookie: big(info, Layouts.RawTracepoint.fields.cookie)
        })
      }
    case LinkType.BPF_LINK_TYPE_TRACING:
      return simple(Layouts.Tracing, (info) => ({
        _tag: "Tracing",
        attachType: number(info, Layouts.Tracing.fields.attach_type),
        targetObjectId: number(info, Layouts.Tracing.fields.target_obj_id),
        targetBtfId: number(info, Layouts.Tracing.fields.target_btf_id),
        cookie: big(info, Layouts.Tracing.fields.cookie)
      }))
    case LinkType.BPF_LINK_TYPE_CGROUP:
      return simple(Layouts.Cgroup, (info) => ({
        _tag: "Cgroup",
        cgroupId: big(info, Layouts.Cgroup.fields.cgroup_id),
        attachType: number(info, Layouts.Cgroup.fields.attach_type)
      }))
    case LinkType.BPF_LINK_TYPE_ITER:
      return ofIter()
    case LinkType.BPF_LINK_TYPE_NETNS:
      return simple(Layouts.Netns, (info) => ({
        _tag: "Netns",
        inode: number(info, Layouts.Netns.fields.netns_ino),
        attachType: number(info, Layouts.Netns.fields.attach_type)
      }))
    case LinkType.BPF_LINK_TYPE_XDP:
      return simple(Layouts.Device, (info) => ({ _tag: "Xdp", ifindex: number(info, Layouts.Device.fields.ifindex) }))
    case LinkType.BPF_LINK_TYPE_PERF_EVENT:
      return ofPerfEvent(first)
    case LinkType.BPF_LINK_TYPE_KPROBE_MULTI:
      return ofKprobeMulti(first)
    case LinkType.BPF_LINK_TYPE_STRUCT_OPS:
      return simple(Layouts.OfMap, (info) => ({ _tag: "StructOps", mapId: number(info, Layouts.OfMap.fields.map_id) }))
    case LinkType.BPF_LINK_TYPE_NETFILTER:
      return simple(Layouts.Netfilter, (info) => ({
        _tag: "Netfilter",
        protocolFamily: number(info, Layouts.Netfilter.fields.pf),
        hook: number(info, Layouts.Netfilter.fields.hooknum),
        priority: number(info, Layouts.Netfilter.fields.priority),
        flags: number(info, Layouts.Netfilter.fields.flags)
      }))
    case LinkType.BPF_LINK_TYPE_UPROBE_MULTI:
      return ofUprobeMulti(first)
    case LinkType.BPF_LINK_TYPE_TCX:
    case LinkType.BPF_LINK_TYPE_NETKIT:
      return simple(Layouts.Device, (info) => ({
        _tag: type === LinkType.BPF_LINK_TYPE_TCX ? "Tcx" : "Netkit",
        ifindex: number(info, Layouts.Device.fields.ifindex),
        attachType: number(info, Layouts.Device.fields.attach_type)
      }))
    case LinkType.BPF_LINK_TYPE_SOCKMAP:
      return simple(Layouts.OfMap, (info) => ({
        _tag: "Sockmap",
        mapId: number(info, Layouts.OfMap.fields.map_id),
        attachType: number(info, Layouts.OfMap.fields.attach_type)
      }))
    default:
      return undefined
  }
}

/** What the kernel says of the link behind a descriptor. */
export const read = Effect.fnUntraced(function*(
  sys: Sys,
  attempts: Attempts,
  subject: string,
  fd: number
): Effect.fn.Return<LinkInfo, CallError> {
  const ask = (layout: Arena.Layout, values: Readonly<Record<string, Arena.FieldValue>>, because?: string) =>
    attempts.persist(
      because,
      enter(sys, {
        call: "LinkGetInfo",
        subject,
        command: Command.BPF_OBJ_GET_INFO_BY_FD,
        layout: Attr.GetInfo,
        values: {
          bpf_fd: fd,
          info_len: layout.size,
          info: { _tag: "Struct", layout, values }
        }
      })
    )
  const first = Arena.region((yield* ask(Attr.LinkInfo, {})).arena, "info")
  const { fields } = Attr.LinkInfo
  const type = number(first, fields.type)
  const base = { id: number(first, fields.id), type, progId: number(first, fields.prog_id) }
  const more = further(type, first)
  if (more === undefined) return { ...base, detail: { _tag: "Other" } }
  if (Object.keys(more.values).length === 0) {
    return { ...base, detail: more.decode(first, () => new Uint8Array()) }
  }
  const { arena } = yield* ask(more.layout, more.values, "detail")
  const info = Arena.region(arena, "info")
  return { ...base, detail: more.decode(info, (name) => Arena.region(arena, "info", name)) }
})
