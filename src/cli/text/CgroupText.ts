/**
 * The text of `cgroup`.
 */
import { attachTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Cgroup, CgroupProg } from "../cgroup/Verbs.ts"
import { attachFlagsText } from "../json/CgroupDocument.ts"
import { clip } from "./Clip.ts"
import { type Cell, type Line, line, span, table } from "./Text.ts"

const columns = ["id", "attach type", "flags", "name", "function"]

const row = ({ attachType, flags, info, name, target }: CgroupProg): ReadonlyArray<Cell> => [
  String(info.id),
  attachTypeName(attachType),
  flags === undefined ? "" : attachFlagsText(flags),
  span("name", clip(name)),
  clip(target ?? (info.attachBtfId === 0 ? "" : `type ${info.attachBtfId} of ${info.attachBtfObjectId}`))
]

/** A table of the programs of one cgroup. */
export const cgroupText = (programs: ReadonlyArray<CgroupProg>): ReadonlyArray<Line> =>
  programs.length === 0 ? [line("no programs")] : table(columns, programs.map(row))

/** A table of cgroups with their programs; each is named once. */
export const cgroupsText = (found: ReadonlyArray<Cgroup>): ReadonlyArray<Line> =>
  found.length === 0 ? [line("no programs")] : table(
    ["cgroup", ...columns],
    found.flatMap(({ path, programs }) => programs.map((program, at) => [at === 0 ? clip(path) : "", ...row(program)]))
  )
