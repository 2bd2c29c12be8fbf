/**
 * All calls that have to do with attaching, for kernels that treat them alike.
 */
import type { Effect } from "effect/Effect"
import type { Footprint } from "../KernelCall.ts"
import type { CallError } from "../KernelError.ts"
import type { Bound, Handlers } from "../Session.ts"
import { attachFootprint, type AttachCalls, type AttachResults } from "./AttachCalls.ts"
import { eventFootprint, type EventCalls, type EventResults } from "./EventCalls.ts"
import { linkFootprint, type LinkCalls, type LinkResults } from "./LinkCalls.ts"
import { netlinkFootprint, type NetlinkCalls, type NetlinkResults } from "./NetlinkCalls.ts"

/** The calls that have to do with attaching, by their tags. */
export interface AttachingCalls extends LinkCalls, EventCalls, AttachCalls, NetlinkCalls {}

/** What they answer. */
export interface AttachingResults extends LinkResults, EventResults, AttachResults, NetlinkResults {}

/** The name of such a call. */
export type AttachingTag = keyof AttachingCalls

/** A call that has to do with attaching. */
export type AttachingCall = AttachingCalls[AttachingTag]

/** Which refs such a call touches. */
export const attachingFootprint = (call: AttachingCall): Footprint => {
  switch (call._tag) {
    case "LinkCreate":
    case "LinkUpdate":
    case "LinkDetach":
    case "LinkGetInfo":
    case "RawTracepointOpen":
    case "IterCreate":
    case "IterRead":
      return linkFootprint(call)
    case "ProbePmuGet":
    case "TracepointId":
    case "SymbolListRead":
    case "TraceEventAdd":
    case "PerfEventOpen":
    case "PerfEventSetProgram":
    case "PerfEventSwitch":
    case "EventMmap":
    case "PerfEventRead":
    case "CpusGet":
    case "TaskFdQuery":
      return eventFootprint(call)
    case "TargetOpen":
    case "ProgAttach":
    case "ProgDetach":
    case "ProgQuery":
      return attachFootprint(call)
    case "DeviceGet":
    case "DeviceList":
    case "XdpAttach":
    case "XdpDetach":
    case "ClsactCreate":
    case "ClsactDelete":
    case "FilterAttach":
    case "FilterDetach":
    case "FilterList":
    case "QdiscList":
      return netlinkFootprint(call)
  }
}

/** Handlers that refuse every such call; each refusal is an attempt that observers see. */
export const refusing = <H>(
  refuse: (call: AttachingCall) => Effect<never, CallError>
): Pick<Handlers<H>, AttachingTag> => {
  const refused = (call: AttachingCall, bound: Bound<H>): Effect<never, CallError> =>
    bound.attempt(0, undefined, refuse(call))
  return {
    LinkCreate: refused,
    LinkUpdate: refused,
    LinkDetach: refused,
    LinkGetInfo: refused,
    RawTracepointOpen: refused,
    IterCreate: refused,
    IterRead: refused,
    ProbePmuGet: refused,
    TracepointId: refused,
    SymbolListRead: refused,
    TraceEventAdd: refused,
    PerfEventOpen: refused,
    PerfEventSetProgram: refused,
    PerfEventSwitch: refused,
    EventMmap: refused,
    PerfEventRead: refused,
    CpusGet: refused,
    TaskFdQuery: refused,
    TargetOpen: refused,
    ProgAttach: refused,
    ProgDetach: refused,
    ProgQuery: refused,
    DeviceGet: refused,
    DeviceList: refused,
    XdpAttach: refused,
    XdpDetach: refused,
    ClsactCreate: refused,
    ClsactDelete: refused,
    FilterAttach: refused,
    FilterDetach: refused,
    FilterList: refused,
    QdiscList: refused
  }
}

/** What such a call is about, for messages. */
export const attachingSubject = (call: AttachingCall): string => {
  switch (call._tag) {
    case "LinkCreate":
    case "RawTracepointOpen":
    case "IterCreate":
    case "TraceEventAdd":
    case "PerfEventOpen":
    case "ProgAttach":
    case "XdpAttach":
    case "ClsactCreate":
    case "FilterAttach":
      return `${call.as._tag.toLowerCase()}#${call.as.index}`
    case "LinkUpdate":
    case "LinkDetach":
    case "LinkGetInfo":
      return `link#${call.link.index}`
    case "IterRead":
      return `iter#${call.iter.index}`
    case "PerfEventSetProgram":
    case "PerfEventSwitch":
    case "EventMmap":
    case "PerfEventRead":
      return `event#${call.event.index}`
    case "TaskFdQuery":
      return `descriptor ${call.fd} of process ${call.pid}`
    case "CpusGet":
      return "all CPUs"
    case "ProbePmuGet":
      return call.kind
    case "TracepointId":
      return `${call.category}/${call.name}`
    case "SymbolListRead":
      return call.list
    case "TargetOpen":
      return call.path
    case "DeviceGet":
      return `device ${call.device}`
    case "DeviceList":
      return "all devices"
    case "XdpDetach":
    case "ClsactDelete":
    case "FilterDetach":
    case "FilterList":
    case "QdiscList":
      return `device ${call.device.ifindex}`
    case "ProgDetach":
    case "ProgQuery":
      return call.target._tag === "Device" ? `device ${call.target.ifindex}` : "an attach point"
  }
}
