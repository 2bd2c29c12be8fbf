/**
 * The text of `net show`.
 */
import { placeNames, xdpPrograms } from "../json/NetDocument.ts"
import type { Attached, FilterProg, PlacedProg } from "../net/Verbs.ts"
import { clip } from "./Clip.ts"
import { blank, type Cell, heading, type Line, line, span, table } from "./Text.ts"

const families: Readonly<Record<number, string>> = { 2: "ip", 10: "ip6" }

const hooks = ["prerouting", "input", "forward", "output", "postrouting"]

const placedRow = ({ attachType, device, id, linkId, name }: PlacedProg): ReadonlyArray<Cell> => [
  clip(device.name),
  placeNames[attachType] ?? "",
  String(id),
  span("name", clip(name)),
  linkId === 0 ? "" : String(linkId),
  ""
]

const filterRow = ({ device, filter, kind }: FilterProg): ReadonlyArray<Cell> => [
  clip(device.name),
  clip(kind),
  filter.programId === 0 ? "" : String(filter.programId),
  span("name", clip(filter.name)),
  "",
  [
    `priority ${filter.priority}`,
    `handle 0x${filter.handle.toString(16)}`,
    ...(filter.chain === 0 ? [] : [`chain ${filter.chain}`]),
    ...(filter.directAction ? [] : ["no direct action"]),
    ...(filter.actions ?? []).map(({ name, programId }) => `then ${programId} ${clip(name)}`)
  ].join(", ")
]

const section = (title: string, rows: ReadonlyArray<Line>): ReadonlyArray<Line> =>
  rows.length === 0 ? [] : [heading(title), ...rows]

/** What is attached, by the kinds of places; kinds without a program are left out. */
export const netText = ({ flowDissector, netfilter, tc, xdp }: Attached): ReadonlyArray<Line> => {
  const sections = [
    section(
      "xdp",
      table(
        ["device", "mode", "id"],
        xdp.flatMap((device) => xdpPrograms(device).map(({ id, mode }) => [clip(device.name), mode, String(id)]))
      )
    ),
    section(
      "tc",
      table(
        ["device", "place", "id", "name", "link", "filter"],
        tc.map((each) => each._tag === "Placed" ? placedRow(each) : filterRow(each))
      )
    ),
    section("flow dissector", flowDissector === undefined ? [] : table(["id"], [[String(flowDissector)]])),
    section(
      "netfilter",
      table(
        ["family", "hook", "priority", "flags", "id"],
        netfilter.map(({ detail, progId }) => [
          families[detail.protocolFamily] ?? String(detail.protocolFamily),
          hooks[detail.hook] ?? String(detail.hook),
          String(detail.priority),
          detail.flags === 0 ? "" : `0x${detail.flags.toString(16)}`,
          String(progId)
        ])
      )
    )
  ].filter((lines) => lines.length > 0)
  return sections.length === 0
    ? [line("no programs")]
    : sections.flatMap((lines, at) => at === 0 ? lines : [blank, ...lines])
}
