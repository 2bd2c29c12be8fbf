/**
 * What a call that has to do with attaching is given, for the text of a plan or trace.
 */
import { attachTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { AttachingCall } from "../../services/Kernel/calls/Attaching.ts"
import type { PerfEventSource } from "../../services/Kernel/calls/EventCalls.ts"
import type { AttachPoint, LinkOptions } from "../../services/Kernel/calls/LinkCalls.ts"
import type { Ref } from "../../services/Kernel/Ref.ts"
import { counted } from "./Text.ts"

type NameOf = (ref: Ref) => string

const hex = (value: bigint): string => `0x${value.toString(16)}`

const pointText = (nameOf: NameOf, point: AttachPoint): ReadonlyArray<string> => {
  switch (point._tag) {
    case "None":
      return []
    case "Device":
      return [`device ${point.ifindex}`]
    case "Target":
      return [nameOf(point.target)]
    case "Map":
      return [nameOf(point.map)]
    case "Event":
      return [nameOf(point.event)]
    case "Function":
      return [`function ${point.of.function} of ${nameOf(point.of.program)}`]
  }
}

const optionText = (options: LinkOptions | undefined): ReadonlyArray<string> => {
  switch (options?._tag) {
    case undefined:
    case "Placed":
      return []
    case "PerfEvent":
    case "Tracing":
      return options.cookie === 0n ? [] : [`cookie ${options.cookie}`]
    case "KprobeMulti":
      return [counted(options.symbols?.length ?? options.addresses?.length ?? 0, "function")]
    case "UprobeMulti":
      return [`${options.path} at ${counted(options.offsets.length, "place")}`]
    case "TracingMulti":
      return [counted(options.ids.length, "function")]
    case "Netfilter":
      return [`family ${options.protocolFamily} hook ${options.hook} priority ${options.priority}`]
    case "Iter":
      return [`over ${options.over._tag.toLowerCase()}`]
  }
}

const sourceText = (nameOf: NameOf, source: PerfEventSource): string => {
  switch (source._tag) {
    case "Tracepoint":
      return `tracepoint ${source.id}`
    case "TraceEvent":
      return nameOf(source.event)
    case "Kprobe":
      return `${source.isReturn ? "return of " : ""}${source.symbol ?? ""}+${hex(source.offset)}`
    case "Uprobe":
      return `${source.isReturn ? "return of " : ""}${source.path}:${hex(source.offset)}`
    case "Counter":
      return `event ${source.config} of type ${source.type}`
    case "BpfOutput":
      return `output of programs, waking after ${
        counted(source.wakeup.value, source.wakeup._tag === "Records" ? "record" : "byte")
      }`
  }
}

/** The parts of a call's text. */
export const attachDetails = (nameOf: NameOf, call: AttachingCall): ReadonlyArray<string> => {
  switch (call._tag) {
    case "LinkCreate":
      return [
        nameOf(call.of),
        attachTypeName(call.attachType),
        ...pointText(nameOf, call.target),
        ...optionText(call.options)
      ]
    case "LinkUpdate":
      return [`${nameOf(call.link)} to ${nameOf(call.to)}`]
    case "LinkDetach":
    case "LinkGetInfo":
    case "IterCreate":
      return [nameOf(call.link)]
    case "RawTracepointOpen":
      return [nameOf(call.prog), ...(call.name === undefined ? [] : [call.name])]
    case "IterRead":
      return [nameOf(call.iter)]
    case "ProbePmuGet":
      return [call.kind]
    case "TracepointId":
      return [`${call.category}/${call.name}`]
    case "SymbolListRead":
      return [call.list]
    case "TraceEventAdd":
      return [
        call.isReturn ? "return" : "entry",
        call.probe._tag === "Kprobe"
          ? `${call.probe.symbol}+${hex(call.probe.offset)}`
          : `${call.probe.path}:${hex(call.probe.offset)}`
      ]
    case "PerfEventOpen":
      return [sourceText(nameOf, call.source), `pid ${call.pid}`, `cpu ${call.cpu}`]
    case "PerfEventSetProgram":
      return [nameOf(call.event), nameOf(call.prog)]
    case "PerfEventSwitch":
      return [nameOf(call.event), call.on ? "on" : "off"]
    case "EventMmap":
      return [nameOf(call.event), counted(call.length, "byte")]
    case "PerfEventRead":
      return [nameOf(call.event)]
    case "TaskFdQuery":
      return [`descriptor ${call.fd} of process ${call.pid}`]
    case "CpusGet":
      return []
    case "TargetOpen":
      return [call.path]
    case "ProgAttach":
      return [nameOf(call.prog), attachTypeName(call.attachType), ...pointText(nameOf, call.target)]
    case "ProgDetach":
      return [
        ...(call.prog === undefined ? [] : [nameOf(call.prog)]),
        attachTypeName(call.attachType),
        ...pointText(nameOf, call.target)
      ]
    case "ProgQuery":
      return [attachTypeName(call.attachType), ...pointText(nameOf, call.target)]
    case "DeviceGet":
      return [`device ${call.device}`]
    case "DeviceList":
      return []
    case "XdpAttach":
    case "FilterAttach":
      return [nameOf(call.prog), `device ${call.device.ifindex}`]
    case "XdpDetach":
    case "ClsactCreate":
    case "ClsactDelete":
    case "FilterDetach":
    case "FilterList":
    case "QdiscList":
      return [`device ${call.device.ifindex}`]
  }
}
