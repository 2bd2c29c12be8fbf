/**
 * The text of `link show`.
 */
import { attachTypeName, linkTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { OpenLink } from "../link/Links.ts"
import type { Holders } from "../objects/Holders.ts"
import { clip } from "./Clip.ts"
import { holdersText } from "./HoldersText.ts"
import { counted, type Line, line, span, table } from "./Text.ts"

const hex = (value: bigint | number): string => `0x${value.toString(16)}`

const cookieText = (cookie: bigint): ReadonlyArray<string> => cookie === 0n ? [] : [`cookie ${cookie}`]

const deviceText = (link: OpenLink, ifindex: number): string =>
  ifindex === 0 ? "detached" : link.devices.get(ifindex) ?? `device ${ifindex}`

/** To what a link attaches, in words. */
const targetText = (link: OpenLink): ReadonlyArray<string> => {
  const { detail } = link
  switch (detail._tag) {
    case "RawTracepoint":
      return [detail.name, ...cookieText(detail.cookie)]
    case "Tracing":
      return [
        attachTypeName(detail.attachType),
        `type ${detail.targetBtfId} of ${detail.targetObjectId}`,
        ...cookieText(detail.cookie)
      ]
    case "Cgroup":
      return [`cgroup ${detail.cgroupId}`, attachTypeName(detail.attachType)]
    case "Iter":
      return [
        detail.target,
        ...(detail.mapId === undefined ? [] : [`map ${detail.mapId}`]),
        ...(detail.task === undefined || detail.task.pid === 0 ? [] : [`pid ${detail.task.pid}`]),
        ...(detail.task === undefined || detail.task.tid === 0 ? [] : [`tid ${detail.task.tid}`]),
        ...(detail.cgroup === undefined ? [] : [`cgroup ${detail.cgroup.id}`])
      ]
    case "Netns":
      return [`network namespace ${detail.inode}`, attachTypeName(detail.attachType)]
    case "Xdp":
      return [deviceText(link, detail.ifindex)]
    case "Tcx":
    case "Netkit":
      return [deviceText(link, detail.ifindex), attachTypeName(detail.attachType)]
    case "StructOps":
      return [`map ${detail.mapId}`]
    case "Sockmap":
      return [`map ${detail.mapId}`, attachTypeName(detail.attachType)]
    case "Netfilter":
      return [`family ${detail.protocolFamily}`, `hook ${detail.hook}`, `priority ${detail.priority}`]
    case "KprobeMulti":
      return [
        (detail.flags & 1) === 0 ? "entry" : "return",
        counted(detail.probes.length, "function"),
        ...detail.probes.slice(0, 3).map(({ address }) => link.functions.get(address) ?? hex(address))
      ]
    case "UprobeMulti":
      return [
        (detail.flags & 1) === 0 ? "entry" : "return",
        detail.path,
        ...detail.probes.slice(0, 3).map(({ offset }) => hex(offset)),
        ...(detail.probes.length > 3 ? [`${detail.probes.length} in all`] : []),
        ...(detail.pid === 0 ? [] : [`pid ${detail.pid}`])
      ]
    case "PerfUprobe":
      return [
        `${detail.isReturn ? "return of " : ""}${detail.path}:${hex(detail.offset)}`,
        ...cookieText(detail.cookie)
      ]
    case "PerfKprobe":
      return [
        `${detail.isReturn ? "return of " : ""}${detail.name}+${hex(detail.offset)}`,
        ...cookieText(detail.cookie)
      ]
    case "PerfTracepoint":
      return [`tracepoint ${detail.name}`, ...cookieText(detail.cookie)]
    case "PerfEvent":
      return [`event ${detail.config} of type ${detail.type}`, ...cookieText(detail.cookie)]
    case "Other":
      return []
  }
}

/** A table of links. */
export const linksText = (
  links: ReadonlyArray<OpenLink>,
  pins: ReadonlyMap<number, ReadonlyArray<string>>,
  holders: Holders = new Map()
): ReadonlyArray<Line> =>
  links.length === 0 ? [line("no links")] : table(
    ["id", "type", "program", "attached to", "pinned", "held by"],
    links.map((link) => [
      String(link.info.id),
      linkTypeName(link.info.type),
      link.info.progId === 0 ? "" : String(link.info.progId),
      span("name", clip(targetText(link).join(", "))),
      (pins.get(link.info.id) ?? []).join(", "),
      holdersText(holders.get(link.info.id))
    ])
  )
