/**
 * The text of `struct_ops`.
 */
import { MapFlag } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Json } from "../json/Json.ts"
import type { Registered } from "../json/StructOpsDocument.ts"
import type { Dumped, StructOpsMap } from "../structops/Verbs.ts"
import { clip } from "./Clip.ts"
import { blank, heading, type Line, line, span, table } from "./Text.ts"
import { jsonValueText } from "./ValueText.ts"

/** A table of maps. */
export const structOpsText = (maps: ReadonlyArray<StructOpsMap>): ReadonlyArray<Line> =>
  maps.length === 0 ? [line("no struct_ops maps")] : table(
    ["id", "name", "struct", "by"],
    maps.map(({ info, struct }) => [
      String(info.id),
      span("name", clip(info.name)),
      clip(struct),
      (info.flags & MapFlag.BPF_F_LINK) === 0 ? "its map" : "links"
    ])
  )

const isObject = (value: Json): value is { readonly [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The members of a value, one in a line; those of the struct in it are indented. */
const membersText = (value: Json, indent: string): ReadonlyArray<Line> =>
  !isObject(value)
    ? [line(`${indent}${jsonValueText(value)}`)]
    : Object.entries(value).flatMap(([name, each]) =>
      isObject(each) && Object.keys(each).length > 1
        ? [line(indent, span("name", clip(name)), ":"), ...membersText(each, `${indent}  `)]
        : [line(indent, span("name", clip(name)), `: ${clip(jsonValueText(each))}`)]
    )

/** What is in maps. */
export const structOpsDumpText = (all: ReadonlyArray<Dumped>): ReadonlyArray<Line> =>
  all.length === 0 ? [line("no struct_ops maps")] : all.flatMap(({ info, record, type, value }, at) => [
    ...(at === 0 ? [] : [blank]),
    heading(`${clip(info.name)}, map ${info.id}`),
    line("  ", span("dim", "bpf_map_info")),
    ...membersText(record, "    "),
    line("  ", span("dim", clip(type))),
    ...membersText(value, "    ")
  ])

/** What was registered. */
export const registeredText = (all: ReadonlyArray<Registered>): ReadonlyArray<Line> => [
  line("registered:"),
  ...table(
    ["name", "struct", "map", "link", "pinned"],
    all.map(({ id, linkId, name, path, struct }) => [
      span("name", clip(name)),
      clip(struct),
      String(id),
      linkId === undefined ? "" : String(linkId),
      path ?? ""
    ])
  )
]
