/**
 * The text of the `map` commands.
 */
import { MapFlag, mapTypeName, progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import { errorWords } from "../json/ElementDocument.ts"
import { valueJson } from "../json/Json.ts"
import { flagNames } from "../json/ObjectDocument.ts"
import { decoded, type Element, type Elements, isPerCpu, type Shape, valuesOf } from "../map/Elements.ts"
import type { Holders } from "../objects/Holders.ts"
import type { OpenMap } from "../objects/Objects.ts"
import { hexBytes } from "./HexDump.ts"
import { holdersText } from "./HoldersText.ts"
import { type Cell, counted, type Line, line, span, table } from "./Text.ts"
import { jsonValueText } from "./ValueText.ts"

/** What the map is besides its shape. */
const remarks = ({ info }: OpenMap): string =>
  [
    ...flagNames(info.flags, MapFlag),
    ...(info.file?.frozen === true ? ["frozen"] : []),
    ...(info.ifindex === 0 ? [] : [`on device ${info.ifindex}`]),
    ...(info.file?.ownerProgType === undefined ? [] : [`of ${progTypeName(info.file.ownerProgType)} programs`])
  ].join(" ")

/** A table of maps. */
export const mapsText = (
  maps: ReadonlyArray<OpenMap>,
  pins: ReadonlyMap<number, ReadonlyArray<string>>,
  holders: Holders = new Map()
): ReadonlyArray<Line> =>
  maps.length === 0 ? [line("no maps")] : table(
    ["id", "type", "name", "key", "value", "max_entries", "memory", "btf", "remarks", "pinned", "held by"],
    maps.map((map) => {
      const { info } = map
      return [
        String(info.id),
        mapTypeName(info.type),
        span("name", info.name),
        `${info.keySize} B`,
        `${info.valueSize} B`,
        String(info.maxEntries),
        info.file?.memlock === undefined ? "" : `${info.file.memlock} B`,
        info.btfId === 0 ? "" : String(info.btfId),
        remarks(map),
        (pins.get(info.id) ?? []).join(", "),
        holdersText(holders.get(info.id))
      ]
    })
  )

/** Bytes by their type, or as they are. */
const bytesText = (shape: Shape, what: "key" | "value", bytes: Uint8Array): string => {
  const value = decoded(shape, what, bytes)
  return value === undefined ? hexBytes(bytes, 64) : jsonValueText(valueJson(value))
}

const rowsOf = (shape: Shape, { key, value }: Element): ReadonlyArray<ReadonlyArray<Cell>> => {
  const name = span("name", key.length === 0 ? "" : bytesText(shape, "key", key))
  if (value === undefined) return []
  if (!(value instanceof Uint8Array)) return [[name, "", span("warning", errorWords(value))]]
  if (!isPerCpu(shape.info)) return [[name, "", bytesText(shape, "value", value)]]
  return valuesOf(shape, value).map((each, cpu) => [
    cpu === 0 ? name : "",
    String(cpu),
    bytesText(shape, "value", each)
  ])
}

/** A table of elements. */
export const elementsText = (shape: Shape, { aborted, elements }: Elements): ReadonlyArray<Line> => [
  ...table(["key", "cpu", "value"], elements.flatMap((element) => rowsOf(shape, element))),
  line(span("dim", counted(elements.filter(({ value }) => value !== undefined).length, "element"))),
  ...(aborted ? [line(span("warning", "others changed the map meanwhile: elements may be missing"))] : [])
]

/** One element. */
export const elementText = (shape: Shape, element: Element): ReadonlyArray<Line> =>
  table(["key", "cpu", "value"], rowsOf(shape, element))

/** A key behind another one. */
export const nextKeyText = (shape: Shape, next: Uint8Array): ReadonlyArray<Line> => [
  line(bytesText(shape, "key", next))
]
