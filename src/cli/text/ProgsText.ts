/**
 * The text of `prog show` and `prog dump xlated`.
 */
import { progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import { loadedAt } from "../json/ObjectsDocument.ts"
import type { XlatedOptions } from "../json/XlatedDocument.ts"
import type { Holders } from "../objects/Holders.ts"
import type { OpenProg } from "../objects/Objects.ts"
import type { XlatedInsn, XlatedLine } from "../prog/Xlated.ts"
import { clip } from "./Clip.ts"
import { hexBytes } from "./HexDump.ts"
import { holdersText } from "./HoldersText.ts"
import { blank, type Line, line, span, table } from "./Text.ts"

const moment = (loadTime: bigint, bootTime: number): string =>
  new Date(loadedAt(loadTime, bootTime) * 1000).toISOString().replace(".000Z", "Z")

/** How often and how long it ran, where statistics are on. */
const ran = ({ info }: OpenProg): string =>
  info.runCount === 0n ? "" : `${info.runCount} times, ${info.runTime / info.runCount} ns each`

/** A table of programs. */
export const progsText = (
  progs: ReadonlyArray<OpenProg>,
  bootTime: number,
  pins: ReadonlyMap<number, ReadonlyArray<string>>,
  holders: Holders = new Map()
): ReadonlyArray<Line> =>
  progs.length === 0 ? [line("no programs")] : table(
    [
      "id",
      "type",
      "name",
      "tag",
      "loaded",
      "uid",
      "xlated",
      "jited",
      "maps",
      "btf",
      "remarks",
      "ran",
      "pinned",
      "held by"
    ],
    progs.map((prog) => {
      const { info, name } = prog
      return [
        String(info.id),
        progTypeName(info.type),
        span("name", clip(name)),
        info.tag,
        info.loadTime === 0n ? "" : moment(info.loadTime, bootTime),
        String(info.createdByUid),
        `${info.xlatedLength} B`,
        info.jitedLength === 0 ? "" : `${info.jitedLength} B`,
        info.mapIds.join(" "),
        info.btfId === 0 ? "" : String(info.btfId),
        [...(info.gplCompatible ? ["gpl"] : []), ...(info.ifindex === 0 ? [] : [`on device ${info.ifindex}`])].join(
          " "
        ),
        ran(prog),
        (pins.get(info.id) ?? []).join(", "),
        holdersText(holders.get(info.id))
      ]
    })
  )

/** A line of C, and where it is. */
export const sourceText = ({ column, file, line: number, text }: XlatedLine, linum: boolean): string =>
  linum ? `${clip(text)} [file:${clip(file)} line_num:${number} line_col:${column}]` : clip(text)

/** The lines of a listing. */
export const xlatedText = (listing: ReadonlyArray<XlatedInsn>, options: XlatedOptions): ReadonlyArray<Line> =>
  listing.flatMap(({ bytes, proto, slot, source, text }) => [
    ...(proto === undefined ? [] : [...(slot === 0 ? [] : [blank]), line(span("heading", `${clip(proto)}:`))]),
    ...(source === undefined ? [] : [line(span("dim", `; ${sourceText(source, options.linum)}`))]),
    line(`${String(slot).padStart(4)}: ${text}`),
    ...(options.opcodes ? [line(span("dim", `       ${hexBytes(bytes)}`))] : [])
  ])
